//! A64 decoding: disarm64 says whether the word is an instruction and of which class; the fields of the classes that
//! matter to control flow and loop counters are taken apart here (Arm ARM DDI 0487, C4.1 encodings). A word that is no
//! instruction, or of a class without a rule, is an error, never a guess.

mod integer;
mod memory;

use crate::inst::{Extend, Flow, Inst, Op, Reg, SP, Shift, ZR};
use disarm64::{InsnOpcode, decoder};
use integer::integer;
use memory::{exclusive, memory, vector};

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

/// The stack pointer is register 31 in the base position of every load and store.
const _: () = assert!(SP == 31);
