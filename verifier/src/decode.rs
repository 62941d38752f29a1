//! Decoding of single instructions, by class.

use crate::insn::{AluOp, AtomicOp, Callee, Cond, DecodeError, Imm64, Insn, Op, Operand, Order, Size, Width};

pub(crate) struct Raw {
    pub code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Raw {
    pub const fn new(slot: u64) -> Raw {
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

pub(crate) fn load_imm(raw: &Raw, next: Option<u64>, pc: u32) -> Result<Insn, DecodeError> {
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

pub(crate) fn load(raw: &Raw) -> Result<Insn, DecodeError> {
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

pub(crate) fn store(raw: &Raw) -> Result<Insn, DecodeError> {
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

pub(crate) fn alu(raw: &Raw) -> Result<Insn, DecodeError> {
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

pub(crate) fn jump(raw: &Raw, pc: u32) -> Result<Insn, DecodeError> {
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
