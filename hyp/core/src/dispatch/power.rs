//! PSCI power calls and the end of a VM.

use hyp_abi::record::{StopCause, VmStopped};
use hyp_abi::{CHANNEL_ENDS_MAX, PathId, Rights};
use probe_vm::points::{Block, Cause};

use super::{Machine, Report, restart, slow, smp};
use crate::cpu::{Cpu, NO_SLOT};
use crate::exit::fault_ipa;
use crate::mail::{VCPUS_PER_VM, VmMail, order};
use crate::psci::{Action, Power};
use crate::vcpu::Run;

/// Carries out a PSCI decision; `Action::Return` was most likely served by the fast path.
pub fn carry_out<M: Machine>(cpu: &mut Cpu, m: &mut M, action: Action) -> PathId {
    match action {
        Action::Return(value) => {
            result(cpu, value);
            return PathId::Psci;
        }
        Action::ReturnUid(words) => {
            if let Some((vcpu, _)) = cpu.running() {
                for (n, word) in (0..).zip(words) {
                    vcpu.frame.set(n, word.into());
                }
            }
            return PathId::Psci;
        }
        Action::Suspend => {
            result(cpu, 0);
            slow::suspend(cpu, m, PathId::PsciPower);
        }
        Action::CpuOn { target, entry, context } => {
            let x0 = smp::cpu_on(cpu, m, target, entry, context);
            result(cpu, x0);
        }
        Action::CpuOff => cpu_off(cpu, m),
        Action::SystemOff => system_off(cpu, m),
        Action::SystemReset => reset(cpu, m),
    }
    PathId::PsciPower
}

fn result(cpu: &mut Cpu, x0: u64) {
    if let Some((vcpu, _)) = cpu.running() {
        vcpu.frame.set(0, x0);
    }
}

/// The running vCPU goes off; with the last one that is on, the VM.
fn cpu_off<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    if smp::powers(cpu).awake() <= 1 {
        return stop(cpu, m, StopCause::PowerOff, 0);
    }
    let slot = cpu.loaded as usize;
    quiet(cpu, m, slot, Run::Off);
    m.vcpu_block(PathId::PsciPower, Block::Off as u32, u32::MAX);
}

fn system_off<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let whole = cpu
        .running()
        .is_some_and(|(_, vm)| vm.rights.contains(Rights::SYSTEM_OFF));
    stop(cpu, m, StopCause::PowerOff, 0);
    if whole {
        cpu.off = true;
    }
}

/// SYSTEM_RESET: the VM starts again if its manifest says so; else it stops.
fn reset<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let slot = cpu.loaded as usize;
    let mail = cpu.mail;
    let Some((vcpu, vm)) = cpu.running() else { return };
    let (id, again) = (vcpu.id, vm.restart);
    let Some(known) = mail.vm(id).filter(|_| again) else {
        return stop(cpu, m, StopCause::Reset, 0);
    };
    known.set_resetting(true);
    quiet(cpu, m, slot, Run::Stopped);
    m.vcpu_block(PathId::PsciPower, Block::Off as u32, u32::MAX);
    begin_end(cpu, m, id);
}

/// The vCPU in `slot` runs no more.
fn quiet<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, run: Run) {
    let Some(vcpu) = cpu.vcpus.get_mut(slot) else { return };
    vcpu.run = run;
    vcpu.pending = None;
    if let Some(known) = cpu.mail.vm(vcpu.id) {
        known.set_power(vcpu.index.into(), Power::Off);
    }
    let _ = cpu.sched.block(slot);
    cpu.wakeups.set(slot, None);
    if cpu.fp_owner == slot as u32 {
        cpu.fp_owner = NO_SLOT;
        m.release_fp();
    }
}

/// The vCPU in `slot` begins another life: what the hardware still holds of it, if it is loaded, is of the last one. Its registers
/// are loaded when it is chosen next, though nobody else ran.
pub(super) fn unload<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize) {
    if cpu.loaded as usize == slot {
        m.abandon();
        cpu.loaded = NO_SLOT;
        // It must be chosen again, though its turn has not ended.
        cpu.sched.changed = true;
    }
}

/// Stops the running vCPU's VM: report, channels, devices, and its other vCPUs. EL2 and the other VMs go on.
pub fn stop<M: Machine>(cpu: &mut Cpu, m: &mut M, cause: StopCause, code: u32) {
    let slot = cpu.loaded as usize;
    let Some((vcpu, _)) = cpu.running() else { return };
    let (id, index) = (vcpu.id, vcpu.index);
    let record = VmStopped {
        vm: id.into(),
        vcpu: index.into(),
        cause: cause as u32,
        code,
        esr: m.esr(),
        far: m.far(),
        ipa: fault_ipa(m.hpfar(), m.far()),
        elr: m.pc(),
        spsr: m.spsr(),
        sp_el1: m.sp_el1(),
        x: vcpu.frame.registers(),
    };
    m.report(&Report::Stopped(record));
    quiet(cpu, m, slot, Run::Stopped);
    m.vcpu_block(PathId::PsciPower, Block::Off as u32, u32::MAX);
    let faulted = !matches!(cause, StopCause::PowerOff) && code != 0
        || matches!(cause, StopCause::MemoryFault | StopCause::UnknownException);
    if let Some(known) = cpu.mail.vm(id) {
        known.set_faulted(faulted);
    }
    begin_end(cpu, m, id);
}

/// The rest of VM `id`'s end follows step by step, each in a stay of its own, when no other interrupt is there to be served.
fn begin_end<M: Machine>(cpu: &mut Cpu, m: &mut M, id: u8) {
    cpu.ending |= 1 << id;
    m.sweep_soon(cpu.id);
}

/// Steps of an end: other vCPUs one by one, then what the VM has on the CPU of its first vCPU: its life and devices, its channels one by one,
/// and what is cleared away later or restarted.
const STEP_LIFE: usize = VCPUS_PER_VM;
const STEP_CHANNELS: usize = STEP_LIFE + 1;
const STEP_LAST: usize = STEP_CHANNELS + CHANNEL_ENDS_MAX;

/// One step of the first end that is under way.
pub(super) fn sweep<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    if cpu.ending == 0 {
        return;
    }
    let (id, step) = (cpu.ending.trailing_zeros() as u8, cpu.ending_step);
    let going_on = if step < STEP_LIFE {
        stop_other(cpu, m, id, step);
        true
    } else if step == STEP_LIFE {
        life(cpu, m, id)
    } else if step < STEP_LAST {
        partners(cpu, m, usize::from(id), step - STEP_CHANNELS);
        true
    } else {
        cpu.hazard |= 1 << id;
        if cpu.mail.vm(id).is_some_and(VmMail::resetting) {
            restart::begin(cpu, m, id);
        }
        false
    };
    if going_on {
        cpu.ending_step = step + 1;
    } else {
        cpu.ending &= cpu.ending - 1;
        cpu.ending_step = 0;
    }
    if cpu.ending != 0 {
        m.sweep_soon(cpu.id);
    }
}

/// vCPU `other` of VM `id` stops, if it has not: at once if it is one of this CPU, else when its CPU hears of it.
fn stop_other<M: Machine>(cpu: &mut Cpu, m: &mut M, id: u8, other: usize) {
    let (mail, me) = (cpu.mail, cpu.id);
    match mail.vm(id).and_then(|known| known.place(other)) {
        Some((there, to)) if there != me => {
            mail.send_order(there, to, order::STOP);
            m.kick(there);
        }
        Some((_, to)) => stopped_elsewhere(cpu, m, to),
        None => {}
    }
}

/// Another vCPU of the VM stopped it: so does the one in `slot`.
pub(super) fn stopped_elsewhere<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize) {
    let Some(vcpu) = cpu.vcpus.get(slot).filter(|vcpu| vcpu.run != Run::Stopped) else {
        return;
    };
    let (id, index) = (vcpu.id, vcpu.index);
    quiet(cpu, m, slot, Run::Stopped);
    if index == 0 {
        begin_end(cpu, m, id);
    } else if !cpu.mail.vm(id).is_some_and(VmMail::resetting) {
        // It may have brought a probe in the meantime.
        cpu.hazard |= 1 << id;
    }
}

/// The end of the VM's life and of its devices' interrupts; false if it is another CPU's to end, or has been ended.
fn life<M: Machine>(cpu: &mut Cpu, m: &mut M, id: u8) -> bool {
    let mail = cpu.mail;
    let here = mail
        .vm(id)
        .and_then(|known| known.place(0))
        .is_some_and(|(cpu_of, _)| cpu_of == cpu.id);
    let Some(vm) = cpu.vms.get_mut(usize::from(id)).filter(|vm| here && vm.alive) else {
        return false;
    };
    if !mail.vm(id).is_some_and(VmMail::resetting) {
        vm.alive = false;
        vm.faulted = mail.vm(id).is_some_and(VmMail::faulted);
        m.disable_spis(&vm.spis);
        cpu.off |= mail.stopped();
        cpu.sched.changed = true;
    }
    true
}

/// Calls and waits on end `number` of the channels of the VM that stopped end with a status.
fn partners<M: Machine>(cpu: &mut Cpu, m: &mut M, vm: usize, number: usize) {
    let Cpu { ipc, vcpus, sched, .. } = cpu;
    ipc.stopped(vm, number, |partner, status| {
        if let Some(vcpu) = vcpus.get_mut(partner)
            && vcpu.run == Run::Waiting
        {
            vcpu.frame.set(0, status.x0());
            vcpu.run = Run::Ready;
            let _ = sched.wake(partner);
            m.vcpu_wake(PathId::IrqOther, vcpu.vm.into(), Cause::Ipc as u32, 0);
        }
    });
}
