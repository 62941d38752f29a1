//! Data processing: arithmetic, logic, shifts, moves, division (C4.1.92, C4.1.95).

use super::{Cond, Reg, Width};

/// `ADD`, `SUB`, their flag-setting forms: bits 30 (op) and 29 (S).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum AddSub {
    Add = 0b00,
    Adds = 0b01,
    Sub = 0b10,
    Subs = 0b11,
}

/// `op rd, rn, #imm12{, lsl #12}`. Register 31 is SP, but the destination of a flag-setting form is ZR.
pub const fn add_sub_imm(op: AddSub, width: Width, rd: Reg, rn: Reg, imm: (u32, bool)) -> u32 {
    let sh = if imm.1 { 1 << 22 } else { 0 };
    width.sf() | (op as u32) << 29 | 0x1100_0000 | sh | (imm.0 & 0xfff) << 10 | rn.at(5) | rd.at(0)
}

/// `op rd, rn, rm{, lsl #shift}`. Register 31 is ZR.
pub const fn add_sub_reg(op: AddSub, width: Width, rd: Reg, rn: Reg, rm: Reg, shift: u32) -> u32 {
    width.sf() | (op as u32) << 29 | 0x0b00_0000 | rm.at(16) | (shift & 63) << 10 | rn.at(5) | rd.at(0)
}

/// `op rd, rn, rm, uxtx`: the form in which register 31 is SP for `rd` and `rn`.
pub const fn add_sub_ext(op: AddSub, width: Width, rd: Reg, rn: Reg, rm: Reg) -> u32 {
    width.sf() | (op as u32) << 29 | 0x0b20_0000 | rm.at(16) | 0b011 << 13 | rn.at(5) | rd.at(0)
}

/// `add xd, xn, wm, uxtw #shift` (`shift` up to 4). Register 31 is SP for `rd` and `rn`.
pub const fn add_uxtw(rd: Reg, rn: Reg, rm: Reg, shift: u32) -> u32 {
    0x8b20_4000 | rm.at(16) | (shift & 7) << 10 | rn.at(5) | rd.at(0)
}

/// Logical operations: bits 30–29 (opc) and 21 (N, inverts the second operand).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Logic {
    And,
    Orr,
    Eor,
    Ands,
    Bic,
    Orn,
}

impl Logic {
    const fn opc(self) -> u32 {
        match self {
            Logic::And | Logic::Bic => 0,
            Logic::Orr | Logic::Orn => 1 << 29,
            Logic::Eor => 2 << 29,
            Logic::Ands => 3 << 29,
        }
    }
}

/// `op rd, rn, rm`.
pub const fn logic_reg(op: Logic, width: Width, rd: Reg, rn: Reg, rm: Reg) -> u32 {
    let n = if matches!(op, Logic::Bic | Logic::Orn) {
        1 << 21
    } else {
        0
    };
    width.sf() | op.opc() | 0x0a00_0000 | n | rm.at(16) | rn.at(5) | rd.at(0)
}

/// `op rd, rn, #imm`, where `field` comes from [`super::imm::logical`]. The destination of all but `ANDS` may be SP.
pub const fn logic_imm(op: Logic, width: Width, rd: Reg, rn: Reg, field: u32) -> u32 {
    width.sf() | op.opc() | 0x1200_0000 | (field & 0x1fff) << 10 | rn.at(5) | rd.at(0)
}

/// `mov rd, rm`; neither may be SP.
pub const fn mov_reg(width: Width, rd: Reg, rm: Reg) -> u32 {
    logic_reg(Logic::Orr, width, rd, Reg::ZR, rm)
}

/// The three wide moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Wide {
    Movn = 0b00,
    Movz = 0b10,
    Movk = 0b11,
}

/// `op rd, #imm16, lsl #shift` (`shift` a multiple of 16).
pub const fn wide(op: Wide, width: Width, rd: Reg, imm16: u16, shift: u32) -> u32 {
    width.sf() | (op as u32) << 29 | 0x1280_0000 | (shift / 16 & 3) << 21 | (imm16 as u32) << 5 | rd.at(0)
}

/// `madd rd, rn, rm, ra`: `ra + rn * rm`.
pub const fn madd(width: Width, rd: Reg, rn: Reg, rm: Reg, ra: Reg) -> u32 {
    width.sf() | 0x1b00_0000 | rm.at(16) | ra.at(10) | rn.at(5) | rd.at(0)
}

/// `msub rd, rn, rm, ra`: `ra - rn * rm`.
pub const fn msub(width: Width, rd: Reg, rn: Reg, rm: Reg, ra: Reg) -> u32 {
    madd(width, rd, rn, rm, ra) | 1 << 15
}

/// `umaddl xd, wn, wm, xa`: `xa + wn * wm`, unsigned 32 by 32 to 64 bits.
pub const fn umaddl(rd: Reg, rn: Reg, rm: Reg, ra: Reg) -> u32 {
    0x9ba0_0000 | rm.at(16) | ra.at(10) | rn.at(5) | rd.at(0)
}

/// `umulh xd, xn, xm`: the upper half of the 128-bit product.
pub const fn umulh(rd: Reg, rn: Reg, rm: Reg) -> u32 {
    0x9bc0_7c00 | rm.at(16) | rn.at(5) | rd.at(0)
}

/// Two-source operations of C4.1.95.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Two {
    Udiv = 0b10,
    Sdiv = 0b11,
    Lslv = 0b1000,
    Lsrv = 0b1001,
    Asrv = 0b1010,
}

/// `op rd, rn, rm`. Division by zero gives 0; shifts take the amount modulo the width.
pub const fn two(op: Two, width: Width, rd: Reg, rn: Reg, rm: Reg) -> u32 {
    width.sf() | 0x1ac0_0000 | rm.at(16) | (op as u32) << 10 | rn.at(5) | rd.at(0)
}

const fn bitfield(opc: u32, width: Width, rd: Reg, rn: Reg, immr: u32, imms: u32) -> u32 {
    let n = match width {
        Width::W => 0,
        Width::X => 1 << 22,
    };
    width.sf() | opc << 29 | 0x1300_0000 | n | (immr & 63) << 16 | (imms & 63) << 10 | rn.at(5) | rd.at(0)
}

/// `lsl rd, rn, #shift`, `shift` below the width.
pub const fn lsl_imm(width: Width, rd: Reg, rn: Reg, shift: u32) -> u32 {
    let top = width.bits() - 1;
    bitfield(
        2,
        width,
        rd,
        rn,
        width.bits().wrapping_sub(shift) & top,
        top.wrapping_sub(shift & top),
    )
}

/// `lsr rd, rn, #shift`.
pub const fn lsr_imm(width: Width, rd: Reg, rn: Reg, shift: u32) -> u32 {
    bitfield(2, width, rd, rn, shift, width.bits() - 1)
}

/// `asr rd, rn, #shift`.
pub const fn asr_imm(width: Width, rd: Reg, rn: Reg, shift: u32) -> u32 {
    bitfield(0, width, rd, rn, shift, width.bits() - 1)
}

/// `uxtb`/`uxth` (`bits` 8 or 16): the low bits, zero-extended.
pub const fn zero_extend(rd: Reg, rn: Reg, bits: u32) -> u32 {
    bitfield(2, Width::W, rd, rn, 0, bits.wrapping_sub(1))
}

/// `sxtb`/`sxth`/`sxtw` to `width` (`bits` 8, 16 or, for X, 32).
pub const fn sign_extend(width: Width, rd: Reg, rn: Reg, bits: u32) -> u32 {
    bitfield(0, width, rd, rn, 0, bits.wrapping_sub(1))
}

/// `extr xd, xn, xm, #lsb`: 64 bits of `xn:xm` from bit `lsb`.
pub const fn extr(rd: Reg, rn: Reg, rm: Reg, lsb: u32) -> u32 {
    0x93c0_0000 | rm.at(16) | (lsb & 63) << 10 | rn.at(5) | rd.at(0)
}

/// `rev rd, rn`: all bytes of the width reversed.
pub const fn rev(width: Width, rd: Reg, rn: Reg) -> u32 {
    let opc = match width {
        Width::W => 0b10,
        Width::X => 0b11,
    };
    width.sf() | 0x5ac0_0000 | opc << 10 | rn.at(5) | rd.at(0)
}

/// `rev16 wd, wn`: the bytes of each half word swapped.
pub const fn rev16(rd: Reg, rn: Reg) -> u32 {
    0x5ac0_0400 | rn.at(5) | rd.at(0)
}

/// `csel rd, rn, rm, cond`: `rn` where the condition holds, else `rm`.
pub const fn csel(width: Width, rd: Reg, rn: Reg, rm: Reg, cond: Cond) -> u32 {
    width.sf() | 0x1a80_0000 | rm.at(16) | cond.bits() << 12 | rn.at(5) | rd.at(0)
}

/// `ccmp rn, #imm5, #nzcv, cond`: compares where the condition holds, else sets the flags to `nzcv`.
pub const fn ccmp_imm(width: Width, rn: Reg, imm5: u32, nzcv: u32, cond: Cond) -> u32 {
    width.sf() | 0x7a40_0800 | (imm5 & 31) << 16 | cond.bits() << 12 | rn.at(5) | (nzcv & 15)
}

/// `ccmp rn, rm, #nzcv, cond`.
pub const fn ccmp_reg(width: Width, rn: Reg, rm: Reg, nzcv: u32, cond: Cond) -> u32 {
    width.sf() | 0x7a40_0000 | rm.at(16) | cond.bits() << 12 | rn.at(5) | (nzcv & 15)
}
