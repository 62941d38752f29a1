//! From a decoded exit to what is done about it.
//!
//! [`fast`] serves what returns to the same vCPU with only the light frame saved; whatever it does not know it leaves for
//! [`slow`], untouched. [`slow`] may block, wake, stop and switch; `hyp-el2` then asks [`schedule`] who goes on.
//!
//! The hardware is behind [`Machine`], one small method for each register or device action, which `hyp-el2` implements
//! with single instructions and tests with plain fields.

pub mod direct;
pub mod fast;
pub mod gather;
pub mod hypercall;
mod idregs;
mod ipc;
pub mod irq;
pub mod peak;
mod power;
mod restart;
pub mod slow;
pub mod smp;
#[cfg(test)]
mod tests;

pub use hypercall::{PathBudget, Services};
pub use idregs::{id_register_mask, id_register_value};
pub use slow::{Next, schedule};

use embassy_time::Instant;
use hyp_abi::PathId;
use hyp_abi::record::{StreamKind, VmStopped};

use crate::cpu::BOARD_SPIS;
use crate::pmu::{Identity, Pmu};
use crate::vcpu::Frame;
use crate::vgic::LrFile;

/// What the CPU and the board do for the dispatcher. Each method is one register or one device action.
pub trait Machine: LrFile + Points {
    /// ESR_EL2.
    fn esr(&self) -> u64;
    /// FAR_EL2.
    fn far(&self) -> u64;
    /// HPFAR_EL2.
    fn hpfar(&self) -> u64;
    /// ELR_EL2.
    fn pc(&self) -> u64;
    /// Sets ELR_EL2.
    fn set_pc(&mut self, pc: u64);
    /// SPSR_EL2.
    fn spsr(&self) -> u64;
    /// SP_EL1.
    fn sp_el1(&self) -> u64;
    /// Enters the guest's EL1 with an Unknown exception (Arm ARM D1.3.1), as if the instruction at the pc did not exist.
    fn inject_undefined(&mut self);
    /// ICH_VMCR_EL2.
    fn vmcr(&self) -> u64;
    /// Now, by the physical counter.
    fn now(&self) -> Instant;
    /// When the counter has this value; `Instant::MAX` where that is out of range.
    fn instant(&self, count: u64) -> Instant;
    /// Points that have probes, as bits by number.
    fn armed_points(&self) -> u32;
    /// Sets EL2's timer; `Instant::MAX` turns it off.
    fn set_alarm(&mut self, at: Instant);
    /// Acknowledges a physical interrupt: INTID, 1020 and up for none.
    fn acknowledge(&mut self) -> u32;
    /// Priority drop of an acknowledged interrupt.
    fn drop_priority(&mut self, intid: u32);
    /// Whether the running vCPU's timer of PPI `intid` holds its line high.
    fn timer_line(&self, intid: u32) -> bool;
    /// Forgets interrupts of SPI `intid` for good: its VM has stopped.
    fn disable_spi(&mut self, intid: u32);
    /// [`Machine::disable_spi`] of many, bit by bit from INTID 32.
    fn disable_spis(&mut self, spis: &[u32; BOARD_SPIS / 32]);
    /// These, as bits from INTID 32, are active no more.
    fn end_spis(&mut self, spis: &[u32; BOARD_SPIS / 32]);
    /// Identification register of CRm × 8 + Op2 = `index` (Op0 3, Op1 0, CRn 0).
    fn id_register(&self, index: u32) -> u64;
    /// What the core says of its performance monitors.
    fn pmu_identity(&self) -> Identity;
    /// Takes what the running vCPU's counters have become out of the hardware.
    fn pmu_take(&self, pmu: &mut Pmu);
    /// Makes the hardware count for the running vCPU what this says; nothing if it is not active.
    fn pmu_give(&mut self, pmu: &Pmu);
    /// True if a byte for the console would be taken.
    fn console_room(&self) -> bool;
    /// Sends a byte of a VM's console.
    fn console_put(&mut self, vm: u8, byte: u8);
    /// Serves the console's interrupt: sends a little of what waits. A received byte and the VM it is for; if there are more, the interrupt is
    /// due again.
    fn console_interrupt(&mut self) -> Option<(u8, u8)>;
    /// Has a record sent on the hypervisor stream, behind what waits already: nothing is waited for.
    fn report(&mut self, report: &Report);
    /// Copies to a guest's memory; `pa` comes from `Vm::buffer`.
    fn write_guest(&mut self, pa: u64, bytes: &[u8]);
    /// Copies from a guest's memory; `pa` comes from `Vm::buffer`.
    fn read_guest(&self, pa: u64, bytes: &mut [u8]);
    /// Hands the FP unit over: saves to the vCPU that owned it, loads this one's, ends the trap.
    fn switch_fp(&mut self, vcpus: &mut [crate::vcpu::Vcpu], from: u32, to: u32);
    /// Nobody owns the FP unit any more: the next access traps.
    fn release_fp(&mut self);
    /// What the hardware holds of the loaded vCPU is given up unsaved: physical interrupts of its timers that it has not ended end.
    fn abandon(&mut self);
    /// One piece of what brings VM `vm`'s memory to what it was at boot: from `at` (0 first) on. Returns where the next one begins;
    /// `None`: that was the last.
    fn restore(&mut self, vm: u8, at: u64) -> Option<u64>;
    /// Interrupts CPU `cpu`, which then looks at its mail. Orders this CPU's stores before it.
    fn kick(&mut self, cpu: u32);
    /// What this CPU executes from now on is fetched from now on.
    fn synchronise(&self);
    /// Interrupts `cpu`, which is this CPU, by [`irq::SWEEP`] when nothing else does: what has stopped goes on being cleared away.
    fn sweep_soon(&mut self, cpu: u32);
    /// All VMs have stopped.
    fn power_off(&mut self);
    /// Takes log bytes: (bytes, frames lost).
    fn log_read(&mut self, out: &mut [u8]) -> (usize, u64);
}

/// What the hypervisor tells the host of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A VM has stopped.
    Stopped(VmStopped),
    /// A VM starts again.
    Restarted {
        /// Its number.
        vm: u32,
    },
}

impl Report {
    /// Kind, bytes and their number of the record.
    pub fn encode(&self) -> (StreamKind, [u8; VmStopped::SIZE], usize) {
        let mut bytes = [0; VmStopped::SIZE];
        match self {
            Self::Stopped(record) => {
                let _ = record.write(&mut bytes);
                (StreamKind::VmStopped, bytes, VmStopped::SIZE)
            }
            Self::Restarted { vm } => {
                let [a, b, c, d] = vm.to_le_bytes();
                [bytes[0], bytes[1], bytes[2], bytes[3]] = [a, b, c, d];
                (StreamKind::VmRestarted, bytes, size_of::<u32>())
            }
        }
    }
}

/// A change of vCPU: VM and vCPU that ran and that run next.
#[derive(Clone, Copy, Debug)]
pub struct Switched {
    /// Who ran.
    pub from: (u32, u32),
    /// Who runs next.
    pub to: (u32, u32),
    /// [`probe_vm::points::Switch`].
    pub reason: u32,
    /// Priority of the next.
    pub priority: u32,
}

/// Places where probes can fire. A point without a probe is one `nop`, so the arguments are only things at hand.
#[allow(unused_variables, reason = "a machine without probes")]
pub trait Points {
    /// The path is known, nothing is decided.
    fn vm_exit(&mut self, path: PathId) {}
    /// All is decided, the guest goes on.
    fn vm_entry(&mut self, path: PathId) {}
    /// A hypercall, before it is carried out.
    fn hypercall(&mut self, path: PathId, frame: &Frame) {}
    /// A PSCI call, before it is carried out.
    fn psci(&mut self, path: PathId, frame: &Frame) {}
    /// A stage-2 fault that nothing answers.
    fn stage2_fault(&mut self, ipa: u64) {}
    /// An emulated access was carried out.
    fn mmio(&mut self, path: PathId, ipa: u64, value: u64, access: crate::exit::Access) {}
    /// A trapped system register access was carried out.
    fn sysreg_trap(&mut self, path: PathId, key: u32, value: u64, write: bool) {}
    /// A physical interrupt was acknowledged.
    fn irq(&mut self, path: PathId, intid: u32, owner: u32) {}
    /// A virtual interrupt became pending.
    fn virq_inject(&mut self, path: PathId, vm: u32, intid: u32, cause: u32) {}
    /// A call over a channel.
    fn ipc_call(&mut self, channel: u32, to_vm: u32, word0: u64, direct: bool) {}
    /// A reply over a channel.
    fn ipc_reply(&mut self, path: PathId, channel: u32, to_vm: u32, word0: u64) {}
    /// A notification.
    fn notify(&mut self, channel: u32, to_vm: u32, bits: u64, pending: u64) {}
    /// Another vCPU gets the CPU.
    fn sched_switch(&mut self, path: PathId, event: impl FnOnce() -> Switched) {}
    /// A vCPU blocks.
    fn vcpu_block(&mut self, path: PathId, reason: u32, channel: u32) {}
    /// A vCPU wakes.
    fn vcpu_wake(&mut self, path: PathId, vm: u32, cause: u32, detail: u32) {}
    /// A timer has expired; `None`: the running vCPU's own.
    fn timer(&mut self, path: PathId, due: Option<Instant>, kind: u32, owner: u32) {}
}
