// The vector table, and the ways back to a guest.
//
// While a vCPU runs, SP_EL2 is the address of its Frame (x0-x30 in order, then a word that reads as register 31) and
// TPIDR_EL2 that of this CPU's state, which is also the top of EL2's stack. An exit saves what Rust may clobber (light);
// what may look at any register, or change vCPUs, is entered with x20-x29 saved too (full).
//
// Light handlers (PSCI, timer) return: x1 = 0, back to the same vCPU; else on to `exit_slow`. Full ones do not return:
// they end in `enter_frame`, so that none keeps a link register or callee-saved registers it has no use for.
//
// Handlers get: x0 = state, x1 = PMU count at the entry, x2 = frame, x3 = ESR_EL2 (synchronous exits).

.macro save_light
    stp     x0,  x1,  [sp, #8 * 0]
    stp     x2,  x3,  [sp, #8 * 2]
    stp     x4,  x5,  [sp, #8 * 4]
    stp     x6,  x7,  [sp, #8 * 6]
    stp     x8,  x9,  [sp, #8 * 8]
    stp     x10, x11, [sp, #8 * 10]
    stp     x12, x13, [sp, #8 * 12]
    stp     x14, x15, [sp, #8 * 14]
    stp     x16, x17, [sp, #8 * 16]
    stp     x18, x19, [sp, #8 * 18]
    stp     x30, xzr, [sp, #8 * 30]
    mrs     x1, pmevcntr3_el0               // pmu.rs
.endm

.macro save_rest
    stp     x20, x21, [x2, #8 * 20]
    stp     x22, x23, [x2, #8 * 22]
    stp     x24, x25, [x2, #8 * 24]
    stp     x26, x27, [x2, #8 * 26]
    stp     x28, x29, [x2, #8 * 28]
.endm

.macro to_stack
    mrs     x0, tpidr_el2
    mov     x2, sp
    mov     sp, x0
.endm

// EC of ESR_EL2.
.equ EC_HVC,        0x16
.equ EC_SYSREG,     0x18
.equ EC_DATA_ABORT, 0x24

.macro sync
    .balign 128
    save_light
    mrs     x3, esr_el2
    lsr     w4, w3, #26
    cmp     w4, #EC_HVC
    b.eq    exit_hvc
    to_stack
    b       exit_trap
.endm

.macro irq
    .balign 128
    save_light
    to_stack
    bl      {exit_irq}
    b       light_done
.endm

.macro serror
    .balign 128
    save_light
    to_stack
    save_rest
    b       {exit_serror}
.endm

.macro own kind
    .balign 128
    mov     x16, sp
    mrs     x17, tpidr_el2
    mov     sp, x17
    mov     x0, \kind
    mov     x1, x16
    b       {epitaph}
.endm

    .section .vectors, "ax"
    .balign 2048
    .global vector_table
vector_table:
    own     #0                              // EL2 with SP_EL0: never used
    own     #1
    own     #2
    own     #3
    own     #4                              // EL2 with SP_EL2: our own fault
    own     #5
    own     #6
    own     #7
    sync                                    // EL1 and EL0, AArch64
    irq
    irq
    serror
    own     #12                             // AArch32: HCR_EL2.RW is always set
    own     #13
    own     #14
    own     #15

    .section .text.hot.exits, "ax"
    .balign 16
exit_trap:
    save_rest
    cmp     w4, #EC_DATA_ABORT
    b.ne    1f
    mrs     x4, hpfar_el2                   // the page's number from bit 4 on
    mov     x5, #{GICD_PAGE}
    cmp     x4, x5
    b.eq    {exit_gicd}
    b       {exit_device}
1:  cmp     w4, #EC_SYSREG
    b.eq    {exit_sysreg}
    b       {exit_other}

exit_hvc:                                   // x0 is the guest's still: the function identifier
    lsr     w5, w0, #8
    mov     w6, #({FID_BASE} >> 8)
    to_stack
    cmp     w5, w6
    b.eq    own_call
    bl      {exit_psci}
light_done:                                 // x0 = frame, x1 = outcome
    mov     x2, x0
    cbz     x1, exit_light
    mrs     x0, tpidr_el2
    save_rest
    b       {exit_slow}
own_call:
    save_rest
    b       {exit_call}

    .global enter_frame
enter_frame:                                // x2 = frame of the vCPU to enter, everything in it
    ldp     x20, x21, [x2, #8 * 20]
    ldp     x22, x23, [x2, #8 * 22]
    ldp     x24, x25, [x2, #8 * 24]
    ldp     x26, x27, [x2, #8 * 26]
    ldp     x28, x29, [x2, #8 * 28]
exit_light:                                 // x20-x29 are the guest's
    mov     sp, x2
    ldr     x30,      [sp, #8 * 30]
    ldp     x18, x19, [sp, #8 * 18]
    ldp     x16, x17, [sp, #8 * 16]
    ldp     x14, x15, [sp, #8 * 14]
    ldp     x12, x13, [sp, #8 * 12]
    ldp     x10, x11, [sp, #8 * 10]
    ldp     x8,  x9,  [sp, #8 * 8]
    ldp     x6,  x7,  [sp, #8 * 6]
    ldp     x4,  x5,  [sp, #8 * 4]
    ldp     x2,  x3,  [sp, #8 * 2]
    ldp     x0,  x1,  [sp, #8 * 0]
    eret
    dsb     nsh                             // no speculation past eret
    isb

    .global idle
idle:                                       // nobody runs; interrupts are masked, and wake it all the same
    wfi
    .global woken
woken:
    mrs     x1, pmevcntr3_el0
    mrs     x0, tpidr_el2
    mov     sp, x0
    b       {exit_woken}
