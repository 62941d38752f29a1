//! A fixed pool of table pages: safe memory with a known physical address.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{ENTRIES, TableMem};
use crate::addr::{Ipa, PAGE_BYTES, Pa};

/// Pages for tables. The walker of the MMU reads them too, so each entry is an atomic: no torn entry is ever visible.
#[repr(C, align(4096))]
pub struct PoolPages<const N: usize>(pub [[AtomicU64; ENTRIES]; N]);

impl<const N: usize> PoolPages<N> {
    /// All entries invalid.
    #[allow(
        clippy::new_without_default,
        reason = "used in statics, where Default cannot be called"
    )]
    pub const fn new() -> Self {
        Self([const { [const { AtomicU64::new(0) }; ENTRIES] }; N])
    }
}

/// Pages that one [`TablePool`] can hold: the bits of its free map. 64 × 4 words = 256 pages = 1 MiB of tables.
pub const POOL_PAGES_MAX: usize = 64 * POOL_WORDS;
const POOL_WORDS: usize = 4;

/// [`TableMem`] over [`PoolPages`] that lie at physical address `base`. `flush` performs TLB invalidation.
pub struct TablePool<'a, F: FnMut(Ipa, u32)> {
    pages: &'a [[AtomicU64; ENTRIES]],
    base: Pa,
    used: [u64; POOL_WORDS],
    flush: F,
}

impl<'a, F: FnMut(Ipa, u32)> TablePool<'a, F> {
    /// A pool with all pages free. Pages above [`POOL_PAGES_MAX`] are not used. `base` is the physical address of `pages`.
    pub fn new(pages: &'a [[AtomicU64; ENTRIES]], base: Pa, flush: F) -> Self {
        let pages = pages.get(..POOL_PAGES_MAX).unwrap_or(pages);
        Self {
            pages,
            base,
            used: [0; POOL_WORDS],
            flush,
        }
    }

    /// Pages in use.
    pub fn used(&self) -> u32 {
        self.used.iter().map(|w| w.count_ones()).sum()
    }

    /// Pages of the pool.
    pub fn capacity(&self) -> usize {
        self.pages.len()
    }

    fn slot(&self, table: Pa) -> Option<usize> {
        let off = table.0.checked_sub(self.base.0)?;
        Some((off / PAGE_BYTES) as usize)
    }

    fn cell(&self, table: Pa, index: usize) -> Option<&'a AtomicU64> {
        self.pages.get(self.slot(table)?)?.get(index)
    }
}

impl<F: FnMut(Ipa, u32)> TableMem for TablePool<'_, F> {
    fn alloc(&mut self) -> Option<Pa> {
        let capacity = self.pages.len();
        for (w, word) in self.used.iter_mut().enumerate() {
            let bit = word.trailing_ones() as usize;
            let slot = w * 64 + bit;
            if bit < 64 && slot < capacity {
                *word |= 1 << bit;
                for cell in self.pages.get(slot)? {
                    cell.store(0, Ordering::Relaxed);
                }
                return self.base.checked_add(slot as u64 * PAGE_BYTES);
            }
        }
        None
    }

    fn free(&mut self, table: Pa) {
        let Some(slot) = self.slot(table) else { return };
        if let Some(word) = self.used.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    fn read(&self, table: Pa, index: usize) -> u64 {
        self.cell(table, index).map_or(0, |c| c.load(Ordering::Relaxed))
    }

    // Release: the walker that sees a table entry must also see the table behind it (el2 adds the DSB for other observers).
    fn write(&mut self, table: Pa, index: usize, desc: u64) {
        if let Some(c) = self.cell(table, index) {
            c.store(desc, Ordering::Release);
        }
    }

    fn invalidate(&mut self, ipa: Ipa, level: u32) {
        (self.flush)(ipa, level);
    }
}
