/* Stage-2 faults by VM and 2 MiB block of intermediate physical address. */
#include "gnomon.h"

#define BLOCK_SHIFT 21

struct block {
	__u32 vm;
	__u32 number; /* address >> 21 */
};

GNOMON_BY_KEY(fault_blocks, struct block, __u64, 256);

SEC("probe/stage2_fault")
int faults(const struct gnomon_stage2_fault *ctx)
{
	struct block block = {
		.vm = ctx->header.vm,
		.number = ctx->ipa >> BLOCK_SHIFT,
	};
	__u64 *count = bpf_map_lookup_elem(&fault_blocks, &block);
	__u64 one = 1;

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&fault_blocks, &block, &one, BPF_NOEXIST);
	return 0;
}
