/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks from socket() to shutdown(), but close (descriptor_call.c).
 */
#include <netinet/in.h>
#include <linux/netlink.h>
#include <linux/sockios.h>

#include "preload/preload.h"
#include "preload/whose.h"

#define TYPE_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

static bool may_be_ours(int domain, int type, int protocol)
{
	type &= ~TYPE_FLAGS;
	if (domain != AF_INET && domain != AF_INET6)
		return false;
	return (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) ||
	       (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP));
}

int socket(int domain, int type, int protocol)
{
	int fd = real.socket(domain, type, protocol), r;

	if (fd < 0 || is_inside())
		return fd;
	if (!may_be_ours(domain, type, protocol)) {
		/* Without room it is as any other of the kernel's. */
		if (domain == AF_NETLINK)
			(void)!number_begin(fd, protocol == NETLINK_ROUTE ? FD_ROUTE : FD_KERNEL);
		count_socket(domain == AF_UNIX ? TOLD_UNIX : TOLD_OTHER_KIND);
		return fd;
	}
	r = number_begin(fd, FD_UNDECIDED);
	if (likely(r == 0))
		return fd;
	real.close(fd);
	return (int)result(r);
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	enum fd_kind kind = fd_kind(fd);
	long r;

	if (kind <= FD_EPOLL)
		return real.bind(fd, addr, len);
	if (kind == FD_UNDECIDED)
		CALL_ONCE(r, decide_bind(fd, addr, len));
	else
		CALL_ONCE(r, zs_bind(fd, addr, len));
	return (int)result(r < 0 ? r : 0);
}

static int listen_ours(int fd, int backlog)
{
	int r = zs_listen(fd, backlog);

	if (r == 0 && fd_kind(fd) == FD_BOTH && real.listen(twin_of(fd), backlog) < 0)
		r = -errno;
	return r;
}

int listen(int fd, int backlog)
{
	long r = DECIDED_OURS;

	if (fd_kind(fd) == FD_UNDECIDED)
		CALL_ONCE(r, decide_listen(fd));
	if (r < 0)
		return (int)result(r);
	if (!fd_is_ours(fd))
		return real.listen(fd, backlog);
	CALL_ONCE(r, listen_ours(fd, backlog));
	return (int)result(r);
}

static long accept_ours(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	long r;

	if ((flags & ~TYPE_FLAGS) != 0)
		return -EINVAL;
	if (fd_kind(fd) == FD_BOTH) {
		CALL(r, both_accept(fd, addr, len, flags));
		return r;
	}
	CALL(r, zs_accept4(fd, addr, len, flags));
	if (r >= 0) {
		(void)!number_begin((int)r, FD_SOCKET); /* there is room: host_fd_new() */
		count_socket(TOLD_ACCEPTED);
	}
	return r;
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (likely(!fd_is_ours(fd)))
		return real.accept4(fd, addr, len, flags);
	return (int)result(accept_ours(fd, addr, len, flags));
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	if (likely(!fd_is_ours(fd)))
		return real.accept(fd, addr, len);
	return (int)result(accept_ours(fd, addr, len, 0));
}

/* ---- connect ---- */

static bool dissolves(const struct sockaddr *addr, socklen_t len)
{
	return addr != NULL && len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC;
}

/* UDP and TCP sockets bound on both sides are for one from here on; a UDP one that is to forget its
 * peer has none. */
static long connect_both(int fd, const struct sockaddr *addr, socklen_t len)
{
	long r;

	if (!dissolves(addr, len) && both_whose(fd, addr, len, false) == DECIDED_KERNEL) {
		both_kernel(fd);
		return DECIDED_KERNEL;
	}
	if (!dissolves(addr, len))
		both_ours(fd);
	no_link_rule_to(fd, addr, len);
	CALL_ONCE(r, zs_connect(fd, addr, len));
	return r < 0 ? r : DECIDED_OURS;
}

/* TCP that is (being) connected in the kernel stays there; UDP may be connected elsewhere next. */
static int connect_kernel(int fd, const struct sockaddr *addr, socklen_t len)
{
	int r = real.connect(fd, addr, len), err = errno, type = 0;
	socklen_t n = sizeof(type);

	if (fd_kind(fd) != FD_UNDECIDED || (r < 0 && err != EINPROGRESS))
		return r;
	if (real.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM)
		decide_kernel(fd);
	errno = err;
	return r;
}

long connect_any(int fd, const struct sockaddr *addr, socklen_t len)
{
	long r = DECIDED_OURS;

	if (fd_kind(fd) == FD_UNDECIDED)
		CALL_ONCE(r, decide_connect(fd, addr, len));
	else if (fd_kind(fd) == FD_BOTH)
		return connect_both(fd, addr, len);
	if (r == DECIDED_OURS) {
		no_link_rule_to(fd, addr, len);
		CALL(r, zs_connect(fd, addr, len));
		r = r < 0 ? r : DECIDED_OURS;
	}
	return r;
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	enum fd_kind kind = fd_kind(fd);
	long r;

	if (kind <= FD_EPOLL)
		return real.connect(fd, addr, len);
	r = connect_any(fd, addr, len);
	if (r == DECIDED_KERNEL)
		return connect_kernel(fd, addr, len);
	return (int)result(r < 0 ? r : 0);
}

/* ---- names, shutdown ---- */

int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.getsockname(fd, addr, len);
	if (addr == NULL || len == NULL)
		return (int)result(-EFAULT);
	CALL_ONCE(r, zs_getsockname(fd, addr, len));
	return (int)result(r);
}

int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.getpeername(fd, addr, len);
	if (addr == NULL || len == NULL)
		return (int)result(-EFAULT);
	CALL_ONCE(r, zs_getpeername(fd, addr, len));
	return (int)result(r);
}

int shutdown(int fd, int how)
{
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.shutdown(fd, how);
	if (fd_kind(fd) == FD_BOTH)
		real.shutdown(twin_of(fd), how);
	CALL_ONCE(r, zs_shutdown(fd, how));
	return (int)result(r);
}

int sockatmark(int fd)
{
	int mark = 0;
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.sockatmark(fd);
	CALL_ONCE(r, is_stream(fd) ? zs_ioctl(fd, SIOCATMARK, &mark) : -ENOTTY);
	return (int)result(r < 0 ? r : mark);
}
