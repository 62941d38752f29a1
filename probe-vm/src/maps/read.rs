//! The reading side: bounded steps over a map, for hypercalls.

use super::limits::{CPUS_MAX, KEY_BYTES_MAX, SECTION_BYTES_MAX, VALUE_BYTES_MAX};
use super::{Map, MapError, MapKind, Sink, Word};
use core::sync::atomic::Ordering::{Acquire, Relaxed};

/// Slots one call looks at. A sparse hash of 65,536 entries is walked in about 1,600 calls.
pub const READ_SLOTS_MAX: u32 = 64;
/// Words one call writes at most: the largest entry, so that any entry fits into a call.
pub const READ_WORDS_MAX: u32 = 1040;

const _: () = {
    let per_cpu = KEY_BYTES_MAX / 8 + VALUE_BYTES_MAX / 8 * CPUS_MAX;
    let section = 1 + SECTION_BYTES_MAX / 8;
    assert!(per_cpu <= READ_WORDS_MAX && section <= READ_WORDS_MAX);
};

/// How per-CPU values are read, and what is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Per-CPU values summed as 64-bit lanes (wrapping).
    Folded,
    /// Per-CPU values one after the other, CPU 0 first.
    PerCpu,
    /// As `Folded`; each 64-bit lane is swapped with zero. Array kinds only. An atomic addition is in this read or in a
    /// later one, never in both or none. So is a plain one by the CPU that does the read, as EL2 is not interrupted.
    FoldedClear,
    /// As `PerCpu`, lanes swapped with zero as in `FoldedClear`.
    PerCpuClear,
}

impl ReadMode {
    const fn clears(self) -> bool {
        matches!(self, Self::FoldedClear | Self::PerCpuClear)
    }

    const fn folds(self) -> bool {
        matches!(self, Self::Folded | Self::FoldedClear)
    }
}

/// What one step of a read did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOut {
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
    /// Entries written: key, then value (or values), each padded to 8 bytes.
    pub entries: u32,
    /// Words written.
    pub words: u32,
}

impl<W: Word> Map<'_, W> {
    /// Words of one entry as [`Map::read`] writes it.
    pub fn entry_words(&self, mode: ReadMode) -> u32 {
        let key = if self.geo.def.kind.is_array() {
            1
        } else {
            self.geo.key_words()
        };
        let values = if mode.folds() { 1 } else { self.geo.cpus };
        key + values * self.geo.value_words()
    }

    /// Reads entries from `cursor` on (0 first) into `sink`. Bounded by [`READ_SLOTS_MAX`] and [`READ_WORDS_MAX`].
    ///
    /// An entry that is in the map from before the first step to after the last is read exactly once; others may be.
    ///
    /// # Errors
    /// `NoRoom` if the sink takes not one entry; `Invalid` for ring buffers and for clearing a hash.
    pub fn read<S: Sink + ?Sized>(&self, cursor: u64, mode: ReadMode, sink: &mut S) -> Result<ReadOut, MapError> {
        let kind = self.geo.def.kind;
        if kind == MapKind::RingBuf || (mode.clears() && kind.is_hash()) {
            return Err(MapError::Invalid);
        }
        let each = self.entry_words(mode);
        let room = sink.room().min(READ_WORDS_MAX);
        if each > room {
            return Err(MapError::NoRoom { words: each });
        }
        let first = u32::try_from(cursor).unwrap_or(u32::MAX).min(self.geo.slots);
        let last = first.saturating_add(READ_SLOTS_MAX).min(self.geo.slots);
        let mut out = ReadOut {
            next: None,
            entries: 0,
            words: 0,
        };
        let mut slot = first;
        while slot < last && out.words + each <= room {
            if self.read_entry(slot, mode, sink, out.words) {
                out.entries += 1;
                out.words += each;
            }
            slot += 1;
        }
        out.next = (slot < self.geo.slots).then_some(u64::from(slot));
        Ok(out)
    }

    /// Writes the entry of `slot` to the sink's words from `to` on; false if there is none, and then what was written
    /// does not count.
    fn read_entry<S: Sink + ?Sized>(&self, slot: u32, mode: ReadMode, sink: &mut S, to: u32) -> bool {
        if self.geo.def.kind.is_array() {
            sink.put(to, u64::from(slot));
            self.read_value(slot, mode, sink, to + 1);
            return true;
        }
        let at = self.state_at(slot);
        let state = self.get(at, Acquire);
        if !Self::is_live(state) {
            return false;
        }
        for i in 0..self.geo.key_words() {
            sink.put(to + i, self.get(at + 8 + i * 8, Acquire));
        }
        self.read_value(slot, mode, sink, to + self.geo.key_words());
        self.get(at, Relaxed) == state
    }

    /// Writes the value (or values) of `slot`.
    fn read_value<S: Sink + ?Sized>(&self, slot: u32, mode: ReadMode, sink: &mut S, to: u32) {
        let words = self.geo.value_words();
        for i in 0..words {
            let mut sum = 0u64;
            for cpu in 0..self.geo.cpus {
                let at = self.geo.value_at(cpu, slot).unwrap_or(0) + i * 8;
                let lane = if mode.clears() {
                    self.take_lane(at)
                } else {
                    self.get(at, Relaxed)
                };
                if mode.folds() {
                    sum = sum.wrapping_add(lane);
                } else {
                    sink.put(to + cpu * words + i, lane);
                }
            }
            if mode.folds() {
                sink.put(to + i, sum);
            }
        }
    }

    fn take_lane(&self, at: u32) -> u64 {
        self.words.get(at as usize / 8).map_or(0, |w| w.swap(0))
    }

    /// Reads the value of slot or index `slot` as [`Map::read`] would; words written. For lookups of one key.
    ///
    /// # Errors
    /// `NoEntry` past the end, `NoRoom` if the sink is too short.
    pub fn read_slot<S: Sink + ?Sized>(&self, slot: u32, mode: ReadMode, sink: &mut S) -> Result<u32, MapError> {
        let values = if mode.folds() { 1 } else { self.geo.cpus };
        let words = values * self.geo.value_words();
        if slot >= self.geo.slots {
            return Err(MapError::NoEntry);
        }
        if words > sink.room() {
            return Err(MapError::NoRoom { words });
        }
        self.read_value(slot, mode, sink, 0);
        Ok(words)
    }

    /// Slot of a key: an array's index, a hash's slot.
    ///
    /// # Errors
    /// `NoEntry` without the key, `Invalid` for ring buffers.
    pub fn slot_of<K: super::Source + ?Sized>(&self, key: &K) -> Result<u32, MapError> {
        match self.geo.def.kind {
            MapKind::RingBuf => Err(MapError::Invalid),
            MapKind::Array | MapKind::PerCpuArray => Some(key.word(0, 4) as u32)
                .filter(|i| *i < self.geo.slots)
                .ok_or(MapError::NoEntry),
            MapKind::Hash | MapKind::PerCpuHash => self.hash_find(key).ok_or(MapError::NoEntry),
        }
    }

    /// Clears entries from `cursor` on: zeros in arrays, deletion in hashes. At most [`READ_SLOTS_MAX`] slots and, so
    /// that large values stay bounded too, [`READ_WORDS_MAX`] words; at least one slot.
    ///
    /// # Errors
    /// `Busy` when another CPU changes the hash; `Invalid` for ring buffers.
    pub fn clear(&self, cursor: u64) -> Result<Option<u64>, MapError> {
        if self.geo.def.kind == MapKind::RingBuf {
            return Err(MapError::Invalid);
        }
        let hash = self.geo.def.kind.is_hash();
        let first = u32::try_from(cursor).unwrap_or(u32::MAX).min(self.geo.slots);
        let each = self.entry_words(ReadMode::PerCpu);
        let step = if hash {
            READ_SLOTS_MAX
        } else {
            (READ_WORDS_MAX / each.max(1)).clamp(1, READ_SLOTS_MAX)
        };
        let last = first.saturating_add(step).min(self.geo.slots);
        if hash {
            self.lock()?;
        }
        for slot in first..last {
            if hash && Self::is_live(self.get(self.state_at(slot), Relaxed)) {
                self.kill_locked(slot);
            } else if !hash {
                for cpu in 0..self.geo.cpus {
                    self.zero_value::<SECTION_BYTES_MAX>(self.geo.value_at(cpu, slot).unwrap_or(0));
                }
            }
        }
        if hash {
            self.unlock();
        }
        Ok((last < self.geo.slots).then_some(u64::from(last)))
    }

    /// The live entry of `slot` for `bpf_for_each_map_elem`: byte offset of its key (`None` for arrays, whose key is the
    /// index) and of its value on `cpu`.
    pub fn entry(&self, cpu: u32, slot: u32) -> Option<(Option<u32>, u32)> {
        let value = self.geo.value_at(if self.geo.cpus == 1 { 0 } else { cpu }, slot)?;
        if self.geo.def.kind.is_array() {
            return Some((None, value));
        }
        let at = self.state_at(slot);
        Self::is_live(self.get(at, Acquire)).then_some((Some(at + 8), value))
    }
}
