//! Passes over a loop's body: what changes, whether the hypothesis holds, what follows from it.

use crate::act::Scope;
use crate::compare::TAG;
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::FRAMES;
use crate::loops::{FOLLOW_CHEAP_VISITS, FOLLOW_UNEVEN_VISITS, Mode, ROUNDS_MAX};
use crate::reject::Why;
use crate::scalar::Scalar;
use crate::store::{Ghost, NIL, STACK_CHUNKS, Slot, State};
use crate::tags::owns;
use crate::tnum::Tnum;
use crate::value::{Region, Val};
use crate::view::Observer;

/// A place in a state: register, saved register or stack slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Reg(u8),
    Saved(u8, u8),
    Stack { frame: u8, at: u8, slot: u8 },
}

/// All places of a state with `stack` chunks, counted.
pub(crate) const PLACES: usize = 10 + 4 * (FRAMES - 1) + 4 * STACK_CHUNKS;

impl<C: CostModel> Verifier<'_, '_, C> {
    pub(crate) fn place(&self, s: &State, n: usize) -> Option<Place> {
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

    pub(crate) fn slot_of(&self, s: &State, p: Place) -> Slot {
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

    pub(crate) fn set_val(&mut self, s: &mut State, p: Place, v: Val) {
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

    pub(crate) fn finish_discovery(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
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
        self.tie(at, &mut s, &entry, &tagged, &steps);
        self.store.drop_state(&entry);
        self.purge(at);
        observer.discard();
        self.act_mut(at).round = 0;
        self.begin_summary(at, Mode::Prove, s, observer)
    }

    /// Writes into a hypothesis what stays as it is and what is tied to the counter.
    fn tie(&mut self, at: usize, s: &mut State, entry: &State, tagged: &State, steps: &[Option<i64>; PLACES]) {
        let trips = self.act(at).trips;
        for (n, step) in steps.iter().enumerate() {
            let (Some(p), Some(step)) = (self.place(tagged, n), step) else {
                continue;
            };
            let v = self.slot_of(entry, p).val;
            if *step == 0 {
                self.set_val(s, p, v);
            } else if let Some(tag) = self.tag(at, self.slot_of(tagged, p).val.id) {
                let num = tag.range(Ghost { lo: 0, hi: trips });
                self.set_val(
                    s,
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
    }

    /// The constant by which the value at `p` differs at every back edge, if it does.
    pub(crate) fn constant_step(&self, p: Place, start: Val, list: u16) -> Option<i64> {
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

    pub(crate) fn finish_proof(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
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

    /// Bounds that moved since `old` jump to the next threshold, so that few passes reach a fixed point.
    pub(crate) fn widen(&mut self, s: &mut State, old: &State, round: u8) {
        for n in 0..PLACES {
            let Some(p) = self.place(s, n) else { break };
            let (new, was) = (self.slot_of(s, p).val, self.slot_of(old, p).val);
            if new.num != was.num && round > 0 {
                let num = widened(&was.num, &new.num, round);
                self.set_val(s, p, Val { num, ..new });
            }
        }
    }

    /// Of the states at the back edges: most instructions, most time, fewest instructions, and the dearest path.
    fn worst_round(&self, list: u16) -> (u64, u64, u64, u32) {
        let (mut insns, mut time, mut insns_min, mut trace) = (0, 0, u64::MAX, 0);
        let mut list = list;
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
        (insns, time, insns_min, trace)
    }

    /// The pass under way counts: its exits become states of the surrounding activation.
    pub(crate) fn leave_loop(&mut self, at: usize, back: u64, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let (insns, time, insns_min, trace) = self.worst_round(act.next);
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

    pub(crate) fn tag_all(&mut self, s: &mut State) {
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
}

pub(crate) fn widened(old: &Scalar, new: &Scalar, round: u8) -> Scalar {
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
