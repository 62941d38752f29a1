//! State of 32 interrupts, one bit each.

/// Implemented priority bits, the upper five of eight: what ICH_VTR_EL2.PRIbits of the cores we run on gives their list registers.
pub(super) const PRIORITY_MASK: u8 = 0xf8;

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
            priority: [0; 32],
        }
    }

    /// Pending here, not counting list registers.
    #[inline]
    pub const fn pending(&self) -> u32 {
        self.latch | (self.line & !self.edge)
    }

    /// Pending, enabled and not active: may go to a list register.
    #[inline]
    pub const fn deliverable(&self) -> u32 {
        self.pending() & self.enabled & !self.active
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

    #[inline]
    pub fn priority(&self, intid: u32) -> u8 {
        self.priority[intid as usize % 32]
    }

    pub fn set_priority(&mut self, intid: u32, value: u8) {
        self.priority[intid as usize % 32] = value & PRIORITY_MASK;
    }

    /// Level of `intid` in [`super::levels::Levels`].
    #[inline]
    pub fn level(&self, intid: u32) -> usize {
        usize::from(self.priority(intid) >> 3) << 1 | (self.group >> (intid & 31) & 1) as usize
    }

    /// GICx_ICFGR of interrupts 0–15 (`half` 0) or 16–31 (1): bit 2i+1 tells edge.
    pub fn config(&self, half: usize) -> u32 {
        let bits = (self.edge >> (16 * (half & 1))) & 0xffff;
        spread(bits) << 1
    }

    pub fn set_config(&mut self, half: usize, value: u32) {
        let shift = 16 * (half & 1);
        let writable = (0xffff << shift) & !self.fixed;
        let edges = gather(value >> 1) << shift;
        self.edge = (self.edge & !writable) | (edges & writable);
    }
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

    #[test]
    fn spread_and_gather_are_inverse() {
        for x in 0..=0xffff {
            assert_eq!(gather(spread(x)), x);
            assert_eq!(gather(spread(x) | 0xaaaa_aaaa), x);
        }
        assert_eq!(spread(0b1011), 0b0100_0101);
    }

    #[test]
    fn sgis_stay_edge_triggered() {
        let mut w = Word::new(0xffff);
        w.set_config(0, 0);
        assert_eq!(w.config(0), 0xaaaa_aaaa);
        w.set_config(1, 0x8000_0009);
        assert_eq!(w.config(1), 0x8000_0008);
        assert_eq!(w.edge, 0x8002_ffff);
    }
}
