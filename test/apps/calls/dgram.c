/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP.
 */
#include <net/if.h>

#include "calls.h"

static int bound(int *port)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(fd, AT(OWN, 0)) != 0 || getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		exit(1);
	*port = ntohs(a.sin_port);
	return fd;
}

static void datagrams(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char buf[32];
	int port, fd = bound(&port);

	show(send(fd, "x", 1, 0));
	show(sendto(fd, "hello", 5, 0, AT(PEER, UECHO)));
	show(readable(fd));
	show(recvfrom(fd, buf, 3, MSG_PEEK, (struct sockaddr *)&a, &len));
	show(recvfrom(fd, buf, 3, MSG_PEEK | MSG_TRUNC, NULL, NULL));
	show(recvfrom(fd, buf, 3, 0, (struct sockaddr *)&a, &len));
	printf("%s %d len %u\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port), len);
	show_bytes("got", buf, 3);
	show(recv(fd, buf, 3, MSG_DONTWAIT));
	show(sendto(fd, "", 0, 0, AT(PEER, UECHO)));
	show(readable(fd));
	show(recv(fd, buf, 3, MSG_DONTWAIT));
	show(sendto(fd, buf, 70000, 0, AT(PEER, UECHO)));
	show(sendto(fd, "x", 1, 0, AT(PEER, 0)));
	show(sendto(fd, "x", 1, MSG_OOB, AT(PEER, UECHO)));
	show(listen(fd, 1));
	show(accept(fd, NULL, NULL));
	show(shutdown(fd, SHUT_RD));
	show(sockatmark(fd));
}

static void connected(void)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char buf[32];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	show(connect(fd, AT(PEER, UECHO)));
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	show(getsockname(fd, (struct sockaddr *)&a, &len));
	printf("%s\n", inet_ntoa(a.sin_addr));
	show(write(fd, "hello", 5));
	show(readable(fd));
	show(read(fd, buf, 32));
	show(send(fd, "again", 5, 0));
	show(readable(fd));
	show(recv(fd, buf, 32, 0));
	show(sendto(fd, "x", 1, 0, AT(PEER, UECHO)));
	show(readable(fd));
	show(read(fd, buf, 0));
	show(read(fd, buf, 32));
	show(connect(fd, &unspec, sizeof(unspec)));
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	show(send(fd, "x", 1, 0));
	show(write(fd, "x", 1));
	show(shutdown(fd, SHUT_WR));
}

/* ---- broadcasts ---- */

static int hearer_at(const char *ip, int *port)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), yes = 1;
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	show(bind(fd, AT(ip, *port)));
	show(getsockname(fd, (struct sockaddr *)&a, &len));
	printf("%s\n", inet_ntoa(a.sin_addr));
	*port = ntohs(a.sin_port);
	return fd;
}

static void hears(int fd, bool something)
{
	struct sockaddr_in from = {.sin_port = 0};
	socklen_t len = sizeof(from);
	char buf[16];
	long n;

	if (something)
		show(readable(fd));
	n = show(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len));
	if (n > 0)
		printf("%.*s from %s\n", (int)n, buf, inet_ntoa(from.sin_addr));
}

/* Who is bound to every address, or to this one, hears what goes to all. */
static void broadcasts(void)
{
	int port = 0, yes = 1, no = 0, other = 0, from;
	int any = hearer_at("0.0.0.0", &port), all = hearer_at(ALL, &port);
	int one = hearer_at(OWN, &port);
	char text[16];

	from = hearer_at(OWN, &other);
	show(sendto(from, "x", 1, 0, AT(ALL, port)));
	show(connect(from, AT(ALL, port)));
	show(setsockopt(from, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)));
	show(sendto(from, "one", 3, 0, AT(ALL, port)));
	hears(any, true);
	hears(all, true);
	hears(one, false);
	show(connect(from, AT(ALL, port)));
	show(send(from, "two", 3, 0));
	hears(any, true);
	hears(all, true);
	/* What is bound to it sends from an address all the same. */
	show(setsockopt(all, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)));
	show(sendto(all, "three", 5, 0, AT(ALL, port)));
	hears(any, true);
	hears(all, true);
	show(setsockopt(any, SOL_SOCKET, SO_BROADCAST, &no, sizeof(no)));
	show(sendto(any, "four", 4, 0, AT(ALL, port)));
	show(setsockopt(any, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)));
	show(sendto(any, "four", 4, 0, AT(ALL, port)));
	hears(any, true);
	hears(all, true);
	from = socket(AF_INET, SOCK_DGRAM, 0);
	snprintf(text, sizeof(text), "%d\n", port);
	show(sendto(from, text, strlen(text), 0, AT(PEER, UALL)) > 0);
	hears(any, true);
	hears(all, true);
	hears(one, false);
	show(bind(socket(AF_INET, SOCK_DGRAM, 0), AT("10.7.0.254", 0)));
}

/* A socket that has forgotten its peer is as new, but for what it was bound to by its program. */
static void dissolved(void)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	struct sockaddr_in a;
	int fd[] = {socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0)}, port = 9300;
	char buf[8];

	show(bind(fd[1], AT(OWN, port)));
	for (int i = 0; i < 2; i++) {
		socklen_t len = sizeof(a);

		show(connect(fd[i], AT(PEER, UECHO)));
		show(send(fd[i], "one", 3, 0));
		show(readable(fd[i]));
		show(recv(fd[i], buf, 8, 0));
		show(connect(fd[i], &unspec, sizeof(unspec)));
		show(getsockname(fd[i], (struct sockaddr *)&a, &len));
		show(a.sin_addr.s_addr == (i ? inet_addr(OWN) : 0));
		show(a.sin_port == (i ? htons((uint16_t)port) : 0));
		show(sendto(fd[i], "two", 3, 0, AT(PEER, UECHO)));
		show(readable(fd[i]));
		show(recv(fd[i], buf, 8, 0));
		show(connect(fd[i], AT(OWN, port)));
		show(send(fd[i], "self", 4, 0));
		show(readable(fd[1]));
		show(recv(fd[1], buf, 8, 0));
	}
}

/* Nobody is there, on this host: who asked for errors is told, also without a peer. */
static void refused_here(void)
{
	int one = 1, err = 0, fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(err);

	show(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)));
	show(bind(fd, AT(OWN, 0)));
	show(sendto(fd, "x", 1, 0, AT(OWN, NOBODY)));
	show(readable(fd));
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("%s\n", strerrorname_np(err));
}

static void refused(void)
{
	char buf[8];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err = -1;
	socklen_t len = sizeof(err);

	show(connect(fd, AT(PEER, NOBODY)));
	show(send(fd, "x", 1, 0));
	show(readable(fd));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(send(fd, "x", 1, 0));
	usleep(200000);
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("%s\n", strerrorname_np(err));
}

static void messages(void)
{
	char a[4], b[32], control[128];
	struct iovec in[] = {{a, 4}, {b, 32}}, out[] = {{"abc", 3}, {"defg", 4}};
	struct sockaddr_in from, to = at(PEER, UECHO);
	struct msghdr m = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = out, .msg_iovlen = 2};
	int port, fd = bound(&port), one = 1;
	struct in_pktinfo pi;
	struct cmsghdr *c;

	show(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)));
	show(sendmsg(fd, &m, 0));
	show(readable(fd));
	m = (struct msghdr){.msg_name = &from,
			    .msg_namelen = sizeof(from),
			    .msg_iov = in,
			    .msg_iovlen = 2,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
	show(recvmsg(fd, &m, 0));
	printf("namelen %u flags %x port %d\n", m.msg_namelen, m.msg_flags, ntohs(from.sin_port));
	show_bytes("b", b, 3);
	c = CMSG_FIRSTHDR(&m);
	show(c != NULL && c->cmsg_type == IP_PKTINFO);
	memcpy(&pi, CMSG_DATA(c), sizeof(pi));
	show(pi.ipi_ifindex == (int)if_nametoindex("zs0"));
	m = (struct msghdr){
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = out, .msg_iovlen = 2};
	/* What came to an address is answered from it. */
	memcpy(CMSG_DATA(c), &(struct in_pktinfo){.ipi_spec_dst.s_addr = inet_addr(OWN)},
	       sizeof(struct in_pktinfo));
	m.msg_control = control;
	m.msg_controllen = CMSG_SPACE(sizeof(struct in_pktinfo));
	show(sendmsg(fd, &m, 0));
	show(readable(fd));
	m = (struct msghdr){.msg_iov = in, .msg_iovlen = 1};
	show(recvmsg(fd, &m, 0));
	printf("flags %x\n", m.msg_flags);
}

/* ---- control messages ---- */

/* What came with the next datagram: times as whether they are of now. */
static void show_controls(int fd)
{
	char buf[16], control[256];
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	show(readable(fd));
	show(recvmsg(fd, &m, MSG_DONTWAIT));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		long t[2] = {0};
		int n = 0;

		if (c->cmsg_level == SOL_SOCKET) {
			memcpy(t, CMSG_DATA(c), sizeof(t));
			printf("time %d: %zu, now %d, fraction %d\n", c->cmsg_type, c->cmsg_len,
			       labs(t[0] - time(NULL)) < 5, t[1] >= 0 && t[1] < 1000000000);
			continue;
		}
		memcpy(&n, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0) == 1 ? 1 : sizeof(n));
		printf("%d.%d: %zu %d\n", c->cmsg_level, c->cmsg_type, c->cmsg_len, n);
	}
}

static void put_control(struct msghdr *m, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);

	*c = (struct cmsghdr){CMSG_LEN(len), level, type};
	memcpy(CMSG_DATA(c), data, len);
	m->msg_controllen += CMSG_SPACE(len);
}

static long send_with(int fd, const struct sockaddr *to, socklen_t len, int level, int type, int v,
		      size_t bytes)
{
	_Alignas(struct cmsghdr) char control[64];
	struct iovec out = {"abc", 3};
	struct msghdr m = {.msg_name = (void *)(uintptr_t)to,
			   .msg_namelen = len,
			   .msg_iov = &out,
			   .msg_iovlen = 1,
			   .msg_control = control};

	put_control(&m, level, type, &v, bytes);
	return sendmsg(fd, &m, 0);
}

static int set_one(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v));
}

static int get_one(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) == 0 ? v : -1;
}

/* When it came, and what its header said. */
static void controls(void)
{
	int early = socket(AF_INET, SOCK_DGRAM, 0), port, fd;

	show(set_one(early, SOL_SOCKET, SO_TIMESTAMPNS, 1));
	show(set_one(early, SOL_SOCKET, SO_TIMESTAMP, 1));
	show(sendto(early, "abc", 3, 0, AT(PEER, UECHO)));
	show_controls(early);
	fd = bound(&port);
	show(set_one(fd, IPPROTO_IP, IP_RECVTTL, 1));
	show(set_one(fd, IPPROTO_IP, IP_RECVTOS, 1));
	show(sendto(fd, "abc", 3, 0, AT(PEER, UECHO)));
	show_controls(fd);
	show(set_one(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1));
	show(get_one(fd, SO_TIMESTAMPNS));
	show(get_one(fd, SO_TIMESTAMP));
	show(sendto(fd, "abc", 3, 0, AT(PEER, UECHO)));
	show_controls(fd);
	show(set_one(fd, SOL_SOCKET, SO_TIMESTAMP, 1));
	show(get_one(fd, SO_TIMESTAMPNS));
	show(sendto(fd, "abc", 3, 0, AT(OWN, port)));
	show_controls(fd);
	show(set_one(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0));
	show(get_one(fd, SO_TIMESTAMP));
	show(send_with(fd, AT(OWN, port), IPPROTO_IP, IP_TTL, 5, 4));
	show_controls(fd);
	show(send_with(fd, AT(OWN, port), IPPROTO_IP, IP_TOS, 0x10, 4));
	show_controls(fd);
	show(send_with(fd, AT(OWN, port), IPPROTO_IP, IP_TOS, 0x20, 1));
	show_controls(fd);
	show(sendto(fd, "abc", 3, 0, AT(OWN, port)));
	show_controls(fd);
}

/* What is refused, and what passed over. */
static void odd_controls(void)
{
	int port, fd = bound(&port), t = tcp_to(ECHO);
	struct msghdr m = {0};
	struct cmsghdr c = {8, IPPROTO_IP, IP_TTL};
	struct iovec out = {"abc", 3};

	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IP, IP_TTL, 0, 4));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IP, IP_TTL, 256, 4));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IP, IP_TTL, 1, 2));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IP, IP_TOS, 256, 4));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IP, IP_MTU, 1, 4));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_IPV6, IPV6_HOPLIMIT, 1, 4));
	show(send_with(fd, AT(PEER, UECHO), IPPROTO_TCP, 77, 1, 4));
	show(send_with(fd, AT(PEER, UECHO), SOL_SOCKET, 77, 1, 4));
	show(send_with(t, NULL, 0, IPPROTO_IP, IP_TTL, 0, 4));
	show(send_with(t, NULL, 0, IPPROTO_IP, 77, 0, 4));
	show(send_with(t, NULL, 0, SOL_SOCKET, 77, 0, 4));
	m = (struct msghdr){.msg_iov = &out, .msg_iovlen = 1, .msg_control = &c};
	m.msg_controllen = sizeof(c);
	show(sendmsg(t, &m, 0));
	c.cmsg_len = 1000;
	show(sendmsg(t, &m, 0));
	m.msg_controllen = 3;
	show(sendmsg(t, &m, 0));
	m.msg_control = NULL;
	show(sendmsg(t, &m, 0));
}

static void controls_v6(void)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6}, to = own;
	socklen_t len = sizeof(own);
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "fd07::2", &own.sin6_addr);
	show(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	show(getsockname(fd, (struct sockaddr *)&own, &len));
	show(set_one(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
	show(set_one(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1));
	show(set_one(fd, SOL_SOCKET, SO_TIMESTAMP, 1));
	to = own;
	show(send_with(fd, (struct sockaddr *)&to, len, IPPROTO_IPV6, IPV6_HOPLIMIT, 9, 4));
	show_controls(fd);
	show(send_with(fd, (struct sockaddr *)&to, len, IPPROTO_IPV6, IPV6_TCLASS, 0x20, 4));
	show_controls(fd);
	show(send_with(fd, (struct sockaddr *)&to, len, IPPROTO_IPV6, IPV6_HOPLIMIT, -1, 4));
	show_controls(fd);
	show(send_with(fd, (struct sockaddr *)&to, len, IPPROTO_IPV6, IPV6_HOPLIMIT, 256, 4));
	show(send_with(fd, (struct sockaddr *)&to, len, IPPROTO_IPV6, 77, 0, 4));
}

static void many(void)
{
	struct sockaddr_in to = at(PEER, UECHO);
	struct iovec out[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}}, in[4];
	struct mmsghdr m[4] = {0};
	struct timespec no = {0, 0};
	char buf[4][8];
	int port, fd = bound(&port);

	for (int i = 0; i < 3; i++)
		m[i].msg_hdr = (struct msghdr){.msg_name = &to,
					       .msg_namelen = sizeof(to),
					       .msg_iov = &out[i],
					       .msg_iovlen = 1};
	show(sendmmsg(fd, m, 3, 0));
	usleep(300000);
	for (int i = 0; i < 4; i++) {
		in[i] = (struct iovec){buf[i], 8};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
	}
	show(recvmmsg(fd, m, 2, 0, NULL));
	printf("%u %u\n", m[0].msg_len, m[1].msg_len);
	show(recvmmsg(fd, m, 4, MSG_WAITFORONE, NULL));
	printf("%u\n", m[0].msg_len);
	show(recvmmsg(fd, m, 4, MSG_DONTWAIT, NULL));
	show(sendto(fd, "z", 1, 0, AT(PEER, UECHO)));
	show(recvmmsg(fd, m, 4, 0, &no));
	show(sendmmsg(fd, m, 0, 0));
	show(recvmmsg(fd, m, 0, MSG_DONTWAIT, NULL));
}

/* A socket for all addresses hears from the peer and from this host. */
static void wildcard(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	char buf[32], text[16];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0), n, port;

	show(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	show(getsockname(fd, (struct sockaddr *)&a, &len));
	port = ntohs(a.sin_port);
	show(port != 0);
	show(sendto(other, "here", 4, 0, AT("127.0.0.1", port)));
	show(readable(fd));
	show(recvfrom(fd, buf, 32, 0, (struct sockaddr *)&a, &len));
	printf("%s %.4s\n", inet_ntoa(a.sin_addr), buf);
	show(sendto(fd, "back", 4, 0, (struct sockaddr *)&a, len));
	show(readable(other));
	show(recv(other, buf, 32, 0));
	n = snprintf(text, sizeof(text), "%d\n", port);
	show(sendto(other, text, n, 0, AT(PEER, USEND)) == n);
	show(readable(fd));
	show(recvfrom(fd, buf, 32, 0, (struct sockaddr *)&a, &len));
	printf("%s %.6s\n", inet_ntoa(a.sin_addr), buf);
	show(sendto(fd, "echo", 4, 0, AT(PEER, UECHO)));
	show(readable(fd));
	show(recv(fd, buf, 32, MSG_DONTWAIT));
	show(recv(fd, buf, 32, MSG_DONTWAIT));
	show(connect(fd, AT(PEER, UECHO)));
	show(send(fd, "to", 2, 0));
	show(readable(fd));
	show(recv(fd, buf, 32, MSG_DONTWAIT));
}

const struct call_case dgram_cases[] = {
	{"datagrams", datagrams},
	{"connected", connected},
	{"refused", refused},
	{"dissolved", dissolved},
	{"broadcasts", broadcasts},
	{"refused_here", refused_here},
	{"messages", messages},
	{"datagram_controls", controls},
	{"odd_controls", odd_controls},
	{"controls_v6", controls_v6},
	{"many", many},
	{"wildcard", wildcard},
	{NULL, NULL},
};
