//! State embedding over mutated programs: whatever the slots, verifying ends; what is accepted runs inside its abstract
//! states and within its bound. `cargo +nightly fuzz run embedding` in `verifier/`.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/embed.rs"]
mod embed;
#[path = "../../tests/common/random.rs"]
mod random;

use libfuzzer_sys::fuzz_target;
use random::{Rng, program};

/// Slots of a program: more only make a run slow.
const SLOTS_MAX: usize = 256;
/// Bytes of the context.
const CONTEXT_BYTES: usize = 192;

// The first word seeds a well-formed program, the others are written over its slots: so the fuzzer starts behind the checks
// of shape and goes wherever it likes from there.
fuzz_target!(|words: Vec<u64>| {
    let Some((seed, changes)) = words.split_first() else { return };
    let mut rng = Rng((*seed).max(1));
    let mut text = if seed % 4 == 0 { changes.to_vec() } else { program(&mut rng) };
    if seed % 4 != 0 {
        for pair in changes.chunks_exact(2) {
            let at = pair[0] as usize % text.len();
            text[at] = if pair[0] >> 63 == 0 { pair[1] } else { text[at] ^ 1 << (pair[1] % 64) };
        }
    }
    text.truncate(SLOTS_MAX);
    let mut env = random::env();
    env.limits.visits_max = 20_000;
    env.limits.insn_bound_max = 1 << 20;
    let maps = random::maps();
    let contexts: Vec<Vec<u8>> = (0..2).map(|_| (0..CONTEXT_BYTES).map(|_| rng.below(256) as u8).collect()).collect();
    embed::embed(&text, &maps, env, &contexts, "fuzz");
});
