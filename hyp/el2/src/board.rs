//! Addresses of the board this image is built for, from its description.

use board_support::QEMU_VIRT;

/// RAM starts here.
pub const RAM_BASE: u64 = QEMU_VIRT.ram.base;
/// Bytes of RAM.
pub const RAM_BYTES: u64 = QEMU_VIRT.ram.size;
/// GICv3 distributor.
pub const GICD: u64 = QEMU_VIRT.gic.distributor.base;
/// Redistributor of CPU 0; each CPU's is 0x2_0000 bytes.
pub const GICR: u64 = QEMU_VIRT.gic.redistributors.base;
/// PL011.
pub const UART: u64 = QEMU_VIRT.uart.registers.base;
/// SPI INTID of the PL011.
pub const UART_INTID: u32 = QEMU_VIRT.uart.intid;
const BLOCK: u64 = 2 << 20;
/// 2 MiB blocks that hold the devices EL2 drives: GIC distributor and redistributors, PL011.
pub const DEVICE_BLOCKS: [u64; 2] = [GICD & !(BLOCK - 1), UART & !(BLOCK - 1)];
/// Past the redistributors.
pub const GICR_END: u64 = QEMU_VIRT.gic.redistributors.end();
