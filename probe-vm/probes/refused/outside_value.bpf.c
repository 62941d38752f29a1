/* Refused: reads beyond a map value. The mask lets the index reach 15, and there are 8 counts. */
#include "gnomon.h"

struct counts {
	__u64 count[8];
};

GNOMON_BY_INDEX(by_bits, __u32, struct counts, 1);

SEC("probe/vm_entry")
int outside_value(const struct gnomon_vm_entry *ctx)
{
	__u32 zero = 0;
	struct counts *counts = bpf_map_lookup_elem(&by_bits, &zero);

	if (counts)
		counts->count[ctx->spent & 15] += 1;
	return 0;
}
