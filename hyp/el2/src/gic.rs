//! The board's GICv3: all interrupts come to EL2 as group 1, priority drop and deactivation apart.

use hyp_core::cpu::BOARD_SPIS;
use hyp_core::dispatch::irq::{CROSS_CPU, SWEEP};

use crate::board::{self, DISTRIBUTOR};
use crate::reg::{isb, sysreg};

sysreg! {
    SRE = "s3_4_c12_c9_5", rw; // ICC_SRE_EL2
    PMR = "s3_0_c4_c6_0", rw; // ICC_PMR_EL1
    IGRPEN1 = "s3_0_c12_c12_7", rw; // ICC_IGRPEN1_EL1
    CTLR = "s3_0_c12_c12_4", rw; // ICC_CTLR_EL1
    BPR1 = "s3_0_c12_c12_3", rw; // ICC_BPR1_EL1
    IAR1 = "s3_0_c12_c12_0", r; // ICC_IAR1_EL1
    EOIR1 = "s3_0_c12_c12_1", w; // ICC_EOIR1_EL1
    DIR = "s3_0_c12_c11_1", w; // ICC_DIR_EL1
    SGI1R = "s3_0_c12_c11_5", w; // ICC_SGI1R_EL1
}

/// Overflow of a guest's event counter (PPI).
const COUNTERS: u32 = hyp_core::pmu::INTID;
/// Maintenance interrupt of the virtual CPU interface (PPI).
pub const MAINTENANCE: u32 = 25;
/// EL2 physical timer (PPI).
pub const HYP_TIMER: u32 = 26;
/// Virtual timer (PPI).
pub const VIRTUAL_TIMER: u32 = 27;
/// Physical timer of EL1 (PPI).
pub const PHYSICAL_TIMER: u32 = 30;

const GICD_CTLR: u64 = 0;
const GICD_TYPER: u64 = 4;
const GICD_IGROUPR: u64 = 0x80;
const GICD_ISENABLER: u64 = 0x100;
const GICD_ICENABLER: u64 = 0x180;
const GICD_ISPENDR: u64 = 0x200;
const GICD_ICACTIVER: u64 = 0x380;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ICFGR: u64 = 0xc00;
const GICD_IROUTER: u64 = 0x6000;
const GICR_WAKER: u64 = 0x14;
const GICR_IGROUPR0: u64 = 0x1_0080;
const GICR_ISENABLER0: u64 = 0x1_0100;
const GICR_ICENABLER0: u64 = 0x1_0180;
const GICR_IPRIORITYR: u64 = 0x1_0400;

const CTLR_RWP: u32 = 1 << 31;
const CTLR_ARE: u32 = 1 << 4;
const CTLR_GROUP1: u32 = 1 << 1;
const WAKER_SLEEP: u32 = 1 << 1;
const WAKER_ASLEEP: u32 = 1 << 2;
/// All interrupts at one priority: EL2 never takes one inside another.
const PRIORITY_4: u32 = 0xa0a0_a0a0;
/// The first four SGIs: messages of other CPUs, at a lower priority, and what can wait for all others.
const PRIORITY_SGIS: u32 = 0xa0a0_e0c0;
const _: () = assert!(CROSS_CPU == 0 && SWEEP == 1);
/// ICC_PMR_EL1: every interrupt comes; or those above messages alone.
const PMR_ALL: u64 = 0xff;
const PMR_SHIELD: u64 = 0xb0;
/// Polls of a GIC handshake at boot before it is given up.
const POLLS: usize = 1_000_000;

fn wait(mut done: impl FnMut() -> bool) {
    for _ in 0..POLLS {
        if done() {
            return;
        }
    }
}

/// Distributor: every SPI group 1, disabled, level, one priority. Once, by the boot CPU.
pub fn init_distributor() {
    DISTRIBUTOR.write32(GICD_CTLR, 0);
    wait(|| DISTRIBUTOR.read32(GICD_CTLR) & CTLR_RWP == 0);
    let lines = u64::from(DISTRIBUTOR.read32(GICD_TYPER) & 0x1f) + 1;
    for n in 1..lines {
        DISTRIBUTOR.write32(GICD_ICENABLER + 4 * n, u32::MAX);
        DISTRIBUTOR.write32(GICD_IGROUPR + 4 * n, u32::MAX);
        DISTRIBUTOR.write32(GICD_ICFGR + 8 * n, 0);
        DISTRIBUTOR.write32(GICD_ICFGR + 8 * n + 4, 0);
        for word in 0..8 {
            DISTRIBUTOR.write32(GICD_IPRIORITYR + 32 * n + 4 * word, PRIORITY_4);
        }
    }
    DISTRIBUTOR.write32(GICD_CTLR, CTLR_ARE);
    DISTRIBUTOR.write32(GICD_CTLR, CTLR_ARE | CTLR_GROUP1);
    wait(|| DISTRIBUTOR.read32(GICD_CTLR) & CTLR_RWP == 0);
}

/// Redistributor and CPU interface of CPU `cpu`, by that CPU.
///
/// Without EL3 firmware the GIC has a single security state and PPIs and SGIs reset to group 0: group 1 is chosen here.
pub fn init_cpu(cpu: usize) {
    let own = board::redistributor(cpu);
    own.write32(GICR_WAKER, own.read32(GICR_WAKER) & !WAKER_SLEEP);
    wait(|| own.read32(GICR_WAKER) & WAKER_ASLEEP == 0);
    own.write32(GICR_ICENABLER0, u32::MAX);
    own.write32(GICR_IGROUPR0, u32::MAX);
    own.write32(GICR_IPRIORITYR, PRIORITY_SGIS);
    for word in 1..8 {
        own.write32(GICR_IPRIORITYR + 4 * word, PRIORITY_4);
    }
    let ours = 1 << MAINTENANCE | 1 << HYP_TIMER | 1 << VIRTUAL_TIMER | 1 << PHYSICAL_TIMER | 1 << COUNTERS;
    own.write32(GICR_ISENABLER0, 0xffff | ours);
    SRE::write(0xf); // SRE, DFB, DIB, EL1 may use the system registers
    isb();
    PMR::write(PMR_ALL);
    BPR1::write(0);
    CTLR::write(1 << 1); // EOImode: EOIR drops the priority, DIR or the guest's EOI deactivates
    IGRPEN1::write(1);
    isb();
}

/// Routes SPI `intid` to CPU `cpu` (affinity 0.0.0.cpu) and enables it.
pub fn enable_spi(intid: u32, edge: bool, cpu: u64) {
    let (n, bit) = (u64::from(intid / 32), 1 << (intid % 32));
    let config = GICD_ICFGR + 4 * u64::from(intid / 16);
    let edge_bit = 2 << (2 * (intid % 16));
    let old = DISTRIBUTOR.read32(config);
    DISTRIBUTOR.write32(config, if edge { old | edge_bit } else { old & !edge_bit });
    DISTRIBUTOR.write64(GICD_IROUTER + 8 * u64::from(intid), cpu);
    DISTRIBUTOR.write32(GICD_ISENABLER + 4 * n, bit);
}

/// Disables SPI `intid`: its VM has stopped.
pub fn disable_spi(intid: u32) {
    DISTRIBUTOR.write32(GICD_ICENABLER + 4 * u64::from(intid / 32), 1 << (intid % 32));
}

/// Disables the SPIs that are bits of `spis`, from INTID 32: their VM has stopped.
pub fn disable_spis(spis: &[u32; BOARD_SPIS / 32]) {
    each_word(GICD_ICENABLER, spis);
}

/// Deactivates the SPIs that are bits of `spis`, from INTID 32.
pub fn end_spis(spis: &[u32; BOARD_SPIS / 32]) {
    each_word(GICD_ICACTIVER, spis);
}

fn each_word(register: u64, spis: &[u32; BOARD_SPIS / 32]) {
    for (n, bits) in (1..).zip(spis) {
        DISTRIBUTOR.write32(register + 4 * n, *bits);
    }
}

/// Makes SPI `intid` pending.
pub fn pend_spi(intid: u32) {
    DISTRIBUTOR.write32(GICD_ISPENDR + 4 * u64::from(intid / 32), 1 << (intid % 32));
}

/// Interrupts CPU `cpu` (affinity 0.0.0.cpu) by SGI `intid`.
pub fn send(intid: u32, cpu: u32) {
    SGI1R::write(u64::from(intid) << 24 | 1 << (cpu & 0xf));
    isb();
}

/// Holds messages of other CPUs back, or lets them through again: what has waited comes at once.
pub fn shield(up: bool) {
    PMR::write(if up { PMR_SHIELD } else { PMR_ALL });
}

/// Acknowledges the highest pending interrupt: its INTID, 1020 and above for none.
#[inline(always)]
pub fn acknowledge() -> u32 {
    IAR1::read() as u32
}

/// Drops the running priority; the interrupt stays active.
#[inline(always)]
pub fn drop_priority(intid: u32) {
    EOIR1::write(intid.into());
}

/// Ends an interrupt that EL2 handled itself.
#[inline(always)]
pub fn deactivate(intid: u32) {
    DIR::write(intid.into());
}
