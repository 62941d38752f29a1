//! A64 instruction words, exactly the subset the JIT emits.
//!
//! Every function is total and returns one 32-bit word: a field too large for its slot is masked, so an
//! encoder can never panic on what a guest's program holds. The *lowering* chooses operands that fit; the
//! tests assemble the same text with GNU `as` and compare words.
//!
//! Names and fields follow the Arm ARM (DDI 0487), chapter C6.

pub mod alu;
pub mod flow;
pub mod imm;
pub mod mem;

/// A general register, 0–30; 31 is `SP` or the zero register, as the instruction says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg(pub u8);

impl Reg {
    /// Register 31 where the instruction reads it as the stack pointer.
    pub const SP: Reg = Reg(31);
    /// Register 31 where the instruction reads it as zero.
    pub const ZR: Reg = Reg(31);
    /// The link register.
    pub const LR: Reg = Reg(30);

    /// The register's field at bit `shift`.
    pub(crate) const fn at(self, shift: u32) -> u32 {
        ((self.0 & 31) as u32) << shift
    }
}

/// The `sf` bit: whether an instruction works on W or X registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 32 bits; the upper half of a written register becomes zero.
    W,
    /// 64 bits.
    X,
}

impl Width {
    pub(crate) const fn sf(self) -> u32 {
        match self {
            Width::W => 0,
            Width::X => 1 << 31,
        }
    }

    /// Bits in a register of this width.
    pub const fn bits(self) -> u32 {
        match self {
            Width::W => 32,
            Width::X => 64,
        }
    }
}

/// Condition codes (C1.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the manual's own names
pub enum Cond {
    Eq = 0,
    Ne = 1,
    Hs = 2,
    Lo = 3,
    Hi = 8,
    Ls = 9,
    Ge = 10,
    Lt = 11,
    Gt = 12,
    Le = 13,
}

impl Cond {
    pub(crate) const fn bits(self) -> u32 {
        self as u32
    }

    /// The condition that holds exactly when this one does not.
    pub const fn invert(self) -> Cond {
        match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Hs => Cond::Lo,
            Cond::Lo => Cond::Hs,
            Cond::Hi => Cond::Ls,
            Cond::Ls => Cond::Hi,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Gt => Cond::Le,
            Cond::Le => Cond::Gt,
        }
    }
}

#[cfg(test)]
mod tests;
