//! Physical interrupts that the fast path does not serve.

use embassy_time::Instant;
use hyp_abi::PathId;
use probe_vm::points::{Cause, NOBODY, TimerKind};

use super::fast::{MAINTENANCE, PHYSICAL_TIMER, SPECIAL, VIRTUAL_TIMER, timer, uart_line};
use super::{Machine, power, smp};
use crate::cpu::{Cpu, NO_OWNER};
use crate::mail::order;
use crate::pmu;
use crate::vcpu::Run;

/// EL2's own timer.
const HYP_TIMER: u32 = 26;
/// Physical console.
pub const CONSOLE: u32 = 33;

/// SGI by which CPUs tell one another to look at their mail.
pub const CROSS_CPU: u32 = 0;
/// SGI by which a CPU tells itself to clear what stopped VMs have left behind: of lower priority than any other interrupt.
pub const SWEEP: u32 = 1;
/// First SPI.
const FIRST_SPI: u32 = 32;
/// Most bytes that one order of another CPU hands out.
const TAKE_MAX: usize = 64;

/// Serves the acknowledged interrupt `intid`.
pub fn serve<M: Machine>(cpu: &mut Cpu, m: &mut M, intid: u32) -> PathId {
    let path = match intid {
        VIRTUAL_TIMER | PHYSICAL_TIMER => {
            if let Some((vcpu, vm)) = cpu.running() {
                timer(vcpu, vm, m, intid);
            }
            wake_loaded(cpu, m, PathId::IrqVtimer, Cause::Timer, intid);
            return PathId::IrqVtimer;
        }
        SPECIAL.. => {
            m.vm_exit(PathId::IrqOther);
            return PathId::IrqOther;
        }
        MAINTENANCE => PathId::IrqMaintenance,
        HYP_TIMER => PathId::IrqTimer,
        CONSOLE => PathId::IrqUart,
        FIRST_SPI.. => PathId::IrqDevice,
        _ => PathId::IrqOther,
    };
    m.vm_exit(path);
    let owner = owner(cpu, intid);
    m.irq(path, intid, owner);
    m.drop_priority(intid);
    match path {
        PathId::IrqMaintenance => {
            if let Some((_, vm)) = cpu.running() {
                vm.vgic.maintain(m);
            }
            m.deactivate(intid);
        }
        PathId::IrqTimer => {
            alarm(cpu, m);
            m.deactivate(intid);
        }
        PathId::IrqUart => {
            console(cpu, m);
            m.deactivate(intid);
        }
        PathId::IrqDevice => device(cpu, m, intid, owner),
        _ if intid == SWEEP => {
            // Ended first: the next step interrupts again.
            m.deactivate(intid);
            power::sweep(cpu, m);
        }
        _ if intid == CROSS_CPU => {
            // Ended first: what comes from now on interrupts again.
            m.deactivate(intid);
            smp::receive(cpu, m);
        }
        _ if intid == pmu::INTID => counted(cpu, m),
        _ => m.deactivate(intid),
    }
    path
}

/// A counter of the running vCPU has overflowed: its interrupt goes to the guest with the physical one linked.
fn counted<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let Some((_, vm)) = cpu.running() else { return };
    vm.vgic.raise(pmu::INTID, true, m);
    let id = u32::from(vm.id);
    m.virq_inject(PathId::IrqOther, id, pmu::INTID, Cause::Device as u32);
    wake_loaded(cpu, m, PathId::IrqOther, Cause::Device, pmu::INTID);
}

/// VM that SPI `intid` belongs to.
fn owner(cpu: &Cpu, intid: u32) -> u32 {
    match intid.checked_sub(FIRST_SPI).and_then(|i| cpu.spi_owner.get(i as usize)) {
        Some(&vm) if vm != NO_OWNER => vm.into(),
        _ => NOBODY,
    }
}

/// EL2's timer: the vCPU whose timer is due wakes, or a time slice that is over ends. One thing at a time: what else is due
/// interrupts at once again, because the timer is set to it.
fn alarm<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let now = m.now();
    // Whatever is next must be set anew: what was armed has fired.
    cpu.alarm = Instant::MIN;
    cpu.sched.changed = true;
    let due = cpu.wakeups.nearest();
    if let Some(slot) = cpu.wakeups.take_due(now) {
        let Some(vcpu) = cpu.vcpus.get_mut(slot) else { return };
        let vm = u32::from(vcpu.id);
        m.timer(PathId::IrqTimer, Some(due), TimerKind::VtimerAway as u32, vm);
        if vcpu.run == Run::Wfi {
            // Its own timer interrupts as soon as it is loaded.
            vcpu.run = Run::Ready;
            let _ = cpu.sched.wake(slot);
            m.vcpu_wake(PathId::IrqTimer, vm, Cause::Timer as u32, VIRTUAL_TIMER);
        }
    } else if cpu.sched.needs_slice() && now >= cpu.slice_end() {
        m.timer(PathId::IrqTimer, Some(cpu.slice_end()), TimerKind::Slice as u32, NOBODY);
        let _ = cpu.sched.rotate();
    }
}

/// A byte from the console goes to the UART of the VM it is for.
fn console<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let Some((to, byte)) = m.console_interrupt() else {
        return;
    };
    cpu.focus = to;
    let Some(vm) = cpu.vms.get_mut(usize::from(to)) else {
        return;
    };
    if vm.alive {
        vm.uart.receive(byte);
        return received(cpu, m, PathId::IrqUart, to.into());
    }
    let known = cpu.mail.vm(to);
    if let Some((known, (there, slot))) = known.and_then(|k| Some((k, k.place(0)?)))
        && there != cpu.id
    {
        known.type_key(byte);
        cpu.mail.send_order(there, slot, order::KEYS);
        m.kick(there);
    }
}

/// Bytes for the console of VM `slot` came from the CPU that has the keyboard.
pub(super) fn keys<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize) {
    let mail = cpu.mail;
    let Some(vm) = cpu.vms.get_mut(slot) else { return };
    let Some(known) = mail.vm(vm.id) else { return };
    for _ in 0..TAKE_MAX {
        let Some(byte) = known.take_key() else { break };
        vm.uart.receive(byte);
    }
    received(cpu, m, PathId::IrqOther, slot);
}

/// The console of VM `slot` has received something.
fn received<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize) {
    let here = is_loaded(cpu, slot);
    let Some(vm) = cpu.vms.get_mut(slot) else { return };
    uart_line(vm, m, here);
    wake(cpu, m, path, slot, Cause::Emulated, CONSOLE);
}

/// The interrupt of a device that was given to a VM.
fn device<M: Machine>(cpu: &mut Cpu, m: &mut M, intid: u32, owner: u32) {
    let slot = owner as usize;
    let here = is_loaded(cpu, slot);
    let Some(vm) = cpu.vms.get_mut(slot).filter(|vm| vm.alive) else {
        m.disable_spi(intid);
        m.deactivate(intid);
        return;
    };
    vm.vgic.raise(intid, here, m);
    m.virq_inject(PathId::IrqDevice, owner, intid, Cause::Device as u32);
    wake(cpu, m, PathId::IrqDevice, slot, Cause::Device, intid);
}

/// Whether the list registers of the vCPU in `slot` are the hardware's.
pub(super) const fn is_loaded(cpu: &Cpu, slot: usize) -> bool {
    cpu.loaded as usize == slot
}

/// The vCPU in `slot` got an interrupt.
pub(super) fn wake<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, cause: Cause, detail: u32) {
    if cpu.loaded as usize == slot {
        wake_loaded(cpu, m, path, cause, detail);
    } else {
        wake_away(cpu, m, path, slot, cause, detail);
    }
}

/// The loaded vCPU got an interrupt: if it was waiting for one, it goes on.
pub(super) fn wake_loaded<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, cause: Cause, detail: u32) {
    let slot = cpu.loaded as usize;
    let vmcr = m.vmcr();
    let Some((vcpu, vm)) = cpu.running() else { return };
    if vcpu.run == Run::Wfi && vm.vgic.wants_cpu(m, vmcr) {
        vcpu.run = Run::Ready;
        let id = vcpu.id.into();
        let _ = cpu.sched.wake(slot);
        m.vcpu_wake(path, id, cause as u32, detail);
    }
}

/// A vCPU that is not loaded got an interrupt.
pub(super) fn wake_away<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, cause: Cause, detail: u32) {
    let waited = cpu.vcpus.get(slot).is_some_and(|v| v.run == Run::Wfi);
    cpu.wake_for_interrupt(slot);
    if let Some(vcpu) = cpu.vcpus.get(slot).filter(|v| waited && v.run == Run::Ready) {
        m.vcpu_wake(path, vcpu.id.into(), cause as u32, detail);
    }
}

/// Pends SPI `intid` at VM `to` for a notification.
pub(super) fn notify<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, to: usize, intid: u32) {
    let loaded = cpu.loaded as usize == to;
    let here = is_loaded(cpu, to);
    let Some(vm) = cpu.vms.get_mut(to) else { return };
    vm.vgic.raise(intid, here, m);
    m.virq_inject(path, to as u32, intid, Cause::Notify as u32);
    if !loaded {
        wake_away(cpu, m, path, to, Cause::Notify, intid);
    }
}
