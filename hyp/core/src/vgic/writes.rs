//! What a write to a register array changes: of 32 interrupts, four for a priority, at once.

use super::lr::LrFile;
use super::{SPIS, View, split};

impl View {
    /// ISENABLER, in the usual case that nothing becomes deliverable by it. *Hot.* False: not the usual case, nothing done.
    #[inline(always)]
    pub(super) fn enable_quiet(&mut self, w: usize, bits: u32) -> bool {
        if !self.books.word_mut(w).enable_quiet(bits) {
            return false;
        }
        if w == 0 {
            self.books.learn();
        }
        true
    }

    /// ISENABLER, in any case.
    pub(super) fn set_enable<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        if self.enable_quiet(w, bits) {
            return;
        }
        let books = &mut self.books;
        books.word_mut(w).enabled |= bits;
        books.changed(w, lrs);
    }

    /// ICENABLER.
    pub(super) fn clear_enable<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.word_mut(w).enabled &= !bits;
        books.recall_of(w, bits, lrs);
        books.changed(w, lrs);
    }

    /// ISPENDR.
    pub(super) fn set_pending<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.recall_of(w, bits, lrs);
        books.word_mut(w).latch |= bits;
        books.watch(w, bits, lrs);
        books.changed(w, lrs);
    }

    /// ICPENDR: the latched pending state goes away wherever it is; a level that is high stays pending.
    pub(super) fn clear_pending<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.recall_of(w, bits, lrs);
        let word = books.word_mut(w);
        let gone = word.latch & bits;
        word.latch &= !bits;
        let ended = gone & word.hw & !word.active;
        each_bit(w, ended, |intid| lrs.deactivate(intid));
        books.changed(w, lrs);
    }

    /// ISACTIVER. What is active already stays where it is; what becomes active is outside the list registers.
    pub(super) fn set_active<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        let fresh = bits & !(books.word(w).active | books.state(w, true, lrs));
        books.recall_of(w, fresh, lrs);
        books.finish_of(w, lrs);
        books.set_parked(w, books.word(w).active | fresh);
        books.changed(w, lrs);
    }

    /// ICACTIVER, and ICC_DIR_EL1 of one.
    #[inline(never)]
    pub(super) fn clear_active<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.end_of(w, bits, lrs);
        let gone = books.word(w).active & bits;
        each_bit(w, gone & books.word(w).hw, |intid| lrs.deactivate(intid));
        books.set_parked(w, books.word(w).active & !bits);
        books.changed(w, lrs);
    }

    /// IGROUPR.
    pub(super) fn set_group<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.recall_of(w, bits ^ books.word(w).group, lrs);
        books.word_mut(w).group = bits;
        if w == 0 {
            books.learn_groups();
        }
        books.changed(w, lrs);
    }

    /// IPRIORITYR: those of the four interrupts from `first` of word `w` that `which` names.
    pub(super) fn set_priorities<L: LrFile>(&mut self, w: usize, first: u32, which: u32, value: u32, lrs: &mut L) {
        let books = &mut self.books;
        books.recall_of(w, (which & 0xf) << (first & 28), lrs);
        books.word_mut(w).set_priorities(first, which, value);
        if w == 0 {
            for i in 0..4 {
                books.learn_entry((first & 28) + i);
            }
        }
        books.changed(w, lrs);
    }

    /// ICFGR: a level that is high becomes or stops being pending.
    pub(super) fn set_config<L: LrFile>(&mut self, w: usize, half: u32, value: u32, lrs: &mut L) {
        let books = &mut self.books;
        let flipped = books.word(w).config_changes(half, value);
        let high = flipped & books.word(w).line;
        // What is pending there by its line is so no more, or by its line from now on.
        books.recall_of(w, high, lrs);
        let word = books.word_mut(w);
        word.edge ^= flipped;
        let levels = high & !word.edge;
        books.watch(w, levels, lrs);
        books.changed(w, lrs);
    }

    /// GICD_IROUTER of SPI `intid`.
    pub(super) fn set_route<L: LrFile>(&mut self, intid: u32, affinity: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        let here = affinity < self.total;
        if let Some(spi) = intid.checked_sub(32) {
            self.route[spi as usize % SPIS] = affinity;
        }
        let books = &mut self.books;
        books.recall_of(w, bit, lrs);
        let word = books.word_mut(w);
        word.here = if here { word.here | bit } else { word.here & !bit };
        books.changed(w, lrs);
    }
}

/// Calls `f` with the INTID of each set bit of `bits` in word `w`. At most 32 turns.
#[inline]
fn each_bit(w: usize, bits: u32, mut f: impl FnMut(u32)) {
    let mut left = bits;
    for _ in 0..u32::BITS {
        if left == 0 {
            break;
        }
        f(w as u32 * 32 + left.trailing_zeros());
        left &= left - 1;
    }
}
