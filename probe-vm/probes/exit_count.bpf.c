/* How often each path is taken, and its mean time: the cheapest probe that is of use. */
#include "gnomon.h"

GNOMON_BY_PATH(exit_insns_sum, struct gnomon_sum);

SEC("probe/vm_entry")
int exit_count(const struct gnomon_vm_entry *ctx)
{
	__u32 path = ctx->header.path;
	struct gnomon_sum *sum = bpf_map_lookup_elem(&exit_insns_sum, &path);

	if (sum)
		gnomon_sum_add(sum, ctx->spent);
	return 0;
}
