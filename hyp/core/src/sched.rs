//! Fixed-priority scheduler of one physical CPU: preemptive, round robin within a priority.
//!
//! vCPUs are named by their slot on this CPU (0..[`SLOTS`]). A run queue is a bitmap of ready slots per priority and a
//! bitmap of priorities, so that every operation is a few instructions and none has a loop.
//! Round robin takes the next ready slot above the one that ran last, cyclically.

/// Slots of one CPU: bits of a `u32`. At most `hyp_abi::config::VCPUS_MAX` vCPUs exist in a system.
pub const SLOTS: usize = 32;
/// Priorities, 0 (lowest) to 31.
pub const PRIORITIES: usize = 32;

const _: () = assert!(hyp_abi::config::VCPUS_MAX <= SLOTS);

/// What a change asks the CPU to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Resched {
    /// The vCPU that runs stays.
    Stay,
    /// Another vCPU must run: call [`Sched::next`].
    Switch,
}

/// Run queue of one CPU.
#[derive(Clone, Debug)]
pub struct Sched {
    /// Bit p: some slot of priority p is ready.
    levels: u32,
    /// Slots that have been added.
    present: u32,
    /// Ready slots (the running one too) by priority.
    ready: [u32; PRIORITIES],
    /// Slot whose turn it is at each priority, if it is ready.
    turn: [u8; PRIORITIES],
    priority: [u8; SLOTS],
    /// Slot that runs; [`NONE`] when idle.
    current: u8,
    /// Who runs next, or whether its time slice is timed, may have changed since this was last taken
    /// ([`Self::take_changed`]). An exit that leaves it false has nothing to choose.
    pub changed: bool,
}

const NONE: u8 = u8::MAX;

impl Default for Sched {
    fn default() -> Self {
        Self::new()
    }
}

impl Sched {
    /// No vCPU, idle.
    pub const fn new() -> Self {
        Self {
            levels: 0,
            present: 0,
            ready: [0; PRIORITIES],
            turn: [0; PRIORITIES],
            priority: [0; SLOTS],
            current: NONE,
            // Nobody has been chosen yet, and a CPU without a vCPU must learn that it idles.
            changed: true,
        }
    }

    /// Adds a slot with its fixed priority, not ready. False if the slot or the priority does not exist or the slot is taken.
    pub fn add(&mut self, slot: usize, priority: u8) -> bool {
        let Some(p) = self.priority.get_mut(slot) else {
            return false;
        };
        if usize::from(priority) >= PRIORITIES || self.present & bit(slot) != 0 {
            return false;
        }
        *p = priority;
        self.present |= bit(slot);
        true
    }

    /// Whether the choice must be made again; it counts as made from now on.
    #[inline(always)]
    pub const fn take_changed(&mut self) -> bool {
        core::mem::replace(&mut self.changed, false)
    }

    /// The slot that runs, `None` when idle.
    #[inline]
    pub fn current(&self) -> Option<usize> {
        if self.current == NONE {
            None
        } else {
            Some(usize::from(self.current))
        }
    }

    /// True if `slot` is ready or runs.
    #[inline]
    pub fn is_ready(&self, slot: usize) -> bool {
        self.ready[self.level(slot)] & bit(slot) != 0
    }

    /// Priority of `slot`.
    #[inline]
    pub fn priority(&self, slot: usize) -> u8 {
        self.level(slot) as u8
    }

    #[inline]
    fn level(&self, slot: usize) -> usize {
        usize::from(self.priority[slot % SLOTS]) % PRIORITIES
    }

    /// Makes `slot` ready. *Hot.* `Switch` if it outranks the slot that runs. Unknown slots change nothing.
    #[inline]
    pub fn wake(&mut self, slot: usize) -> Resched {
        if self.present & bit(slot) == 0 {
            return Resched::Stay;
        }
        let level = self.level(slot);
        self.ready[level] |= bit(slot);
        self.levels |= 1 << level;
        self.changed = true;
        match self.current() {
            Some(c) if self.level(c) >= level => Resched::Stay,
            _ => Resched::Switch,
        }
    }

    /// Takes `slot` off the queue: it waits, is off or has stopped. *Hot.* `Switch` if it was running.
    #[inline]
    pub fn block(&mut self, slot: usize) -> Resched {
        let level = self.level(slot);
        self.ready[level] &= !bit(slot);
        if self.ready[level] == 0 {
            self.levels &= !(1 << level);
        }
        self.changed = true;
        if self.current() == Some(slot) {
            self.turn[level] = ((slot + 1) % SLOTS) as u8;
            self.current = NONE;
            Resched::Switch
        } else {
            Resched::Stay
        }
    }

    /// The running slot gives way to others of its priority: time slice over, or yield. *Hot.*
    /// `Switch` if there is another one of its priority.
    #[inline]
    pub fn rotate(&mut self) -> Resched {
        match self.current() {
            Some(c) if self.needs_slice() => {
                self.turn[self.level(c)] = ((c + 1) % SLOTS) as u8;
                self.changed = true;
                Resched::Switch
            }
            _ => Resched::Stay,
        }
    }

    /// True if a time slice must be timed: another ready slot shares the running one's priority.
    #[inline]
    pub fn needs_slice(&self) -> bool {
        match self.current() {
            Some(c) => self.ready[self.level(c)] & !bit(c) != 0,
            None => false,
        }
    }

    /// The running slot `from` blocks and `to`, which waits, runs in its place: as [`Self::block`], [`Self::wake`] and [`Self::next`].
    /// *Hot.* False, and nothing has changed, if a third slot would be chosen or share the priority.
    #[inline(always)]
    pub fn hand_over(&mut self, from: usize, to: usize) -> bool {
        let (lf, lt) = (self.level(from), self.level(to));
        let left = self.ready[lf] & !bit(from);
        let others = if left == 0 {
            self.levels & !(1 << lf)
        } else {
            self.levels
        };
        if others >> lt != 0 || from == to {
            return false;
        }
        self.ready[lf] = left;
        self.turn[lf] = ((from + 1) % SLOTS) as u8;
        self.levels = others | 1 << lt;
        self.ready[lt] = bit(to);
        self.turn[lt] = (to % SLOTS) as u8;
        self.current = to as u8;
        true
    }

    /// Chooses who runs and makes it current. *Hot.* `None`: idle.
    ///
    /// Called after a `Switch`. Highest priority first; within it cyclically from the slot whose turn it is. A slot that was
    /// preempted by a higher priority keeps its turn.
    #[inline]
    pub fn next(&mut self) -> Option<usize> {
        if self.levels == 0 {
            self.current = NONE;
            return None;
        }
        let level = (31 - self.levels.leading_zeros()) as usize % PRIORITIES;
        let turn = u32::from(self.turn[level]) % SLOTS as u32;
        // Rotated so that bit 0 is the slot whose turn it is.
        let ahead = self.ready[level].rotate_right(turn).trailing_zeros();
        let slot = (ahead + turn) % SLOTS as u32;
        self.turn[level] = slot as u8;
        self.current = slot as u8;
        Some(slot as usize)
    }
}

#[inline]
const fn bit(slot: usize) -> u32 {
    1 << (slot % SLOTS)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use super::*;
    use crate::testrng::{Rng, steps};

    fn with(priorities: &[u8]) -> Sched {
        let mut s = Sched::new();
        for (slot, p) in priorities.iter().enumerate() {
            assert!(s.add(slot, *p));
        }
        s
    }

    #[test]
    fn higher_priority_preempts_and_the_preempted_one_goes_on() {
        let mut s = with(&[5, 5, 9]);
        assert_eq!(s.wake(0), Resched::Switch);
        assert_eq!(s.next(), Some(0));
        assert_eq!(s.wake(1), Resched::Stay);
        assert_eq!(s.wake(2), Resched::Switch);
        assert_eq!(s.next(), Some(2));
        assert_eq!(s.block(2), Resched::Switch);
        assert_eq!(s.next(), Some(0), "0 was preempted, not rotated");
        assert_eq!(s.rotate(), Resched::Switch);
        assert_eq!(s.next(), Some(1));
        assert_eq!(s.rotate(), Resched::Switch);
        assert_eq!(s.next(), Some(0));
        assert_eq!(s.block(1), Resched::Stay);
        assert_eq!(s.rotate(), Resched::Stay);
        assert!(!s.needs_slice());
        assert_eq!(s.block(0), Resched::Switch);
        assert_eq!(s.next(), None);
    }

    #[test]
    fn unknown_slots_and_priorities_are_refused() {
        let mut s = Sched::new();
        assert!(!s.add(SLOTS, 0));
        assert!(!s.add(0, PRIORITIES as u8));
        assert!(s.add(3, 31));
        assert!(!s.add(3, 1));
        assert_eq!(s.wake(4), Resched::Stay);
        assert_eq!(s.next(), None);
    }

    /// The same policy with a deque per priority, front first.
    struct Model {
        queues: Vec<VecDeque<usize>>,
        current: Option<usize>,
    }

    /// Who runs is always of the highest ready priority; within a priority nobody is passed over twice.
    #[test]
    fn random_operations_keep_priority_and_fairness() {
        let mut rng = Rng::new("sched", 2);
        for _ in 0..steps(200) {
            let prio: Vec<u8> = (0..SLOTS).map(|_| rng.below(4) as u8 * 9).collect();
            let mut s = with(&prio);
            let mut m = Model {
                queues: (0..PRIORITIES).map(|_| VecDeque::new()).collect(),
                current: None,
            };
            let mut passed = [0usize; SLOTS];
            for _ in 0..300 {
                let slot = rng.below(SLOTS as u64) as usize;
                let level = usize::from(prio[slot]);
                let switch = match rng.below(4) {
                    0 | 1 => {
                        if !m.queues[level].contains(&slot) {
                            m.queues[level].push_back(slot);
                            passed[slot] = 0;
                        }
                        let want = m.current.is_none_or(|c| prio[c] < prio[slot]);
                        let got = s.wake(slot);
                        assert_eq!(got == Resched::Switch, want);
                        want
                    }
                    2 => {
                        m.queues[level].retain(|x| *x != slot);
                        let want = m.current == Some(slot);
                        if want {
                            m.current = None;
                        }
                        assert_eq!(s.block(slot) == Resched::Switch, want);
                        want
                    }
                    _ => {
                        let want = m.current.is_some_and(|c| m.queues[usize::from(prio[c])].len() > 1);
                        let before = m.current;
                        assert_eq!(s.rotate() == Resched::Switch, want);
                        if want {
                            let next = s.next();
                            assert_ne!(next, before, "rotation gives the CPU to another one");
                            note_run(&mut m, &prio, &mut passed, next);
                        }
                        false
                    }
                };
                if switch {
                    let next = s.next();
                    note_run(&mut m, &prio, &mut passed, next);
                }
                for x in 0..SLOTS {
                    assert_eq!(s.is_ready(x), m.queues[usize::from(prio[x])].contains(&x));
                }
                assert_eq!(s.current(), m.current);
            }
        }
    }

    fn note_run(m: &mut Model, prio: &[u8], passed: &mut [usize; SLOTS], next: Option<usize>) {
        let top = m.queues.iter().rposition(|q| !q.is_empty());
        assert_eq!(next.map(|n| usize::from(prio[n])), top, "highest ready priority runs");
        let resumed = m.current == next;
        m.current = next;
        let (Some(n), Some(top)) = (next, top) else { return };
        assert!(m.queues[top].contains(&n));
        if !resumed {
            for x in &m.queues[top] {
                passed[*x] += 1;
                assert!(passed[*x] <= 2 * SLOTS, "slot {x} starves");
            }
        }
        passed[n] = 0;
    }
}
