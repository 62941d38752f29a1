//! Loops and callbacks: followed one iteration at a time, or summarised.
//!
//! A summary is a proof by induction. A counter `k` of back edges taken, unseen by the program, is added to the state;
//! the hypothesis `H` says what holds at the head whenever `0 <= k <= T`. Registers and slots that change by a constant
//! `c` each iteration are tied to the counter: value = base + c·k. One pass over the body from `H` must show that
//! every back edge leads into `H` again with `k + 1 <= T`. Then the back edges are taken at most `T` times, and the
//! worst cost is that of entering, plus `T` times the worst way round, plus the worst way out.
//! `T` itself is a guess from the exit tests: a wrong one does not survive the pass.

use crate::act::{Act, Scope};
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::flow::SCAN;
use crate::join::Then;
use crate::reject::{Progress, Why};
use crate::store::{GHOSTS, Ghost, NIL, State};
use crate::value::Val;
use crate::view::Observer;
use crate::weight::HEAVY;

/// Passes over a loop's body before a summary is given up.
pub(crate) const ROUNDS_MAX: u8 = 7;
/// Visits spent on following one loop to its end, and while an outer loop is only being tried.
const FOLLOW_VISITS_MAX: u64 = 150_000;
const FOLLOW_VISITS_INNER_MAX: u64 = 20_000;
/// A loop that takes no more visits than this is followed although a summary of it holds.
pub(crate) const FOLLOW_CHEAP_VISITS: u64 = 400;
/// The same where iterations differ in cost.
pub(crate) const FOLLOW_UNEVEN_VISITS: u64 = 4_000;

/// How an activation is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// What enters is looked for and joined, a state a unit.
    Enter,
    /// For good, one iteration after the other.
    Follow,
    /// One pass to learn what changes.
    Discover,
    /// Passes from a hypothesis.
    Prove,
    /// A summary holds: its exits go on, one after the other.
    Leave,
}

impl Mode {
    pub(crate) fn summary(self) -> bool {
        matches!(self, Mode::Discover | Mode::Prove)
    }
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// The activation at `at` was pushed; its states wait at the blocks it covers.
    pub(crate) fn begin_loop(&mut self, at: usize) {
        let summaries = self.m.acts.iter().take(at).filter(|a| a.mode.summary()).count();
        let act = self.act_mut(at);
        if summaries < GHOSTS {
            act.mode = Mode::Enter;
            act.ghost = summaries as u8;
            // Places behind the head are looked at next.
            act.cursor = act.base + 1;
        }
    }

    /// One unit of entering: a loop that is entered behind its head too is followed; else the states that wait at the
    /// head become one.
    pub(crate) fn enter(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        if act.cursor < act.end {
            return self.look_for_entries(at, &act);
        }
        if act.gathering {
            return self.join_entry(at, observer);
        }
        let pending = self.block(act.head).pending;
        if let Some(b) = self.m.blocks.get_mut(act.head as usize) {
            b.pending = NIL;
        }
        let act = self.act_mut(at);
        (act.entry, act.gathered, act.gathering) = (pending, pending, true);
        Ok(())
    }

    fn look_for_entries(&mut self, at: usize, act: &Act) -> Result<(), Fault> {
        let to = act.end.min(act.cursor.saturating_add(SCAN));
        for place in act.cursor..to {
            let b = self.m.by_order.get(place as usize).copied().unwrap_or(0);
            let block = self.block(b);
            if block.order == place && block.pending != NIL {
                let act = self.act_mut(at);
                (act.mode, act.cursor) = (Mode::Follow, act.base);
                return Ok(());
            }
        }
        self.act_mut(at).cursor = to;
        Ok(())
    }

    /// Joins one more of the states that enter; all are joined: what changes in the loop is looked for.
    fn join_entry(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        if let Some(x) = self.store.states.get(usize::from(act.gathered)).copied() {
            self.weight = self.weight.max(HEAVY);
            let y = self.store.fork(&x);
            let entered = self.taken(act.entered);
            let act = self.act_mut(at);
            (act.entered, act.gathered) = (NIL, x.next);
            match entered {
                None => self.act_mut(at).entered = self.store.park(y),
                Some(s) if self.store.joinable(&s, &y) => return self.join(s, y, None, Then::Enter(at)),
                Some(s) => {
                    self.store.drop_state(&s);
                    self.store.drop_state(&y);
                    return self.follow(at);
                }
            }
            return Ok(());
        }
        self.act_mut(at).gathering = false;
        let Some(s) = self.store.states.get(usize::from(act.entered)).copied() else {
            return self.follow(at);
        };
        self.pay_entry(at, &s);
        let mut s = self.store.fork(&s);
        self.tag_all(&mut s);
        self.begin_summary(at, Mode::Discover, s, observer)
    }

    /// The cost of entering is that of the joined state.
    fn pay_entry(&mut self, at: usize, s: &State) {
        let act = self.act_mut(at);
        (act.insns, act.insns_min, act.time, act.trace) = (s.insns, s.insns_min, s.time, s.trace);
    }

    pub(crate) fn begin_summary(
        &mut self,
        at: usize,
        mode: Mode,
        mut s: State,
        observer: &mut impl Observer,
    ) -> Result<(), Fault> {
        (s.insns, s.insns_min, s.time, s.trace) = (0, 0, 0, 0);
        let ghost = usize::from(self.act(at).ghost);
        let trips = if mode == Mode::Prove { self.act(at).trips } else { 0 };
        if let Some(g) = s.ghosts.get_mut(ghost) {
            *g = Ghost { lo: 0, hi: trips };
        }
        let copy = self.store.fork(&s);
        let hypothesis = self.store.park(copy);
        let act = self.act_mut(at);
        act.mode = mode;
        act.hypothesis = hypothesis;
        act.varies = false;
        (act.gathering, act.places) = (false, 0);
        let visits = self.visits;
        self.act_mut(at).visits_before = visits;
        observer.begin();
        let list = self.store.park(s);
        self.launch(at, list)
    }

    /// Starts an iteration from the states of `list` at the head.
    pub(crate) fn launch(&mut self, at: usize, mut list: u16) -> Result<(), Fault> {
        let act = self.act_mut(at);
        act.cursor = act.base;
        let head = act.head;
        if act.scope == Scope::Callback {
            while list != NIL {
                let s = self.store.unpark(list);
                list = s.next;
                self.callback_head(at, s)?;
            }
        } else if let Some(b) = self.m.blocks.get_mut(head as usize) {
            b.pending = list;
        }
        Ok(())
    }

    /// A callback activation with its count and its one state was pushed: first try a summary.
    pub(crate) fn prove_callback(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let Some(s) = self.store.states.get(usize::from(self.act(at).entry)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        self.pay_entry(at, &s);
        let s = self.store.fork(&s);
        self.begin_summary(at, Mode::Prove, s, observer)
    }

    /// Gives up summarising: the loop is followed from its entry.
    pub(crate) fn follow(&mut self, at: usize) -> Result<(), Fault> {
        let visits = self.visits;
        let act = self.act_mut(at);
        act.mode = Mode::Follow;
        act.iterations = 0;
        act.visits_before = visits;
        let entry = core::mem::replace(&mut act.entry, NIL);
        self.launch(at, entry)
    }

    /// An error inside a summary says nothing about the program: the innermost loop under summary is followed instead.
    pub(crate) fn abandon_summary(&mut self, why: Why, observer: &mut impl Observer) -> bool {
        if matches!(why, Why::TooMuchEffort { .. } | Why::Internal { .. }) || self.store.poisoned {
            return false;
        }
        let acts = self.m.acts.get(..self.acts).unwrap_or(&[]);
        let Some(at) = acts.iter().rposition(|a| a.mode.summary()) else {
            return false;
        };
        self.purge(at);
        observer.discard();
        self.follow(at).is_ok()
    }

    /// Drops everything under way in the activation at `at` except its entry, and the activations above it.
    pub(crate) fn purge(&mut self, at: usize) {
        if let Some(s) = self.cur.take() {
            self.store.drop_state(&s);
        }
        self.drop_inbox();
        self.drop_joining();
        self.drop_half();
        for i in (at..self.acts).rev() {
            let act = *self.act(i);
            for place in act.base..act.end {
                let b = self.m.by_order.get(place as usize).copied().unwrap_or(0);
                if let Some(cell) = self.m.blocks.get_mut(b as usize) {
                    let mut list = core::mem::replace(&mut cell.pending, NIL);
                    self.store.drop_list(&mut list);
                }
            }
            for mut list in [
                act.batch,
                act.next,
                act.exits,
                act.previous,
                act.hypothesis,
                act.entered,
                act.wider,
                act.moved,
            ] {
                self.store.drop_list(&mut list);
            }
            if i > at {
                let mut list = act.entry;
                self.store.drop_list(&mut list);
            }
            let act = self.act_mut(i);
            (act.batch, act.next, act.exits, act.previous, act.hypothesis) = (NIL, NIL, NIL, NIL, NIL);
            (act.entered, act.wider, act.moved) = (NIL, NIL, NIL);
            (act.gathering, act.outside, act.places) = (false, false, 0);
        }
        self.acts = at + 1;
    }

    /// All states of an iteration are followed.
    pub(crate) fn finish_pass(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        self.weight = self.weight.max(HEAVY);
        match self.act(at).mode {
            // Entering has units of its own and no pass.
            Mode::Enter => Err(Why::Internal { line: line!() }),
            Mode::Follow => self.finish_followed(at),
            Mode::Discover => self.finish_discovery(at, observer),
            Mode::Prove => self.finish_proof(at, observer),
            Mode::Leave => self.leave_one(at),
        }
    }

    pub(crate) fn pop_loop(&mut self, at: usize) {
        let act = *self.act(at);
        for mut list in [act.entry, act.previous, act.hypothesis, act.next, act.exits] {
            self.store.drop_list(&mut list);
        }
        self.acts = at;
    }

    pub(crate) fn finish_followed(&mut self, at: usize) -> Result<(), Fault> {
        let act = *self.act(at);
        let iterations = act.iterations + 1;
        if act.next == NIL {
            let calls = if act.scope == Scope::Callback {
                iterations.min(act.count.1)
            } else {
                iterations
            };
            self.note_loop(&act, calls, false);
            self.pop_loop(at);
            self.note_variation(at);
            return Ok(());
        }
        self.pc = act.call_pc;
        let same = |v: &Self| v.all_covered(act.next, act.previous) && v.all_covered(act.previous, act.next);
        if act.previous != NIL && same(self) {
            return Err(Why::NoLoopBound {
                head: act.call_pc,
                progress: Progress::NoChange,
            });
        }
        let inner = self.m.acts.iter().take(at).any(|a| a.mode.summary());
        let limit = if inner {
            FOLLOW_VISITS_INNER_MAX
        } else {
            FOLLOW_VISITS_MAX
        };
        if self.visits - act.visits_before > limit {
            return Err(self.unbounded(&act, iterations));
        }
        let mut previous = act.previous;
        self.store.drop_list(&mut previous);
        let copy = if act.scope == Scope::Loop {
            self.copy_list(act.next)
        } else {
            NIL
        };
        let act = self.act_mut(at);
        act.previous = copy;
        act.iterations = iterations;
        let next = core::mem::replace(&mut act.next, NIL);
        self.launch(at, next)
    }

    pub(crate) fn unbounded(&self, act: &Act, followed: u64) -> Why {
        let ties = self.ties(self.top());
        let test = ties.tests().first();
        let mut value = Val::UNINIT;
        if let (Some(t), Some(s)) = (test, self.store.states.get(usize::from(act.next))) {
            value = self.store.reg(s, t.reg);
        }
        let step = test
            .and_then(|t| ties.tags().iter().find(|g| g.id != 0 && g.id == t.value.id))
            .map(|g| g.step);
        let progress = Progress::Unbounded {
            followed,
            counter: test.map(|t| t.reg),
            value,
            step,
        };
        Why::NoLoopBound {
            head: act.call_pc,
            progress,
        }
    }

    pub(crate) fn all_covered(&self, list: u16, by: u16) -> bool {
        let mut at = list;
        while at != NIL {
            let Some(x) = self.store.states.get(usize::from(at)) else {
                return false;
            };
            let mut y = by;
            let mut covered = false;
            while y != NIL && !covered {
                let Some(b) = self.store.states.get(usize::from(y)) else {
                    return false;
                };
                covered = self.store.subset(x, b);
                y = b.next;
            }
            if !covered {
                return false;
            }
            at = x.next;
        }
        true
    }
}
