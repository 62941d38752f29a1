//! Entering from a probe point: what the program reads of its context is put there by its own code, and no more.

use super::{Lower, T0, X0};
use crate::jit::a64::alu::{self as enc, AddSub};
use crate::jit::a64::mem::{Access, PairMode, Size, offset, stp};
use crate::jit::a64::{Reg, Width, flow, imm};
use crate::jit::links::{ContextLink, Entry};
use crate::jit::plan::TO_X0;
use crate::points::{HEADER_BYTES, HEADER_PATH_AT, HEADER_TIME_AT};
use verifier::cost::A64Class;
use verifier::insn::{Insn, Op};

/// Fields of a point that come in registers, from x1 on: all that a context has behind its header.
const FIELD_REGS: u32 = 4;
/// Register of the path.
const PATH: Reg = Reg(5);
/// Holds the time until it is stored.
const NOW: Reg = Reg(12);
/// First word of the fields.
const FIELDS_AT: u32 = HEADER_BYTES as u32 / 8;

impl Lower<'_, '_> {
    /// Completes the context in front of the entry function: bit n of `words` is word n of the context.
    pub(crate) fn provide(&mut self, words: u64) {
        let Entry::Point(context) = self.links.entry else {
            return;
        };
        if self.func.entry != 0 || (words == 0 && !self.plan.uses_context()) {
            return;
        }
        self.context_address(X0, context);
        if words >> (HEADER_TIME_AT / 8) & 1 != 0 {
            self.time_into(NOW);
            self.fill(Size::X, NOW, HEADER_TIME_AT as i32);
        }
        if words >> (HEADER_PATH_AT / 8) & 1 != 0 {
            self.fill(Size::W, PATH, HEADER_PATH_AT as i32);
        }
        let mut field = 0;
        while field < FIELD_REGS {
            let wanted = |n: u32| n < FIELD_REGS && words >> (FIELDS_AT + n) & 1 != 0;
            let (rt, at) = (Reg(1 + field as u8), (FIELDS_AT + field) as i32 * 8);
            if wanted(field) && wanted(field + 1) {
                let word = stp(PairMode::Offset, rt, Reg(2 + field as u8), X0, at);
                self.put(A64Class::Store, word);
                field += 1;
            } else if wanted(field) {
                self.fill(Size::X, rt, at);
            }
            field += 1;
        }
    }

    fn context_address(&mut self, rd: Reg, context: ContextLink) {
        self.put(A64Class::System, flow::mrs(rd, context.base));
        match imm::add_sub(context.offset.into()) {
            Some((0, _)) => {}
            Some(field) => self.emit.alu(enc::add_sub_imm(AddSub::Add, Width::X, rd, rd, field)),
            None => {
                self.emit.constant(Width::X, T0, context.offset.into());
                self.emit.alu(enc::add_sub_reg(AddSub::Add, Width::X, rd, rd, T0, 0));
            }
        }
    }

    fn fill(&mut self, size: Size, rt: Reg, at: i32) {
        // In reach: the context is smaller than what one instruction addresses.
        if let Some(word) = offset(Access::Store, size, rt, X0, at) {
            self.put(A64Class::Store, word);
        }
    }

    /// Whether an instruction only makes the result of a program entered from a point. It has no other effect.
    pub(super) fn discards_result(&self, insn: &Insn) -> bool {
        matches!(self.links.entry, Entry::Point(_)) && self.plan.flag(self.pc, TO_X0) && insn.op != Op::Exit
    }
}
