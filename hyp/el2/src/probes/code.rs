//! Code memory: written at one address, read and executed at another, never both at one.

use core::cell::UnsafeCell;
use core::num::NonZeroU64;

use hyp_core::probe::{CodeMemory, RunProbe};

use crate::{image, mmu};

/// Words of code memory.
pub const CODE_WORDS: usize = 64 * 1024;
const PAGE_WORDS: u32 = 1024;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u32; CODE_WORDS]>);
// SAFETY: 1. Nothing ever makes a reference to it: it is reached by mapped aliases only.
unsafe impl Sync for Memory {}
#[unsafe(link_section = ".probe_code")]
#[used]
static MEMORY: Memory = Memory(UnsafeCell::new([0; CODE_WORDS]));

/// Entry of published code. Only [`Pages::publish`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Code(NonZeroU64);

impl RunProbe for Code {
    #[inline(always)]
    fn run(self, context: &[u8]) -> u64 {
        // SAFETY: 1. The address is the entry of code that the JIT made of a verified program, published and not taken back
        // while it is armed. 2. Such code keeps the AAPCS64 contract of this signature and reads only the context, its
        // stack, its maps and through helpers.
        let entry = unsafe { core::mem::transmute::<u64, extern "C" fn(*const u8) -> u64>(self.0.get()) };
        entry(context.as_ptr())
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

    fn publish(&mut self, at: u32, words: u32) -> Option<Code> {
        let end = at.checked_add(words)?;
        if words == 0 || end as usize > CODE_WORDS {
            return None;
        }
        let start = image::code_start();
        mmu::end_code_alias(at as usize, words as usize);
        for page in at / PAGE_WORDS..end.div_ceil(PAGE_WORDS) {
            mmu::publish_page(start + u64::from(page * PAGE_WORDS) * 4);
        }
        mmu::code_published();
        NonZeroU64::new(start + u64::from(at) * 4).map(Code)
    }
}
