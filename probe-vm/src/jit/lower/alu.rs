//! Arithmetic, logic, shifts, division, byte order.

use super::{Lower, T1, is_identity};
use crate::jit::a64::alu::{self as enc, AddSub, Logic, Two};
use crate::jit::a64::{Reg, Width, imm};
use verifier::cost::A64Class;
use verifier::insn::{AluOp, Insn, Operand, Order};

const fn division_class(w: Width) -> A64Class {
    match w {
        Width::W => A64Class::Div32,
        Width::X => A64Class::Div64,
    }
}

impl Lower<'_, '_> {
    pub(super) fn alu(&mut self, insn: &Insn, op: AluOp, w: Width, operand: Operand) {
        let rd = self.target(insn.dst);
        match op {
            AluOp::Mov => return self.mov(insn, rd, w, operand),
            AluOp::MovSx(bits) => {
                let rn = self.read(insn.src, super::T0);
                return self.emit.alu(enc::sign_extend(w, rd, rn, bits as u32));
            }
            _ => {}
        }
        let Some(first) = self.first(insn.dst) else {
            // Only `add` of an immediate merges with `mov` from r10.
            return self.frame_address(rd, insn.imm);
        };
        let rn = self.reg(first);
        match operand {
            _ if op == AluOp::Neg => self.emit.alu(enc::add_sub_reg(AddSub::Sub, w, rd, Reg::ZR, rn, 0)),
            Operand::Imm => self.alu_imm(insn, op, w, rd, rn),
            Operand::Reg => {
                let rm = self.operand(insn, w, operand);
                self.alu_reg(op, w, rd, rn, rm);
            }
        }
    }

    fn mov(&mut self, insn: &Insn, rd: Reg, w: Width, operand: Operand) {
        match operand {
            Operand::Imm => self.emit.constant(w, rd, insn.imm as i64 as u64),
            Operand::Reg if insn.src == 10 => {
                if w == Width::X {
                    self.frame_address(rd, 0);
                } else {
                    self.frame_address(super::T0, 0);
                    self.emit.alu(enc::mov_reg(Width::W, rd, super::T0));
                }
            }
            Operand::Reg => {
                let rm = self.reg(insn.src);
                if w == Width::W || rd != rm {
                    self.emit.alu(enc::mov_reg(w, rd, rm));
                }
            }
        }
    }

    fn alu_reg(&mut self, op: AluOp, w: Width, rd: Reg, rn: Reg, rm: Reg) {
        let word = match op {
            AluOp::Add => enc::add_sub_reg(AddSub::Add, w, rd, rn, rm, 0),
            AluOp::Sub => enc::add_sub_reg(AddSub::Sub, w, rd, rn, rm, 0),
            AluOp::Or => enc::logic_reg(Logic::Orr, w, rd, rn, rm),
            AluOp::And => enc::logic_reg(Logic::And, w, rd, rn, rm),
            AluOp::Xor => enc::logic_reg(Logic::Eor, w, rd, rn, rm),
            // Shift amounts are taken modulo the width by both (RFC 9669 section 4.1, C6.2.216).
            AluOp::Lsh => enc::two(Two::Lslv, w, rd, rn, rm),
            AluOp::Rsh => enc::two(Two::Lsrv, w, rd, rn, rm),
            AluOp::Arsh => enc::two(Two::Asrv, w, rd, rn, rm),
            AluOp::Mul => return self.put(A64Class::Mul, enc::madd(w, rd, rn, rm, Reg::ZR)),
            // UDIV and SDIV give 0 for a zero divisor and the dividend for MIN / -1, as RFC 9669 wants.
            AluOp::Div => return self.put(division_class(w), enc::two(Two::Udiv, w, rd, rn, rm)),
            AluOp::Sdiv => return self.put(division_class(w), enc::two(Two::Sdiv, w, rd, rn, rm)),
            AluOp::Mod => return self.remainder(Two::Udiv, w, rd, rn, rm),
            AluOp::Smod => return self.remainder(Two::Sdiv, w, rd, rn, rm),
            AluOp::Neg | AluOp::Mov | AluOp::MovSx(_) => return,
        };
        self.emit.alu(word);
    }

    /// `rn - (rn / rm) * rm`: for a zero divisor that is `rn`, as RFC 9669 wants.
    fn remainder(&mut self, division: Two, w: Width, rd: Reg, rn: Reg, rm: Reg) {
        self.put(division_class(w), enc::two(division, w, T1, rn, rm));
        self.put(A64Class::Mul, enc::msub(w, rd, T1, rm, rn));
    }

    fn copy(&mut self, w: Width, rd: Reg, rn: Reg) {
        if w == Width::W || rd != rn {
            self.emit.alu(enc::mov_reg(w, rd, rn));
        }
    }

    fn alu_imm(&mut self, insn: &Insn, op: AluOp, w: Width, rd: Reg, rn: Reg) {
        if is_identity(op, insn.imm) {
            return self.copy(w, rd, rn);
        }
        match op {
            AluOp::Add => self.add_imm(insn, w, rd, rn, insn.imm as i64),
            AluOp::Sub => self.add_imm(insn, w, rd, rn, -(insn.imm as i64)),
            AluOp::Or => self.logic_imm(insn, Logic::Orr, w, rd, rn),
            AluOp::And => self.logic_imm(insn, Logic::And, w, rd, rn),
            AluOp::Xor => self.logic_imm(insn, Logic::Eor, w, rd, rn),
            AluOp::Lsh => self.emit.alu(enc::lsl_imm(w, rd, rn, insn.imm as u32 & (w.bits() - 1))),
            AluOp::Rsh => self.emit.alu(enc::lsr_imm(w, rd, rn, insn.imm as u32 & (w.bits() - 1))),
            AluOp::Arsh => self.emit.alu(enc::asr_imm(w, rd, rn, insn.imm as u32 & (w.bits() - 1))),
            _ => self.multiply_or_divide_imm(insn, op, w, rd, rn),
        }
    }

    fn multiply_or_divide_imm(&mut self, insn: &Insn, op: AluOp, w: Width, rd: Reg, rn: Reg) {
        let value = truncate(insn.imm as i64 as u64, w);
        let log = value.is_power_of_two().then(|| value.trailing_zeros());
        match (op, log) {
            (AluOp::Mul | AluOp::Div | AluOp::Sdiv, _) if value == 0 => self.emit.constant(w, rd, 0),
            (AluOp::Mod | AluOp::Smod, _) if value == 1 => self.emit.constant(w, rd, 0),
            (AluOp::Mul, Some(log)) => self.emit.alu(enc::lsl_imm(w, rd, rn, log)),
            (AluOp::Div, Some(log)) => self.emit.alu(enc::lsr_imm(w, rd, rn, log)),
            (AluOp::Mod, Some(log)) if log > 0 => {
                // A run of `log` ones is always a logical immediate.
                if let Some(field) = imm::logical(value - 1, w) {
                    self.emit.alu(enc::logic_imm(Logic::And, w, rd, rn, field));
                }
            }
            // x * -1, x s/ -1 negate; the quotient wraps, as RFC 9669 wants.
            (AluOp::Mul | AluOp::Sdiv, _) if insn.imm == -1 => {
                self.emit.alu(enc::add_sub_reg(AddSub::Sub, w, rd, Reg::ZR, rn, 0));
            }
            (AluOp::Smod, _) if insn.imm == -1 => self.emit.constant(w, rd, 0),
            // x * (2^n + 1) is x + (x << n).
            (AluOp::Mul, None) if value > 2 && (value - 1).is_power_of_two() => {
                let shift = (value - 1).trailing_zeros();
                self.emit.alu(enc::add_sub_reg(AddSub::Add, w, rd, rn, rn, shift));
            }
            _ => {
                let rm = self.operand(insn, w, Operand::Imm);
                self.alu_reg(op, w, rd, rn, rm);
            }
        }
    }

    /// `rd = rn + value`: one or two immediates of 12 bits, or a constant in a register.
    fn add_imm(&mut self, insn: &Insn, w: Width, rd: Reg, rn: Reg, value: i64) {
        let magnitude = value.unsigned_abs();
        let op = if value < 0 { AddSub::Sub } else { AddSub::Add };
        if let Some(field) = imm::add_sub(magnitude) {
            return self.emit.alu(enc::add_sub_imm(op, w, rd, rn, field));
        }
        let (_, words) = imm::mov(insn.imm as i64 as u64, w);
        if magnitude < 1 << 24 && words > 1 {
            self.emit
                .alu(enc::add_sub_imm(op, w, rd, rn, ((magnitude & 0xfff) as u32, false)));
            return self
                .emit
                .alu(enc::add_sub_imm(op, w, rd, rd, ((magnitude >> 12) as u32, true)));
        }
        // The instruction's own immediate is made; `value` is it or its negation.
        let own = insn.imm as i64;
        let rm = self.operand(insn, w, Operand::Imm);
        let op = if own == value { AddSub::Add } else { AddSub::Sub };
        self.emit.alu(enc::add_sub_reg(op, w, rd, rn, rm, 0));
    }

    fn logic_imm(&mut self, insn: &Insn, op: Logic, w: Width, rd: Reg, rn: Reg) {
        let value = truncate(insn.imm as i64 as u64, w);
        let ones = truncate(u64::MAX, w);
        if let Some(field) = imm::logical(value, w) {
            return self.emit.alu(enc::logic_imm(op, w, rd, rn, field));
        }
        match (op, value) {
            (Logic::And, 0) => self.emit.constant(w, rd, 0),
            (Logic::And, v) if v == ones => self.copy(w, rd, rn),
            (Logic::Orr, v) if v == ones => self.emit.constant(w, rd, ones),
            (Logic::Eor, v) if v == ones => self.emit.alu(enc::logic_reg(Logic::Orn, w, rd, Reg::ZR, rn)),
            _ => {
                let rm = self.operand(insn, w, Operand::Imm);
                self.emit.alu(enc::logic_reg(op, w, rd, rn, rm));
            }
        }
    }

    pub(super) fn end(&mut self, insn: &Insn, order: Order, bits: u8) {
        let rd = self.target(insn.dst);
        let rn = self.reg(self.first(insn.dst).unwrap_or(insn.dst));
        match (order, bits) {
            (Order::ToLe, 16) => self.emit.alu(enc::zero_extend(rd, rn, 16)),
            (Order::ToLe, 32) => self.emit.alu(enc::mov_reg(Width::W, rd, rn)),
            (Order::ToLe, _) => self.copy(Width::X, rd, rn),
            (_, 16) => {
                self.emit.alu(enc::rev16(rd, rn));
                self.emit.alu(enc::zero_extend(rd, rd, 16));
            }
            (_, 32) => self.emit.alu(enc::rev(Width::W, rd, rn)),
            _ => self.emit.alu(enc::rev(Width::X, rd, rn)),
        }
    }
}

pub(super) const fn truncate(value: u64, w: Width) -> u64 {
    match w {
        Width::W => value & 0xffff_ffff,
        Width::X => value,
    }
}
