//! PSCI and SMCCC discovery by HVC.

use crate::hvc::smccc;

/// Function identifiers (Arm DEN 0022, DEN 0028).
pub mod id {
    #![allow(missing_docs, reason = "the specification's own names")]
    pub const SMCCC_VERSION: u64 = 0x8000_0000;
    pub const SMCCC_ARCH_FEATURES: u64 = 0x8000_0001;
    pub const PSCI_VERSION: u64 = 0x8400_0000;
    pub const CPU_SUSPEND: u64 = 0xc400_0001;
    pub const CPU_OFF: u64 = 0x8400_0002;
    pub const CPU_ON: u64 = 0xc400_0003;
    pub const AFFINITY_INFO: u64 = 0xc400_0004;
    pub const MIGRATE_INFO_TYPE: u64 = 0x8400_0006;
    pub const SYSTEM_OFF: u64 = 0x8400_0008;
    pub const SYSTEM_RESET: u64 = 0x8400_0009;
    pub const PSCI_FEATURES: u64 = 0x8400_000a;
    pub const SYSTEM_SUSPEND: u64 = 0xc400_000e;
}

/// NOT_SUPPORTED and SMCCC's unknown function.
pub const NOT_SUPPORTED: i64 = -1;
/// INVALID_PARAMETERS.
pub const INVALID_PARAMETERS: i64 = -2;
/// ALREADY_ON.
pub const ALREADY_ON: i64 = -4;

/// PSCI version: major << 16 | minor.
pub fn version() -> u64 {
    smccc(id::PSCI_VERSION, [0; 3])
}

/// Switches the VM off.
pub fn system_off() -> ! {
    smccc(id::SYSTEM_OFF, [0; 3]);
    // Without a PSCI implementation there is no way out; be quiet.
    loop {
        crate::cpu::wfi();
    }
}
