#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! A guest that wants to break things: every hypercall with bad arguments, calls that do not exist, PSCI abuse, programs
//! of random bytes, any register of the emulated devices at any width, forged console framing.
//!
//! It counts as passed when every call came back with a status and the VM still works; that nobody else noticed is for
//! the run to say. Boot arguments: `seed=N` (1), `count=N` random actions (2000), `end=wild` to finish with an
//! access to `address=N` (beyond RAM), which must stop the VM.

mod calls;
mod devices;
mod loads;
mod power;
mod tally;
mod values;

use rt::access::{self, Width};
use rt::rng::Rng;
use rt::{console, exit, gic, platform, println, psci};

use tally::Tally;
use values::Values;

rt::entry!(main);

/// Words of spare RAM that must survive, and their distance. They lie above what hypercalls may write.
const CANARIES: usize = 64;
const CANARY: u64 = 0xca4a_12ca_4a12_ca4a;

fn main() {
    let options = platform::get();
    let seed = options.number("seed").unwrap_or(1);
    let count = options.number("count").unwrap_or(2000);
    gic::init();
    let mut values = Values::new(seed);
    let mut tally = Tally::new();
    plant(&values);
    calls::systematic(&mut values, &mut tally);
    power::systematic(&mut tally);
    devices::forge_console(&mut tally);
    let mut rng = Rng::new(seed);
    let mut loader = loads::Loader::new();
    for _ in 0..count {
        match rng.below(16) {
            0..5 => calls::random(&mut values, &mut tally),
            5..12 => devices::random(&mut rng, &mut tally),
            12 | 13 => power::random(&mut rng, &mut tally),
            _ => loader.random(&mut rng, &mut values, &mut tally),
        }
    }
    // Some of those accesses turned the console off.
    console::init();
    alive(&values);
    tally.print(seed);
    if options.option("end") == Some("wild") {
        wild();
    }
    exit::pass("hostile");
}

fn plant(values: &Values) {
    for address in values.canaries(CANARIES) {
        if let Err(fault) = access::try_write(address, Width::Double, CANARY ^ address as u64) {
            exit::fail("hostile", format_args!("canary: {fault:?}"));
        }
    }
}

/// The VM works as before.
fn alive(values: &Values) {
    let version = psci::version();
    if version >> 16 != 1 {
        exit::fail("hostile", format_args!("PSCI version {version:#x} after all that"));
    }
    for address in values.canaries(CANARIES) {
        let got = access::try_read(address, Width::Double);
        if got != Ok(CANARY ^ address as u64) {
            exit::fail("hostile", format_args!("canary at {address:#x}: {got:x?}"));
        }
    }
}

fn wild() -> ! {
    let (ram, size) = platform::get().ram;
    let address = platform::get().number("address").unwrap_or((ram + size) as u64) as usize;
    println!("hostile: reading {address:#x}");
    let outcome = access::try_read(address, Width::Double);
    exit::fail("hostile", format_args!("still alive after {address:#x}: {outcome:?}"))
}
