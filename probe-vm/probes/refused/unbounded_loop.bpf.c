/* Refused: how often the loop goes round depends on what a guest does, and nothing bounds it. */
#include "gnomon.h"

GNOMON_BY_INDEX(steps, __u32, __u64, 1);

SEC("probe/hypercall")
int unbounded_loop(const struct gnomon_hypercall *ctx)
{
	__u64 x = ctx->x1;
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&steps, &zero);

	if (!count)
		return 0;
	/* Collatz: nobody knows whether this ends. */
	while (x != 1) {
		x = x & 1 ? 3 * x + 1 : x / 2;
		*count += 1;
	}
	return 0;
}
