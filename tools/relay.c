/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack relay: connections of Z-Stack for programs that can't load its library (docs/design/011,
 * 12; preload/relay.h). Started by the library, under the library; nothing here knows Z-Stack. Each
 * connection has an end of a pair of UNIX sockets, whose other end the program has, and bytes, ends
 * and errors of either go to the other:
 *
 *	the connection's stream ends    the program reads an end (shutdown of the pair)
 *	it is reset, or anything else   the pair is closed: an end, EPIPE for who writes, and
 *	                                ECONNRESET if the program had written what nobody has read
 *	the program ends its writing    FIN
 *	its last descriptor is closed   what it wrote is sent, and the connection closed; with a
 *	                                reset, if it has not read everything, as the kernel does
 *
 * Not done: the program can't tell a reset from an end if it only reads; urgent data.
 */
#include "zstack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "preload/relay.h"

#define BUF_BYTES 65536u

/* One direction. */
struct way {
	int from, to;
	char *buf;
	size_t at, n;	   /* what is to be written */
	bool read, passed; /* the end was read; it was passed on */
	bool discards;	   /* nobody wants to read any more */
};

struct relayed {
	int conn, end;
	struct way in, out; /* to the program, from it */
	bool gone, unread;  /* the program has no descriptor of it; and had not read everything */
};

static struct relayed *all;
static size_t n_all;

static void nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* ---- what the library says ---- */

static int domain_of(int fd)
{
	int domain = -1;
	socklen_t len = sizeof(domain);

	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	return domain;
}

/* False: it is no connection of Z-Stack's. */
static bool add(int conn, int end)
{
	struct relayed *grown = realloc(all, (n_all + 1) * sizeof(*all));
	struct relayed r = {.conn = conn,
			    .end = end,
			    .in = {conn, end, malloc(BUF_BYTES)},
			    .out = {end, conn, malloc(BUF_BYTES)}};

	if (grown != NULL)
		all = grown;
	if (grown == NULL || r.in.buf == NULL || r.out.buf == NULL || domain_of(conn) == AF_UNIX)
		return false;
	nonblocking(conn);
	nonblocking(end);
	all[n_all++] = r;
	return true;
}

/* The next message: its first byte; '\0' the end. */
static char hear(int fd[2])
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char what = '\0';
	struct iovec v = {&what, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(RELAY_FD, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	fd[0] = fd[1] = -1;
	if (c != NULL && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		memcpy(fd, CMSG_DATA(c), 2 * sizeof(int));
	return n > 0 ? what : '\0';
}

/* Until it is to begin; false: there is nothing to do. */
static bool hear_all(void)
{
	int fd[2];

	for (;;) {
		char what = hear(fd);

		if (what == *RELAY_FORGET)
			return false;
		if (what != *RELAY_ADD)
			break;
		if (fd[0] >= 0 && !add(fd[0], fd[1])) {
			close(fd[0]);
			close(fd[1]);
		}
	}
	close(RELAY_FD);
	return n_all > 0;
}

/* ---- one direction ---- */

/* What was read, or its end. -errno: the source is gone. */
static int fill(struct way *w)
{
	ssize_t n;

	if (w->n > 0 || w->read)
		return 0;
	n = read(w->from, w->buf, BUF_BYTES);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	w->at = 0;
	w->n = (size_t)n;
	w->read = n == 0;
	return 0;
}

/* -EPIPE: the other side reads no more. */
static int empty(struct way *w)
{
	ssize_t n;

	while (w->n > 0 && !w->discards) {
		n = send(w->to, w->buf + w->at, w->n, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		w->at += (size_t)n;
		w->n -= (size_t)n;
	}
	if (w->discards)
		w->n = 0;
	if (w->read && !w->passed && w->n == 0) {
		(void)shutdown(w->to, SHUT_WR);
		w->passed = true;
	}
	return 0;
}

/* ---- a connection ---- */

static void finish(struct relayed *r, bool reset)
{
	struct linger now = {1, 0};

	if (reset)
		(void)setsockopt(r->conn, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(r->conn);
	close(r->end);
	free(r->in.buf);
	free(r->out.buf);
	*r = all[--n_all];
}

/* From the program to the connection. True: it is over, and was ended. */
static bool step_out(struct relayed *r)
{
	int got = fill(&r->out), put;

	/* All that it wrote has been read before this is told. */
	if (got == -ECONNRESET && r->out.n == 0) {
		finish(r, true);
		return true;
	}
	put = empty(&r->out);
	if (put < 0) {
		finish(r, false);
		return true;
	}
	if (r->gone && r->out.read && r->out.n == 0) {
		finish(r, r->unread || r->in.n > 0);
		return true;
	}
	return false;
}

/* From the connection to the program. */
static bool step_in(struct relayed *r)
{
	int got = fill(&r->in);

	if (got < 0) {
		finish(r, false);
		return true;
	}
	if (empty(&r->in) == -EPIPE)
		r->in.discards = true; /* or it hung up, which is seen by itself */
	return false;
}

static void step(struct relayed *r, short conn, short end)
{
	r->gone |= (end & POLLHUP) != 0;
	r->unread |= (end & POLLERR) != 0;
	if (step_out(r))
		return;
	if ((conn & (POLLIN | POLLHUP | POLLERR)) || (end & POLLOUT) || r->in.n > 0)
		if (step_in(r))
			return;
	if (r->in.passed && r->out.passed)
		finish(r, false);
}

/* poll() tells errors and hang-ups, even if nobody asks: they are looked at where they are waited
 * for, and that the program has gone once. */
static void wish(const struct relayed *r, struct pollfd p[2])
{
	bool in = r->in.n == 0 && !r->in.read, out = r->out.n == 0 && !r->out.read;

	p[0].events = (short)((in ? POLLIN : 0) | (r->out.n > 0 ? POLLOUT : 0));
	p[0].fd = p[0].events != 0 ? r->conn : -1;
	p[1].events = (short)((out ? POLLIN : 0) | (r->in.n > 0 ? POLLOUT : 0));
	p[1].fd = !r->gone || out ? r->end : -1;
}

static int serve(void)
{
	struct pollfd *p = calloc(n_all, 2 * sizeof(*p));

	while (p != NULL && n_all > 0) {
		for (size_t i = 0; i < n_all; i++)
			wish(&all[i], &p[2 * i]);
		if (poll(p, (nfds_t)(2 * n_all), -1) < 0 && errno != EINTR)
			break;
		/* From the last one: finish() puts that in the place of who ends. */
		for (size_t i = n_all; i-- > 0;)
			step(&all[i], p[2 * i].revents, p[2 * i + 1].revents);
	}
	free(p);
	return n_all == 0 ? 0 : 1;
}

int cmd_relay(struct tool *t, int argc, char **argv)
{
	sigset_t none;

	(void)t;
	(void)argv;
	if (argc != 1 || domain_of(RELAY_FD) != AF_UNIX)
		return usage("relay is started by libzstack-preload alone");
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return !hear_all() ? 0 : serve();
}
