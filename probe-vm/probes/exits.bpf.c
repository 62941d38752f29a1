/* Where exits spend their time: count and log2 histogram of each path. */
#include "gnomon.h"

GNOMON_BY_PATH(exit_insns_hist, struct gnomon_hist);

SEC("probe/vm_entry")
int exits(const struct gnomon_vm_entry *ctx)
{
	__u32 path = ctx->header.path;
	struct gnomon_hist *hist = bpf_map_lookup_elem(&exit_insns_hist, &path);

	if (hist)
		gnomon_hist_add(hist, ctx->spent);
	return 0;
}
