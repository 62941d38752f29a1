/* Which hypercalls each VM makes: counts by VM and SMCCC function identifier. */
#include "gnomon.h"

struct call {
	__u32 vm;
	__u32 func;
};

GNOMON_BY_KEY(calls, struct call, __u64, 256);

SEC("probe/hypercall")
int hypercalls(const struct gnomon_hypercall *ctx)
{
	struct call call = {
		.vm = ctx->header.vm,
		.func = ctx->func,
	};
	__u64 *count = bpf_map_lookup_elem(&calls, &call);
	__u64 one = 1;

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&calls, &call, &one, BPF_NOEXIST);
	return 0;
}
