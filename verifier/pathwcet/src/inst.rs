//! What the analyser knows of one A64 instruction: its effect on general registers, flags and memory, and where
//! control goes next.
#![allow(missing_docs, reason = "fields of an instruction form are named as in the Arm ARM")]

/// A register operand: 0–30 general, [`SP`], [`ZR`].
pub type Reg = u8;
/// The stack pointer.
pub const SP: Reg = 31;
/// Reads as zero, writes are dropped.
pub const ZR: Reg = 32;

/// Second operand of an ALU instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    Imm(u64),
    /// A register, shifted (Arm ARM C6.2, shifted register forms).
    Shifted(Reg, Shift, u8),
    /// A register, extended from a narrower width and shifted left (extended register forms).
    Extended(Reg, Extend, u8),
}

/// Shift kind, in encoding order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// Logical left.
    Lsl,
    /// Logical right.
    Lsr,
    /// Arithmetic right.
    Asr,
    /// Rotate right.
    Ror,
}

/// Extension of a register operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extend {
    /// Width kept: 8, 16, 32 or 64 bits.
    pub bits: u8,
    /// Sign or zero extension.
    pub signed: bool,
}

/// Two-operand logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    /// AND.
    And,
    /// OR.
    Orr,
    /// Exclusive OR.
    Eor,
}

/// Bitfield move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bitfield {
    /// SBFM.
    Signed,
    /// BFM.
    Insert,
    /// UBFM.
    Unsigned,
}

/// What a conditional select does with its second source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// CSEL.
    Plain,
    /// CSINC.
    Inc,
    /// CSINV.
    Inv,
    /// CSNEG.
    Neg,
}

/// Address of a load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Base register.
    pub base: Reg,
    /// Offset added for the access.
    pub offset: Operand,
    /// The base register afterwards gets base + this.
    pub writeback: Option<i64>,
}

/// Effect on registers and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// None that matters: hints, barriers, cache and TLB maintenance, SIMD without a general destination.
    None,
    /// rd = constant (MOVZ, MOVN, ADR, ADRP).
    Const { rd: Reg, value: u64 },
    /// Inserts 16 bits (MOVK).
    MovK { rd: Reg, imm: u16, shift: u8, wide: bool },
    /// ADD/SUB, with or without flags.
    AddSub {
        rd: Reg,
        rn: Reg,
        op2: Operand,
        sub: bool,
        flags: bool,
        wide: bool,
    },
    /// AND/ORR/EOR and inverted forms.
    Logic {
        kind: Logic,
        rd: Reg,
        rn: Reg,
        op2: Operand,
        invert: bool,
        flags: bool,
        wide: bool,
    },
    /// Bitfield moves (also the shift and extend aliases).
    Bitfield {
        kind: Bitfield,
        rd: Reg,
        rn: Reg,
        immr: u8,
        imms: u8,
        wide: bool,
    },
    /// Conditional select.
    Select {
        kind: Select,
        rd: Reg,
        rn: Reg,
        rm: Reg,
        cond: u8,
        wide: bool,
    },
    /// Conditional compare.
    CondCmp {
        sub: bool,
        rn: Reg,
        op2: Operand,
        cond: u8,
        nzcv: u8,
        wide: bool,
    },
    /// rd = ra ± rn·rm (MADD, MSUB).
    MulAdd {
        rd: Reg,
        rn: Reg,
        rm: Reg,
        ra: Reg,
        sub: bool,
        wide: bool,
    },
    /// rd = ra + zext32(rn)·zext32(rm) (UMADDL).
    UMulAddL { rd: Reg, rn: Reg, rm: Reg, ra: Reg },
    /// Unsigned division.
    UDiv { rd: Reg, rn: Reg, rm: Reg, wide: bool },
    /// Variable shift.
    ShiftVar {
        kind: Shift,
        rd: Reg,
        rn: Reg,
        rm: Reg,
        wide: bool,
    },
    /// Count of leading zeros.
    Clz { rd: Reg, rn: Reg, wide: bool },
    /// rd (and rd2) become unknown; `flags` too if set. `bits`: the results are below 2^bits.
    Clobber { rd: Reg, rd2: Reg, bits: u8, flags: bool },
    /// Load of one or two registers of `size` bytes each.
    Load {
        rt: Reg,
        rt2: Option<Reg>,
        size: u8,
        signed: Option<bool>,
        addr: Address,
    },
    /// Store of one or two registers.
    Store {
        rt: Reg,
        rt2: Option<Reg>,
        size: u8,
        addr: Address,
    },
    /// Store of bytes the analyser does not track (SIMD).
    StoreOpaque { bytes: u8, addr: Address },
    /// Load that no general register receives (SIMD, prefetch); keeps the write-back.
    LoadOpaque { addr: Address },
    /// Read-modify-write of memory; `rd` gets an unknown value of `size` bytes, `status` (store-exclusive) 0 or 1.
    Atomic {
        rd: Reg,
        rd2: Reg,
        status: Reg,
        size: u8,
        addr: Address,
    },
    /// Read of a system register; key = op0:op1:CRn:CRm:op2 (16 bits, as in the encoding).
    Mrs { rd: Reg, key: u16 },
    /// Write of a system register.
    Msr { key: u16, rt: Reg },
    /// HVC, SMC, SVC: x0–x17 become unknown (SMCCC).
    Service,
}

/// Where control goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next instruction.
    Next,
    /// B.
    Jump(u64),
    /// B.cond.
    Cond { cond: u8, target: u64 },
    /// CBZ/CBNZ: taken when (rt == 0) == `zero`.
    Zero {
        rt: Reg,
        wide: bool,
        zero: bool,
        target: u64,
    },
    /// TBZ/TBNZ: taken when bit == `set`.
    Bit { rt: Reg, bit: u8, set: bool, target: u64 },
    /// BL.
    Call(u64),
    /// BLR.
    CallReg(Reg),
    /// BR.
    JumpReg(Reg),
    /// RET.
    Ret(Reg),
    /// ERET.
    Eret,
    /// BRK, HLT, UDF: execution does not go on.
    Trap,
}

/// One decoded instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inst {
    /// Address.
    pub pc: u64,
    /// Encoding.
    pub bits: u32,
    /// Effect.
    pub op: Op,
    /// Control.
    pub flow: Flow,
}

impl Inst {
    /// Ends a basic block.
    pub fn ends_block(&self) -> bool {
        self.flow != Flow::Next
    }
}
