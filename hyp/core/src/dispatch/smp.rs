//! What concerns vCPUs of other CPUs, and vCPUs that are not the first of their VM: SGIs between them, registers whose
//! state is elsewhere, CPU_ON, and the end of a VM. See [`crate::mail`].

use hyp_abi::{PathId, VMS_MAX};
use probe_vm::points::{Block, Cause};

use super::fast;
use super::{Machine, irq, power};
use crate::cpu::{Cpu, Vm};
use crate::exit::Esr;
use crate::mail::{Asked, VCPUS_PER_VM, VmMail, order};
use crate::psci::{Power, Powers, error};
use crate::vcpu::Run;
use crate::vgic::{REDIST_BYTES, SgiKind, targets};

/// SGIs of one group in a word of the mail.
pub(super) const SGIS: u32 = 16;

/// A write of an SGI register by the running vCPU: its own at once, the others' by mail.
pub(super) fn send_sgi<M: Machine>(cpu: &mut Cpu, m: &mut M, kind: SgiKind, value: u64) {
    let mail = cpu.mail;
    let (me, slot) = (cpu.id, cpu.loaded as usize);
    let Some((vcpu, vm)) = cpu.running() else { return };
    let (own, id) = (u32::from(vcpu.index), vcpu.id);
    let list = targets(value, own);
    let intid = (value >> 24) as u32 & 0xf;
    if list >> own & 1 != 0 {
        vm.vgic.send_sgi(kind, intid, true, m);
    }
    let bit = match kind {
        SgiKind::Group1 => 1 << intid,
        SgiKind::Group0 => 1 << (SGIS + intid),
        SgiKind::Other => return,
    };
    let Some(known) = mail.vm(id) else { return };
    let others = list & !(1 << own);
    for index in 0..VCPUS_PER_VM {
        if others >> index & 1 == 0 {
            continue;
        }
        match known.reach(index) {
            Some((there, to)) if there != me => {
                mail.send_sgis(there, to, bit);
                m.kick(there);
            }
            Some((_, to)) if to != slot => deliver(cpu, m, PathId::SysregSgi, to, bit),
            _ => {}
        }
    }
}

/// SGIs arrive at the vCPU in `slot` of this CPU.
fn deliver<M: Machine>(cpu: &mut Cpu, m: &mut M, path: PathId, slot: usize, bits: u32) {
    let here = irq::is_loaded(cpu, slot);
    let Some(vm) = cpu.vms.get_mut(slot) else { return };
    raise_all(vm, m, bits, here);
    let first = bits.trailing_zeros() % SGIS;
    m.virq_inject(path, vm.id.into(), first, Cause::Sgi as u32);
    irq::wake(cpu, m, path, slot, Cause::Sgi, first);
}

/// SGIs of a word of the mail pend at a vCPU.
#[inline(never)]
pub(super) fn raise_all<M: Machine>(vm: &mut Vm, m: &mut M, bits: u32, loaded: bool) {
    let mut left = bits;
    for _ in 0..2 * SGIS {
        if left == 0 {
            break;
        }
        let bit = left.trailing_zeros();
        left &= left - 1;
        let kind = if bit < SGIS { SgiKind::Group1 } else { SgiKind::Group0 };
        vm.vgic.send_sgi(kind, bit % SGIS, loaded, m);
    }
}

/// This CPU is in no probe: says so, and what it has counted if anybody may want to know.
pub fn pass<M: Machine>(cpu: &mut Cpu, m: &M) {
    let (mail, me) = (cpu.mail, cpu.id);
    if mail.grace.has_passed(me) {
        return;
    }
    let epoch = mail.grace.last();
    m.synchronise();
    let resets = mail.reports.resets();
    if cpu.resets != resets {
        cpu.resets = resets;
        cpu.clear_paths();
    }
    mail.reports.publish(me, &cpu.paths);
    mail.grace.pass(me, epoch);
}

/// Another CPU's interrupt: takes all that came.
pub(super) fn receive<M: Machine>(cpu: &mut Cpu, m: &mut M) {
    let (mail, me) = (cpu.mail, cpu.id);
    pass(cpu, m);
    // Perhaps this CPU was the last in the way.
    cpu.hazard |= mail.left();
    let mut slots = mail.take_slots(me);
    for _ in 0..u32::BITS {
        if slots == 0 {
            break;
        }
        let slot = slots.trailing_zeros() as usize;
        slots &= slots - 1;
        let (sgis, orders) = mail.take(me, slot);
        if orders != 0 {
            obey(cpu, m, slot, orders);
        }
        // What came before a vCPU started was for its last life.
        if sgis != 0 && orders & order::START == 0 {
            deliver(cpu, m, PathId::IrqOther, slot, sgis);
        }
    }
    let mut vms = mail.take_vms(me);
    for _ in 0..VMS_MAX {
        if vms == 0 {
            break;
        }
        let id = vms.trailing_zeros() as u8;
        vms &= vms - 1;
        serve_asking(cpu, m, id);
    }
}

fn obey<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, orders: u32) {
    if orders & order::STOP != 0 {
        return power::stopped_elsewhere(cpu, m, slot);
    }
    if orders & order::START != 0 {
        start(cpu, m, slot);
    }
    if orders & order::ANSWER != 0 {
        answered(cpu, m, slot);
    }
    if orders & order::KEYS != 0 {
        irq::keys(cpu, m, slot);
    }
}

/// CPU_ON of the vCPU in `slot`, which has been claimed.
fn start<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize) {
    let mail = cpu.mail;
    let (Some(vcpu), Some(vm)) = (cpu.vcpus.get_mut(slot), cpu.vms.get_mut(slot)) else {
        return;
    };
    let Some(known) = mail.vm(vcpu.id) else { return };
    let (id, index) = (vcpu.id, usize::from(vcpu.index));
    let (entry, context) = known.start(index);
    vm.vgic.restart();
    // GICD_CTLR, offset 0: the private part follows the distributor's enables.
    vm.vgic.dist_write(0, 4, known.groups().into(), false, m);
    vcpu.start(entry, context);
    power::unload(cpu, m, slot);
    known.set_power(index, Power::On);
    let _ = cpu.sched.wake(slot);
    m.vcpu_wake(PathId::IrqOther, id.into(), Cause::Emulated as u32, 0);
}

/// PSCI CPU_ON by the running vCPU: x0.
pub(super) fn cpu_on<M: Machine>(cpu: &mut Cpu, m: &mut M, target: usize, entry: u64, context: u64) -> u64 {
    let (mail, me) = (cpu.mail, cpu.id);
    let Some((vcpu, vm)) = cpu.running() else {
        return error::INVALID_PARAMETERS;
    };
    let Some(known) = mail.vm(vcpu.id) else {
        return error::INVALID_PARAMETERS;
    };
    if vcpu.index == 0 {
        known.set_groups(vm.vgic.groups());
    }
    let Some((there, slot)) = known.place(target) else {
        return error::INVALID_PARAMETERS;
    };
    if !known.claim(target, entry, context) {
        return if known.power(target) == Power::On {
            error::ALREADY_ON
        } else {
            error::ON_PENDING
        };
    }
    if there == me {
        start(cpu, m, slot);
    } else {
        mail.send_order(there, slot, order::START);
        m.kick(there);
    }
    0
}

/// Power states of the running VM's vCPUs.
pub(super) fn powers(cpu: &mut Cpu) -> Powers {
    let mail = cpu.mail;
    let mut all = Powers::default();
    let Some((vcpu, vm)) = cpu.running() else {
        return all;
    };
    if let Some(known) = mail.vm(vcpu.id) {
        for index in 0..VCPUS_PER_VM {
            if index < usize::from(vm.vcpus) {
                all.push(known.power(index));
            }
        }
    }
    all
}

/// A data abort that no fast path served: registers of the interrupt controller and the console that are not the running vCPU's own.
/// `None`: nothing is there.
pub(super) fn data_abort<M: Machine>(cpu: &mut Cpu, m: &mut M, esr: Esr) -> Option<PathId> {
    let at = fast::device_access(m, esr)?;
    let (mail, me) = (cpu.mail, cpu.id);
    let (vcpu, vm) = cpu.running()?;
    let (id, index) = (vcpu.id, vcpu.index);
    let known = mail.vm(id)?;
    let path = match fast::device_of(at.ipa, vm.has_uart) {
        Some(path @ (PathId::MmioGicd | PathId::MmioUart)) => path,
        _ => frame_of(at.ipa).map(|_| PathId::MmioGicr)?,
    };
    let (there, slot) = owner_of(known, at.ipa)?;
    m.vm_exit(path);
    let write = at
        .access
        .write
        .then(|| at.access.stored(vcpu.frame.get(at.access.register)));
    let asked = Asked {
        ipa: at.ipa,
        size: at.access.size,
        write,
    };
    m.set_pc(m.pc() + at.step);
    if there != me {
        vcpu.pending = Some(at.access);
        vcpu.run = Run::Waiting;
        mail.ask(there, id, index, asked);
        let own = cpu.loaded as usize;
        let _ = cpu.sched.block(own);
        m.vcpu_block(path, Block::Wfi as u32, u32::MAX);
        m.kick(there);
        return Some(path);
    }
    let value = access(cpu, m, slot, &asked);
    m.mmio(path, at.ipa, value, at.access);
    if let Some((vcpu, _)) = cpu.running().filter(|_| !at.access.write) {
        vcpu.frame.set(at.access.register, at.access.loaded(value));
    }
    Some(path)
}

/// The redistributor whose frame holds `ipa`, if vCPUs can have one there.
fn frame_of(ipa: u64) -> Option<usize> {
    let frame = ipa.checked_sub(fast::GICR_IPA)? / REDIST_BYTES;
    (frame < VCPUS_PER_VM as u64).then_some(frame as usize)
}

/// CPU and slot of the vCPU whose state an access is to: of a redistributor its own, of all else the VM's first. Both the CPU that asks
/// and the one that is asked go by this.
fn owner_of(known: &VmMail, ipa: u64) -> Option<(u32, usize)> {
    known.place(frame_of(ipa).unwrap_or(0))
}

/// Carries out an access to the state of the vCPU in `slot` of this CPU; what was read or written.
fn access<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize, asked: &Asked) -> u64 {
    let here = irq::is_loaded(cpu, slot);
    let Some(vm) = cpu.vms.get_mut(slot) else { return 0 };
    let value = match fast::device_of(asked.ipa, vm.has_uart) {
        Some(PathId::MmioGicd) => {
            let offset = asked.ipa.wrapping_sub(fast::GICD_IPA) as u32;
            match asked.write {
                Some(value) => {
                    vm.vgic.dist_write(offset, asked.size, value, here, m);
                    value
                }
                None => vm.vgic.dist_read(offset, asked.size, here, m),
            }
        }
        Some(PathId::MmioUart) => {
            let offset = asked.ipa.wrapping_sub(fast::UART_IPA) as u32;
            match asked.write {
                Some(value) => {
                    fast::uart_write(vm.id, vm, m, offset, value as u32, here);
                    value
                }
                None => fast::uart_read(vm, m, offset, here),
            }
        }
        _ => {
            let offset = (asked.ipa.wrapping_sub(fast::GICR_IPA) % REDIST_BYTES) as u32;
            match asked.write {
                Some(value) => {
                    vm.vgic.redist_write(offset, asked.size, value, here, m);
                    value
                }
                None => vm.vgic.redist_read(offset, asked.size, here, m),
            }
        }
    };
    irq::wake(cpu, m, PathId::IrqOther, slot, Cause::Emulated, 0);
    value
}

/// Serves the vCPUs of VM `id` that ask this CPU.
fn serve_asking<M: Machine>(cpu: &mut Cpu, m: &mut M, id: u8) {
    let (mail, me) = (cpu.mail, cpu.id);
    let Some(known) = mail.vm(id) else { return };
    let asking = mail.take_asking(me, id);
    for index in 0..VCPUS_PER_VM {
        if asking >> index & 1 == 0 {
            continue;
        }
        let (Some(asked), Some((there, slot))) = (known.asked(index), known.place(index)) else {
            continue;
        };
        let value = match owner_of(known, asked.ipa) {
            Some((cpu_of, slot_of)) if cpu_of == me => access(cpu, m, slot_of, &asked),
            _ => 0,
        };
        known.answer(index, value);
        mail.send_order(there, slot, order::ANSWER);
        m.kick(there);
    }
}

/// What the vCPU in `slot` asked for has been done.
fn answered<M: Machine>(cpu: &mut Cpu, m: &mut M, slot: usize) {
    let mail = cpu.mail;
    let Some(vcpu) = cpu.vcpus.get_mut(slot) else { return };
    let (Some(access), Some(known)) = (vcpu.pending.take(), mail.vm(vcpu.id)) else {
        return;
    };
    if !access.write {
        let value = known.answered(usize::from(vcpu.index));
        vcpu.frame.set(access.register, access.loaded(value));
    }
    vcpu.run = Run::Ready;
    let id = vcpu.id;
    let _ = cpu.sched.wake(slot);
    m.vcpu_wake(PathId::IrqOther, id.into(), Cause::Emulated as u32, 0);
}
