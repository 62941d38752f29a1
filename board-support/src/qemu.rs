//! QEMU's `virt` machine: the board, and the command line that makes it.

use crate::board::{Board, Gic, Region, Transports, Uart};

const MIB: u64 = 1 << 20;

/// `virt` with GICv3 and the virtualization extensions, 1 GiB of RAM. QEMU fixes these addresses; they are also those of the
/// platform that guests see.
pub const VIRT: Board = Board {
    name: "qemu-virt",
    ram: Region {
        base: 0x4000_0000,
        size: 1024 * MIB,
    },
    load: 0x4020_0000,
    cpus_max: 8,
    gic: Gic {
        distributor: Region {
            base: 0x0800_0000,
            size: 0x1_0000,
        },
        redistributors: Region {
            base: 0x080a_0000,
            size: 0xf6_0000,
        },
        redistributor_stride: 0x2_0000,
    },
    uart: Uart {
        registers: Region {
            base: 0x0900_0000,
            size: 0x1000,
        },
        intid: 33,
        clock_hz: 24_000_000,
    },
    transports: Transports {
        base: 0x0a00_0000,
        stride: 0x200,
        count: 32,
        first_intid: 48,
        per_page: 8,
    },
    timer_intids: [29, 30, 27, 26],
    pmu_intid: 23,
    counter_hz: 62_500_000,
};

/// Name of the emulator.
pub const PROGRAM: &str = "qemu-system-aarch64";

/// Arguments that make [`VIRT`], without CPUs, kernel and devices. The console is the caller's standard input and output.
pub const ARGUMENTS: &[&str] = &[
    "-machine",
    "virt,virtualization=on,gic-version=3",
    "-cpu",
    "cortex-a76",
    "-m",
    "1G",
    "-display",
    "none",
    "-monitor",
    "none",
    "-serial",
    "stdio",
    // A network card is there unless refused.
    "-nic",
    "none",
    "-no-reboot",
    // Modern (version 2) virtio-mmio.
    "-global",
    "virtio-mmio.force-legacy=false",
];

/// Arguments that make one retired instruction one nanosecond of virtual time: counts and times are exact and repeatable.
/// When every CPU waits, time jumps to the next timer; with sleep it would follow the host's clock, past the timer by as
/// much as the host is late.
pub const ICOUNT: &[&str] = &["-icount", "shift=0,sleep=off"];

const _: () = assert!(VIRT.ram.contains(VIRT.load, 1));
const _: () = assert!(
    VIRT.load.is_multiple_of(2 * MIB),
    "arm64 boot protocol: 2 MiB aligned base, text_offset 0"
);
