//! GICv3: distributor, the boot CPU's redistributor, and the CPU interface by system registers. Group 1 only.

use crate::access::Device;
use crate::cpu::{isb, sysreg_write};
use crate::sysreg_read;

/// The distributor.
pub const GICD: Device = Device::new(0x0800_0000);
/// The first redistributor: RD_base, and SGI_base 64 KiB above.
pub const GICR: Device = Device::new(0x080a_0000);

/// From one vCPU's redistributor to the next.
const GICR_BYTES: usize = 0x2_0000;

/// Register offsets (Arm IHI 0069, chapter 12), of the distributor unless said otherwise.
pub mod reg {
    #![allow(missing_docs, reason = "the specification's own names")]
    pub const CTLR: usize = 0x000;
    pub const TYPER: usize = 0x004;
    pub const IGROUPR: usize = 0x080;
    pub const ISENABLER: usize = 0x100;
    pub const ICENABLER: usize = 0x180;
    pub const ISPENDR: usize = 0x200;
    pub const ICPENDR: usize = 0x280;
    pub const ISACTIVER: usize = 0x300;
    pub const ICACTIVER: usize = 0x380;
    pub const IPRIORITYR: usize = 0x400;
    pub const ICFGR: usize = 0xc00;
    pub const IROUTER: usize = 0x6000;
    pub const PIDR2: usize = 0xffe8;
    /// Redistributor, RD_base.
    pub const WAKER: usize = 0x014;
    /// Redistributor, RD_base: 64 bits.
    pub const GICR_TYPER: usize = 0x008;
    /// Redistributor: offset of SGI_base.
    pub const SGI_BASE: usize = 0x1_0000;
}
use reg::*;

const CTLR_GROUP1_ARE: u32 = 1 << 4 | 1 << 1;
const CTLR_RWP: u32 = 1 << 31;
const WAKER_PROCESSOR_SLEEP: u32 = 1 << 1;
const WAKER_CHILDREN_ASLEEP: u32 = 1 << 2;
/// INTIDs from here on are special: 1023 means nothing pending.
pub const SPECIAL: u32 = 1020;
/// Priority given to every interrupt; the mask lets everything above 0xf8 through.
pub const PRIORITY: u8 = 0xa0;

/// Sets the distributor, this CPU's redistributor and CPU interface up. Every interrupt stays disabled.
pub fn init() {
    GICD.write32(CTLR, CTLR_GROUP1_ARE);
    while GICD.read32(CTLR) & CTLR_RWP != 0 {
        core::hint::spin_loop();
    }
    GICR.write32(WAKER, GICR.read32(WAKER) & !WAKER_PROCESSOR_SLEEP);
    while GICR.read32(WAKER) & WAKER_CHILDREN_ASLEEP != 0 {
        core::hint::spin_loop();
    }
    GICR.write32(SGI_BASE + IGROUPR, u32::MAX);
    GICR.write32(SGI_BASE + ICENABLER, u32::MAX);
    for intid in 0..32 {
        set_priority(intid, PRIORITY);
    }
    sysreg_write!(icc_sre_el1, sysreg_read!(icc_sre_el1) | 1);
    isb();
    sysreg_write!(icc_pmr_el1, 0xf8);
    sysreg_write!(icc_bpr1_el1, 0);
    sysreg_write!(icc_ctlr_el1, 0);
    sysreg_write!(icc_igrpen1_el1, 1);
    isb();
}

/// The frame and word that hold the bit of `intid` in a one-bit-per-interrupt register.
fn bit_register(register: usize, intid: u32) -> (Device, usize, u32) {
    let word = register + (intid / 32) as usize * 4;
    let bit = 1 << (intid % 32);
    if intid < 32 {
        (GICR, SGI_BASE + word, bit)
    } else {
        (GICD, word, bit)
    }
}

/// Writes `intid`'s bit (and no other) of a one-bit-per-interrupt register such as [`reg::ISENABLER`].
pub fn set_bit(register: usize, intid: u32) {
    let (device, offset, bit) = bit_register(register, intid);
    device.write32(offset, bit);
}

/// Reads `intid`'s bit of a one-bit-per-interrupt register.
pub fn get_bit(register: usize, intid: u32) -> bool {
    let (device, offset, bit) = bit_register(register, intid);
    device.read32(offset) & bit != 0
}

/// Enables an interrupt; an SPI is put into group 1 and routed to this CPU first.
pub fn enable(intid: u32) {
    if intid >= 32 {
        let (device, offset, bit) = bit_register(IGROUPR, intid);
        device.write32(offset, device.read32(offset) | bit);
        GICD.write64(IROUTER + intid as usize * 8, sysreg_read!(mpidr_el1) & 0xff_00ff_ffff);
        set_priority(intid, PRIORITY);
    }
    set_bit(ISENABLER, intid);
}

/// Enables SGI `intid` at another vCPU of the VM.
pub fn enable_sgi_of(vcpu: usize, intid: u32) {
    let other = Device::new(GICR.address(0) + vcpu * GICR_BYTES);
    let (word, shift) = (SGI_BASE + IPRIORITYR + intid as usize / 4 * 4, intid % 4 * 8);
    let others = other.read32(word) & !(0xff << shift);
    other.write32(word, others | u32::from(PRIORITY) << shift);
    other.write32(SGI_BASE + IGROUPR, u32::MAX);
    other.write32(SGI_BASE + ISENABLER, 1 << intid);
}

/// Disables an interrupt.
pub fn disable(intid: u32) {
    set_bit(ICENABLER, intid);
}

/// Sets the priority of one interrupt by a byte access.
pub fn set_priority(intid: u32, priority: u8) {
    let offset = IPRIORITYR + intid as usize;
    if intid < 32 {
        GICR.write8(SGI_BASE + offset, priority);
    } else {
        GICD.write8(offset, priority);
    }
}

/// Acknowledges the highest-priority pending interrupt of group 1; [`SPECIAL`] and above mean there is none.
#[inline]
pub fn acknowledge() -> u32 {
    sysreg_read!(icc_iar1_el1) as u32 & 0xff_ffff
}

/// Ends an interrupt: drops its priority and deactivates it.
#[inline]
pub fn end(intid: u32) {
    sysreg_write!(icc_eoir1_el1, u64::from(intid));
    isb();
}

/// Highest-priority pending interrupt, without acknowledging it.
pub fn highest_pending() -> u32 {
    sysreg_read!(icc_hppir1_el1) as u32 & 0xff_ffff
}

/// Running priority; 0xff when no interrupt is active.
pub fn running_priority() -> u8 {
    sysreg_read!(icc_rpr_el1) as u8
}

/// Sets the priority mask.
pub fn set_mask(mask: u8) {
    sysreg_write!(icc_pmr_el1, u64::from(mask));
    isb();
}

/// EOImode: true splits priority drop (`end`) from deactivation (`deactivate`).
pub fn split_end(on: bool) {
    sysreg_write!(icc_ctlr_el1, if on { 2 } else { 0 });
    isb();
}

/// Deactivates an interrupt (ICC_DIR_EL1).
pub fn deactivate(intid: u32) {
    sysreg_write!(icc_dir_el1, u64::from(intid));
    isb();
}

/// Sends SGI `intid` (0 to 15) to this CPU.
#[inline]
pub fn send_sgi_to_self(intid: u32) {
    let mpidr = sysreg_read!(mpidr_el1);
    send_sgi(intid, mpidr);
}

/// Sends SGI `intid` (0 to 15) to the CPU with this MPIDR.
pub fn send_sgi(intid: u32, mpidr: u64) {
    let target = 1 << (mpidr & 0xf);
    let affinity = (mpidr >> 8 & 0xff) << 16 | (mpidr >> 16 & 0xff) << 32 | (mpidr >> 32 & 0xff) << 48;
    send_sgi_raw(affinity | u64::from(intid & 15) << 24 | target);
}

/// Writes ICC_SGI1R_EL1 as it is.
pub fn send_sgi_raw(value: u64) {
    sysreg_write!(icc_sgi1r_el1, value);
    isb();
}
