//! Probe points of EL2.

use hyp_core::dispatch::Points;

use crate::machine::Board;

/// What fires.
pub struct Probes {}

impl Probes {
    /// Nothing attached.
    pub const fn new() -> Self {
        Self {}
    }
}

impl Points for Board {}
