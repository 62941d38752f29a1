//! Inclusion of abstract states.

use crate::env::FRAMES;
use crate::store::{GHOSTS, Slot, State, Store};
use crate::value::{Kind, Region, Val};

/// Identities that one comparison can relate. More than that many linked unknowns: the states count as unrelated.
const PAIRS: usize = 24;
/// Identities of loop counters under summary have this bit: they mean the same unknown in every state of the pass.
pub(crate) const TAG: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    pub a: u32,
    pub b: u32,
    pub shift: i64,
    /// For an unlinked constant in `a`: the value of the unknown.
    pub known: Option<u64>,
    pub fresh: u32,
}

/// Which identity of one state stands for which of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs {
    /// Made when the first pair comes: most comparisons meet none.
    list: Option<[Pair; PAIRS]>,
    len: usize,
}

impl Pairs {
    pub fn new() -> Pairs {
        Pairs { list: None, len: 0 }
    }

    pub fn push(&mut self, pair: Pair) -> bool {
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

    pub fn live(&self) -> &[Pair] {
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
pub(crate) fn same(a: &Val, b: &Val) -> bool {
    (a.id == 0 || a.id & TAG != 0) && a.reference == 0 && a == b
}

/// As [`same`], of a whole chunk that two states share.
pub(crate) fn shared(slots: &[Slot]) -> bool {
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
pub(crate) fn same_reference(a: &State, b: &State, ra: u32, rb: u32) -> bool {
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
