//! Entry from the loader: EL1h, MMU off, DAIF masked, device tree address in x0 (the Linux boot state).

use core::arch::global_asm;

use crate::{exceptions, exit, mmu, platform};

global_asm!(
    ".section .text.boot, \"ax\"",
    ".global _start",
    "_start:",
    "    msr  daifset, #0xf",
    "    mov  x19, x0",
    "    adrp x1, __stack_top",
    "    add  x1, x1, :lo12:__stack_top",
    "    mov  sp, x1",
    "    adrp x1, __bss_start",
    "    add  x1, x1, :lo12:__bss_start",
    "    adrp x2, __bss_end",
    "    add  x2, x2, :lo12:__bss_end",
    "1:  cmp  x1, x2",
    "    b.hs 2f",
    "    stp  xzr, xzr, [x1], #16",
    "    b    1b",
    "2:  mov  x0, x19",
    "    bl   {start}",
    "    b    .",
    start = sym rust_start,
);

unsafe extern "Rust" {
    /// The guest's `main`, defined by [`crate::entry!`].
    safe fn guest_main();
}

extern "C" fn rust_start(dtb: usize) -> ! {
    exceptions::install();
    mmu::init();
    platform::init(dtb);
    guest_main();
    exit::success()
}

/// Names the guest's `fn()` main function.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "Rust" fn guest_main() {
                let main: fn() = $main;
                main()
            }
        };
    };
}
