/* How long each VM runs at a stretch, and how long it waits for the CPU after it woke. */
#include "gnomon.h"

#define VMS 16

GNOMON_BY_INDEX(run_ns_hist, __u32, struct gnomon_hist, VMS);
GNOMON_BY_INDEX(ready_ns_hist, __u32, struct gnomon_hist, VMS);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMS);
	__type(key, __u32);
	__type(value, __u64);
} woken SEC(".maps");

/* When the vCPU that a CPU runs was switched to; one for each CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} switched SEC(".maps");

SEC("probe/vcpu_wake")
int sched_wake(const struct gnomon_vcpu_wake *ctx)
{
	__u32 vm = ctx->to_vm;
	__u64 *at = bpf_map_lookup_elem(&woken, &vm);

	if (at)
		*at = ctx->header.time_ns;
	return 0;
}

SEC("probe/sched_switch")
int sched_switch(const struct gnomon_sched_switch *ctx)
{
	__u64 now = ctx->header.time_ns;
	__u32 zero = 0, prev = ctx->prev_vm, next = ctx->next_vm;
	__u64 *since = bpf_map_lookup_elem(&switched, &zero);
	struct gnomon_hist *hist;
	__u64 *at;

	if (!since)
		return 0;
	/* Idling has no VM, so these lookups find nothing then. */
	hist = bpf_map_lookup_elem(&run_ns_hist, &prev);
	if (hist && *since)
		gnomon_hist_add(hist, now - *since);
	at = bpf_map_lookup_elem(&woken, &next);
	if (at && *at) {
		hist = bpf_map_lookup_elem(&ready_ns_hist, &next);
		if (hist)
			gnomon_hist_add(hist, now - *at);
		*at = 0;
	}
	*since = now;
	return 0;
}
