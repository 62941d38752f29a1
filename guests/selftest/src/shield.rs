//! Whether messages of other CPUs interrupt a VM that declares a period. The `busy` VM runs most of the time; the `asking`
//! VM's second vCPU lives on the same CPU, and its first one reads a register there, which takes a message and its answer.

use rt::gic::reg::{ISPENDR, SGI_BASE};
use rt::gic::{self, GICR};
use rt::{cpu, platform, println, timer};

use crate::expect;

/// From one vCPU's redistributor to the next.
const NEXT_REDISTRIBUTOR: usize = 0x2_0000;
/// Microseconds that `busy` runs before it sleeps, and that it sleeps.
const RUNS: u64 = 2000;
const SLEEPS: u64 = 500;
/// Rounds of `busy`; `asking` ends before.
const ROUNDS: u32 = 20;
const ASKS: u64 = RUNS * 10;

fn ticks(us: u64) -> u64 {
    us * timer::frequency() / 1_000_000
}

pub fn run() {
    gic::init();
    gic::enable(timer::INTID);
    match platform::get().option("role") {
        Some("busy") => busy(),
        _ => ask(),
    }
}

fn busy() {
    for _ in 0..ROUNDS {
        let end = timer::now() + ticks(RUNS);
        while timer::now() < end {
            cpu::relax();
        }
        timer::sleep_until(end + ticks(SLEEPS));
    }
}

/// The longest answer takes at least, or at most, so many microseconds.
fn ask() {
    let end = timer::now() + ticks(ASKS);
    let (mut longest, mut answers) = (0, 0_u32);
    while timer::now() < end {
        let begin = timer::now();
        let _ = GICR.read32(NEXT_REDISTRIBUTOR + SGI_BASE + ISPENDR);
        longest = longest.max(timer::now() - begin);
        answers += 1;
        cpu::relax();
    }
    let us = longest * timer::tick_ns() / 1000;
    println!("{answers} answers, the longest after {us} us");
    let limit = |key| platform::get().number(key);
    expect!(limit("least").is_none_or(|least| us >= least), "{us} us are too few");
    expect!(limit("most").is_none_or(|most| us <= most), "{us} us are too many");
    expect!(answers > 10, "{answers} answers");
}
