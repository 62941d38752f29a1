//! The fast path: exits that return to the same vCPU.
//!
//! `hyp-el2` has one entry for each exit class, which calls one of these with the vCPU, its VM and the machine apart. Each decides
//! before it changes anything: `false` or `None` means "not here", everything is as it was, and the slow part takes over.

use hyp_abi::{PathId, VMS_MAX};
use probe_vm::points::{Cause, NOBODY, TimerKind};

use super::Machine;
use super::irq::CROSS_CPU;
use super::smp::{self, SGIS};
use crate::cpu::Vm;
use crate::exit::{Access, Esr, fault_ipa, sysreg};
use crate::mail::Mail;
use crate::psci::{self, Action, Powers};
use crate::vcpu::{Frame, Vcpu};
use crate::vgic::{DIST_BYTES, REDIST_BYTES, SgiKind, is_for_first_only, one_target, sgi_intid};

/// Guest platform: distributor.
pub const GICD_IPA: u64 = 0x0800_0000;
/// Guest platform: redistributors.
pub const GICR_IPA: u64 = 0x080a_0000;
/// Guest platform: console.
pub const UART_IPA: u64 = 0x0900_0000;
/// EL1 virtual timer's PPI.
pub const VIRTUAL_TIMER: u32 = 27;
/// EL1 physical timer's PPI.
pub const PHYSICAL_TIMER: u32 = 30;
/// Maintenance interrupt of the virtual CPU interface.
pub const MAINTENANCE: u32 = 25;
/// First INTID that means "none".
pub const SPECIAL: u32 = 1020;

/// PSCI_VERSION, the call that measures the road in and out: no VM is looked at.
#[inline(always)]
pub fn psci_version<M: Machine>(vcpu: &mut Vcpu, m: &mut M) -> bool {
    if vcpu.frame.x::<0>() as u32 != psci::VERSION_CALL {
        return false;
    }
    announce(&vcpu.frame, m);
    vcpu.frame.set_x::<0>(psci::VERSION_VALUE);
    true
}

#[inline(always)]
fn announce<M: Machine>(frame: &Frame, m: &mut M) {
    m.vm_exit(PathId::Psci);
    m.hypercall(PathId::Psci, frame);
    m.psci(PathId::Psci, frame);
}

/// PSCI and SMCCC calls that only return a value; false for the others.
#[inline(always)]
pub fn psci_call<M: Machine>(vcpu: &mut Vcpu, vm: &Vm, m: &mut M) -> bool {
    let function = vcpu.frame.x::<0>() as u32;
    if !psci::is_ours(function) {
        return false;
    }
    let x = [vcpu.frame.x::<1>(), vcpu.frame.x::<2>(), vcpu.frame.x::<3>()];
    if vm.vcpus > 1 && psci::is_about_vcpus(function) {
        return false;
    }
    let Action::Return(value) = psci::call(function, x, Powers::ONE, &vm.ram) else {
        return false;
    };
    announce(&vcpu.frame, m);
    vcpu.frame.set_x::<0>(value);
    true
}

/// An access to an emulated device, decoded.
#[derive(Clone, Copy)]
pub struct DeviceAccess {
    /// Register, size, direction.
    pub access: Access,
    /// Where.
    pub ipa: u64,
    /// Bytes to step over.
    pub step: u64,
}

/// A data abort that is an access to nothing mapped, by an instruction the syndrome describes.
#[inline(always)]
pub fn device_access<M: Machine>(m: &M, esr: Esr) -> Option<DeviceAccess> {
    let access = esr.access()?;
    if !esr.is_translation() || esr.in_walk() {
        return None;
    }
    Some(DeviceAccess {
        access,
        ipa: fault_ipa(m.hpfar(), m.far()),
        step: esr.instruction_bytes(),
    })
}

#[inline(always)]
fn complete<M: Machine>(vcpu: &mut Vcpu, m: &mut M, path: PathId, at: &DeviceAccess, value: u64) {
    m.mmio(path, at.ipa, value, at.access);
    if !at.access.write {
        vcpu.frame.set(at.access.register, at.access.loaded(value));
    }
    m.set_pc(m.pc() + at.step);
}

/// An access to the distributor's first page: the commonest registers, by words (see [`Vgic::dist_peek`] and
/// [`Vgic::dist_poke`]). False: not one of them.
///
/// [`Vgic::dist_peek`]: crate::vgic::Vgic::dist_peek
/// [`Vgic::dist_poke`]: crate::vgic::Vgic::dist_poke
#[inline(always)]
pub fn gicd_common<M: Machine>(vcpu: &mut Vcpu, vms: &mut [Vm; VMS_MAX], m: &mut M, at: &DeviceAccess) -> bool {
    const PAGE: u64 = 0xfff;
    let offset = (at.ipa & PAGE) as u32;
    let Some(vm) = vms.get_mut(usize::from(vcpu.vm)).filter(|_| at.access.size == 4) else {
        return false;
    };
    let value = if at.access.write {
        let stored = vcpu.frame.get(at.access.register) as u32;
        if !vm.vgic.dist_poke(offset, stored) {
            return false;
        }
        stored
    } else {
        match vm.vgic.dist_peek(offset) {
            Some(value) => value,
            None => return false,
        }
    };
    m.vm_exit(PathId::MmioGicd);
    complete(vcpu, m, PathId::MmioGicd, at, value.into());
    true
}

/// The distributor, or (`redistributor`) the redistributors. The commonest reads and writes are inlined.
#[inline(always)]
pub fn gic<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, at: &DeviceAccess, redistributor: bool) {
    let (path, base) = if redistributor {
        (PathId::MmioGicr, GICR_IPA)
    } else {
        (PathId::MmioGicd, GICD_IPA)
    };
    let (offset, size) = (at.ipa.wrapping_sub(base) as u32, at.access.size);
    m.vm_exit(path);
    let value = if at.access.write {
        let stored = at.access.stored(vcpu.frame.get(at.access.register));
        if redistributor {
            vm.vgic.redist_write(offset, size, stored, true, m);
        } else {
            vm.vgic.dist_write(offset, size, stored, true, m);
        }
        stored
    } else if redistributor {
        vm.vgic.redist_read(offset, size, true, m)
    } else {
        vm.vgic.dist_read(offset, size, true, m)
    };
    complete(vcpu, m, path, at, value);
}

/// The console.
#[inline(always)]
pub fn uart<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, at: &DeviceAccess) {
    let offset = at.ipa.wrapping_sub(UART_IPA) as u32;
    m.vm_exit(PathId::MmioUart);
    let value = if at.access.write {
        let stored = at.access.stored(vcpu.frame.get(at.access.register));
        uart_write(vcpu.vm, vm, m, offset, stored as u32, true);
        stored
    } else {
        uart_read(vm, m, offset, true)
    };
    complete(vcpu, m, PathId::MmioUart, at, value);
}

/// Which device an address belongs to, as its path.
#[inline(always)]
pub fn device_of(ipa: u64, has_uart: bool) -> Option<PathId> {
    if ipa.wrapping_sub(GICD_IPA) < DIST_BYTES {
        Some(PathId::MmioGicd)
    } else if ipa.wrapping_sub(GICR_IPA) < REDIST_BYTES {
        Some(PathId::MmioGicr)
    } else if has_uart && ipa.wrapping_sub(UART_IPA) < crate::pl011::WINDOW_BYTES {
        Some(PathId::MmioUart)
    } else {
        None
    }
}

/// UARTFR.TXFF: shown when the physical console would not take the byte.
const FR: u32 = 0x18;
const FR_TXFF: u64 = 1 << 5;
const FR_TXFE: u64 = 1 << 7;

/// `loaded`: see [`crate::vgic::Vgic::raise`].
#[inline(always)]
pub(super) fn uart_read<M: Machine>(vm: &mut Vm, m: &mut M, offset: u32, loaded: bool) -> u64 {
    let value = u64::from(vm.uart.read(offset));
    if offset == FR && !m.console_room() {
        return value & !FR_TXFE | FR_TXFF;
    }
    uart_line(vm, m, loaded);
    value
}

#[inline(always)]
pub(super) fn uart_write<M: Machine>(id: u8, vm: &mut Vm, m: &mut M, offset: u32, value: u32, loaded: bool) {
    if let Some(byte) = vm.uart.write(offset, value) {
        m.console_put(id, byte);
    }
    uart_line(vm, m, loaded);
}

/// Tells the distributor the level of the UART's interrupt output.
pub(super) fn uart_line<M: Machine>(vm: &mut Vm, m: &mut M, loaded: bool) {
    vm.vgic.set_line(vm.uart_intid, vm.uart.irq(), loaded, m);
}

/// A write of ICC_SGI1R_EL1 that names the vCPU itself alone; false for anything else.
#[inline(always)]
pub fn sgi<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, esr: Esr) -> bool {
    let access = esr.sysreg();
    if access.key != sysreg::SGI1R || !access.write {
        return false;
    }
    let value = vcpu.frame.get(access.register);
    if !is_for_first_only(value) {
        return false;
    }
    m.vm_exit(PathId::SysregSgi);
    vm.vgic.send_sgi(SgiKind::Group1, sgi_intid(value), true, m);
    m.virq_inject(PathId::SysregSgi, vcpu.vm.into(), sgi_intid(value), Cause::Sgi as u32);
    m.sysreg_trap(PathId::SysregSgi, access.key, value, true);
    m.set_pc(m.pc() + 4);
    true
}

/// A write of ICC_SGI1R_EL1 that names one vCPU, which another CPU than `me` has; false for anything else.
#[inline(always)]
pub fn sgi_elsewhere<M: Machine>(vcpu: &Vcpu, mail: &Mail, me: u32, m: &mut M, esr: Esr) -> bool {
    let access = esr.sysreg();
    if access.key != sysreg::SGI1R || !access.write {
        return false;
    }
    let value = vcpu.frame.get(access.register);
    let Some((there, slot)) = one_target(value).and_then(|index| mail.vm(vcpu.id)?.reach(index)) else {
        return false;
    };
    if there == me {
        return false;
    }
    m.vm_exit(PathId::SysregSgi);
    mail.send_sgis(there, slot, 1 << sgi_intid(value));
    m.kick(there);
    m.sysreg_trap(PathId::SysregSgi, access.key, value, true);
    m.set_pc(m.pc() + 4);
    true
}

/// Another CPU's interrupt, if all it brings is SGIs for the vCPU that runs; false for anything else.
#[inline(always)]
pub fn cross_cpu<M: Machine>(vcpu: &Vcpu, vm: &mut Vm, mail: &Mail, me: u32, m: &mut M) -> bool {
    let slot = usize::from(vcpu.vm);
    if !mail.only_sgis(me, slot) || !mail.grace.has_passed(me) || mail.left() != 0 {
        return false;
    }
    m.vm_exit(PathId::IrqOther);
    m.irq(PathId::IrqOther, CROSS_CPU, NOBODY);
    m.drop_priority(CROSS_CPU);
    // Ended first: what comes from now on interrupts again.
    m.deactivate(CROSS_CPU);
    let bits = mail.take_sgis(me, slot);
    let first = bits.trailing_zeros();
    if bits == 1 << (first % SGIS) {
        vm.vgic.send_sgi(SgiKind::Group1, first, true, m);
    } else {
        smp::raise_all(vm, m, bits, true);
    }
    m.virq_inject(PathId::IrqOther, vcpu.id.into(), first % SGIS, Cause::Sgi as u32);
    true
}

/// Whether an acknowledged interrupt is a timer of the running vCPU.
#[inline(always)]
pub const fn is_timer(intid: u32) -> bool {
    intid == VIRTUAL_TIMER || intid == PHYSICAL_TIMER
}

/// A timer of the running vCPU: its interrupt goes to the guest with the physical one linked.
#[inline(always)]
pub fn timer<M: Machine>(vcpu: &Vcpu, vm: &mut Vm, m: &mut M, intid: u32) {
    let owner = u32::from(vcpu.vm);
    m.vm_exit(PathId::IrqVtimer);
    m.irq(PathId::IrqVtimer, intid, owner);
    m.timer(PathId::IrqVtimer, None, TimerKind::Vtimer as u32, owner);
    m.drop_priority(intid);
    vm.vgic.raise(intid, true, m);
    m.virq_inject(PathId::IrqVtimer, owner, intid, Cause::Timer as u32);
}
