/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams of the service's keeper that are served to programs without the library (svc/stranger.c).
 * The service reads and sends here as a holder does by its channel, but in calls on the stack's
 * core, with bytes that are copied each way: what is sent lies in memory of the record itself, so
 * that nobody's buffers are held by a peer that does not acknowledge.
 *
 * Such a socket is parked: nothing is pushed to it. One that is watched goes on a list instead when
 * there is something new, and the keeper's bell rings; so there is one word for all of it, and no
 * room that could be lacking.
 *
 * Not done: urgent data, which is read as any other.
 */
#include <stdlib.h>

#include "sock/sock_share.h"

#define SENDS_MAX 16 /* of one stream, in flight: bounds what many small ones cost */

/* ---- news ---- */

void kept_news(struct sock *k)
{
	struct sock_app *a = k->app;
	bool first = list_empty(&a->waiting);

	k->watched = false;
	list_add_tail(&a->waiting, &k->wait);
	if (first)
		bell_wake(a->map->app_bell_fd);
}

unsigned socks_kept_news(struct sock_app *a, uint64_t *name, unsigned n)
{
	unsigned i = 0;
	struct list *l;

	while (i < n && (l = list_pop(&a->waiting)) != NULL)
		name[i++] = container_of(l, struct sock, wait)->kept_name;
	return i;
}

static void watch(struct sock *k, uint64_t name)
{
	list_del(&k->wait);
	k->news = 0;
	k->kept_name = name;
	k->watched = true;
}

/* ---- sending ---- */

/* In flight, they are counted in sock.lent: nothing is lent to the keeper. */

struct kept_send {
	struct pkt_ext ext;
	struct sock *k;
	struct sock_app *app;
	uint32_t sid; /* of k at the time of the send */
	uint32_t bytes;
	uint8_t payload[];
};

/* Acknowledged, and no driver holds it. */
static void gone(void *addr, void *arg)
{
	struct kept_send *d = arg;
	struct sock_app *a = d->app;

	(void)addr;
	a->refs--;
	a->kept_sends--;
	if (!a->dying && d->k->sid == d->sid) {
		d->k->unacked -= d->bytes;
		d->k->lent--;
		if (d->k->watched)
			kept_news(d->k);
	}
	free(d);
	app_reap(a);
}

static struct rte_mbuf *payload(struct sock *k, const uint8_t *bytes, uint32_t n)
{
	struct kept_send *d = malloc(sizeof(*d) + n);
	struct rte_mbuf *m;

	if (d == NULL)
		return NULL;
	d->k = k;
	d->app = k->app;
	d->sid = k->sid;
	d->bytes = n;
	memcpy(d->payload, bytes, n);
	pkt_ext_init(&d->ext, gone, d, 1);
	m = pkt_attach(k->app->s->cfg.pools, d->payload, (uintptr_t)d->payload, (uint16_t)n,
		       &d->ext);
	if (m == NULL) {
		free(d);
		return NULL;
	}
	k->app->refs++;
	k->app->kept_sends++;
	k->unacked += n;
	k->lent++;
	return m;
}

static int send_bytes(struct sock *k, const struct sock_kept *t)
{
	struct rte_mbuf *m;
	int err;

	if (t->n_send == 0)
		return 0;
	m = t->n_send <= SOCK_PIECE_BYTES ? payload(k, t->send, t->n_send) : NULL;
	if (m == NULL)
		return -ENOMEM;
	err = tcp_send(k->app->s->cfg.tcp, k->conn, m, 0);
	if (err != 0)
		pkt_free(m);
	return err;
}

/* Who has nothing in flight may always send: what others who hold the stream have sent tells nobody
 * here when it is acknowledged. Without a mbuf there is none, nor will one be told of. */
static uint32_t room(const struct sock *k, uint32_t in_flight)
{
	uint64_t space = tcp_send_space(k->conn);
	const struct sock_app *a = k->app;

	if (k->unacked == 0)
		return in_flight < SOCK_PIECE_BYTES ? in_flight : SOCK_PIECE_BYTES;
	if (k->lent >= SENDS_MAX || k->unacked >= in_flight || a->refs >= a->refs_max)
		return 0;
	space = space < in_flight - k->unacked ? space : in_flight - k->unacked;
	return space < SOCK_PIECE_BYTES ? (uint32_t)space : SOCK_PIECE_BYTES;
}

/* ---- a turn ---- */

static struct sock *stream(struct sock_app *a, uint32_t sid)
{
	struct sock *k = sock_find(a, sid);

	return k != NULL && k->kind == SOCK_CONN && !k->records && k->share != NULL ? k : NULL;
}

bool socks_kept_streams(struct sock_app *a, uint32_t sid)
{
	return stream(a, sid) != NULL;
}

/* Of what is unread, the first: nobody has it any more who left. False: not at the moment. */
static bool look(struct sock *k, struct sock_kept *t)
{
	int64_t n;

	if (k->share->owes != NULL)
		return true; /* it is told when its time has come */
	if (k->share->lease != NULL && lease_end(k->share) != 0)
		return false;
	n = pending_gather(k, t->max);
	if (n < 0)
		return false;
	t->n = (uint32_t)n;
	if (n > 0)
		(void)pkt_copy_out(k->share->pending.first, 0, t->n, t->buf);
	if (t->take)
		pending_consume(k, t->n);
	t->fin = t->n < t->max && tcp_conn_got_fin(k->conn);
	return true;
}

static void consume(struct sock *k, uint32_t n)
{
	int64_t there = pending_gather(k, n);

	if (there > 0)
		pending_consume(k, (uint32_t)there);
}

bool socks_kept_turn(struct sock_app *a, uint32_t sid, struct sock_kept *t)
{
	struct sock *k = stream(a, sid);

	t->n = 0;
	t->fin = t->sole = false;
	t->error = t->send_error = 0;
	t->room = 0;
	if (k == NULL)
		return false;
	watch(k, t->name);
	if (t->consume > 0)
		consume(k, t->consume);
	t->send_error = send_bytes(k, t);
	if (t->end)
		(void)tcp_shutdown_send(a->s->cfg.tcp, k->conn);
	t->sole = share_is_sole(k->share);
	if (t->only_sole && !t->sole) {
		k->flags &= (uint16_t)~SOCKF_WANT;
	} else {
		k->flags |= SOCKF_WANT;
		if (t->max > 0 && !look(k, t))
			kept_news(k); /* again */
	}
	t->error = tcp_conn_error(k->conn);
	t->room = room(k, t->in_flight);
	return true;
}

void socks_kept_close(struct sock_app *a, uint32_t sid, bool reset)
{
	struct sock *k = sock_find(a, sid);

	if (k != NULL)
		sock_reap(k, !reset);
}
