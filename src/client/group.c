/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One descriptor on several cores. A connection lives on one core, but what any core may receive
 * for, a listener or a UDP socket with an address, must be known to all: it gets a socket on each,
 * when it is bound or listens, with the same options and address. With one core there are no
 * groups.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_priv.h"

int group_new(struct csock *s)
{
	struct group *g;

	if (client.n_cores == 1)
		return 0;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	g->n = 1;
	g->sock[0] = s;
	s->group = g;
	s->flags |= CSOCK_GROUPED;
	return 0;
}

static void group_free_if_unused(struct group *g)
{
	if (g->closed && g->users == 0)
		free(g);
}

void group_close(struct csock *s)
{
	struct group *g = s->group;

	if (g == NULL) {
		csock_close(s);
		return;
	}
	g->closed = true;
	for (unsigned i = 0; i < g->n; i++)
		csock_close(g->sock[i]);
	group_free_if_unused(g);
}

static int call_each(struct group *g, const struct chan_sqe *cmd, struct chan_cqe *e)
{
	struct chan_cqe other;
	int r = cmd_call(csock_core(g->sock[0]), g->sock[0], cmd, e);

	for (unsigned i = 1; r >= 0 && !g->closed && i < g->n; i++) {
		int k = cmd_call(csock_core(g->sock[i]), g->sock[i], cmd, &other);

		r = k < 0 ? k : r;
	}
	return r;
}

/* A command to every socket of a descriptor: the first that fails decides. */
int group_call(struct csock *s, const struct chan_sqe *cmd, struct chan_cqe *e)
{
	struct group *g = s->group;
	uint16_t epoch;
	int r;

	if (g == NULL)
		return cmd_call(csock_core(s), s, cmd, e);
	g->users++;
	do {
		/* When the service changes, so do the sockets: all are asked again. */
		epoch = client.epoch;
		r = call_each(g, cmd, e);
	} while (!g->closed && client.epoch != epoch);
	if (g->closed)
		r = -EBADF;
	g->users--;
	group_free_if_unused(g);
	return r;
}

/* cmd: what names it, SOCKET or JOIN. */
static int core_open(struct core *c, const struct chan_sqe *cmd, struct csock **out)
{
	struct chan_cqe e;
	int r;

	do {
		r = client_attached();
		/* Another service may have less. */
		if (c->id >= client.n_cores)
			c = &client.core[0];
		if (r == 0)
			r = cmd_call(c, NULL, cmd, &e);
	} while (r == -ERESTART && !client.remaking);
	if (r >= 0)
		r = csock_place(c, e.sid);
	if (r < 0)
		return r;
	*out = csock_open(c, e.sid, cmd->arg[0], cmd->arg[1], e.aux);
	if (*out != NULL) {
		csock_greet(*out);
		return 0;
	}
	client.stats.bad_events++;
	return -EPROTO;
}

int core_socket(struct core *c, int domain, int type, int protocol, struct csock **out)
{
	struct chan_sqe cmd = {.op = CHAN_OP_SOCKET, .arg = {domain, type, protocol}};

	return core_open(c, &cmd, out);
}

static bool has_core(const struct group *g, unsigned core)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->sock[i]->core == core)
			return true;
	return false;
}

static int member_join(struct group *g, struct core *c, uint64_t key, struct csock **s)
{
	const struct csock *first = g->sock[0];
	struct chan_sqe cmd = {.op = CHAN_OP_JOIN,
			       .port = first->local_port,
			       .off = key,
			       .arg = {first->domain, first->type}};

	return key != 0 ? core_open(c, &cmd, s) : -ENOENT;
}

static int member_make(struct group *g, struct core *c, uint64_t key, struct csock **out)
{
	struct csock *first = g->sock[0], *s;
	struct chan_sqe set = {.op = CHAN_OP_SETOPT}, bind = {.op = CHAN_OP_BIND,
							      .port = first->local_port,
							      .scope = first->bound_scope,
							      .off = key};
	struct chan_cqe e;
	int r = core_socket(c, first->domain, first->type, 0, &s);

	if (r < 0)
		return r;
	/* Each call lets others close the descriptor, or set one more option. */
	for (unsigned i = 0; r >= 0 && !g->closed && first->opts != NULL && i < first->opts->n;
	     i++) {
		option_command(&set, &first->opts->opt[i]);
		r = cmd_call(c, s, &set, &e);
	}
	memcpy(bind.addr, first->local, sizeof(bind.addr));
	if (r >= 0 && !g->closed)
		r = cmd_call(c, s, &bind, &e);
	if (r < 0)
		csock_close(s);
	*out = s;
	return r < 0 ? r : 0;
}

/* One more socket, on another core, like the first; -EBADF when the group was closed meanwhile. */
static int member_add(struct group *g, struct core *c)
{
	uint64_t key = csock_key(g->sock[0]);
	struct csock *s;
	int r;

	do {
		r = member_join(g, c, key, &s);
		if (r == -ENOENT)
			r = member_make(g, c, key, &s);
	} while (r == -EEXIST); /* another process was first, just now */
	if (r == 0 && g->closed) {
		csock_close(s);
		r = -EBADF;
	}
	if (r < 0)
		return r;
	if (key != 0)
		s->flags |= CSOCK_SHARED;
	/* The service was replaced meanwhile, and the group made again. */
	if (unlikely(has_core(g, s->core))) {
		csock_close(s);
		return 0;
	}
	s->group = g;
	s->flags |= CSOCK_GROUPED;
	g->sock[g->n++] = s;
	return 0;
}

/* Two threads may both bind or listen. One gives the descriptor its address and sockets, the other
 * looks again and again meanwhile, which is seldom and short. */
int group_begin(struct csock *s)
{
	struct group *g = s->group;

	if (g == NULL)
		return 0;
	g->users++;
	while (g->growing && !g->closed) {
		client_turn();
		client_breathe();
		client_yield();
	}
	if (!g->closed) {
		g->growing = true;
		return 0;
	}
	g->users--;
	group_free_if_unused(g);
	return -EBADF;
}

void group_end(struct group *g)
{
	if (g == NULL)
		return;
	g->growing = false;
	g->users--;
	group_free_if_unused(g);
}

/* The first socket has its address: the others get it. */
int group_spread(struct csock *s)
{
	struct group *g = s->group;
	int r = 0;

	if (g == NULL || g->n > 1)
		return 0;
	g->users++;
	for (unsigned i = 0; i < client.n_cores && r == 0; i++) {
		if (i == s->core)
			continue;
		/* If the service is lost, the member is asked of the next one. */
		do {
			r = member_add(g, &client.core[i]);
		} while (unlikely(r == -ERESTART) && !client.remaking);
	}
	while (r < 0 && !g->closed && g->n > 1)
		csock_close(g->sock[--g->n]);
	g->users--;
	group_free_if_unused(g);
	return r;
}
