//! The performance monitors count this vCPU's own instructions, all of them and no others. Exact under `-icount`.

use core::sync::atomic::{AtomicU64, Ordering};

use rt::{cpu, gic, hvc, irq, pmu};

use crate::expect;

static OVERFLOWS: AtomicU64 = AtomicU64::new(0);

fn handle(intid: u32) {
    if intid == pmu::INTID && pmu::take_overflows() == 1 {
        OVERFLOWS.fetch_add(1, Ordering::Relaxed);
    }
}

/// `each` instructions in a round, whatever else there is once.
fn exact(what: &str, each: u64, count: impl Fn(u64) -> u64) {
    let once = count(1);
    for rounds in [2, 10, 1000, 20_000] {
        let counted = count(rounds);
        expect!(
            counted == once + (rounds - 1) * each,
            "{what}: {counted} in {rounds} rounds, {once} in one"
        );
    }
}

pub fn run() {
    expect!(pmu::is_there(), "ID_AA64DFR0_EL1 has no PMUv3");
    expect!(pmu::counters() >= 1, "no event counter");
    gic::init();
    gic::enable(pmu::INTID);
    irq::set_handler(handle);
    pmu::start();
    exact("instructions", 2, pmu::instructions_of_loop);
    exact("cycles", 2, pmu::cycles_of_loop);
    if hvc::present() {
        exact("instructions around hypercalls", 4, pmu::instructions_of_hypercalls);
        exact("instructions around other VMs", 5, pmu::instructions_of_yields);
    }
    // One interrupt for one overflow, and none for a counter whose interrupt is off.
    cpu::irq_on();
    pmu::interrupt_from(0u32.wrapping_sub(5000));
    pmu::instructions_of_loop(1000);
    expect!(OVERFLOWS.load(Ordering::Relaxed) == 0, "an overflow too early");
    pmu::instructions_of_loop(2000);
    expect!(
        OVERFLOWS.load(Ordering::Relaxed) == 1,
        "{} overflows",
        OVERFLOWS.load(Ordering::Relaxed)
    );
    // Cleared while masked: nothing is left to be taken.
    let daif = cpu::irq_off();
    pmu::interrupt_from(u32::MAX);
    pmu::instructions_of_loop(10);
    expect!(pmu::take_overflows() == 1, "no overflow");
    cpu::irq_restore(daif);
    pmu::stop();
    expect!(
        OVERFLOWS.load(Ordering::Relaxed) == 1,
        "an interrupt that was withdrawn"
    );
    let (instructions, cycles) = (pmu::instructions(), pmu::cycles());
    pmu::instructions_of_loop(100);
    expect!(
        (instructions, cycles) == (pmu::instructions(), pmu::cycles()),
        "counts while it is off"
    );
    expect!(irq::spurious() == 0, "{} spurious interrupts", irq::spurious());
}
