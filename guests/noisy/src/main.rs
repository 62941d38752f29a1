#![no_std]
#![no_main]
//! Placeholder until its owner lands it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
