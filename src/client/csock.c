/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A socket's life and its readiness. What a state looks like from outside is in csock_mask(), one
 * function, as Linux reports it (tcp(7), udp(7), epoll(7)); tests compare it with the kernel.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"

/* A free row, when the index of a sid says no more which. */
static struct csock *row_take(void)
{
	uint32_t row = client.free_sock;

	if (row != NIL) {
		client.free_sock = client.sock[row].link;
		return &client.sock[row];
	}
	for (unsigned z = 0; z < client.n_zones; z++) {
		if (client.top[z] < client.zone_rows)
			return zone_open(z, client.top[z] + 1) < 0
				       ? NULL
				       : &client.sock[z * client.zone_rows + client.top[z]++];
	}
	return NULL;
}

/* Is there memory for what row_take() would return? */
static int row_room(void)
{
	if (client.free_sock != NIL)
		return 0;
	for (unsigned z = 0; z < client.n_zones; z++) {
		if (client.top[z] < client.zone_rows)
			return zone_open(z, client.top[z] + 1);
	}
	return 0;
}

void csock_refuse(struct core *c, uint32_t sid)
{
	struct chan_sqe cmd = {.sid = sid, .arg = {0}}, *q;

	if (client.lost || chan_free(&c->end.sq, 1) == 0)
		return;
	q = cmd_next(c);
	cmd_copy(q, &cmd);
	q->token = TOKEN_NOBODY;
	cmd_push(c, CHAN_OP_CLOSE);
}

int csock_place(struct core *c, uint32_t sid)
{
	uint32_t i = sid_index(sid);

	/* Whether it can be a name at all is found out later. */
	if (i >= c->max_socks || (c->row == NULL ? zone_open(c->id, i + 1) : row_room()) == 0)
		return 0;
	csock_refuse(c, sid);
	return -ENOBUFS;
}

struct csock *csock_name(struct core *c, uint32_t sid, struct csock *s)
{
	uint32_t i = sid_index(sid);

	if (sid == 0 || i >= c->max_socks)
		return NULL;
	if (likely(c->row == NULL)) {
		if (unlikely(zone_open(c->id, i + 1) < 0))
			return NULL;
		if (i >= client.top[c->id])
			client.top[c->id] = i + 1;
		return c->sock[i].state == CSOCK_FREE ? &c->sock[i] : NULL;
	}
	if (c->row[i] != 0)
		return NULL;
	if (s == NULL)
		s = row_take();
	if (s != NULL)
		c->row[i] = csock_row(s) + 1;
	return s;
}

static struct csock *row_fill(struct csock *s, struct core *c, uint32_t sid, int domain, int type)
{
	if (s == NULL)
		return NULL;
	/* Threads may still be about to leave their wait for the row's last socket, and that one
	 * may still stand on the list of the starved. */
	*s = (struct csock){
		.waiters = s->waiters,
		.serial = s->serial + 1,
		.flags = s->flags & CSOCK_STARVED,
		.starved_link = s->starved_link,
		.sid = sid,
		.head = NIL,
		.tail = NIL,
		.state = CSOCK_IDLE,
		.type = (uint8_t)type,
		.core = c->id,
		.fd = -1,
		.link = NIL,
		.cookie_head = NIL,
		.cookie_tail = NIL,
		.rcvlowat = 1,
		.domain = domain,
		.linger_s = -1,
	};
	return s;
}

struct csock *csock_open(struct core *c, uint32_t sid, int domain, int type, uint32_t limit)
{
	struct csock *s = row_fill(csock_name(c, sid, NULL), c, sid, domain, type);

	if (s != NULL)
		s->limit = limit;
	return s;
}

struct csock *csock_nameless(struct core *c, int domain, int type)
{
	return row_fill(row_take(), c, 0, domain, type);
}

void csock_free(struct csock *s)
{
	struct core *c = csock_core(s);

	if (unlikely(s->flags & CSOCK_LINKED))
		link_freed(s);
	if (s->state != CSOCK_LISTEN && s->state != CSOCK_CLOSED && s->state != CSOCK_FREE)
		errqueue_free(s);
	s->state = CSOCK_FREE;
	csock_opts_free(s);
	if (unlikely(c->row != NULL)) {
		if (s->sid != 0)
			c->row[sid_index(s->sid)] = 0;
		s->link = client.free_sock;
		client.free_sock = csock_row(s);
	}
	s->sid = 0;
}

/* Linux: writable when at least a third of the buffer is free; and there must be what a send needs
 * from all sockets' common means. Who asks in vain is told when it changes. */
static bool writable(struct csock *s)
{
	const struct core *c = csock_core(s);

	if (s->inflight >= s->limit || s->limit - s->inflight < s->inflight / 2) {
		csock_no_space(s);
		return false;
	}
	if (c->tokens_left != 0 && !c->arena_short && !(s->flags & CSOCK_NOBUF))
		return true;
	sock_starved(s);
	return false;
}

/* An urgent byte that stands at the read position, out of line, is not there to be read. */
static bool readable(const struct csock *s)
{
	uint32_t target = likely(!csock_records(s)) ? s->rcvlowat : 1;

	if ((s->flags & (CSOCK_URG | CSOCK_OOBINLINE)) == CSOCK_URG && s->urg_ahead == 0)
		target++;
	return s->unread >= target;
}

static uint32_t mask_stream(struct csock *s)
{
	uint32_t m = 0;

	if (s->shut == (SHUT_RD_BIT | SHUT_WR_BIT) || s->state == CSOCK_IDLE ||
	    s->state == CSOCK_BROKEN)
		m |= EPOLLHUP;
	if (s->shut & SHUT_RD_BIT)
		m |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (s->state == CSOCK_CONNECTING)
		return m;
	if (readable(s))
		m |= EPOLLIN | EPOLLRDNORM;
	if ((s->shut & SHUT_WR_BIT) || (csock_has_way(s) && writable(s)))
		m |= EPOLLOUT | EPOLLWRNORM;
	if ((s->flags & (CSOCK_URG | CSOCK_URG_READ)) == CSOCK_URG && s->unread > s->urg_ahead)
		m |= EPOLLPRI;
	return m;
}

static uint32_t mask_dgram(struct csock *s)
{
	uint32_t m = 0;

	if (csock_reader(s)->unread > 0)
		m |= EPOLLIN | EPOLLRDNORM;
	if (s->shut & SHUT_RD_BIT)
		m |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (s->shut == (SHUT_RD_BIT | SHUT_WR_BIT))
		m |= EPOLLHUP;
	if (writable(s))
		m |= EPOLLOUT | EPOLLWRNORM;
	return m;
}

bool csock_hint(const struct csock *s)
{
	const struct group *g = s->group;

	if (likely(g == NULL))
		return (s->flags & CSOCK_HINT) != 0;
	for (unsigned i = 0; i < g->n; i++)
		if (g->sock[i]->flags & CSOCK_HINT)
			return true;
	return false;
}

uint32_t csock_mask(struct csock *s)
{
	uint32_t m;

	if (likely(csock_plain(s)))
		return (s->unread > 0 ? EPOLLIN | EPOLLRDNORM : 0) |
		       (writable(s) ? EPOLLOUT | EPOLLWRNORM : 0);
	if (s->state == CSOCK_LISTEN)
		return csock_reader(s)->unread > 0 || csock_hint(s) ? EPOLLIN | EPOLLRDNORM : 0;
	m = csock_connects(s) ? mask_stream(s) : mask_dgram(s);
	if (csock_hint(s))
		m |= EPOLLIN | EPOLLRDNORM;
	if (s->err != 0 || (s->flags & CSOCK_ERRQUEUE))
		m |= EPOLLERR;
	if (s->cookie_head != NIL)
		m |= EPOLLWRBAND;
	return m;
}

void csock_notify(struct csock *s, uint32_t mask)
{
	if (unlikely(s->flags & CSOCK_GROUPED))
		s = s->group->sock[0];
	if (likely(s->items != NULL))
		epitem_notify(s->items, mask);
	if (s->waiters != NULL)
		wlink_wake(s->waiters);
}

struct csock *csock_reader(struct csock *s)
{
	struct group *g = s->group;

	if (likely(g == NULL))
		return s;
	for (unsigned i = 0; i < g->n; i++) {
		unsigned k = (g->turn + i) % g->n;

		if (g->sock[k]->unread > 0) {
			g->turn = k;
			return g->sock[k];
		}
	}
	return s;
}

int csock_take_error(struct csock *s)
{
	int err = s->err;

	s->err = 0;
	return err;
}

void csock_broken(struct csock *s, int err)
{
	s->err = err;
	if (csock_connects(s) && s->state != CSOCK_LISTEN) {
		s->flags &= ~(uint32_t)CSOCK_REFUSED;
		if (s->state == CSOCK_CONNECTING)
			s->flags |= CSOCK_REFUSED;
		s->state = CSOCK_BROKEN;
		s->shut = SHUT_RD_BIT | SHUT_WR_BIT;
	}
	csock_notify(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

/* Connections that the stack accepted and the program did not are reset, as the kernel does. */
void csock_drop_accepted(struct csock *l)
{
	while (l->head != NIL) {
		struct csock *s = &client.sock[l->head];

		l->head = s->link;
		s->link = NIL;
		s->linger_s = 0;
		csock_close(s);
	}
	l->tail = NIL;
	l->unread = 0;
}

void csock_drop_queue(struct csock *s)
{
	struct core *c = csock_core(s);

	while (s->head != NIL) {
		uint32_t row = s->head;

		s->head = c->loan[row].next;
		loan_put(c, row);
		s->flags |= CSOCK_UNREAD;
	}
	s->tail = NIL;
	s->unread = 0;
}

void csock_drop_cookies(struct csock *s)
{
	struct core *c = csock_core(s);

	while (s->cookie_head != NIL) {
		uint32_t row = s->cookie_head;

		s->cookie_head = c->cookie[row].next;
		c->cookie[row].next = c->cookie_free;
		c->cookie_free = row;
	}
	s->flags &= ~(uint32_t)CSOCK_COOKIES;
}

void csock_close(struct csock *s)
{
	if (unlikely(s->flags & CSOCK_LINKED))
		link_closed(s);
	if (unlikely(s->lease != 0))
		shared_leave(s);
	if (s->state == CSOCK_LISTEN)
		csock_drop_accepted(s);
	else {
		csock_drop_queue(s);
		errqueue_free(s);
	}
	csock_drop_cookies(s);
	epitem_forget(s);
	s->state = CSOCK_CLOSED;
	s->serial++;
	s->fd = -1;
	csock_opts_free(s);
	s->group = NULL;
	s->flags &= ~(uint32_t)CSOCK_GROUPED;
	if (s->waiters != NULL)
		wlink_wake(s->waiters);
	cmd_close(s);
}
