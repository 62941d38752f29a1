//! Identity mapping with caches on: the image page by page (text read-only executable, the rest never executable),
//! the image's gigabyte as normal memory, every other gigabyte of the 39-bit space as device memory.

use core::arch::asm;
use core::cell::UnsafeCell;

const ENTRIES: usize = 512;
const GIB: usize = 1 << 30;
const MIB_2: usize = 2 << 20;
const PAGE: usize = 4096;

// Arm ARM D8.3, stage 1 VMSAv8-64 descriptors.
const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTR_NORMAL: u64 = 0 << 2; // MAIR attribute 0
const ATTR_DEVICE: u64 = 1 << 2; // MAIR attribute 1
const AP_READ_ONLY: u64 = 1 << 7;
const SH_INNER: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;

const NORMAL_RW: u64 = VALID | ATTR_NORMAL | SH_INNER | ACCESSED | PXN | UXN;
const DEVICE_RW: u64 = VALID | ATTR_DEVICE | ACCESSED | PXN | UXN;
const TEXT: u64 = VALID | ATTR_NORMAL | SH_INNER | ACCESSED | AP_READ_ONLY | UXN;

// Attribute 0: normal, write-back, read and write allocate; attribute 1: device nGnRE.
const MAIR: u64 = 0x04ff;
// T0SZ 25 (39 bits, walk starts at level 1), inner and outer write-back, inner shareable, 4 KiB, no TTBR1 walks.
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23;
// SCTLR_EL1: RES1 bits, I, SA, C, M.
const SCTLR: u64 = 0x30d0_0800 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; ENTRIES]>);

// SAFETY: written by one CPU before the MMU is on, and by `map_ram` which only adds entries; read by the table walker.
unsafe impl Sync for Table {}

impl Table {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; ENTRIES]))
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }

    fn set(&self, index: usize, descriptor: u64) {
        let slot = self.0.get().cast::<u64>().wrapping_add(index % ENTRIES);
        // SAFETY: index is taken modulo the table's length. Volatile: the reader is the table walker.
        unsafe { slot.write_volatile(descriptor) }
    }
}

static LEVEL1: Table = Table::new();
static LEVEL2: Table = Table::new();
static LEVEL3: Table = Table::new();

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __image_end: u8;
}

/// The image's own addresses: start, end of text, end of read-only data, end.
pub(crate) fn image() -> (usize, usize, usize, usize) {
    (
        &raw const __image_start as usize,
        &raw const __text_end as usize,
        &raw const __rodata_end as usize,
        &raw const __image_end as usize,
    )
}

/// Builds the tables and turns MMU and caches on.
pub(crate) fn init() {
    let (start, text_end, rodata_end, end) = image();
    let gib = start & !(GIB - 1);
    for index in 0..ENTRIES {
        LEVEL1.set(index, (index * GIB) as u64 | DEVICE_RW);
        LEVEL2.set(index, (gib + index * MIB_2) as u64 | NORMAL_RW);
        let page = start + index * PAGE;
        let attributes = if page < text_end {
            TEXT
        } else if page < rodata_end {
            NORMAL_RW | AP_READ_ONLY
        } else {
            NORMAL_RW
        };
        LEVEL3.set(index, page as u64 | attributes | TABLE_OR_PAGE);
    }
    LEVEL1.set(gib / GIB, LEVEL2.address() | TABLE_OR_PAGE | VALID);
    LEVEL2.set((start - gib) / MIB_2, LEVEL3.address() | TABLE_OR_PAGE | VALID);
    drop_stale_lines(rodata_end, end);
    enable();
}

/// Maps the gigabytes of `base..base + size` that are not yet normal memory as normal memory.
pub(crate) fn map_ram(base: usize, size: usize) {
    let image_gib = image().0 / GIB;
    let first = base / GIB;
    let last = base.saturating_add(size.saturating_sub(1)) / GIB;
    for gib in first..=last.min(ENTRIES - 1) {
        if gib != image_gib {
            LEVEL1.set(gib, (gib * GIB) as u64 | NORMAL_RW);
        }
    }
    // SAFETY: only barriers and TLB maintenance; the new entries map RAM one to one.
    unsafe { asm!("dsb ishst", "tlbi vmalle1", "dsb ish", "isb", options(nostack)) }
}

/// What was written with the MMU off went to memory; lines that a loader left in the cache must not hide it.
fn drop_stale_lines(from: usize, to: usize) {
    const SMALLEST_LINE: usize = 16; // bytes; CTR_EL0.DminLine cannot say less
    for line in (from..to).step_by(SMALLEST_LINE) {
        // SAFETY: clean and invalidate changes no memory content that this CPU wrote.
        unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) }
    }
}

fn enable() {
    // SAFETY: the tables map the running code, its data and its stack one to one with the rights they need.
    unsafe {
        asm!(
            "mrs {pa}, id_aa64mmfr0_el1",
            "and {pa}, {pa}, #7", // PARange, of which TCR.IPS takes 3 bits
            "orr {tcr}, {tcr}, {pa}, lsl #32",
            "dsb sy",
            "msr mair_el1, {mair}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {root}",
            "tlbi vmalle1",
            "ic iallu",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {sctlr}",
            "isb",
            pa = out(reg) _,
            tcr = inout(reg) TCR => _,
            mair = in(reg) MAIR,
            root = in(reg) LEVEL1.address(),
            sctlr = in(reg) SCTLR,
            options(nostack),
        )
    }
}
