/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See net.h: Z-Stack's sockets.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstack/stats.h>
#include <zstack/zc.h>
#include <zstack/zstack.h>

#include "net.h"

void net_start(int *argc, char **argv)
{
	struct zs_config *c = zs_config_new();

	if (c == NULL || zs_config_args(c, argc, argv) < 0 || zs_start(c) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], c != NULL ? zs_config_error(c) : "no memory");
		exit(1);
	}
	zs_config_free(c);
}

void net_stop(void)
{
	zs_stop();
}

void net_dump(void)
{
	zs_dump(ZS_DUMP_COUNTERS, stderr);
}

const char *net_usage(void)
{
	return zs_config_usage();
}

static int nodelay(int fd)
{
	int one = 1;

	zs_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int net_listen(int family, uint16_t port)
{
	int fd = zs_socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, rc;
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;

	if (fd < 0)
		return fd;
	zs_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	rc = zs_bind(fd, a, family == AF_INET ? sizeof(a4) : sizeof(a6));
	if (rc == 0)
		rc = zs_listen(fd, 4096);
	return rc < 0 ? rc : fd;
}

int net_accept(int fd)
{
	int c = zs_accept4(fd, NULL, NULL, SOCK_NONBLOCK);

	return c < 0 ? c : nodelay(c);
}

int net_connect(const struct sockaddr *to, socklen_t len)
{
	int fd = zs_socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return fd;
	nodelay(fd);
	rc = zs_connect(fd, to, len);
	if (rc < 0 && rc != -EINPROGRESS) {
		zs_close(fd);
		return rc;
	}
	return fd;
}

ssize_t net_read(int fd, void *buf, size_t len)
{
	return zs_read(fd, buf, len);
}

ssize_t net_write(int fd, const void *buf, size_t len)
{
	return zs_write(fd, buf, len);
}

int net_close(int fd)
{
	return zs_close(fd);
}

void net_abort(int fd)
{
	struct linger l = {.l_onoff = 1};

	zs_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	zs_close(fd);
}

int net_epoll_create(void)
{
	return zs_epoll_create1(0);
}

int net_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	return zs_epoll_ctl(ep, op, fd, ev);
}

int net_epoll_wait(int ep, struct epoll_event *ev, int n, int timeout, bool spin)
{
	return zs_epoll_wait(ep, ev, n, spin ? 0 : timeout);
}

static ssize_t sum(const struct zs_buf *b, int n)
{
	ssize_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += b[i].len;
	return bytes;
}

ssize_t net_discard_zc(int fd)
{
	struct zs_buf b[NET_BUFS];
	int n = zs_recv_zc(fd, b, NET_BUFS, 0);

	if (n <= 0)
		return n;
	zs_buf_release(b, n);
	return sum(b, n);
}

ssize_t net_echo_zc(int fd)
{
	struct zs_buf b[NET_BUFS];
	int n = zs_recv_zc(fd, b, NET_BUFS, 0), sent;

	if (n <= 0)
		return n;
	sent = zs_send_zc(fd, b, n, 0, 0);
	if (sent < n) /* an echo whose client does not read: the rest is lost, and said so */
		zs_buf_release(b + (sent > 0 ? sent : 0), sent > 0 ? n - sent : n);
	return sent < n ? -ENOBUFS : sum(b, n);
}

ssize_t net_source_zc(int fd, size_t len)
{
	static struct zs_buf page;
	struct zs_buf b[4];
	int rc, n;

	if (page.handle == 0) {
		rc = zs_buf_alloc(-1, (uint32_t)len, &page);
		if (rc < 0)
			return rc;
		memset(page.data, 'z', len);
	}
	for (n = 0; n < 4; n++) {
		rc = zs_buf_ref(&page);
		if (rc < 0)
			break;
		b[n] = page;
	}
	if (n == 0)
		return -EAGAIN;
	rc = zs_send_zc(fd, b, n, 0, 0);
	if (rc < n)
		zs_buf_release(b + (rc > 0 ? rc : 0), rc > 0 ? n - rc : n);
	return rc < 0 ? rc : sum(b, rc);
}
