//! Ends of a guest: the VM stops with a status that `gnomon run` turns into its own.

use hyp_abi::Call;

use crate::{cpu, hvc, println, psci};

/// The guest panicked.
pub const CODE_PANIC: u64 = 101;
/// An exception nobody expected.
pub const CODE_EXCEPTION: u64 = 102;
/// A test failed.
pub const CODE_TEST: u64 = 1;

/// Stops the VM as successful.
pub fn success() -> ! {
    end(0)
}

/// Stops the VM with a status other than 0.
pub fn failure(code: u64) -> ! {
    end(code)
}

fn end(code: u64) -> ! {
    cpu::irq_off();
    // Without Gnomon below, the call returns (or is unknown), and PSCI is the way out.
    hvc::raw([Call::VmExit.fid(), code, 0, 0, 0, 0, 0, 0]);
    psci::system_off()
}

/// Ends a test: `PASS name` as the last line.
pub fn pass(name: &str) -> ! {
    println!("PASS {name}");
    success()
}

/// Ends a test: `FAIL name: why` as the last line.
pub fn fail(name: &str, why: core::fmt::Arguments) -> ! {
    println!("FAIL {name}: {why}");
    failure(CODE_TEST)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    println!("guest panic: {info}");
    failure(CODE_PANIC)
}
