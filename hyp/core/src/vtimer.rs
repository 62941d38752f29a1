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
///
/// A tournament: each node of a binary tree over the slots names the slot of the earlier deadline below it. So every change
/// takes the same time, whichever deadline it concerns.
#[derive(Clone, Debug)]
pub struct Wakeups {
    /// `Instant::MAX`: none.
    at: [Instant; SLOTS],
    /// Node 1 is the root, 2n and 2n + 1 are below n, and slot s is node `SLOTS` + s.
    earliest: [u8; 2 * SLOTS],
}

const _: () = assert!(SLOTS.is_power_of_two());

impl Default for Wakeups {
    fn default() -> Self {
        Self::new()
    }
}

impl Wakeups {
    /// None armed.
    pub const fn new() -> Self {
        let mut earliest = [0; 2 * SLOTS];
        let mut node = 2 * SLOTS - 1;
        while node > 0 {
            earliest[node] = if node >= SLOTS {
                (node - SLOTS) as u8
            } else {
                earliest[2 * node]
            };
            node -= 1;
        }
        Self {
            at: [Instant::MAX; SLOTS],
            earliest,
        }
    }

    #[inline(always)]
    fn deadline(&self, slot: u8) -> Instant {
        self.at[usize::from(slot) % SLOTS]
    }

    /// Arms `slot` for `deadline`, or disarms it. *Hot.* Slots that do not exist change nothing.
    #[inline]
    pub fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        let Some(at) = self.at.get_mut(slot) else { return };
        *at = deadline.unwrap_or(Instant::MAX);
        let mut node = SLOTS + slot;
        for _ in 0..SLOTS.ilog2() {
            node /= 2;
            let left = self.earliest[2 * node % (2 * SLOTS)];
            let right = self.earliest[(2 * node + 1) % (2 * SLOTS)];
            self.earliest[node % SLOTS] = if self.deadline(left) <= self.deadline(right) {
                left
            } else {
                right
            };
        }
    }

    /// True if `slot` has a deadline.
    #[inline]
    pub fn is_armed(&self, slot: usize) -> bool {
        self.at[slot % SLOTS] != Instant::MAX
    }

    /// The nearest deadline; `Instant::MAX` if there is none.
    #[inline]
    pub fn nearest(&self) -> Instant {
        self.deadline(self.earliest[1])
    }

    /// Takes the slot of the earliest deadline, if that is at or before `now`; ties: the lowest slot.
    #[inline]
    pub fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (slot, nearest) = (usize::from(self.earliest[1]), self.nearest());
        if nearest > now || nearest == Instant::MAX {
            return None;
        }
        self.set(slot, None);
        Some(slot)
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
                    if slot < SLOTS && at != Instant::MAX {
                        model.insert(slot, at);
                    } else {
                        model.remove(&slot);
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
