#![no_std]
#![forbid(unsafe_code)]
//! Decides: exit decode, stage 2, vGIC, timers, PSCI, scheduler, IPC, admission, probe life cycle.
//!
//! Nothing here touches a register or a physical address: every decision is a value that `hyp-el2` performs, or goes
//! through a small trait that `hyp-el2` implements (`stage2::TableMem`, `vgic::LrFile`). So every line runs in host tests.
//!
//! Invariants of the whole crate:
//! * nothing a guest can choose reaches an assert, an index out of range or an unbounded loop;
//! * no heap, no recursion, no formatting;
//! * the functions named *hot* in their docs are panic-free in the binary, not only by argument.

#[cfg(test)]
extern crate std;

/// The probes' types, for `hyp-el2`, which uses this crate alone.
pub use probe_vm;
/// Likewise the verifier's.
pub use verifier;

pub mod addr;
pub mod admit;
pub mod bound;
pub mod config;
pub mod cpu;
pub mod dispatch;
pub mod exit;
pub mod grace;
pub mod ipc;
pub mod mail;
pub mod pl011;
pub mod pmu;
pub mod probe;
pub mod psci;
pub mod report;
pub mod sched;
pub mod stage2;
#[cfg(test)]
mod testrng;
pub mod vcpu;
pub mod vgic;
pub mod vtimer;
