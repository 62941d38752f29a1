//! Jumps, calls of subprograms, loops.

use super::{Body, Case, EDGES, EXIT, IMMEDIATES, slot};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A condition: name, opcode bits, 64-bit meaning, 32-bit meaning.
type Condition = (&'static str, u8, fn(u64, u64) -> bool, fn(u32, u32) -> bool);

/// RFC 9669 section 4.3.
const CONDITIONS: [Condition; 11] = [
    ("jeq", 0x10, |a, b| a == b, |a, b| a == b),
    ("jgt", 0x20, |a, b| a > b, |a, b| a > b),
    ("jge", 0x30, |a, b| a >= b, |a, b| a >= b),
    ("jset", 0x40, |a, b| a & b != 0, |a, b| a & b != 0),
    ("jne", 0x50, |a, b| a != b, |a, b| a != b),
    ("jsgt", 0x60, |a, b| a as i64 > b as i64, |a, b| a as i32 > b as i32),
    ("jsge", 0x70, |a, b| a as i64 >= b as i64, |a, b| a as i32 >= b as i32),
    ("jlt", 0xa0, |a, b| a < b, |a, b| a < b),
    ("jle", 0xb0, |a, b| a <= b, |a, b| a <= b),
    ("jslt", 0xc0, |a, b| (a as i64) < b as i64, |a, b| (a as i32) < b as i32),
    ("jsle", 0xd0, |a, b| a as i64 <= b as i64, |a, b| a as i32 <= b as i32),
];

pub(super) fn add(out: &mut Vec<Case>) {
    for condition in &CONDITIONS {
        for wide in [true, false] {
            out.push(jumps(condition, wide, true));
            out.push(jumps(condition, wide, false));
        }
    }
    out.push(far());
    out.push(calls());
    out.push(counted());
    out.push(backward());
}

fn jumps(condition: &Condition, wide: bool, register: bool) -> Case {
    let class = if wide { 0x05 } else { 0x06 };
    let mut body = Body::new();
    let second: Vec<(u64, i32)> = if register {
        EDGES.iter().map(|b| (*b, 0)).collect()
    } else {
        IMMEDIATES.iter().map(|b| (*b as i64 as u64, *b)).collect()
    };
    for a in EDGES {
        for (b, imm) in &second {
            let taken = if wide {
                (condition.2)(a, *b)
            } else {
                (condition.3)(a as u32, *b as u32)
            };
            body.set(3, a).put(slot(0xb7, 4, 0, 0, 1));
            if register {
                body.set(5, *b).put(slot(class | 0x08 | condition.1, 3, 5, 1, 0));
            } else {
                body.put(slot(class | condition.1, 3, 0, 1, *imm));
            }
            body.put(slot(0xb7, 4, 0, 0, 0)).fold(4, taken.into());
        }
    }
    let kind = if register { "register" } else { "immediate" };
    body.case(
        format!("{}{} {kind}", condition.0, if wide { "" } else { "32" }),
        Vec::new(),
    )
}

/// `ja` by 16 and by 32 bits, forwards, over code that would spoil the result.
fn far() -> Case {
    let mut body = Body::new();
    for (op, off, imm) in [(0x05, 2, 0), (0x06, 0, 2), (0x05, 0, 0), (0x06, 0, 0)] {
        body.put(slot(0xb7, 3, 0, 0, 5)).put(slot(op, 0, 0, off, imm));
        let skipped = off != 0 || imm != 0;
        body.put(slot(0x07, 3, 0, 0, 1)).put(slot(0x07, 3, 0, 0, 1));
        body.fold(3, if skipped { 5 } else { 7 });
    }
    body.case("ja".into(), Vec::new())
}

/// Three levels of calls with arguments, each using r6–r9 and its own stack, all of which the caller finds again.
fn calls() -> Case {
    let set = |r: u8, imm: i32| slot(0xb7, r, 0, 0, imm);
    let add = |dst: u8, src: u8| slot(0x0f, dst, src, 0, 0);
    let store = slot(0x7b, 10, 6, -8, 0);
    let load = slot(0x79, 3, 10, -8, 0);
    let call = |imm: i32| slot(0x85, 0, 1, 0, imm);
    let mut slots = vec![
        set(6, 100),
        set(7, 200),
        set(8, 300),
        set(9, 400),
        store,
        set(1, 1),
        set(2, 2),
    ];
    slots.push(call(8));
    // r0 = what was returned + r6 + r7 + r8 + r9 + the stack's word.
    slots.extend([load, add(0, 6), add(0, 7), add(0, 8), add(0, 9), add(0, 3)]);
    slots.extend([slot(0x07, 0, 0, 0, 7), EXIT]);
    // Returns r1 + r2 + 10 + 20 + its stack's 10 + the next level's.
    slots.extend([
        slot(0xbf, 7, 1, 0, 0),
        add(7, 2),
        set(6, 10),
        set(8, 20),
        store,
        slot(0xbf, 1, 7, 0, 0),
    ]);
    slots.push(call(6));
    slots.extend([load, add(0, 6), add(0, 7), add(0, 8), add(0, 3), EXIT]);
    // Returns r1 * 3 + 4 from a leaf.
    slots.extend([slot(0xbf, 6, 1, 0, 0), slot(0x27, 6, 0, 0, 3), set(9, 4), add(6, 9)]);
    slots.extend([slot(0xbf, 0, 6, 0, 0), EXIT]);
    let leaf = 3 * 3 + 4;
    let middle = leaf + 10 + 3 + 20 + 10;
    let want = middle + 100 + 200 + 300 + 400 + 100 + 7;
    Case {
        name: "calls".into(),
        slots,
        mem: Vec::new(),
        want,
    }
}

/// A loop of 100 turns.
fn counted() -> Case {
    let slots = vec![
        slot(0xb7, 0, 0, 0, 0),
        slot(0xb7, 3, 0, 0, 0),
        slot(0x0f, 0, 3, 0, 0),
        slot(0x07, 3, 0, 0, 1),
        slot(0xa5, 3, 0, -3, 100),
        EXIT,
    ];
    Case {
        name: "counted loop".into(),
        slots,
        mem: Vec::new(),
        want: 99 * 100 / 2,
    }
}

/// A way through code that lies backwards.
fn backward() -> Case {
    let slots = vec![
        slot(0xb7, 0, 0, 0, 1),
        slot(0x05, 0, 0, 2, 0),
        slot(0x07, 0, 0, 0, 10),
        EXIT,
        slot(0x07, 0, 0, 0, 100),
        slot(0x06, 0, 0, 0, -4),
    ];
    Case {
        name: "ja32 backwards".into(),
        slots,
        mem: Vec::new(),
        want: 111,
    }
}
