//! The fast path: exits that return to the same vCPU and touch only registers every exit saves.
//!
//! Each function decides before it changes anything; `None` means "not here" and leaves everything as it was.

use hyp_abi::PathId;
use probe_vm::points::{Cause, TimerKind};

use super::Machine;
use crate::cpu::{Cpu, Deferred, Vm};
use crate::exit::{Access, Esr, class, fault_ipa, sysreg};
use crate::psci::{self, Action, Power};
use crate::vcpu::{Frame, Vcpu};
use crate::vgic::{DIST_BYTES, REDIST_BYTES, SgiKind};

/// Guest platform: distributor.
pub const GICD_IPA: u64 = 0x0800_0000;
/// Guest platform: redistributors.
pub const GICR_IPA: u64 = 0x080a_0000;
/// EL1 virtual timer's PPI.
pub const VIRTUAL_TIMER: u32 = 27;
/// EL1 physical timer's PPI.
pub const PHYSICAL_TIMER: u32 = 30;
/// Maintenance interrupt of the virtual CPU interface.
pub const MAINTENANCE: u32 = 25;
/// First INTID that means "none".
pub const SPECIAL: u32 = 1020;

const PSCI_CALLER_SMC_BYTES: u64 = 4;

/// A synchronous exit.
#[inline(always)]
pub fn sync<M: Machine>(cpu: &mut Cpu, m: &mut M) -> Option<PathId> {
    let esr = Esr(m.esr());
    let (vcpu, vm) = cpu.running()?;
    match esr.class() {
        class::HVC => psci_call(vcpu, vm, m),
        class::DATA_ABORT => data_abort(vcpu, vm, m, esr),
        class::SYSREG => sgi(vcpu, vm, m, esr),
        class::SMC => {
            let path = psci_call(vcpu, vm, m)?;
            m.set_pc(m.pc() + PSCI_CALLER_SMC_BYTES);
            Some(path)
        }
        _ => None,
    }
}

/// PSCI and SMCCC calls that only return a value.
#[inline(always)]
fn psci_call<M: Machine>(vcpu: &mut Vcpu, vm: &Vm, m: &mut M) -> Option<PathId> {
    let function = vcpu.frame.x::<0>() as u32;
    if !psci::is_ours(function) {
        return None;
    }
    let x = [vcpu.frame.x::<1>(), vcpu.frame.x::<2>(), vcpu.frame.x::<3>()];
    let Action::Return(value) = psci::call(function, x, &[Power::On], &vm.ram) else {
        return None;
    };
    m.vm_exit(PathId::Psci);
    m.hypercall(PathId::Psci, &vcpu.frame);
    m.psci(PathId::Psci, &vcpu.frame);
    vcpu.frame.set_x::<0>(value);
    Some(PathId::Psci)
}

#[inline(always)]
fn data_abort<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, esr: Esr) -> Option<PathId> {
    let access = esr.access()?;
    if !Frame::is_light(access.register) {
        return None;
    }
    mmio(vcpu, vm, m, esr, access)
}

/// An access to an emulated device; any register of the frame must be valid that `access` names.
#[inline(always)]
pub(super) fn mmio<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, esr: Esr, access: Access) -> Option<PathId> {
    if !esr.is_translation() || esr.in_walk() {
        return None;
    }
    let ipa = fault_ipa(m.hpfar(), m.far());
    let dist = ipa.wrapping_sub(GICD_IPA);
    let redist = ipa.wrapping_sub(GICR_IPA);
    let uart = ipa.wrapping_sub(vm.uart_base);
    let path = if dist < DIST_BYTES {
        PathId::MmioGicd
    } else if redist < REDIST_BYTES {
        PathId::MmioGicr
    } else if uart < crate::pl011::WINDOW_BYTES {
        PathId::MmioUart
    } else {
        return None;
    };
    m.vm_exit(path);
    let stored = access.stored(vcpu.frame.get(access.register));
    let value = match (path, access.write) {
        (PathId::MmioGicd, false) => vm.vgic.dist_read(dist as u32, access.size, 0, m),
        (PathId::MmioGicd, true) => {
            let _ = vm.vgic.dist_write(dist as u32, access.size, stored, 0, m);
            stored
        }
        (PathId::MmioGicr, false) => vm.vgic.redist_read(redist as u32, access.size, 0, m),
        (PathId::MmioGicr, true) => {
            let _ = vm.vgic.redist_write(redist as u32, access.size, stored, 0, m);
            stored
        }
        (_, false) => uart_read(vcpu.vm, vm, m, uart as u32),
        (_, true) => {
            uart_write(vcpu.vm, vm, m, uart as u32, stored as u32);
            stored
        }
    };
    m.mmio(path, ipa, value, access);
    if !access.write {
        vcpu.frame.set(access.register, access.loaded(value));
    }
    m.set_pc(m.pc() + esr.instruction_bytes());
    Some(path)
}

/// UARTFR.TXFF: shown when the physical console would not take the byte.
const FR: u32 = 0x18;
const FR_TXFF: u64 = 1 << 5;
const FR_TXFE: u64 = 1 << 7;

fn uart_read<M: Machine>(_id: u8, vm: &mut Vm, m: &mut M, offset: u32) -> u64 {
    let value = u64::from(vm.uart.read(offset));
    if offset == FR && !m.console_room() {
        return value & !FR_TXFE | FR_TXFF;
    }
    uart_line(vm, m);
    value
}

fn uart_write<M: Machine>(id: u8, vm: &mut Vm, m: &mut M, offset: u32, value: u32) {
    if let Some(byte) = vm.uart.write(offset, value) {
        m.console_put(id, byte);
    }
    uart_line(vm, m);
}

/// Tells the distributor the level of the UART's interrupt output.
pub(super) fn uart_line<M: Machine>(vm: &mut Vm, m: &mut M) {
    let _ = vm.vgic.set_line(vm.uart_intid, vm.uart.irq(), 0, m);
}

/// An SGI to itself, the only kind one vCPU can send.
#[inline(always)]
fn sgi<M: Machine>(vcpu: &mut Vcpu, vm: &mut Vm, m: &mut M, esr: Esr) -> Option<PathId> {
    let access = esr.sysreg();
    if access.key != sysreg::SGI1R || !access.write || !Frame::is_light(access.register) {
        return None;
    }
    let value = vcpu.frame.get(access.register);
    m.vm_exit(PathId::SysregSgi);
    let _ = vm.vgic.send_sgi(SgiKind::Group1, value, 0, m);
    m.virq_inject(
        PathId::SysregSgi,
        vcpu.vm.into(),
        (value >> 24) as u32 & 0xf,
        Cause::Sgi as u32,
    );
    m.sysreg_trap(PathId::SysregSgi, access.key, value, true);
    m.set_pc(m.pc() + 4);
    Some(PathId::SysregSgi)
}

/// A physical interrupt while a vCPU ran. What is not served here is left in `deferred`, acknowledged.
#[inline(always)]
pub fn irq<M: Machine>(cpu: &mut Cpu, m: &mut M) -> Option<PathId> {
    let intid = m.acknowledge();
    if intid == VIRTUAL_TIMER || intid == PHYSICAL_TIMER {
        return timer(cpu, m, intid);
    }
    cpu.deferred = Deferred::Irq(intid);
    None
}

/// A timer of the running vCPU: its interrupt goes to the guest with the physical one linked.
#[inline(always)]
pub(super) fn timer<M: Machine>(cpu: &mut Cpu, m: &mut M, intid: u32) -> Option<PathId> {
    let (vcpu, vm) = cpu.running()?;
    let owner = u32::from(vcpu.vm);
    m.vm_exit(PathId::IrqVtimer);
    m.irq(PathId::IrqVtimer, intid, owner);
    m.timer(PathId::IrqVtimer, u64::MAX, TimerKind::Vtimer as u32, owner);
    m.drop_priority(intid);
    let _ = vm.vgic.raise(0, intid, 0, m);
    m.virq_inject(PathId::IrqVtimer, owner, intid, Cause::Timer as u32);
    Some(PathId::IrqVtimer)
}
