/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Commands: copied out of shared memory once, checked, executed in the order of their tickets
 * (DESIGN §3.10). A command that makes no sense is counted and answered with an error, whatever it
 * is (H32).
 *
 * No command is taken while the event ring has no room for what it may answer: that is the credit
 * of results, and the application's own loss if it does not read them (H34).
 */
#include <stdlib.h>

#include "sock/sock_share.h"

typedef int (*cmd_fn)(struct sock_cmd *c);

static int cmd_nop(struct sock_cmd *c)
{
	return 0;
}

static const cmd_fn cmds[CHAN_OP_MAX] = {
	[CHAN_OP_NOP] = cmd_nop,
	[CHAN_OP_SOCKET] = cmd_socket,
	[CHAN_OP_BIND] = cmd_bind,
	[CHAN_OP_LISTEN] = cmd_listen,
	[CHAN_OP_CONNECT] = cmd_connect,
	[CHAN_OP_SEND] = cmd_send,
	[CHAN_OP_SEND_LOAN] = cmd_send,
	[CHAN_OP_SENDTO] = cmd_send,
	[CHAN_OP_SHUTDOWN] = cmd_shutdown,
	[CHAN_OP_CLOSE] = cmd_close,
	[CHAN_OP_SETOPT] = cmd_setopt,
	[CHAN_OP_GETOPT] = cmd_getopt,
	[CHAN_OP_NAME] = cmd_name,
	[CHAN_OP_RCVBUF_MORE] = cmd_accepted,
	[CHAN_OP_DUMP] = cmd_dump,
	[CHAN_OP_SHARE] = cmd_share,
	[CHAN_OP_UNREAD] = cmd_unread,
	[CHAN_OP_READ] = cmd_read,
	[CHAN_OP_ACCEPT] = cmd_accept,
	[CHAN_OP_ADDRS] = cmd_addrs,
	[CHAN_OP_UNACCEPT] = cmd_unaccept,
	[CHAN_OP_LINK_TAKE] = cmd_link_take,
	[CHAN_OP_LINK_SWITCH] = cmd_link_switch,
	[CHAN_OP_LISTENS] = cmd_listens,
	[CHAN_OP_EXCLUSIVE] = cmd_exclusive,
	[CHAN_OP_REVIVE] = cmd_revive,
	[CHAN_OP_JOIN] = cmd_join,
	[CHAN_OP_OFFER] = cmd_offer,
	[CHAN_OP_SOURCE] = cmd_source,
	[CHAN_OP_FILTER] = cmd_filter,
	[CHAN_OP_KEEP] = cmd_keep,
	[CHAN_OP_KEPT] = cmd_kept,
	[CHAN_OP_REDEEM] = cmd_redeem,
};

static bool op_is_send(unsigned op)
{
	return op == CHAN_OP_SEND || op == CHAN_OP_SEND_LOAN || op == CHAN_OP_SENDTO;
}

static bool op_has_sock(unsigned op)
{
	return op != CHAN_OP_NOP && op != CHAN_OP_SOCKET && op != CHAN_OP_DUMP &&
	       op != CHAN_OP_ADDRS && op != CHAN_OP_LISTENS && op != CHAN_OP_JOIN &&
	       op != CHAN_OP_REDEEM;
}

/* Closed, as far as its application knows. */
static bool is_over(const struct sock *k)
{
	return k->kind == SOCK_LINGER ||
	       (unlikely(k->flags & SOCKF_PARKED) && list_linked(&k->lingering));
}

static void result(struct sock_cmd *c, int res)
{
	struct chan_cqe *e = app_event(c->app);

	c->out.ev = CHAN_EV_RESULT;
	c->out.res = res;
	c->out.loan = c->q->token;
	*e = c->out;
}

/* Not executed: the sockets are as they were. */
static slow_path int refuse(struct sock_app *a, const struct chan_sqe *q, int err)
{
	struct sock_cmd c = {.s = a->s, .app = a, .q = q, .out.sid = q->sid};

	a->s->n.bad_commands++;
	if (op_is_send(q->op))
		send_refuse(a, q->token);
	else if (q->op != CHAN_OP_RCVBUF_MORE && q->op != CHAN_OP_KEPT)
		result(&c, err);
	return 0;
}

/* A command before its turn waits in a small table; only threads that race make any. */
static slow_path int hold(struct sock_app *a, struct sock *k, const struct chan_sqe *q)
{
	struct sock_held *slot = NULL;

	if (q->ticket - k->ticket > CHAN_TICKETS_AHEAD || a->n_held == SOCK_HELD_MAX)
		return refuse(a, q, -EPROTO);
	if (a->held == NULL)
		a->held = calloc(SOCK_HELD_MAX, sizeof(*a->held));
	if (a->held == NULL)
		return refuse(a, q, -ENOMEM);
	for (unsigned i = 0; i < SOCK_HELD_MAX; i++) {
		struct sock_held *h = &a->held[i];

		if (!h->used)
			slot = h;
		else if (h->q.sid == q->sid && h->q.ticket == q->ticket)
			return refuse(a, q, -EPROTO);
	}
	slot->q = *q;
	slot->used = true;
	a->n_held++;
	return 0;
}

static int run(struct sock_app *a, const struct chan_sqe *q, struct sock *k)
{
	struct sock_cmd c = {.s = a->s, .app = a, .k = k, .q = q, .out.sid = q->sid};
	int res = cmds[q->op](&c);

	if (res == SOCK_STALL) {
		a->stalled = true;
		if (k != NULL)
			k->ticket--;
		return res;
	}
	/* CLOSE may have left nothing to compare. */
	if (unlikely(k != NULL && q->op != CHAN_OP_CLOSE && k->share != NULL))
		share_sync(k);
	if (res != SOCK_LATER)
		result(&c, res);
	return 0;
}

/* 0, or SOCK_STALL: nothing was done, try again later. */
static int execute(struct sock_app *a, const struct chan_sqe *q)
{
	struct sock *k = NULL;

	if (unlikely(q->op >= CHAN_OP_MAX))
		return refuse(a, q, -ENOSYS);
	if (likely(op_has_sock(q->op))) {
		k = sock_find(a, q->sid);
		if (unlikely(k == NULL || is_over(k)))
			return refuse(a, q, -EBADF);
		if (unlikely(q->ticket != k->ticket))
			return hold(a, k, q);
		/* Before the handler: CLOSE leaves no socket to count. */
		k->ticket++;
	}
	return run(a, q, k);
}

/* Executes held commands whose turn has come. False: there was no room for their results. */
static slow_path bool run_held(struct sock_app *a)
{
	bool again = true;

	while (again && a->n_held != 0) {
		again = false;
		for (unsigned i = 0; i < SOCK_HELD_MAX && a->n_held != 0; i++) {
			struct sock_held *h = &a->held[i];
			struct sock *k = h->used ? sock_find(a, h->q.sid) : NULL;

			if (k == NULL || h->q.ticket != k->ticket)
				continue;
			if (!app_room(a, SOCK_CMD_ROOM))
				return false;
			/* Off the table first: CLOSE drops what is held of its socket. */
			h->used = false;
			a->n_held--;
			if (execute(a, &h->q) == SOCK_STALL) {
				h->used = true;
				a->n_held++;
				return false;
			}
			again = true;
		}
	}
	return true;
}

/* More sockets than these, with their connections, are not in the cache: the socket of a command is
 * fetched some commands before its turn, its connection when the socket is there. What stands in
 * the ring is the application's: it only chooses among memory of our own. */
#define FEW_SOCKS  1024u
#define SOCK_AHEAD 12u
#define CONN_AHEAD 6u

static inline struct sock *sock_ahead(const struct sock_app *a, uint32_t i)
{
	const struct chan_ring *r = &a->end.sq;
	const struct chan_sqe *q = chan_slot(r, r->own + i, sizeof(*q));

	return slab_at(&a->socks, sid_index(q->sid) % a->socks.used);
}

static void prefetch_ahead(const struct sock_app *a)
{
	const struct sock *k = sock_ahead(a, CONN_AHEAD);

	__builtin_prefetch(sock_ahead(a, SOCK_AHEAD));
	if (k->sid != 0 && k->kind == SOCK_CONN)
		tcp_prefetch(k->conn);
}

unsigned app_commands(struct sock_app *a, unsigned budget)
{
	struct chan_ring *r = &a->end.sq;
	struct chan_sqe q;
	unsigned done = 0;

	a->stalled = false;
	if (unlikely(a->n_held != 0) && !run_held(a))
		return 0;
	while (done < budget && chan_peek(r, &q) && likely(app_room(a, SOCK_CMD_ROOM))) {
		if (unlikely(a->socks.live > FEW_SOCKS))
			prefetch_ahead(a);
		if (unlikely(execute(a, &q) == SOCK_STALL))
			break;
		chan_take(r);
		done++;
		if (unlikely(a->n_held != 0) && !run_held(a))
			break;
	}
	if (done != 0) {
		a->popped |= chan_pop(r);
		a->s->n.commands += done;
		a->commands += done;
	}
	return done;
}

void cmd_drop_held(struct sock_app *a, uint32_t sid)
{
	for (unsigned i = 0; a->n_held != 0 && i < SOCK_HELD_MAX; i++) {
		struct sock_held *h = &a->held[i];

		if (!h->used || h->q.sid != sid)
			continue;
		h->used = false;
		a->n_held--;
		a->s->n.bad_commands++;
		if (op_is_send(h->q.op))
			send_refuse(a, h->q.token);
	}
}
