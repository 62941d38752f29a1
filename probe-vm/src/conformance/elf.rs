//! The smallest static AArch64 ELF executable: one read-execute and one read-write segment (System V gABI, chapter 4–5).

use alloc::vec::Vec;

const PAGE: u64 = 0x1_0000;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const EM_AARCH64: u16 = 183;
const R: u32 = 4;
const W: u32 = 2;
const X: u32 = 1;

/// An executable that starts at word `start` of `text`.
pub(super) fn executable(text: &[u32], text_base: u64, start: usize, data: &[u8], data_base: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(*b"\x7fELF\x02\x01\x01");
    out.resize(16, 0);
    out.extend(2u16.to_le_bytes()); // ET_EXEC
    out.extend(EM_AARCH64.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend((text_base + start as u64 * 4).to_le_bytes());
    out.extend((HEADER as u64).to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 2, 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let text_bytes = text.len() as u64 * 4;
    let data_offset = PAGE + text_bytes.next_multiple_of(PAGE);
    segment(&mut out, R | X, PAGE, text_base, text_bytes);
    segment(&mut out, R | W, data_offset, data_base, data.len() as u64);
    out.resize(PAGE as usize, 0);
    out.extend(text.iter().flat_map(|w| w.to_le_bytes()));
    out.resize(data_offset as usize, 0);
    out.extend(data);
    out
}

fn segment(out: &mut Vec<u8>, flags: u32, offset: u64, base: u64, bytes: u64) {
    out.extend(1u32.to_le_bytes()); // PT_LOAD
    out.extend(flags.to_le_bytes());
    for value in [offset, base, base, bytes, bytes, PAGE] {
        out.extend(value.to_le_bytes());
    }
}
