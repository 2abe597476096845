/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See sock_share.h: which holders are told that there is something to ask for, and what the last one
 * is told when it is alone.
 *
 * Not done: errors that ICMP reports go to one holder.
 */
#include "sock/sock_share.h"

static void tell_readable(struct sock *h)
{
	h->flags &= (uint16_t)~SOCKF_WANT;
	sock_news(h, NEWS_READABLE);
}

/* Will what it is told now wake it? */
static bool app_sleeps(const struct sock_app *a)
{
	return atomic_load_explicit(&a->end.sh->bells.app_armed, memory_order_relaxed) != 0;
}

/* EPOLLEXCLUSIVE: who is awake looks before it sleeps, and is told; of those that sleep one is
 * woken, each in its turn. Who was told and goes without having asked is replaced (share_leave). */
static void tell_one(struct sock_desc *sh)
{
	uint32_t first = sh->turn;

	for (uint32_t i = 0; i < sh->n; i++) {
		uint32_t at = (first + i) % sh->n;
		struct sock *h = sh->holder[at];
		bool sleeps = app_sleeps(h->app);

		if (!h->exclusive || !(h->flags & SOCKF_WANT))
			continue;
		tell_readable(h);
		if (!sleeps)
			continue;
		sh->turn = at + 1;
		return;
	}
}

void share_readable(struct sock *k)
{
	struct sock_desc *sh = k->share;
	bool one = false;

	if (unlikely(sh->owes != NULL))
		return;

	for (uint32_t i = 0; i < sh->n; i++) {
		struct sock *h = sh->holder[i];

		if (unlikely(lease_holder(sh) == h)) {
			sock_news(h, NEWS_DATA);
			continue;
		}
		if (!(h->flags & SOCKF_WANT))
			continue;
		if (h->exclusive)
			one = true;
		else
			tell_readable(h);
	}
	if (one)
		tell_one(sh);
}

int cmd_exclusive(struct sock_cmd *c)
{
	struct sock *k = c->k;

	if (k->share == NULL)
		return 0; /* it is being told so */
	k->exclusive = c->q->arg[0] != 0;
	if (!k->exclusive && !share_is_sole(k->share) && share_has_more(k))
		share_readable(k);
	return 0;
}

void share_tcp_event(struct sock *k, uint32_t events)
{
	struct sock_desc *sh = k->share;

	/* Behind the data that it is lent. */
	if ((events & TCP_EV_FIN) && lease_holder(sh) != NULL)
		lease_holder(sh)->news |= NEWS_DATA | NEWS_READABLE;
	if (events & (TCP_EV_DATA | TCP_EV_FIN | TCP_EV_ERROR))
		share_readable(k);
	/* The last holder waits for what stands before a gap. */
	if (sh->n == 1 && (events & TCP_EV_DATA))
		sock_news(k, NEWS_DATA);
	for (uint32_t i = 0; i < sh->n; i++) {
		struct sock *h = sh->holder[i];

		if (events & TCP_EV_ERROR) {
			h->error = tcp_conn_error(h->conn);
			sock_news(h, NEWS_FATAL);
		} else if (tcp_sock_limit(h) != h->limit) {
			h->limit = tcp_sock_limit(h);
			sock_news(h, NEWS_LIMIT);
		}
	}
}

/* What the connection has, as far as it is not told otherwise. */
static uint16_t news_of(const struct sock *k)
{
	if (k->kind == SOCK_LISTEN)
		return NEWS_ACCEPT;
	if (k->kind == SOCK_UDP)
		return NEWS_DATA;
	if (k->kind != SOCK_CONN)
		return 0;
	return NEWS_DATA | (tcp_conn_got_fin(k->conn) ? NEWS_FIN : 0);
}

/* Connections that were given back when there were several. */
static bool tell_parked(struct sock *k)
{
	while (!list_empty(&k->share->parked)) {
		if (!app_room(k->app, 1) || !sock_slot_free(k->app))
			return false;
		(void)park_accept(k);
	}
	return true;
}

bool share_tell_sole(struct sock *k)
{
	struct sock_desc *sh = k->share;
	bool wait = false;

	if (k->flags & SOCKF_PARKED) {
		bool limit = k->news == NEWS_LIMIT; /* in which the keeper takes no interest */

		k->news = 0;
		if (unlikely(k->watched) && !limit)
			kept_news(k);
		return true;
	}
	if (unlikely(sh->n == 1 && sh->lease != NULL) && lease_end(sh) != 0)
		return false;
	if (!lease_tell_end(k))
		return false;
	if (!share_is_sole(sh) || sh->owes != NULL) {
		k->news &= (uint16_t) ~(NEWS_FIN | NEWS_URG | NEWS_ACCEPT);
		if (lease_holder(sh) != k)
			k->news &= (uint16_t)~NEWS_DATA;
		return true;
	}
	if (!app_room(k->app, 1))
		return false;
	if (!sh->told) {
		struct chan_cqe *e = app_event(k->app);

		*e = (struct chan_cqe){.ev = CHAN_EV_SOLE, .sid = k->sid};
		sh->told = true;
	}
	if (!pending_tell(k, &wait) || !tell_parked(k))
		return false;
	if (unlikely(wait)) {
		k->news &= (uint16_t) ~(NEWS_DATA | NEWS_FIN | NEWS_URG);
		return true;
	}
	share_free(k);
	k->flags &= (uint16_t)~SOCKF_WANT;
	k->exclusive = false;
	k->news |= news_of(k);
	sock_link_look(k);
	return true;
}
