//! Identification registers as guests see them: what the core has, less what EL2 keeps or does not switch.

/// ID_AA64PFR0_EL1: EL3, EL2 in AArch64, RAS, SVE, SEL2, MPAM, AMU, DIT kept; CSV kept.
const PFR0_KEEP: u64 = 0xff0f_0000_0fff_00ff;
/// ID_AA64PFR1_EL1: BT and SSBS.
const PFR1_KEEP: u64 = 0x0000_0000_0000_00ff;
/// ID_AA64DFR0_EL1: the debug architecture version, which must be there, and the PMU's; no tracing, one breakpoint and watchpoint.
const DFR0_KEEP: u64 = 0x0000_0000_0000_0f0f;
const DFR0: u32 = 40;
/// ID_AA64DFR0_EL1.PMUVer: the highest version whose registers [`crate::pmu`] has (FEAT_PMUv3p1), and one that is not PMUv3.
const PMUVER_MAX: u64 = 4;
const PMUVER_OTHER: u64 = 0xf;
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
        DFR0 => DFR0_KEEP,
        48 => u64::MAX,
        49 => ISAR1_KEEP,
        56 => u64::MAX,
        57 => MMFR1_KEEP,
        58 => MMFR2_KEEP,
        _ => 0,
    }
}

/// What a guest reads from identification register `index` of a core that has `raw` there.
pub const fn id_register_value(index: u32, raw: u64) -> u64 {
    let kept = raw & id_register_mask(index);
    let pmu = kept >> 8 & 0xf;
    match (index, pmu) {
        (DFR0, PMUVER_OTHER) => kept & !0xf00,
        (DFR0, _) if pmu > PMUVER_MAX => kept & !0xf00 | PMUVER_MAX << 8,
        _ => kept,
    }
}
