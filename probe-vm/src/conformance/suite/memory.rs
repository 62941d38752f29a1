//! Loads, stores, atomic operations.

use super::{Body, Case, EDGES, slot};
use alloc::format;
use alloc::vec::Vec;

/// Sizes: bytes, opcode bits.
const SIZES: [(u32, u8); 4] = [(1, 0x10), (2, 0x08), (4, 0x00), (8, 0x18)];
/// Bytes of memory.
const BYTES: usize = 64;

fn pattern() -> Vec<u8> {
    // High bits set and clear in turn, so that signs show.
    (0..BYTES as u32).map(|i| (i.wrapping_mul(0x9d) ^ 0x80) as u8).collect()
}

fn word(mem: &[u8], at: usize, bytes: u32) -> u64 {
    (0..bytes as usize).fold(0, |value, i| {
        value | u64::from(mem.get(at + i).copied().unwrap_or(0)) << (8 * i)
    })
}

fn set_word(mem: &mut [u8], at: usize, bytes: u32, value: u64) {
    for (to, from) in mem.iter_mut().skip(at).zip(value.to_le_bytes()).take(bytes as usize) {
        *to = from;
    }
}

const fn low(value: u64, bytes: u32) -> u64 {
    value & (u64::MAX >> (64 - 8 * bytes))
}

pub(super) fn add(out: &mut Vec<Case>) {
    for (bytes, op) in SIZES {
        out.push(loads(bytes, op, 0x61, false));
        if bytes < 8 {
            out.push(loads(bytes, op, 0x81, true));
        }
        for stack in [false, true] {
            out.push(stores(bytes, op, true, stack));
            out.push(stores(bytes, op, false, stack));
        }
    }
    for (bytes, op) in [(4, 0x00), (8, 0x18)] {
        for atomic in &ATOMICS {
            out.push(atomics(bytes, op, atomic, 0));
            out.push(atomics(bytes, op, atomic, FETCH));
        }
        out.push(exchanges(bytes, op));
    }
}

fn loads(bytes: u32, op: u8, mode: u8, signed: bool) -> Case {
    let mem = pattern();
    let mut body = Body::new();
    for at in (0..BYTES).step_by(bytes as usize) {
        let value = word(&mem, at, bytes);
        let shift = 64 - 8 * bytes;
        let shown = if signed {
            ((value << shift) as i64 >> shift) as u64
        } else {
            value
        };
        body.put(slot(mode | op, 3, 1, at as i16, 0)).fold(3, shown);
    }
    let kind = if signed { "signed load" } else { "load" };
    body.case(format!("{kind} {}", 8 * bytes), mem)
}

/// Stores of edges, to memory or to the stack, then all of it read back by 8 bytes.
fn stores(bytes: u32, op: u8, register: bool, stack: bool) -> Case {
    let mut mem = pattern();
    let mut body = Body::new();
    let (base, from) = if stack { (10, -(BYTES as i16)) } else { (1, 0) };
    if stack {
        // A stack holds nothing before.
        for at in (0..BYTES).step_by(8) {
            set_word(&mut mem, at, 8, 0);
            body.put(slot(0x7a, 10, 0, from + at as i16, 0));
        }
    }
    let initial = mem.clone();
    for (at, value) in (0..BYTES).step_by(bytes as usize).zip(EDGES.iter().cycle()) {
        let off = from + at as i16;
        if register {
            body.set(3, *value).put(slot(0x63 | op, base, 3, off, 0));
            set_word(&mut mem, at, bytes, *value);
        } else {
            let imm = *value as i32;
            body.put(slot(0x62 | op, base, 0, off, imm));
            set_word(&mut mem, at, bytes, imm as i64 as u64);
        }
    }
    for at in (0..BYTES).step_by(8) {
        let value = word(&mem, at, 8);
        body.put(slot(0x79, 3, base, from + at as i16, 0)).fold(3, value);
    }
    let kind = if register { "register" } else { "immediate" };
    let place = if stack { "stack" } else { "memory" };
    body.case(format!("store {} {kind} to {place}", 8 * bytes), initial)
}

/// An atomic operation: name, number, meaning.
type Atomic = (&'static str, i32, fn(u64, u64) -> u64);

const ATOMICS: [Atomic; 4] = [
    ("add", 0x00, u64::wrapping_add),
    ("or", 0x40, |a, b| a | b),
    ("and", 0x50, |a, b| a & b),
    ("xor", 0xa0, |a, b| a ^ b),
];
const FETCH: i32 = 1;
const XCHG: i32 = 0xe1;
const CMPXCHG: i32 = 0xf1;

/// On the stack, with or without fetching what was there.
fn atomics(bytes: u32, op: u8, atomic: &Atomic, fetch: i32) -> Case {
    let mut body = Body::new();
    for a in EDGES {
        for b in EDGES {
            body.set(3, a).put(slot(0x7b, 10, 3, -8, 0)).set(4, b);
            body.put(slot(0xc3 | op, 10, 4, -8, atomic.1 | fetch));
            let old = low(a, bytes);
            body.fold(4, if fetch == 0 { b } else { old });
            let new = low((atomic.2)(a, b), bytes) | a & !low(u64::MAX, bytes);
            body.put(slot(0x79, 5, 10, -8, 0)).fold(5, new);
        }
    }
    body.case(
        format!(
            "atomic {}{} {}",
            if fetch == 0 { "" } else { "fetch " },
            atomic.0,
            8 * bytes
        ),
        Vec::new(),
    )
}

fn exchanges(bytes: u32, op: u8) -> Case {
    let mut body = Body::new();
    // r0 is compared with: the fold moves to r6.
    body.put(slot(0xb7, 6, 0, 0, 0));
    let mut want = 0u64;
    let mut fold = |body: &mut Body, r: u8, value: u64| {
        want = want.wrapping_mul(super::FOLD as u64) ^ value;
        body.put(slot(0x27, 6, 0, 0, super::FOLD)).put(slot(0xaf, 6, r, 0, 0));
    };
    for a in EDGES {
        for b in EDGES.into_iter().step_by(2).chain([a]) {
            let kept = a & !low(u64::MAX, bytes);
            body.set(3, a).put(slot(0x7b, 10, 3, -8, 0)).set(4, b);
            body.put(slot(0xc3 | op, 10, 4, -8, XCHG));
            fold(&mut body, 4, low(a, bytes));
            body.put(slot(0x79, 5, 10, -8, 0));
            fold(&mut body, 5, low(b, bytes) | kept);
            // Compared with b: equal for a = b alone.
            body.set(3, a)
                .put(slot(0x7b, 10, 3, -8, 0))
                .set(0, b)
                .set(4, 0x5a5a_5a5a);
            body.put(slot(0xc3 | op, 10, 4, -8, CMPXCHG));
            fold(&mut body, 0, low(a, bytes));
            let equal = low(a, bytes) == low(b, bytes);
            body.put(slot(0x79, 5, 10, -8, 0));
            fold(&mut body, 5, if equal { 0x5a5a_5a5a | kept } else { a });
        }
    }
    body.put(slot(0xbf, 0, 6, 0, 0));
    body.want = want;
    body.case(format!("exchange {}", 8 * bytes), Vec::new())
}
