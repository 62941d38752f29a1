//! EL2's own translation: identity mapped, write xor execute, one window for writing to code.
//!
//! 39-bit addresses, 4 KiB granule, three levels (Arm ARM D8.2). The image's 2 MiB blocks are mapped page by page with
//! the rights of each section; guard pages and unpublished code pages have no mapping; the rest of RAM is read-write,
//! never executable; devices get Device-nGnRE. Code is only ever written through [`with_window`], which maps the
//! physical pages at another address, read-write and execute-never, for the time of the write.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::image;
use crate::reg::{dsb_ish, dsb_sy, ic_ialluis, isb, sysreg, tlbi_alle2};

sysreg! {
    SCTLR = "sctlr_el2", rw;
    TCR = "tcr_el2", rw;
    MAIR = "mair_el2", rw;
    TTBR0 = "ttbr0_el2", rw;
    CTR = "ctr_el0", r;
    DCZID = "dczid_el0", r;
}

const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const ENTRIES: usize = 512;

/// Level-3 tables for the image: bounds it to 16 MiB, four times what it needs today.
const IMAGE_TABLES: usize = 8;
/// Address of the window: 256 GiB, above every board's physical memory we map one to one.
const WINDOW: u64 = 256 << 30;

// Descriptor bits (Arm ARM D8.3.1, stage 1 of EL2: single privilege level).
const VALID: u64 = 1;
const TABLE: u64 = 0b10; // table, or page at level 3
const DEVICE: u64 = 1 << 2; // MAIR index 1
const AP_EL2: u64 = 1 << 6; // AP[1], RES1 where there is one privilege level
const READ_ONLY: u64 = 1 << 7; // AP[2]
const INNER: u64 = 0b11 << 8; // inner shareable
const ACCESSED: u64 = 1 << 10;
const NEVER: u64 = 1 << 54; // XN
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

const RW: u64 = AP_EL2 | INNER | ACCESSED | NEVER;
const RO: u64 = RW | READ_ONLY;
const RX: u64 = (RW | READ_ONLY) & !NEVER;
const DEV: u64 = AP_EL2 | ACCESSED | NEVER | DEVICE;

// MAIR: index 0 normal write-back, read and write allocate; index 1 Device-nGnRE.
const MAIR_VALUE: u64 = 0x04_ff;
// TCR_EL2: T0SZ 25 (39 bits), walks write-back inner shareable, 4 KiB, PS 40 bits, RES1 bits 31 and 23.
const TCR_VALUE: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 2 << 16 | 1 << 23 | 1 << 31;
/// SCTLR_EL2 RES1 bits.
pub const SCTLR_RES1: u64 = 0x30c5_0830;
// M, C, SA (stack alignment), I, WXN: nothing writable is executable, whatever the tables say.
const SCTLR_VALUE: u64 = SCTLR_RES1 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;

#[repr(C, align(4096))]
struct Table([AtomicU64; ENTRIES]);

impl Table {
    const fn new() -> Self {
        Table([const { AtomicU64::new(0) }; ENTRIES])
    }

    fn set(&self, index: u64, descriptor: u64) {
        if let Some(entry) = self.0.get(index as usize) {
            entry.store(descriptor, Ordering::Relaxed);
        }
    }

    fn pointer(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64 | VALID | TABLE
    }
}

static LEVEL1: Table = Table::new();
static LOW: Table = Table::new();
static RAM: Table = Table::new();
static IMAGE: [Table; IMAGE_TABLES] = [const { Table::new() }; IMAGE_TABLES];
static WINDOW2: Table = Table::new();
static WINDOW3: Table = Table::new();

/// Fills the tables and turns the MMU and caches on. Runs once on the boot CPU with both off.
///
/// `ram_end` is where the board's RAM ends; the whole GiBs below it are mapped.
pub fn init(ram_base: u64, ram_end: u64) {
    map_devices();
    map_ram(ram_base, ram_end);
    map_image();
    LEVEL1.set(WINDOW / GIB, WINDOW2.pointer());
    WINDOW2.set(0, WINDOW3.pointer());
    enable();
}

/// Sets this CPU's translation registers and turns the MMU on; the tables are those that [`init`] filled.
pub fn enable() {
    MAIR::write(MAIR_VALUE);
    TCR::write(TCR_VALUE);
    TTBR0::write(core::ptr::from_ref(&LEVEL1).addr() as u64);
    dsb_sy();
    ic_ialluis();
    tlbi_alle2();
    dsb_sy();
    isb();
    SCTLR::write(SCTLR_VALUE);
    isb();
}

/// The first GiB of a `virt` board: only the blocks that hold devices EL2 drives.
fn map_devices() {
    for block in crate::board::DEVICE_BLOCKS {
        LOW.set(block / BLOCK, block | DEV | VALID);
    }
    LEVEL1.set(0, LOW.pointer());
}

fn map_ram(ram_base: u64, ram_end: u64) {
    let image_gib = image::start() / GIB;
    for block in 0..ENTRIES as u64 {
        let pa = image_gib * GIB + block * BLOCK;
        if pa >= ram_base && pa < ram_end {
            RAM.set(block, pa | RW | VALID);
        }
    }
    LEVEL1.set(image_gib, RAM.pointer());
    for gib in image_gib + 1..ENTRIES as u64 / 2 {
        if (gib + 1) * GIB <= ram_end {
            LEVEL1.set(gib, (gib * GIB) | RW | VALID);
        }
    }
}

fn map_image() {
    let first = image::start() / BLOCK;
    for (table, index) in IMAGE.iter().zip(0u64..) {
        let block = first + index;
        if block * BLOCK >= image::end() {
            break;
        }
        for page in 0..ENTRIES as u64 {
            let pa = block * BLOCK + page * PAGE;
            table.set(page, page_descriptor(pa));
        }
        RAM.set(block % ENTRIES as u64, table.pointer());
    }
}

fn page_descriptor(pa: u64) -> u64 {
    let rights = match image::section_of(pa) {
        image::Section::Text => RX,
        image::Section::ReadOnly => RO,
        image::Section::Data | image::Section::Outside => RW,
        image::Section::Guard | image::Section::Code => return 0,
    };
    pa | rights | VALID | TABLE
}

fn image_entry(pa: u64) -> Option<&'static AtomicU64> {
    let block = (pa / BLOCK).checked_sub(image::start() / BLOCK)?;
    IMAGE.get(block as usize)?.0.get((pa / PAGE) as usize % ENTRIES)
}

/// Makes the code page at `pa` read-only and executable. [`code_published`] completes it.
///
/// Only pages of the code section can be named: others are left as they are.
pub fn publish_page(pa: u64) {
    if image::section_of(pa) != image::Section::Code {
        return;
    }
    if let Some(entry) = image_entry(pa) {
        entry.store((pa & ADDRESS) | RX | VALID | TABLE, Ordering::Release);
    }
}

/// Makes what [`publish_page`] did, and the code itself, visible to instruction fetch.
pub fn code_published() {
    dsb_ish();
    tlbi_alle2();
    ic_ialluis();
    dsb_ish();
    isb();
}

/// Where code memory is written: one level-3 table of its own behind the window's 2 MiB.
const CODE_ALIAS: u64 = WINDOW + BLOCK;
static CODE3: Table = Table::new();

/// The writable alias of `words` words of code memory from word `at`, until [`end_code_alias`].
///
/// The caller is the only user of code memory and gives the range's words up before it asks again.
pub fn code_alias(at: usize, words: usize) -> Option<&'static mut [u32]> {
    let start = image::code_start();
    let bytes = at.checked_add(words)? as u64 * 4;
    if bytes > image::code_end() - start || bytes > BLOCK {
        return None;
    }
    for page in 0..ENTRIES as u64 {
        let pa = start + page * PAGE;
        CODE3.set(
            page,
            if pa < image::code_end() {
                pa | RW | VALID | TABLE
            } else {
                0
            },
        );
    }
    WINDOW2.set(1, CODE3.pointer());
    dsb_ish();
    isb();
    let first = (CODE_ALIAS + at as u64 * 4) as *mut u32;
    // SAFETY: 1. The alias of all of code memory has just been mapped read-write and the range lies in it. 2. `CodeMemory`
    // is asked through one `&mut`, and its answer ends before the next.
    Some(unsafe { core::slice::from_raw_parts_mut(first, words) })
}

/// Cleans what was written to the point of unification and takes the alias away.
pub fn end_code_alias(at: usize, words: usize) {
    clean_to_unification(CODE_ALIAS + at as u64 * 4, words as u64 * 4);
    WINDOW2.set(1, 0);
    dsb_ish();
    tlbi_alle2();
    dsb_ish();
    isb();
}

/// Words of the window: what one call of [`with_window`] can reach.
pub const WINDOW_WORDS: usize = 16 * 1024;

struct WindowOwner(UnsafeCell<bool>);
// SAFETY: 1. The flag is only touched by `with_window`: at boot, and by the CPU that has the turn of probes, so never concurrently.
unsafe impl Sync for WindowOwner {}
static WINDOW_OWNER: WindowOwner = WindowOwner(UnsafeCell::new(false));

/// Lets `write` change `words` instructions at `pa` (text or code section) through a writable alias, then makes the
/// change visible to instruction fetch on every CPU (Arm ARM B2.2.5, D7.5).
///
/// Returns `None` if the range is not code of ours, is longer than [`WINDOW_WORDS`], or a write is going on already.
pub fn with_window<R>(pa: u64, words: usize, write: impl FnOnce(&mut [u32]) -> R) -> Option<R> {
    let end = pa.checked_add(words as u64 * 4)?;
    let inside = |a: u64| matches!(image::section_of(a), image::Section::Text | image::Section::Code);
    if words == 0 || words > WINDOW_WORDS || !inside(pa) || !inside(end - 1) || pa % 4 != 0 {
        return None;
    }
    // SAFETY: 1. See `Sync` above: one CPU at a time, interrupts masked, and the access ends in this statement.
    if unsafe { WINDOW_OWNER.0.get().replace(true) } {
        return None;
    }
    let first = pa & !(PAGE - 1);
    let pages = (end - first).div_ceil(PAGE);
    for page in 0..pages {
        WINDOW3.set(page, (first + page * PAGE) | RW | VALID | TABLE);
    }
    dsb_ish();
    isb();
    let alias = (WINDOW + pa - first) as *mut u32;
    // SAFETY: 1. `pages` pages from `WINDOW` on have just been mapped read-write to existing memory, so `words` aligned
    // words are there. 2. No other reference names them: the identity mapping of code is never made into one.
    let slice = unsafe { core::slice::from_raw_parts_mut(alias, words) };
    let result = write(slice);
    clean_to_unification(WINDOW + pa - first, words as u64 * 4);
    for page in 0..pages {
        WINDOW3.set(page, 0);
    }
    dsb_ish();
    tlbi_alle2();
    ic_ialluis();
    dsb_ish();
    isb();
    // SAFETY: 1. As above.
    unsafe { WINDOW_OWNER.0.get().write(false) };
    Some(result)
}

/// Bytes of the core's smallest data cache line (CTR_EL0.DminLine).
fn line() -> u64 {
    4 << (CTR::read() >> 16 & 0xf)
}

fn clean_to_unification(start: u64, len: u64) {
    let line = line();
    let mut at = start & !(line - 1);
    while at < start + len {
        // SAFETY: 1. Cleaning a mapped line changes no value.
        unsafe { core::arch::asm!("dc cvau, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    dsb_ish();
}

/// Cleans and invalidates `[start, start + len)` to the point of coherency: what a guest will read with its caches off.
pub fn clean_to_coherency(start: u64, len: u64) {
    let line = line();
    let mut at = start & !(line - 1);
    while at < start + len {
        // SAFETY: 1. Cleaning and invalidating a mapped line changes no value.
        unsafe { core::arch::asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    dsb_sy();
}

/// Zeroes `[start, start + len)`, memory of guests, and cleans and invalidates it to the point of coherency. Bounds are
/// multiples of what DC ZVA zeroes; EL2 may use it on every core (DCZID_EL0.DZP is for lower levels, Arm ARM D17.2.37).
///
/// # Safety
///
/// The range is mapped read-write and holds no object of EL2's.
pub unsafe fn zero_to_coherency(start: u64, len: u64) {
    let block = 4 << (DCZID::read() & 0xf);
    for at in (start..start + len).step_by(block) {
        // SAFETY: 1. The block lies in the range, which the caller may have zeroed.
        unsafe { core::arch::asm!("dc zva, {}", in(reg) at, options(nostack, preserves_flags)) };
    }
    clean_to_coherency(start, len);
}
