/*
 * Refused at attach: a correct program, but sorting on every exit takes longer than any path's budget allows. The
 * verifier proves its bound; admission says which path would be over its budget and by how much.
 */
#include "gnomon.h"

#define KEPT 16

struct window {
	__u64 spent[KEPT];
};

GNOMON_BY_INDEX(windows, __u32, struct window, 1);

SEC("probe/vm_entry")
int too_long(const struct gnomon_vm_entry *ctx)
{
	__u32 zero = 0;
	struct window *window = bpf_map_lookup_elem(&windows, &zero);

	if (!window)
		return 0;
	window->spent[0] = ctx->spent;
	/* Bubble sort, longest last. */
#pragma clang loop unroll(disable)
	for (__u32 pass = 0; pass < KEPT - 1; pass++) {
#pragma clang loop unroll(disable)
		for (__u32 i = 0; i < KEPT - 1; i++) {
			__u64 a = window->spent[i], b = window->spent[i + 1];

			window->spent[i] = a < b ? a : b;
			window->spent[i + 1] = a < b ? b : a;
		}
	}
	return 0;
}
