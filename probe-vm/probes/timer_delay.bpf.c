/* How late the hypervisor gets to timers that have expired, by kind of timer (enum gnomon_timer_kind). */
#include "gnomon.h"

GNOMON_BY_INDEX(delay_ns_hist, enum gnomon_timer_kind, struct gnomon_hist, 4);

SEC("probe/timer")
int timer_delay(const struct gnomon_timer *ctx)
{
	__u32 kind = ctx->kind;
	struct gnomon_hist *hist = bpf_map_lookup_elem(&delay_ns_hist, &kind);

	if (hist && ctx->header.time_ns >= ctx->due_ns)
		gnomon_hist_add(hist, ctx->header.time_ns - ctx->due_ns);
	return 0;
}
