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
mod refill;
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
use lr::Off;

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
    view: View,
}

/// All but the list registers.
#[derive(Clone, Debug)]
#[repr(C)]
struct View {
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

/// Calls a method of the view with the vCPU's list registers: those of the CPU, if it is `loaded`; else the saved ones. Two calls, not one with
/// either: which list registers it works on is known throughout each.
macro_rules! on {
    ($self:ident, $loaded:ident, $live:ident, $method:ident($($arg:expr),*)) => {
        if $loaded {
            $self.view.$method($($arg,)* $live)
        } else {
            let saved = &mut $self.saved;
            $self.view.$method($($arg,)* &mut Off { saved, live: $live })
        }
    };
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
            view: View {
                books: Books::new(),
                asleep: true,
                first: 0,
                total: 1,
                edges: [0; SPI_WORDS],
                route: [0; SPIS],
            },
        }
    }

    /// Makes this that of the vCPU of affinity `first` of a VM with `total` vCPUs.
    pub const fn set_place(&mut self, first: u32, total: u32) {
        self.view.first = first;
        self.view.total = total;
    }

    /// The private part as after reset: its vCPU starts.
    pub fn restart(&mut self) {
        self.view.books.restart();
        self.saved = SavedLrs::new(self.saved.usable());
        self.view.asleep = true;
    }

    /// All of it as after reset: its VM starts again. Links to physical interrupts stay, and edges that are from reset on.
    pub fn reset(&mut self) {
        self.restart();
        for (w, edge) in (1..WORDS).zip(self.view.edges) {
            let hw = self.view.books.word(w).hw;
            self.view.books.set_parked(w, 0);
            let word = self.view.books.word_mut(w);
            *word = word::Word::new(0);
            (word.hw, word.edge) = (hw, edge);
        }
        self.view.route = [0; SPIS];
    }

    /// GICD_CTLR's enables.
    pub const fn groups(&self) -> u32 {
        self.view.books.groups()
    }

    /// Marks `intid` as backed by the physical interrupt of the same number: its list register is linked to it, and the guest's
    /// deactivation deactivates both.
    pub fn link_hardware(&mut self, intid: u32) {
        let (w, bit) = split(intid);
        if w < WORDS {
            self.view.books.word_mut(w).hw |= bit;
        }
        if w == 0 {
            self.view.books.learn_entry(intid);
        }
    }

    /// Marks SPI `intid` as edge-triggered from reset on.
    pub fn set_edge(&mut self, intid: u32) {
        let (w, bit) = split(intid);
        if let Some(edges) = w.checked_sub(1).and_then(|i| self.view.edges.get_mut(i)) {
            *edges |= bit;
            self.view.books.word_mut(w).edge |= bit;
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
        let word = self.view.books.word(0);
        Leaving {
            full: self.view.books.used() & !empty,
            control: self.view.books.control(),
            linked: word.hw & (word.latch | word.active),
        }
    }

    /// An edge on `intid`. *Hot* for a private interrupt of the vCPU that runs. For a linked interrupt: the physical one was acknowledged.
    /// `loaded`: the vCPU's list registers are `live`; else they are the saved ones. INTIDs that do not exist change nothing.
    #[inline(always)]
    pub fn raise<L: LrFile>(&mut self, intid: u32, loaded: bool, live: &mut L) {
        if intid < 32 && loaded && self.view.books.raise_own(intid, live) {
            return;
        }
        self.raise_slow(intid, loaded, live);
    }

    #[inline(never)]
    fn raise_slow<L: LrFile>(&mut self, intid: u32, loaded: bool, live: &mut L) {
        on!(self, loaded, live, raise(intid));
    }

    /// The input line of a device goes to `high` on SPI `intid`.
    pub fn set_line<L: LrFile>(&mut self, intid: u32, high: bool, loaded: bool, live: &mut L) {
        let (w, bit) = split(intid);
        if (1..WORDS).contains(&w) && (self.view.books.word(w).line & bit != 0) != high {
            on!(self, loaded, live, line_changes(intid, high));
        }
    }

    /// Reads the word at `offset` of the distributor if it is one below the arrays: GICD_CTLR, GICD_TYPER, GICD_IIDR. *Hot.*
    #[inline(always)]
    pub fn dist_peek(&self, offset: u32) -> Option<u32> {
        self.view.dist_peek(offset)
    }

    /// Writes `bits` to GICD_ISENABLER<n> at `offset` if nothing becomes deliverable by it. *Hot.* False: something else, nothing done.
    #[inline(always)]
    pub fn dist_poke(&mut self, offset: u32, bits: u32) -> bool {
        self.view.dist_poke(offset, bits)
    }

    /// Reads `size` (1, 2, 4, 8) bytes of the distributor at `offset`. `loaded`: see [`Vgic::raise`]. Accesses that the architecture does not
    /// define read as zero.
    #[inline]
    pub fn dist_read<L: LrFile>(&self, offset: u32, size: u8, loaded: bool, live: &L) -> u64 {
        if loaded {
            self.view.dist_read(offset, size, live)
        } else {
            self.view.dist_read(offset, size, &self.saved)
        }
    }

    /// Writes `size` (1, 2, 4, 8) bytes to the distributor at `offset`. Undefined accesses are ignored.
    pub fn dist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, loaded: bool, live: &mut L) {
        on!(self, loaded, live, dist_write(offset, size, value));
    }

    /// Reads `size` bytes at `offset` in the vCPU's redistributor. Accesses that the architecture does not define read as zero.
    pub fn redist_read<L: LrFile>(&self, offset: u32, size: u8, loaded: bool, live: &L) -> u64 {
        if loaded {
            self.view.redist_read(offset, size, live)
        } else {
            self.view.redist_read(offset, size, &self.saved)
        }
    }

    /// Writes `size` bytes at `offset` in the vCPU's redistributor. *Hot* for ISENABLER. Undefined accesses are ignored.
    #[inline(always)]
    pub fn redist_write<L: LrFile>(&mut self, offset: u32, size: u8, value: u64, loaded: bool, live: &mut L) {
        if !self.view.redist_poke(offset, size, value) {
            self.redist_write_slow(offset, size, value as u32, loaded, live);
        }
    }

    #[inline(never)]
    fn redist_write_slow<L: LrFile>(&mut self, offset: u32, size: u8, value: u32, loaded: bool, live: &mut L) {
        on!(self, loaded, live, redist_write(offset, size, value));
    }

    /// Maintenance interrupt of the vCPU, which runs: finished level interrupts, an ended parked one, and the highest of those that wait.
    #[inline(never)]
    pub fn maintain<L: LrFile>(&mut self, live: &mut L) {
        self.view.books.maintain(live);
    }

    /// Trapped write of ICC_DIR_EL1 by the vCPU.
    pub fn deactivate<L: LrFile>(&mut self, value: u64, live: &mut L) {
        let (w, bit) = split((value & 0xff_ffff) as u32);
        if w < WORDS {
            self.view.clear_active(w, bit, live);
        }
    }

    /// True if the vCPU has an interrupt that its CPU interface would signal, so that WFI must not wait. `vmcr` is its ICH_VMCR_EL2.
    /// The running priority is not looked at: a wake-up too many is allowed, a missing one is not.
    pub fn wants_cpu<L: LrFile>(&self, lrs: &L, vmcr: u64) -> bool {
        self.view.books.signals(lrs, vmcr)
    }

    /// [`Self::wants_cpu`] of a vCPU that is not on a CPU.
    pub fn wants_cpu_saved(&self, vmcr: u64) -> bool {
        self.view.books.signals(&self.saved, vmcr)
    }

    /// True if the linked interrupt `intid` is pending or active here, so that the physical one must be active while this vCPU
    /// has the CPU. `lrs` are its list registers.
    pub fn holds<L: LrFile>(&self, intid: u32, lrs: &L) -> bool {
        let (w, bit) = split(intid);
        let word = self.view.books.word(w);
        (word.latch | word.active) & bit != 0 || self.view.books.live(intid, lrs.empty()).is_some()
    }

    /// The line of linked private interrupt `intid` of the vCPU, which runs, is low again: a pending state that the guest has not acknowledged
    /// goes away, and the physical interrupt is deactivated. List registers do not follow a line by themselves, so this is called
    /// where it matters: before WFI decides.
    #[inline]
    pub fn line_fell<L: LrFile>(&mut self, intid: u32, live: &mut L) {
        self.view.books.withdraw(intid, live);
    }
}

impl View {
    fn raise<L: LrFile>(&mut self, intid: u32, lrs: &mut L) {
        self.books.raise(intid, lrs);
    }

    fn line_changes<L: LrFile>(&mut self, intid: u32, high: bool, lrs: &mut L) {
        let books = &mut self.books;
        let (w, bit) = split(intid);
        let word = books.word_mut(w);
        word.line ^= bit;
        if word.edge & bit != 0 {
            if high {
                books.raise(intid, lrs);
            }
        } else if let Some(n) = books.live(intid, lrs.empty()) {
            books.line_changed(intid, n, high, lrs);
        } else if high {
            books.offer(intid, lrs);
        }
    }
}

/// Word index and bit of an INTID.
#[inline]
const fn split(intid: u32) -> (usize, u32) {
    ((intid >> 5) as usize, 1 << (intid & 31))
}
