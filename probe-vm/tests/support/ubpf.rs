//! What uBPF's arm64 compiler would execute: its measured A64 instructions for each kind of eBPF instruction, as data.
//!
//! In uBPF's favour: its prologue and epilogue are not counted (an exit is the one branch to the epilogue), constants of
//! arithmetic cost nothing more, a local call is one instruction, atomics cost their least.

use super::{Case, SuiteHelpers};
use probe_vm::interp::{self, Backing, Code, Insn, STACK_BYTES, Space, Start, Step, Trace};

/// A64 instructions by what the opcode byte is.
fn cost(slot: u64) -> u64 {
    let (op, imm) = (slot as u8, (slot >> 32) as i32);
    let fits_compare = (0..4096).contains(&imm);
    match (op & 7, op >> 4) {
        (0, _) => 4,
        (4 | 7, 9) => 2,
        (3, 12 | 13) => 6,
        (1..=4 | 7, _) => 1,
        (_, 0) => 1,
        (_, 8) if slot >> 12 & 15 == 1 => 1,
        (_, 8) => 20,
        (_, 9) => 1,
        _ if op & 8 != 0 || fits_compare => 2,
        _ => 4,
    }
}

struct Sum<'a>(&'a [u64], u64);

impl<M> Trace<M> for Sum<'_> {
    fn step(&mut self, step: Step<'_>, _: &M) {
        self.1 += cost(self.0[step.pc]);
    }
}

/// The model's total over the path one case takes.
pub fn executed(case: &Case) -> u64 {
    let mut buffer = vec![Insn::EMPTY; case.slots.len()];
    let code = Code::new(&case.slots, &mut buffer).unwrap();
    let (mut stack, mut mem) = (vec![0u8; STACK_BYTES], case.mem.clone());
    let mut space = Space::new();
    let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap() + STACK_BYTES as u64;
    let r1 = space.add(Backing::Bytes(&mut mem)).unwrap();
    let mut sum = Sum(&case.slots, 0);
    let start = Start {
        args: [r1, case.len],
        stack_top,
        fuel: super::FUEL,
    };
    interp::run(code, start, &mut space, &mut SuiteHelpers, &mut sum).unwrap();
    sum.1
}
