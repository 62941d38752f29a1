//! Executes blocks, and follows what leaves them.

use super::place::{Frame, Place};
use super::queue::{Explorer, Item, Step};
use super::{ExploreError, OnPanic, is_panic};
use crate::alu::Machine;
use crate::branch::{assume, assume_mask, assume_zero, by_sign};
use crate::elf::Image;
use crate::inst::{Flow, Inst, Op, SP};
use crate::state::{State, Value};
use crate::tables::split;
use crate::wrap::{by_choice, by_wrap};
use std::rc::Rc;

/// Most bytes of a load that no general register receives: four vectors.
const OPAQUE_BYTES: u64 = 64;
/// In the iterations of a loop after these, results of either kind are one state.
const TURNS_APART: u32 = 256;
/// Results of either kind that are kept apart, one after the other, until states meet again.
const CHOICES_MAX: u32 = 3;

impl Explorer<'_, '_> {
    /// Executes one block from one state and pushes what follows.
    pub(super) fn block(&mut self, place: &Rc<Place>, mut item: Item) -> Result<(), Step> {
        let graph = Rc::clone(&place.frame.graph);
        let block = &graph.cfg.blocks[place.block];
        let end = block.last().map_or(block.start(), |i| i.pc + 4);
        self.pass(&mut item, block.start(), end);
        let by_table = block
            .last()
            .is_some_and(|i| matches!(i.flow, Flow::JumpReg(_) | Flow::CallReg(_)));
        // States that a table splits into go on one by one; targets found by any of them are noted before a restart.
        let mut todo = vec![(0usize, item, 0u32)];
        let mut restart = false;
        while let Some((mut at, mut item, choices)) = todo.pop() {
            let mut alive = true;
            while let Some(inst) = block.insts.get(at) {
                if at > 0 && self.query.stops.contains(&inst.pc) {
                    self.end(&item);
                    alive = false;
                    break;
                }
                let few = place.turn < TURNS_APART && choices < CHOICES_MAX;
                let apart = || {
                    by_wrap(&item.state, inst)
                        .map(Vec::from)
                        .or_else(|| by_choice(&item.state, inst))
                };
                if let Some(states) = few.then(apart).flatten() {
                    let parts = states.into_iter().map(|state| Item { state, ..item.clone() });
                    todo.extend(parts.map(|item| (at, item, choices + 1)));
                    alive = false;
                    break;
                }
                if by_table && let Some(states) = split(self.graphs.image, &mut self.symbols, &item.state, inst) {
                    let parts = states.into_iter().map(|state| Item { state, ..item.clone() });
                    todo.extend(parts.map(|item| (at, item, choices)));
                    alive = false;
                    break;
                }
                self.execute(inst, &mut item)?;
                if graph.saves.contains(&inst.pc) {
                    self.save(inst, &mut item.state);
                }
                at += 1;
            }
            if alive && let Some(last) = block.last() {
                match self.follow(place, last, item) {
                    Err(Step::Restart) => restart = true,
                    other => other?,
                }
            }
        }
        if restart { Err(Step::Restart) } else { Ok(()) }
    }

    /// Executes one instruction.
    fn execute(&mut self, inst: &Inst, item: &mut Item) -> Result<(), ExploreError> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            let place = self.graphs.image.place(inst.pc);
            return Err(ExploreError::TooLarge(self.limits.steps, place));
        }
        if self.query.marks.contains(&inst.pc) {
            let begin = *item.begin.get_or_insert(item.cost);
            item.window = item.window.max(item.cost - begin);
        }
        item.cost += match &self.query.timing {
            None => (self.query.cost)(inst),
            Some(timing) => {
                let access = self.accessed(inst, &mut item.state);
                item.resident.time(timing, inst, access)
            }
        };
        if let Some(point) = self.query.sites.get(&inst.pc)
            && let Some(n) = item.firings.get_mut(*point as usize)
        {
            *n += 1;
        }
        let classes = self.query.classes;
        let mut machine = self.machine(&mut item.state);
        let counted = classes.map_or(0, |c| c.of(&mut machine, inst));
        machine.apply(inst);
        if let Some((top, own)) = self.query.stack
            && item.state.get(SP) == top
        {
            item.state.set(SP, own);
        }
        if counted != 0 {
            item.classes = counted;
        }
        Ok(())
    }

    /// Notes where the caller's registers were just saved.
    fn save(&mut self, inst: &Inst, state: &mut State) {
        let Op::Store { rt2, addr, .. } = inst.op else { return };
        // A new stack pointer is where the store went; else it is as far away as it was.
        let at = match addr.writeback {
            Some(_) => state.get(SP),
            None => self.machine(state).address(addr),
        };
        if at.base == state.stack && at.index == 0 {
            state.saved.insert(at.add, ());
            if rt2.is_some() {
                state.saved.insert(at.add.wrapping_add(8), ());
            }
        }
    }

    /// Address and bytes of an access to data.
    fn accessed(&mut self, inst: &Inst, state: &mut State) -> Option<(Value, u64)> {
        let (addr, bytes) = match inst.op {
            Op::Load { addr, size, rt2, .. } | Op::Store { addr, size, rt2, .. } => {
                (addr, u64::from(size) * if rt2.is_some() { 2 } else { 1 })
            }
            Op::StoreOpaque { addr, bytes } => (addr, bytes.into()),
            // The widest: four vectors of 16 bytes, or two registers.
            Op::LoadOpaque { addr } => (addr, OPAQUE_BYTES),
            Op::Atomic { addr, .. } => (addr, 16),
            _ => return None,
        };
        Some((self.machine(state).address(addr), bytes))
    }

    fn follow(&mut self, place: &Rc<Place>, last: &Inst, mut item: Item) -> Result<(), Step> {
        let next = last.pc + 4;
        let tested = match last.flow {
            Flow::Zero { rt, wide, .. } => {
                let mut machine = self.machine(&mut item.state);
                machine.source(rt, wide)
            }
            _ => Value::exact(0),
        };
        let state = &item.state;
        let (target, yes, no) = match last.flow {
            Flow::Next => return Ok(self.go(place, last.pc, next, item)?),
            Flow::Jump(target) => return Ok(self.go(place, last.pc, target, item)?),
            Flow::Call(target) => return Ok(self.call(place, last.pc, target, item)?),
            Flow::CallReg(_) | Flow::JumpReg(_) => return self.indirect(place, last, item),
            Flow::Ret(_) => return Ok(self.ret(place, item)?),
            Flow::Eret => {
                self.end(&item);
                return Ok(());
            }
            Flow::Trap => return Ok(self.panic(place, last.pc, "a trap instruction")?),
            Flow::Cond { cond, target } => {
                if let Some(parts) = by_sign(state, cond) {
                    for state in parts {
                        self.follow(place, last, Item { state, ..item.clone() })?;
                    }
                    return Ok(());
                }
                let no = if cond >= 14 {
                    None
                } else {
                    assume(state, &state.flags, cond ^ 1)
                };
                (target, assume(state, &state.flags, cond), no)
            }
            Flow::Zero { wide, zero, target, .. } => (
                target,
                assume_zero(state, tested, wide, zero),
                assume_zero(state, tested, wide, !zero),
            ),
            Flow::Bit { rt, bit, set, target } => {
                let (value, mask) = (state.get(rt), 1u64 << bit);
                (
                    target,
                    assume_mask(state, value, mask, !set),
                    assume_mask(state, value, mask, set),
                )
            }
        };
        for (target, state) in [(target, yes), (next, no)] {
            if let Some(state) = state {
                self.go(place, last.pc, target, Item { state, ..item.clone() })?;
            }
        }
        Ok(())
    }

    /// A branch or call through a register: only to a target that is known.
    fn indirect(&mut self, place: &Rc<Place>, last: &Inst, item: Item) -> Result<(), Step> {
        match last.flow {
            Flow::CallReg(reg) => {
                let target = item.state.get(reg).as_exact();
                let target = target.ok_or_else(|| self.unresolved(last.pc, "blr", place))?;
                Ok(self.call(place, last.pc, target, item)?)
            }
            Flow::JumpReg(reg) => {
                let target = item.state.get(reg).as_exact();
                let target = target.ok_or_else(|| self.unresolved(last.pc, "br", place))?;
                let frame = &place.frame;
                if frame.graph.cfg.holds(target) && !frame.graph.cfg.has_edge(place.block, target) {
                    self.graphs.add_target(frame.function, last.pc, target);
                    return Err(Step::Restart);
                }
                Ok(self.go(place, last.pc, target, item)?)
            }
            _ => Ok(()),
        }
    }

    fn machine<'s>(&'s mut self, state: &'s mut State) -> Machine<'s, Image> {
        Machine {
            state,
            symbols: &mut self.symbols,
            constants: self.graphs.image,
        }
    }

    fn unresolved(&self, pc: u64, what: &'static str, place: &Place) -> ExploreError {
        ExploreError::Unresolved {
            place: self.graphs.image.place(pc),
            what,
            chain: place.chain(self.graphs.image),
        }
    }

    fn panic(&mut self, place: &Place, pc: u64, what: &str) -> Result<(), ExploreError> {
        if self.query.on_panic == OnPanic::LeaveOut {
            self.left_out += 1;
            return Ok(());
        }
        Err(ExploreError::Panic {
            place: self.graphs.image.place(pc),
            what: what.to_owned(),
            chain: place.chain(self.graphs.image),
        })
    }

    /// Control goes to `target` in the same function, or leaves it by a tail call.
    pub(super) fn go(&mut self, place: &Rc<Place>, from: u64, target: u64, item: Item) -> Result<(), ExploreError> {
        if self.query.stops.contains(&target) {
            self.end(&item);
            return Ok(());
        }
        let frame = &place.frame;
        let cfg = &frame.graph.cfg;
        let Some(block) = cfg.block_at(target) else {
            return self.enter(place, from, target, None, item);
        };
        let (old, new) = (&cfg.blocks[place.block].loops, &cfg.blocks[block].loops);
        let mut iterations: Vec<u32> = Vec::with_capacity(new.len());
        for (i, header) in new.iter().enumerate() {
            let same = old.get(..=i) == new.get(..=i);
            let n = if same {
                place.iterations.get(i).copied().unwrap_or(0)
            } else {
                0
            };
            // An edge to the header from inside the loop is a back edge: the next iteration.
            iterations.push(n + u32::from(same && *header == block));
        }
        if new.last() == Some(&block) {
            let n = iterations.last().copied().unwrap_or(0);
            if !self.may_iterate(place, block, n)? {
                return Ok(());
            }
        }
        self.push(Place::new(Rc::clone(frame), block, iterations), item);
        Ok(())
    }

    /// Whether the loop of this header may begin its iteration `n` (from 0).
    fn may_iterate(&mut self, place: &Place, header: usize, n: u32) -> Result<bool, ExploreError> {
        let cfg = &place.frame.graph.cfg;
        let pc = cfg.blocks[header].start();
        let declared = self
            .query
            .declared
            .get(&pc)
            .or(place.frame.graph.stated.get(&header))
            .copied();
        let seen = self.loops.entry(pc).or_insert((0, declared.is_some()));
        // Who enters a loop elsewhere than at its header comes to the header with iteration 1 first.
        let more = u32::from(cfg.entered.contains(&header));
        if declared.is_some_and(|most| n >= most.saturating_add(more)) {
            return Ok(false);
        }
        seen.0 = seen.0.max(n + 1);
        if n >= self.limits.unroll {
            return Err(ExploreError::Unbounded {
                place: self.graphs.image.place(pc),
                header: pc,
                iterations: n,
                chain: place.chain(self.graphs.image),
            });
        }
        Ok(true)
    }

    fn call(&mut self, place: &Rc<Place>, pc: u64, target: u64, mut item: Item) -> Result<(), ExploreError> {
        let ret = pc + 4;
        item.state.set(30, Value::exact(ret));
        self.enter(place, pc, target, Some(ret), item)
    }

    /// Enters a frame for `target`; `ret` = None for a tail call.
    fn enter(
        &mut self,
        place: &Rc<Place>,
        pc: u64,
        target: u64,
        ret: Option<u64>,
        item: Item,
    ) -> Result<(), ExploreError> {
        if let Some(symbol) = self.graphs.image.symbol_at(target)
            && is_panic(&symbol.name)
        {
            let what = symbol.name.clone();
            return self.panic(place, pc, &what);
        }
        let depth = place.frame.depth + 1;
        if depth >= self.limits.depth {
            return Err(ExploreError::Recursion {
                place: self.graphs.image.place(pc),
                depth,
                chain: place.chain(self.graphs.image),
            });
        }
        if self.query.stops.contains(&target) {
            self.end(&item);
            return Ok(());
        }
        let graph = self.graphs.get(target)?;
        let block = graph.cfg.block_at(target).unwrap_or(0);
        let iterations = vec![0; graph.cfg.blocks[block].loops.len()];
        let frame = Frame {
            function: target,
            graph,
            caller: Some((Rc::clone(place), ret.unwrap_or(0))),
            above: None,
            tail: ret.is_none(),
            depth,
        };
        self.push(Place::new(Rc::new(frame), block, iterations), item);
        Ok(())
    }

    fn ret(&mut self, place: &Rc<Place>, mut item: Item) -> Result<(), ExploreError> {
        item.state.forget_below_stack();
        let mut frame = &place.frame;
        while let Some((caller, ret)) = &frame.caller {
            if frame.tail {
                frame = &caller.frame;
                continue;
            }
            let caller = Rc::clone(caller);
            return self.go(&caller, ret - 4, *ret, item);
        }
        match &mut self.exits {
            Some(exits) => exits.push(item),
            None => self.end(&item),
        }
        Ok(())
    }
}
