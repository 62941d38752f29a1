//! Hash maps: two buckets of [`WAYS`] slots a key may live in.
//!
//! Entries never move, because programs hold pointers to values; a deleted slot is free at once, with no tombstone. So a
//! search looks at `2 · WAYS` slots whatever happened before, and an insertion takes the emptier bucket.
//!
//! A slot is a state word and the key's words. The state holds a live bit, a generation that every insertion raises, and
//! the key's tag: 48 bits of its hash, on which its buckets depend alone. No two live keys have the same tag: the second
//! is refused as if the map were full, which for keys that were not made to collide never happens (2^-44 for one that
//! meets sixteen others). So a search compares one key at most, and costs a word for each of the other slots.
//!
//! A reader that finds the same live state before and after comparing the key has compared one key, not parts of two:
//! key words are stored with release after the slot was dead, and loaded with acquire, so whoever sees a word of the
//! next key also sees that the state changed. Where it changed, the key was not there at that moment.

use super::{CHOICES, Map, MapError, Source, UpdateFlag, WAYS, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Times the lock word of a hash is tried before `-EBUSY`: a few accesses to a contended line, well below a path's
/// worst case. Waiting longer would make every CPU's bound depend on all others.
pub const LOCK_TRIES: u32 = 8;

const LOCK_AT: u32 = 0;
const COUNT_AT: u32 = 8;
const LIVE: u64 = 1;
/// One generation. They are counted modulo 2^15: a reader would have to sleep through as many insertions into one slot
/// to take a new key for an old one, and readers do not sleep.
const GENERATION: u64 = 2;
const GENERATIONS: u64 = 0xfffe;
const TAG: u64 = !0xffff;

/// What a search under the lock saw.
enum Search {
    Found(u32),
    /// Not there; a free slot in the emptier bucket.
    Free(u32),
    /// Not there, and no place: no slot is free, or another key has its tag.
    NoPlace,
}

/// A key's words, read once: the caller's copy may be slow to read, and must not change under a comparison.
type Key = [u64; (super::limits::KEY_BYTES_MAX / 8) as usize];

impl<W: Word> Map<'_, W> {
    #[inline]
    fn key_words<K: Source + ?Sized>(&self, key: &K) -> Key {
        let mut words = [0; size_of::<Key>() / 8];
        let bytes = self.geo.def.key_bytes;
        let mut at = 0;
        // Whole words by the shortest way, then what is left.
        for word in &mut words {
            if bytes - at < 8 {
                if bytes != at {
                    *word = key.word(at, bytes - at);
                }
                break;
            }
            *word = key.word(at, 8);
            at += 8;
        }
        words
    }

    /// The words that the map's keys have, numbered: at most those of [`Key`], whatever the definition says.
    #[inline]
    fn used<'k>(&self, key: &'k Key) -> impl Iterator<Item = (u32, &'k u64)> {
        let words = self.geo.key_words();
        (0..).zip(key).take_while(move |(i, _)| *i < words)
    }

    /// Mixes a key to its tag: multiply and fold for each word (constant of the golden ratio, odd).
    #[inline]
    fn tag(&self, key: &Key) -> u64 {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut h = 0u64;
        for (_, word) in self.used(key) {
            h = (h ^ word).wrapping_mul(MULTIPLIER);
            h ^= h >> 32;
        }
        h.wrapping_mul(MULTIPLIER) & TAG
    }

    /// First slots of the two buckets of a tag: different ones unless there is one bucket only.
    #[inline]
    fn buckets(&self, tag: u64) -> [u32; CHOICES as usize] {
        let scale = |part: u64, n: u32| (part * u64::from(n) >> 32) as u32;
        let first = scale(tag >> 16 & 0xffff_ffff, self.geo.buckets);
        let mut second = scale(tag >> 32, self.geo.buckets.saturating_sub(1));
        if second >= first && self.geo.buckets > 1 {
            second += 1;
        }
        [first * WAYS, second * WAYS]
    }

    #[inline]
    pub(super) fn state_at(&self, slot: u32) -> u32 {
        self.geo.slots_at + slot * self.geo.slot_bytes
    }

    #[inline]
    pub(super) fn is_live(state: u64) -> bool {
        state & LIVE != 0
    }

    /// Whether a slot in this state holds a key of this tag.
    #[inline]
    fn has_tag(state: u64, tag: u64) -> bool {
        state & (TAG | LIVE) == tag | LIVE
    }

    /// Whether the slot at `at`, seen in `state`, holds `key` and did all the time.
    #[inline]
    fn slot_is(&self, at: u32, state: u64, key: &Key) -> bool {
        for (i, word) in self.used(key) {
            if self.get(at + 8 + i * 8, Acquire) != *word {
                return false;
            }
        }
        self.get(at, Relaxed) == state
    }

    /// The slot of a key, without the lock.
    #[inline]
    pub(super) fn hash_find<K: Source + ?Sized>(&self, key: &K) -> Option<u32> {
        let key = &self.key_words(key);
        let tag = self.tag(key);
        for bucket in self.buckets(tag) {
            let mut at = self.state_at(bucket);
            for way in 0..WAYS {
                let state = self.get(at, Acquire);
                if Self::has_tag(state, tag) {
                    return self.slot_is(at, state, key).then_some(bucket + way);
                }
                at += self.geo.slot_bytes;
            }
        }
        None
    }

    fn search(&self, key: &Key, tag: u64) -> Search {
        let (mut place, mut fewest) = (Search::NoPlace, WAYS);
        for bucket in self.buckets(tag) {
            let (mut live, mut free) = (0, None);
            let mut at = self.state_at(bucket);
            for way in 0..WAYS {
                let state = self.get(at, Relaxed);
                if Self::has_tag(state, tag) {
                    return match self.slot_is(at, state, key) {
                        true => Search::Found(bucket + way),
                        false => Search::NoPlace,
                    };
                }
                if Self::is_live(state) {
                    live += 1;
                } else {
                    free = Some(bucket + way);
                }
                at += self.geo.slot_bytes;
            }
            if let Some(slot) = free.filter(|_| live < fewest) {
                fewest = live;
                place = Search::Free(slot);
            }
        }
        place
    }

    pub(super) fn lock(&self) -> Result<(), MapError> {
        let word = self.words.get(LOCK_AT as usize / 8).ok_or(MapError::Invalid)?;
        for _ in 0..LOCK_TRIES {
            if word.take(0, 1) {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(MapError::Busy)
    }

    pub(super) fn unlock(&self) {
        self.set(LOCK_AT, 0, Release);
    }

    pub(super) fn hash_update<K: Source + ?Sized, V: Source + ?Sized>(
        &self,
        cpu: u32,
        key: &K,
        value: &V,
        flag: UpdateFlag,
    ) -> Result<(), MapError> {
        let key = self.key_words(key);
        self.lock()?;
        let result = self.update_locked(cpu, &key, value, flag);
        self.unlock();
        result
    }

    fn update_locked<V: Source + ?Sized>(
        &self,
        cpu: u32,
        key: &Key,
        value: &V,
        flag: UpdateFlag,
    ) -> Result<(), MapError> {
        let tag = self.tag(key);
        let search = self.search(key, tag);
        if let Search::Found(slot) = search {
            if flag == UpdateFlag::NoExist {
                return Err(MapError::Exists);
            }
            let at = self.geo.value_at(cpu, slot).ok_or(MapError::Invalid)?;
            self.copy_in::<{ super::limits::VALUE_BYTES_MAX }, V>(at, value, self.geo.def.value_bytes);
            return Ok(());
        }
        if flag == UpdateFlag::Exist {
            return Err(MapError::NoEntry);
        }
        let count = self.get(COUNT_AT, Relaxed);
        if count >= u64::from(self.geo.def.entries) {
            return Err(MapError::TooBig);
        }
        let Search::Free(slot) = search else {
            return Err(MapError::TooBig);
        };
        self.insert(cpu, slot, key, tag, value)?;
        self.set(COUNT_AT, count + 1, Relaxed);
        Ok(())
    }

    /// Its own function, so that its time can be bounded apart from the rest of an update.
    #[inline(never)]
    fn insert<V: Source + ?Sized>(&self, cpu: u32, slot: u32, key: &Key, tag: u64, value: &V) -> Result<(), MapError> {
        let own = self.geo.value_at(cpu, slot).ok_or(MapError::Invalid)?;
        let at = self.state_at(slot);
        for (i, word) in self.used(key) {
            self.set(at + 8 + i * 8, *word, Release);
        }
        // The slot is dead still, so nobody looks between the two.
        for each in 0..self.geo.cpus.min(super::limits::CPUS_MAX) {
            if let Some(value_at) = self.geo.value_at(each, slot).filter(|_| self.geo.cpus > 1) {
                self.zero_value::<{ super::limits::VALUE_BYTES_MAX }>(value_at);
            }
        }
        self.copy_in::<{ super::limits::VALUE_BYTES_MAX }, V>(own, value, self.geo.def.value_bytes);
        let generation = self.get(at, Relaxed).wrapping_add(GENERATION) & GENERATIONS;
        self.set(at, tag | generation | LIVE, Release);
        Ok(())
    }

    pub(super) fn hash_delete<K: Source + ?Sized>(&self, key: &K) -> Result<(), MapError> {
        let key = self.key_words(key);
        self.lock()?;
        let result = match self.search(&key, self.tag(&key)) {
            Search::Found(slot) => {
                self.kill_locked(slot);
                Ok(())
            }
            _ => Err(MapError::NoEntry),
        };
        self.unlock();
        result
    }

    /// Frees a live slot. The lock is held.
    pub(super) fn kill_locked(&self, slot: u32) {
        let at = self.state_at(slot);
        self.set(at, self.get(at, Relaxed) & !LIVE, Release);
        let count = self.get(COUNT_AT, Relaxed);
        self.set(COUNT_AT, count.saturating_sub(1), Relaxed);
    }

    /// Live entries of a hash.
    pub fn hash_count(&self) -> u64 {
        if self.geo.def.kind.is_hash() {
            self.get(COUNT_AT, Relaxed)
        } else {
            0
        }
    }
}
