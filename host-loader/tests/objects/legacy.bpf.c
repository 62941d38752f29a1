// Maps as they were defined before BTF, and a map of maps.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct legacy_map {
	__u32 type, key_size, value_size, max_entries, flags;
};

struct legacy_map SEC("maps") ports = {
	.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 3,
};

struct legacy_map SEC("maps") drops = {
	.type = BPF_MAP_TYPE_PERCPU_HASH, .key_size = 8, .value_size = 24, .max_entries = 9, .flags = 1,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 5);
		__type(key, __u32);
		__type(value, __u32);
	});
} tables SEC(".maps");

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	__u32 port = 0;
	__u64 drop = 1;
	void *table = bpf_map_lookup_elem(&tables, &port);

	if (table)
		bpf_map_lookup_elem(table, &port);
	bpf_map_lookup_elem(&drops, &drop);
	return bpf_map_lookup_elem(&ports, &port) ? XDP_PASS : XDP_DROP;
}
