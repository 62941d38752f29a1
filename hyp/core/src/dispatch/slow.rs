//! Everything else: exits that wait, wake, stop or switch, or need every register. The whole frame is saved.

use embassy_time::Instant;
use hyp_abi::PathId;
use probe_vm::points::{Block, NOBODY, Switch};

use super::{Machine, Services, Switched, fast, hypercall, id_register_value, irq, power, restart, smp};
use crate::cpu::{Cpu, Deferred, NO_SLOT, rare};
use crate::exit::{Esr, class, fault_ipa, sysreg};
use crate::pmu;
use crate::vcpu::Run;
use crate::vgic::SgiKind;
use hyp_abi::record::StopCause;

/// Serves what the fast part left.
pub fn serve<M: Machine, S: Services<M>>(cpu: &mut Cpu, m: &mut M, services: &mut S) -> PathId {
    match cpu.deferred {
        Deferred::Irq(intid) => irq::serve(cpu, m, intid),
        Deferred::Sync => sync(cpu, m, services),
        Deferred::SError => {
            m.vm_exit(PathId::GuestFault);
            power::stop(cpu, m, StopCause::UnknownException, 0);
            PathId::GuestFault
        }
    }
}

fn sync<M: Machine, S: Services<M>>(cpu: &mut Cpu, m: &mut M, services: &mut S) -> PathId {
    let esr = Esr(m.esr());
    match esr.class() {
        class::HVC => hypercall::call(cpu, m, services),
        class::SMC => {
            // The trap is taken before the SMC: it must not be executed again (Arm ARM D1.5.4).
            m.set_pc(m.pc() + 4);
            hypercall::smc(cpu, m)
        }
        class::WFX => wait(cpu, m, esr),
        class::FP => fp(cpu, m),
        class::SYSREG => system_register(cpu, m, esr),
        // What is an access to an emulated device was served by the fast part.
        class::DATA_ABORT => smp::data_abort(cpu, m, esr).unwrap_or_else(|| fault(cpu, m)),
        class::INSTRUCTION_ABORT => restart::step(cpu, m).unwrap_or_else(|| fault(cpu, m)),
        _ => {
            m.vm_exit(PathId::Sysreg);
            m.inject_undefined();
            PathId::Sysreg
        }
    }
}

fn wait<M: Machine>(cpu: &mut Cpu, m: &mut M, esr: Esr) -> PathId {
    m.vm_exit(PathId::Wfi);
    m.set_pc(m.pc() + esr.instruction_bytes());
    if !esr.is_wfe() {
        suspend(cpu, m, PathId::Wfi);
    }
    PathId::Wfi
}

/// WFI of the running vCPU: it blocks unless an interrupt is there.
pub(super) fn suspend<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId) {
    let slot = cpu.loaded as usize;
    let vmcr = m.vmcr();
    let Some((vcpu, vm)) = cpu.running() else { return };
    // A timer that the guest disarmed without taking its interrupt must not keep it from waiting.
    for intid in [fast::VIRTUAL_TIMER, fast::PHYSICAL_TIMER] {
        if !m.timer_line(intid) {
            vm.vgic.line_fell(intid, m);
        }
    }
    if vm.vgic.wants_cpu(m, vmcr) {
        return;
    }
    vcpu.run = Run::Wfi;
    let _ = cpu.sched.block(slot);
    m.vcpu_block(path, Block::Wfi as u32, u32::MAX);
}

fn fp<M: Machine>(cpu: &mut Cpu, m: &mut M) -> PathId {
    m.vm_exit(PathId::Fpsimd);
    m.switch_fp(&mut cpu.vcpus, cpu.fp_owner, cpu.loaded);
    cpu.fp_owner = cpu.loaded;
    PathId::Fpsimd
}

fn system_register<M: Machine>(cpu: &mut Cpu, m: &mut M, esr: Esr) -> PathId {
    let access = esr.sysreg();
    let kind = match access.key {
        sysreg::SGI1R => Some(SgiKind::Group1),
        sysreg::SGI0R => Some(SgiKind::Group0),
        sysreg::ASGI1R => Some(SgiKind::Other),
        _ => None,
    };
    if pmu::is_register(access.key) {
        return performance(cpu, m, esr);
    }
    let path = if kind.is_some() {
        PathId::SysregSgi
    } else {
        PathId::Sysreg
    };
    m.vm_exit(path);
    let Some((vcpu, vm)) = cpu.running() else { return path };
    let mut value = vcpu.frame.get(access.register);
    match kind {
        Some(kind) if access.write => smp::send_sgi(cpu, m, kind, value),
        Some(_) => {
            m.inject_undefined();
            return path;
        }
        None if access.key == sysreg::DIR && access.write => vm.vgic.deactivate(value, m),
        None if access.key & sysreg::ID_MASK == sysreg::ID_SPACE && !access.write => {
            let index = sysreg::id_index(access.key);
            value = id_register_value(index, m.id_register(index));
            vcpu.frame.set(access.register, value);
        }
        // Debug, set/way maintenance and implementation defined registers: read as zero, writes ignored.
        None if access.write => {}
        None => {
            value = 0;
            vcpu.frame.set(access.register, 0);
        }
    }
    m.sysreg_trap(path, access.key, value, access.write);
    m.set_pc(m.pc() + esr.instruction_bytes());
    path
}

/// A trapped access to the performance monitors.
fn performance<M: Machine>(cpu: &mut Cpu, m: &mut M, esr: Esr) -> PathId {
    let (access, path) = (esr.sysreg(), PathId::Sysreg);
    m.vm_exit(path);
    let identity = m.pmu_identity();
    let Some((vcpu, vm)) = cpu.running() else { return path };
    let was = vcpu.pmu.is_active();
    if was {
        m.pmu_take(&mut vcpu.pmu);
    }
    let write = access.write.then(|| vcpu.frame.get(access.register));
    let value = vcpu.pmu.access(access.key, write, &identity);
    if !access.write {
        vcpu.frame.set(access.register, value);
    }
    let is = vcpu.pmu.is_active();
    if was || is {
        m.pmu_give(&vcpu.pmu);
    }
    if access.write && !vcpu.pmu.line() {
        vm.vgic.line_fell(pmu::INTID, m);
    }
    if is {
        cpu.rare |= rare::PMU;
    }
    m.sysreg_trap(path, access.key, value, access.write);
    m.set_pc(m.pc() + esr.instruction_bytes());
    path
}

/// A stage-2 abort that nothing answers: the VM stops.
fn fault<M: Machine>(cpu: &mut Cpu, m: &mut M) -> PathId {
    m.vm_exit(PathId::Stage2Fault);
    m.stage2_fault(fault_ipa(m.hpfar(), m.far()));
    power::stop(cpu, m, StopCause::MemoryFault, 0);
    PathId::Stage2Fault
}

/// Who has the CPU next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The loaded vCPU goes on.
    Same,
    /// Registers must be switched to this slot.
    Switch(usize),
    /// Nobody: wait for an interrupt.
    Idle,
    /// No VM is left.
    Off,
}

/// Chooses the next vCPU and sets EL2's timer, if anything has changed since that was last done. Called after every slow exit.
#[inline(always)]
pub fn schedule<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId) -> Next {
    if !cpu.sched.take_changed() {
        return if cpu.idle { Next::Idle } else { Next::Same };
    }
    // What ends the system blocks the vCPU that asks for it.
    if cpu.off {
        return Next::Off;
    }
    let before = cpu.sched.current();
    let next = cpu.sched.next();
    if cpu.idle || next.is_none_or(|slot| slot as u32 != cpu.loaded) {
        changed(cpu, m, path, before, next);
    }
    match next {
        Some(slot) if slot as u32 != cpu.loaded => Next::Switch(slot),
        Some(_) => {
            set_next_alarm(cpu, m);
            Next::Same
        }
        None => {
            set_next_alarm(cpu, m);
            Next::Idle
        }
    }
}

/// The CPU changes hands, perhaps to or from nobody.
#[inline(always)]
fn changed<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, before: Option<usize>, next: Option<usize>) {
    if cpu.idle && next.is_none() {
        return;
    }
    let now: &Cpu = cpu;
    m.sched_switch(path, || Switched {
        from: if now.idle { (NOBODY, 0) } else { who(now, now.loaded) },
        to: next.map_or((NOBODY, 0), |slot| who(now, slot as u32)),
        reason: if now.idle {
            Switch::Idle
        } else {
            reason(now, path, before.is_some())
        } as u32,
        priority: next.map_or(0, |slot| now.sched.priority(slot).into()),
    });
    cpu.idle = next.is_none();
}

/// VM and vCPU of a slot.
fn who(cpu: &Cpu, slot: u32) -> (u32, u32) {
    cpu.vcpus
        .get(slot as usize)
        .map_or((NOBODY, 0), |v| (v.id.into(), v.index.into()))
}

/// Why the loaded vCPU gives way.
fn reason(cpu: &Cpu, path: PathId, ran: bool) -> Switch {
    let run = cpu.vcpus.get(cpu.loaded as usize).map(|v| v.run);
    match (run, path) {
        (Some(Run::Stopped), _) => Switch::Stop,
        (_, PathId::IpcCall | PathId::IpcReplyRecv) => Switch::Ipc,
        (_, PathId::HypercallYield) => Switch::Yield,
        (Some(Run::Ready), PathId::IrqTimer) => Switch::Slice,
        (Some(Run::Ready), _) if ran => Switch::Preempt,
        _ => Switch::Block,
    }
}

/// After a switch to `to`: the vCPU that left may have armed a timer that must wake it.
#[inline(always)]
pub fn switched<M: Machine>(cpu: &mut Cpu, m: &mut M, from: u32, to: usize) {
    if from != NO_SLOT
        && let Some(vcpu) = cpu.vcpus.get(from as usize)
    {
        let due = if vcpu.run == Run::Wfi {
            vcpu.el1.timer_due().map(|count| m.instant(count))
        } else {
            None
        };
        if due.is_some() {
            cpu.wakeups.set(from as usize, due);
        }
    }
    if cpu.wakeups.is_armed(to) {
        cpu.wakeups.set(to, None);
    }
    cpu.loaded = to as u32;
    set_next_alarm(cpu, m);
}

/// After the CPU was handed over ([`super::direct`]): neither vCPU waits for a timer, and nobody shares the priority.
#[inline(always)]
pub fn handed_over<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let alarm = cpu.wakeups.nearest();
    set_alarm(cpu, m, alarm);
}

#[inline(always)]
fn set_next_alarm<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let alarm = cpu.next_alarm();
    set_alarm(cpu, m, alarm);
}

#[inline(always)]
fn set_alarm<M: Machine>(cpu: &mut Cpu, m: &mut M, alarm: Instant) {
    if alarm != cpu.alarm {
        cpu.alarm = alarm;
        m.set_alarm(alarm);
    }
}
