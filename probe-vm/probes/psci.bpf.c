/* PSCI calls by VM and function: who powers what on and off. */
#include "gnomon.h"

struct call {
	__u32 vm;
	__u32 func;
};

GNOMON_BY_KEY(psci_calls, struct call, __u64, 64);

SEC("probe/psci")
int psci(const struct gnomon_psci *ctx)
{
	struct call call = {
		.vm = ctx->header.vm,
		.func = ctx->func,
	};
	__u64 *count = bpf_map_lookup_elem(&psci_calls, &call);
	__u64 one = 1;

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&psci_calls, &call, &one, BPF_NOEXIST);
	return 0;
}
