//! The end of a pass over a loop's body: what came back is gathered, one state a unit, and what follows is decided.

use crate::act::{Scope, Ties};
use crate::compare::TAG;
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::join::Then;
use crate::loops::{FOLLOW_CHEAP_VISITS, FOLLOW_UNEVEN_VISITS, Mode, ROUNDS_MAX};
use crate::reject::Why;
use crate::store::{Ghost, NIL, State};
use crate::tags::owns;
use crate::value::Val;
use crate::view::Observer;

impl<C: CostModel> Verifier<'_, '_, C> {
    /// The pass says nothing: the loop is followed instead.
    fn give_up(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        self.purge(at);
        observer.discard();
        self.follow(at)
    }

    /// The next of the states that came back; `None`: all are gathered.
    fn next_gathered(&mut self, at: usize) -> Option<State> {
        let act = self.act_mut(at);
        if !act.gathering {
            act.gathering = true;
            act.gathered = act.next;
        }
        let s = self.store.states.get(usize::from(self.act(at).gathered)).copied()?;
        self.act_mut(at).gathered = s.next;
        Some(s)
    }

    /// Takes a state out of its place in an activation, if it is there.
    pub(crate) fn taken(&mut self, at: u16) -> Option<State> {
        (at != NIL).then(|| self.store.unpark(at))
    }

    /// What changes by how much is known: joins what came back with what entered, then makes a hypothesis of it.
    pub(crate) fn finish_discovery(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        if !self.act(at).gathering {
            // Left in its first iteration, or nothing bounds it.
            let found = self.act(at).next != NIL && self.propose(at)?;
            return if found { Ok(()) } else { self.give_up(at, observer) };
        }
        if let Some(x) = self.next_gathered(at) {
            let wider = self.act(at).wider;
            let Some(s) = self.taken(wider) else {
                return Err(Why::Internal { line: line!() });
            };
            self.act_mut(at).wider = NIL;
            if !self.store.joinable(&s, &x) {
                self.store.drop_state(&s);
                return self.give_up(at, observer);
            }
            let tagged = self.store.states.get(usize::from(self.act(at).hypothesis)).copied();
            let x = self.store.fork(&x);
            return self.join(s, x, tagged, Then::Widen(at));
        }
        if let Some(places) = self.next_places(at) {
            return self.tie(at, places);
        }
        let wider = core::mem::replace(&mut self.act_mut(at).wider, NIL);
        let Some(s) = self.taken(wider) else {
            return Err(Why::Internal { line: line!() });
        };
        self.purge(at);
        observer.discard();
        self.act_mut(at).round = 0;
        self.begin_summary(at, Mode::Prove, s, observer)
    }

    /// One unit of finding what is tied to the counter; then guesses the number of iterations. `false`: there is no guess.
    fn propose(&mut self, at: usize) -> Result<bool, Fault> {
        let act = *self.act(at);
        let Some(tagged) = self.store.states.get(usize::from(act.hypothesis)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        if let Some(places) = self.next_places(at) {
            for n in places {
                let Some(p) = self.place(&tagged, n) else { break };
                if !self.changed(p, &tagged, act.next) {
                    continue;
                }
                let v = self.slot_of(&tagged, p).val;
                if let Some(c) = self.constant_step(p, v, act.next).filter(|c| *c != 0) {
                    self.add_tag(at, v, c);
                }
            }
            return Ok(true);
        }
        let Some(trips) = self.guess_trips(at) else {
            return Ok(false);
        };
        let Some(entry) = self.store.states.get(usize::from(act.entered)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        let s = self.store.fork(&entry);
        let wider = self.store.park(s);
        let act = self.act_mut(at);
        (act.trips, act.wider, act.places) = (trips, wider, 0);
        (act.gathering, act.gathered) = (true, act.next);
        Ok(true)
    }

    /// Writes into these places of a hypothesis what stays as it is and what is tied to the counter.
    fn tie(&mut self, at: usize, places: core::ops::Range<usize>) -> Result<(), Fault> {
        let act = *self.act(at);
        let state = |v: &Self, at: u16| v.store.states.get(usize::from(at)).copied();
        let (entry, tagged) = (state(self, act.entered), state(self, act.hypothesis));
        self.act_mut(at).wider = NIL;
        let (Some(mut s), Some(entry), Some(tagged)) = (self.taken(act.wider), entry, tagged) else {
            return Err(Why::Internal { line: line!() });
        };
        for n in places {
            let Some(p) = self.place(&tagged, n) else { break };
            // What did not change was not joined and is as it was on entry.
            if !self.changed(p, &tagged, act.next) {
                continue;
            }
            let tag = self.slot_of(&tagged, p).val;
            let Some(step) = self.constant_step(p, tag, act.next) else {
                continue;
            };
            let v = self.slot_of(&entry, p).val;
            if step == 0 {
                self.set_val(&mut s, p, v);
            } else if let Some(tag) = self.tag(at, tag.id) {
                let num = tag.range(Ghost { lo: 0, hi: act.trips });
                let v = Val {
                    id: tag.id,
                    delta: 0,
                    num,
                    ..v
                };
                self.set_val(&mut s, p, v);
            }
        }
        self.act_mut(at).wider = self.store.park(s);
        Ok(())
    }

    /// Every back edge must lead into the hypothesis again: one of them a unit, then the answer.
    pub(crate) fn finish_proof(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let Some(old) = self.store.states.get(usize::from(act.hypothesis)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        if !act.gathering {
            self.act_mut(at).iterations = 0;
        }
        let more = match act.moved {
            NIL => self.next_gathered(at).map(|x| Ok(self.move_on(at, &x, &old))),
            _ => Some(self.leads_back(at, &old)),
        };
        match more.transpose()? {
            Some(true) => return Ok(()),
            Some(false) => return self.give_up(at, observer),
            None => {}
        }
        self.act_mut(at).wider = NIL;
        match self.taken(act.wider) {
            None => self.leave_loop(at, observer),
            Some(mut s) if act.round < ROUNDS_MAX => {
                if let Some(places) = self.next_places(at).filter(|_| act.round > 0) {
                    self.widen(places, &mut s, &old, act.round);
                    self.act_mut(at).wider = self.store.park(s);
                    return Ok(());
                }
                self.purge(at);
                observer.discard();
                self.act_mut(at).round = act.round + 1;
                self.begin_summary(at, Mode::Prove, s, observer)
            }
            Some(s) => {
                self.store.drop_state(&s);
                self.give_up(at, observer)
            }
        }
    }

    /// Whether the back edge `x` is within the iterations guessed. If so it waits, in terms of the next iteration.
    fn move_on(&mut self, at: usize, x: &State, old: &State) -> bool {
        let act = *self.act(at);
        let ghost = usize::from(act.ghost);
        let taken = x.ghosts.get(ghost).map_or(u64::MAX, |g| g.hi).saturating_add(1);
        self.act_mut(at).iterations = act.iterations.max(taken);
        let fits = taken <= act.trips;
        if !fits {
            return false;
        }
        let mut x = self.store.fork(x);
        self.rebase(at, &mut x);
        x.ghosts = old.ghosts;
        let moved = self.store.park(x);
        let act = self.act_mut(at);
        (act.moved, act.outside) = (moved, false);
        true
    }

    /// Whether the state that waits can be in the hypothesis `old`: it is, or it will be when it has widened it. The answer
    /// takes a unit for the comparison, and one for the join.
    fn leads_back(&mut self, at: usize, old: &State) -> Result<bool, Fault> {
        let act = *self.act(at);
        let states = &*self.store.states;
        let Some(x) = states.get(usize::from(act.moved)).copied() else {
            return Err(Why::Internal { line: line!() });
        };
        if !act.outside {
            let target = states.get(usize::from(act.wider)).unwrap_or(old);
            if self.store.subset(&x, target) {
                self.drop_moved(at);
            } else {
                self.act_mut(at).outside = true;
            }
            return Ok(true);
        }
        let x = self.store.fork(&x);
        self.drop_moved(at);
        if !self.store.joinable(&x, old) {
            self.store.drop_state(&x);
            return Ok(false);
        }
        self.act_mut(at).wider = NIL;
        let from = match self.taken(act.wider) {
            Some(w) => w,
            None => self.store.fork(old),
        };
        self.join(from, x, None, Then::Widen(at)).map(|()| true)
    }

    fn drop_moved(&mut self, at: usize) {
        let mut moved = core::mem::replace(&mut self.act_mut(at).moved, NIL);
        self.store.drop_list(&mut moved);
        self.act_mut(at).outside = false;
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

    /// The pass under way counts: its exits become states of the surrounding activation, one a unit.
    fn leave_loop(&mut self, at: usize, observer: &mut impl Observer) -> Result<(), Fault> {
        let act = *self.act(at);
        let back = act.iterations;
        let round = self.worst_round(act.next);
        let spent = self.visits - act.visits_before;
        // What a summary gives away is worth the visits it saves only where those are many.
        let effort = self.effort().follow_visits;
        let budget = match (self.attempt > 0 || act.varies, round.0 != round.2) {
            (true, true) => effort,
            (true, false) if self.attempt > 0 => effort,
            (false, true) => FOLLOW_UNEVEN_VISITS,
            _ => FOLLOW_CHEAP_VISITS,
        };
        if back > 0 && spent.saturating_mul(back) <= budget {
            return self.give_up(at, observer);
        }
        if back > 0 {
            self.approximated = true;
        }
        let calls = if act.scope == Scope::Callback { back } else { back + 1 };
        self.note_loop(&act, calls, back > 0);
        observer.commit();
        for mut list in [act.entry, act.previous, act.hypothesis, act.next] {
            self.store.drop_list(&mut list);
        }
        let act = self.act_mut(at);
        (act.entry, act.previous, act.hypothesis, act.next) = (NIL, NIL, NIL, NIL);
        (act.mode, act.round_cost) = (Mode::Leave, round);
        Ok(())
    }

    /// One exit of a summarised loop goes on, or none is left.
    pub(crate) fn leave_one(&mut self, at: usize) -> Result<(), Fault> {
        let act = *self.act(at);
        if act.exits == NIL {
            self.pop_loop(at);
            return Ok(());
        }
        let Some(outer) = at.checked_sub(1) else {
            return Err(Why::Internal { line: line!() });
        };
        let mut s = self.store.unpark(act.exits);
        self.act_mut(at).exits = s.next;
        let (insns, time, insns_min, trace) = act.round_cost;
        let back = act.iterations;
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
        let ties = self.m.ties.get(at).unwrap_or(&const { Ties::BLANK });
        self.store.update(
            &mut s,
            |v| v.id & TAG != 0 && owns(ties, v.id),
            |slot| slot.val.id &= !TAG,
        );
        let target = s.target;
        self.arrive(outer, s, target)
    }
}
