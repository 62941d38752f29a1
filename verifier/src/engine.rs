//! The verifier: follows abstract states through the program in weak topological order, resumable at every unit.
//!
//! Activations form an explicit stack: the program, called subprograms, loops, callbacks. Each has the interval of the
//! order it covers and a cursor in it; states wait at blocks until the cursor arrives, so everything that can meet at
//! a block has met before it is left. A loop's cursor starts over for each iteration followed.

use crate::cost::CostModel;
use crate::env::{Env, FRAMES, Program, STACK_BYTES, STACK_ROUND};
use crate::graph::Graph;
use crate::insn::REGS;
use crate::loops::{Mode, Tag, Test};
use crate::memory::Memory;
use crate::reject::{Pool, Rejected, Why};
use crate::store::{CHUNK_RESERVE, NIL, STATE_RESERVE, State, Store};
use crate::value::Val;
use crate::verified::{Totals, Verified};

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

/// A look at one abstract state, for tests and tools.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) store: &'a Store<'a>,
    pub(crate) state: &'a State,
    /// Slot of the instruction about to be executed.
    pub pc: u32,
    /// Most instructions executed before it in one run, on the paths this state stands for; relative to the entry of
    /// the innermost loop under summary.
    pub insns: u64,
}

impl View<'_> {
    /// What is known of r0 to r10 of the innermost frame.
    pub fn regs(&self) -> [Val; REGS] {
        self.store.all_regs(self.state)
    }

    /// Frames above the innermost one.
    pub fn depth(&self) -> u8 {
        self.state.depth
    }

    /// What is known of r6 to r9 of frame `n` of the callers.
    pub fn saved(&self, n: u8) -> [Val; 4] {
        let chunk = self.state.saved.get(usize::from(n)).copied().unwrap_or(0);
        self.store.slots(chunk).map(|s| s.val)
    }

    /// Stored values: frame, offset from its r10, bytes, and the value.
    pub fn spills(&self) -> impl Iterator<Item = (u8, i64, u8, Val)> {
        self.state.stack().iter().flat_map(|r| {
            let slots = self.store.slots(r.chunk).iter().enumerate();
            slots.filter(|(_, s)| s.spill > 0).map(|(i, s)| {
                let slot = i64::from(r.at) * crate::store::CHUNK as i64 + i as i64;
                (r.frame, -8 * (slot + 1), s.spill, s.val)
            })
        })
    }
}

/// Told of every abstract state. Passes over a loop that turn out not to count are taken back.
pub trait Observer {
    /// A state is about to be followed over one instruction.
    fn visit(&mut self, view: View<'_>);
    /// A pass begins that may be taken back; passes nest.
    fn begin(&mut self) {}
    /// The innermost pass under way is taken back.
    fn discard(&mut self) {}
    /// The innermost pass under way counts.
    fn commit(&mut self) {}
}

impl Observer for () {
    fn visit(&mut self, _view: View<'_>) {}
}

/// What an activation covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scope {
    Function,
    Loop,
    Callback,
}

/// One activation.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) base: u32,
    pub(crate) end: u32,
    pub(crate) cursor: u32,
    pub(crate) comp: u16,
    pub(crate) head: u32,
    pub(crate) block: u32,
    pub(crate) depth: u8,
    pub(crate) call_pc: u32,
    pub(crate) batch: u16,
    pub(crate) next: u16,
    pub(crate) entry: u16,
    pub(crate) exits: u16,
    pub(crate) previous: u16,
    pub(crate) hypothesis: u16,
    pub(crate) ghost: u8,
    pub(crate) round: u8,
    pub(crate) varies: bool,
    pub(crate) trips: u64,
    pub(crate) iterations: u64,
    pub(crate) visits_before: u64,
    pub(crate) insns: u64,
    pub(crate) insns_min: u64,
    pub(crate) time: u64,
    pub(crate) trace: u32,
    pub(crate) tags: [Tag; crate::loops::TAGS],
    pub(crate) tags_len: u8,
    pub(crate) tests: [Test; crate::loops::TESTS],
    pub(crate) tests_len: u8,
    pub(crate) count: (u64, u64),
    pub(crate) values: [Val; 5],
    pub(crate) index: u8,
}

impl Act {
    /// No activation.
    pub const BLANK: Act = Act {
        scope: Scope::Function,
        mode: Mode::Follow,
        base: 0,
        end: 0,
        cursor: 0,
        comp: 0,
        head: 0,
        block: 0,
        depth: 0,
        call_pc: 0,
        batch: NIL,
        next: NIL,
        entry: NIL,
        exits: NIL,
        previous: NIL,
        hypothesis: NIL,
        ghost: 0,
        round: 0,
        varies: false,
        trips: 0,
        iterations: 0,
        visits_before: 0,
        insns: 0,
        insns_min: 0,
        time: 0,
        trace: 0,
        tags: [Tag::BLANK; crate::loops::TAGS],
        tags_len: 0,
        tests: [Test::BLANK; crate::loops::TESTS],
        tests_len: 0,
        count: (0, 0),
        values: [Val::UNINIT; 5],
        index: 0,
    };

    pub(crate) fn covers(&self, order: u32) -> bool {
        self.base <= order && order < self.end
    }
}

/// How hard an attempt tries: states kept apart at one place, and the most visits a loop may cost to be followed one
/// iteration at a time although a summary of it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub states: u32,
    pub follow_visits: u64,
}

/// First attempt: joins early and prefers summaries. Second, if the first refuses: keeps paths apart, follows loops.
pub(crate) const EFFORTS: [Effort; 2] = [
    Effort {
        states: 6,
        follow_visits: 20_000,
    },
    Effort {
        states: 48,
        follow_visits: 400_000,
    },
];

/// Target of states that leave the function.
pub(crate) const RETURN: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Open,
    Accepted(Totals),
    Refused(Rejected),
}

/// One verification under way.
#[derive(Debug)]
pub struct Verifier<'m, 'e, C> {
    pub(crate) m: Memory<'m>,
    pub(crate) store: Store<'m>,
    pub(crate) env: Env<'e>,
    pub(crate) cost: C,
    pub(crate) graph: Graph,
    pub(crate) graph_done: bool,
    pub(crate) slots: u32,
    pub(crate) maps: u32,
    pub(crate) acts: usize,
    pub(crate) cur: Option<State>,
    pub(crate) pc: u32,
    pub(crate) ids: u32,
    pub(crate) attempt: usize,
    pub(crate) visits: u64,
    pub(crate) units: u64,
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
    /// Copies the program into `memory` and gets ready. A program that does not fit is refused by the first step.
    pub fn start(mut memory: Memory<'m>, program: &Program<'_>, env: Env<'e>, cost: C) -> Self {
        for (to, from) in memory.text.iter_mut().zip(program.text) {
            *to = *from;
        }
        for (to, from) in memory.maps.iter_mut().zip(program.maps) {
            *to = *from;
        }
        for s in memory.slots.iter_mut() {
            *s = Default::default();
        }
        for l in memory.loops.iter_mut() {
            *l = Default::default();
        }
        let slots = program.text.len().min(u32::MAX as usize) as u32;
        let capacity = memory.text.len().min(memory.slots.len()).min(memory.stack.len() / 2) as u32;
        let chunks = core::mem::take(&mut memory.chunks);
        let states = core::mem::take(&mut memory.states);
        let mut v = Verifier {
            store: Store::new(chunks, states),
            m: memory,
            env,
            cost,
            graph: Graph::new(slots),
            graph_done: false,
            slots,
            maps: program.maps.len() as u32,
            acts: 0,
            cur: None,
            pc: 0,
            ids: 0,
            attempt: 0,
            visits: 0,
            units: 0,
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

    /// Does `units` units of work: each is one abstract instruction or one bounded piece of bookkeeping. After `Done`
    /// or `Rejected` further steps repeat the answer.
    pub fn step(&mut self, units: u32) -> Step<'_> {
        self.step_observed(units, &mut ())
    }

    /// As [`Verifier::step`], showing every abstract state to `observer`.
    pub fn step_observed(&mut self, units: u32, observer: &mut impl Observer) -> Step<'_> {
        for _ in 0..units {
            if !matches!(self.outcome, Outcome::Open) {
                break;
            }
            self.units += 1;
            self.unit(observer);
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

    fn unit(&mut self, observer: &mut impl Observer) {
        if !self.graph_done {
            match self.graph.step(&mut self.m, &self.env) {
                Ok(false) => {}
                Ok(true) => {
                    self.graph_done = true;
                    self.begin_attempt();
                }
                Err((pc, why)) => self.refuse(pc, why),
            }
            return;
        }
        self.trace_room();
        let result = match self.space() {
            Err(why) => Err(why),
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
        if matches!(self.outcome, Outcome::Open) && self.acts == 0 && self.graph_done {
            self.attempt_succeeded();
        }
    }

    fn space(&self) -> Result<(), Fault> {
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
        EFFORTS[self.attempt.min(EFFORTS.len() - 1)]
    }

    fn begin_attempt(&mut self) {
        self.store.reset();
        self.store.poisoned = false;
        for b in self.m.blocks.iter_mut().take(self.graph.blocks as usize) {
            b.pending = NIL;
        }
        self.cur = None;
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
        }
        let parked = self.store.park(entry);
        if let Some(b) = self.m.blocks.first_mut() {
            b.pending = parked;
        }
    }

    fn attempt_failed(&mut self, why: Why) {
        let refusal = self.rejected(self.pc, why);
        let effort = matches!(why, Why::TooMuchEffort { .. } | Why::NoSpace { .. });
        if self.attempt + 1 < EFFORTS.len() && self.approximated && self.visits <= self.env.limits.visits_max {
            self.first_refusal = Some(refusal);
            self.attempt += 1;
            self.begin_attempt();
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
            self.begin_attempt();
            return;
        }
        let (insns, time, _) = self.worst;
        let max = self.env.limits.insn_bound_max;
        let stack = self.chain_stack();
        let why = if insns > max {
            Why::BoundTooLarge { bound: insns, max }
        } else if stack > STACK_BYTES {
            Why::StackTooDeep {
                bytes: stack,
                max: STACK_BYTES,
            }
        } else {
            let frames = self.m.subprograms.first().map_or(1, |s| s.chain_frames);
            self.finish_trace();
            self.outcome = Outcome::Accepted(Totals {
                insn_bound: insns,
                time_bound: time,
                stack_bytes: stack,
                frames,
                visits: self.visits,
                units: self.units,
            });
            return;
        };
        self.pc = 0;
        self.attempt_failed(why);
    }

    /// Stack bytes of the deepest chain of calls. At most [`FRAMES`] passes: chains are no longer than that.
    fn chain_stack(&mut self) -> u32 {
        let subs = self.graph.subs;
        for s in self.m.subprograms.iter_mut().take(subs as usize) {
            s.chain_bytes = s.stack_bytes.next_multiple_of(STACK_ROUND);
        }
        for _ in 0..FRAMES {
            for pc in 0..self.slots {
                let Some(callee) = self.callee_at(pc) else { continue };
                let caller = crate::graph::find_sub(&self.m, subs, pc);
                let callee = crate::graph::find_sub(&self.m, subs, callee);
                let below = self.m.subprograms.get(callee).map_or(0, |s| s.chain_bytes);
                if let Some(s) = self.m.subprograms.get_mut(caller) {
                    let own = s.stack_bytes.next_multiple_of(STACK_ROUND);
                    s.chain_bytes = s.chain_bytes.max(own + below);
                }
            }
        }
        self.m.subprograms.first().map_or(0, |s| s.chain_bytes)
    }

    fn rejected(&self, pc: u32, why: Why) -> Rejected {
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
            regs,
        }
    }

    fn refuse(&mut self, pc: u32, why: Why) {
        self.outcome = Outcome::Refused(self.rejected(pc, why));
    }

    fn verified(&self, totals: Totals) -> Verified<'_> {
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
