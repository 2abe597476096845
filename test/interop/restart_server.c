/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that outlives its service, for test_restart.py. Its threads wait in every way there is,
 * and each says on a line of its own what its connections ended with ("end 7 104").
 *
 *	port 7    a thread for each connection, blocked in accept and read
 *	port 8    one thread, level-triggered epoll
 *	port 9    one thread, edge-triggered epoll
 *	port 5    UDP, blocked in a receive without a copy; answers with the datagram before, which
 *		  it keeps until then: its buffer may be of a service that is gone
 *	port 6    UDP, never sleeps: asks without waiting, once in a millisecond
 *	-> 4000   connects to the peer as often as it says, and prints what came of it ("out 0")
 *
 * With an argument, which is added to each port, it first closes all descriptors that it does
 * not know, and does not connect.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server.h"
#include "zstack/zc.h"

static int base; /* added to each port */

static int bound(int type, uint16_t port)
{
	return server_socket(type, (uint16_t)(base + port), 0, 100);
}

static void said(int port, ssize_t n)
{
	printf("end %d %d\n", port, (int)-n);
}

/* 0: it goes on. */
static ssize_t echo_once(int fd)
{
	char buf[20000];
	ssize_t n = zs_read(fd, buf, sizeof(buf)), k = 0;

	for (ssize_t done = 0; n > 0 && done < n && (k >= 0 || k == -EAGAIN); done += k > 0 ? k : 0)
		k = zs_write(fd, buf + done, (size_t)(n - done));
	return k < 0 ? k : n;
}

static void *connection(void *arg)
{
	int fd = (int)(intptr_t)arg;
	ssize_t n;

	while ((n = echo_once(fd)) > 0)
		;
	said(7, n);
	must(zs_close(fd), "close");
	return NULL;
}

static void *blocked(void *arg)
{
	int l = bound(SOCK_STREAM, 7);

	(void)arg;
	for (;;)
		start_thread(connection,
			     (void *)(intptr_t)must(zs_accept(l, NULL, NULL), "accept"));
	return NULL;
}

static void ready(int ep, int l, int fd, uint32_t mode, int port)
{
	struct epoll_event e = {.events = EPOLLIN | mode};
	ssize_t n;

	if (fd != l) {
		do {
			n = echo_once(fd);
		} while (n > 0 && mode != 0);
		if (n == -EAGAIN || n > 0)
			return;
		said(port, n);
		must(zs_close(fd), "close");
		return;
	}
	while ((fd = zs_accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		e.data.fd = fd;
		must(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
	}
	if (fd != -EAGAIN)
		must(fd, "accept");
}

static void *epoll(void *arg)
{
	uint32_t mode = (uint32_t)(intptr_t)arg;
	int port = mode != 0 ? 9 : 8, l = bound(SOCK_STREAM, (uint16_t)port);
	int ep = must(zs_epoll_create1(0), "epoll");
	struct epoll_event e = {.events = EPOLLIN | mode, .data.fd = l};

	must(zs_fcntl(l, F_SETFL, O_NONBLOCK), "fcntl");
	must(zs_epoll_ctl(ep, EPOLL_CTL_ADD, l, &e), "epoll_ctl");
	for (;;) {
		must(zs_epoll_wait(ep, &e, 1, -1), "epoll_wait");
		ready(ep, l, e.data.fd, mode, port);
	}
	return NULL;
}

static void *keeper(void *arg)
{
	int fd = bound(SOCK_DGRAM, 5);
	struct zs_buf kept[48], b[48];
	struct sockaddr_in from;
	int n_kept = 0, n;

	(void)arg;
	for (;;) {
		socklen_t len = sizeof(from);

		n = must(zs_recvfrom_zc(fd, b, 48, 0, (struct sockaddr *)&from, &len), "recv_zc");
		if (n_kept > 0)
			must(zs_sendto_zc(fd, kept, n_kept, 0, 0, (struct sockaddr *)&from, len),
			     "send_zc");
		memcpy(kept, b, sizeof(kept));
		n_kept = n;
	}
	return NULL;
}

static void *poller(void *arg)
{
	int fd = bound(SOCK_DGRAM, 6);
	struct sockaddr_in from;
	char buf[2000];

	(void)arg;
	must(zs_fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = zs_recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			(void)!zs_sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
		else if (n != -EAGAIN)
			must((int)n, "recvfrom");
		else
			usleep(1000);
	}
	return NULL;
}

/* One byte says that the peer is there; then it waits for the end. */
static int reach(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(4000),
				 .sin_addr.s_addr = htonl(0x0a070001)};
	int fd = must(zs_socket(AF_INET, SOCK_STREAM, 0), "socket"), one = 1, r;
	socklen_t len = sizeof(one);
	char c;

	must(zs_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, len), "setsockopt");
	r = zs_connect(fd, (struct sockaddr *)&to, sizeof(to));
	while (r == 0 || r > 0)
		if ((r = (int)zs_read(fd, &c, 1)) == 0)
			break;
	one = 0;
	must(zs_getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, &len), "getsockopt");
	if (one != 1)
		errx(1, "an option is lost");
	must(zs_close(fd), "close");
	return r;
}

static void *out(void *arg)
{
	(void)arg;
	for (;;) {
		printf("out %d\n", -reach());
		usleep(50000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct zs_config *c = zs_config_new();

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (c == NULL)
		errx(1, "no memory");
	must(zs_start(c), "start");
	zs_config_free(c);
	if (argc > 1) {
		base = atoi(argv[1]);
		if (close_range(3, ~0u, 0) < 0)
			err(1, "close_range");
	}
	start_thread(blocked, (void *)(intptr_t)0);
	start_thread(epoll, (void *)(intptr_t)0);
	start_thread(epoll, (void *)(intptr_t)(intptr_t)EPOLLET);
	start_thread(keeper, (void *)(intptr_t)0);
	start_thread(poller, (void *)(intptr_t)0);
	if (base == 0)
		start_thread(out, (void *)(intptr_t)0);
	printf("ready\n");
	for (;;)
		pause();
}
