//! Nothing a guest can put into a program makes the compiler do anything but return.
mod support;

use proptest::prelude::*;
use support::engines::survives;
use support::random::{self, Rng};

/// Slots with opcodes that exist, and otherwise anything.
fn plausible() -> impl Strategy<Value = Vec<u64>> {
    let op = proptest::sample::select(vec![
        0x04u8, 0x07, 0x0f, 0x18, 0x2f, 0x34, 0x37, 0x3f, 0x57, 0x5f, 0x61, 0x63, 0x6d, 0x74, 0x7a, 0x7b, 0x81, 0x85,
        0x87, 0x8d, 0x94, 0x95, 0x9c, 0xa7, 0xb4, 0xb7, 0xbc, 0xbf, 0xc3, 0xd4, 0xd7, 0xdb, 0xdc, 0x05, 0x06, 0x15,
        0x1d, 0x45, 0xa6,
    ]);
    let slot = (
        op,
        0u8..11,
        0u8..11,
        -9i16..9,
        proptest::sample::select(vec![0, 1, 5, 181, -1, 0x51, 0xf1, 16, 64, i32::MIN]),
    )
        .prop_map(|(op, dst, src, off, imm)| random::slot(op, dst, src, off, imm));
    proptest::collection::vec(slot, 0..40)
}

proptest! {
    #[test]
    fn any_slots(slots in proptest::collection::vec(any::<u64>(), 0..40)) {
        survives(&slots);
    }

    #[test]
    fn plausible_slots(slots in plausible()) {
        survives(&slots);
    }

    #[test]
    fn programs_with_one_slot_changed(seed in 1u64.., at in any::<prop::sample::Index>(), bits in any::<u64>()) {
        let mut slots = random::program(&mut Rng(seed));
        prop_assert!(survives(&slots));
        let at = at.index(slots.len());
        slots[at] ^= bits;
        survives(&slots);
    }
}
