/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The embedded mode: embed.c, and embed_chan.c for the channel between program and stack.
 */
#ifndef ZS_SVC_EMBED_PRIV_H
#define ZS_SVC_EMBED_PRIV_H

#include "svc/node.h"

/* The program's channel to one stack. */
struct embed_chan {
	struct sock_app *app; /* the program, attached */
	struct chan_map map;
	void *rings; /* mapping of the rings region */
	uint64_t rings_bytes;
	bool arena_mapped; /* the arena is ordinary memory, not EAL's */
};

struct embed {
	struct node node;
	struct embed_chan chan[EMBED_CORES_MAX];
};

/* Takes memory for the channel, after node_begin(). */
int embed_chan_memory(struct embed_chan *c, const struct embed_cfg *cfg,
		      const struct svc_err *err) must_check;
int embed_chan_open(struct embed_chan *c, struct stack *s, const struct embed_cfg *cfg,
		    const struct svc_err *err) must_check;
/* The program's end: FIN for what is open. */
void embed_chan_leave(struct embed_chan *c, struct stack *s);
void embed_chan_close(struct embed_chan *c);

#endif
