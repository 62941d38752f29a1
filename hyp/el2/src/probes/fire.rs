//! From a point to its probes: the stubs that sites call, and what they are turned into.
//!
//! A stub is `nop; ret`. Arming turns its `nop` into a branch to the probe, or to a chain that this module has written
//! where the point's other chain is not: whoever is in the old one finishes there. The two are used in turn.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU16, Ordering};

use hyp_core::probe::PointArms;
use hyp_core::probe_vm::jit::chain::{self, PROBES_MAX, Target, WORDS_MAX};
use hyp_core::probe_vm::points::{POINT_COUNT, PointId};

use super::code::{CHAINS_AT, Code};
use crate::{image, mmu};

/// Bytes of a stub.
pub const STUB_BYTES: usize = 8;
/// Words of code memory of a chain.
const CHAIN_WORDS: usize = WORDS_MAX.next_power_of_two();
/// Words of code memory that chains take: two for each point.
pub const CHAINS_WORDS: usize = 2 * POINT_COUNT * CHAIN_WORDS;

global_asm!(
    ".section .text.fire_stubs, \"ax\"",
    ".balign 64",
    ".global fire_stubs",
    "fire_stubs:",
    ".rept {points}",
    "nop",
    "ret",
    ".endr",
    points = const POINT_COUNT,
);

unsafe extern "C" {
    safe static fire_stubs: u8;
}

/// Bit n: point n uses its second chain, or used it last.
static SECOND: AtomicU16 = AtomicU16::new(0);
const _: () = assert!(POINT_COUNT <= u16::BITS as usize);

/// Makes the memory of chains executable; once, at boot.
pub fn init() {
    super::code::publish(CHAINS_AT, CHAINS_WORDS);
}

/// The stub of `point` leads to `arms` from now on.
pub fn arm(point: PointId, arms: &PointArms<Code>) {
    let mut targets = [Target { entry: 0, only: None }; PROBES_MAX];
    let mut count = 0;
    for (target, armed) in targets.iter_mut().zip(arms.iter()) {
        *target = Target {
            entry: armed.code().entry(),
            only: armed.only(),
        };
        count += 1;
    }
    let to = write_chain(point, targets.get(..count).unwrap_or(&[]));
    let stub = core::ptr::from_ref(&fire_stubs).addr() as u64 + point as u64 * STUB_BYTES as u64;
    crate::sites::patch(stub, to);
}

/// Writes the chain that is not in use, if the probes need one: what the stub must branch to.
fn write_chain(point: PointId, targets: &[Target]) -> Option<u64> {
    let second = SECOND.fetch_xor(1 << point as u16, Ordering::Relaxed) >> point as u16 & 1 == 0;
    let at = CHAINS_AT + (2 * point as usize + usize::from(second)) * CHAIN_WORDS;
    let address = image::code_start() + at as u64 * 4;
    mmu::with_window(address, CHAIN_WORDS, |words| {
        chain::write(targets, super::store::CONTEXT, address, words)
    })
    .flatten()
}
