//! CPU registers and instructions, as safe functions.

use core::arch::asm;

/// DAIF as it was before [`irq_off`]; give it back to [`irq_restore`].
#[derive(Debug, Clone, Copy)]
pub struct Daif(u64);

impl Daif {
    /// Whether IRQs were masked.
    pub fn was_masked(self) -> bool {
        self.0 & 1 << 7 != 0
    }
}

/// Masks IRQs.
#[inline]
pub fn irq_off() -> Daif {
    let daif: u64;
    // SAFETY: masking interrupts breaks no invariant.
    unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack)) }
    Daif(daif)
}

/// Unmasks IRQs.
#[inline]
pub fn irq_on() {
    // SAFETY: the vectors are installed before `main`; handlers share only atomics and masked sections with it.
    unsafe { asm!("msr daifclr, #2", options(nostack)) }
}

/// Puts the mask back as it was.
#[inline]
pub fn irq_restore(daif: Daif) {
    // SAFETY: a value that `irq_off` read.
    unsafe { asm!("msr daif, {}", in(reg) daif.0, options(nostack)) }
}

/// Waits until an interrupt is pending, masked or not.
#[inline]
pub fn wfi() {
    // SAFETY: a hint.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) }
}

/// Others may go on: an emulator that runs one CPU at a time takes the next.
#[inline]
pub fn relax() {
    // SAFETY: a hint.
    unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) }
}

/// Context synchronisation.
#[inline]
pub fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) }
}

/// Completes all memory accesses before it.
#[inline]
pub fn dsb() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Reads a system register: `read!(cntvct_el0)`. For registers whose read has no effect.
#[macro_export]
macro_rules! sysreg_read {
    ($name:ident) => {{
        let value: u64;
        // SAFETY: reading the register has no effect on memory or control flow.
        unsafe { core::arch::asm!(concat!("mrs {}, ", stringify!($name)), out(reg) value, options(nostack, preserves_flags)) };
        value
    }};
}

macro_rules! sysreg_write {
    ($name:ident, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the caller's module owns this register (timer, interrupt controller, FP enable).
        unsafe { core::arch::asm!(concat!("msr ", stringify!($name), ", {}"), in(reg) value, options(nostack, preserves_flags)) };
    }};
}
pub(crate) use sysreg_write;
