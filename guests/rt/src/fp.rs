//! The FP/SIMD registers, for tests that they belong to one VM. Nothing else in a guest uses them (soft-float target).

use core::arch::asm;

use crate::cpu::{isb, sysreg_write};
use crate::sysreg_read;

/// q0 to q31 as halves, low first.
pub type Bank = [u64; 64];

/// Lets EL1 use FP and SIMD (CPACR_EL1.FPEN).
pub fn enable() {
    sysreg_write!(cpacr_el1, sysreg_read!(cpacr_el1) | 3 << 20);
    isb();
}

/// Loads all 32 registers, and FPCR's rounding mode (0 to 3).
pub fn load(bank: &Bank, rounding: u64) {
    // SAFETY: reads 512 bytes of `bank`; no compiled code uses the registers.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            "ldp q0, q1, [{b}]", "ldp q2, q3, [{b}, #32]", "ldp q4, q5, [{b}, #64]", "ldp q6, q7, [{b}, #96]",
            "ldp q8, q9, [{b}, #128]", "ldp q10, q11, [{b}, #160]", "ldp q12, q13, [{b}, #192]", "ldp q14, q15, [{b}, #224]",
            "ldp q16, q17, [{b}, #256]", "ldp q18, q19, [{b}, #288]", "ldp q20, q21, [{b}, #320]", "ldp q22, q23, [{b}, #352]",
            "ldp q24, q25, [{b}, #384]", "ldp q26, q27, [{b}, #416]", "ldp q28, q29, [{b}, #448]", "ldp q30, q31, [{b}, #480]",
            "msr fpcr, {r}",
            b = in(reg) bank.as_ptr(), r = in(reg) (rounding & 3) << 22,
            options(nostack),
        )
    }
}

/// Stores all 32 registers; the rounding mode.
pub fn store(bank: &mut Bank) -> u64 {
    let fpcr: u64;
    // SAFETY: writes 512 bytes of `bank`.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            "stp q0, q1, [{b}]", "stp q2, q3, [{b}, #32]", "stp q4, q5, [{b}, #64]", "stp q6, q7, [{b}, #96]",
            "stp q8, q9, [{b}, #128]", "stp q10, q11, [{b}, #160]", "stp q12, q13, [{b}, #192]", "stp q14, q15, [{b}, #224]",
            "stp q16, q17, [{b}, #256]", "stp q18, q19, [{b}, #288]", "stp q20, q21, [{b}, #320]", "stp q22, q23, [{b}, #352]",
            "stp q24, q25, [{b}, #384]", "stp q26, q27, [{b}, #416]", "stp q28, q29, [{b}, #448]", "stp q30, q31, [{b}, #480]",
            "mrs {r}, fpcr",
            b = in(reg) bank.as_mut_ptr(), r = out(reg) fpcr,
            options(nostack),
        )
    }
    fpcr >> 22 & 3
}
