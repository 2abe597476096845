/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bytes of a connection, between Z-Stack's socket and the program's over loopback:
 *
 *	the connection's stream ends   the program reads an end
 *	it is reset, or breaks         the program's is reset
 *	the program ends its writing   FIN
 *	the program is gone            FIN, and what then comes is answered by a reset, as in Linux
 *	the program resets             reset
 *
 * Each side is told of by edges. What one side does not take is kept, at most one buffer of each
 * direction, and the other is not read until it is gone.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BUF_BYTES 131072u
#define TURNS	  8 /* buffers of one connection before others have their turn */
/* A program that has closed, and a peer that does not: the kernel forgets the program's side after
 * a minute, and answers by a reset then. */
#define HALF_IDLE_S 70

static char buf[BUF_BYTES];
static struct sup *list; /* that have more */

void reset_on_close(int fd)
{
	struct linger now = {1, 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void carry_end(struct sup *s, bool reset)
{
	if (reset) {
		reset_on_close(s->zs);
		reset_on_close(s->end);
	}
	sup_drop(s);
}

/* ---- one direction: 1 if there is more, 0, or -errno ---- */

static int write_left(struct way *w)
{
	ssize_t n = 0;

	while (w->n > 0) {
		n = send(w->to, w->left + w->at, w->n, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		w->at += (size_t)n;
		w->n -= (size_t)n;
	}
	free(w->left);
	w->left = NULL;
	return 0;
}

static int keep(struct way *w, const char *from, size_t n)
{
	w->left = malloc(n);
	if (w->left == NULL)
		return -ENOMEM;
	memcpy(w->left, from, n);
	w->at = 0;
	w->n = n;
	return 0;
}

/* What was read is written, or kept. */
static int put(struct way *w, size_t n)
{
	ssize_t sent = send(w->to, buf, n, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	if (sent < 0)
		sent = 0;
	return (size_t)sent < n ? keep(w, buf + sent, n - (size_t)sent) : 0;
}

static int one(struct way *w, bool *dry)
{
	ssize_t n = recv(w->from, buf, sizeof(buf), 0);

	/* With less than there was room for it is empty, but for an end that may be behind. */
	*dry = n < 0 ? errno == EAGAIN : n > 0 && (size_t)n < sizeof(buf) && !w->ends;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	w->ended = n == 0;
	return n > 0 ? put(w, (size_t)n) : 0;
}

static int pass(struct way *w)
{
	int r = w->left != NULL ? write_left(w) : 0;
	bool dry = false;

	for (int i = 0; i < TURNS && r == 0 && w->left == NULL && !w->ended && !dry; i++)
		r = one(w, &dry);
	if (r < 0 || w->left != NULL)
		return r;
	if (!w->ended)
		return !dry;
	if (!w->passed)
		(void)shutdown(w->to, SHUT_WR);
	w->passed = true;
	return 0;
}

/* ---- a connection ---- */

static void watch_half(int fd)
{
	static const struct {
		int level, name, value;
	} o[] = {{IPPROTO_TCP, TCP_KEEPIDLE, HALF_IDLE_S},
		 {IPPROTO_TCP, TCP_KEEPINTVL, HALF_IDLE_S},
		 {SOL_SOCKET, SO_KEEPALIVE, 1}};

	for (unsigned i = 0; i < array_size(o); i++)
		(void)setsockopt(fd, o[i].level, o[i].name, &o[i].value, sizeof(o[i].value));
}

static void more(struct sup *s)
{
	if (s->again)
		return;
	s->again = true;
	s->next_again = list;
	list = s;
}

void carry(struct sup *s)
{
	bool half = s->out.passed;
	int out = pass(&s->out), in = out < 0 ? 0 : pass(&s->in);

	if (out < 0 || in < 0) {
		carry_end(s, true);
		return;
	}
	/* With nobody left to close the other half. */
	if (s->out.passed && (s->in.passed || program_gone)) {
		carry_end(s, false);
		return;
	}
	if (s->out.passed && !half)
		watch_half(s->end);
	if (out > 0 || in > 0)
		more(s);
}

bool carry_again(void)
{
	struct sup *s = list;

	list = NULL;
	while (s != NULL) {
		struct sup *next = s->next_again;

		s->again = false;
		if (!s->gone)
			carry(s);
		s = next;
	}
	return list != NULL;
}

void carry_begin(struct sup *s)
{
	int one = 1;

	s->state = SUP_OPEN;
	/* Reading Z-Stack's once more costs nothing. */
	s->in = (struct way){.from = s->zs, .to = s->end, .ends = true};
	s->out = (struct way){.from = s->end, .to = s->zs};
	/* What the program writes waits in its own socket if it is to. */
	(void)setsockopt(s->zs, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(s->end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	watch_zs(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	watch_end(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	more(s);
}
