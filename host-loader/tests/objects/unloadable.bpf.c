/* Programs that are safe and bounded, and have more than a hypervisor takes. */
#include "gnomon.h"

#define __naked __attribute__((naked))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, char[1025]);
} wide SEC(".maps");

SEC("probe/vm_exit")
int wide_value(const struct gnomon_vm_exit *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&wide, &key) != 0;
}

#define ONE(n)                                   \
	static __noinline __naked int one##n(void) \
	{                                        \
		asm volatile("r0 = 1; exit;");   \
	}
#define TEN(n) \
	ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4) ONE(n##5) ONE(n##6) ONE(n##7) ONE(n##8) ONE(n##9)
#define CALLS(n)                                                                                         \
	(one##n##0() + one##n##1() + one##n##2() + one##n##3() + one##n##4() + one##n##5() + one##n##6() + \
	 one##n##7() + one##n##8() + one##n##9())

TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7)

SEC("probe/vm_exit")
int seventy_functions(const struct gnomon_vm_exit *ctx)
{
	return CALLS(1) + CALLS(2) + CALLS(3) + CALLS(4) + CALLS(5) + CALLS(6) + CALLS(7);
}

char LICENSE[] SEC("license") = "GPL";
