//! The performance monitors (PMUv3): event counters and the cycle counter.

use core::arch::asm;

use crate::cpu::{isb, sysreg_write};
use crate::sysreg_read;

/// Interrupt of a counter that overflows (PPI 7).
pub const INTID: u32 = 23;
/// Event: an instruction retired.
pub const RETIRED: u64 = 0x08;
/// Bit of the cycle counter in sets of counters.
pub const CYCLES: u64 = 1 << 31;

const ENABLE: u64 = 1;
const RESET_EVENTS: u64 = 2;
const RESET_CYCLES: u64 = 4;
const LONG_CYCLES: u64 = 1 << 6;

/// Whether ID_AA64DFR0_EL1 says that there is a PMUv3.
pub fn is_there() -> bool {
    !matches!(sysreg_read!(id_aa64dfr0_el1) >> 8 & 0xf, 0 | 0xf)
}

/// Event counters, without the cycle counter.
pub fn counters() -> u64 {
    sysreg_read!(pmcr_el0) >> 11 & 0x1f
}

/// All counters at 0; counter 0 counts instructions, the cycle counter cycles.
pub fn start() {
    sysreg_write!(pmcntenclr_el0, u64::from(u32::MAX));
    sysreg_write!(pmintenclr_el1, u64::from(u32::MAX));
    sysreg_write!(pmovsclr_el0, u64::from(u32::MAX));
    sysreg_write!(pmevtyper0_el0, RETIRED);
    sysreg_write!(pmccfiltr_el0, 0);
    sysreg_write!(pmcntenset_el0, CYCLES | 1);
    sysreg_write!(pmcr_el0, ENABLE | RESET_EVENTS | RESET_CYCLES | LONG_CYCLES);
    isb();
}

/// Nothing counts.
pub fn stop() {
    sysreg_write!(pmcr_el0, LONG_CYCLES);
    isb();
}

/// Counter 0 goes on from `value`, and interrupts when it wraps.
pub fn interrupt_from(value: u32) {
    sysreg_write!(pmevcntr0_el0, u64::from(value));
    sysreg_write!(pmintenset_el1, 1);
    isb();
}

/// Counters that have wrapped; they are cleared.
pub fn take_overflows() -> u64 {
    let wrapped = sysreg_read!(pmovsclr_el0);
    sysreg_write!(pmovsclr_el0, wrapped);
    isb();
    wrapped
}

/// Counter 0.
pub fn instructions() -> u64 {
    sysreg_read!(pmevcntr0_el0)
}

/// The cycle counter.
pub fn cycles() -> u64 {
    sysreg_read!(pmccntr_el0)
}

macro_rules! counted {
    ($rounds:expr, $counter:literal, [$($body:literal),*]) => {{
        let (before, after): (u64, u64);
        // SAFETY: the body is a hypercall without memory arguments, a hint, or nothing.
        unsafe {
            asm!(
                concat!("mrs {before}, ", $counter),
                "2:",
                $($body,)*
                "subs x21, x21, #1",
                "b.ne 2b",
                concat!("mrs {after}, ", $counter),
                before = out(reg) before, after = out(reg) after,
                inout("x21") $rounds => _,
                out("x0") _, out("x1") _, out("x2") _, out("x3") _,
                options(nostack),
            )
        }
        after.wrapping_sub(before)
    }};
}

/// What counter 0 counts for a loop of `rounds` (not 0) times two instructions.
pub fn instructions_of_loop(rounds: u64) -> u64 {
    counted!(rounds, "pmevcntr0_el0", [])
}

/// What counter 0 counts for a loop of `rounds` (not 0) times four instructions, one of which is a hypercall.
pub fn instructions_of_hypercalls(rounds: u64) -> u64 {
    counted!(rounds, "pmevcntr0_el0", ["mov w0, #0x84000000", "hvc #0"])
}

/// What counter 0 counts for a loop of `rounds` (not 0) times five instructions, one of which gives the CPU to another VM.
pub fn instructions_of_yields(rounds: u64) -> u64 {
    counted!(
        rounds,
        "pmevcntr0_el0",
        ["mov w0, #0xc6000000", "orr w0, w0, #2", "hvc #0"]
    )
}

/// What the cycle counter counts for a loop of `rounds` (not 0) times two instructions.
pub fn cycles_of_loop(rounds: u64) -> u64 {
    counted!(rounds, "pmccntr_el0", [])
}
