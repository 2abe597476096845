/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks that close and copy numbers. The library's own numbers do not exist for the program: it
 * gets EBADF, and what closes many leaves them out.
 *
 * Not done: a program that wants one of the library's numbers itself (dup2) gets EBADF, as for a
 * number beyond its limit.
 */
#include <linux/close_range.h>
#include <sys/syscall.h>

#include "preload/preload.h"

/* What the stack of --embedded closes is its own; the kind is of what had the number before. */
static int stack_close(int fd)
{
	fd_set_kind(fd, FD_KERNEL);
	return real.close(fd);
}

int close(int fd)
{
	enum fd_kind kind = fd_kind(fd);
	long r;
	int k;

	if (likely(kind == FD_KERNEL))
		return real.close(fd);
	if (is_inside())
		return stack_close(fd);
	if (kind == FD_OWN)
		return (int)result(-EBADF);
	CALL_ONCE(r, number_drop(fd));
	k = real.close(fd);
	/* The client may have lost it (host.h): then it was the kernel's alone. */
	return (int)result(k < 0 ? -errno : r == -EBADF || r == -ENXIO ? 0 : r);
}

int __close(int fd) __attribute__((alias("close")));
extern typeof(close) hook_close __attribute__((alias("close")));

/* ---- copies ---- */

/* `to` is a copy of `from` in the kernel: it stands for what that does. Both are of this process
 * alone, so nobody asks in between for what is not there yet. */
static int copied(int from, int to)
{
	enum fd_kind kind = fd_kind(from);
	int r;

	if (kind == FD_KERNEL || kind == FD_ROUTE)
		return to;
	number_lock();
	r = number_room(to);
	if (r == 0)
		number_fresh(to);
	if (r == 0 && kind != FD_UNDECIDED && kind != FD_EVENTS)
		r = host_dup(from, to);
	if (r == 0) {
		number_join(from, to);
		epoll_copied(from, to);
		fd_set_kind(to, kind);
	}
	number_unlock();
	if (r == 0 && kind >= FD_SOCKET)
		stdio_take(to);
	if (r == 0)
		return to;
	real.close(to);
	return (int)result(r == -EBUSY ? -EBADF : r);
}

int number_dup(int fd, int cmd, int min)
{
	int to;

	if (fd_kind(fd) == FD_OWN)
		return (int)result(-EBADF);
	to = real.fcntl(fd, cmd, min);
	return to < 0 ? to : copied(fd, to);
}

int dup(int fd)
{
	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.dup(fd);
	return number_dup(fd, F_DUPFD, 0);
}

static int dup_over(int from, int to, int flags)
{
	long r;

	if (fd_kind(from) == FD_OWN || fd_kind(to) == FD_OWN || real.fcntl(from, F_GETFD) < 0)
		return (int)result(-EBADF);
	if (to < 0)
		return (int)result(-EBADF);
	/* What `to` was stays when it can't be done. */
	r = fd_kind(from) != FD_KERNEL && (unsigned)to < FD_KINDS ? number_room(to) : 0;
	if (r < 0)
		return (int)result(r);
	CALL_ONCE(r, number_drop(to));
	(void)r;
	to = real.dup3(from, to, flags);
	return to < 0 ? to : copied(from, to);
}

int dup2(int from, int to)
{
	if (likely(fd_kind(from) == FD_KERNEL && fd_kind(to) == FD_KERNEL))
		return real.dup2(from, to);
	if (from == to)
		return fd_kind(from) == FD_OWN ? (int)result(-EBADF) : real.dup2(from, to);
	return dup_over(from, to, 0);
}

int dup3(int from, int to, int flags)
{
	if (likely(fd_kind(from) == FD_KERNEL && fd_kind(to) == FD_KERNEL))
		return real.dup3(from, to, flags);
	if (from == to || (flags & ~O_CLOEXEC) != 0)
		return (int)result(-EINVAL);
	return dup_over(from, to, flags);
}

/* ---- many at once ---- */

/* What is ours in the range is dropped here, and closed by the kernel with the rest of it. */
static void drop_range(unsigned first, unsigned last)
{
	long r;

	for (int fd = fd_special((int)first); fd >= 0 && (unsigned)fd <= last;
	     fd = fd_special(fd + 1)) {
		if (fd_kind(fd) != FD_OWN)
			CALL_ONCE(r, number_drop(fd));
	}
	(void)r;
}

/* The pieces between the library's numbers. */
static int range_between_own(unsigned first, unsigned last, int flags)
{
	int r = 0;

	while (first <= last && r == 0) {
		int own = fd_special((int)first);

		while (own >= 0 && fd_kind(own) != FD_OWN)
			own = fd_special(own + 1);
		if (own < 0 || (unsigned)own > last)
			return real.close_range(first, last, flags);
		if ((unsigned)own > first)
			r = real.close_range(first, (unsigned)own - 1, flags);
		first = (unsigned)own + 1;
	}
	return r;
}

int close_range(unsigned first, unsigned last, int flags)
{
	if (first > last || (flags & ~(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)) != 0 ||
	    first >= FD_KINDS)
		return real.close_range(first, last, flags);
	if ((flags & CLOSE_RANGE_CLOEXEC) == 0)
		drop_range(first, last);
	return range_between_own(first, last, flags);
}

void closefrom(int low)
{
	int err = errno;

	(void)close_range(low > 0 ? (unsigned)low : 0, ~0u, 0);
	errno = err;
}
