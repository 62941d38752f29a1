//! EL2's time base: embassy-time over the physical counter, and EL2's own timer for the next thing that is due.

use core::task::Waker;

use embassy_time::{Duration, Instant};

use crate::reg::sysreg;

sysreg! {
    CNTFRQ = "cntfrq_el0", r;
    CNTPCT = "cntpct_el0", r;
    CNTHP_CVAL = "cnthp_cval_el2", rw;
    CNTHP_CTL = "cnthp_ctl_el2", rw;
}

const ENABLE: u64 = 1;
const TICK_HZ: u64 = embassy_time::TICK_HZ;
const NANOS: u64 = 1_000_000_000;

/// Now, in counter ticks.
#[inline(always)]
pub fn ticks() -> u64 {
    CNTPCT::read()
}

/// Counter frequency, Hz.
pub fn frequency() -> u64 {
    CNTFRQ::read().max(1)
}

/// Ticks of a duration in ns, rounded up; saturates.
pub fn ticks_of_ns(ns: u64) -> u64 {
    let ticks = (u128::from(ns) * u128::from(frequency())).div_ceil(u128::from(NANOS));
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Microseconds since the counter started.
pub fn now_us() -> u64 {
    Instant::now().as_micros()
}

/// The counter value at which `after` from now has passed.
pub fn deadline(after: Duration) -> u64 {
    let at = Instant::now().saturating_add(after).as_ticks();
    let ticks = u128::from(at) * u128::from(frequency()) / u128::from(TICK_HZ);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Arms EL2's timer for counter value `at`; `u64::MAX` turns it off.
#[inline]
pub fn set_alarm(at: u64) {
    CNTHP_CVAL::write(at);
    CNTHP_CTL::write(if at == u64::MAX { 0 } else { ENABLE });
}

/// embassy-time's driver: `now` from the counter. EL2 has no executor, so there is no waker to keep: deadlines are kept by
/// the scheduler, which arms the timer through [`set_alarm`].
struct Counter;

impl embassy_time_driver::Driver for Counter {
    fn now(&self) -> u64 {
        let micros = u128::from(ticks()) * u128::from(TICK_HZ) / u128::from(frequency());
        micros as u64
    }

    fn schedule_wake(&self, _at: u64, waker: &Waker) {
        // A future polled at EL2 would be polled again at once: late never, busy at worst.
        waker.wake_by_ref();
    }
}

embassy_time_driver::time_driver_impl!(static COUNTER: Counter = Counter);
