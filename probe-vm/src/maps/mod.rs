//! Maps: what probes count in and guests read.
//!
//! A map is a [`Geometry`] over 64-bit words of fixed memory. Values are addressed by byte offset, and compiled code
//! adds the map's address: a lookup yields a pointer as in Linux. All loops are bounded by constants of this module or
//! by the sizes in the map's definition, so every operation has a worst case.
//!
//! Several CPUs share a map. Lookups take no lock. Inserting into and deleting from one hash is serialised by a lock
//! word that is tried [`LOCK_TRIES`] times; an operation that does not get it returns `-EBUSY` as Linux does when it
//! cannot lock a bucket. As in Linux, a value that a program found may be deleted and its memory taken for another key
//! while the program still points to it, and a value of several words may be seen half updated.

mod def;
mod hash;
mod read;
mod ring;
mod word;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use def::{
    CACHE_LINE_BYTES, CHOICES, DefError, F_NO_PREALLOC, F_RDONLY_PROG, Geometry, LOAD, MapDef, MapKind, WAYS, limits,
};
pub use hash::LOCK_TRIES;
pub use read::{READ_SLOTS_MAX, READ_WORDS_MAX, ReadMode, ReadOut};
pub use ring::{RING_RECORDS_MAX, RingOut, RingQuery, control, record};
pub use word::{Sink, Source, Word};

use core::sync::atomic::{AtomicU64, Ordering};

/// Why a map refuses an operation; [`MapError::errno`] is what a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No such key.
    NoEntry,
    /// The map is full, or an array's index is past its end.
    TooBig,
    /// The map's hash is being changed by another CPU.
    Busy,
    /// The key exists and must not (`BPF_NOEXIST`).
    Exists,
    /// The operation or its flags do not apply to this kind of map.
    Invalid,
    /// The buffer of a read has no room for the next entry.
    NoRoom {
        /// 64-bit words one entry needs.
        words: u32,
    },
}

impl MapError {
    /// Linux's negative error number.
    pub const fn errno(self) -> i64 {
        match self {
            Self::NoEntry => -2,
            Self::TooBig => -7,
            Self::Busy => -16,
            Self::Exists => -17,
            Self::Invalid => -22,
            Self::NoRoom { .. } => -28,
        }
    }
}

/// Flags of an update, with Linux's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFlag {
    /// Create or replace (`BPF_ANY`).
    Any = 0,
    /// Create only (`BPF_NOEXIST`).
    NoExist = 1,
    /// Replace only (`BPF_EXIST`).
    Exist = 2,
}

impl UpdateFlag {
    /// From a flags argument; Linux's other flags do not apply here.
    pub const fn from_number(n: u64) -> Option<Self> {
        Some(match n {
            0 => Self::Any,
            1 => Self::NoExist,
            2 => Self::Exist,
            _ => return None,
        })
    }
}

/// A map over its memory.
#[derive(Debug)]
pub struct Map<'a, W = AtomicU64> {
    geo: &'a Geometry,
    words: &'a [W],
}

impl<W> Clone for Map<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Map<'_, W> {}

impl<'a, W: Word> Map<'a, W> {
    /// A map over `words`, which must be zero when the map is new. `None` if they are fewer than the geometry's bytes.
    #[inline]
    pub fn new(geo: &'a Geometry, words: &'a [W]) -> Option<Self> {
        let words = words.get(..geo.bytes as usize / 8)?;
        Some(Self { geo, words })
    }

    /// Where things lie.
    pub fn geometry(&self) -> &'a Geometry {
        self.geo
    }

    /// Loads the word at byte offset `at`. Offsets come from the geometry, so they are inside; were one not, it reads 0
    /// rather than stop the machine.
    #[inline]
    fn get(&self, at: u32, order: Ordering) -> u64 {
        self.words.get(at as usize / 8).map_or(0, |w| w.load(order))
    }

    #[inline]
    fn set(&self, at: u32, value: u64, order: Ordering) {
        if let Some(w) = self.words.get(at as usize / 8) {
            w.store(value, order);
        }
    }

    /// Fills a new map's entry 0 with `data` (an image's initial contents); shorter data leaves zeros.
    pub fn initialise(&self, data: &[u8]) {
        let words = (data.len() as u32).div_ceil(8).min(self.geo.value_words());
        for i in 0..words {
            self.set(self.geo.values_at + i * 8, data.word(i * 8, 8), Ordering::Relaxed);
        }
    }

    /// Finds a key: byte offset of its value on CPU `cpu`. `bpf_map_lookup_elem`.
    #[inline]
    pub fn lookup<K: Source + ?Sized>(&self, cpu: u32, key: &K) -> Option<u32> {
        let cpu = if self.geo.cpus == 1 { 0 } else { cpu };
        let slot = match self.geo.def.kind {
            MapKind::Array | MapKind::PerCpuArray => key.word(0, 4) as u32,
            MapKind::Hash | MapKind::PerCpuHash => self.hash_find(key)?,
            MapKind::RingBuf => return None,
        };
        self.geo.value_at(cpu, slot)
    }

    /// Sets a key's value on CPU `cpu`; a key new to a per-CPU hash gets zeros on the others. `bpf_map_update_elem`.
    ///
    /// # Errors
    /// As Linux: `TooBig` when full or past an array's end, `Exists`/`NoEntry` as the flag demands, `Busy` when another
    /// CPU changes the hash, `Invalid` for ring buffers.
    pub fn update<K: Source + ?Sized, V: Source + ?Sized>(
        &self,
        cpu: u32,
        key: &K,
        value: &V,
        flag: UpdateFlag,
    ) -> Result<(), MapError> {
        let cpu = if self.geo.cpus == 1 { 0 } else { cpu };
        match self.geo.def.kind {
            MapKind::Array | MapKind::PerCpuArray => {
                // The order of Linux's checks: index first, then NOEXIST, which no array can honour.
                let at = self.geo.value_at(cpu, key.word(0, 4) as u32).ok_or(MapError::TooBig)?;
                if flag == UpdateFlag::NoExist {
                    return Err(MapError::Exists);
                }
                self.write_value(at, value);
                Ok(())
            }
            MapKind::Hash | MapKind::PerCpuHash => self.hash_update(cpu, key, value, flag),
            MapKind::RingBuf => Err(MapError::Invalid),
        }
    }

    /// Sets a key's value as seen folded: `value` on CPU 0, zeros on the others. What a guest's update does.
    ///
    /// # Errors
    /// As [`Map::update`].
    pub fn update_folded<K: Source + ?Sized, V: Source + ?Sized>(
        &self,
        key: &K,
        value: &V,
        flag: UpdateFlag,
    ) -> Result<(), MapError> {
        self.update(0, key, value, flag)?;
        for cpu in 1..self.geo.cpus {
            if let Some(at) = self.lookup(cpu, key) {
                self.zero_value::<{ limits::SECTION_BYTES_MAX }>(at);
            }
        }
        Ok(())
    }

    /// Deletes a key. `bpf_map_delete_elem`.
    ///
    /// # Errors
    /// `NoEntry` without the key, `Busy` when another CPU changes the hash, `Invalid` for arrays and ring buffers.
    pub fn delete<K: Source + ?Sized>(&self, key: &K) -> Result<(), MapError> {
        if !self.geo.def.kind.is_hash() {
            return Err(MapError::Invalid);
        }
        self.hash_delete(key)
    }

    fn write_value<V: Source + ?Sized>(&self, at: u32, value: &V) {
        self.copy_in::<{ limits::SECTION_BYTES_MAX }, V>(at, value, self.geo.def.value_bytes);
    }

    /// Copies `bytes` bytes, at most `MAX`, to byte offset `at`, the last word padded with zeros.
    #[inline]
    fn copy_in<const MAX: u32, V: Source + ?Sized>(&self, at: u32, from: &V, bytes: u32) {
        let bytes = bytes.min(MAX);
        let mut done = 0;
        while done + 8 <= bytes {
            self.set(at + done, from.word(done, 8), Ordering::Relaxed);
            done += 8;
        }
        if done < bytes {
            self.set(at + done, from.word(done, bytes - done), Ordering::Relaxed);
        }
    }

    /// Zeroes a value of at most `MAX` bytes.
    fn zero_value<const MAX: u32>(&self, at: u32) {
        let bytes = self.geo.stride.min(MAX);
        let mut done = 0;
        while done < bytes {
            self.set(at + done, 0, Ordering::Relaxed);
            done += 8;
        }
    }
}
