/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that are ours and the kernel's (decide.c): a listener is asked for connections, and a UDP
 * socket for datagrams, on both sides in turn. Neither side's socket blocks; a call that is to wait
 * sleeps on both at once.
 */
#include <string.h>
#include <time.h>

#include "preload/preload.h"

/* Which side is asked first: neither starves the other. */
static _Atomic unsigned turn;

static int64_t deadline(int fd)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);
	struct timespec now;

	if (zs_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) < 0 ||
	    (tv.tv_sec == 0 && tv.tv_usec == 0))
		return INT64_MAX;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec + tv.tv_sec) * 1000000000ll + now.tv_nsec + tv.tv_usec * 1000;
}

/* Until either side may have something: 0; -EAGAIN (the time is over), -EINTR, -EBADF. accept: one
 * of the processes that wait so is woken. */
static int both_wait(int fd, int64_t end, bool accept)
{
	struct pollfd twin = {.fd = twin_of(fd), .events = POLLIN};
	struct host_wait w = {.epfd = -1,
			      .fd = fd,
			      .kernel = &twin,
			      .n_kernel = 1,
			      .deadline_ns = end,
			      .exclusive = accept};
	int r = host_wait(&w);

	return r > 0 ? 0 : r == 0 ? -EAGAIN : r;
}

static int accept_one(int fd, struct sockaddr *addr, socklen_t *len, int flags, bool ours)
{
	int r;

	if (ours) {
		r = zs_accept4(fd, addr, len, flags);
	} else {
		r = real.accept4(twin_of(fd), addr, len, flags);
		r = r < 0 ? -errno : r;
		if (r >= 0)
			host_accept_left(fd);
	}
	if (r >= 0) {
		(void)!number_begin(r, ours ? FD_SOCKET : FD_KERNEL); /* there is room */
		count_socket(ours ? TOLD_ACCEPTED : TOLD_KERNEL_ACCEPTED);
	}
	return r;
}

int both_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int64_t end = number_blocks(fd) ? deadline(fd) : 0;
	bool first = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % 2 == 0;
	int r;

	for (;;) {
		r = accept_one(fd, addr, len, flags, first);
		if (r == -EAGAIN)
			r = accept_one(fd, addr, len, flags, !first);
		if (r != -EAGAIN || !number_blocks(fd))
			return r;
		r = both_wait(fd, end, true);
		if (r < 0) {
			host_accept_left(fd);
			return r;
		}
	}
}

static ssize_t recv_one(int fd, struct msghdr *msg, int flags, bool ours)
{
	struct msghdr m = *msg;
	ssize_t n;

	if (ours) {
		n = zs_recvmsg(fd, &m, flags | MSG_DONTWAIT);
	} else {
		n = real.recvmsg(twin_of(fd), &m, flags | MSG_DONTWAIT);
		n = n < 0 ? -errno : n;
	}
	if (n >= 0)
		*msg = m;
	return n;
}

ssize_t both_recvmsg(int fd, struct msghdr *msg, int flags)
{
	bool waits = number_blocks(fd) && (flags & MSG_DONTWAIT) == 0;
	bool first = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) % 2 == 0;
	int64_t end = waits ? deadline(fd) : 0;
	ssize_t n;

	for (;;) {
		n = recv_one(fd, msg, flags, first);
		if (n == -EAGAIN)
			n = recv_one(fd, msg, flags, !first);
		if (n != -EAGAIN || !waits)
			return n;
		n = both_wait(fd, end, false);
		if (n < 0)
			return n;
	}
}

static ssize_t send_side(int fd, const struct msghdr *msg, int flags)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	ssize_t n;

	for (;;) {
		n = zs_sendmsg(fd, msg, flags);
		if (n != -EAGAIN || !number_blocks(fd) || (flags & MSG_DONTWAIT))
			return n;
		n = zs_poll(&room, 1, -1);
		if (n < 0)
			return n;
	}
}

ssize_t both_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n;

	if (msg->msg_name == NULL ||
	    both_whose(fd, msg->msg_name, msg->msg_namelen, true) == DECIDED_OURS)
		return send_side(fd, msg, flags);
	n = real.sendmsg(twin_of(fd), msg, flags);
	return n < 0 ? -errno : n;
}
