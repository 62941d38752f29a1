/* Accesses to emulated devices: counts by device, register and direction. */
#include "gnomon.h"

struct access {
	__u32 device; /* enum gnomon_device */
	__u32 offset;
	__u32 write;
};

GNOMON_BY_KEY(accesses, struct access, __u64, 256);

SEC("probe/mmio")
int mmio(const struct gnomon_mmio *ctx)
{
	struct access access = {
		.device = ctx->device,
		.offset = ctx->offset,
		.write = ctx->write,
	};
	__u64 *count = bpf_map_lookup_elem(&accesses, &access);
	__u64 one = 1;

	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&accesses, &access, &one, BPF_NOEXIST);
	return 0;
}
