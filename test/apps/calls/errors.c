/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors of datagrams, and the error queue (IP_RECVERR, IPV6_RECVERR).
 */
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */
#include <linux/net_tstamp.h>

#include "calls.h"

static int on(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v));
}

static void show_events(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	show(poll(&p, 1, 0));
	printf("events %x\n", p.revents);
}

static void show_error(int fd)
{
	int err = -1;
	socklen_t len = sizeof(err);

	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("error %s\n", err != 0 ? strerrorname_np(err) : "none");
}

static void show_address(const char *name, const struct sockaddr *sa)
{
	char text[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->sa_family == AF_INET)
		printf("%s %s:%d\n", name, inet_ntoa(in->sin_addr), ntohs(in->sin_port));
	else if (sa->sa_family == AF_INET6)
		printf("%s [%s]:%d\n", name,
		       inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)),
		       ntohs(in6->sin6_port));
	else
		printf("%s family %d\n", name, sa->sa_family);
}

/* What is first in the queue: room for so many bytes, and of control messages. */
static void show_queued(int fd, size_t room, size_t control_room)
{
	_Alignas(struct cmsghdr) char control[256];
	char buf[256];
	struct sockaddr_storage name = {0};
	struct iovec v = {buf, room};
	struct msghdr m = {.msg_name = &name,
			   .msg_namelen = sizeof(name),
			   .msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = control_room};
	long n = recvmsg(fd, &m, MSG_ERRQUEUE);

	show_result("recvmsg", n);
	if (n < 0)
		return;
	show_bytes("quoted", buf, n);
	printf("flags %x name %u controls %zu\n", m.msg_flags, m.msg_namelen, m.msg_controllen);
	show_address("to", (struct sockaddr *)&name);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		struct sock_extended_err e;
		int ttl;

		printf("%d.%d: %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		if (c->cmsg_len == CMSG_LEN(sizeof(ttl))) {
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
			printf("ttl %d\n", ttl);
		}
		if (c->cmsg_len < CMSG_LEN(sizeof(e) + sizeof(struct sockaddr_in)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		printf("%s origin %d type %d code %d info %u data %u\n",
		       strerrorname_np((int)e.ee_errno), e.ee_origin, e.ee_type, e.ee_code,
		       e.ee_info, e.ee_data);
		show_address("offender",
			     SO_EE_OFFENDER((struct sock_extended_err *)(void *)CMSG_DATA(c)));
	}
}

/* ---- on this host: the next call knows ---- */

static void at_once_connected(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[8];

	show(bind(fd, AT(OWN, 0)));
	show(connect(fd, AT(OWN, NOBODY)));
	show(send(fd, "one", 3, 0));
	show(send(fd, "two", 3, 0));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(send(fd, "three", 5, 0));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(write(fd, "four", 4));
	show_events(fd);
	show_error(fd);
	show_error(fd);
	show_events(fd);
}

static void at_once_queued(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[8];

	show(bind(fd, AT(OWN, 0)));
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(sendto(fd, "PING", 4, 0, AT(OWN, NOBODY)));
	show(sendto(fd, "PANG", 4, 0, AT(OWN, NOBODY)));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show_events(fd);
	show_queued(fd, 64, 256);
	show_queued(fd, 64, 256);
	show_events(fd);
	show(sendto(fd, "PONG", 4, 0, AT(OWN, NOBODY)));
	show(on(fd, IPPROTO_IP, IP_RECVERR, 0));
	show_queued(fd, 64, 256);
	show_error(fd);
}

/* Who is there, and is not any more. */
static void at_once_gone(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char buf[8];

	show(bind(other, AT(OWN, 0)));
	show(getsockname(other, (struct sockaddr *)&a, &len));
	show(bind(fd, AT(OWN, 0)));
	show(connect(fd, (struct sockaddr *)&a, len));
	show(send(fd, "one", 3, 0));
	show(recv(other, buf, 8, 0));
	show(close(other));
	usleep(20000);
	show(send(fd, "two", 3, 0));
	show(send(fd, "three", 5, 0));
}

/* ---- from the network ---- */

static void error_queue(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[8];

	show(bind(fd, AT(OWN, 0)));
	show_queued(fd, 64, 256);
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(on(fd, IPPROTO_IP, IP_RECVTTL, 1));
	show(sendto(fd, "hello", 5, 0, AT(PEER, NOBODY)));
	show(readable(fd));
	show_events(fd);
	show_queued(fd, 64, 256);
	show_events(fd);
	show_error(fd);
	show(sendto(fd, "more than there is room for, and more than one event holds: 0123456789",
		    70, 0, AT(PEER, NOBODY)));
	show(readable(fd));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show_events(fd);
	show_queued(fd, 68, 40);
	show(sendto(fd, "", 0, 0, AT(PEER, NOBODY)));
	show(readable(fd));
	show_error(fd);
	show_queued(fd, 64, 0);
	show(connect(fd, AT(PEER, NOBODY)));
	show(send(fd, "connected", 9, 0));
	show(readable(fd));
	show_error(fd);
	show_queued(fd, 64, 256);
}

/* The error comes before what was received; each in the queue is an error once more. */
static void error_order(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char buf[8];

	show(bind(fd, AT(OWN, 0)));
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(sendto(fd, "echo", 4, 0, AT(PEER, UECHO)));
	show(readable(fd));
	show(sendto(fd, "one", 3, 0, AT(OWN, NOBODY)));
	show_error(fd);
	show(sendto(fd, "two", 3, 0, AT(OWN, NOBODY)));
	show_events(fd);
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show_queued(fd, 64, 256);
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 2, MSG_ERRQUEUE));
	show(recv(fd, buf, 8, MSG_DONTWAIT));
	show(recv(fd, buf, 8, MSG_ERRQUEUE));
}

static void error_v6(void)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(NOBODY)}, own = to;
	const struct sockaddr *dest = (struct sockaddr *)&to;
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "fd07::1", &to.sin6_addr);
	inet_pton(AF_INET6, "fd07::2", &own.sin6_addr);
	own.sin6_port = 0;
	show(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	show(on(fd, IPPROTO_IPV6, IPV6_RECVERR, 1));
	show(on(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
	show(sendto(fd, "six", 3, 0, dest, sizeof(to)));
	show(readable(fd));
	show_queued(fd, 64, 256);
	inet_pton(AF_INET6, "fd07::2", &to.sin6_addr);
	show(sendto(fd, "here", 4, 0, dest, sizeof(to)));
	show_queued(fd, 64, 256);
	show_error(fd);
}

/* Nobody has that address. */
static void error_no_host(void)
{
	struct pollfd p = {.events = POLLIN};

	p.fd = socket(AF_INET, SOCK_DGRAM, 0);
	show(bind(p.fd, AT(OWN, 0)));
	show(on(p.fd, IPPROTO_IP, IP_RECVERR, 1));
	show(sendto(p.fd, "lost", 4, 0, AT("10.7.0.99", 9)));
	show(poll(&p, 1, 12000));
	show_queued(p.fd, 64, 256);
}

/* Of a connection that can't be made connect() says it, and the queue who did. */
static void error_tcp_no_host(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), v = 7;
	socklen_t len = sizeof(v);

	show(bind(fd, AT(OWN, 0)));
	show(getsockopt(fd, IPPROTO_IP, IP_RECVERR, &v, &len));
	show(v);
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(getsockopt(fd, IPPROTO_IP, IP_RECVERR, &v, &len));
	show(v);
	show_queued(fd, 0, 256);
	show(connect(fd, AT("10.7.0.99", 9)));
	show_queued(fd, 0, 256);
	show_queued(fd, 0, 256);
	show_error(fd);
	/* Established, and nothing has gone wrong. */
	fd = tcp_to(GREET);
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(readable(fd));
	show_queued(fd, 0, 256);
	show_error(fd);
}

static void error_too_large(void)
{
	static char large[3000];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	show(bind(fd, AT(OWN, 0)));
	show(connect(fd, AT(PEER, UECHO)));
	show(on(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(on(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO));
	(void)!send(fd, large, sizeof(large), 0);
	show(readable(fd));
	show_queued(fd, 64, 256);
}

/* ---- SO_TIMESTAMPING ---- */

static void until_error(int fd)
{
	struct pollfd p = {.fd = fd};

	show(poll(&p, 1, 2000));
	printf("events %x\n", p.revents);
}

/* What came, with its controls: times as whether they are of now. */
static void show_stamped(int fd, int flags)
{
	_Alignas(struct cmsghdr) char control[256];
	char buf[64];
	struct sockaddr_in name;
	struct iovec v = {buf, sizeof(buf)};
	struct msghdr m = {.msg_name = &name,
			   .msg_namelen = sizeof(name),
			   .msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	if (show_result("recvmsg", recvmsg(fd, &m, flags | MSG_DONTWAIT)) < 0)
		return;
	printf("flags %x name %u\n", m.msg_flags, m.msg_namelen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
		struct scm_timestamping t;
		struct sock_extended_err e;

		printf("%d.%d: %zu\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (c->cmsg_level == IPPROTO_IP)
			printf("%s origin %d info %u data %u\n", strerrorname_np((int)e.ee_errno),
			       e.ee_origin, e.ee_info, e.ee_data);
		if (c->cmsg_len != CMSG_LEN(sizeof(t)))
			continue;
		memcpy(&t, CMSG_DATA(c), sizeof(t));
		printf("now %d, of hardware %ld %ld\n", labs(t.ts[0].tv_sec - time(NULL)) < 5,
		       (long)t.ts[1].tv_sec, (long)t.ts[2].tv_sec);
	}
}

#define SENT_STAMPS                                                                                \
	(SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |      \
	 SOF_TIMESTAMPING_OPT_TSONLY)

static void time_stamping(void)
{
	int early = socket(AF_INET, SOCK_DGRAM, 0), fd = socket(AF_INET, SOCK_DGRAM, 0), v[2] = {0};
	socklen_t len = sizeof(v);

	show(on(early, SOL_SOCKET, SO_TIMESTAMPING,
		SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE));
	show(sendto(early, "echo", 4, 0, AT(PEER, UECHO)));
	show(readable(early));
	show_stamped(early, 0);
	show_stamped(early, MSG_ERRQUEUE);
	show(bind(fd, AT(OWN, 0)));
	show(on(fd, SOL_SOCKET, SO_TIMESTAMPING, 1 << 30));
	show(on(fd, SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_OPT_STATS));
	show(on(fd, SOL_SOCKET, SO_TIMESTAMPING, SENT_STAMPS));
	show(getsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, v, &len));
	printf("%x %d, %u bytes\n", v[0], v[1], len);
	for (int i = 0; i < 3; i++) {
		show(sendto(fd, "out", 3, 0, AT(PEER, SINK)));
		until_error(fd);
		show_stamped(fd, MSG_ERRQUEUE);
		show_stamped(fd, MSG_ERRQUEUE);
	}
	show(on(fd, SOL_SOCKET, SO_TIMESTAMPING, 0));
	show(sendto(fd, "out", 3, 0, AT(PEER, SINK)));
	show_stamped(fd, MSG_ERRQUEUE);
	show(on(fd, SOL_SOCKET, SO_TIMESTAMPING, SENT_STAMPS | SOF_TIMESTAMPING_TX_SCHED));
	show(sendto(fd, "out", 3, 0, AT(PEER, SINK)));
	until_error(fd);
	show_stamped(fd, MSG_ERRQUEUE);
	until_error(fd);
	show_stamped(fd, MSG_ERRQUEUE);
}

const struct call_case error_cases[] = {
	{"at_once_connected", at_once_connected},
	{"at_once_queued", at_once_queued},
	{"at_once_gone", at_once_gone},
	{"error_queue", error_queue},
	{"error_order", error_order},
	{"error_v6", error_v6},
	{"error_no_host", error_no_host},
	{"error_tcp_no_host", error_tcp_no_host},
	{"error_too_large", error_too_large},
	{"time_stamping", time_stamping},
	{NULL, NULL},
};
