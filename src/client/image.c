/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See image.h. As after fork, the reader gets no connection that is being opened, and nothing that
 * stood in the writer's receive queue but what was given back to the service.
 */
#include <stdlib.h>

#include "client/image.h"

/* What is true of the socket, and not of the process. */
#define KEPT                                                                                       \
	(CSOCK_NONBLOCK | CSOCK_OOBINLINE | CSOCK_BOUND | CSOCK_PKTINFO | CSOCK_REFUSED |          \
	 CSOCK_LOWAT | CSOCK_RECVTTL | CSOCK_RECVTOS | CSOCK_ASYNC | CSOCK_HEARS)

void image_write(struct sock_image *i, const struct csock *s)
{
	const struct group *g = s->group;

	*i = (struct sock_image){
		.domain = s->domain,
		.type = s->type,
		.state = s->state,
		.shut = s->shut,
		.first = s->core,
		.flags = s->flags & KEPT,
		.err = s->err,
		.linger_s = s->linger_s,
		.rcvlowat = s->rcvlowat,
		.limit = s->limit,
		.backlog = s->state == CSOCK_LISTEN ? s->backlog : 0,
		.bound_scope = s->bound_scope,
		.peer_scope = s->peer_scope,
		.n_opts = s->opts != NULL ? s->opts->n : 0,
		.rcvtimeo_ns = s->rcvtimeo_ns,
		.sndtimeo_ns = s->sndtimeo_ns,
		.peer_port = s->peer_port,
		.local_port = s->local_port,
		.stamps = s->type == SOCK_DGRAM ? s->stamps : 0,
		.key = s->opts != NULL ? s->opts->key : 0,
	};
	memcpy(i->peer, s->peer, sizeof(i->peer));
	memcpy(i->local, s->local, sizeof(i->local));
	i->sid[s->core] = s->child_sid;
	for (unsigned k = 0; g != NULL && k < g->n; k++)
		i->sid[g->sock[k]->core] = g->sock[k]->child_sid;
}

void image_is_alone(struct sock_image *i)
{
	bool opened = i->state == CSOCK_CONNECTED || i->state == CSOCK_CONNECTING;

	memset(i->sid, 0, sizeof(i->sid));
	i->limit = 0;
	if (i->type != SOCK_STREAM || !opened)
		return;
	i->state = CSOCK_BROKEN;
	i->shut = SHUT_RD_BIT | SHUT_WR_BIT;
	i->err = -ECONNRESET;
}

static bool sane(const struct sock_image *i, const struct opt *opts)
{
	if (i->domain != AF_INET && i->domain != AF_INET6)
		return false;
	if (i->type != SOCK_STREAM && i->type != SOCK_DGRAM)
		return false;
	if (i->state != CSOCK_IDLE && i->state != CSOCK_LISTEN && i->state != CSOCK_CONNECTED &&
	    i->state != CSOCK_BROKEN)
		return false;
	return i->first < client.n_cores && i->n_opts <= OPTS_MAX && i->err <= 0 &&
	       i->err > -4096 && i->rcvlowat > 0 && (opts != NULL || i->n_opts == 0) &&
	       i->rcvtimeo_ns >= 0 && i->sndtimeo_ns >= 0 &&
	       (i->sid[i->first] != 0 || i->state == CSOCK_BROKEN || client.lost);
}

static void fill(struct csock *s, const struct sock_image *i)
{
	s->state = i->state;
	s->shut = i->shut & (SHUT_RD_BIT | SHUT_WR_BIT);
	s->flags |= i->flags & KEPT;
	s->err = i->err;
	s->linger_s = i->linger_s;
	s->rcvlowat = i->rcvlowat;
	if (s->state == CSOCK_LISTEN)
		s->backlog = i->backlog;
	s->bound_scope = i->bound_scope;
	s->peer_scope = i->peer_scope;
	s->rcvtimeo_ns = i->rcvtimeo_ns;
	s->sndtimeo_ns = i->sndtimeo_ns;
	s->peer_port = i->peer_port;
	s->local_port = i->local_port;
	if (s->type == SOCK_DGRAM && i->stamps != 0) {
		s->stamps = i->stamps;
		s->flags |= CSOCK_STAMPS;
	}
	memcpy(s->peer, i->peer, sizeof(s->peer));
	memcpy(s->local, i->local, sizeof(s->local));
}

static struct csock *open_on(const struct sock_image *i, unsigned core)
{
	struct core *c = &client.core[core];
	struct csock *s;

	if (i->sid[core] == 0)
		return c->row != NULL ? csock_nameless(c, i->domain, i->type) : NULL;
	s = csock_open(c, i->sid[core], i->domain, i->type, i->limit);
	/* Until the service says that the others have gone. */
	if (s != NULL)
		s->flags |= CSOCK_SHARED;
	return s;
}

static void options_take(struct csock *s, const struct opt *opts, uint32_t n, uint64_t key)
{
	struct opts *k = n > 0 || key != 0 ? csock_opts(s, n) : NULL;

	if (k == NULL)
		return;
	k->n = n;
	k->key = key;
	if (n > 0)
		memcpy(k->opt, opts, n * sizeof(*opts));
	for (uint32_t i = 0; i < n; i++)
		if (k->opt[i].len > sizeof(k->opt[i].value))
			k->opt[i].len = sizeof(k->opt[i].value);
}

static bool members_open(struct csock *s, const struct sock_image *i)
{
	struct group *g;

	if (i->type == SOCK_STREAM && i->state != CSOCK_IDLE && i->state != CSOCK_LISTEN)
		return true;
	if (group_new(s) < 0)
		return false;
	g = s->group;
	for (unsigned k = 0; g != NULL && k < client.n_cores; k++) {
		struct csock *m = k != i->first && i->sid[k] != 0 ? open_on(i, k) : NULL;

		if (m == NULL)
			continue;
		fill(m, i);
		m->group = g;
		m->flags |= CSOCK_GROUPED;
		g->sock[g->n++] = m;
	}
	return true;
}

struct csock *image_open(const struct sock_image *i, const struct opt *opts)
{
	struct csock *s = sane(i, opts) ? open_on(i, i->first) : NULL;

	if (s == NULL)
		return NULL;
	fill(s, i);
	/* At the next service it may be there already. */
	if (client.lost && (s->flags & CSOCK_BOUND))
		s->flags |= CSOCK_JOINT;
	options_take(s, opts, i->n_opts, i->key);
	if (members_open(s, i))
		return s;
	group_close(s);
	return NULL;
}
