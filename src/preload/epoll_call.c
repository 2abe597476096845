/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks of epoll(7). Which side has what is epoll_set.c's affair; here is how a wait takes from
 * both: as long as a set has members on one side only, it costs that side's call. With both, ours
 * are asked each time, and the kernel's when there is nothing of ours, and every 100 us, first
 * then, so that neither side starves the other. It sleeps on both at once.
 *
 * What a caller passes wrong is told by the kernel, which is asked whenever it matters.
 */
#include <string.h>

#include "preload/epoll_set.h"

#define LOOK_NS 20000

/* ---- making, changing ---- */

static int created(int fd)
{
	long r;

	if (fd < 0 || is_inside())
		return fd;
	CALL_ONCE(r, eset_new(fd));
	if (likely(r == 0))
		return fd;
	real.close(fd);
	return (int)result(r);
}

int epoll_create1(int flags)
{
	return created(real.epoll_create1(flags));
}

int epoll_create(int size)
{
	return created(real.epoll_create(size));
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	enum fd_kind set = fd_kind(epfd), kind = fd_kind(fd);
	struct eset *e;
	long r;

	if (likely(set == FD_EPOLL && kind == FD_SOCKET)) {
		CALL_ONCE(r, zs_epoll_ctl(epfd, op, fd, ev));
		return (int)result(r);
	}
	if ((kind != FD_KERNEL || set == FD_OWN) && !is_inside()) {
		CALL_ONCE(r, eset_ctl(epfd, op, fd, ev));
		return (int)result(r);
	}
	e = eset_of(epfd);
	r = real.epoll_ctl(epfd, op, fd, ev);
	if (r == 0 && set != FD_KERNEL && e != NULL)
		CALL_ONCE(r, (eset_kernel_ctl(e, op), 0));
	return (int)r;
}

/* ---- waiting ---- */

struct wait {
	int epfd, max;
	struct epoll_event *ev;
	const sigset_t *mask;
	int ms;			   /* epoll_wait(), epoll_pwait() */
	const struct timespec *ts; /* epoll_pwait2(); NULL */
	int64_t timeout_ns;	   /* below 0: for ever */
	int64_t deadline;	   /* 0: not yet known */
};

static void deadline_set(struct wait *w)
{
	if (w->deadline == 0 && w->timeout_ns != 0)
		w->deadline = w->timeout_ns < 0 || w->timeout_ns > INT64_MAX / 2
				      ? INT64_MAX
				      : mono_ns() + w->timeout_ns;
}

static int from_kernel(struct eset *e, const struct wait *w, struct epoll_event *ev, int max)
{
	int n = max > 0 ? real.epoll_wait(w->epfd, ev, max, 0) : 0;

	atomic_store_explicit(&e->looked, mono_ns(), memory_order_relaxed);
	return n > 0 ? eset_strip(e, ev, n) : n < 0 ? -errno : 0;
}

/* n of the kernel's, first, go behind `ours` of ours. */
static void rotate(struct epoll_event *ev, int n, int ours)
{
	struct epoll_event few[64];

	if (n == 0 || ours == 0)
		return;
	memcpy(few, ev, (size_t)n * sizeof(*ev));
	memmove(ev, ev + n, (size_t)ours * sizeof(*ev));
	memcpy(ev + ours, few, (size_t)n * sizeof(*ev));
}

/* Its time has come: at most half of the room is the kernel's. It is not asked for more: what is
 * ready as long as it is would come a second time. */
static int collect_fair(struct eset *e, const struct wait *w)
{
	int share = w->max > 128 ? 64 : (w->max + 1) / 2;
	int n = from_kernel(e, w, w->ev, share), ours;

	if (n < 0)
		return n;
	ours = n < w->max ? zs_epoll_wait(w->epfd, w->ev + n, w->max - n, 0) : 0;
	ours = ours < 0 ? 0 : ours;
	rotate(w->ev, n, ours);
	return eset_join(e, w->ev, ours, ours + n);
}

/* Is it the kernel's turn to be first? Where there is room for one alone, every other time. */
static bool kernel_due(struct eset *e, const struct wait *w)
{
	if (mono_ns() - atomic_load_explicit(&e->looked, memory_order_relaxed) < LOOK_NS)
		return false;
	return w->max > 1 || atomic_fetch_xor_explicit(&e->turn, 1, memory_order_relaxed) != 0;
}

static int collect(struct eset *e, const struct wait *w)
{
	int n;

	if (likely(atomic_load_explicit(&e->kernel, memory_order_relaxed) <= 0))
		return zs_epoll_wait(w->epfd, w->ev, w->max, 0);
	if (kernel_due(e, w))
		return collect_fair(e, w);
	n = zs_epoll_wait(w->epfd, w->ev, w->max, 0);
	if (n != 0)
		return eset_join(e, w->ev, n > 0 ? n : 0, n);
	n = from_kernel(e, w, w->ev, w->max);
	return n > 0 ? eset_join(e, w->ev, 0, n) : n;
}

static int sleep_on_both(struct eset *e, struct wait *w)
{
	struct pollfd kernel = {.fd = w->epfd, .events = POLLIN};
	struct host_wait h = {.epfd = w->epfd, .fd = -1, .kernel = &kernel, .sigmask = w->mask};
	int64_t looked = atomic_load_explicit(&e->looked, memory_order_relaxed);
	int r;

	h.n_kernel = atomic_load_explicit(&e->kernel, memory_order_relaxed) > 0;
	deadline_set(w);
	h.deadline_ns = w->deadline;
	h.looked_ns = &looked;
	r = host_wait(&h);
	atomic_store_explicit(&e->looked, looked, memory_order_relaxed);
	return r;
}

/* A set with members of ours. */
static int both_wait(struct wait *w)
{
	struct eset *e = eset_of(w->epfd);
	int n = 0;

	if (w->max <= 0)
		return -EINVAL;
	while (n == 0 && e != NULL) {
		n = collect(e, w);
		if (n != 0 || (w->timeout_ns == 0 && w->mask == NULL))
			break;
		n = sleep_on_both(e, w);
		if (n <= 0)
			break;
		n = 0;
		if (w->timeout_ns == 0)
			w->mask = NULL; /* look again, once */
	}
	return e != NULL ? n : -EBADF;
}

static int kernel_call(const struct wait *w)
{
	if (w->ts != NULL)
		return real.epoll_pwait2(w->epfd, w->ev, w->max, w->ts, w->mask);
	if (w->mask == NULL)
		return real.epoll_wait(w->epfd, w->ev, w->max, w->ms);
	return real.epoll_pwait(w->epfd, w->ev, w->max, w->ms, w->mask);
}

/* A set of the kernel's alone, in which members of ours may come while the thread sleeps. True:
 * they came, and *n says nothing. */
static bool kernel_wait(struct wait *w, int *n)
{
	struct eset *e = eset_of(w->epfd);
	long r;
	int err;

	if (w->timeout_ns > 0)
		deadline_set(w);
	CALL_ONCE(r, eset_sleep(e, w->epfd));
	if (r == 0)
		return true;
	*n = kernel_call(w);
	err = errno;
	CALL_ONCE(r, (eset_woke(e), 0));
	errno = err;
	if (likely(fd_kind(w->epfd) != FD_EPOLL))
		return false;
	if (*n > 0)
		*n = eset_strip(e, w->ev, *n);
	return *n == 0;
}

static int any_wait(struct wait *w)
{
	enum fd_kind kind = fd_kind(w->epfd);
	long r;
	int n;

	if (kind == FD_OWN)
		return (int)result(-EBADF);
	if (kind == FD_EVENTS && w->timeout_ns != 0 && eset_of(w->epfd) != NULL) {
		if (!kernel_wait(w, &n))
			return n;
	} else if (kind != FD_EPOLL) {
		return kernel_call(w);
	}
	CALL_ONCE(r, both_wait(w));
	return (int)result(r);
}

int epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	struct wait w = {.epfd = epfd,
			 .ev = ev,
			 .max = max,
			 .mask = mask,
			 .ms = timeout,
			 .timeout_ns = timeout < 0 ? -1 : timeout * 1000000ll};

	if (likely(fd_kind(epfd) == FD_KERNEL))
		return real.epoll_pwait(epfd, ev, max, timeout, mask);
	return any_wait(&w);
}

int epoll_wait(int epfd, struct epoll_event *ev, int max, int timeout)
{
	enum fd_kind kind = fd_kind(epfd);

	if (likely(kind == FD_KERNEL || (kind == FD_EVENTS && timeout == 0)))
		return real.epoll_wait(epfd, ev, max, timeout);
	return epoll_pwait(epfd, ev, max, timeout, NULL);
}

int epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
		 const sigset_t *mask)
{
	struct wait w = {
		.epfd = epfd, .ev = ev, .max = max, .mask = mask, .ms = -1, .timeout_ns = -1};

	if (likely(fd_kind(epfd) == FD_KERNEL))
		return real.epoll_pwait2(epfd, ev, max, timeout, mask);
	if (timeout != NULL) {
		if (!timespec_ok(timeout))
			return (int)result(-EINVAL);
		w.ts = timeout;
		if (timeout->tv_sec < INT64_MAX / 2000000000)
			w.timeout_ns = timeout->tv_sec * 1000000000ll + timeout->tv_nsec;
	}
	return any_wait(&w);
}
