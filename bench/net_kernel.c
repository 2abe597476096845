/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See net.h: the kernel's sockets.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static const char *congestion; /* NULL: the machine's */

void net_start(int *argc, char **argv)
{
	int n = 1;

	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], "--congestion") == 0 && i + 1 < *argc)
			congestion = argv[++i];
		else
			argv[n++] = argv[i];
	argv[ *argc = n] = NULL;
}

void net_stop(void)
{
}

void net_dump(void)
{
}

const char *net_usage(void)
{
	return "  --congestion NAME  tcp(7): TCP_CONGESTION; without: the machine's\n";
}

/* A new connection. */
static int options_set(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (congestion != NULL &&
	    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, strlen(congestion)) < 0) {
		perror(congestion);
		exit(1);
	}
	return fd;
}

int net_listen(int family, uint16_t port)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a, family == AF_INET ? sizeof(a4) : sizeof(a6)) < 0 || listen(fd, 4096) < 0)
		return -errno;
	return fd;
}

int net_accept(int fd)
{
	int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);

	return c < 0 ? -errno : options_set(c);
}

int net_connect(const struct sockaddr *to, socklen_t len)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, to, len) < 0 && errno != EINPROGRESS) {
		int err = errno;

		close(fd);
		return -err;
	}
	return options_set(fd);
}

ssize_t net_read(int fd, void *buf, size_t len)
{
	ssize_t n = read(fd, buf, len);

	return n < 0 ? -errno : n;
}

ssize_t net_write(int fd, const void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

int net_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

void net_abort(int fd)
{
	struct linger l = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

int net_epoll_create(void)
{
	int ep = epoll_create1(0);

	return ep < 0 ? -errno : ep;
}

int net_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	return epoll_ctl(ep, op, fd, ev) < 0 ? -errno : 0;
}

int net_epoll_wait(int ep, struct epoll_event *ev, int n, int timeout, bool spin)
{
	int got = epoll_wait(ep, ev, n, spin ? 0 : timeout);

	return got < 0 ? -errno : got;
}

ssize_t net_discard_zc(int fd)
{
	return -EOPNOTSUPP;
}

ssize_t net_echo_zc(int fd)
{
	return -EOPNOTSUPP;
}

ssize_t net_source_zc(int fd, size_t len)
{
	return -EOPNOTSUPP;
}
