/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The part of hyp/abi that the module needs, in C: frames of the monitor link (hyp_abi::link), hypercall numbers, identity.
 * tests/tests/link_header.rs holds every number, size and offset here against the Rust types.
 */
#ifndef GNOMON_LINK_H
#define GNOMON_LINK_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
#endif

/* SMCCC function identifiers: fast call, 64 bits, owner 6 (vendor hypervisor). */
#define GNOMON_FID(call) (0xC6000000u | (call))
#define GNOMON_FID_UID 0x8600FF01u
/* w0 to w3 of the answer to GNOMON_FID_UID. */
#define GNOMON_UID_0 0x620c8f1du
#define GNOMON_UID_1 0x6f4d6f6eu
#define GNOMON_UID_2 0x6e67219eu
#define GNOMON_UID_3 0x6e6f6d6fu

/* Hypercalls. */
#define GNOMON_VERSION 0x00
#define GNOMON_VM_INFO 0x01
#define GNOMON_VM_EXIT 0x04
#define GNOMON_IPC_CALL 0x10
#define GNOMON_IPC_RECV 0x11
#define GNOMON_IPC_REPLY_RECV 0x13
#define GNOMON_NOTIFY_WAIT 0x15
#define GNOMON_PROBE_STAGE 0x20
#define GNOMON_PROBE_VERIFY 0x21
#define GNOMON_PROBE_COMPILE 0x22
#define GNOMON_PROBE_UNLOAD 0x25

/* Status in x0: the one that the module itself gives. */
#define GNOMON_STATUS_TOO_BIG ((u64)-14)
#define GNOMON_STATUS_AGAIN ((u64)-18)

/* First four bytes of every frame. */
#define GNOMON_MAGIC 0x4b4c4e47u
/* Largest body, bytes. */
#define GNOMON_BODY_MAX (256 * 1024)

/* What a frame asks for; bit 15 is set in answers. */
#define GNOMON_VERB_HELLO 1
#define GNOMON_VERB_HVC 2
#define GNOMON_VERB_LOAD 3
#define GNOMON_ANSWER (1 << 15)

/* Errors of an answer. */
#define GNOMON_OK 0
#define GNOMON_UNKNOWN_VERB 1
#define GNOMON_MALFORMED 2
#define GNOMON_TOO_BIG 3

/* Register number that stands for "no buffer". */
#define GNOMON_NO_BUFFER 0xff

struct gnomon_header {
	u32 magic;
	u32 len;
	u16 verb;
	u16 seq;
	u32 error;
};

struct gnomon_hello_reply {
	u32 abi;
	u32 vm;
	u32 rights;
	u32 pad;
};

struct gnomon_hvc_request {
	u16 call;
	u8 in_reg;
	u8 out_reg;
	u8 in2_reg;
	u8 pad[3];
	u32 in2_offset;
	u32 out_len;
	u64 x[7];
};

struct gnomon_hvc_reply {
	u64 x[8];
};

struct gnomon_load_reply {
	u32 call;
	u32 steps;
	u64 handle;
	u64 x[8];
	u64 insn_bound;
	u64 time_bound;
	u64 code_bytes;
};

#endif
