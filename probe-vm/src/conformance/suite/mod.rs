//! Conformance programs of our own: every opcode of RFC 9669 over the edges of its operands.
//!
//! A program does one operation on many operands and folds the results into r0. What it must return is computed here, by
//! Rust's own integer operations, as the RFC words them; no engine of this crate is asked.

mod arithmetic;
mod flow;
mod memory;

use alloc::string::String;
use alloc::vec::Vec;

/// One program.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// Its slots.
    pub slots: Vec<u64>,
    /// Memory that r1 points at; r2 is its length.
    pub mem: Vec<u8>,
    /// What it returns.
    pub want: u64,
}

/// All programs.
pub fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    arithmetic::add(&mut out);
    flow::add(&mut out);
    memory::add(&mut out);
    out
}

/// One slot of a program, from its fields (RFC 9669 section 3).
pub const fn slot(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    op as u64 | (dst as u64) << 8 | (src as u64) << 12 | (off as u16 as u64) << 16 | (imm as u32 as u64) << 32
}

/// Values at which something changes: zero, one, signs of each width, carries, all ones.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x0123_4567_89ab_cdef,
    u64::MAX,
];

/// Edges of immediates, those of the compiler's encodings among them.
const IMMEDIATES: [i32; 14] = [
    0,
    1,
    -1,
    2,
    7,
    0x1f,
    0xfff,
    0x1000,
    -0x1000,
    0xff_ffff,
    0x0101_0101,
    0x7ff0,
    i32::MAX,
    i32::MIN,
];

const EXIT: u64 = slot(0x95, 0, 0, 0, 0);
/// Odd, so that folding loses nothing.
const FOLD: i32 = 0x0100_0193;

/// A program under construction.
struct Body {
    slots: Vec<u64>,
    want: u64,
}

impl Body {
    /// `r0 = 0`.
    fn new() -> Self {
        Body {
            slots: alloc::vec![slot(0xb7, 0, 0, 0, 0)],
            want: 0,
        }
    }

    fn put(&mut self, slot: u64) -> &mut Self {
        self.slots.push(slot);
        self
    }

    /// `r = value`, 64 bits.
    fn set(&mut self, r: u8, value: u64) -> &mut Self {
        self.put(slot(0x18, r, 0, 0, value as i32));
        self.put(slot(0, 0, 0, 0, (value >> 32) as i32))
    }

    /// `r0 = r0 * FOLD ^ r`, which must hold `value`.
    fn fold(&mut self, r: u8, value: u64) -> &mut Self {
        self.want = self.want.wrapping_mul(FOLD as u64) ^ value;
        self.put(slot(0x27, 0, 0, 0, FOLD)).put(slot(0xaf, 0, r, 0, 0))
    }

    fn case(mut self, name: String, mem: Vec<u8>) -> Case {
        self.slots.push(EXIT);
        Case {
            name,
            slots: self.slots,
            mem,
            want: self.want,
        }
    }
}
