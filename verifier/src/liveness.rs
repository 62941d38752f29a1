//! Which registers a block may still read.

use crate::env::Env;
use crate::graph::{Graph, Phase, successors};
use crate::insn::{AluOp, AtomicOp, Callee, Insn, Op, Operand};
use crate::memory::Memory;

impl Graph {
    pub(crate) fn uses(&mut self, m: &mut Memory<'_>, env: &Env<'_>) {
        let pc = self.at;
        if pc >= self.slots {
            self.enter(Phase::Live);
            self.at = self.blocks;
            self.changed = false;
            return;
        }
        let Ok(insn) = Insn::decode(m.text, pc) else { return };
        let block = m.slots.get(pc as usize).map_or(0, |i| i.block);
        let (reads, writes) = touched(&insn, env);
        if let Some(b) = m.blocks.get_mut(block as usize) {
            b.uses |= reads & !b.defs;
            b.defs |= writes;
        }
        self.at = pc + insn.slots();
    }

    pub(crate) fn live(&mut self, m: &mut Memory<'_>) {
        let Some(place) = self.at.checked_sub(1) else {
            if self.changed {
                self.changed = false;
                self.at = self.blocks;
            } else {
                self.enter(Phase::Done);
            }
            return;
        };
        self.at = place;
        let block = m.by_order.get(place as usize).copied().unwrap_or(0);
        let Some(b) = m.blocks.get(block as usize).copied().filter(|b| b.order == place) else {
            return;
        };
        let mut out = 0;
        for t in successors(m.text, b.last) {
            let s = m.slots.get(t as usize).and_then(|i| m.blocks.get(i.block as usize));
            out |= s.map_or(0, |s| s.live);
        }
        let live = b.uses | out & !b.defs;
        if let Some(b) = m.blocks.get_mut(block as usize) {
            self.changed |= b.live != live;
            b.live = live;
        }
    }
}

/// Registers read and written, a bit each.
pub(crate) fn touched(insn: &Insn, env: &Env<'_>) -> (u16, u16) {
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let operand = |o: Operand| if o == Operand::Reg { src } else { 0 };
    const ARGS: u16 = 0b11_1110;
    match insn.op {
        Op::Alu {
            op: AluOp::Mov | AluOp::MovSx(_),
            operand: o,
            ..
        } => (operand(o), dst),
        Op::Alu { operand: o, .. } => (dst | operand(o), dst),
        Op::End { .. } => (dst, dst),
        Op::LdImm64(_) => (0, dst),
        Op::Load { .. } => (src, dst),
        Op::Store { operand: o, .. } => (dst | operand(o), 0),
        Op::Atomic {
            op: AtomicOp::Cmpxchg, ..
        } => (dst | src | 1, 1),
        Op::Atomic { fetch, .. } => (dst | src, if fetch { src } else { 0 }),
        Op::Jump { operand: o, .. } => (dst | operand(o), 0),
        Op::Goto { .. } => (0, 0),
        Op::Exit => (1, 0),
        Op::LdPacket { indirect, .. } => (1 << 6 | if indirect { src } else { 0 }, ARGS | 1),
        Op::Call(Callee::Local(_)) => (ARGS, ARGS | 1),
        Op::Call(Callee::Helper(id)) => {
            let used = env.helper(id).map_or(ARGS, |h| {
                let used = h
                    .args
                    .iter()
                    .enumerate()
                    .filter(|(_, a)| **a != crate::env::ArgKind::None);
                used.fold(0, |sum, (i, _)| sum | 2 << i)
            });
            (used, ARGS | 1)
        }
    }
}
