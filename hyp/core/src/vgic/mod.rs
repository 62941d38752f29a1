//! Virtual GICv3 (Arm IHI 0069H) of one vCPU, and of its VM's shared interrupts if it is the first: distributor and redistributor by emulation,
//! CPU interface by the list registers of the hardware.
//!
//! The guest sees a GICv3 with one security state (GICD_CTLR.DS = 1), affinity routing only, [`SPIS`] SPIs, no LPIs and no extended
//! ranges, as QEMU `virt` shows it. Interrupts reset to group 0, disabled, priority 0, level-triggered (SGIs: edge).
//!
//! # Where an interrupt's state lives
//! * Enable, group, configuration, priority and input line: always in its [`Word`].
//! * Pending and active: in the list register that holds the interrupt, else in the `Word`.
//! * Deliverable, but without a list register: nothing but that; the words that may have such are known. While there are any, the no-pending
//!   maintenance interrupt is on, and each one puts the highest of them into a list register. None outranks what is pending in one.
//! * Active without a list register (more active interrupts than list registers): "parked". EOIcount and a trap of
//!   ICC_DIR_EL1 tell when one ends.
//!
//! # Bounded work
//! A register access, an interrupt, a maintenance interrupt each do one thing whose length does not depend on how many interrupts it concerns:
//! words of 32 interrupts are changed as words, and loops are over the list registers or the words. A write that may change who comes first
//! only takes what is pending out of the list registers; the maintenance interrupt that is due then chooses.
//!
//! Books about list registers are cleaned lazily: a list register whose interrupt the guest has finished still carries its id here
//! until it is used again; ICH_ELRSR_EL2 tells which are really empty. So nothing is read on an exit that needs nothing.
//!
//! GICR_WAKER is a plain register: a sleeping redistributor still delivers, as in QEMU.

mod books;
mod dist;
#[cfg(test)]
mod hw;
mod lr;
mod redist;
mod sgi;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
mod word;
mod writes;

pub use lr::{Lr, LrFile, SavedLrs, hcr};
pub use sgi::{SgiKind, intid as sgi_intid, is_for_first_only, one_target, targets};

use books::Books;
use lr::Port;

/// Words of 32 shared interrupts.
pub const SPI_WORDS: usize = 8;
/// Shared interrupts, INTIDs 32 up: what QEMU `virt` has.
pub const SPIS: usize = 32 * SPI_WORDS;
/// Words of one vCPU's view: private and shared.
pub const WORDS: usize = 1 + SPI_WORDS;
/// INTIDs of one vCPU's view.
pub const INTIDS: usize = 32 * WORDS;
/// List registers that are used. The architecture allows sixteen; every GICv3 core we know has these four, and more would lengthen
/// every switch and every search.
pub const LRS_MAX: usize = 4;
/// Bytes of one redistributor: RD and SGI frame.
pub const REDIST_BYTES: u64 = 0x2_0000;
/// Bytes of the distributor.
pub const DIST_BYTES: u64 = 0x1_0000;

/// The interrupt controller as one vCPU sees it. What every switch looks at comes first: it is reached with a short offset.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Vgic {
    /// The list registers while the vCPU is not on a CPU.
    saved: SavedLrs,
    books: Books,
    /// GICR_WAKER.ProcessorSleep.
    asleep: bool,
    /// Affinity of the vCPU.
    first: u32,
    /// vCPUs of the whole VM. Shared interrupts routed to any of them come to the first.
    total: u32,
    /// SPIs that are edge-triggered from reset on.
    edges: [u32; SPI_WORDS],
    /// GICD_IROUTER Aff2.Aff1.Aff0 of each SPI.
    route: [u32; SPIS],
}

/// What a vCPU has in the hardware when it leaves its CPU. If that is nothing, its saved list registers are quiet already.
#[derive(Clone, Copy)]
pub struct Leaving {
    /// List registers that are not empty.
    pub full: u32,
    /// Managed bits of ICH_HCR_EL2: what it says is of use only if there are some.
    pub control: u32,
    /// Private interrupts linked to physical ones, pending or active outside list registers.
    pub linked: u32,
}

impl Vgic {
    /// As after reset, on hardware whose list registers are the bits of `usable`; the only vCPU of its VM.
    pub const fn new(usable: u32) -> Self {
        Self {
            saved: SavedLrs::new(usable),
            books: Books::new(),
            asleep: true,
            first: 0,
            total: 1,
            edges: [0; SPI_WORDS],
            route: [0; SPIS],
        }
    }

    /// Makes this that of the vCPU of affinity `first` of a VM with `total` vCPUs.
    pub const fn set_place(&mut self, first: u32, total: u32) {
        self.first = first;
        self.total = total;
    }

    /// The private part as after reset: its vCPU starts.
    pub fn restart(&mut self) {
        self.books.restart();
        self.saved = SavedLrs::new(self.saved.usable());
        self.asleep = true;
    }

    /// All of it as after reset: its VM starts again. Links to physical interrupts stay, and edges that are from reset on.
    pub fn reset(&mut self) {
        self.restart();
        for (w, edge) in (1..WORDS).zip(self.edges) {
            let hw = self.books.word(w).hw;
            self.books.set_parked(w, 0);
            let word = self.books.word_mut(w);
            *word = word::Word::new(0);
            (word.hw, word.edge) = (hw, edge);
        }
        self.route = [0; SPIS];
    }

    /// GICD_CTLR's enables.
    pub const fn groups(&self) -> u32 {
        self.books.groups()
    }

    /// Marks `intid` as backed by the physical interrupt of the same number: its list register is linked to it, and the guest's
    /// deactivation deactivates both.
    pub fn link_hardware(&mut self, intid: u32) {
        let (w, bit) = split(intid);
        if w < WORDS {
            self.books.word_mut(w).hw |= bit;
        }
        if w == 0 {
            self.books.learn_entry(intid);
        }
    }

    /// Marks SPI `intid` as edge-triggered from reset on.
    pub fn set_edge(&mut self, intid: u32) {
        let (w, bit) = split(intid);
        if let Some(edges) = w.checked_sub(1).and_then(|i| self.edges.get_mut(i)) {
            *edges |= bit;
            self.books.word_mut(w).edge |= bit;
        }
    }

    /// The list registers as last saved; el2 fills and drains them at a world switch.
    #[inline]
    pub const fn saved(&mut self) -> &mut SavedLrs {
        &mut self.saved
    }

    /// Before the vCPU, whose list registers the hardware has, leaves its CPU: what must be saved of it. `empty` is ICH_ELRSR_EL2.
    #[inline(always)]
    pub const fn leave(&self, empty: u32) -> Leaving {
        let word = self.books.word(0);
        Leaving {
            full: self.books.used() & !empty,
            control: self.books.control(),
            linked: word.hw & (word.latch | word.active),
        }
    }

    /// The books, and the list registers they are of: `live`, if the vCPU is `loaded`.
    #[inline(always)]
    const fn port<'a, L: LrFile>(&'a mut self, loaded: bool, live: &'a mut L) -> (&'a mut Books, Port<'a, L>) {
        let saved = if loaded { None } else { Some(&mut self.saved) };
        (&mut self.books, Port { live, saved })
    }

    /// An edge on `intid`. *Hot* for a private interrupt of the vCPU that runs. For a linked interrupt: the physical one was acknowledged.
    /// `loaded`: the vCPU's list registers are `live`; else they are the saved ones. INTIDs that do not exist change nothing.
    #[inline(always)]
    pub fn raise<L: LrFile>(&mut self, intid: u32, loaded: bool, live: &mut L) {
        if intid < 32 && loaded && self.books.raise_own(intid, live) {
            return;
        }
        self.raise_slow(intid, loaded, live);
    }

    #[inline(never)]
    fn raise_slow<L: LrFile>(&mut self, intid: u32, loaded: bool, live: &mut L) {
        let (books, mut port) = self.port(loaded, live);
        books.raise(intid, &mut port);
    }

    /// The input line of a device goes to `high` on SPI `intid`.
    pub fn set_line<L: LrFile>(&mut self, intid: u32, high: bool, loaded: bool, live: &mut L) {
        let (w, bit) = split(intid);
        if !(1..WORDS).contains(&w) || (self.books.word(w).line & bit != 0) == high {
            return;
        }
        self.line_changes(intid, high, loaded, live);
    }

    #[inline(never)]
    fn line_changes<L: LrFile>(&mut self, intid: u32, high: bool, loaded: bool, live: &mut L) {
        let (books, mut port) = self.port(loaded, live);
        let (w, bit) = split(intid);
        let word = books.word_mut(w);
        word.line ^= bit;
        if word.edge & bit != 0 {
            if high {
                books.raise(intid, &mut port);
            }
        } else if let Some(n) = books.live(intid, port.empty()) {
            books.line_changed(intid, n, high, &mut port);
        } else if high {
            books.offer(intid, &mut port);
        }
    }

    /// Maintenance interrupt of the vCPU, which runs: finished level interrupts, an ended parked one, and the highest of those that wait.
    #[inline(never)]
    pub fn maintain<L: LrFile>(&mut self, live: &mut L) {
        self.books.maintain(live);
    }

    /// Trapped write of ICC_DIR_EL1 by the vCPU.
    pub fn deactivate<L: LrFile>(&mut self, value: u64, live: &mut L) {
        let (w, bit) = split((value & 0xff_ffff) as u32);
        if w < WORDS {
            self.clear_active(w, bit, true, live);
        }
    }

    /// True if the vCPU has an interrupt that its CPU interface would signal, so that WFI must not wait. `vmcr` is its ICH_VMCR_EL2.
    /// The running priority is not looked at: a wake-up too many is allowed, a missing one is not.
    pub fn wants_cpu<L: LrFile>(&self, lrs: &L, vmcr: u64) -> bool {
        self.books.signals(lrs, vmcr)
    }

    /// [`Self::wants_cpu`] of a vCPU that is not on a CPU.
    pub fn wants_cpu_saved(&self, vmcr: u64) -> bool {
        self.books.signals(&self.saved, vmcr)
    }

    /// True if the linked interrupt `intid` is pending or active here, so that the physical one must be active while this vCPU
    /// has the CPU. `lrs` are its list registers.
    pub fn holds<L: LrFile>(&self, intid: u32, lrs: &L) -> bool {
        let (w, bit) = split(intid);
        let word = self.books.word(w);
        (word.latch | word.active) & bit != 0 || self.books.live(intid, lrs.empty()).is_some()
    }

    /// The line of linked private interrupt `intid` of the vCPU, which runs, is low again: a pending state that the guest has not acknowledged
    /// goes away, and the physical interrupt is deactivated. List registers do not follow a line by themselves, so this is called
    /// where it matters: before WFI decides.
    #[inline]
    pub fn line_fell<L: LrFile>(&mut self, intid: u32, live: &mut L) {
        self.books.withdraw(intid, live);
    }
}

/// Word index and bit of an INTID.
#[inline]
const fn split(intid: u32) -> (usize, u32) {
    ((intid >> 5) as usize, 1 << (intid & 31))
}
