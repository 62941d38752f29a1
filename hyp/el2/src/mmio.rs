//! Accesses to device registers.

macro_rules! accessors {
    ($($(#[$m:meta])* $read:ident, $write:ident, $load:literal, $store:literal, $ty:ty;)*) => { $(
        $(#[$m])*
        #[inline(always)]
        pub fn $read(address: u64) -> $ty {
            let v: $ty;
            // SAFETY: 1. Callers name registers of devices that `board` lists, mapped Device-nGnRE; reading them
            // changes nothing but the device. 2. One load of the register's width, as the device wants.
            unsafe { core::arch::asm!($load, in("x1") address, out("x0") v, options(nostack, preserves_flags)) };
            v
        }
        $(#[$m])*
        #[inline(always)]
        pub fn $write(address: u64, value: $ty) {
            // SAFETY: 1. As for the read; GIC and PL011 registers never make the device write to memory
            // (EL2 enables no LPIs).
            unsafe { core::arch::asm!($store, in("x1") address, in("x0") value, options(nostack, preserves_flags)) };
        }
    )* };
}

accessors! {
    /// 32-bit device register.
    read32, write32, "ldr w0, [x1]", "str w0, [x1]", u32;
    #[allow(dead_code, reason = "the pair is declared together")]
    /// 64-bit device register.
    read64, write64, "ldr x0, [x1]", "str x0, [x1]", u64;
}
