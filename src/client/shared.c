/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that several processes hold, as after fork. The service keeps what was received until
 * somebody asks; who asked in vain is told once when it is worth asking again (CSOCK_HINT), which
 * is what readiness means here. A read asks for as much as it will take, so that nothing is left
 * here that another process could have read. When the others have closed it, the socket is as any
 * other.
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

void shared_forget(struct csock *s)
{
	struct core *c = csock_core(s);

	while (s->head != NIL) {
		uint32_t row = s->head;

		s->head = c->loan[row].next;
		loan_put(c, row);
	}
	s->tail = NIL;
	s->unread = 0;
}

static int accept_one(struct csock *l)
{
	struct chan_sqe cmd = {.op = CHAN_OP_ACCEPT};
	struct chan_cqe e;
	int r;

	l->flags &= ~(uint32_t)CSOCK_HINT;
	r = cmd_call(csock_core(l), l, &cmd, &e);
	if (r == 0 && e.aux != 0)
		l->flags |= CSOCK_HINT;
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
	if (e->ev == CHAN_EV_SOLE)
		s->flags &= ~(uint32_t)(CSOCK_SHARED | CSOCK_HINT);
	else
		s->flags |= CSOCK_HINT;
	csock_notify(s, EPOLLIN);
}
