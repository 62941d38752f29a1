//! Map, unmap, look up.

use super::desc::{self, Entry, Prot};
use super::{ENTRIES, IPA_END, LEAF_LEVEL, MapError, ROOT_LEVEL, TableMem, index_at, level_bytes};
use crate::addr::{Ipa, PAGE_BYTES, Pa};

/// First byte above the PA space of a 4 KiB-granule descriptor without LPA2.
const PA_END: u64 = 1 << 48;
/// Table levels above the leaf, each visited once in a descent.
const DESCENT_MAX: u32 = LEAF_LEVEL - ROOT_LEVEL + 1;

/// What an IPA translates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Physical address of the byte asked for.
    pub pa: Pa,
    /// Rights and type.
    pub prot: Prot,
    /// Level of the entry: 1 (1 GiB), 2 (2 MiB) or 3 (4 KiB).
    pub level: u32,
}

/// One VM's tables. Holds only the root's address; the memory is passed to each call.
#[derive(Debug)]
pub struct Stage2 {
    root: Pa,
}

/// An entry's place: the table that holds it and its level.
struct Place {
    table: Pa,
    level: u32,
    entry: Entry,
}

impl Stage2 {
    /// An empty IPA space.
    pub fn new<M: TableMem>(mem: &mut M) -> Result<Self, MapError> {
        Ok(Self {
            root: mem.alloc().ok_or(MapError::NoTables)?,
        })
    }

    /// Physical address of the root table, for VTTBR_EL2.BADDR.
    pub const fn root(&self) -> Pa {
        self.root
    }

    /// Maps `bytes` from `ipa` to `pa` with the largest entries that alignment allows.
    ///
    /// Nothing in the range may be mapped yet. On an error the tables are as before.
    pub fn map<M: TableMem>(&mut self, mem: &mut M, ipa: Ipa, pa: Pa, bytes: u64, prot: Prot) -> Result<(), MapError> {
        let end = check_range(ipa, bytes)?;
        if !pa.is_aligned(PAGE_BYTES) {
            return Err(MapError::Misaligned);
        }
        if pa.0.checked_add(bytes).is_none_or(|e| e > PA_END) {
            return Err(MapError::OutOfRange);
        }
        let mut at = ipa.0;
        // At most (bytes / 4 KiB) turns: each advances by at least one page.
        while at < end {
            let out = Pa(pa.0 + (at - ipa.0));
            let level = largest_level(at, out.0, end - at);
            if let Err(e) = self.map_one(mem, Ipa(at), out, level, prot) {
                if at > ipa.0 {
                    // Cannot fail: exactly these entries were just made, so no block needs splitting.
                    let _ = self.unmap(mem, ipa, at - ipa.0);
                }
                return Err(e);
            }
            at += level_bytes(level);
        }
        Ok(())
    }

    fn map_one<M: TableMem>(&mut self, mem: &mut M, ipa: Ipa, pa: Pa, level: u32, prot: Prot) -> Result<(), MapError> {
        let mut table = self.root;
        let mut made: [Option<(Pa, usize)>; DESCENT_MAX as usize] = [None; DESCENT_MAX as usize];
        for (lv, slot) in (ROOT_LEVEL..level).zip(made.iter_mut()) {
            let index = index_at(ipa.0, lv);
            match desc::decode(mem.read(table, index), lv) {
                Entry::Table(next) => table = next,
                Entry::Leaf(..) => return Err(MapError::Overlap(ipa)),
                Entry::Invalid => {
                    let Some(next) = mem.alloc() else {
                        undo(mem, &made, ipa);
                        return Err(MapError::NoTables);
                    };
                    mem.write(table, index, desc::table(next));
                    *slot = Some((table, index));
                    table = next;
                }
            }
        }
        let index = index_at(ipa.0, level);
        if desc::decode(mem.read(table, index), level) != Entry::Invalid {
            // A table here is never empty: `unmap` frees those.
            return Err(MapError::Overlap(ipa));
        }
        mem.write(table, index, desc::leaf(pa, level, prot));
        Ok(())
    }

    /// Removes the mapping of `bytes` from `ipa`. Larger entries at the edges are split.
    ///
    /// The whole range must be mapped. `NoTables` if a split needs a page and there is none. On an error nothing is changed
    /// but that a block may have been split into equal smaller ones.
    pub fn unmap<M: TableMem>(&mut self, mem: &mut M, ipa: Ipa, bytes: u64) -> Result<(), MapError> {
        let end = check_range(ipa, bytes)?;
        let mut at = ipa.0;
        while at < end {
            let m = self.walk(mem, Ipa(at)).ok_or(MapError::NotMapped(Ipa(at)))?;
            at = (at & !(level_bytes(m.level) - 1)) + level_bytes(m.level);
        }
        for edge in [ipa.0, end] {
            self.split_at(mem, edge)?;
        }
        at = ipa.0;
        while at < end {
            let place = self.find(mem, Ipa(at));
            mem.write(place.table, index_at(at, place.level), 0);
            mem.invalidate(Ipa(at), place.level);
            self.prune(mem, Ipa(at));
            at += level_bytes(place.level);
        }
        Ok(())
    }

    /// What `ipa` translates to, `None` if nothing.
    pub fn walk<M: TableMem>(&self, mem: &M, ipa: Ipa) -> Option<Mapping> {
        if ipa.0 >= IPA_END {
            return None;
        }
        let place = self.find(mem, ipa);
        match place.entry {
            Entry::Leaf(base, prot) => {
                let off = ipa.0 & (level_bytes(place.level) - 1);
                Some(Mapping {
                    pa: Pa(base.0 + off),
                    prot,
                    level: place.level,
                })
            }
            _ => None,
        }
    }

    /// The last entry of the descent towards `ipa`: a leaf, or the first invalid one.
    fn find<M: TableMem>(&self, mem: &M, ipa: Ipa) -> Place {
        let mut table = self.root;
        for level in ROOT_LEVEL..LEAF_LEVEL {
            match desc::decode(mem.read(table, index_at(ipa.0, level)), level) {
                Entry::Table(next) => table = next,
                entry => return Place { table, level, entry },
            }
        }
        let entry = desc::decode(mem.read(table, index_at(ipa.0, LEAF_LEVEL)), LEAF_LEVEL);
        Place {
            table,
            level: LEAF_LEVEL,
            entry,
        }
    }

    /// Splits entries until `at` is the boundary of one.
    fn split_at<M: TableMem>(&mut self, mem: &mut M, at: u64) -> Result<(), MapError> {
        if at >= IPA_END {
            return Ok(());
        }
        for _ in ROOT_LEVEL..LEAF_LEVEL {
            let place = self.find(mem, Ipa(at));
            let Entry::Leaf(base, prot) = place.entry else {
                return Ok(());
            };
            if at & (level_bytes(place.level) - 1) == 0 {
                return Ok(());
            }
            let next = mem.alloc().ok_or(MapError::NoTables)?;
            let small = place.level + 1;
            for i in 0..ENTRIES {
                mem.write(
                    next,
                    i,
                    desc::leaf(Pa(base.0 + i as u64 * level_bytes(small)), small, prot),
                );
            }
            let index = index_at(at, place.level);
            mem.write(place.table, index, 0);
            mem.invalidate(Ipa(at), place.level);
            mem.write(place.table, index, desc::table(next));
        }
        Ok(())
    }

    /// Frees tables on the way to `ipa` that have become empty, deepest first.
    fn prune<M: TableMem>(&mut self, mem: &mut M, ipa: Ipa) {
        for _ in ROOT_LEVEL..LEAF_LEVEL {
            let mut parent = (self.root, 0);
            let mut table = self.root;
            let mut level = ROOT_LEVEL;
            while level < LEAF_LEVEL {
                let index = index_at(ipa.0, level);
                let Entry::Table(next) = desc::decode(mem.read(table, index), level) else {
                    break;
                };
                parent = (table, index);
                table = next;
                level += 1;
            }
            if table == self.root || (0..ENTRIES).any(|i| mem.read(table, i) != 0) {
                return;
            }
            mem.write(parent.0, parent.1, 0);
            mem.invalidate(ipa, level - 1);
            mem.free(table);
        }
    }
}

/// Removes the tables that a failed descent has made. A walk may have cached the entry that led to one, so it is invalidated too.
fn undo<M: TableMem>(mem: &mut M, made: &[Option<(Pa, usize)>], ipa: Ipa) {
    for (table, index) in made.iter().rev().flatten().copied() {
        if let Entry::Table(empty) = desc::decode(mem.read(table, index), ROOT_LEVEL) {
            mem.write(table, index, 0);
            mem.invalidate(ipa, ROOT_LEVEL);
            mem.free(empty);
        }
    }
}

fn largest_level(ipa: u64, pa: u64, left: u64) -> u32 {
    for level in ROOT_LEVEL..LEAF_LEVEL {
        let size = level_bytes(level);
        if (ipa | pa) & (size - 1) == 0 && left >= size {
            return level;
        }
    }
    LEAF_LEVEL
}

fn check_range(ipa: Ipa, bytes: u64) -> Result<u64, MapError> {
    if !ipa.is_aligned(PAGE_BYTES) || bytes & (PAGE_BYTES - 1) != 0 || bytes == 0 {
        return Err(MapError::Misaligned);
    }
    match ipa.0.checked_add(bytes) {
        Some(end) if end <= IPA_END => Ok(end),
        _ => Err(MapError::OutOfRange),
    }
}
