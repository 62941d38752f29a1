// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/gnomon: lets a program in this Linux VM talk to the hypervisor below it.
 *
 * The device speaks the frames of the monitor link (link.h), as the monitor guest does over virtio-console: one write is one
 * request, the reads that follow give its answer. So the same gnomon command serves on the host and here. What a request may do
 * is what the system's manifest grants this VM.
 */
#include <linux/arm-smccc.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "link.h"

/* Verification units asked for per call; the hypervisor may cap it lower. */
#define UNITS 1024
/* Calls of one load after which something is wrong: far more than the hypervisor's own limit on a verification. */
#define STEPS_MAX (1u << 20)

/* One open of the device. Hypercalls take addresses of whole buffers: these are contiguous in the VM's physical memory. */
struct session {
	struct mutex lock;
	/* Body of the request. */
	u8 *in;
	/* The answer: header and body. */
	u8 *out;
	/* Bytes of the answer, and how many of them were read. */
	size_t len, pos;
};

#define OUT_BYTES (sizeof(struct gnomon_header) + GNOMON_BODY_MAX)

static void hvc(struct arm_smccc_1_2_regs *regs)
{
	arm_smccc_1_2_hvc(regs, regs);
}

static struct arm_smccc_1_2_regs call(u16 number, u64 a1, u64 a2)
{
	struct arm_smccc_1_2_regs regs = { .a0 = GNOMON_FID(number), .a1 = a1, .a2 = a2 };

	hvc(&regs);
	return regs;
}

static void *answer_body(struct session *s)
{
	return s->out + sizeof(struct gnomon_header);
}

static u32 do_hello(struct session *s, u32 *len)
{
	struct gnomon_hello_reply *reply = answer_body(s);
	struct arm_smccc_1_2_regs version = call(GNOMON_VERSION, 0, 0);
	struct arm_smccc_1_2_regs info = call(GNOMON_VM_INFO, 0, 0);

	*reply = (struct gnomon_hello_reply) {
		.abi = version.a1,
		.vm = info.a1,
		.rights = info.a2,
	};
	*len = sizeof(*reply);
	return GNOMON_OK;
}

/* These end the VM or stop a CPU of Linux until another VM answers. */
static bool never_returns(u16 number)
{
	switch (number) {
	case GNOMON_VM_EXIT:
	case GNOMON_IPC_CALL:
	case GNOMON_IPC_RECV:
	case GNOMON_IPC_REPLY_RECV:
	case GNOMON_NOTIFY_WAIT:
		return true;
	}
	return false;
}

static bool substitute(unsigned long *x, u8 reg, phys_addr_t address)
{
	if (reg == GNOMON_NO_BUFFER)
		return true;
	if (reg < 1 || reg > 7)
		return false;
	x[reg] = address;
	return true;
}

static u32 do_hvc(struct session *s, u32 in_len, u32 *len)
{
	const struct gnomon_hvc_request *request = (const void *)s->in;
	struct gnomon_hvc_reply *reply = answer_body(s);
	phys_addr_t in = virt_to_phys(s->in) + sizeof(*request);
	phys_addr_t out = virt_to_phys(reply) + sizeof(*reply);
	struct arm_smccc_1_2_regs regs = {};
	unsigned long *x = (unsigned long *)&regs;
	int i;

	if (in_len < sizeof(*request) || never_returns(request->call))
		return GNOMON_MALFORMED;
	if (request->out_len > GNOMON_BODY_MAX - sizeof(*reply))
		return GNOMON_TOO_BIG;
	x[0] = GNOMON_FID(request->call);
	for (i = 0; i < 7; i++)
		x[i + 1] = request->x[i];
	if (!substitute(x, request->in_reg, in) || !substitute(x, request->in2_reg, in + request->in2_offset) ||
	    !substitute(x, request->out_reg, out))
		return GNOMON_MALFORMED;
	/* What goes back is what the hypervisor wrote, nothing of an earlier answer. */
	memset(reply + 1, 0, request->out_len);
	*len = sizeof(*reply) + request->out_len;
	hvc(&regs);
	for (i = 0; i < 8; i++)
		reply->x[i] = x[i];
	return GNOMON_OK;
}

/* Repeats a resumable call until x1 says that it is finished. */
static struct arm_smccc_1_2_regs finish(u16 number, u64 handle, u32 *steps)
{
	struct arm_smccc_1_2_regs regs;

	for (*steps = 0; *steps < STEPS_MAX && !fatal_signal_pending(current);) {
		regs = call(number, handle, UNITS);
		++*steps;
		/* Another CPU is in the way for a moment: the step is made again. */
		if (regs.a0 != GNOMON_STATUS_AGAIN && (regs.a0 != 0 || regs.a1 != 0))
			return regs;
		cond_resched();
	}
	regs.a0 = GNOMON_STATUS_TOO_BIG;
	regs.a1 = STEPS_MAX;
	return regs;
}

/* Stage, verify by steps, compile by steps: gives the registers of the last call. */
static struct arm_smccc_1_2_regs load_steps(struct session *s, u32 in_len, struct gnomon_load_reply *reply)
{
	struct arm_smccc_1_2_regs regs;
	u32 compile_steps, tries = 0;

	do {
		regs = call(GNOMON_PROBE_STAGE, virt_to_phys(s->in), in_len);
		cond_resched();
	} while (regs.a0 == GNOMON_STATUS_AGAIN && ++tries < STEPS_MAX);

	if (regs.a0 != 0)
		return regs;
	reply->handle = regs.a1;
	reply->call = GNOMON_PROBE_VERIFY;
	regs = finish(GNOMON_PROBE_VERIFY, reply->handle, &reply->steps);
	if (regs.a0 != 0)
		return regs;
	reply->insn_bound = regs.a3;
	reply->call = GNOMON_PROBE_COMPILE;
	regs = finish(GNOMON_PROBE_COMPILE, reply->handle, &compile_steps);
	reply->code_bytes = regs.a2;
	reply->time_bound = regs.a3;
	return regs;
}

static u32 do_load(struct session *s, u32 in_len, u32 *len)
{
	struct gnomon_load_reply *reply = answer_body(s);
	struct arm_smccc_1_2_regs regs;
	unsigned long *x = (unsigned long *)&regs;
	int i;

	*reply = (struct gnomon_load_reply) { .call = GNOMON_PROBE_STAGE };
	regs = load_steps(s, in_len, reply);
	for (i = 0; i < 8; i++)
		reply->x[i] = x[i];
	/* The refusal to report is the first one, whatever becomes of this. */
	if (regs.a0 != 0 && reply->call != GNOMON_PROBE_STAGE)
		call(GNOMON_PROBE_UNLOAD, reply->handle, 0);
	*len = sizeof(*reply);
	return GNOMON_OK;
}

static void execute(struct session *s, const struct gnomon_header *request)
{
	struct gnomon_header *answer = (void *)s->out;
	u32 len = 0;
	u32 error;

	switch (request->verb) {
	case GNOMON_VERB_HELLO:
		error = do_hello(s, &len);
		break;
	case GNOMON_VERB_HVC:
		error = do_hvc(s, request->len, &len);
		break;
	case GNOMON_VERB_LOAD:
		error = do_load(s, request->len, &len);
		break;
	default:
		error = GNOMON_UNKNOWN_VERB;
	}
	*answer = (struct gnomon_header) {
		.magic = GNOMON_MAGIC,
		.len = error ? 0 : len,
		.verb = request->verb | GNOMON_ANSWER,
		.seq = request->seq,
		.error = error,
	};
	s->len = sizeof(*answer) + answer->len;
	s->pos = 0;
}

static ssize_t gnomon_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	struct session *s = file->private_data;
	struct gnomon_header header;

	if (count < sizeof(header))
		return -EINVAL;
	if (copy_from_user(&header, from, sizeof(header)))
		return -EFAULT;
	if (header.magic != GNOMON_MAGIC || header.len != count - sizeof(header))
		return -EINVAL;
	if (header.len > GNOMON_BODY_MAX)
		return -EMSGSIZE;
	if (mutex_lock_interruptible(&s->lock))
		return -ERESTARTSYS;
	if (copy_from_user(s->in, from + sizeof(header), header.len)) {
		mutex_unlock(&s->lock);
		return -EFAULT;
	}
	execute(s, &header);
	mutex_unlock(&s->lock);
	return count;
}

static ssize_t gnomon_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	struct session *s = file->private_data;

	if (mutex_lock_interruptible(&s->lock))
		return -ERESTARTSYS;
	count = min(count, s->len - s->pos);
	if (copy_to_user(to, s->out + s->pos, count)) {
		mutex_unlock(&s->lock);
		return -EFAULT;
	}
	s->pos += count;
	mutex_unlock(&s->lock);
	return count;
}

static void free_session(struct session *s)
{
	if (s->in)
		free_pages_exact(s->in, GNOMON_BODY_MAX);
	if (s->out)
		free_pages_exact(s->out, OUT_BYTES);
	kfree(s);
}

static int gnomon_open(struct inode *inode, struct file *file)
{
	struct session *s;

	/* A register that no buffer is put into goes to the hypervisor as it is, and may be an address: as with /dev/mem. */
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	s = kzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock);
	s->in = alloc_pages_exact(GNOMON_BODY_MAX, GFP_KERNEL | __GFP_ZERO);
	s->out = alloc_pages_exact(OUT_BYTES, GFP_KERNEL | __GFP_ZERO);
	if (!s->in || !s->out) {
		free_session(s);
		return -ENOMEM;
	}
	file->private_data = s;
	return 0;
}

static int gnomon_release(struct inode *inode, struct file *file)
{
	free_session(file->private_data);
	return 0;
}

static const struct file_operations gnomon_fops = {
	.owner = THIS_MODULE,
	.open = gnomon_open,
	.release = gnomon_release,
	.write = gnomon_write,
	.read = gnomon_read,
	.llseek = noop_llseek,
};

static struct miscdevice gnomon_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "gnomon",
	.fops = &gnomon_fops,
	.mode = 0600,
};

static bool below_is_gnomon(void)
{
	struct arm_smccc_1_2_regs regs = { .a0 = GNOMON_FID_UID };

	/* HVC is undefined where nothing answers it. */
	if (arm_smccc_1_1_get_conduit() != SMCCC_CONDUIT_HVC)
		return false;
	hvc(&regs);
	return (u32)regs.a0 == GNOMON_UID_0 && (u32)regs.a1 == GNOMON_UID_1 && (u32)regs.a2 == GNOMON_UID_2 &&
	       (u32)regs.a3 == GNOMON_UID_3;
}

static int __init gnomon_init(void)
{
	if (!below_is_gnomon()) {
		pr_err("gnomon: the hypervisor below is not Gnomon\n");
		return -ENODEV;
	}
	return misc_register(&gnomon_device);
}

static void __exit gnomon_exit(void)
{
	misc_deregister(&gnomon_device);
}

module_init(gnomon_init);
module_exit(gnomon_exit);
MODULE_DESCRIPTION("Link to the Gnomon hypervisor");
MODULE_LICENSE("Dual MIT/GPL");
