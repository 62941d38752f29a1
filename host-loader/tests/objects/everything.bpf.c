// Every kind of reference a program can make: maps, globals of three sections, functions of two linkages, a callback.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

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

const volatile int limit = 5;
int total = 7;
static int buckets[4];

static __noinline int add(int x)
{
	buckets[x & 3] += 1;
	return x * 3 + total;
}

__noinline int add_more(int x)
{
	return add(x) + 1;
}

static int each(__u32 i, void *sum)
{
	*(int *)sum += i;
	return 0;
}

SEC("probe/vm_exit")
int count(void *ctx)
{
	__u32 key = bpf_get_smp_processor_id();
	__u64 one = 1;
	int sum = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	bpf_loop(10, each, &sum, 0);
	if (value)
		*value += add_more(limit) + sum;
	else
		bpf_map_update_elem(&counts, &key, &one, 0);
	return 0;
}

SEC("probe/vm_entry")
int record(void *ctx)
{
	__u64 *event = bpf_ringbuf_reserve(&events, 8, 0);

	if (!event)
		return 0;
	*event = total;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
