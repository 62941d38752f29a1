//! What happened.

use core::fmt;

use hyp_abi::Status;
use rt::println;

/// Statuses are 0 down to -17; the last slot is for what is none.
const STATUSES: usize = 24;

/// Counts.
#[derive(Default)]
pub struct Tally {
    /// Gnomon's own hypercalls.
    pub hypercalls: u64,
    /// Calls that do not exist.
    pub unknown: u64,
    /// PSCI calls.
    pub psci: u64,
    /// Device accesses.
    pub accesses: u64,
    /// Device accesses that faulted at EL1 (alignment).
    pub faults: u64,
    /// Program images staged.
    pub loads: u64,
    /// Of them, verified: random programs can be right.
    pub accepted: u64,
    statuses: [u64; STATUSES],
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the status of a hypercall.
    pub fn status(&mut self, status: Status) {
        let index = (status as i64).unsigned_abs() as usize;
        if let Some(slot) = self.statuses.get_mut(index) {
            *slot += 1;
        }
    }

    /// Prints the line.
    pub fn print(&self, seed: u64) {
        println!(
            "@hostile {{\"seed\":{seed},\"hypercalls\":{},\"unknown\":{},\"psci\":{},\"accesses\":{},\"faults\":{},\
             \"loads\":{},\"accepted\":{},\"statuses\":{}}}",
            self.hypercalls,
            self.unknown,
            self.psci,
            self.accesses,
            self.faults,
            self.loads,
            self.accepted,
            Statuses(&self.statuses)
        );
    }
}

struct Statuses<'a>(&'a [u64; STATUSES]);

impl fmt::Display for Statuses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut separator = "";
        for (status, count) in Status::ALL.iter().zip(self.0).filter(|(_, count)| **count > 0) {
            write!(f, "{separator}\"{status:?}\":{count}")?;
            separator = ",";
        }
        f.write_str("}")
    }
}
