/* From a notification to the wake-up of the VM that waited for it, by VM. */
#include "gnomon.h"

#define VMS 16

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VMS);
	__type(key, __u32);
	__type(value, __u64);
} notified SEC(".maps");

GNOMON_BY_INDEX(wake_ns_hist, __u32, struct gnomon_hist, VMS);

SEC("probe/notify")
int notify_sent(const struct gnomon_notify *ctx)
{
	__u32 vm = ctx->to_vm;
	__u64 *at = bpf_map_lookup_elem(&notified, &vm);

	/* The first of several counts: the receiver takes all bits at once. */
	if (at && !*at)
		*at = ctx->header.time_ns;
	return 0;
}

SEC("probe/vm_entry")
int notify_taken(const struct gnomon_vm_entry *ctx)
{
	__u32 vm = ctx->header.vm;
	__u64 *at = bpf_map_lookup_elem(&notified, &vm);
	struct gnomon_hist *hist;

	if (!at || !*at)
		return 0;
	hist = bpf_map_lookup_elem(&wake_ns_hist, &vm);
	if (hist)
		gnomon_hist_add(hist, bpf_ktime_get_ns() - *at);
	*at = 0;
	return 0;
}
