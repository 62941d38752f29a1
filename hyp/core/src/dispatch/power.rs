//! PSCI power calls and the end of a VM.

use hyp_abi::record::{StopCause, StreamKind, VmStopped};
use hyp_abi::{PathId, Rights};
use probe_vm::points::{Block, Cause};

use super::{Machine, slow};
use crate::cpu::Cpu;
use crate::exit::fault_ipa;
use crate::psci::{Action, error};
use crate::vcpu::Run;

/// Carries out a PSCI decision; `Action::Return` was most likely served by the fast path.
pub fn carry_out<M: Machine>(cpu: &mut Cpu, m: &mut M, action: Action) -> PathId {
    let mut x0 = |value: u64| {
        if let Some((vcpu, _)) = cpu.running() {
            vcpu.frame.set(0, value);
        }
    };
    match action {
        Action::Return(value) => {
            x0(value);
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
            x0(0);
            slow::suspend(cpu, m, PathId::PsciPower);
        }
        // One vCPU for each VM: there is none to be turned on.
        Action::CpuOn { .. } => x0(error::INVALID_PARAMETERS),
        Action::CpuOff => stop(cpu, m, StopCause::PowerOff, 0),
        Action::SystemOff => system_off(cpu, m),
        Action::SystemReset => stop(cpu, m, StopCause::Reset, 0),
    }
    PathId::PsciPower
}

fn system_off<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let whole = cpu
        .running()
        .is_some_and(|(_, vm)| vm.rights.contains(Rights::SYSTEM_OFF));
    stop(cpu, m, StopCause::PowerOff, 0);
    if whole {
        cpu.alive = 0;
    }
}

/// Stops the running VM: report, channels, devices. EL2 and the others go on.
pub fn stop<M: Machine>(cpu: &mut Cpu, m: &mut M, cause: StopCause, code: u32) {
    let slot = cpu.loaded as usize;
    let Some((vcpu, vm)) = cpu.running() else { return };
    let id = vcpu.vm;
    let mut record = VmStopped {
        vm: id.into(),
        vcpu: vcpu.index.into(),
        cause: cause as u32,
        code,
        esr: m.esr(),
        far: m.far(),
        ipa: fault_ipa(m.hpfar(), m.far()),
        elr: m.pc(),
        spsr: m.spsr(),
        sp_el1: m.sp_el1(),
        x: [0; 31],
    };
    for (n, x) in (0..).zip(record.x.iter_mut()) {
        *x = vcpu.frame.get(n);
    }
    vcpu.run = Run::Stopped;
    vm.alive = false;
    vm.faulted = !matches!(cause, StopCause::PowerOff) && code != 0
        || matches!(cause, StopCause::MemoryFault | StopCause::UnknownException);
    let mut bytes = [0; VmStopped::SIZE];
    if record.write(&mut bytes).is_some() {
        m.report(StreamKind::VmStopped, &bytes);
    }
    cpu.alive = cpu.alive.saturating_sub(1);
    let _ = cpu.sched.block(slot);
    cpu.wakeups.set(slot, None);
    if cpu.fp_owner == slot as u32 {
        cpu.fp_owner = crate::cpu::NO_SLOT;
        m.release_fp();
    }
    for (intid, owner) in (32..).zip(cpu.spi_owner) {
        if owner == id {
            m.disable_spi(intid);
        }
    }
    m.vcpu_block(PathId::PsciPower, Block::Off as u32, u32::MAX);
    cpu.hazard |= 1 << id;
    partners(cpu, m, usize::from(id));
}

/// Calls and waits on channels to the VM that stopped end with a status.
fn partners<M: Machine>(cpu: &mut Cpu, m: &mut M, vm: usize) {
    let Cpu { ipc, vcpus, sched, .. } = cpu;
    ipc.stopped(vm, |partner, status| {
        if let Some(vcpu) = vcpus.get_mut(partner)
            && vcpu.run == Run::Waiting
        {
            vcpu.frame.set(0, status.x0());
            vcpu.run = Run::Ready;
            let _ = sched.wake(partner);
            m.vcpu_wake(PathId::PsciPower, vcpu.vm.into(), Cause::Ipc as u32, 0);
        }
    });
}
