//! Hash maps: two buckets of [`WAYS`] slots a key may live in.
//!
//! Entries never move, because programs hold pointers to values; a deleted slot is free at once, with no tombstone. So a
//! search looks at `2 · WAYS` slots whatever happened before, and an insertion takes the emptier bucket.
//!
//! A slot is a state word and the key's words. The state holds a live bit and a generation that every insertion raises.
//! A reader that finds the same live state before and after comparing the key has compared one key, not parts of two:
//! key words are stored with release after the slot was dead, and loaded with acquire, so whoever sees a word of the
//! next key also sees that the state changed.

use super::{CHOICES, Map, MapError, Source, UpdateFlag, WAYS, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Times the lock word of a hash is tried before `-EBUSY`: a few accesses to a contended line, well below a path's
/// worst case. Waiting longer would make every CPU's bound depend on all others.
pub const LOCK_TRIES: u32 = 8;

const LOCK_AT: u32 = 0;
const COUNT_AT: u32 = 8;
const LIVE: u64 = 1;
const GENERATION: u64 = 2;

/// What a search under the lock saw.
struct Search {
    found: Option<u32>,
    /// A free slot in the emptier bucket.
    free: Option<u32>,
}

/// A key's words, read once: the caller's copy may be slow to read, and must not change under a comparison.
type Key = [u64; (super::limits::KEY_BYTES_MAX / 8) as usize];

impl<W: Word> Map<'_, W> {
    #[inline]
    fn key_words<K: Source + ?Sized>(&self, key: &K) -> Key {
        let mut words = [0; size_of::<Key>() / 8];
        for (i, word) in (0..self.geo.key_words()).zip(&mut words) {
            *word = key.word(i * 8, (self.geo.def.key_bytes - i * 8).min(8));
        }
        words
    }

    /// The words that the map's keys have.
    #[inline]
    fn used<'k>(&self, key: &'k Key) -> &'k [u64] {
        key.get(..self.geo.key_words() as usize).unwrap_or(key)
    }

    /// Mixes a key to 64 bits: multiply and fold for each word (constant of the golden ratio, odd).
    #[inline]
    fn hash(&self, key: &Key) -> u64 {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut h = 0u64;
        for word in self.used(key) {
            h = (h ^ word).wrapping_mul(MULTIPLIER);
            h ^= h >> 32;
        }
        h.wrapping_mul(MULTIPLIER)
    }

    /// First slots of the two buckets of a hash: different ones unless there is one bucket only.
    #[inline]
    fn buckets(&self, h: u64) -> [u32; CHOICES as usize] {
        let scale = |part: u64, n: u32| ((part & 0xffff_ffff) * u64::from(n) >> 32) as u32;
        let first = scale(h, self.geo.buckets);
        let mut second = scale(h >> 32, self.geo.buckets.saturating_sub(1));
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

    #[inline]
    fn slot_is(&self, slot: u32, key: &Key) -> bool {
        let at = self.state_at(slot);
        let state = self.get(at, Acquire);
        if !Self::is_live(state) {
            return false;
        }
        for (i, word) in (0..).zip(self.used(key)) {
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
        for bucket in self.buckets(self.hash(key)) {
            for way in 0..WAYS {
                if self.slot_is(bucket + way, key) {
                    return Some(bucket + way);
                }
            }
        }
        None
    }

    fn search(&self, key: &Key) -> Search {
        let mut search = Search {
            found: None,
            free: None,
        };
        let mut fewest = WAYS;
        for bucket in self.buckets(self.hash(key)) {
            let mut live = 0;
            let mut free = None;
            for way in 0..WAYS {
                let slot = bucket + way;
                if !Self::is_live(self.get(self.state_at(slot), Relaxed)) {
                    free = free.or(Some(slot));
                } else {
                    live += 1;
                    if self.slot_is(slot, key) {
                        search.found = Some(slot);
                        return search;
                    }
                }
            }
            if live < fewest {
                fewest = live;
                search.free = free;
            }
        }
        search
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
        let search = self.search(key);
        if let Some(slot) = search.found {
            if flag == UpdateFlag::NoExist {
                return Err(MapError::Exists);
            }
            let at = self.geo.value_at(cpu, slot).ok_or(MapError::Invalid)?;
            self.write_value(at, value);
            return Ok(());
        }
        if flag == UpdateFlag::Exist {
            return Err(MapError::NoEntry);
        }
        let count = self.get(COUNT_AT, Relaxed);
        if count >= u64::from(self.geo.def.entries) {
            return Err(MapError::TooBig);
        }
        let slot = search.free.ok_or(MapError::TooBig)?;
        self.insert(cpu, slot, key, value)?;
        self.set(COUNT_AT, count + 1, Relaxed);
        Ok(())
    }

    fn insert<V: Source + ?Sized>(&self, cpu: u32, slot: u32, key: &Key, value: &V) -> Result<(), MapError> {
        let own = self.geo.value_at(cpu, slot).ok_or(MapError::Invalid)?;
        let at = self.state_at(slot);
        for (i, word) in (0..).zip(self.used(key)) {
            self.set(at + 8 + i * 8, *word, Release);
        }
        for other in 0..self.geo.cpus {
            match self.geo.value_at(other, slot) {
                Some(value_at) if value_at != own => self.zero_value(value_at),
                _ => self.write_value(own, value),
            }
        }
        let dead = self.get(at, Relaxed);
        self.set(at, dead.wrapping_add(GENERATION) | LIVE, Release);
        Ok(())
    }

    pub(super) fn hash_delete<K: Source + ?Sized>(&self, key: &K) -> Result<(), MapError> {
        let key = self.key_words(key);
        self.lock()?;
        let result = match self.search(&key).found {
            Some(slot) => {
                self.kill_locked(slot);
                Ok(())
            }
            None => Err(MapError::NoEntry),
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
