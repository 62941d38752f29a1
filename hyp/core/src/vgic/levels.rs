//! A set of INTIDs ordered by priority: insert, remove and "first" without a search.
//!
//! Level = priority (5 bits) × 2 + group, so that a mask of levels selects groups, and of equal priorities group 0 comes first.

use super::WORDS;

/// Levels: 32 priorities × 2 groups.
const LEVELS: usize = 64;

/// Mask of all levels of group 0, of group 1.
pub(super) const GROUP_LEVELS: [u64; 2] = [0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa];

const _: () = assert!(WORDS <= 16, "a level's summary has 16 bits");

#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Bit l: level l has a member.
    occupied: u64,
    /// Bit w of level l: word w has a member.
    summary: [u16; LEVELS],
    words: [[u32; WORDS]; LEVELS],
}

impl Levels {
    pub const fn new() -> Self {
        Self {
            occupied: 0,
            summary: [0; LEVELS],
            words: [[0; WORDS]; LEVELS],
        }
    }

    /// Levels that have a member.
    #[inline]
    pub const fn occupied(&self) -> u64 {
        self.occupied
    }

    pub fn insert(&mut self, level: usize, intid: u32) {
        let (w, bit) = super::split(intid);
        let l = level % LEVELS;
        if let Some(word) = self.words[l].get_mut(w) {
            *word |= bit;
            self.summary[l] |= 1 << w;
            self.occupied |= 1 << l;
        }
    }

    /// Removes a member; false if it was none.
    pub fn remove(&mut self, level: usize, intid: u32) -> bool {
        let (w, bit) = super::split(intid);
        let l = level % LEVELS;
        let Some(word) = self.words[l].get_mut(w) else {
            return false;
        };
        if *word & bit == 0 {
            return false;
        }
        *word &= !bit;
        if *word == 0 {
            self.summary[l] &= !(1 << w);
            if self.summary[l] == 0 {
                self.occupied &= !(1 << l);
            }
        }
        true
    }

    /// Level and INTID of the member of highest priority among the levels of `mask`.
    pub fn first(&self, mask: u64) -> Option<(usize, u32)> {
        let some = self.occupied & mask;
        if some == 0 {
            return None;
        }
        let l = some.trailing_zeros() as usize % LEVELS;
        let w = self.summary[l].trailing_zeros() as usize;
        let word = self.words[l].get(w)?;
        Some((l, w as u32 * 32 + word.trailing_zeros()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testrng::{Rng, steps};
    use crate::vgic::INTIDS;

    #[test]
    fn is_an_ordered_set() {
        let mut rng = Rng::new("levels", 5);
        let mut set = Levels::new();
        let mut model = BTreeSet::new();
        for _ in 0..steps(50_000) {
            let (l, id) = (rng.below(64) as usize, rng.below(INTIDS as u64) as u32);
            if rng.chance(50) {
                set.insert(l, id);
                model.insert((l, id));
            } else {
                assert_eq!(set.remove(l, id), model.remove(&(l, id)));
                if let Some(first) = model.iter().copied().next().filter(|_| rng.chance(60)) {
                    model.remove(&first);
                    assert!(set.remove(first.0, first.1));
                }
            }
            for mask in [u64::MAX, GROUP_LEVELS[0], GROUP_LEVELS[1], 0] {
                assert_eq!(set.first(mask), model.iter().copied().find(|(l, _)| mask >> l & 1 == 1));
            }
        }
    }

    #[test]
    fn ids_outside_are_ignored() {
        let mut set = Levels::new();
        set.insert(3, INTIDS as u32);
        assert_eq!(set.occupied(), 0);
        assert!(!set.remove(3, u32::MAX));
    }
}
