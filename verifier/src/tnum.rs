//! Tristate numbers: per bit 0, 1 or unknown. Arithmetic is modulo 2^64; callers truncate to their width.
//!
//! The addition, subtraction and multiplication are those of Vishwanathan et al., "Sound, Precise, and Fast Abstract
//! Interpretation with Tristate Numbers" (CGO 2022), which proves them sound.

/// A set of numbers: all `x` with `x & !mask == value`. `value & mask` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tnum {
    /// Known bits.
    pub value: u64,
    /// Unknown bits.
    pub mask: u64,
}

impl Tnum {
    /// Every number.
    pub const UNKNOWN: Tnum = Tnum {
        value: 0,
        mask: u64::MAX,
    };

    /// Only `value`.
    pub const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// The one number, if it is one.
    pub const fn as_constant(self) -> Option<u64> {
        if self.mask == 0 { Some(self.value) } else { None }
    }

    /// The smallest tnum that holds every number of `min..=max`.
    pub const fn range(min: u64, max: u64) -> Tnum {
        let differ = min ^ max;
        if differ == 0 {
            return Tnum::constant(min);
        }
        let mask = u64::MAX >> differ.leading_zeros();
        Tnum {
            value: min & !mask,
            mask,
        }
    }

    /// Whether `x` is in the set.
    pub const fn contains(self, x: u64) -> bool {
        x & !self.mask == self.value
    }

    /// Whether every number of `self` is in `other`.
    pub const fn subset(self, other: Tnum) -> bool {
        self.mask & !other.mask == 0 && self.value & !other.mask == other.value
    }

    /// The low `bits` bits, zero-extended.
    pub const fn low(self, bits: u32) -> Tnum {
        let keep = low_mask(bits);
        Tnum {
            value: self.value & keep,
            mask: self.mask & keep,
        }
    }

    /// Numbers in both; `None` if there is none.
    pub const fn intersect(self, other: Tnum) -> Option<Tnum> {
        if (self.value ^ other.value) & !self.mask & !other.mask != 0 {
            return None;
        }
        let mask = self.mask & other.mask;
        Some(Tnum {
            value: (self.value | other.value) & !mask,
            mask,
        })
    }

    /// The smallest tnum that holds both.
    pub const fn join(self, other: Tnum) -> Tnum {
        let mask = self.mask | other.mask | (self.value ^ other.value);
        Tnum {
            value: self.value & !mask,
            mask,
        }
    }

    /// Sum.
    pub const fn add(self, other: Tnum) -> Tnum {
        let sum = self.value.wrapping_add(other.value);
        let carries = sum.wrapping_add(self.mask).wrapping_add(other.mask) ^ sum;
        let mask = carries | self.mask | other.mask;
        Tnum {
            value: sum & !mask,
            mask,
        }
    }

    /// Difference.
    pub const fn sub(self, other: Tnum) -> Tnum {
        let difference = self.value.wrapping_sub(other.value);
        let borrows = difference.wrapping_add(self.mask) ^ difference.wrapping_sub(other.mask);
        let mask = borrows | self.mask | other.mask;
        Tnum {
            value: difference & !mask,
            mask,
        }
    }

    /// Bitwise and.
    pub const fn and(self, other: Tnum) -> Tnum {
        let value = self.value & other.value;
        let maybe = (self.value | self.mask) & (other.value | other.mask);
        Tnum {
            value,
            mask: maybe & !value,
        }
    }

    /// Bitwise or.
    pub const fn or(self, other: Tnum) -> Tnum {
        let value = self.value | other.value;
        Tnum {
            value,
            mask: (self.mask | other.mask) & !value,
        }
    }

    /// Bitwise exclusive or.
    pub const fn xor(self, other: Tnum) -> Tnum {
        let mask = self.mask | other.mask;
        Tnum {
            value: (self.value ^ other.value) & !mask,
            mask,
        }
    }

    /// Left shift by less than 64.
    pub const fn shl(self, by: u32) -> Tnum {
        Tnum {
            value: self.value << by,
            mask: self.mask << by,
        }
    }

    /// Right shift by less than 64.
    pub const fn shr(self, by: u32) -> Tnum {
        Tnum {
            value: self.value >> by,
            mask: self.mask >> by,
        }
    }

    /// Sign extension from the low `bits` bits, 1 to 64.
    pub const fn sign_extend(self, bits: u32) -> Tnum {
        let up = 64 - bits;
        Tnum {
            value: (((self.value << up) as i64) >> up) as u64,
            mask: (((self.mask << up) as i64) >> up) as u64,
        }
    }

    /// Product. At most 64 rounds.
    pub const fn mul(self, other: Tnum) -> Tnum {
        let certain = Tnum::constant(self.value.wrapping_mul(other.value));
        let mut a = self;
        let mut b = other;
        let mut unsure = Tnum::constant(0);
        while a.value | a.mask != 0 {
            if a.value & 1 != 0 {
                unsure = unsure.add(Tnum { value: 0, mask: b.mask });
            } else if a.mask & 1 != 0 {
                unsure = unsure.add(Tnum {
                    value: 0,
                    mask: b.value | b.mask,
                });
            }
            a = a.shr(1);
            b = b.shl(1);
        }
        certain.add(unsure)
    }
}

/// The low `bits` bits set, `bits` up to 64.
pub const fn low_mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}
