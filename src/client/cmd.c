/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Commands. What a result is for is in the token that the service echoes: a caller that waits, a
 * connect, a close. Sends leave some room in sq to the others, so that a flood of them can't keep a
 * close out for long; a close that finds no room waits on a list of its core and is said later.
 */
#include <sched.h>
#include <string.h>

#include "client/client_priv.h"
#include "client/pass.h"

struct chan_sqe *cmd_slot(struct core *c)
{
	uint16_t epoch = client.epoch;

	while (!client.lost && client.epoch == epoch && chan_free(&c->end.sq, 1) == 0) {
		if (client_turn() == 0)
			client_yield();
		client_breathe();
	}
	return client.lost || client.epoch != epoch ? NULL : cmd_next(c);
}

static struct reply *reply_take(struct core *c, struct waiter *w, uint32_t *token)
{
	for (uint32_t i = 0; i < REPLIES; i++) {
		struct reply *r = &c->reply[i];

		if (r->w != NULL)
			continue;
		r->w = w;
		r->done = r->lost = r->redeems = false;
		r->s = NULL;
		r->gen = (r->gen + 1) & 0xffff;
		*token = TOKEN_REPLY | r->gen << 8 | i;
		return r;
	}
	return NULL;
}

/* A free row, in the end: each is held only as long as the stack takes to answer. */
static struct reply *reply_get(struct core *c, struct waiter *w, uint32_t *token)
{
	struct reply *r;

	while ((r = reply_take(c, w, token)) == NULL) {
		client_turn();
		client_breathe();
		client_yield();
	}
	return r;
}

int cmd_begin(struct cmd *k, struct core *c, struct csock *s, const struct chan_sqe *cmd)
{
	uint16_t epoch = client.epoch;
	struct chan_sqe *q;
	uint32_t token;

	waiter_init(&k->w);
	k->w.deaf = true;
	k->s = s;
	k->serial = s != NULL ? s->serial : 0;
	k->r = reply_get(c, &k->w, &token);
	q = cmd_slot(c);
	if (unlikely(q == NULL || client.epoch != epoch || (s != NULL && s->serial != k->serial))) {
		k->r->w = NULL;
		return s != NULL && s->serial != k->serial ? -EBADF : -ERESTART;
	}
	cmd_copy(q, cmd);
	q->token = token;
	if (s != NULL) {
		q->sid = s->sid;
		q->ticket = s->ticket++;
	}
	cmd_push_first(c, chan_first(cmd->op, cmd->flags, cmd->port));
	return 0;
}

int cmd_end(struct cmd *k, struct chan_cqe *e)
{
	struct reply *r = k->r;
	int err;

	/* The stack answers at once: no signal and no time-out is worth an unknown outcome. */
	do {
		err = client_wait(&k->w, FOREVER);
	} while (err == -EINTR);
	*e = r->e;
	r->w = NULL;
	if (err < 0)
		return err;
	if (unlikely(k->s != NULL && k->s->serial != k->serial))
		return -EBADF;
	if (unlikely(r->lost))
		return -ERESTART;
	return e->res >= -4095 ? e->res : -EPROTO;
}

/* -ERESTART: the service was lost before it answered. */
static int call_once(struct core *c, struct csock *s, const struct chan_sqe *cmd,
		     struct chan_cqe *e)
{
	struct cmd k;
	int r = cmd_begin(&k, c, s, cmd);

	return r < 0 ? r : cmd_end(&k, e);
}

/* Is the same to be asked of another service? */
static bool asked_again(uint8_t op)
{
	return op != CHAN_OP_BIND && op != CHAN_OP_READ && op != CHAN_OP_ACCEPT &&
	       op != CHAN_OP_SHARE && op != CHAN_OP_UNACCEPT && op != CHAN_OP_OFFER &&
	       op != CHAN_OP_KEEP;
}

int cmd_call(struct core *c, struct csock *s, const struct chan_sqe *cmd, struct chan_cqe *e)
{
	int r;

	if (unlikely(client.remaking))
		return remake_call(c, s, cmd, e);
	if (s == NULL)
		return client.lost ? -ERESTART : call_once(c, NULL, cmd, e);
	do {
		r = unlikely(s->sid == 0) ? csock_ready(s) : 0;
		if (r == 0)
			r = call_once(csock_core(s), s, cmd, e);
	} while (r == -ERESTART && asked_again(cmd->op));
	return r;
}

/* Who waits for the results of a service that is gone is told so. */
void replies_lose(struct core *c)
{
	for (struct reply *r = c->reply; r < c->reply + REPLIES; r++) {
		if (r->w == NULL || r->done)
			continue;
		r->done = r->lost = true;
		waiter_wake(r->w);
	}
}

int scratch_take(struct core *c)
{
	while (c->scratch_taken && !client.stopping && !client.lost) {
		client_turn();
		client_breathe();
		client_yield();
	}
	if (client.stopping || client.lost)
		return client.stopping ? -EBADF : -ENETDOWN;
	c->scratch_taken = true;
	return 0;
}

static void reply_done(struct core *c, const struct chan_cqe *e)
{
	struct reply *r = &c->reply[e->loan % REPLIES];
	uint32_t token = TOKEN_REPLY | r->gen << 8 | (uint32_t)(r - c->reply);

	if (r->w == NULL || r->done || token != e->loan) {
		client.stats.bad_events++;
		return;
	}
	r->e = *e;
	r->done = true;
	if (unlikely(r->redeems) && e->res >= 0)
		r->s = redeemed(c, e);
	waiter_wake(r->w);
}

static void connect_done(struct csock *s, const struct chan_cqe *e)
{
	if (s->state != CSOCK_CONNECTING) {
		client.stats.bad_events++;
		return;
	}
	if (e->res < 0) {
		csock_broken(s, e->res);
		return;
	}
	s->state = CSOCK_CONNECTED;
	memcpy(s->local, e->laddr, 16);
	s->local_port = e->lport;
	client.stats.connects++;
	csock_notify(s, EPOLLOUT);
}

static void close_done(struct csock *s)
{
	if (s->state != CSOCK_CLOSED || (s->flags & CSOCK_TOCLOSE)) {
		client.stats.bad_events++;
		return;
	}
	if (s->flags & CSOCK_LINGERS)
		wlink_wake(s->waiters);
	csock_free(s);
}

void cmd_result(struct core *c, const struct chan_cqe *e)
{
	struct csock *s;

	if ((e->loan & TOKEN_CLASS) == TOKEN_NOBODY)
		return;
	if (unlikely(e->loan == TOKEN_REMAKE)) {
		c->remade_result = *e;
		c->remade = true;
		return;
	}
	if ((e->loan & TOKEN_CLASS) == TOKEN_REPLY) {
		reply_done(c, e);
		return;
	}
	s = csock_find(c, e->sid);
	if (s == NULL)
		client.stats.bad_events++;
	else if (e->loan == TOKEN_REVIVE)
		link_revived(s, e->res);
	else if (e->loan == TOKEN_CLOSE)
		close_done(s);
	else if (e->loan != TOKEN_CONNECT)
		client.stats.bad_events++;
	else if (s->state != CSOCK_CLOSED)
		connect_done(s, e);
}

static void close_push(struct core *c, struct csock *s)
{
	struct chan_sqe *q = cmd_next(c);

	cmd_of(q, s, TOKEN_CLOSE);
	q->arg[0] = s->linger_s;
	q->arg[1] = (s->flags & CSOCK_UNREAD) != 0;
	cmd_push(c, CHAN_OP_CLOSE);
}

void cmd_close(struct csock *s)
{
	struct core *c = csock_core(s);

	/* The other end is told first; then this comes again. */
	if (unlikely(s->flags & CSOCK_LINKED) && !link_bye(s))
		return;
	if (unlikely(s->sid == 0)) {
		csock_free(s); /* no service knows of it */
		return;
	}
	if (c->to_close == NIL && chan_free(&c->end.sq, 1) != 0) {
		close_push(c, s);
		return;
	}
	s->flags |= CSOCK_TOCLOSE;
	s->link = c->to_close;
	c->to_close = csock_row(s);
}

void cmd_flush_closes(struct core *c)
{
	while (c->to_close != NIL && chan_free(&c->end.sq, 1) != 0) {
		struct csock *s = &client.sock[c->to_close];

		c->to_close = s->link;
		s->link = NIL;
		s->flags &= ~(uint32_t)CSOCK_TOCLOSE;
		close_push(c, s);
	}
}
