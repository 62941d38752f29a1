// The arm64 boot protocol's header and the first instructions: to EL2's own stack, bss cleared, then Rust.
// Entered with MMU and D-cache off, at EL2, x0 = device tree of the board (unused: the configuration is ours).

    .section .head, "ax"
    .global _start
_start:
    b       primary_entry
    .word   0
    .quad   0x200000                        // text_offset: link address = RAM start + this
    .quad   __image_size                    // image_size; gnomon pack enlarges it by the configuration
    .quad   0b0010                          // flags: little-endian, 4 KiB pages, placed at text_offset from RAM start
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .word   0

primary_entry:
    mrs     x1, CurrentEL
    cmp     x1, #(2 << 2)
    b.ne    wrong_el

    msr     daifset, #0xf
    msr     spsel, #1
    adr     x1, vector_table
    msr     vbar_el2, x1

    // E2H off: EL2 has its own single-range translation (Arm ARM D8.1). SCTLR: MMU off, caches off, RES1 bits.
    mov     x1, #(1 << 31)                  // HCR_EL2.RW
    msr     hcr_el2, x1
    ldr     x1, ={SCTLR_OFF}
    msr     sctlr_el2, x1
    isb

    adrp    x1, __bss_start
    add     x1, x1, :lo12:__bss_start
    adrp    x2, __bss_end
clear_bss:
    stp     xzr, xzr, [x1], #16
    cmp     x1, x2
    b.lo    clear_bss

    adrp    x1, {PERCPU}
    add     x1, x1, :lo12:{PERCPU}
    ldr     x2, ={STATE_OFFSET}
    add     x1, x1, x2
    msr     tpidr_el2, x1
    mov     sp, x1
    mov     x0, x1
    bl      {boot}

    // Another CPU, started by the boot CPU with x0 = its state, which is also its empty stack.
    .global secondary_entry
secondary_entry:
    msr     daifset, #0xf
    msr     spsel, #1
    adr     x1, vector_table
    msr     vbar_el2, x1
    mov     x1, #(1 << 31)                  // HCR_EL2.RW
    msr     hcr_el2, x1
    ldr     x1, ={SCTLR_OFF}
    msr     sctlr_el2, x1
    isb
    msr     tpidr_el2, x0
    mov     sp, x0
    bl      {secondary}

wrong_el:
    wfe
    b       wrong_el
    .ltorg
