/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stream goes over to a link and back, each direction for itself (sock/sock_link.c has the
 * picture). The service says what is next, in the order of the stream, so no byte changes places:
 *
 *	we receive   OFFER: when the program uses the socket we say TAKE, with our name for it;
 *	             what comes over the link then waits for the mark LINK_RX
 *	we send      LINK_TX: we say SWITCH, behind all sends so far, and go on over the link
 *
 * and in the same way back, which fork and exec need: a socket that several processes hold is the
 * service's. Not before the program uses it, since a server that leaves each connection to a child
 * never does.
 *
 * What ends a stream (FIN, reset) comes by the service. Whoever sent it had written into the link
 * before, so all of that is there, and is taken first.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>

#include "client/link.h"

#define LEAVE_NS 300000000 /* for the other ends to go back to TCP, all together */

static bool push(struct csock *s, uint8_t op, uint32_t link)
{
	struct lsock *ls = lsock_of(s);
	struct core *c = csock_core(s);
	struct chan_sqe *q;

	if (client.lost || s->sid == 0 || !cmd_room(c, 1))
		return false;
	q = cmd_next(c);
	q->op = op;
	q->sid = s->sid;
	q->ticket = s->ticket++;
	q->token = TOKEN_NOBODY;
	q->arg[0] = (int32_t)link;
	q->arg[1] = (int32_t)csock_row(s);
	q->arg[2] = (int32_t)ls->gen;
	cmd_push(c);
	return true;
}

/* ---- the socket and the link ---- */

static void enter(struct csock *s, unsigned link)
{
	struct lsock *ls = lsock_of(s);
	struct plink *l = &client.links->link[link];
	uint32_t row = csock_row(s);

	*ls = (struct lsock){.gen = ls->gen + 1,
			     .link = (uint8_t)link,
			     .next = l->streams,
			     .prev = NIL,
			     .wait_head = NIL,
			     .wait_tail = NIL};
	if (l->streams != NIL)
		client.links->sock[l->streams].prev = row;
	l->streams = row;
	s->flags |= CSOCK_LINKED;
}

void stream_leave(struct csock *s)
{
	struct lsock *ls = lsock_of(s);
	struct plink *l = link_of(s);

	if (ls->prev != NIL)
		client.links->sock[ls->prev].next = ls->next;
	else
		l->streams = ls->next;
	if (ls->next != NIL)
		client.links->sock[ls->next].prev = ls->prev;
	while (ls->wait_head != NIL) {
		uint32_t row = ls->wait_head;

		ls->wait_head = csock_core(s)->loan[row].next;
		loan_put(csock_core(s), row);
		s->flags |= CSOCK_UNREAD;
	}
	ls->gen++;
	s->flags &= ~(uint32_t)(CSOCK_LINKED | CSOCK_LINK | CSOCK_OFFER);
}

void link_closed(struct csock *s)
{
	link_catch_up(s);
	stream_leave(s);
}

void link_catch_up(struct csock *s)
{
	link_settle(link_of(s));
}

/* ---- receiving ---- */

/* What came before the mark did. */
static void waited_append(struct csock *s, struct lsock *ls)
{
	struct core *c = csock_core(s);
	uint32_t row, next;

	for (row = ls->wait_head; row != NIL; row = next) {
		next = c->loan[row].next;
		c->loan[row].next = NIL;
		csock_queue(c, s, row);
	}
	s->unread += ls->wait_bytes;
	ls->wait_head = ls->wait_tail = NIL;
	ls->wait_bytes = 0;
	if (s->unread > 0)
		csock_notify(s, EPOLLIN);
}

static void on_mark(struct csock *s, uint32_t link)
{
	struct lsock *ls = lsock_of(s);

	if (link != 0) {
		waited_append(s, ls);
		ls->rx = RX_LINK;
		return;
	}
	link_catch_up(s);
	/* What the other end has sent over the link is here; of the next time it has none yet. */
	if (s->flags & CSOCK_LINKED) {
		waited_append(s, ls);
		ls->rx = RX_TCP;
		ls->leaving = false;
	}
}

/* ---- sending ---- */

static void tx_back(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (s->flags & CSOCK_LINK)
		s->limit = ls->limit;
	s->flags &= ~(uint32_t)CSOCK_LINK;
	ls->tx = TX_TCP;
}

static void tx_switch(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (ls->tx != TX_READY || s->state != CSOCK_CONNECTED || (s->shut & SHUT_WR_BIT) ||
	    link_of(s)->state != LINK_UP || !push(s, CHAN_OP_LINK_SWITCH, link_of(s)->id))
		return;
	ls->tx = TX_LINK;
	ls->limit = s->limit;
	if (s->limit < LINK_LIMIT)
		s->limit = LINK_LIMIT;
	s->flags |= CSOCK_LINK;
	csock_notify(s, EPOLLOUT);
}

/* The other end takes it, or takes it no more. */
static void on_tx(struct csock *s, const struct chan_cqe *e)
{
	struct lsock *ls = lsock_of(s);

	if (e->aux != 0) {
		if (ls->tx == TX_LINK || link_of(s)->id != e->aux)
			return;
		ls->to_row = (uint32_t)e->off;
		ls->to_gen = (uint32_t)(e->off >> 32);
		ls->tx = TX_READY;
		/* Not of one that nobody has accepted yet: another process may. */
		if (s->fd >= 0)
			tx_switch(s);
		if (ls->tx == TX_READY)
			s->flags |= CSOCK_OFFER;
		return;
	}
	/* It waits for the mark also if we never were there. */
	tx_back(s);
	if (!push(s, CHAN_OP_LINK_SWITCH, 0))
		csock_broken(s, -EPROTO);
}

/* ---- what the service says ---- */

static void on_offer(struct csock *s, uint32_t id)
{
	struct links *k = client.links;

	if (s->group != NULL || (s->flags & CSOCK_SHARED))
		return;
	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		if (k->link[i].state != LINK_UP || k->link[i].id != id)
			continue;
		if ((s->flags & CSOCK_LINKED) && lsock_of(s)->link != i)
			stream_leave(s);
		if (!(s->flags & CSOCK_LINKED))
			enter(s, i);
		lsock_of(s)->offered = true;
		s->flags |= CSOCK_OFFER;
		/* Somebody waits to receive. */
		if (s->waiters != NULL)
			link_use(s);
		return;
	}
}

void link_event(struct core *c, struct csock *s, const struct chan_cqe *e)
{
	(void)c;
	if (s == NULL || s->type != SOCK_STREAM || s->state != CSOCK_CONNECTED)
		return;
	if (e->ev == CHAN_EV_LINK_OFFER)
		on_offer(s, e->aux);
	else if (!(s->flags & CSOCK_LINKED))
		return;
	else if (e->ev == CHAN_EV_LINK_TX)
		on_tx(s, e);
	else
		on_mark(s, e->aux);
}

/* ---- what the program does ---- */

void link_use(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (ls->offered && ls->rx == RX_TCP && !ls->leaving &&
	    push(s, CHAN_OP_LINK_TAKE, link_of(s)->id)) {
		ls->rx = RX_READY;
		ls->offered = false;
	} else if (ls->rx != RX_TCP) {
		ls->offered = false;
	}
	tx_switch(s);
	if (!ls->offered && ls->tx != TX_READY)
		s->flags &= ~(uint32_t)CSOCK_OFFER;
}

/* Sockets that are shared one after the other have one time together to wait. */
static int64_t leave_deadline(void)
{
	static int64_t until;
	int64_t now = now_ns();

	if (now > until + LEAVE_NS)
		until = now + LEAVE_NS;
	return until;
}

static bool leave_rx(struct csock *s)
{
	struct lsock *ls = lsock_of(s);
	struct timespec ts = {0, 20000};
	uint32_t serial = s->serial;
	int64_t until;

	if (ls->rx == RX_TCP)
		return true;
	if (!ls->leaving && !push(s, CHAN_OP_LINK_TAKE, 0))
		return false;
	ls->leaving = true;
	until = leave_deadline();
	while (ls->leaving && s->serial == serial && (s->flags & CSOCK_LINKED) && !client.lost) {
		if (client_turn() != 0)
			continue;
		if (now_ns() > until)
			return false;
		ppoll(NULL, 0, &ts, NULL);
	}
	return s->serial == serial && !client.lost;
}

bool link_leave(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (ls->tx == TX_LINK && !push(s, CHAN_OP_LINK_SWITCH, 0))
		return false;
	tx_back(s);
	if (!leave_rx(s))
		return false;
	if (s->flags & CSOCK_LINKED)
		stream_leave(s);
	return true;
}

void stream_orphan(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	tx_back(s);
	/* No mark comes for what waits: the other program was gone before it was told. */
	if (ls->wait_head != NIL && client.lost)
		waited_append(s, ls);
	if (ls->wait_head == NIL)
		stream_leave(s);
}
