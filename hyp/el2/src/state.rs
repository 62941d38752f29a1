//! What one CPU owns at EL2.

use hyp_abi::{Call, PathId, Status};
use hyp_core::cpu::Cpu;
use hyp_core::dispatch::{PathBudget, Services};

use crate::machine::Board;

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
        Self { cpu: Cpu::new(), board: Board::new(), services: Probing {} }
    }
}

/// The hypercalls on probes and maps.
pub struct Probing {}

impl Services<Board> for Probing {
    fn serve(&mut self, _cpu: &mut Cpu, _board: &mut Board, _call: Call, x: [u64; 6]) -> [u64; 7] {
        [Status::NotSupported.x0(), x[0], x[1], x[2], x[3], x[4], x[5]]
    }

    fn path_budget(&self, _path: PathId) -> PathBudget {
        PathBudget { own: 0, probes: 0, budget: u64::MAX }
    }
}
