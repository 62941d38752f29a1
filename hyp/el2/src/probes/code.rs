//! Code memory: written at one address, read and executed at another, never both at one.

use core::cell::UnsafeCell;
use core::num::NonZeroU64;

use hyp_core::probe::{CodeMemory, MapSlot, ProbeCode};

use super::fire::CHAINS_WORDS;
use super::store;
use crate::{image, mmu};

/// Words of code memory, chains' included.
const WORDS: usize = 64 * 1024;
/// First word of the chains of points, on a page of their own.
pub const CHAINS_AT: usize = WORDS - CHAINS_WORDS.next_multiple_of(PAGE_WORDS);
/// Words of code memory for programs.
pub const CODE_WORDS: usize = CHAINS_AT;
const PAGE_WORDS: usize = 1024;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u32; WORDS]>);
// SAFETY: 1. Nothing ever makes a reference to it: it is reached by mapped aliases only.
unsafe impl Sync for Memory {}
#[unsafe(link_section = ".probe_code")]
#[used]
static MEMORY: Memory = Memory(UnsafeCell::new([0; WORDS]));

/// Entry of published code. Only [`Pages::publish`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Code(NonZeroU64);

impl ProbeCode for Code {}

impl Code {
    /// Its address.
    pub fn entry(self) -> u64 {
        self.0.get()
    }
}

/// The code memory of the system.
pub struct Pages;

impl CodeMemory for Pages {
    type Code = Code;

    fn writable(&mut self, at: u32, words: u32) -> Option<&mut [u32]> {
        let end = at.checked_add(words)?;
        if end as usize > CODE_WORDS {
            return None;
        }
        mmu::code_alias(at as usize, words as usize)
    }

    fn name_map(&mut self, handle: u64, map: &MapSlot) {
        store::name(handle, map);
    }

    fn publish(&mut self, at: u32, words: u32) -> Option<Code> {
        let end = at.checked_add(words)?;
        if words == 0 || end as usize > CODE_WORDS {
            return None;
        }
        mmu::end_code_alias(at as usize, words as usize);
        publish(at as usize, words as usize);
        NonZeroU64::new(image::code_start() + u64::from(at) * 4).map(Code)
    }
}

/// Makes the pages of `words` words from `at` executable.
pub fn publish(at: usize, words: usize) {
    for page in at / PAGE_WORDS..(at + words).div_ceil(PAGE_WORDS) {
        mmu::publish_page(image::code_start() + (page * PAGE_WORDS) as u64 * 4);
    }
    mmu::code_published();
}
