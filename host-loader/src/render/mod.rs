//! What people read: values, refusals on their source line, accepted programs, tables.

pub mod accepted;
pub mod admission;
pub mod histogram;
pub mod lines;
pub mod peaks;
pub mod reason;
pub mod refusal;
pub mod source;
pub mod tables;
pub mod typed;
pub mod value;

use crate::env::Environment;
use crate::obj::Program;

/// What names the numbers in a verdict.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// Where the program runs.
    pub env: &'a Environment,
    /// Names of its maps.
    pub maps: &'a [String],
    /// Its instructions.
    pub slots: &'a [[u8; 8]],
    /// Its symbols and lines, if it came from an object.
    pub program: Option<&'a Program>,
}

impl Scene<'_> {
    /// The name of a map.
    pub fn map(&self, index: usize) -> String {
        self.maps
            .get(index)
            .map_or_else(|| format!("map {index}"), |n| format!("map `{n}`"))
    }

    /// The name of an object of the environment.
    pub fn object(&self, index: u16) -> String {
        match self.env.objects.get(usize::from(index)) {
            Some(o) if index == 0 => format!("the context ({})", o.name),
            Some(o) => o.name.to_string(),
            None => format!("object {index}"),
        }
    }

    /// The name of a helper, even where it may not be called.
    pub fn helper(&self, id: u32) -> String {
        let known = self.env.helpers.iter().find(|h| h.id == id).map(|h| h.name);
        match known.or_else(|| crate::env::linux::helper_name(id)) {
            Some(name) => format!("bpf_{name}"),
            None => format!("helper {id}"),
        }
    }

    /// The text of the instruction at a slot.
    pub fn insn(&self, pc: usize) -> String {
        if pc >= self.slots.len() {
            return "past the end".into();
        }
        crate::obj::disasm::insn(self.slots, pc, &Symbols(self)).0
    }

    /// Where an instruction is, for people: its source line, or its number where the object has no lines.
    pub fn line(&self, pc: u32) -> String {
        let line = self.program.and_then(|p| p.line_at(pc as usize));
        line.map_or_else(|| format!("instruction {pc}"), |l| format!("line {}", l.line))
    }

    /// The function that begins at a slot, by name where the object has it.
    pub fn function_name(&self, entry: u32) -> String {
        let name = self.function(entry as usize);
        name.map_or_else(|| format!("the function at instruction {entry}"), |n| format!("`{n}`"))
    }

    /// The function a slot is in.
    pub fn function(&self, pc: usize) -> Option<&str> {
        self.program.and_then(|p| p.function_at(pc)).map(|f| f.name.as_str())
    }
}

/// Operand names for the disassembler.
struct Symbols<'s, 'a>(&'s Scene<'a>);

impl crate::obj::disasm::Names for Symbols<'_, '_> {
    fn wide(&self, pc: usize) -> Option<String> {
        let slot = self.0.slots[pc];
        let imm = |s: [u8; 8]| i32::from_le_bytes([s[4], s[5], s[6], s[7]]);
        let name = self.0.maps.get(imm(slot) as usize);
        match slot[1] >> 4 {
            1 => Some(format!("map {}", name?)),
            2 => Some(format!("{} + {:#x}", name?, imm(*self.0.slots.get(pc + 1)?))),
            4 => Some(format!("function {}", self.target(pc)?)),
            _ => None,
        }
    }

    fn callee(&self, pc: usize) -> Option<String> {
        let slot = self.0.slots[pc];
        match slot[1] >> 4 {
            0 => Some(self.0.helper(u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]))),
            1 => self.target(pc),
            _ => None,
        }
    }
}

impl Symbols<'_, '_> {
    fn target(&self, pc: usize) -> Option<String> {
        let slot = self.0.slots[pc];
        let goal = pc as i64 + 1 + i64::from(i32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]));
        let functions = &self.0.program?.functions;
        functions
            .iter()
            .find(|f| f.start as i64 == goal)
            .map(|f| f.name.clone())
    }
}
