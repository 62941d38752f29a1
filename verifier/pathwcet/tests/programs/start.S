/* Bare-metal start on QEMU's virt machine at EL1, and the counter of retired instructions around one call. */
    .section .text.start, "ax"
    .global _start
_start:
    ldr     x0, =stack_top
    mov     sp, x0
    msr     pmevtyper0_el0, xzr
    mov     x0, #8                  // INST_RETIRED (Arm ARM D11.11.2)
    msr     pmevtyper0_el0, x0
    mov     x0, #1
    msr     pmcntenset_el0, x0
    msr     pmcr_el0, x0
    isb
    bl      drive
    mov     w0, #0x18               // SYS_EXIT
    adr     x1, stop
    hlt     #0xf000
stop:
    .quad   0x20026, 0              // ADP_Stopped_ApplicationExit

    .text
    .global measure
    .type measure, %function
/* u64 measure(function, const u64 args[4]): instructions retired from the first of the function to its return. */
measure:
    stp     x29, x30, [sp, #-32]!
    stp     x19, x20, [sp, #16]
    mov     x20, x0
    ldp     x2, x3, [x1, #16]
    ldp     x0, x1, [x1]
    mrs     x19, pmevcntr0_el0
    blr     x20
    mrs     x20, pmevcntr0_el0
    sub     x0, x20, x19
    ldp     x19, x20, [sp, #16]
    ldp     x29, x30, [sp], #32
    ret
    .size measure, . - measure

    .global put
    .type put, %function
/* put(text): SYS_WRITE0. */
put:
    mov     x1, x0
    mov     w0, #4
    hlt     #0xf000
    ret
    .size put, . - put

    .bss
    .balign 16
    .space  0x4000
stack_top:
