/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks that read. The plain ones go straight to the client; whatever has flags, addresses, or a
 * socket on both sides goes by recv_ours().
 *
 * pread() and its kin need no hook: of a placeholder as of any socket they say ESPIPE. But
 * preadv2() at offset -1 is a readv() with flags.
 *
 * What the client doesn't know of flags Linux ignores on these sockets.
 */
#include "preload/preload.h"
#include "preload/route.h"

#define RECV_FLAGS                                                                                 \
	(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_TRUNC | MSG_OOB | MSG_CMSG_CLOEXEC |          \
	 MSG_ERRQUEUE)

long recv_ours(int fd, struct msghdr *msg, int flags)
{
	int known = flags & RECV_FLAGS;
	long r;

	if (unlikely(fd_kind(fd) == FD_BOTH))
		CALL(r, both_recvmsg(fd, msg, known));
	else
		CALL(r, zs_recvmsg(fd, msg, known));
	return r;
}

static long recv_buf(int fd, void *buf, size_t len, int flags)
{
	struct iovec v = {buf, len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	return recv_ours(fd, &m, flags);
}

/* No flags, one side, a buffer: nearly always. */
static inline bool is_plain(int fd, const void *buf, int flags)
{
	return likely(fd_kind(fd) == FD_SOCKET && (flags & ~MSG_DONTWAIT) == 0 && buf != NULL);
}

/* The kernel's, and not plainly so: is there something for it of the stack's? */
static bool route_recv(int fd, void *buf, size_t len, int flags, ssize_t *r)
{
	struct iovec v = {buf, len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	return fd_kind(fd) == FD_ROUTE && route_receive(fd, &m, flags, r);
}

/* Bytes of a stream that MSG_TRUNC throws away need no place (tcp(7)). */
static bool lacks_place(int fd, const void *buf, size_t len, int flags)
{
	return buf == NULL && len > 0 &&
	       ((flags & (MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE)) != MSG_TRUNC || !is_stream(fd));
}

ssize_t read(int fd, void *buf, size_t len)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.read(fd, buf, len);
	if (!fd_is_ours(fd))
		return route_recv(fd, buf, len, 0, &r) ? r : real.read(fd, buf, len);
	if (unlikely(len == 0 || !is_plain(fd, buf, 0)))
		return result(len == 0 ? 0 : buf == NULL ? -EFAULT : recv_buf(fd, buf, len, 0));
	CALL(r, zs_read(fd, buf, len));
	return result(r);
}

extern typeof(read) hook_read __attribute__((alias("read")));

ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	if (unlikely(len > room))
		return real.__read_chk(fd, buf, len, room);
	return read(fd, buf, len);
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	long r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.recv(fd, buf, len, flags);
	if (!fd_is_ours(fd))
		return route_recv(fd, buf, len, flags, &r) ? r : real.recv(fd, buf, len, flags);
	if (unlikely(!is_plain(fd, buf, flags)))
		return result(lacks_place(fd, buf, len, flags) ? -EFAULT
							       : recv_buf(fd, buf, len, flags));
	CALL(r, zs_recv(fd, buf, len, flags));
	return result(r);
}

ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	if (unlikely(len > room))
		return real.__recv_chk(fd, buf, len, room, flags);
	return recv(fd, buf, len, flags);
}

ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *restrict addr,
		 socklen_t *restrict addrlen)
{
	struct iovec v = {buf, len};
	struct msghdr m = {.msg_name = addr, .msg_iov = &v, .msg_iovlen = 1};
	ssize_t r;

	if (likely(fd_kind(fd) == FD_KERNEL))
		return real.recvfrom(fd, buf, len, flags, addr, addrlen);
	if (!fd_is_ours(fd)) {
		m.msg_namelen = addr != NULL && addrlen != NULL ? *addrlen : 0;
		if (fd_kind(fd) != FD_ROUTE || !route_receive(fd, &m, flags, &r))
			return real.recvfrom(fd, buf, len, flags, addr, addrlen);
		if (addr != NULL && addrlen != NULL)
			*addrlen = m.msg_namelen;
		return r;
	}
	if (lacks_place(fd, buf, len, flags) || (addr != NULL && addrlen == NULL))
		return result(-EFAULT);
	if (addr == NULL)
		return recv(fd, buf, len, flags);
	if ((int)*addrlen < 0)
		return result(-EINVAL);
	m.msg_namelen = *addrlen;
	r = recv_ours(fd, &m, flags);
	if (r >= 0)
		*addrlen = m.msg_namelen;
	return result(r);
}

ssize_t __recvfrom_chk(int fd, void *buf, size_t len, size_t room, int flags,
		       struct sockaddr *restrict addr, socklen_t *restrict addrlen)
{
	if (unlikely(len > room))
		return real.__recvfrom_chk(fd, buf, len, room, flags, addr, addrlen);
	return recvfrom(fd, buf, len, flags, addr, addrlen);
}

/* ---- vectors ---- */

static long readv_ours(int fd, const struct iovec *iov, int n, int flags)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	if (n < 0 || n > 1024)
		return -EINVAL;
	return n == 0 ? 0 : recv_ours(fd, &m, flags);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	if (likely(!fd_is_ours(fd)))
		return real.readv(fd, iov, n);
	return result(readv_ours(fd, iov, n, 0));
}

/* Of the flags only RWF_NOWAIT and RWF_HIPRI mean something here, or may be said. */
static long preadv2_ours(int fd, const struct iovec *iov, int n, off64_t at, int flags)
{
	if (at != -1)
		return -ESPIPE;
	if ((flags & ~(RWF_NOWAIT | RWF_HIPRI)) != 0)
		return -EOPNOTSUPP;
	return readv_ours(fd, iov, n, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	if (likely(!fd_is_ours(fd)))
		return real.preadv2(fd, iov, n, at, flags);
	return result(preadv2_ours(fd, iov, n, at, flags));
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t at, int flags)
{
	if (likely(!fd_is_ours(fd)))
		return real.preadv64v2(fd, iov, n, at, flags);
	return result(preadv2_ours(fd, iov, n, at, flags));
}
