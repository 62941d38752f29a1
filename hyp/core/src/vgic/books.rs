//! Which interrupts of a vCPU are in which list register, which wait for one, which had to leave theirs.
//!
//! Nothing here walks over interrupts: state is words of 32 bits, and loops are over the list registers or over the words. So every call takes
//! about as long as any other of its kind, whatever a guest has made pending.

use super::lr::{Lr, LrFile};
use super::word::Word;
use super::{LRS_MAX, WORDS, split};

/// No list register: a bit of ICH_ELRSR_EL2, widened, that is always 0.
const NO_LR: u8 = 63;
/// Words of which [`WORDS`] exist, so that an index needs a mask only.
pub(super) const WORD_SLOTS: usize = 16;
const _: () = assert!(WORDS <= WORD_SLOTS);

#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Books {
    /// List registers with an entry in `id_of`.
    pub(super) used: u32,
    /// Managed bits of ICH_HCR_EL2 as last written.
    pub(super) control: u32,
    /// Private interrupts that may go straight to a list register: enabled, not active here, group on, and nothing waits.
    pub(super) open: u32,
    /// The same, whether or not something waits.
    pub(super) able: u32,
    /// Words, as bits, that may have a deliverable interrupt without a list register. None other has.
    pub(super) maybe: u32,
    /// Words, as bits, that have an active interrupt without a list register.
    pub(super) parked: u32,
    /// GICD_CTLR's enables: group 0 (bit 0) and 1 (bit 1).
    pub(super) groups: u32,
    pub(super) id_of: [u16; LRS_MAX],
    /// List register used last for each private interrupt, or [`NO_LR`]. It may have become empty since.
    pub(super) lr_of: [u8; 32],
    /// List-register value of each private interrupt, pending.
    pub(super) own: [Lr; 32],
    pub(super) words: [Word; WORD_SLOTS],
}

impl Books {
    pub const fn new() -> Self {
        let mut words = [const { Word::new(0) }; WORD_SLOTS];
        words[0] = Word::new(0xffff);
        Self {
            used: 0,
            control: 0,
            open: 0,
            able: 0,
            maybe: 0,
            parked: 0,
            groups: 0,
            id_of: [0; LRS_MAX],
            lr_of: [NO_LR; 32],
            own: pristine(),
            words,
        }
    }

    /// Private interrupts as after reset, list registers empty. Links to physical interrupts stay.
    pub fn restart(&mut self) {
        let hw = self.words[0].hw;
        self.words[0] = Word::new(0xffff);
        self.words[0].hw = hw;
        for (i, own) in self.own.iter_mut().enumerate() {
            *own = Lr::pending(i as u32, 0, false, hw >> i & 1 != 0, false);
        }
        self.lr_of = [NO_LR; 32];
        (self.used, self.control, self.maybe, self.groups) = (0, 0, 0, 0);
        self.parked &= !1;
        self.learn();
    }

    pub const fn used(&self) -> u32 {
        self.used
    }

    pub const fn control(&self) -> u32 {
        self.control
    }

    pub const fn groups(&self) -> u32 {
        self.groups
    }

    #[inline(always)]
    pub const fn word(&self, w: usize) -> &Word {
        &self.words[w % WORD_SLOTS]
    }

    #[inline(always)]
    pub const fn word_mut(&mut self, w: usize) -> &mut Word {
        &mut self.words[w % WORD_SLOTS]
    }

    /// The list register that holds `intid` now; `empty` is ICH_ELRSR_EL2.
    #[inline]
    pub fn live(&self, intid: u32, empty: u32) -> Option<usize> {
        let mut found = 0;
        for (n, id) in self.id_of.iter().enumerate() {
            found |= u32::from(u32::from(*id) == intid) << n;
        }
        found &= self.used & !empty;
        (found != 0).then_some(found.trailing_zeros() as usize % LRS_MAX)
    }

    /// Interrupts of word `w` that a list register holds now, as bits; `empty` is ICH_ELRSR_EL2.
    #[inline]
    pub(super) fn held(&self, w: usize, empty: u32) -> u32 {
        let live = self.used & !empty;
        let mut bits = 0;
        for (n, id) in self.id_of.iter().enumerate() {
            let (of, bit) = split((*id).into());
            bits |= if of == w && live >> n & 1 != 0 { bit } else { 0 };
        }
        bits
    }

    /// An edge on a private interrupt, in the usual case: nothing waits and the list register used last for it is empty. *Hot.* False: not the
    /// usual case, nothing done.
    #[inline(always)]
    pub fn raise_own<L: LrFile>(&mut self, intid: u32, lrs: &mut L) -> bool {
        let i = intid as usize % 32;
        let n = self.lr_of[i];
        if self.open >> i & 1 == 0 || u64::from(lrs.empty()) >> (n % 64) & 1 == 0 {
            return false;
        }
        lrs.write(usize::from(n) % LRS_MAX, self.own[i]);
        true
    }

    /// Enables, activity or groups of the private interrupts have changed.
    #[inline(always)]
    pub fn learn(&mut self) {
        let word = &self.words[0];
        self.able = word.enabled & !word.active & word.of_groups(self.groups);
        self.open = if self.maybe == 0 { self.able } else { 0 };
    }

    /// The rank or link of private interrupt `intid` has changed.
    pub fn learn_entry(&mut self, intid: u32) {
        self.own[intid as usize % 32] = entry(&self.words[0], intid);
    }

    /// The groups of all private interrupts have changed.
    pub fn learn_groups(&mut self) {
        let group = self.words[0].group;
        for (i, own) in self.own.iter_mut().enumerate() {
            *own = own.with_group(group >> i & 1 != 0);
        }
    }

    /// Those of word `w` that are deliverable and their group is on.
    #[inline]
    pub(super) fn ready(&self, w: usize) -> u32 {
        let word = self.word(w);
        word.deliverable() & word.of_groups(self.groups)
    }

    /// Word `w` has changed. If something of it waits for a list register, all that is pending waits with it, and the maintenance interrupt
    /// that this causes at once finds out who is first.
    pub fn changed<L: LrFile>(&mut self, w: usize, lrs: &mut L) {
        if w == 0 {
            self.learn();
        }
        let waits = self.ready(w) & !self.held(w, lrs.empty()) != 0;
        self.maybe = self.maybe & !(1 << w) | u32::from(waits) << w;
        if waits {
            self.recall_all(lrs);
        }
        self.update_control(lrs);
    }

    /// GICD_CTLR's enables change.
    pub fn set_groups<L: LrFile>(&mut self, groups: u32, lrs: &mut L) {
        self.recall_all(lrs);
        self.groups = groups;
        self.maybe = 0;
        for w in 0..WORDS {
            self.maybe |= u32::from(self.ready(w) != 0) << w;
        }
        self.learn();
        self.update_control(lrs);
    }

    /// An edge on `intid`.
    pub fn raise<L: LrFile>(&mut self, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        if w >= WORDS {
            return;
        }
        self.word_mut(w).latch |= bit;
        self.offer(intid, lrs);
    }

    /// `intid` may be deliverable now: into a free list register if nothing waits; else see [`Self::changed`].
    pub fn offer<L: LrFile>(&mut self, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        if self.ready(w) & bit == 0 {
            return;
        }
        let empty = lrs.empty();
        if let Some(n) = self.live(intid, empty) {
            return self.again(intid, n, lrs);
        }
        let free = empty & lrs.usable();
        if self.maybe == 0 && free != 0 {
            return self.place(intid, self.choose(free), lrs);
        }
        self.changed(w, lrs);
    }

    /// `intid`, which list register `n` holds, is pending again. A level is looked at when it ends; an edge makes it pending and active, unless its
    /// rank has changed meanwhile.
    fn again<L: LrFile>(&mut self, intid: u32, n: usize, lrs: &mut L) {
        let (w, bit) = split(intid);
        let lr = lrs.read(n);
        let word = self.word_mut(w);
        if word.latch & bit == 0 || lr.is_hw() {
            return;
        }
        if lr.priority() == word.priority(intid) && lr.is_group1() == (word.group & bit != 0) {
            word.latch &= !bit;
            word.moved |= bit;
            lrs.write(n, lr.with_pending());
        } else {
            lrs.write(n, lr.with_eoi());
        }
    }

    /// One of the `empty` list registers: rather one that no interrupt used last, so that each keeps its own.
    #[inline]
    pub(super) fn choose(&self, empty: u32) -> usize {
        let unused = empty & !self.used;
        (if unused != 0 { unused } else { empty }).trailing_zeros() as usize % LRS_MAX
    }

    /// Puts `intid` into the empty list register `n`.
    pub(super) fn place<L: LrFile>(&mut self, intid: u32, n: usize, lrs: &mut L) {
        self.unbook(n);
        let (w, bit) = split(intid);
        let word = self.word_mut(w);
        word.moved = (word.moved & !bit) | (word.latch & bit);
        word.latch &= !bit;
        let lr = entry(word, intid);
        self.id_of[n % LRS_MAX] = intid as u16;
        self.used |= 1 << n;
        if w == 0 {
            self.lr_of[intid as usize % 32] = n as u8;
        }
        lrs.write(n, lr);
    }

    /// Forgets what list register `n` held.
    #[inline]
    fn unbook(&mut self, n: usize) {
        let old = usize::from(self.id_of[n % LRS_MAX]);
        if self.used >> n & 1 != 0 && old < 32 {
            self.lr_of[old % 32] = NO_LR;
        }
        self.used &= !(1 << n);
    }

    /// Empties list register `n`.
    #[inline]
    pub(super) fn evict<L: LrFile>(&mut self, n: usize, lrs: &mut L) {
        lrs.write(n, Lr(0));
        self.unbook(n);
    }

    /// The interrupt of list register `n` is pending no more there, but in its word; an active state stays, and tells when it ends.
    pub(super) fn recall<L: LrFile>(&mut self, n: usize, lr: Lr, lrs: &mut L) {
        let (w, bit) = split(lr.intid());
        let word = self.word_mut(w);
        // A linked interrupt's line is the hardware's, so its latch is all there is.
        if word.moved & bit != 0 || word.held_by_line() & bit == 0 {
            word.latch |= bit;
        }
        word.moved &= !bit;
        if self.ready(w) & bit != 0 {
            self.maybe |= 1 << (w % WORD_SLOTS);
        }
        if lr.is_active() {
            lrs.write(n, lr.without_pending().with_eoi());
        } else {
            self.evict(n, lrs);
        }
    }

    /// [`Self::recall`] of all that is pending. The caller updates the control.
    pub(super) fn recall_all<L: LrFile>(&mut self, lrs: &mut L) {
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                if lr.is_pending() {
                    self.recall(n, lr, lrs);
                }
            }
        }
    }

    /// [`Self::recall`] of those of `bits` of word `w`. The caller updates the control.
    pub fn recall_of<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                let (of, bit) = split(lr.intid());
                if lr.is_pending() && of == w && bits & bit != 0 {
                    self.recall(n, lr, lrs);
                }
            }
        }
    }

    /// Those of `bits` of word `w` that list registers hold active end, or end there but stay pending.
    pub fn end_of<L: LrFile>(&mut self, w: usize, bits: u32, lrs: &mut L) {
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                let (of, bit) = split(lr.intid());
                if lr.is_active() && of == w && bits & bit != 0 {
                    if lr.is_pending() {
                        lrs.write(n, lr.without_active());
                    } else {
                        if lr.is_hw() {
                            lrs.deactivate(lr.intid());
                        }
                        self.evict(n, lrs);
                    }
                }
            }
        }
    }

    /// Those of `bits` of word `w` that list registers hold active are pending again elsewhere: their end must be told.
    pub fn watch<L: LrFile>(&self, w: usize, bits: u32, lrs: &mut L) {
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                let (of, bit) = split(lr.intid());
                if lr.is_active() && of == w && bits & bit != 0 {
                    lrs.write(n, lr.with_eoi());
                }
            }
        }
    }

    /// The finished of word `w` leave their list registers: their maintenance interrupt has nothing to tell any more.
    pub fn finish_of<L: LrFile>(&mut self, w: usize, lrs: &mut L) {
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                if lr.is_finished() && split(lr.intid()).0 == w {
                    self.evict(n, lrs);
                }
            }
        }
    }

    /// Interrupts of word `w` are active, or no more, outside list registers.
    pub fn set_parked(&mut self, w: usize, active: u32) {
        self.word_mut(w).active = active;
        self.parked = self.parked & !(1 << w) | u32::from(active != 0) << w;
        if w == 0 {
            self.learn();
        }
    }

    /// The input line of level-triggered `intid`, which list register `n` holds, has changed.
    pub fn line_changed<L: LrFile>(&mut self, intid: u32, n: usize, high: bool, lrs: &mut L) {
        let (w, bit) = split(intid);
        let lr = lrs.read(n);
        if high {
            if !lr.is_finished() {
                lrs.write(n, lr.with_eoi());
            }
        } else if lr.is_pending() && self.word(w).moved & bit == 0 {
            if lr.is_active() {
                lrs.write(n, lr.without_pending());
            } else {
                self.evict(n, lrs);
            }
        }
    }

    /// Linked private interrupt `intid` is pending no more, and its physical interrupt ends unless it is active. Nothing else changes: who waits,
    /// waits on, and if nothing is pending any more the maintenance interrupt finds out.
    #[inline]
    pub fn withdraw<L: LrFile>(&mut self, intid: u32, lrs: &mut L) {
        let bit = 1 << (intid % 32);
        let mut gone = self.words[0].latch & bit != 0;
        self.words[0].latch &= !bit;
        if let Some(n) = self.live(intid, lrs.empty())
            && lrs.read(n).is_pending()
        {
            // Pending and active is not a state of a linked list register (IHI 0069H 12.4.6).
            self.evict(n, lrs);
            gone = true;
        }
        if gone && self.words[0].active & bit == 0 {
            lrs.deactivate(intid);
        }
    }

    /// Pending (`active` false) or active bits of word `w` that list registers hold.
    pub fn state<L: LrFile>(&self, w: usize, active: bool, lrs: &L) -> u32 {
        let mut bits = 0;
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                let (of, bit) = split(lr.intid());
                let is = if active { lr.is_active() } else { lr.is_pending() };
                bits |= if of == w && is { bit } else { 0 };
            }
        }
        bits
    }

    /// See [`super::Vgic::wants_cpu`]. VMCR: VENG0 bit 0, VENG1 bit 1, VPMR [31:24].
    pub fn signals<L: LrFile>(&self, lrs: &L, vmcr: u64) -> bool {
        let mask = (vmcr >> 24) as u8;
        let (mut masked, mut signalled) = (false, false);
        for n in 0..LRS_MAX {
            if self.used >> n & 1 != 0 {
                let lr = lrs.read(n);
                if lr.is_pending() && vmcr >> u32::from(lr.is_group1()) & 1 != 0 {
                    signalled |= lr.priority() < mask;
                    masked = true;
                }
            }
        }
        // What waits is outranked by all that is pending in a list register: masked, if those are.
        signalled || (self.maybe != 0 && !masked)
    }
}

/// List-register value for `intid`, pending. A level that is high asks for a maintenance interrupt at its end, to be looked at again.
#[inline]
fn entry(word: &Word, intid: u32) -> Lr {
    let (_, bit) = split(intid);
    Lr::pending(
        intid,
        word.priority(intid),
        word.group & bit != 0,
        word.hw & bit != 0,
        word.held_by_line() & bit != 0,
    )
}

/// [`Books::own`] after reset.
const fn pristine() -> [Lr; 32] {
    let mut own = [Lr(0); 32];
    let mut i = 0;
    while i < 32 {
        own[i] = Lr::pending(i as u32, 0, false, false, false);
        i += 1;
    }
    own
}

#[cfg(test)]
impl Books {
    /// What is remembered must be what would be computed.
    pub fn assert_learnt<L: LrFile>(&self, lrs: &L) {
        let mut fresh = self.clone();
        fresh.learn();
        assert_eq!((self.open, self.able), (fresh.open, fresh.able), "remembered enables");
        for i in 0..32 {
            assert_eq!(
                self.own[i as usize],
                entry(&self.words[0], i),
                "remembered entry of {i}"
            );
        }
        for w in 0..WORDS {
            assert_eq!(
                self.parked >> w & 1 != 0,
                self.word(w).active != 0,
                "parked of word {w}"
            );
            if self.maybe >> w & 1 == 0 {
                assert_eq!(self.ready(w) & !self.held(w, lrs.empty()), 0, "word {w} waits unseen");
            }
        }
    }
}
