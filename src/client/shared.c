/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that several processes hold, as after fork. The service keeps what was received until
 * somebody asks; who asked in vain is told once when it is worth asking again (CSOCK_HINT), which
 * is what readiness means here. A read asks for as much as it will take, so that nothing is left
 * here that another process could have read. When the others have closed it, the socket is as any
 * other.
 *
 * A stream that we alone read comes by itself, as an unshared one does, while we have a lease of it
 * (sock/sock_lease.c): then what is read is taken first, by the lease's word in the channel. That
 * another process reads is found out by that, or by the event, whichever comes first.
 *
 * Where all wait with EPOLLEXCLUSIVE, or in accept(), the service is told that one of the processes
 * will do. It is not told anew when an accept() has its connection: who is busy with that has not
 * asked in vain, and is not told of others.
 */
#include "client/client_priv.h"

static int read_one(struct csock *s, size_t want, bool looks)
{
	struct chan_sqe cmd = {.op = CHAN_OP_READ,
			       .arg = {want < INT32_MAX ? (int32_t)want : INT32_MAX, looks}};
	struct chan_cqe e;
	int r;

	/* Before it is asked: the hint may come again right behind the answer. */
	s->flags &= ~(uint32_t)CSOCK_HINT;
	r = cmd_call(csock_core(s), s, &cmd, &e);
	if (r >= 0 && e.aux != 0)
		s->flags |= CSOCK_HINT;
	if (r == -ERESTART)
		return -EAGAIN; /* the service is gone, and with it the others */
	return r > 0 ? 1 : r;
}

/* Asked in vain, and told meanwhile that it is worth it again: nobody will be told so twice. */
static bool again(const struct csock *s, int r)
{
	return r == -EAGAIN && csock_shared(s) && csock_hint(s);
}

static int read_any(struct csock *s, size_t want, bool looks)
{
	struct group *g = s->group;
	int r = -EAGAIN;

	if (g == NULL)
		return read_one(s, want, looks);
	for (unsigned i = 0; i < g->n && r == -EAGAIN; i++)
		r = read_one(g->sock[i], want, looks);
	return r;
}

int shared_read(struct csock *s, size_t want, bool looks)
{
	int r;

	do {
		r = read_any(s, want, looks);
	} while (again(s, r));
	if (r == 0 && s->type == SOCK_STREAM) {
		s->shut |= SHUT_RD_BIT;
		csock_notify(s, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
	}
	return r;
}

static uint32_t counts(const struct csock *s, const struct loan *l)
{
	return s->type == SOCK_STREAM ? l->len - l->head : !l->more;
}

void shared_forget(struct csock *s)
{
	struct core *c = csock_core(s);
	uint32_t *at = &s->head, row;

	/* What waits at a listener are connections. */
	if (s->state == CSOCK_LISTEN)
		return;
	s->tail = NIL;
	while ((row = *at) != NIL) {
		struct loan *l = &c->loan[row];

		if (!l->copy) {
			s->tail = row;
			at = &l->next;
			continue;
		}
		*at = l->next;
		s->unread -= counts(s, l);
		loan_put(c, row);
	}
}

static int accept_one(struct csock *l)
{
	struct chan_sqe cmd = {.op = CHAN_OP_ACCEPT};
	struct chan_cqe e;
	int r;

	l->flags &= ~(uint32_t)CSOCK_HINT;
	r = cmd_call(csock_core(l), l, &cmd, &e);
	if (r == 0 && e.aux != 0) {
		l->flags |= CSOCK_HINT;
		/* For another thread: this one may be busy with what it got. */
		if (l->flags & CSOCK_EXCLUSIVE)
			csock_notify(l, EPOLLIN);
	}
	return r == -ERESTART ? -EAGAIN : r;
}

static int accept_any(struct csock *l)
{
	struct group *g = l->group;
	int r = -EAGAIN;

	if (g == NULL)
		return accept_one(l);
	for (unsigned i = 0; i < g->n && r == -EAGAIN; i++)
		r = accept_one(g->sock[i]);
	return r;
}

int shared_accept(struct csock *l)
{
	int r;

	do {
		r = accept_any(l);
	} while (again(l, r));
	return r;
}

void shared_flush(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_NOP};
	struct chan_cqe e;

	(void)!cmd_call(csock_core(s), NULL, &cmd, &e);
}

void shared_event(struct csock *s, const struct chan_cqe *e)
{
	if (s->state == CSOCK_CLOSED)
		return;
	if (e->ev == CHAN_EV_SOLE) {
		s->flags &= ~(uint32_t)(CSOCK_SHARED | CSOCK_HINT | CSOCK_EXCLUSIVE);
		/* It is told itself, behind this. */
		shared_forget(s);
	} else {
		s->flags |= CSOCK_HINT;
	}
	csock_notify(s, EPOLLIN);
}

/* ---- leases ---- */

static _Atomic uint64_t *word(const struct csock *s)
{
	return &csock_core(s)->end.sh->lease[chan_lease_number(s->lease)];
}

/* Cuts the queue off behind what is ours: the first row of the lease, or NIL. */
static uint32_t queue_cut(struct csock *s)
{
	struct core *c = csock_core(s);
	uint32_t row = s->head, last = NIL, keep = s->owned;

	while (keep > 0 && row != NIL) {
		uint32_t len = c->loan[row].len - c->loan[row].head;

		keep -= len < keep ? len : keep;
		last = row;
		row = c->loan[row].next;
	}
	if (last == NIL)
		s->head = NIL;
	else
		c->loan[last].next = NIL;
	s->tail = last;
	s->unread = s->owned;
	return row;
}

void shared_give_up(struct csock *s)
{
	struct core *c = csock_core(s);
	uint32_t row = queue_cut(s);

	while (row != NIL) {
		uint32_t next = c->loan[row].next;

		loan_put(c, row);
		row = next;
	}
	/* The end of the stream comes behind that, for whoever reads it. */
	s->shut &= (uint8_t)~SHUT_RD_BIT;
	s->lease = LEASE_OVER;
}

bool shared_holds(struct csock *s)
{
	if (!csock_leased(s) || atomic_load(word(s)) == s->lease)
		return true;
	shared_give_up(s);
	return s->unread > 0;
}

uint32_t shared_take(struct csock *s, uint32_t n)
{
	uint64_t was = s->lease;

	if (s->owned > 0) {
		n = n < s->owned ? n : s->owned;
		s->owned -= n;
		return n;
	}
	if (!csock_leased(s))
		return was == 0 ? n : 0;
	if (atomic_compare_exchange_strong(word(s), &was, was + n)) {
		s->lease += n;
		return n;
	}
	shared_give_up(s);
	return 0;
}

/* The service takes the buffers back: nobody gives them. */
static void queue_forget(struct csock *s)
{
	struct core *c = csock_core(s);

	for (uint32_t row = queue_cut(s); row != NIL; row = c->loan[row].next)
		c->loan[row].name = LOAN_NONE;
}

void shared_leave(struct csock *s)
{
	uint64_t was = s->lease;

	if (!csock_leased(s))
		return;
	if (!atomic_compare_exchange_strong(word(s), &was, was | CHAN_LEASE_LEFT)) {
		shared_give_up(s);
		return;
	}
	queue_forget(s);
	s->lease = LEASE_LEFT;
}

bool shared_late(struct csock *s, uint32_t row)
{
	struct core *c = csock_core(s);

	if (csock_leased(s))
		return false;
	if (s->lease == LEASE_LEFT)
		c->loan[row].name = LOAN_NONE;
	else
		loan_put(c, row);
	return true;
}

static void lease_begins(struct csock *s, uint64_t name)
{
	s->lease = name;
	s->owned = s->unread;
	s->flags &= ~(uint32_t)(CSOCK_URG | CSOCK_URG_READ);
}

static void lease_ends(struct csock *s, bool more)
{
	if (csock_leased(s))
		shared_give_up(s);
	s->lease = 0;
	s->owned = 0;
	if (!more)
		return;
	s->flags |= CSOCK_HINT;
	csock_notify(s, EPOLLIN);
}

void shared_lease(struct csock *s, const struct chan_cqe *e)
{
	bool begins = e->off != 0;

	if (s->state == CSOCK_CLOSED)
		return;
	if (s->type != SOCK_STREAM || s->group != NULL || begins != (s->lease == 0) ||
	    (begins && e->off <= LEASE_LEFT)) {
		client.stats.bad_events++;
		csock_broken(s, -EPROTO);
	} else if (begins) {
		lease_begins(s, e->off);
	} else {
		lease_ends(s, e->aux != 0);
	}
}

/* ---- EPOLLEXCLUSIVE, and accept() that waits ---- */

/* Does somebody here wait for it, and nobody in another way? Who sleeps in accept() asks as soon as
 * it is woken, as who waits in a set does. */
static bool one_will_do(const struct csock *s)
{
	const struct epitem *i = s->items;
	const struct wlink *l = s->waiters;

	while (i != NULL && (i->events & EPOLLEXCLUSIVE))
		i = i->next;
	while (l != NULL && l->exclusive)
		l = l->next;
	return i == NULL && l == NULL && (s->items != NULL || s->waiters != NULL);
}

void shared_exclusive(struct csock *s)
{
	bool is;

	if (s->group != NULL)
		s = s->group->sock[0];
	is = one_will_do(s);
	for (unsigned i = 0; i < csock_members(s); i++) {
		struct csock *m = csock_member(s, i);
		struct core *c = csock_core(m);
		struct chan_sqe *q;

		if (!(m->flags & CSOCK_SHARED) || is == ((m->flags & CSOCK_EXCLUSIVE) != 0))
			continue;
		if (m->sid == 0 || chan_free(&c->end.sq, 1) == 0)
			continue; /* the next time */
		m->flags ^= CSOCK_EXCLUSIVE;
		q = cmd_next(c);
		cmd_of(q, m, TOKEN_NOBODY);
		q->arg[0] = is;
		cmd_push(c, CHAN_OP_EXCLUSIVE);
	}
}

void shared_exclusive_left(struct csock *s)
{
	uint32_t serial = s->serial;

	if (likely((s->flags & CSOCK_EXCLUSIVE) == 0))
		return;
	/* It must be said: another process may sleep over what this one was told. */
	for (unsigned i = 0; i < csock_members(s); i++) {
		struct chan_sqe *q = cmd_slot(csock_core(csock_member(s, i)));

		if (q == NULL || s->serial != serial)
			return;
	}
	shared_exclusive(s);
}
