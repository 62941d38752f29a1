//! Identification registers as guests see them: what the core has, less what EL2 keeps or does not switch.

/// ID_AA64PFR0_EL1: EL3, EL2 in AArch64, RAS, SVE, SEL2, MPAM, AMU, DIT kept; CSV kept.
const PFR0_KEEP: u64 = 0xff0f_0000_0fff_00ff;
/// ID_AA64PFR1_EL1: BT and SSBS.
const PFR1_KEEP: u64 = 0x0000_0000_0000_00ff;
/// ID_AA64DFR0_EL1: the debug architecture version, which must be there; no PMU, no tracing, one breakpoint and watchpoint.
const DFR0_KEEP: u64 = 0x0000_0000_0000_000f;
/// ID_AA64ISAR1_EL1: no pointer authentication, whose keys are not switched.
const ISAR1_KEEP: u64 = 0xffff_ffff_00ff_f00f;
/// ID_AA64MMFR1_EL1: no virtualization host extension.
const MMFR1_KEEP: u64 = 0xffff_ffff_ffff_f0ff;
/// ID_AA64MMFR2_EL1: no nested virtualization.
const MMFR2_KEEP: u64 = 0xffff_ffff_f0ff_ffff;

/// Bits of identification register `index` (CRm × 8 + Op2) that a guest sees; the others read as zero.
pub const fn id_register_mask(index: u32) -> u64 {
    match index {
        32 => PFR0_KEEP,
        33 => PFR1_KEEP,
        40 => DFR0_KEEP,
        48 => u64::MAX,
        49 => ISAR1_KEEP,
        56 => u64::MAX,
        57 => MMFR1_KEEP,
        58 => MMFR2_KEEP,
        _ => 0,
    }
}
