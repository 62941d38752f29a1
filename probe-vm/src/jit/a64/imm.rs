//! Which constants an instruction can hold.

use super::Width;

/// The `N:immr:imms` field (13 bits) of a logical immediate, or `None` where `value` is not one.
///
/// A logical immediate is a run of ones, rotated, repeated in elements of 2, 4, 8, 16, 32 or 64 bits
/// (Arm ARM, `DecodeBitMasks`). All zeros and all ones are not representable.
pub const fn logical(value: u64, width: Width) -> Option<u32> {
    let value = match width {
        Width::X => value,
        Width::W => (value & 0xffff_ffff) | (value << 32),
    };
    if value == 0 || value == u64::MAX {
        return None;
    }
    // The smallest element whose repetition is the value.
    let mut size = 64;
    while size > 2 {
        let half = size / 2;
        let mask = (1u64 << half) - 1;
        if value & mask != (value >> half) & mask {
            break;
        }
        size = half;
    }
    let mask = if size == 64 { u64::MAX } else { (1 << size) - 1 };
    let element = value & mask;
    let ones = element.count_ones();
    // Rotate the element right until its run of ones starts at bit 0.
    let start = if element & 1 == 0 {
        element.trailing_zeros()
    } else {
        let ones_above = (element | !mask).leading_ones() + size - 64;
        (size - ones_above) & (size - 1)
    };
    let rotated = if start == 0 {
        element
    } else {
        ((element >> start) | (element << (size - start))) & mask
    };
    if rotated & (rotated.wrapping_add(1)) != 0 {
        return None;
    }
    let immr = (size - start) & (size - 1);
    let imms = (!(size * 2 - 1) & 0x3f) | (ones - 1);
    let n = if size == 64 { 1 } else { 0 };
    Some(n << 12 | immr << 6 | (imms & 0x3f))
}

/// An immediate of `ADD`/`SUB`: 12 bits, or 12 bits shifted left by 12. Returns `(imm12, shifted)`.
pub const fn add_sub(value: u64) -> Option<(u32, bool)> {
    if value < 1 << 12 {
        Some((value as u32, false))
    } else if value & 0xfff == 0 && value < 1 << 24 {
        Some(((value >> 12) as u32, true))
    } else {
        None
    }
}

/// How many of the four 16-bit chunks of `value` differ from `fill` (0 or 0xffff), looking at `width` bits.
const fn chunks_unlike(value: u64, fill: u16, width: Width) -> u32 {
    let mut count = 0;
    let mut shift = 0;
    while shift < width.bits() {
        if (value >> shift) as u16 != fill {
            count += 1;
        }
        shift += 16;
    }
    count
}

/// The most words [`Plan`] takes: `MOVZ` and three `MOVK`.
pub const MOV_MAX: usize = 4;

/// The shortest way found to make a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// One `ORR` of a logical immediate with the zero register; the 13-bit field.
    Logical(u32),
    /// `MOVZ` and a `MOVK` for each further chunk that is not zero.
    Zero,
    /// `MOVN` and a `MOVK` for each further chunk that is not all ones.
    Ones,
    /// `ORR` of a logical immediate, then one `MOVK` at this shift.
    Patched(u32, u32),
}

/// Chooses the shortest of [`Plan`]'s ways for `value` in a register of `width`.
pub const fn mov(value: u64, width: Width) -> (Plan, usize) {
    let value = match width {
        Width::X => value,
        Width::W => value & 0xffff_ffff,
    };
    let zero = chunks_unlike(value, 0, width);
    let ones = chunks_unlike(value, 0xffff, width);
    let best = if ones < zero { ones } else { zero };
    if best > 1
        && let Some(field) = logical(value, width)
    {
        return (Plan::Logical(field), 1);
    }
    if best > 2
        && let Some((field, shift)) = patched(value)
    {
        return (Plan::Patched(field, shift), 2);
    }
    let words = if best == 0 { 1 } else { best as usize };
    if ones < zero {
        (Plan::Ones, words)
    } else {
        (Plan::Zero, words)
    }
}

/// A 64-bit value that is a logical immediate but for one 16-bit chunk.
const fn patched(value: u64) -> Option<(u32, u32)> {
    let mut shift = 0;
    while shift < 64 {
        let hole = value & !(0xffff << shift);
        // The chunk may be anything in the logical immediate; a neighbour's value is the likeliest.
        let mut from = 0;
        while from < 64 {
            let chunk = (value >> from) & 0xffff;
            if let Some(field) = logical(hole | chunk << shift, Width::X) {
                return Some((field, shift));
            }
            from += 16;
        }
        shift += 16;
    }
    None
}
