/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An attached application: its end of the channel, from attach to the day when the last buffer of
 * its memory comes home. Its sockets die at once when it is gone (H31); sent data that a connection
 * or a driver still refers to lives in its arena, or in a neighbour's (sock_view.c), so the
 * application's record stays on the list of the dying until nothing there is in flight.
 */
#include <stdlib.h>

#include "sock/sock_priv.h"

static void app_free(struct sock_app *a)
{
	loan_fini(&a->loans);
	token_fini(&a->tokens);
	slab_fini(&a->socks);
	own_put(a->own);
	free(a->held);
	free(a->grant);
	free(a->send);
	free(a);
}

/* Each is filled in when its token is used: for most programs most of them never are. */
static int sends_init(struct sock_app *a, uint32_t max_tokens)
{
	a->send = aligned_alloc(64, max_tokens * sizeof(*a->send));
	return a->send == NULL ? -ENOMEM : 0;
}

/* Every application gets the same part of what all share. */
static void shares(struct socks *s)
{
	uint32_t n = s->n_apps != 0 ? s->n_apps : 1;

	LIST_EACH (l, &s->apps) {
		struct sock_app *a = container_of(l, struct sock_app, link);
		uint32_t loans = s->lent_max / n;

		a->loans.quota = loans < a->loans.rows ? loans : a->loans.rows;
		a->refs_max = s->refs_max / n;
	}
}

int socks_attach(struct socks *s, const struct sock_app_cfg *cfg, struct sock_app **out)
{
	const struct chan_map *map = cfg->map;
	struct chan_hdr hdr;
	struct sock_app *a;
	int err = 0;

	if (cfg->hdr != NULL)
		hdr = *cfg->hdr;
	else
		err = chan_check(map->base, UINT64_MAX, &hdr);

	if (err != 0)
		return err;
	/* What a command or a datagram needs is at most half of the ring. */
	if (hdr.cq_size < 2 * SOCK_CMD_ROOM)
		return -EINVAL;
	if (map->arena == NULL || map->arena_bytes < hdr.arena_bytes)
		return -EPROTO;
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	a->s = s;
	a->map = map;
	a->owner = cfg->owner;
	a->free_ports_from = cfg->free_ports_from;
	a->alone = cfg->alone;
	a->keeps = cfg->keeps;
	a->unborn = cfg->unborn;
	a->id = cfg->id;
	a->parent = cfg->parent;
	a->last_region = CHAN_REGION_PKT;
	a->domain = cfg->domain;
	a->zone = cfg->zone;
	app_link_init(a);
	app_view_init(a);
	list_init(&a->waiting);
	list_init(&a->link);
	chan_attach(&a->end, map, &hdr);
	if (cfg->own != NULL)
		err = own_get(s, cfg->own, cfg->own_max, &a->own);
	if (err != 0 || loan_init(&a->loans, hdr.max_loans) != 0 ||
	    token_init(&a->tokens, hdr.max_tokens) != 0 || sends_init(a, hdr.max_tokens) != 0 ||
	    slab_init(&a->socks, sizeof(struct sock), hdr.max_sockets) != 0) {
		app_free(a);
		return -ENOMEM;
	}
	list_add_tail(&s->apps, &a->link);
	if (a->keeps)
		s->keeper = a;
	s->n_apps += !a->keeps; /* it needs no part */
	shares(s);
	*out = a;
	return 0;
}

static void loans_reap(struct sock_app *a)
{
	struct rte_mbuf *m;
	uint32_t cursor = 0;

	while ((m = loan_reap(&a->loans, &cursor)) != NULL) {
		app_lent(a, -1);
		pkt_seg_free(m);
	}
}

/* First, so that what was given back to them is another holder's before it is closed. */
static void listeners_reap(struct sock_app *a, bool orderly)
{
	for (uint32_t i = 0; i < a->socks.used; i++) {
		struct sock *k = slab_at(&a->socks, i);

		if (slab_is_live(&a->socks, i) && k->kind == SOCK_LISTEN)
			sock_reap(k, orderly);
	}
}

void socks_detach(struct socks *s, struct sock_app *a, bool orderly)
{
	LIST_EACH (l, &s->apps) {
		struct sock_app *b = container_of(l, struct sock_app, link);

		if (b->parent == a)
			b->parent = NULL;
	}
	if (s->keeper == a)
		s->keeper = NULL;
	app_link_fini(a);
	app_view_fini(a);
	listeners_reap(a, orderly);
	for (uint32_t i = 0; i < a->socks.used; i++) {
		if (slab_is_live(&a->socks, i))
			sock_reap(slab_at(&a->socks, i), orderly);
	}
	loans_reap(a);
	app_spare_free(a);
	a->dying = true;
	list_del(&a->link);
	s->n_apps -= !a->keeps;
	shares(s);
	list_add_tail(&s->dying, &a->link);
	app_reap(a);
}

void app_reap(struct sock_app *a)
{
	if (!a->dying || a->tokens.count != 0 || a->guests != 0 || a->viewers != 0 ||
	    a->kept_sends != 0)
		return;
	list_del(&a->link);
	list_add_tail(&a->s->reaped, &a->link);
}

const struct chan_map *socks_reaped(struct socks *s)
{
	struct list *l = list_pop(&s->reaped);
	const struct chan_map *map;
	struct sock_app *a;

	if (l == NULL)
		return NULL;
	a = container_of(l, struct sock_app, link);
	map = a->map;
	app_free(a);
	return map;
}

/* A buffer that the application is through with: the window of its connection opens. */
static void give_back(struct sock_app *a, uint32_t loan)
{
	struct rte_mbuf *m = loan_take_back(&a->loans, loan);

	if (unlikely(m == NULL)) {
		a->s->n.loans_bad_return++;
		return;
	}
	struct sock *k = sock_find(a, (uint32_t)pkt_note(m));

	app_lent(a, -1);
	if (likely(k != NULL)) {
		uint32_t charge = pkt_charge(m);

		k->lent--;
		if (likely(k->kind == SOCK_CONN))
			tcp_recv_done(a->s->cfg.tcp, k->conn, charge, m->data_len);
		else if (k->kind == SOCK_UDP)
			udp_sock_returned(k, charge);
	}
	pkt_seg_free(m);
}

unsigned app_take_returns(struct sock_app *a, unsigned budget)
{
	struct chan_ring *r = &a->end.ret;
	uint32_t n, loan;

	for (n = 0; n < budget && chan_look(r, &loan, sizeof(loan)); n++) {
		chan_take(r);
		give_back(a, loan);
	}
	/* Nobody waits for room there. */
	if (n != 0)
		(void)chan_pop(r);
	return n;
}

void app_flush(struct sock_app *a)
{
	bool tokens = a->end.done.hidden != 0, events, news, rung;

	app_put_events(a);
	events = a->end.cq.hidden != 0;
	if (!events && !tokens && !a->popped)
		return;
	if (tokens)
		chan_push(&a->end.done, sizeof(uint32_t));
	if (events)
		chan_push(&a->end.cq, sizeof(struct chan_cqe));
	news = events || a->popped;
	a->popped = false;
	rung = news ? bell_ring(&a->end.sh->bells.app_armed, a->map->app_bell_fd)
		    : bell_ring_trifle(&a->end.sh->bells.app_armed, a->map->app_bell_fd);
	if (rung)
		a->s->n.doorbells++;
}

/* Is there anything to do for it that can be done? */
static bool app_has_work(struct sock_app *a)
{
	if (chan_ready(&a->end.ret, sizeof(uint32_t)))
		return true;
	/* What waits for anything but room in the event ring is moved by a return, a command or a
	 * packet. */
	if (!list_empty(&a->waiting) && !a->keeps && app_room_now(a) > a->room_seen)
		return true;
	return chan_ready(&a->end.sq, sizeof(struct chan_sqe)) && !a->stalled &&
	       app_room(a, SOCK_CMD_ROOM);
}

bool socks_arm(struct socks *s)
{
	bool work = socks_output_pending(s);

	LIST_EACH (l, &s->apps)
		bell_arm(&container_of(l, struct sock_app, link)->end.sh->bells.stack_armed);
	LIST_EACH (l, &s->apps)
		work |= app_has_work(container_of(l, struct sock_app, link));
	if (work)
		socks_disarm(s);
	return work;
}

void socks_disarm(struct socks *s)
{
	LIST_EACH (l, &s->apps)
		bell_disarm(&container_of(l, struct sock_app, link)->end.sh->bells.stack_armed);
}
