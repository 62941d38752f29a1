// Reads 1 MiB of its RAM that nothing was loaded to, and says whether all of it is zero.

        .text
        .global _start
_start:
        movz    x1, #0x4060, lsl #16
        add     x2, x1, #0x100, lsl #12
        mov     x3, xzr
1:      ldp     x4, x5, [x1], #16
        orr     x3, x3, x4
        orr     x3, x3, x5
        cmp     x1, x2
        b.lo    1b
        cmp     x3, #0
        adr     x3, clean
        adr     x4, dirty
        csel    x3, x3, x4, eq
        movz    x5, #0x0900, lsl #16    // PL011: data at 0, flags at 0x18, TXFF is bit 5
2:      ldrb    w6, [x3], #1
        cbz     w6, 4f
3:      ldr     w7, [x5, #0x18]
        tbnz    w7, #5, 3b
        strb    w6, [x5]
        b       2b
4:      movz    w0, #0x8400, lsl #16    // PSCI SYSTEM_OFF, 0x84000008
        movk    w0, #8
        hvc     #0
        b       .

clean:  .asciz  "clean\n"
dirty:  .asciz  "dirty\n"
