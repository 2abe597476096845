/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Listeners. Z-Stack's socket listens beside the program's own, which is bound in the kernel where
 * it asked for (both), or at a port of loopback that nobody knows (Z-Stack's alone). What Z-Stack's
 * accepts is *offered*: connected over loopback to the program's socket, which becomes ready as
 * ever. The program's accept() is made here, since it returns the name of the peer: what comes from
 * an end that was offered has the name of Z-Stack's connection, and is carried from then on; what
 * else comes is the kernel's, where the socket is both, and a stranger otherwise.
 *
 * An accept() that waits is answered when the program's socket is ready. If the call is gone by
 * then, by a signal, what was accepted is kept for the next one; a *token*, a connection that is
 * nothing else, makes the socket ready for it.
 *
 * No more are offered than the program's backlog; the others wait in Z-Stack's queue.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BURST 64

/* ---- offering ---- */

static void pause_it(struct sup *l)
{
	l->paused = true;
	watch_zs(l, 0);
}

static void go_on(struct sup *l)
{
	if (l->gone || !l->paused || l->offered >= l->backlog)
		return;
	l->paused = false;
	watch_zs(l, EPOLLIN);
}

void offered_done(struct sup *s)
{
	struct sup *l = s->listener;

	s->listener = NULL;
	if (l == NULL)
		return;
	l->offered--;
	go_on(l);
}

/* s->end towards the listener. */
static int offer(struct sup *s, struct sup *l)
{
	bool v6 = l->at.any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&l->at.v6.sin6_addr);
	union name own = {0};
	socklen_t len = sizeof(own);

	s->end = kernel_socket(l->at.any.sa_family);
	if (s->end < 0)
		return -ENOBUFS;
	if (connect(s->end, &l->at.any, l->at_len) < 0 && errno != EINPROGRESS)
		return -errno;
	if (getsockname(s->end, &own.any, &len) < 0)
		return -errno;
	s->listener = l;
	l->offered++;
	sup_expect(s, v6, own.v4.sin_port, l->at.v4.sin_port);
	watch_end(s, EPOLLIN | EPOLLET);
	return 0;
}

static void offer_new(struct sup *l, int zs)
{
	struct sup *s = sup_new(SUP_OFFERED, l->domain);

	if (s == NULL) {
		close(zs);
		return;
	}
	s->zs = zs;
	if (!sup_local(s) || !sup_peer(s) || offer(s, l) < 0) {
		reset_on_close(zs);
		sup_drop(s);
	}
}

void listener_event(struct sup *l)
{
	for (int i = 0; i < BURST; i++) {
		int zs;

		if (l->offered >= l->backlog) {
			pause_it(l);
			return;
		}
		zs = accept4(l->zs, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		/* Without room for one more: they wait until the next look. */
		if (zs < 0 && errno != EAGAIN && errno != ECONNABORTED)
			pause_it(l);
		if (zs < 0)
			return;
		offer_new(l, zs);
	}
}

/* The program does not listen any more, or did not take it. */
void offered_event(struct sup *s, uint32_t events)
{
	struct sup *l = s->listener;
	int error = 0;
	socklen_t len = sizeof(error);

	/* Without a listener it is kept: who gets it sees for itself. */
	if (l == NULL || !(events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
		return;
	(void)getsockopt(s->end, SOL_SOCKET, SO_ERROR, &error, &len);
	offered_done(s);
	if (s->zs >= 0)
		reset_on_close(s->zs);
	sup_drop(s);
	if (!l->gone && !listener_there(l))
		listener_drop(l);
}

/* ---- is the program's socket still there? ---- */

static int diag_ask(int fd, const struct sup *l)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {{sizeof(q), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0},
	       {.sdiag_family = (uint8_t)l->domain,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = ~0u,
		.id = {.idiag_sport = l->at.v4.sin_port,
		       .idiag_cookie = {(uint32_t)l->cookie, (uint32_t)(l->cookie >> 32)}}}};

	if (l->at.any.sa_family == AF_INET)
		memcpy(q.r.id.idiag_src, &l->at.v4.sin_addr, sizeof(l->at.v4.sin_addr));
	else
		memcpy(q.r.id.idiag_src, &l->at.v6.sin6_addr, sizeof(l->at.v6.sin6_addr));
	return send(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q) ? 0 : -errno;
}

/* 0: it is there; -ENOENT; else it can't be told. */
static int diag_look(const struct sup *l)
{
	static int fd = -1;
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char room[1024];
	} a;
	ssize_t n;

	if (fd < 0)
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0 || diag_ask(fd, l) < 0)
		return -EIO;
	n = recv(fd, &a, sizeof(a), 0);
	if (n < (ssize_t)sizeof(a.h))
		return -EIO;
	return a.h.nlmsg_type == NLMSG_ERROR ? a.e.error : 0;
}

bool listener_there(const struct sup *l)
{
	return diag_look(l) != -ENOENT;
}

void listener_drop(struct sup *l)
{
	while (l->waiters != NULL) {
		struct waiter *w = l->waiters;

		l->waiters = w->next;
		(void)notice_reply(w->n.id, -EINVAL);
		free(w);
	}
	while (l->kept != NULL) {
		struct kept *k = l->kept;

		l->kept = k->next;
		if (k->of != NULL)
			carry_end(k->of, true);
		close(k->fd);
		free(k);
	}
	sup_drop(l);
}

/* ---- accepting ---- */

/* The call is gone: for the next one, and the socket is made ready for that. */
static void keep(struct sup *l, struct kept *k)
{
	struct kept *to = malloc(sizeof(*to));
	struct sup *token = to != NULL ? sup_new(SUP_OFFERED, l->domain) : NULL;

	if (token == NULL || offer(token, l) < 0) {
		if (token != NULL)
			sup_drop(token);
		if (k->of != NULL)
			carry_end(k->of, true);
		close(k->fd);
		free(to);
		return;
	}
	token->token = true;
	*to = *k;
	to->next = l->kept;
	l->kept = to;
}

static bool kept_take(struct sup *l, struct kept *k)
{
	struct kept *first = l->kept;

	if (first == NULL)
		return false;
	*k = *first;
	l->kept = first->next;
	free(first);
	return true;
}

/* What the program's socket has accepted. False: nothing for the program. */
static bool known(struct sup *l, struct kept *k)
{
	struct sup *s = sup_expected(&k->from, l->at.v4.sin_port);

	if (s == NULL || s->state != SUP_OFFERED)
		return l->both;
	offered_done(s);
	sup_unexpect(s);
	if (s->token) {
		sup_drop(s);
		close(k->fd);
		return kept_take(l, k);
	}
	k->of = s;
	k->from = s->peer;
	k->len = s->peer_len;
	return true;
}

/* -EAGAIN: there is none. */
static int take(struct sup *l, int sock, bool nonblock, struct kept *k)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};

	for (;;) {
		if (poll(&p, 1, 0) <= 0)
			return -EAGAIN;
		*k = (struct kept){.len = sizeof(k->from)};
		k->fd = accept4(sock, &k->from.any, &k->len,
				SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0));
		if (k->fd < 0)
			return -errno;
		if (known(l, k))
			return 0;
		close(k->fd);
	}
}

/* The program has it: its cookie names the connection from here on. */
static void delivered(struct sup *s, int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0) {
		carry_end(s, true);
		return;
	}
	sup_insert(s, cookie);
	carry_begin(s);
}

/* The name is there before the call returns, and the connection is known before the program can ask
 * for it. */
static void give(struct sup *l, const struct notice *n, int flags, struct kept *k)
{
	int r = program_name(n->tid, n->arg[1], n->arg[2], &k->from, k->len);

	if (r < 0 && notice_valid(n->id)) {
		(void)notice_reply(n->id, r);
		if (k->of != NULL)
			carry_end(k->of, true);
		close(k->fd);
		return;
	}
	if (r == 0)
		r = notice_reply_fd(n->id, k->fd, (flags & SOCK_CLOEXEC) != 0);
	if (r >= 0) {
		if (k->of != NULL)
			delivered(k->of, k->fd);
		close(k->fd);
		return;
	}
	keep(l, k);
	if (r == -EMFILE || r == -ENFILE)
		(void)notice_reply(n->id, r);
}

/* True: the call was answered, or is gone. */
static bool try(struct sup *l, const struct notice *n, int sock, int flags)
{
	struct kept k;
	int r = take(l, sock, (flags & SOCK_NONBLOCK) != 0, &k);

	if (r == -EAGAIN)
		return false;
	if (r < 0)
		(void)notice_reply(n->id, r);
	else
		give(l, n, flags, &k);
	return true;
}

/* ---- waiting ---- */

static int64_t deadline(int sock)
{
	struct timeval t = {0};
	socklen_t len = sizeof(t);

	if (getsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, &len) < 0 ||
	    (t.tv_sec == 0 && t.tv_usec == 0))
		return INT64_MAX;
	return mono_ns() + t.tv_sec * 1000000000ll + t.tv_usec * 1000;
}

static void wait_for(struct sup *l, struct notice *n)
{
	struct waiter *w = malloc(sizeof(*w)), **end = &l->waiters;

	if (w == NULL) {
		(void)notice_reply(n->id, -ENOMEM);
		return;
	}
	*w = (struct waiter){.n = *n, .until_ns = deadline(n->sock)};
	w->n.sock = -1;
	while (*end != NULL)
		end = &(*end)->next;
	*end = w;
	if (l->program >= 0)
		return;
	l->program = n->sock;
	n->sock = -1;
	watch_program(l, true);
}

static int flags_of(const struct notice *n);

/* Those that wait no more leave; without any the program's socket is its alone. */
static void waiters_look(struct sup *l)
{
	struct waiter **p = &l->waiters;

	while (*p != NULL) {
		struct waiter *w = *p;
		bool late = mono_ns() >= w->until_ns;

		if (late)
			(void)notice_reply(w->n.id, -EAGAIN);
		if (!late && notice_valid(w->n.id)) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
	if (l->waiters != NULL || l->program < 0)
		return;
	watch_program(l, false);
	close(l->program);
	l->program = -1;
}

void waiters_event(struct sup *l)
{
	struct waiter *w;

	waiters_look(l);
	while ((w = l->waiters) != NULL && try(l, &w->n, l->program, flags_of(&w->n))) {
		l->waiters = w->next;
		free(w);
	}
	waiters_look(l);
}

void listeners_look(struct sup *l)
{
	if (l->state != SUP_LISTENS)
		return;
	waiters_look(l);
	go_on(l);
	if (l->program < 0 && !listener_there(l))
		listener_drop(l);
}

/* ---- the call ---- */

static int flags_of(const struct notice *n)
{
	return n->nr == SYS_accept4 ? (int)n->arg[3] : 0;
}

void call_accept(struct notice *n)
{
	int flags = flags_of(n);
	struct sup *l = notice_socket(n, NULL) >= 0 ? sup_find(n->cookie) : NULL;

	if (l == NULL || l->state != SUP_LISTENS ||
	    (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) {
		notice_continue(n->id);
		return;
	}
	if (l->waiters == NULL && try(l, n, n->sock, flags))
		return;
	if (n->flags_nonblock && l->waiters != NULL && try(l, n, n->sock, flags))
		return;
	if (n->flags_nonblock)
		(void)notice_reply(n->id, -EAGAIN);
	else
		wait_for(l, n);
}
