//! Which interrupts of a vCPU are in which list register, which wait for one, which had to leave theirs.

use super::levels::{GROUP_LEVELS, Levels};
use super::lr::{Lr, LrFile, hcr};
use super::{INTIDS, LRS_MAX, View, WORDS, split};
use crate::vgic::word::Word;

/// Most placements of one refill: each list register once. The best comes first, and only a lower priority gives way, so what this refill
/// has placed stays.
const REFILL_MAX: usize = LRS_MAX;
/// EOIcount is five bits.
const EOI_COUNT_MAX: u32 = 31;
/// No list register: a bit of ICH_ELRSR_EL2, widened, that is always 0.
const NO_LR: u8 = 63;

#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Iface {
    /// List registers with an entry in `id_of`.
    pub(super) used: u32,
    /// Managed bits of ICH_HCR_EL2 as last written.
    control: u32,
    /// Private interrupts that may go straight to a list register: enabled, not active here, group on, and nothing waits.
    open: u32,
    /// The same, whether or not something waits.
    able: u32,
    /// Levels whose group GICD_CTLR enables.
    pub(super) groups: u64,
    /// List-register value of each private interrupt, pending.
    own: [Lr; 32],
    /// List register used last for each interrupt, or [`NO_LR`]. It may have become empty since.
    lr_of: [u8; INTIDS],
    id_of: [u16; LRS_MAX],
    /// See [`Self::take_stray`].
    stray: [u32; WORDS],
    /// Deliverable interrupts without a list register.
    pub(super) ready: Levels,
    /// Active interrupts without a list register.
    pub(super) parked: Levels,
}

impl Iface {
    pub const fn new() -> Self {
        Self {
            open: 0,
            able: 0,
            own: pristine(),
            lr_of: [NO_LR; INTIDS],
            id_of: [0; LRS_MAX],
            used: 0,
            groups: 0,
            ready: Levels::new(),
            parked: Levels::new(),
            control: 0,
            stray: [0; WORDS],
        }
    }

    #[inline]
    pub const fn used(&self) -> u32 {
        self.used
    }

    #[inline]
    pub const fn control(&self) -> u32 {
        self.control
    }

    /// The list register that holds `intid` now; `empty` is ICH_ELRSR_EL2.
    #[inline]
    pub fn live(&self, intid: u32, empty: u32) -> Option<usize> {
        let n = usize::from(*self.lr_of.get(intid as usize)?);
        (n < LRS_MAX && empty >> n & 1 == 0).then_some(n)
    }

    /// Interrupts of word `index` that a list register holds now, as bits; `empty` is ICH_ELRSR_EL2.
    pub fn held(&self, index: usize, empty: u32) -> u32 {
        let mut bits = 0;
        each_lr(self.used & !empty, |n| {
            let (w, bit) = split(u32::from(self.id_of[n % LRS_MAX]));
            if w == index {
                bits |= bit;
            }
        });
        bits
    }

    /// Levels of `ready` that could be delivered.
    #[inline]
    const fn waiting(&self) -> u64 {
        self.ready.occupied() & self.groups
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

    /// An edge, in any case.
    pub fn raise<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        if w >= WORDS {
            return;
        }
        let word = view.word(w);
        word.latch |= bit;
        if word.deliverable() & bit != 0 {
            self.offer(view, intid, lrs);
        }
    }

    /// Enables, activity, groups or ranks of the private interrupts have changed.
    pub fn learn(&mut self, word: &Word) {
        let on = |g: usize, bits: u32| if self.groups & GROUP_LEVELS[g] != 0 { bits } else { 0 };
        self.able = word.enabled & !word.active & (on(1, word.group) | on(0, !word.group));
        self.open = if self.waiting() == 0 { self.able } else { 0 };
    }

    /// The rank or link of private interrupt `intid` has changed.
    pub fn learn_entry(&mut self, word: &Word, intid: u32) {
        self.own[intid as usize % 32] = entry(word, intid);
    }

    /// `intid` is deliverable: into its list register if it has one, into a free one, or into the ready set.
    pub fn offer<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let empty = lrs.empty() & lrs.usable();
        let word = view.word(split(intid).0);
        let level = word.level(intid);
        if self.live(intid, empty).is_none()
            && self.waiting() == 0
            && self.groups >> (level % 64) & 1 != 0
            && empty != 0
        {
            return self.place(word, intid, self.choose(empty), lrs);
        }
        self.offer_later(view, intid, lrs);
        self.refill(view, lrs);
    }

    /// `intid` is deliverable: into its list register if it has one, else into the ready set. The caller refills.
    pub fn offer_later<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        let level = word.level(intid);
        let Some(n) = self.live(intid, lrs.empty()) else {
            return self.ready.insert(level, intid);
        };
        // Active in its register: an edge makes it pending and active; a level is looked at again when it ends.
        let lr = lrs.read(n);
        if word.latch & bit == 0 || lr.is_hw() {
            return;
        }
        if lr.level() == level && self.groups >> (level % 64) & 1 != 0 {
            word.latch &= !bit;
            word.moved |= bit;
            lrs.write(n, lr.with_pending());
        } else {
            lrs.write(n, lr.with_eoi());
        }
    }

    /// One of the `empty` list registers: rather one that no interrupt used last, so that each keeps its own.
    #[inline]
    fn choose(&self, empty: u32) -> usize {
        let unused = empty & !self.used;
        (if unused != 0 { unused } else { empty }).trailing_zeros() as usize
    }

    /// Puts `intid` into the empty list register `n`.
    fn place<L: LrFile>(&mut self, word: &mut Word, intid: u32, n: usize, lrs: &mut L) {
        let n = n % LRS_MAX;
        if self.used >> n & 1 != 0 {
            self.unbook(u32::from(self.id_of[n]), n);
        }
        let (_, bit) = split(intid);
        word.moved = (word.moved & !bit) | (word.latch & bit);
        word.latch &= !bit;
        if let Some(lr_of) = self.lr_of.get_mut(intid as usize) {
            *lr_of = n as u8;
            self.id_of[n] = intid as u16;
            self.used |= 1 << n;
        }
        lrs.write(n, entry(word, intid));
    }

    /// Forgets that list register `n` holds `intid`, unless the interrupt has moved to another one.
    #[inline]
    fn unbook(&mut self, intid: u32, n: usize) {
        if let Some(lr_of) = self.lr_of.get_mut(intid as usize)
            && usize::from(*lr_of) == n
        {
            *lr_of = NO_LR;
        }
        self.used &= !(1 << n);
    }

    /// Empties list register `n`, which holds `intid`.
    pub(super) fn evict<L: LrFile>(&mut self, intid: u32, n: usize, lrs: &mut L) {
        lrs.write(n, Lr(0));
        self.unbook(intid, n);
    }

    /// Takes the pending state of list register `n` back into its word; an active state stays, and tells when it ends.
    pub(super) fn recall<L: LrFile>(&mut self, word: &mut Word, n: usize, lrs: &mut L) {
        let lr = lrs.read(n);
        let (_, bit) = split(lr.intid());
        // A level that is still high needs no latch; a linked interrupt's line is the hardware's, so its latch is all there is.
        if word.moved & bit != 0 || (word.line & !word.edge) & bit == 0 {
            word.latch |= bit;
        }
        word.moved &= !bit;
        if lr.is_active() {
            lrs.write(n, lr.without_pending().with_eoi());
        } else {
            self.evict(lr.intid(), n, lrs);
        }
    }

    /// Moves from `ready` to list registers, best first, displacing lower priorities; sets the maintenance interrupts.
    pub fn refill<L: LrFile>(&mut self, view: &mut View<'_>, lrs: &mut L) {
        for _ in 0..REFILL_MAX {
            let Some((level, intid)) = self.ready.first(self.groups) else {
                break;
            };
            let empty = lrs.empty() & lrs.usable();
            let n = if empty != 0 {
                self.choose(empty)
            } else {
                match self.make_room(view, level, lrs) {
                    Some(n) => n,
                    None => break,
                }
            };
            self.ready.remove(level, intid);
            self.place(view.word(split(intid).0), intid, n, lrs);
        }
        self.update_control(lrs);
    }

    /// Frees a list register for an interrupt of `level`: the lowest pending one below it; or, if none is pending at all, the lowest active one,
    /// because a guest that masks by running priority must still see what outranks it.
    fn make_room<L: LrFile>(&mut self, view: &mut View<'_>, level: usize, lrs: &mut L) -> Option<usize> {
        let mut pending: Option<(usize, usize)> = None;
        let mut active: Option<(usize, usize)> = None;
        each_lr(lrs.usable(), |n| {
            let lr = lrs.read(n);
            // A finished one's maintenance interrupt is due and will free it.
            let slot = if lr.is_active() { &mut active } else { &mut pending };
            if !lr.is_finished() && slot.is_none_or(|(l, _)| lr.level() > l) {
                *slot = Some((lr.level(), n));
            }
        });
        if let Some((lowest, n)) = pending {
            if lowest <= level {
                return None;
            }
            let intid = lrs.read(n).intid();
            let word = view.word(split(intid).0);
            self.recall(word, n, lrs);
            self.ready.insert(lowest, intid);
            return Some(n);
        }
        let (_, n) = active?;
        self.park(view, n, lrs);
        Some(n)
    }

    /// Moves the active interrupt of list register `n` to the parked set. If it is pending too, that waits in its latch.
    fn park<L: LrFile>(&mut self, view: &mut View<'_>, n: usize, lrs: &mut L) {
        let lr = lrs.read(n);
        let (w, bit) = split(lr.intid());
        let word = view.word(w);
        word.active |= bit;
        // As in `recall`: a level that is high needs no latch.
        if lr.is_pending() && (word.moved & bit != 0 || (word.line & !word.edge) & bit == 0) {
            word.latch |= bit;
        }
        word.moved &= !bit;
        if w == 0 {
            self.learn(word);
        }
        self.parked.insert(word.level(lr.intid()), lr.intid());
        self.evict(lr.intid(), n, lrs);
    }

    pub(super) fn update_control<L: LrFile>(&mut self, lrs: &mut L) {
        let mut bits = 0;
        if self.waiting() != 0 {
            bits |= hcr::NPIE;
        }
        if self.parked.occupied() != 0 {
            bits |= hcr::LRENPIE | hcr::TDIR;
        }
        if bits != self.control {
            if bits & !self.control & hcr::LRENPIE != 0 {
                // What was counted while nothing was parked concerned no interrupt of ours.
                lrs.take_eoi_count();
            }
            self.control = bits;
            lrs.control(bits);
        }
        self.open = if self.waiting() == 0 { self.able } else { 0 };
    }

    /// See [`super::Vgic::maintain`].
    pub fn maintain<L: LrFile>(&mut self, view: &mut View<'_>, lrs: &mut L) {
        each_lr(self.used, |n| {
            let lr = lrs.read(n);
            if lr.is_finished() {
                self.evict(lr.intid(), n, lrs);
                self.requeue(view, lr.intid());
            }
        });
        let count = lrs.take_eoi_count();
        for _ in 0..count.min(EOI_COUNT_MAX) {
            // The guest ends its interrupts innermost first: the one of highest priority.
            let Some((_, intid)) = self.parked.first(u64::MAX) else {
                break;
            };
            self.unpark(view, intid, lrs);
        }
        self.refill(view, lrs);
    }

    /// Ends a parked interrupt. The caller refills.
    pub(super) fn unpark<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        if !self.parked.remove(word.level(intid), intid) {
            return;
        }
        word.active &= !bit;
        if w == 0 {
            self.learn(word);
        }
        if word.hw & bit != 0 {
            lrs.deactivate(intid);
        }
        self.requeue(view, intid);
    }

    pub(super) fn requeue(&mut self, view: &mut View<'_>, intid: u32) {
        let (w, bit) = split(intid);
        let word = view.word(w);
        if word.deliverable() & bit == 0 {
            return;
        }
        let level = word.level(intid);
        if view.is_mine(intid) {
            self.ready.insert(level, intid);
        } else if let Some(stray) = self.stray.get_mut(w) {
            *stray |= bit;
        }
    }

    /// Deliverable interrupts of word `index` that ended here but are routed to another vCPU: the caller offers them.
    pub fn take_stray(&mut self, index: usize) -> u32 {
        self.stray.get_mut(index).map_or(0, core::mem::take)
    }

    /// List register `n` holds an active interrupt that is pending again elsewhere: its end must be told.
    pub fn watch<L: LrFile>(&mut self, n: usize, lrs: &mut L) {
        let lr = lrs.read(n);
        if !lr.is_finished() {
            lrs.write(n, lr.with_eoi());
        }
    }

    /// `intid` is no longer deliverable here (disabled, or routed elsewhere): its pending state goes back to its word.
    pub fn withdraw<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let word = view.word(split(intid).0);
        self.ready.remove(word.level(intid), intid);
        if let Some(n) = self.live(intid, lrs.empty())
            && lrs.read(n).is_pending()
        {
            self.recall(word, n, lrs);
        }
    }

    /// ICPENDR: the latched pending state goes away wherever it is; a level that is high stays pending, and the caller offers it.
    pub fn clear_pending<L: LrFile>(&mut self, view: &mut View<'_>, intid: u32, lrs: &mut L) {
        let (_, bit) = split(intid);
        self.withdraw(view, intid, lrs);
        let word = view.word(split(intid).0);
        if word.latch & bit != 0 {
            word.latch &= !bit;
            if word.hw & bit != 0 && word.active & bit == 0 {
                lrs.deactivate(intid);
            }
        }
    }

    /// Pending (`active` false) or active bits of word `index` that list registers hold.
    pub fn state<L: LrFile>(&self, index: usize, active: bool, lrs: &L) -> u32 {
        let mut bits = 0;
        each_lr(self.used & !lrs.empty(), |n| {
            let lr = lrs.read(n);
            let (w, bit) = split(lr.intid());
            if w == index && if active { lr.is_active() } else { lr.is_pending() } {
                bits |= bit;
            }
        });
        bits
    }

    /// See [`super::Vgic::wants_cpu`]. VMCR: VENG0 bit 0, VENG1 bit 1, VPMR [31:24].
    pub fn signals<L: LrFile>(&self, lrs: &L, vmcr: u64) -> bool {
        let mask = (vmcr >> 24) as u8;
        let on = |group1: bool| vmcr >> u32::from(group1) & 1 != 0;
        let mut signalled = false;
        each_lr(self.used & !lrs.empty(), |n| {
            let lr = lrs.read(n);
            signalled |= lr.is_pending() && on(lr.is_group1()) && lr.priority() < mask;
        });
        if signalled || self.ready.occupied() == 0 {
            return signalled;
        }
        let mut levels = 0;
        for (g, bits) in GROUP_LEVELS.iter().enumerate() {
            if on(g == 1) {
                levels |= bits;
            }
        }
        self.ready
            .first(self.groups & levels)
            .is_some_and(|(level, _)| ((level >> 1) << 3) < usize::from(mask))
    }
}

/// List-register value for `intid`, pending. A level that is high asks for a maintenance interrupt at its end, to be looked at again.
#[inline]
fn entry(word: &Word, intid: u32) -> Lr {
    let (_, bit) = split(intid);
    let again = word.line & !word.edge & bit != 0;
    Lr::pending(
        intid,
        word.priority(intid),
        word.group & bit != 0,
        word.hw & bit != 0,
        again,
    )
}

/// [`Iface::own`] after reset.
const fn pristine() -> [Lr; 32] {
    let mut own = [Lr(0); 32];
    let mut i = 0;
    while i < 32 {
        own[i] = Lr::pending(i as u32, 0, false, false, false);
        i += 1;
    }
    own
}

/// Calls `f` with the number of each set bit of `set`. At most [`LRS_MAX`] turns.
#[inline]
fn each_lr(set: u32, mut f: impl FnMut(usize)) {
    let mut left = set & ((1 << LRS_MAX) - 1);
    for _ in 0..LRS_MAX {
        if left == 0 {
            break;
        }
        f(left.trailing_zeros() as usize);
        left &= left - 1;
    }
}

#[cfg(test)]
impl Iface {
    /// What is remembered of the private interrupts must be what would be computed.
    pub fn assert_learnt(&self, word: &Word) {
        let mut fresh = self.clone();
        fresh.learn(word);
        assert_eq!((self.open, self.able), (fresh.open, fresh.able), "remembered enables");
        for i in 0..32 {
            assert_eq!(self.own[i as usize], entry(word, i), "remembered entry of {i}");
        }
    }
}
