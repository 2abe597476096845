/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See actor.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "actor.h"
#include "zstack/zstack.h"

#define OR_ERRNO(call)                                                                             \
	do {                                                                                       \
		__typeof__(call) result = (call);                                                  \
		return result < 0 ? -errno : result;                                               \
	} while (0)

static int k_socket(int domain, int type, int protocol)
{
	OR_ERRNO(socket(domain, type, protocol));
}

static int k_bind(int fd, const struct sockaddr *a, socklen_t len)
{
	OR_ERRNO(bind(fd, a, len));
}

static int k_listen(int fd, int backlog)
{
	OR_ERRNO(listen(fd, backlog));
}

static int k_accept4(int fd, struct sockaddr *a, socklen_t *len, int flags)
{
	OR_ERRNO(accept4(fd, a, len, flags));
}

static int k_connect(int fd, const struct sockaddr *a, socklen_t len)
{
	OR_ERRNO(connect(fd, a, len));
}

static ssize_t k_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *a,
			socklen_t len)
{
	OR_ERRNO(sendto(fd, p, n, flags | MSG_NOSIGNAL, a, len));
}

static ssize_t k_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *a, socklen_t *len)
{
	OR_ERRNO(recvfrom(fd, p, n, flags, a, len));
}

static ssize_t k_recvmsg(int fd, struct msghdr *m, int flags)
{
	OR_ERRNO(recvmsg(fd, m, flags));
}

static ssize_t k_writev(int fd, const struct iovec *v, int n)
{
	OR_ERRNO(writev(fd, v, n));
}

static int k_shutdown(int fd, int how)
{
	OR_ERRNO(shutdown(fd, how));
}

static int k_close(int fd)
{
	OR_ERRNO(close(fd));
}

static int k_getsockopt(int fd, int level, int name, void *v, socklen_t *len)
{
	OR_ERRNO(getsockopt(fd, level, name, v, len));
}

static int k_setsockopt(int fd, int level, int name, const void *v, socklen_t len)
{
	OR_ERRNO(setsockopt(fd, level, name, v, len));
}

static int k_getsockname(int fd, struct sockaddr *a, socklen_t *len)
{
	OR_ERRNO(getsockname(fd, a, len));
}

static int k_getpeername(int fd, struct sockaddr *a, socklen_t *len)
{
	OR_ERRNO(getpeername(fd, a, len));
}

static int k_ioctl(int fd, unsigned long request, int *v)
{
	OR_ERRNO(ioctl(fd, request, v));
}

static int k_fcntl(int fd, int cmd, int arg)
{
	OR_ERRNO(fcntl(fd, cmd, arg));
}

static int k_poll(struct pollfd *p, nfds_t n, int timeout)
{
	OR_ERRNO(poll(p, n, timeout));
}

static int k_epoll_create1(int flags)
{
	OR_ERRNO(epoll_create1(flags));
}

static int k_epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	OR_ERRNO(epoll_ctl(ep, op, fd, e));
}

static int k_epoll_wait(int ep, struct epoll_event *e, int max, int timeout)
{
	OR_ERRNO(epoll_wait(ep, e, max, timeout));
}

const struct calls kernel_calls = {
	k_socket,	 k_bind,	k_listen,      k_accept4,  k_connect, k_sendto,
	k_recvfrom,	 k_recvmsg,	k_writev,      k_shutdown, k_close,   k_getsockopt,
	k_setsockopt,	 k_getsockname, k_getpeername, k_ioctl,	   k_fcntl,   k_poll,
	k_epoll_create1, k_epoll_ctl,	k_epoll_wait,
};

static int z_ioctl(int fd, unsigned long request, int *v)
{
	return zs_ioctl(fd, request, v);
}

static int z_fcntl(int fd, int cmd, int arg)
{
	return zs_fcntl(fd, cmd, arg);
}

const struct calls zstack_calls = {
	zs_socket,	  zs_bind,	  zs_listen,	  zs_accept4,  zs_connect, zs_sendto,
	zs_recvfrom,	  zs_recvmsg,	  zs_writev,	  zs_shutdown, zs_close,   zs_getsockopt,
	zs_setsockopt,	  zs_getsockname, zs_getpeername, z_ioctl,     z_fcntl,	   zs_poll,
	zs_epoll_create1, zs_epoll_ctl,	  zs_epoll_wait,
};
