/* Generated from the declarations in probe-vm/src/points; do not edit. */
#ifndef GNOMON_H
#define GNOMON_H

/*
 * What a Gnomon probe includes. A probe is a function in the section of its point:
 *
 *	SEC("probe/vm_entry") int exits(const struct gnomon_vm_entry *ctx) { ... return 0; }
 *
 * Helpers come from libbpf's bpf_helpers.h, included below. docs/POINTS.md describes every point.
 */

/* The types and numbers of linux/types.h and linux/bpf.h that probes and bpf_helpers.h need. */
#if !defined(_LINUX_TYPES_H) && !defined(__VMLINUX_H__)
typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
#endif

#if !defined(_UAPI__LINUX_BPF_H__) && !defined(__VMLINUX_H__)
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};
#endif

#include <bpf/bpf_helpers.h>

/* Version of the contexts. */
#define GNOMON_CONTEXT_VERSION 1

/* In a field that names a VM: none. */
#define GNOMON_NOBODY 0xffffffffu

/* Paths: exit classes with a time and a budget of their own. */
enum gnomon_path {
	GNOMON_PATH_HYPERCALL_INFO = 0,
	GNOMON_PATH_HYPERCALL_YIELD = 1,
	GNOMON_PATH_HYPERCALL_IPC_CALL = 2,
	GNOMON_PATH_HYPERCALL_IPC_RECV = 3,
	GNOMON_PATH_HYPERCALL_IPC_REPLY = 4,
	GNOMON_PATH_HYPERCALL_IPC_REPLY_RECV = 5,
	GNOMON_PATH_HYPERCALL_NOTIFY = 6,
	GNOMON_PATH_HYPERCALL_NOTIFY_WAIT = 7,
	GNOMON_PATH_HYPERCALL_PROBE_STAGE = 8,
	GNOMON_PATH_HYPERCALL_PROBE_VERIFY = 9,
	GNOMON_PATH_HYPERCALL_PROBE_COMPILE = 10,
	GNOMON_PATH_HYPERCALL_PROBE_ATTACH = 11,
	GNOMON_PATH_HYPERCALL_PROBE_CONTROL = 12,
	GNOMON_PATH_HYPERCALL_MAP_READ = 13,
	GNOMON_PATH_HYPERCALL_MAP_ACCESS = 14,
	GNOMON_PATH_HYPERCALL_STATS_READ = 15,
	GNOMON_PATH_PSCI = 16,
	GNOMON_PATH_PSCI_POWER = 17,
	GNOMON_PATH_MMIO_GICD = 18,
	GNOMON_PATH_MMIO_GICR = 19,
	GNOMON_PATH_MMIO_UART = 20,
	GNOMON_PATH_STAGE2_FAULT = 21,
	GNOMON_PATH_SYSREG_SGI = 22,
	GNOMON_PATH_SYSREG_OTHER = 23,
	GNOMON_PATH_WFI = 24,
	GNOMON_PATH_FPSIMD = 25,
	GNOMON_PATH_IRQ_VTIMER = 26,
	GNOMON_PATH_IRQ_TIMER = 27,
	GNOMON_PATH_IRQ_MAINTENANCE = 28,
	GNOMON_PATH_IRQ_DEVICE = 29,
	GNOMON_PATH_IRQ_UART = 30,
	GNOMON_PATH_IRQ_OTHER = 31,
	GNOMON_PATH_GUEST_FAULT = 32,
};
#define GNOMON_PATHS 33

/* Devices that EL2 emulates. */
enum gnomon_device {
	GNOMON_DEVICE_GICD = 0, /* GICv3 distributor. */
	GNOMON_DEVICE_GICR = 1, /* GICv3 redistributor. */
	GNOMON_DEVICE_UART = 2, /* PL011 UART. */
};

/* Why a virtual interrupt was raised or a vCPU woke. */
enum gnomon_cause {
	GNOMON_CAUSE_TIMER = 0, /* The vCPU's virtual timer. */
	GNOMON_CAUSE_DEVICE = 1, /* A device's interrupt that belongs to the VM. */
	GNOMON_CAUSE_SGI = 2, /* An interrupt that a vCPU of the same VM sent, or that the VM set pending itself. */
	GNOMON_CAUSE_NOTIFY = 3, /* A notification. */
	GNOMON_CAUSE_IPC = 4, /* A call or reply. */
	GNOMON_CAUSE_EMULATED = 5, /* An emulated device (UART receive). */
	GNOMON_CAUSE_PSCI = 6, /* PSCI CPU_ON. */
};

/* Why a CPU changed its vCPU. */
enum gnomon_switch {
	GNOMON_SWITCH_BLOCK = 0, /* The previous one blocked. */
	GNOMON_SWITCH_PREEMPT = 1, /* One of higher priority became able to run. */
	GNOMON_SWITCH_SLICE = 2, /* Its time slice ended. */
	GNOMON_SWITCH_YIELD = 3, /* It gave the CPU away. */
	GNOMON_SWITCH_IPC = 4, /* It handed the CPU to its IPC partner. */
	GNOMON_SWITCH_STOP = 5, /* Its VM stopped. */
	GNOMON_SWITCH_IDLE = 6, /* The CPU was idle. */
};

/* What a blocked vCPU waits for. */
enum gnomon_block {
	GNOMON_BLOCK_WFI = 0, /* An interrupt (WFI). */
	GNOMON_BLOCK_IPC_CALL = 1, /* The reply to its call. */
	GNOMON_BLOCK_IPC_RECV = 2, /* A call to serve. */
	GNOMON_BLOCK_NOTIFY = 3, /* A notification. */
	GNOMON_BLOCK_OFF = 4, /* It is off, or suspended by PSCI. */
};

/* Timers that EL2 serves. */
enum gnomon_timer_kind {
	GNOMON_TIMER_VTIMER = 0, /* A guest's virtual timer, its vCPU running. */
	GNOMON_TIMER_VTIMER_AWAY = 1, /* A guest's virtual timer, its vCPU blocked or preempted: EL2's own timer stood in for it. */
	GNOMON_TIMER_SLICE = 2, /* End of a time slice. */
};

/* What every context starts with. Contexts are read-only. */
struct gnomon_header {
	__u64 time_ns; /* Time of the firing, on the clock of bpf_ktime_get_ns() and of the guests. */
	__u32 vm; /* VM this CPU was running when the exit began; at vm_entry the VM it goes on with. */
	__u32 vcpu; /* Its vCPU. */
	__u32 cpu; /* Physical CPU. */
	__u32 path; /* Path of this exit. */
};

/* An exit has begun: the guest's registers are saved and the path is known, nothing has been decided. */
struct gnomon_vm_exit {
	struct gnomon_header header;
	__u64 esr; /* ESR_EL2 of a synchronous exit; 0 for interrupts. */
	__u64 pc; /* Guest program counter (ELR_EL2). */
};

/* The exit ends: all is decided, the guest (perhaps another one) goes on next. */
struct gnomon_vm_entry {
	struct gnomon_header header;
	__u64 spent; /* Time this exit has taken so far, probes included. `path` in the header says on which path. */
	__u64 pc; /* Guest program counter it goes on at. */
};

/* A guest made a hypercall: Gnomon's, PSCI's or any other by HVC or SMC. Before it is carried out. */
struct gnomon_hypercall {
	struct gnomon_header header;
	__u64 func; /* SMCCC function identifier (x0). */
	__u64 x1; /* First argument (x1). */
	__u64 x2; /* Second argument (x2). */
	__u64 x3; /* Third argument (x3). */
};

/* A guest touched an intermediate physical address that stage 2 maps neither to memory nor to a device. */
struct gnomon_stage2_fault {
	struct gnomon_header header;
	__u64 ipa; /* Intermediate physical address. */
	__u64 va; /* Guest virtual address (FAR_EL2). */
	__u64 esr; /* ESR_EL2: fault status, access size, read or write. */
	__u64 pc; /* Guest program counter. */
};

/* A guest read or wrote a register of an emulated device; fires after the access was carried out. */
struct gnomon_mmio {
	struct gnomon_header header;
	__u64 ipa; /* Intermediate physical address. */
	__u64 value; /* Value written, or the value the guest reads. */
	__u32 device; /* Device (`enum gnomon_device`). */
	__u32 offset; /* Byte offset of the register in the device. */
	__u32 size; /* Bytes accessed: 1, 2, 4 or 8. */
	__u32 write; /* 1 for a write, 0 for a read. */
};

/* A guest used a system register that traps; fires after the access was carried out. */
struct gnomon_sysreg_trap {
	struct gnomon_header header;
	__u64 value; /* Value written, or the value the guest reads. */
	__u32 sysreg; /* Register as the syndrome encodes it: op0, op2, op1, CRn, Rt, CRm, direction (ISS of EC 0x18), Rt and direction cleared. */
	__u32 write; /* 1 for a write (MSR), 0 for a read (MRS). */
};

/* A physical interrupt was acknowledged at EL2. */
struct gnomon_irq {
	struct gnomon_header header;
	__u32 intid; /* GIC interrupt identifier. */
	__u32 owner; /* VM it belongs to, or 0xffffffff if it is EL2's own. */
};

/* A virtual interrupt became pending at a vCPU. */
struct gnomon_virq_inject {
	struct gnomon_header header;
	__u32 to_vm; /* VM that gets it. */
	__u32 to_vcpu; /* vCPU that gets it. */
	__u32 intid; /* GIC interrupt identifier. */
	__u32 cause; /* Why it was raised (`enum gnomon_cause`). */
};

/* A guest calls a server over a channel; the header names the caller. */
struct gnomon_ipc_call {
	struct gnomon_header header;
	__u32 channel; /* Channel of the system (both ends have the same number here). */
	__u32 to_vm; /* VM of the server. */
	__u64 word0; /* First message word (x2). */
	__u32 direct; /* 1 if the server was waiting and goes on at once, 0 if the call is queued. */
	__u32 reserved; /* 0. */
};

/* A server replies to a call; the header names the server. */
struct gnomon_ipc_reply {
	struct gnomon_header header;
	__u32 channel; /* Channel of the system, the same as at `ipc_call`. */
	__u32 to_vm; /* VM of the caller. */
	__u64 word0; /* First reply word (x2). */
};

/* A guest notifies its partner on a channel. */
struct gnomon_notify {
	struct gnomon_header header;
	__u32 channel; /* Channel of the system. */
	__u32 to_vm; /* VM that is notified. */
	__u64 bits; /* Bits sent. */
	__u64 pending; /* Bits that were pending before. */
};

/* A CPU changes from one vCPU to another, or to or from idling. */
struct gnomon_sched_switch {
	struct gnomon_header header;
	__u32 prev_vm; /* VM that ran; 0xffffffff after idling. */
	__u32 prev_vcpu; /* Its vCPU. */
	__u32 next_vm; /* VM that runs next; 0xffffffff to idle. */
	__u32 next_vcpu; /* Its vCPU. */
	__u32 reason; /* Why (`enum gnomon_switch`). */
	__u32 next_priority; /* Priority of the next vCPU as in the manifest; 0 when idle. */
};

/* A vCPU stops being able to run; the header names it. */
struct gnomon_vcpu_block {
	struct gnomon_header header;
	__u32 reason; /* What it waits for (`enum gnomon_block`). */
	__u32 channel; /* Channel of an IPC or notification wait; 0xffffffff if none. */
};

/* A vCPU that was blocked can run again. */
struct gnomon_vcpu_wake {
	struct gnomon_header header;
	__u32 to_vm; /* VM that wakes. */
	__u32 to_vcpu; /* vCPU that wakes. */
	__u32 cause; /* What woke it (`enum gnomon_cause`). */
	__u32 detail; /* Interrupt identifier for interrupts, channel for IPC and notifications; else 0. */
};

/* A timer that EL2 serves has expired: a guest's virtual timer, or EL2's own. */
struct gnomon_timer {
	struct gnomon_header header;
	__u64 due_ns; /* Time it was due, on the same clock as `time_ns`; `time_ns - due_ns` is how late EL2 got to it. */
	__u32 kind; /* Which timer (`enum gnomon_timer_kind`). */
	__u32 owner; /* VM whose timer it is; 0xffffffff for EL2's own. */
};

/* A guest made a PSCI call, by HVC or SMC. Before it is carried out; `hypercall` fires as well. */
struct gnomon_psci {
	struct gnomon_header header;
	__u32 func; /* PSCI function identifier (w0). */
	__u32 reserved; /* 0. */
	__u64 x1; /* First argument (x1): for CPU_ON the target's MPIDR. */
	__u64 x2; /* Second argument (x2): for CPU_ON the entry address. */
	__u64 x3; /* Third argument (x3). */
};

/*
 * Map values that `gnomon read` shows as what they are, by the map's name: NAME_UNIT_hist and NAME_UNIT_sum, as in
 * exit_insns_hist, ipc_ns_hist, copy_bytes_sum.
 */

/* A log2 histogram: count[b] is the number of values of b significant bits, so in [2^(b-1), 2^b); count[0] of zeros. */
struct gnomon_hist {
	__u64 count[64];
};

/* A count and a sum, shown with their mean. */
struct gnomon_sum {
	__u64 count;
	__u64 sum;
};

/* Number of significant bits: 0 for 0, else the floor of the binary logarithm and 1. */
static __always_inline __u32 gnomon_bits(__u64 value)
{
	__u32 bits = 0;

	if (value >> 32) {
		value >>= 32;
		bits = 32;
	}
	if (value >> 16) {
		value >>= 16;
		bits += 16;
	}
	if (value >> 8) {
		value >>= 8;
		bits += 8;
	}
	if (value >> 4) {
		value >>= 4;
		bits += 4;
	}
	if (value >> 2) {
		value >>= 2;
		bits += 2;
	}
	/* What is left is 0 to 3, of 0, 1, 2 and 2 bits. */
	return bits + value - (value & (value >> 1));
}

/* Counts a value below 2^63. Per-CPU maps need no atomic operation: a probe is not interrupted. */
static __always_inline void gnomon_hist_add(struct gnomon_hist *hist, __u64 value)
{
	/* The mask tells the verifier what the shifts do. */
	hist->count[gnomon_bits(value) & 63] += 1;
}

/* Adds a value. */
static __always_inline void gnomon_sum_add(struct gnomon_sum *sum, __u64 value)
{
	sum->count += 1;
	sum->sum += value;
}

/* A map of one value of `value_type` for each path, a copy on each CPU. */
#define GNOMON_BY_PATH(name, value_type)					\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);			\
		__uint(max_entries, GNOMON_PATHS);				\
		__type(key, enum gnomon_path);					\
		__type(value, value_type);					\
	} name SEC(".maps")

/* A map of one value of `value_type` for each key below `entries`, a copy on each CPU. */
#define GNOMON_BY_INDEX(name, key_type, value_type, entries)			\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);			\
		__uint(max_entries, entries);					\
		__type(key, key_type);						\
		__type(value, value_type);					\
	} name SEC(".maps")

/* A map of one value of `value_type` for each key that occurs, at most `entries`, a copy on each CPU. */
#define GNOMON_BY_KEY(name, key_type, value_type, entries)			\
	struct {								\
		__uint(type, BPF_MAP_TYPE_PERCPU_HASH);				\
		__uint(max_entries, entries);					\
		__type(key, key_type);						\
		__type(value, value_type);					\
	} name SEC(".maps")

#endif /* GNOMON_H */
