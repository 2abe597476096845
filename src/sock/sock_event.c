/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What applications are told. A socket notes its news as bits and tells them at once if there is
 * room in the event ring (and, for data, in the loan table); else it waits in its application's
 * list, where it stands once whatever happens to it. So the ring can't overflow, and memory for
 * what is untold is the bits and the protocol's own queues.
 *
 * The common case, data for a connection, is sock_tell_data() and nothing else.
 */
#include "sock/sock_share.h"

#define SEGS_MAX 32 /* buffers lent in one go */
#define TURNS	 64 /* waiting sockets that get another chance in one poll */

/* One event for each buffer. Returns the last event, to which FIN may be added. */
struct chan_cqe *sock_announce(struct sock *k, struct rte_mbuf *m)
{
	struct chan_cqe *e = NULL;

	while (m != NULL) {
		struct rte_mbuf *rest = pkt_seg_split(m);
		struct sock_lent lent;

		if (unlikely(!sock_lend(k, &m, &lent))) {
			pkt_free(m);
			pkt_free(rest);
			return NULL;
		}
		e = app_event(k->app);
		e->ev = CHAN_EV_DATA;
		e->flags = 0;
		e->port = 0;
		e->sid = k->sid;
		e->res = m->data_len;
		e->aux = 0;
		e->off = lent.off;
		e->region = lent.region;
		e->lport = 0;
		e->loan = lent.loan;
		m = rest;
	}
	return e;
}

/* How many buffers may be lent and told of now. */
static uint32_t lend_room(struct sock *k)
{
	uint32_t n = sock_lend_room(k, SEGS_MAX);

	if (unlikely(!app_room(k->app, n))) {
		while (n != 0 && !app_room(k->app, n))
			n--;
	}
	return n;
}

/* Payload lies where no application can see it: a wrong configuration. */
slow_path bool sock_unreachable(struct sock *k)
{
	tcp_sock_close(k, true);
	k->kind = SOCK_DEAD;
	if (k->share != NULL)
		share_sync(k);
	k->error = -EFAULT;
	k->news = (uint16_t)((k->news & ~(NEWS_DATA | NEWS_FIN | NEWS_URG)) | NEWS_FATAL);
	return true;
}

/* Lends what the connection has. True: it has no more. *last: the last event made, if any. */
bool sock_tell_data(struct sock *k, struct chan_cqe **last)
{
	struct tcp *t = k->app->s->cfg.tcp;

	if (unlikely(k->kind != SOCK_CONN)) {
		k->news &= (uint16_t)~NEWS_DATA;
		return true;
	}
	for (;;) {
		uint32_t max = lend_room(k), saved = 0;
		struct rte_mbuf *m;

		if (unlikely(max == 0))
			return false;
		m = tcp_recv(t, k->conn, max);
		if (m == NULL)
			break;
		bool more = m->nb_segs == max;

		if (m->nb_segs > 1 && k->app->own == NULL &&
		    unlikely(sock_pressure(k->app, m->nb_segs))) {
			m = sock_compact(k, m, &saved);
			if (saved != 0)
				tcp_recv_done(t, k->conn, saved, 0);
		}
		*last = sock_announce(k, m);
		if (unlikely(*last == NULL))
			return sock_unreachable(k);
		if (likely(!more))
			break;
	}
	k->news &= (uint16_t)~NEWS_DATA;
	return true;
}

static struct chan_cqe *event(struct sock *k, enum chan_ev ev)
{
	struct chan_cqe *e = app_event(k->app);

	*e = (struct chan_cqe){.ev = (uint8_t)ev, .sid = k->sid};
	return e;
}

static void tell_connect(struct sock *k)
{
	struct chan_cqe *e = event(k, CHAN_EV_RESULT);

	e->loan = k->connect_token;
	if (k->kind != SOCK_CONN) {
		e->res = k->error;
		k->error = 0;
		return;
	}
	const struct tcp_key *key = tcp_conn_key(k->conn);

	memcpy(e->addr, &key->raddr, sizeof(key->raddr));
	memcpy(e->laddr, &key->laddr, sizeof(key->laddr));
	e->port = key->rport;
	e->lport = key->lport;
}

static void tell_urg(struct sock *k)
{
	int64_t at = k->kind == SOCK_CONN ? tcp_conn_urg(k->conn) : -1;

	if (at >= 0 && at <= UINT32_MAX)
		event(k, CHAN_EV_URG)->aux = (uint32_t)at;
}

static void tell_error(struct sock *k, bool fatal)
{
	struct chan_cqe *e = event(k, CHAN_EV_ERROR);

	e->res = k->error;
	e->flags = fatal ? CHAN_CQ_FATAL : 0;
	k->error = 0;
}

static void tell_closed(struct sock *k)
{
	event(k, CHAN_EV_RESULT)->loan = k->close_token;
	sock_free(k);
}

/* The end of a stream which in truth goes on: it is the service that ends (socks_end()). */
static bool untrue(const struct sock *k, uint16_t bit)
{
	return (bit & (NEWS_FIN | NEWS_FATAL)) && k->app->s->ending && sock_link_all(k);
}

/* News of one event each, in the order in which they must be told. */
static void tell_one(struct sock *k, uint16_t bit)
{
	if (unlikely(untrue(k, bit)))
		return;
	switch (bit) {
	case NEWS_CONNECT:
		tell_connect(k);
		break;
	case NEWS_URG:
		tell_urg(k);
		break;
	case NEWS_FIN:
		event(k, CHAN_EV_FIN);
		break;
	case NEWS_ERROR:
		tell_error(k, false);
		break;
	case NEWS_FATAL:
		tell_error(k, true);
		break;
	case NEWS_READABLE:
		event(k, CHAN_EV_READABLE);
		break;
	case NEWS_LIMIT:
		event(k, CHAN_EV_WRITABLE)->aux = k->limit;
		break;
	}
}

/* Data, with the end of the stream on its last event where that is known. */
static bool tell_stream(struct sock *k)
{
	struct chan_cqe *last = NULL;

	if (k->kind == SOCK_UDP)
		return udp_sock_tell(k);
	if (unlikely(k->share != NULL))
		return lease_tell(k);
	if (!(unlikely(k->flags & SOCKF_MARKED) ? sock_link_tell_stream(k, &last)
						: sock_tell_data(k, &last)))
		return false;
	if (last != NULL && (k->news & NEWS_FIN)) {
		last->flags |= CHAN_CQ_FIN;
		k->news &= (uint16_t)~NEWS_FIN;
	}
	return true;
}

/* True: everything is told, or will be by other means. The socket may be gone then. */
static bool tell(struct sock *k)
{
	if (unlikely(k->share != NULL) && !share_tell_sole(k))
		return false;
	while (k->news != 0) {
		uint16_t bit = (uint16_t)(k->news & -k->news);

		if (bit == NEWS_DATA) {
			if (!tell_stream(k))
				return false;
			continue;
		}
		if (!app_room(k->app, 1))
			return false;
		if (bit == NEWS_CLOSED) {
			tell_closed(k);
			return true;
		}
		if (bit == NEWS_LINK) {
			if (!sock_link_tell(k))
				return false;
			continue;
		}
		if (bit == NEWS_ACCEPT) {
			if (!tcp_sock_tell_accept(k))
				return false;
			continue;
		}
		k->news &= (uint16_t)~bit;
		tell_one(k, bit);
	}
	return true;
}

void sock_news(struct sock *k, uint16_t news)
{
	k->news |= news;
	if (unlikely(list_linked(&k->wait)))
		return;
	if (unlikely(!tell(k))) {
		k->app->s->n.events_delayed++;
		k->app->room_seen = app_room_now(k->app);
		list_add_tail(&k->app->waiting, &k->wait);
	}
}

void app_tell_waiting(struct sock_app *a)
{
	struct list *last = a->waiting.prev;

	/* Of the keeper those stand there that it asks for: sock_kept.c. */
	if (likely(last == &a->waiting) || a->keeps)
		return;
	/* Who got no turn may find room. */
	a->room_seen = 0;
	for (unsigned i = 0; i < TURNS && app_room(a, 1); i++) {
		struct list *l = list_pop(&a->waiting);

		if (l == NULL)
			break;
		if (!tell(container_of(l, struct sock, wait)))
			list_add_tail(&a->waiting, l);
		if (l == last) {
			a->room_seen = app_room_now(a);
			break;
		}
	}
}

void sock_error(struct sock *k, int err)
{
	if (k->news & NEWS_FATAL)
		return;
	k->error = err;
	sock_news(k, NEWS_ERROR);
}
