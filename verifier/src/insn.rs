//! eBPF instructions: decode of 8-byte slots, RFC 9669 ISA through v4, and the legacy packet loads.
//!
//! A slot is the little-endian `u64` of the eight bytes. Decoding is total: whatever is not an instruction of the ISA
//! is a [`DecodeError`], and reserved fields must be zero (RFC 9669 section 3).

use crate::decode::{Raw, alu, jump, load, load_imm, store};

/// Number of eBPF registers, r0 to r10 (RFC 9669 section 2.2).
pub const REGS: usize = 11;

/// Operand width of arithmetic and of compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 32 bits; arithmetic zero-extends its result to 64.
    W32,
    /// 64 bits.
    W64,
}

impl Width {
    /// 32 or 64.
    pub const fn bits(self) -> u32 {
        match self {
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }
}

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
    /// Eight bytes.
    Dw,
}

impl Size {
    /// Bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> u32 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Size {
        match code & 0x18 {
            0x00 => Size::W,
            0x08 => Size::H,
            0x10 => Size::B,
            _ => Size::Dw,
        }
    }
}

/// Where the second operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The sign-extended immediate.
    Imm,
    /// The source register.
    Reg,
}

/// Arithmetic operations (RFC 9669 section 4.1). `MovSx` moves with sign extension from the given number of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AluOp {
    Add,
    Sub,
    Mul,
    Div,
    Sdiv,
    Or,
    And,
    Lsh,
    Rsh,
    Neg,
    Mod,
    Smod,
    Xor,
    Mov,
    MovSx(u8),
    Arsh,
}

/// Byte order operations (RFC 9669 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Convert to little endian: truncates on a little-endian machine.
    ToLe,
    /// Convert to big endian: swaps and truncates.
    ToBe,
    /// Swap unconditionally.
    Swap,
}

/// Conditions of jumps (RFC 9669 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cond {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Set,
    Sgt,
    Sge,
    Slt,
    Sle,
}

/// Read-modify-write operations (RFC 9669 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOp {
    /// Add; with `fetch` the old value goes to the source register.
    Add,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Exchange with the source register; always fetches.
    Xchg,
    /// Compare with r0, store the source register if equal; the old value goes to r0.
    Cmpxchg,
}

/// What a 64-bit immediate load yields (RFC 9669 section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imm64 {
    /// The constant.
    Const(u64),
    /// The map of this index in the program's map list (`src_reg` 1 or 5).
    Map(u32),
    /// The address of a value of that map plus a byte offset (`src_reg` 2 or 6).
    MapValue(u32, u32),
    /// The address of a subprogram, by slot (`src_reg` 4), for callbacks.
    Func(u32),
}

/// Call targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// Helper function by number.
    Helper(u32),
    /// Subprogram by slot of its first instruction.
    Local(u32),
}

/// One decoded instruction. Jump targets are absolute slot numbers; they are not checked against the program's length
/// here, except that they fit `u32` (a negative target is a [`DecodeError::BadTarget`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    /// `dst = dst op (src or imm)`.
    Alu { op: AluOp, width: Width, operand: Operand },
    /// Byte order conversion of `bits` (16, 32, 64).
    End { order: Order, bits: u8 },
    /// 64-bit immediate, two slots.
    LdImm64(Imm64),
    /// `dst = *(size *)(src + off)`, sign-extended to 64 bits if `signed`.
    Load { size: Size, signed: bool },
    /// `*(size *)(dst + off) = src or imm`.
    Store { size: Size, operand: Operand },
    /// Read-modify-write of `*(size *)(dst + off)`; `size` is W or Dw.
    Atomic { size: Size, op: AtomicOp, fetch: bool },
    /// Conditional jump.
    Jump {
        cond: Cond,
        width: Width,
        operand: Operand,
        target: u32,
    },
    /// Unconditional jump, 16- or 32-bit offset.
    Goto { target: u32 },
    /// Call.
    Call(Callee),
    /// Return from the subprogram or the program.
    Exit,
    /// Legacy packet load of `size` at `imm`, or at `src + imm` if `indirect`; to r0.
    LdPacket { size: Size, indirect: bool },
}

/// A decoded instruction with its operand fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// What it does.
    pub op: Op,
    /// Destination register, 0 to 10.
    pub dst: u8,
    /// Source register, 0 to 10.
    pub src: u8,
    /// Signed byte offset of memory accesses, else 0.
    pub off: i16,
    /// Immediate operand where there is one.
    pub imm: i32,
}

/// Why a slot is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DecodeError {
    /// No such opcode byte.
    UnknownOpcode(u8),
    /// A field that must be zero is not, or holds no defined value.
    Reserved(u8),
    /// A register number over 10.
    BadRegister(u8),
    /// Indirect call through a register: not supported by design, its target cannot be bounded.
    CallRegister,
    /// The second slot of a 64-bit immediate is missing or not blank.
    BadImm64,
    /// A jump or call to a slot before the first or past 2^31.
    BadTarget,
    /// An atomic of one or two bytes, or with an operation that is not defined.
    BadAtomic(i32),
    /// Writes r10, which is read-only.
    FramePointerWrite,
}

impl Insn {
    /// Slots the instruction takes: 2 for a 64-bit immediate, else 1.
    pub const fn slots(&self) -> u32 {
        match self.op {
            Op::LdImm64(_) => 2,
            _ => 1,
        }
    }

    /// Decodes the instruction at slot `pc` of `text`. `pc` past the end is [`DecodeError::BadTarget`].
    pub fn decode(text: &[u64], pc: u32) -> Result<Insn, DecodeError> {
        let Some(&slot) = text.get(pc as usize) else {
            return Err(DecodeError::BadTarget);
        };
        let raw = Raw::new(slot);
        let insn = match raw.code & 7 {
            0 => load_imm(&raw, text.get(pc as usize + 1).copied(), pc)?,
            1 => load(&raw)?,
            2 | 3 => store(&raw)?,
            4 | 7 => alu(&raw)?,
            _ => jump(&raw, pc)?,
        };
        if insn.dst as usize >= REGS {
            return Err(DecodeError::BadRegister(insn.dst));
        }
        if insn.src as usize >= REGS {
            return Err(DecodeError::BadRegister(insn.src));
        }
        if insn.writes() == Some(10) {
            return Err(DecodeError::FramePointerWrite);
        }
        Ok(insn)
    }

    /// Version of the instruction set that brought this form of opcode byte `code` (RFC 9669 is 4).
    pub const fn isa(&self, code: u8) -> u8 {
        const GOTO_LONG: u8 = 0x06;
        match self.op {
            Op::Alu {
                op: AluOp::MovSx(_) | AluOp::Sdiv | AluOp::Smod,
                ..
            }
            | Op::End { order: Order::Swap, .. }
            | Op::Load { signed: true, .. } => 4,
            Op::Goto { .. } if code == GOTO_LONG => 4,
            _ => 3,
        }
    }

    /// The one register an instruction other than a call writes.
    pub const fn writes(&self) -> Option<u8> {
        match self.op {
            Op::Alu { .. } | Op::End { .. } | Op::LdImm64(_) | Op::Load { .. } => Some(self.dst),
            Op::Atomic {
                op: AtomicOp::Cmpxchg, ..
            } => Some(0),
            Op::Atomic { fetch: true, .. } => Some(self.src),
            Op::LdPacket { .. } => Some(0),
            _ => None,
        }
    }
}
