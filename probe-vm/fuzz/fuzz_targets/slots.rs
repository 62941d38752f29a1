//! Whatever the slots, planning, costing and compiling return: with code or with an error.
//! `cargo +nightly fuzz run slots` in `probe-vm/`.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|slots: Vec<u64>| {
    support::engines::survives(&slots);
});
