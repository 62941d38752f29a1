/* Programs whose instructions do not fit together, and those that are too large or too long: one reason each. */
#include "gnomon.h"

#define __naked __attribute__((naked))

SEC("probe/vm_exit")
__naked int jumps_into_constant(void)
{
	asm volatile("if r1 == 0 goto +1;"
		     "r0 = 0x100000000 ll;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int jumps_past_end(void)
{
	asm volatile("r0 = 0;"
		     "if r1 == 0 goto +2000;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int no_exit(void)
{
	asm volatile("r0 = 0;");
}

/* callx r0, which clang of this version cannot spell. */
SEC("probe/vm_exit")
__naked int calls_register(void)
{
	asm volatile("r0 = 0;"
		     ".8byte 0x8d;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int unknown_opcode(void)
{
	asm volatile(".8byte 0x8e;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int writes_frame_pointer(void)
{
	asm volatile("r10 = r1;"
		     "exit;");
}

static __noinline __naked int second(void)
{
	asm volatile("r0 = 1;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int jumps_into_function(void)
{
	asm volatile("call %[second];"
		     "goto +1;"
		     "exit;" ::[second] "i"(second));
}

static __noinline int down(volatile int *n)
{
	*n -= 1;
	if (*n > 0)
		down(n);
	return *n;
}

SEC("probe/vm_exit")
int calls_itself(const struct gnomon_vm_exit *ctx)
{
	volatile int n = ctx->header.vm & 7;

	return down(&n);
}

#define FUNCTION(name, next)                     \
	static __noinline int name(int x)        \
	{                                        \
		asm volatile("%0 += 1" : "+r"(x)); \
		return next(x) + 1;              \
	}

static __noinline int f9(int x)
{
	asm volatile("%0 += 1" : "+r"(x));
	return x;
}

FUNCTION(f8, f9)
FUNCTION(f7, f8)
FUNCTION(f6, f7)
FUNCTION(f5, f6)
FUNCTION(f4, f5)
FUNCTION(f3, f4)
FUNCTION(f2, f3)

SEC("probe/vm_exit")
int nine_frames(const struct gnomon_vm_exit *ctx)
{
	return f2(ctx->header.vm);
}

#define LOOP(i, body) for (volatile int i = 0; i < 2; i++) { body }
#define LOOPS4(a, body) LOOP(a##0, LOOP(a##1, LOOP(a##2, LOOP(a##3, body))))

SEC("probe/vm_exit")
int seventeen_loops(const struct gnomon_vm_exit *ctx)
{
	LOOPS4(a, LOOPS4(b, LOOPS4(c, LOOPS4(d, LOOP(e, barrier();)))))
	return 0;
}

SEC("probe/vm_exit")
__naked int five_thousand_instructions(void)
{
	asm volatile(".rept 5000;"
		     "r0 = 0;"
		     ".endr;"
		     "exit;");
}

static int nothing(__u32 i, void *context)
{
	return 0;
}

SEC("probe/vm_exit")
int eight_million_rounds(const struct gnomon_vm_exit *ctx)
{
	return bpf_loop(1 << 23, nothing, 0, 0);
}

SEC("probe/vm_exit")
int rounds_by_two_counters(const struct gnomon_vm_exit *ctx)
{
	__u64 low = 0, high = ctx->header.time_ns;

	while (low != high) {
		low += bpf_ktime_get_ns();
		high -= 1;
	}
	return low;
}

char LICENSE[] SEC("license") = "GPL";
