//! Exception vectors: every exception saves a full [`Frame`]; interrupts go to [`crate::irq`], a fault inside one of the
//! `try_` accesses resumes after it, anything else ends the guest with the frame on its console.

use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};

use crate::{exit, irq, println};

/// The interrupted state, as the vectors save it.
#[repr(C)]
#[derive(Debug)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// ELR_EL1: where the exception was taken.
    pub elr: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    _pad: u64,
}

const FRAME: usize = size_of::<Frame>();
const _: () =
    assert!(FRAME == 288 && FRAME % 16 == 0 && offset_of!(Frame, elr) == 248 && offset_of!(Frame, esr) == 264);

global_asm!(
    ".macro vector kind",
    "    .balign 0x80",
    "    sub  sp, sp, #{frame}",
    "    stp  x0, x1, [sp]",
    "    mov  x1, #\\kind",
    "    b    rt_vector_common",
    ".endm",
    ".section .text, \"ax\"",
    ".balign 0x800",
    ".global rt_vectors",
    "rt_vectors:",
    "    vector 0x00", // current EL, SP0: synchronous, IRQ, FIQ, SError
    "    vector 0x01",
    "    vector 0x02",
    "    vector 0x03",
    "    vector 0x10", // current EL, SPx
    "    vector 0x11",
    "    vector 0x12",
    "    vector 0x13",
    "    vector 0x20", // lower EL, AArch64
    "    vector 0x21",
    "    vector 0x22",
    "    vector 0x23",
    "    vector 0x30", // lower EL, AArch32
    "    vector 0x31",
    "    vector 0x32",
    "    vector 0x33",
    "rt_vector_common:",
    "    stp  x2, x3, [sp, #16]",
    "    stp  x4, x5, [sp, #32]",
    "    stp  x6, x7, [sp, #48]",
    "    stp  x8, x9, [sp, #64]",
    "    stp  x10, x11, [sp, #80]",
    "    stp  x12, x13, [sp, #96]",
    "    stp  x14, x15, [sp, #112]",
    "    stp  x16, x17, [sp, #128]",
    "    stp  x18, x19, [sp, #144]",
    "    stp  x20, x21, [sp, #160]",
    "    stp  x22, x23, [sp, #176]",
    "    stp  x24, x25, [sp, #192]",
    "    stp  x26, x27, [sp, #208]",
    "    stp  x28, x29, [sp, #224]",
    "    mrs  x2, elr_el1",
    "    stp  x30, x2, [sp, #240]",
    "    mrs  x2, spsr_el1",
    "    mrs  x3, esr_el1",
    "    stp  x2, x3, [sp, #256]",
    "    mrs  x2, far_el1",
    "    str  x2, [sp, #272]",
    "    mov  x0, sp",
    "    bl   {handle}",
    "    ldp  x30, x2, [sp, #240]",
    "    msr  elr_el1, x2",
    "    ldr  x2, [sp, #256]",
    "    msr  spsr_el1, x2",
    "    ldp  x2, x3, [sp, #16]",
    "    ldp  x4, x5, [sp, #32]",
    "    ldp  x6, x7, [sp, #48]",
    "    ldp  x8, x9, [sp, #64]",
    "    ldp  x10, x11, [sp, #80]",
    "    ldp  x12, x13, [sp, #96]",
    "    ldp  x14, x15, [sp, #112]",
    "    ldp  x16, x17, [sp, #128]",
    "    ldp  x18, x19, [sp, #144]",
    "    ldp  x20, x21, [sp, #160]",
    "    ldp  x22, x23, [sp, #176]",
    "    ldp  x24, x25, [sp, #192]",
    "    ldp  x26, x27, [sp, #208]",
    "    ldp  x28, x29, [sp, #224]",
    "    ldp  x0, x1, [sp]",
    "    add  sp, sp, #{frame}",
    "    eret",
    frame = const FRAME,
    handle = sym handle,
);

unsafe extern "C" {
    static rt_vectors: u8;
}

const SYNC_CURRENT: u64 = 0x10;
const IRQ_CURRENT: u64 = 0x11;

/// Makes the runtime's vector table the current one.
pub fn install() {
    // SAFETY: the table is complete, 2 KiB aligned, and its entries keep the interrupted state.
    unsafe { asm!("msr vbar_el1, {}", "isb", in(reg) &raw const rt_vectors, options(nostack, preserves_flags)) }
}

extern "C" fn handle(frame: &mut Frame, kind: u64) {
    match kind {
        IRQ_CURRENT => irq::dispatch(),
        SYNC_CURRENT if crate::access::recover(frame) => {}
        _ => unexpected(frame, kind),
    }
}

fn unexpected(frame: &Frame, kind: u64) -> ! {
    println!(
        "exception {kind:#04x}: esr {:#x} far {:#x} elr {:#x} spsr {:#x}",
        frame.esr, frame.far, frame.elr, frame.spsr
    );
    for (row, registers) in frame.x.chunks(4).enumerate() {
        println!("x{:<2} {registers:016x?}", row * 4);
    }
    exit::failure(exit::CODE_EXCEPTION)
}
