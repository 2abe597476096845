/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The C library behind the hooks. The library is linked with -z initfirst, so the table is there
 * before any other code of the program runs. The linker's --wrap sends what the client's objects
 * call to the functions at the end, which know no hooks.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "preload/preload.h"

struct real real;

static void *find(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (p == NULL) {
		fprintf(stderr, "zstack: this C library has no %s()\n", name);
		abort();
	}
	return p;
}

__attribute__((constructor(101))) static void real_init(void)
{
#define X(name) real.name = find(#name);
	REAL_CALLS(X)
#undef X
}

/* ---- for the client's objects ----
 *
 * What may sleep is called by hand: the C library's functions are cancellation points, at which a
 * thread would end with the client's locks (cancel_call.c). And its ppoll copies the time that a
 * handler may take away (client/interrupt.c).
 */
#define SIGSET_BYTES ((size_t)8) /* the kernel's */

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* What the client keeps it moves up (attach.c), and by that it is known as the library's own. */
int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd != F_DUPFD_CLOEXEC)
		return real.fcntl64(fd, cmd, arg);
	r = own_dup(fd);
	/* It stays where it is, then, and is the library's there. */
	if (r < 0 && number_room(fd) == 0)
		fd_set_kind(fd, FD_OWN);
	return r;
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return real.bind(fd, addr, len);
}

int __wrap_close(int fd)
{
	if (fd_kind(fd) == FD_OWN)
		fd_set_kind(fd, FD_KERNEL);
	return (int)real.syscall(SYS_close, fd);
}

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)real.syscall(SYS_connect, fd, addr, len);
}

int __wrap_epoll_create1(int flags)
{
	int fd;

	limit_widen();
	fd = real.epoll_create1(flags);
	limit_narrow();
	return fd;
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return real.epoll_ctl(epfd, op, fd, event);
}

int __wrap_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
			const sigset_t *mask)
{
	return (int)real.syscall(SYS_epoll_pwait2, epfd, events, n, timeout, mask, SIGSET_BYTES);
}

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout)
{
	return (int)real.syscall(SYS_epoll_pwait, epfd, events, n, timeout, NULL, SIGSET_BYTES);
}

int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return real.getpeername(fd, addr, len);
}

int __wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return real.getsockname(fd, addr, len);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return real.getsockopt(fd, level, name, value, len);
}

int __wrap_listen(int fd, int backlog)
{
	return real.listen(fd, backlog);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return (int)real.syscall(SYS_poll, fds, n, timeout);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	return (int)real.syscall(SYS_ppoll, fds, n, timeout, mask, SIGSET_BYTES);
}

int __wrap_prctl(int option, ...)
{
	va_list ap;
	long a[4];

	va_start(ap, option);
	for (unsigned i = 0; i < array_size(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return real.prctl(option, a[0], a[1], a[2], a[3]);
}

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	return real.syscall(SYS_read, fd, buf, len);
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off64_t at, int flags)
{
	return real.preadv64v2(fd, iov, n, at, flags);
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	return real.syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	if (msg->msg_controllen == 0)
		return real.syscall(SYS_recvmsg, fd, msg, flags);
	/* Descriptors for which there is no number are lost. */
	limit_widen();
	n = real.syscall(SYS_recvmsg, fd, msg, flags);
	limit_narrow();
	return n;
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	return real.syscall(SYS_sendto, fd, buf, len, flags, NULL, 0);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return real.syscall(SYS_sendmsg, fd, msg, flags);
}

int __wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return real.sigaction(sig, act, old);
}

int __wrap_socket(int domain, int type, int protocol)
{
	int fd;

	limit_widen();
	fd = real.socket(domain, type, protocol);
	limit_narrow();
	return fd;
}

long __wrap_syscall(long number, ...)
{
	va_list ap;
	long a[6];

	va_start(ap, number);
	for (unsigned i = 0; i < array_size(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	return real.syscall(SYS_write, fd, buf, len);
}
