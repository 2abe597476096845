/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interfaces and their addresses, in all the ways in which programs ask for them. The order in which
 * they come is nobody's promise: lines are sorted.
 */
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netpacket/packet.h>

#include "calls.h"

#define LINES_MAX 64

static struct {
	char text[LINES_MAX][160];
	int n;
} lines;

#define line(...) snprintf(lines.text[lines.n++ % LINES_MAX], sizeof(lines.text[0]), __VA_ARGS__)

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void show_lines(const char *what)
{
	qsort(lines.text, (size_t)lines.n, sizeof(lines.text[0]), compare);
	for (int i = 0; i < lines.n; i++)
		printf("%s: %s\n", what, lines.text[i]);
	fflush(stdout);
	lines.n = 0;
}

static const char *name_of(const struct sockaddr *sa)
{
	static char text[4][INET6_ADDRSTRLEN];
	static int next;
	char *t = text[next++ % 4];

	if (sa == NULL)
		return "none";
	inet_ntop(sa->sa_family,
		  sa->sa_family == AF_INET
			  ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
			  : &((const struct sockaddr_in6 *)sa)->sin6_addr,
		  t, INET6_ADDRSTRLEN);
	return t;
}

/* ---- the C library's functions ---- */

static void list_addr(const struct ifaddrs *i)
{
	const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;
	const struct sockaddr_ll *ll = (const void *)i->ifa_addr;
	unsigned flags = i->ifa_flags & (IFF_UP | IFF_BROADCAST | IFF_LOOPBACK | IFF_MULTICAST);

	if (ll->sll_family == AF_PACKET) {
		line("%s is %d, %d bytes of address, flags %x", i->ifa_name,
		     (unsigned)ll->sll_ifindex == if_nametoindex(i->ifa_name), ll->sll_halen,
		     flags);
		return;
	}
	line("%s %s mask %s all %s flags %x scope %d data %d", i->ifa_name, name_of(i->ifa_addr),
	     name_of(i->ifa_netmask), name_of(i->ifa_broadaddr), flags,
	     in6->sin6_family == AF_INET6 && in6->sin6_scope_id == if_nametoindex(i->ifa_name),
	     i->ifa_data != NULL);
}

static void list_addrs(void)
{
	struct ifaddrs *list;
	struct sockaddr_storage at;

	show(getifaddrs(&list));
	for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
		list_addr(i);
	show_lines("listed");
	/* What is listed can be bound to, by all kinds. */
	for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		int family = i->ifa_addr->sa_family, u, t;
		socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in)
						  : sizeof(struct sockaddr_in6);

		if (family == AF_PACKET)
			continue;
		memcpy(&at, i->ifa_addr, len);
		u = socket(family, SOCK_DGRAM, 0);
		t = socket(family, SOCK_STREAM, 0);
		line("%s %d %d", name_of(i->ifa_addr), bind(u, (struct sockaddr *)&at, len),
		     bind(t, (struct sockaddr *)&at, len));
		close(u);
		close(t);
	}
	show_lines("bound");
	freeifaddrs(list);
}

static void list_names(void)
{
	struct if_nameindex *list = if_nameindex();
	char name[IF_NAMESIZE];

	for (struct if_nameindex *i = list; i->if_index != 0; i++)
		line("%s %d %s", i->if_name, if_nametoindex(i->if_name) == i->if_index,
		     if_indextoname(i->if_index, name));
	show_lines("named");
	if_freenameindex(list);
	errno = 0;
	show(if_nametoindex("zsnone"));
	printf("%s\n", strerrorname_np(errno));
	printf("%p %s\n", (void *)if_indextoname(0x5a53001f, name), strerrorname_np(errno));
}

/* What a program asks that has only an address of the stack's beside loopback. */
static void resolve(void)
{
	struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM}, *out;

	for (int i = 0; i < 3; i++) {
		hints.ai_family = i == 0 ? AF_UNSPEC : i == 1 ? AF_INET : AF_INET6;
		show(getaddrinfo(OWN, "80", &hints, &out));
		show(getaddrinfo("fd07::2", "80", &hints, &out));
	}
}

/* ---- ioctl ---- */

static void list_conf(int fd, int room)
{
	char buf[32 * sizeof(struct ifreq)];
	struct ifconf c = {.ifc_len = room, .ifc_buf = room > 0 ? buf : NULL};
	int r = ioctl(fd, SIOCGIFCONF, &c);

	printf("%d bytes: %d, %d bytes\n", room, r, c.ifc_len);
	for (int i = 0; r == 0 && room > 0 && i < c.ifc_len / (int)sizeof(struct ifreq); i++) {
		struct ifreq q = c.ifc_req[i], more = q;

		line("%s %s", q.ifr_name, name_of(&q.ifr_addr));
		line("%s %d mask %s", q.ifr_name, ioctl(fd, SIOCGIFNETMASK, &more),
		     name_of(&more.ifr_netmask));
		more = q;
		line("%s %d all %s", q.ifr_name, ioctl(fd, SIOCGIFBRDADDR, &more),
		     name_of(&more.ifr_broadaddr));
	}
	show_lines("conf");
}

static void ask_about(int fd, const char *name)
{
	struct ifreq q = {.ifr_metric = 0};

	strcpy(q.ifr_name, name);
	show(ioctl(fd, SIOCGIFADDR, &q) == 0 ? strcmp(name_of(&q.ifr_addr), OWN) : -1);
	show(ioctl(fd, SIOCGIFDSTADDR, &q));
	show(ioctl(fd, SIOCGIFINDEX, &q) == 0 ? q.ifr_ifindex == (int)if_nametoindex(name) : -1);
	show(ioctl(fd, SIOCGIFNAME, &q) == 0 ? strcmp(q.ifr_name, name) : -1);
	show(ioctl(fd, SIOCGIFFLAGS, &q) == 0 ? q.ifr_flags & (IFF_UP | IFF_BROADCAST) : -1);
	show(ioctl(fd, SIOCGIFMTU, &q) == 0 ? q.ifr_mtu : -1);
	show(ioctl(fd, SIOCGIFHWADDR, &q) == 0 ? q.ifr_hwaddr.sa_family : -1);
	show(ioctl(fd, SIOCGIFMETRIC, &q));
}

static void ask_devices(void)
{
	int port, of[] = {listener(&port), socket(AF_INET, SOCK_DGRAM, 0),
			  socket(AF_UNIX, SOCK_STREAM, 0)};

	for (int i = 0; i < 3; i++) {
		list_conf(of[i], 0);
		list_conf(of[i], 32 * sizeof(struct ifreq));
		list_conf(of[i], 2 * sizeof(struct ifreq));
		ask_about(of[i], "zs0");
		ask_about(of[i], "zsnone");
	}
	ask_about(1, "zs0");
}

/* ---- netlink ---- */

static int ask_dump(int fd, uint16_t type, uint8_t family, uint32_t seq, bool by_message)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg body; /* as long as struct ifaddrmsg, or longer */
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = type,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		     .nlmsg_seq = seq},
	       .body = {.ifi_family = family}};
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec v = {&q, sizeof(q)};
	struct msghdr m = {
		.msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = &v, .msg_iovlen = 1};

	return (int)(by_message ? sendmsg(fd, &m, 0) : send(fd, &q, sizeof(q), 0)) == sizeof(q);
}

static void list_attributes(struct nlmsghdr *h, const struct ifaddrmsg *a)
{
	struct rtattr *t = IFA_RTA((const char *)a);
	int len = (int)IFA_PAYLOAD(h);
	char name[IF_NAMESIZE] = "?", text[INET6_ADDRSTRLEN] = "";

	for (; RTA_OK(t, len); t = RTA_NEXT(t, len))
		if (t->rta_type == IFA_ADDRESS)
			inet_ntop(a->ifa_family, RTA_DATA(t), text, sizeof(text));
	line("%s %s/%d scope %d", if_indextoname(a->ifa_index, name), text, a->ifa_prefixlen,
	     a->ifa_scope);
}

static void list_message(struct nlmsghdr *h)
{
	const struct ifinfomsg *l = NLMSG_DATA(h);
	char name[IF_NAMESIZE] = "?";

	if (h->nlmsg_type == RTM_NEWADDR)
		list_attributes(h, NLMSG_DATA(h));
	if (h->nlmsg_type == RTM_NEWLINK)
		line("%s type %d up %d", if_indextoname((unsigned)l->ifi_index, name), l->ifi_type,
		     (l->ifi_flags & IFF_UP) != 0);
}

/* One datagram, first how long it is, then itself. -1: it is not as the kernel writes it. */
static long take(int fd, char *buf, size_t room)
{
	struct sockaddr_nl from;
	struct iovec v = {buf, 0};
	struct msghdr m = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1};
	long len = recvmsg(fd, &m, MSG_PEEK | MSG_TRUNC), n;

	v.iov_len = room;
	n = recvmsg(fd, &m, 0);
	if (n != len || m.msg_flags != 0 || m.msg_namelen != sizeof(from) ||
	    from.nl_family != AF_NETLINK || from.nl_pid != 0)
		return -1;
	return n;
}

static void list_dump(int fd, uint32_t seq)
{
	static _Alignas(struct nlmsghdr) char buf[65536];
	struct sockaddr_nl own;
	socklen_t own_len = sizeof(own);
	bool more = true;

	getsockname(fd, (struct sockaddr *)&own, &own_len);
	while (more) {
		long n = take(fd, buf, sizeof(buf));
		struct nlmsghdr *h = (void *)buf;

		if (n < 0) {
			printf("a wrong datagram\n");
			return;
		}
		for (; NLMSG_OK(h, (unsigned)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != seq || h->nlmsg_pid != own.nl_pid ||
			    (h->nlmsg_flags & NLM_F_MULTI) == 0)
				line("a wrong message of type %d", h->nlmsg_type);
			list_message(h);
			more = h->nlmsg_type != NLMSG_DONE;
		}
	}
	show_lines("told");
}

static void dump(void)
{
	static const uint8_t families[] = {AF_UNSPEC, AF_INET, AF_INET6};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	uint32_t seq = 7;
	char buf[8];

	for (int i = 0; i < 3; i++) {
		show(ask_dump(fd, RTM_GETADDR, families[i], ++seq, i == 1));
		list_dump(fd, seq);
	}
	show(ask_dump(fd, RTM_GETLINK, AF_UNSPEC, ++seq, true));
	list_dump(fd, seq);
	show(ask_dump(fd, RTM_GETLINK, AF_PACKET, ++seq, false));
	list_dump(fd, seq);
	/* What has no room is lost, and is said to be. */
	show(ask_dump(fd, RTM_GETADDR, AF_UNSPEC, ++seq, false));
	show(recv(fd, buf, sizeof(buf), 0));
	show(recv(fd, buf, sizeof(buf), MSG_TRUNC) > 8);
	show(close(fd));
	/* Another socket at that number gets nothing of it. */
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
	show(recv(fd, buf, sizeof(buf), 0));
	show(write(fd, "", 1));
	show(recv(fd, buf, sizeof(buf), 0));
}

const struct call_case interface_cases[] = {
	{"list_addrs", list_addrs},
	{"list_names", list_names},
	{"resolve", resolve},
	{"ask_devices", ask_devices},
	{"dump", dump},
	{NULL, NULL},
};
