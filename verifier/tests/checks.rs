//! One small program for each check, and for what it lets pass: rules that only some environments have, arguments of
//! helpers, frames, counters of loops.

mod common;
#[path = "common/random.rs"]
mod random;

use common::{HELPERS, OBJECTS, map, verify};
use random::slot;
use verifier::env::{ArgKind as A, Limits, MapKind, Ret, Rules};
use verifier::{Env, HelperProto, MapDesc, Why};

const EXIT: u64 = slot(0x95, 0, 0, 0, 0);
const ZERO: u64 = slot(0xb7, 0, 0, 0, 0);

/// Helper 900 reads memory of 1 to 16 bytes, 901 memory of 0 to 16, or null; 131 reserves a record.
fn env(rules: Rules) -> Env<'static> {
    let mut all = HELPERS.to_vec();
    let none = A::None;
    let reserve = [A::ConstMap(u64::MAX), A::ConstAlloc(64), A::Zero, none, none];
    all.push(HelperProto::new(131, "ringbuf_reserve", reserve, Ret::RecordOrNull));
    let sized = [A::MemRead, A::Size(16), none, none, none];
    all.push(HelperProto::new(900, "read", sized, Ret::Scalar));
    let optional = [A::MemReadOrNull, A::SizeOrZero(16), none, none, none];
    all.push(HelperProto::new(901, "read_or_null", optional, Ret::Scalar));
    Env {
        helpers: Box::leak(all.into_boxed_slice()),
        objects: OBJECTS,
        rules,
        limits: Limits::GNOMON,
    }
}

const LINUX: Rules = Rules {
    fixed_stack: true,
    no_local_calls: true,
    speculation: true,
    loops_by_jump: true,
    wide_shift_unknown: true,
    undecided_null: true,
    isa: 3,
    ..Rules::GNOMON
};

fn maps() -> [MapDesc; 3] {
    [
        map(MapKind::ARRAY, 4, 48, 1),
        map(MapKind::RINGBUF, 0, 0, 4096),
        map(MapKind::ARRAY, 4, 3500, 1),
    ]
}

/// The name of the reason, or what was accepted.
fn answer(rules: Rules, text: &[u64]) -> String {
    match verify(text, &maps(), env(rules)) {
        Ok(_) => "accepted".into(),
        Err(r) => {
            let text = format!("{:?}", r.why);
            text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").into()
        }
    }
}

#[track_caller]
fn check(rules: Rules, body: &[u64], want: &str) {
    let text = [body, &[ZERO, EXIT]].concat();
    assert_eq!(answer(rules, &text), want, "{body:x?}");
}

/// r9 = the value of 48 bytes, r6 = an unknown number; then `body`.
fn on_value(body: &[u64]) -> Vec<u64> {
    [&[slot(0x79, 6, 1, 0, 0), slot(0x18, 9, 2, 0, 0), 0], body].concat()
}

#[test]
fn sizes_of_helper_memory() {
    let call = |helper: i32, size: i32| {
        [
            slot(0x7a, 10, 0, -8, 0),
            slot(0x7a, 10, 0, -16, 0),
            slot(0x7a, 10, 0, -24, 0),
            slot(0xbf, 1, 10, 0, 0),
            slot(0x07, 1, 0, 0, -24),
            slot(0xb7, 2, 0, 0, size),
            slot(0x85, 0, 0, 0, helper),
        ]
    };
    check(Rules::GNOMON, &call(900, 16), "accepted");
    check(Rules::GNOMON, &call(900, 17), "BadSize");
    check(Rules::GNOMON, &call(900, 0), "BadSize");
    check(Rules::GNOMON, &call(900, -1), "BadSize");
    check(Rules::GNOMON, &call(901, 0), "accepted");
    // Null with a size that may be more than 0.
    let null = |size: u64| [slot(0xb7, 1, 0, 0, 0), size, slot(0x85, 0, 0, 0, 901)];
    check(Rules::GNOMON, &null(slot(0xb7, 2, 0, 0, 0)), "accepted");
    check(Rules::GNOMON, &null(slot(0xb7, 2, 0, 0, 1)), "BadArgument");
}

#[test]
fn a_record_held_at_the_end() {
    let reserve = [
        slot(0xbf, 6, 1, 0, 0),
        slot(0x18, 1, 1, 0, 1),
        0,
        slot(0xb7, 2, 0, 0, 16),
        slot(0xb7, 3, 0, 0, 0),
        slot(0x85, 0, 0, 0, 131),
    ];
    check(Rules::GNOMON, &reserve, "Unreleased");
    // Where pointers may be returned, the record is held all the same.
    let open = Rules {
        hide_pointers: false,
        ..Rules::GNOMON
    };
    let text = [&reserve[..], &[slot(0xbf, 0, 6, 0, 0), EXIT]].concat();
    assert_eq!(answer(open, &text), "Unreleased");
}

/// What a function leaves on its stack is gone when it is called again.
#[test]
fn a_frame_is_new_each_time() {
    let text = [
        slot(0xb7, 1, 0, 0, 0),
        slot(0x85, 0, 1, 0, 4),
        slot(0xb7, 1, 0, 0, 1),
        slot(0x85, 0, 1, 0, 2),
        ZERO,
        EXIT,
        slot(0x15, 1, 0, 2, 0),
        slot(0x79, 0, 10, -8, 0),
        EXIT,
        slot(0x7a, 10, 0, -8, 7),
        ZERO,
        EXIT,
    ];
    assert_eq!(answer(Rules::GNOMON, &text), "UninitStack");
}

/// A loop of 4,000 rounds, too many to follow cheaply: a test inside it narrows the counter, and only as far as it says.
#[test]
fn a_test_inside_a_loop_narrows_its_counter() {
    let looped = |from: i32| {
        on_value(&[
            slot(0x18, 9, 2, 0, 2),
            0,
            slot(0xb7, 7, 0, 0, 0),
            slot(0xa5, 7, 0, 4, from),
            slot(0xbf, 8, 9, 0, 0),
            slot(0xbf, 3, 7, 0, 0),
            slot(0x0f, 8, 3, 0, 0),
            slot(0x71, 4, 8, 0, 0),
            slot(0x79, 5, 1, 0, 0),
            slot(0x79, 5, 1, 8, 0),
            slot(0x07, 7, 0, 0, 1),
            slot(0xa5, 7, 0, -9, 4000),
        ])
    };
    // From 3,400 on means up to 3,999, past the value's 3,500 bytes.
    let text = [&looped(3400)[..], &[ZERO, EXIT]].concat();
    let refused = verify(&text, &maps(), env(Rules::GNOMON)).unwrap_err();
    assert!(
        matches!(refused.why, Why::OutOfBounds { .. } | Why::UnboundedOffset { .. }),
        "{:?}",
        refused.why
    );
    // Never.
    check(Rules::GNOMON, &looped(4000), "accepted");
}

/// A loop of 4,000 rounds, too many to follow, that is left in two ways. What is known at its end is part of what is known
/// on the early way out, but goes elsewhere.
#[test]
fn exits_of_a_loop_stay_apart() {
    let looped = |end: u64| {
        [
            slot(0xb7, 7, 0, 0, 0),
            slot(0x07, 7, 0, 0, 1),
            slot(0x79, 3, 1, 0, 0),
            slot(0x79, 4, 1, 8, 0),
            slot(0xbd, 3, 4, 4, 0),
            slot(0xa5, 7, 0, -5, 4000),
            slot(0xbf, 0, 4, 0, 0),
            end,
            EXIT,
            ZERO,
            EXIT,
        ]
    };
    assert_eq!(answer(Rules::GNOMON, &looped(ZERO)), "accepted");
    // A load through a number.
    assert_eq!(answer(Rules::GNOMON, &looped(slot(0x79, 0, 3, 0, 0))), "NotAPointer");
}

#[test]
fn speculation_follows_what_no_run_does() {
    // if 0 == 0 goto over a wild access.
    let dead = [slot(0xb7, 7, 0, 0, 0), slot(0x15, 7, 0, 1, 0), slot(0x79, 8, 7, 0, 0)];
    check(Rules::GNOMON, &dead, "accepted");
    check(LINUX, &dead, "NotAPointer");
    // The same behind a comparison that is decided as taken by two registers.
    let both = [
        slot(0xb7, 7, 0, 0, 3),
        slot(0xb7, 8, 0, 0, 5),
        slot(0x3d, 7, 8, 1, 0),
        slot(0x05, 0, 0, 1, 0),
        slot(0x79, 8, 8, 0, 0),
    ];
    check(Rules::GNOMON, &both, "accepted");
    check(LINUX, &both, "NotAPointer");
    // What is only speculative costs nothing.
    let cheap = [
        slot(0xb7, 7, 0, 0, 0),
        slot(0x15, 7, 0, 4, 0),
        slot(0xb7, 8, 0, 0, 0),
        slot(0xb7, 8, 0, 0, 0),
        slot(0xb7, 8, 0, 0, 0),
        slot(0xb7, 8, 0, 0, 0),
        ZERO,
        EXIT,
    ];
    let bound = verify(&cheap, &maps(), env(LINUX)).map(|a| a.insns);
    assert_eq!(bound.ok(), Some(4));
}

#[test]
fn speculation_keeps_pointers_inside() {
    let moved = |by: i32| {
        on_value(&[
            slot(0x07, 9, 0, 0, by),
            slot(0x07, 9, 0, 0, -by),
            slot(0x71, 3, 9, 0, 0),
        ])
    };
    check(Rules::GNOMON, &moved(48), "accepted");
    check(LINUX, &moved(47), "accepted");
    check(LINUX, &moved(48), "ArithmeticRange");
    check(LINUX, &moved(-1), "ArithmeticRange");
    let stack = |by: i32| [slot(0xbf, 2, 10, 0, 0), slot(0x07, 2, 0, 0, by)];
    check(LINUX, &stack(-512), "accepted");
    check(LINUX, &stack(0), "ArithmeticRange");
    check(LINUX, &stack(-513), "ArithmeticRange");
    // A number of either sign.
    let signed = on_value(&[
        slot(0x57, 6, 0, 0, 7),
        slot(0x07, 9, 0, 0, 20),
        slot(0x07, 6, 0, 0, -3),
        slot(0x0f, 9, 6, 0, 0),
    ]);
    check(Rules::GNOMON, &signed, "accepted");
    check(LINUX, &signed, "ArithmeticUncontained");
    // A mask may leave the number 0, and then the subtraction after it goes below.
    let masked = on_value(&[
        slot(0x57, 6, 0, 0, 15),
        slot(0x47, 6, 0, 0, 7),
        slot(0x0f, 9, 6, 0, 0),
        slot(0x71, 7, 9, 0, 0),
        slot(0x57, 7, 0, 0, 7),
        slot(0x1f, 9, 7, 0, 0),
    ]);
    check(Rules::GNOMON, &masked, "accepted");
    check(LINUX, &masked, "ArithmeticRange");
    // One addition of a pointer on one path, of a number on the other.
    let mixed = on_value(&[
        slot(0xb7, 3, 0, 0, 1),
        slot(0x15, 6, 0, 2, 0),
        slot(0xbf, 4, 9, 0, 0),
        slot(0x05, 0, 0, 1, 0),
        slot(0xb7, 4, 0, 0, 0),
        slot(0x0f, 4, 3, 0, 0),
    ]);
    check(Rules::GNOMON, &mixed, "accepted");
    check(LINUX, &mixed, "ArithmeticMixed");
}

#[test]
fn other_habits_of_linux() {
    let open = Rules {
        speculation: false,
        hide_pointers: false,
        no_local_calls: false,
        ..LINUX
    };
    // Loops: none, or closed by a jump.
    let jump = [slot(0xb7, 7, 0, 0, 0), slot(0x07, 7, 0, 0, 1), slot(0xa5, 7, 0, -2, 9)];
    check(LINUX, &jump, "BackEdge");
    check(open, &jump, "accepted");
    let middle = [
        slot(0xb7, 7, 0, 0, 0),
        slot(0x05, 0, 0, 1, 0),
        slot(0x07, 7, 0, 0, 1),
        slot(0xa5, 7, 0, -2, 9),
    ];
    check(open, &middle, "BackEdge");
    check(Rules::GNOMON, &middle, "accepted");
    // The context is not known to be other than null; a value is.
    let context = [slot(0x55, 1, 0, 1, 0), slot(0x79, 8, 0, 0, 0)];
    check(Rules::GNOMON, &context, "accepted");
    check(open, &context, "UninitRegister");
    check(LINUX, &context, "PointerCompare");
    let value = on_value(&[slot(0x55, 9, 0, 1, 0), slot(0x79, 8, 7, 0, 0)]);
    check(open, &value, "accepted");
    // A shift by 32 of 32 bits, and an instruction of version 4.
    let wide = on_value(&[
        slot(0xb7, 2, 0, 0, 32),
        slot(0xb7, 3, 0, 0, 1),
        slot(0x6c, 3, 2, 0, 0),
        slot(0x0f, 9, 3, 0, 0),
        slot(0x71, 3, 9, 0, 0),
    ]);
    check(Rules::GNOMON, &wide, "accepted");
    check(open, &wide, "OutOfBounds");
    for newer in [
        slot(0xd7, 0, 0, 0, 16),
        slot(0xbf, 0, 0, 8, 0),
        slot(0x3f, 0, 0, 1, 0),
        slot(0x9c, 0, 0, 1, 0),
        slot(0x06, 0, 0, 0, 0),
    ] {
        check(Rules::GNOMON, &[ZERO, newer], "accepted");
        check(open, &[ZERO, newer], "Decode");
    }
    // Calls, even in code that nothing reaches.
    let call = [ZERO, EXIT, slot(0x85, 0, 1, 0, 1), EXIT, ZERO, EXIT];
    let unreachable = Rules {
        no_unreachable: false,
        ..LINUX
    };
    assert_eq!(answer(unreachable, &call), "LocalCall");
}

/// An atomic operation on the stack gives back what was there.
#[test]
fn fetched_values_are_known() {
    let fetched = on_value(&[
        slot(0x7a, 10, 0, -8, 40),
        slot(0xb7, 3, 0, 0, 5),
        slot(0xdb, 10, 3, -8, 1),
        slot(0x0f, 9, 3, 0, 0),
        slot(0x71, 3, 9, 0, 0),
    ]);
    check(Rules::GNOMON, &fetched, "accepted");
    let stored = on_value(&[
        slot(0x7a, 10, 0, -8, 40),
        slot(0xb7, 3, 0, 0, 5),
        slot(0xdb, 10, 3, -8, 1),
        slot(0x79, 3, 10, -8, 0),
        slot(0x0f, 9, 3, 0, 0),
        slot(0x71, 3, 9, 0, 0),
    ]);
    check(Rules::GNOMON, &stored, "PointerOffset");
}

/// More of something than there is memory for, or more work than is allowed, is a refusal that says so.
#[test]
fn what_does_not_fit_is_refused() {
    use verifier::reject::Pool;
    // Subprograms: with the entry one more than there is space for, each called.
    let most = verifier::memory::SUBPROGRAMS;
    let mut text = Vec::new();
    for n in 0..most as i32 {
        // Behind the calls and the end of the entry, two slots each.
        text.push(slot(0x85, 0, 1, 0, most as i32 - n - 1 + 2 + 2 * n));
    }
    text.extend([ZERO, EXIT]);
    (0..most).for_each(|_| text.extend([ZERO, EXIT]));
    let mut memory = Box::new(verifier::Pool::<512>::new());
    let program = verifier::Program { text: &text, maps: &[] };
    let mut v = verifier::Verifier::start(memory.memory(), &program, env(Rules::GNOMON), verifier::UnitCost);
    let verifier::Step::Rejected(refused) = v.step(1 << 20) else {
        panic!("more subprograms than there is space for");
    };
    let (pool, size) = (Pool::Subprograms, most as u32);
    assert_eq!(refused.why, Why::NoSpace { pool, size });
    // Work: 600 instructions, with 500 visits allowed.
    let long = [&[ZERO; 600][..], &[EXIT]].concat();
    let mut few = env(Rules::GNOMON);
    assert_eq!(verify(&long, &maps(), few).map(|a| a.insns).ok(), Some(601));
    few.limits.visits_max = 500;
    let refused = verify(&long, &maps(), few).unwrap_err();
    assert!(
        matches!(refused.why, Why::TooMuchEffort { max: 500, .. }),
        "{:?}",
        refused.why
    );
}
