//! The maintenance interrupt: what ended, and who comes next.

use super::books::{Books, WORD_SLOTS};
use super::lr::{LrFile, hcr};
use super::{LRS_MAX, WORDS, split};

impl Books {
    /// The lowest of what is active in the list registers, all of which are full and none pending, leaves its own: a guest that masks by
    /// running priority must still see what outranks it. `None`: one is pending, and nothing that waits outranks it.
    fn make_room<L: LrFile>(&mut self, lrs: &mut L) -> Option<usize> {
        let mut lowest: Option<(u32, usize)> = None;
        for n in 0..LRS_MAX {
            let lr = lrs.read(n);
            if lr.is_pending() && !lr.is_active() {
                return None;
            }
            if lr.is_active() && lowest.is_none_or(|(rank, _)| lr.rank() > rank) {
                lowest = Some((lr.rank(), n));
            }
        }
        let (_, n) = lowest?;
        let lr = lrs.read(n);
        let (w, bit) = split(lr.intid());
        if lr.is_pending() {
            self.recall(n, lr, lrs);
        }
        self.set_parked(w, self.word(w).active | bit);
        self.evict(n, lrs);
        Some(n)
    }

    /// The highest of those that wait goes to a list register, if there is one for it.
    fn refill<L: LrFile>(&mut self, lrs: &mut L) {
        let free = lrs.empty() & lrs.usable();
        let n = if free != 0 {
            self.choose(free)
        } else {
            match self.make_room(lrs) {
                Some(n) => n,
                None => return,
            }
        };
        let empty = lrs.empty();
        let (mut best, mut found) = (u32::MAX, 0);
        let mut left = 0;
        for w in 0..WORDS {
            let ready = self.ready(w) & !self.held(w, empty);
            if self.maybe >> w & 1 != 0 && ready != 0 {
                let (rank, bit) = self.word(w).highest(ready);
                left |= 1 << w;
                if rank < best {
                    (best, found) = (rank, w as u32 * 32 + bit);
                }
            }
        }
        self.maybe = left;
        if left != 0 {
            self.place(found, n, lrs);
            // What is left of its word is only known to be there or not when it is looked at again.
            let (w, _) = split(found);
            if self.ready(w) & !self.held(w, lrs.empty()) == 0 {
                self.maybe &= !(1 << w);
            }
        }
    }

    pub fn update_control<L: LrFile>(&mut self, lrs: &mut L) {
        let mut bits = 0;
        if self.maybe != 0 {
            bits |= hcr::NPIE;
        }
        if self.parked != 0 {
            bits |= hcr::LRENPIE | hcr::TDIR;
        }
        if bits != self.control {
            if bits & !self.control & hcr::LRENPIE != 0 {
                // What was counted while nothing was parked concerned no interrupt of ours.
                lrs.forget_eois();
            }
            self.control = bits;
            lrs.control(bits);
        }
        self.open = if self.maybe == 0 { self.able } else { 0 };
    }

    /// See [`super::Vgic::maintain`].
    pub fn maintain<L: LrFile>(&mut self, lrs: &mut L) {
        let mut ended = false;
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                if lr.is_finished() {
                    ended = true;
                    self.evict(n, lrs);
                    self.maybe |= 1 << (split(lr.intid()).0 % WORD_SLOTS);
                }
            }
        }
        if self.parked != 0 && lrs.take_eoi() {
            ended = true;
            self.unpark_first(lrs);
        }
        if ended {
            // What ended may be pending again, and outrank what is pending in a list register.
            self.recall_all(lrs);
        }
        if self.maybe != 0 {
            self.refill(lrs);
        }
        self.update_control(lrs);
    }

    /// The guest ends its interrupts innermost first: the parked one of highest rank.
    fn unpark_first<L: LrFile>(&mut self, lrs: &mut L) {
        let (mut best, mut found) = (u32::MAX, 0);
        for w in 0..WORDS {
            let active = self.word(w).active;
            if active != 0 {
                let (rank, bit) = self.word(w).highest(active);
                if rank < best {
                    (best, found) = (rank, w as u32 * 32 + bit);
                }
            }
        }
        self.unpark(found, lrs);
    }

    /// Ends `intid`, if it is active outside the list registers.
    pub fn unpark<L: LrFile>(&mut self, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        if self.word(w).active & bit == 0 {
            return;
        }
        if self.word(w).hw & bit != 0 {
            lrs.deactivate(intid);
        }
        self.set_parked(w, self.word(w).active & !bit);
        self.maybe |= 1 << (w % WORD_SLOTS);
    }
}
