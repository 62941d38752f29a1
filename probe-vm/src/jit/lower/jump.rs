//! Branches: compare and branch fused where A64 can.

use super::alu::truncate;
use super::{Lower, SLOT_WORDS_MAX, T1};
use crate::jit::a64::alu::{self as enc, AddSub, Logic};
use crate::jit::a64::{Cond, Reg, Width, imm};
use crate::jit::emit::Branch;
use crate::jit::plan::Decoded;
use verifier::insn::{self, Insn, Op, Operand};

/// Slots that `TBZ`'s ±32 KiB span whatever lies between, with room for prologues.
const BIT_REACH_SLOTS: u32 = 8192 / SLOT_WORDS_MAX / 2;

/// What a comparison with a constant comes to.
enum Verdict {
    Never,
    Always,
    /// Compare with zero.
    Zero {
        nonzero: bool,
    },
    /// The sign bit.
    Sign {
        set: bool,
    },
    Compare,
}

fn verdict(cond: insn::Cond, value: u64, w: Width) -> Verdict {
    let signed = if w == Width::W {
        value as i32 as i64
    } else {
        value as i64
    };
    match (cond, value, signed) {
        (insn::Cond::Eq, 0, _) | (insn::Cond::Le, 0, _) | (insn::Cond::Lt, 1, _) => Verdict::Zero { nonzero: false },
        (insn::Cond::Ne, 0, _) | (insn::Cond::Gt, 0, _) | (insn::Cond::Ge, 1, _) => Verdict::Zero { nonzero: true },
        (insn::Cond::Ge, 0, _) => Verdict::Always,
        (insn::Cond::Lt, 0, _) | (insn::Cond::Set, 0, _) => Verdict::Never,
        (insn::Cond::Slt, _, 0) | (insn::Cond::Sle, _, -1) => Verdict::Sign { set: true },
        (insn::Cond::Sge, _, 0) | (insn::Cond::Sgt, _, -1) => Verdict::Sign { set: false },
        _ => Verdict::Compare,
    }
}

const fn condition(cond: insn::Cond) -> Cond {
    match cond {
        insn::Cond::Eq => Cond::Eq,
        insn::Cond::Ne | insn::Cond::Set => Cond::Ne,
        insn::Cond::Gt => Cond::Hi,
        insn::Cond::Ge => Cond::Hs,
        insn::Cond::Lt => Cond::Lo,
        insn::Cond::Le => Cond::Ls,
        insn::Cond::Sgt => Cond::Gt,
        insn::Cond::Sge => Cond::Ge,
        insn::Cond::Slt => Cond::Lt,
        insn::Cond::Sle => Cond::Le,
    }
}

impl Lower<'_, '_> {
    pub(super) fn goto(&mut self, target: u32) {
        if target == self.pc + 1 {
            return;
        }
        if self.ends_at_exit(target) {
            return self.leave(target);
        }
        self.emit.branch(Branch::Always, target, 0);
    }

    /// Whether a jump to `target` is emitted as the exit that is there: it is as short as the way to it.
    pub(crate) fn ends_at_exit(&self, target: u32) -> bool {
        matches!(self.plan.decode(target), Ok(Decoded::Insn(Insn { op: Op::Exit, .. })))
    }

    pub(super) fn jump(&mut self, insn: &Insn, cond: insn::Cond, w: Width, operand: Operand, target: u32) {
        if target == self.pc + 1 {
            return;
        }
        match operand {
            Operand::Imm => self.jump_imm(insn, cond, w, target),
            Operand::Reg => {
                let rn = self.read(insn.dst, T1);
                let rm = self.operand(insn, w, operand);
                let compare = match cond {
                    insn::Cond::Set => enc::logic_reg(Logic::Ands, w, Reg::ZR, rn, rm),
                    _ => enc::add_sub_reg(AddSub::Subs, w, Reg::ZR, rn, rm, 0),
                };
                self.emit.alu(compare);
                self.emit.branch(Branch::If(condition(cond)), target, 0);
            }
        }
    }

    fn bit_reaches(&self, target: u32) -> bool {
        self.pc.abs_diff(target) < BIT_REACH_SLOTS
    }

    fn jump_imm(&mut self, insn: &Insn, cond: insn::Cond, w: Width, target: u32) {
        let value = truncate(insn.imm as i64 as u64, w);
        match verdict(cond, value, w) {
            Verdict::Never => {}
            Verdict::Always => self.emit.branch(Branch::Always, target, 0),
            Verdict::Zero { nonzero } => {
                let reg = self.read(insn.dst, T1);
                self.emit.branch(Branch::Zero { nonzero, width: w, reg }, target, 0);
            }
            Verdict::Sign { set } if self.bit_reaches(target) => {
                let reg = self.read(insn.dst, T1);
                self.emit.branch(
                    Branch::Bit {
                        nonzero: set,
                        bit: w.bits() - 1,
                        reg,
                    },
                    target,
                    0,
                );
            }
            _ if cond == insn::Cond::Set => self.jump_set(insn, value, w, target),
            _ => {
                let rn = self.read(insn.dst, T1);
                self.compare(insn, rn, value, w);
                self.emit.branch(Branch::If(condition(cond)), target, 0);
            }
        }
    }

    fn jump_set(&mut self, insn: &Insn, value: u64, w: Width, target: u32) {
        let rn = self.read(insn.dst, T1);
        if value.is_power_of_two() && self.bit_reaches(target) {
            let bit = value.trailing_zeros();
            return self.emit.branch(
                Branch::Bit {
                    nonzero: true,
                    bit,
                    reg: rn,
                },
                target,
                0,
            );
        }
        if let Some(field) = imm::logical(value, w) {
            self.emit.alu(enc::logic_imm(Logic::Ands, w, Reg::ZR, rn, field));
        } else if value == truncate(u64::MAX, w) {
            return self.emit.branch(
                Branch::Zero {
                    nonzero: true,
                    width: w,
                    reg: rn,
                },
                target,
                0,
            );
        } else {
            let rm = self.operand(insn, w, Operand::Imm);
            self.emit.alu(enc::logic_reg(Logic::Ands, w, Reg::ZR, rn, rm));
        }
        self.emit.branch(Branch::If(Cond::Ne), target, 0);
    }

    /// Flags of `rn - value`. `CMN` of the negation gives the same flags, since the negation is not 0.
    fn compare(&mut self, insn: &Insn, rn: Reg, value: u64, w: Width) {
        let negated = truncate(value.wrapping_neg(), w);
        let word = if let Some(field) = imm::add_sub(value) {
            enc::add_sub_imm(AddSub::Subs, w, Reg::ZR, rn, field)
        } else if let Some(field) = imm::add_sub(negated) {
            enc::add_sub_imm(AddSub::Adds, w, Reg::ZR, rn, field)
        } else {
            let rm = self.operand(insn, w, Operand::Imm);
            enc::add_sub_reg(AddSub::Subs, w, Reg::ZR, rn, rm, 0)
        };
        self.emit.alu(word);
    }
}
