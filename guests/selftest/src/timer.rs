//! The virtual timer: on time by interrupt, in WFI as well as spinning, never early, and time goes on.

use core::sync::atomic::{AtomicU64, Ordering};

use rt::{cpu, gic, irq, timer};

use crate::expect;

static FIRED_AT: AtomicU64 = AtomicU64::new(0);

/// How late a handler may see its timer, in ticks: 64 us, generous enough for other VMs and for a host's noise with
/// `-icount` off, and far below a time slice.
const LATE_MAX: u64 = 4000;

fn handle(intid: u32) {
    if intid == timer::INTID {
        FIRED_AT.store(timer::now(), Ordering::Relaxed);
        timer::disarm();
    }
}

pub fn run() {
    gic::init();
    gic::enable(timer::INTID);
    irq::set_handler(handle);
    cpu::irq_on();
    let rounds = rt::platform::get().number("rounds").unwrap_or(200);
    for round in 0..rounds {
        let after = 100 + round * 37 % 5000;
        one(after, round % 2 == 0);
    }
    past();
    masked_wfi();
    expect!(irq::spurious() == 0, "{} spurious interrupts", irq::spurious());
}

fn one(after: u64, sleep: bool) {
    FIRED_AT.store(0, Ordering::Relaxed);
    let due = timer::now() + after;
    timer::arm(due);
    while FIRED_AT.load(Ordering::Relaxed) == 0 {
        if sleep {
            let daif = cpu::irq_off();
            if FIRED_AT.load(Ordering::Relaxed) == 0 {
                cpu::wfi();
            }
            cpu::irq_restore(daif);
        }
        expect!(
            timer::now() < due + timer::frequency(),
            "nothing a second after it was due"
        );
    }
    let fired = FIRED_AT.load(Ordering::Relaxed);
    expect!(fired >= due, "{} ticks early", due - fired);
    expect!(fired - due <= LATE_MAX, "{} ticks late (sleep: {sleep})", fired - due);
}

/// A deadline in the past fires at once.
fn past() {
    FIRED_AT.store(0, Ordering::Relaxed);
    timer::arm(1);
    timer::spin(100);
    expect!(
        FIRED_AT.load(Ordering::Relaxed) != 0,
        "a deadline in the past did not fire"
    );
}

/// A pending interrupt ends WFI though PSTATE masks it, and is taken when unmasked.
fn masked_wfi() {
    let daif = cpu::irq_off();
    FIRED_AT.store(0, Ordering::Relaxed);
    timer::arm(timer::now() + 1000);
    cpu::wfi();
    expect!(timer::is_due(), "WFI ended early");
    expect!(FIRED_AT.load(Ordering::Relaxed) == 0, "taken while masked");
    cpu::irq_restore(daif);
    cpu::isb();
    expect!(FIRED_AT.load(Ordering::Relaxed) != 0, "not taken when unmasked");
}
