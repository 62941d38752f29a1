//! Level-sensitive lines: the timer's and the console's. Not cleared at the source they come again; cleared they go.

use rt::gic::{self, reg};
use rt::{console, cpu, timer};

use crate::expect;

pub fn run() {
    gic::init();
    gic::enable(timer::INTID);
    timer_line();
    console_line();
}

fn take() -> Option<u32> {
    cpu::dsb();
    cpu::isb();
    let intid = gic::acknowledge();
    (intid < gic::SPECIAL).then_some(intid)
}

fn timer_line() {
    timer::arm(timer::now());
    for round in 0..3 {
        expect!(
            take() == Some(timer::INTID),
            "round {round}: the timer's line is high and nothing comes"
        );
        gic::end(timer::INTID);
    }
    expect!(gic::get_bit(reg::ISPENDR, timer::INTID), "high, but not pending");
    timer::disarm();
    // A hypervisor that keeps the interrupt in a list register cannot see the line fall without trapping the timer's
    // registers, so one interrupt may be on its way already, as on KVM. Its handler finds the timer idle; no other may follow.
    if take() == Some(timer::INTID) {
        expect!(!timer::is_due(), "the stopped timer says that it is due");
        gic::end(timer::INTID);
    }
    expect!(take().is_none(), "came after the line fell");
    expect!(!gic::get_bit(reg::ISPENDR, timer::INTID), "pending after the line fell");
    timer::arm_masked(timer::now());
    expect!(timer::is_due() && take().is_none(), "a masked timer's line");
    timer::disarm();
    timer::arm(timer::now() + timer::frequency());
    expect!(!timer::is_due() && take().is_none(), "due a second early");
    timer::disarm();
}

/// The transmit interrupt: the line follows mask and raw status.
fn console_line() {
    gic::enable(console::INTID);
    console::transmit_interrupt(true);
    rt::println!("lines: transmit");
    expect!(take() == Some(console::INTID), "no transmit interrupt");
    gic::end(console::INTID);
    expect!(take() == Some(console::INTID), "the line is still high");
    console::acknowledge();
    gic::end(console::INTID);
    expect!(take().is_none(), "came after the clear");
    console::transmit_interrupt(false);
}
