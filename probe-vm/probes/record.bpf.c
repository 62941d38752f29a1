/* Records every exit of one VM into a ring buffer: what happened, when, and how long it took. */
#include "gnomon.h"

struct event {
	__u64 time_ns;
	__u64 pc;
	__u64 spent;
	__u32 path;
	__u32 vcpu;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16384);
} events SEC(".maps");

SEC("probe/vm_entry")
int record(const struct gnomon_vm_entry *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	/* Without room the record counts as lost, and `gnomon read` says how many. */
	if (!event)
		return 0;
	event->time_ns = ctx->header.time_ns;
	event->pc = ctx->pc;
	event->spent = ctx->spent;
	event->path = ctx->header.path;
	event->vcpu = ctx->header.vcpu;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
