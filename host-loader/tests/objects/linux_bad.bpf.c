// What Linux refuses to root as well: one mistake a program. The name of the reason follows each function's name.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12);
} events SEC(".maps");

SEC("xdp")
int no_check__out_of_bounds(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	return eth->h_proto == 8 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int short_check__out_of_bounds(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	if (data + 12 > end)
		return XDP_PASS;
	return eth->h_proto == 8 ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int stale_pointer__uninit_register(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (data + 64 > end || bpf_skb_pull_data(skb, 64))
		return TC_ACT_OK;
	return data[0] ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("kprobe/a")
int no_null_check__maybe_null(void *ctx)
{
	__u64 key = bpf_get_current_pid_tgid(), *value = bpf_map_lookup_elem(&table, &key);
	return *value != 0;
}

SEC("kprobe/b")
int lost_record__unreleased(void *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&events, 8, 0);
	if (record && bpf_ktime_get_ns() & 1)
		bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("kprobe/c")
int other_type__unknown_helper(void *ctx)
{
	return bpf_skb_pull_data(ctx, 0);
}

SEC("tracepoint/a/b")
int no_end__no_loop_bound(void *ctx)
{
	__u64 n = 0;
	while (bpf_get_prandom_u32() & 1)
		n++;
	return n != 0;
}

SEC("xdp")
int writes_context__no_such_field(struct xdp_md *ctx)
{
	*(volatile __u32 *)&ctx->data_end = 0;
	return XDP_PASS;
}

SEC("cgroup/connect4")
int wrong_answer__return_value(struct bpf_sock_addr *ctx)
{
	return 7;
}

SEC("kprobe/d")
int past_the_stack__out_of_bounds(void *ctx)
{
	char name[16];
	return bpf_get_current_comm(name, 600);
}

SEC("xdp")
int pointer_in_packet_sum__pointer_arithmetic(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	return (long)data * 2 + (data < end);
}

char LICENSE[] SEC("license") = "GPL";
