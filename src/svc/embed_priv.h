/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stacks of one process and what they stand on.
 *
 *   embed.c         opening and closing, in order
 *   embed_port.c    ports, pools, addresses
 *   embed_chan.c    a channel for each stack
 *   embed_thread.c  a thread for each stack, or the caller's
 */
#ifndef ZS_SVC_EMBED_PRIV_H
#define ZS_SVC_EMBED_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "chan/embed.h"
#include "dev/dev.h"
#include "stack/stack.h"

struct embed_core {
	struct embed *embed;
	unsigned cpu; /* with has_cpu */
	bool has_cpu;
	bool running; /* has a thread */
	pthread_t thread;
	struct pkt_pools pools;
	struct stack *stack;
	struct sock_app *app; /* the one application: the program */
	struct chan_map map;
	void *rings; /* mapping of the rings region */
	uint64_t rings_bytes;
	bool arena_mapped; /* the arena is ordinary memory, not EAL's */
	int64_t spin_ns;   /* how long to look for work before sleeping */
};

struct embed {
	struct embed_core core[EMBED_CORES_MAX];
	unsigned n;
	int64_t spin_ns, linger_ns; /* of the configuration */
	bool threaded;
	bool eal_up;
	_Atomic bool stop;
	struct dev *dev[STACK_PORTS_MAX];
	unsigned n_dev;
	struct stack_group *group;
	struct capture *capture;
};

/* What went wrong, for the user: one sentence. */
struct embed_err {
	char *text;
	size_t len;
};
__attribute__((format(printf, 3, 4))) int embed_fail(const struct embed_err *err, int rc,
						     const char *fmt, ...);

/* embed_port.c */
int embed_ports_open(struct embed *e, const struct embed_cfg *cfg,
		     const struct embed_err *err) must_check;
uint32_t embed_port_bufs(const struct embed_cfg *cfg);
void embed_ports_close(struct embed *e);
void embed_pools_close(struct embed *e);
/* Addresses and gateways, the same for each stack. */
int embed_addrs_add(struct embed *e, const struct embed_cfg *cfg,
		    const struct embed_err *err) must_check;

/* embed_chan.c */
int embed_chan_memory(struct embed_core *c, const struct embed_cfg *cfg,
		      const struct embed_err *err) must_check;
int embed_chan_open(struct embed *e, struct embed_core *c, const struct embed_cfg *cfg,
		    const struct embed_err *err) must_check;
void embed_chan_close(struct embed_core *c);

/* embed_thread.c */
int embed_threads_start(struct embed *e, const struct embed_err *err) must_check;
void embed_threads_stop(struct embed *e);
unsigned embed_poll(struct embed *e);
int embed_wait(struct embed *e, int64_t timeout_ns);
/* The application's end: FIN for what is open, then at most a moment for the acknowledgements. */
void embed_leave(struct embed_core *c);

#endif
