/* What Linux refuses to those without privileges, and what it refuses to all: one reason a program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[8]);
} words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_WRONLY_PROG);
	__type(key, __u32);
	__type(value, __u64);
} outbox SEC(".maps");

SEC("socket")
int counts_to_ten(struct __sk_buff *skb)
{
	__u32 sum = 0;

	for (volatile __u32 i = 0; i < 10; i++)
		sum += skb->len;
	return sum;
}

static __noinline __u32 twice(__u32 x)
{
	return x * 2;
}

SEC("socket")
int calls_function(struct __sk_buff *skb)
{
	return twice(skb->len);
}

SEC("socket")
int stack_by_index(struct __sk_buff *skb)
{
	volatile __u8 bytes[12] = {};

	return bytes[1 + (skb->len & 7)];
}

SEC("socket")
int steps_out_and_back(struct __sk_buff *skb)
{
	__u32 key = 0;
	char *value = bpf_map_lookup_elem(&words, &key);

	if (!value)
		return 0;
	asm volatile("%0 += -1" : "+r"(value));
	asm volatile("%0 += 1" : "+r"(value));
	return *value;
}

SEC("socket")
int index_of_either_sign(struct __sk_buff *skb)
{
	__u32 key = 0;
	char *value = bpf_map_lookup_elem(&words, &key);
	long by = skb->len & 7;

	if (!value)
		return 0;
	asm volatile("%0 += -3" : "+r"(by));
	value += 20;
	asm volatile("%0 += %1" : "+r"(value) : "r"(by));
	return *value;
}

SEC("socket")
__attribute__((naked)) int pointer_or_number(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "r3 = 1;"
		     "r4 = r10;"
		     "if r2 == 0 goto +2;"
		     "r4 += -8;"
		     "goto +1;"
		     "r4 = 0;"
		     "r4 += r3;"
		     "r0 = 0;"
		     "exit;");
}

SEC("socket")
int reads_outbox(struct __sk_buff *skb)
{
	__u32 key = 0;
	volatile __u64 *value = bpf_map_lookup_elem(&outbox, &key);

	return value ? *value : 0;
}

SEC("socket")
__attribute__((naked)) int divides_by_zero(void)
{
	asm volatile("r0 = 1;"
		     "r0 /= 0;"
		     "exit;");
}

SEC("cgroup/connect4")
int answers_seven(struct bpf_sock_addr *ctx)
{
	return 7;
}

char LICENSE[] SEC("license") = "GPL";
