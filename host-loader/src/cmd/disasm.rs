//! `gnomon disasm`: the instructions of an object's programs.

use std::path::PathBuf;

use crate::Status;
use crate::obj::disasm::{self, Names};
use crate::obj::{Object, Program};

/// Print the instructions of an object's programs.
///
/// Each program is listed as it would be loaded: the functions it calls appended, maps and variables named, in the
/// notation of LLVM and bpftool, with the C lines where the object has them (`clang -g`).
///
/// Example:
///
///     gnomon disasm exits.bpf.o
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The object, as `clang -target bpf -c` writes it.
    pub file: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let object = Object::read(&args.file)?;
    for program in &object.programs {
        println!(
            "program {} (section {}, {} slots)",
            program.name,
            program.section,
            program.slots.len()
        );
        print!("{}", listing(&object, program));
        println!();
    }
    Ok(Status::Ok)
}

/// What relocations and symbols know of the operands of one program.
struct ObjectNames<'o> {
    object: &'o Object,
    program: &'o Program,
}

impl Names for ObjectNames<'_> {
    fn wide(&self, pc: usize) -> Option<String> {
        let (slot, next) = (self.program.slots[pc], self.program.slots.get(pc + 1)?);
        match slot[1] >> 4 {
            1 => Some(format!("map {}", self.object.maps.get(imm(slot) as usize)?.name)),
            2 => Some(format!(
                "{} + {:#x}",
                self.object.maps.get(imm(slot) as usize)?.name,
                imm(*next)
            )),
            4 => Some(format!("function {}", self.function(pc)?)),
            _ => None,
        }
    }

    fn callee(&self, pc: usize) -> Option<String> {
        match self.program.slots[pc][1] >> 4 {
            1 => self.function(pc),
            _ => None,
        }
    }
}

impl ObjectNames<'_> {
    fn function(&self, pc: usize) -> Option<String> {
        let goal = pc as i64 + 1 + i64::from(imm(self.program.slots[pc]));
        self.program
            .functions
            .iter()
            .find(|f| f.start as i64 == goal)
            .map(|f| f.name.clone())
    }
}

fn imm(slot: [u8; 8]) -> i32 {
    i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]])
}

/// The instructions of a program, with a heading for each function and each source line.
pub fn listing(object: &Object, program: &Program) -> String {
    let names = ObjectNames { object, program };
    let mut out = String::new();
    let mut pc = 0;
    let mut shown = None;
    while pc < program.slots.len() {
        if let Some(f) = program.functions.iter().find(|f| f.start == pc) {
            out.push_str(&format!("{}:\n", f.name));
        }
        let line = program.line_at(pc);
        if let Some(l) = line.filter(|l| Some((&l.file, l.line)) != shown) {
            shown = Some((&l.file, l.line));
            out.push_str(&format!("; {}:{}: {}\n", l.file, l.line, l.text.trim()));
        }
        let (text, width) = disasm::insn(&program.slots, pc, &names);
        out.push_str(&format!("{pc:>6}: {text}\n"));
        pc += width;
    }
    out
}
