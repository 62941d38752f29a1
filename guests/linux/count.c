/* Counts a loop of known length by the kernel's performance events: `perf stat -e cycles,instructions` in small. */
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROUNDS 1000000UL

static int event(unsigned long config)
{
	struct perf_event_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.type = PERF_TYPE_HARDWARE;
	attr.size = sizeof(attr);
	attr.config = config;
	attr.disabled = 1;
	attr.exclude_kernel = 1;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static unsigned long long value(int fd)
{
	unsigned long long count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

int main(void)
{
	int cycles = event(PERF_COUNT_HW_CPU_CYCLES), instructions = event(PERF_COUNT_HW_INSTRUCTIONS);
	unsigned long rounds = ROUNDS;

	if (cycles < 0 || instructions < 0) {
		perror("count: perf_event_open");
		return 1;
	}
	ioctl(cycles, PERF_EVENT_IOC_ENABLE, 0);
	ioctl(instructions, PERF_EVENT_IOC_ENABLE, 0);
	/* Two instructions a round. */
	asm volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(rounds) : : "cc");
	ioctl(instructions, PERF_EVENT_IOC_DISABLE, 0);
	ioctl(cycles, PERF_EVENT_IOC_DISABLE, 0);
	printf("count: rounds %lu instructions %llu cycles %llu\n", ROUNDS, value(instructions), value(cycles));
	return 0;
}
