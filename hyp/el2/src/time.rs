//! EL2's time base: embassy-time over the physical counter, and EL2's own timer for the next thing that is due.

use core::task::Waker;

use embassy_time::Instant;

use crate::reg::sysreg;

sysreg! {
    CNTFRQ = "cntfrq_el0", r;
    CNTPCT = "cntpct_el0", r;
    CNTHP_CVAL = "cnthp_cval_el2", rw;
    CNTHP_CTL = "cnthp_ctl_el2", rw;
}

const ENABLE: u64 = 1;

/// Counter ticks to nanoseconds: 62.5 MHz is 16 ns (checked at boot).
pub const TICK_SHIFT: u8 = 4;
const _: () = assert!(embassy_time::TICK_HZ == 1_000_000_000);

/// Now, in counter ticks.
#[inline(always)]
pub fn ticks() -> u64 {
    CNTPCT::read()
}

/// Now.
#[inline(always)]
pub fn now() -> Instant {
    Instant::from_ticks(ticks() << TICK_SHIFT)
}

/// When the counter is `count`: what a guest has asked for may be beyond all time.
#[inline]
pub fn instant(count: u64) -> Instant {
    if count > u64::MAX >> TICK_SHIFT {
        return Instant::MAX;
    }
    Instant::from_ticks(count << TICK_SHIFT)
}

/// Counter frequency, Hz.
pub fn frequency() -> u64 {
    CNTFRQ::read()
}

/// Arms EL2's timer for `at`; `Instant::MAX` turns it off.
#[inline]
pub fn set_alarm(at: Instant) {
    CNTHP_CVAL::write(at.as_ticks().div_ceil(1 << TICK_SHIFT));
    CNTHP_CTL::write(if at == Instant::MAX { 0 } else { ENABLE });
}

/// embassy-time's driver: its `now` is the counter. Deadlines are [`Instant`]s that the scheduler and the wake-ups of `hyp-core`
/// keep, and the nearest arms the timer through [`set_alarm`]; EL2 has no executor, so no future and no waker.
struct Counter;

impl embassy_time_driver::Driver for Counter {
    fn now(&self) -> u64 {
        now().as_ticks()
    }

    fn schedule_wake(&self, _at: u64, waker: &Waker) {
        // A future polled at EL2 would be polled again at once: late never, busy at worst.
        waker.wake_by_ref();
    }
}

embassy_time_driver::time_driver_impl!(static COUNTER: Counter = Counter);
