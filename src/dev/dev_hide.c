/* SPDX-License-Identifier: BSD-3-Clause
 *
 * af_packet reads copies: the kernel goes on to take the same frames itself. As long as it has no
 * address there that does no harm, but where it shares ours (dev_kernel.c) it would answer each of
 * our segments with a reset. So a filter of two instructions behind the packet sockets' copies
 * drops what arrives at the interface. It hangs on a descriptor, and goes with the process, however
 * that ends.
 *
 * BPF_TCX_INGRESS is Linux 6.6's; headers of before lack the name.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/dev_priv.h"

#define TCX_INGRESS 46
#define TCX_DROP    2

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int program_load(void)
{
	static const struct bpf_insn drop_all[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TCX_DROP},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	a.insns = (uintptr_t)drop_all;
	a.insn_cnt = array_size(drop_all);
	a.license = (uintptr_t) "BSD";
	return bpf(BPF_PROG_LOAD, &a);
}

int dev_hide_open(const struct dev *d)
{
	union bpf_attr a;
	int prog, fd;

	if (!d->row->copies_input || d->ifindex == 0)
		return -ENOENT;
	prog = program_load();
	if (prog < 0)
		return -errno;
	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.target_ifindex = d->ifindex;
	a.link_create.attach_type = TCX_INGRESS;
	fd = bpf(BPF_LINK_CREATE, &a);
	fd = fd < 0 ? -errno : fd;
	close(prog);
	return fd;
}
