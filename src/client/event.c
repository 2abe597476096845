/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the stack says: events become entries in receive queues, states and readiness; tokens that
 * come back free buffers and make room to send. Each event is copied out of the ring once, checked,
 * then used (H32): one that names a socket, a loan, or memory that does not exist is counted. Where
 * it names a socket of ours, that socket breaks with EPROTO, since its stream has a hole now.
 */
#include <string.h>

#include "client/client_priv.h"

#define BATCH	     32u
#define AHEAD	     4u /* events between the fetching of a socket and its turn */
#define DATAGRAM_MAX 65535

static void bad_event(struct csock *s)
{
	client.stats.bad_events++;
	if (s != NULL && s->state != CSOCK_CLOSED)
		csock_broken(s, -EPROTO);
}

/* The row of a loan that is new; NIL if the name can't be. */
static uint32_t loan_new(struct core *c, const struct chan_cqe *e)
{
	uint32_t i = loan_index(e->loan);
	const uint8_t *data;
	uint8_t region = 0;

	if (e->loan == LOAN_NONE || i >= c->max_loans || c->loan[i].name != LOAN_NONE)
		return NIL;
	if (e->res < 0 || e->region == CHAN_REGION_ARENA)
		return NIL;
	if (unlikely(e->region == CHAN_REGION_NEIGHBOUR))
		data = link_region_get(c, e->off, (uint32_t)e->res, &region);
	else
		data = chan_at(c->map, e->region, e->off, (uint32_t)e->res);
	if (data == NULL)
		return NIL;
	c->loan[i] = (struct loan){
		.base = data,
		.name = e->loan,
		.len = (uint32_t)e->res,
		.next = NIL,
		.region = region,
	};
	return i;
}

void csock_queue(struct core *c, struct csock *s, uint32_t row)
{
	if (s->head == NIL)
		s->head = row;
	else
		c->loan[s->tail].next = row;
	s->tail = row;
}

static void end_of_stream(struct csock *s)
{
	if (unlikely(s->flags & CSOCK_LINKED))
		link_catch_up(s);
	s->shut |= SHUT_RD_BIT;
	/* EPOLLHUP when the program has ended its side: then this was the other. */
	csock_notify(s, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

static void on_data(struct core *c, const struct chan_cqe *e)
{
	struct csock *s = csock_find(c, e->sid);
	uint32_t row = loan_new(c, e);

	if (unlikely(row == NIL || e->res == 0)) {
		if (row != NIL)
			loan_put(c, row);
		bad_event(s);
		return;
	}
	if (unlikely(s != NULL && s->lease != 0) && shared_late(s, row))
		return;
	if (unlikely(s == NULL || s->state != CSOCK_CONNECTED || s->type != SOCK_STREAM)) {
		loan_put(c, row);
		if (s == NULL || s->state != CSOCK_CLOSED)
			bad_event(s);
		else
			s->flags |= CSOCK_UNREAD;
		return;
	}
	c->loan[row].copy = (e->flags & CHAN_CQ_COPY) != 0;
	csock_queue(c, s, row);
	s->unread += (uint32_t)e->res;
	if (e->flags & CHAN_CQ_FIN)
		end_of_stream(s);
	else
		csock_notify(s, EPOLLIN);
}

/* A datagram of no bytes has no loan: it takes a row of our own. */
static uint32_t empty_new(struct core *c)
{
	uint32_t row = c->empty_free;

	if (row == NIL)
		return NIL;
	c->empty_free = c->loan[row].next;
	c->loan[row] = (struct loan){.base = (const uint8_t *)"", .next = NIL};
	return row;
}

static slow_path int64_t stamp_of(const struct csock *s)
{
	return (s->group != NULL ? s->group->sock[0] : s)->stamps != 0 ? real_ns() : 0;
}

/* The rows behind the last whole datagram. */
static void tail_drop(struct core *c, struct csock *s)
{
	uint32_t whole = NIL, row, next;

	for (row = s->head; row != NIL; row = c->loan[row].next)
		if (!c->loan[row].more)
			whole = row;
	row = whole == NIL ? s->head : c->loan[whole].next;
	s->tail = whole;
	if (whole == NIL)
		s->head = NIL;
	else
		c->loan[whole].next = NIL;
	for (; row != NIL; row = next) {
		next = c->loan[row].next;
		loan_put(c, row);
	}
}

/* The link to its sender has just ended: the datagram is lost, as datagrams are. */
static cold_path void neighbour_lost(struct core *c, struct csock *s, const struct chan_cqe *e)
{
	client.stats.neighbour_dropped++;
	loan_refuse(c, e->loan);
	if (s != NULL && s->type == SOCK_DGRAM)
		tail_drop(c, s);
}

static void on_dgram(struct core *c, const struct chan_cqe *e)
{
	struct csock *s = csock_find(c, e->sid);
	bool empty = e->res == 0 && e->loan == LOAN_NONE;
	uint32_t row = empty ? empty_new(c) : loan_new(c, e);

	if (unlikely(row == NIL && e->region == CHAN_REGION_NEIGHBOUR)) {
		neighbour_lost(c, s, e);
		return;
	}
	if (unlikely(row == NIL || e->res > DATAGRAM_MAX)) {
		if (row != NIL)
			loan_put(c, row);
		if (empty)
			client.stats.empty_dropped++;
		else
			bad_event(s);
		return;
	}
	if (unlikely(s == NULL || s->type != SOCK_DGRAM || s->state == CSOCK_CLOSED)) {
		loan_put(c, row);
		if (s == NULL || s->state != CSOCK_CLOSED)
			bad_event(s);
		return;
	}
	struct dgram *d = &c->dgram[row];

	memcpy(d->addr, e->addr, 16);
	memcpy(d->laddr, e->laddr, 16);
	d->port = e->port;
	d->aux = e->aux;
	d->stamp_ns = unlikely(s->flags & (CSOCK_STAMPS | CSOCK_GROUPED)) ? stamp_of(s) : 0;
	c->loan[row].more = (e->flags & CHAN_CQ_MORE) != 0;
	c->loan[row].copy = (e->flags & CHAN_CQ_COPY) != 0;
	csock_queue(c, s, row);
	if (c->loan[row].more)
		return;
	s->unread++;
	csock_notify(s, EPOLLIN);
}

/* What a connection has of its listener, of what the service does not know. */
static void inherit(struct csock *s, const struct csock *l)
{
	s->flags |= l->flags & (CSOCK_OOBINLINE | CSOCK_LOWAT);
	s->rcvlowat = l->rcvlowat;
	s->linger_s = l->linger_s;
	s->rcvtimeo_ns = l->rcvtimeo_ns;
	s->sndtimeo_ns = l->sndtimeo_ns;
}

static void on_accept(struct core *c, const struct chan_cqe *e)
{
	struct csock *l = csock_find(c, e->sid), *s;

	if (l == NULL || e->res < 0 ||
	    (l->state != CSOCK_LISTEN && l->state != CSOCK_CLOSED &&
	     (l->flags & CSOCK_LISTENED) == 0)) {
		bad_event(l);
		return;
	}
	if (unlikely(csock_place(c, e->aux) < 0))
		return;
	s = csock_open(c, e->aux, l->domain, l->type, (uint32_t)e->res);
	if (s == NULL) {
		bad_event(l);
		return;
	}
	s->state = CSOCK_CONNECTED;
	inherit(s, l->group != NULL ? l->group->sock[0] : l);
	memcpy(s->peer, e->addr, 16);
	memcpy(s->local, e->laddr, 16);
	s->peer_port = e->port;
	s->local_port = e->lport;
	if (l->state != CSOCK_LISTEN) {
		s->linger_s = 0;
		csock_close(s);
		return;
	}
	if (l->head == NIL)
		l->head = csock_row(s);
	else
		client.sock[l->tail].link = csock_row(s);
	l->tail = csock_row(s);
	l->unread++;
	csock_notify(l, EPOLLIN);
}

static void on_error(struct csock *s, const struct chan_cqe *e)
{
	if (s == NULL || e->res >= 0 || e->res < -4095) {
		bad_event(s);
		return;
	}
	if (s->state == CSOCK_CLOSED)
		return;
	if (unlikely(e->flags & CHAN_CQ_QUEUED) && s->state != CSOCK_LISTEN) {
		errqueue_error(s, e);
		return;
	}
	if (e->flags & CHAN_CQ_FATAL) {
		if (s->flags & CSOCK_LINKED)
			link_catch_up(s);
		csock_broken(s, e->res);
		return;
	}
	s->err = e->res;
	csock_notify(s, EPOLLERR);
}

static void on_urgent(struct csock *s, const struct chan_cqe *e)
{
	if (s == NULL || s->type != SOCK_STREAM || e->aux > INT32_MAX - s->unread) {
		bad_event(s);
		return;
	}
	s->urg_ahead = s->unread + e->aux;
	s->flags = (s->flags | CSOCK_URG) & ~(uint32_t)CSOCK_URG_READ;
	csock_notify(s, EPOLLPRI);
}

static void on_writable(struct csock *s, const struct chan_cqe *e)
{
	if (s == NULL) {
		bad_event(NULL);
		return;
	}
	if (unlikely(s->flags & CSOCK_LINK)) {
		link_limit(s, e->aux); /* of a way that it does not go */
		return;
	}
	s->limit = e->aux;
	if (csock_room(s))
		csock_notify(s, EPOLLOUT);
}

/* What was joined may have something waiting, which is said with the answer that names it, to whom
 * has not read that yet. */
static void early(struct core *c, const struct chan_cqe *e)
{
	if (e->ev == CHAN_EV_READABLE)
		c->early = e->sid;
	if (!client.remaking)
		bad_event(NULL);
}

void csock_greet(struct csock *s)
{
	struct core *c = csock_core(s);

	if (s->sid != 0 && c->early == s->sid)
		s->flags |= CSOCK_HINT;
	c->early = 0;
}

/* Of a socket that the service forgot an instant ago there may be nothing left to hear: CLOSE's
 * result is the last event of a sid. */
void core_event(struct core *c, const struct chan_cqe *e)
{
	struct csock *s;

	switch (e->ev) {
	case CHAN_EV_DATA:
		on_data(c, e);
		return;
	case CHAN_EV_DGRAM:
		on_dgram(c, e);
		return;
	case CHAN_EV_RESULT:
		cmd_result(c, e);
		return;
	case CHAN_EV_ACCEPT:
		on_accept(c, e);
		return;
	}
	s = csock_find(c, e->sid);
	switch (e->ev) {
	case CHAN_EV_FIN:
		if (s != NULL && csock_connects(s))
			end_of_stream(s);
		else
			bad_event(s);
		return;
	case CHAN_EV_ERROR:
		on_error(s, e);
		return;
	case CHAN_EV_QUOTE:
		if (s != NULL && s->state == CSOCK_CLOSED)
			return;
		if (s == NULL || s->state == CSOCK_LISTEN || !errqueue_quote(s, e))
			bad_event(s);
		return;
	case CHAN_EV_WRITABLE:
		on_writable(s, e);
		return;
	case CHAN_EV_URG:
		on_urgent(s, e);
		return;
	case CHAN_EV_READABLE:
	case CHAN_EV_SOLE:
		if (s != NULL)
			shared_event(s, e);
		else
			early(c, e);
		return;
	case CHAN_EV_LEASE:
		if (s != NULL)
			shared_lease(s, e);
		else
			bad_event(s);
		return;
	case CHAN_EV_LINK_OFFER:
	case CHAN_EV_LINK_TX:
	case CHAN_EV_LINK_RX:
		link_event(c, s, e);
		return;
	default:
		bad_event(s);
	}
}

/* The socket of an event further on: with many of them none is in the cache. Whatever stands in the
 * ring there, only memory of our own is fetched. */
static inline void prefetch_sock(struct core *c)
{
	const struct chan_ring *cq = &c->end.cq;
	const struct chan_cqe *e = chan_slot(cq, cq->own + AHEAD, sizeof(*e));

	__builtin_prefetch(&c->sock[sid_index(e->sid)]);
}

static unsigned drain_events(struct core *c)
{
	struct chan_ring *cq = &c->end.cq;
	unsigned total = 0, n;
	struct chan_cqe e;

	/* Never more than a ring's length at a time, however fast the other side produces. */
	do {
		for (n = 0; n < BATCH && chan_peek(cq, &e); n++) {
			prefetch_sock(c);
			chan_take(cq);
			core_event(c, &e);
		}
		/* The stack may have gone to sleep with events that found no room. */
		if (n != 0 && chan_pop(cq))
			core_kick(c);
		total += n;
	} while (n == BATCH && total <= cq->mask);
	client.stats.events += total;
	return total;
}

static unsigned drain_done(struct core *c)
{
	struct chan_ring *done = &c->end.done;
	unsigned n = 0;
	uint32_t token;

	for (; n <= done->mask && chan_look(done, &token, sizeof(token)); n++) {
		chan_take(done);
		token_done(c, token);
	}
	if (n == 0)
		return 0;
	/* Nobody waits for room there. */
	(void)chan_pop(done);
	core_tokens_came(c);
	return n;
}

unsigned core_drain(struct core *c)
{
	unsigned n = drain_done(c) + drain_events(c);

	if (unlikely(c->to_close != NIL))
		cmd_flush_closes(c);
	return n;
}
