//! Accesses to device registers.

/// The registers of one device: a frame of `SIZE` bytes, a power of two. An offset counts from its start, modulo `SIZE` and
/// aligned down to the access, so that no access can leave the device.
#[derive(Clone, Copy)]
pub struct Device<const SIZE: u64>(u64);

macro_rules! accessors {
    ($($(#[$m:meta])* $read:ident, $write:ident, $load:literal, $store:literal, $ty:ty;)*) => { $(
        $(#[$m])*
        #[inline(always)]
        pub fn $read(self, offset: u64) -> $ty {
            let address = self.register::<{ size_of::<$ty>() as u64 }>(offset);
            let v: $ty;
            // SAFETY: 1. The address lies in the device; reading changes nothing but it (`at`). 2. One load of the register's
            // width, as the device wants.
            unsafe { core::arch::asm!($load, in("x1") address, out("x0") v, options(nostack, preserves_flags)) };
            v
        }
        $(#[$m])*
        #[inline(always)]
        pub fn $write(self, offset: u64, value: $ty) {
            let address = self.register::<{ size_of::<$ty>() as u64 }>(offset);
            // SAFETY: 1. The address lies in the device, which writes to no memory (`at`).
            unsafe { core::arch::asm!($store, in("x1") address, in("x0") value, options(nostack, preserves_flags)) };
        }
    )* };
}

impl<const SIZE: u64> Device<SIZE> {
    /// The device whose registers begin at `base`.
    ///
    /// # Safety
    ///
    /// `base` and the `SIZE` bytes from it on are registers of one device, mapped Device-nGnRE at EL2 from the MMU's start on,
    /// and no value written to them makes the device write to memory.
    pub const unsafe fn at(base: u64) -> Self {
        const { assert!(SIZE.is_power_of_two() && SIZE >= 8) };
        Self(base)
    }

    #[inline(always)]
    const fn register<const WIDTH: u64>(self, offset: u64) -> u64 {
        self.0 + (offset & (SIZE - WIDTH))
    }

    accessors! {
        /// 32-bit register.
        read32, write32, "ldr w0, [x1]", "str w0, [x1]", u32;
        #[allow(dead_code, reason = "the pair is declared together")]
        /// 64-bit register.
        read64, write64, "ldr x0, [x1]", "str x0, [x1]", u64;
    }
}
