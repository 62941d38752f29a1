//! Nanoseconds an instruction takes in the interpreter, and in rbpf's in the same run.
//!
//! Rows: `interp.<program>.ns_per_insn` (goal: below 7), `interp.<program>.rbpf_ratio`, rbpf's time over ours
//! (higher is better). uBPF's interpreter took 7.3 ns on the same kind of machine.

#[path = "../tests/support/mod.rs"]
mod support;

use probe_vm::interp::{self, Backing, Code, Insn, STACK_BYTES, Space, Start};
use std::time::Instant;
use support::random::slot;

/// Rounds of each program's loop: a run is shorter than a time slice.
const ROUNDS: i32 = 50_000;
/// The shortest of this many runs counts: the machine is shared.
const RUNS: usize = 60;

struct Program {
    name: &'static str,
    slots: Vec<u64>,
}

fn looped(name: &'static str, body: &[u64]) -> Program {
    let mut slots = vec![
        slot(0xb7, 0, 0, 0, 1),
        slot(0xb7, 8, 0, 0, ROUNDS),
        slot(0xbf, 9, 1, 0, 0),
    ];
    slots.extend([slot(0xb7, 2, 0, 0, 3), slot(0xb7, 3, 0, 0, 5)]);
    let head = slots.len() as i16;
    slots.extend(body);
    slots.push(slot(0x17, 8, 0, 0, 1));
    let back = head - slots.len() as i16 - 1;
    slots.push(slot(0x55, 8, 0, back, 0));
    slots.push(slot(0x95, 0, 0, 0, 0));
    Program { name, slots }
}

fn programs() -> [Program; 3] {
    let alu = [
        slot(0x0f, 0, 2, 0, 0),
        slot(0xaf, 0, 3, 0, 0),
        slot(0x67, 0, 0, 0, 3),
        slot(0x27, 2, 0, 0, 0x1f),
        slot(0x1f, 3, 0, 0, 0),
        slot(0x77, 2, 0, 0, 2),
    ];
    let memory = [
        slot(0x79, 4, 9, 0, 0),
        slot(0x0f, 4, 2, 0, 0),
        slot(0x7b, 9, 4, 8, 0),
        slot(0x61, 5, 9, 12, 0),
        slot(0x73, 9, 5, 3, 0),
        slot(0x7b, 10, 0, -8, 0),
    ];
    // An FNV-like hash of a byte with a branch on its low bit: what probes look like.
    let mixed = [
        slot(0x71, 4, 9, 1, 0),
        slot(0xaf, 0, 4, 0, 0),
        slot(0x27, 0, 0, 0, 0x0100_0193),
        slot(0x45, 0, 0, 1, 1),
        slot(0x07, 2, 0, 0, 1),
        slot(0xbf, 5, 0, 0, 0),
        slot(0x57, 5, 0, 0, 0xff),
        slot(0x73, 9, 5, 1, 0),
    ];
    [looped("alu", &alu), looped("memory", &memory), looped("mixed", &mixed)]
}

/// Result, instructions, and the best time a run took in nanoseconds.
fn ours(slots: &[u64]) -> (u64, u64, f64) {
    let mut buffer = vec![Insn::EMPTY; slots.len()];
    let code = Code::new(slots, &mut buffer).unwrap();
    let mut best = f64::MAX;
    let mut result = (0, 0);
    for _ in 0..RUNS {
        let (mut stack, mut mem) = (vec![0; STACK_BYTES], vec![7; 64]);
        let mut space = Space::new();
        let stack_top = space.add(Backing::Bytes(&mut stack)).unwrap() + STACK_BYTES as u64;
        let r1 = space.add(Backing::Bytes(&mut mem)).unwrap();
        let start = Start {
            args: [r1, 64],
            stack_top,
            fuel: u64::MAX,
        };
        let clock = Instant::now();
        let done = interp::run(code, start, &mut space, &mut (), &mut ()).unwrap();
        best = best.min(clock.elapsed().as_nanos() as f64);
        result = (done.r0, done.executed);
    }
    (result.0, result.1, best)
}

fn rbpf(slots: &[u64]) -> (u64, f64) {
    let bytes: Vec<u8> = slots.iter().flat_map(|s| s.to_le_bytes()).collect();
    let vm = rbpf::EbpfVmRaw::new(Some(&bytes)).unwrap();
    let mut best = f64::MAX;
    let mut result = 0;
    for _ in 0..RUNS {
        let mut mem = vec![7; 64];
        let clock = Instant::now();
        result = vm.execute_program(&mut mem).unwrap();
        best = best.min(clock.elapsed().as_nanos() as f64);
    }
    (result, best)
}

fn main() {
    for program in programs() {
        let (r0, executed, time) = ours(&program.slots);
        let (theirs, their_time) = rbpf(&program.slots);
        assert_eq!(r0, theirs, "{}", program.name);
        let ns = |time: f64| (100.0 * time / executed as f64).round() / 100.0;
        let name = program.name;
        let ratio = (100.0 * their_time / time).round() / 100.0;
        println!("{name}: {executed} instructions, rbpf {} ns each", ns(their_time));
        println!(
            "@row {{\"name\": \"interp.{name}.ns_per_insn\", \"value\": {}, \"unit\": \"ns\", \"goal\": 7}}",
            ns(time)
        );
        println!(
            "@row {{\"name\": \"interp.{name}.rbpf_ratio\", \"value\": {ratio}, \"unit\": \"x\", \"goal\": 1, \"better\": \"higher\"}}"
        );
    }
}
