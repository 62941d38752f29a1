//! What one physical CPU owns: its vCPUs, their VMs, its run queue and its counts. Nothing here is shared, so nothing locks.

use core::ops::Range;

use embassy_time::{Duration, Instant};
use hyp_abi::record::PathPeak;
use hyp_abi::{PathId, Rights, VMS_MAX};

use crate::ipc::Ipc;
use crate::mail::{MAIL, Mail};
use crate::pl011::Pl011;
use crate::psci::Power;
use crate::sched::Sched;
use crate::vcpu::{Run, Vcpu};
use crate::vgic::Vgic;
use crate::vtimer::Wakeups;

/// vCPU slots of a CPU. Slot v < [`VMS_MAX`] is for vCPU 0 of VM v, if this is its CPU; other vCPUs have slots from there on.
pub const VCPU_SLOTS: usize = crate::sched::SLOTS;
const _: () = assert!(VMS_MAX < VCPU_SLOTS);
/// Not a slot.
pub const NO_SLOT: u32 = u32::MAX;
/// SPIs of the board that can be routed, INTIDs from 32.
pub const BOARD_SPIS: usize = 256;
/// Owner of an SPI that no VM has.
pub const NO_OWNER: u8 = u8::MAX;

/// What is counted of a path: exits and their lengths in the PMU's unit (retired instructions under icount).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PathStat {
    /// Exits.
    pub count: u64,
    /// Sum of their lengths.
    pub sum: u64,
    /// Shortest; `u32::MAX` while there is none.
    pub min: u32,
    /// Longest less shortest.
    pub span: u32,
}

impl PathStat {
    /// Nothing counted.
    pub const fn new() -> Self {
        Self {
            count: 0,
            sum: 0,
            min: u32::MAX,
            span: 0,
        }
    }

    /// Longest; 0 while there is none.
    pub const fn max(&self) -> u32 {
        if self.count == 0 {
            0
        } else {
            self.min.wrapping_add(self.span)
        }
    }

    /// With what another CPU has counted of the same path.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let min = self.min.min(other.min);
        Self {
            count: self.count + other.count,
            sum: self.sum.wrapping_add(other.sum),
            min,
            span: self.max().max(other.max()).saturating_sub(min),
        }
    }

    /// Counts one exit. *Hot*: eight instructions. True if it is a new extreme: [`PathStat::extreme`] takes it.
    #[inline(always)]
    #[must_use]
    pub const fn add(&mut self, spent: u32) -> bool {
        self.count += 1;
        self.sum += spent as u64;
        // One comparison: below the least wraps around to something large.
        spent.wrapping_sub(self.min) > self.span
    }

    /// Widens the extremes; true if it is the longest so far. Lengths stay below 2³¹: a longer exit is counted as that.
    #[cold]
    #[inline(never)]
    pub fn extreme(&mut self, spent: u32) -> bool {
        let spent = spent.min(i32::MAX as u32);
        let first = self.min == u32::MAX;
        let max = if first { 0 } else { self.min.wrapping_add(self.span) };
        self.min = self.min.min(spent);
        self.span = max.max(spent) - self.min;
        spent > max
    }
}

impl Default for PathStat {
    fn default() -> Self {
        Self::new()
    }
}

/// What most switches need not look at.
pub mod rare {
    /// The core has registers of EL1 that most have not (`hyp-el2` asks at boot).
    pub const AUXILIARY: u32 = 1 << 0;
    /// A vCPU of this CPU has used its performance monitors.
    pub const PMU: u32 = 1 << 1;
    /// A vCPU of this CPU is shielded from messages of other CPUs.
    pub const SHIELD: u32 = 1 << 2;
}

/// No peak yet.
pub const NO_PEAK: PathPeak = PathPeak {
    path: 0,
    vm: 0,
    vcpu: 0,
    points: 0,
    length: 0,
    time_ns: 0,
    cause: 0,
    ipa: 0,
    pc: 0,
    x: [0; 8],
};

/// One VM. What a switch needs comes first: it is reached with a short offset.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Vm {
    /// VTTBR_EL2: root of the tables and VMID.
    pub vttbr: u64,
    /// Interrupt controller.
    pub vgic: Vgic,
    /// Console.
    pub uart: Pl011,
    /// Has a console.
    pub has_uart: bool,
    /// SPI of the console.
    pub uart_intid: u32,
    /// RAM, IPA.
    pub ram: Range<u64>,
    /// Where RAM is.
    pub pa_base: u64,
    /// Where vCPU 0 starts.
    pub entry: u64,
    /// x0 at the start.
    pub x0: u64,
    /// From the manifest.
    pub rights: Rights,
    /// False before start and after stop.
    pub alive: bool,
    /// Stopped by a fault, or with an exit code.
    pub faulted: bool,
    /// Number of the VM.
    pub id: u8,
    /// vCPUs of the VM.
    pub vcpus: u8,
    /// SYSTEM_RESET starts it again.
    pub restart: bool,
    /// SPIs of the board that are this VM's, bit by bit from INTID 32.
    pub spis: [u32; BOARD_SPIS / 32],
    /// Name from the manifest, for reports.
    pub name: [u8; hyp_abi::config::NAME_LEN],
}

impl Vm {
    /// An unused VM.
    pub const fn new() -> Self {
        Self {
            vgic: Vgic::new(0),
            uart: Pl011::new(),
            has_uart: false,
            uart_intid: 33,
            ram: 0..0,
            pa_base: 0,
            entry: 0,
            x0: 0,
            vttbr: 0,
            rights: Rights::empty(),
            alive: false,
            faulted: false,
            id: 0,
            vcpus: 1,
            restart: false,
            spis: [0; BOARD_SPIS / 32],
            name: [0; hyp_abi::config::NAME_LEN],
        }
    }

    /// Physical address of `len` bytes at `ipa`, if all of them are RAM of this VM.
    ///
    /// # Errors
    /// The first IPA that is not.
    pub fn buffer(&self, ipa: u64, len: u64) -> Result<u64, u64> {
        if !self.ram.contains(&ipa) {
            return Err(ipa);
        }
        if len > self.ram.end - ipa {
            return Err(self.ram.end);
        }
        Ok(self.pa_base + (ipa - self.ram.start))
    }
}

impl Default for Vm {
    fn default() -> Self {
        Self::new()
    }
}

/// What an exit left for the slow part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferred {
    /// The syndrome registers tell.
    Sync,
    /// An acknowledged interrupt that was not handled yet.
    Irq(u32),
    /// SError.
    SError,
}

/// State of one CPU. The counts come first: every exit reaches them with a short offset.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Cpu {
    /// Counts, by [`PathId`].
    pub paths: [PathStat; PathId::COUNT],
    /// Slot whose registers are in the hardware; [`NO_SLOT`] before the first.
    pub loaded: u32,
    /// Counter value at the entry of the exit that goes on in the slow part.
    pub entry: u32,
    /// What it goes on with.
    pub deferred: Deferred,
    /// Number of this CPU. Here, because compiled probes load it with a short offset.
    pub id: u32,
    /// Nobody runs: the CPU waits for an interrupt.
    pub idle: bool,
    /// What a switch must save and load besides what it always does, as bits of [`rare`].
    pub rare: u32,
    /// VMs, as bits, that have stopped and left something behind: it is cleared in a stay of its own, soon ([`crate::dispatch::irq::SWEEP`]).
    pub hazard: u32,
    /// VMs, as bits, whose end is under way on this CPU, step by step ([`crate::dispatch::Machine::sweep_soon`]).
    pub ending: u32,
    /// The next step of the first of them.
    pub ending_step: usize,
    /// Run queue over the slots.
    pub sched: Sched,
    /// Timers of vCPUs that are off the CPU.
    pub wakeups: Wakeups,
    /// What EL2's timer is set to; `Instant::MAX`: off.
    pub alarm: Instant,
    /// A time slice; `Duration::MAX`: there are none.
    pub slice: Duration,
    /// When the loaded vCPU got the CPU.
    pub since: Instant,
    /// Slot whose FP state is in the hardware.
    pub fp_owner: u32,
    /// VM with the keyboard.
    pub focus: u8,
    /// The system has several CPUs.
    pub several: bool,
    /// Which [`crate::report::Reports::reset`] its counts are since.
    pub resets: u64,
    /// The last VM of the system has stopped here.
    pub off: bool,
    /// Words from and to the other CPUs.
    pub mail: &'static Mail,
    /// Channels.
    pub ipc: Ipc,
    /// VM of each SPI, from INTID 32.
    pub spi_owner: [u8; BOARD_SPIS],
    /// VMs as the vCPU in the slot of the same number sees them. That of a vCPU 0 is the VM's own: distributor, console, life. Those of
    /// other vCPUs hold their private interrupts; what they ask of the VM's own goes to its CPU.
    pub vms: [Vm; VCPU_SLOTS],
    /// vCPUs.
    pub vcpus: [Vcpu; VCPU_SLOTS],
    /// What was there when each path took its longest.
    pub peaks: [PathPeak; PathId::COUNT],
}

impl Cpu {
    /// No VM.
    pub const fn new() -> Self {
        Self {
            loaded: NO_SLOT,
            entry: 0,
            deferred: Deferred::Sync,
            idle: false,
            rare: rare::AUXILIARY,
            hazard: 0,
            ending: 0,
            ending_step: 0,
            paths: [const { PathStat::new() }; PathId::COUNT],
            sched: Sched::new(),
            wakeups: Wakeups::new(),
            alarm: Instant::MAX,
            slice: Duration::MAX,
            since: Instant::MIN,
            fp_owner: NO_SLOT,
            focus: 0,
            ipc: Ipc::new(),
            spi_owner: [NO_OWNER; BOARD_SPIS],
            vcpus: [const { Vcpu::new() }; VCPU_SLOTS],
            vms: [const { Vm::new() }; VCPU_SLOTS],
            peaks: [NO_PEAK; PathId::COUNT],
            id: 0,
            several: false,
            resets: 0,
            off: false,
            mail: &MAIL,
        }
    }

    /// The vCPU whose registers are loaded, and its VM.
    #[inline(always)]
    pub fn running(&mut self) -> Option<(&mut Vcpu, &mut Vm)> {
        let vcpu = self.vcpus.get_mut(self.loaded as usize)?;
        let vm = self.vms.get_mut(usize::from(vcpu.vm))?;
        Some((vcpu, vm))
    }

    /// Counts an exit of `path` that took `spent`. True if it is a new extreme: [`crate::dispatch::peak::extreme`] takes it.
    #[inline(always)]
    #[must_use]
    pub fn note(&mut self, path: PathId, spent: u32) -> bool {
        self.paths.get_mut(path as usize).is_some_and(|stat| stat.add(spent))
    }

    /// Forgets what was counted of paths.
    pub fn clear_paths(&mut self) {
        self.paths = [PathStat::new(); PathId::COUNT];
        self.peaks = [NO_PEAK; PathId::COUNT];
    }

    /// Adds a VM's vCPU to the run queue: it starts at the VM's entry.
    pub fn start(&mut self, slot: usize) {
        let Some(vcpu) = self.vcpus.get_mut(slot) else { return };
        let Some(vm) = self.vms.get_mut(usize::from(vcpu.vm)) else {
            return;
        };
        vcpu.start(vm.entry, vm.x0);
        vm.alive = true;
        if let Some(known) = self.mail.vm(vm.id) {
            known.set_power(0, Power::On);
        }
        self.mail.started();
        self.ipc.started(usize::from(vcpu.vm));
        let _ = self.sched.wake(slot);
    }

    /// SPI `intid` of the board is that of VM `vm`. `None` if one of them does not exist.
    pub fn give_spi(&mut self, intid: u32, vm: u8) -> Option<()> {
        let index = intid.checked_sub(32)?;
        *self.spi_owner.get_mut(index as usize)? = vm;
        let spis = &mut self.vms.get_mut(usize::from(vm))?.spis;
        *spis.get_mut(index as usize / 32)? |= 1 << (index % 32);
        Some(())
    }

    /// A vCPU that is not loaded got an interrupt: wakes it if it waits for one.
    pub fn wake_for_interrupt(&mut self, slot: usize) {
        let Some(vcpu) = self.vcpus.get_mut(slot) else { return };
        let Some(vm) = self.vms.get(usize::from(vcpu.vm)) else {
            return;
        };
        if vcpu.run == Run::Wfi && vm.vgic.wants_cpu_saved(vcpu.el1.vmcr) {
            vcpu.run = Run::Ready;
            let _ = self.sched.wake(slot);
        }
    }

    /// End of the running time slice; `Instant::MAX` if there are none.
    #[inline]
    pub fn slice_end(&self) -> Instant {
        self.since.saturating_add(self.slice)
    }

    /// The loaded vCPU stops running at `now`, or another begins: what it ran is added up.
    #[inline(always)]
    pub fn account(&mut self, now: Instant) {
        let ran = now.as_ticks().wrapping_sub(self.since.as_ticks());
        self.since = now;
        if let Some(vcpu) = self.vcpus.get_mut(self.loaded as usize) {
            vcpu.run_ns += ran;
        }
    }

    /// What EL2's timer must be set to now.
    #[inline]
    pub fn next_alarm(&self) -> Instant {
        let wake = self.wakeups.nearest();
        if self.sched.needs_slice() {
            wake.min(self.slice_end())
        } else {
            wake
        }
    }
}

// What is counted in ticks is told in nanoseconds.
const _: () = assert!(embassy_time::TICK_HZ == 1_000_000_000);

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_counts_keep_both_extremes() {
        let mut cpu = std::boxed::Box::new(Cpu::new());
        for (spent, longest) in [
            (50, true),
            (70, true),
            (60, false),
            (40, false),
            (70, false),
            (90, true),
        ] {
            let extreme = cpu.note(PathId::Wfi, spent);
            assert_eq!(
                extreme && cpu.paths[PathId::Wfi as usize].extreme(spent),
                longest,
                "{spent}"
            );
        }
        let stat = cpu.paths[PathId::Wfi as usize];
        assert_eq!(
            stat,
            PathStat {
                count: 6,
                sum: 380,
                min: 40,
                span: 50
            }
        );
        assert_eq!(stat.max(), 90);
    }

    #[test]
    fn buffers_lie_wholly_in_ram() {
        let vm = Vm {
            ram: 0x4000_0000..0x4020_0000,
            pa_base: 0x8000_0000,
            ..Vm::new()
        };
        assert_eq!(vm.buffer(0x4000_1000, 0x1000), Ok(0x8000_1000));
        assert_eq!(vm.buffer(0x401f_ffff, 1), Ok(0x801f_ffff));
        assert_eq!(vm.buffer(0x401f_ffff, 2), Err(0x4020_0000));
        assert_eq!(vm.buffer(0x3fff_ffff, 2), Err(0x3fff_ffff));
        assert_eq!(vm.buffer(0x4000_0000, u64::MAX), Err(0x4020_0000));
    }
}
