//! List registers: format, the trait through which the hardware's are reached, and their image while a vCPU is off its CPU.

use super::LRS_MAX;

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

    pub(super) const fn with_eoi(self) -> Self {
        if self.is_hw() { self } else { Self(self.0 | EOI) }
    }

    pub(super) const fn with_group(self, group1: bool) -> Self {
        Self(self.0 & !GROUP | if group1 { GROUP } else { 0 })
    }

    /// As [`super::word::Word::highest`] ranks.
    #[inline]
    pub(super) const fn rank(self) -> u32 {
        ((self.priority() >> 3) as u32) << 1 | self.is_group1() as u32
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
    /// True if ICH_HCR_EL2.EOIcount is not 0; then it becomes one less.
    fn take_eoi(&mut self) -> bool;
    /// Sets ICH_HCR_EL2.EOIcount to 0.
    fn forget_eois(&mut self);
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
}

/// Something is in `active`.
const MORE: u32 = hcr::EN;

impl SavedLrs {
    /// All empty.
    pub const fn new(usable: u32) -> Self {
        Self {
            full: 0,
            hcr: 0,
            usable,
            active: 0,
            lr: [Lr(0); LRS_MAX],
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

    /// What else is to be done when the vCPU is loaded: the bits for GICR_ISACTIVER0.
    #[inline(always)]
    pub const fn take_active(&mut self) -> u32 {
        self.hcr &= !MORE;
        core::mem::replace(&mut self.active, 0)
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
    fn take_eoi(&mut self) -> bool {
        let some = self.hcr >> hcr::EOI_COUNT_SHIFT != 0;
        if some {
            self.hcr -= 1 << hcr::EOI_COUNT_SHIFT;
        }
        some
    }

    #[inline]
    fn forget_eois(&mut self) {
        self.hcr &= (1 << hcr::EOI_COUNT_SHIFT) - 1;
    }

    /// Of a private interrupt: it is not made active again. Any other is active in the distributor: see [`Off`].
    #[inline]
    fn deactivate(&mut self, pintid: u32) {
        if pintid < 32 {
            self.active &= !(1 << pintid);
        }
    }
}

/// List registers of a vCPU that is not on a CPU, and those of the CPU.
pub(super) struct Off<'a, L> {
    pub saved: &'a mut SavedLrs,
    pub live: &'a mut L,
}

impl<L: LrFile> LrFile for Off<'_, L> {
    #[inline]
    fn usable(&self) -> u32 {
        self.saved.usable()
    }

    #[inline]
    fn empty(&self) -> u32 {
        self.saved.empty()
    }

    #[inline]
    fn read(&self, n: usize) -> Lr {
        self.saved.read(n)
    }

    #[inline]
    fn write(&mut self, n: usize, lr: Lr) {
        self.saved.write(n, lr);
    }

    #[inline]
    fn control(&mut self, bits: u32) {
        self.saved.control(bits);
    }

    #[inline]
    fn take_eoi(&mut self) -> bool {
        self.saved.take_eoi()
    }

    #[inline]
    fn forget_eois(&mut self) {
        self.saved.forget_eois();
    }

    /// A shared interrupt may be deactivated by any CPU (IHI 0069H 4.1.1), whether or not its vCPU runs; the private ones of a vCPU that
    /// does not run were made inactive when it left.
    #[inline]
    fn deactivate(&mut self, pintid: u32) {
        if pintid < 32 {
            self.saved.deactivate(pintid);
        } else {
            self.live.deactivate(pintid);
        }
    }
}
