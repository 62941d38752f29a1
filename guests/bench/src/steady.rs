//! Round trips: long loops against the same loops without their subject.

use hyp_abi::Call;
use rt::gic::{GICD, reg};
use rt::measure::{self, SWEEP};
use rt::{hvc, println, psci};

use crate::row::Row;

/// Batches per row: min and max over them show that the value is steady.
const BATCHES: u64 = 16;

/// First word of a message that tells the server to stop.
pub const STOP: u64 = 2;

fn batches(rounds: u64, full: impl Fn(u64) -> u64, empty: impl Fn(u64) -> u64) -> Row {
    let mut row = Row::new();
    full(rounds); // warm: translation and first-use paths
    for _ in 0..BATCHES {
        let ticks = full(rounds).saturating_sub(empty(rounds));
        row.add(ticks * SWEEP * 100 / rounds);
    }
    row
}

/// Calls of one function.
pub fn hypercalls(rounds: u64, function: u64) -> Row {
    batches(
        rounds,
        |n| measure::hypercalls(n, function, 0),
        measure::hypercalls_empty,
    )
}

/// PSCI_VERSION, trapped reads and writes of the distributor, the console's status.
pub fn run(suffix: &str, rounds: u64) {
    hypercalls(rounds, psci::id::PSCI_VERSION).print("psci_version", suffix, 0);
    if hvc::present() {
        hypercalls(rounds, Call::Version.fid()).print("hypercall_version", suffix, 0);
    }
    let typer = GICD.address(reg::TYPER);
    batches(rounds, |n| measure::reads(n, typer), measure::accesses_empty).print("gicd_typer_read", suffix, 0);
    // Setting no bit is the common case of the register's cost: the decode and the write, no new interrupt.
    let enable = GICD.address(reg::ISENABLER + 4);
    batches(rounds, |n| measure::writes(n, enable, 0), measure::accesses_empty).print(
        "gicd_isenabler_write",
        suffix,
        0,
    );
    let uart = 0x0900_0018;
    batches(rounds, |n| measure::reads(n, uart), measure::accesses_empty).print("uart_status_read", suffix, 0);
}

/// Call and reply between two VMs, the server's own loop included.
pub fn ipc(suffix: &str, rounds: u64, channel: u64) {
    if let Err(refused) = hvc::ipc_call(channel, [0; 6]) {
        println!("@note {{\"text\":\"no IPC rows: {:?}\"}}", refused.status);
        return;
    }
    batches(rounds, |n| measure::ipc_calls(n, channel), measure::ipc_calls_empty).print("ipc_call_reply", suffix, 0);
}

/// Ends the server.
pub fn stop_server(channel: u64) {
    if let Err(refused) = hvc::ipc_call(channel, [STOP, 0, 0, 0, 0, 0]) {
        println!("@note {{\"text\":\"server did not stop: {:?}\"}}", refused.status);
    }
}
