/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks of poll(2). What is the kernel's alone goes to the kernel as it is; otherwise each side is
 * asked for what it has, in one wait for both (host_wait). What is on both sides stands in both
 * lists, and its answers are one.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "preload/epoll_set.h"

#define FEW 32u

/* One call, sorted by side. at: for each of the kernel's, its place among the caller's. */
struct sorted {
	struct pollfd *fds; /* the caller's */
	nfds_t n;
	struct pollfd *ours, *kernel;
	unsigned *at;
	unsigned n_kernel;
	bool bad; /* one is not for programs */
};

static void kernel_add(struct sorted *s, nfds_t i, int fd)
{
	s->kernel[s->n_kernel] = (struct pollfd){.fd = fd, .events = s->fds[i].events};
	s->at[s->n_kernel++] = (unsigned)i;
}

static void sort_one(struct sorted *s, nfds_t i)
{
	int fd = s->fds[i].fd;

	s->ours[i] = (struct pollfd){.fd = -1, .events = s->fds[i].events};
	switch (fd_kind(fd)) {
	case FD_SOCKET:
		s->ours[i].fd = fd;
		return;
	case FD_BOTH:
		s->ours[i].fd = fd;
		kernel_add(s, i, twin_of(fd));
		return;
	case FD_EPOLL:
		s->ours[i].fd = fd;
		kernel_add(s, i, fd);
		return;
	case FD_OWN:
		s->bad = true;
		return;
	default:
		if (fd >= 0)
			kernel_add(s, i, fd);
	}
}

/* Each side's answers, to the caller. */
static long answers(struct sorted *s)
{
	long ready = 0;

	for (nfds_t i = 0; i < s->n; i++) {
		s->fds[i].revents = s->ours[i].revents;
		if (s->bad && fd_kind(s->fds[i].fd) == FD_OWN)
			s->fds[i].revents = POLLNVAL;
	}
	for (unsigned k = 0; k < s->n_kernel; k++)
		s->fds[s->at[k]].revents |= s->kernel[k].revents;
	for (nfds_t i = 0; i < s->n; i++)
		ready += s->fds[i].revents != 0;
	return ready;
}

static long poll_sorted(struct sorted *s, int64_t deadline, const sigset_t *mask)
{
	struct host_wait w = {.epfd = -1, .fd = -1, .sigmask = mask};
	int r;

	for (nfds_t i = 0; i < s->n; i++)
		sort_one(s, i);
	w.pfd = s->ours;
	w.n_pfd = (unsigned)s->n;
	w.kernel = s->kernel;
	w.n_kernel = s->n_kernel;
	w.deadline_ns = s->bad ? 0 : deadline;
	r = host_wait(&w);
	return r >= 0 ? answers(s) : r;
}

long poll_any(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *mask)
{
	struct pollfd few[2 * FEW];
	unsigned few_at[FEW];
	struct sorted s = {.fds = fds, .n = n, .ours = few, .at = few_at};
	struct rlimit l;
	long r = -ENOMEM;

	if (n > FEW && getrlimit(RLIMIT_NOFILE, &l) == 0 && n > l.rlim_cur)
		return -EINVAL;
	if (n > FEW) {
		s.ours = malloc(2 * n * sizeof(*s.ours));
		s.at = malloc(n * sizeof(*s.at));
	}
	if (s.ours != NULL && s.at != NULL) {
		s.kernel = s.ours + n;
		r = poll_sorted(&s, deadline, mask);
	}
	if (s.ours != few)
		free(s.ours);
	if (s.at != few_at)
		free(s.at);
	return r;
}

/* ---- the hooks ---- */

/* A list that can't be one is the kernel's to refuse. */
static bool any_ours(struct pollfd *fds, nfds_t n)
{
	if (unlikely(fds == NULL || n > FD_KINDS))
		return false;
	for (nfds_t i = 0; i < n; i++) {
		enum fd_kind kind = fd_kind(fds[i].fd);

		if (unlikely(kind >= FD_EPOLL && kind != FD_UNDECIDED))
			return true;
	}
	return false;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int64_t end = INT64_MAX;
	long r;

	if (likely(!any_ours(fds, n)))
		return real.poll(fds, n, timeout);
	if (timeout >= 0)
		end = deadline_in(timeout / 1000, timeout % 1000 * 1000000l);
	CALL_ONCE(r, poll_any(fds, n, end, NULL));
	return (int)result(r);
}

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	int64_t end = INT64_MAX;
	long r;

	if (likely(!any_ours(fds, n)))
		return real.ppoll(fds, n, timeout, mask);
	if (timeout != NULL) {
		if (!timespec_ok(timeout))
			return (int)result(-EINVAL);
		end = deadline_in(timeout->tv_sec, timeout->tv_nsec);
	}
	CALL_ONCE(r, poll_any(fds, n, end, mask));
	return (int)result(r);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	if (unlikely(room / sizeof(*fds) < n))
		return real.__poll_chk(fds, n, timeout, room);
	return poll(fds, n, timeout);
}

int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		size_t room)
{
	if (unlikely(room / sizeof(*fds) < n))
		return real.__ppoll_chk(fds, n, timeout, mask, room);
	return ppoll(fds, n, timeout, mask);
}
