//! The vector table and what it calls.

use core::arch::global_asm;

use hyp_abi::PathId;
use hyp_abi::VMS_MAX;
use hyp_abi::call::FID_BASE;
use hyp_core::cpu::{Cpu, Deferred, PathStat, Vm};
use hyp_core::dispatch::{Next, Services, fast, hypercall, schedule, slow};
use hyp_core::exit::{Esr, class};
use hyp_core::vcpu::{Frame, Vcpu};
use hyp_core::vgic::DIST_BYTES;

use crate::machine::{Board, ELR, ESR};
use crate::reg::wfi;
use crate::state::State;
use crate::{pmu, world};

global_asm!(
    include_str!("vectors.S"),
    exit_sync = sym exit_sync,
    exit_irq = sym exit_irq,
    exit_serror = sym exit_serror,
    exit_slow = sym exit_slow,
    exit_call = sym exit_call,
    epitaph = sym crate::epitaph::exception,
);

/// What the vectors do next, in x0 and x1.
#[repr(C)]
pub struct Resume {
    /// Frame of the vCPU that left, or goes on.
    frame: *mut Frame,
    /// 0: back to it. 1: save the rest and call [`exit_slow`].
    slow: u64,
}

/// The state behind the vectors' pointer.
#[inline(always)]
fn state<'a>(state: *mut State) -> &'a mut State {
    // SAFETY: 1. The vectors pass TPIDR_EL2, which boot set to this CPU's state. 2. EL2 is entered once at a time
    // (interrupts masked) and each entry makes exactly one reference, which ends with it.
    unsafe { &mut *state }
}

#[inline(always)]
fn frame(cpu: &mut Cpu) -> *mut Frame {
    match cpu.vcpus.get_mut(cpu.loaded as usize) {
        Some(vcpu) => &raw mut vcpu.frame,
        None => core::ptr::null_mut(),
    }
}

/// Registers of the distributor below its arrays.
const DIST_WORDS: u64 = 0x80;

/// What a fast exit works on: parts of the CPU's state that do not overlap, each its own reference.
struct Parts<'a> {
    vcpu: &'a mut Vcpu,
    vms: &'a mut [Vm; VMS_MAX],
    paths: &'a mut [PathStat; PathId::COUNT],
    board: &'a mut Board,
}

#[inline(always)]
fn parts<'a>(state: *mut State, vcpu: *mut Vcpu) -> Parts<'a> {
    // SAFETY: 1. The vectors pass TPIDR_EL2, which boot set to this CPU's state; EL2 is entered once at a time and no other
    // reference into it is alive. 2. The place is not inside the ones below.
    let vms = unsafe { &mut (*state).cpu.vms };
    // SAFETY: 1. and 2. As above.
    let paths = unsafe { &mut (*state).cpu.paths };
    // SAFETY: 1. and 2. As above.
    let board = unsafe { &mut (*state).board };
    // SAFETY: 1. SP_EL2 at the exit was the frame that `exit_slow` or boot entered the guest with: the first field of the
    // loaded vCPU in `cpu.vcpus`, which none of the places above contains.
    let vcpu = unsafe { &mut *vcpu };
    Parts {
        vcpu,
        vms,
        paths,
        board,
    }
}

/// Not for the fast part: everything is as it was at the exit.
#[cold]
#[inline(never)]
extern "C" fn defer(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
    let state = state(this);
    state.cpu.entry = entry as u32;
    state.cpu.deferred = Deferred::Sync;
    Resume {
        frame: vcpu.cast(),
        slow: 1,
    }
}

/// One of our own calls: most concern two vCPUs, so all registers are saved.
#[inline(always)]
fn defer_call(this: *mut State, entry: u64, vcpu: *mut Vcpu) -> Resume {
    let state = state(this);
    state.cpu.entry = entry as u32;
    Resume {
        frame: vcpu.cast(),
        slow: 2,
    }
}

/// Bits of a function identifier that tell our range: fast, 64-bit, owner, and the reserved bits.
const FID_OWNER: u32 = 0xffff_ff00;

/// The longest or shortest exit of its path so far.
#[cold]
#[inline(never)]
extern "C" fn extreme(stat: &mut PathStat, spent: u64, vcpu: *mut Vcpu) -> Resume {
    stat.extreme(spent as u32);
    Resume {
        frame: vcpu.cast(),
        slow: 0,
    }
}

/// The end of a fast exit: point, count, back to the same vCPU.
#[inline(always)]
fn finish(parts: Parts<'_>, entry: u64, path: PathId) -> Resume {
    parts.board.fire_vm_entry(path, entry as u32);
    let vcpu: *mut Vcpu = parts.vcpu;
    let stat = &mut parts.paths[path as usize];
    let spent = pmu::read().wrapping_sub(entry as u32);
    if stat.add(spent) {
        return extreme(stat, spent.into(), vcpu);
    }
    Resume {
        frame: vcpu.cast(),
        slow: 0,
    }
}

/// One entry for each exit class that has a fast part: a function of its own, so that none pays for what another saves.
macro_rules! entries {
    ($($(#[$m:meta])* fn $name:ident($this:ident, $entry:ident, $vcpu:ident) $body:block)*) => { $(
        $(#[$m])*
        #[inline(never)]
        #[unsafe(link_section = ".text.hot")]
        extern "C" fn $name($this: *mut State, $entry: u64, $vcpu: *mut Vcpu) -> Resume $body
    )* };
}

entries! {
    /// Synchronous exit of a guest.
    fn exit_sync(this, entry, vcpu) {
        match Esr(ESR::read()).class() {
            class::HVC => hvc(this, entry, vcpu),
            class::DATA_ABORT => data_abort(this, entry, vcpu),
            class::SYSREG => system_register(this, entry, vcpu),
            class::SMC => smc(this, entry, vcpu),
            _ => defer(this, entry, vcpu),
        }
    }

    fn hvc(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if fast::psci_version(parts.vcpu, parts.board) {
            return finish(parts, entry, PathId::Psci);
        }
        if parts.vcpu.frame.x::<0>() as u32 & FID_OWNER == FID_BASE {
            return defer_call(this, entry, vcpu);
        }
        other_call(this, entry, vcpu)
    }

    fn other_call(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if let Some(vm) = parts.vms.get(usize::from(parts.vcpu.vm))
            && fast::psci_call(parts.vcpu, vm, parts.board)
        {
            return finish(parts, entry, PathId::Psci);
        }
        defer(this, entry, vcpu)
    }

    fn smc(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if fast::psci_version(parts.vcpu, parts.board) {
            // The trap is taken before the SMC: it must not be executed again (Arm ARM D1.5.4).
            ELR::write(ELR::read() + 4);
            return finish(parts, entry, PathId::Psci);
        }
        defer(this, entry, vcpu)
    }

    fn data_abort(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        let Some(at) = fast::device_access(parts.board, Esr(ESR::read())) else {
            return defer(this, entry, vcpu);
        };
        let offset = at.ipa.wrapping_sub(fast::GICD_IPA);
        if offset >= DIST_BYTES {
            return device(this, entry, vcpu);
        }
        if at.access.write {
            return distributor_write(this, entry, vcpu);
        }
        // CTLR, TYPER and their like; arrays are read elsewhere.
        if offset >= DIST_WORDS || at.access.size != 4 {
            return distributor_read(this, entry, vcpu);
        }
        let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm)) else {
            return defer(this, entry, vcpu);
        };
        fast::gicd(parts.vcpu, vm, parts.board, &at);
        finish(parts, entry, PathId::MmioGicd)
    }

    fn distributor_read(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if let Some(at) = fast::device_access(parts.board, Esr(ESR::read()))
            && !at.access.write
            && let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
        {
            fast::gicd(parts.vcpu, vm, parts.board, &at);
            return finish(parts, entry, PathId::MmioGicd);
        }
        defer(this, entry, vcpu)
    }

    fn distributor_write(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if let Some(at) = fast::device_access(parts.board, Esr(ESR::read()))
            && at.access.write
            && let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
        {
            fast::gicd(parts.vcpu, vm, parts.board, &at);
            return finish(parts, entry, PathId::MmioGicd);
        }
        defer(this, entry, vcpu)
    }

    fn device(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        let Some(at) = fast::device_access(parts.board, Esr(ESR::read())) else {
            return defer(this, entry, vcpu);
        };
        let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm)) else {
            return defer(this, entry, vcpu);
        };
        match fast::device_of(at.ipa, vm.uart_base) {
            Some(PathId::MmioUart) => {
                fast::uart(parts.vcpu, vm, parts.board, &at);
                finish(parts, entry, PathId::MmioUart)
            }
            Some(PathId::MmioGicr) => {
                fast::gicr(parts.vcpu, vm, parts.board, &at);
                finish(parts, entry, PathId::MmioGicr)
            }
            _ => defer(this, entry, vcpu),
        }
    }

    fn system_register(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        if let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
            && fast::sgi(parts.vcpu, vm, parts.board, Esr(ESR::read()))
        {
            return finish(parts, entry, PathId::SysregSgi);
        }
        defer(this, entry, vcpu)
    }

    /// Physical interrupt while a guest ran.
    fn exit_irq(this, entry, vcpu) {
        let parts = parts(this, vcpu);
        let intid = crate::gic::acknowledge();
        if fast::is_timer(intid)
            && let Some(vm) = parts.vms.get_mut(usize::from(parts.vcpu.vm))
        {
            fast::timer(parts.vcpu, vm, parts.board, intid);
            return finish(parts, entry, PathId::IrqVtimer);
        }
        let state = state(this);
        state.cpu.entry = entry as u32;
        state.cpu.deferred = Deferred::Irq(intid);
        Resume { frame: vcpu.cast(), slow: 1 }
    }

    /// SError while a guest ran.
    fn exit_serror(this, entry, vcpu) {
        let state = state(this);
        state.cpu.entry = entry as u32;
        state.cpu.deferred = Deferred::SError;
        Resume { frame: vcpu.cast(), slow: 1 }
    }
}

/// One of our own calls, every register saved.
#[unsafe(link_section = ".text.hot")]
extern "C" fn exit_call(this: *mut State) -> *mut Frame {
    let state = state(this);
    match hypercall::round(&mut state.cpu, &mut state.board) {
        Some(path) => resume(state, path),
        None => {
            state.cpu.deferred = Deferred::Sync;
            exit_slow(this)
        }
    }
}

extern "C" fn exit_slow(this: *mut State) -> *mut Frame {
    let state = state(this);
    let path = slow::serve(&mut state.cpu, &mut state.board, &mut state.services);
    if state.cpu.hazard != 0 {
        hazard(state);
    }
    resume(state, path)
}

/// What stopped VMs leave behind: their probes go.
#[cold]
fn hazard(state: &mut State) {
    let stopped = core::mem::take(&mut state.cpu.hazard);
    for vm in 0..hyp_abi::VMS_MAX as u32 {
        if stopped >> vm & 1 != 0 {
            state.services.stopped(vm);
        }
    }
}

/// Finds who goes on, switching and idling as needed; returns the frame to enter.
#[inline(always)]
pub fn resume(state: &mut State, first: PathId) -> *mut Frame {
    let mut path = first;
    let State { cpu, board, .. } = state;
    // Idling is not an exit: each turn ends one stay at EL2 and begins another when an interrupt comes.
    loop {
        match schedule(cpu, board, path) {
            Next::Same => break,
            Next::Switch(to) => {
                let from = cpu.loaded;
                world::switch(cpu, board, to);
                slow::switched(cpu, board, from, to);
                break;
            }
            Next::Off => {
                board.uart.record(hyp_abi::record::StreamKind::SystemOff, &[]);
                board.uart.flush();
                crate::power::off();
            }
            Next::Idle => {
                cpu.note(path, pmu::read().wrapping_sub(cpu.entry));
                wfi();
                cpu.entry = pmu::read();
                let intid = crate::gic::acknowledge();
                path = hyp_core::dispatch::irq::serve(cpu, board, intid);
            }
        }
    }
    let entry = cpu.entry;
    board.fire_vm_entry(path, entry);
    cpu.note(path, pmu::read().wrapping_sub(entry));
    frame(cpu)
}
