//! What a comparison teaches of its operands.

use crate::insn::{Cond, Width};
use crate::interval::{Interval, sext};
use crate::scalar::Num;
use crate::tnum::{Tnum, low_mask};

impl<const B: u32> Num<B> {
    /// What remains of both operands if the comparison comes out as `holds`; `None` if it cannot.
    pub fn refine(cond: Cond, width: Width, holds: bool, a: Self, b: Self) -> Option<(Self, Self)> {
        let (cond, a, b, swapped) = match normal(cond, holds) {
            (c, false) => (c, a, b, false),
            (c, true) => (c, b, a, true),
        };
        let (mut a, mut b) = (a, b);
        let w = if width == Width::W64 { B } else { Self::HALF };
        let (mut x, mut y) = if width == Width::W64 {
            (a.whole(), b.whole())
        } else {
            (a.low(), b.low())
        };
        let high = low_mask(B) & !low_mask(w);
        let (mut ta, mut tb) = (a.bits.low(w), b.bits.low(w));
        let feasible = match cond {
            Test::Below { or_equal } => below(&mut x.umin, &mut x.umax, &mut y.umin, &mut y.umax, u64::from(!or_equal)),
            Test::Less { or_equal } => less(&mut x, &mut y, i64::from(!or_equal)),
            Test::Equal => equal(&mut x, &mut y, &mut ta, &mut tb),
            Test::Differ => differ(&mut x, &mut y, w),
            Test::Common => common(&mut x, &mut y, &mut ta, &mut tb),
            Test::Disjoint => disjoint(&mut ta, &mut tb),
        };
        if !feasible {
            return None;
        }
        a.bits = Tnum {
            value: ta.value | a.bits.value & high,
            mask: ta.mask | a.bits.mask & high,
        };
        b.bits = Tnum {
            value: tb.value | b.bits.value & high,
            mask: tb.mask | b.bits.mask & high,
        };
        if width == Width::W64 {
            a.set_whole(x);
            b.set_whole(y);
        } else {
            a.set_low(x);
            b.set_low(y);
        }
        if !a.settle() || !b.settle() {
            return None;
        }
        Some(if swapped { (b, a) } else { (a, b) })
    }
}

/// A comparison that holds, its operands swapped where that makes fewer kinds.
#[derive(Clone, Copy)]
enum Test {
    Below { or_equal: bool },
    Less { or_equal: bool },
    Equal,
    Differ,
    Common,
    Disjoint,
}

/// The test that holds when `cond` comes out as `holds`, and whether its operands are swapped.
const fn normal(cond: Cond, holds: bool) -> (Test, bool) {
    match (cond, holds) {
        (Cond::Eq, true) | (Cond::Ne, false) => (Test::Equal, false),
        (Cond::Eq, false) | (Cond::Ne, true) => (Test::Differ, false),
        (Cond::Set, true) => (Test::Common, false),
        (Cond::Set, false) => (Test::Disjoint, false),
        (Cond::Lt, true) | (Cond::Ge, false) => (Test::Below { or_equal: false }, false),
        (Cond::Le, true) | (Cond::Gt, false) => (Test::Below { or_equal: true }, false),
        (Cond::Gt, true) | (Cond::Le, false) => (Test::Below { or_equal: false }, true),
        (Cond::Ge, true) | (Cond::Lt, false) => (Test::Below { or_equal: true }, true),
        (Cond::Slt, true) | (Cond::Sge, false) => (Test::Less { or_equal: false }, false),
        (Cond::Sle, true) | (Cond::Sgt, false) => (Test::Less { or_equal: true }, false),
        (Cond::Sgt, true) | (Cond::Sle, false) => (Test::Less { or_equal: false }, true),
        (Cond::Sge, true) | (Cond::Slt, false) => (Test::Less { or_equal: true }, true),
    }
}

fn below(xmin: &mut u64, xmax: &mut u64, ymin: &mut u64, ymax: &mut u64, gap: u64) -> bool {
    let (Some(most), Some(least)) = (ymax.checked_sub(gap), xmin.checked_add(gap)) else {
        return false;
    };
    *xmax = (*xmax).min(most);
    *ymin = (*ymin).max(least);
    *xmin <= *xmax && *ymin <= *ymax
}

fn less(x: &mut Interval, y: &mut Interval, gap: i64) -> bool {
    let (Some(most), Some(least)) = (y.smax.checked_sub(gap), x.smin.checked_add(gap)) else {
        return false;
    };
    x.smax = x.smax.min(most);
    y.smin = y.smin.max(least);
    x.smin <= x.smax && y.smin <= y.smax
}

fn equal(x: &mut Interval, y: &mut Interval, ta: &mut Tnum, tb: &mut Tnum) -> bool {
    let Some(t) = ta.intersect(*tb) else {
        return false;
    };
    (*ta, *tb) = (t, t);
    let both = Interval {
        umin: x.umin.max(y.umin),
        umax: x.umax.min(y.umax),
        smin: x.smin.max(y.smin),
        smax: x.smax.min(y.smax),
    };
    (*x, *y) = (both, both);
    both.umin <= both.umax && both.smin <= both.smax
}

/// A known number is cut off the ends of the other side's intervals.
fn differ(x: &mut Interval, y: &mut Interval, w: u32) -> bool {
    trim(x, y, w) && trim(y, x, w)
}

fn trim(x: &mut Interval, y: &Interval, w: u32) -> bool {
    if y.umin != y.umax {
        return true;
    }
    let (u, s) = (y.umin, sext(y.umin, w));
    if x.umin == x.umax && x.umin == u || x.smin == x.smax && x.smin == s {
        return false;
    }
    if x.umin == u {
        x.umin += 1;
    } else if x.umax == u {
        x.umax -= 1;
    }
    if x.smin == s {
        x.smin += 1;
    } else if x.smax == s {
        x.smax -= 1;
    }
    x.umin <= x.umax && x.smin <= x.smax
}

/// `a & b != 0`.
fn common(x: &mut Interval, y: &mut Interval, ta: &mut Tnum, tb: &mut Tnum) -> bool {
    let maybe = (ta.value | ta.mask) & (tb.value | tb.mask);
    if maybe == 0 {
        return false;
    }
    // Both have one of these bits; if only one is possible, both have it.
    if maybe.is_power_of_two() {
        *ta = Tnum {
            value: ta.value | maybe,
            mask: ta.mask & !maybe,
        };
        *tb = Tnum {
            value: tb.value | maybe,
            mask: tb.mask & !maybe,
        };
    }
    let least = 1 << maybe.trailing_zeros();
    x.umin = x.umin.max(least);
    y.umin = y.umin.max(least);
    x.umin <= x.umax && y.umin <= y.umax
}

/// `a & b == 0`.
fn disjoint(ta: &mut Tnum, tb: &mut Tnum) -> bool {
    if ta.value & tb.value != 0 {
        return false;
    }
    let (known_a, known_b) = (ta.value, tb.value);
    ta.mask &= !known_b;
    tb.mask &= !known_a;
    true
}
