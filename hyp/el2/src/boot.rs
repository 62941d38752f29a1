//! From the first Rust instruction to the first guest.

use core::arch::global_asm;

use hyp_abi::config_fault::{ConfigFault, RecordKind};
use hyp_abi::record::StreamKind;
use hyp_abi::{ABI_VERSION, PathId};
use hyp_core::config::BadConfig;
use hyp_core::cpu::rare;
use hyp_core::stage2::vtcr;

use crate::machine::{ICH_HCR, list_registers};
use crate::percpu::{Blocks, CPUS, PerCpu, state_of};
use crate::reg::{isb, sysreg};
use crate::state::State;
use crate::uart::{CONSOLE, Uart};
use crate::{board, gic, machine, mmu, pmu, power, setup, time, vectors, world};

global_asm!(
    include_str!("head.S"),
    SCTLR_OFF = const mmu::SCTLR_RES1,
    PERCPU = sym crate::percpu::BLOCKS,
    STATE_OFFSET = const PerCpu::STATE_OFFSET,
    boot = sym boot,
    secondary = sym secondary,
);

sysreg! {
    HCR = "hcr_el2", rw;
    HSTR = "hstr_el2", rw;
    VTCR = "vtcr_el2", rw;
    VPIDR = "vpidr_el2", rw;
    MIDR = "midr_el1", r;
    CNTHCTL = "cnthctl_el2", rw;
    CNTVOFF = "cntvoff_el2", rw;
    MMFR0 = "id_aa64mmfr0_el1", r;
}

// HCR_EL2 (Arm ARM D17.2.48).
const HCR_VM: u64 = 1 << 0; // stage 2
const HCR_SWIO: u64 = 1 << 1;
const HCR_PTW: u64 = 1 << 2; // a walk through device memory faults
const HCR_FMO: u64 = 1 << 3; // physical interrupts to EL2, virtual ones on
const HCR_IMO: u64 = 1 << 4;
const HCR_AMO: u64 = 1 << 5;
const HCR_FB: u64 = 1 << 9; // guests' TLB maintenance reaches the inner shareable domain
const HCR_BSU: u64 = 1 << 10;
const HCR_TWI: u64 = 1 << 13;
const HCR_TID3: u64 = 1 << 18;
const HCR_TSC: u64 = 1 << 19;
const HCR_TIDCP: u64 = 1 << 20;
const HCR_TACR: u64 = 1 << 21;
const HCR_TSW: u64 = 1 << 22;
const HCR_RW: u64 = 1 << 31;
const HCR_VALUE: u64 = HCR_VM
    | HCR_SWIO
    | HCR_PTW
    | HCR_FMO
    | HCR_IMO
    | HCR_AMO
    | HCR_FB
    | HCR_BSU
    | HCR_TWI
    | HCR_TID3
    | HCR_TSC
    | HCR_TIDCP
    | HCR_TACR
    | HCR_TSW
    | HCR_RW;
/// CNTHCTL_EL2: guests use the physical counter and timer, which are switched like the virtual ones.
const CNTHCTL_OPEN: u64 = 0b11;

fn trap_registers() {
    HCR::write(HCR_VALUE);
    HSTR::write(0);
    VTCR::write(vtcr(MMFR0::read() & 0xf));
    VPIDR::write(MIDR::read());
    CNTHCTL::write(CNTHCTL_OPEN);
    CNTVOFF::write(0);
    world::trap_fp(true);
    ICH_HCR::write(1);
    isb();
}

unsafe extern "C" {
    /// First instruction of the other CPUs, in head.S; only its address is used.
    safe static secondary_entry: u8;
}

/// What each CPU sets up for itself.
fn init_this(state: &mut State) {
    gic::init_cpu(state.cpu.id as usize);
    pmu::init();
    trap_registers();
    if !world::has_auxiliary() {
        state.cpu.rare &= !rare::AUXILIARY;
    }
    crate::percpu::context().set_cpu(state.cpu.id);
}

/// Runs once on the boot CPU, MMU off, on its own stack; `state` is its block's.
extern "C" fn boot(state: *mut State) -> ! {
    mmu::init(board::RAM_BASE, board::RAM_BASE + board::RAM_BYTES);
    gic::init_distributor();
    CONSOLE.with(Uart::init);
    // Another board's image: nothing would be told in its time.
    assert!(time::frequency() << time::TICK_SHIFT == embassy_time::TICK_HZ);
    // Nor would a core without atomic instructions run it.
    assert!(machine::has_lse());
    let built = setup::build(&mut Blocks::at_boot());
    // SAFETY: 1. head.S passes the address of this CPU's state; the blocks above are given up.
    let state = unsafe { &mut *state };
    init_this(state);
    let (vms, cpus) = match built {
        Ok(built) => built,
        Err(bad) => refuse(bad),
    };
    gic::enable_spi(board::UART_INTID, false, 0);
    let [a, b, c, d] = ABI_VERSION.to_le_bytes();
    let [e, f, g, h] = vms.to_le_bytes();
    CONSOLE.with(|uart| uart.record(StreamKind::Booted, &[a, b, c, d, e, f, g, h]));
    defmt::info!(
        "up: {=u32} VMs, {=u32} CPUs, {=u32} list registers",
        vms,
        cpus,
        list_registers()
    );
    start_others(cpus);
    state.cpu.entry = pmu::read();
    vectors::resume(state, PathId::HypercallInfo)
}

/// Starts the other CPUs; one that firmware does not have is a fault of the configuration.
fn start_others(cpus: u32) {
    let entry = core::ptr::from_ref(&secondary_entry).addr() as u64;
    for cpu in 1..cpus.min(CPUS as u32) {
        let Some(state) = state_of(cpu as usize) else { break };
        mmu::clean_to_coherency(state.addr() as u64, size_of::<State>() as u64);
        if !power::start_cpu(cpu.into(), entry, state.addr() as u64) {
            refuse(BadConfig {
                fault: ConfigFault::NoSuchCpu,
                kind: RecordKind::Header,
                index: cpu,
            });
        }
    }
}

/// Runs once on each other CPU, MMU off; `state` is its block's, filled by the boot CPU.
extern "C" fn secondary(state: *mut State) -> ! {
    mmu::enable();
    // SAFETY: 1. `start_others` passes the address of this CPU's state, which the boot CPU has given up. 2. This is the first
    // reference made here.
    let state = unsafe { &mut *state };
    init_this(state);
    state.cpu.entry = pmu::read();
    vectors::resume(state, PathId::IrqOther)
}

/// The configuration is wrong: says where, and turns off.
fn refuse(bad: BadConfig) -> ! {
    let mut payload = [0; 12];
    for (chunk, word) in payload
        .chunks_exact_mut(4)
        .zip([bad.fault as u32, bad.kind as u32, bad.index])
    {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    CONSOLE.with(|uart| {
        uart.record(StreamKind::BadConfig, &payload);
        uart.flush();
    });
    power::off()
}
