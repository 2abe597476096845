/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The embedded mode: a node with one application in the same process (docs/design/003). This is
 * what libzstack loads; nothing but the channels crosses between the two.
 */
#include <errno.h>
#include <stdlib.h>

#include "svc/embed_priv.h"

static int open_all(struct embed *e, const struct embed_cfg *cfg, const struct svc_err *err)
{
	int rc = node_begin(&e->node, cfg, cfg->geometry.arena_bytes, err);

	for (unsigned i = 0; i < e->node.n && rc == 0; i++)
		rc = embed_chan_memory(&e->chan[i], cfg, err);
	if (rc == 0)
		rc = node_open(&e->node, cfg, err);
	for (unsigned i = 0; i < e->node.n && rc == 0; i++)
		rc = embed_chan_open(&e->chan[i], e->node.core[i].stack, cfg, err);
	return rc == 0 ? node_start(&e->node, err) : rc;
}

static void embed_close(struct embed *e)
{
	node_stop(&e->node);
	for (unsigned i = 0; i < e->node.n; i++)
		embed_chan_leave(&e->chan[i], e->node.core[i].stack);
	if (e->node.n_dev > 0)
		node_settle(&e->node);
	node_halt(&e->node);
	for (unsigned i = 0; i < e->node.n; i++)
		embed_chan_close(&e->chan[i]);
	node_close(&e->node);
	free(e);
}

static int embed_open(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		      unsigned *n, char *err, size_t err_len)
{
	struct svc_err where = {err, err_len};
	struct embed *e = calloc(1, sizeof(*e));
	int rc;

	if (e == NULL)
		return svc_fail(&where, -ENOMEM, "no memory");
	e->node.link_bell = -1;
	rc = open_all(e, cfg, &where);
	if (rc < 0) {
		embed_close(e);
		return rc;
	}
	*n = e->node.n;
	for (unsigned i = 0; i < e->node.n; i++)
		maps[i] = e->chan[i].map;
	*out = e;
	return 0;
}

static unsigned embed_poll(struct embed *e)
{
	dev_thread_init();
	return stack_poll(e->node.core[0].stack);
}

static int embed_wait(struct embed *e, int64_t timeout_ns)
{
	struct stack *s = e->node.core[0].stack;
	int rc = stack_wait(s, timeout_ns, e->chan[0].map.app_bell_fd);

	return rc == 0 && stack_ports_gone(s) ? -ENODEV : rc;
}

/* The one symbol of this library: EMBED_SYMBOL. */
extern const struct embed_ops zstack_embed_ops;
const struct embed_ops zstack_embed_ops = {
	.abi = EMBED_ABI,
	.open = embed_open,
	.poll = embed_poll,
	.wait = embed_wait,
	.close = embed_close,
};
