//! Latencies from a cause to the first instruction of its handler.

use rt::measure::{self, SWEEP, Shot};
use rt::rng::Rng;
use rt::second::{self, Wait};
use rt::{exit, hvc, timer};

use crate::row::Row;
use crate::{SGI, steady};

/// The reading is one instruction (the branch into the sled) behind the handler's first.
const READING: u64 = 1;
/// Besides the trapped instruction and the exits there is the one that gives vCPU 1's CPU its turn.
const TURN: u64 = 1;
/// First word of a message that asks the server to wait for a notification, and for the stamp of the last one.
const ARM: u64 = 1;
/// Seed of the start phases.
const SEED: u64 = 0x6e6f_6d6f_6e31;

fn check(shot: Shot, intid: u32) -> u64 {
    if shot.intid != intid {
        exit::fail("bench", format_args!("interrupt {} instead of {intid}", shot.intid));
    }
    shot.ticks
}

/// A full sweep gives the latency in instructions, exactly.
fn sweep(rounds: u64, shot: impl Fn(u64) -> Shot, intid: u32) -> Row {
    let mut row = Row::new();
    check(shot(0), intid);
    for _ in 0..rounds.div_ceil(SWEEP).min(64) {
        let sum: u64 = (0..SWEEP).map(|nops| check(shot(nops), intid)).sum();
        row.add(sum * 100);
    }
    row
}

/// Readings start at random phases of the count: the mean over many is the latency, within a tenth of an instruction.
fn averaged(rounds: u64, mut shot: impl FnMut(u64) -> u64) -> Row {
    let mut row = Row::new();
    let mut rng = Rng::new(SEED);
    shot(0);
    for _ in 0..rounds.max(4096) {
        let ticks = shot(rng.below(SWEEP));
        row.add(ticks * SWEEP * 100);
    }
    row
}

/// Self-SGI, and the virtual timer spinning and through WFI.
pub fn run(suffix: &str, rounds: u64) {
    averaged(rounds, |shift| check(measure::self_sgi(SGI, shift), SGI)).print("self_sgi_to_handler", suffix, READING);
    sweep(rounds, measure::timer_spinning, timer::INTID).print("vtimer_to_handler", suffix, READING);
    sweep(rounds, measure::timer_wfi, timer::INTID).print("vtimer_to_handler_wfi", suffix, READING);
}

/// SGI from vCPU 0 to vCPU 1 on another CPU: what both CPUs execute until the handler's first instruction.
pub fn ipi(suffix: &str, rounds: u64) {
    if !second::start(SGI) {
        exit::fail("bench", format_args!("vCPU 1 does not start"));
    }
    let shoot = |wait, shift| match second::shoot(SGI, wait, shift) {
        Some(ticks) => ticks,
        None => exit::fail("bench", format_args!("vCPU 1 was not interrupted")),
    };
    for (wait, name) in [(Wait::Spinning, "ipi_to_handler"), (Wait::Wfi, "ipi_to_handler_wfi")] {
        averaged(rounds, |shift| shoot(wait, shift)).print(name, suffix, TURN);
    }
}

/// Notify to the first instruction of the handler in another VM of higher priority, which waits in WFI. All VMs see
/// the same virtual count, so that the two stamps compare.
pub fn notification(suffix: &str, rounds: u64, channel: u64) {
    let stamp = |message: u64| match hvc::ipc_call(channel, [message, 0, 0, 0, 0, 0]) {
        Ok(words) => words[1],
        Err(refused) => exit::fail("bench", format_args!("arming the server: {:?}", refused.status)),
    };
    stamp(ARM);
    let row = averaged(rounds, |shift| {
        let (sent, status) = measure::notify_stamp(channel, 1, shift);
        if status != 0 {
            exit::fail("bench", format_args!("notify: {status:#x}"));
        }
        stamp(ARM) - sent
    });
    row.print("notify_to_handler", suffix, READING);
    // Leave the server at its receive: one more notification ends its wait.
    let (_, _) = measure::notify_stamp(channel, 1, 0);
    let _ = steady::STOP;
}
