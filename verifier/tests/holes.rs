//! Holes that other verifiers had: each program must be refused, or its dangerous value bounded rightly.

mod common;
#[path = "common/random.rs"]
mod random;

use common::{HELPERS, OBJECTS, map, verify};
use random::slot;
use verifier::env::{ArgKind as A, Limits, MapKind, Ret, Rules};
use verifier::{Env, HelperProto, Why};

fn env() -> Env<'static> {
    let mut all = HELPERS.to_vec();
    let none = A::None;
    all.push(HelperProto::new(
        131,
        "ringbuf_reserve",
        [A::ConstMap(u64::MAX), A::ConstAlloc(1 << 20), A::Zero, none, none],
        Ret::RecordOrNull,
    ));
    all.push(HelperProto::new(
        132,
        "ringbuf_submit",
        [A::Record, A::Any, none, none, none],
        Ret::Void,
    ));
    let rules = Rules {
        strict_align: false,
        ..Rules::GNOMON
    };
    Env {
        helpers: Box::leak(all.into_boxed_slice()),
        objects: OBJECTS,
        rules,
        limits: Limits::GNOMON,
    }
}

/// r0 = value of 8 bytes, r6 = an unknown 64-bit number; then `body`; r0 = 0; exit.
fn with_value(body: &[u64]) -> Vec<u64> {
    let mut text = vec![slot(0x79, 6, 1, 0, 0), slot(0x18, 9, 2, 0, 0), 0];
    text.extend(body);
    text.extend([slot(0xb7, 0, 0, 0, 0), slot(0x95, 0, 0, 0, 0)]);
    text
}

/// `index` computes r7 from r6; the value is then read at r7 times 8. True if refused for the access.
fn refuses(body: &[u64]) -> bool {
    let mut all = body.to_vec();
    all.extend([slot(0x67, 7, 0, 0, 3), slot(0x0f, 9, 7, 0, 0), slot(0x79, 0, 9, 0, 0)]);
    let text = with_value(&all);
    match verify(&text, &[map(MapKind::ARRAY, 4, 8, 1)], env()) {
        Ok(_) => false,
        Err(r) => {
            let access = matches!(
                r.why,
                Why::OutOfBounds { .. } | Why::UnboundedOffset { .. } | Why::PointerOffset { .. }
            );
            assert!(access, "{:?}", r.why);
            true
        }
    }
}

/// CVE-2020-8835: a 32-bit compare must not bound the upper half.
#[test]
fn compare_of_32_bits_says_nothing_of_the_upper_half() {
    assert!(refuses(&[
        slot(0xbf, 7, 6, 0, 0),
        slot(0x56, 7, 0, 1, 0),
        slot(0x05, 0, 0, 1, 0),
        slot(0x05, 0, 0, 3, 0)
    ]));
    // The same with the upper half cut off is fine.
    assert!(!refuses(&[slot(0xbc, 7, 6, 0, 0), slot(0x57, 7, 0, 0, 0)]));
}

/// CVE-2020-27194 and 2021-3490: bounds of the low half after bitwise operations of 64 bits.
#[test]
fn bitwise_operations_bound_both_halves() {
    for code in [0x4fu8, 0x5f, 0xaf] {
        let body = [
            slot(0xbf, 7, 6, 0, 0),
            slot(0x18, 8, 0, 0, 0),
            2u64 << 32,
            slot(0x2d, 7, 8, 5, 0),
            slot(code, 7, 8, 0, 0),
            slot(0xbc, 7, 7, 0, 0),
            slot(0x77, 7, 0, 0, 1),
        ];
        let mut all = body.to_vec();
        all.extend([slot(0x67, 7, 0, 0, 3), slot(0x0f, 9, 7, 0, 0), slot(0x79, 0, 9, 0, 0)]);
        let text = with_value(&all);
        let verdict = verify(&text, &[map(MapKind::ARRAY, 4, 8, 1)], env());
        // And with 1 << 33 leaves nothing in the low half: only then is the access inside.
        assert_eq!(verdict.is_ok(), code == 0x5f, "{code:#x} {verdict:?}");
    }
}

/// CVE-2021-31440: 64-bit bounds must not be cut down to 32 bits.
#[test]
fn bounds_of_64_bits_are_not_those_of_the_low_half() {
    assert!(refuses(&[
        slot(0xbf, 7, 6, 0, 0),
        slot(0xc5, 7, 0, 4, 1),
        slot(0x6d, 7, 6, 0, 0),
        slot(0xbc, 7, 7, 0, 0)
    ]));
}

/// CVE-2021-4204: the size and offset of memory handed to a helper are checked, records must be whole.
/// CVE-2022-23222: no arithmetic on a pointer that may be null.
#[test]
fn records_are_whole_and_not_null() {
    let ring = [map(MapKind::RINGBUF, 0, 0, 4096)];
    let reserve = |rest: &[u64]| {
        let mut text = vec![
            slot(0x18, 1, 1, 0, 0),
            0,
            slot(0xb7, 2, 0, 0, 16),
            slot(0xb7, 3, 0, 0, 0),
            slot(0x85, 0, 0, 0, 131),
        ];
        text.extend(rest);
        text.extend([slot(0xb7, 0, 0, 0, 0), slot(0x95, 0, 0, 0, 0)]);
        verify(&text, &ring, env())
    };
    let submit = |shift: i32| {
        [
            slot(0x15, 0, 0, 4, 0),
            slot(0xbf, 1, 0, 0, 0),
            slot(0x07, 1, 0, 0, shift),
            slot(0xb7, 2, 0, 0, 0),
            slot(0x85, 0, 0, 0, 132),
        ]
    };
    assert!(reserve(&submit(0)).is_ok());
    assert!(matches!(reserve(&submit(8)).unwrap_err().why, Why::BadArgument { .. }));
    let add = reserve(&[slot(0x07, 0, 0, 0, 1)]).unwrap_err();
    assert!(matches!(add.why, Why::PointerArithmetic { .. }), "{:?}", add.why);
    assert!(matches!(reserve(&[]).unwrap_err().why, Why::Unreleased { .. }));
    // Released twice, or used after release.
    let mut twice = submit(0).to_vec();
    twice[0] = slot(0x15, 0, 0, 5, 0);
    twice.push(slot(0x79, 3, 0, 0, 0));
    assert!(reserve(&twice).is_err());
    // One byte past the record.
    let past = [
        slot(0x15, 0, 0, 4, 0),
        slot(0x7a, 0, 0, 9, 0),
        slot(0xbf, 1, 0, 0, 0),
        slot(0xb7, 2, 0, 0, 0),
        slot(0x85, 0, 0, 0, 132),
    ];
    assert!(matches!(reserve(&past).unwrap_err().why, Why::OutOfBounds { .. }));
}

/// CVE-2023-2163: a path must not be pruned by a state that knew more of a register that matters later.
#[test]
fn pruning_keeps_what_matters() {
    let body = [
        slot(0xb7, 7, 0, 0, 0),
        slot(0x25, 6, 0, 1, 100),
        slot(0xb7, 7, 0, 0, 1),
        slot(0x25, 6, 0, 0, 7),
    ];
    assert!(refuses(&body));
}

/// CVE-2024-41003: refining the two sides of one comparison, the same register on both.
#[test]
fn comparing_a_register_with_itself() {
    for code in [0x5du8, 0x2d, 0xad, 0x6d, 0xcd] {
        // Never true: the branch target, a wild access, is dead; what follows must still be checked.
        let body = [slot(0xbf, 7, 6, 0, 0), slot(code, 7, 7, 0, 0)];
        assert!(refuses(&body), "{code:#x}");
    }
}

/// PREVAIL had signed and unsigned comparisons share bounds, and 32-bit additions wrap unseen.
#[test]
fn wrapping_is_seen() {
    assert!(refuses(&[
        slot(0xbc, 7, 6, 0, 0),
        slot(0x25, 7, 0, 5, 1),
        slot(0x04, 7, 0, 0, -1)
    ]));
    assert!(refuses(&[
        slot(0xbf, 7, 6, 0, 0),
        slot(0xd5, 7, 0, 1, 0),
        slot(0x05, 0, 0, 3, 0)
    ]));
}

/// A path that wrote a byte of the stack must not stand for one that did not.
#[test]
fn a_written_stack_does_not_cover_an_unwritten_one() {
    let text = [
        slot(0x79, 6, 1, 0, 0),
        slot(0x15, 6, 0, 1, 0),
        slot(0x72, 10, 0, -7, 1),
        slot(0x71, 0, 10, -7, 0),
        slot(0xb7, 0, 0, 0, 0),
        slot(0x95, 0, 0, 0, 0),
    ];
    let why = verify(&text, &[], env()).unwrap_err().why;
    assert!(matches!(why, Why::UninitStack { .. }), "{why:?}");
}

/// An exit test that not every iteration makes bounds nothing.
#[test]
fn a_test_off_the_path_bounds_nothing() {
    let text = [
        slot(0x79, 6, 1, 0, 0),
        slot(0xb7, 7, 0, 0, 0),
        slot(0x55, 6, 0, 1, 0),
        slot(0x35, 7, 0, 2, 3000),
        slot(0x07, 7, 0, 0, 1),
        slot(0xa5, 7, 0, -4, 10_000),
        slot(0xb7, 0, 0, 0, 0),
        slot(0x95, 0, 0, 0, 0),
    ];
    let bound = verify(&text, &[], env()).map(|a| a.insns).unwrap_or(u64::MAX);
    // The run with r6 != 0: two before, three instructions ten thousand times, two after.
    assert!(bound >= 30_004, "{bound}");
}
