/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages of rtnetlink(7): what a program's request asks for, and the stack's part of the answer,
 * as the kernel would write it. Of interfaces those of the stack's own are told, of addresses all.
 */
#include <linux/if_addr.h>
#include <net/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/route.h"

#define MESSAGE_ROOM 256 /* that one takes at most */
#define QUEUE_USUAL  1000
#define OPER_UP	     6 /* IF_OPER_UP: <linux/if.h> does not go with <net/if.h> */

/* ---- requests ---- */

/* Where the header of the type has it; programs may send less of it, or as much as a byte. */
static uint32_t index_asked(uint16_t type, const void *body, size_t len)
{
	struct ifaddrmsg addr;
	struct ifinfomsg link;

	if (type == RTM_GETADDR && len >= sizeof(addr)) {
		memcpy(&addr, body, sizeof(addr));
		return addr.ifa_index;
	}
	if (type == RTM_GETLINK && len >= sizeof(link)) {
		memcpy(&link, body, sizeof(link));
		return (uint32_t)link.ifi_index;
	}
	return 0;
}

static bool of_family(uint16_t type, uint8_t family)
{
	if (family == AF_UNSPEC)
		return true;
	return family == AF_INET || family == AF_INET6 ||
	       (type == RTM_GETLINK && family == AF_PACKET);
}

bool route_request(struct route_dump *d, const void *message, size_t len)
{
	const char *body = (const char *)message + NLMSG_HDRLEN;
	struct nlmsghdr h;

	if (len <= NLMSG_HDRLEN)
		return false;
	memcpy(&h, message, sizeof(h));
	if ((h.nlmsg_type != RTM_GETLINK && h.nlmsg_type != RTM_GETADDR) ||
	    (h.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP || h.nlmsg_len <= NLMSG_HDRLEN ||
	    h.nlmsg_len > len)
		return false;
	*d = (struct route_dump){
		.type = h.nlmsg_type,
		.family = (uint8_t)*body,
		.index = index_asked(h.nlmsg_type, body, h.nlmsg_len - NLMSG_HDRLEN),
		.seq = h.nlmsg_seq};
	return of_family(d->type, d->family);
}

/* ---- answers ---- */

/* One more message, all 0, with its header and a body of that length. There is room for it. */
static struct nlmsghdr *message(char *at, uint16_t type, uint32_t seq, size_t body)
{
	struct nlmsghdr *h = (void *)at;

	memset(at, 0, MESSAGE_ROOM);
	h->nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_MULTI;
	h->nlmsg_seq = seq;
	return h;
}

static void put(struct nlmsghdr *h, uint16_t type, const void *value, size_t len)
{
	struct rtattr *a = (void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));
	size_t total = NLMSG_ALIGN(h->nlmsg_len) + RTA_SPACE(len);

	ASSERT(total <= MESSAGE_ROOM);
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), value, len);
	h->nlmsg_len = (uint32_t)total;
}

static void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t v)
{
	put(h, type, &v, sizeof(v));
}

static size_t link_message(char *at, const struct interface_addr *a, const struct route_dump *d)
{
	struct nlmsghdr *h = message(at, RTM_NEWLINK, d->seq, sizeof(struct ifinfomsg));
	struct ifinfomsg *m = NLMSG_DATA(h);
	static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
	uint8_t up = OPER_UP;

	/* Of IPv6 the kernel has a list of its own. */
	*m = (struct ifinfomsg){.ifi_family = d->family == AF_INET6 ? AF_INET6 : AF_UNSPEC,
				.ifi_type = ARPHRD_ETHER,
				.ifi_index = (int)a->index,
				.ifi_flags = INTERFACE_OWN_FLAGS};
	put(h, IFLA_IFNAME, a->name, strlen(a->name) + 1);
	put_u32(h, IFLA_TXQLEN, QUEUE_USUAL);
	put(h, IFLA_OPERSTATE, &up, sizeof(up));
	put_u32(h, IFLA_MTU, a->mtu);
	put(h, IFLA_QDISC, "noqueue", sizeof("noqueue"));
	put(h, IFLA_ADDRESS, a->mac, sizeof(a->mac));
	put(h, IFLA_BROADCAST, everybody, sizeof(everybody));
	return h->nlmsg_len;
}

static void put_v4(struct nlmsghdr *h, const struct interface_addr *a)
{
	struct in_addr v4 = interface_v4(a), all;

	put(h, IFA_ADDRESS, &v4, sizeof(v4));
	put(h, IFA_LOCAL, &v4, sizeof(v4));
	if (interface_broadcast(a, &all))
		put(h, IFA_BROADCAST, &all, sizeof(all));
	put(h, IFA_LABEL, a->name, strlen(a->name) + 1);
}

static size_t addr_message(char *at, const struct interface_addr *a, uint32_t seq)
{
	struct nlmsghdr *h = message(at, RTM_NEWADDR, seq, sizeof(struct ifaddrmsg));
	struct ifa_cacheinfo forever = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
	uint32_t flags = IFA_F_PERMANENT | (a->tentative ? IFA_F_TENTATIVE : 0);
	bool link = IN6_IS_ADDR_LINKLOCAL(&a->addr);
	struct ifaddrmsg *m = NLMSG_DATA(h);

	*m = (struct ifaddrmsg){.ifa_family = a->v4 ? AF_INET : AF_INET6,
				.ifa_prefixlen = a->prefix_len,
				.ifa_flags = (uint8_t)flags,
				.ifa_scope = link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
				.ifa_index = a->index};
	if (a->v4)
		put_v4(h, a);
	else
		put(h, IFA_ADDRESS, &a->addr, sizeof(a->addr));
	put_u32(h, IFA_FLAGS, flags);
	put(h, IFA_CACHEINFO, &forever, sizeof(forever));
	return h->nlmsg_len;
}

static bool is_asked(const struct route_dump *d, const struct interface_addr *a, unsigned i)
{
	if (d->index != 0 && d->index != a[i].index)
		return false;
	if (d->type == RTM_GETLINK)
		return a[i].own && interface_first(a, i);
	return d->family == AF_UNSPEC || d->family == (a[i].v4 ? AF_INET : AF_INET6);
}

char *route_answer(const struct route_dump *d, size_t *len)
{
	struct interface_addr a[ADDRESSES_MAX];
	unsigned n = interface_addresses(a, NULL);
	char *text = n > 0 ? malloc((size_t)n * MESSAGE_ROOM) : NULL;

	*len = 0;
	for (unsigned i = 0; i < n && text != NULL; i++) {
		if (!is_asked(d, a, i))
			continue;
		*len += d->type == RTM_GETLINK ? link_message(text + *len, &a[i], d)
					       : addr_message(text + *len, &a[i], d->seq);
	}
	if (*len > 0)
		return text;
	free(text);
	return NULL;
}
