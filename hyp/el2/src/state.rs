//! What one CPU owns at EL2.

use hyp_core::cpu::Cpu;

use crate::machine::Board;
use crate::probes::Probing;

/// State of one CPU; TPIDR_EL2 points to it.
#[repr(C, align(64))]
pub struct State {
    /// What `hyp-core` decides on.
    pub cpu: Cpu,
    /// Devices.
    pub board: Board,
    /// Probe hypercalls.
    pub services: Probing,
}

impl State {
    /// Before boot.
    pub const fn new() -> Self {
        Self {
            cpu: Cpu::new(),
            board: Board::new(),
            services: Probing,
        }
    }
}
