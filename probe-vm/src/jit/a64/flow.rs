//! Branches, system registers, barriers (C4.1.93).

use super::{Cond, Reg, Width};

/// Displacements are in words, relative to the branch itself.
pub const NOP: u32 = 0xd503_201f;

/// `b`, ±128 MiB.
pub const fn b(words: i32) -> u32 {
    0x1400_0000 | words as u32 & 0x03ff_ffff
}

/// `bl`, ±128 MiB.
pub const fn bl(words: i32) -> u32 {
    0x9400_0000 | words as u32 & 0x03ff_ffff
}

/// `b.cond`, ±1 MiB.
pub const fn b_cond(cond: Cond, words: i32) -> u32 {
    0x5400_0000 | (words as u32 & 0x7_ffff) << 5 | cond.bits()
}

/// `cbz`, or `cbnz` where `nonzero`; ±1 MiB.
pub const fn cbz(nonzero: bool, width: Width, rt: Reg, words: i32) -> u32 {
    let op = if nonzero { 1 << 24 } else { 0 };
    width.sf() | 0x3400_0000 | op | (words as u32 & 0x7_ffff) << 5 | rt.at(0)
}

/// `tbz`, or `tbnz` where `nonzero`; ±32 KiB.
pub const fn tbz(nonzero: bool, bit: u32, rt: Reg, words: i32) -> u32 {
    let op = if nonzero { 1 << 24 } else { 0 };
    (bit & 32) << 26 | 0x3600_0000 | op | (bit & 31) << 19 | (words as u32 & 0x3fff) << 5 | rt.at(0)
}

/// `adr`: the address of the word `words` from here, ±1 MiB.
pub const fn adr(rd: Reg, words: i32) -> u32 {
    0x1000_0000 | (words as u32 & 0x7_ffff) << 5 | rd.at(0)
}

/// `blr`.
pub const fn blr(rn: Reg) -> u32 {
    0xd63f_0000 | rn.at(5)
}

/// `ret`.
pub const fn ret() -> u32 {
    0xd65f_0000 | Reg::LR.at(5)
}

/// `isb`.
pub const ISB: u32 = 0xd503_3fdf;

/// A system register of those the JIT may read: `op0 op1 CRn CRm op2`, without op0's upper bit, at bit 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sys {
    /// `CNTPCT_EL0`: physical count.
    CntpctEl0,
    /// `CNTVCT_EL0`: virtual count.
    CntvctEl0,
    /// `TPIDR_EL2`: the hypervisor's per-CPU base.
    TpidrEl2,
    /// `TPIDR_EL1`.
    TpidrEl1,
    /// `TPIDR_EL0`: for code that is run as a user program in tests.
    TpidrEl0,
}

impl Sys {
    const fn field(self) -> u32 {
        let (op1, crn, crm, op2) = match self {
            Sys::CntpctEl0 => (3, 14, 0, 1),
            Sys::CntvctEl0 => (3, 14, 0, 2),
            Sys::TpidrEl2 => (4, 13, 0, 2),
            Sys::TpidrEl1 => (0, 13, 0, 4),
            Sys::TpidrEl0 => (3, 13, 0, 2),
        };
        1 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
    }
}

/// `mrs rt, sys`.
pub const fn mrs(rt: Reg, sys: Sys) -> u32 {
    0xd530_0000 | sys.field() | rt.at(0)
}
