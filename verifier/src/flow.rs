//! How states move between blocks, loops and subprograms.

use crate::act::{Act, Scope, Ties};
use crate::cost::CostModel;
use crate::engine::{Fault, RETURN, Verifier};
use crate::graph::Block;
use crate::insn::{Callee, Imm64, Insn, Op};
use crate::loops::Mode;
use crate::reject::{Pool, Why};
use crate::store::{List, NIL, State};
use crate::value::{Kind, Region, Val};
use crate::verified::LoopKind;
use crate::view::Observer;

/// Places of the order one unit looks at.
pub(crate) const SCAN: u32 = 32;

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn act(&self, at: usize) -> &Act {
        self.m.acts.get(at).unwrap_or(&const { Act::BLANK })
    }

    /// The activation at `at`; a spare one that nothing reads if there is none.
    pub(crate) fn act_mut(&mut self, at: usize) -> &mut Act {
        match self.m.acts.get_mut(at) {
            Some(act) => act,
            None => &mut self.spare.0,
        }
    }

    pub(crate) fn ties(&self, at: usize) -> &Ties {
        self.m.ties.get(at).unwrap_or(&const { Ties::BLANK })
    }

    /// As [`Verifier::act_mut`].
    pub(crate) fn ties_mut(&mut self, at: usize) -> &mut Ties {
        match self.m.ties.get_mut(at) {
            Some(ties) => ties,
            None => &mut self.spare.1,
        }
    }

    pub(crate) fn top(&self) -> usize {
        self.acts.saturating_sub(1)
    }

    pub(crate) fn block_at(&self, pc: u32) -> u32 {
        self.m.slots.get(pc as usize).map_or(0, |s| s.block)
    }

    pub(crate) fn block(&self, at: u32) -> Block {
        self.m.blocks.get(at as usize).copied().unwrap_or(Block::BLANK)
    }

    pub(crate) fn callee_at(&self, pc: u32) -> Option<u32> {
        match Insn::decode(self.m.text, pc).ok()?.op {
            Op::Call(Callee::Local(t)) | Op::LdImm64(Imm64::Func(t)) => Some(t),
            _ => None,
        }
    }

    pub(crate) fn push_act(&mut self, act: Act) -> Result<(), Fault> {
        let size = self.m.acts.len() as u32;
        let cell = self
            .m
            .acts
            .get_mut(self.acts)
            .ok_or(Why::NoSpace { pool: Pool::Work, size })?;
        *cell = act;
        let ties = self.ties_mut(self.acts);
        (ties.tags_len, ties.tests_len) = (0, 0);
        self.acts += 1;
        Ok(())
    }

    /// Takes the next waiting state, or moves the cursor on.
    pub(crate) fn advance(&mut self, observer: &mut impl Observer) -> Result<(), Fault> {
        let at = self.top();
        let act = *self.act(at);
        if act.mode == Mode::Leave {
            return self.leave_one(at);
        }
        if act.mode == Mode::Enter {
            return self.enter(at, observer);
        }
        if act.batch != NIL {
            let s = self.store.unpark(act.batch);
            self.act_mut(at).batch = s.next;
            self.pc = self.block(act.block).start;
            self.cur = Some(s);
            self.trace_block(act.block);
            return Ok(());
        }
        for place in act.cursor..act.end.min(act.cursor.saturating_add(SCAN)) {
            let b = self.m.by_order.get(place as usize).copied().unwrap_or(0);
            let block = self.block(b);
            if block.order != place || block.pending == NIL {
                continue;
            }
            if block.comp == act.comp {
                if let Some(b) = self.m.blocks.get_mut(b as usize) {
                    b.pending = NIL;
                }
                let act = self.act_mut(at);
                act.cursor = place + 1;
                act.block = b;
                act.batch = block.pending;
                return Ok(());
            }
            self.act_mut(at).cursor = place;
            return self.enter_loop(at, block);
        }
        self.act_mut(at).cursor = act.cursor.saturating_add(SCAN);
        if act.cursor.saturating_add(SCAN) < act.end {
            return Ok(());
        }
        match act.scope {
            Scope::Function => {
                self.acts = at;
                Ok(())
            }
            Scope::Loop | Scope::Callback => self.finish_pass(at, observer),
        }
    }

    /// `block` belongs to a loop inside the activation: that loop is followed next.
    pub(crate) fn enter_loop(&mut self, at: usize, block: Block) -> Result<(), Fault> {
        let outer = self.act(at).comp;
        let mut number = block.comp;
        for _ in 0..=crate::graph::LOOP_DEPTH {
            let Some(c) = usize::from(number)
                .checked_sub(1)
                .and_then(|i| self.m.components.get(i))
            else {
                break;
            };
            if c.parent == outer {
                break;
            }
            number = c.parent;
        }
        let Some(comp) = usize::from(number)
            .checked_sub(1)
            .and_then(|i| self.m.components.get(i))
            .copied()
        else {
            return Err(Why::Internal { line: line!() });
        };
        let depth = self.act(at).depth;
        self.act_mut(at).cursor = comp.end;
        let act = Act {
            scope: Scope::Loop,
            base: comp.base,
            end: comp.end,
            cursor: comp.base,
            comp: number,
            head: comp.head,
            call_pc: self.block(comp.head).start,
            depth,
            visits_before: self.visits,
            ..Act::BLANK
        };
        self.push_act(act)?;
        self.begin_loop(self.acts - 1);
        Ok(())
    }

    /// Hands a state over from activation `from` to block `target`, or to the caller for [`RETURN`].
    pub(crate) fn arrive(&mut self, from: usize, mut s: State, target: u32) -> Result<(), Fault> {
        let order = if target == RETURN {
            RETURN
        } else {
            self.block(target).order
        };
        let mut at = from;
        loop {
            let act = *self.act(at);
            let leaves = if target == RETURN {
                act.scope == Scope::Loop
            } else {
                !act.covers(order)
            };
            if !leaves {
                break;
            }
            if act.mode.summary() {
                s.target = target;
                self.post(s, List::Exits(at as u16));
                return Ok(());
            }
            let Some(below) = at.checked_sub(1) else {
                return Err(Why::Internal { line: line!() });
            };
            at = below;
        }
        if target == RETURN {
            return self.leave_frame(at, s);
        }
        let act = *self.act(at);
        let live = self.block(target).live;
        self.forget_dead(&mut s, live);
        let back = act.scope == Scope::Loop && act.head == target && from >= at;
        let list = if back {
            List::Next(at as u16)
        } else {
            List::Pending(target)
        };
        self.post(s, list);
        Ok(())
    }

    /// Registers that are written before they are read say nothing any more.
    pub(crate) fn forget_dead(&mut self, s: &mut State, live: u16) {
        for r in 0..10 {
            if live & 1 << r == 0 && self.store.reg(s, r).kind != Kind::Uninit {
                self.store.set_reg(s, r, Val::UNINIT);
            }
        }
    }

    /// Copies of all states of a list.
    pub(crate) fn copy_list(&mut self, list: u16) -> u16 {
        let mut copy = NIL;
        let mut at = list;
        while at != NIL {
            let Some(x) = self.store.states.get(usize::from(at)).copied() else {
                break;
            };
            let fork = self.store.fork(&x);
            let parked = self.store.park(fork);
            if let Some(cell) = self.store.states.get_mut(usize::from(parked)) {
                cell.next = copy;
            }
            copy = parked;
            at = x.next;
        }
        copy
    }

    /// An `exit` instruction in the function of activation `at`: back to the caller, or the end of the program.
    pub(crate) fn leave_frame(&mut self, at: usize, mut s: State) -> Result<(), Fault> {
        let act = *self.act(at);
        if at == 0 {
            self.store.drop_state(&s);
            if s.speculative {
                return Ok(());
            }
            let (insns, time, trace) = self.worst;
            let program = self.cost.program();
            let total = s.time.saturating_add(program);
            let trace = if total >= time || trace == 0 { s.trace } else { trace };
            self.worst = (insns.max(s.insns), time.max(total), trace);
            return Ok(());
        }
        let r0 = self.store.reg(&s, 0);
        if matches!(r0.region(), Some(Region::Stack(f)) if f >= s.depth) {
            return Err(Why::DeadFrame { reg: 0 });
        }
        self.store.pop_stack(&mut s, act.depth);
        let Some(frame) = s.depth.checked_sub(1) else {
            return Err(Why::Internal { line: line!() });
        };
        s.depth = frame;
        let Some(saved) = s.saved.get_mut(usize::from(frame)) else {
            return Err(Why::Internal { line: line!() });
        };
        let kept = core::mem::take(saved);
        self.store.release(s.regs[2]);
        s.regs[2] = kept;
        for r in 1..6 {
            self.store.set_reg(&mut s, r, Val::UNINIT);
        }
        if act.scope == Scope::Callback {
            return self.callback_returned(at, s, r0);
        }
        let target = self.block_at(act.call_pc + 1);
        self.arrive(at - 1, s, target)
    }

    /// Moves the current frame's r6–r9 away and starts a frame with the arguments that are in r1–r5.
    pub(crate) fn push_frame(&mut self, s: &mut State, live: u16) -> Result<(), Fault> {
        let max = crate::env::FRAMES as u32;
        let kept = s.regs[2];
        for r in 6..10u8 {
            if live & 1 << r == 0 && self.store.reg(s, r).kind != Kind::Uninit {
                self.store.set_reg(s, r, Val::UNINIT);
            }
        }
        let kept = if s.regs[2] != kept { s.regs[2] } else { kept };
        let cell = s
            .saved
            .get_mut(usize::from(s.depth))
            .ok_or(Why::TooManyFrames { max })?;
        *cell = kept;
        s.regs[2] = 0;
        s.depth += 1;
        self.store.set_reg(s, 0, Val::UNINIT);
        Ok(())
    }

    /// Records an iteration bound of the loop of activation `act`.
    pub(crate) fn note_loop(&mut self, act: &Act, iterations: u64, derived: bool) {
        let kind = if act.scope == Scope::Callback {
            LoopKind::Callback
        } else {
            LoopKind::Branch
        };
        let (head, mut found) = (act.call_pc, None);
        for (i, l) in self.m.loops.iter().enumerate() {
            if l.iterations == 0 || l.head == head && l.kind == kind {
                found = Some(i);
                break;
            }
        }
        if let Some(l) = found.and_then(|i| self.m.loops.get_mut(i)) {
            l.head = head;
            l.kind = kind;
            if iterations >= l.iterations {
                l.iterations = iterations;
                l.derived = derived;
            }
        }
    }

    pub(crate) fn loops_found(&self) -> usize {
        self.m.loops.iter().take_while(|l| l.iterations > 0).count()
    }
}
