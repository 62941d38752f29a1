// The vector table: the whole of it on one screen.
//
// While a vCPU runs, SP_EL2 is the address of its Frame (x0-x18, x30, x19-x29) and TPIDR_EL2 that of this CPU's
// state, which is also the top of EL2's stack. An exit saves what Rust may clobber, and no more: most exits return
// by `cbz` to the same vCPU with x19-x29 never touched. The others (`outcome` not 0) save those too and go on in
// `exit_slow`, which may come back with another vCPU's frame.

.macro save_light
    stp     x0,  x1,  [sp, #16 * 0]
    stp     x2,  x3,  [sp, #16 * 1]
    stp     x4,  x5,  [sp, #16 * 2]
    stp     x6,  x7,  [sp, #16 * 3]
    stp     x8,  x9,  [sp, #16 * 4]
    stp     x10, x11, [sp, #16 * 5]
    stp     x12, x13, [sp, #16 * 6]
    stp     x14, x15, [sp, #16 * 7]
    stp     x16, x17, [sp, #16 * 8]
    stp     x18, x30, [sp, #16 * 9]
.endm

.macro restore_light
    ldp     x18, x30, [sp, #16 * 9]
    ldp     x16, x17, [sp, #16 * 8]
    ldp     x14, x15, [sp, #16 * 7]
    ldp     x12, x13, [sp, #16 * 6]
    ldp     x10, x11, [sp, #16 * 5]
    ldp     x8,  x9,  [sp, #16 * 4]
    ldp     x6,  x7,  [sp, #16 * 3]
    ldp     x4,  x5,  [sp, #16 * 2]
    ldp     x2,  x3,  [sp, #16 * 1]
    ldp     x0,  x1,  [sp, #16 * 0]
.endm

.macro lower handler
    .balign 128
    save_light
    mrs     x1, pmevcntr3_el0          // pmu.rs
    mrs     x0, tpidr_el2
    mov     x2, sp
    mov     sp, x0
    bl      \handler
    cbnz    x1, exit_outcome
    mov     sp, x0
    restore_light
    eret
    dsb     nsh                             // no speculation past eret
    isb
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
    lower   {exit_sync}                     // EL1 and EL0, AArch64
    lower   {exit_irq}
    lower   {exit_irq}
    lower   {exit_serror}
    own     #12                             // AArch32: HCR_EL2.RW is always set
    own     #13
    own     #14
    own     #15

    .section .text.hot.exit_outcome, "ax"
    .balign 16
    .global exit_outcome
exit_outcome:                               // x0 = frame of the vCPU that left, x1 = what is left to do
    stp     x19, x20, [x0, #16 * 10]
    stp     x21, x22, [x0, #16 * 11]
    stp     x23, x24, [x0, #16 * 12]
    stp     x25, x26, [x0, #16 * 13]
    stp     x27, x28, [x0, #16 * 14]
    str     x29,      [x0, #16 * 15]
    mrs     x0, tpidr_el2
    tbnz    x1, #0, slow                    // 1: anything; 2: one of our own calls
    bl      {exit_call}
    b       enter_frame
slow:
    bl      {exit_slow}
    .global enter_frame
enter_frame:                                // x0 = frame of the vCPU to enter, everything in it
    mov     sp, x0
    ldp     x19, x20, [sp, #16 * 10]
    ldp     x21, x22, [sp, #16 * 11]
    ldp     x23, x24, [sp, #16 * 12]
    ldp     x25, x26, [sp, #16 * 13]
    ldp     x27, x28, [sp, #16 * 14]
    ldr     x29,      [sp, #16 * 15]
    restore_light
    eret
    dsb     nsh
    isb
