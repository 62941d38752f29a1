//! A second vCPU that only takes interrupts and says when: it runs the code here and nothing else.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::cpu::{dsb, isb, relax};
use crate::hvc::smccc;
use crate::{gic, psci, sysreg_read};

/// What the vCPUs share, and what the second one takes over of the first's address space.
#[repr(C, align(64))]
struct Shared {
    stamp: AtomicU64,
    taken: AtomicU64,
    sleep: AtomicU64,
    mair: AtomicU64,
    tcr: AtomicU64,
    ttbr0: AtomicU64,
    sctlr: AtomicU64,
    ready: AtomicU64,
}

const fn word() -> AtomicU64 {
    AtomicU64::new(0)
}

static SHARED: Shared = Shared {
    stamp: word(),
    taken: word(),
    sleep: word(),
    mair: word(),
    tcr: word(),
    ttbr0: word(),
    sctlr: word(),
    ready: word(),
};

// x20: the shared words. `yield` in the loops: where one thread runs all CPUs in turn, it is what ends a turn.
global_asm!(
    ".section .text, \"ax\"",
    ".balign 0x800",
    "rt_second_vectors:",
    ".skip 0x280",
    "    mrs  x1, cntvct_el0",
    "    mrs  x2, icc_iar1_el1",
    "    str  x1, [x20, #0]",
    "    msr  icc_eoir1_el1, x2",
    "    add  x21, x21, #1",
    "    stlr x21, [x22]",
    "    eret",
    ".balign 0x80",
    ".skip 0x500",
    ".global rt_second",
    "rt_second:",
    "    mov  x20, x0",
    "    add  x22, x0, #8",
    "    mov  x21, xzr",
    "    ldp  x1, x2, [x20, #24]",
    "    ldp  x3, x4, [x20, #40]",
    "    msr  mair_el1, x1",
    "    msr  tcr_el1, x2",
    "    msr  ttbr0_el1, x3",
    "    isb",
    "    tlbi vmalle1",
    "    dsb  nsh",
    "    isb",
    "    msr  sctlr_el1, x4",
    "    isb",
    "    adr  x1, rt_second_vectors",
    "    msr  vbar_el1, x1",
    "    mov  x1, #0xff",
    "    msr  icc_pmr_el1, x1",
    "    mov  x1, #1",
    "    msr  icc_igrpen1_el1, x1",
    "    str  x1, [x20, #56]",
    "    isb",
    "    msr  daifclr, #2",
    "1:  ldr  x1, [x20, #16]",
    "    cbnz x1, 2f",
    "    yield",
    "    b    1b",
    "2:  wfi",
    "    b    1b",
);

unsafe extern "C" {
    /// Only its address is used.
    safe static rt_second: u8;
}

/// Turns of the first vCPU while it waits for the second, before it gives up.
const PATIENCE: u64 = 1 << 20;

/// Where the second vCPU waits for interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// In a loop.
    Spinning,
    /// In WFI.
    Wfi,
}

/// Starts vCPU 1, which then takes SGI `intid`. False if it does not start.
pub fn start(intid: u32) -> bool {
    let set = |word: &AtomicU64, value| word.store(value, Ordering::Relaxed);
    set(&SHARED.mair, sysreg_read!(mair_el1));
    set(&SHARED.tcr, sysreg_read!(tcr_el1));
    set(&SHARED.ttbr0, sysreg_read!(ttbr0_el1));
    set(&SHARED.sctlr, sysreg_read!(sctlr_el1));
    let shared = &raw const SHARED as u64;
    // SAFETY: 1. Cache maintenance of this static: vCPU 1 reads it with its caches off.
    unsafe { asm!("dc civac, {}", "dsb sy", in(reg) shared, options(nostack, preserves_flags)) };
    let entry = &raw const rt_second as u64;
    if smccc(psci::id::CPU_ON, [1, entry, shared]) != 0 || !turns(|| SHARED.ready.load(Ordering::Acquire) != 0) {
        return false;
    }
    gic::enable_sgi_of(1, intid);
    true
}

/// Gives turns until `done`; false if that does not come.
fn turns(done: impl Fn() -> bool) -> bool {
    for _ in 0..PATIENCE {
        if done() {
            return true;
        }
        relax();
    }
    false
}

/// Sends SGI `intid` to vCPU 1, which waits as said, `shift` loop rounds later: ticks from the instruction before the write of the SGI
/// register to the first instruction of the handler. `None`: it never came.
pub fn shoot(intid: u32, wait: Wait, shift: u64) -> Option<u64> {
    SHARED.sleep.store(u64::from(wait == Wait::Wfi), Ordering::Release);
    dsb();
    let before = SHARED.taken.load(Ordering::Acquire);
    // One interrupt more, so that it sees how it is to wait, and is there.
    send(intid, 0);
    if !turns(|| SHARED.taken.load(Ordering::Acquire) == before + 1) {
        return None;
    }
    for _ in 0..SETTLE {
        relax();
    }
    let start = send(intid, shift);
    turns(|| SHARED.taken.load(Ordering::Acquire) == before + 2).then(|| SHARED.stamp.load(Ordering::Relaxed) - start)
}

/// Turns after which the second vCPU waits for certain.
const SETTLE: u32 = 4;

fn send(intid: u32, shift: u64) -> u64 {
    let start: u64;
    isb();
    // SAFETY: the write of ICC_SGI1R_EL1 interrupts vCPU 1, whose handler is above.
    unsafe {
        asm!(
            "2:  cbz {shift}, 3f",
            "    sub {shift}, {shift}, #1",
            "    b   2b",
            "3:  mrs {start}, cntvct_el0",
            "    msr icc_sgi1r_el1, {value}",
            "    yield",
            shift = inout(reg) shift => _, start = out(reg) start,
            value = in(reg) u64::from(intid) << 24 | 1 << 1,
            options(nostack),
        )
    }
    start
}
