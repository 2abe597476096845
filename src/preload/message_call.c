/* SPDX-License-Identifier: BSD-3-Clause
 *
 * recvmsg, and several messages at once. sendmsg is in write_call.c.
 */
#include <time.h>

#include "preload/preload.h"
#include "preload/route.h"

#define MANY_MAX 1024u /* as Linux (UIO_MAXIOV) */

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	long r;

	if (likely(!fd_is_ours(fd))) {
		if (unlikely(fd_kind(fd) == FD_ROUTE && msg != NULL) &&
		    route_receive(fd, msg, flags, &r))
			return r;
		r = real.recvmsg(fd, msg, flags);
		if (unlikely(r >= 0 && msg->msg_controllen > 0))
			pass_received(msg);
		return r;
	}
	if (msg == NULL)
		return result(-EFAULT);
	r = recv_ours(fd, msg, flags);
	return result(r);
}

static bool any_control(const struct mmsghdr *m, unsigned n)
{
	for (unsigned i = 0; m != NULL && i < n; i++)
		if (m[i].msg_hdr.msg_controllen > 0)
			return true;
	return false;
}

/* An error behind messages that went is told by the next call, if it is still one then. */
int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	unsigned k = 0;
	ssize_t r;

	n = n < MANY_MAX ? n : MANY_MAX;
	if (likely(fd_kind(fd) == FD_KERNEL && (!started() || !any_control(m, n))))
		return real.sendmmsg(fd, m, n, flags);
	while (k < n) {
		r = hook_sendmsg(fd, &m[k].msg_hdr, flags);
		if (r < 0)
			break;
		m[k++].msg_len = (unsigned)r;
	}
	return k > 0 || n == 0 ? (int)k : -1;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* Of the kernel's socket: there may be descriptors of ours in them. */
static int received(struct mmsghdr *m, int n)
{
	for (int i = 0; i < n; i++)
		if (unlikely(m[i].msg_hdr.msg_controllen > 0))
			pass_received(&m[i].msg_hdr);
	return n;
}

/* The time-out is looked at after each message, and what is left of it is written back, both as
 * recvmmsg(2) says of Linux. */
int recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout)
{
	int64_t end = INT64_MAX, left = 0;
	unsigned k = 0;
	ssize_t r;

	if (likely(!fd_is_ours(fd)))
		return received(m, real.recvmmsg(fd, m, n, flags, timeout));
	if (timeout != NULL)
		end = now_ns() + timeout->tv_sec * 1000000000ll + timeout->tv_nsec;
	n = n < MANY_MAX ? n : MANY_MAX;
	while (k < n) {
		r = recvmsg(fd, &m[k].msg_hdr, flags & ~MSG_WAITFORONE);
		if (r < 0)
			break;
		m[k++].msg_len = (unsigned)r;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		left = timeout != NULL ? end - now_ns() : 1;
		if (left <= 0)
			break;
	}
	if (timeout != NULL && k > 0)
		*timeout = (struct timespec){left > 0 ? left / 1000000000 : 0,
					     left > 0 ? left % 1000000000 : 0};
	return k > 0 || n == 0 ? (int)k : -1;
}
