// A bare-metal program for QEMU's virt machine at EL2: maps memory, calls compiled programs that nobody verified, writes
// what they left behind to the console, byte for byte, and powers off. START, BYTES and the two files come from the test.
//
// Virtual addresses are those the programs are linked for: text at 4 MiB, data at 1 GiB.

        .equ    TEXT_PA, 0x4a000000
        .equ    DATA_PA, 0x50000000
        .equ    DATA_VA, 0x40000000
        .equ    NORMAL, 0x701           // block, attribute 0, inner shareable, accessed (Arm ARM D8.3)
        .equ    DEVICE, 0x405           // block, attribute 1, accessed

        .section .boot, "awx"
        .global _start
_start:
        mov     x0, #0xff               // MAIR: 0 normal write-back, 1 device
        msr     mair_el2, x0
        ldr     x0, =0x80823519         // TCR_EL2: 39 bits, write-back, inner shareable, 4 KiB, 40-bit PA, RES1 31 and 23
        msr     tcr_el2, x0
        adr     x0, level1
        msr     ttbr0_el2, x0
        dsb     sy
        tlbi    alle2
        dsb     sy
        isb
        ldr     x0, =0x30c51835         // SCTLR_EL2: RES1, M, C, I; unaligned accesses allowed
        msr     sctlr_el2, x0
        isb
        adr     x0, vectors
        msr     vbar_el2, x0
        adr     x0, stack_top
        mov     sp, x0
        ldr     x0, =START
        blr     x0
        ldr     x0, =DATA_VA
        ldr     x1, =BYTES
        add     x1, x1, x0
        movz    x5, #0x0900, lsl #16    // PL011: data at 0, flags at 0x18, TXFF is bit 5
1:      cmp     x0, x1
        b.hs    off
        ldrb    w6, [x0], #1
2:      ldr     w7, [x5, #0x18]
        tbnz    w7, #5, 2b
        strb    w6, [x5]
        b       1b
off:    movz    w0, #0x8400, lsl #16    // PSCI SYSTEM_OFF, 0x84000008
        movk    w0, #8
        smc     #0
        b       .

        .balign 2048
vectors:                                // an exception ends the run with too few bytes
        .rept   16
        b       off
        .balign 128
        .endr

        .balign 4096
level1: .quad   level2 + 3
        .quad   level2_data + 3
        .fill   510, 8, 0
level2: .fill   2, 8, 0                 // 0 to 4 MiB: nothing
        .set    at, TEXT_PA
        .rept   32                      // 4 to 68 MiB: text
        .quad   at + NORMAL
        .set    at, at + 0x200000
        .endr
        .fill   38, 8, 0
        .quad   0x09000000 + DEVICE     // 144 MiB: PL011
        .fill   439, 8, 0
level2_data:                            // 1 GiB: data, then (from 128 MiB up) this program where it is
        .set    at, DATA_PA
        .rept   64
        .quad   at + NORMAL
        .set    at, at + 0x200000
        .endr
        .set    at, 0x48000000
        .rept   448
        .quad   at + NORMAL
        .set    at, at + 0x200000
        .endr
        .fill   8192, 1, 0
stack_top:

        .section .programs, "ax"
        .incbin "text.bin"
        .section .results, "aw"
        .incbin "data.bin"
