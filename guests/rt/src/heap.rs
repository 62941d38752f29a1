//! A bump allocator over a fixed arena, for the few boxes that drivers make at start; nothing is ever given back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The console driver's page-sized boxes, with room.
const ARENA: usize = 64 * 1024;

#[repr(C, align(4096))]
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: `alloc` gives every byte out at most once, by an atomic bump.
unsafe impl Sync for Bump {}

// SAFETY: blocks lie in the arena, are aligned as asked, and never overlap, for `used` only grows.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.arena.get() as usize;
        let claim = |used: usize| {
            let start = (base + used).checked_next_multiple_of(layout.align())? - base;
            let end = start.checked_add(layout.size())?;
            (end <= ARENA).then_some((start, end))
        };
        let mut used = self.used.load(Ordering::Relaxed);
        while let Some((start, end)) = claim(used) {
            match self
                .used
                .compare_exchange_weak(used, end, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return (base + start) as *mut u8,
                Err(now) => used = now,
            }
        }
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump {
    arena: UnsafeCell::new([0; ARENA]),
    used: AtomicUsize::new(0),
};
