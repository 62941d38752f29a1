//! What a change of an interrupt's state, rank or line does to the list registers of a vCPU.

use super::iface::Iface;
use super::levels::GROUP_LEVELS;
use super::lr::LrFile;
use super::{LRS_MAX, View, split};

impl Iface {
    /// ISACTIVER for an interrupt that is routed here.
    pub fn set_active<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        if let Some(n) = self.live(intid, lrs.empty()) {
            let lr = lrs.read(n);
            if !lr.is_finished() {
                // Pending and active is not a state of a linked list register (IHI 0069H 12.4.6).
                let lr = if lr.is_hw() { lr.without_pending() } else { lr };
                lrs.write(n, lr.with_active());
                return;
            }
            self.evict(intid, n, lrs);
        }
        let level = word.level(intid);
        self.ready.remove(level, intid);
        word.active |= bit;
        if w == 0 {
            self.learn(word);
        }
        self.parked.insert(level, intid);
    }

    /// ICACTIVER or ICC_DIR_EL1 of an interrupt that may be active here.
    pub fn clear_active<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        if let Some(n) = self.live(intid, lrs.empty()) {
            let lr = lrs.read(n);
            if lr.is_active() && !lr.is_pending() {
                if lr.is_hw() {
                    lrs.deactivate(intid);
                }
                self.evict(intid, n, lrs);
                self.requeue(view, intid);
            } else if lr.is_active() {
                lrs.write(n, lr.without_active());
            }
            return;
        }
        self.unpark(view, intid, lrs);
    }

    /// The input line of a level-triggered interrupt has changed. The caller offers it if it went high.
    pub fn line_changed<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, high: bool, lrs: &mut L) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        let Some(n) = self.live(intid, lrs.empty()) else {
            if !high && word.pending() & bit == 0 {
                self.ready.remove(word.level(intid), intid);
                self.update_control(lrs);
            }
            return;
        };
        let lr = lrs.read(n);
        if high {
            if !lr.is_finished() {
                lrs.write(n, lr.with_eoi());
            }
        } else if lr.is_pending() && word.moved & bit == 0 {
            if lr.is_active() {
                lrs.write(n, lr.without_pending());
            } else {
                self.evict(intid, n, lrs);
            }
        }
    }

    /// Group or priority of `intid` has changed; it had level `old`.
    pub fn rerank<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, old: usize, lrs: &mut L) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        let was_ready = self.ready.remove(old, intid);
        let was_parked = self.parked.remove(old, intid);
        let new = word.level(intid);
        if was_ready {
            self.ready.insert(new, intid);
        }
        if was_parked {
            self.parked.insert(new, intid);
        }
        let Some(n) = self.live(intid, lrs.empty()) else { return };
        let lr = lrs.read(n);
        if !lr.is_pending() {
            return;
        }
        if lr.is_active() {
            // The active half keeps the rank it was taken with; the pending half waits for its end.
            return self.recall(word, n, lrs);
        }
        if self.groups >> (new % 64) & 1 != 0 {
            lrs.write(n, lr.with_rank(word.priority(intid), word.group & bit != 0));
        } else {
            self.recall(word, n, lrs);
            self.ready.insert(new, intid);
        }
    }

    /// GICD_CTLR has changed the enabled groups.
    pub fn set_groups<L: LrFile>(&mut self, view: &mut View<'_>, groups: u32, lrs: &mut L) {
        let mut mask = 0;
        for (g, levels) in GROUP_LEVELS.iter().enumerate() {
            if groups >> g & 1 != 0 {
                mask |= levels;
            }
        }
        self.groups = mask;
        self.learn(view.private);
        for n in 0..LRS_MAX {
            if self.used >> n & 1 == 0 || lrs.empty() >> n & 1 != 0 {
                continue;
            }
            let lr = lrs.read(n);
            if lr.is_pending() && mask >> (lr.level() % 64) & 1 == 0 {
                let word = view.word(split(lr.intid()).0);
                self.recall(word, n, lrs);
                if !lr.is_active() {
                    self.requeue(view, lr.intid());
                }
            }
        }
        self.refill(view, lrs);
    }
}
