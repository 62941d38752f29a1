//! System registers as values: one line declares a register beside its owner.
//!
//! `sysreg!(NAME, "register_el2", r|rw)` makes a module-private type with `read` and, for `rw`, `write`. Reading a
//! register listed here has no side effect. Writing one can change what the CPU may do, so the *set* of written
//! registers is what the soundness argument of docs/SAFETY.md walks through; each is declared `rw` in one file only.

/// Declares system registers: `sysreg! { pub ESR = "esr_el2", r; HCR = "hcr_el2", rw; }`.
macro_rules! sysreg {
    ($($(#[$m:meta])* $vis:vis $name:ident = $reg:literal, $mode:ident;)*) => { $(
        $(#[$m])*
        #[allow(non_camel_case_types, missing_docs, dead_code, clippy::upper_case_acronyms)]
        $vis struct $name;
        $crate::reg::sysreg!(@ $name, $reg, $mode);
    )* };
    (@ $name:ident, $reg:literal, r) => { $crate::reg::sysreg!(@read $name, $reg); };
    (@ $name:ident, $reg:literal, w) => { $crate::reg::sysreg!(@write $name, $reg); };
    (@ $name:ident, $reg:literal, rw) => {
        $crate::reg::sysreg!(@read $name, $reg);
        $crate::reg::sysreg!(@write $name, $reg);
    };
    (@read $name:ident, $reg:literal) => {
        #[allow(dead_code)]
        impl $name {
            #[inline(always)]
            #[doc = concat!("Reads ", $reg, ".")]
            pub fn read() -> u64 {
                let v: u64;
                // SAFETY: 1. MRS of a register readable at EL2; it touches neither memory nor flags.
                unsafe { core::arch::asm!(concat!("mrs {}, ", $reg), out(reg) v, options(nomem, nostack, preserves_flags)) };
                v
            }
        }
    };
    (@write $name:ident, $reg:literal) => {
        #[allow(dead_code)]
        impl $name {
            #[inline(always)]
            #[doc = concat!("Writes ", $reg, ".")]
            pub fn write(v: u64) {
                // SAFETY: 1. MSR of a register owned by the declaring module, which keeps the invariant that EL2's own
                // translation, stack and vectors stay valid. 2. `nomem` is left out: the compiler must not move
                // memory accesses across a write that can change what memory means.
                unsafe { core::arch::asm!(concat!("msr ", $reg, ", {}"), in(reg) v, options(nostack, preserves_flags)) };
            }
        }
    };
}
pub(crate) use sysreg;

/// Declares barriers and maintenance instructions without operands as safe functions.
macro_rules! barrier {
    ($($(#[$m:meta])* $name:ident = $ins:literal;)*) => { $(
        $(#[$m])*
        #[inline(always)]
        pub fn $name() {
            // SAFETY: 1. The instruction orders or completes accesses; it changes no value the compiler knows of.
            unsafe { core::arch::asm!($ins, options(nostack, preserves_flags)) };
        }
    )* };
}

barrier! {
    /// Context synchronisation.
    isb = "isb";
    /// Completes loads and stores of this CPU.
    dsb_sy = "dsb sy";
    /// Completes maintenance in the inner shareable domain.
    dsb_ish = "dsb ish";
    /// Sleeps until an interrupt is pending (also while masked).
    wfi = "wfi";
    /// Drops EL2's own stage-1 translations on every CPU.
    tlbi_alle2 = "tlbi alle2is";
    /// Completes this CPU's stores before those that follow, for the other CPUs.
    dsb_ishst = "dsb ishst";
    /// Drops all stage-1 and stage-2 translations of EL1 and EL0 in the inner shareable domain.
    tlbi_alle1is = "tlbi alle1is";
    /// Drops the instruction caches of the inner shareable domain.
    ic_ialluis = "ic ialluis";
}
