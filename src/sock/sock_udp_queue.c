/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams of a socket that wait: for room in the rings of its application, or, if several hold
 * it, to be asked for. What a holder was told and had not read when there came another goes back in
 * front of them, the last one first, so that the first is in front (CHAN_OP_UNREAD).
 *
 * Where it came from and what its headers said is in the holder's words then: it could as well have
 * read it and kept it from the others. The payload is what was received.
 */
#include <stdlib.h>

#include "sock/sock_share.h"
#include "sock/sock_udp.h"

#define ROOM_MIN 16u

void udp_queue_free(struct sock_udp *u)
{
	while (u->count != 0) {
		pkt_free(udp_queue_first(u)->m);
		udp_queue_pass(u);
	}
	pkt_free(u->back);
	u->back = NULL;
	free(u->queue);
	u->queue = NULL;
	u->room = 0;
}

/* Room for one more. */
static bool grow(struct sock_udp *u)
{
	uint32_t room = u->room == 0 ? ROOM_MIN : u->room * 2;
	struct udp_dgram *fresh;

	if (likely(u->count < u->room))
		return true;
	fresh = calloc(room, sizeof(*fresh));
	if (fresh == NULL)
		return false;
	for (uint32_t i = 0; i < u->count; i++)
		fresh[i] = u->queue[(u->head + i) & (u->room - 1)];
	free(u->queue);
	u->queue = fresh;
	u->head = 0;
	u->room = room;
	return true;
}

bool udp_queue_add(struct sock_udp *u, const struct udp_dgram *d)
{
	if (u->count >= SOCK_UDP_WAIT_MAX || !grow(u))
		return false;
	u->queue[(u->head + u->count++) & (u->room - 1)] = *d;
	return true;
}

/* What has a buffer is bounded by what buffers there are; empty ones a holder could make up. */
static bool put_first(struct sock_udp *u, const struct udp_dgram *d)
{
	if ((d->m == NULL && u->count >= SOCK_UDP_WAIT_MAX) || !grow(u))
		return false;
	u->queue[--u->head & (u->room - 1)] = *d;
	u->count++;
	return true;
}

static void drop(struct sock *k, struct rte_mbuf *m)
{
	for (struct rte_mbuf *s = m; s != NULL; s = s->next)
		k->udp->charge -= pkt_charge(s);
	pkt_drop(k->app->s->cfg.drops, m, DROP_UDP_QUEUE_FULL);
}

static void back_drop(struct sock *k)
{
	if (k->udp->back != NULL)
		drop(k, k->udp->back);
	k->udp->back = NULL;
}

void udp_sock_holder_left(struct sock *k)
{
	if (k->udp->back_of == k)
		back_drop(k);
}

/* The lent buffer, which is the socket's from here on. NULL: it has none of that name. */
static struct rte_mbuf *take_back(struct sock *k, uint32_t loan)
{
	struct rte_mbuf *m = loan_look(&k->app->loans, loan);

	if (m == NULL || (pkt_note(m) != 0 && pkt_note(m) != k->sid))
		return NULL;
	(void)loan_take_back(&k->app->loans, loan);
	app_lent(k->app, -1);
	if (pkt_note(m) == 0)
		k->udp->charge += pkt_charge(m); /* it had been read */
	else
		k->lent--;
	m->next = NULL;
	m->nb_segs = 1;
	m->pkt_len = m->data_len;
	return m;
}

/* A piece of it. False: there is none. */
static bool add_piece(struct sock *k, const struct chan_sqe *q)
{
	struct sock_udp *u = k->udp;
	struct rte_mbuf *m;

	if (u->back_of != k)
		back_drop(k);
	u->back_of = k;
	/* Of no bytes: all of the datagram. */
	if (q->loan == LOAN_NONE)
		return u->back == NULL && !(q->flags & CHAN_SEND_PART);
	m = take_back(k, q->loan);
	if (m == NULL)
		return false;
	if (u->back == NULL) {
		u->back = m;
		return true;
	}
	if (u->back->pkt_len + m->pkt_len <= UINT16_MAX && pkt_chain(u->back, m) == 0)
		return true;
	drop(k, m);
	return false;
}

int udp_sock_unread(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	struct sock *k = c->k;
	struct sock_udp *u = k->udp;
	struct udp_dgram d = {.sport = q->port,
			      .ifindex = (uint8_t)q->off,
			      .ttl = (uint8_t)(q->off >> 16),
			      .tos = (uint8_t)(q->off >> 24)};

	if (k->share == NULL || !add_piece(k, q)) {
		back_drop(k);
		c->s->n.bad_commands++;
		return -EINVAL;
	}
	if (q->flags & CHAN_SEND_PART)
		return 0;
	memcpy(&d.src, q->data, sizeof(d.src));
	memcpy(&d.dst, q->data + sizeof(d.src), sizeof(d.dst));
	d.m = u->back;
	u->back = NULL;
	if (!put_first(u, &d)) {
		drop(k, d.m);
		return -ENOBUFS;
	}
	share_readable(k);
	return 0;
}
