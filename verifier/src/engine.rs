//! The verifier: follows abstract states through the program in weak topological order, resumable at every unit.
//!
//! Activations form an explicit stack: the program, called subprograms, loops, callbacks. Each has the interval of the
//! order it covers and a cursor in it; states wait at blocks until the cursor arrives, so everything that can meet at
//! a block has met before it is left. A loop's cursor starts over for each iteration followed.

use crate::act::{Act, EFFORTS, Effort, Scope, Ties};
use crate::branch::Half;
use crate::cost::CostModel;
use crate::deliver::Inbox;
use crate::env::{Env, FRAMES, Program, STACK_BYTES, STACK_ROUND};
use crate::graph::Graph;
use crate::insn::REGS;
use crate::join::Joining;
use crate::memory::Memory;
use crate::reject::{Pool, Rejected, Why};
use crate::store::{CHUNK_RESERVE, NIL, STATE_RESERVE, State, Store};
use crate::value::Val;
use crate::verified::{Totals, Verified};
use crate::view::Observer;

/// What a step came to.
#[derive(Debug)]
pub enum Step<'v> {
    /// Units are used up; call again.
    More,
    /// Accepted.
    Done(Verified<'v>),
    /// Refused.
    Rejected(Rejected),
}

/// Target of states that leave the function.
pub(crate) const RETURN: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Open,
    Accepted(Totals),
    Refused(Rejected),
}

/// What the units are spent on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    /// Tables are made blank, from this place on.
    Blank(u32),
    /// The shape of the program.
    Shape,
    /// Pools are emptied for an attempt, from this place on.
    Empty(u32),
    /// States are followed.
    Follow,
    /// The stack of call chains is added up: rounds left, next slot.
    Chains(u32, u32),
}

/// Places that one unit blanks or empties.
const BLANK_SLICE: u32 = 64;
/// Slots that one unit looks through for calls.
const CHAIN_SLICE: u32 = 32;

/// One verification under way.
#[derive(Debug)]
pub struct Verifier<'m, 'e, C> {
    pub(crate) m: Memory<'m>,
    program: &'e [u64],
    pub(crate) store: Store<'m>,
    pub(crate) env: Env<'e>,
    pub(crate) cost: C,
    pub(crate) graph: Graph,
    pub(crate) stage: Stage,
    pub(crate) slots: u32,
    pub(crate) maps: u32,
    pub(crate) acts: usize,
    pub(crate) cur: Option<State>,
    pub(crate) inbox: Inbox,
    /// A join under way.
    pub(crate) joining: Option<Joining>,
    /// A comparison with one outcome to go.
    pub(crate) half: Option<Half>,
    pub(crate) pc: u32,
    pub(crate) ids: u32,
    /// Bit n: the program reads bytes of the context's nth 64-bit word (the last bit stands for all from there).
    pub(crate) context_words: u64,
    pub(crate) attempt: usize,
    pub(crate) visits: u64,
    pub(crate) units: u64,
    /// Units that the one under way counts as.
    pub(crate) weight: u32,
    /// Takes the writes to activations that are not there; nothing reads it.
    pub(crate) spare: (Act, Ties),
    /// Precision was given up somewhere: another attempt may do better.
    pub(crate) approximated: bool,
    /// A call site's facts became weaker after its cost was taken.
    pub(crate) stale_costs: bool,
    pub(crate) worst: (u64, u64, u32),
    first_refusal: Option<Rejected>,
    outcome: Outcome,
    /// Nodes of the trace in use, and pieces of the witness.
    pub(crate) nodes: u32,
    pub(crate) witness: usize,
}

/// A place and a reason.
pub(crate) type Fault = Why;

impl<'m, 'e, C: CostModel> Verifier<'m, 'e, C> {
    /// Gets ready; the first steps copy the program into `memory`. One that does not fit is refused by the first step.
    pub fn start(mut memory: Memory<'m>, program: &Program<'e>, env: Env<'e>, cost: C) -> Self {
        for (to, from) in memory.maps.iter_mut().zip(program.maps) {
            *to = *from;
        }
        let slots = program.text.len().min(u32::MAX as usize) as u32;
        let capacity = memory.text.len().min(memory.slots.len()).min(memory.stack.len() / 2) as u32;
        let chunks = core::mem::take(&mut memory.chunks);
        let states = core::mem::take(&mut memory.states);
        let mut v = Verifier {
            store: Store::new(chunks, states),
            m: memory,
            program: program.text,
            env,
            cost,
            graph: Graph::new(slots),
            stage: Stage::Blank(0),
            slots,
            maps: program.maps.len() as u32,
            acts: 0,
            cur: None,
            inbox: Inbox::EMPTY,
            joining: None,
            half: None,
            pc: 0,
            ids: 0,
            context_words: 0,
            attempt: 0,
            visits: 0,
            units: 0,
            weight: 1,
            spare: (Act::BLANK, Ties::BLANK),
            approximated: false,
            stale_costs: false,
            worst: (0, 0, 0),
            first_refusal: None,
            outcome: Outcome::Open,
            nodes: 1,
            witness: 0,
        };
        let max = env.limits.insns_max;
        if slots == 0 {
            v.refuse(0, Why::Empty);
        } else if slots > max {
            v.refuse(0, Why::TooLong { slots, max });
        } else if slots > capacity {
            v.refuse(
                0,
                Why::NoSpace {
                    pool: Pool::Slots,
                    size: capacity,
                },
            );
        } else if program.maps.len() > v.m.maps.len() {
            let size = v.m.maps.len() as u32;
            v.refuse(0, Why::NoSpace { pool: Pool::Maps, size });
        }
        v
    }

    /// Does at most `units` units of work, or one piece of work that counts as more: one unit is an abstract instruction
    /// or a bounded piece of bookkeeping; what goes through whole states counts as several. After `Done` or `Rejected`
    /// further steps repeat the answer.
    pub fn step(&mut self, units: u32) -> Step<'_> {
        self.step_observed(units, &mut ())
    }

    /// As [`Verifier::step`], showing every abstract state to `observer`.
    pub fn step_observed(&mut self, units: u32, observer: &mut impl Observer) -> Step<'_> {
        let mut left = units;
        while left > 0 && matches!(self.outcome, Outcome::Open) {
            self.weight = self.expected_weight();
            if self.weight > left && left < units {
                break;
            }
            self.unit(observer);
            self.units += u64::from(self.weight);
            left = left.saturating_sub(self.weight);
        }
        match self.outcome {
            Outcome::Open => Step::More,
            Outcome::Refused(r) => Step::Rejected(r),
            Outcome::Accepted(totals) => Step::Done(self.verified(totals)),
        }
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> Memory<'m> {
        let Verifier { mut m, store, .. } = self;
        m.chunks = store.chunks;
        m.states = store.states;
        m
    }

    /// Units of work done so far.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Abstract instruction visits so far.
    pub fn visits(&self) -> u64 {
        self.visits
    }

    pub(crate) fn unit(&mut self, observer: &mut impl Observer) {
        match self.stage {
            Stage::Blank(at) => self.blank(at),
            Stage::Shape => match self.graph.step(&mut self.m, &self.env) {
                Ok(false) => {}
                Ok(true) => self.stage = Stage::Empty(0),
                Err((pc, why)) => self.refuse(pc, why),
            },
            Stage::Empty(at) => self.empty(at),
            Stage::Follow => self.follow_on(observer),
            Stage::Chains(rounds, pc) => self.chains(rounds, pc),
        }
    }

    /// Copies the program, and blanks the tables that its shape is written to.
    fn blank(&mut self, from: u32) {
        let to = from + BLANK_SLICE;
        let text = self.m.text.iter_mut().zip(self.program);
        for (to, from) in text.take(to as usize).skip(from as usize) {
            *to = *from;
        }
        let size = self.slots as usize + 1;
        for s in self.m.slots.iter_mut().take(size.min(to as usize)).skip(from as usize) {
            *s = Default::default();
        }
        for l in self.m.loops.iter_mut().take(to as usize).skip(from as usize) {
            *l = Default::default();
        }
        let done = size.max(self.m.loops.len()) <= to as usize;
        self.stage = if done { Stage::Shape } else { Stage::Blank(to) };
    }

    /// Empties the pools, then starts an attempt.
    fn empty(&mut self, from: u32) {
        let to = from + BLANK_SLICE;
        let (first, end) = (from as usize, to as usize);
        self.store.reset(first, end);
        let blocks = self.graph.blocks as usize;
        for b in self.m.blocks.iter_mut().take(blocks.min(end)).skip(first) {
            b.pending = NIL;
        }
        let mut most = self.store.chunks.len().max(self.store.states.len()).max(blocks);
        if self.env.rules.speculation {
            let slots = self.slots as usize;
            most = most.max(slots);
            for s in self.m.slots.iter_mut().take(slots.min(end)).skip(first) {
                s.contained = 0;
            }
        }
        if most <= end {
            self.stage = Stage::Follow;
            self.begin_attempt();
        } else {
            self.stage = Stage::Empty(to);
        }
    }

    /// One unit of following states: delivers one, executes an instruction, or moves the cursor on.
    fn follow_on(&mut self, observer: &mut impl Observer) {
        self.trace_room();
        let result = match self.space() {
            Err(why) => Err(why),
            Ok(()) if self.joining.is_some() => self.join_on(),
            Ok(()) if self.inbox.head != NIL => self.deliver(),
            Ok(()) if self.half.is_some() => self.execute_half(),
            Ok(()) if self.cur.is_some() => self.execute(observer),
            Ok(()) => self.advance(observer),
        };
        let result = match result {
            Ok(()) if self.store.poisoned => Err(Why::Internal { line: line!() }),
            r => r,
        };
        match result {
            Ok(()) => {}
            Err(why) if self.abandon_summary(why, observer) => {}
            Err(why) => self.attempt_failed(why),
        }
        let open = matches!(self.outcome, Outcome::Open) && matches!(self.stage, Stage::Follow);
        if open && self.acts == 0 && self.inbox.head == NIL && self.joining.is_none() {
            self.attempt_succeeded();
        }
    }

    pub(crate) fn space(&self) -> Result<(), Fault> {
        let max = self.env.limits.visits_max;
        if self.visits > max {
            return Err(Why::TooMuchEffort {
                visits: self.visits,
                max,
            });
        }
        if self.store.chunks_left < CHUNK_RESERVE {
            return Err(Why::NoSpace {
                pool: Pool::Chunks,
                size: self.store.chunks.len() as u32,
            });
        }
        if self.store.states_left < STATE_RESERVE {
            return Err(Why::NoSpace {
                pool: Pool::States,
                size: self.store.states.len() as u32,
            });
        }
        if self.ids > crate::compare::TAG - (1 << 20) {
            return Err(Why::NoSpace {
                pool: Pool::Ids,
                size: crate::compare::TAG,
            });
        }
        Ok(())
    }

    pub(crate) fn effort(&self) -> Effort {
        EFFORTS.get(self.attempt).copied().unwrap_or(EFFORTS[EFFORTS.len() - 1])
    }

    fn begin_attempt(&mut self) {
        self.cur = None;
        (self.inbox, self.joining, self.half) = (Inbox::EMPTY, None, None);
        self.acts = 0;
        self.approximated = false;
        self.stale_costs = false;
        self.worst = (0, 0, 0);
        self.trace_reset();
        let entry = self.initial_state();
        let end = self.graph.blocks;
        if let Some(a) = self.m.acts.first_mut() {
            *a = Act { end, ..Act::BLANK };
            self.acts = 1;
            let ties = self.ties_mut(0);
            (ties.tags_len, ties.tests_len) = (0, 0);
        }
        let parked = self.store.park(entry);
        if let Some(b) = self.m.blocks.first_mut() {
            b.pending = parked;
        }
    }

    pub(crate) fn attempt_failed(&mut self, why: Why) {
        let refusal = self.rejected(self.pc, why);
        let effort = matches!(why, Why::TooMuchEffort { .. } | Why::NoSpace { .. });
        if self.attempt + 1 < EFFORTS.len() && self.approximated && self.visits <= self.env.limits.visits_max {
            self.first_refusal = Some(refusal);
            self.attempt += 1;
            self.stage = Stage::Empty(0);
            return;
        }
        // What the first attempt found is the better explanation if the second only ran out of means.
        let refusal = if effort {
            self.first_refusal.unwrap_or(refusal)
        } else {
            refusal
        };
        self.outcome = Outcome::Refused(refusal);
    }

    fn attempt_succeeded(&mut self) {
        if self.stale_costs {
            self.stage = Stage::Empty(0);
            return;
        }
        let subs = self.graph.subs;
        for s in self.m.subprograms.iter_mut().take(subs as usize) {
            s.chain_bytes = s.stack_bytes.next_multiple_of(STACK_ROUND);
        }
        let rounds = if subs > 1 { FRAMES as u32 } else { 0 };
        self.stage = Stage::Chains(rounds, 0);
    }

    /// Stack bytes of the deepest chain of calls. At most [`FRAMES`] rounds: chains are no longer than that.
    fn chains(&mut self, rounds: u32, from: u32) {
        if rounds == 0 {
            return self.conclude();
        }
        let (subs, to) = (self.graph.subs, self.slots.min(from + CHAIN_SLICE));
        for pc in from..to {
            let Some(callee) = self.callee_at(pc) else { continue };
            let caller = crate::graph::find_sub(&self.m, subs, pc);
            let callee = crate::graph::find_sub(&self.m, subs, callee);
            let below = self.m.subprograms.get(callee).map_or(0, |s| s.chain_bytes);
            if let Some(s) = self.m.subprograms.get_mut(caller) {
                let own = s.stack_bytes.next_multiple_of(STACK_ROUND);
                s.chain_bytes = s.chain_bytes.max(own + below);
            }
        }
        self.stage = match to < self.slots {
            true => Stage::Chains(rounds, to),
            false => Stage::Chains(rounds - 1, 0),
        };
    }

    /// The whole program was followed: its bounds hold; do they suffice?
    fn conclude(&mut self) {
        let (insns, time, _) = self.worst;
        let max = self.env.limits.insn_bound_max;
        let first = self.m.subprograms.first().copied().unwrap_or_default();
        let stack = first.chain_bytes;
        let why = if insns > max {
            Why::BoundTooLarge { bound: insns, max }
        } else if stack > STACK_BYTES {
            Why::StackTooDeep {
                bytes: stack,
                max: STACK_BYTES,
            }
        } else {
            self.finish_trace();
            self.outcome = Outcome::Accepted(Totals {
                insn_bound: insns,
                time_bound: time.saturating_add(self.cost.context(self.context_words)),
                context_words: self.context_words,
                stack_bytes: stack,
                frames: first.chain_frames,
                visits: self.visits,
                units: self.units,
            });
            return;
        };
        self.pc = 0;
        self.attempt_failed(why);
    }

    pub(crate) fn rejected(&self, pc: u32, why: Why) -> Rejected {
        let regs = match &self.cur {
            Some(s) => self.store.all_regs(s),
            None => [Val::UNINIT; REGS],
        };
        let mut callers = [0; FRAMES];
        let mut depth = 0;
        for a in self
            .m
            .acts
            .iter()
            .take(self.acts)
            .filter(|a| a.scope != Scope::Loop)
            .skip(1)
        {
            if let Some(c) = callers.get_mut(usize::from(depth)) {
                *c = a.call_pc;
                depth += 1;
            }
        }
        Rejected {
            pc,
            callers,
            depth,
            why,
            speculative: self.cur.as_ref().is_some_and(|s| s.speculative),
            regs,
        }
    }

    pub(crate) fn refuse(&mut self, pc: u32, why: Why) {
        self.outcome = Outcome::Refused(self.rejected(pc, why));
    }

    pub(crate) fn verified(&self, totals: Totals) -> Verified<'_> {
        let text = self.m.text.get(..self.slots as usize).unwrap_or(&[]);
        Verified {
            text,
            maps: self.m.maps.get(..self.maps as usize).unwrap_or(&[]),
            subprograms: self.m.subprograms.get(..self.graph.subs as usize).unwrap_or(&[]),
            loops: self.m.loops.get(..self.loops_found()).unwrap_or(&[]),
            witness: self.m.witness.get(..self.witness).unwrap_or(&[]),
            slots: &*self.m.slots,
            sites: self.m.sites.get(..self.graph.sites as usize).unwrap_or(&[]),
            totals,
        }
    }
}
