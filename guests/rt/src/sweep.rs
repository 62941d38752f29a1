//! Reads of every encoding of a class of system registers, allocated or not.

use core::arch::{asm, global_asm};

use crate::{cpu, gic};

/// Encodings of one class (Op0): Op1, CRn, CRm, Op2.
pub const ENCODINGS: u64 = 1 << 14;

// `MRS x0, S<op0>_<op1>_c<n>_c<m>_<op2> (Arm ARM C6.2.228); RET` in the order of the encodings, of Op0 = 2 and 3. The vectors skip what is an Unknown
// exception, or one of a floating-point unit that is off (FPCR, FPSR), and count it in x26; anything else is counted in x27 as well. Interrupts are masked.
global_asm!(
    ".section .text.rt_sweep, \"ax\"",
    ".balign 0x800",
    "rt_sweep_vectors:",
    ".skip 0x200",
    "    mrs  x25, esr_el1",
    "    lsr  x25, x25, #26",
    "    cbz  x25, 1f",
    "    cmp  x25, #7",
    "    b.eq 1f",
    "    add  x27, x27, #1",
    "1:  add  x26, x26, #1",
    "    mrs  x25, elr_el1",
    "    add  x25, x25, #4",
    "    msr  elr_el1, x25",
    "    eret",
    ".balign 0x80",
    ".skip 0x580",
    ".set rt_encoding, 0",
    "rt_sweep_2:",
    ".rept 16384",
    ".inst 0xd5300000 | rt_encoding << 5",
    "    ret",
    ".set rt_encoding, rt_encoding + 1",
    ".endr",
    ".set rt_encoding, 0",
    "rt_sweep_3:",
    ".rept 16384",
    ".inst 0xd5380000 | rt_encoding << 5",
    "    ret",
    ".set rt_encoding, rt_encoding + 1",
    ".endr",
);

unsafe extern "C" {
    safe static rt_sweep_vectors: u8;
    safe static rt_sweep_2: u8;
    safe static rt_sweep_3: u8;
    safe static rt_vectors: u8;
}

/// What became of the reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Undefined instructions, and the others that were not carried out.
    pub refused: u64,
    /// Exceptions that were neither Unknown nor of the floating-point unit, which is off.
    pub strange: u64,
}

/// Reads the encodings `from` to before `to` of class `op0`: 2 or 3.
///
/// # Panics
/// There is no such class or encoding.
pub fn read(op0: u64, from: u64, to: u64) -> Swept {
    let base = match op0 {
        2 => &raw const rt_sweep_2 as u64,
        3 => &raw const rt_sweep_3 as u64,
        _ => panic!("no sweep of Op0 {op0}"),
    };
    assert!(from <= to && to <= ENCODINGS);
    let mut swept = Swept { refused: 0, strange: 0 };
    let daif = cpu::irq_off();
    for encoding in from..to {
        let (refused, strange): (u64, u64);
        // SAFETY: 1. One MRS of the table into x0, then back to here. Reading a system register changes no memory; what an
        // acknowledge register takes away is nothing, as no interrupt is enabled. 2. The vectors use only the registers named.
        unsafe {
            asm!(
                "msr vbar_el1, {sweep}",
                "isb",
                "adr x30, 3f",
                "br  {at}",
                "3:  msr vbar_el1, {own}",
                "isb",
                sweep = in(reg) &raw const rt_sweep_vectors,
                own = in(reg) &raw const rt_vectors,
                at = in(reg) base + 8 * encoding,
                out("x0") _, out("x25") _, inout("x26") 0_u64 => refused, inout("x27") 0_u64 => strange,
                out("x30") _,
                options(nostack),
            )
        }
        swept.refused += refused;
        swept.strange += strange;
    }
    let taken = gic::acknowledge();
    if taken < gic::SPECIAL {
        gic::end(taken);
    }
    cpu::irq_restore(daif);
    swept
}
