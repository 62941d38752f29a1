//! The arithmetic of RFC 9669 sections 4.1–4.3 as plain functions.

use super::decode::{Alu, Test};
use super::mem::Size;

/// 64-bit operations; also the swaps and truncations, which always write the whole register.
#[inline(always)]
pub(super) fn alu64(op: Alu, a: u64, b: u64) -> u64 {
    match op {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        // Division by zero gives 0, a remainder by zero the dividend (RFC 9669 section 4.1).
        Alu::Div => a.checked_div(b).unwrap_or(0),
        Alu::Mod => a.checked_rem(b).unwrap_or(a),
        Alu::SDiv if b == 0 => 0,
        Alu::SDiv => (a as i64).wrapping_div(b as i64) as u64,
        Alu::SMod if b == 0 => a,
        Alu::SMod => (a as i64).wrapping_rem(b as i64) as u64,
        Alu::Or => a | b,
        Alu::And => a & b,
        Alu::Xor => a ^ b,
        Alu::Lsh => a.wrapping_shl(b as u32),
        Alu::Rsh => a.wrapping_shr(b as u32),
        Alu::Arsh => (a as i64).wrapping_shr(b as u32) as u64,
        Alu::Mov => b,
        Alu::Neg => a.wrapping_neg(),
        Alu::Movsx8 => b as i8 as u64,
        Alu::Movsx16 => b as i16 as u64,
        Alu::Movsx32 => b as i32 as u64,
        Alu::Zext16 => a & 0xffff,
        Alu::Zext32 => a & 0xffff_ffff,
        Alu::Swap16 => (a as u16).swap_bytes() as u64,
        Alu::Swap32 => (a as u32).swap_bytes() as u64,
        Alu::Swap64 => a.swap_bytes(),
    }
}

/// 32-bit operations; the caller zero-extends the result.
#[inline(always)]
pub(super) fn alu32(op: Alu, a: u32, b: u32) -> u32 {
    match op {
        Alu::Div => a.checked_div(b).unwrap_or(0),
        Alu::Mod => a.checked_rem(b).unwrap_or(a),
        Alu::SDiv if b == 0 => 0,
        Alu::SDiv => (a as i32).wrapping_div(b as i32) as u32,
        Alu::SMod if b == 0 => a,
        Alu::SMod => (a as i32).wrapping_rem(b as i32) as u32,
        Alu::Lsh => a.wrapping_shl(b),
        Alu::Rsh => a.wrapping_shr(b),
        Alu::Arsh => (a as i32).wrapping_shr(b) as u32,
        // The low half of the 64-bit result depends only on the low halves.
        _ => alu64(op, a as u64, b as u64) as u32,
    }
}

#[inline(always)]
pub(super) fn holds64(test: Test, a: u64, b: u64) -> bool {
    match test {
        Test::Eq => a == b,
        Test::Ne => a != b,
        Test::Gt => a > b,
        Test::Ge => a >= b,
        Test::Lt => a < b,
        Test::Le => a <= b,
        Test::Set => a & b != 0,
        Test::Sgt => a as i64 > b as i64,
        Test::Sge => a as i64 >= b as i64,
        Test::Slt => (a as i64) < b as i64,
        Test::Sle => a as i64 <= b as i64,
    }
}

#[inline(always)]
pub(super) fn holds32(test: Test, a: u32, b: u32) -> bool {
    match test {
        Test::Sgt | Test::Sge | Test::Slt | Test::Sle => holds64(test, a as i32 as u64, b as i32 as u64),
        _ => holds64(test, a as u64, b as u64),
    }
}

/// A value of `size` bytes as a signed 64-bit one.
pub(super) fn sign_extend(value: u64, size: Size) -> u64 {
    match size {
        Size::B => value as i8 as u64,
        Size::H => value as i16 as u64,
        Size::W => value as i32 as u64,
        Size::X => value,
    }
}
