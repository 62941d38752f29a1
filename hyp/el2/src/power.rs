//! Power control by PSCI over SMC (DEN0022), answered by the board's firmware (or QEMU).

const SYSTEM_OFF: u32 = 0x8400_0008;

/// Turns the machine off.
pub fn off() -> ! {
    // SAFETY: 1. PSCI SYSTEM_OFF does not return; if firmware lacks it, the loop below parks the CPU.
    unsafe {
        core::arch::asm!("smc #0", inout("x0") u64::from(SYSTEM_OFF) => _, lateout("x1") _, lateout("x2") _, lateout("x3") _,
            options(nostack));
    }
    loop {
        crate::reg::wfi();
    }
}
