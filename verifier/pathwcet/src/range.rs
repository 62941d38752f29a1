//! What is known of one unsigned 64-bit number: an interval, a stride, the bits that are fixed, and how many can be one.

/// lo ≤ v ≤ hi; v ≡ lo (mod stride); v & !unknown == bits; at most `ones` bits of v are one. Never empty: operations that would empty it give `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Least value.
    pub lo: u64,
    /// Greatest value.
    pub hi: u64,
    /// All values are `lo` plus a multiple of this; 0 where lo == hi, else at least 1.
    pub stride: u64,
    /// Values of the known bits.
    pub bits: u64,
    /// Mask of the bits that are not known.
    pub unknown: u64,
    /// Most bits that are one.
    pub ones: u32,
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// All bits below and at the highest set bit of `x`.
fn fill(x: u64) -> u64 {
    if x == 0 { 0 } else { u64::MAX >> x.leading_zeros() }
}

impl Range {
    /// Any number.
    pub const FULL: Range = Range {
        lo: 0,
        hi: u64::MAX,
        stride: 1,
        bits: 0,
        unknown: u64::MAX,
        ones: 64,
    };

    /// One number.
    pub const fn exact(v: u64) -> Range {
        Range {
            lo: v,
            hi: v,
            stride: 0,
            bits: v,
            unknown: 0,
            ones: v.count_ones(),
        }
    }

    /// lo..=hi.
    pub fn new(lo: u64, hi: u64) -> Option<Range> {
        Range {
            lo,
            hi,
            stride: 1,
            bits: 0,
            unknown: u64::MAX,
            ones: 64,
        }
        .tighten()
    }

    /// Numbers of `width` bits.
    pub fn below_bits(width: u8) -> Range {
        if width >= 64 {
            return Range::FULL;
        }
        let hi = (1u64 << width) - 1;
        Range {
            lo: 0,
            hi,
            stride: 1,
            bits: 0,
            unknown: hi,
            ones: width.into(),
        }
    }

    /// The one number, if there is but one.
    pub fn as_exact(self) -> Option<u64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// How many numbers, saturating.
    pub fn count(self) -> u64 {
        ((self.hi - self.lo) / self.stride.max(1)).saturating_add(1)
    }

    /// Makes the three parts agree; `None` if nothing is left.
    pub fn tighten(mut self) -> Option<Range> {
        if self.lo > self.hi {
            return None;
        }
        // Leading bits that all of lo..=hi share are known.
        let vary = fill(self.lo ^ self.hi);
        let shared = !vary;
        if (self.lo ^ self.bits) & shared & !self.unknown != 0 {
            return None;
        }
        self.bits |= self.lo & shared & self.unknown;
        self.unknown &= vary;
        self.raise(self.bits)?;
        self.hi = self.hi.min(self.bits | self.unknown);
        if self.lo > self.hi {
            return None;
        }
        let certain = (self.bits & !self.unknown).count_ones();
        self.ones = self.ones.min(certain + self.unknown.count_ones());
        if self.ones <= certain {
            // No unknown bit can be one.
            let only = self.bits & !self.unknown;
            let ok = self.ones == certain && self.lo <= only && only <= self.hi;
            return (ok && (only - self.lo) % self.stride.max(1) == 0).then(|| Range::exact(only));
        }
        if self.lo == self.hi {
            let ok = (self.lo ^ self.bits) & !self.unknown == 0 && self.lo.count_ones() <= self.ones;
            return ok.then(|| Range::exact(self.lo));
        }
        self.align()
    }

    /// Raises `lo` to the first number of the progression at or above `least`.
    fn raise(&mut self, least: u64) -> Option<()> {
        if least > self.lo {
            let step = self.stride.max(1);
            let over = (least - self.lo) % step;
            self.lo = if over == 0 {
                least
            } else {
                least.checked_add(step - over)?
            };
        }
        Some(())
    }

    /// Moves lo and hi onto the stride and onto the known low bits.
    fn align(mut self) -> Option<Range> {
        let low_known = self.unknown.trailing_zeros().min(63);
        let step = 1u64 << low_known;
        if low_known > 0 {
            let want = self.bits & (step - 1);
            let up = want.wrapping_sub(self.lo) & (step - 1);
            if self.stride <= 1 {
                self.lo = self.lo.checked_add(up)?;
                self.hi = self.hi.checked_sub(self.hi.wrapping_sub(want) & (step - 1))?;
                self.stride = step;
            }
        }
        self.stride = self.stride.max(1);
        if self.lo > self.hi {
            return None;
        }
        self.hi = self.lo + (self.hi - self.lo) / self.stride * self.stride;
        if self.lo == self.hi {
            Some(Range::exact(self.lo))
        } else {
            Some(self)
        }
    }

    /// Least range that holds both.
    pub fn join(self, other: Range) -> Range {
        let differ = (self.bits ^ other.bits) | self.unknown | other.unknown;
        let stride = gcd(gcd(self.stride, other.stride), self.lo.abs_diff(other.lo));
        let out = Range {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            stride,
            bits: self.bits & !differ,
            unknown: differ,
            ones: self.ones.max(other.ones),
        };
        out.tighten().unwrap_or(Range::FULL)
    }

    /// Numbers in both; the stride of the finer one is kept.
    pub fn meet(self, other: Range) -> Option<Range> {
        if (self.bits ^ other.bits) & !self.unknown & !other.unknown != 0 {
            return None;
        }
        let fine = if self.stride >= other.stride { self } else { other };
        let mut out = Range {
            lo: self.lo.max(other.lo),
            hi: self.hi.min(other.hi),
            stride: fine.stride,
            bits: self.bits | other.bits,
            unknown: self.unknown & other.unknown,
            ones: self.ones.min(other.ones),
        };
        if out.lo > out.hi {
            return None;
        }
        match fine.stride {
            0 => return self.contains(fine.lo).then_some(fine).filter(|f| other.contains(f.lo)),
            1 => {}
            s => {
                // Up to the next number of the finer progression.
                let off = (out.lo - fine.lo.min(out.lo)) % s;
                if out.lo > fine.lo && off != 0 {
                    out.lo = out.lo.checked_add(s - off)?;
                }
            }
        }
        out.tighten()
    }

    /// May be `v`.
    pub fn contains(self, v: u64) -> bool {
        self.lo <= v
            && v <= self.hi
            && (v ^ self.bits) & !self.unknown == 0
            && v.count_ones() <= self.ones
            && (self.stride <= 1 || (v - self.lo) % self.stride == 0)
    }

    /// Everything of `other` is in `self`.
    pub fn covers(self, other: Range) -> bool {
        self.lo <= other.lo
            && other.hi <= self.hi
            && other.unknown & !self.unknown == 0
            && other.ones <= self.ones
            && (other.bits ^ self.bits) & !self.unknown == 0
            && (self.stride <= 1
                || ((other.lo - self.lo) % self.stride == 0 && (other.stride == 0 || other.stride % self.stride == 0)))
    }

    /// Without `v`, where that can be said (at an end).
    pub fn without(self, v: u64) -> Option<Range> {
        if self.lo == self.hi {
            return (self.lo != v).then_some(self);
        }
        let step = self.stride.max(1);
        if v == self.lo {
            return Range {
                lo: self.lo + step,
                ..self
            }
            .tighten();
        }
        if v == self.hi {
            return Range {
                hi: self.hi - step,
                ..self
            }
            .tighten();
        }
        Some(self)
    }

    /// v + c where no value wraps.
    pub fn add_const(self, c: u64) -> Option<Range> {
        if c == 0 {
            return Some(self);
        }
        let (lo, hi) = (self.lo.wrapping_add(c), self.hi.wrapping_add(c));
        if lo > hi {
            return None;
        }
        let low = (1u64 << self.unknown.trailing_zeros().min(63)) - 1;
        let bits = self.bits.wrapping_add(c) & low;
        Range {
            lo,
            hi,
            stride: self.stride,
            bits,
            unknown: !low,
            ones: 64,
        }
        .tighten()
    }

    /// v + w where no value wraps.
    pub fn add(self, other: Range) -> Option<Range> {
        let (lo, hi) = (self.lo.checked_add(other.lo)?, self.hi.checked_add(other.hi)?);
        Range {
            lo,
            hi,
            stride: gcd(self.stride, other.stride),
            bits: 0,
            unknown: u64::MAX,
            ones: 64,
        }
        .tighten()
    }

    /// v & mask.
    pub fn and_const(self, mask: u64) -> Range {
        let out = Range {
            lo: 0,
            hi: self.hi.min(mask),
            stride: 1,
            bits: self.bits & mask,
            unknown: self.unknown & mask,
            ones: self.ones,
        };
        // A mask that keeps every possible value changes nothing.
        if (self.bits | self.unknown) & !mask == 0 {
            self
        } else {
            out.tighten().unwrap_or(Range::FULL)
        }
    }

    /// The bits of `mask`, a number of low bits; the rest cut off.
    pub fn low_bits(self, mask: u64) -> Range {
        if self.hi <= mask {
            return self;
        }
        let out = Range {
            ones: self.ones,
            ..Range::of_bits(self.bits & mask, self.unknown & mask)
        };
        out.tighten().unwrap_or(Range::FULL)
    }

    /// All numbers with these known bits.
    pub fn of_bits(bits: u64, unknown: u64) -> Range {
        Range {
            lo: bits & !unknown,
            hi: bits | unknown,
            stride: 1,
            bits: bits & !unknown,
            unknown,
            ones: 64,
        }
    }

    /// v ^ mask.
    pub fn eor_const(self, mask: u64) -> Range {
        let out = Range::of_bits((self.bits ^ mask) & !self.unknown, self.unknown);
        out.tighten().unwrap_or(Range::FULL)
    }

    /// v ^ w.
    pub fn eor(self, other: Range) -> Range {
        let unknown = self.unknown | other.unknown;
        let out = Range::of_bits((self.bits ^ other.bits) & !unknown, unknown);
        out.tighten().unwrap_or(Range::FULL)
    }

    /// v & (v − 1): one bit less.
    pub fn without_lowest_one(self) -> Range {
        let most = self.ones.saturating_sub(1);
        let out = Range {
            lo: 0,
            hi: self.hi,
            stride: 1,
            bits: 0,
            unknown: self.bits | self.unknown,
            ones: most,
        };
        out.tighten().unwrap_or(Range::FULL)
    }

    /// v | w.
    pub fn or(self, other: Range) -> Range {
        let known_ones = (self.bits & !self.unknown) | (other.bits & !other.unknown);
        let unknown = (self.unknown | other.unknown) & !known_ones;
        let top = fill(self.hi | other.hi);
        let out = Range {
            lo: self.lo.max(other.lo),
            hi: top,
            stride: 1,
            bits: (self.bits | other.bits) & !unknown,
            unknown,
            ones: 64,
        };
        out.tighten().unwrap_or(Range::FULL)
    }

    /// v << n where nothing is shifted out.
    pub fn shl(self, n: u32) -> Option<Range> {
        if n >= 64 || self.hi.leading_zeros() < n {
            return None;
        }
        let (lo, hi) = (self.lo << n, self.hi << n);
        Range {
            lo,
            hi,
            stride: self.stride << n,
            bits: self.bits << n,
            unknown: self.unknown << n,
            ones: self.ones,
        }
        .tighten()
    }

    /// v >> n.
    pub fn shr(self, n: u32) -> Range {
        if n >= 64 {
            return Range::exact(0);
        }
        let out = Range {
            lo: self.lo >> n,
            hi: self.hi >> n,
            stride: 1,
            bits: self.bits >> n,
            unknown: self.unknown >> n,
            ones: self.ones,
        };
        out.tighten().unwrap_or(Range::FULL)
    }

    /// v · c where nothing overflows.
    pub fn mul_const(self, c: u64) -> Option<Range> {
        let (lo, hi) = (self.lo.checked_mul(c)?, self.hi.checked_mul(c)?);
        Range {
            lo,
            hi,
            stride: self.stride.checked_mul(c)?,
            bits: 0,
            unknown: u64::MAX,
            ones: 64,
        }
        .tighten()
    }
}

#[cfg(test)]
mod tests;
