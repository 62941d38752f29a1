//! The virtual timer of the generic timer (PPI 11, INTID 27).

use crate::cpu::{isb, sysreg_write};
use crate::{cpu, gic, sysreg_read};

/// Interrupt of the virtual timer.
pub const INTID: u32 = 27;

const ENABLE: u64 = 1;
const IMASK: u64 = 2;
const ISTATUS: u64 = 4;

/// Ticks per second (CNTFRQ_EL0): 62.5 MHz on QEMU.
#[inline]
pub fn frequency() -> u64 {
    sysreg_read!(cntfrq_el0)
}

/// Nanoseconds per tick, where that is a whole number: 16 on QEMU.
#[inline]
pub fn tick_ns() -> u64 {
    1_000_000_000 / frequency()
}

/// The virtual count, in ticks.
#[inline]
pub fn now() -> u64 {
    isb();
    sysreg_read!(cntvct_el0)
}

/// The virtual count, in nanoseconds.
pub fn now_ns() -> u64 {
    let frequency = frequency();
    let ticks = now();
    ticks / frequency * 1_000_000_000 + ticks % frequency * 1_000_000_000 / frequency
}

/// Raises the timer's interrupt when the virtual count reaches `deadline` (ticks).
#[inline]
pub fn arm(deadline: u64) {
    sysreg_write!(cntv_cval_el0, deadline);
    sysreg_write!(cntv_ctl_el0, ENABLE);
    isb();
}

/// Runs the timer towards `deadline` with its interrupt masked.
pub fn arm_masked(deadline: u64) {
    sysreg_write!(cntv_cval_el0, deadline);
    sysreg_write!(cntv_ctl_el0, ENABLE | IMASK);
    isb();
}

/// Stops the timer and lowers its interrupt.
#[inline]
pub fn disarm() {
    sysreg_write!(cntv_ctl_el0, 0);
    isb();
}

/// Whether the timer's condition is met.
pub fn is_due() -> bool {
    isb();
    sysreg_read!(cntv_ctl_el0) & ISTATUS != 0
}

/// Sleeps in WFI until `due`, with IRQs masked at the CPU and the timer's interrupt enabled. Other interrupts that come
/// are left pending, and end the WFI again and again.
pub fn sleep_until(due: u64) {
    let daif = cpu::irq_off();
    arm(due);
    while now() < due {
        cpu::wfi();
    }
    disarm();
    // Taken by hand: it may have become pending for good when the line rose.
    if gic::highest_pending() == INTID {
        let intid = gic::acknowledge();
        if intid < gic::SPECIAL {
            gic::end(intid);
        }
    }
    cpu::irq_restore(daif);
}

/// Spins for `ticks`.
pub fn spin(ticks: u64) {
    let end = now() + ticks;
    while now() < end {
        core::hint::spin_loop();
    }
}
