/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A node: the stacks of one process, one for each core, and what they stand on. The embedded mode
 * is a node with one application in the same process; zstackd is a node that others attach to.
 *
 *   node.c         opening and closing, in order
 *   node_port.c    DPDK's environment, pools, ports
 *   node_addr.c    interfaces, addresses, routes
 *   node_spin.c    how long such a thread looks for work
 *   node_thread.c  a thread for each stack, or the caller's; calls into a running stack
 */
#ifndef ZS_SVC_NODE_H
#define ZS_SVC_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "chan/embed.h"
#include "dev/dev.h"
#include "stack/stack.h"
#include "svc/node_spin.h"
#include "svc/svc_cfg.h"

struct node_call;

struct node_core {
	struct node *node;
	unsigned cpu; /* with has_cpu */
	bool has_cpu;
	bool running; /* has a thread */
	pthread_t thread;
	struct pkt_pools pools;
	struct stack *stack;
	struct node_spin spin;
	/* Calls that wait for the thread: a list under the lock, and whether it has any. */
	pthread_mutex_t lock;
	struct node_call *calls;
	_Atomic bool called;
};

struct node {
	struct node_core core[EMBED_CORES_MAX];
	unsigned n;
	int64_t spin_ns, linger_ns; /* of the configuration */
	bool threaded;
	bool eal_up;
	bool telemetry; /* DPDK's; set before node_begin() */
	/* Buffers of each core that trust domains may have of their own, 0: embedded; the same. */
	uint32_t domain_bufs;
	_Atomic bool stop;
	struct dev *dev[STACK_PORTS_MAX];
	unsigned n_dev;
	struct stack_group *group;
	struct capture *capture;
	int link_bell; /* for the stacks to ask for links, see sock.h; -1 */
	/* Data of received packets, of all cores, when others than this process are to see it. */
	struct dev_mem packets;
	/* Set before node_begin(); 0: the default. */
	uint16_t port_min, port_max; /* ephemeral ports */
	uint32_t more_bufs;	     /* that the caller will ask for, for each core */
	/* When the last socket of a port is gone, this eventfd is written; with `reserve`. */
	bool reserve;
	int ports_bell;
};

/* Opening goes from the bottom up. Each step says in err what failed and leaves the rest to
 * node_close(), which may follow any of them and gives back what there is. cfg is borrowed. */

/* -EINVAL: cfg lacks what no node can be without, a port and an address. */
int node_cfg_check(const struct embed_cfg *cfg, const struct svc_err *err) must_check;
/* Which CPUs, DPDK's environment. mem_bytes: for dev_mem_alloc(), for each core. */
int node_begin(struct node *n, const struct embed_cfg *cfg, size_t mem_bytes,
	       const struct svc_err *err) must_check;
/* Bytes that n->packets must have, if it shall be used; 0: the ports need memory of EAL's. */
size_t node_packet_bytes(const struct node *n, const struct embed_cfg *cfg);
/* Pools, ports, stacks, addresses. Payload memory was allocated before: ports map it then. */
int node_open(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err) must_check;
/* Waits until it is known whether the addresses can be used, then starts the threads. */
int node_start(struct node *n, const struct svc_err *err) must_check;
/* No application is attached any more: waits at most linger_ns for what was sent last. */
void node_settle(struct node *n);
/* Stops the threads. */
void node_stop(struct node *n);
/* Frees what the stacks have, closes the ports. */
void node_halt(struct node *n);
/* Memory that was lent to the stacks may be unmapped after this. */
void node_close(struct node *n);

/* node_port.c */
int node_eal_open(struct node *n, const struct embed_cfg *cfg, size_t mem_bytes,
		  const struct svc_err *err) must_check;
int node_ports_open(struct node *n, const struct embed_cfg *cfg,
		    const struct svc_err *err) must_check;
uint32_t node_port_bufs(const struct embed_cfg *cfg);
void node_ports_close(struct node *n);
void node_pools_close(struct node *n);

/* node_addr.c: addresses and gateways, the same for each stack. */
int node_addrs_add(struct node *n, const struct embed_cfg *cfg,
		   const struct svc_err *err) must_check;
/* While the stacks run: on all of them, or on none. -errno with a sentence in err. */
int node_addr_add(struct node *n, const char *text, uint16_t mtu,
		  const struct svc_err *err) must_check;
/* IP[/LEN[@PORT[.VLAN]]]: what is said must be so, or there is no such address: -ENOENT. */
int node_addr_del(struct node *n, const char *text, const struct svc_err *err) must_check;
/* prefix: IP/LEN or "default". */
int node_route_add(struct node *n, const char *prefix, const char *via,
		   const struct svc_err *err) must_check;
int node_route_del(struct node *n, const char *prefix, const char *via,
		   const struct svc_err *err) must_check;

/* Into the header at the start of a channel's rings, which was written: what kernel_if and netns say there.
 * In the thread that changes addresses. */
void node_kernel_ifs(const struct stack *s, void *rings);

/* node_thread.c */
int64_t node_now_ns(void); /* CLOCK_MONOTONIC */
int node_threads_start(struct node *n, const struct svc_err *err) must_check;
unsigned node_poll(struct node_core *c);
/* Runs fn(arg) in the thread of core c, between two turns of its stack, and waits for it. Callable
 * by any other thread while the threads run; before and after, and when not threaded, it runs here.
 */
void node_call(struct node_core *c, void (*fn)(struct node_core *c, void *arg), void *arg);

#endif
