//! SYSTEM_RESET: a VM starts again from its images.
//!
//! Clearing and filling memory is long, so the VM's first vCPU does it itself, in its own time and at its own priority: it is
//! made to fetch from where nothing is, and each abort that this causes is one piece of the work ([`step`]). So every stay is
//! bounded, interrupts are taken between two pieces, and no other exit pays for it.

use hyp_abi::PathId;

use super::{Machine, Report, fast, power};
use crate::cpu::Cpu;
use crate::mail::VCPUS_PER_VM;
use crate::psci::Power;
use crate::vcpu::Run;

/// Where a vCPU that restarts fetches from: the distributor's registers, which no stage 2 maps.
const NOWHERE: u64 = fast::GICD_IPA;

/// Begins the restart of VM `id`, whose vCPUs have been told to stop. Its first vCPU's CPU calls this.
pub(super) fn begin<M: Machine>(cpu: &mut Cpu, m: &mut M, id: u8) {
    let slot = usize::from(id);
    let (Some(vcpu), Some(vm)) = (cpu.vcpus.get_mut(slot), cpu.vms.get_mut(slot)) else {
        return;
    };
    // Nothing of the last life's interrupts may be loaded with the next.
    vm.vgic.reset();
    vcpu.start(NOWHERE, 0);
    vcpu.restarting = Some(0);
    power::unload(cpu, m, slot);
    let _ = cpu.sched.wake(slot);
    m.report(&Report::Restarted { vm: id.into() });
}

/// One piece of the running vCPU's restart; `None` if it is in none.
pub(super) fn step<M: Machine>(cpu: &mut Cpu, m: &mut M) -> Option<PathId> {
    let mail = cpu.mail;
    let (vcpu, vm) = cpu.running()?;
    let at = vcpu.restarting?;
    m.vm_exit(PathId::PsciPower);
    let id = vcpu.id;
    let known = mail.vm(id)?;
    // Another CPU's vCPU may be on its way to its stop: until then memory is its, too.
    if (1..VCPUS_PER_VM).any(|index| known.power(index) != Power::Off) {
        return Some(PathId::PsciPower);
    }
    if let Some(next) = m.restore(id, at) {
        vcpu.restarting = Some(next);
        return Some(PathId::PsciPower);
    }
    vcpu.restarting = None;
    vm.vgic.reset();
    vm.uart = crate::pl011::Pl011::new();
    let (entry, x0, spis) = (vm.entry, vm.x0, vm.spis);
    vcpu.start(entry, x0);
    vcpu.run = Run::Ready;
    known.set_resetting(false);
    known.set_power(0, Power::On);
    cpu.ipc.started(usize::from(id));
    // Devices' interrupts that the last life has not ended.
    m.end_spis(&spis);
    power::unload(cpu, m, usize::from(id));
    Some(PathId::PsciPower)
}
