//! Loads, stores, pairs, exclusives and LSE atomics (C4.1.94).

use super::{Reg, Width};

/// Access size: log2 of the bytes, the `size` field at bit 30.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Size {
    B = 0,
    H = 1,
    W = 2,
    X = 3,
}

impl Size {
    const fn field(self) -> u32 {
        (self as u32) << 30
    }

    /// Bytes of one access.
    pub const fn bytes(self) -> u32 {
        1 << self as u32
    }
}

/// What a load or store does with the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// `STR`.
    Store,
    /// `LDR`: zero-extends.
    Load,
    /// `LDRSB/LDRSH/LDRSW` to 64 bits (size below X).
    LoadSigned,
}

impl Access {
    const fn opc(self) -> u32 {
        match self {
            Access::Store => 0,
            Access::Load => 1 << 22,
            Access::LoadSigned => 2 << 22,
        }
    }
}

/// `ldr/str rt, [rn, #offset]`: the scaled unsigned form where it fits, else the unscaled signed one.
/// `None`: the offset fits neither.
pub const fn offset(access: Access, size: Size, rt: Reg, rn: Reg, offset: i32) -> Option<u32> {
    let base = size.field() | access.opc() | rn.at(5) | rt.at(0);
    let scaled = offset >> size as u32;
    if offset >= 0 && scaled << size as u32 == offset && scaled < 4096 {
        Some(base | 0x3900_0000 | (scaled as u32) << 10)
    } else if offset >= -256 && offset < 256 {
        Some(base | 0x3800_0000 | (offset as u32 & 0x1ff) << 12)
    } else {
        None
    }
}

/// `ldr/str rt, [rn, rm]`.
pub const fn indexed(access: Access, size: Size, rt: Reg, rn: Reg, rm: Reg) -> u32 {
    size.field() | access.opc() | 0x3820_6800 | rm.at(16) | rn.at(5) | rt.at(0)
}

/// Addressing of a register pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum PairMode {
    Post = 0b01,
    Offset = 0b10,
    Pre = 0b11,
}

const fn pair(load: bool, mode: PairMode, rt: Reg, rt2: Reg, rn: Reg, bytes: i32) -> u32 {
    let l = if load { 1 << 22 } else { 0 };
    let imm7 = ((bytes / 8) as u32) & 0x7f;
    0xa800_0000 | (mode as u32) << 23 | l | imm7 << 15 | rt2.at(10) | rn.at(5) | rt.at(0)
}

/// `stp xt, xt2, …`; `bytes` a multiple of 8 in −512..=504.
pub const fn stp(mode: PairMode, rt: Reg, rt2: Reg, rn: Reg, bytes: i32) -> u32 {
    pair(false, mode, rt, rt2, rn, bytes)
}

/// `ldp xt, xt2, …`; `bytes` a multiple of 8 in −512..=504.
pub const fn ldp(mode: PairMode, rt: Reg, rt2: Reg, rn: Reg, bytes: i32) -> u32 {
    pair(true, mode, rt, rt2, rn, bytes)
}

/// `ldp wt, wt2, [rn, #bytes]`; `bytes` a multiple of 4 in −256..=252.
pub const fn ldp_w(rt: Reg, rt2: Reg, rn: Reg, bytes: i32) -> u32 {
    let imm7 = ((bytes / 4) as u32) & 0x7f;
    0x2940_0000 | imm7 << 15 | rt2.at(10) | rn.at(5) | rt.at(0)
}

/// `str xt, [rn, #bytes]!` (pre-indexed) with `bytes` in −256..256.
pub const fn str_pre(rt: Reg, rn: Reg, bytes: i32) -> u32 {
    0xf800_0c00 | (bytes as u32 & 0x1ff) << 12 | rn.at(5) | rt.at(0)
}

/// `ldr xt, [rn], #bytes` (post-indexed) with `bytes` in −256..256.
pub const fn ldr_post(rt: Reg, rn: Reg, bytes: i32) -> u32 {
    0xf840_0400 | (bytes as u32 & 0x1ff) << 12 | rn.at(5) | rt.at(0)
}

/// LSE atomics: bits 15 (o3) and 14–12 (opc).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Lse {
    Add = 0b0000,
    Clr = 0b0001,
    Eor = 0b0010,
    Set = 0b0011,
    Swp = 0b1000,
}

const fn word_or_x(width: Width) -> u32 {
    match width {
        Width::W => 2 << 30,
        Width::X => 3 << 30,
    }
}

/// `ld<op> rs, rt, [rn]`, acquire and release where `ordered`. `rt` = ZR is the store form.
pub const fn lse(op: Lse, width: Width, ordered: bool, rs: Reg, rt: Reg, rn: Reg) -> u32 {
    let al = if ordered { 3 << 22 } else { 0 };
    word_or_x(width) | 0x3820_0000 | al | rs.at(16) | (op as u32) << 12 | rn.at(5) | rt.at(0)
}

/// `casal rs, rt, [rn]`: compares memory with `rs`, stores `rt` where equal; `rs` gets what was there.
pub const fn casal(width: Width, rs: Reg, rt: Reg, rn: Reg) -> u32 {
    word_or_x(width) | 0x08e0_fc00 | rs.at(16) | rn.at(5) | rt.at(0)
}

/// `ldaxr rt, [rn]`.
pub const fn ldaxr(width: Width, rt: Reg, rn: Reg) -> u32 {
    word_or_x(width) | 0x085f_fc00 | rn.at(5) | rt.at(0)
}

/// `stlxr ws, rt, [rn]`; `ws` gets 0 where the store was done.
pub const fn stlxr(width: Width, ws: Reg, rt: Reg, rn: Reg) -> u32 {
    word_or_x(width) | 0x0800_fc00 | ws.at(16) | rn.at(5) | rt.at(0)
}

/// `ldar xt, [xn]`: a load with acquire.
pub const fn ldar(rt: Reg, rn: Reg) -> u32 {
    0xc8df_fc00 | rn.at(5) | rt.at(0)
}

/// `stlr xt, [xn]`: a store with release.
pub const fn stlr(rt: Reg, rn: Reg) -> u32 {
    0xc89f_fc00 | rn.at(5) | rt.at(0)
}
