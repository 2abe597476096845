/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The socket calls an actor makes, once on the kernel and once on Z-Stack. Results are negative
 * error numbers in both.
 */
#ifndef ZS_TEST_CONFORM_ACTOR_H
#define ZS_TEST_CONFORM_ACTOR_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct calls {
	int (*socket)(int domain, int type, int protocol);
	int (*bind)(int fd, const struct sockaddr *a, socklen_t len);
	int (*listen)(int fd, int backlog);
	int (*accept4)(int fd, struct sockaddr *a, socklen_t *len, int flags);
	int (*connect)(int fd, const struct sockaddr *a, socklen_t len);
	ssize_t (*sendto)(int fd, const void *p, size_t n, int flags, const struct sockaddr *a,
			  socklen_t len);
	ssize_t (*recvfrom)(int fd, void *p, size_t n, int flags, struct sockaddr *a,
			    socklen_t *len);
	ssize_t (*recvmsg)(int fd, struct msghdr *m, int flags);
	ssize_t (*writev)(int fd, const struct iovec *v, int n);
	int (*shutdown)(int fd, int how);
	int (*close)(int fd);
	int (*getsockopt)(int fd, int level, int name, void *v, socklen_t *len);
	int (*setsockopt)(int fd, int level, int name, const void *v, socklen_t len);
	int (*getsockname)(int fd, struct sockaddr *a, socklen_t *len);
	int (*getpeername)(int fd, struct sockaddr *a, socklen_t *len);
	int (*ioctl)(int fd, unsigned long request, int *v);
	int (*fcntl)(int fd, int cmd, int arg);
	int (*poll)(struct pollfd *p, nfds_t n, int timeout);
	int (*epoll_create1)(int flags);
	int (*epoll_ctl)(int ep, int op, int fd, struct epoll_event *e);
	int (*epoll_wait)(int ep, struct epoll_event *e, int max, int timeout);
};
extern const struct calls kernel_calls, zstack_calls;

#endif
