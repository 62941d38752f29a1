/*
 * IPC latency of each channel: from the caller's ipc_call to the server's ipc_reply. Two programs share the start
 * times; a channel has one call outstanding at a time.
 */
#include "gnomon.h"

#define CHANNELS 32

/* Not per CPU: caller and server may run on different ones. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CHANNELS);
	__type(key, __u32);
	__type(value, __u64);
} call_started SEC(".maps");

GNOMON_BY_INDEX(ipc_ns_hist, __u32, struct gnomon_hist, CHANNELS);

SEC("probe/ipc_call")
int ipc_call(const struct gnomon_ipc_call *ctx)
{
	__u32 channel = ctx->channel;
	__u64 *started = bpf_map_lookup_elem(&call_started, &channel);

	if (started)
		*started = ctx->header.time_ns;
	return 0;
}

SEC("probe/ipc_reply")
int ipc_reply(const struct gnomon_ipc_reply *ctx)
{
	__u32 channel = ctx->channel;
	__u64 *started = bpf_map_lookup_elem(&call_started, &channel);
	struct gnomon_hist *hist;

	/* 0: the call was made before the probes were attached. */
	if (!started || !*started)
		return 0;
	hist = bpf_map_lookup_elem(&ipc_ns_hist, &channel);
	if (hist)
		gnomon_hist_add(hist, ctx->header.time_ns - *started);
	*started = 0;
	return 0;
}
