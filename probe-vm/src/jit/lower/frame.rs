//! Entering and leaving functions, and giving up.

use super::{Lower, R0, X0};
use crate::jit::a64::alu::{self as enc, AddSub};
use crate::jit::a64::mem::{Access, Size};
use crate::jit::a64::mem::{PairMode, ldp, ldr_post, offset, stp, str_pre};
use crate::jit::a64::{Reg, Width, flow};
use crate::jit::plan::{Func, TO_X0};
use crate::jit::{ABORTED, Entry};
use verifier::cost::A64Class;

/// Registers a `bpf_loop` keeps across its callback: index, count, context, callback.
pub(super) const LOOP_REGS: [Reg; 4] = [Reg(23), Reg(24), Reg(25), Reg(27)];
/// SP of the entry function, kept where an exclusive loop may have to give up inside a callee.
const ENTRY_SP: Reg = Reg(26);

/// Registers that helpers may change and who fires a point keeps.
const FIRING: [Reg; 5] = [Reg(8), Reg(9), Reg(10), Reg(11), Reg(18)];
/// Most registers a function saves: [`ENTRY_SP`], the link register, r6–r9, those of a loop and of who fires.
const SAVES_MAX: usize = 6 + LOOP_REGS.len() + FIRING.len();

/// The registers a function saves.
struct Saves {
    regs: [Reg; SAVES_MAX],
    count: usize,
}

impl Saves {
    fn add(&mut self, reg: Reg) {
        if let Some(place) = self.regs.get_mut(self.count) {
            *place = reg;
            self.count += 1;
        }
    }

    /// Bytes of stack: whole pairs, so that SP stays aligned to 16.
    fn bytes(&self) -> i32 {
        (self.count as i32 + 1) / 2 * 16
    }

    /// The `i`th pair.
    fn pair(&self, i: usize) -> Option<(Reg, Option<Reg>)> {
        let used = self.regs.get(..self.count)?;
        Some((*used.get(2 * i)?, used.get(2 * i + 1).copied()))
    }

    fn pairs(&self) -> usize {
        self.count.div_ceil(2)
    }
}

impl Lower<'_, '_> {
    /// Whether code may have to give up: exclusive loops are bounded.
    fn may_abort(&self) -> bool {
        !self.links.lse && self.plan.funcs.iter().take(self.plan.count).any(|f| f.atomics)
    }

    /// Giving up must undo the frames of callees.
    fn keeps_entry_sp(&self, func: &Func) -> bool {
        func.entry == 0 && self.plan.count > 1 && self.may_abort()
    }

    fn saves(&self, func: &Func) -> Saves {
        let mut saves = Saves {
            regs: [Reg::ZR; SAVES_MAX],
            count: 0,
        };
        let (mut calls, mut loops, mut uses) = (func.calls, func.loops, func.uses);
        if self.keeps_entry_sp(func) {
            // What callees would have restored, the entry function restores for them.
            for f in self.plan.funcs.iter().take(self.plan.count) {
                calls |= f.calls;
                loops |= f.loops;
                uses |= if f.calls { f.uses } else { 0 };
            }
            saves.add(ENTRY_SP);
        }
        if calls {
            saves.add(Reg::LR);
            for r in 6..10 {
                if uses >> r & 1 != 0 {
                    saves.add(Reg(r + 13));
                }
            }
        }
        if loops {
            for r in LOOP_REGS {
                saves.add(r);
            }
        }
        if func.entry == 0 && matches!(self.links.entry, Entry::Point(_)) && self.plan.helpers {
            for r in FIRING {
                saves.add(r);
            }
        }
        saves
    }

    /// Bytes of stack the function's frame takes, saved registers included.
    pub(crate) fn frame_bytes(&self, func: &Func) -> u32 {
        let stack = if func.uses(10) { func.stack as u32 } else { 0 };
        stack + self.saves(func).bytes() as u32
    }

    /// Words of [`Lower::prologue`].
    pub(crate) fn prologue_words(&self, func: &Func) -> u32 {
        let entry_sp = self.keeps_entry_sp(func) as u32;
        self.saves(func).pairs() as u32 + entry_sp + func.uses(10) as u32
    }

    /// Saves registers and makes the frame of `self.func`.
    pub(crate) fn prologue(&mut self) {
        let func = self.func;
        let saves = self.saves(&func);
        for i in 0..saves.pairs() {
            let word = match (saves.pair(i), i) {
                (Some((a, Some(b))), 0) => stp(PairMode::Pre, a, b, Reg::SP, -saves.bytes()),
                (Some((a, None)), 0) => str_pre(a, Reg::SP, -saves.bytes()),
                (Some((a, Some(b))), i) => stp(PairMode::Offset, a, b, Reg::SP, i as i32 * 16),
                (Some((a, None)), i) => match offset(Access::Store, Size::X, a, Reg::SP, i as i32 * 16) {
                    Some(word) => word,
                    None => continue,
                },
                (None, _) => continue,
            };
            self.put(A64Class::Store, word);
        }
        if self.keeps_entry_sp(&func) {
            self.emit
                .alu(enc::add_sub_imm(AddSub::Add, Width::X, ENTRY_SP, Reg::SP, (0, false)));
        }
        self.move_sp(AddSub::Sub, &func);
    }

    fn move_sp(&mut self, op: AddSub, func: &Func) {
        if func.uses(10) {
            self.emit.alu(enc::add_sub_imm(
                op,
                Width::X,
                Reg::SP,
                Reg::SP,
                (func.stack as u32, false),
            ));
        }
    }

    fn restore_saved(&mut self, func: &Func) {
        let saves = self.saves(func);
        for i in (0..saves.pairs()).rev() {
            let word = match (saves.pair(i), i) {
                (Some((a, Some(b))), 0) => ldp(PairMode::Post, a, b, Reg::SP, saves.bytes()),
                (Some((a, None)), 0) => ldr_post(a, Reg::SP, saves.bytes()),
                (Some((a, Some(b))), i) => ldp(PairMode::Offset, a, b, Reg::SP, i as i32 * 16),
                (Some((a, None)), i) => match offset(Access::Load, Size::X, a, Reg::SP, i as i32 * 16) {
                    Some(word) => word,
                    None => continue,
                },
                (None, _) => continue,
            };
            self.put(A64Class::Load, word);
        }
    }

    /// Undoes [`Lower::prologue`].
    pub(crate) fn epilogue(&mut self) {
        let func = self.func;
        self.move_sp(AddSub::Add, &func);
        self.restore_saved(&func);
    }

    /// The exit at slot `at`, which may be another than the one being emitted.
    pub(crate) fn leave(&mut self, at: u32) {
        if self.func.entry == 0 && self.links.entry == Entry::Function && !self.plan.flag(at, TO_X0) {
            self.emit.alu(enc::mov_reg(Width::X, X0, R0));
        }
        self.epilogue();
        self.put(A64Class::Branch, flow::ret());
    }

    /// The place exclusive loops branch to when their tries are used up: after the last slot.
    pub(crate) fn abort(&mut self) {
        if !self.may_abort() {
            return;
        }
        self.func = self.plan.func(0);
        let func = self.func;
        if self.keeps_entry_sp(&func) {
            self.emit
                .alu(enc::add_sub_imm(AddSub::Add, Width::X, Reg::SP, ENTRY_SP, (0, false)));
        } else {
            self.func.stack = self.entry_stack;
            let func = self.func;
            self.move_sp(AddSub::Add, &func);
        }
        self.emit.constant(Width::X, X0, ABORTED);
        self.restore_saved(&func);
        self.put(A64Class::Branch, flow::ret());
    }
}
