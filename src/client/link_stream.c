/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stream goes over to a link and back, each direction for itself (sock/sock_link.c has the
 * picture). The service says what is next, in the order of the stream, so no byte changes places:
 *
 *	we receive   OFFER: when the program uses the socket we say TAKE, with our name for it;
 *	             what comes over the link then waits for the mark LINK_RX
 *	we send      LINK_TX: we say SWITCH, behind all sends so far, and go on over the link
 *
 * Not before the program uses it, since a server that leaves each connection to a child never does.
 *
 * And back, before another process gets the socket (fork, exec, SCM_RIGHTS): one that several hold
 * is the service's. Nobody waits for the other end to look: what we send says so (SWITCH), and what
 * we receive is cut off (link.h). What has come is given to the service (fork.c), and the sender
 * finds out when it next wants to write; it says SWITCH then.
 *
 * What ends a stream (FIN, reset) comes by the service. Whoever sent it had written into the link
 * before, so all of that is there, and is taken first.
 */
#include "client/link.h"

static void fill(struct csock *s, struct chan_sqe *q, uint8_t op, uint32_t link)
{
	struct lsock *ls = lsock_of(s);

	cmd_of(q, s, TOKEN_NOBODY);
	q->arg[0] = (int32_t)link;
	q->arg[1] = (int32_t)csock_row(s);
	q->arg[2] = (int32_t)ls->gen;
	q->off = link_of(s)->end.cut;
	cmd_push(csock_core(s), op);
}

static bool push(struct csock *s, uint8_t op, uint32_t link)
{
	struct core *c = csock_core(s);

	if (client.lost || s->sid == 0 || !cmd_room(c, 1))
		return false;
	fill(s, cmd_next(c), op, link);
	return true;
}

/* ---- the socket and the link ---- */

void stream_enter(struct csock *s, struct plink *l)
{
	struct lsock *ls = lsock_of(s);
	uint32_t row = csock_row(s);

	ls->next = l->streams;
	ls->prev = NIL;
	if (l->streams != NIL)
		client.links->sock[l->streams].prev = row;
	l->streams = row;
	s->flags |= CSOCK_LINKED;
}

static void enter(struct csock *s, unsigned link)
{
	struct lsock *ls = lsock_of(s);

	*ls = (struct lsock){.gen = ls->gen + 1,
			     .link = (uint8_t)link,
			     .wait_head = NIL,
			     .wait_tail = NIL,
			     .places = ls->places,
			     .serial = ls->serial};
	stream_enter(s, &client.links->link[link]);
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
	ls->kept = false;
	ls->due = 0;
	s->flags &= ~(uint32_t)(CSOCK_LINKED | CSOCK_LINK | CSOCK_OFFER);
}

void link_closed(struct csock *s)
{
	struct lsock *ls = lsock_of(s);
	uint32_t bye = ls->tx == TX_LINK ? link_of(s)->id : 0;

	link_catch_up(s);
	if (!(s->flags & CSOCK_LINKED) || ls->kept)
		return;
	stream_leave(s);
	ls->bye = bye;
}

void link_freed(struct csock *s)
{
	stream_leave(s);
}

void stream_break(struct csock *s, int err)
{
	stream_leave(s);
	if (s->state == CSOCK_CLOSED)
		cmd_close(s);
	else
		csock_broken(s, err);
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

static void on_offer(struct csock *s, uint32_t id);

/* From a link whose service is gone: both ways have left it. */
static void come_back(struct csock *s)
{
	uint32_t id = lsock_of(s)->next_offer;

	if (lsock_of(s)->rx != RX_TCP || lsock_of(s)->tx != TX_TCP)
		return;
	stream_leave(s);
	if (id != 0)
		on_offer(s, id);
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
	if (!(s->flags & CSOCK_LINKED))
		return;
	waited_append(s, ls);
	/* It was taken again: see records_cut(). */
	if (unlikely(csock_records(s)) && ls->rx_cut == link_of(s)->end.cut)
		return;
	ls->rx = RX_TCP;
	if (link_of(s)->kept) {
		come_back(s);
		return;
	}
	/* It came back because of others of the link's. */
	if (ls->rx_cut != link_of(s)->end.cut && !ls->leaving && link_of(s)->state == LINK_UP) {
		ls->offered = true;
		s->flags |= CSOCK_OFFER;
		if (unlikely(csock_records(s)))
			record_look(s);
	}
}

/* ---- sending ---- */

static void tx_tcp(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (s->flags & CSOCK_LINK)
		s->limit = ls->limit;
	s->flags &= ~(uint32_t)CSOCK_LINK;
	ls->tx = TX_TCP;
}

void stream_tx_back(struct csock *s)
{
	tx_tcp(s);
	if (link_of(s)->state != LINK_UP || push(s, CHAN_OP_LINK_SWITCH, 0))
		return;
	lsock_of(s)->tx = TX_BACK;
	s->flags |= CSOCK_OFFER;
	if (unlikely(csock_records(s)))
		client.links->again = true;
}

bool stream_back(struct csock *s)
{
	struct core *c = csock_core(s);
	struct chan_sqe *q;

	if (client.lost || !cmd_room(c, 2))
		return false;
	lsock_of(s)->kept = false;
	stream_tx_back(s);
	if (s->shut & SHUT_WR_BIT) {
		q = cmd_next(c);
		cmd_of(q, s, TOKEN_NOBODY);
		q->arg[0] = SHUT_WR;
		cmd_push(c, CHAN_OP_SHUTDOWN);
	}
	come_back(s);
	return true;
}

void link_limit(struct csock *s, uint32_t limit)
{
	lsock_of(s)->limit = limit;
}

/* Waits for a place in the ring. False: the socket is not what it was. */
static bool tx_back_now(struct csock *s)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(csock_core(s));

	if (q == NULL || s->serial != serial || !(s->flags & CSOCK_LINKED))
		return false;
	fill(s, q, CHAN_OP_LINK_SWITCH, 0);
	tx_tcp(s);
	return true;
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

/* The other end takes it. */
static void on_tx(struct csock *s, const struct chan_cqe *e)
{
	struct lsock *ls = lsock_of(s);

	if (((ls->tx == TX_LINK || ls->tx == TX_BACK) && likely(!csock_records(s))) ||
	    link_of(s)->id != e->aux)
		return;
	ls->to_row = (uint32_t)e->off;
	ls->to_gen = (uint32_t)(e->off >> 32);
	ls->tx_cut = (uint32_t)e->res;
	/* Of records it may have been cut and taken again before we looked. */
	if (ls->tx == TX_LINK)
		return;
	ls->tx = TX_READY;
	/* Not of one that nobody has accepted yet: another process may. */
	if (s->fd >= 0)
		tx_switch(s);
	if (ls->tx == TX_READY)
		s->flags |= CSOCK_OFFER;
	if (unlikely(csock_records(s)))
		record_look(s);
}

/* ---- records ---- */

void record_look(struct csock *s)
{
	if (s->fd < 0 || s->state != CSOCK_CONNECTED || (s->flags & CSOCK_OFFER) == 0)
		return;
	link_use(s);
	client.links->again |= (s->flags & CSOCK_OFFER) != 0;
}

/* The other end can send nothing before we take it. Offered again: that end is another holder, or
 * has come back, and does not know what we call it. */
static void records_offered(struct csock *s)
{
	lsock_of(s)->rx = RX_TCP;
	record_look(s);
}

/* The other ends may send on, whatever this program does next: it may wait for its child. */
void records_cut(struct plink *l)
{
	struct links *k = client.links;

	for (uint32_t row = l->state == LINK_UP ? l->streams : NIL; row != NIL;
	     row = k->sock[row].next) {
		struct csock *s = &client.sock[row];

		if (!csock_records(s) || k->sock[row].rx != RX_LINK)
			continue;
		k->sock[row].offered = true;
		s->flags |= CSOCK_OFFER;
		record_look(s);
	}
}

void records_again(void)
{
	struct links *k = client.links;

	k->again = false;
	for (unsigned i = 0; i < k->n; i++)
		for (uint32_t row = k->link[i].state == LINK_UP ? k->link[i].streams : NIL;
		     row != NIL; row = k->sock[row].next)
			if (csock_records(&client.sock[row]))
				record_look(&client.sock[row]);
}

/* ---- what the service says ---- */

static void on_offer(struct csock *s, uint32_t id)
{
	struct links *k = client.links;

	if (s->group != NULL || (s->flags & CSOCK_SHARED) ||
	    ((s->flags & CSOCK_LINKED) && lsock_of(s)->leaving))
		return;
	if ((s->flags & CSOCK_LINKED) && link_of(s)->kept) {
		lsock_of(s)->next_offer = id;
		return;
	}
	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		if (k->link[i].state != LINK_UP || k->link[i].kept || k->link[i].id != id)
			continue;
		if ((s->flags & CSOCK_LINKED) && lsock_of(s)->link != i)
			stream_leave(s);
		if (!(s->flags & CSOCK_LINKED))
			enter(s, i);
		lsock_of(s)->offered = true;
		s->flags |= CSOCK_OFFER;
		if (unlikely(csock_records(s)))
			records_offered(s);
		else if (s->waiters != NULL) /* to receive */
			link_use(s);
		return;
	}
}

void link_event(struct core *c, struct csock *s, const struct chan_cqe *e)
{
	(void)c;
	if (s == NULL || !csock_connects(s) || s->state != CSOCK_CONNECTED)
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

	if (ls->offered && (ls->rx == RX_TCP || csock_records(s)) && !ls->leaving &&
	    push(s, CHAN_OP_LINK_TAKE, link_of(s)->id)) {
		/* What there is of records comes over links: none stands before the mark. */
		ls->rx = likely(!csock_records(s)) ? RX_READY : RX_LINK;
		ls->rx_cut = link_of(s)->end.cut;
		ls->offered = false;
	} else if (ls->rx != RX_TCP && likely(!csock_records(s))) {
		ls->offered = false;
	}
	if (unlikely(ls->tx == TX_BACK) && !push(s, CHAN_OP_LINK_SWITCH, 0))
		return;
	if (ls->tx == TX_BACK)
		ls->tx = TX_TCP;
	tx_switch(s);
	if (!ls->offered && ls->tx != TX_READY)
		s->flags &= ~(uint32_t)CSOCK_OFFER;
}

bool link_holds(const struct csock *s)
{
	return (s->flags & CSOCK_LINKED) && lsock_of(s)->tx == TX_BACK;
}

void link_leave(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	ls->leaving = true;
	if ((ls->tx == TX_LINK || ls->tx == TX_BACK) && !tx_back_now(s))
		return;
	if (ls->rx != RX_TCP)
		link_cut_off(link_of(s));
}

void link_stay(struct csock *s)
{
	if (s->flags & CSOCK_LINKED)
		lsock_of(s)->leaving = false;
}

uint32_t link_waiting(struct csock *s)
{
	struct lsock *ls = lsock_of(s);
	uint32_t row = ls->wait_head;

	ls->wait_head = NIL;
	stream_leave(s);
	return row;
}

void stream_orphan(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (ls->kept) {
		kept_orphan(s);
		return;
	}
	tx_tcp(s);
	/* The other end has left it, and the mark that says so is still to come: there is nothing
	 * left that it could be behind. */
	if (link_of(s)->kept) {
		ls->rx = RX_TCP;
		come_back(s);
		return;
	}
	/* No mark comes for what waits: the other program was gone before it was told. */
	if (ls->wait_head != NIL && client.lost)
		waited_append(s, ls);
	if (ls->wait_head == NIL)
		stream_leave(s);
}
