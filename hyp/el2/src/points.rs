//! Probe points: each call site is one `nop` until a probe is attached.
//!
//! The site's `nop`, its out-of-line block and its point are recorded in `.probe_sites`; [`crate::sites`] turns the
//! `nop` into a branch to the block and back. The block fills the CPU's context buffer and runs the point's probes.

use core::arch::{asm, global_asm};

use hyp_abi::PathId;
use hyp_core::dispatch::{Points, Switched};
use hyp_core::exit::Access;
use hyp_core::probe::PointArms;
use hyp_core::probe_vm::points::{CONTEXT_BYTES_MAX, Device, PointId};
use hyp_core::vcpu::Frame;

use crate::machine::{Board, ELR, ESR};
use crate::probes::{Code, store};
use crate::{percpu, pmu, time};

/// Words of the largest context.
const WORDS: usize = CONTEXT_BYTES_MAX / 8;
/// Words of the header: time, vm | vcpu << 32, cpu | path << 32.
const HEADER: usize = 3;
/// Counter ticks to nanoseconds: 62.5 MHz is 16 ns (checked at boot).
pub const TICK_SHIFT: u8 = 4;

/// The context a probe reads. VM and vCPU stay from one firing to the next.
#[repr(C, align(16))]
pub struct Context {
    words: [u64; WORDS],
}

impl Context {
    /// Nobody runs.
    pub const fn new() -> Self {
        Self { words: [0; WORDS] }
    }

    /// The vCPU that runs from now on.
    #[inline]
    pub fn set_running(&mut self, vm: u8, vcpu: u8) {
        if let Some(who) = self.words.get_mut(1) {
            *who = pair(vm.into(), vcpu.into());
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: 1. The array is that many initialised bytes, and u8 has no alignment.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), CONTEXT_BYTES_MAX) }
    }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Most fields of a point.
const FIELDS: usize = 4;
const _: () = assert!(HEADER + FIELDS <= WORDS);

/// Fills in a firing and runs the probes of its point.
extern "C" fn run(_: u64, arms: &PointArms<Code>, path: u64, a: u64, b: u64, c: u64, d: u64) {
    let context = percpu::context();
    context.words[0] = time::ticks() << TICK_SHIFT;
    context.words[2] = path << 32;
    [context.words[3], context.words[4], context.words[5], context.words[6]] = [a, b, c, d];
    arms.fire(context.words[1] as u32, context.bytes());
}

// Around a firing: x0-x7 and x12-x17 are the caller's to lose, x8-x11 and x18 are kept here, the rest Rust keeps. Five
// registers are enough for what lives across any site, so that one that is a `nop` costs its function none; more would make
// every firing pay for keeping them.
global_asm!(
    ".section .text.fire_point, \"ax\"",
    ".balign 16",
    ".global fire_point",
    "fire_point:",
    "stp x8, x9, [sp, #-48]!",
    "stp x10, x11, [sp, #16]",
    "stp x18, x30, [sp, #32]",
    "bl {run}",
    "ldp x18, x30, [sp, #32]",
    "ldp x10, x11, [sp, #16]",
    "ldp x8, x9, [sp], #48",
    "ret",
    run = sym run,
);

/// Fires `point` on `path` with up to four fields.
#[inline(always)]
fn fire<const N: usize>(point: PointId, path: u32, fields: [u64; N]) {
    const { assert!(N <= FIELDS) };
    let Some(arms) = store::shared().probes.arms(point) else {
        return;
    };
    let [a, b, c, d] = core::array::from_fn(|i| fields.get(i).copied().unwrap_or(0));
    // SAFETY: 1. `fire_point` keeps every register but those named here, flags and memory the context's. 2. The link register
    // is put on the stack around the call, which is aligned and has room.
    unsafe {
        asm!(
            "str x30, [sp, #-16]!",
            "bl fire_point",
            "ldr x30, [sp], #16",
            lateout("x0") _,
            inout("x1") core::ptr::from_ref(arms) => _,
            inout("x2") u64::from(path) => _,
            inout("x3") a => _,
            inout("x4") b => _,
            inout("x5") c => _,
            inout("x6") d => _,
            lateout("x7") _,
            lateout("x12") _,
            lateout("x13") _,
            lateout("x14") _,
            lateout("x15") _,
            lateout("x16") _,
            lateout("x17") _,
        );
    }
}

/// One site: `nop`, or a branch to the block that fires.
macro_rules! site {
    ($point:expr, $fire:expr) => {
        // SAFETY: 1. The instruction at the label is a NOP, or, patched, a branch to the label operand, which the compiler
        // knows as a successor. 2. It changes no register, flag or memory.
        unsafe {
            asm!(
                "2: nop",
                ".pushsection .probe_sites, \"a\"",
                ".balign 8",
                ".quad 2b",
                ".quad {block}",
                ".quad {point}",
                ".popsection",
                block = label { $fire },
                point = const $point as u64,
                options(nomem, nostack, preserves_flags)
            )
        }
    };
}

impl Board {
    /// All is decided, the guest goes on; the exit began at counter value `entry`.
    #[inline(always)]
    pub fn fire_vm_entry(&mut self, path: PathId, entry: u32) {
        site!(PointId::VmEntry, {
            let spent = u64::from(pmu::read().wrapping_sub(entry));
            fire(PointId::VmEntry, path as u32, [spent, ELR::read()]);
        });
    }
}

impl Points for Board {
    #[inline(always)]
    fn vm_exit(&mut self, path: PathId) {
        site!(PointId::VmExit, {
            let esr = if (PathId::IrqVtimer as u32..=PathId::IrqOther as u32).contains(&(path as u32)) {
                0
            } else {
                ESR::read()
            };
            fire(PointId::VmExit, path as u32, [esr, ELR::read()]);
        });
    }

    #[inline(always)]
    fn hypercall(&mut self, path: PathId, frame: &Frame) {
        site!(PointId::Hypercall, {
            let fields = [frame.get(0), frame.get(1), frame.get(2), frame.get(3)];
            fire(PointId::Hypercall, path as u32, fields);
        });
    }

    #[inline(always)]
    fn psci(&mut self, path: PathId, frame: &Frame) {
        site!(PointId::Psci, {
            let fields = [pair(frame.get(0) as u32, 0), frame.get(1), frame.get(2), frame.get(3)];
            fire(PointId::Psci, path as u32, fields);
        });
    }

    #[inline(always)]
    fn stage2_fault(&mut self, ipa: u64) {
        site!(PointId::Stage2Fault, {
            let fields = [ipa, hyp_core::dispatch::Machine::far(self), ESR::read(), ELR::read()];
            fire(PointId::Stage2Fault, PathId::Stage2Fault as u32, fields);
        });
    }

    #[inline(always)]
    fn mmio(&mut self, path: PathId, ipa: u64, value: u64, access: Access) {
        site!(PointId::Mmio, {
            let (device, base) = match path {
                PathId::MmioGicd => (Device::Gicd, hyp_core::dispatch::fast::GICD_IPA),
                PathId::MmioGicr => (Device::Gicr, hyp_core::dispatch::fast::GICR_IPA),
                _ => (Device::Uart, ipa & !0xfff),
            };
            let place = pair(device as u32, ipa.wrapping_sub(base) as u32);
            let fields = [ipa, value, place, pair(access.size.into(), access.write.into())];
            fire(PointId::Mmio, path as u32, fields);
        });
    }

    #[inline(always)]
    fn sysreg_trap(&mut self, path: PathId, key: u32, value: u64, write: bool) {
        site!(
            PointId::SysregTrap,
            fire(PointId::SysregTrap, path as u32, [value, pair(key, write.into())])
        );
    }

    #[inline(always)]
    fn irq(&mut self, path: PathId, intid: u32, owner: u32) {
        site!(PointId::Irq, fire(PointId::Irq, path as u32, [pair(intid, owner)]));
    }

    #[inline(always)]
    fn virq_inject(&mut self, path: PathId, vm: u32, intid: u32, cause: u32) {
        site!(
            PointId::VirqInject,
            fire(PointId::VirqInject, path as u32, [pair(vm, 0), pair(intid, cause)])
        );
    }

    #[inline(always)]
    fn ipc_call(&mut self, channel: u32, to_vm: u32, word0: u64, direct: bool) {
        site!(PointId::IpcCall, {
            let fields = [pair(channel, to_vm), word0, pair(direct.into(), 0)];
            fire(PointId::IpcCall, PathId::IpcCall as u32, fields);
        });
    }

    #[inline(always)]
    fn ipc_reply(&mut self, path: PathId, channel: u32, to_vm: u32, word0: u64) {
        site!(
            PointId::IpcReply,
            fire(PointId::IpcReply, path as u32, [pair(channel, to_vm), word0])
        );
    }

    #[inline(always)]
    fn notify(&mut self, channel: u32, to_vm: u32, bits: u64, pending: u64) {
        site!(PointId::Notify, {
            fire(
                PointId::Notify,
                PathId::Notify as u32,
                [pair(channel, to_vm), bits, pending],
            );
        });
    }

    #[inline(always)]
    fn sched_switch(&mut self, path: PathId, event: impl FnOnce() -> Switched) {
        site!(PointId::SchedSwitch, {
            let Switched {
                from,
                to,
                reason,
                priority,
            } = event();
            let fields = [pair(from.0, from.1), pair(to.0, to.1), pair(reason, priority)];
            fire(PointId::SchedSwitch, path as u32, fields);
        });
    }

    #[inline(always)]
    fn vcpu_block(&mut self, path: PathId, reason: u32, channel: u32) {
        site!(
            PointId::VcpuBlock,
            fire(PointId::VcpuBlock, path as u32, [pair(reason, channel)])
        );
    }

    #[inline(always)]
    fn vcpu_wake(&mut self, path: PathId, vm: u32, cause: u32, detail: u32) {
        site!(
            PointId::VcpuWake,
            fire(PointId::VcpuWake, path as u32, [pair(vm, 0), pair(cause, detail)])
        );
    }

    #[inline(always)]
    fn timer(&mut self, path: PathId, due_ticks: u64, kind: u32, owner: u32) {
        site!(PointId::Timer, {
            let due = if due_ticks == u64::MAX {
                crate::world::timer_due()
            } else {
                due_ticks
            };
            fire(PointId::Timer, path as u32, [due << TICK_SHIFT, pair(kind, owner)]);
        });
    }
}
