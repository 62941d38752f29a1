// A bare-metal program for QEMU's virt machine that knows nothing of Gnomon: prints one line, then powers off by PSCI.
// Position-independent, so that it runs as ELF and as a flat binary alike.

        .text
        .global _start
_start:
        mov     x19, x0                 // device tree
        ldr     w1, [x19]
        movz    w2, #0x0dd0             // the magic number 0xd00dfeed, big-endian in memory
        movk    w2, #0xedfe, lsl #16
        cmp     w1, w2
        adr     x3, good
        adr     x4, bad
        csel    x3, x3, x4, eq
        movz    x5, #0x0900, lsl #16    // PL011: data at 0, flags at 0x18, TXFF is bit 5
1:      ldrb    w6, [x3], #1
        cbz     w6, 3f
2:      ldr     w7, [x5, #0x18]
        tbnz    w7, #5, 2b
        strb    w6, [x5]
        b       1b
3:      movz    w0, #0x8400, lsl #16    // PSCI SYSTEM_OFF, 0x84000008
        movk    w0, #8
        hvc     #0
        b       .

good:   .asciz  "hello from a stranger\n"
bad:    .asciz  "no device tree\n"
