/* Values that are used wrongly, one reason a program; what C cannot say is written in assembly. */
#include "gnomon.h"

#define __naked __attribute__((naked))

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[4]);
} quads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

static const volatile __u32 limits[4] = { 1, 2, 3, 4 };
static __u32 seen[4];

SEC("probe/vm_exit")
int number_as_pointer(const struct gnomon_vm_exit *ctx)
{
	return *(volatile int *)ctx->header.time_ns;
}

SEC("probe/vm_exit")
int past_the_frame(const struct gnomon_vm_exit *ctx)
{
	volatile __u64 words[4] = {};

	return words[ctx->header.vm & 7];
}

SEC("probe/vm_exit")
int writes_constant(const struct gnomon_vm_exit *ctx)
{
	*(volatile __u32 *)&limits[1] = ctx->header.vm;
	return 0;
}

SEC("probe/vm_exit")
int address_past_variable(const struct gnomon_vm_exit *ctx)
{
	__u32 *end = seen + 4;

	barrier_var(end);
	return *end + seen[ctx->header.vm & 3]++;
}

SEC("probe/vm_exit")
int odd_offset(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;
	char *quad = bpf_map_lookup_elem(&quads, &key);

	return quad ? *(volatile __u32 *)(quad + 6) : 0;
}

SEC("probe/vm_exit")
int any_offset(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;
	__u64 *quad = bpf_map_lookup_elem(&quads, &key);

	return quad ? quad[ctx->header.vm] : 0;
}

SEC("probe/vm_exit")
int doubles_pointer(const struct gnomon_vm_exit *ctx)
{
	return (__u64)ctx * 2;
}

SEC("probe/vm_exit")
int compares_pointer(const struct gnomon_vm_exit *ctx)
{
	return (__u64)ctx > ctx->header.time_ns;
}

SEC("probe/vm_exit")
int returns_pointer(const struct gnomon_vm_exit *ctx)
{
	return (long)ctx;
}

static __noinline __u64 *gone(void)
{
	__u64 word = 1, *place = &word;

	barrier_var(place);
	*place += 1;
	return place;
}

SEC("probe/vm_exit")
int points_into_dead_frame(const struct gnomon_vm_exit *ctx)
{
	return *gone();
}

SEC("probe/vm_exit")
int number_as_key(const struct gnomon_vm_exit *ctx)
{
	return bpf_map_delete_elem(&counts, (void *)ctx->header.time_ns);
}

SEC("probe/vm_exit")
int looks_up_in_ring(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&events, &key) != 0;
}

SEC("probe/vm_exit")
int size_not_bounded(const struct gnomon_vm_exit *ctx)
{
	__u64 words[4] = {};

	return bpf_ringbuf_output(&events, words, ctx->header.vm, 0);
}

SEC("probe/vm_exit")
int five_records(const struct gnomon_vm_exit *ctx)
{
	void *record[5];

#pragma unroll
	for (int i = 0; i < 5; i++)
		record[i] = bpf_ringbuf_reserve(&events, 8, 0);
#pragma unroll
	for (int i = 0; i < 5; i++)
		if (record[i])
			bpf_ringbuf_discard(record[i], 0);
	return 0;
}

SEC("probe/vm_exit")
__naked int register_not_written(void)
{
	asm volatile("r0 = r3;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int register_lost_in_call(void)
{
	asm volatile("r4 = 1;"
		     "call 8;"
		     "r0 = r4;"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int half_a_pointer(void)
{
	asm volatile("*(u64 *)(r10 - 8) = r1;"
		     "r0 = *(u32 *)(r10 - 8);"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int two_kinds_of_memory(void)
{
	asm volatile("r2 = r10;"
		     "r2 += -8;"
		     "r3 = 1;"
		     "*(u64 *)(r10 - 8) = r3;"
		     "r3 = *(u32 *)(r1 + 8);"
		     "if r3 == 0 goto +1;"
		     "r2 = r1;"
		     "r0 = *(u64 *)(r2 + 0);"
		     "exit;");
}

SEC("probe/vm_exit")
__naked int loads_packet(void)
{
	asm volatile("r6 = r1;"
		     "r0 = *(u16 *)skb[12];"
		     "exit;");
}

SEC("probe/vm_exit")
int callback_returns_two(const struct gnomon_vm_exit *ctx);

static int two(__u32 i, void *context)
{
	return 2;
}

int callback_returns_two(const struct gnomon_vm_exit *ctx)
{
	return bpf_loop(4, two, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
