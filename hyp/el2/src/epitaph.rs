//! The end of EL2 after a fault of its own: a record on the hypervisor stream, the log, power off.
//!
//! Nothing a guest does may lead here. It runs on what is left of the CPU's stack and waits for the UART, as there is
//! nothing else to do any more.

use core::panic::PanicInfo;

use hyp_abi::record::{Epitaph, StreamKind};

use crate::reg::sysreg;
use crate::uart::Uart;

sysreg! {
    ESR = "esr_el2", r;
    FAR = "far_el2", r;
    ELR = "elr_el2", r;
}

/// Epitaph kind: an exception at EL2.
const EXCEPTION: u32 = 0;
/// Epitaph kind: a Rust panic.
const PANIC: u32 = 1;

fn write(epitaph: &Epitaph) -> ! {
    let mut uart = Uart::new();
    let mut bytes = [0; Epitaph::SIZE];
    epitaph.write(&mut bytes);
    uart.record(StreamKind::Epitaph, &bytes);
    uart.flush();
    crate::log::dump(&mut uart);
    uart.flush();
    crate::power::off()
}

/// Entered from the vectors with a fresh stack: `vector` is the entry's index, `sp` the stack pointer at the fault.
pub extern "C" fn exception(vector: u64, sp: u64) -> ! {
    write(&Epitaph {
        kind: EXCEPTION,
        line: vector as u32,
        esr: ESR::read(),
        far: FAR::read(),
        elr: ELR::read(),
        sp,
    })
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let line = info.location().map_or(0, |at| at.line());
    let file = info.location().map_or(0, |at| at.file().as_ptr().addr() as u64);
    write(&Epitaph {
        kind: PANIC,
        line,
        esr: 0,
        far: 0,
        elr: file,
        sp: 0,
    })
}
