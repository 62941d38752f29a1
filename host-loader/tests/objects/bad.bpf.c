/* Programs that are refused, one reason each. What clang would optimise away is kept by volatile or by hand. */
#include "gnomon.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[4]);
} quads SEC(".maps");

SEC("probe/vm_exit")
int not_null_checked(const struct gnomon_vm_exit *ctx)
{
	__u32 key = ctx->header.path;
	__u64 *count = bpf_map_lookup_elem(&counts, &key);

	*count += 1;
	return 0;
}

SEC("probe/vm_exit")
int key_not_written(const struct gnomon_vm_exit *ctx)
{
	__u32 key[1];

	bpf_map_lookup_elem(&counts, key);
	return 0;
}

SEC("probe/vm_exit")
int writes_context(struct gnomon_vm_exit *ctx)
{
	ctx->header.path = 0;
	return 0;
}

SEC("probe/vm_exit")
int past_context(const struct gnomon_vm_exit *ctx)
{
	return ((const __u32 *)ctx)[60];
}

SEC("probe/vm_exit")
int index_not_bounded(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;
	__u64 *quad = bpf_map_lookup_elem(&quads, &key);

	if (quad)
		quad[ctx->header.time_ns] = 1;
	return 0;
}

SEC("probe/vm_exit")
int off_by_one(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;
	__u64 *quad = bpf_map_lookup_elem(&quads, &key);
	__u32 i = ctx->header.vm;

	if (quad && i <= 4)
		quad[i] = 1;
	return 0;
}

SEC("probe/vm_exit")
int stores_address(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;
	__u64 *quad = bpf_map_lookup_elem(&quads, &key);

	if (quad)
		quad[0] = (__u64)ctx;
	return 0;
}

SEC("probe/vm_exit")
int record_not_submitted(const struct gnomon_vm_exit *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	*event = ctx->header.time_ns;
	if (ctx->header.vm == 1)
		return 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("probe/vm_exit")
int helper_of_linux(const struct gnomon_vm_exit *ctx)
{
	return bpf_get_current_pid_tgid();
}

SEC("probe/vm_exit")
int waits_for_counter(const struct gnomon_vm_exit *ctx)
{
	__u64 until = ctx->header.time_ns + 1000;

	while (bpf_ktime_get_ns() < until)
		;
	return 0;
}

SEC("probe/vm_exit")
int bound_from_context(const struct gnomon_vm_exit *ctx)
{
	__u64 sum = 0;

	for (__u64 i = 0; i < ctx->header.time_ns; i++)
		sum += bpf_ktime_get_ns();
	return sum;
}

static __noinline int below(int n)
{
	char frame[200];

	__builtin_memset(frame, n, sizeof(frame));
	barrier_var(n);
	return frame[n & 127];
}

SEC("probe/vm_exit")
int stack_too_deep(const struct gnomon_vm_exit *ctx)
{
	int n = ctx->header.vm;
	char frame[400];

	__builtin_memset(frame, n, sizeof(frame));
	barrier_var(n);
	return below(n) + frame[n & 127];
}

char LICENSE[] SEC("license") = "GPL";
