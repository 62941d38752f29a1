//! The performance monitors: the event counter that EL2 keeps for itself, which counts how long exits take, and those of guests.
//!
//! MDCR_EL2.HPMN leaves guests the first counters (Arm ARM D11.8.1), and the cycle counter; their filters leave EL2 out. EL2's own is
//! the last, which counts retired instructions at EL2 too (PMEVTYPER.NSH). Under `-icount` the count is exact. Every access of a
//! guest traps: [`hyp_core::pmu`] has its registers.

use hyp_core::pmu::{CYCLE_BIT, EVENT_BITS, EVENTS, Identity, Pmu, control};

use crate::reg::{isb, sysreg};

sysreg! {
    PMCR = "pmcr_el0", rw;
    MDCR = "mdcr_el2", rw;
    COUNTER = "pmevcntr3_el0", rw;
    TYPE = "pmevtyper3_el0", rw;
    ENABLE = "pmcntenset_el0", w;
    DISABLE = "pmcntenclr_el0", w;
    INTERRUPT_ON = "pmintenset_el1", w;
    INTERRUPT_OFF = "pmintenclr_el1", w;
    OVERFLOWED = "pmovsclr_el0", rw;
    OVERFLOW_SET = "pmovsset_el0", w;
    USER = "pmuserenr_el0", w;
    EVENTS_0 = "pmceid0_el0", r;
    EVENTS_1 = "pmceid1_el0", r;
    CYCLES = "pmccntr_el0", rw;
    CYCLE_FILTER = "pmccfiltr_el0", w;
    EVENT_0 = "pmevcntr0_el0", rw;
    EVENT_1 = "pmevcntr1_el0", rw;
    KIND_0 = "pmevtyper0_el0", w;
    KIND_1 = "pmevtyper1_el0", w;
}

const _: () = assert!(EVENTS == 2, "the counters named above");
/// Index of EL2's counter: the last of the four that QEMU's cores have; cores with more leave the rest unused.
const INDEX: u64 = 3;
/// INST_RETIRED.
const RETIRED: u64 = 0x08;
/// Count at EL2.
const NSH: u64 = 1 << 27;
/// MDCR_EL2: trap guests' debug (TDRA, TDOSA, TDA) and PMU (TPM, TPMCR) registers; HPME.
const MDCR_TRAPS: u64 = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 6 | 1 << 5;
const MDCR_HPME: u64 = 1 << 7;
/// Everything of guests in the enable, interrupt and overflow registers.
const GUESTS: u64 = (EVENT_BITS | CYCLE_BIT) as u64;

/// Reserves and starts the counter on this CPU.
pub fn init() {
    MDCR::write(MDCR_TRAPS | MDCR_HPME | EVENTS as u64);
    isb();
    DISABLE::write(GUESTS);
    INTERRUPT_OFF::write(u64::from(u32::MAX));
    USER::write(0);
    TYPE::write(RETIRED | NSH);
    COUNTER::write(0);
    ENABLE::write(1 << INDEX);
    PMCR::write(PMCR::read() | u64::from(control::E));
    isb();
}

/// The count now; it wraps.
#[inline(always)]
pub fn read() -> u32 {
    COUNTER::read() as u32
}

/// What the core says of itself.
pub fn identity() -> Identity {
    Identity {
        control: PMCR::read(),
        events: [EVENTS_0::read(), EVENTS_1::read()],
    }
}

/// What the loaded vCPU's counters have become. Nothing of them counts here.
pub fn take(to: &mut Pmu) {
    to.cycle = CYCLES::read();
    to.event = [EVENT_0::read() as u32, EVENT_1::read() as u32];
    to.overflowed = OVERFLOWED::read() as u32 & GUESTS as u32;
}

/// Nothing counts for a guest, and nothing interrupts.
pub fn rest() {
    DISABLE::write(GUESTS);
    INTERRUPT_OFF::write(GUESTS);
    USER::write(0);
}

/// Counts for a vCPU what it wants counted. PMCR_EL0.E stays set: which counters count says the enable register alone. No barrier: what is
/// written takes effect by the `eret`.
pub fn give(from: &Pmu) {
    DISABLE::write(GUESTS);
    INTERRUPT_OFF::write(GUESTS);
    PMCR::write(u64::from(from.control | control::E));
    CYCLES::write(from.cycle);
    CYCLE_FILTER::write(from.cycle_filter.into());
    let ([event_0, event_1], [kind_0, kind_1]) = (from.event, from.kind);
    EVENT_0::write(event_0.into());
    EVENT_1::write(event_1.into());
    KIND_0::write(kind_0.into());
    KIND_1::write(kind_1.into());
    OVERFLOWED::write(GUESTS);
    OVERFLOW_SET::write(from.overflowed.into());
    USER::write(from.user.into());
    INTERRUPT_ON::write(from.interrupting().into());
    ENABLE::write(from.counting().into());
}
