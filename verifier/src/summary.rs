//! Passes over a loop's body: what changes, whether the hypothesis holds, what follows from it.

use crate::compare::TAG;
use crate::cost::CostModel;
use crate::engine::Verifier;
use crate::env::FRAMES;
use crate::loops::Mode;
use crate::scalar::Scalar;
use crate::store::{NIL, STACK_CHUNKS, Slot, State, Store};
use crate::tnum::Tnum;
use crate::value::{Region, Val};

/// A place in a state: register, saved register or stack slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Reg(u8),
    Saved(u8, u8),
    Stack { frame: u8, at: u8, slot: u8 },
}

/// All places of a state with `stack` chunks, counted.
const PLACES: usize = 10 + 4 * (FRAMES - 1) + 4 * STACK_CHUNKS;

/// Places that one unit goes through.
const PLACES_A_UNIT: usize = 26;

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

    fn chunk_of(&self, s: &State, p: Place) -> u16 {
        match p {
            Place::Reg(r) => self.store.chunk_of(s, r),
            Place::Saved(f, _) => s.saved.get(usize::from(f)).copied().unwrap_or(0),
            Place::Stack { frame, at, .. } => s.stack_chunk(frame, at),
        }
    }

    /// Whether one of the states of `list` has another chunk at `p` than `start`.
    pub(crate) fn changed(&self, p: Place, start: &State, list: u16) -> bool {
        let chunk = self.chunk_of(start, p);
        let mut at = list;
        while at != NIL {
            match self.store.states.get(usize::from(at)) {
                Some(x) if self.chunk_of(x, p) == chunk => at = x.next,
                _ => return true,
            }
        }
        false
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

    /// The next places of a state that one unit goes through; `None`: there are no more.
    pub(crate) fn next_places(&mut self, at: usize) -> Option<core::ops::Range<usize>> {
        let act = self.act_mut(at);
        let from = usize::from(act.places);
        let to = PLACES.min(from + PLACES_A_UNIT);
        act.places = to as u16;
        (from < to).then_some(from..to)
    }

    /// Of these places, bounds that moved since `old` jump to the next threshold, so that few passes reach a fixed point.
    pub(crate) fn widen(&mut self, places: core::ops::Range<usize>, s: &mut State, old: &State, round: u8) {
        for n in places {
            let Some(p) = self.place(s, n) else { break };
            let (new, was) = (self.slot_of(s, p).val, self.slot_of(old, p).val);
            if new.num != was.num {
                let num = widened(&was.num, &new.num, round);
                self.set_val(s, p, Val { num, ..new });
            }
        }
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

    /// Gives every value that can be tied to a counter an identity of its own.
    pub(crate) fn tag_all(&mut self, s: &mut State) {
        let mut ids = self.ids;
        let depth = usize::from(s.depth).min(FRAMES - 1);
        let regs = s.regs.iter_mut().chain(s.saved.iter_mut().take(depth));
        for chunk in regs {
            self.store.tag_chunk(chunk, false, &mut ids);
        }
        let len = usize::from(s.stack_len);
        for r in s.stack.iter_mut().take(len) {
            self.store.tag_chunk(&mut r.chunk, true, &mut ids);
        }
        self.ids = ids;
    }
}

impl Store<'_> {
    /// Tags the values of one chunk; those of stack slots only where they fill the slot.
    fn tag_chunk(&mut self, chunk: &mut u16, stack: bool, ids: &mut u32) {
        let tied = |slot: &Slot| {
            let pointer = matches!(
                slot.val.region(),
                Some(Region::Stack(_) | Region::MapValue(_) | Region::Mem | Region::Record | Region::Object(_))
            );
            (!stack || slot.spill == 8) && (slot.val.is_scalar() || pointer && !slot.val.nullable())
        };
        if *chunk == 0 || !self.slots(*chunk).iter().any(tied) {
            return;
        }
        for slot in self.unique(chunk).iter_mut().filter(|s| tied(s)) {
            *ids += 1;
            (slot.val.id, slot.val.delta) = (TAG | *ids, 0);
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
