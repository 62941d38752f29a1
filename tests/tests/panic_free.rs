//! No exit of a guest can panic: from the vector entries to the `eret`, the linked hypervisor has no way into `core::panicking`.

use gnomon_tests::reach::{Image, is_panic};
use gnomon_tests::vm;

/// Functions with a bounds check that is still in the binary. There are none, and the list may only shrink.
const KNOWN: &[&str] = &[];

/// Functions with register-indirect branches. None: a probe is reached by a branch that is written when it is attached.
const INDIRECT: &[&str] = &[];

/// Offsets in the vector table of the exits of AArch64 guests: synchronous, IRQ, FIQ, SError.
const EXITS: [u64; 4] = [0x400, 0x480, 0x500, 0x580];

fn image() -> Image {
    let file = vm::dist().hypervisor();
    Image::read(&std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

#[test]
fn no_exit_reaches_a_panic() {
    let image = image();
    let table = image.address("vector_table").expect("vector_table");
    let reached = image.reach(&EXITS.map(|offset| table + offset));
    assert!(reached.count() > 10_000, "a walk that goes nowhere proves nothing");
    assert!(reached.lost.is_empty(), "{:#x?}", reached.lost);
    let mut known: Vec<&str> = Vec::new();
    let mut bad: Vec<String> = Vec::new();
    for at in &reached.panics {
        match KNOWN.iter().find(|name| image.name(*at).contains(**name)) {
            Some(name) => known.push(name),
            None => bad.push(image.chain(&reached, *at)),
        }
    }
    assert!(bad.is_empty(), "exits can panic:\n{}", bad.join("\n"));
    for name in KNOWN {
        assert!(
            known.contains(name),
            "{name} does not panic any more: take it off the list"
        );
    }
}

#[test]
fn no_exit_branches_by_register() {
    let image = image();
    let table = image.address("vector_table").expect("vector_table");
    let reached = image.reach(&EXITS.map(|offset| table + offset));
    for at in &reached.indirect {
        let name = image.name(*at);
        assert!(
            INDIRECT.iter().any(|known| name.contains(known)),
            "{at:#x} branches by register:\n{}",
            image.chain(&reached, *at)
        );
    }
}

/// The walk finds a panic where there is one: the boot refuses another board's counter.
#[test]
fn the_walk_sees_panics() {
    let image = image();
    let start = image.address("_start").expect("_start");
    let reached = image.reach(&[start]);
    assert!(reached.count() > 1_000 && !reached.panics.is_empty());
    let end = image.address("core::panicking::panic_fmt").expect("panic_fmt");
    assert!(is_panic(image.name(end)) && !is_panic(image.name(start)));
}
