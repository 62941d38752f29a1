//! Data processing between general registers (Arm ARM C4.1.86, C4.1.90).

use super::{extend, field, shift, signed_field, sp, zr};
use crate::inst::{Bitfield, Logic, Op, Operand, Reg, Select, Shift, ZR};

fn is_wide(bits: u32) -> bool {
    bits >> 31 != 0
}

/// rd becomes unknown, and perhaps the flags.
fn clobber(bits: u32, width: u8, flags: bool) -> Op {
    Op::Clobber {
        rd: zr(bits, 0),
        rd2: ZR,
        bits: width,
        flags,
    }
}

fn width(bits: u32) -> u8 {
    if is_wide(bits) { 64 } else { 32 }
}

pub(super) fn integer(class: &str, pc: u64, bits: u32) -> Option<Op> {
    match class {
        "ADDSUB_IMM" | "ADDSUB_SHIFT" | "ADDSUB_EXT" => Some(add_sub(class, bits)),
        "ADDSUB_CARRY" => Some(clobber(bits, width(bits), field(bits, 29, 29) == 1)),
        "LOG_IMM" | "LOG_SHIFT" => logic(class == "LOG_IMM", bits),
        "MOVEWIDE" => move_wide(bits),
        "PCRELADDR" => Some(address_of(pc, bits)),
        "BITFIELD" => bitfield(bits),
        "EXTRACT" => Some(extract(bits)),
        "CONDSEL" => Some(select(bits)),
        "CONDCMP_IMM" | "CONDCMP_REG" => Some(compare(class == "CONDCMP_IMM", bits)),
        "DP_1SRC" => Some(one_source(bits)),
        "DP_2SRC" => Some(two_sources(bits)),
        "DP_3SRC" => Some(three_sources(bits)),
        "CSSC" => Some(clobber(bits, width(bits), false)),
        _ => None,
    }
}

fn shifted(bits: u32) -> Operand {
    Operand::Shifted(zr(bits, 16), shift(field(bits, 23, 22)), field(bits, 15, 10) as u8)
}

fn add_sub(class: &str, bits: u32) -> Op {
    let flags = field(bits, 29, 29) == 1;
    // Immediate and extended forms name the stack pointer where shifted ones name the zero register.
    let (rn, op2) = match class {
        "ADDSUB_IMM" => {
            let imm = (field(bits, 21, 10) as u64) << (12 * field(bits, 22, 22));
            (sp(bits, 5), Operand::Imm(imm))
        }
        "ADDSUB_EXT" => {
            let op2 = Operand::Extended(zr(bits, 16), extend(field(bits, 15, 13)), field(bits, 12, 10) as u8);
            (sp(bits, 5), op2)
        }
        _ => (zr(bits, 5), shifted(bits)),
    };
    let to_sp = class != "ADDSUB_SHIFT" && !flags;
    Op::AddSub {
        rd: if to_sp { sp(bits, 0) } else { zr(bits, 0) },
        rn,
        op2,
        sub: field(bits, 30, 30) == 1,
        flags,
        wide: is_wide(bits),
    }
}

fn logic(immediate: bool, bits: u32) -> Option<Op> {
    let wide = is_wide(bits);
    let opc = field(bits, 30, 29);
    let flags = opc == 3;
    let op2 = if immediate {
        let (n, immr, imms) = (field(bits, 22, 22), field(bits, 21, 16), field(bits, 15, 10));
        Operand::Imm(super::bitmask(n, immr, imms, wide)?)
    } else {
        shifted(bits)
    };
    Some(Op::Logic {
        kind: match opc {
            1 => Logic::Orr,
            2 => Logic::Eor,
            _ => Logic::And,
        },
        rd: if immediate && !flags { sp(bits, 0) } else { zr(bits, 0) },
        rn: zr(bits, 5),
        op2,
        invert: !immediate && field(bits, 21, 21) == 1,
        flags,
        wide,
    })
}

fn move_wide(bits: u32) -> Option<Op> {
    let (rd, wide) = (zr(bits, 0), is_wide(bits));
    let (imm, hw) = (field(bits, 20, 5), (field(bits, 22, 21) * 16) as u8);
    let value = (imm as u64) << hw;
    match field(bits, 30, 29) {
        0 if wide => Some(Op::Const { rd, value: !value }),
        0 => Some(Op::Const {
            rd,
            value: !value & 0xffff_ffff,
        }),
        2 => Some(Op::Const { rd, value }),
        3 => Some(Op::MovK {
            rd,
            imm: imm as u16,
            shift: hw,
            wide,
        }),
        _ => None,
    }
}

fn address_of(pc: u64, bits: u32) -> Op {
    let imm = signed_field(bits, 23, 5) << 2 | field(bits, 30, 29) as i64;
    let value = if is_wide(bits) {
        (pc & !0xfff).wrapping_add((imm << 12) as u64)
    } else {
        pc.wrapping_add(imm as u64)
    };
    Op::Const { rd: zr(bits, 0), value }
}

fn bitfield(bits: u32) -> Option<Op> {
    let kind = match field(bits, 30, 29) {
        0 => Bitfield::Signed,
        1 => Bitfield::Insert,
        2 => Bitfield::Unsigned,
        _ => return None,
    };
    Some(Op::Bitfield {
        kind,
        rd: zr(bits, 0),
        rn: zr(bits, 5),
        immr: field(bits, 21, 16) as u8,
        imms: field(bits, 15, 10) as u8,
        wide: is_wide(bits),
    })
}

/// EXTR; of one register with itself it is a rotation.
fn extract(bits: u32) -> Op {
    let (rd, rn, rm): (Reg, Reg, Reg) = (zr(bits, 0), zr(bits, 5), zr(bits, 16));
    if rn != rm || rn == ZR {
        return clobber(bits, width(bits), false);
    }
    Op::AddSub {
        rd,
        rn: ZR,
        op2: Operand::Shifted(rm, Shift::Ror, field(bits, 15, 10) as u8),
        sub: false,
        flags: false,
        wide: is_wide(bits),
    }
}

fn select(bits: u32) -> Op {
    Op::Select {
        kind: match (field(bits, 30, 30), field(bits, 10, 10)) {
            (0, 0) => Select::Plain,
            (0, _) => Select::Inc,
            (_, 0) => Select::Inv,
            (_, _) => Select::Neg,
        },
        rd: zr(bits, 0),
        rn: zr(bits, 5),
        rm: zr(bits, 16),
        cond: field(bits, 15, 12) as u8,
        wide: is_wide(bits),
    }
}

fn compare(immediate: bool, bits: u32) -> Op {
    let op2 = if immediate {
        Operand::Imm(field(bits, 20, 16) as u64)
    } else {
        Operand::Shifted(zr(bits, 16), Shift::Lsl, 0)
    };
    Op::CondCmp {
        sub: field(bits, 30, 30) == 1,
        rn: zr(bits, 5),
        op2,
        cond: field(bits, 15, 12) as u8,
        nzcv: field(bits, 3, 0) as u8,
        wide: is_wide(bits),
    }
}

fn one_source(bits: u32) -> Op {
    let (rd, rn, wide) = (zr(bits, 0), zr(bits, 5), is_wide(bits));
    match field(bits, 15, 10) {
        4 => Op::Clz { rd, rn, wide },
        _ => clobber(bits, width(bits), false),
    }
}

fn two_sources(bits: u32) -> Op {
    let (rd, rn, rm, wide) = (zr(bits, 0), zr(bits, 5), zr(bits, 16), is_wide(bits));
    match field(bits, 15, 10) {
        2 => Op::UDiv { rd, rn, rm, wide },
        8..=11 => Op::ShiftVar {
            kind: shift(field(bits, 11, 10)),
            rd,
            rn,
            rm,
            wide,
        },
        _ => clobber(bits, width(bits), field(bits, 29, 29) == 1),
    }
}

fn three_sources(bits: u32) -> Op {
    let (rd, rn, rm, ra) = (zr(bits, 0), zr(bits, 5), zr(bits, 16), zr(bits, 10));
    match (field(bits, 23, 21), field(bits, 15, 15)) {
        (0, o0) => Op::MulAdd {
            rd,
            rn,
            rm,
            ra,
            sub: o0 == 1,
            wide: is_wide(bits),
        },
        (5, 0) => Op::UMulAddL { rd, rn, rm, ra },
        _ => clobber(bits, 64, false),
    }
}
