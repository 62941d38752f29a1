//! Unsigned and signed intervals of one width, and their transfer functions.

use crate::tnum::low_mask;

/// All `x` of `bits` width with `umin <= x <= umax` and `smin <= x as signed <= smax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Least unsigned value.
    pub umin: u64,
    /// Greatest unsigned value.
    pub umax: u64,
    /// Least signed value.
    pub smin: i64,
    /// Greatest signed value.
    pub smax: i64,
}

/// Sign-extends the low `bits` bits.
#[inline(always)]
pub const fn sext(x: u64, bits: u32) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

#[inline(always)]
const fn signed_max(bits: u32) -> i64 {
    (low_mask(bits) >> 1) as i64
}

#[inline(always)]
const fn signed_min(bits: u32) -> i64 {
    -signed_max(bits) - 1
}

#[inline(always)]
fn fits(x: i128, bits: u32) -> Option<i64> {
    let x = i64::try_from(x).ok()?;
    (signed_min(bits)..=signed_max(bits)).contains(&x).then_some(x)
}

impl Interval {
    /// Every number of the width.
    #[inline(always)]
    pub const fn full(bits: u32) -> Interval {
        Interval {
            umin: 0,
            umax: low_mask(bits),
            smin: signed_min(bits),
            smax: signed_max(bits),
        }
    }

    /// Only `x`, truncated to the width.
    #[inline(always)]
    pub const fn constant(x: u64, bits: u32) -> Interval {
        let x = x & low_mask(bits);
        Interval {
            umin: x,
            umax: x,
            smin: sext(x, bits),
            smax: sext(x, bits),
        }
    }

    /// Whether it is known which of both signs the number has.
    #[inline(always)]
    pub const fn one_sign(&self) -> bool {
        self.smin >= 0 || self.smax < 0
    }

    #[inline(always)]
    fn unsigned(mut self, umin: u64, umax: u64) -> Interval {
        (self.umin, self.umax) = (umin, umax);
        self
    }

    #[inline(always)]
    fn signed(mut self, smin: i64, smax: i64) -> Interval {
        (self.smin, self.smax) = (smin, smax);
        self
    }

    /// Sum modulo the width.
    pub fn add(a: Interval, b: Interval, bits: u32) -> Interval {
        let mut r = Interval::full(bits);
        let m = low_mask(bits);
        let (lo, hi) = (
            u128::from(a.umin) + u128::from(b.umin),
            u128::from(a.umax) + u128::from(b.umax),
        );
        // Both ends wrap or neither does: the interval stays one piece.
        if (lo > u128::from(m)) == (hi > u128::from(m)) {
            r = r.unsigned(lo as u64 & m, hi as u64 & m);
        }
        let (lo, hi) = (
            i128::from(a.smin) + i128::from(b.smin),
            i128::from(a.smax) + i128::from(b.smax),
        );
        match (fits(lo, bits), fits(hi, bits)) {
            (Some(lo), Some(hi)) => r.signed(lo, hi),
            _ => r,
        }
    }

    /// Difference modulo the width.
    pub fn sub(a: Interval, b: Interval, bits: u32) -> Interval {
        let mut r = Interval::full(bits);
        let m = low_mask(bits);
        let (lo, hi) = (
            i128::from(a.umin) - i128::from(b.umax),
            i128::from(a.umax) - i128::from(b.umin),
        );
        if (lo < 0) == (hi < 0) {
            r = r.unsigned(lo as u64 & m, hi as u64 & m);
        }
        let (lo, hi) = (
            i128::from(a.smin) - i128::from(b.smax),
            i128::from(a.smax) - i128::from(b.smin),
        );
        match (fits(lo, bits), fits(hi, bits)) {
            (Some(lo), Some(hi)) => r.signed(lo, hi),
            _ => r,
        }
    }

    /// Product modulo the width.
    pub fn mul(a: Interval, b: Interval, bits: u32) -> Interval {
        let mut r = Interval::full(bits);
        let m = low_mask(bits);
        let hi = u128::from(a.umax) * u128::from(b.umax);
        if hi <= u128::from(m) {
            r = r.unsigned(a.umin.wrapping_mul(b.umin), hi as u64);
        }
        let p = |x: i64, y: i64| i128::from(x) * i128::from(y);
        let all = [
            p(a.smin, b.smin),
            p(a.smin, b.smax),
            p(a.smax, b.smin),
            p(a.smax, b.smax),
        ];
        let lo = all[0].min(all[1]).min(all[2]).min(all[3]);
        let hi = all[0].max(all[1]).max(all[2]).max(all[3]);
        match (fits(lo, bits), fits(hi, bits)) {
            (Some(lo), Some(hi)) => r.signed(lo, hi),
            _ => r,
        }
    }

    /// Unsigned quotient; division by zero yields 0 (RFC 9669 section 4.1).
    pub fn div(a: Interval, b: Interval, bits: u32) -> Interval {
        let hi = a.umax / b.umin.max(1);
        let lo = if b.umin == 0 {
            0
        } else {
            a.umin.checked_div(b.umax).unwrap_or(0)
        };
        Interval::full(bits).unsigned(lo, hi)
    }

    /// Unsigned remainder; modulo zero leaves the dividend.
    pub fn rem(a: Interval, b: Interval, bits: u32) -> Interval {
        let r = Interval::full(bits);
        if b.umin > a.umax {
            return r.unsigned(a.umin, a.umax);
        }
        if b.umin == 0 {
            r.unsigned(0, a.umax)
        } else {
            r.unsigned(0, a.umax.min(b.umax - 1))
        }
    }

    /// Signed quotient towards zero; by zero yields 0; least value by −1 wraps to itself.
    pub fn sdiv(a: Interval, b: Interval, bits: u32) -> Interval {
        let r = Interval::full(bits);
        if a.smin == signed_min(bits) && b.smin <= -1 && b.smax >= -1 {
            return r;
        }
        let magnitude = a.smin.unsigned_abs().max(a.smax.unsigned_abs()) as i128;
        let floor = if b.one_sign() {
            b.smin.unsigned_abs().min(b.smax.unsigned_abs()).max(1)
        } else {
            1
        };
        let bound = magnitude / floor as i128;
        let lo = if a.smin >= 0 && b.smin >= 0 || a.smax < 0 && b.smax < 0 {
            0
        } else {
            -bound
        };
        let hi = if a.smin >= 0 && b.smax < 0 || a.smax < 0 && b.smin >= 0 {
            0
        } else {
            bound
        };
        match (fits(lo, bits), fits(hi, bits)) {
            (Some(lo), Some(hi)) => r.signed(lo, hi),
            _ => r,
        }
    }

    /// Signed remainder with the dividend's sign; modulo zero leaves the dividend; least value modulo −1 is 0.
    pub fn srem(a: Interval, b: Interval, bits: u32) -> Interval {
        let divisor = b.smin.unsigned_abs().max(b.smax.unsigned_abs());
        let may_be_zero = b.smin <= 0 && b.smax >= 0;
        let largest = a.smin.unsigned_abs().max(a.smax.unsigned_abs());
        let bound = if may_be_zero {
            largest
        } else {
            largest.min(divisor.saturating_sub(1))
        };
        let bound = i128::from(bound);
        let lo = if a.smin >= 0 { 0 } else { -bound };
        let hi = if a.smax < 0 { 0 } else { bound };
        match (fits(lo, bits), fits(hi, bits)) {
            (Some(lo), Some(hi)) => Interval::full(bits).signed(lo, hi),
            _ => Interval::full(bits),
        }
    }

    /// Bitwise and; what the known bits say is added by the caller.
    pub fn and(a: Interval, b: Interval, bits: u32) -> Interval {
        let mut r = Interval::full(bits).unsigned(0, a.umax.min(b.umax));
        if a.smax < 0 && b.smax < 0 {
            // Both negative: the result is negative and no greater than either.
            r = r
                .unsigned(0, low_mask(bits))
                .signed(signed_min(bits), a.smax.min(b.smax));
            r.umax = a.umax.min(b.umax);
        }
        r
    }

    /// Bitwise or.
    pub fn or(a: Interval, b: Interval, bits: u32) -> Interval {
        let r = Interval::full(bits).unsigned(a.umin.max(b.umin), low_mask(bits));
        if a.smin >= 0 && b.smin >= 0 {
            return r.signed(a.smin.max(b.smin), signed_max(bits));
        }
        if a.smax < 0 || b.smax < 0 {
            let lo = match (a.smax < 0, b.smax < 0) {
                (true, true) => a.smin.max(b.smin),
                (true, false) => a.smin,
                _ => b.smin,
            };
            return r.signed(lo, -1);
        }
        r
    }

    /// Left shift by `lo..=hi`, `hi` below the width.
    pub fn shl(a: Interval, lo: u32, hi: u32, bits: u32) -> Interval {
        let mut r = Interval::full(bits);
        let m = u128::from(low_mask(bits));
        if u128::from(a.umax) << hi <= m {
            r = r.unsigned(a.umin << lo, a.umax << hi);
        }
        if lo == hi {
            let ends = (
                fits(i128::from(a.smin) << hi, bits),
                fits(i128::from(a.smax) << hi, bits),
            );
            if let (Some(lo), Some(hi)) = ends {
                r = r.signed(lo, hi);
            }
        }
        r
    }

    /// Logical right shift by `lo..=hi`, `hi` below the width.
    pub fn shr(a: Interval, lo: u32, hi: u32, bits: u32) -> Interval {
        Interval::full(bits).unsigned(a.umin >> hi, a.umax >> lo)
    }

    /// Arithmetic right shift by `lo..=hi`, `hi` below the width.
    pub fn sar(a: Interval, lo: u32, hi: u32, bits: u32) -> Interval {
        let smin = if a.smin < 0 { a.smin >> lo } else { a.smin >> hi };
        let smax = if a.smax < 0 { a.smax >> hi } else { a.smax >> lo };
        Interval::full(bits).signed(smin, smax)
    }

    /// Numbers in both views that the other view excludes are removed. `false`: nothing is left.
    #[inline(always)]
    pub fn agree(&mut self, bits: u32) -> bool {
        let m = low_mask(bits);
        if self.umin > self.umax || self.smin > self.smax {
            return false;
        }
        let sign = signed_max(bits) as u64;
        if self.smin < 0 && self.smax >= 0 {
            // The unsigned interval may lie in one half, or one half may be excluded by the other view.
            let no_positive = self.umin > self.smax as u64;
            let no_negative = self.umax < self.smin as u64 & m;
            if no_positive && no_negative {
                return false;
            }
            if no_positive {
                self.smax = -1;
            } else if no_negative {
                self.smin = 0;
            }
        }
        if self.one_sign() {
            self.umin = self.umin.max(self.smin as u64 & m);
            self.umax = self.umax.min(self.smax as u64 & m);
        }
        if self.umin > self.umax {
            return false;
        }
        if (self.umin > sign) == (self.umax > sign) {
            self.smin = self.smin.max(sext(self.umin, bits));
            self.smax = self.smax.min(sext(self.umax, bits));
        }
        self.smin <= self.smax
    }

    /// Whether `x`, of the width, is inside.
    pub fn contains(&self, x: u64, bits: u32) -> bool {
        let s = sext(x, bits);
        self.umin <= x && x <= self.umax && self.smin <= s && s <= self.smax
    }
}

/// Least `x >= from` whose low `half` bits lie in `lo..=hi`; in 128 bits, so it may exceed the width.
pub(crate) fn next_with_low(from: i128, lo: u32, hi: u32, half: u32) -> i128 {
    let low = (from & low_mask(half) as i128) as u32;
    let high = from >> half;
    if low <= lo {
        (high << half) | i128::from(lo)
    } else if low <= hi {
        from
    } else {
        ((high + 1) << half) | i128::from(lo)
    }
}

/// Greatest `x <= from` whose low `half` bits lie in `lo..=hi`.
pub(crate) fn last_with_low(from: i128, lo: u32, hi: u32, half: u32) -> i128 {
    let low = (from & low_mask(half) as i128) as u32;
    let high = from >> half;
    if low >= hi {
        (high << half) | i128::from(hi)
    } else if low >= lo {
        from
    } else {
        ((high - 1) << half) | i128::from(hi)
    }
}
