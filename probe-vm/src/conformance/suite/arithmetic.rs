//! ALU operations, moves, byte order, constants.

use super::{Body, Case, EDGES, IMMEDIATES, slot};
use alloc::format;
use alloc::vec::Vec;

/// An operation: name, opcode bits, `off` field, 64-bit meaning, 32-bit meaning.
type Operation = (&'static str, u8, i16, fn(u64, u64) -> u64, fn(u32, u32) -> u32);

/// RFC 9669 section 4.1. Shifts take the amount modulo the width; division by zero yields 0, modulo leaves the dividend.
const OPERATIONS: [Operation; 14] = [
    ("add", 0x00, 0, u64::wrapping_add, u32::wrapping_add),
    ("sub", 0x10, 0, u64::wrapping_sub, u32::wrapping_sub),
    ("mul", 0x20, 0, u64::wrapping_mul, u32::wrapping_mul),
    (
        "div",
        0x30,
        0,
        |a, b| a.checked_div(b).unwrap_or(0),
        |a, b| a.checked_div(b).unwrap_or(0),
    ),
    (
        "sdiv",
        0x30,
        1,
        |a, b| {
            if b == 0 {
                0
            } else {
                (a as i64).wrapping_div(b as i64) as u64
            }
        },
        |a, b| {
            if b == 0 {
                0
            } else {
                (a as i32).wrapping_div(b as i32) as u32
            }
        },
    ),
    ("or", 0x40, 0, |a, b| a | b, |a, b| a | b),
    ("and", 0x50, 0, |a, b| a & b, |a, b| a & b),
    ("lsh", 0x60, 0, |a, b| a << (b & 63), |a, b| a << (b & 31)),
    ("rsh", 0x70, 0, |a, b| a >> (b & 63), |a, b| a >> (b & 31)),
    (
        "mod",
        0x90,
        0,
        |a, b| a.checked_rem(b).unwrap_or(a),
        |a, b| a.checked_rem(b).unwrap_or(a),
    ),
    (
        "smod",
        0x90,
        1,
        |a, b| {
            if b == 0 {
                a
            } else {
                (a as i64).wrapping_rem(b as i64) as u64
            }
        },
        |a, b| {
            if b == 0 {
                a
            } else {
                (a as i32).wrapping_rem(b as i32) as u32
            }
        },
    ),
    ("xor", 0xa0, 0, |a, b| a ^ b, |a, b| a ^ b),
    ("mov", 0xb0, 0, |_, b| b, |_, b| b),
    (
        "arsh",
        0xc0,
        0,
        |a, b| ((a as i64) >> (b & 63)) as u64,
        |a, b| ((a as i32) >> (b & 31)) as u32,
    ),
];

const CLASS64: u8 = 0x07;
const CLASS32: u8 = 0x04;
const REG: u8 = 0x08;

pub(super) fn add(out: &mut Vec<Case>) {
    for operation in &OPERATIONS {
        for wide in [true, false] {
            out.push(with_register(operation, wide, false));
            out.push(with_register(operation, wide, true));
            out.push(with_immediate(operation, wide));
        }
    }
    unary(out);
    moves(out);
}

fn apply(operation: &Operation, wide: bool, a: u64, b: u64) -> u64 {
    if wide {
        (operation.3)(a, b)
    } else {
        (operation.4)(a as u32, b as u32).into()
    }
}

const fn class(wide: bool) -> u8 {
    if wide { CLASS64 } else { CLASS32 }
}

/// `away`: the first operand comes from a third register by `mov`, which compilers merge.
fn with_register(operation: &Operation, wide: bool, away: bool) -> Case {
    let mut body = Body::new();
    for a in EDGES {
        for b in EDGES {
            let op = class(wide) | REG | operation.1;
            if away {
                body.set(4, a).set(5, b).put(slot(0xbf, 3, 4, 0, 0));
            } else {
                body.set(3, a).set(5, b);
            }
            body.put(slot(op, 3, 5, operation.2, 0));
            body.fold(3, apply(operation, wide, a, b));
        }
    }
    let merged = if away { ", moved" } else { "" };
    body.case(
        format!("{}{} register{merged}", operation.0, 32 << u8::from(wide)),
        Vec::new(),
    )
}

fn with_immediate(operation: &Operation, wide: bool) -> Case {
    let mut body = Body::new();
    for a in EDGES {
        for imm in IMMEDIATES {
            let op = class(wide) | operation.1;
            body.set(3, a).put(slot(op, 3, 0, operation.2, imm));
            body.fold(3, apply(operation, wide, a, imm as i64 as u64));
        }
    }
    body.case(format!("{}{} immediate", operation.0, 32 << u8::from(wide)), Vec::new())
}

/// A meaning of one operand.
type Unary = fn(u64) -> u64;

fn unary(out: &mut Vec<Case>) {
    let operations: [(&str, u64, Unary); 11] = [
        ("neg64", slot(0x87, 3, 0, 0, 0), u64::wrapping_neg),
        ("neg32", slot(0x84, 3, 0, 0, 0), |a| (a as u32).wrapping_neg().into()),
        ("le16", slot(0xd4, 3, 0, 0, 16), |a| u64::from(a as u16)),
        ("le32", slot(0xd4, 3, 0, 0, 32), |a| u64::from(a as u32)),
        ("le64", slot(0xd4, 3, 0, 0, 64), |a| a),
        ("be16", slot(0xdc, 3, 0, 0, 16), |a| u64::from((a as u16).swap_bytes())),
        ("be32", slot(0xdc, 3, 0, 0, 32), |a| u64::from((a as u32).swap_bytes())),
        ("be64", slot(0xdc, 3, 0, 0, 64), u64::swap_bytes),
        ("bswap16", slot(0xd7, 3, 0, 0, 16), |a| {
            u64::from((a as u16).swap_bytes())
        }),
        ("bswap32", slot(0xd7, 3, 0, 0, 32), |a| {
            u64::from((a as u32).swap_bytes())
        }),
        ("bswap64", slot(0xd7, 3, 0, 0, 64), u64::swap_bytes),
    ];
    for (name, insn, meaning) in operations {
        let mut body = Body::new();
        for a in EDGES {
            body.set(3, a).put(insn).fold(3, meaning(a));
        }
        out.push(body.case(name.into(), Vec::new()));
    }
}

fn moves(out: &mut Vec<Case>) {
    let moves: [(&str, u8, i16, Unary); 5] = [
        ("movsx64 8", 0xbf, 8, |a| a as i8 as u64),
        ("movsx64 16", 0xbf, 16, |a| a as i16 as u64),
        ("movsx64 32", 0xbf, 32, |a| a as i32 as u64),
        ("movsx32 8", 0xbc, 8, |a| (a as i8 as u32).into()),
        ("movsx32 16", 0xbc, 16, |a| (a as i16 as u32).into()),
    ];
    for (name, op, off, meaning) in moves {
        let mut body = Body::new();
        for a in EDGES {
            body.set(4, a).put(slot(op, 3, 4, off, 0)).fold(3, meaning(a));
            body.set(3, a).put(slot(op, 3, 3, off, 0)).fold(3, meaning(a));
        }
        out.push(body.case(name.into(), Vec::new()));
    }
}
