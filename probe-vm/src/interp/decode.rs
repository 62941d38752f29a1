//! From instruction slots to a form the run loop takes apart with one match.
//!
//! This is on purpose a second reading of RFC 9669, apart from the one the verifier and the compiler share:
//! a differential test between them would not see an error of a common decoder.

use super::mem::Size;

/// Arithmetic of RFC 9669 section 4.1, both widths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    SDiv,
    Mod,
    SMod,
    Or,
    And,
    Xor,
    Lsh,
    Rsh,
    Arsh,
    Mov,
    Neg,
    /// Sign extension from 8, 16, 32 bits.
    Movsx8,
    Movsx16,
    Movsx32,
    /// Truncation to 16, 32 bits (`le`).
    Zext16,
    Zext32,
    /// Byte swap of the low 16, 32, 64 bits (`be`, `bswap`).
    Swap16,
    Swap32,
    Swap64,
}

/// Conditions of RFC 9669 section 4.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Test {
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

/// Atomic operations of RFC 9669 section 5.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Atomic {
    Add,
    Or,
    And,
    Xor,
    FetchAdd,
    FetchOr,
    FetchAnd,
    FetchXor,
    Xchg,
    CmpXchg,
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Op {
    Alu64(Alu),
    Alu32(Alu),
    Jump64(Test),
    Jump32(Test),
    Jump,
    Load(Size),
    LoadSigned(Size),
    /// Store of the operand: register or immediate.
    Store(Size),
    Atomic(Size, Atomic),
    /// 64-bit constant, map handle or function handle.
    Const,
    /// Address of a byte in element 0 of a map: map in `off`, offset in `imm`.
    MapValue,
    Call,
    /// Helper whose number is in `dst`'s register.
    CallX,
    CallLocal,
    Exit,
    /// Second half of a 64-bit constant.
    Hole,
}

/// One decoded slot, 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    pub(super) op: Op,
    pub(super) dst: u8,
    /// Source register, or [`IMM`].
    pub(super) src: u8,
    /// Memory offset, target slot of a jump or call, or map number.
    pub(super) off: i32,
    pub(super) imm: u64,
}

/// Marks an operand that is the immediate.
pub(super) const IMM: u8 = 0x80;

/// `lddw` of a map gives this plus the map's number; helpers get it as their first argument.
pub const MAP_HANDLE: u64 = 0x7a70_0000_0000_0000;
/// `lddw` of a function gives this plus the slot where it starts.
pub const FUNC_HANDLE: u64 = 0x7f0c_0000_0000_0000;

impl Insn {
    /// Filler for the buffer given to [`super::Code::new`].
    pub const EMPTY: Insn = Insn {
        op: Op::Hole,
        dst: 0,
        src: 0,
        off: 0,
        imm: 0,
    };
}

/// A slot that is no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSlot {
    /// Index of the slot.
    pub pc: usize,
    /// Its eight bytes.
    pub slot: u64,
    /// What is wrong.
    pub why: BadWhy,
}

/// Why a slot was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadWhy {
    /// The opcode is not of RFC 9669 through v4, or uses a reserved field.
    Opcode,
    /// A register above 10, or a write to r10.
    Register,
    /// A jump or call leaves the program.
    Target,
    /// A 64-bit constant without its second slot.
    Halved,
    /// More slots than the buffer holds.
    TooLong,
}

struct Raw {
    op: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Raw {
    fn of(slot: u64) -> Raw {
        let b = slot.to_le_bytes();
        Raw {
            op: b[0],
            dst: b[1] & 15,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    fn imm64(&self) -> u64 {
        self.imm as i64 as u64
    }

    /// The operand of ALU and jump classes, by the source bit.
    fn operand(&self) -> u8 {
        if self.op & 8 != 0 { self.src } else { IMM }
    }
}

fn alu(raw: &Raw, wide: bool) -> Option<Insn> {
    let from_reg = raw.op & 8 != 0;
    let signed = match raw.off {
        0 => false,
        1 => true,
        _ => false,
    };
    let op = match raw.op >> 4 {
        0x0 => Alu::Add,
        0x1 => Alu::Sub,
        0x2 => Alu::Mul,
        0x3 if signed => Alu::SDiv,
        0x3 => Alu::Div,
        0x4 => Alu::Or,
        0x5 => Alu::And,
        0x6 => Alu::Lsh,
        0x7 => Alu::Rsh,
        0x8 if !from_reg => Alu::Neg,
        0x9 if signed => Alu::SMod,
        0x9 => Alu::Mod,
        0xa => Alu::Xor,
        0xb => match (raw.off, from_reg) {
            (0, _) => Alu::Mov,
            (8, true) => Alu::Movsx8,
            (16, true) => Alu::Movsx16,
            (32, true) if wide => Alu::Movsx32,
            _ => return None,
        },
        0xc => Alu::Arsh,
        0xd => return swap(raw, wide),
        _ => return None,
    };
    let off_allowed = matches!(op, Alu::SDiv | Alu::SMod | Alu::Movsx8 | Alu::Movsx16 | Alu::Movsx32);
    if raw.off != 0 && !off_allowed {
        return None;
    }
    let op = if wide { Op::Alu64(op) } else { Op::Alu32(op) };
    Some(Insn {
        op,
        dst: raw.dst,
        src: raw.operand(),
        off: 0,
        imm: raw.imm64(),
    })
}

fn swap(raw: &Raw, wide: bool) -> Option<Insn> {
    let to_big = raw.op & 8 != 0;
    // `le` truncates, `be` and (class ALU64) `bswap` swap: registers hold little-endian values.
    let op = match (raw.imm, to_big || wide) {
        _ if wide && to_big => return None,
        (16, false) => Alu::Zext16,
        (32, false) => Alu::Zext32,
        (64, false) => Alu::Mov,
        (16, true) => Alu::Swap16,
        (32, true) => Alu::Swap32,
        (64, true) => Alu::Swap64,
        _ => return None,
    };
    Some(Insn {
        op: Op::Alu64(op),
        dst: raw.dst,
        src: raw.dst,
        off: 0,
        imm: 0,
    })
}

fn size(op: u8) -> Size {
    match op & 0x18 {
        0x00 => Size::W,
        0x08 => Size::H,
        0x10 => Size::B,
        _ => Size::X,
    }
}

fn memory(raw: &Raw) -> Option<Insn> {
    let size = size(raw.op);
    let (op, src) = match (raw.op & 7, raw.op & 0xe0) {
        (1, 0x60) => (Op::Load(size), raw.src),
        (1, 0x80) if size != Size::X => (Op::LoadSigned(size), raw.src),
        (2, 0x60) => (Op::Store(size), IMM),
        (3, 0x60) => (Op::Store(size), raw.src),
        (3, 0xc0) if matches!(size, Size::W | Size::X) => {
            let atomic = match raw.imm {
                0x00 => Atomic::Add,
                0x40 => Atomic::Or,
                0x50 => Atomic::And,
                0xa0 => Atomic::Xor,
                0x01 => Atomic::FetchAdd,
                0x41 => Atomic::FetchOr,
                0x51 => Atomic::FetchAnd,
                0xa1 => Atomic::FetchXor,
                0xe1 => Atomic::Xchg,
                0xf1 => Atomic::CmpXchg,
                _ => return None,
            };
            (Op::Atomic(size, atomic), raw.src)
        }
        _ => return None,
    };
    Some(Insn {
        op,
        dst: raw.dst,
        src,
        off: raw.off as i32,
        imm: raw.imm64(),
    })
}

fn test(op: u8) -> Option<Test> {
    Some(match op >> 4 {
        0x1 => Test::Eq,
        0x2 => Test::Gt,
        0x3 => Test::Ge,
        0x4 => Test::Set,
        0x5 => Test::Ne,
        0x6 => Test::Sgt,
        0x7 => Test::Sge,
        0xa => Test::Lt,
        0xb => Test::Le,
        0xc => Test::Slt,
        0xd => Test::Sle,
        _ => return None,
    })
}

/// The jump classes. Targets come out as slot numbers and are checked against `len` slots.
fn jump(raw: &Raw, pc: usize, len: usize) -> Result<Insn, BadWhy> {
    let narrow = raw.op & 7 == 6;
    let delta = match (raw.op >> 4, narrow) {
        (0, true) => raw.imm,
        (8, false) if raw.src == 1 => raw.imm,
        _ => raw.off as i32,
    };
    let target = pc as i64 + 1 + delta as i64;
    let op = match (raw.op >> 4, narrow) {
        (0, _) if raw.op & 8 == 0 => Op::Jump,
        (8, false) if raw.op & 8 != 0 => Op::CallX,
        (8, false) if raw.src == 1 => Op::CallLocal,
        (8, false) if raw.src == 0 => Op::Call,
        (9, false) if raw.op & 8 == 0 => Op::Exit,
        (_, true) => Op::Jump32(test(raw.op).ok_or(BadWhy::Opcode)?),
        (_, false) => Op::Jump64(test(raw.op).ok_or(BadWhy::Opcode)?),
    };
    let target = match op {
        Op::Call | Op::CallX | Op::Exit => 0,
        _ if (0..len as i64).contains(&target) => target as i32,
        _ => return Err(BadWhy::Target),
    };
    Ok(Insn {
        op,
        dst: raw.dst,
        src: raw.operand(),
        off: target,
        imm: raw.imm64(),
    })
}

/// `lddw`: a constant, or what stands for a map, a map's value or a function.
fn wide(raw: &Raw, next: Option<&u64>, pc: usize, len: usize) -> Result<Insn, BadWhy> {
    let high = Raw::of(*next.ok_or(BadWhy::Halved)?);
    if high.op != 0 || high.dst != 0 || high.src != 0 || high.off != 0 {
        return Err(BadWhy::Halved);
    }
    let low = raw.imm as u32 as u64;
    let (op, off, imm) = match raw.src {
        0 => (Op::Const, 0, low | (high.imm as u32 as u64) << 32),
        1 => (Op::Const, 0, MAP_HANDLE | low),
        2 => (Op::MapValue, raw.imm, high.imm as u32 as u64),
        4 => {
            let target = pc as i64 + 1 + raw.imm as i64;
            if !(0..len as i64).contains(&target) {
                return Err(BadWhy::Target);
            }
            (Op::Const, 0, FUNC_HANDLE | target as u64)
        }
        _ => return Err(BadWhy::Opcode),
    };
    Ok(Insn {
        op,
        dst: raw.dst,
        src: IMM,
        off,
        imm,
    })
}

fn writes_dst(op: Op) -> bool {
    matches!(
        op,
        Op::Alu64(_) | Op::Alu32(_) | Op::Load(_) | Op::LoadSigned(_) | Op::Const | Op::MapValue
    )
}

/// Decodes the slot at `pc`.
pub(super) fn decode(slots: &[u64], pc: usize) -> Result<Insn, BadWhy> {
    let raw = Raw::of(*slots.get(pc).ok_or(BadWhy::Target)?);
    let insn = match raw.op & 7 {
        0 if raw.op == 0x18 => wide(&raw, slots.get(pc + 1), pc, slots.len())?,
        1..=3 => memory(&raw).ok_or(BadWhy::Opcode)?,
        4 => alu(&raw, false).ok_or(BadWhy::Opcode)?,
        7 => alu(&raw, true).ok_or(BadWhy::Opcode)?,
        5 | 6 => jump(&raw, pc, slots.len())?,
        _ => return Err(BadWhy::Opcode),
    };
    if raw.dst > 10 || (insn.src != IMM && raw.src > 10) || (raw.dst == 10 && writes_dst(insn.op)) {
        return Err(BadWhy::Register);
    }
    Ok(insn)
}
