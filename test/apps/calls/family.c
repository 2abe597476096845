/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IPv6, and both families in one socket.
 */
#include <sys/epoll.h>

#include "calls.h"

#define PEER6 "fd07::1"
#define OWN6  "fd07::2"

static struct sockaddr_in6 at6(const char *ip, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	inet_pton(AF_INET6, ip, &a.sin6_addr);
	return a;
}

#define AT6(ip, port)                                                                              \
	(struct sockaddr *)&(struct sockaddr_in6[]){at6(ip, port)}, sizeof(struct sockaddr_in6)

static void show_name(const char *what, int r, const struct sockaddr_in6 *a, socklen_t len)
{
	char text[64] = "";

	inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
	printf("%s = %d: family %d, %s, length %u, scope %u\n", what, r, a->sin6_family, text, len,
	       a->sin6_scope_id);
}

static void show_names(int fd)
{
	struct sockaddr_in6 a = {0};
	socklen_t len = sizeof(a);
	int r = getsockname(fd, (struct sockaddr *)&a, &len);

	show_name("own", r, &a, len);
	a = (struct sockaddr_in6){0};
	len = sizeof(a);
	r = getpeername(fd, (struct sockaddr *)&a, &len);
	show_name("peer", r, &a, len);
}

static void stream6(void)
{
	char buf[8];
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	show(connect(fd, AT6(PEER6, ECHO)));
	show_names(fd);
	show(write(fd, "six", 3));
	show(read_full(fd, buf, 3));
	show_bytes("got", buf, 3);
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	show(connect(fd, AT6(PEER6, NOBODY)));
	show(bind(fd, AT6("fd07::77", 0)));
	show(bind(fd, AT6(OWN6, 0)));
	show(connect(fd, AT6(PEER6, ECHO)));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(fd, AT6(PEER6, ECHO)));
}

static void mapped(void)
{
	char buf[8];
	int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1;

	show(connect(fd, AT6("::ffff:10.7.0.1", ECHO)));
	show_names(fd);
	show(write(fd, "four", 4));
	show(read_full(fd, buf, 4));
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	show(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
	show(connect(fd, AT6("::ffff:10.7.0.1", ECHO)));
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	show(sendto(fd, "u", 1, 0, AT6("::ffff:10.7.0.1", UECHO)));
	show(readable(fd));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
}

static void dgram6(void)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);
	char buf[8];
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), r;

	show(sendto(fd, "six", 3, 0, AT6(PEER6, UECHO)));
	show(readable(fd));
	r = (int)recvfrom(fd, buf, 8, 0, (struct sockaddr *)&a, &len);
	show_name("from", r, &a, len);
	show(connect(fd, AT6(PEER6, UECHO)));
	show_names(fd);
	show(send(fd, "six", 3, 0));
	show(readable(fd));
	show(read(fd, buf, 8));
}

/* Two listeners of one port, one for each family. */
static void two_families(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	socklen_t len = sizeof(a);
	int six = socket(AF_INET6, SOCK_STREAM, 0), four = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	int v = -1, port, s;
	char buf[16];

	show(setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)));
	show(bind(six, (struct sockaddr *)&a, sizeof(a)));
	show(getsockname(six, (struct sockaddr *)&a, &len));
	port = ntohs(a.sin6_port);
	show(bind(four, AT("0.0.0.0", port)));
	show(bind(socket(AF_INET, SOCK_STREAM, 0), AT(OWN, port)));
	show(listen(six, 8));
	show(listen(four, 8));
	len = sizeof(v);
	show(getsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &v, &len));
	show(v);
	show(call_me(port) > 0);
	s = accept(four, NULL, NULL);
	show(read_full(s, buf, 9));
	show(close(s));
	len = sizeof(v);
	show(getsockopt(six, SOL_SOCKET, SO_DOMAIN, &v, &len));
	show(v);
}

static void own_addresses(void)
{
	int port, l = listener(&port), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, u;

	show(bind(fd, AT(OWN, port)));
	show(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	show(bind(fd, AT(OWN, port)));
	show(bind(fd, AT("10.7.0.99", 0)));
	show(bind(fd, AT("192.0.2.1", 0)));
	show(bind(fd, AT(OWN, 0)));
	u = socket(AF_INET, SOCK_DGRAM, 0);
	show(bind(u, AT(OWN, port)));
	show(bind(socket(AF_INET, SOCK_DGRAM, 0), AT(OWN, port)));
	show(bind(socket(AF_INET, SOCK_DGRAM, 0), AT("127.0.0.1", port)));
	show(close(l));
	show(bind(socket(AF_INET, SOCK_STREAM, 0), AT(OWN, port)));
}

static void shared_port(void)
{
	int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in at_port;
	socklen_t len = sizeof(at_port);

	show(setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	show(setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	show(bind(a, AT("0.0.0.0", 0)));
	show(getsockname(a, (struct sockaddr *)&at_port, &len));
	show(bind(b, (struct sockaddr *)&at_port, len));
	show(listen(a, 4));
	show(listen(b, 4));
	show(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&at_port, len));
}

static int port_of(int fd)
{
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &len) == 0 ? ntohs(a.sin_port) : -1;
}

/* Bound to all addresses, and then connected to the one side or the other. */
static void bound_then_connected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), two, port, ep = epoll_create1(0), one = 1;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 9}, got[2];
	char buf[8];

	show(bind(fd, AT("0.0.0.0", 0)));
	port = port_of(fd);
	show(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	two = dup(fd);
	show(connect(fd, AT(PEER, ECHO)));
	show(port_of(two) == port);
	show(setsockopt(two, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	show(write(two, "ours", 4));
	show(epoll_wait(ep, got, 2, 2000));
	show(got[0].data.u64);
	show(read_full(fd, buf, 4));
	show(close(fd));
	show(close(two));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	show(bind(fd, AT("0.0.0.0", 0)));
	port = port_of(fd);
	e.events = EPOLLOUT;
	show(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	show(connect(fd, AT("127.0.0.1", 1)));
	show(port_of(fd) == port);
	show(epoll_wait(ep, got, 2, 0));
	two = socket(AF_INET, SOCK_STREAM, 0);
	show(bind(two, AT("127.0.0.1", 0)));
	show(listen(two, 1));
	show(connect(fd, AT("127.0.0.1", port_of(two))));
	show(write(fd, "x", 1));
	show(read(accept(two, NULL, NULL), buf, 8));
}

/* What is set on a listener of both sides is what both have. */
static void options_of_both(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, v = -1, c, s;
	socklen_t len = sizeof(v);

	show(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	show(bind(l, AT("0.0.0.0", 0)));
	show(setsockopt(l, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
	show(fcntl(l, F_SETFL, O_NONBLOCK));
	show((fcntl(l, F_GETFL) & O_NONBLOCK) != 0);
	show(accept(l, NULL, NULL));
	show(listen(l, 5));
	show(accept(l, NULL, NULL));
	show(ioctl(l, FIONBIO, &(int){0}));
	show(fcntl(l, F_GETFL) & O_NONBLOCK);
	c = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(c, AT("127.0.0.1", port_of(l))));
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	show(getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &v, &len));
	show(v);
	show((fcntl(s, F_GETFL) & O_NONBLOCK) != 0);
	show(close(call_me(port_of(l))) + 1);
	s = accept(l, NULL, NULL);
	show(getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &v, &len));
	show(v);
	signal(SIGPIPE, SIG_IGN);
	show(connect(l, AT(PEER, ECHO)));
	show(write(l, "x", 1));
}

/* Both ends are here. */
static void to_itself(void)
{
	int port, l = listener(&port), fd = socket(AF_INET, SOCK_STREAM, 0), s, u;
	struct sockaddr_in a = {0};
	socklen_t len = sizeof(a);
	char buf[8];

	show(connect(fd, AT(OWN, port)));
	s = accept(l, (struct sockaddr *)&a, &len);
	show(s > 0);
	printf("%s %d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port) == port_of(fd));
	show(write(fd, "hello", 5));
	show(read_full(s, buf, 5));
	show(write(s, "you", 3));
	show(read_full(fd, buf, 3));
	show(close(s));
	show(read(fd, buf, 1));
	show(close(l));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(fd, AT(OWN, port)));
	u = socket(AF_INET, SOCK_DGRAM, 0);
	show(bind(u, AT(OWN, 0)));
	show(sendto(u, "me", 2, 0, AT(OWN, port_of(u))));
	show(readable(u));
	show(recv(u, buf, 8, MSG_DONTWAIT));
}

/* Levels that a socket has not. */
static void levels(void)
{
	static const int level[] = {IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6, 282, 500};
	int fd[] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
		    socket(AF_INET6, SOCK_STREAM, 0), socket(AF_INET6, SOCK_DGRAM, 0)};
	char buf[64];

	show(bind(fd[0], AT(OWN, 0)) + bind(fd[1], AT(OWN, 0)));
	show(bind(fd[2], AT6(OWN6, 0)) + bind(fd[3], AT6(OWN6, 0)));
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < sizeof(level) / sizeof(level[0]); k++) {
			socklen_t len = sizeof(int);

			printf("socket %u, level %d\n", i, level[k]);
			show(getsockopt(fd[i], level[k], 9999, buf, &len));
			show(setsockopt(fd[i], level[k], 9999, buf, sizeof(int)));
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		socklen_t len = sizeof(buf);

		show(getsockopt(fd[i], IPPROTO_TCP, TCP_ULP, buf, &len));
		show((long)len);
	}
}

static int sharing(int domain, int port)
{
	int fd = socket(domain, SOCK_STREAM, 0), one = 1;

	show(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	if (domain == AF_INET)
		show(bind(fd, AT("0.0.0.0", port)));
	else
		show(bind(fd, AT6("::", port)));
	show(listen(fd, 16));
	return fd;
}

/* Of two listeners that share a port, IPv4 goes to that of IPv4. */
static void nearer_listener(void)
{
	struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};
	int fd, four = 0, six = 0;

	p[0].fd = sharing(AF_INET6, 0);
	p[1].fd = sharing(AF_INET, port_of(p[0].fd));
	for (int i = 0; i < 12; i++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, AT(OWN, port_of(p[0].fd))) < 0 || poll(p, 2, -1) != 1)
			show_result("connection", i);
		six += p[0].revents != 0;
		four += p[1].revents != 0;
		close(accept(p[p[1].revents != 0].fd, NULL, NULL));
	}
	show(six);
	show(four);
	show(close(p[1].fd));
	show(connect(socket(AF_INET, SOCK_STREAM, 0), AT(OWN, port_of(p[0].fd))));
	show(readable(p[0].fd));
}

const struct call_case family_cases[] = {
	{"stream6", stream6},
	{"mapped", mapped},
	{"dgram6", dgram6},
	{"two_families", two_families},
	{"own_addresses", own_addresses},
	{"shared_port", shared_port},
	{"bound_then_connected", bound_then_connected},
	{"options_of_both", options_of_both},
	{"to_itself", to_itself},
	{"levels", levels},
	{"nearer_listener", nearer_listener},
	{NULL, NULL},
};
