//! List registers: format, the trait through which the hardware's are reached, and their image while a vCPU is off its CPU.

use super::{LRS_MAX, Port};

/// ICH_HCR_EL2 bits (IHI 0069H 12.4.4).
pub mod hcr {
    /// Virtual CPU interface on.
    pub const EN: u32 = 1 << 0;
    /// LRENP maintenance interrupt: EOIcount is not 0.
    pub const LRENPIE: u32 = 1 << 2;
    /// No-pending maintenance interrupt.
    pub const NPIE: u32 = 1 << 3;
    /// Trap of ICC_DIR_EL1.
    pub const TDIR: u32 = 1 << 14;
    /// Bits that [`super::LrFile::control`] sets and clears.
    pub const MANAGED: u32 = LRENPIE | NPIE | TDIR;
    /// EOIcount.
    pub const EOI_COUNT_SHIFT: u32 = 27;
}

/// Value of a list register, ICH_LR<n>_EL2 (IHI 0069H 12.4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Lr(pub u64);

const PENDING: u64 = 1 << 62;
const ACTIVE: u64 = 1 << 63;
const HW: u64 = 1 << 61;
const GROUP: u64 = 1 << 60;
const PRIORITY_SHIFT: u32 = 48;
const PINTID_SHIFT: u32 = 32;
/// With HW = 0: maintenance interrupt at deactivation.
const EOI: u64 = 1 << 41;

impl Lr {
    /// A pending interrupt. `hw`: linked to the physical interrupt of the same number.
    #[inline]
    pub const fn pending(intid: u32, priority: u8, group1: bool, hw: bool, eoi: bool) -> Self {
        let mut v = PENDING | intid as u64 | (priority as u64) << PRIORITY_SHIFT;
        if group1 {
            v |= GROUP;
        }
        if hw {
            v |= HW | (intid as u64) << PINTID_SHIFT;
        } else if eoi {
            v |= EOI;
        }
        Self(v)
    }

    /// INTID the guest sees.
    #[inline]
    pub const fn intid(self) -> u32 {
        self.0 as u32
    }

    /// Pending, or pending and active.
    #[inline]
    pub const fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    /// Active, or pending and active.
    #[inline]
    pub const fn is_active(self) -> bool {
        self.0 & ACTIVE != 0
    }

    /// Linked to a physical interrupt.
    #[inline]
    pub const fn is_hw(self) -> bool {
        self.0 & HW != 0
    }

    /// Group 1.
    #[inline]
    pub const fn is_group1(self) -> bool {
        self.0 & GROUP != 0
    }

    /// Priority, 0 (highest) to 0xff.
    #[inline]
    pub const fn priority(self) -> u8 {
        (self.0 >> PRIORITY_SHIFT) as u8
    }

    /// Deactivated, and the hardware waits for us to take note.
    #[inline]
    pub const fn is_finished(self) -> bool {
        self.0 & (PENDING | ACTIVE | HW | EOI) == EOI
    }

    /// As ICH_ELRSR_EL2 defines it: free for use.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 & (PENDING | ACTIVE) == 0 && !self.is_finished()
    }

    pub(super) const fn with_pending(self) -> Self {
        Self(self.0 | PENDING)
    }

    pub(super) const fn without_pending(self) -> Self {
        Self(self.0 & !PENDING)
    }

    pub(super) const fn without_active(self) -> Self {
        Self(self.0 & !ACTIVE)
    }

    pub(super) const fn with_active(self) -> Self {
        Self(self.0 | ACTIVE)
    }

    pub(super) const fn with_eoi(self) -> Self {
        if self.is_hw() { self } else { Self(self.0 | EOI) }
    }

    pub(super) const fn with_rank(self, priority: u8, group1: bool) -> Self {
        let v = self.0 & !(GROUP | 0xff << PRIORITY_SHIFT) | (priority as u64) << PRIORITY_SHIFT;
        Self(if group1 { v | GROUP } else { v })
    }

    #[inline]
    pub(super) const fn level(self) -> usize {
        ((self.priority() >> 3) as usize) << 1 | self.is_group1() as usize
    }
}

/// The list registers of a vCPU. `hyp-el2` implements it on ICH_LR<n>_EL2 for the vCPU that runs; [`SavedLrs`] is the other one.
///
/// `n` is below [`LRS_MAX`]; an implementation ignores registers that it does not have.
pub trait LrFile {
    /// Bits of the list registers that exist.
    fn usable(&self) -> u32;
    /// ICH_ELRSR_EL2.
    fn empty(&self) -> u32;
    /// ICH_LR<n>_EL2.
    fn read(&self, n: usize) -> Lr;
    /// Writes ICH_LR<n>_EL2.
    fn write(&mut self, n: usize, lr: Lr);
    /// Makes the [`hcr::MANAGED`] bits of ICH_HCR_EL2 equal to `bits`. Called only on a change.
    fn control(&mut self, bits: u32);
    /// ICH_HCR_EL2.EOIcount, set to 0.
    fn take_eoi_count(&mut self) -> u32;
    /// Deactivates a physical interrupt (ICC_DIR_EL1).
    fn deactivate(&mut self, pintid: u32);
}

/// List registers and ICH_HCR_EL2 of a vCPU that is not on a CPU.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct SavedLrs {
    /// List registers that are not empty.
    full: u32,
    /// Managed bits of ICH_HCR_EL2, EOIcount, and [`MORE`] in place of En.
    hcr: u32,
    usable: u32,
    /// Active bits of linked PPIs, as in GICR_ISACTIVER0.
    active: u32,
    /// ICH_LR<n>_EL2 of those in `full`.
    lr: [Lr; LRS_MAX],
    /// Physical interrupts below 64 × this array's words to deactivate when the vCPU is loaded (bit = INTID): the CPU whose state they are is another.
    deactivate: [u64; super::INTIDS.div_ceil(64)],
}

/// Something is in `active` or `deactivate`.
const MORE: u32 = hcr::EN;
/// Most interrupts that one switch deactivates: more are rare, and wait for the next.
const GIVE_UP_MAX: usize = 4;

impl SavedLrs {
    /// All empty.
    pub const fn new(usable: u32) -> Self {
        Self {
            full: 0,
            hcr: 0,
            usable,
            active: 0,
            lr: [Lr(0); LRS_MAX],
            deactivate: [0; super::INTIDS.div_ceil(64)],
        }
    }

    /// What was saved has been loaded: nothing is left here while the vCPU runs, nor after it if it leaves nothing.
    #[inline]
    pub const fn loaded(&mut self) {
        self.full = 0;
        self.hcr &= MORE;
    }

    /// The list registers `full` are saved, those of the CPU that are not empty; `hcr` is ICH_HCR_EL2, `active` those of GICR_ISACTIVER0's
    /// bits that go with the vCPU. What is in the list registers follows by [`Self::put`].
    #[inline]
    pub const fn save(&mut self, full: u32, hcr: u32, active: u32) {
        self.full = full;
        self.active = active;
        self.hcr = hcr & !hcr::EN | self.hcr & MORE;
        if active != 0 {
            self.hcr |= MORE;
        }
    }

    /// Saves one.
    #[inline(always)]
    pub const fn put(&mut self, n: usize, lr: Lr) {
        self.lr[n % LRS_MAX] = lr;
    }

    /// List registers that hold something.
    #[inline(always)]
    pub const fn full(&self) -> u32 {
        self.full
    }

    /// What one of [`Self::full`] holds.
    #[inline(always)]
    pub const fn get(&self, n: usize) -> Lr {
        self.lr[n % LRS_MAX]
    }

    /// ICH_HCR_EL2 for this vCPU.
    #[inline(always)]
    pub const fn hcr(&self) -> u32 {
        self.hcr | hcr::EN
    }

    /// True if nothing but empty list registers and an idle ICH_HCR_EL2 need loading, which is usual.
    #[inline(always)]
    pub const fn is_quiet(&self) -> bool {
        self.full | self.hcr == 0
    }

    /// What else is to be done when the vCPU is loaded: the bits for GICR_ISACTIVER0, and physical interrupts to deactivate, `f` for each,
    /// at most [`GIVE_UP_MAX`].
    #[inline(always)]
    pub fn take_more(&mut self, mut f: impl FnMut(u32)) -> u32 {
        if self.hcr & MORE == 0 {
            return 0;
        }
        for _ in 0..GIVE_UP_MAX {
            let mut all = 0;
            for (base, word) in (0u32..).step_by(64).zip(self.deactivate.iter_mut()) {
                if all == 0 && *word != 0 {
                    f(base + word.trailing_zeros());
                    *word &= *word - 1;
                }
                all |= *word;
            }
            if all == 0 {
                self.hcr &= !MORE;
                break;
            }
        }
        core::mem::take(&mut self.active)
    }
}

impl LrFile for SavedLrs {
    #[inline]
    fn usable(&self) -> u32 {
        self.usable
    }

    #[inline]
    fn empty(&self) -> u32 {
        self.usable & !self.full
    }

    #[inline]
    fn read(&self, n: usize) -> Lr {
        if self.full >> (n % LRS_MAX) & 1 != 0 {
            self.lr[n % LRS_MAX]
        } else {
            Lr(0)
        }
    }

    #[inline]
    fn write(&mut self, n: usize, lr: Lr) {
        let n = n % LRS_MAX;
        self.lr[n] = lr;
        self.full = self.full & !(1 << n) | u32::from(!lr.is_empty()) << n;
    }

    #[inline]
    fn control(&mut self, bits: u32) {
        self.hcr = (self.hcr & !hcr::MANAGED) | bits;
    }

    #[inline]
    fn take_eoi_count(&mut self) -> u32 {
        let count = self.hcr >> hcr::EOI_COUNT_SHIFT;
        self.hcr &= (1 << hcr::EOI_COUNT_SHIFT) - 1;
        count
    }

    #[inline]
    fn deactivate(&mut self, pintid: u32) {
        if let Some(word) = self.deactivate.get_mut(pintid as usize / 64) {
            *word |= 1 << (pintid % 64);
            self.hcr |= MORE;
        }
    }
}

impl<L: LrFile> LrFile for Port<'_, L> {
    #[inline]
    fn usable(&self) -> u32 {
        match self {
            Port::Live(l) => l.usable(),
            Port::Saved(s) => s.usable(),
        }
    }

    #[inline]
    fn empty(&self) -> u32 {
        match self {
            Port::Live(l) => l.empty(),
            Port::Saved(s) => s.empty(),
        }
    }

    #[inline]
    fn read(&self, n: usize) -> Lr {
        match self {
            Port::Live(l) => l.read(n),
            Port::Saved(s) => s.read(n),
        }
    }

    #[inline]
    fn write(&mut self, n: usize, lr: Lr) {
        match self {
            Port::Live(l) => l.write(n, lr),
            Port::Saved(s) => s.write(n, lr),
        }
    }

    #[inline]
    fn control(&mut self, bits: u32) {
        match self {
            Port::Live(l) => l.control(bits),
            Port::Saved(s) => s.control(bits),
        }
    }

    #[inline]
    fn take_eoi_count(&mut self) -> u32 {
        match self {
            Port::Live(l) => l.take_eoi_count(),
            Port::Saved(s) => s.take_eoi_count(),
        }
    }

    #[inline]
    fn deactivate(&mut self, pintid: u32) {
        match self {
            Port::Live(l) => l.deactivate(pintid),
            Port::Saved(s) => s.deactivate(pintid),
        }
    }
}
