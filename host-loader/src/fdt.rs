//! The device tree of a guest: the platform of QEMU's `virt`, with what the manifest gives this VM.

use board_support::Board;
use vm_fdt::{Error, FdtWriter};

use crate::manifest::Vm;

/// The interrupt controller, in `interrupt-parent`.
const PHANDLE_GIC: u32 = 1;
/// The UART's clock.
const PHANDLE_CLOCK: u32 = 2;
/// First cell of an interrupt: shared or private (Linux: arm,gic-v3.yaml).
const SPI: u32 = 0;
const PPI: u32 = 1;
/// Third cell.
const EDGE: u32 = 1;
const LEVEL: u32 = 4;
/// INTIDs before the PPIs and before the SPIs.
const PPI_BASE: u32 = 16;
const SPI_BASE: u32 = 32;

/// The tree of a VM with `vcpus` vCPUs; `initrd` is where its RAM disk lies, start and end.
///
/// # Errors
/// A string with a NUL byte in it, such as a command line.
pub fn tree(board: &Board, vm: &Vm, vcpus: u32, initrd: Option<(u64, u64)>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "gnomon,virt")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", PHANDLE_GIC)?;
    chosen(&mut fdt, board, vm, initrd)?;
    let memory = fdt.begin_node(&format!("memory@{:x}", vm.ipa_base))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[vm.ipa_base, vm.memory])?;
    fdt.end_node(memory)?;
    cpus(&mut fdt, vcpus)?;
    timer(&mut fdt, board)?;
    pmu(&mut fdt, board)?;
    gic(&mut fdt, board, vcpus)?;
    if vm.uart {
        uart(&mut fdt, board)?;
    }
    for device in &vm.virtio {
        virtio(&mut fdt, board, device.transport)?;
    }
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, board: &Board, vm: &Vm, initrd: Option<(u64, u64)>) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", &vm.cmdline)?;
    if vm.uart {
        fdt.property_string("stdout-path", &format!("/pl011@{:x}", board.uart.registers.base))?;
    }
    if let Some((start, end)) = initrd {
        fdt.property_u64("linux,initrd-start", start)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    fdt.end_node(node)
}

fn cpus(fdt: &mut FdtWriter, vcpus: u32) -> Result<(), Error> {
    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    for index in 0..vcpus {
        let cpu = fdt.begin_node(&format!("cpu@{index:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_u32("reg", index)?;
        fdt.property_string("enable-method", "psci")?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(node)?;
    let psci = fdt.begin_node("psci")?;
    fdt.property_string_list("compatible", vec!["arm,psci-1.0".into(), "arm,psci-0.2".into()])?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(psci)
}

fn timer(fdt: &mut FdtWriter, board: &Board) -> Result<(), Error> {
    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    fdt.property_null("always-on")?;
    let cells: Vec<u32> = board
        .timer_intids
        .iter()
        .flat_map(|intid| [PPI, intid - PPI_BASE, LEVEL])
        .collect();
    fdt.property_array_u32("interrupts", &cells)?;
    fdt.end_node(node)
}

fn pmu(fdt: &mut FdtWriter, board: &Board) -> Result<(), Error> {
    let node = fdt.begin_node("pmu")?;
    fdt.property_string("compatible", "arm,armv8-pmuv3")?;
    fdt.property_array_u32("interrupts", &[PPI, board.pmu_intid - PPI_BASE, LEVEL])?;
    fdt.end_node(node)
}

fn gic(fdt: &mut FdtWriter, board: &Board, vcpus: u32) -> Result<(), Error> {
    let gic = &board.gic;
    let node = fdt.begin_node(&format!("intc@{:x}", gic.distributor.base))?;
    fdt.property_string("compatible", "arm,gic-v3")?;
    fdt.property_phandle(PHANDLE_GIC)?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_u32("#redistributor-regions", 1)?;
    let redistributors = gic.redistributor_stride * u64::from(vcpus);
    fdt.property_array_u64(
        "reg",
        &[
            gic.distributor.base,
            gic.distributor.size,
            gic.redistributors.base,
            redistributors,
        ],
    )?;
    fdt.end_node(node)
}

fn uart(fdt: &mut FdtWriter, board: &Board) -> Result<(), Error> {
    let clock = fdt.begin_node("apb-pclk")?;
    fdt.property_string("compatible", "fixed-clock")?;
    fdt.property_phandle(PHANDLE_CLOCK)?;
    fdt.property_u32("#clock-cells", 0)?;
    fdt.property_u32("clock-frequency", board.uart.clock_hz)?;
    fdt.end_node(clock)?;
    let node = fdt.begin_node(&format!("pl011@{:x}", board.uart.registers.base))?;
    fdt.property_string_list("compatible", vec!["arm,pl011".into(), "arm,primecell".into()])?;
    fdt.property_array_u64("reg", &[board.uart.registers.base, board.uart.registers.size])?;
    fdt.property_array_u32("interrupts", &[SPI, board.uart.intid - SPI_BASE, LEVEL])?;
    fdt.property_string_list("clock-names", vec!["uartclk".into(), "apb_pclk".into()])?;
    fdt.property_array_u32("clocks", &[PHANDLE_CLOCK, PHANDLE_CLOCK])?;
    fdt.end_node(node)
}

fn virtio(fdt: &mut FdtWriter, board: &Board, transport: u32) -> Result<(), Error> {
    let row = &board.transports;
    let base = row.base + u64::from(transport) * row.stride;
    let node = fdt.begin_node(&format!("virtio_mmio@{base:x}"))?;
    fdt.property_string("compatible", "virtio,mmio")?;
    fdt.property_array_u64("reg", &[base, row.stride])?;
    fdt.property_array_u32("interrupts", &[SPI, row.first_intid + transport - SPI_BASE, EDGE])?;
    fdt.property_null("dma-coherent")?;
    fdt.end_node(node)
}
