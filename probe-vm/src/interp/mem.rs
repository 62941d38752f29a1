//! The address space a program sees in the interpreter.
//!
//! Addresses are made up, so no pointer of the host is ever formed: region `n` starts at `(n + 1) << 32`,
//! and an access that does not lie wholly inside one region faults. All values are little-endian, as the
//! programs' target is.

use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Size {
    B = 1,
    H = 2,
    W = 4,
    X = 8,
}

/// What the interpreter reads and writes.
pub trait Memory {
    /// The zero-extended little-endian value at `addr`; `None` where any byte of it is not readable.
    fn load(&self, addr: u64, size: Size) -> Option<u64>;
    /// Stores the low bytes of `value`; `None` (and no effect) where any byte is not writable.
    fn store(&mut self, addr: u64, size: Size, value: u64) -> Option<()>;
}

/// What stands behind one region.
#[derive(Debug)]
pub enum Backing<'a> {
    /// Ordinary memory.
    Bytes(&'a mut [u8]),
    /// Readable only (a context).
    Const(&'a [u8]),
    /// Map storage. Accesses must not cross a word, as naturally aligned ones never do.
    Words(&'a [AtomicU64]),
}

/// Regions in an address space: context, stack, packet or test memory, and maps.
pub const REGIONS_MAX: usize = 20;

const REGION_SHIFT: u32 = 32;

/// Up to [`REGIONS_MAX`] regions at made-up addresses.
#[derive(Debug)]
pub struct Space<'a> {
    regions: [Backing<'a>; REGIONS_MAX],
    used: usize,
}

impl Default for Space<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Space<'a> {
    /// An empty space: every access faults.
    pub fn new() -> Self {
        Space {
            regions: [const { Backing::Const(&[]) }; REGIONS_MAX],
            used: 0,
        }
    }

    /// Adds a region and returns its first address; `None` where [`REGIONS_MAX`] are in use.
    pub fn add(&mut self, backing: Backing<'a>) -> Option<u64> {
        let index = self.used;
        *self.regions.get_mut(index)? = backing;
        self.used = index + 1;
        Some((index as u64 + 1) << REGION_SHIFT)
    }

    /// The region `addr` lies in, by its number (order of [`Space::add`]), and the offset there.
    pub fn locate(addr: u64) -> Option<(usize, usize)> {
        let index = (addr >> REGION_SHIFT).checked_sub(1)?;
        Some((index as usize, (addr & 0xffff_ffff) as usize))
    }

    /// The backing of region `index`.
    pub fn region(&self, index: usize) -> Option<&Backing<'a>> {
        self.regions.get(index)
    }
}

/// Away from the end, one 8-byte load serves every size.
#[inline(always)]
fn load_bytes(bytes: &[u8], at: usize, size: Size) -> Option<u64> {
    match bytes.get(at..).and_then(|b| b.first_chunk()) {
        Some(chunk) => Some(u64::from_le_bytes(*chunk) & low_mask(size)),
        None => load_last_bytes(bytes, at, size),
    }
}

fn load_last_bytes(bytes: &[u8], at: usize, size: Size) -> Option<u64> {
    let mut value = 0;
    for (i, byte) in bytes.get(at..at + size as usize)?.iter().enumerate() {
        value |= (*byte as u64) << (8 * i);
    }
    Some(value)
}

#[inline(always)]
fn store_bytes(bytes: &mut [u8], at: usize, size: Size, value: u64) -> Option<()> {
    let mask = low_mask(size);
    match bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
        Some(chunk) => {
            *chunk = (u64::from_le_bytes(*chunk) & !mask | value & mask).to_le_bytes();
            Some(())
        }
        None => store_last_bytes(bytes, at, size, value),
    }
}

fn store_last_bytes(bytes: &mut [u8], at: usize, size: Size, value: u64) -> Option<()> {
    let low = value.to_le_bytes();
    let place = bytes.get_mut(at..at + size as usize)?;
    place.iter_mut().zip(low).for_each(|(byte, new)| *byte = new);
    Some(())
}

/// The word and the bit position of an access that does not cross a word.
fn word(words: &[AtomicU64], at: usize, size: Size) -> Option<(&AtomicU64, u32)> {
    let within = at % 8;
    if within + size as usize > 8 {
        return None;
    }
    Some((words.get(at / 8)?, within as u32 * 8))
}

fn low_mask(size: Size) -> u64 {
    u64::MAX >> (64 - 8 * size as u32)
}

impl Memory for Space<'_> {
    #[inline]
    fn load(&self, addr: u64, size: Size) -> Option<u64> {
        let (index, at) = Self::locate(addr)?;
        match self.regions.get(index)? {
            Backing::Bytes(bytes) => load_bytes(bytes, at, size),
            Backing::Const(bytes) => load_bytes(bytes, at, size),
            Backing::Words(words) => {
                let (word, shift) = word(words, at, size)?;
                Some(word.load(Ordering::Relaxed) >> shift & low_mask(size))
            }
        }
    }

    #[inline]
    fn store(&mut self, addr: u64, size: Size, value: u64) -> Option<()> {
        let (index, at) = Self::locate(addr)?;
        match self.regions.get_mut(index)? {
            Backing::Bytes(bytes) => store_bytes(bytes, at, size, value),
            Backing::Const(_) => None,
            Backing::Words(words) => {
                let (word, shift) = word(words, at, size)?;
                let mask = low_mask(size) << shift;
                let new = word.load(Ordering::Relaxed) & !mask | value << shift & mask;
                word.store(new, Ordering::Relaxed);
                Some(())
            }
        }
    }
}
