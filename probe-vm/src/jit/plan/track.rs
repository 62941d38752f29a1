//! What is in the argument registers when a helper is called: a lookup's map and where its key came from, and constants.

use super::{Decoded, HOLE, KEY_KNOWN, Key, LOOKBACK_MAX, MERGED, Plan, Stored, UNUSED};
use verifier::insn::{AluOp, Imm64, Insn, Op, Operand, Size, Width};

fn key_of(insn: &Insn, operand: Operand) -> Key {
    match operand {
        Operand::Reg => Key::Reg(insn.src),
        Operand::Imm => Key::Imm(insn.imm as u32),
    }
}

/// Whether what is known of registers ends here.
const fn moves_control(insn: &Insn) -> bool {
    matches!(insn.op, Op::Call(_) | Op::Jump { .. } | Op::Goto { .. } | Op::Exit)
}

impl Plan<'_> {
    /// Follows the key of a coming lookup: stored to the stack, its address put into r2.
    pub(super) fn track_key(&mut self, pc: u32, insn: &Insn) {
        let makes_address = matches!(
            insn.op,
            Op::Alu {
                op: AluOp::Add,
                operand: Operand::Imm,
                ..
            }
        ) && insn.dst == 2
            && self
                .previous
                .is_some_and(|(at, p)| p.src == 10 && self.flag(at, MERGED));
        if makes_address {
            self.stack_in_r2 = Some((pc, insn.imm));
        } else if moves_control(insn) || insn.dst == 2 || insn.src == 2 {
            self.stack_in_r2 = None;
        }
        // The map's own `lddw` of r1 is not emitted, so a key in r1 survives it; an earlier one is emitted.
        let spared = matches!(insn.op, Op::LdImm64(Imm64::Map(_))) && insn.dst == 1 && self.map_in_r1.is_none();
        if matches!(insn.op, Op::Call(_)) {
            self.stored = None;
        }
        if let Some(Stored { key: Key::Reg(reg), .. }) = self.stored
            && insn.writes() == Some(reg)
            && !(spared && reg == 1)
        {
            self.stored = None;
        }
        match insn.op {
            Op::Store { size: Size::W, operand } if insn.dst == 10 => {
                let key = key_of(insn, operand);
                self.stored = (key != Key::Reg(10)).then_some(Stored {
                    at: pc,
                    off: insn.off,
                    key,
                });
            }
            // Any other store may change what was stored.
            Op::Store { .. } | Op::Atomic { .. } => self.stored = None,
            _ => {}
        }
    }

    /// The key of the inlined lookup at `pc`, where it is known: what the nearest store before it stored.
    pub(crate) fn lookup_key(&self, pc: u32) -> Option<Key> {
        if !self.flag(pc, KEY_KNOWN) {
            return None;
        }
        let mut at = pc;
        while at > 0 && pc - at <= LOOKBACK_MAX {
            at -= 1;
            if self.flag(at, HOLE) {
                continue;
            }
            if let Ok(Decoded::Insn(insn)) = self.decode(at)
                && let Op::Store { operand, .. } = insn.op
            {
                return Some(key_of(&insn, operand));
            }
        }
        None
    }

    /// Follows constants in argument registers that nothing has read yet.
    pub(super) fn track_constants(&mut self, pc: u32, insn: &Insn) {
        if moves_control(insn) {
            self.constants = Default::default();
            return;
        }
        // `dst` and `src` are 0 where an instruction does not have them.
        for reg in [insn.dst, insn.src] {
            if let Some(place) = usize::from(reg).checked_sub(1).and_then(|i| self.constants.get_mut(i)) {
                *place = None;
            }
        }
        if let Op::Alu {
            op: AluOp::Mov,
            operand: Operand::Imm,
            width: Width::W64,
        } = insn.op
            && let Some(place) = usize::from(insn.dst)
                .checked_sub(1)
                .and_then(|i| self.constants.get_mut(i))
        {
            *place = Some((pc, insn.imm));
        }
    }

    /// The constant that an inlined call at `pc` takes as argument `reg`.
    pub(crate) fn argument(&self, pc: u32, reg: u8) -> Option<i32> {
        let mut at = pc;
        while at > 0 && pc - at <= LOOKBACK_MAX {
            at -= 1;
            if self.flag(at, UNUSED)
                && let Ok(Decoded::Insn(insn)) = self.decode(at)
                && insn.dst == reg
                && let Op::Alu {
                    op: AluOp::Mov,
                    operand: Operand::Imm,
                    ..
                } = insn.op
            {
                return Some(insn.imm);
            }
        }
        None
    }

    pub(super) fn track_map(&mut self, pc: u32, insn: &Insn) {
        if let (Op::LdImm64(Imm64::Map(index)), 1) = (insn.op, insn.dst) {
            self.map_in_r1 = Some((pc, index));
            return;
        }
        let too_far = self.map_in_r1.is_some_and(|(at, _)| pc - at > LOOKBACK_MAX);
        // `dst` and `src` are 0 where an instruction does not have them.
        if moves_control(insn) || too_far || insn.dst == 1 || insn.src == 1 {
            if self.map_in_r1.take().is_some() && self.stored.is_some_and(|s| s.key == Key::Reg(1)) {
                // That `lddw` will be emitted after all, over the key.
                self.stored = None;
            }
        }
    }

    /// The map of the inlined lookup at `pc`.
    pub(crate) fn lookup_map(&self, pc: u32) -> Option<u32> {
        let mut at = pc;
        while at > 0 && pc - at <= LOOKBACK_MAX + 1 {
            at -= 1;
            if self.flag(at, UNUSED)
                && let Ok(Decoded::Insn(Insn {
                    op: Op::LdImm64(Imm64::Map(index)),
                    ..
                })) = self.decode(at)
            {
                return Some(index);
            }
        }
        None
    }
}
