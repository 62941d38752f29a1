//! The way of a state into the list where it waits: one comparison with a state of that list a unit.
//!
//! Until the list has taken it in, nothing else happens, so the order of units is that of the program followed.

use crate::compare::absorb_cost;
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::join::Then;
use crate::reject::{Pool, Why};
use crate::store::{List, NIL, State};

/// States at one place that cannot be joined with each other.
const STATES_HARD_MAX: u32 = 64;

/// What is asked of the first state on its way and one of its list, each in a unit of its own.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// Does the other cover it?
    Covered,
    /// Does it cover the other?
    Covers,
    /// How far are they apart?
    Distance,
}

/// States on their way, first come first served, and how far the first one is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inbox {
    pub head: u16,
    tail: u16,
    /// The first one is being compared: with this state of its list next, and this is the next question.
    begun: bool,
    at: u16,
    ask: Ask,
    before: u16,
    /// States of the list that neither cover it nor are covered, and the nearest of them.
    count: u32,
    nearest: (u32, u16),
}

impl Inbox {
    pub(crate) const EMPTY: Inbox = Inbox {
        head: NIL,
        tail: NIL,
        begun: false,
        at: NIL,
        ask: Ask::Covered,
        before: NIL,
        count: 0,
        nearest: (u32::MAX, NIL),
    };
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Sends `s` on its way to `list`.
    pub(crate) fn post(&mut self, mut s: State, list: List) {
        s.list = list;
        let parked = self.store.park(s);
        match self.store.states.get_mut(usize::from(self.inbox.tail)) {
            Some(last) if self.inbox.head != NIL => last.next = parked,
            _ => self.inbox.head = parked,
        }
        self.inbox.tail = parked;
    }

    /// Forgets what is on its way.
    pub(crate) fn drop_inbox(&mut self) {
        let mut head = self.inbox.head;
        self.store.drop_list(&mut head);
        self.inbox = Inbox::EMPTY;
    }

    fn list(&self, list: List) -> u16 {
        match list {
            List::Pending(b) => self.block(b).pending,
            List::Next(a) => self.act(a.into()).next,
            List::Exits(a) => self.act(a.into()).exits,
        }
    }

    fn set_list(&mut self, list: List, head: u16) {
        match list {
            List::Pending(b) => {
                if let Some(b) = self.m.blocks.get_mut(b as usize) {
                    b.pending = head;
                }
            }
            List::Next(a) => self.act_mut(a.into()).next = head,
            List::Exits(a) => self.act_mut(a.into()).exits = head,
        }
    }

    /// Takes the first state out of the inbox.
    fn take_first(&mut self) -> State {
        let s = self.store.unpark(self.inbox.head);
        let next = s.next;
        let tail = if next == NIL { NIL } else { self.inbox.tail };
        self.inbox = Inbox {
            head: next,
            tail,
            ..Inbox::EMPTY
        };
        s
    }

    /// One question of the first state on its way, or its arrival: dropped if a state of the list covers it, instead of
    /// those it covers, joined with the nearest if there are many.
    pub(crate) fn deliver(&mut self) -> Result<(), Fault> {
        let first = self.inbox.head;
        let Some(list) = self.store.states.get(usize::from(first)).map(|s| s.list) else {
            return Err(Why::Internal { line: line!() });
        };
        if !self.inbox.begun {
            self.inbox.begun = true;
            self.inbox.at = self.list(list);
        }
        let at = self.inbox.at;
        let states = &*self.store.states;
        let (Some(s), Some(x)) = (states.get(usize::from(first)), states.get(usize::from(at))) else {
            return self.settle();
        };
        let next = x.next;
        // Exits to different targets are kept in one list; only those of one target may meet.
        if matches!(list, List::Exits(_)) && x.target != s.target {
            (self.inbox.at, self.inbox.before) = (next, at);
            return Ok(());
        }
        match self.inbox.ask {
            Ask::Covered if self.store.subset(s, x) => {
                let s = self.take_first();
                if let Some(cell) = self.store.states.get_mut(usize::from(at)) {
                    absorb_cost(cell, &s);
                }
                self.store.drop_state(&s);
            }
            Ask::Covered => self.inbox.ask = Ask::Covers,
            Ask::Covers if self.store.subset(x, s) => {
                let mut head = self.list(list);
                let x = self.unlink(&mut head, self.inbox.before, at);
                if let Some(cell) = self.store.states.get_mut(usize::from(first)) {
                    absorb_cost(cell, &x);
                }
                self.set_list(list, head);
                self.store.drop_state(&x);
                (self.inbox.at, self.inbox.ask) = (next, Ask::Covered);
            }
            // Only a list that is nearly full is joined with what is nearest.
            Ask::Covers if self.inbox.count + 1 >= self.effort().states / 2 => self.inbox.ask = Ask::Distance,
            Ask::Covers => self.pass_by(at, next),
            Ask::Distance => {
                let d = self.store.distance(x, s).unwrap_or(u32::MAX);
                if d < self.inbox.nearest.0 {
                    self.inbox.nearest = (d, at);
                }
                self.pass_by(at, next);
            }
        }
        Ok(())
    }

    /// The state at `at` stays beside the first one; `next` is compared next.
    fn pass_by(&mut self, at: u16, next: u16) {
        self.inbox.count += 1;
        (self.inbox.at, self.inbox.before, self.inbox.ask) = (next, at, Ask::Covered);
    }

    /// The first state was compared with all of its list.
    fn settle(&mut self) -> Result<(), Fault> {
        let Inbox { count, nearest, .. } = self.inbox;
        let s = self.take_first();
        let mut head = self.list(s.list);
        if count >= self.effort().states && nearest.1 != NIL {
            self.approximated = true;
            let x = self.take(&mut head, nearest.1);
            self.set_list(s.list, head);
            return self.join(s, x, None, Then::Arrive);
        }
        if count >= STATES_HARD_MAX {
            self.store.drop_state(&s);
            return Err(Why::NoSpace {
                pool: Pool::States,
                size: STATES_HARD_MAX,
            });
        }
        self.enlist(s);
        Ok(())
    }

    /// Puts a state into its list.
    pub(crate) fn enlist(&mut self, s: State) {
        let head = self.list(s.list);
        let list = s.list;
        let parked = self.store.park(s);
        if let Some(cell) = self.store.states.get_mut(usize::from(parked)) {
            cell.next = head;
        }
        self.set_list(list, parked);
    }

    fn unlink(&mut self, head: &mut u16, before: u16, at: u16) -> State {
        let s = self.store.unpark(at);
        if before == NIL {
            *head = s.next;
        } else if let Some(b) = self.store.states.get_mut(usize::from(before)) {
            b.next = s.next;
        }
        s
    }

    /// Takes one state out of a list.
    fn take(&mut self, head: &mut u16, wanted: u16) -> State {
        let mut before = NIL;
        let mut at = *head;
        for _ in 0..self.store.states.len() {
            if at == NIL || at == wanted {
                break;
            }
            before = at;
            at = self.store.states.get(usize::from(at)).map_or(NIL, |s| s.next);
        }
        self.unlink(head, before, wanted)
    }
}
