//! Probe sites: the table the linker gathered, and the switch between `nop` and branch.

use core::sync::atomic::{AtomicU32, Ordering};

use hyp_core::probe_vm::points::PointId;

use crate::{image, mmu};

/// One site, as the assembler of `points` wrote it.
#[repr(C)]
struct Site {
    /// Address of the `nop`.
    at: u64,
    /// Address of the block that fires.
    block: u64,
    /// Its [`PointId`].
    point: u64,
}

/// Most sites: bounds the walk of one attach. The image has about sixty.
const SITES_MAX: usize = 256;
const NOP: u32 = 0xd503_201f;
const B: u32 = 0x1400_0000;
const B_MASK: u32 = 0x03ff_ffff;

fn sites() -> &'static [Site] {
    let bytes = image::sites_end() - image::sites_start();
    let count = (bytes as usize / size_of::<Site>()).min(SITES_MAX);
    // SAFETY: 1. The linker script brackets whole records of this layout, 8-byte aligned, in read-only memory.
    unsafe { core::slice::from_raw_parts(image::sites_start() as *const Site, count) }
}

/// Turns the instruction at `at` into a branch to `to`, or into a `nop`.
///
/// Both may be replaced while other CPUs execute them (Arm ARM B2.2.5): each sees the old or the new one.
pub fn patch(at: u64, to: Option<u64>) {
    let instruction = match to {
        Some(to) => B | (to.wrapping_sub(at) / 4) as u32 & B_MASK,
        None => NOP,
    };
    let _ = mmu::with_window(at, 1, |words| {
        if let Some(word) = words.first_mut() {
            *word = instruction;
        }
    });
}

/// Points whose sites are branches, as bits. Probes are attached and detached by one CPU at a time; others may read it late.
static ARMED: AtomicU32 = AtomicU32::new(0);

/// Points that have probes, as bits by number.
pub fn armed() -> u32 {
    ARMED.load(Ordering::Relaxed)
}

/// Turns every site of `point` into a branch (`on`) or back into a `nop`.
pub fn switch(point: PointId, on: bool) {
    let bit = 1 << point as u32;
    let armed = armed() & !bit | u32::from(on) << point as u32;
    ARMED.store(armed, Ordering::Relaxed);
    for site in sites().iter().filter(|site| site.point == point as u64) {
        patch(site.at, on.then_some(site.block));
    }
}
