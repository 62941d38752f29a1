//! Values tied to the counter of a loop under summary: base + c·k.

use crate::act::Ties;
use crate::compare::TAG;
use crate::cost::CostModel;
use crate::engine::Verifier;
use crate::insn::{Cond, Width};
use crate::loops::Mode;
use crate::scalar::Scalar;
use crate::store::{Ghost, State};
use crate::tnum::{Tnum, low_mask};
use crate::value::Val;

/// Locations of one loop tied to its counter.
pub(crate) const TAGS: usize = 12;
/// Exit tests remembered of one loop.
pub(crate) const TESTS: usize = 4;
/// Most iterations a summary may claim; keeps `base + c·k` far from overflow together with `STEP_MAX`.
const TRIPS_MAX: u64 = 1 << 30;
const STEP_MAX: i64 = 1 << 31;
const BASE_MAX: i64 = 1 << 61;

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
    pub(crate) fn range(&self, k: Ghost) -> Scalar {
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

impl<C: CostModel> Verifier<'_, '_, C> {
    /// Something is known of the counter of a loop under summary: so of everything tied to it. `false`: impossible.
    pub(crate) fn narrow_counter(&mut self, s: &mut State, id: u32, x: &Scalar) -> bool {
        for at in 0..self.acts {
            let (mode, ghost) = (self.act(at).mode, usize::from(self.act(at).ghost));
            if mode != Mode::Prove {
                continue;
            }
            let Some(tag) = self.tag(at, id) else {
                continue;
            };
            let Some(old) = s.ghosts.get(ghost).copied() else {
                return true;
            };
            let Some(new) = counter_range(&tag, x, old) else {
                return false;
            };
            if new == old {
                return true;
            }
            if let Some(g) = s.ghosts.get_mut(ghost) {
                *g = new;
            }
            for n in 0..TAGS {
                let Some(t) = self.ties(at).tags().get(n).copied() else {
                    break;
                };
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

    pub(crate) fn add_tag(&mut self, at: usize, v: Val, step: i64) {
        let base = v.num;
        let fits = base.smin >= -BASE_MAX && base.smax <= BASE_MAX && step.unsigned_abs() <= STEP_MAX as u64;
        let ties = self.ties_mut(at);
        if let (true, Some(t)) = (fits, ties.tags.get_mut(usize::from(ties.tags_len))) {
            *t = Tag { id: v.id, step, base };
            ties.tags_len += 1;
        }
    }

    pub(crate) fn tag(&self, at: usize, id: u32) -> Option<Tag> {
        self.ties(at).tags().iter().find(|t| t.id == id).copied()
    }

    /// Expresses values tied to the loop's counter by the counter of the next iteration.
    pub(crate) fn rebase(&mut self, at: usize, s: &mut State) {
        let ties = self.m.ties.get(at).unwrap_or(&const { Ties::BLANK });
        let step = |id: u32| ties.tags().iter().find(|t| t.id == id).map(|t| t.step);
        self.store.update(
            s,
            |v| v.id & TAG != 0 && step(v.id).is_some(),
            |slot| slot.val.delta = slot.val.delta.wrapping_sub(step(slot.val.id).unwrap_or(0)),
        );
    }

    /// The least number of back edges after which one of the exit tests must leave the loop.
    pub(crate) fn guess_trips(&self, at: usize) -> Option<u64> {
        let tests = self.ties(at).tests().iter();
        tests
            .filter_map(|t| trips_of(t, &self.tag(at, t.value.id)?))
            .filter(|k| *k <= TRIPS_MAX)
            .min()
    }
}

pub(crate) fn owns(ties: &Ties, id: u32) -> bool {
    ties.tags().iter().any(|t| t.id == id)
}

/// The counter's values with which `tag` can be in `x`.
pub(crate) fn counter_range(tag: &Tag, x: &Scalar, old: Ghost) -> Option<Ghost> {
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
pub(crate) fn trips_of(test: &Test, tag: &Tag) -> Option<u64> {
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
