/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks that write. As in read_call.c the plain ones go straight to the client, all others by
 * send_ours(). An undecided UDP socket that sends somewhere is decided on first; MSG_FASTOPEN is a
 * connect and a send.
 *
 * Flags that the client doesn't know ask for what is not to be had (MSG_DONTROUTE, …): Linux sends
 * all the same. UDP_SEGMENT is one send each.
 */
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/route.h"

#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_OOB | MSG_CONFIRM | MSG_ZEROCOPY)

bool is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return zs_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static long send_one(int fd, const struct msghdr *msg, int flags)
{
	int known = flags & SEND_FLAGS;
	long r;

	if (unlikely(fd_kind(fd) == FD_BOTH))
		CALL(r, both_sendmsg(fd, msg, known));
	else
		CALL(r, zs_sendmsg(fd, msg, known));
	return r;
}

extern typeof(write) hook_write __attribute__((alias("write")));
extern typeof(sendmsg) hook_sendmsg __attribute__((alias("sendmsg")));

/* Only streams have broken pipes: a datagram socket that was shut says EPIPE without a signal. */
long write_result(int fd, long r, int flags)
{
	if (likely(r >= 0))
		return r;
	if (r == -EPIPE && (flags & MSG_NOSIGNAL) == 0 && is_stream(fd))
		raise(SIGPIPE);
	errno = (int)-r;
	return -1;
}

/* UDP_SEGMENT: how long the datagrams are into which one buffer is to be cut; 0. */
static size_t segment_size(const struct msghdr *msg)
{
	struct cmsghdr *c;
	uint16_t size = 0;

	for (c = msg->msg_control != NULL ? CMSG_FIRSTHDR(msg) : NULL; c != NULL;
	     c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT &&
		    c->cmsg_len >= CMSG_LEN(sizeof(size)))
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	}
	return size;
}

/* What a buffer that is to be cut has at `at`, at most n bytes of it, as a vector. */
static size_t part_of(const struct msghdr *msg, size_t at, size_t n, struct iovec *out)
{
	size_t k = 0;

	for (size_t i = 0; i < msg->msg_iovlen && n > 0; i++) {
		const struct iovec *v = &msg->msg_iov[i];
		size_t len;

		if (at >= v->iov_len) {
			at -= v->iov_len;
			continue;
		}
		len = v->iov_len - at < n ? v->iov_len - at : n;
		out[k++] = (struct iovec){(char *)v->iov_base + at, len};
		n -= len;
		at = 0;
	}
	return k;
}

static long send_segments(int fd, const struct msghdr *msg, int flags, size_t size)
{
	struct iovec v[64];
	struct msghdr m = *msg;
	size_t total = 0, at;
	long r = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++)
		total += msg->msg_iov[i].iov_len;
	if (msg->msg_iovlen > array_size(v))
		return -EMSGSIZE;
	m.msg_iov = v;
	for (at = 0; at < total && r >= 0; at += r > 0 ? (size_t)r : 0) {
		m.msg_iovlen = part_of(msg, at, size, v);
		r = send_one(fd, &m, flags);
		if (r == 0)
			break;
	}
	return at > 0 ? (long)at : r;
}

long send_ours(int fd, const struct msghdr *msg, int flags)
{
	size_t size = msg->msg_controllen > 0 ? segment_size(msg) : 0;

	if (unlikely(size > 0 && !is_stream(fd)))
		return send_segments(fd, msg, flags, size);
	return send_one(fd, msg, flags);
}

/* ---- what is undecided ---- */

/* DECIDED_KERNEL, DECIDED_OURS, or -errno. */
static long decide_send_any(int fd, const void *addr, socklen_t len, int flags)
{
	long r = DECIDED_KERNEL;

	if (likely(fd_kind(fd) != FD_UNDECIDED && (flags & MSG_FASTOPEN) == 0))
		return fd_is_ours(fd) ? DECIDED_OURS : DECIDED_KERNEL;
	if (addr == NULL || fd_kind(fd) < FD_UNDECIDED)
		return fd_is_ours(fd) ? DECIDED_OURS : DECIDED_KERNEL;
	if (flags & MSG_FASTOPEN)
		return connect_any(fd, addr, len);
	CALL_ONCE(r, decide_send(fd, addr, len));
	return r;
}

/* ---- the hooks ---- */

static inline bool is_plain(int fd, const void *buf, int flags)
{
	return likely(fd_kind(fd) == FD_SOCKET && (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) == 0 &&
		      buf != NULL);
}

static long send_buf(int fd, const void *buf, size_t len, int flags, const void *addr,
		     socklen_t addrlen)
{
	struct iovec v = {(void *)(uintptr_t)buf, len};
	struct msghdr m = {.msg_name = (void *)(uintptr_t)addr,
			   .msg_namelen = addrlen,
			   .msg_iov = &v,
			   .msg_iovlen = 1};

	if (buf == NULL && len > 0)
		return -EFAULT;
	return send_ours(fd, &m, flags);
}

/* The kernel's, and not plainly so. */
static ssize_t kernel_send(int fd, const void *buf, size_t len, int flags,
			   const struct sockaddr *addr, socklen_t addrlen, bool is_write)
{
	struct iovec v = {(void *)(uintptr_t)buf, len};
	bool asks = fd_kind(fd) == FD_ROUTE && route_sending(fd, &v, 1);
	ssize_t r = is_write ? real.write(fd, buf, len)
			     : real.sendto(fd, buf, len, flags, addr, addrlen);

	if (asks && r < 0)
		route_unsent(fd);
	return r;
}

static ssize_t kernel_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	bool asks = fd_kind(fd) == FD_ROUTE && msg->msg_iov != NULL &&
		    route_sending(fd, msg->msg_iov, msg->msg_iovlen);
	ssize_t r = real.sendmsg(fd, msg, flags);

	if (asks && r < 0)
		route_unsent(fd);
	return r;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.write(fd, buf, len);
	if (!fd_is_ours(fd))
		return kernel_send(fd, buf, len, 0, NULL, 0, true);
	if (unlikely(!is_plain(fd, buf, 0)))
		return write_result(fd, send_buf(fd, buf, len, 0, NULL, 0), 0);
	CALL(r, zs_write(fd, buf, len));
	return write_result(fd, r, 0);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.send(fd, buf, len, flags);
	if (!fd_is_ours(fd))
		return kernel_send(fd, buf, len, flags, NULL, 0, false);
	if (unlikely(!is_plain(fd, buf, flags)))
		return write_result(fd, send_buf(fd, buf, len, flags, NULL, 0), flags);
	CALL(r, zs_send(fd, buf, len, flags));
	return write_result(fd, r, flags);
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
	       socklen_t addrlen)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.sendto(fd, buf, len, flags, addr, addrlen);
	r = decide_send_any(fd, addr, addrlen, flags);
	if (r == DECIDED_KERNEL)
		return kernel_send(fd, buf, len, flags, addr, addrlen, false);
	if (r == DECIDED_OURS)
		r = send_buf(fd, buf, len, flags, addr, addr != NULL ? addrlen : 0);
	return write_result(fd, r, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL) || msg == NULL) {
		if (unlikely(msg != NULL && msg->msg_controllen > 0 && started()))
			return pass_sendmsg(fd, msg, flags);
		return real.sendmsg(fd, msg, flags);
	}
	r = decide_send_any(fd, msg->msg_name, msg->msg_namelen, flags);
	if (r == DECIDED_KERNEL)
		return kernel_sendmsg(fd, msg, flags);
	if (r == DECIDED_OURS)
		r = send_ours(fd, msg, flags);
	return write_result(fd, r, flags);
}

/* ---- vectors ---- */

static long writev_ours(int fd, const struct iovec *iov, int n, int flags)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	if (n < 0 || n > 1024)
		return -EINVAL;
	return n == 0 ? 0 : send_ours(fd, &m, flags);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.writev(fd, iov, n);
	if (unlikely(fd_kind(fd) != FD_SOCKET || n <= 0))
		return write_result(fd, writev_ours(fd, iov, n, 0), 0);
	CALL(r, zs_writev(fd, iov, n));
	return write_result(fd, r, 0);
}

static long pwritev2_ours(int fd, const struct iovec *iov, int n, off64_t at, int flags)
{
	if (at != -1)
		return -ESPIPE;
	if ((flags & ~(RWF_NOWAIT | RWF_HIPRI | RWF_DSYNC | RWF_SYNC)) != 0)
		return -EOPNOTSUPP;
	return writev_ours(fd, iov, n, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	if (likely(!fd_is_ours(fd)))
		return real.pwritev2(fd, iov, n, at, flags);
	return write_result(fd, pwritev2_ours(fd, iov, n, at, flags), 0);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t at, int flags)
{
	if (likely(!fd_is_ours(fd)))
		return real.pwritev64v2(fd, iov, n, at, flags);
	return write_result(fd, pwritev2_ours(fd, iov, n, at, flags), 0);
}
