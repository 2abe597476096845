/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A channel between the program and one stack. The arena is taken from EAL's memory if there is
 * enough of it, since some ports send no other without a copy; else it is ordinary memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/bell.h"
#include "sock/sock.h"
#include "svc/embed_priv.h"

static void *map_zeroed(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int embed_chan_memory(struct embed_chan *c, const struct embed_cfg *cfg, const struct svc_err *err)
{
	const struct chan_geometry *g = &cfg->geometry;
	int rc = chan_geometry_check(g);

	if (rc < 0)
		return svc_fail(err, rc, "the channel's sizes are wrong");
	c->map.app_bell_fd = c->map.stack_bell_fd = -1;
	c->rings_bytes = chan_bytes(g);
	c->rings = map_zeroed(c->rings_bytes);
	c->map.arena = dev_mem_alloc(g->arena_bytes);
	if (c->map.arena == NULL) {
		c->map.arena = map_zeroed(g->arena_bytes);
		c->arena_mapped = true;
	}
	c->map.arena_bytes = g->arena_bytes;
	if (c->rings == NULL || c->map.arena == NULL)
		return svc_fail(err, -ENOMEM, "no memory for a channel of %llu MB",
				(unsigned long long)(g->arena_bytes >> 20));
	return 0;
}

static void describe(struct embed_chan *c, struct stack *s, const struct chan_geometry *g)
{
	struct dev_span span = dev_mem_span();

	chan_format(c->rings, g);
	node_kernel_ifs(s, c->rings);
	c->map.base = c->rings;
	c->map.region[CHAN_REGION_ARENA].base = c->map.arena;
	c->map.region[CHAN_REGION_ARENA].bytes = c->map.arena_bytes;
	c->map.region[CHAN_REGION_PKT].base = span.base;
	c->map.region[CHAN_REGION_PKT].bytes = span.bytes;
}

int embed_chan_open(struct embed_chan *c, struct stack *s, const struct embed_cfg *cfg,
		    const struct svc_err *err)
{
	struct sock_app_cfg app = {.map = &c->map};
	int rc;

	describe(c, s, &cfg->geometry);
	c->map.app_bell_fd = bell_open();
	c->map.stack_bell_fd = bell_open();
	if (c->map.app_bell_fd < 0 || c->map.stack_bell_fd < 0)
		return svc_fail(err, -EMFILE, "no descriptors left: raise ulimit -n");
	rc = stack_attach(s, &app, &c->app);
	return rc < 0 ? svc_fail(err, rc, "cannot attach: %s", strerror(-rc)) : 0;
}

void embed_chan_leave(struct embed_chan *c, struct stack *s)
{
	if (c->app != NULL)
		stack_detach(s, c->app, c->map.stack_bell_fd, true);
	c->app = NULL;
}

void embed_chan_close(struct embed_chan *c)
{
	if (c->rings != NULL)
		munmap(c->rings, c->rings_bytes);
	if (c->map.arena == NULL)
		return;
	if (c->arena_mapped)
		munmap(c->map.arena, c->map.arena_bytes);
	else
		dev_mem_free(c->map.arena);
	if (c->map.app_bell_fd >= 0)
		close(c->map.app_bell_fd);
	if (c->map.stack_bell_fd >= 0)
		close(c->map.stack_bell_fd);
}
