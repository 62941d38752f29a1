//! Memory of guests, by physical address: EL2 copies, it never holds a reference to what a guest can change.

use crate::board::{RAM_BASE, RAM_BYTES};
use crate::image;

/// True if `len` bytes at `pa` are RAM and not part of the hypervisor.
fn is_guest_ram(pa: u64, len: u64) -> bool {
    let Some(end) = pa.checked_add(len) else { return false };
    pa >= RAM_BASE && end <= RAM_BASE + RAM_BYTES && (end <= image::start() || pa >= image::end())
}

/// Copies `bytes` to guest memory at `pa`; outside guest memory nothing happens.
pub fn write_guest(pa: u64, bytes: &[u8]) {
    if !is_guest_ram(pa, bytes.len() as u64) {
        return;
    }
    // SAFETY: 1. The range is mapped read-write and lies outside the hypervisor's image, so no Rust object is there.
    // 2. `bytes` is memory of the hypervisor, so the two do not overlap.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), pa as *mut u8, bytes.len()) };
}

/// Copies guest memory at `pa` to `bytes`; outside guest memory nothing happens.
pub fn read_guest(pa: u64, bytes: &mut [u8]) {
    if !is_guest_ram(pa, bytes.len() as u64) {
        return;
    }
    // SAFETY: 1. and 2. As above. A guest that writes meanwhile can make the copy a mix of old and new bytes, which
    // whoever reads the copy has to expect of guest data anyway.
    unsafe { core::ptr::copy_nonoverlapping(pa as *const u8, bytes.as_mut_ptr(), bytes.len()) };
}

/// Copies `len` bytes from `from` (boot configuration) to guest memory `to`.
pub fn place(from: u64, to: u64, len: u64) {
    if !is_guest_ram(from, len) || !is_guest_ram(to, len) {
        return;
    }
    // SAFETY: 1. Both ranges are mapped RAM outside the image. 2. `copy` allows them to overlap.
    unsafe { core::ptr::copy(from as *const u8, to as *mut u8, len as usize) };
    crate::mmu::clean_to_coherency(to, len);
}

/// Zeroes `len` bytes of guest memory from `to` on, in caches and behind them. Both are multiples of 2 KiB, the largest block
/// that the instruction can zero.
pub fn clear(to: u64, len: u64) {
    if !is_guest_ram(to, len) || (to | len) % ZERO_BLOCK_MAX != 0 {
        return;
    }
    // SAFETY: 1. The range is mapped RAM outside the image.
    unsafe { crate::mmu::zero_to_coherency(to, len) };
}

/// Most bytes of one DC ZVA (DCZID_EL0.BS is at most 9).
const ZERO_BLOCK_MAX: u64 = 2048;

/// The boot configuration's bytes: `len` bytes behind the image. They are never written after boot starts.
pub fn blob(len: u64) -> &'static [u8] {
    let start = image::end();
    if !is_guest_ram(start, len) {
        return &[];
    }
    // SAFETY: 1. The range is mapped RAM behind the image. 2. No guest is given memory there: the configuration's check
    // refuses a VM whose RAM overlaps it.
    unsafe { core::slice::from_raw_parts(start as *const u8, len as usize) }
}
