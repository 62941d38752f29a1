//! Addresses of the board this image is built for, from its description.

use board_support::QEMU_VIRT;
use hyp_core::vgic::{DIST_BYTES, REDIST_BYTES};

use crate::mmio::Device;
use crate::percpu::CPUS;

/// RAM starts here.
pub const RAM_BASE: u64 = QEMU_VIRT.ram.base;
/// Bytes of RAM.
pub const RAM_BYTES: u64 = QEMU_VIRT.ram.size;
/// Bytes of a PL011's registers.
const UART_BYTES: u64 = 0x1000;
/// GICv3 distributor.
pub const GICD: u64 = QEMU_VIRT.gic.distributor.base;
/// The redistributors, one after the other.
pub const GICR: u64 = QEMU_VIRT.gic.redistributors.base;
/// PL011.
pub const UART: u64 = QEMU_VIRT.uart.registers.base;

/// A CPU's redistributor.
pub type Redistributor = Device<REDIST_BYTES>;

/// The distributor's registers.
// SAFETY: 1. The board's distributor, in `DEVICE_BLOCKS`. 2. It writes to no memory: EL2 enables no LPIs.
pub const DISTRIBUTOR: Device<DIST_BYTES> = unsafe { Device::at(GICD) };
/// The PL011's registers.
// SAFETY: 1. The board's PL011, in `DEVICE_BLOCKS`. 2. It writes to no memory: EL2 gives it no DMA channel.
pub const PL011: Device<UART_BYTES> = unsafe { Device::at(UART) };

/// The redistributor of CPU `cpu`, below [`CPUS`].
pub const fn redistributor(cpu: usize) -> Redistributor {
    assert!(cpu < CPUS, "a CPU that the image has room for");
    // SAFETY: 1. One of the board's redistributors, in `DEVICE_BLOCKS`. 2. It writes to no memory: EL2 enables no LPIs.
    unsafe { Device::at(GICR + cpu as u64 * REDIST_BYTES) }
}
const _: () = assert!(GICR + CPUS as u64 * REDIST_BYTES <= GICR_END);
/// SPI INTID of the PL011.
pub const UART_INTID: u32 = QEMU_VIRT.uart.intid;
const BLOCK: u64 = 2 << 20;
/// 2 MiB blocks that hold the devices EL2 drives: GIC distributor and redistributors, PL011.
pub const DEVICE_BLOCKS: [u64; 2] = [GICD & !(BLOCK - 1), UART & !(BLOCK - 1)];
/// Past the redistributors.
pub const GICR_END: u64 = QEMU_VIRT.gic.redistributors.end();
