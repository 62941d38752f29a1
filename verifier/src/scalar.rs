//! The abstract number: known bits and intervals of the whole and of its low half, unsigned and signed.
//!
//! Generic over the width so that every transfer function can be checked exhaustively at 8 bits (half: 4); the
//! verifier itself uses [`Scalar`], 64 bits with 32-bit halves.

use crate::insn::{AluOp, Order, Width};
use crate::interval::{Interval, last_with_low, next_with_low, sext};
use crate::tnum::{Tnum, low_mask};

/// A set of `B`-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Num<const B: u32> {
    /// Known bits.
    pub bits: Tnum,
    /// Least unsigned value.
    pub umin: u64,
    /// Greatest unsigned value.
    pub umax: u64,
    /// Least signed value.
    pub smin: i64,
    /// Greatest signed value.
    pub smax: i64,
    /// Least unsigned value of the low half.
    pub low_umin: u32,
    /// Greatest unsigned value of the low half.
    pub low_umax: u32,
    /// Least signed value of the low half.
    pub low_smin: i32,
    /// Greatest signed value of the low half.
    pub low_smax: i32,
}

/// 64-bit abstract number.
pub type Scalar = Num<64>;

impl<const B: u32> Default for Num<B> {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl<const B: u32> Num<B> {
    pub(crate) const HALF: u32 = B / 2;

    /// Every number.
    pub const UNKNOWN: Self = {
        let whole = Interval::full(B);
        let low = Interval::full(B / 2);
        Self::of(Tnum::UNKNOWN.low(B), whole, low)
    };

    const fn of(bits: Tnum, whole: Interval, low: Interval) -> Self {
        Num {
            bits,
            umin: whole.umin,
            umax: whole.umax,
            smin: whole.smin,
            smax: whole.smax,
            low_umin: low.umin as u32,
            low_umax: low.umax as u32,
            low_smin: low.smin as i32,
            low_smax: low.smax as i32,
        }
    }

    /// Only `x`.
    pub const fn constant(x: u64) -> Self {
        let x = x & low_mask(B);
        Self::of(
            Tnum::constant(x),
            Interval::constant(x, B),
            Interval::constant(x, B / 2),
        )
    }

    /// Every number of `min..=max`, unsigned.
    pub fn range(min: u64, max: u64) -> Self {
        let mut n = Self::UNKNOWN;
        n.set_whole(Interval {
            umin: min,
            umax: max,
            ..Interval::full(B)
        });
        n.settled()
    }

    /// Every number of `min..=max`, signed.
    pub fn signed_range(min: i64, max: i64) -> Self {
        let mut n = Self::UNKNOWN;
        n.set_whole(Interval {
            smin: min,
            smax: max,
            ..Interval::full(B)
        });
        n.settled()
    }

    /// Every number of the low `bits` bits.
    pub fn zero_extended(bits: u32) -> Self {
        Self::range(0, low_mask(bits))
    }

    /// The one number, if it is one.
    #[inline(always)]
    pub const fn as_constant(&self) -> Option<u64> {
        self.bits.as_constant()
    }

    /// Whether `x` is in the set.
    pub fn contains(&self, x: u64) -> bool {
        self.bits.contains(x)
            && self.whole().contains(x, B)
            && self.low().contains(x & low_mask(Self::HALF), Self::HALF)
    }

    /// The interval of the whole number.
    #[inline(always)]
    pub const fn whole(&self) -> Interval {
        Interval {
            umin: self.umin,
            umax: self.umax,
            smin: self.smin,
            smax: self.smax,
        }
    }

    /// The interval of the low half.
    #[inline(always)]
    pub const fn low(&self) -> Interval {
        Interval {
            umin: self.low_umin as u64,
            umax: self.low_umax as u64,
            smin: self.low_smin as i64,
            smax: self.low_smax as i64,
        }
    }

    #[inline(always)]
    pub(crate) fn set_whole(&mut self, i: Interval) {
        (self.umin, self.umax, self.smin, self.smax) = (i.umin, i.umax, i.smin, i.smax);
    }

    #[inline(always)]
    pub(crate) fn set_low(&mut self, i: Interval) {
        (self.low_umin, self.low_umax) = (i.umin as u32, i.umax as u32);
        (self.low_smin, self.low_smax) = (i.smin as i32, i.smax as i32);
    }

    /// Lets every view narrow the others. `false`: no number is left, the state cannot occur.
    #[must_use]
    pub fn settle(&mut self) -> bool {
        if self.bits.mask == 0 {
            let x = self.bits.value;
            let inside = self.contains(x);
            *self = Self::constant(x);
            return inside;
        }
        // Each pass carries knowledge one view further; two reach everything that matters in practice.
        self.pass() && self.pass()
    }

    /// For results of transfer functions, which are never empty. An empty one would be a defect: it becomes the set of
    /// all numbers, which is always sound.
    #[inline(always)]
    pub(crate) fn settled(mut self) -> Self {
        if self.settle() { self } else { Self::UNKNOWN }
    }

    pub(crate) fn pass(&mut self) -> bool {
        let half = Self::HALF;
        let t = self.bits;
        let (mut whole, mut low) = (self.whole(), self.low());
        bound_by_bits(&mut whole, t, B);
        bound_by_bits(&mut low, t.low(half), half);
        if !whole.agree(B) || !low.agree(half) {
            return false;
        }
        if whole.umin >> half == whole.umax >> half {
            low.umin = low.umin.max(whole.umin & low_mask(half));
            low.umax = low.umax.min(whole.umax & low_mask(half));
        }
        let (lo, hi) = (sext(whole.smin as u64, half), sext(whole.smax as u64, half));
        if whole.smin >> half == whole.smax >> half || (lo == whole.smin && hi == whole.smax) {
            if lo <= hi {
                low.smin = low.smin.max(lo);
                low.smax = low.smax.min(hi);
            }
        }
        if !low.agree(half) {
            return false;
        }
        let (llo, lhi) = (low.umin as u32, low.umax as u32);
        let umin = next_with_low(i128::from(whole.umin), llo, lhi, half);
        let umax = last_with_low(i128::from(whole.umax), llo, lhi, half);
        let smin = next_with_low(i128::from(whole.smin), llo, lhi, half);
        let smax = last_with_low(i128::from(whole.smax), llo, lhi, half);
        if umin > umax || smin > smax {
            return false;
        }
        whole = Interval {
            umin: umin as u64,
            umax: umax as u64,
            smin: smin as i64,
            smax: smax as i64,
        };
        if !whole.agree(B) {
            return false;
        }
        let Some(t) = t.intersect(Tnum::range(whole.umin, whole.umax)) else {
            return false;
        };
        let low_bits = Tnum::range(low.umin, low.umax);
        let high = low_mask(B) & !low_mask(half);
        let Some(t) = t.intersect(Tnum {
            value: low_bits.value,
            mask: low_bits.mask | high,
        }) else {
            return false;
        };
        self.bits = t;
        self.set_whole(whole);
        self.set_low(low);
        true
    }

    /// `dst = dst op src`.
    pub fn alu(op: AluOp, width: Width, dst: Self, src: Self) -> Self {
        match (op, width) {
            (AluOp::Mov, Width::W64) => return src,
            (AluOp::Mov, Width::W32) => return src.truncated(Self::HALF),
            (AluOp::MovSx(bits), Width::W64) => return src.sign_extended(u32::from(bits)),
            (AluOp::MovSx(bits), Width::W32) => {
                return src.sign_extended(u32::from(bits)).truncated(Self::HALF);
            }
            (AluOp::Neg, _) => return Self::alu(AluOp::Sub, width, Self::constant(0), dst),
            _ => {}
        }
        let half = Self::HALF;
        let w = if width == Width::W64 { B } else { half };
        let (a, b) = (dst.bits.low(w), src.bits.low(w));
        if let (Some(a), Some(b)) = (a.as_constant(), b.as_constant()) {
            return Self::constant(concrete(op, w, a, b));
        }
        let shift = shift_range(op, w, &src);
        let bits = known_bits(op, w, a, b, shift);
        let low = if w == B && !modular(op) {
            Interval::full(half)
        } else {
            let shift = shift.map(|(lo, hi)| if hi < half { (lo, hi) } else { (0, u32::MAX) });
            intervals(op, half, dst.low(), src.low(), shift)
        };
        if w == B {
            let whole = intervals(op, B, dst.whole(), src.whole(), shift);
            Self::of(bits, whole, low).settled()
        } else {
            let zero = Interval {
                umin: low.umin,
                umax: low.umax,
                ..Interval::full(B)
            };
            Self::of(bits, zero, low).settled()
        }
    }

    /// The low `bits` bits, zero-extended.
    pub fn truncated(self, bits: u32) -> Self {
        let t = self.bits.low(bits);
        if bits >= B {
            return self;
        }
        let mut n = Self {
            bits: t,
            ..Self::UNKNOWN
        };
        n.set_whole(Interval {
            umax: low_mask(bits),
            ..Interval::full(B)
        });
        if self.umax <= low_mask(bits) {
            n.set_whole(Interval {
                umin: self.umin,
                umax: self.umax,
                ..Interval::full(B)
            });
        }
        if bits == Self::HALF {
            n.set_low(self.low());
        }
        n.settled()
    }

    /// The low `bits` bits, sign-extended.
    pub fn sign_extended(self, bits: u32) -> Self {
        let mut n = Self {
            bits: self.bits.sign_extend(bits).low(B),
            ..Self::UNKNOWN
        };
        let (lo, hi) = (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1);
        let mut whole = Interval {
            smin: lo,
            smax: hi,
            ..Interval::full(B)
        };
        if self.smin >= lo && self.smax <= hi {
            (whole.smin, whole.smax) = (self.smin, self.smax);
        } else if bits == Self::HALF {
            (whole.smin, whole.smax) = (i64::from(self.low_smin), i64::from(self.low_smax));
        }
        n.set_whole(whole);
        if bits == Self::HALF {
            n.set_low(self.low());
        }
        n.settled()
    }

    /// Byte order conversion of the low `bits` bits, zero-extended. Bit-exact; intervals follow from the bits.
    pub fn swapped(self, order: Order, bits: u32) -> Self {
        if order == Order::ToLe {
            return self.truncated(bits);
        }
        let swap = |x: u64| x.swap_bytes() >> (64 - bits);
        let t = self.bits.low(bits);
        Self {
            bits: Tnum {
                value: swap(t.value),
                mask: swap(t.mask),
            },
            ..Self::UNKNOWN
        }
        .settled()
    }

    /// The smallest value of the domain that holds both.
    pub fn join(self, other: Self) -> Self {
        Num {
            bits: self.bits.join(other.bits),
            umin: self.umin.min(other.umin),
            umax: self.umax.max(other.umax),
            smin: self.smin.min(other.smin),
            smax: self.smax.max(other.smax),
            low_umin: self.low_umin.min(other.low_umin),
            low_umax: self.low_umax.max(other.low_umax),
            low_smin: self.low_smin.min(other.low_smin),
            low_smax: self.low_smax.max(other.low_smax),
        }
    }

    /// Whether every number of `self` is in `other`.
    #[inline(always)]
    pub fn subset(&self, other: &Self) -> bool {
        other.umin <= self.umin
            && self.umax <= other.umax
            && other.smin <= self.smin
            && self.smax <= other.smax
            && other.low_umin <= self.low_umin
            && self.low_umax <= other.low_umax
            && other.low_smin <= self.low_smin
            && self.low_smax <= other.low_smax
            && self.bits.subset(other.bits)
    }

    /// Numbers in both; `None` if there is none.
    pub fn intersect(mut self, other: &Self) -> Option<Self> {
        self.bits = self.bits.intersect(other.bits)?;
        self.umin = self.umin.max(other.umin);
        self.umax = self.umax.min(other.umax);
        self.smin = self.smin.max(other.smin);
        self.smax = self.smax.min(other.smax);
        self.low_umin = self.low_umin.max(other.low_umin);
        self.low_umax = self.low_umax.min(other.low_umax);
        self.low_smin = self.low_smin.max(other.low_smin);
        self.low_smax = self.low_smax.min(other.low_smax);
        self.settle().then_some(self)
    }
}

/// Operations whose low half depends on the low halves of the operands only.
const fn modular(op: AluOp) -> bool {
    matches!(
        op,
        AluOp::Add | AluOp::Sub | AluOp::Mul | AluOp::And | AluOp::Or | AluOp::Xor | AluOp::Lsh
    )
}

/// Narrows an interval by what the known bits allow.
#[inline(always)]
fn bound_by_bits(i: &mut Interval, t: Tnum, bits: u32) {
    let sign = 1 << (bits - 1);
    i.umin = i.umin.max(t.value);
    i.umax = i.umax.min(t.value | t.mask);
    i.smin = i.smin.max(sext(t.value | t.mask & sign, bits));
    i.smax = i.smax.min(sext(t.value | t.mask & !sign, bits));
}

/// The result of an operation on two known numbers of `w` bits.
pub fn concrete(op: AluOp, w: u32, a: u64, b: u64) -> u64 {
    let m = low_mask(w);
    let (sa, sb) = (sext(a, w), sext(b, w));
    let shift = (b & u64::from(w - 1)) as u32;
    let r = match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Sdiv if sb == 0 => 0,
        AluOp::Sdiv => sa.wrapping_div(sb) as u64,
        AluOp::Smod if sb == 0 => a,
        AluOp::Smod => sa.wrapping_rem(sb) as u64,
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Lsh => a << shift,
        AluOp::Rsh => a >> shift,
        AluOp::Arsh => (sa >> shift) as u64,
        AluOp::Neg => a.wrapping_neg(),
        AluOp::Mov => b,
        AluOp::MovSx(bits) => sext(b, u32::from(bits)) as u64,
    };
    r & m
}

/// Least and greatest shift amount, if `op` shifts; amounts are taken modulo the width.
fn shift_range<const B: u32>(op: AluOp, w: u32, src: &Num<B>) -> Option<(u32, u32)> {
    if !matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) {
        return None;
    }
    let amount = src.bits.low(w.trailing_zeros());
    if let Some(n) = amount.as_constant() {
        return Some((n as u32, n as u32));
    }
    let (lo, hi) = if w == B {
        (src.umin, src.umax)
    } else {
        (src.low_umin.into(), src.low_umax.into())
    };
    if hi < u64::from(w) {
        Some((lo as u32, hi as u32))
    } else {
        Some((0, w - 1))
    }
}

fn known_bits(op: AluOp, w: u32, a: Tnum, b: Tnum, shift: Option<(u32, u32)>) -> Tnum {
    let t = match (op, shift) {
        (AluOp::Add, _) => a.add(b),
        (AluOp::Sub, _) => a.sub(b),
        (AluOp::Mul, _) => a.mul(b),
        (AluOp::And, _) => a.and(b),
        (AluOp::Or, _) => a.or(b),
        (AluOp::Xor, _) => a.xor(b),
        (AluOp::Lsh, Some((lo, hi))) if lo == hi => a.shl(lo),
        (AluOp::Rsh, Some((lo, hi))) if lo == hi => a.shr(lo),
        (AluOp::Arsh, Some((lo, hi))) if lo == hi => {
            let t = a.sign_extend(w);
            Tnum {
                value: ((t.value as i64) >> lo) as u64,
                mask: ((t.mask as i64) >> lo) as u64,
            }
        }
        // Shifting left by at least `lo` leaves that many zeros, besides those that were there.
        (AluOp::Lsh, Some((lo, _))) => {
            let zeros = ((a.value | a.mask).trailing_zeros() + lo).min(63);
            Tnum {
                value: 0,
                mask: u64::MAX << zeros,
            }
        }
        _ => Tnum::UNKNOWN,
    };
    t.low(w)
}

/// `shift` whose upper end is `u32::MAX` stands for an amount that is not below this width.
fn intervals(op: AluOp, w: u32, a: Interval, b: Interval, shift: Option<(u32, u32)>) -> Interval {
    match (op, shift) {
        (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Some((_, u32::MAX)) | None) => Interval::full(w),
        (AluOp::Lsh, Some((lo, hi))) => Interval::shl(a, lo, hi, w),
        (AluOp::Rsh, Some((lo, hi))) => Interval::shr(a, lo, hi, w),
        (AluOp::Arsh, Some((lo, hi))) => Interval::sar(a, lo, hi, w),
        (AluOp::Add, _) => Interval::add(a, b, w),
        (AluOp::Sub, _) => Interval::sub(a, b, w),
        (AluOp::Mul, _) => Interval::mul(a, b, w),
        (AluOp::Div, _) => Interval::div(a, b, w),
        (AluOp::Mod, _) => Interval::rem(a, b, w),
        (AluOp::Sdiv, _) => Interval::sdiv(a, b, w),
        (AluOp::Smod, _) => Interval::srem(a, b, w),
        (AluOp::And, _) => Interval::and(a, b, w),
        (AluOp::Or, _) => Interval::or(a, b, w),
        _ => Interval::full(w),
    }
}
