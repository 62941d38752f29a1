//! Joins of abstract states, a few chunks a unit: the values of a whole stack are too many for one.

use crate::compare::{Pair, Pairs, TAG, absorb_cost, same, same_reference, shared, spill_mask, zero_bytes};
use crate::cost::CostModel;
use crate::engine::{Fault, Verifier};
use crate::env::FRAMES;
use crate::store::{GHOSTS, Slot, State, Store};
use crate::value::{Kind, Region, Val};
use crate::weight::HEAVY;

/// Chunks of values that one unit joins.
const CHUNKS_A_UNIT: usize = 5;
/// Chunks of registers, the caller's included.
const REG_CHUNKS: usize = 3;

/// What a joined state is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It takes the place of both in the list it is on its way to.
    Arrive,
    /// It is what enters the loop of this activation.
    Enter(usize),
    /// It is the wider hypothesis of this activation.
    Widen(usize),
}

/// A join under way. Both states hold their chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining {
    into: State,
    with: State,
    /// Chunks that `with` has in common with this one, which `into` covers, need no joining.
    base: Option<State>,
    pairs: Pairs,
    /// Chunks done: registers, callers' registers, stack.
    done: usize,
    then: Then,
}

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Begins to join `with` into `into`: the smallest state of the domain that holds both. Links that hold in both get
    /// new identities. Both must be joinable (see [`Store::joinable`]), and are used up.
    pub(crate) fn join(&mut self, into: State, with: State, base: Option<State>, then: Then) -> Result<(), Fault> {
        self.joining = Some(Joining {
            into,
            with,
            base,
            pairs: Pairs::new(),
            done: 0,
            then,
        });
        self.join_on()
    }

    /// One unit of the join under way.
    pub(crate) fn join_on(&mut self) -> Result<(), Fault> {
        self.weight = self.weight.max(HEAVY);
        let Some(j) = &mut self.joining else { return Ok(()) };
        if !self.store.join_chunks(j, &mut self.ids) {
            return Ok(());
        }
        let Joining { into, with, then, .. } = *j;
        self.joining = None;
        self.store.drop_state(&with);
        match then {
            Then::Arrive => self.enlist(into),
            Then::Enter(at) => self.act_mut(at).entered = self.store.park(into),
            Then::Widen(at) => self.act_mut(at).wider = self.store.park(into),
        }
        Ok(())
    }

    /// Forgets the join under way.
    pub(crate) fn drop_joining(&mut self) {
        if let Some(j) = self.joining.take() {
            self.store.drop_state(&j.into);
            self.store.drop_state(&j.with);
        }
    }
}

impl Store<'_> {
    /// Joins some more chunks. `true`: all of them are joined.
    fn join_chunks(&mut self, j: &mut Joining, ids: &mut u32) -> bool {
        let Joining {
            into,
            with,
            base,
            pairs,
            done,
            ..
        } = j;
        // References do not change here.
        let old = *into;
        let depth = usize::from(old.depth).min(FRAMES - 1);
        let first = REG_CHUNKS + depth;
        let all = first + usize::from(old.stack_len);
        let to = all.min(*done + CHUNKS_A_UNIT);
        for n in *done..to {
            if let Some(r) = n.checked_sub(first).and_then(|n| into.stack.get_mut(n)) {
                let other = with.stack_chunk(r.frame, r.at);
                if other == 0 || base.is_none_or(|base| base.stack_chunk(r.frame, r.at) != other) {
                    self.join_stack(pairs, &old, with, &mut r.chunk, other, ids);
                }
                continue;
            }
            let (other, was) = (reg_chunk(with, n), base.map(|base| reg_chunk(&base, n)));
            if was != Some(other) {
                if let Some(chunk) = reg_chunk_mut(into, n) {
                    self.join_chunk(pairs, &old, with, chunk, other, ids);
                }
            }
        }
        *done = to;
        if to < all {
            return false;
        }
        let mut keep = 0;
        for r in into.stack.into_iter().take(usize::from(old.stack_len)) {
            if let (true, Some(cell)) = (r.chunk != 0, into.stack.get_mut(keep)) {
                *cell = r;
                keep += 1;
            }
        }
        into.stack_len = keep as u8;
        for g in 0..GHOSTS {
            into.ghosts[g].lo = into.ghosts[g].lo.min(with.ghosts[g].lo);
            into.ghosts[g].hi = into.ghosts[g].hi.max(with.ghosts[g].hi);
        }
        absorb_cost(into, with);
        true
    }

    fn join_chunk(&mut self, pairs: &mut Pairs, sa: &State, sb: &State, id: &mut u16, other: u16, ids: &mut u32) {
        if *id == other && shared(self.slots(other)) || *id == 0 {
            return;
        }
        let b = *self.slots(other);
        for (x, y) in self.unique(id).iter_mut().zip(&b) {
            x.val = value_join(pairs, sa, sb, &x.val, &y.val, ids);
        }
    }

    fn join_stack(&mut self, pairs: &mut Pairs, sa: &State, sb: &State, id: &mut u16, other: u16, ids: &mut u32) {
        if *id == other && shared(self.slots(other)) {
            return;
        }
        if other == 0 {
            self.release(*id);
            *id = 0;
            return;
        }
        let b = *self.slots(other);
        for (x, y) in self.unique(id).iter_mut().zip(&b) {
            *x = slot_join(pairs, sa, sb, x, y, ids);
        }
    }
}

/// The `n`th chunk of registers of a state, callers' behind its own.
fn reg_chunk(s: &State, n: usize) -> u16 {
    s.regs.iter().chain(&s.saved).nth(n).copied().unwrap_or(0)
}

fn reg_chunk_mut(s: &mut State, n: usize) -> Option<&mut u16> {
    s.regs.iter_mut().chain(&mut s.saved).nth(n)
}

fn value_join(pairs: &mut Pairs, sa: &State, sb: &State, a: &Val, b: &Val, ids: &mut u32) -> Val {
    if same(a, b) {
        return *a;
    }
    let kind = match (a.kind, b.kind) {
        (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
        (Kind::Pointer { region: x, nullable: n }, Kind::Pointer { region: y, nullable: m }) if x == y => {
            Kind::Pointer {
                region: x,
                nullable: n || m,
            }
        }
        _ => return Val::UNINIT,
    };
    let packet = matches!(a.region(), Some(Region::Packet | Region::PacketMeta));
    if a.extra != b.extra && !packet || !same_reference(sa, sb, a.reference, b.reference) {
        return Val::UNINIT;
    }
    let mut v = Val {
        kind,
        num: a.num.join(b.num),
        extra: a.extra.min(b.extra),
        ..*a
    };
    v.id = joined_id(pairs, a, b, ids);
    if v.id == 0 {
        if v.nullable() || packet {
            *ids = ids.wrapping_add(1);
            v.id = *ids;
            v.delta = 0;
            // A new packet base: nothing is verified from it.
            v.extra = if packet { 0 } else { v.extra };
        } else {
            v.delta = 0;
        }
    }
    v
}

/// The identity of the joined value, 0 if it keeps none; its delta is that of `a`.
fn joined_id(pairs: &mut Pairs, a: &Val, b: &Val, ids: &mut u32) -> u32 {
    if a.id == 0 || b.id == 0 {
        return 0;
    }
    let shift = a.delta.wrapping_sub(b.delta);
    if a.id & TAG != 0 || b.id & TAG != 0 {
        return if a.id == b.id && shift == 0 { a.id } else { 0 };
    }
    if a.id == b.id && shift == 0 && !pairs.live().iter().any(|p| p.a == a.id || p.b == b.id) {
        let pair = Pair {
            a: a.id,
            b: b.id,
            shift,
            known: None,
            fresh: a.id,
        };
        return if pairs.push(pair) { a.id } else { 0 };
    }
    if let Some(p) = pairs
        .live()
        .iter()
        .find(|p| p.a == a.id && p.b == b.id && p.shift == shift)
    {
        return p.fresh;
    }
    *ids = ids.wrapping_add(1);
    let fresh = *ids;
    if pairs.push(Pair {
        a: a.id,
        b: b.id,
        shift,
        known: None,
        fresh,
    }) {
        fresh
    } else {
        0
    }
}

fn slot_join(pairs: &mut Pairs, sa: &State, sb: &State, a: &Slot, b: &Slot, ids: &mut u32) -> Slot {
    let mut r = Slot {
        val: Val::UNINIT,
        spill: 0,
        init: a.init & b.init,
        zero: zero_bytes(a) & zero_bytes(b),
    };
    r.zero &= r.init;
    if a.spill > 0 && a.spill == b.spill {
        let v = value_join(pairs, sa, sb, &a.val, &b.val, ids);
        if v.kind != Kind::Uninit {
            return Slot {
                val: v,
                spill: a.spill,
                ..r
            };
        }
    }
    for s in [a, b] {
        if s.spill > 0 && !s.val.is_scalar() {
            r.init &= !spill_mask(s.spill);
            r.zero &= r.init;
        }
    }
    r
}
