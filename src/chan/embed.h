/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The seam of the embedded mode: what libzstack (src/client) asks of libzstack-stack (src/svc),
 * which it loads when a program wants a stack of its own. Nothing else crosses but the channels, so
 * the client is the same that attaches to a service. One stack and one channel for each core.
 *
 * The library exports one symbol, EMBED_SYMBOL, a struct embed_ops.
 */
#ifndef ZS_CHAN_EMBED_H
#define ZS_CHAN_EMBED_H

#include <stddef.h>

#include "chan/chan.h"

#define EMBED_ABI	1
#define EMBED_SYMBOL	"zstack_embed_ops"
#define EMBED_CORES_MAX 16

struct embed; /* the stacks of this process */

/* Every text is as the user wrote it: the stack's side parses and checks it, and its message names
 * the option. Lists end with NULL; a NULL list is an empty one. Borrowed during open only. */
struct embed_cfg {
	const char *const *vdevs; /* --vdev SPEC: "net_af_packet0,iface=veth0" */
	const char *const *pci;	  /* --port PCI address */
	/* --addr IP/LEN[@PORT[.VLAN]]; PORT counts vdevs, then pci, from 0 */
	const char *const *addrs;
	const char *const *gateways; /* --gateway IP */
	const char *cores;	/* --cores LIST of CPUs: a stack each; NULL = one, where it runs */
	const char *capture;	/* --capture FILE: pcapng of all frames; NULL = none */
	const char *congestion; /* --congestion NAME; NULL = cubic */
	uint32_t mtu;		/* 0 = the port's */
	uint32_t mem_mb;	/* 0 = as needed */
	uint32_t max_sockets;	/* of the process; 0 = default */
	uint32_t spin_us;	/* threads look for work that long before they sleep */
	uint32_t linger_ms;	/* close waits that long for what was sent last */
	bool no_huge;
	bool threaded; /* stacks run in threads of their own; else the program calls poll, wait */
	struct chan_geometry geometry; /* of each channel */
};

struct embed_ops {
	uint32_t abi; /* EMBED_ABI */
	/* Opens ports and stacks, formats a channel for each core, starts the threads when asked.
	 * maps has EMBED_CORES_MAX places; *n gets their number (1 when not threaded). What the
	 * maps describe lives until close. 0, or -errno with one sentence in err that says what to
	 * do. */
	int (*open)(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		    unsigned *n, char *err, size_t err_len);
	/* Not threaded, one thread at a time: one pass of the stack's loop, without sleeping.
	 * Returns how much was done, 0 = nothing. */
	unsigned (*poll)(struct embed *e);
	/* Not threaded: sleeps until a packet, a deadline of the stack, or a write to the channel's
	 * app bell may have made work; at most timeout_ns (-1: for ever). 0, -EINTR, or -ENODEV:
	 * the interfaces of all ports were deleted. */
	int (*wait)(struct embed *e, int64_t timeout_ns);
	/* Sends FIN or RST for what is open, ends threads, closes ports, gives everything back. The
	 * client has detached its side: it touches the maps no more. */
	void (*close)(struct embed *e);
};

#endif
