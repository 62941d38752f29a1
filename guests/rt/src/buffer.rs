//! Memory that hypercalls and devices may write behind the compiler's back.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A page-aligned buffer of `N` bytes to be shared with the hypervisor, for a `static`.
#[repr(C, align(4096))]
pub struct Buffer<const N: usize> {
    bytes: UnsafeCell<[u8; N]>,
    taken: AtomicBool,
}

// SAFETY: the bytes are reached only through the one `Shared` that `take` gives out.
unsafe impl<const N: usize> Sync for Buffer<N> {}

/// The right to use a [`Buffer`].
pub struct Shared {
    start: *mut u8,
    len: usize,
}

impl<const N: usize> Buffer<N> {
    /// A zeroed buffer.
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; N]),
            taken: AtomicBool::new(false),
        }
    }

    /// Takes the buffer for good.
    ///
    /// # Panics
    /// If it is taken already.
    pub fn take(&'static self) -> Shared {
        assert!(!self.taken.swap(true, Ordering::AcqRel), "buffer taken twice");
        Shared {
            start: self.bytes.get().cast(),
            len: N,
        }
    }
}

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// IPA of the buffer (the mapping is one to one).
    pub fn ipa(&self) -> u64 {
        self.start as u64
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes as they are now.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is a static that only this value reaches; hypercalls write it only while they run, and
        // the asm block of `hvc::raw` counts as a write to all memory that has escaped.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }
}
