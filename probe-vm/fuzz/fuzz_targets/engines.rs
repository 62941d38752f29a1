//! Interpreter and compiled code agree on every well-formed program, and the stated cost bounds the words executed.
//! `cargo +nightly fuzz run engines` in `probe-vm/`.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use support::engines::run_both;
use support::random::{self, Rng};

fuzz_target!(|input: (u64, bool, u8)| {
    let (seed, lse, failures) = input;
    let mut rng = Rng(seed | 1);
    let slots = random::program(&mut rng);
    let mem = random::memory(&mut rng);
    // An exclusive loop gives up after sixteen tries.
    let both = run_both(&slots, &mem, 0, lse, failures as u32 % 15);
    assert_eq!(both.r0[0], both.r0[1]);
    assert_eq!(both.mem[0], both.mem[1]);
    assert!(both.cost.is_some_and(|cost| both.executed <= cost));
});
