//! Loads, stores, atomics, and what floating point and SIMD do to general registers (Arm ARM C4.1.94).

use super::{extend, field, signed_field, sp, zr};
use crate::inst::{Address, Op, Operand, Reg, ZR};

/// Loads and stores of the general and SIMD registers (Arm ARM C4.1.94).
pub(super) fn memory(class: &str, bits: u32) -> Option<Op> {
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

pub(super) fn exclusive(class: &str, bits: u32) -> Option<Op> {
    let size = 1u8 << field(bits, 31, 30);
    let addr = Address {
        base: sp(bits, 5),
        offset: Operand::Imm(0),
        writeback: None,
    };
    let rt = zr(bits, 0);
    match class {
        "LDSTEXCL" => ordered(bits, size, addr),
        // Compare and swap is of this class too, but shares the fields of the exclusives (Arm ARM C4.1.94).
        "LSE_ATOMIC" if field(bits, 29, 24) == 0b00_1000 => ordered(bits, size, addr),
        "LSE_ATOMIC" | "RCPC3" => Some(Op::Atomic {
            rd: rt,
            rd2: ZR,
            status: ZR,
            size,
            addr,
        }),
        _ => None,
    }
}

/// Load and store exclusive, acquire, release, compare and swap.
fn ordered(bits: u32, size: u8, addr: Address) -> Option<Op> {
    let (rt, rt2, rs) = (zr(bits, 0), zr(bits, 10), zr(bits, 16));
    let (o2, load, o1) = (
        field(bits, 23, 23) == 1,
        field(bits, 22, 22) == 1,
        field(bits, 21, 21) == 1,
    );
    Some(match (o2, load, o1) {
        // CASP, which writes two registers, where the pairs of the exclusives have bit 31 set.
        (false, _, true) if field(bits, 31, 31) == 0 => return None,
        // CAS: old value to rs.
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
        (false, false, pair) => Op::Atomic {
            rd: ZR,
            rd2: ZR,
            status: rs,
            size: if pair { size.saturating_mul(2) } else { size },
            addr,
        },
    })
}

/// Floating point and SIMD: only a general destination matters.
pub(super) fn vector(class: &str, mnemonic: &str, bits: u32) -> Option<Op> {
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

#[cfg(test)]
mod tests {
    use crate::decode::decode;
    use crate::inst::Op;

    #[test]
    fn compare_and_swap_writes_the_register_it_compares() {
        // cas w1, w2, [x3]; casal x1, x2, [x3]
        for (word, bytes) in [(0x88a1_7c62, 4), (0xc8e1_fc62, 8)] {
            let op = decode(0, word).unwrap().op;
            let Op::Atomic { rd, size, .. } = op else {
                panic!("{op:?}")
            };
            assert_eq!((rd, size), (1, bytes));
        }
        // casp and caspal x0, x1, x2, x3, [x4]: two registers.
        for word in [0x4820_7c82, 0x4860_fc82] {
            assert!(decode(0, word).is_err(), "{word:#x}");
        }
        // ldxp x0, x1, [x4] and ldadd x1, x2, [x3] are what they were.
        for (word, written) in [(0xc87f_0480, 0), (0xf821_0062, 2)] {
            let op = decode(0, word).unwrap().op;
            assert!(matches!(op, Op::Atomic { rd, .. } if rd == written), "{op:?}");
        }
    }
}
