//! `gnomon conform`: a plugin for the public eBPF conformance suite.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use miette::{Diagnostic, IntoDiagnostic, miette};
use probe_vm::conformance::{Batch, Outcome, SUITE_HELPER};
use probe_vm::interp::{self, Backing, Code, Helpers, Insn, STACK_BYTES, Space, Start};
use thiserror::Error;

use crate::Status;

/// Run one program as the public conformance suite's plugin.
///
/// The program comes as hex digits on standard input, the memory that r1 points at (its length in r2) as hex digits in
/// the first argument; blanks between digits are allowed. Prints r0 at the program's exit in hex. Helper 5 returns its
/// first argument, as the suite expects.
///
/// Nothing is verified: this is for engines, not for users' programs. The interpreter is used, or with `--jit` the
/// compiler's AArch64 code, executed directly on an AArch64 machine and by qemu-aarch64 elsewhere.
///
/// Example:
///
///     echo 'b7 00 00 00 2a 00 00 00 95 00 00 00 00 00 00 00' | gnomon conform
///     bpf_conformance_runner --plugin_path gnomon-conform-jit --test_file_directory tests --cpu_version v4
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Memory as hex digits.
    #[arg(default_value = "")]
    pub memory: String,
    /// Compile, and execute the AArch64 code.
    #[arg(long)]
    pub jit: bool,
    /// Compile for a core without FEAT_LSE (Armv8.0): atomics become exclusive loops.
    #[arg(long, requires = "jit")]
    pub no_lse: bool,
    /// Instructions the interpreter may execute.
    #[arg(long, default_value_t = 100_000_000)]
    pub fuel: u64,
}

/// Input or environment that a program cannot be run with.
#[derive(Debug, Diagnostic, Error)]
enum Unrunnable {
    #[error("{what}: {digit:?} is no hex digit")]
    NotHex { what: &'static str, digit: char },
    #[error("{what}: an odd number of hex digits")]
    Odd { what: &'static str },
    #[error("no program")]
    #[diagnostic(help(
        "its hex digits are read from standard input: echo 'b7 00 00 00 2a 00 00 00 95 00 00 00 00 00 00 00' | gnomon conform"
    ))]
    NoProgram,
    #[error("the program's {bytes} bytes are not whole 8-byte slots")]
    NotSlots { bytes: usize },
    #[error("slot {pc} ({slot:016x}) is no instruction: {why:?}")]
    BadSlot { pc: usize, slot: u64, why: interp::BadWhy },
    #[error("not compiled: {0:?}")]
    NotCompiled(probe_vm::jit::CompileError),
    #[error("the run ended without a result: {0:x?}")]
    Fault(interp::Fault),
    #[error("qemu-aarch64 is not installed")]
    #[diagnostic(help("on Debian: apt install qemu-user"))]
    NoQemu,
    #[error("the compiled program ended with {0}")]
    Crashed(std::process::ExitStatus),
}

/// Bytes of hex digits, blanks skipped.
fn bytes(what: &'static str, text: &str) -> Result<Vec<u8>, Unrunnable> {
    let digit = |c: char| {
        c.to_digit(16)
            .map(|d| d as u8)
            .ok_or(Unrunnable::NotHex { what, digit: c })
    };
    let digits = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(digit)
        .collect::<Result<Vec<u8>, _>>()?;
    if digits.len() % 2 != 0 {
        return Err(Unrunnable::Odd { what });
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Slots of a program's bytes.
fn slots(bytes: &[u8]) -> Result<Vec<u64>, Unrunnable> {
    let (whole, rest) = bytes.as_chunks::<8>();
    if bytes.is_empty() {
        return Err(Unrunnable::NoProgram);
    }
    if !rest.is_empty() {
        return Err(Unrunnable::NotSlots { bytes: bytes.len() });
    }
    Ok(whole.iter().map(|slot| u64::from_le_bytes(*slot)).collect())
}

struct SuiteHelpers;

impl<M> Helpers<M> for SuiteHelpers {
    fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        (id == SUITE_HELPER).then_some(args[0])
    }

    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

fn interpret(slots: &[u64], mut memory: Vec<u8>, fuel: u64) -> Result<u64, Unrunnable> {
    let mut buffer = vec![Insn::EMPTY; slots.len()];
    let code = Code::new(slots, &mut buffer).map_err(|bad| Unrunnable::BadSlot {
        pc: bad.pc,
        slot: bad.slot.swap_bytes(),
        why: bad.why,
    })?;
    let r2 = memory.len() as u64;
    let mut stack = [0; STACK_BYTES];
    let mut space = Space::new();
    // A space has room for two regions.
    let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap_or(0) + STACK_BYTES as u64;
    let r1 = space.add(Backing::Bytes(&mut memory)).unwrap_or(0);
    let start = Start {
        args: [r1, r2],
        stack_top,
        fuel,
    };
    let done = interp::run(code, start, &mut space, &mut SuiteHelpers, &mut ()).map_err(Unrunnable::Fault)?;
    Ok(done.r0)
}

/// Executes a batch of compiled programs on this machine or by `qemu-aarch64`.
pub fn execute(batch: &Batch, lse: bool) -> miette::Result<Vec<Outcome>> {
    let mut file = tempfile::Builder::new()
        .prefix("gnomon-conform-")
        .tempfile()
        .into_diagnostic()?;
    file.write_all(&batch.elf()).into_diagnostic()?;
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(0o700))
        .into_diagnostic()?;
    // An executable that is still open for writing cannot be executed.
    let path = file.into_temp_path();
    let mut command = if cfg!(target_arch = "aarch64") {
        Command::new(&path)
    } else {
        let mut qemu = Command::new("qemu-aarch64");
        qemu.args(["-cpu", if lse { "max" } else { "cortex-a53" }]).arg(&path);
        qemu
    };
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Unrunnable::NoQemu.into()),
        other => other.into_diagnostic()?,
    };
    if !output.status.success() {
        return Err(Unrunnable::Crashed(output.status).into());
    }
    batch
        .outcomes(&output.stdout)
        .ok_or_else(|| miette!("the executable wrote {} bytes", output.stdout.len()))
}

fn compiled(slots: &[u64], memory: &[u8], lse: bool) -> miette::Result<u64> {
    let mut batch = Batch::new(lse);
    batch
        .add(slots, memory, memory.len() as u64)
        .map_err(Unrunnable::NotCompiled)?;
    let outcomes = execute(&batch, lse)?;
    outcomes
        .first()
        .map(|outcome| outcome.r0)
        .ok_or_else(|| miette!("no outcome"))
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).into_diagnostic()?;
    let program = slots(&bytes("program", &text)?)?;
    let memory = bytes("memory", &args.memory)?;
    let r0 = if args.jit {
        compiled(&program, &memory, !args.no_lse)?
    } else {
        interpret(&program, memory, args.fuel)?
    };
    println!("{r0:x}");
    Ok(Status::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY_SUM: &str = "61 10 00 00 00000000 61 12 0400 00000000 0f20 0000 00000000 95000000 00000000";

    #[test]
    fn both_engines_read_memory() {
        let program = slots(&bytes("program", MEMORY_SUM).unwrap()).unwrap();
        let memory = bytes("memory", "01000000 02000000").unwrap();
        assert_eq!(interpret(&program, memory.clone(), 10).unwrap(), 3);
        match compiled(&program, &memory, true) {
            Ok(r0) => assert_eq!(r0, 3),
            Err(error) if matches!(error.downcast_ref(), Some(Unrunnable::NoQemu)) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "qemu-aarch64 is missing");
                println!("skipped: qemu-aarch64 is not installed");
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn what_is_no_program_is_said() {
        assert!(matches!(
            bytes("memory", "0g"),
            Err(Unrunnable::NotHex { digit: 'g', .. })
        ));
        assert!(matches!(bytes("memory", "012"), Err(Unrunnable::Odd { .. })));
        assert!(matches!(slots(&[0; 12]), Err(Unrunnable::NotSlots { bytes: 12 })));
        assert!(matches!(slots(&[]), Err(Unrunnable::NoProgram)));
        assert_eq!(
            bytes("memory", " \n").unwrap(),
            [0; 0],
            "no memory is memory of no bytes"
        );
        let length = [0x0000_0000_0000_20bf, 0x95];
        assert_eq!(interpret(&length, vec![], 10).unwrap(), 0, "r2 is the memory's length");
        assert!(matches!(
            interpret(&[0xff], vec![], 10),
            Err(Unrunnable::BadSlot { pc: 0, .. })
        ));
        assert!(matches!(
            interpret(&[0xffff_0005], vec![], 10),
            Err(Unrunnable::Fault(interp::Fault::OutOfFuel))
        ));
    }
}
