// Programs as people write them for Linux, of the kinds that are met most. Each must be accepted with `--env linux`.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct flow {
	__u32 src, dst;
	__u16 sport, dport;
	__u8 proto;
	__u8 pad[3];
};

struct counters {
	__u64 packets, bytes;
};

struct event {
	__u64 time;
	__u32 pid;
	__u32 cpu;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow);
	__type(value, struct counters);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} output SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

static __always_inline int parse(void *data, void *end, struct flow *flow)
{
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	struct iphdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return -1;
	__u32 length = ip->ihl * 4;
	if (length < sizeof(*ip))
		return -1;
	flow->src = ip->saddr;
	flow->dst = ip->daddr;
	flow->proto = ip->protocol;
	struct udphdr *udp = (void *)ip + length;
	if ((void *)(udp + 1) > end)
		return 0;
	if (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) {
		flow->sport = udp->source;
		flow->dport = udp->dest;
	}
	return 0;
}

static __always_inline void account(struct flow *flow, __u64 bytes)
{
	struct counters *seen = bpf_map_lookup_elem(&flows, flow);
	if (seen) {
		__sync_fetch_and_add(&seen->packets, 1);
		__sync_fetch_and_add(&seen->bytes, bytes);
		return;
	}
	struct counters first = { 1, bytes };
	bpf_map_update_elem(&flows, flow, &first, BPF_ANY);
}

SEC("xdp")
int xdp_flows(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct flow flow = {};
	if (parse(data, end, &flow))
		return XDP_PASS;
	account(&flow, end - data);
	return XDP_PASS;
}

SEC("xdp/blocklist")
int xdp_blocklist(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct flow flow = {};
	if (parse(data, end, &flow))
		return XDP_PASS;
	__u64 key = (__u64)flow.src << 32 | 32;
	return bpf_map_lookup_elem(&networks, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int xdp_checksum(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	if ((void *)(ip + 1) > end)
		return XDP_PASS;
	__u32 sum = 0;
	__u16 *words = (void *)ip;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? XDP_PASS : XDP_DROP;
}

SEC("xdp_options")
int xdp_tcp_options(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *at = data + sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr);
	int seen = 0;
	for (int i = 0; i < 10; i++) {
		if ((void *)(at + 2) > end || at[0] == 0)
			break;
		if (at[0] == 1) {
			at++;
			continue;
		}
		if (at[1] < 2)
			break;
		seen++;
		at += at[1];
	}
	return seen > 5 ? XDP_DROP : XDP_PASS;
}

SEC("xdp_redirect")
int xdp_forward(struct xdp_md *ctx)
{
	return bpf_redirect_map(&ports, ctx->ingress_ifindex & 15, XDP_PASS);
}

SEC("tc")
int tc_mark(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct flow flow = {};
	if (parse(data, end, &flow))
		return TC_ACT_OK;
	skb->mark = bpf_ntohs(flow.dport);
	account(&flow, skb->len);
	return TC_ACT_OK;
}

SEC("classifier/ingress")
int tc_pull(struct __sk_buff *skb)
{
	if (bpf_skb_pull_data(skb, 64))
		return TC_ACT_OK;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return TC_ACT_SHOT;
	__builtin_memset(eth->h_source, 0, 6);
	__u32 zero = 0;
	return bpf_skb_store_bytes(skb, 20, &zero, 4, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int tc_tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &next, skb->protocol & 7);
	return TC_ACT_OK;
}

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");

SEC("socket")
int socket_protocols(struct __sk_buff *skb)
{
	if (load_half(skb, 12) != ETH_P_IP)
		return 0;
	__u32 key = load_byte(skb, ETH_HLEN + __builtin_offsetof(struct iphdr, protocol));
	__u64 *count = bpf_map_lookup_elem(&histogram, &key);
	if (count)
		__sync_fetch_and_add(count, skb->len);
	return 0;
}

SEC("kprobe/do_sys_open")
int kprobe_start(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	bpf_map_update_elem(&started, &id, &now, BPF_ANY);
	return 0;
}

static __always_inline __u32 log2_of(__u64 v)
{
	__u32 r = 0;
	for (int shift = 32; shift > 0; shift /= 2)
		if (v >> shift) {
			v >>= shift;
			r += shift;
		}
	return r;
}

SEC("kretprobe/do_sys_open")
int kprobe_end(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), *start = bpf_map_lookup_elem(&started, &id);
	if (!start)
		return 0;
	__u32 slot = log2_of(bpf_ktime_get_ns() - *start);
	__u64 *count = bpf_map_lookup_elem(&histogram, &slot);
	if (count)
		*count += 1;
	bpf_map_delete_elem(&started, &id);
	return 0;
}

SEC("tracepoint/sched/sched_switch")
int tracepoint_event(void *ctx)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->time = bpf_ktime_get_ns();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->cpu = bpf_get_smp_processor_id();
	if (bpf_get_current_comm(e->comm, sizeof(e->comm))) {
		bpf_ringbuf_discard(e, 0);
		return 0;
	}
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("raw_tracepoint/sys_enter")
int raw_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 number = ctx->args[1] & 255;
	__u64 *count = bpf_map_lookup_elem(&histogram, &number);
	if (count)
		*count += 1;
	return 0;
}

SEC("perf_event")
int perf_sample(void *ctx)
{
	struct event e = { .time = bpf_ktime_get_ns() };
	bpf_get_current_comm(e.comm, sizeof(e.comm));
	bpf_perf_event_output(ctx, &output, BPF_F_CURRENT_CPU, &e, sizeof(e));
	return 0;
}

SEC("cgroup_skb/egress")
int cgroup_egress(struct __sk_buff *skb)
{
	return skb->len < 1400;
}

SEC("cgroup/connect4")
int cgroup_connect(struct bpf_sock_addr *ctx)
{
	if (ctx->user_ip4 == bpf_htonl(0x7f000001) && ctx->user_port == bpf_htons(80))
		ctx->user_port = bpf_htons(8080);
	return 1;
}

SEC("cgroup/sock_create")
int cgroup_sock(struct bpf_sock *sk)
{
	return sk->family != 17;
}

static long each(void *map, const void *key, void *value, void *ctx)
{
	*(__u64 *)ctx += *(__u64 *)value;
	return 0;
}

SEC("kprobe/sum")
int sum_all(void *ctx)
{
	__u64 sum = 0;
	bpf_for_each_map_elem(&started, each, &sum, 0);
	return sum != 0;
}

char LICENSE[] SEC("license") = "GPL";
