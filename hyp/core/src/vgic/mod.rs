//! Virtual GICv3 (Arm IHI 0069H): distributor and redistributors by emulation, CPU interface by the list registers of the hardware.
//!
//! The guest sees a GICv3 with one security state (GICD_CTLR.DS = 1), affinity routing only, [`SPIS`] SPIs, no LPIs and no extended
//! ranges, as QEMU `virt` shows it. Interrupts reset to group 0, disabled, priority 0, level-triggered (SGIs: edge).
//!
//! # Where an interrupt's state lives
//! * Enable, group, configuration, priority and input line: always in its [`Word`].
//! * Pending and active: in the list register that holds the interrupt, else in the `Word`.
//! * Pending, deliverable, but without a list register (overflow, or its group is off): in the `ready` set of its vCPU, ordered by
//!   priority. While it is not empty the no-pending maintenance interrupt is on, so the set is emptied as list registers
//!   run dry; every member has at most the priority of every pending list register.
//! * Active without a list register (more active interrupts than list registers): in the `parked` set. EOIcount and a trap of
//!   ICC_DIR_EL1 tell when one ends.
//!
//! Books about list registers are cleaned lazily: a list register whose interrupt the guest has finished still carries its id here
//! until it is used again; ICH_ELRSR_EL2 tells which are really empty. So nothing is read on an exit that needs nothing.
//!
//! GICR_WAKER is a plain register: a sleeping redistributor still delivers, as in QEMU.

mod change;
mod dist;
#[cfg(test)]
mod hw;
mod iface;
mod levels;
mod lr;
mod redist;
mod sgi;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
mod word;

pub use lr::{Lr, LrFile, SavedLrs, hcr};
pub use sgi::{SgiKind, is_for_first_only, targets};

use iface::Iface;
use word::Word;

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

/// vCPUs, as bits by index, that got an interrupt while another vCPU made the call: to be woken or sent an IPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Kick(pub u32);

impl core::ops::BitOrAssign for Kick {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The GIC of a VM with at most `N` vCPUs. What every switch looks at comes first: it is reached with a short offset.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Vgic<const N: usize> {
    cpus: [Redist; N],
    /// GICD_CTLR enable bits of group 0 (bit 0) and 1 (bit 1).
    groups: u32,
    vcpus: u32,
    spi: [Word; SPI_WORDS],
    /// GICD_IROUTER Aff2.Aff1.Aff0 of each SPI.
    route: [u32; SPIS],
    /// Affinity of vCPU 0 here: a VM whose vCPUs are on several CPUs has one `Vgic` for each of them.
    first: u32,
    /// SPIs that are edge-triggered from reset on.
    edges: [u32; SPI_WORDS],
    /// vCPUs of the whole VM. Shared interrupts routed to any of them come to the vCPUs that are here.
    total: u32,
}

/// Private interrupts and list-register books of one vCPU.
#[derive(Clone, Debug)]
#[repr(C)]
struct Redist {
    word: Word,
    /// The list registers while the vCPU is not on a CPU.
    saved: SavedLrs,
    iface: Iface,
    /// GICR_WAKER.ProcessorSleep.
    asleep: bool,
}

/// All interrupts that one vCPU can see.
struct View<'a> {
    cpu: u32,
    /// SPIs routed to affinities from `cpu` up to here belong to it.
    reach: u32,
    private: &'a mut Word,
    spi: &'a mut [Word; SPI_WORDS],
    route: &'a [u32; SPIS],
}

impl View<'_> {
    /// The word of 32 interrupts from `index` × 32; the last one for indices that do not exist.
    #[inline]
    fn word(&mut self, index: usize) -> &mut Word {
        match index.checked_sub(1) {
            None => self.private,
            Some(i) => &mut self.spi[i % SPI_WORDS],
        }
    }

    /// True if `intid` is private or routed to this vCPU.
    #[inline]
    fn is_mine(&self, intid: u32) -> bool {
        match intid.checked_sub(32) {
            None => true,
            Some(spi) => self
                .route
                .get(spi as usize)
                .is_some_and(|to| (self.cpu..self.reach).contains(to)),
        }
    }
}

const _: () = assert!(SPI_WORDS.is_power_of_two());

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

/// List registers of vCPU `cpu`: those of the hardware if it is the one that runs, else its saved ones.
enum Port<'a, L> {
    Live(&'a mut L),
    Saved(&'a mut SavedLrs),
}

impl<const N: usize> Vgic<N> {
    /// As after reset, with `vcpus` (1 to `N`) vCPUs on hardware whose list registers are the bits of `usable`.
    pub const fn new(vcpus: usize, usable: u32) -> Self {
        let vcpus = if vcpus > N { N } else { vcpus };
        Self {
            groups: 0,
            vcpus: vcpus as u32,
            spi: [const { Word::new(0) }; SPI_WORDS],
            route: [0; SPIS],
            cpus: [const {
                Redist {
                    word: Word::new(0xffff),
                    asleep: true,
                    iface: Iface::new(),
                    saved: SavedLrs::new(0),
                }
            }; N],
            edges: [0; SPI_WORDS],
            first: 0,
            total: vcpus as u32,
        }
        .with_usable(usable)
    }

    const fn with_usable(mut self, usable: u32) -> Self {
        let mut i = 0;
        while i < N {
            self.cpus[i].saved = SavedLrs::new(usable);
            i += 1;
        }
        self
    }

    /// Makes this the part of one vCPU: that of affinity `first` of a VM with `total` vCPUs.
    pub const fn set_place(&mut self, first: u32, total: u32) {
        self.first = first;
        self.total = total;
    }

    /// The private part as after reset: its vCPU starts.
    pub fn restart(&mut self) {
        for c in &mut self.cpus {
            let (hw, usable) = (c.word.hw, c.saved.usable());
            c.word = Word::new(0xffff);
            c.word.hw = hw;
            c.saved = SavedLrs::new(usable);
            c.iface = Iface::new();
            c.asleep = true;
            for intid in 0..32 {
                c.iface.learn_entry(&c.word, intid);
            }
        }
        self.groups = 0;
    }

    /// All of it as after reset: its VM starts again. Links to physical interrupts stay, and edges that are from reset on.
    pub fn reset(&mut self) {
        self.restart();
        for (word, edge) in self.spi.iter_mut().zip(self.edges) {
            let hw = word.hw;
            *word = Word::new(0);
            (word.hw, word.edge) = (hw, edge);
        }
        self.route = [0; SPIS];
    }

    /// GICD_CTLR's enables.
    pub const fn groups(&self) -> u32 {
        self.groups
    }

    /// Marks `intid` as backed by the physical interrupt of the same number: its list register is linked to it, and the guest's
    /// deactivation deactivates both. For a PPI on every vCPU.
    pub fn link_hardware(&mut self, intid: u32) {
        let (index, bit) = split(intid);
        match index.checked_sub(1) {
            None => self.cpus.iter_mut().for_each(|c| {
                c.word.hw |= bit;
                c.iface.learn_entry(&c.word, intid);
            }),
            Some(i) => self.spi[i % SPI_WORDS].hw |= bit,
        }
    }

    /// Marks SPI `intid` as edge-triggered from reset on.
    pub fn set_edge(&mut self, intid: u32) {
        let (index, bit) = split(intid);
        if let Some(i) = index.checked_sub(1) {
            self.spi[i % SPI_WORDS].edge |= bit;
            self.edges[i % SPI_WORDS] |= bit;
        }
    }

    /// The list registers of `cpu` as last saved; el2 fills and drains it at a world switch. `None` if there is no such vCPU.
    #[inline]
    pub fn saved(&mut self, cpu: usize) -> Option<&mut SavedLrs> {
        self.cpus.get_mut(cpu).map(|c| &mut c.saved)
    }

    /// List registers of `cpu` that may hold something.
    #[inline]
    pub fn used(&self, cpu: usize) -> u32 {
        self.cpus.get(cpu).map_or(0, |c| c.iface.used())
    }

    /// Before `cpu`, whose list registers the hardware has, leaves its CPU: what must be saved of it. `empty` is ICH_ELRSR_EL2.
    #[inline(always)]
    pub fn leave(&self, cpu: usize, empty: u32) -> Option<Leaving> {
        let c = self.cpus.get(cpu)?;
        Some(Leaving {
            full: c.iface.used() & !empty,
            control: c.iface.control(),
            linked: c.word.hw & (c.word.latch | c.word.active),
        })
    }

    /// An edge on `intid` for `cpu` (PPIs, SGIs) or the vCPU it is routed to (SPIs). *Hot* for a PPI or SGI of the vCPU that runs. For a linked
    /// interrupt: the physical one was acknowledged. `cur` is the vCPU whose list registers `live` are. INTIDs that do not exist change nothing.
    #[inline(always)]
    pub fn raise<L: LrFile>(&mut self, cpu: usize, intid: u32, cur: usize, live: &mut L) -> Kick {
        if intid < 32
            && cpu == cur
            && let Some(c) = self.cpus.get_mut(cur)
            && c.iface.raise_own(intid, live)
        {
            return Kick(0);
        }
        self.raise_slow(cpu, intid, cur, live)
    }

    #[inline(never)]
    fn raise_slow<L: LrFile>(&mut self, cpu: usize, intid: u32, cur: usize, live: &mut L) -> Kick {
        let Some(target) = self.target(cpu, intid) else {
            self.latch(intid);
            return Kick(0);
        };
        if N > 1 && self.active_elsewhere(target, intid, cur, live) {
            self.latch(intid);
            return Kick(0);
        }
        let Some((iface, mut view, saved)) = self.parts(target) else {
            return Kick(0);
        };
        if target == cur {
            iface.raise(&mut view, intid, live);
            return Kick(0);
        }
        iface.raise(&mut view, intid, saved);
        Kick(1 << (target % 32))
    }

    /// The input line of a device goes to `high` on SPI `intid`.
    pub fn set_line<L: LrFile>(&mut self, intid: u32, high: bool, cur: usize, live: &mut L) -> Kick {
        if !(32..INTIDS as u32).contains(&intid) {
            return Kick(0);
        }
        let (index, bit) = split(intid);
        let word = &mut self.spi[(index - 1) % SPI_WORDS];
        let was = word.line & bit != 0;
        if was == high {
            return Kick(0);
        }
        word.line ^= bit;
        if word.edge & bit != 0 {
            return if high { self.raise(0, intid, cur, live) } else { Kick(0) };
        }
        let mut kick = Kick(0);
        for cpu in 0..N {
            let Some((iface, mut view, mut port)) = self.port(cpu, cur, live) else {
                break;
            };
            iface.line_changed(&mut view, intid, high, &mut port);
        }
        if high {
            kick |= self.offer(0, intid, cur, live);
        }
        kick
    }

    /// Maintenance interrupt of the running vCPU `cur`: finished level interrupts, ended parked ones, refill.
    pub fn maintain<L: LrFile>(&mut self, cur: usize, live: &mut L) -> Kick {
        let mut kick = Kick(0);
        if let Some((iface, mut view, _)) = self.parts(cur) {
            iface.maintain(&mut view, live);
        }
        if N > 1 {
            for index in 1..WORDS {
                let stray = self.cpus.get_mut(cur).map_or(0, |c| c.iface.take_stray(index));
                dist::each_bit(index, stray, |intid| kick |= self.offer(cur, intid, cur, live));
            }
        }
        kick
    }

    /// Trapped write of ICC_DIR_EL1 by vCPU `cur`.
    pub fn deactivate<L: LrFile>(&mut self, cur: usize, value: u64, live: &mut L) {
        let intid = (value & 0xff_ffff) as u32;
        if (intid as usize) < INTIDS {
            let (index, bit) = split(intid);
            let _ = self.clear_active(cur, index, bit, cur, live);
        }
    }

    /// True if vCPU `cpu` has an interrupt that its CPU interface would signal, so that WFI must not wait. `vmcr` is its ICH_VMCR_EL2.
    /// The running priority is not looked at: a wake-up too many is allowed, a missing one is not.
    pub fn wants_cpu<L: LrFile>(&self, cpu: usize, lrs: &L, vmcr: u64) -> bool {
        self.cpus.get(cpu).is_some_and(|c| c.iface.signals(lrs, vmcr))
    }

    /// [`Self::wants_cpu`] of a vCPU that is not on a CPU.
    pub fn wants_cpu_saved(&self, cpu: usize, vmcr: u64) -> bool {
        self.cpus.get(cpu).is_some_and(|c| c.iface.signals(&c.saved, vmcr))
    }

    /// True if the linked interrupt `intid` of vCPU `cpu` is pending or active here, so that the physical one must be active while this vCPU
    /// has the CPU. `lrs` are its list registers.
    pub fn holds<L: LrFile>(&self, cpu: usize, intid: u32, lrs: &L) -> bool {
        let (index, bit) = split(intid);
        let Some(c) = self.cpus.get(cpu) else { return false };
        let word = match index.checked_sub(1) {
            None => &c.word,
            Some(i) => &self.spi[i % SPI_WORDS],
        };
        (word.latch | word.active) & bit != 0 || c.iface.live(intid, lrs.empty()).is_some()
    }

    /// [`Self::holds`] of a vCPU that is not on a CPU.
    pub fn holds_saved(&self, cpu: usize, intid: u32) -> bool {
        self.cpus.get(cpu).is_some_and(|c| self.holds(cpu, intid, &c.saved))
    }

    /// The line of linked private interrupt `intid` of the running vCPU `cur` is low again: a pending state that the guest has not acknowledged
    /// goes away, and the physical interrupt is deactivated. List registers do not follow a line by themselves, so this is called
    /// where it matters: before WFI decides.
    #[inline]
    pub fn line_fell<L: LrFile>(&mut self, intid: u32, cur: usize, live: &mut L) {
        let Some((iface, mut view, _)) = self.parts(cur) else {
            return;
        };
        let (index, bit) = split(intid);
        if iface.live(intid, live.empty()).is_none() && view.word(index).latch & bit == 0 {
            return;
        }
        iface.clear_pending(&mut view, intid, live);
        iface.refill(&mut view, live);
    }

    /// The vCPU that `intid` goes to. SPIs routed to an affinity that no vCPU has go nowhere.
    #[inline]
    fn target(&self, cpu: usize, intid: u32) -> Option<usize> {
        match intid.checked_sub(32) {
            None => Some(cpu),
            Some(spi) => {
                let to = *self.route.get(spi as usize)?;
                (to < self.total).then_some((to as usize).min(N - 1))
            }
        }
    }

    /// True if SPI `intid` is active in a list register of another vCPU than `target`: it was routed elsewhere meanwhile. It is delivered when that ends.
    fn active_elsewhere<L: LrFile>(&mut self, target: usize, intid: u32, cur: usize, live: &mut L) -> bool {
        if intid < 32 {
            return false;
        }
        for k in 0..N {
            let Some((iface, _, mut port)) = self.port(k, cur, live) else {
                break;
            };
            if k != target
                && let Some(n) = iface.live(intid, port.empty())
            {
                iface.watch(n, &mut port);
                return true;
            }
        }
        false
    }

    fn latch(&mut self, intid: u32) {
        let (index, bit) = split(intid);
        if let Some(word) = index.checked_sub(1).and_then(|i| self.spi.get_mut(i)) {
            word.latch |= bit;
        }
    }

    #[inline]
    fn parts(&mut self, cpu: usize) -> Option<(&mut Iface, View<'_>, &mut SavedLrs)> {
        let c = self.cpus.get_mut(cpu)?;
        let view = View {
            cpu: cpu as u32,
            reach: if cpu + 1 == N { self.total } else { cpu as u32 + 1 },
            private: &mut c.word,
            spi: &mut self.spi,
            route: &self.route,
        };
        Some((&mut c.iface, view, &mut c.saved))
    }

    fn port<'a, L: LrFile>(
        &'a mut self,
        cpu: usize,
        cur: usize,
        live: &'a mut L,
    ) -> Option<(&'a mut Iface, View<'a>, Port<'a, L>)> {
        let (iface, view, saved) = self.parts(cpu)?;
        Some((
            iface,
            view,
            if cpu == cur {
                Port::Live(live)
            } else {
                Port::Saved(saved)
            },
        ))
    }

    /// Delivers `intid` if it is deliverable now.
    fn offer<L: LrFile>(&mut self, cpu: usize, intid: u32, cur: usize, live: &mut L) -> Kick {
        let Some(target) = self.target(cpu, intid) else {
            return Kick(0);
        };
        if N > 1 && self.active_elsewhere(target, intid, cur, live) {
            return Kick(0);
        }
        let Some((iface, mut view, mut port)) = self.port(target, cur, live) else {
            return Kick(0);
        };
        let (index, bit) = split(intid);
        if view.word(index).deliverable() & bit == 0 {
            return Kick(0);
        }
        iface.offer(&mut view, intid, &mut port);
        Kick(if target == cur { 0 } else { 1 << (target % 32) })
    }
}

/// Word index and bit of an INTID.
#[inline]
const fn split(intid: u32) -> (usize, u32) {
    ((intid >> 5) as usize, 1 << (intid & 31))
}
