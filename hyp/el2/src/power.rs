//! Power control by PSCI over SMC (DEN0022), answered by the board's firmware (or QEMU).

const SYSTEM_OFF: u32 = 0x8400_0008;

const CPU_ON: u32 = 0xc400_0003;

/// Starts CPU `cpu` (affinity 0.0.0.cpu) at the physical address `entry` with x0 = `context`; false if firmware refuses.
pub fn start_cpu(cpu: u64, entry: u64, context: u64) -> bool {
    let result: u64;
    // SAFETY: 1. PSCI CPU_ON changes nothing on this CPU but x0-x3. 2. The other CPU starts at `entry`, which is the code of
    // head.S for it, with the state that was filled for it.
    unsafe {
        core::arch::asm!("smc #0", inout("x0") u64::from(CPU_ON) => result, inout("x1") cpu => _, inout("x2") entry => _,
            inout("x3") context => _, options(nostack));
    }
    result == 0
}

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
