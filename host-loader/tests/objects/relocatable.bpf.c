/* A program with CO-RE relocations: fields of its own view of a context, and a question whether one is there. */
#include "gnomon.h"
#include <bpf/bpf_core_read.h>

struct view {
	__u64 time_ns;
	__u32 vm, vcpu;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} last SEC(".maps");

SEC("probe/vm_exit")
int remember(const struct view *ctx)
{
	__u32 key = 0;
	__u32 *value = bpf_map_lookup_elem(&last, &key);

	if (value && bpf_core_field_exists(ctx->vcpu))
		*value = ctx->vcpu;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
