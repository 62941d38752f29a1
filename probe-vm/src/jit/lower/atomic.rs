//! Atomics: one LSE instruction where the core has them, else a bounded exclusive loop.

use super::{Lower, R0, T0, T1};
use crate::jit::a64::alu::{self as enc, AddSub, Logic};
use crate::jit::a64::mem::{Lse, casal, ldaxr, lse, stlxr};
use crate::jit::a64::{Cond, Reg, Width, flow, imm};
use crate::jit::emit::Branch;
use verifier::cost::A64Class;
use verifier::insn::{self, AtomicOp, Insn};

/// Tries of an exclusive loop before the program gives up with [`crate::jit::ABORTED`]. A store-exclusive fails
/// when another CPU wrote the line since the load: with interrupts masked and a loop this short, each
/// failure is another CPU's success, so more failures than this many need as many writers at once.
pub const EXCLUSIVE_TRIES: u32 = 16;

const OLD: Reg = Reg(12);
const NEW: Reg = Reg(13);
const STATUS: Reg = Reg(14);
const TRIES: Reg = Reg(15);

impl Lower<'_, '_> {
    pub(super) fn atomic(&mut self, insn: &Insn, size: insn::Size, op: AtomicOp, fetch: bool) {
        let w = if size == insn::Size::W { Width::W } else { Width::X };
        let at = self.atomic_address(insn);
        let src = self.read(insn.src, T1);
        if self.links.lse {
            self.atomic_lse(op, fetch, w, src, at);
        } else {
            self.atomic_exclusive(op, fetch, w, src, at);
        }
    }

    /// Atomics address by a register alone.
    fn atomic_address(&mut self, insn: &Insn) -> Reg {
        let (rn, offset) = self.place(insn.dst, insn.off);
        if offset == 0 {
            return rn;
        }
        let op = if offset < 0 { AddSub::Sub } else { AddSub::Add };
        match imm::add_sub(offset.unsigned_abs() as u64) {
            Some(field) => self.emit.alu(enc::add_sub_imm(op, Width::X, T0, rn, field)),
            None => {
                self.emit.constant(Width::X, T0, offset.unsigned_abs() as u64);
                self.emit.alu(enc::add_sub_ext(op, Width::X, T0, rn, T0));
            }
        }
        T0
    }

    fn atomic_lse(&mut self, op: AtomicOp, fetch: bool, w: Width, src: Reg, at: Reg) {
        let to = if fetch { src } else { Reg::ZR };
        // Fetching forms are sequentially consistent, the others relaxed (as Linux's memory model has them).
        let word = match op {
            AtomicOp::Add => lse(Lse::Add, w, fetch, src, to, at),
            AtomicOp::Or => lse(Lse::Set, w, fetch, src, to, at),
            AtomicOp::Xor => lse(Lse::Eor, w, fetch, src, to, at),
            AtomicOp::And => {
                self.emit.alu(enc::logic_reg(Logic::Orn, w, T1, Reg::ZR, src));
                lse(Lse::Clr, w, fetch, T1, to, at)
            }
            AtomicOp::Xchg => lse(Lse::Swp, w, true, src, src, at),
            AtomicOp::Cmpxchg => casal(w, R0, src, at),
        };
        self.put(A64Class::Atomic, word);
    }

    fn atomic_exclusive(&mut self, op: AtomicOp, fetch: bool, w: Width, src: Reg, at: Reg) {
        self.emit.constant(Width::W, TRIES, EXCLUSIVE_TRIES as u64);
        let (first, before) = (self.emit.at, self.emit.time);
        self.put(A64Class::Atomic, ldaxr(w, OLD, at));
        let computed = match op {
            AtomicOp::Add => Some(enc::add_sub_reg(AddSub::Add, w, NEW, OLD, src, 0)),
            AtomicOp::Or => Some(enc::logic_reg(Logic::Orr, w, NEW, OLD, src)),
            AtomicOp::And => Some(enc::logic_reg(Logic::And, w, NEW, OLD, src)),
            AtomicOp::Xor => Some(enc::logic_reg(Logic::Eor, w, NEW, OLD, src)),
            AtomicOp::Xchg => None,
            AtomicOp::Cmpxchg => {
                self.emit.alu(enc::add_sub_reg(AddSub::Subs, w, Reg::ZR, OLD, R0, 0));
                self.put(A64Class::Branch, flow::b_cond(Cond::Ne, 6));
                None
            }
        };
        if let Some(word) = computed {
            self.emit.alu(word);
        }
        let new = if computed.is_some() { NEW } else { src };
        self.put(A64Class::Atomic, stlxr(w, STATUS, new, at));
        self.put(A64Class::Branch, flow::cbz(false, Width::W, STATUS, 4));
        self.emit
            .alu(enc::add_sub_imm(AddSub::Sub, Width::W, TRIES, TRIES, (1, false)));
        let back = first as i32 - self.emit.at as i32;
        self.put(A64Class::Branch, flow::cbz(true, Width::W, TRIES, back));
        let once = self.emit.time.saturating_sub(before);
        self.emit.time = self
            .emit
            .time
            .saturating_add(once.saturating_mul(EXCLUSIVE_TRIES as u64 - 1));
        self.emit.branch(Branch::Always, self.plan.text.len() as u32, 0);
        match op {
            AtomicOp::Cmpxchg => self.emit.alu(enc::mov_reg(Width::X, R0, OLD)),
            _ if fetch => self.emit.alu(enc::mov_reg(Width::X, src, OLD)),
            _ => {}
        }
    }
}
