/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Another service has taken the place of one that is gone: the program's sockets are made again
 * there. Those that others can reach, or that send without asking, at once: what is bound, what
 * listens, UDP. The others when they are next asked for something: a connection that was reset may
 * never be.
 *
 * A socket that several processes held is made by the first of them that comes, and joined by the
 * others, by a key that its holders know since it had a second one. If there was no memory for a
 * key, each makes one of his own, and they share the port (SO_REUSEPORT). But one who only keeps it
 * for its children must not get connections there: he leaves it out until he asks for what comes.
 *
 * All this happens inside, within one holding of the lock, so nobody sees a socket half made. It
 * asks the stack and waits for each answer; a service takes microseconds for one.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/host.h"

#define LOOK_NS_MIN 20000
#define LOOK_NS_MAX 1000000

/* ---- waiting for the service ---- */

static int absent_wait(int64_t deadline)
{
	struct waiter w;
	struct wlink l = {.w = &w, .next = client.absent};
	int r;

	if (client.remaking)
		return -ENETDOWN;
	waiter_init(&w);
	client.absent = &l;
	r = client_wait(&w, deadline);
	wlink_remove(&client.absent, &l);
	return client.stopping ? -EBADF : r;
}

int client_attached(void)
{
	int r = 0;

	while (unlikely(client.lost) && r == 0)
		r = host_is_impatient() ? -ENETDOWN : absent_wait(FOREVER);
	return r;
}

void client_await(int64_t deadline)
{
	int r = 0;

	rejoin_look(now_ns(), true);
	while (rejoin_is_away() && r == 0)
		r = absent_wait(deadline);
}

int csock_ready(struct csock *s)
{
	uint32_t serial = s->serial;
	int r;

	for (;;) {
		r = client_attached();
		if (s->serial != serial)
			return -EBADF;
		if (r == 0 && s->sid == 0)
			r = csock_remake(s);
		if (r != -ERESTART)
			return r;
		service_miss();
	}
}

/* The service is gone, which is about to be found out: by the leader, who needs the lock, or here.
 */
void service_miss(void)
{
	client_turn();
	client_breathe();
	client_yield();
}

/* ---- commands ---- */

/* NULL: it is gone again. */
static struct chan_sqe *slot(struct core *c)
{
	struct timespec ts = {0, LOOK_NS_MIN};

	while (chan_free(&c->end.sq, 1) == 0) {
		if (service_is_deaf())
			return NULL;
		ppoll(NULL, 0, &ts, NULL);
	}
	return cmd_next(c);
}

/* As cmd_call(), but it looks for the answer itself: its caller may be the leader. */
int remake_call(struct core *c, struct csock *s, const struct chan_sqe *cmd, struct chan_cqe *e)
{
	struct timespec ts = {0, LOOK_NS_MIN};
	struct chan_sqe *q = slot(c);

	if (q == NULL)
		return -ERESTART;
	cmd_copy(q, cmd);
	q->token = TOKEN_REMAKE;
	if (s != NULL) {
		q->sid = s->sid;
		q->ticket = s->ticket++;
	}
	c->remade = false;
	cmd_push_first(c, chan_first(cmd->op, cmd->flags, cmd->port));
	while (core_drain(c), !c->remade) {
		if (service_is_deaf())
			return -ERESTART;
		ppoll(NULL, 0, &ts, NULL);
		if (ts.tv_nsec < LOOK_NS_MAX)
			ts.tv_nsec *= 2;
	}
	*e = c->remade_result;
	return e->res >= -4095 ? e->res : -EPROTO;
}

static int name_ask(struct csock *s, const struct chan_sqe *cmd)
{
	struct core *c = csock_core(s);
	struct chan_cqe e;
	int r = remake_call(c, NULL, cmd, &e);

	if (r < 0)
		return r;
	if (csock_name(c, e.sid, s) == NULL) {
		client.stats.bad_events++;
		return -EPROTO;
	}
	s->sid = e.sid;
	s->ticket = 0;
	csock_greet(s);
	if (csock_kept(s))
		link_limit(s, e.aux);
	else
		s->limit = e.aux;
	return 0;
}

static int name_take(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_SOCKET, .arg = {s->domain, s->type}};

	return name_ask(s, &cmd);
}

/* It is to be made once more. */
static int name_drop(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_CLOSE, .arg = {-1}};
	struct chan_cqe e;
	int r = remake_call(csock_core(s), s, &cmd, &e);

	csock_core(s)->row[sid_index(s->sid)] = 0;
	s->sid = s->ticket = 0;
	return r == -ERESTART ? r : 0;
}

uint64_t csock_key(const struct csock *s)
{
	return (s->flags & CSOCK_JOINT) && s->opts != NULL ? s->opts->key : 0;
}

/* Another process was first. -ENOENT: none. */
static int join(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_JOIN,
			       .port = s->local_port,
			       .off = csock_key(s),
			       .arg = {s->domain, s->type}};

	return cmd.off != 0 ? name_ask(s, &cmd) : -ENOENT;
}

static int options_again(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_SETOPT};
	struct chan_cqe e;
	int r = 0;

	for (unsigned i = 0; r >= 0 && s->opts != NULL && i < s->opts->n; i++) {
		option_command(&cmd, &s->opts->opt[i]);
		r = remake_call(csock_core(s), s, &cmd, &e);
		/* It was possible once: another version may have another opinion. */
		r = r == -ERESTART ? r : 0;
	}
	return r;
}

static int port_share(struct csock *s)
{
	struct chan_sqe cmd = {
		.op = CHAN_OP_SETOPT, .len = sizeof(int), .opt = {SOL_SOCKET, SO_REUSEPORT, {0}}};
	struct chan_cqe e;

	memcpy(cmd.opt.value, &(int){1}, sizeof(int));
	/* For members of its group, too. */
	option_keep(s, &cmd);
	return remake_call(csock_core(s), s, &cmd, &e);
}

static int bind_again(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_BIND,
			       .port = s->local_port,
			       .scope = s->bound_scope,
			       .off = csock_key(s)};
	struct chan_cqe e;
	int r = transport_may_bind(s->local, &cmd.port, s->type == SOCK_DGRAM, vouch_bind(s));

	memcpy(cmd.addr, s->local, sizeof(cmd.addr));
	if (r == 0 && (s->flags & CSOCK_JOINT))
		r = port_share(s);
	return r >= 0 ? remake_call(csock_core(s), s, &cmd, &e) : r;
}

static int listen_again(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_LISTEN, .arg = {(int32_t)s->backlog}};
	struct chan_cqe e;

	return remake_call(csock_core(s), s, &cmd, &e);
}

static int peer_again(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_CONNECT, .port = s->peer_port, .scope = s->peer_scope};
	struct chan_cqe e;

	memcpy(cmd.addr, s->peer, sizeof(cmd.addr));
	return remake_call(csock_core(s), s, &cmd, &e);
}

/* ---- a socket ---- */

/* Its core is one that this service has not. */
static void core_leave(struct csock *s)
{
	if (s->core < client.n_cores)
		return;
	if (s->state != CSOCK_LISTEN)
		csock_drop_queue(s);
	csock_drop_cookies(s);
	s->core = (uint8_t)(client.next_core++ % client.n_cores);
}

static int nodelay_again(struct csock *s)
{
	struct chan_sqe cmd = {
		.op = CHAN_OP_SETOPT, .len = sizeof(int), .opt = {IPPROTO_TCP, TCP_NODELAY, {0}}};
	struct chan_cqe e;

	memcpy(cmd.opt.value, &(int){1}, sizeof(int));
	return s->flags & CSOCK_NODELAY ? remake_call(csock_core(s), s, &cmd, &e) : 0;
}

/* A same-node stream that goes on: it is to be a connection again, which takes the other program;
 * link_revived() has the answer. */
static int stream_again(struct csock *s)
{
	struct chan_sqe claim, *q;
	int r = nodelay_again(s);

	if (r != -ERESTART && (s->flags & CSOCK_BOUND))
		r = bind_again(s);
	if (r == -ERESTART)
		return r;
	if (r < 0 || !link_claim(s, &claim)) {
		link_revived(s, r < 0 ? r : -ENOSYS);
		return 0;
	}
	q = slot(csock_core(s));
	if (q == NULL)
		return -ERESTART;
	memcpy(q->data, claim.data, sizeof(q->data));
	q->len = claim.len;
	q->off = claim.off;
	q->loan = claim.loan;
	cmd_of(q, s, TOKEN_REVIVE);
	cmd_push_first(csock_core(s), chan_first(CHAN_OP_REVIVE, 0, s->local_port));
	return 0;
}

/* What its state needs, in the order of the program's calls. */
static int state_again(struct csock *s, bool joined)
{
	int r = joined ? 0 : options_again(s);

	if (r < 0 || s->state == CSOCK_BROKEN)
		return r;
	if (csock_kept(s))
		return stream_again(s);
	if (!joined && (s->flags & CSOCK_BOUND))
		r = bind_again(s);
	if (r >= 0 && csock_key(s) != 0) {
		s->flags |= CSOCK_SHARED;
		shared_exclusive(s);
	}
	if (r >= 0 && s->state == CSOCK_LISTEN)
		r = listen_again(s);
	if (r >= 0 && s->state == CSOCK_CONNECTED)
		r = peer_again(s);
	return r < 0 ? r : 0;
}

int csock_remake(struct csock *s)
{
	int r;

	/* What it has in flight stays with its core. */
	if (csock_kept(s) && s->core >= client.n_cores)
		return -ENETDOWN;
	core_leave(s);
	do {
		bool joined = (r = join(s)) == 0;

		if (r == -ENOENT)
			r = name_take(s);
		if (r == 0)
			r = state_again(s, joined);
		/* Another process was first, just now. */
	} while (r == -EEXIST && name_drop(s) == 0);
	return r;
}

/* ---- groups ---- */

/* The first alone; the others come back with group_spread(). */
static void group_collapse(struct group *g)
{
	while (g->n > 1) {
		struct csock *s = g->sock[--g->n];

		csock_drop_queue(s);
		csock_drop_cookies(s);
		s->group = NULL;
		s->serial++;
		csock_free(s);
	}
	g->turn = 0;
}

static int group_again(struct csock *s)
{
	int r = 0;

	if (client.n_cores > 1 && s->group == NULL)
		r = group_new(s);
	if (r < 0 || s->group == NULL || (s->flags & CSOCK_BOUND) == 0 ||
	    (s->state == CSOCK_IDLE && csock_connects(s)))
		return r;
	r = group_spread(s);
	for (unsigned i = 1; r >= 0 && i < s->group->n; i++) {
		struct csock *m = s->group->sock[i];

		m->state = s->state;
		if (s->state == CSOCK_LISTEN)
			r = listen_again(m);
		else if (s->state == CSOCK_CONNECTED)
			r = peer_again(m);
	}
	return r < 0 ? r : 0;
}

/* ---- all ---- */

static bool at_once(const struct csock *s)
{
	if ((s->flags & CSOCK_JOINT) && csock_key(s) == 0 && s->items == NULL && s->waiters == NULL)
		return false;
	return s->state == CSOCK_LISTEN || (s->flags & CSOCK_BOUND) != 0 ||
	       s->type == SOCK_DGRAM || csock_kept(s);
}

static void told(struct csock *s, int r)
{
	if (r < 0) {
		fprintf(stderr,
			"libzstack: port %u is lost with the old service, the new one says: %s\n",
			s->local_port, strerror(-r));
		csock_broken(s, r);
	}
	csock_notify(s, csock_hint(s) ? EPOLLIN | EPOLLOUT : EPOLLOUT);
}

static int sock_make(struct csock *s)
{
	int r = csock_remake(s);

	if (csock_kept(s))
		return r == -ERESTART ? r : 0;
	if (r == 0)
		r = group_again(s);
	if (r == -ERESTART)
		return r;
	told(s, r);
	return 0;
}

static int sock_again(struct csock *s)
{
	if (s->sid != 0 || s->state == CSOCK_FREE || s->state == CSOCK_CLOSED ||
	    s->state == CSOCK_BROKEN || !at_once(s))
		return 0;
	return sock_make(s);
}

void csock_wanted_slow(struct csock *s)
{
	if (client.lost || client.remaking || (s->flags & CSOCK_JOINT) == 0 ||
	    s->state == CSOCK_BROKEN || s->state == CSOCK_CLOSED)
		return;
	client.remaking = true;
	(void)!sock_make(s); /* if the service is gone again, the next is asked */
	client.remaking = false;
}

/* Rows that were used when this began: those that come meanwhile are new. */
static int each_sock(int (*f)(struct csock *s))
{
	int r = 0;

	for (unsigned z = 0; z < client.n_zones; z++) {
		for (uint32_t i = 0, n = client.top[z]; r == 0 && i < n; i++)
			r = f(&client.sock[z * client.zone_rows + i]);
	}
	return r;
}

static int collapse(struct csock *s)
{
	if (s->state != CSOCK_FREE && s->group != NULL && s->group->sock[0] == s)
		group_collapse(s->group);
	return 0;
}

int client_remake(void)
{
	int r;

	client.lost = false;
	client.remaking = true;
	each_sock(collapse);
	r = each_sock(sock_again);
	client.remaking = false;
	if (client.absent != NULL)
		wlink_wake(client.absent);
	return r;
}
