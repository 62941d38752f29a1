//! The memory maps live in, and the bytes helpers are given.

use core::sync::atomic::{AtomicU64, Ordering};

/// One 64-bit word of map memory, shared by all CPUs and by compiled code. A trait so that model checkers can put
/// their own atomics below the same algorithms.
pub trait Word {
    /// Atomic load.
    fn load(&self, order: Ordering) -> u64;
    /// Atomic store.
    fn store(&self, value: u64, order: Ordering);
    /// Atomic exchange.
    fn swap(&self, value: u64) -> u64;
    /// Stores `new` if the word is `old`; acquires on success. May fail without reason, as a store-exclusive does: the caller
    /// tries a bounded number of times, where a loop inside would have no bound.
    fn take(&self, old: u64, new: u64) -> bool;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }

    #[inline]
    fn swap(&self, value: u64) -> u64 {
        AtomicU64::swap(self, value, Ordering::AcqRel)
    }

    #[inline]
    fn take(&self, old: u64, new: u64) -> bool {
        self.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

/// Bytes that a helper reads: a key or value on a program's stack, in a map, or in a guest's buffer.
pub trait Source {
    /// The `bytes` (1 to 8) bytes from `at`, little endian, zero-extended.
    fn word(&self, at: u32, bytes: u32) -> u64;
}

impl Source for [u8] {
    fn word(&self, at: u32, bytes: u32) -> u64 {
        let mut word = [0; 8];
        let part = self.get(at as usize..).unwrap_or(&[]);
        for (to, from) in word.iter_mut().zip(part).take(bytes as usize) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    }
}

/// Where reads by hypercall write their words.
pub trait Sink {
    /// Words there is room for.
    fn room(&self) -> u32;
    /// Writes word `index`, which is below [`Sink::room`]. Words may be written again.
    fn put(&mut self, index: u32, word: u64);
}

impl Sink for [u64] {
    fn room(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn put(&mut self, index: u32, word: u64) {
        if let Some(to) = self.get_mut(index as usize) {
            *to = word;
        }
    }
}
