//! A64 decoding: disarm64 says whether the word is an instruction and of which class; the fields of the classes that
//! matter to control flow and loop counters are taken apart here (Arm ARM DDI 0487, C4.1 encodings). A word that is no
//! instruction, or of a class without a rule, is an error, never a guess.

use crate::inst::{Address, Bitfield, Extend, Flow, Inst, Logic, Op, Operand, Reg, SP, Select, Shift, ZR};
use disarm64::{InsnOpcode, decoder};

/// Why a word could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an A64 instruction.
    #[error("{pc:#x}: {bits:#010x} is not an A64 instruction")]
    Undefined {
        /// Address.
        pc: u64,
        /// The word.
        bits: u32,
    },
    /// An instruction whose effect the analyser has no rule for.
    #[error("{pc:#x}: no rule for `{text}` (class {class})")]
    NoRule {
        /// Address.
        pc: u64,
        /// Disassembly.
        text: String,
        /// disarm64's class.
        class: String,
    },
}

fn field(bits: u32, hi: u32, lo: u32) -> u32 {
    (bits >> lo) & (((1u64 << (hi - lo + 1)) - 1) as u32)
}

fn signed_field(bits: u32, hi: u32, lo: u32) -> i64 {
    let width = hi - lo + 1;
    ((field(bits, hi, lo) as i64) << (64 - width)) >> (64 - width)
}

fn zr(bits: u32, lo: u32) -> Reg {
    match field(bits, lo + 4, lo) as Reg {
        31 => ZR,
        r => r,
    }
}

fn sp(bits: u32, lo: u32) -> Reg {
    field(bits, lo + 4, lo) as Reg
}

fn shift(n: u32) -> Shift {
    match n & 3 {
        0 => Shift::Lsl,
        1 => Shift::Lsr,
        2 => Shift::Asr,
        _ => Shift::Ror,
    }
}

fn extend(option: u32) -> Extend {
    Extend {
        bits: 8 << (option & 3),
        signed: option & 4 != 0,
    }
}

/// The immediate of a logical instruction (Arm ARM, DecodeBitMasks); `None` for reserved encodings.
pub fn bitmask(n: u32, immr: u32, imms: u32, wide: bool) -> Option<u64> {
    let len = 31 - ((n << 6) | (!imms & 0x3f)).leading_zeros().min(31);
    if len == 0 || (!wide && n != 0) {
        return None;
    }
    let size = 1u32 << len;
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    if s == size - 1 {
        return None;
    }
    let ones = (1u64 << (s + 1)) - 1;
    let mask = if size == 64 { u64::MAX } else { (1u64 << size) - 1 };
    let element = if r == 0 {
        ones
    } else {
        ((ones >> r) | (ones << (size - r))) & mask
    };
    let mut value = element;
    let mut width = size;
    while width < 64 {
        value |= value << width;
        width *= 2;
    }
    Some(if wide { value } else { value & 0xffff_ffff })
}

/// Decodes the word at `pc`.
pub fn decode(pc: u64, bits: u32) -> Result<Inst, DecodeError> {
    let Some(opcode) = decoder::decode(bits) else {
        // UDF #imm16 is permanently undefined and ends execution (Arm ARM C6.2, UDF).
        if bits >> 16 == 0 {
            return Ok(Inst {
                pc,
                bits,
                op: Op::None,
                flow: Flow::Trap,
            });
        }
        return Err(DecodeError::Undefined { pc, bits });
    };
    let class = format!("{:?}", opcode.definition().class);
    let rule = branches(&class, pc, bits)
        .map(|flow| (Op::None, flow))
        .or_else(|| system(&class, bits))
        .or_else(|| integer(&class, pc, bits).map(|op| (op, Flow::Next)))
        .or_else(|| memory(&class, bits).map(|op| (op, Flow::Next)))
        .or_else(|| exclusive(&class, bits).map(|op| (op, Flow::Next)))
        .or_else(|| vector(&class, opcode.definition().mnemonic, bits).map(|op| (op, Flow::Next)));
    match rule {
        Some((op, flow)) => Ok(Inst { pc, bits, op, flow }),
        None => Err(DecodeError::NoRule {
            pc,
            text: format!("{opcode}"),
            class,
        }),
    }
}

fn branches(class: &str, pc: u64, bits: u32) -> Option<Flow> {
    let to = |hi, lo| pc.wrapping_add((signed_field(bits, hi, lo) * 4) as u64);
    Some(match class {
        "BRANCH_IMM" if bits >> 31 == 0 => Flow::Jump(to(25, 0)),
        "BRANCH_IMM" => Flow::Call(to(25, 0)),
        // Bit 4 set is BC.cond (FEAT_HBC), which branches alike.
        "CONDBRANCH" => Flow::Cond {
            cond: field(bits, 3, 0) as u8,
            target: to(23, 5),
        },
        "COMPBRANCH" => Flow::Zero {
            rt: zr(bits, 0),
            wide: bits >> 31 != 0,
            zero: field(bits, 24, 24) == 0,
            target: to(23, 5),
        },
        "TESTBRANCH" => Flow::Bit {
            rt: zr(bits, 0),
            bit: (field(bits, 31, 31) << 5 | field(bits, 23, 19)) as u8,
            set: field(bits, 24, 24) == 1,
            target: to(18, 5),
        },
        "BRANCH_REG" => match field(bits, 24, 21) & 7 {
            0 => Flow::JumpReg(zr(bits, 5)),
            1 => Flow::CallReg(zr(bits, 5)),
            2 => Flow::Ret(if field(bits, 11, 11) == 1 { 30 } else { zr(bits, 5) }),
            4 => Flow::Eret,
            _ => return None,
        },
        _ => return None,
    })
}

fn system(class: &str, bits: u32) -> Option<(Op, Flow)> {
    match class {
        "EXCEPTION" => Some(match (field(bits, 23, 21), field(bits, 1, 0)) {
            (0, 1..=3) => (Op::Service, Flow::Next),
            _ => (Op::None, Flow::Trap),
        }),
        "IC_SYSTEM" => {
            let (read, op0) = (field(bits, 21, 21) == 1, field(bits, 20, 19));
            let key = field(bits, 20, 5) as u16;
            let op = match (read, op0) {
                (true, 2 | 3) => Op::Mrs { rd: zr(bits, 0), key },
                (false, 2 | 3) => Op::Msr { key, rt: zr(bits, 0) },
                (true, 1) => Op::Clobber {
                    rd: zr(bits, 0),
                    rd2: ZR,
                    bits: 64,
                    flags: false,
                },
                // MSR (immediate), hints, barriers, SYS: CFINV and friends (CRn 4, op1 0, op2 0–2) change flags.
                (false, 0) if field(bits, 18, 12) == 4 => Op::Clobber {
                    rd: ZR,
                    rd2: ZR,
                    bits: 64,
                    flags: true,
                },
                (false, _) => Op::None,
                _ => return None,
            };
            Some((op, Flow::Next))
        }
        _ => None,
    }
}

fn integer(class: &str, pc: u64, bits: u32) -> Option<Op> {
    let wide = bits >> 31 != 0;
    let (sub, flags) = (field(bits, 30, 30) == 1, field(bits, 29, 29) == 1);
    let (rd, rn, rm) = (zr(bits, 0), zr(bits, 5), zr(bits, 16));
    let rd_or_sp = if flags { rd } else { sp(bits, 0) };
    let shifted = Operand::Shifted(rm, shift(field(bits, 23, 22)), field(bits, 15, 10) as u8);
    Some(match class {
        "ADDSUB_IMM" => {
            let imm = (field(bits, 21, 10) as u64) << (12 * field(bits, 22, 22));
            Op::AddSub {
                rd: rd_or_sp,
                rn: sp(bits, 5),
                op2: Operand::Imm(imm),
                sub,
                flags,
                wide,
            }
        }
        "ADDSUB_SHIFT" => Op::AddSub {
            rd,
            rn,
            op2: shifted,
            sub,
            flags,
            wide,
        },
        "ADDSUB_EXT" => {
            let op2 = Operand::Extended(rm, extend(field(bits, 15, 13)), field(bits, 12, 10) as u8);
            Op::AddSub {
                rd: rd_or_sp,
                rn: sp(bits, 5),
                op2,
                sub,
                flags,
                wide,
            }
        }
        "ADDSUB_CARRY" => Op::Clobber {
            rd,
            rd2: ZR,
            bits: if wide { 64 } else { 32 },
            flags,
        },
        "LOG_IMM" => {
            let imm = bitmask(field(bits, 22, 22), field(bits, 21, 16), field(bits, 15, 10), wide)?;
            logic(bits, Operand::Imm(imm), false, true)
        }
        "LOG_SHIFT" => logic(bits, shifted, field(bits, 21, 21) == 1, false),
        "MOVEWIDE" => {
            let (imm, hw) = (field(bits, 20, 5), (field(bits, 22, 21) * 16) as u8);
            let value = (imm as u64) << hw;
            let narrow = |v: u64| if wide { v } else { v & 0xffff_ffff };
            match field(bits, 30, 29) {
                0 => Op::Const {
                    rd,
                    value: narrow(!value),
                },
                2 => Op::Const { rd, value },
                3 => Op::MovK {
                    rd,
                    imm: imm as u16,
                    shift: hw,
                    wide,
                },
                _ => return None,
            }
        }
        "PCRELADDR" => {
            let imm = signed_field(bits, 23, 5) << 2 | field(bits, 30, 29) as i64;
            let value = if bits >> 31 == 0 {
                pc.wrapping_add(imm as u64)
            } else {
                (pc & !0xfff).wrapping_add((imm << 12) as u64)
            };
            Op::Const { rd, value }
        }
        "BITFIELD" => {
            let kind = match field(bits, 30, 29) {
                0 => Bitfield::Signed,
                1 => Bitfield::Insert,
                2 => Bitfield::Unsigned,
                _ => return None,
            };
            Op::Bitfield {
                kind,
                rd,
                rn,
                immr: field(bits, 21, 16) as u8,
                imms: field(bits, 15, 10) as u8,
                wide,
            }
        }
        "EXTRACT" => {
            let lsb = field(bits, 15, 10) as u8;
            if rn == rm && rn != ZR {
                Op::AddSub {
                    rd,
                    rn: ZR,
                    op2: Operand::Shifted(rm, Shift::Ror, lsb),
                    sub: false,
                    flags: false,
                    wide,
                }
            } else {
                Op::Clobber {
                    rd,
                    rd2: ZR,
                    bits: if wide { 64 } else { 32 },
                    flags: false,
                }
            }
        }
        "CONDSEL" => {
            let kind = match (sub, field(bits, 10, 10)) {
                (false, 0) => Select::Plain,
                (false, _) => Select::Inc,
                (true, 0) => Select::Inv,
                (true, _) => Select::Neg,
            };
            Op::Select {
                kind,
                rd,
                rn,
                rm,
                cond: field(bits, 15, 12) as u8,
                wide,
            }
        }
        "CONDCMP_IMM" | "CONDCMP_REG" => {
            let op2 = if class == "CONDCMP_IMM" {
                Operand::Imm(field(bits, 20, 16) as u64)
            } else {
                Operand::Shifted(rm, Shift::Lsl, 0)
            };
            let (cond, nzcv) = (field(bits, 15, 12) as u8, field(bits, 3, 0) as u8);
            Op::CondCmp {
                sub,
                rn,
                op2,
                cond,
                nzcv,
                wide,
            }
        }
        "DP_1SRC" => match field(bits, 15, 10) {
            4 => Op::Clz { rd, rn, wide },
            _ => Op::Clobber {
                rd,
                rd2: ZR,
                bits: if wide { 64 } else { 32 },
                flags: false,
            },
        },
        "DP_2SRC" => match field(bits, 15, 10) {
            2 => Op::UDiv { rd, rn, rm, wide },
            8..=11 => Op::ShiftVar {
                kind: shift(field(bits, 11, 10)),
                rd,
                rn,
                rm,
                wide,
            },
            _ => Op::Clobber {
                rd,
                rd2: ZR,
                bits: if wide { 64 } else { 32 },
                flags: field(bits, 29, 29) == 1,
            },
        },
        "DP_3SRC" => match (field(bits, 23, 21), field(bits, 15, 15)) {
            (0, o0) => Op::MulAdd {
                rd,
                rn,
                rm,
                ra: zr(bits, 10),
                sub: o0 == 1,
                wide,
            },
            (5, 0) => Op::UMulAddL {
                rd,
                rn,
                rm,
                ra: zr(bits, 10),
            },
            _ => Op::Clobber {
                rd,
                rd2: ZR,
                bits: 64,
                flags: false,
            },
        },
        "CSSC" => Op::Clobber {
            rd,
            rd2: ZR,
            bits: if wide { 64 } else { 32 },
            flags: false,
        },
        "AARCH64_MISC" => return None,
        _ => return None,
    })
}

fn logic(bits: u32, op2: Operand, invert: bool, immediate: bool) -> Op {
    let opc = field(bits, 30, 29);
    let kind = match opc {
        1 => Logic::Orr,
        2 => Logic::Eor,
        _ => Logic::And,
    };
    let flags = opc == 3;
    let rd = if immediate && !flags { sp(bits, 0) } else { zr(bits, 0) };
    Op::Logic {
        kind,
        rd,
        rn: zr(bits, 5),
        op2,
        invert,
        flags,
        wide: bits >> 31 != 0,
    }
}

/// Loads and stores of the general and SIMD registers (Arm ARM C4.1.94).
fn memory(class: &str, bits: u32) -> Option<Op> {
    let base = sp(bits, 5);
    let simd = field(bits, 26, 26) == 1;
    let (size, opc) = (field(bits, 31, 30), field(bits, 23, 22));
    match class {
        "LOADLIT" => {
            // Literal pools hold constants, but the address is absolute: the explorer sees an unknown value.
            let rd = if simd || size == 3 { ZR } else { zr(bits, 0) };
            return Some(Op::Clobber {
                rd,
                rd2: ZR,
                bits: if size == 0 { 32 } else { 64 },
                flags: false,
            });
        }
        "LDSTPAIR_OFF" | "LDSTPAIR_INDEXED" | "LDSTNAPAIR_OFFS" => return pair(class, bits, base, simd),
        _ => {}
    }
    let log2 = if simd { (opc >> 1) << 2 | size } else { size };
    let bytes = 1u8 << log2.min(4);
    let offset = match class {
        "LDST_POS" => Operand::Imm((field(bits, 21, 10) as u64) << log2),
        "LDST_UNSCALED" | "LDST_UNPRIV" => Operand::Imm(signed_field(bits, 20, 12) as u64),
        "LDST_REGOFF" => {
            let amount = if field(bits, 12, 12) == 1 { log2 as u8 } else { 0 };
            Operand::Extended(zr(bits, 16), extend(field(bits, 15, 13)), amount)
        }
        // Bit 11 tells pre-index (1) from post-index (0).
        "LDST_IMM9" if field(bits, 11, 11) == 1 => Operand::Imm(signed_field(bits, 20, 12) as u64),
        "LDST_IMM9" => Operand::Imm(0),
        _ => return None,
    };
    let writeback = (class == "LDST_IMM9").then(|| signed_field(bits, 20, 12));
    let addr = Address {
        base,
        offset,
        writeback,
    };
    Some(match (simd, opc) {
        (true, 0 | 2) => Op::StoreOpaque { bytes, addr },
        (true, _) => Op::LoadOpaque { addr },
        (false, 0) => Op::Store {
            rt: zr(bits, 0),
            rt2: None,
            size: bytes,
            addr,
        },
        (false, 1) => Op::Load {
            rt: zr(bits, 0),
            rt2: None,
            size: bytes,
            signed: None,
            addr,
        },
        (false, 2) if size == 3 => Op::LoadOpaque { addr },
        (false, _) => Op::Load {
            rt: zr(bits, 0),
            rt2: None,
            size: bytes,
            signed: Some(opc == 2),
            addr,
        },
    })
}

fn pair(class: &str, bits: u32, base: Reg, simd: bool) -> Option<Op> {
    let (opc, load) = (field(bits, 31, 30), field(bits, 22, 22) == 1);
    let log2 = if simd { 2 + opc } else { 2 + (opc >> 1) };
    let imm = signed_field(bits, 21, 15) << log2;
    // Bits 24..23: 01 post-index, 10 offset, 11 pre-index, 00 non-temporal.
    let mode = field(bits, 24, 23);
    let indexed = class == "LDSTPAIR_INDEXED";
    let offset = Operand::Imm(if indexed && mode == 1 { 0 } else { imm as u64 });
    let addr = Address {
        base,
        offset,
        writeback: indexed.then_some(imm),
    };
    let (rt, rt2, size) = (zr(bits, 0), Some(zr(bits, 10)), 1u8 << log2);
    Some(match (simd, load) {
        (true, true) => Op::LoadOpaque { addr },
        (true, false) => Op::StoreOpaque { bytes: size * 2, addr },
        (false, true) => Op::Load {
            rt,
            rt2,
            size,
            signed: (opc == 1).then_some(true),
            addr,
        },
        (false, false) => Op::Store { rt, rt2, size, addr },
    })
}

fn exclusive(class: &str, bits: u32) -> Option<Op> {
    let size = 1u8 << field(bits, 31, 30);
    let addr = Address {
        base: sp(bits, 5),
        offset: Operand::Imm(0),
        writeback: None,
    };
    let (rt, rt2, rs) = (zr(bits, 0), zr(bits, 10), zr(bits, 16));
    match class {
        "LDSTEXCL" => {
            let (o2, load, o1) = (
                field(bits, 23, 23) == 1,
                field(bits, 22, 22) == 1,
                field(bits, 21, 21) == 1,
            );
            Some(match (o2, load, o1) {
                // CAS: old value to rs. CASP (o2 = 0, o1 = 1, size 0x) is refused below by its size bits.
                (true, _, true) => Op::Atomic {
                    rd: rs,
                    rd2: ZR,
                    status: ZR,
                    size,
                    addr,
                },
                // LDAR/STLR and limited-ordering forms.
                (true, true, false) => Op::Atomic {
                    rd: rt,
                    rd2: ZR,
                    status: ZR,
                    size,
                    addr,
                },
                (true, false, false) => Op::Store {
                    rt,
                    rt2: None,
                    size,
                    addr,
                },
                // Load exclusive, single or pair; store exclusive writes its status.
                (false, true, pair) => Op::Atomic {
                    rd: rt,
                    rd2: if pair { rt2 } else { ZR },
                    status: ZR,
                    size,
                    addr,
                },
                (false, false, true) if field(bits, 31, 31) == 0 => return None,
                (false, false, pair) => Op::Atomic {
                    rd: ZR,
                    rd2: ZR,
                    status: rs,
                    size: if pair { size.saturating_mul(2) } else { size },
                    addr,
                },
            })
        }
        "LSE_ATOMIC" => Some(Op::Atomic {
            rd: rt,
            rd2: ZR,
            status: ZR,
            size,
            addr,
        }),
        "RCPC3" => Some(Op::Atomic {
            rd: rt,
            rd2: ZR,
            status: ZR,
            size,
            addr,
        }),
        _ => None,
    }
}

/// Floating point and SIMD: only a general destination matters.
fn vector(class: &str, mnemonic: &str, bits: u32) -> Option<Op> {
    let to_general = Op::Clobber {
        rd: zr(bits, 0),
        rd2: ZR,
        bits: 64,
        flags: false,
    };
    match class {
        "FLOAT2INT" | "FLOAT2FIX" | "FPRCVTFLOAT2INT" => Some(to_general),
        "ASIMDINS" if mnemonic == "umov" || mnemonic == "smov" || mnemonic == "mov" => Some(to_general),
        "FLOATCMP" | "FLOATCCMP" => Some(Op::Clobber {
            rd: ZR,
            rd2: ZR,
            bits: 64,
            flags: true,
        }),
        "ASISDLSE" | "ASISDLSEP" | "ASISDLSO" | "ASISDLSOP" => {
            // Post-index forms (class ends in P) move the base by a register or by the size of the list: refused.
            if class.ends_with('P') {
                return None;
            }
            let addr = Address {
                base: sp(bits, 5),
                offset: Operand::Imm(0),
                writeback: None,
            };
            // The largest list is four registers of 16 bytes.
            let bytes = 64;
            Some(if field(bits, 22, 22) == 1 {
                Op::LoadOpaque { addr }
            } else {
                Op::StoreOpaque { bytes, addr }
            })
        }
        _ if ["ASIMD", "ASISD", "FLOAT", "FPRCVTINT", "CRYPTO", "DOTPRODUCT", "BFLOAT"]
            .iter()
            .any(|p| class.starts_with(p)) =>
        {
            Some(Op::None)
        }
        _ => None,
    }
}

/// The stack pointer is register 31 in the base position of every load and store.
const _: () = assert!(SP == 31);
