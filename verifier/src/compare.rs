//! Inclusion and join of abstract states.

use crate::env::FRAMES;
use crate::store::{GHOSTS, Slot, StackRef, State, Store};
use crate::value::{Kind, Region, Val};

/// Identities that one comparison can relate. More than that many linked unknowns: the states count as unrelated.
const PAIRS: usize = 24;
/// Identities of loop counters under summary have this bit: they mean the same unknown in every state of the pass.
pub(crate) const TAG: u32 = 1 << 31;

#[derive(Clone, Copy, Default)]
struct Pair {
    a: u32,
    b: u32,
    shift: i64,
    /// For an unlinked constant in `a`: the value of the unknown.
    known: Option<u64>,
    fresh: u32,
}

/// Which identity of one state stands for which of the other.
struct Pairs {
    /// Made when the first pair comes: most comparisons meet none.
    list: Option<[Pair; PAIRS]>,
    len: usize,
}

impl Pairs {
    fn new() -> Pairs {
        Pairs { list: None, len: 0 }
    }

    fn push(&mut self, pair: Pair) -> bool {
        let list = self.list.get_or_insert([Pair::default(); PAIRS]);
        match list.get_mut(self.len) {
            Some(cell) => {
                *cell = pair;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    fn live(&self) -> &[Pair] {
        self.list.as_ref().and_then(|l| l.get(..self.len)).unwrap_or(&[])
    }

    /// Whether the links of `b` hold in `a` as well, as far as seen.
    fn implies(&mut self, a: &Val, b: &Val) -> bool {
        if b.id == 0 {
            return true;
        }
        if b.id & TAG != 0 {
            return a.id == b.id && a.delta == b.delta;
        }
        let shift = a.delta.wrapping_sub(b.delta);
        let known = a
            .num
            .as_constant()
            .filter(|_| a.id == 0 && a.is_scalar())
            .map(|x| x.wrapping_sub(b.delta as u64));
        match self.live().iter().find(|p| p.b == b.id) {
            None => self.push(Pair {
                a: a.id,
                b: b.id,
                shift,
                known,
                fresh: 0,
            }),
            Some(p) if p.a == 0 => a.id == 0 && p.known.is_some() && p.known == known,
            Some(p) => p.a == a.id && p.shift == shift,
        }
    }
}

/// What is in both states alike whatever else is in them: neither an identity to relate nor a reference.
fn same(a: &Val, b: &Val) -> bool {
    (a.id == 0 || a.id & TAG != 0) && a.reference == 0 && a == b
}

/// As [`same`], of a whole chunk that two states share.
fn shared(slots: &[Slot]) -> bool {
    slots.iter().all(|s| same(&s.val, &s.val))
}

fn value_subset(pairs: &mut Pairs, sa: &State, sb: &State, a: &Val, b: &Val) -> bool {
    if same(a, b) {
        return true;
    }
    let kinds = match (a.kind, b.kind) {
        (_, Kind::Uninit) => return true,
        (Kind::Scalar, Kind::Scalar) => true,
        (
            Kind::Pointer {
                region: ra,
                nullable: na,
            },
            Kind::Pointer {
                region: rb,
                nullable: nb,
            },
        ) => {
            let extra = if matches!(rb, Region::Packet | Region::PacketMeta) {
                a.extra >= b.extra
            } else {
                a.extra == b.extra
            };
            ra == rb && (nb || !na) && extra && same_reference(sa, sb, a.reference, b.reference)
        }
        _ => false,
    };
    kinds && a.num.subset(&b.num) && pairs.implies(a, b)
}

/// Whether `ra` in state `a` is the same of the held references as `rb` in `b`.
fn same_reference(a: &State, b: &State, ra: u32, rb: u32) -> bool {
    if ra == 0 || rb == 0 {
        return ra == rb;
    }
    let place = |s: &State, r| s.references().iter().position(|x| x.0 == r);
    place(a, ra) == place(b, rb)
}

/// Bytes known to be zero, spilled zeros included.
pub(crate) fn zero_bytes(s: &Slot) -> u8 {
    let spilled = if s.spill > 0 && s.val.is_scalar() && s.val.num.umax == 0 {
        spill_mask(s.spill)
    } else {
        0
    };
    s.zero | spilled
}

/// The bytes a spill of `bytes` covers.
pub(crate) const fn spill_mask(bytes: u8) -> u8 {
    if bytes >= 8 { 0xff } else { (1 << bytes) - 1 }
}

fn slot_subset(pairs: &mut Pairs, sa: &State, sb: &State, a: &Slot, b: &Slot) -> bool {
    if b.init & !a.init != 0 || b.zero & !zero_bytes(a) != 0 {
        return false;
    }
    if b.spill > 0 {
        return a.spill == b.spill && value_subset(pairs, sa, sb, &a.val, &b.val);
    }
    // Bytes of a pointer are no plain bytes.
    a.spill == 0 || a.val.is_scalar() || b.init & spill_mask(a.spill) == 0
}

impl Store<'_> {
    /// Whether every concrete state of `a` is one of `b`. Costs are not compared.
    pub fn subset(&self, a: &State, b: &State) -> bool {
        // A path that counts is not covered by one that does not.
        if a.depth != b.depth || a.refs_len != b.refs_len || b.speculative && !a.speculative {
            return false;
        }
        for g in 0..GHOSTS {
            if a.ghosts[g].lo < b.ghosts[g].lo || a.ghosts[g].hi > b.ghosts[g].hi {
                return false;
            }
        }
        let mut pairs = Pairs::new();
        let depth = usize::from(b.depth).min(FRAMES - 1);
        let regs = a.regs.iter().zip(&b.regs);
        let saved = a.saved.iter().zip(&b.saved).take(depth);
        for (&ca, &cb) in regs.chain(saved) {
            if cb == 0 || ca == cb && shared(self.slots(cb)) {
                continue;
            }
            for (x, y) in self.slots(ca).iter().zip(self.slots(cb)) {
                if !value_subset(&mut pairs, a, b, &x.val, &y.val) {
                    return false;
                }
            }
        }
        for r in b.stack() {
            let ca = a.stack_chunk(r.frame, r.at);
            if ca == r.chunk && shared(self.slots(ca)) {
                continue;
            }
            for (x, y) in self.slots(ca).iter().zip(self.slots(r.chunk)) {
                if !slot_subset(&mut pairs, a, b, x, y) {
                    return false;
                }
            }
        }
        true
    }

    /// Whether both can be joined.
    pub fn joinable(&self, a: &State, b: &State) -> bool {
        a.depth == b.depth && a.refs_len == b.refs_len && a.speculative == b.speculative
    }

    /// How much a join of both would lose, roughly; `None`: they cannot be joined.
    pub fn distance(&self, a: &State, b: &State) -> Option<u32> {
        if !self.joinable(a, b) {
            return None;
        }
        let mut sum = 0;
        for (&ca, &cb) in a.regs.iter().zip(&b.regs) {
            if ca == cb {
                continue;
            }
            for (x, y) in self.slots(ca).iter().zip(self.slots(cb)) {
                sum += value_distance(&x.val, &y.val);
            }
        }
        for r in b.stack() {
            let ca = a.stack_chunk(r.frame, r.at);
            if ca != r.chunk {
                for (x, y) in self.slots(ca).iter().zip(self.slots(r.chunk)) {
                    sum += if x.spill == y.spill {
                        value_distance(&x.val, &y.val)
                    } else {
                        4
                    };
                }
            }
        }
        Some(sum)
    }

    /// The smallest state of the domain that holds both `a`, which is used up, and `b`. Links that hold in both get
    /// new identities from `ids`. Both must be joinable (see [`Store::joinable`]).
    pub fn join(&mut self, a: State, b: &State, ids: &mut u32) -> State {
        self.join_changed(a, b, None, ids)
    }

    /// As [`Store::join`]; chunks that `b` has in common with `base`, which `a` covers, need no joining.
    pub fn join_changed(&mut self, mut a: State, b: &State, base: Option<&State>, ids: &mut u32) -> State {
        let mut pairs = Pairs::new();
        let depth = usize::from(a.depth).min(FRAMES - 1);
        let old = a;
        let known = base.unwrap_or(&State::BLANK);
        let regs = a.regs.iter_mut().zip(b.regs.iter().zip(&known.regs));
        let saved = a.saved.iter_mut().zip(b.saved.iter().zip(&known.saved)).take(depth);
        for (chunk, (other, was)) in regs.chain(saved) {
            if base.is_none() || was != other {
                self.join_chunk(&mut pairs, &old, b, chunk, *other, ids);
            }
        }
        let mut keep = 0;
        for StackRef { frame, at, mut chunk } in old.stack.into_iter().take(usize::from(old.stack_len)) {
            let other = b.stack_chunk(frame, at);
            if other == 0 || base.is_none_or(|base| base.stack_chunk(frame, at) != other) {
                self.join_stack(&mut pairs, &old, b, &mut chunk, other, ids);
            }
            if let (true, Some(cell)) = (chunk != 0, a.stack.get_mut(keep)) {
                *cell = StackRef { frame, at, chunk };
                keep += 1;
            }
        }
        a.stack_len = keep as u8;
        for g in 0..GHOSTS {
            a.ghosts[g].lo = a.ghosts[g].lo.min(b.ghosts[g].lo);
            a.ghosts[g].hi = a.ghosts[g].hi.max(b.ghosts[g].hi);
        }
        absorb_cost(&mut a, b);
        a
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

/// `a` stands for `b` as well: the worse cost of both.
pub(crate) fn absorb_cost(a: &mut State, b: &State) {
    if b.speculative && !a.speculative {
        return;
    }
    if b.time > a.time {
        a.trace = b.trace;
    }
    a.time = a.time.max(b.time);
    a.insns = a.insns.max(b.insns);
    a.insns_min = a.insns_min.min(b.insns_min);
}

fn value_distance(a: &Val, b: &Val) -> u32 {
    match (a.kind, b.kind) {
        _ if a == b => 0,
        (Kind::Uninit, _) | (_, Kind::Uninit) => 1,
        (Kind::Scalar, Kind::Scalar) => 2,
        (Kind::Pointer { region: x, .. }, Kind::Pointer { region: y, .. }) if x == y => 8,
        _ => 64,
    }
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
