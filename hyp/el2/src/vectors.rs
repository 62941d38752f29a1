//! The vector table and what it calls.

use core::arch::global_asm;

use hyp_abi::PathId;
use hyp_core::cpu::{Cpu, Deferred};
use hyp_core::dispatch::{Next, Services, fast, schedule, slow};
use hyp_core::vcpu::Frame;

use crate::reg::wfi;
use crate::state::State;
use crate::{pmu, world};

global_asm!(
    include_str!("vectors.S"),
    exit_sync = sym exit_sync,
    exit_irq = sym exit_irq,
    exit_serror = sym exit_serror,
    exit_slow = sym exit_slow,
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

#[inline(always)]
fn finish(state: &mut State, entry: u32, path: Option<PathId>) -> Resume {
    let Some(path) = path else {
        state.cpu.entry = entry;
        return Resume {
            frame: frame(&mut state.cpu),
            slow: 1,
        };
    };
    state.board.fire_vm_entry(path, entry);
    let resume = Resume {
        frame: frame(&mut state.cpu),
        slow: 0,
    };
    state.cpu.note(path, pmu::read().wrapping_sub(entry));
    resume
}

#[unsafe(link_section = ".text.hot")]
extern "C" fn exit_sync(this: *mut State, entry: u64) -> Resume {
    let state = state(this);
    let path = fast::sync(&mut state.cpu, &mut state.board);
    if path.is_none() {
        state.cpu.deferred = Deferred::Sync;
    }
    finish(state, entry as u32, path)
}

#[unsafe(link_section = ".text.hot")]
extern "C" fn exit_irq(this: *mut State, entry: u64) -> Resume {
    let state = state(this);
    let path = fast::irq(&mut state.cpu, &mut state.board);
    finish(state, entry as u32, path)
}

extern "C" fn exit_serror(this: *mut State, entry: u64) -> Resume {
    let state = state(this);
    state.cpu.deferred = Deferred::SError;
    finish(state, entry as u32, None)
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
