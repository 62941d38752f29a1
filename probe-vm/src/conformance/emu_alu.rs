//! Data processing of the step interpreter (Arm ARM C4.1.92, C4.1.95).

use super::emu::{Bad, Cpu};

/// NZCV.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Flags {
    pub n: bool,
    pub z: bool,
    pub c: bool,
    pub v: bool,
}

impl Flags {
    /// `ConditionHolds` of the Arm ARM.
    pub(super) fn holds(self, cond: u32) -> bool {
        let base = match cond >> 1 {
            0 => self.z,
            1 => self.c,
            2 => self.n,
            3 => self.v,
            4 => self.c && !self.z,
            5 => self.n == self.v,
            6 => self.n == self.v && !self.z,
            _ => return true,
        };
        base != (cond & 1 == 1)
    }

    fn of_bits(nzcv: u32) -> Flags {
        Flags {
            n: nzcv & 8 != 0,
            z: nzcv & 4 != 0,
            c: nzcv & 2 != 0,
            v: nzcv & 1 != 0,
        }
    }
}

/// `AddWithCarry` of the Arm ARM.
fn add_with_carry(a: u64, b: u64, carry: bool, wide: bool) -> (u64, Flags) {
    let bits = if wide { 64 } else { 32 };
    let mask = if wide { u64::MAX } else { 0xffff_ffff };
    let (a, b) = (a & mask, b & mask);
    let sum = a as u128 + b as u128 + carry as u128;
    let result = sum as u64 & mask;
    let sign = |v: u64| v >> (bits - 1) & 1 == 1;
    let flags = Flags {
        n: sign(result),
        z: result == 0,
        c: sum >> bits & 1 == 1,
        v: sign(a) == sign(b) && sign(a) != sign(result),
    };
    (result, flags)
}

fn add_or_sub(cpu: &mut Cpu, w: u32, a: u64, b: u64, sp_dest: bool) {
    let (wide, sub, set) = (w >> 31 == 1, w >> 30 & 1 == 1, w >> 29 & 1 == 1);
    let (result, flags) = add_with_carry(a, if sub { !b } else { b }, sub, wide);
    if set {
        cpu.flags = flags;
        cpu.set_zr(w & 31, wide, result);
    } else if sp_dest {
        cpu.set_sp(w & 31, wide, result);
    } else {
        cpu.set_zr(w & 31, wide, result);
    }
}

/// `DecodeBitMasks`: the pattern of `imms`/`immr` and, for bit fields, the masks.
fn bit_mask(n: u32, imms: u32, immr: u32) -> Option<u64> {
    let len = (n << 6 | (!imms & 63)).checked_ilog2()?;
    let size = 1u32 << len;
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    if len == 0 || s == size - 1 {
        return None;
    }
    let ones = u64::MAX >> (63 - s);
    let mut pattern = 0u64;
    for i in 0..size {
        if ones >> ((i + r) % size) & 1 == 1 {
            pattern |= 1 << i;
        }
    }
    let mut at = size;
    while at < 64 {
        pattern |= pattern << at;
        at *= 2;
    }
    Some(pattern)
}

fn logic(cpu: &mut Cpu, w: u32, a: u64, b: u64, sp_dest: bool) {
    let wide = w >> 31 == 1;
    let result = match w >> 29 & 3 {
        0 | 3 => a & b,
        1 => a | b,
        _ => a ^ b,
    };
    let result = if wide { result } else { result as u32 as u64 };
    if w >> 29 & 3 == 3 {
        let top = if wide { 63 } else { 31 };
        cpu.flags = Flags {
            n: result >> top & 1 == 1,
            z: result == 0,
            c: false,
            v: false,
        };
        cpu.set_zr(w & 31, wide, result);
    } else if sp_dest {
        cpu.set_sp(w & 31, wide, result);
    } else {
        cpu.set_zr(w & 31, wide, result);
    }
}

/// `SBFM`/`UBFM` as extraction or insertion, the aliases' way.
fn bitfield(cpu: &mut Cpu, w: u32) -> Result<(), Bad> {
    let wide = w >> 31 == 1;
    let bits = if wide { 64 } else { 32 };
    let (immr, imms) = (w >> 16 & 63, w >> 10 & 63);
    let source = cpu.zr(w >> 5 & 31) as u128 & if wide { u64::MAX as u128 } else { 0xffff_ffff };
    // Result before extension: the field, at bit 0 or shifted left.
    let (field, top) = if imms >= immr {
        let width = imms - immr + 1;
        ((source >> immr) & ((1 << width) - 1), width)
    } else {
        let width = imms + 1;
        ((source & ((1 << width) - 1)) << (bits - immr), width + bits - immr)
    };
    let value = match w >> 29 & 3 {
        2 => field as u64,
        0 => (((field as u64) << (64 - top)) as i64 >> (64 - top)) as u64,
        _ => return Err(Bad::Unknown),
    };
    cpu.set_zr(w & 31, wide, value);
    Ok(())
}

fn immediate(cpu: &mut Cpu, w: u32) -> Result<(), Bad> {
    let (rn, wide) = (w >> 5 & 31, w >> 31 == 1);
    match w >> 23 & 7 {
        2 => {
            let imm = (w >> 10 & 0xfff) as u64;
            let imm = if w >> 22 & 1 == 1 { imm << 12 } else { imm };
            add_or_sub(cpu, w, cpu.spr(rn), imm, true);
        }
        4 => {
            let mask = bit_mask(w >> 22 & 1, w >> 10 & 63, w >> 16 & 63).ok_or(Bad::Unknown)?;
            logic(cpu, w, cpu.zr(rn), mask, true);
        }
        5 => {
            let shift = (w >> 21 & 3) * 16;
            let imm = ((w >> 5 & 0xffff) as u64) << shift;
            let value = match w >> 29 & 3 {
                0 => !imm,
                2 => imm,
                3 => cpu.zr(w & 31) & !(0xffff << shift) | imm,
                _ => return Err(Bad::Unknown),
            };
            cpu.set_zr(w & 31, wide, value);
        }
        6 => bitfield(cpu, w)?,
        7 => {
            let (high, low) = (cpu.zr(rn) as u128, cpu.zr(w >> 16 & 31) as u128);
            cpu.set_zr(w & 31, true, ((high << 64 | low) >> (w >> 10 & 63)) as u64);
        }
        _ => return Err(Bad::Unknown),
    }
    Ok(())
}

fn divide_or_shift(w: u32, a: u64, b: u64) -> Option<u64> {
    let wide = w >> 31 == 1;
    let (a32, b32) = (a as u32, b as u32);
    let narrow = |v: u32| v as u64;
    Some(match (w >> 10 & 63, wide) {
        (2, true) => a.checked_div(b).unwrap_or(0),
        (2, false) => narrow(a32.checked_div(b32).unwrap_or(0)),
        (3, true) if b == 0 => 0,
        (3, true) => (a as i64).wrapping_div(b as i64) as u64,
        (3, false) if b32 == 0 => 0,
        (3, false) => narrow((a32 as i32).wrapping_div(b32 as i32) as u32),
        (8, true) => a << (b & 63),
        (8, false) => narrow(a32 << (b & 31)),
        (9, true) => a >> (b & 63),
        (9, false) => narrow(a32 >> (b & 31)),
        (10, true) => (a as i64 >> (b & 63)) as u64,
        (10, false) => narrow((a32 as i32 >> (b & 31)) as u32),
        _ => return None,
    })
}

fn reversed(w: u32, a: u64) -> Option<u64> {
    Some(match (w >> 10 & 63, w >> 31) {
        (1, 0) => (a as u32 >> 8 & 0x00ff_00ff | (a as u32) << 8 & 0xff00_ff00) as u64,
        (2, 0) => (a as u32).swap_bytes() as u64,
        (3, 1) => a.swap_bytes(),
        _ => return None,
    })
}

fn register(cpu: &mut Cpu, w: u32) -> Result<(), Bad> {
    let (rd, rn, rm, ra) = (w & 31, w >> 5 & 31, w >> 16 & 31, w >> 10 & 31);
    let wide = w >> 31 == 1;
    let (a, b) = (cpu.zr(rn), cpu.zr(rm));
    match w >> 24 & 31 {
        0x0a => {
            if w >> 22 & 3 != 0 || w >> 10 & 63 != 0 {
                return Err(Bad::Unknown);
            }
            logic(cpu, w, a, if w >> 21 & 1 == 1 { !b } else { b }, false);
        }
        0x0b if w >> 21 & 1 == 1 => {
            let (option, shift) = (w >> 13 & 7, w >> 10 & 7);
            let b = match option {
                2 if shift <= 4 => (b as u32 as u64) << shift,
                3 if shift == 0 => b,
                _ => return Err(Bad::Unknown),
            };
            add_or_sub(cpu, w, cpu.spr(rn), b, true);
        }
        0x0b if w >> 22 & 3 == 0 => add_or_sub(cpu, w, a, b << (w >> 10 & 63), false),
        0x1b => {
            let c = cpu.zr(ra);
            let value = match (w >> 21 & 7, w >> 15 & 1) {
                (0, 0) => c.wrapping_add(a.wrapping_mul(b)),
                (0, 1) => c.wrapping_sub(a.wrapping_mul(b)),
                (5, 0) => c.wrapping_add((a as u32 as u64).wrapping_mul(b as u32 as u64)),
                (6, 0) => (a as u128 * b as u128 >> 64) as u64,
                _ => return Err(Bad::Unknown),
            };
            cpu.set_zr(rd, wide, value);
        }
        0x1a => match w >> 21 & 0xff {
            0xd4 => {
                if w >> 29 & 3 != 0 || w >> 10 & 3 != 0 {
                    return Err(Bad::Unknown);
                }
                cpu.set_zr(rd, wide, if cpu.flags.holds(w >> 12 & 15) { a } else { b });
            }
            0xd2 => conditional_compare(cpu, w, a, b)?,
            0xd6 if w >> 29 & 3 == 0 => {
                let value = divide_or_shift(w, a, b).ok_or(Bad::Unknown)?;
                cpu.set_zr(rd, wide, value);
            }
            0xd6 if w >> 29 & 3 == 2 && rm == 0 => {
                let value = reversed(w, a).ok_or(Bad::Unknown)?;
                cpu.set_zr(rd, wide, value);
            }
            _ => return Err(Bad::Unknown),
        },
        _ => return Err(Bad::Unknown),
    }
    Ok(())
}

fn conditional_compare(cpu: &mut Cpu, w: u32, a: u64, b: u64) -> Result<(), Bad> {
    if w >> 29 & 3 != 3 || w & 16 != 0 || w >> 10 & 1 != 0 {
        return Err(Bad::Unknown);
    }
    let b = if w >> 11 & 1 == 1 { (w >> 16 & 31) as u64 } else { b };
    cpu.flags = if cpu.flags.holds(w >> 12 & 15) {
        add_with_carry(a, !b, true, w >> 31 == 1).1
    } else {
        Flags::of_bits(w & 15)
    };
    Ok(())
}

pub(super) fn data_processing(cpu: &mut Cpu, w: u32) -> Result<(), Bad> {
    match w >> 26 & 7 {
        0b100 => immediate(cpu, w),
        _ if w >> 25 & 7 == 0b101 => register(cpu, w),
        _ => Err(Bad::Unknown),
    }
}
