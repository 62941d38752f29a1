#![no_std]
#![no_main]
#![forbid(unsafe_code)]
//! Measures what a guest sees of the hypervisor, in instructions (run it under `-icount shift=0`).
//!
//! Boot arguments: `rounds=N` per measurement; `chan=N` a channel end to a `pingpong role=server` VM of higher
//! priority, without which the IPC rows are left out; `probes` measures again with an empty and with a counting probe.
//! `ipi` measures interrupts from vCPU 0 to vCPU 1 as well; `suffix=@TEXT` ends the rows' names.
//! `points` measures firings instead, and needs the right to see every VM; `verify` measures the steps of proofs.
//! Every result is one line `@row {"name", "value", "unit", "min", "max"}`: `value` is the mean.

mod fire;
mod one_shot;
mod paths;
mod probes;
mod row;
mod steady;
mod storm;
mod verify;

use rt::{gic, hvc, platform, println};

rt::entry!(main);

/// SGI of the self-SGI measurement.
const SGI: u32 = 5;

fn main() {
    let options = platform::get();
    let rounds = options.number("rounds").unwrap_or(1024).clamp(1, 1 << 20);
    gic::init();
    if let Some(milliseconds) = paths::asked() {
        paths::run(milliseconds);
        println!("PASS paths");
        return;
    }
    gic::enable(SGI);
    gic::enable(rt::timer::INTID);
    if options.option("points").is_some() {
        fire::run();
        println!("PASS bench");
        return;
    }
    if options.option("verify").is_some() {
        verify::run();
        println!("PASS bench");
        return;
    }
    let channel = options.number("chan").filter(|_| hvc::present());
    let suffix = options.option("suffix").unwrap_or_default();
    run(suffix, rounds, channel);
    if options.option("probes").is_some() {
        for probe in probes::Probe::ALL {
            match probes::attach(probe) {
                Ok(attached) => {
                    run(probe.suffix(), rounds, channel);
                    attached.detach();
                }
                // The rows that are missing then are named by whoever asked for them.
                Err(refused) => println!(
                    "@note {{\"text\":\"no rows with a probe ({probe:?}): {:?}\"}}",
                    refused.status
                ),
            }
        }
    }
    if options.option("ipi").is_some() {
        one_shot::ipi(suffix, rounds);
    }
    if let Some(channel) = channel {
        steady::stop_server(channel);
    }
    println!("PASS bench");
}

fn run(suffix: &str, rounds: u64, channel: Option<u64>) {
    steady::run(suffix, rounds);
    one_shot::run(suffix, rounds);
    if let Some(channel) = channel {
        steady::ipc(suffix, rounds, channel);
        one_shot::notification(suffix, rounds, channel);
    }
}
