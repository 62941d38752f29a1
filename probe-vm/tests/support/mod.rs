//! Rows of the public conformance data, and how they are run on the interpreter.
#![allow(dead_code)] // each test binary uses its part

pub mod engines;
pub mod proof;
pub mod random;
pub mod rows;
pub mod ubpf;

use probe_vm::interp::{self, Backing, Code, Fault, Helpers, Insn, STACK_BYTES, Space, Start};
pub use rows::*;

/// The suite's one helper: number 5 returns its first argument.
pub struct SuiteHelpers;

impl<M> Helpers<M> for SuiteHelpers {
    fn call(&mut self, id: u32, args: [u64; 5], _: &mut M) -> Option<u64> {
        (id == 5).then_some(args[0])
    }
    fn map_value(&self, _: u32, _: u64) -> Option<u64> {
        None
    }
}

/// Instructions a case may take; the longest of Linux's is below a million.
pub const FUEL: u64 = 10_000_000;

pub fn interpret(case: &Case) -> Result<interp::Done, Fault> {
    interpret_memory(case).0
}

/// Also what is left in memory.
pub fn interpret_memory(case: &Case) -> (Result<interp::Done, Fault>, Vec<u8>) {
    interpret_with(case, &mut SuiteHelpers)
}

/// With helpers of the caller.
pub fn interpret_with(
    case: &Case,
    helpers: &mut impl for<'a> Helpers<Space<'a>>,
) -> (Result<interp::Done, Fault>, Vec<u8>) {
    let mut buffer = vec![Insn::EMPTY; case.slots.len()];
    let code = Code::new(&case.slots, &mut buffer).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
    let (mut stack, mut mem) = (vec![0u8; STACK_BYTES], case.mem.clone());
    let mut space = Space::new();
    let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap() + STACK_BYTES as u64;
    let r1 = space.add(Backing::Bytes(&mut mem)).unwrap();
    let start = Start {
        args: [r1, case.len],
        stack_top,
        fuel: FUEL,
    };
    let done = interp::run(code, start, &mut space, helpers, &mut ());
    drop(space);
    (done, mem)
}

/// Executes a batch under `qemu-aarch64`; `None` (with a line that says so) where that is not installed.
pub fn execute(batch: &probe_vm::conformance::Batch, cpu: &str) -> Option<Vec<probe_vm::conformance::Outcome>> {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("gnomon-jit-{}-{number}", std::process::id()));
    std::fs::write(&path, batch.elf()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = std::process::Command::new("qemu-aarch64")
        .args(["-cpu", cpu])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(output) = run else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "qemu-aarch64 is missing");
        println!("skipped: qemu-aarch64 is not installed");
        return None;
    };
    assert!(
        output.status.success(),
        "qemu-aarch64: {:?} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Some(batch.outcomes(&output.stdout).expect("output of another size"))
}
