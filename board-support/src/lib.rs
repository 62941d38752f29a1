//! What differs from board to board: one const each, read by hypervisor, packer and QEMU's command line alike.
#![no_std]
#![forbid(unsafe_code)]

mod board;
mod core;
pub mod qemu;

pub use self::core::{CORES, CORTEX_A53, Cache, Core, Latencies, core_by_name};
pub use board::{Board, Gic, Region, Transports, Uart};
pub use qemu::VIRT as QEMU_VIRT;

/// All boards, by the names that manifests use.
pub const BOARDS: &[&Board] = &[&QEMU_VIRT];

/// The board of this name.
pub fn by_name(name: &str) -> Option<&'static Board> {
    BOARDS.iter().copied().find(|board| board.name == name)
}
