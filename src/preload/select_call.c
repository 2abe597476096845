/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks of select(2), made of poll (poll_call.c) when one of ours is in a set. As Linux: the sets
 * may be larger than fd_set, select() leaves in its time-out what is left of it, and a descriptor
 * that is closed is EBADF.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "preload/preload.h"

#define WORD_BITS 64
#define READ	  (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define WRITE	  (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EXCEPT	  POLLPRI

/* What select() has three of, in this order. */
static const short means[3] = {READ, WRITE, EXCEPT};

struct sets {
	int n;
	uint64_t *set[3]; /* NULL: none */
};

static uint64_t word_of(const struct sets *s, int w)
{
	uint64_t all = 0;

	for (unsigned k = 0; k < 3; k++)
		all |= s->set[k] != NULL ? s->set[k][w] : 0;
	if ((w + 1) * WORD_BITS > s->n)
		all &= ~(UINT64_MAX << s->n % WORD_BITS);
	return all;
}

/* The next descriptor at or after `from` that is in any set; -1. */
static int next_fd(const struct sets *s, int from)
{
	for (int w = from / WORD_BITS; w * WORD_BITS < s->n; w++) {
		uint64_t all = word_of(s, w);

		if (w == from / WORD_BITS)
			all &= UINT64_MAX << from % WORD_BITS;
		if (all != 0)
			return w * WORD_BITS + __builtin_ctzll(all);
	}
	return -1;
}

static bool any_ours(const struct sets *s)
{
	for (int fd = next_fd(s, 0); fd >= 0; fd = next_fd(s, fd + 1)) {
		enum fd_kind kind = fd_kind(fd);

		if (unlikely(kind >= FD_EPOLL && kind != FD_UNDECIDED))
			return true;
	}
	return false;
}

static bool has(const struct sets *s, unsigned k, int fd)
{
	return s->set[k] != NULL && (s->set[k][fd / WORD_BITS] >> fd % WORD_BITS & 1) != 0;
}

/* The pollfds that ask for the same; how many. */
static unsigned ask(const struct sets *s, struct pollfd *p)
{
	unsigned n = 0;

	for (int fd = next_fd(s, 0); fd >= 0; fd = next_fd(s, fd + 1)) {
		short events = 0;

		for (unsigned k = 0; k < 3; k++)
			events |= has(s, k, fd) ? means[k] : 0;
		p[n++] = (struct pollfd){.fd = fd, .events = events};
	}
	return n;
}

/* How many answers there are for a descriptor. */
static int answers(const struct sets *s, const struct pollfd *p)
{
	int n = 0;

	for (unsigned k = 0; k < 3; k++)
		n += has(s, k, p->fd) && (p->revents & means[k]) != 0;
	return n;
}

static void fill_in(const struct sets *s, const struct pollfd *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 3; k++) {
			int fd = p[i].fd < 0 ? -1 - p[i].fd : p[i].fd;

			if (has(s, k, fd) && (p[i].fd < 0 || (p[i].revents & means[k]) == 0))
				s->set[k][fd / WORD_BITS] &= ~(1ull << fd % WORD_BITS);
		}
	}
}

/* One that hung up and is only asked for something else has no answer, and never will have: it is
 * asked no more. */
static long poll_for(const struct sets *s, struct pollfd *p, unsigned n, int64_t end,
		     const sigset_t *mask)
{
	long r, got = 0;

	do {
		r = poll_any(p, n, end, mask);
		for (unsigned i = 0; i < n && r > 0; i++) {
			int k = p[i].fd >= 0 ? answers(s, &p[i]) : 0;

			if (p[i].fd >= 0 && (p[i].revents & POLLNVAL))
				return -EBADF;
			if (p[i].fd >= 0 && p[i].revents != 0 && k == 0)
				p[i].fd = -1 - p[i].fd;
			got += k;
		}
	} while (r > 0 && got == 0);
	if (r < 0)
		return r;
	fill_in(s, p, n);
	return got;
}

static long select_any(const struct sets *s, int64_t end, const sigset_t *mask)
{
	struct pollfd *p = malloc(((size_t)s->n + 1) * sizeof(*p));
	long r;

	if (p == NULL)
		return -ENOMEM;
	r = poll_for(s, p, ask(s, p), end, mask);
	free(p);
	return r;
}

/* ---- the hooks ---- */

/* Linux looks at no more than the process can have. */
static struct sets sets_of(int n, fd_set *readfds, fd_set *writefds, fd_set *exceptfds)
{
	struct rlimit l;

	if (n > FD_SETSIZE && getrlimit(RLIMIT_NOFILE, &l) == 0 && (rlim_t)n > l.rlim_cur)
		n = (int)l.rlim_cur;
	return (struct sets){
		.n = n, .set = {(uint64_t *)readfds, (uint64_t *)writefds, (uint64_t *)exceptfds}};
}

static void time_left(struct timeval *tv, int64_t end)
{
	int64_t left = end - mono_ns();

	if (end == INT64_MAX)
		return;
	left = end == 0 || left < 0 ? 0 : left;
	*tv = (struct timeval){left / 1000000000, left % 1000000000 / 1000};
}

int select(int n, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, struct timeval *timeout)
{
	struct sets s = sets_of(n, readfds, writefds, exceptfds);
	int64_t end = INT64_MAX;
	long r;

	if (n < 0 || likely(!any_ours(&s)))
		return real.select(n, readfds, writefds, exceptfds, timeout);
	if (timeout != NULL) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return (int)result(-EINVAL);
		end = deadline_in(timeout->tv_sec + timeout->tv_usec / 1000000,
				  timeout->tv_usec % 1000000 * 1000);
	}
	CALL_ONCE(r, select_any(&s, end, NULL));
	if (timeout != NULL)
		time_left(timeout, end);
	return (int)result(r);
}

int pselect(int n, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
	    const struct timespec *timeout, const sigset_t *mask)
{
	struct sets s = sets_of(n, readfds, writefds, exceptfds);
	int64_t end = INT64_MAX;
	long r;

	if (n < 0 || likely(!any_ours(&s)))
		return real.pselect(n, readfds, writefds, exceptfds, timeout, mask);
	if (timeout != NULL) {
		if (!timespec_ok(timeout))
			return (int)result(-EINVAL);
		end = deadline_in(timeout->tv_sec, timeout->tv_nsec);
	}
	CALL_ONCE(r, select_any(&s, end, mask));
	return (int)result(r);
}
