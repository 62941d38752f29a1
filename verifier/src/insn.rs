//! eBPF instructions: decode of 8-byte slots, RFC 9669 ISA through v4, and the legacy packet loads.
//!
//! A slot is the little-endian `u64` of the eight bytes. Decoding is total: whatever is not an instruction of the ISA
//! is a [`DecodeError`], and reserved fields must be zero (RFC 9669 section 3).

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

    const fn from_code(code: u8) -> Size {
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

struct Raw {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Raw {
    const fn new(slot: u64) -> Raw {
        Raw {
            code: slot as u8,
            dst: (slot >> 8) as u8 & 15,
            src: (slot >> 12) as u8 & 15,
            off: (slot >> 16) as i16,
            imm: (slot >> 32) as i32,
        }
    }

    const fn operand(&self) -> Operand {
        if self.code & 8 != 0 { Operand::Reg } else { Operand::Imm }
    }

    const fn insn(&self, op: Op) -> Insn {
        Insn {
            op,
            dst: self.dst,
            src: self.src,
            off: self.off,
            imm: self.imm,
        }
    }

    const fn reserved(&self) -> DecodeError {
        DecodeError::Reserved(self.code)
    }

    /// The operand field not in use must be blank.
    fn blank_other(&self) -> Result<(), DecodeError> {
        let blank = match self.operand() {
            Operand::Reg => self.imm == 0,
            Operand::Imm => self.src == 0,
        };
        if blank { Ok(()) } else { Err(self.reserved()) }
    }
}

fn load_imm(raw: &Raw, next: Option<u64>, pc: u32) -> Result<Insn, DecodeError> {
    match raw.code {
        0x18 => {}
        0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 => {
            let indirect = raw.code & 0xe0 == 0x40;
            if raw.dst != 0 || raw.off != 0 || (!indirect && raw.src != 0) {
                return Err(raw.reserved());
            }
            return Ok(raw.insn(Op::LdPacket {
                size: Size::from_code(raw.code),
                indirect,
            }));
        }
        code => return Err(DecodeError::UnknownOpcode(code)),
    }
    let next = Raw::new(next.ok_or(DecodeError::BadImm64)?);
    if next.code != 0 || next.dst != 0 || next.src != 0 || next.off != 0 {
        return Err(DecodeError::BadImm64);
    }
    if raw.off != 0 {
        return Err(raw.reserved());
    }
    let imm = match raw.src {
        0 => Imm64::Const(raw.imm as u32 as u64 | (next.imm as u32 as u64) << 32),
        1 | 5 if next.imm == 0 => Imm64::Map(raw.imm as u32),
        2 | 6 => Imm64::MapValue(raw.imm as u32, next.imm as u32),
        4 if next.imm == 0 => Imm64::Func(target(pc, raw.imm)?),
        _ => return Err(raw.reserved()),
    };
    Ok(Insn {
        op: Op::LdImm64(imm),
        dst: raw.dst,
        src: 0,
        off: 0,
        imm: raw.imm,
    })
}

fn load(raw: &Raw) -> Result<Insn, DecodeError> {
    let size = Size::from_code(raw.code);
    let signed = match raw.code & 0xe0 {
        0x60 => false,
        0x80 if size != Size::Dw => true,
        _ => return Err(DecodeError::UnknownOpcode(raw.code)),
    };
    if raw.imm != 0 {
        return Err(raw.reserved());
    }
    Ok(raw.insn(Op::Load { size, signed }))
}

fn store(raw: &Raw) -> Result<Insn, DecodeError> {
    let size = Size::from_code(raw.code);
    let reg = raw.code & 7 == 3;
    match raw.code & 0xe0 {
        0x60 => {
            let operand = if reg { Operand::Reg } else { Operand::Imm };
            if (reg && raw.imm != 0) || (!reg && raw.src != 0) {
                return Err(raw.reserved());
            }
            Ok(raw.insn(Op::Store { size, operand }))
        }
        0xc0 if reg => {
            if !matches!(size, Size::W | Size::Dw) {
                return Err(DecodeError::BadAtomic(raw.imm));
            }
            let (op, fetch) = match raw.imm {
                0x00 => (AtomicOp::Add, false),
                0x01 => (AtomicOp::Add, true),
                0x40 => (AtomicOp::Or, false),
                0x41 => (AtomicOp::Or, true),
                0x50 => (AtomicOp::And, false),
                0x51 => (AtomicOp::And, true),
                0xa0 => (AtomicOp::Xor, false),
                0xa1 => (AtomicOp::Xor, true),
                0xe1 => (AtomicOp::Xchg, true),
                0xf1 => (AtomicOp::Cmpxchg, true),
                imm => return Err(DecodeError::BadAtomic(imm)),
            };
            Ok(raw.insn(Op::Atomic { size, op, fetch }))
        }
        _ => Err(DecodeError::UnknownOpcode(raw.code)),
    }
}

fn alu(raw: &Raw) -> Result<Insn, DecodeError> {
    let width = if raw.code & 7 == 7 { Width::W64 } else { Width::W32 };
    let operand = raw.operand();
    let signed = raw.off == 1;
    let op = match raw.code >> 4 {
        0x0 => AluOp::Add,
        0x1 => AluOp::Sub,
        0x2 => AluOp::Mul,
        0x3 if signed => AluOp::Sdiv,
        0x3 => AluOp::Div,
        0x4 => AluOp::Or,
        0x5 => AluOp::And,
        0x6 => AluOp::Lsh,
        0x7 => AluOp::Rsh,
        0x8 if operand == Operand::Imm => AluOp::Neg,
        0x9 if signed => AluOp::Smod,
        0x9 => AluOp::Mod,
        0xa => AluOp::Xor,
        0xb => return mov(raw, width),
        0xc => AluOp::Arsh,
        0xd => return end(raw, width),
        _ => return Err(DecodeError::UnknownOpcode(raw.code)),
    };
    let off_ok = match op {
        AluOp::Sdiv | AluOp::Smod => true,
        _ => raw.off == 0,
    };
    if !off_ok || (op == AluOp::Neg && raw.imm != 0) {
        return Err(raw.reserved());
    }
    raw.blank_other()?;
    Ok(Insn {
        off: 0,
        ..raw.insn(Op::Alu { op, width, operand })
    })
}

fn mov(raw: &Raw, width: Width) -> Result<Insn, DecodeError> {
    let operand = raw.operand();
    raw.blank_other()?;
    let op = match (raw.off, operand, width) {
        (0, _, _) => AluOp::Mov,
        (8 | 16, Operand::Reg, _) | (32, Operand::Reg, Width::W64) => AluOp::MovSx(raw.off as u8),
        _ => return Err(raw.reserved()),
    };
    Ok(Insn {
        off: 0,
        ..raw.insn(Op::Alu { op, width, operand })
    })
}

fn end(raw: &Raw, width: Width) -> Result<Insn, DecodeError> {
    let order = match (width, raw.operand()) {
        (Width::W32, Operand::Imm) => Order::ToLe,
        (Width::W32, Operand::Reg) => Order::ToBe,
        (Width::W64, Operand::Imm) => Order::Swap,
        _ => return Err(DecodeError::UnknownOpcode(raw.code)),
    };
    if raw.src != 0 || raw.off != 0 || !matches!(raw.imm, 16 | 32 | 64) {
        return Err(raw.reserved());
    }
    Ok(raw.insn(Op::End {
        order,
        bits: raw.imm as u8,
    }))
}

fn target(pc: u32, offset: i32) -> Result<u32, DecodeError> {
    let target = i64::from(pc) + 1 + i64::from(offset);
    if (0..=i64::from(i32::MAX)).contains(&target) {
        Ok(target as u32)
    } else {
        Err(DecodeError::BadTarget)
    }
}

fn jump(raw: &Raw, pc: u32) -> Result<Insn, DecodeError> {
    let width = if raw.code & 7 == 5 { Width::W64 } else { Width::W32 };
    let operand = raw.operand();
    let plain = raw.dst == 0 && raw.src == 0;
    let cond = match (raw.code >> 4, width, operand) {
        (0x0, Width::W64, Operand::Imm) if plain && raw.imm == 0 => {
            return Ok(Insn {
                off: 0,
                ..raw.insn(Op::Goto {
                    target: target(pc, raw.off.into())?,
                })
            });
        }
        (0x0, Width::W32, Operand::Imm) if plain && raw.off == 0 => {
            return Ok(raw.insn(Op::Goto {
                target: target(pc, raw.imm)?,
            }));
        }
        (0x0, _, Operand::Imm) => return Err(raw.reserved()),
        (0x8, Width::W64, _) => return call(raw, pc),
        (0x9, Width::W64, Operand::Imm) if plain && raw.imm == 0 && raw.off == 0 => {
            return Ok(raw.insn(Op::Exit));
        }
        (0x9, Width::W64, Operand::Imm) => return Err(raw.reserved()),
        (0x1, ..) => Cond::Eq,
        (0x2, ..) => Cond::Gt,
        (0x3, ..) => Cond::Ge,
        (0x4, ..) => Cond::Set,
        (0x5, ..) => Cond::Ne,
        (0x6, ..) => Cond::Sgt,
        (0x7, ..) => Cond::Sge,
        (0xa, ..) => Cond::Lt,
        (0xb, ..) => Cond::Le,
        (0xc, ..) => Cond::Slt,
        (0xd, ..) => Cond::Sle,
        _ => return Err(DecodeError::UnknownOpcode(raw.code)),
    };
    raw.blank_other()?;
    let target = target(pc, raw.off.into())?;
    Ok(Insn {
        off: 0,
        ..raw.insn(Op::Jump {
            cond,
            width,
            operand,
            target,
        })
    })
}

fn call(raw: &Raw, pc: u32) -> Result<Insn, DecodeError> {
    if raw.operand() == Operand::Reg {
        return Err(DecodeError::CallRegister);
    }
    if raw.dst != 0 || raw.off != 0 {
        return Err(raw.reserved());
    }
    let callee = match raw.src {
        0 => Callee::Helper(raw.imm as u32),
        1 => Callee::Local(target(pc, raw.imm)?),
        _ => return Err(raw.reserved()),
    };
    Ok(Insn {
        src: 0,
        ..raw.insn(Op::Call(callee))
    })
}
