//! The event counter that EL2 keeps for itself: it counts how long exits take.
//!
//! MDCR_EL2.HPMN leaves the guests all counters but the last (Arm ARM D11.8.1), which counts retired instructions at EL2 too
//! (PMEVTYPER.NSH). Under `-icount` the count is exact.

use crate::reg::{isb, sysreg};

sysreg! {
    PMCR = "pmcr_el0", rw;
    MDCR = "mdcr_el2", rw;
    COUNTER = "pmevcntr3_el0", rw;
    TYPE = "pmevtyper3_el0", rw;
    ENABLE = "pmcntenset_el0", w;
}

/// Index of EL2's counter: the last of the four that QEMU's cores have; cores with more leave the rest unused.
const INDEX: u64 = 3;
/// INST_RETIRED.
const RETIRED: u64 = 0x08;
/// Count at EL2.
const NSH: u64 = 1 << 27;
/// MDCR_EL2: trap guests' debug (TDRA, TDOSA, TDA) and PMU (TPM, TPMCR) registers; HPME.
const MDCR_TRAPS: u64 = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5;
const MDCR_HPME: u64 = 1 << 7;

/// Reserves and starts the counter on this CPU.
pub fn init() {
    let counters = PMCR::read() >> 11 & 0x1f;
    MDCR::write(MDCR_TRAPS | MDCR_HPME | INDEX.min(counters.saturating_sub(1)));
    isb();
    TYPE::write(RETIRED | NSH);
    COUNTER::write(0);
    ENABLE::write(1 << INDEX);
    PMCR::write(PMCR::read() | 1);
    isb();
}

/// The count now; it wraps.
#[inline(always)]
pub fn read() -> u32 {
    COUNTER::read() as u32
}
