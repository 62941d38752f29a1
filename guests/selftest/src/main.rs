#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! On-target tests, one a boot: `test=NAME` chooses, the last line is `PASS NAME` or `FAIL NAME: why`.
//!
//! `boot`, `vgic`, `lines`, `timer`, `pmu` and `echo` hold on the bare machine as well, which keeps the tests honest: they say what
//! the platform is, not what the hypervisor happens to do. The others need Gnomon, and most a partner VM (`role=`).

mod boot;
mod conform;
mod echo;
mod faults;
mod fpsimd;
mod ipc;
mod isolation;
mod jit;
mod lines;
mod pmu;
mod probe;
mod probe_points;
mod several;
mod shield;
mod sysregs;
mod timer;
mod vgic;

use rt::platform;

rt::entry!(main);

/// Ends the test as failed unless the condition holds.
#[macro_export]
macro_rules! expect {
    ($condition:expr, $($why:tt)*) => {
        if !$condition {
            $crate::failed(format_args!($($why)*));
        }
    };
}

fn name() -> &'static str {
    platform::get().option("test").unwrap_or("selftest")
}

/// Ends the test as failed.
pub fn failed(why: core::fmt::Arguments) -> ! {
    rt::exit::fail(name(), why)
}

/// The value, or the end of the test.
pub fn need<T, E: core::fmt::Debug>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => failed(format_args!("{what}: {error:?}")),
    }
}

fn main() {
    match name() {
        "boot" => boot::run(),
        "vgic" => vgic::run(),
        "lines" => lines::run(),
        "timer" => timer::run(),
        "pmu" => pmu::run(),
        "sysregs" => sysregs::run(),
        "echo" => echo::run(),
        "fpsimd" => fpsimd::run(),
        "ipc" => ipc::run(),
        "stage2" => probe_points::stage2(),
        "jit" => jit::run(),
        "conform" => conform::run(),
        "isolation" => isolation::run(),
        "fault" => faults::run(),
        "probe" => probe::run(),
        "points" => probe_points::run(),
        "several" if platform::get().option("role") == Some("worker") => several::worker(),
        "several" => several::observer(),
        "shield" => shield::run(),
        "denied" => probe::denied(),
        other => failed(format_args!("no such test: {other}")),
    }
    rt::exit::pass(name())
}
