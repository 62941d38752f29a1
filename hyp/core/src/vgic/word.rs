//! State of 32 interrupts, one bit each.

/// Implemented priority bits, the upper five of eight: what ICH_VTR_EL2.PRIbits of the cores we run on gives their list registers.
pub(super) const PRIORITY_MASK: u8 = 0xf8;
/// Those bits.
const PLANES: usize = PRIORITY_MASK.count_ones() as usize;

#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Word {
    pub group: u32,
    pub enabled: u32,
    /// Pending by an edge or by ISPENDR, and not in a list register.
    pub latch: u32,
    /// Active and not in a list register.
    pub active: u32,
    /// Edge-triggered.
    pub edge: u32,
    /// Interrupts whose configuration cannot be changed (SGIs).
    fixed: u32,
    /// Input line of the device is high.
    pub line: u32,
    /// The pending state that a list register carries came from `latch`, so it outlives the line.
    pub moved: u32,
    /// Linked to the physical interrupt of the same number.
    pub hw: u32,
    /// Private, or routed here.
    pub here: u32,
    /// Bit i of plane p: bit 7 − p of the priority of interrupt i. So the highest of 32 is found in a few steps.
    planes: [u32; PLANES],
    priority: [u8; 32],
}

impl Word {
    /// As after reset; `sgis` are those that are always edge-triggered.
    pub const fn new(sgis: u32) -> Self {
        Self {
            group: 0,
            enabled: 0,
            latch: 0,
            active: 0,
            edge: sgis,
            fixed: sgis,
            line: 0,
            moved: 0,
            hw: 0,
            here: u32::MAX,
            planes: [0; PLANES],
            priority: [0; 32],
        }
    }

    /// Pending here, not counting list registers.
    #[inline]
    pub const fn pending(&self) -> u32 {
        self.latch | (self.line & !self.edge)
    }

    /// Pending, enabled, routed here and not active: may go to a list register.
    #[inline]
    pub const fn deliverable(&self) -> u32 {
        self.pending() & self.enabled & self.here & !self.active
    }

    /// Pending by its line alone: needs no latch.
    #[inline]
    pub const fn held_by_line(&self) -> u32 {
        self.line & !self.edge
    }

    /// Enables `bits` unless something becomes deliverable by it: false, and nothing is done.
    #[inline(always)]
    pub const fn enable_quiet(&mut self, bits: u32) -> bool {
        if self.pending() & bits & !self.enabled != 0 {
            return false;
        }
        self.enabled |= bits;
        true
    }

    /// Those of a group that is on, bits of `groups` as in GICD_CTLR.
    #[inline]
    pub const fn of_groups(&self, groups: u32) -> u32 {
        (self.group & Self::mask(groups >> 1)) | (!self.group & Self::mask(groups))
    }

    /// All bits like bit 0.
    #[inline]
    const fn mask(bit: u32) -> u32 {
        0u32.wrapping_sub(bit & 1)
    }

    #[inline]
    pub fn priority(&self, intid: u32) -> u8 {
        self.priority[intid as usize % 32]
    }

    /// Priorities of the four interrupts from `first`, a multiple of four, as GICx_IPRIORITYR shows them.
    pub fn priorities(&self, first: u32) -> u32 {
        let at = |i: u32| self.priority(first + i);
        u32::from_le_bytes([at(0), at(1), at(2), at(3)])
    }

    /// Sets those of the four from `first` on that `which` names, one bit each.
    pub fn set_priorities(&mut self, first: u32, which: u32, value: u32) {
        let first = first & 28;
        let bytes = (value & u32::from_le_bytes([PRIORITY_MASK; 4])).to_le_bytes();
        for (i, byte) in (0..4).zip(bytes) {
            if which >> i & 1 != 0 {
                self.priority[(first + i) as usize % 32] = byte;
            }
        }
        let bits = (which & 0xf) << first;
        for (plane, shift) in self.planes.iter_mut().zip((0..8).rev()) {
            *plane = *plane & !bits | lowest_bits(value >> shift) << first & bits;
        }
    }

    /// Rank and bit of the highest of `set`, which is not empty: the lower, the higher. Rank is priority × 2 + group.
    #[inline]
    pub fn highest(&self, set: u32) -> (u32, u32) {
        let [a, b, c, d, e] = self.planes;
        let mut at = (0, set);
        for plane in [a, b, c, d, e, self.group] {
            let (rank, left) = at;
            let clear = left & !plane;
            at = if clear != 0 {
                (rank << 1, clear)
            } else {
                (rank << 1 | 1, left)
            };
        }
        (at.0, at.1.trailing_zeros())
    }

    /// GICx_ICFGR of interrupts 0–15 (`half` 0) or 16–31 (1): bit 2i+1 tells edge.
    pub fn config(&self, half: u32) -> u32 {
        let bits = (self.edge >> (16 * (half & 1))) & 0xffff;
        spread(bits) << 1
    }

    /// Interrupts whose trigger GICx_ICFGR = `value` changes.
    pub fn config_changes(&self, half: u32, value: u32) -> u32 {
        let shift = 16 * (half & 1);
        let writable = (0xffff << shift) & !self.fixed;
        (self.edge ^ gather(value >> 1) << shift) & writable
    }
}

/// Bit 0 of each byte, as four bits.
const fn lowest_bits(x: u32) -> u32 {
    (x & 0x0101_0101).wrapping_mul(1 << 24 | 1 << 17 | 1 << 10 | 1 << 3) >> 24 & 0xf
}

/// Bit i of the low half to bit 2i.
const fn spread(x: u32) -> u32 {
    let x = (x | x << 8) & 0x00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f;
    let x = (x | x << 2) & 0x3333_3333;
    (x | x << 1) & 0x5555_5555
}

/// Bit 2i to bit i.
const fn gather(x: u32) -> u32 {
    let x = x & 0x5555_5555;
    let x = (x | x >> 1) & 0x3333_3333;
    let x = (x | x >> 2) & 0x0f0f_0f0f;
    let x = (x | x >> 4) & 0x00ff_00ff;
    (x | x >> 8) & 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testrng::{Rng, steps};

    #[test]
    fn spread_and_gather_are_inverse() {
        for x in 0..=0xffff {
            assert_eq!(gather(spread(x)), x);
            assert_eq!(gather(spread(x) | 0xaaaa_aaaa), x);
        }
        assert_eq!(spread(0b1011), 0b0100_0101);
        for x in 0..16 {
            let bytes = [x & 1, x >> 1 & 1, x >> 2 & 1, x >> 3 & 1].map(|b| b as u8 | 0xfe);
            assert_eq!(lowest_bits(u32::from_le_bytes(bytes)), x);
        }
    }

    #[test]
    fn sgis_stay_edge_triggered() {
        let mut w = Word::new(0xffff);
        assert_eq!(w.config_changes(0, 0), 0);
        assert_eq!(w.config(0), 0xaaaa_aaaa);
        w.edge ^= w.config_changes(1, 0x8000_0009);
        assert_eq!(w.config(1), 0x8000_0008);
        assert_eq!(w.edge, 0x8002_ffff);
    }

    #[test]
    fn the_highest_is_that_of_least_priority_then_group_then_number() {
        let mut rng = Rng::new("word", 3);
        let mut w = Word::new(0);
        for _ in 0..steps(20_000) {
            let value = rng.next() as u32 & rng.next() as u32;
            w.set_priorities(rng.below(32) as u32, rng.below(16) as u32, value);
            w.group = rng.next() as u32;
            let set = rng.next() as u32 & rng.next() as u32;
            let ranked = |i: &u32| (u32::from(w.priority(*i) >> 3) << 1 | w.group >> i & 1, *i);
            if let Some(best) = (0..32).filter(|i| set >> i & 1 != 0).map(|i| ranked(&i)).min() {
                assert_eq!(w.highest(set), best);
            }
        }
    }
}
