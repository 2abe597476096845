/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups, and from which sources they are listened to (RFC 3678).
 */
#include <net/if.h>

#include "calls.h"

#define GROUP  "239.7.7.7"
#define GROUP6 "ff15::7:7"
#define OTHER  "10.7.0.77"

#define GROUP_ROOM 2048 /* bytes, for a filter */

static int member(int fd, int name, const char *group, const char *source)
{
	struct ip_mreq_source r = {.imr_multiaddr.s_addr = inet_addr(group),
				   .imr_interface.s_addr = inet_addr(OWN),
				   .imr_sourceaddr.s_addr = inet_addr(source)};

	return setsockopt(fd, IPPROTO_IP, name, &r, sizeof(r));
}

static int any_source(int fd, int name)
{
	struct ip_mreq r = {.imr_multiaddr.s_addr = inet_addr(GROUP),
			    .imr_interface.s_addr = inet_addr(OWN)};

	return setsockopt(fd, IPPROTO_IP, name, &r, sizeof(r));
}

/* Hears groups; *port: where. */
static int hearer(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), no = 0;

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &no, sizeof(no)) != 0)
		show_result("a hearer", -1);
	*port = ntohs(a.sin_port);
	return fd;
}

/* What comes of a datagram to the group, from this host: it is here at once, or never. */
static void show_heard(int fd, int from, int port)
{
	char buf[16];
	struct pollfd p = {.fd = fd, .events = POLLIN};

	show(sendto(from, "group", 5, 0, AT(GROUP, port)));
	/* After it, so that it is known when it would have come. */
	show(sendto(from, "end", 3, 0, AT(OWN, port)));
	do {
		show(poll(&p, 1, 2000));
		memset(buf, 0, sizeof(buf));
		show(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
		printf("%s\n", buf);
	} while (strcmp(buf, "group") == 0);
}

static int speaker(void)
{
	struct in_addr own = {inet_addr(OWN)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(fd, AT(OWN, 0)) != 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof(own)) != 0)
		show_result("a speaker", -1);
	return fd;
}

static void source_joined(void)
{
	int port, fd = hearer(&port), from = speaker();

	show_heard(fd, from, port);
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OTHER));
	show_heard(fd, from, port);
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	show_heard(fd, from, port);
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	show(any_source(fd, IP_ADD_MEMBERSHIP));
	show(member(fd, IP_BLOCK_SOURCE, GROUP, OWN));
	show(member(fd, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OWN));
	show_heard(fd, from, port);
	show(member(fd, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OWN));
	show(member(fd, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OTHER));
	show(member(fd, IP_DROP_SOURCE_MEMBERSHIP, GROUP, OTHER));
	show(any_source(fd, IP_DROP_MEMBERSHIP));
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	show(any_source(fd, IP_DROP_MEMBERSHIP));
	show_heard(fd, from, port);
}

static void source_blocked(void)
{
	int port, fd = hearer(&port), from = speaker();

	show(member(fd, IP_BLOCK_SOURCE, GROUP, OWN));
	show(any_source(fd, IP_ADD_MEMBERSHIP));
	show_heard(fd, from, port);
	show(member(fd, IP_UNBLOCK_SOURCE, GROUP, OWN));
	show(member(fd, IP_BLOCK_SOURCE, GROUP, OTHER));
	show_heard(fd, from, port);
	show(member(fd, IP_BLOCK_SOURCE, GROUP, OWN));
	show(member(fd, IP_BLOCK_SOURCE, GROUP, OWN));
	show_heard(fd, from, port);
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	show(member(fd, IP_UNBLOCK_SOURCE, GROUP, OWN));
	show_heard(fd, from, port);
	show(member(fd, IP_UNBLOCK_SOURCE, GROUP, OTHER));
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OWN));
	show(any_source(fd, IP_DROP_MEMBERSHIP));
	/* Of any source, without a list: may become one of some. */
	show(any_source(fd, IP_ADD_MEMBERSHIP));
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, OTHER));
	show_heard(fd, from, port);
}

static void source_refused(void)
{
	char text[16];
	int port, fd = hearer(&port);
	struct ip_mreq_source r = {.imr_multiaddr.s_addr = inet_addr(GROUP),
				   .imr_interface.s_addr = inet_addr(OTHER),
				   .imr_sourceaddr.s_addr = inet_addr(OWN)};

	show(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &r, sizeof(r)));
	show(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &r, 8));
	show(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &r, sizeof(r)));
	show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, OWN, OTHER));
	for (int i = 1; i <= 11; i++) {
		snprintf(text, sizeof(text), "10.9.9.%d", i);
		show(member(fd, IP_ADD_SOURCE_MEMBERSHIP, GROUP, text));
	}
}

/* ---- by family ---- */

static struct sockaddr_storage address(int family, const char *text)
{
	struct sockaddr_storage ss = {.ss_family = (sa_family_t)family};
	struct sockaddr_in6 *in6 = (void *)&ss;
	struct sockaddr_in *in = (void *)&ss;

	inet_pton(family, text, family == AF_INET ? (void *)&in->sin_addr : &in6->sin6_addr);
	return ss;
}

static int join_group(int fd, int family, int name, const char *group)
{
	struct group_req r = {.gr_group = address(family, group)};

	return setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, name, &r, sizeof(r));
}

static int join_source(int fd, int family, int name, const char *group, const char *source)
{
	struct group_source_req r = {.gsr_group = address(family, group),
				     .gsr_source = address(family, source)};

	return setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, name, &r, sizeof(r));
}

/* Of IPv6 one interface alone has a route to the group. */
static void by_family(int fd, int family, const char *group, const char *source, const char *other)
{
	show(join_source(fd, family, MCAST_BLOCK_SOURCE, group, source));
	show(join_group(fd, family, MCAST_JOIN_GROUP, group));
	show(join_group(fd, family, MCAST_JOIN_GROUP, group));
	show(join_source(fd, family, MCAST_BLOCK_SOURCE, group, source));
	show(join_source(fd, family, MCAST_BLOCK_SOURCE, group, source));
	show(join_source(fd, family, MCAST_JOIN_SOURCE_GROUP, group, other));
	show(join_source(fd, family, MCAST_UNBLOCK_SOURCE, group, other));
	show(join_source(fd, family, MCAST_UNBLOCK_SOURCE, group, source));
	show(join_group(fd, family, MCAST_LEAVE_GROUP, group));
	show(join_group(fd, family, MCAST_LEAVE_GROUP, group));
	show(join_source(fd, family, MCAST_JOIN_SOURCE_GROUP, group, other));
	show(join_source(fd, family, MCAST_JOIN_SOURCE_GROUP, group, source));
	show(join_source(fd, family, MCAST_LEAVE_SOURCE_GROUP, group, source));
	show(join_source(fd, family, MCAST_LEAVE_SOURCE_GROUP, group, other));
	show(join_source(fd, family, MCAST_LEAVE_SOURCE_GROUP, group, other));
	show(join_source(fd, family, MCAST_JOIN_SOURCE_GROUP, source, other));
	show(join_group(fd, family, MCAST_JOIN_GROUP, source));
	show(setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_JOIN_GROUP, &fd,
			sizeof(fd)));
	show(join_group(fd, family == AF_INET ? AF_INET6 : AF_INET, MCAST_JOIN_GROUP, group));
}

static void group_sources_v6(void)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "fd07::2", &own.sin6_addr);
	show(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	by_family(fd, AF_INET6, GROUP6, "fd07::2", "fd07::77");
}

/* ---- all sources at once ---- */

static int filter_by_ip(int fd, const char *group, uint32_t mode, int n, const char *const *source)
{
	char room[GROUP_ROOM] = {0};
	struct ip_msfilter *f = (void *)room;

	f->imsf_multiaddr.s_addr = inet_addr(group);
	f->imsf_interface.s_addr = inet_addr(OWN);
	f->imsf_fmode = mode;
	f->imsf_numsrc = (uint32_t)n;
	for (int i = 0; i < n; i++)
		f->imsf_slist[i].s_addr = inet_addr(source[i]);
	return setsockopt(fd, IPPROTO_IP, IP_MSFILTER, f, IP_MSFILTER_SIZE((size_t)n));
}

static void show_filter(int fd, const char *group, uint32_t room_for)
{
	char room[GROUP_ROOM] = {0};
	struct ip_msfilter *f = (void *)room;
	socklen_t len = IP_MSFILTER_SIZE(room_for);

	f->imsf_multiaddr.s_addr = inet_addr(group);
	f->imsf_interface.s_addr = inet_addr(OWN);
	f->imsf_numsrc = room_for;
	if (show(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, f, &len)) != 0)
		return;
	printf("mode %u of %u, %u bytes:", f->imsf_fmode, f->imsf_numsrc, len);
	for (uint32_t i = 0; i < f->imsf_numsrc && i < room_for; i++)
		printf(" %s", inet_ntoa(f->imsf_slist[i]));
	printf("\n");
}

static void filtered(void)
{
	static const char *const list[] = {OTHER, OWN,	 "10.7.0.78", OTHER, OTHER, OTHER,
					   OTHER, OTHER, OTHER,	      OTHER, OTHER};
	int port, fd = hearer(&port), from = speaker();

	show(filter_by_ip(fd, GROUP, MCAST_EXCLUDE, 1, list));
	show_filter(fd, GROUP, 4);
	show(filter_by_ip(fd, GROUP, MCAST_INCLUDE, 0, list));
	show(any_source(fd, IP_ADD_MEMBERSHIP));
	show_filter(fd, GROUP, 4);
	show(filter_by_ip(fd, GROUP, MCAST_EXCLUDE, 2, list));
	show_filter(fd, GROUP, 4);
	show_filter(fd, GROUP, 1);
	show_filter(fd, GROUP, 0);
	show_heard(fd, from, port);
	show(filter_by_ip(fd, GROUP, MCAST_INCLUDE, 3, list));
	show_filter(fd, GROUP, 4);
	show_heard(fd, from, port);
	show(filter_by_ip(fd, GROUP, MCAST_INCLUDE, 1, list));
	show_heard(fd, from, port);
	show(filter_by_ip(fd, GROUP, MCAST_EXCLUDE, 0, list));
	show_filter(fd, GROUP, 4);
	show_heard(fd, from, port);
	show(filter_by_ip(fd, GROUP, 7, 0, list));
	show(filter_by_ip(fd, OWN, MCAST_EXCLUDE, 0, list));
	show(filter_by_ip(fd, GROUP, MCAST_EXCLUDE, 11, list));
	show(setsockopt(fd, IPPROTO_IP, IP_MSFILTER, list, 8));
	show(filter_by_ip(fd, GROUP, MCAST_INCLUDE, 0, list));
	show(any_source(fd, IP_DROP_MEMBERSHIP));
	show_filter(fd, GROUP, 4);
}

/* What an interface is called differs; a datagram that came by it tells. */
static uint32_t interface_number(int family)
{
	int fd = socket(family, SOCK_DGRAM, 0), yes = 1;
	char control[128], text[32] = "9";
	struct iovec v = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct sockaddr_storage own = address(family, family == AF_INET ? OWN : "fd07::2");
	struct sockaddr_storage peer = address(family, family == AF_INET ? PEER : "fd07::1");
	struct in6_pktinfo pi6;
	struct in_pktinfo pi;
	struct cmsghdr *c;

	((struct sockaddr_in *)&peer)->sin_port = htons(UECHO);
	setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		   family == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0 ||
	    sendto(fd, "?", 1, 0, (struct sockaddr *)&peer, sizeof(peer)) != 1 || !readable(fd) ||
	    recvmsg(fd, &m, 0) < 0)
		show_result("asking which interface", -1);
	close(fd);
	c = CMSG_FIRSTHDR(&m);
	if (c == NULL)
		return 0;
	memcpy(&pi, CMSG_DATA(c), sizeof(pi));
	memcpy(&pi6, CMSG_DATA(c), sizeof(pi6));
	/* The kernel's number, also of the stack's. */
	show((family == AF_INET ? (uint32_t)pi.ipi_ifindex : pi6.ipi6_ifindex) ==
	     if_nametoindex("zs0"));
	return family == AF_INET ? (uint32_t)pi.ipi_ifindex : pi6.ipi6_ifindex;
}

static struct group_filter *filter_of(char *room, int family, const char *group, uint32_t mode,
				      const char *source)
{
	struct group_filter *f = (void *)room;

	memset(room, 0, GROUP_ROOM);
	f->gf_interface = interface_number(family);
	f->gf_group = address(family, group);
	f->gf_fmode = mode;
	f->gf_numsrc = source != NULL;
	if (source != NULL)
		f->gf_slist[0] = address(family, source);
	return f;
}

static void show_group_filter(int fd, int family, const char *group)
{
	char room[GROUP_ROOM], text[64] = "";
	struct group_filter *f = filter_of(room, family, group, 0, NULL);
	struct sockaddr_in6 *a6 = (void *)&f->gf_slist[0];
	struct sockaddr_in *a = (void *)&f->gf_slist[0];
	socklen_t len = GROUP_FILTER_SIZE(1);

	f->gf_numsrc = 1;
	if (show(getsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER, f,
			    &len)) != 0)
		return;
	if (f->gf_numsrc > 0)
		inet_ntop(family, family == AF_INET ? (void *)&a->sin_addr : &a6->sin6_addr, text,
			  sizeof(text));
	printf("mode %u of %u, %u bytes: %s\n", f->gf_fmode, f->gf_numsrc, len, text);
}

static void group_filtered(int family, const char *group, const char *own, const char *other)
{
	int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	struct sockaddr_storage at = address(family, own);
	struct group_req r = {.gr_group = address(family, group)};
	int fd = socket(family, SOCK_DGRAM, 0);
	char room[GROUP_ROOM];

	show(bind(fd, (struct sockaddr *)&at, sizeof(at)));
	r.gr_interface = interface_number(family);
	show(setsockopt(fd, level, MCAST_MSFILTER,
			filter_of(room, family, group, MCAST_EXCLUDE, other),
			GROUP_FILTER_SIZE(1)));
	show_group_filter(fd, family, group);
	show(setsockopt(fd, level, MCAST_JOIN_GROUP, &r, sizeof(r)));
	show_group_filter(fd, family, group);
	show(setsockopt(fd, level, MCAST_MSFILTER,
			filter_of(room, family, group, MCAST_EXCLUDE, other),
			GROUP_FILTER_SIZE(1)));
	show_group_filter(fd, family, group);
	show(setsockopt(fd, level, MCAST_MSFILTER,
			filter_of(room, family, group, MCAST_INCLUDE, own), GROUP_FILTER_SIZE(1)));
	show_group_filter(fd, family, group);
	show(setsockopt(fd, level, MCAST_MSFILTER,
			filter_of(room, family, group, MCAST_INCLUDE, own), GROUP_FILTER_SIZE(0)));
	show(setsockopt(fd, level, MCAST_MSFILTER, filter_of(room, family, own, MCAST_INCLUDE, own),
			GROUP_FILTER_SIZE(1)));
	show(setsockopt(fd, level, MCAST_MSFILTER,
			filter_of(room, family, group, MCAST_INCLUDE, NULL), GROUP_FILTER_SIZE(0)));
	show_group_filter(fd, family, group);
	show(setsockopt(fd, level, MCAST_LEAVE_GROUP, &r, sizeof(r)));
}

static void group_filtered_v4(void)
{
	group_filtered(AF_INET, GROUP, OWN, OTHER);
}

static void group_filtered_v6(void)
{
	group_filtered(AF_INET6, GROUP6, "fd07::2", "fd07::77");
}

/* ---- sent by an interface that is named ---- */

#define SPOKEN_TO "239.7.7.8" /* the peer is a member */

static void answered(int fd)
{
	char buf[32];

	show(readable(fd));
	show_bytes("the peer heard", buf, recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
}

static void show_group_if(int fd)
{
	struct in_addr a = {1};
	socklen_t len = sizeof(a);

	show(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, &len));
	printf("%s %u\n", inet_ntoa(a), len);
}

static void interface_named(void)
{
	struct in_addr own = {inet_addr(OWN)}, other = {inet_addr(OTHER)}, none = {0};
	struct ip_mreqn m = {.imr_address = own};
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ttl = 3;

	show_group_if(fd);
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &other, sizeof(other)));
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, 2));
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)));
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof(own)));
	show_group_if(fd);
	show(sendto(fd, "first", 5, 0, AT(SPOKEN_TO, UGROUP)));
	answered(fd);
	show_group_if(fd);
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &none, sizeof(none)));
	show_group_if(fd);
	/* There is no route to it. */
	show(sendto(fd, "second", 6, 0, AT(SPOKEN_TO, UGROUP)));
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)));
	show(sendto(fd, "third", 5, 0, AT(SPOKEN_TO, UGROUP)));
	answered(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	show(bind(fd, AT("0.0.0.0", 0)));
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(struct ip_mreq)));
	show_group_if(fd);
	show(sendto(fd, "bound", 5, 0, AT(SPOKEN_TO, UGROUP)));
	answered(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof(own)));
	show(bind(fd, AT("0.0.0.0", 0)));
	show(sendto(fd, "late", 4, 0, AT(SPOKEN_TO, UGROUP)));
	answered(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	show(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &own, sizeof(own)));
	show(connect(fd, AT(SPOKEN_TO, UGROUP)));
	show(getsockname(fd, (struct sockaddr *)&a, &len));
	printf("%s\n", inet_ntoa(a.sin_addr));
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	printf("%s\n", inet_ntoa(a.sin_addr));
	show(send(fd, "connected", 9, 0));
	/* The answer is not from the group. */
	show(recv(fd, &a, sizeof(a), MSG_DONTWAIT));
}

const struct call_case multicast_cases[] = {
	{"source_joined", source_joined},
	{"source_blocked", source_blocked},
	{"source_refused", source_refused},
	{"group_sources_v6", group_sources_v6},
	{"filtered", filtered},
	{"group_filtered_v4", group_filtered_v4},
	{"group_filtered_v6", group_filtered_v6},
	{"interface_named", interface_named},
	{NULL, NULL},
};
