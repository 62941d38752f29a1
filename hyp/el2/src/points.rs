//! Probe points: each call site is one `nop` until a probe is attached.
//!
//! The site's `nop`, its out-of-line block and its point are recorded in `.probe_sites`; [`crate::sites`] turns the
//! `nop` into a branch to the block and back. The block calls the point's stub with the fields in registers, and the stub
//! leads to the point's probes ([`crate::probes::fire`]).

use core::arch::asm;

use embassy_time::Instant;
use hyp_abi::PathId;
use hyp_core::dispatch::{Points, Switched};
use hyp_core::exit::Access;
use hyp_core::probe_vm::points::{CONTEXT_BYTES_MAX, Device, HEADER_CPU_AT, HEADER_WHO_AT, PointId};
use hyp_core::vcpu::Frame;

use crate::machine::{Board, ELR, ESR};
use crate::probes::fire::STUB_BYTES;
use crate::{pmu, time};

/// Words of the largest context.
const WORDS: usize = CONTEXT_BYTES_MAX / 8;

/// The context a probe reads. VM, vCPU and CPU stay from one firing to the next; the rest is the probes' to fill in.
#[repr(C, align(4096))]
pub struct Context {
    words: [u64; WORDS],
}

impl Context {
    /// Nobody runs.
    pub const fn new() -> Self {
        Self { words: [0; WORDS] }
    }

    /// The CPU whose context this is.
    pub fn set_cpu(&mut self, cpu: u32) {
        if let Some(word) = self.words.get_mut(HEADER_CPU_AT / 8) {
            *word = cpu.into();
        }
    }

    /// Number of the CPU.
    #[inline(always)]
    pub const fn cpu(&self) -> u32 {
        self.words[HEADER_CPU_AT / 8] as u32
    }

    /// The vCPU that runs from now on.
    #[inline]
    pub fn set_running(&mut self, vm: u8, vcpu: u8) {
        if let Some(who) = self.words.get_mut(HEADER_WHO_AT / 8) {
            *who = pair(vm.into(), vcpu.into());
        }
    }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Fires a point: up to four fields to x1 up, the path to x5, and to the point's stub.
///
/// What the probe reads of the context beyond VM, vCPU and CPU its own code puts there
/// ([`hyp_core::probe_vm::jit::Entry::Point`]). Such code keeps x8-x11 and x18 too: five registers are enough for what
/// lives across any site, so that one that is a `nop` costs its function none.
macro_rules! fire {
    ($point:expr, $path:expr, [$a:expr]) => {
        fire!(@ $point, $path, [lateout("x2") _, lateout("x3") _, lateout("x4") _], "x1" = $a)
    };
    ($point:expr, $path:expr, [$a:expr, $b:expr]) => {
        fire!(@ $point, $path, [lateout("x3") _, lateout("x4") _], "x1" = $a, "x2" = $b)
    };
    ($point:expr, $path:expr, [$a:expr, $b:expr, $c:expr]) => {
        fire!(@ $point, $path, [lateout("x4") _], "x1" = $a, "x2" = $b, "x3" = $c)
    };
    ($point:expr, $path:expr, [$a:expr, $b:expr, $c:expr, $d:expr]) => {
        fire!(@ $point, $path, [], "x1" = $a, "x2" = $b, "x3" = $c, "x4" = $d)
    };
    (@ $point:expr, $path:expr, [$($free:tt)*], $($reg:tt = $field:expr),*) => {{
        // SAFETY: 1. The stub returns at once or runs code of verified programs, which changes no register but those named
        // here, no memory but the context's, its stack's and its maps'. 2. The link register is put on the stack around
        // the call, which is aligned and has room.
        unsafe {
            asm!(
                "str x30, [sp, #-16]!",
                "bl fire_stubs + {stub}",
                "ldr x30, [sp], #16",
                stub = const $point as usize * STUB_BYTES,
                lateout("x0") _,
                $(inout($reg) $field => _,)*
                inout("x5") $path as u64 => _,
                lateout("x6") _,
                lateout("x7") _,
                lateout("x12") _,
                lateout("x13") _,
                lateout("x14") _,
                lateout("x15") _,
                lateout("x16") _,
                lateout("x17") _,
                $($free)*
            );
        }
    }};
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
            fire!(PointId::VmEntry, path, [spent, ELR::read()]);
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
            fire!(PointId::VmExit, path, [esr, ELR::read()]);
        });
    }

    #[inline(always)]
    fn hypercall(&mut self, path: PathId, frame: &Frame) {
        site!(PointId::Hypercall, {
            fire!(
                PointId::Hypercall,
                path,
                [frame.get(0), frame.get(1), frame.get(2), frame.get(3)]
            );
        });
    }

    #[inline(always)]
    fn psci(&mut self, path: PathId, frame: &Frame) {
        site!(PointId::Psci, {
            let func = pair(frame.get(0) as u32, 0);
            fire!(PointId::Psci, path, [func, frame.get(1), frame.get(2), frame.get(3)]);
        });
    }

    #[inline(always)]
    fn stage2_fault(&mut self, ipa: u64) {
        site!(PointId::Stage2Fault, {
            fire!(
                PointId::Stage2Fault,
                PathId::Stage2Fault,
                [ipa, hyp_core::dispatch::Machine::far(self), ESR::read(), ELR::read()]
            );
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
            fire!(
                PointId::Mmio,
                path,
                [ipa, value, place, pair(access.size.into(), access.write.into())]
            );
        });
    }

    #[inline(always)]
    fn sysreg_trap(&mut self, path: PathId, key: u32, value: u64, write: bool) {
        site!(
            PointId::SysregTrap,
            fire!(PointId::SysregTrap, path, [value, pair(key, write.into())])
        );
    }

    #[inline(always)]
    fn irq(&mut self, path: PathId, intid: u32, owner: u32) {
        site!(PointId::Irq, fire!(PointId::Irq, path, [pair(intid, owner)]));
    }

    #[inline(always)]
    fn virq_inject(&mut self, path: PathId, vm: u32, intid: u32, cause: u32) {
        site!(
            PointId::VirqInject,
            fire!(PointId::VirqInject, path, [pair(vm, 0), pair(intid, cause)])
        );
    }

    #[inline(always)]
    fn ipc_call(&mut self, channel: u32, to_vm: u32, word0: u64, direct: bool) {
        site!(PointId::IpcCall, {
            fire!(
                PointId::IpcCall,
                PathId::IpcCall,
                [pair(channel, to_vm), word0, pair(direct.into(), 0)]
            );
        });
    }

    #[inline(always)]
    fn ipc_reply(&mut self, path: PathId, channel: u32, to_vm: u32, word0: u64) {
        site!(
            PointId::IpcReply,
            fire!(PointId::IpcReply, path, [pair(channel, to_vm), word0])
        );
    }

    #[inline(always)]
    fn notify(&mut self, channel: u32, to_vm: u32, bits: u64, pending: u64) {
        site!(PointId::Notify, {
            fire!(PointId::Notify, PathId::Notify, [pair(channel, to_vm), bits, pending]);
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
            fire!(
                PointId::SchedSwitch,
                path,
                [pair(from.0, from.1), pair(to.0, to.1), pair(reason, priority)]
            );
        });
    }

    #[inline(always)]
    fn vcpu_block(&mut self, path: PathId, reason: u32, channel: u32) {
        site!(
            PointId::VcpuBlock,
            fire!(PointId::VcpuBlock, path, [pair(reason, channel)])
        );
    }

    #[inline(always)]
    fn vcpu_wake(&mut self, path: PathId, vm: u32, cause: u32, detail: u32) {
        site!(
            PointId::VcpuWake,
            fire!(PointId::VcpuWake, path, [pair(vm, 0), pair(cause, detail)])
        );
    }

    #[inline(always)]
    fn timer(&mut self, path: PathId, due: Option<Instant>, kind: u32, owner: u32) {
        site!(PointId::Timer, {
            let due = due.unwrap_or_else(|| time::instant(crate::world::timer_due()));
            fire!(PointId::Timer, path, [due.as_ticks(), pair(kind, owner)]);
        });
    }
}
