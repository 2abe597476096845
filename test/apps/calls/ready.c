/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Readiness of sockets, and of listeners for all addresses.
 */
#include <sys/epoll.h>
#include <sys/select.h>

#include "calls.h"

static int events_of(int fd, short want, int ms)
{
	struct pollfd p = {.fd = fd, .events = want};

	return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static void polled(void)
{
	char buf[16];
	int fd = tcp_to(LAST), u = socket(AF_INET, SOCK_STREAM, 0), port, l = listener(&port), c;

	show(events_of(u, POLLIN | POLLOUT, 0));
	show(events_of(l, POLLIN | POLLOUT, 0));
	show(events_of(fd, POLLOUT, 0));
	usleep(200000);
	show(events_of(fd, POLLIN | POLLRDHUP | POLLOUT, 0));
	show(read(fd, buf, 16));
	show(events_of(fd, POLLIN | POLLRDHUP, 0));
	show(shutdown(fd, SHUT_WR));
	show(events_of(fd, POLLIN | POLLOUT | POLLRDHUP, 0));
	show(events_of(fd, 0, 0));
	c = call_me(port);
	show(events_of(l, POLLIN, 2000));
	show(close(c));
	show(close(fd));
	show(events_of(fd, POLLIN, 0));
}

static void mixed(void)
{
	int fd = tcp_to(SLOW), p[2], ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1}, got[4];
	struct timeval tv = {2, 0};
	char buf[16];
	fd_set r;

	show(pipe(p));
	show(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	e.data.u64 = 2;
	show(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	show(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	show(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	show(epoll_wait(ep, got, 4, 2000));
	show(got[0].data.u64);
	show(write(p[1], "x", 1));
	usleep(1000); /* as long as there is something of ours, the kernel's is looked at every 20
			 us */
	show(epoll_wait(ep, got, 4, 2000));
	show(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	show(epoll_wait(ep, got, 4, 2000));
	show(got[0].data.u64);
	FD_ZERO(&r);
	FD_SET(fd, &r);
	FD_SET(p[0], &r);
	show(select(fd > p[0] ? fd + 1 : p[0] + 1, &r, NULL, NULL, &tv));
	show(FD_ISSET(fd, &r) != 0);
	show(read_full(fd, buf, 6));
	show(close(fd));
	show(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
}

/* A set that has a socket before it is known whose it is. */
static void set_before_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLOUT | EPOLLIN, .data.u64 = 7}, got[4];
	char buf[16];

	show(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	show(epoll_wait(ep, got, 4, 0));
	show(got[0].events);
	show(connect(fd, AT(PEER, ECHO)));
	show(epoll_wait(ep, got, 4, 2000));
	show(got[0].events);
	show(got[0].data.u64);
	show(write(fd, "abc", 3));
	show(readable(fd));
	show(epoll_wait(ep, got, 4, 2000));
	show(got[0].events);
	show(read(fd, buf, 16));
}

/* At all addresses: of this host, and those of the stack. */
static void wildcard_listener(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET}, from;
	socklen_t len = sizeof(a);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 5}, got[4];
	int l = socket(AF_INET, SOCK_STREAM, 0), c, s, port, ep = epoll_create1(0);
	char buf[16];

	show(bind(l, (struct sockaddr *)&a, sizeof(a)));
	show(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e));
	show(listen(l, 8));
	show(getsockname(l, (struct sockaddr *)&a, &len));
	printf("%s\n", inet_ntoa(a.sin_addr));
	port = ntohs(a.sin_port);
	c = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(c, AT("127.0.0.1", port)));
	show(epoll_wait(ep, got, 4, 2000));
	show(got[0].data.u64);
	s = accept(l, (struct sockaddr *)&from, &len);
	show(s > 0);
	printf("%s\n", inet_ntoa(from.sin_addr));
	show(write(c, "local", 5));
	show(read_full(s, buf, 5));
	show(epoll_wait(ep, got, 4, 0));
	show(close(call_me(port)) + 1);
	show(epoll_wait(ep, got, 4, 2000));
	s = accept(l, (struct sockaddr *)&from, &len);
	show(s > 0);
	printf("%s\n", inet_ntoa(from.sin_addr));
	show(read_full(s, buf, 9));
	show(fcntl(l, F_GETFL) & O_NONBLOCK);
	show(fcntl(l, F_SETFL, O_NONBLOCK));
	show(accept(l, NULL, NULL));
	show((fcntl(dup(l), F_GETFL) & O_NONBLOCK) != 0);
	show(bind(socket(AF_INET, SOCK_STREAM, 0), AT("127.0.0.1", port)));
	show(bind(socket(AF_INET, SOCK_STREAM, 0), AT(OWN, port)));
	show(close(l));
	show(events_of(l, POLLIN, 0));
}

/* Blocking accept of one that listens at both. */
static void wildcard_blocks(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6}, from;
	socklen_t len = sizeof(a);
	struct timeval tv = {0, 50000};
	int l = socket(AF_INET6, SOCK_STREAM, 0), c, s;
	char buf[64];

	show(bind(l, (struct sockaddr *)&a, sizeof(a)));
	show(listen(l, 8));
	show(getsockname(l, (struct sockaddr *)&a, &len));
	c = call_me(ntohs(a.sin6_port));
	s = accept(l, (struct sockaddr *)&from, &len);
	printf("%s\n", inet_ntop(AF_INET6, &from.sin6_addr, buf, sizeof(buf)));
	show(read_full(s, buf, 9));
	show(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	show(accept(l, NULL, NULL));
	show(close(c));
}

const struct call_case ready_cases[] = {
	{"polled", polled},
	{"mixed", mixed},
	{"set_before_connect", set_before_connect},
	{"wildcard_listener", wildcard_listener},
	{"wildcard_blocks", wildcard_blocks},
	{NULL, NULL},
};
