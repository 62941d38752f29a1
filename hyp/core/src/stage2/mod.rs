//! Stage-2 translation tables: IPA → PA with 4 KiB, 2 MiB and 1 GiB entries (Arm ARM D8, VMSAv8-64, 4 KiB granule).
//!
//! A VM's IPA space has [`IPA_BITS`] bits and starts at level 1, so one root table covers it. The tables live in memory
//! that the caller gives through [`TableMem`]; this module never forms a pointer. A change follows break-before-make: the old entry
//! is made invalid and [`TableMem::invalidate`] is called before a new valid entry takes its place (Arm ARM D8.16.1).
//!
//! Mapping is total: a request either is mapped whole or leaves the tables as they were.

mod desc;
mod map;
mod pool;
#[cfg(test)]
mod tests;

pub use desc::{MemType, Prot, vtcr};
pub use map::{Mapping, Stage2};
pub use pool::{PoolPages, TablePool};

use crate::addr::{Ipa, Pa};

/// Width of a VM's IPA space: 512 GiB, what one level-1 table covers. QEMU `virt` puts all that a guest of ours gets below 256 GiB.
pub const IPA_BITS: u32 = 39;
/// First byte above the IPA space.
pub const IPA_END: u64 = 1 << IPA_BITS;
/// Level of the root table.
pub const ROOT_LEVEL: u32 = 1;
/// Level whose entries are pages.
pub const LEAF_LEVEL: u32 = 3;
/// Entries of a table.
pub const ENTRIES: usize = 512;

/// Why a mapping request was refused. The tables are unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// An address or the length is no multiple of 4 KiB, or the length is zero.
    Misaligned,
    /// The range leaves the IPA space or the 48-bit PA space.
    OutOfRange,
    /// Something is mapped at this address already.
    Overlap(Ipa),
    /// Nothing is mapped at this address.
    NotMapped(Ipa),
    /// The table memory has no free page left.
    NoTables,
}

/// Memory for translation tables. A table is named by its physical address, a multiple of 4 KiB.
///
/// `table` arguments come from `alloc` of the same object or are roots made from it; an implementation answers 0 for others.
pub trait TableMem {
    /// A zeroed table, or `None` if there is none left.
    fn alloc(&mut self) -> Option<Pa>;
    /// Takes back a table that no other table points to.
    fn free(&mut self, table: Pa);
    /// Entry `index` (0–511) of `table`.
    fn read(&self, table: Pa, index: usize) -> u64;
    /// Stores entry `index` (0–511) of `table`.
    fn write(&mut self, table: Pa, index: usize, desc: u64);
    /// Called when a valid entry at `level` that translated `ipa` was made invalid: TLBs may still hold it.
    fn invalidate(&mut self, ipa: Ipa, level: u32);
}

/// Bytes that one entry at `level` (1–3) covers.
#[inline]
pub const fn level_bytes(level: u32) -> u64 {
    1 << level_shift(level)
}

#[inline]
const fn level_shift(level: u32) -> u32 {
    12 + 9 * (LEAF_LEVEL - level)
}

#[inline]
const fn index_at(ipa: u64, level: u32) -> usize {
    ((ipa >> level_shift(level)) & (ENTRIES as u64 - 1)) as usize
}
