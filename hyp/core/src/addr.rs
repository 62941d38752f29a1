//! Addresses as distinct types, so that an intermediate physical address never stands where a physical one is meant.

/// Bytes of the smallest page (4 KiB granule).
pub const PAGE_BYTES: u64 = 4096;

/// An intermediate physical address: what a guest believes to be physical. Any value; validity is checked where it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ipa(pub u64);

/// A physical address of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Pa(pub u64);

impl Ipa {
    /// `self + bytes`, or `None` on wrap-around.
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// True if a multiple of `align`, a power of two.
    #[inline]
    pub const fn is_aligned(self, align: u64) -> bool {
        self.0 & (align - 1) == 0
    }
}

impl Pa {
    /// `self + bytes`, or `None` on wrap-around.
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }

    /// True if a multiple of `align`, a power of two.
    #[inline]
    pub const fn is_aligned(self, align: u64) -> bool {
        self.0 & (align - 1) == 0
    }
}
