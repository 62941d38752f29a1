//! Virtual timers: when the vCPU that has the CPU owns its timer in hardware, the others' deadlines are kept here.
//!
//! CNTVOFF_EL2 is 0 in every VM, so a virtual compare value is a physical time. While a vCPU is on a CPU, its CNTV registers are live and the
//! physical PPI of the virtual timer reports it. When it leaves, its deadline goes into [`Wakeups`]; the nearest one, and the end of
//! the time slice, go to EL2's own timer. A vCPU whose deadline passes gets its interrupt and becomes ready.

use embassy_time::Instant;

use crate::sched::SLOTS;

/// PPI of the EL1 virtual timer, physical and virtual.
pub const VTIMER_INTID: u32 = 27;

const CTL_ENABLE: u64 = 1 << 0;
const CTL_IMASK: u64 = 1 << 1;

/// CNTV registers of a vCPU that is not on a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vtimer {
    /// CNTV_CTL_EL0 (ENABLE, IMASK).
    pub ctl: u64,
    /// CNTV_CVAL_EL0.
    pub cval: u64,
}

impl Vtimer {
    /// Time at which the timer's interrupt is due; `None` while it is off or masked. May have passed.
    #[inline]
    pub const fn deadline(self) -> Option<u64> {
        if self.ctl & (CTL_ENABLE | CTL_IMASK) == CTL_ENABLE {
            Some(self.cval)
        } else {
            None
        }
    }

    /// True if its interrupt line is high at `now`.
    #[inline]
    pub const fn is_due(self, now: u64) -> bool {
        match self.deadline() {
            Some(t) => t <= now,
            None => false,
        }
    }
}

/// Deadlines of the vCPUs of one CPU that are not running, by slot.
#[derive(Clone, Debug)]
pub struct Wakeups {
    armed: u32,
    at: [Instant; SLOTS],
    /// The least armed time; `Instant::MAX` if none.
    nearest: Instant,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self::new()
    }
}

impl Wakeups {
    /// None armed.
    pub const fn new() -> Self {
        Self {
            armed: 0,
            at: [Instant::MAX; SLOTS],
            nearest: Instant::MAX,
        }
    }

    /// Arms `slot` for `deadline`, or disarms it. *Hot.* Slots that do not exist change nothing.
    #[inline]
    pub fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        let Some(at) = self.at.get_mut(slot) else { return };
        let before = *at;
        *at = deadline.unwrap_or(Instant::MAX);
        let bit = 1 << (slot % SLOTS);
        self.armed = if deadline.is_some() {
            self.armed | bit
        } else {
            self.armed & !bit
        };
        if *at <= self.nearest {
            self.nearest = *at;
        } else if before == self.nearest {
            self.nearest = self.least();
        }
    }

    /// True if `slot` has a deadline.
    #[inline]
    pub const fn is_armed(&self, slot: usize) -> bool {
        self.armed >> (slot % SLOTS) & 1 != 0
    }

    /// The nearest deadline; `Instant::MAX` if there is none.
    #[inline]
    pub const fn nearest(&self) -> Instant {
        self.nearest
    }

    /// Takes one slot whose deadline is at or before `now`, the earliest; ties: the lowest slot. Called until `None`: at most [`SLOTS`] times.
    #[inline]
    pub fn take_due(&mut self, now: Instant) -> Option<usize> {
        if self.nearest > now || self.armed == 0 {
            return None;
        }
        let slot = (0..SLOTS).find(|s| self.armed >> s & 1 != 0 && self.at[*s] == self.nearest)?;
        self.set(slot, None);
        Some(slot)
    }

    fn least(&self) -> Instant {
        let mut least = Instant::MAX;
        for at in &self.at {
            least = least.min(*at);
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testrng::{Rng, steps};

    #[test]
    fn a_masked_or_disabled_timer_has_no_deadline() {
        for (ctl, want) in [(0, None), (1, Some(5)), (2, None), (3, None), (5, Some(5))] {
            assert_eq!(Vtimer { ctl, cval: 5 }.deadline(), want, "{ctl}");
        }
        let t = Vtimer { ctl: 1, cval: 5 };
        assert!(!t.is_due(4) && t.is_due(5) && t.is_due(u64::MAX));
    }

    #[test]
    fn is_a_priority_queue() {
        let mut rng = Rng::new("vtimer", 6);
        let mut w = Wakeups::new();
        let mut model: BTreeMap<usize, Instant> = BTreeMap::new();
        for _ in 0..steps(100_000) {
            let slot = rng.below(SLOTS as u64 + 1) as usize;
            match rng.below(3) {
                0 => {
                    let soon = rng.below(50) + 1;
                    let at = Instant::from_ticks(rng.pick(&[0, u64::MAX, soon]));
                    w.set(slot, Some(at));
                    if slot < SLOTS {
                        model.insert(slot, at);
                    }
                }
                1 => {
                    w.set(slot, None);
                    model.remove(&slot);
                }
                _ => {
                    let now = Instant::from_ticks(rng.below(60));
                    let want = model.iter().map(|(s, at)| (*at, *s)).min().filter(|(at, _)| *at <= now);
                    assert_eq!(w.take_due(now), want.map(|(_, s)| s));
                    if let Some((_, s)) = want {
                        model.remove(&s);
                    }
                }
            }
            assert_eq!(w.nearest(), model.values().copied().min().unwrap_or(Instant::MAX));
        }
    }
}
