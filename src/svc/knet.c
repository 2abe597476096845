/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See knet.h. One request, one acknowledgement.
 */
#include "svc/knet.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTE_METRIC 32768 /* what the administrator has goes first */

/* A request being made; attributes follow the fixed part. */
struct request {
	struct nlmsghdr h;
	union {
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct ndmsg neigh;
		char room[256];
	};
};
_Static_assert(sizeof(struct request) == NLMSG_HDRLEN + 256, "attributes lie in room");

static void begin(struct request *r, uint16_t type, uint16_t flags, size_t fixed)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(fixed);
}

/* The caller knows that there is room. */
static void attribute(struct request *r, uint16_t type, const void *data, uint16_t len)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

/* The bytes of an address as the kernel wants them. */
static const uint8_t *bytes_of(const struct ip_addr *a, uint16_t *len)
{
	*len = ip_addr_is_v4(a) ? 4 : 16;
	return ip_addr_is_v4(a) ? a->b + 12 : a->b;
}

static void addr_attribute(struct request *r, uint16_t type, const struct ip_addr *a)
{
	uint16_t len;
	const uint8_t *b = bytes_of(a, &len);

	attribute(r, type, b, len);
}

static int ask(const struct request *r)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr err;
		char quoted[sizeof(*r)];
	} ack;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), rc = 0;

	if (fd < 0 || send(fd, r, r->h.nlmsg_len, 0) < 0 || recv(fd, &ack, sizeof(ack), 0) < 0)
		rc = -errno;
	else
		rc = ack.h.nlmsg_type == NLMSG_ERROR ? ack.err.error : -EPROTO;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int addr_change(uint16_t type, uint16_t flags, const struct knet_addr *a)
{
	bool v4 = ip_addr_is_v4(&a->addr);
	struct ip_addr all = a->addr;
	struct request r;

	begin(&r, type, flags, sizeof(r.addr));
	r.addr.ifa_family = v4 ? AF_INET : AF_INET6;
	r.addr.ifa_prefixlen = a->prefix_len;
	r.addr.ifa_flags = v4 ? 0 : IFA_F_NODAD;
	r.addr.ifa_index = a->ifindex;
	addr_attribute(&r, IFA_LOCAL, &a->addr);
	addr_attribute(&r, IFA_ADDRESS, &a->addr);
	if (v4 && a->prefix_len > 0 && a->prefix_len < 31) {
		all.w[3] = be32(be32_host(all.w[3]) | UINT32_MAX >> a->prefix_len);
		addr_attribute(&r, IFA_BROADCAST, &all);
	}
	return ask(&r);
}

int knet_addr_add(const struct knet_addr *a)
{
	return addr_change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, a);
}

int knet_addr_del(const struct knet_addr *a)
{
	return addr_change(RTM_DELADDR, 0, a);
}

static int route_change(uint16_t type, uint16_t flags, const struct knet_route *k)
{
	uint32_t metric = ROUTE_METRIC, out = k->ifindex;
	bool on_link = ip_addr_is_any(&k->gateway);
	struct request r;

	begin(&r, type, flags, sizeof(r.route));
	r.route.rtm_family = ip_addr_is_v4(&k->prefix) ? AF_INET : AF_INET6;
	r.route.rtm_scope = on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	r.route.rtm_dst_len = k->prefix_len;
	r.route.rtm_table = RT_TABLE_MAIN;
	r.route.rtm_protocol = RTPROT_STATIC;
	r.route.rtm_type = RTN_UNICAST;
	if (k->prefix_len > 0)
		addr_attribute(&r, RTA_DST, &k->prefix);
	if (!on_link)
		addr_attribute(&r, RTA_GATEWAY, &k->gateway);
	attribute(&r, RTA_OIF, &out, sizeof(out));
	attribute(&r, RTA_PRIORITY, &metric, sizeof(metric));
	return ask(&r);
}

int knet_route_add(const struct knet_route *r)
{
	return route_change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r);
}

int knet_route_del(const struct knet_route *r)
{
	return route_change(RTM_DELROUTE, 0, r);
}

int knet_neigh_add(const struct knet_neigh *n)
{
	struct request r;

	begin(&r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(r.neigh));
	r.neigh.ndm_family = ip_addr_is_v4(&n->addr) ? AF_INET : AF_INET6;
	r.neigh.ndm_ifindex = (int)n->ifindex;
	r.neigh.ndm_state = NUD_PERMANENT;
	addr_attribute(&r, NDA_DST, &n->addr);
	attribute(&r, NDA_LLADDR, n->mac.b, sizeof(n->mac.b));
	return ask(&r);
}

int knet_up(const char *ifname)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;
	struct ifreq ifr = {.ifr_flags = 0};

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		rc = -errno;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	if (rc == 0 && ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

void knet_set6(const char *ifname, const char *key, int value)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", ifname, key);
	f = fopen(path, "we");
	if (f == NULL)
		return;
	fprintf(f, "%d\n", value);
	fclose(f);
}

static bool is_addr(const struct sockaddr *sa, const struct ip_addr *a)
{
	uint16_t len;
	const uint8_t *b = bytes_of(a, &len);

	if (sa == NULL || sa->sa_family != (len == 4 ? AF_INET : AF_INET6))
		return false;
	if (len == 4)
		return memcmp(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, b, 4) == 0;
	return memcmp(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, b, 16) == 0;
}

bool knet_has(const struct ip_addr *a, char ifname[16])
{
	struct ifaddrs *all, *i;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i != NULL && !is_addr(i->ifa_addr, a); i = i->ifa_next)
		;
	if (i != NULL)
		snprintf(ifname, 16, "%s", i->ifa_name);
	freeifaddrs(all);
	return i != NULL;
}

int knet_port_range(unsigned *first, unsigned *last)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	int n;

	if (f == NULL)
		return -errno;
	n = fscanf(f, "%u %u", first, last);
	fclose(f);
	return n == 2 && *first <= *last && *last <= UINT16_MAX ? 0 : -EPROTO;
}
