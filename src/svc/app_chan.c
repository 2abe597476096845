/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program gets: for each core rings, an arena, bells; and the packets of its trust domain.
 * The regions are of fixed length from the start (H35), and nobody maps them writable any more once
 * the program has (H36).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/bell.h"
#include "svc/service.h"
#include "svc/shared.h"

void app_chan_free(struct app_chan *c)
{
	region_destroy(&c->rings);
	region_destroy(&c->arena);
	if (c->shared_bell >= 0)
		close(c->shared_bell);
	if (c->map.app_bell_fd >= 0)
		close(c->map.app_bell_fd);
	if (c->map.stack_bell_fd >= 0)
		close(c->map.stack_bell_fd);
}

static int bells_open(struct app_chan *c)
{
	c->shared_bell = bell_pair(&c->map.app_bell_fd);
	if (c->shared_bell < 0)
		return -EMFILE;
	c->map.stack_bell_fd = bell_open();
	return c->map.stack_bell_fd < 0 ? -EMFILE : 0;
}

/* arena: what the program brought, or -1. */
static int memory_make(struct app_chan *c, const struct chan_geometry *g, int arena, bool huge)
{
	int rc = (huge ? region_create_huge : region_create)(&c->rings, "zstack-rings",
							     chan_bytes(g), PROT_READ | PROT_WRITE);

	if (rc < 0 || arena >= 0)
		return rc < 0 ? rc : region_adopt(&c->arena, arena, g->arena_bytes);
	/* It goes from service to service: its length is what was agreed on, to the byte. */
	huge = huge && g->arena_bytes % REGION_HUGE_BYTES == 0;
	return (huge ? region_create_huge : region_create)(&c->arena, "zstack-arena",
							   g->arena_bytes, PROT_READ);
}

static int chan_make(struct app_chan *c, const struct chan_geometry *g, const struct stack *stack,
		     const struct region *packets, int arena, bool huge)
{
	int rc = memory_make(c, g, arena, huge);

	if (rc == 0)
		rc = bells_open(c);
	if (rc < 0)
		return rc;
	chan_format(c->rings.base, g);
	node_kernel_ifs(stack, c->rings.base);
	rc = chan_check(c->rings.base, c->rings.bytes, &c->hdr);
	if (rc < 0)
		return rc;
	c->map.base = c->rings.base;
	c->map.arena = c->arena.base;
	c->map.arena_bytes = g->arena_bytes;
	c->map.region[CHAN_REGION_ARENA].base = c->arena.base;
	c->map.region[CHAN_REGION_ARENA].bytes = g->arena_bytes;
	c->map.region[CHAN_REGION_PKT].base = packets->base;
	c->map.region[CHAN_REGION_PKT].bytes = packets->bytes;
	return 0;
}

int app_welcome(struct service *s, struct app *a, int sock, int control)
{
	const struct region *packets = domain_region(s, a->domain);
	struct attach_welcome w = {
		.n_cores = s->node.n,
		.free_ports_from = shared_free_ports_from(s, &s->cfg.policy.domain[a->domain]),
		.flags = s->shared != NULL ? ATTACH_F_SHARED : 0,
		.app = (uint32_t)a->id,
		.pkt_bytes = packets->bytes,
		.rings_bytes = a->chan[0].rings.bytes,
		.arena_bytes = a->chan[0].hdr.arena_bytes,
	};
	int fd[ATTACH_FDS_MAX];
	unsigned n = 0;

	fd[n++] = packets->fd;
	for (unsigned i = 0; i < s->node.n; i++) {
		struct app_chan *c = &a->chan[i];

		fd[n++] = c->rings.fd;
		fd[n++] = c->arena.fd;
		fd[n++] = c->shared_bell;
		fd[n++] = c->map.stack_bell_fd;
	}
	if (control >= 0)
		fd[n++] = control;
	return attach_send(sock, ATTACH_WELCOME, &w, sizeof(w), fd, n);
}

int app_make_channels(struct service *s, struct app *a, const struct chan_geometry *g,
		      const int *arena, unsigned n)
{
	/* What a child gets is in use before it is sealed: see region.h. */
	bool huge = a->state != APP_FORKED &&
		    domains_leave_huge(s, s->node.n * (g->arena_bytes + chan_bytes(g)));
	int rc = 0;

	for (unsigned i = 0; i < s->node.n && rc == 0; i++)
		rc = chan_make(&a->chan[i], g, s->node.core[i].stack, domain_region(s, a->domain),
			       i < n ? arena[i] : -1, huge);
	return rc;
}

/* The program has mapped everything: nobody else will, writable. */
int app_seal(struct service *s, struct app *a)
{
	int rc = 0;

	for (unsigned i = 0; i < s->node.n && rc == 0; i++) {
		rc = region_seal(&a->chan[i].rings);
		if (rc == 0)
			rc = region_seal(&a->chan[i].arena);
	}
	return rc;
}
