/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One core's sockets as a whole: creation, time, and the questions of the stack's loop. Start here
 * and go on with sock_app.c (an application's channel), sock_cmd.c (what it asks), sock_event.c
 * (what it is told).
 */
#include <stdlib.h>

#include "sock/sock_priv.h"

static void cfg_fill(struct socks_cfg *c)
{
	if (c->max_socks == 0)
		c->max_socks = 1u << SID_INDEX_BITS;
	if (c->port_min == 0 || c->port_max < c->port_min) {
		/* Linux's ip_local_port_range. */
		c->port_min = 32768;
		c->port_max = 60999;
	}
}

int socks_create(const struct socks_cfg *cfg, struct socks **out)
{
	struct socks *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	s->cfg = *cfg;
	cfg_fill(&s->cfg);
	list_init(&s->apps);
	list_init(&s->keeping);
	list_init(&s->owns);
	list_init(&s->dying);
	list_init(&s->reaped);
	list_init(&s->lingering);
	rand_init(&s->rand, cfg->seed);
	s->port_secret = rand_u64(&s->rand);
	s->next_ephemeral = rand_u32(&s->rand);
	/* A quarter of the receive buffers can't be lent, so that who keeps what he read can't
	 * stop the others from receiving (H34). */
	s->lent_max = (pkt_pool_size(cfg->pools->rx) - cfg->port_bufs) / 4 * 3;
	/* Half of the small mbufs can't be taken by sends: without one for the segment on its way
	 * nothing would ever be acknowledged. */
	s->refs_max = pkt_pool_size(cfg->pools->ref) / 2;
	s->out = calloc(SOCK_OUT_MAX, sizeof(*s->out));
	if (s->out == NULL || ports_init(s) != 0 || grants_init(s) != 0 || revives_init(s) != 0) {
		socks_destroy(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void socks_destroy(struct socks *s)
{
	if (s == NULL)
		return;
	BUG_ON(!list_empty(&s->apps));
	while (socks_reaped(s) != NULL)
		;
	for (; s->out_head != s->out_tail; s->out_head++)
		pkt_free(s->out[s->out_head % SOCK_OUT_MAX].m);
	free(s->out);
	ports_fini(s);
	revives_fini(s);
	grants_fini(s);
	keep_free(s);
	free(s);
}

void socks_begin(struct socks *s, uint64_t now_ns)
{
	s->now_ns = now_ns;
	if (unlikely(!list_empty(&s->lingering)))
		sock_linger_expire(s);
}

unsigned socks_commands(struct socks *s, unsigned budget)
{
	unsigned done = 0;

	/* What comes home first: it frees memory. */
	LIST_EACH (l, &s->apps) {
		struct sock_app *a = container_of(l, struct sock_app, link);

		done += app_take_returns(a, budget);
		done += app_commands(a, budget);
	}
	return done;
}

unsigned socks_output(struct socks *s, struct pkt *out, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && s->out_head != s->out_tail; i++)
		out[i] = s->out[s->out_head++ % SOCK_OUT_MAX];
	return i;
}

bool socks_output_pending(const struct socks *s)
{
	return s->out_head != s->out_tail;
}

#define EVENT_BURST 32

struct conn_event {
	struct sock *k;
	uint32_t events;
};

/* The engine's next events: with thousands of connections their sockets are not in the cache, so
 * they are fetched together. Telling one socket's news ends no other's connection. */
static unsigned collect(struct socks *s, struct conn_event *e)
{
	unsigned n = 0;
	struct tcp_conn *conn;

	while (n < EVENT_BURST && (conn = tcp_event_next(s->cfg.tcp, &e[n].events)) != NULL) {
		e[n].k = (struct sock *)(uintptr_t)tcp_conn_user(conn);
		__builtin_prefetch(e[n].k);
		n++;
	}
	return n;
}

unsigned socks_publish(struct socks *s)
{
	uint64_t before = s->n.events;
	struct conn_event e[EVENT_BURST];
	struct tcp_listener *listener;
	unsigned n;

	LIST_EACH (l, &s->apps)
		app_tell_waiting(container_of(l, struct sock_app, link));
	/* Before the events: what came for a connection meanwhile is told next. */
	while ((listener = tcp_accept_next(s->cfg.tcp)) != NULL)
		tcp_sock_accept_news((struct sock *)(uintptr_t)tcp_listener_user(listener));
	while ((n = collect(s, e)) != 0) {
		for (unsigned i = 0; i < n; i++)
			tcp_sock_event(e[i].k, e[i].events);
	}
	LIST_EACH (l, &s->apps)
		app_flush(container_of(l, struct sock_app, link));
	return (unsigned)(s->n.events - before);
}

const struct socks_counters *socks_counters(const struct socks *s)
{
	return &s->n;
}
