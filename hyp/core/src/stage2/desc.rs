//! Descriptor bits (Arm ARM D8.3, stage 2, 4 KiB granule).

use super::LEAF_LEVEL;
use crate::addr::Pa;

const VALID: u64 = 1 << 0;
/// At levels 1–2: a table, not a block. At level 3: a page; 0 there is reserved.
const TABLE_OR_PAGE: u64 = 1 << 1;
const MEMATTR_SHIFT: u32 = 2; //          [5:2]
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_INNER: u64 = 0b11 << 8;
/// Set always: the hypervisor does not use access-flag faults.
const ACCESS_FLAG: u64 = 1 << 10;
/// XN[1:0] = 0b10: execute at neither EL1 nor EL0. 0b00: at both.
const XN: u64 = 0b10 << 53;
/// Output address of tables and pages, [47:12].
const ADDR: u64 = 0x0000_ffff_ffff_f000;

/// Memory type given at stage 2. The stricter of stage 1 and stage 2 wins (Arm ARM D8.6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemType {
    /// Normal memory, write-back cacheable, inner shareable.
    Normal,
    /// Device-nGnRE: registers of a device that a VM drives itself.
    Device,
}

impl MemType {
    const fn memattr(self) -> u64 {
        match self {
            Self::Normal => 0b1111,
            Self::Device => 0b0001,
        }
    }
}

/// What a VM may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetch.
    pub exec: bool,
    /// Memory type.
    pub mem: MemType,
}

impl Prot {
    /// RAM of a VM.
    pub const RAM: Self = Self {
        read: true,
        write: true,
        exec: true,
        mem: MemType::Normal,
    };
    /// Memory that a VM only reads.
    pub const ROM: Self = Self {
        read: true,
        write: false,
        exec: false,
        mem: MemType::Normal,
    };
    /// Registers of a device passed through.
    pub const DEVICE: Self = Self {
        read: true,
        write: true,
        exec: false,
        mem: MemType::Device,
    };
}

/// What an entry is, at its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Invalid,
    Table(Pa),
    Leaf(Pa, Prot),
}

pub(super) const fn table(next: Pa) -> u64 {
    (next.0 & ADDR) | TABLE_OR_PAGE | VALID
}

pub(super) const fn leaf(pa: Pa, level: u32, prot: Prot) -> u64 {
    let mut d = (pa.0 & ADDR) | VALID | ACCESS_FLAG | (prot.mem.memattr() << MEMATTR_SHIFT);
    if level == LEAF_LEVEL {
        d |= TABLE_OR_PAGE;
    }
    if matches!(prot.mem, MemType::Normal) {
        d |= SH_INNER;
    }
    if prot.read {
        d |= S2AP_READ;
    }
    if prot.write {
        d |= S2AP_WRITE;
    }
    if !prot.exec {
        d |= XN;
    }
    d
}

pub(super) const fn decode(desc: u64, level: u32) -> Entry {
    if desc & VALID == 0 {
        return Entry::Invalid;
    }
    let addr = Pa(desc & ADDR);
    let second = desc & TABLE_OR_PAGE != 0;
    if level < LEAF_LEVEL && second {
        return Entry::Table(addr);
    }
    if level == LEAF_LEVEL && !second {
        return Entry::Invalid;
    }
    let mem = if (desc >> MEMATTR_SHIFT) & 0xf == MemType::Normal.memattr() {
        MemType::Normal
    } else {
        MemType::Device
    };
    let prot = Prot {
        read: desc & S2AP_READ != 0,
        write: desc & S2AP_WRITE != 0,
        exec: desc & XN == 0,
        mem,
    };
    Entry::Leaf(addr, prot)
}

/// VTCR_EL2 for these tables (Arm ARM D19.2.177): 4 KiB granule, [`super::IPA_BITS`], walks write-back inner shareable, 8-bit VMIDs.
/// `parange` is ID_AA64MMFR0_EL1.PARange; 6 (52 bits) is lowered to 5, because the 4 KiB granule needs LPA2 for it.
pub const fn vtcr(parange: u64) -> u64 {
    let ps = if parange > 5 { 5 } else { parange };
    let t0sz = 64 - super::IPA_BITS as u64;
    let sl0 = 0b01; // start at level 1
    t0sz | sl0 << 6 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | ps << 16 | 1 << 31
}
