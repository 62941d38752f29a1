//! Loops and callbacks: followed one iteration at a time, or summarised.
//!
//! A summary is a proof by induction. A counter `k` of back edges taken, unseen by the program, is added to the state;
//! the hypothesis `H` says what holds at the head whenever `0 <= k <= T`. Registers and slots that change by a constant
//! `c` each iteration are tied to the counter: value = base + c·k. One pass over the body from `H` must show that
//! every back edge leads into `H` again with `k + 1 <= T`. Then the back edges are taken at most `T` times, and the
//! worst cost is that of entering, plus `T` times the worst way round, plus the worst way out.
//! `T` itself is a guess from the exit tests: a wrong one does not survive the pass.

use crate::compare::TAG;
use crate::cost::CostModel;
use crate::engine::{Act, Fault, Observer, Scope, Verifier};
use crate::env::FRAMES;
use crate::insn::{Cond, Width};
use crate::reject::{Progress, Why};
use crate::scalar::Scalar;
use crate::store::{GHOSTS, Ghost, NIL, STACK_CHUNKS, Slot, State};
use crate::tnum::{Tnum, low_mask};
use crate::value::{Region, Val};

/// Locations of one loop tied to its counter.
pub(crate) const TAGS: usize = 12;
/// Exit tests remembered of one loop.
pub(crate) const TESTS: usize = 4;
/// Passes over a loop's body before a summary is given up.
const ROUNDS_MAX: u8 = 7;
/// Visits spent on following one loop to its end, and while an outer loop is only being tried.
const FOLLOW_VISITS_MAX: u64 = 600_000;
const FOLLOW_VISITS_INNER_MAX: u64 = 20_000;
/// A loop that takes no more visits than this is followed although a summary of it holds.
const FOLLOW_CHEAP_VISITS: u64 = 400;
/// The same where iterations differ in cost.
const FOLLOW_UNEVEN_VISITS: u64 = 4_000;
/// Most iterations a summary may claim; keeps `base + c·k` far from overflow together with `STEP_MAX`.
const TRIPS_MAX: u64 = 1 << 30;
const STEP_MAX: i64 = 1 << 31;
const BASE_MAX: i64 = 1 << 61;

/// How an activation is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// For good, one iteration after the other.
    Follow,
    /// One pass to learn what changes.
    Discover,
    /// Passes from a hypothesis.
    Prove,
}

impl Mode {
    pub(crate) fn summary(self) -> bool {
        self != Mode::Follow
    }
}

/// An unknown tied to a loop's counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub id: u32,
    pub step: i64,
    pub base: Scalar,
}

impl Tag {
    pub(crate) const BLANK: Tag = Tag {
        id: 0,
        step: 0,
        base: Scalar::UNKNOWN,
    };

    /// Its values for the counter in `k`.
    fn range(&self, k: Ghost) -> Scalar {
        let (a, b) = (
            self.step.saturating_mul(k.lo as i64),
            self.step.saturating_mul(k.hi as i64),
        );
        let n = Scalar::signed_range(
            self.base.smin.saturating_add(a.min(b)),
            self.base.smax.saturating_add(a.max(b)),
        );
        // The low bits that the step never touches stay those of the base.
        let still = low_mask(self.step.trailing_zeros().min(63));
        let bits = Tnum {
            value: self.base.bits.value & still,
            mask: self.base.bits.mask & still | !still,
        };
        let with = Scalar {
            bits,
            ..Scalar::UNKNOWN
        };
        n.intersect(&with).unwrap_or(n)
    }
}

/// A comparison that decides whether the loop goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub reg: u8,
    pub value: Val,
    pub limit: Scalar,
    /// The loop goes on while `value cond limit` holds.
    pub cond: Cond,
    pub width: Width,
}

impl Test {
    pub(crate) const BLANK: Test = Test {
        reg: 0,
        value: Val::UNINIT,
        limit: Scalar::UNKNOWN,
        cond: Cond::Eq,
        width: Width::W64,
    };
}

/// A place in a state: register, saved register or stack slot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Reg(u8),
    Saved(u8, u8),
    Stack { frame: u8, at: u8, slot: u8 },
}

/// All places of a state with `stack` chunks, counted.
const PLACES: usize = 10 + 4 * (FRAMES - 1) + 4 * STACK_CHUNKS;

impl<C: CostModel> Verifier<'_, '_, C> {
    fn place(&self, s: &State, n: usize) -> Option<Place> {
        let depth = usize::from(s.depth).min(FRAMES - 1);
        if n < 10 {
            return Some(Place::Reg(n as u8));
        }
        let n = n - 10;
        if n < 4 * depth {
            return Some(Place::Saved((n / 4) as u8, (n % 4) as u8));
        }
        let n = n - 4 * depth;
        let r = s.stack().get(n / 4)?;
        Some(Place::Stack {
            frame: r.frame,
            at: r.at,
            slot: (n % 4) as u8,
        })
    }

    fn slot_of(&self, s: &State, p: Place) -> Slot {
        match p {
            Place::Reg(r) => Slot {
                val: self.store.reg(s, r),
                ..Slot::default()
            },
            Place::Saved(f, i) => {
                let c = s.saved.get(usize::from(f)).copied().unwrap_or(0);
                self.store.slots(c)[usize::from(i & 3)]
            }
            Place::Stack { frame, at, slot } => self.store.slots(s.stack_chunk(frame, at))[usize::from(slot & 3)],
        }
    }

    fn set_val(&mut self, s: &mut State, p: Place, v: Val) {
        match p {
            Place::Reg(r) => self.store.set_reg(s, r, v),
            Place::Saved(f, i) => {
                if let Some(c) = s.saved.get_mut(usize::from(f)) {
                    self.store.unique(c)[usize::from(i & 3)].val = v;
                }
            }
            Place::Stack { frame, at, slot } => {
                if let Some(slots) = self.store.stack_mut(s, frame, at) {
                    slots[usize::from(slot & 3)].val = v;
                }
            }
        }
    }

    /// The activation at `at` was pushed; its states wait at the blocks it covers.
    pub(crate) fn begin_loop(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let mut side = false;
        for place in act.base + 1..act.end {
            let b = self.m.by_order.get(place as usize).copied().unwrap_or(0);
            let block = self.block(b);
            side |= block.order == place && block.pending != NIL;
        }
        let summaries = self.m.acts.iter().take(at).filter(|a| a.mode.summary()).count();
        if side || summaries >= GHOSTS {
            return Ok(());
        }
        let pending = self.block(act.head).pending;
        if let Some(b) = self.m.blocks.get_mut(act.head as usize) {
            b.pending = NIL;
        }
        let act = self.act_mut(at);
        act.entry = pending;
        act.ghost = summaries as u8;
        let Some(mut s) = self.joined_entry(at) else {
            return self.follow(at);
        };
        self.tag_all(&mut s);
        self.begin_summary(at, Mode::Discover, s, observer)
    }

    /// One state for all that enter the loop, and the worst of their costs.
    fn joined_entry(&mut self, at: usize) -> Option<State> {
        let mut list = self.act(at).entry;
        let first = self.store.states.get(usize::from(list)).copied()?;
        let mut s = self.store.fork(&first);
        list = first.next;
        while list != NIL {
            let x = self.store.states.get(usize::from(list)).copied()?;
            if self.store.distance(&s, &x).is_none() {
                self.store.drop_state(&s);
                return None;
            }
            s = self.store.join(s, &x, &mut self.ids);
            list = x.next;
        }
        let act = self.act_mut(at);
        (act.insns, act.insns_min, act.time, act.trace) = (s.insns, s.insns_min, s.time, s.trace);
        Some(s)
    }

    fn tag_all(&mut self, s: &mut State) {
        for n in 0..PLACES {
            let Some(p) = self.place(s, n) else { break };
            let slot = self.slot_of(s, p);
            let pointer = matches!(
                slot.val.region(),
                Some(Region::Stack(_) | Region::MapValue(_) | Region::Mem | Region::Record | Region::Object(_))
            );
            let spilled = !matches!(p, Place::Stack { .. }) || slot.spill == 8;
            if spilled && (slot.val.is_scalar() || pointer && !slot.val.nullable()) {
                self.ids += 1;
                let v = Val {
                    id: TAG | self.ids,
                    delta: 0,
                    ..slot.val
                };
                self.set_val(s, p, v);
            }
        }
    }

    fn begin_summary(
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
        act.visits_before = 0;
        let visits = self.visits;
        self.act_mut(at).visits_before = visits;
        observer.begin();
        let list = self.store.park(s);
        self.launch(at, list)
    }

    /// Starts an iteration from the states of `list` at the head.
    fn launch(&mut self, at: usize, mut list: u16) -> Result<(), Fault> {
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

    /// A callback activation with its count was pushed: first try a summary.
    pub(crate) fn prove_callback(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        match self.joined_entry(at) {
            Some(s) => self.begin_summary(at, Mode::Prove, s, observer),
            None => self.follow(at),
        }
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
    fn purge(&mut self, at: usize) {
        if let Some(s) = self.cur.take() {
            self.store.drop_state(&s);
        }
        for i in (at..self.acts).rev() {
            let act = *self.act(i);
            for place in act.base..act.end {
                let b = self.m.by_order.get(place as usize).copied().unwrap_or(0);
                if let Some(cell) = self.m.blocks.get_mut(b as usize) {
                    let mut list = core::mem::replace(&mut cell.pending, NIL);
                    self.store.drop_list(&mut list);
                }
            }
            for mut list in [act.batch, act.next, act.exits, act.previous, act.hypothesis] {
                self.store.drop_list(&mut list);
            }
            if i > at {
                let mut list = act.entry;
                self.store.drop_list(&mut list);
            }
            let act = self.act_mut(i);
            (act.batch, act.next, act.exits, act.previous, act.hypothesis) = (NIL, NIL, NIL, NIL, NIL);
        }
        self.acts = at + 1;
    }

    /// All states of an iteration are followed.
    pub(crate) fn finish_pass(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        match self.act(at).mode {
            Mode::Follow => self.finish_followed(at),
            Mode::Discover => self.finish_discovery(at, observer),
            Mode::Prove => self.finish_proof(at, observer),
        }
    }

    fn pop_loop(&mut self, at: usize) {
        let act = *self.act(at);
        for mut list in [act.entry, act.previous, act.hypothesis, act.next, act.exits] {
            self.store.drop_list(&mut list);
        }
        self.acts = at;
    }

    fn finish_followed(&mut self, at: usize) -> Result<(), Fault> {
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

    /// The cost of an iteration of the innermost loop under summary around activation `at` depends on more than its
    /// path.
    pub(crate) fn note_variation(&mut self, at: usize) {
        for i in (0..at).rev() {
            if self.act(i).mode == Mode::Prove {
                self.act_mut(i).varies = true;
                return;
            }
        }
    }

    fn unbounded(&self, act: &Act, followed: u64) -> Why {
        let test = act.tests.iter().take(usize::from(act.tests_len)).next();
        let mut value = Val::UNINIT;
        if let (Some(t), Some(s)) = (test, self.store.states.get(usize::from(act.next))) {
            value = self.store.reg(s, t.reg);
        }
        let step = test
            .and_then(|t| act.tags.iter().find(|g| g.id != 0 && g.id == t.value.id))
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

    fn all_covered(&self, list: u16, by: u16) -> bool {
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

    fn finish_discovery(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        if act.next == NIL {
            // The loop is left in its first iteration.
            self.purge(at);
            observer.discard();
            return self.follow(at);
        }
        let Some(tagged) = self.store.states.get(usize::from(act.hypothesis)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        let mut steps = [None; PLACES];
        for (n, step) in steps.iter_mut().enumerate() {
            let Some(p) = self.place(&tagged, n) else { break };
            *step = self.constant_step(p, self.slot_of(&tagged, p).val, act.next);
            if let Some(c) = step.filter(|c| *c != 0) {
                self.add_tag(at, self.slot_of(&tagged, p).val, c);
            }
        }
        let trips = self.guess_trips(at);
        let proposal = match trips {
            Some(_) => self.joined_entry(at),
            None => None,
        };
        let (Some(trips), Some(entry)) = (trips, proposal) else {
            self.purge(at);
            observer.discard();
            return self.follow(at);
        };
        self.act_mut(at).trips = trips;
        let mut s = self.store.fork(&entry);
        let mut list = act.next;
        while list != NIL {
            let Some(x) = self.store.states.get(usize::from(list)).copied() else {
                break;
            };
            list = x.next;
            if self.store.distance(&s, &x).is_none() {
                self.store.drop_state(&s);
                self.store.drop_state(&entry);
                self.purge(at);
                observer.discard();
                return self.follow(at);
            }
            s = self.store.join(s, &x, &mut self.ids);
        }
        for (n, step) in steps.iter().enumerate() {
            let (Some(p), Some(step)) = (self.place(&tagged, n), step) else {
                continue;
            };
            let v = self.slot_of(&entry, p).val;
            if *step == 0 {
                self.set_val(&mut s, p, v);
            } else if let Some(tag) = self.tag(at, self.slot_of(&tagged, p).val.id) {
                let num = tag.range(Ghost { lo: 0, hi: trips });
                self.set_val(
                    &mut s,
                    p,
                    Val {
                        id: tag.id,
                        delta: 0,
                        num,
                        ..v
                    },
                );
            }
        }
        self.store.drop_state(&entry);
        self.purge(at);
        observer.discard();
        self.act_mut(at).round = 0;
        self.begin_summary(at, Mode::Prove, s, observer)
    }

    /// The constant by which the value at `p` differs at every back edge, if it does.
    fn constant_step(&self, p: Place, start: Val, list: u16) -> Option<i64> {
        if start.id & TAG == 0 {
            return None;
        }
        let mut step = None;
        let mut at = list;
        while at != NIL {
            let x = self.store.states.get(usize::from(at))?;
            let slot = self.slot_of(x, p);
            let spilled = !matches!(p, Place::Stack { .. }) || slot.spill == 8;
            if slot.val.id != start.id || !spilled || step.is_some_and(|c| c != slot.val.delta) {
                return None;
            }
            step = Some(slot.val.delta);
            at = x.next;
        }
        step
    }

    fn add_tag(&mut self, at: usize, v: Val, step: i64) {
        let base = v.num;
        let fits = base.smin >= -BASE_MAX && base.smax <= BASE_MAX && step.unsigned_abs() <= STEP_MAX as u64;
        let act = self.act_mut(at);
        if let (true, Some(t)) = (fits, act.tags.get_mut(usize::from(act.tags_len))) {
            *t = Tag { id: v.id, step, base };
            act.tags_len += 1;
        }
    }

    fn tag(&self, at: usize, id: u32) -> Option<Tag> {
        let act = self.act(at);
        act.tags
            .iter()
            .take(usize::from(act.tags_len))
            .find(|t| t.id == id)
            .copied()
    }

    /// The least number of back edges after which one of the exit tests must leave the loop.
    fn guess_trips(&self, at: usize) -> Option<u64> {
        let act = self.act(at);
        let tests = act.tests.iter().take(usize::from(act.tests_len));
        tests
            .filter_map(|t| trips_of(t, &self.tag(at, t.value.id)?))
            .filter(|k| *k <= TRIPS_MAX)
            .min()
    }

    fn finish_proof(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let (ghost, trips) = (usize::from(act.ghost), act.trips);
        let Some(old) = self.store.states.get(usize::from(act.hypothesis)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        let (mut back, mut fits, mut wider) = (0, true, None);
        let mut list = act.next;
        while list != NIL && fits {
            let Some(x) = self.store.states.get(usize::from(list)).copied() else {
                break;
            };
            list = x.next;
            let taken = x.ghosts.get(ghost).map_or(u64::MAX, |g| g.hi).saturating_add(1);
            back = back.max(taken);
            fits = taken <= trips;
            let mut x = self.store.fork(&x);
            self.rebase(at, &mut x);
            x.ghosts = old.ghosts;
            let target = wider.as_ref().unwrap_or(&old);
            if self.store.subset(&x, target) {
                self.store.drop_state(&x);
            } else if self.store.distance(&x, &old).is_none() {
                self.store.drop_state(&x);
                fits = false;
            } else {
                let from = match wider.take() {
                    Some(w) => w,
                    None => self.store.fork(&old),
                };
                wider = Some(self.store.join(from, &x, &mut self.ids));
                self.store.drop_state(&x);
            }
        }
        match wider {
            None if fits => {
                self.act_mut(at).iterations = back;
                self.leave_loop(at, back, observer)
            }
            Some(mut s) if fits && act.round < ROUNDS_MAX => {
                self.widen(&mut s, &old, act.round);
                self.purge(at);
                observer.discard();
                self.act_mut(at).round = act.round + 1;
                self.begin_summary(at, Mode::Prove, s, observer)
            }
            wider => {
                if let Some(s) = wider {
                    self.store.drop_state(&s);
                }
                self.purge(at);
                observer.discard();
                self.follow(at)
            }
        }
    }

    /// Expresses values tied to the loop's counter by the counter of the next iteration.
    fn rebase(&mut self, at: usize, s: &mut State) {
        let act = *self.act(at);
        for t in act.tags.iter().take(usize::from(act.tags_len)) {
            self.store.update(
                s,
                |v| v.id == t.id,
                |slot| slot.val.delta = slot.val.delta.wrapping_sub(t.step),
            );
        }
    }

    /// Bounds that moved since `old` jump to the next threshold, so that few passes reach a fixed point.
    fn widen(&mut self, s: &mut State, old: &State, round: u8) {
        for n in 0..PLACES {
            let Some(p) = self.place(s, n) else { break };
            let (new, was) = (self.slot_of(s, p).val, self.slot_of(old, p).val);
            if new.num != was.num && round > 0 {
                let num = widened(&was.num, &new.num, round);
                self.set_val(s, p, Val { num, ..new });
            }
        }
    }

    /// The pass under way counts: its exits become states of the surrounding activation.
    fn leave_loop(&mut self, at: usize, back: u64, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let (mut insns, mut time, mut insns_min, mut trace) = (0, 0, u64::MAX, 0);
        let mut list = act.next;
        while list != NIL {
            let Some(x) = self.store.states.get(usize::from(list)) else {
                break;
            };
            if x.time >= time {
                (time, trace) = (x.time, x.trace);
            }
            insns = insns.max(x.insns);
            insns_min = insns_min.min(x.insns_min);
            list = x.next;
        }
        let spent = self.visits - act.visits_before;
        // What a summary gives away is worth the visits it saves only where those are many.
        let effort = self.effort().follow_visits;
        let budget = match (self.attempt > 0 || act.varies, insns != insns_min) {
            (true, true) => effort,
            (true, false) if self.attempt > 0 => effort,
            (false, true) => FOLLOW_UNEVEN_VISITS,
            _ => FOLLOW_CHEAP_VISITS,
        };
        if back > 0 && spent.saturating_mul(back) <= budget {
            self.purge(at);
            observer.discard();
            return self.follow(at);
        }
        if back > 0 {
            self.approximated = true;
        }
        let calls = if act.scope == Scope::Callback { back } else { back + 1 };
        self.note_loop(&act, calls, back > 0);
        let mut exits = core::mem::replace(&mut self.act_mut(at).exits, NIL);
        self.pop_loop(at);
        observer.commit();
        let Some(outer) = at.checked_sub(1) else {
            return Err(Why::Internal { line: line!() });
        };
        while exits != NIL {
            let mut s = self.store.unpark(exits);
            exits = s.next;
            let ghost = s
                .ghosts
                .get_mut(usize::from(act.ghost))
                .map_or(Ghost::default(), core::mem::take);
            let k = ghost.hi.min(back);
            if ghost.lo != ghost.hi {
                self.note_variation(at);
            }
            s.trace = self.trace_loop(act.trace, trace, k, s.trace);
            s.insns = act
                .insns
                .saturating_add(insns.saturating_mul(k))
                .saturating_add(s.insns);
            s.time = act.time.saturating_add(time.saturating_mul(k)).saturating_add(s.time);
            let least = if ghost.lo == 0 {
                0
            } else {
                insns_min.saturating_mul(ghost.lo)
            };
            s.insns_min = act.insns_min.saturating_add(least).saturating_add(s.insns_min);
            // Unknowns tied to the counter are plain unknowns from here on.
            self.store.update(
                &mut s,
                |v| v.id & TAG != 0 && owns(&act, v.id),
                |slot| slot.val.id &= !TAG,
            );
            let target = s.target;
            self.arrive(outer, s, target)?;
        }
        Ok(())
    }

    /// Something is known of the counter of a loop under summary: so of everything tied to it. `false`: impossible.
    pub(crate) fn narrow_counter(&mut self, s: &mut State, id: u32, x: &Scalar) -> bool {
        for at in 0..self.acts {
            let act = *self.act(at);
            if act.mode != Mode::Prove {
                continue;
            }
            let tags = act.tags.get(..usize::from(act.tags_len)).unwrap_or(&[]);
            let Some(tag) = tags.iter().find(|t| t.id == id) else {
                continue;
            };
            let Some(old) = s.ghosts.get(usize::from(act.ghost)).copied() else {
                return true;
            };
            let Some(new) = counter_range(tag, x, old) else {
                return false;
            };
            if new == old {
                return true;
            }
            if let Some(g) = s.ghosts.get_mut(usize::from(act.ghost)) {
                *g = new;
            }
            for t in tags {
                if !self.narrow_linked(s, t.id, &t.range(new)) {
                    return false;
                }
            }
            return true;
        }
        true
    }

    /// The unknown `id` is in `x`: so are all values made of it. `false`: impossible.
    pub(crate) fn narrow_linked(&mut self, s: &mut State, id: u32, x: &Scalar) -> bool {
        let mut possible = true;
        self.store.update(
            s,
            |v| v.id == id,
            |slot| {
                let delta = Scalar::constant(slot.val.delta as u64);
                let sum = Scalar::alu(crate::insn::AluOp::Add, Width::W64, *x, delta);
                match slot.val.num.intersect(&sum) {
                    Some(num) => slot.val.num = num,
                    None => possible = false,
                }
            },
        );
        possible
    }
}

fn owns(act: &Act, id: u32) -> bool {
    act.tags.iter().take(usize::from(act.tags_len)).any(|t| t.id == id)
}

/// The counter's values with which `tag` can be in `x`.
fn counter_range(tag: &Tag, x: &Scalar, old: Ghost) -> Option<Ghost> {
    let (lo, hi) = (
        i128::from(x.smin) - i128::from(tag.base.smax),
        i128::from(x.smax) - i128::from(tag.base.smin),
    );
    let c = i128::from(tag.step);
    let (lo, hi) = if c > 0 { (lo, hi) } else { (-hi, -lo) };
    let c = c.abs().max(1);
    let (lo, hi) = (-((-lo).div_euclid(c)), hi.div_euclid(c));
    let (lo, hi) = (lo.max(i128::from(old.lo)), hi.min(i128::from(old.hi)));
    (lo <= hi).then_some(Ghost {
        lo: lo as u64,
        hi: hi as u64,
    })
}

/// After how many back edges `test` must fail, taken for itself.
fn trips_of(test: &Test, tag: &Tag) -> Option<u64> {
    let c = i128::from(tag.step);
    let (base_lo, base_hi) = (
        i128::from(tag.base.smin) + i128::from(test.value.delta),
        i128::from(tag.base.smax) + i128::from(test.value.delta),
    );
    let unsigned = matches!(test.cond, Cond::Lt | Cond::Le | Cond::Gt | Cond::Ge);
    let limit = &test.limit;
    let (lo, hi) = match (test.width, unsigned) {
        (Width::W64, true) => (i128::from(limit.umin), i128::from(limit.umax)),
        (Width::W64, false) => (i128::from(limit.smin), i128::from(limit.smax)),
        (Width::W32, true) => (limit.low_umin.into(), limit.low_umax.into()),
        (Width::W32, false) => (limit.low_smin.into(), limit.low_smax.into()),
    };
    let distance = match test.cond {
        Cond::Lt | Cond::Slt if c > 0 => hi - base_lo,
        Cond::Le | Cond::Sle if c > 0 => hi + 1 - base_lo,
        Cond::Gt | Cond::Sgt if c < 0 => base_hi - lo,
        Cond::Ge | Cond::Sge if c < 0 => base_hi + 1 - lo,
        Cond::Ne if c > 0 && base_lo == base_hi && lo == hi => hi - base_lo,
        Cond::Ne if c < 0 && base_lo == base_hi && lo == hi => base_hi - lo,
        _ => return None,
    };
    let k = -((-distance).div_euclid(c.abs()));
    u64::try_from(k.max(0)).ok()
}

fn widened(old: &Scalar, new: &Scalar, round: u8) -> Scalar {
    const UP: [u64; 6] = [
        0xff,
        0xffff,
        i32::MAX as u64,
        u32::MAX as u64,
        i64::MAX as u64,
        u64::MAX,
    ];
    const DOWN: [i64; 3] = [0, i32::MIN as i64, i64::MIN];
    if round >= 4 {
        return Scalar::UNKNOWN;
    }
    let mut n = *new;
    if new.umax > old.umax {
        n.umax = UP.into_iter().find(|t| *t >= new.umax).unwrap_or(u64::MAX);
    }
    if new.umin < old.umin {
        n.umin = 0;
    }
    if new.smax > old.smax {
        n.smax = UP
            .into_iter()
            .take(5)
            .find(|t| *t as i64 >= new.smax)
            .unwrap_or(i64::MAX as u64) as i64;
    }
    if new.smin < old.smin {
        n.smin = DOWN.into_iter().find(|t| *t <= new.smin).unwrap_or(i64::MIN);
    }
    if new.bits != old.bits {
        n.bits = if n.umax == u64::MAX {
            Tnum::UNKNOWN
        } else {
            Tnum::range(0, n.umax)
        };
    }
    (n.low_umin, n.low_umax, n.low_smin, n.low_smax) = (0, u32::MAX, i32::MIN, i32::MAX);
    if n.settle() { n } else { Scalar::UNKNOWN }
}
