/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks that list interfaces and translate their names: the C library's answer, and the stack's
 * addresses behind it. What is given out is memory as the C library makes it, so that its own
 * freeifaddrs() and if_freenameindex() free it: one block of malloc, and a block for each name.
 */
#include <net/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>

#include "preload/interface.h"
#include "preload/preload.h"

#define HARDWARE_MAX 32 /* bytes of the longest hardware address (InfiniBand: 20) */

union place {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_ll ll;
	char room[offsetof(struct sockaddr_ll, sll_addr) + HARDWARE_MAX];
};

/* An item of the list and all that it points to. */
struct entry {
	struct ifaddrs ifa;
	char name[IF_NAMESIZE];
	union place addr, mask, broad;
	struct rtnl_link_stats stats;
};

/* ---- what the kernel has ---- */

static size_t length_of(const struct sockaddr *sa)
{
	const struct sockaddr_ll *ll = (const void *)sa;

	switch (sa->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	case AF_PACKET:
		return ll->sll_halen <= HARDWARE_MAX && ll->sll_halen > sizeof(ll->sll_addr)
			       ? offsetof(struct sockaddr_ll, sll_addr) + ll->sll_halen
			       : sizeof(*ll);
	default:
		return sizeof(*sa);
	}
}

static struct sockaddr *copied(union place *to, const struct sockaddr *from)
{
	if (from == NULL)
		return NULL;
	memcpy(to, from, length_of(from));
	return &to->sa;
}

static void entry_copy(struct entry *e, const struct ifaddrs *from)
{
	e->ifa.ifa_name = e->name;
	memcpy(e->name, from->ifa_name, strnlen(from->ifa_name, sizeof(e->name) - 1));
	e->ifa.ifa_flags = from->ifa_flags;
	e->ifa.ifa_addr = copied(&e->addr, from->ifa_addr);
	e->ifa.ifa_netmask = copied(&e->mask, from->ifa_netmask);
	e->ifa.ifa_broadaddr = copied(&e->broad, from->ifa_broadaddr);
	if (from->ifa_data == NULL)
		return;
	memcpy(&e->stats, from->ifa_data, sizeof(e->stats));
	e->ifa.ifa_data = &e->stats;
}

/* ---- what the stack has ---- */

static void entry_named(struct entry *e, const struct interface_addr *a, unsigned flags)
{
	e->ifa.ifa_name = e->name;
	memcpy(e->name, a->name, sizeof(e->name));
	e->ifa.ifa_flags = flags;
}

/* The interface itself. */
static void entry_link(struct entry *e, const struct interface_addr *a)
{
	entry_named(e, a, INTERFACE_OWN_FLAGS);
	e->addr.ll = (struct sockaddr_ll){.sll_family = AF_PACKET,
					  .sll_ifindex = (int)a->index,
					  .sll_hatype = ARPHRD_ETHER,
					  .sll_halen = sizeof(a->mac)};
	e->broad.ll = e->addr.ll;
	memcpy(e->addr.ll.sll_addr, a->mac, sizeof(a->mac));
	memset(e->broad.ll.sll_addr, 0xff, sizeof(a->mac));
	e->ifa.ifa_addr = &e->addr.sa;
	e->ifa.ifa_broadaddr = &e->broad.sa;
	e->ifa.ifa_data = &e->stats;
}

static void entry_v4(struct entry *e, const struct interface_addr *a)
{
	e->addr.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = interface_v4(a)};
	e->mask.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = interface_mask(a)};
	e->broad.in = (struct sockaddr_in){.sin_family = AF_INET};
	if ((e->ifa.ifa_flags & IFF_BROADCAST) && interface_broadcast(a, &e->broad.in.sin_addr))
		e->ifa.ifa_broadaddr = &e->broad.sa;
}

static void entry_v6(struct entry *e, const struct interface_addr *a)
{
	struct sockaddr_in6 *mask = &e->mask.in6;

	e->addr.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = a->addr};
	if (IN6_IS_ADDR_LINKLOCAL(&a->addr))
		e->addr.in6.sin6_scope_id = a->index;
	*mask = (struct sockaddr_in6){.sin6_family = AF_INET6};
	for (unsigned i = 0; i < a->prefix_len && i < 128; i++)
		mask->sin6_addr.s6_addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

static void entry_addr(struct entry *e, const struct interface_addr *a, unsigned flags)
{
	entry_named(e, a, flags);
	if (a->v4)
		entry_v4(e, a);
	else
		entry_v6(e, a);
	e->ifa.ifa_addr = &e->addr.sa;
	e->ifa.ifa_netmask = &e->mask.sa;
}

static unsigned flags_of(const struct interface_addr *a, const struct ifaddrs *kernel)
{
	for (; !a->own && kernel != NULL; kernel = kernel->ifa_next)
		if (strcmp(kernel->ifa_name, a->name) == 0)
			return kernel->ifa_flags;
	return INTERFACE_OWN_FLAGS;
}

/* ---- the list ---- */

static unsigned count(const struct ifaddrs *k)
{
	unsigned n = 0;

	for (; k != NULL; k = k->ifa_next)
		n++;
	return n;
}

static unsigned entries_make(struct entry *e, const struct ifaddrs *kernel,
			     const struct interface_addr *a, unsigned n)
{
	unsigned at = 0;

	for (const struct ifaddrs *k = kernel; k != NULL; k = k->ifa_next)
		entry_copy(&e[at++], k);
	for (unsigned i = 0; i < n; i++)
		if (a[i].own && interface_first(a, i))
			entry_link(&e[at++], &a[i]);
	for (unsigned i = 0; i < n; i++)
		entry_addr(&e[at++], &a[i], flags_of(&a[i], kernel));
	return at;
}

int getifaddrs(struct ifaddrs **list)
{
	struct interface_addr a[ADDRESSES_MAX];
	struct ifaddrs *kernel;
	struct entry *e;
	int r = real.getifaddrs(list);
	unsigned n;

	if (r < 0 || is_inside())
		return r;
	kernel = *list;
	n = interface_addresses(a, kernel);
	if (n == 0)
		return 0;
	e = calloc(count(kernel) + 2 * n, sizeof(*e));
	*list = e != NULL ? &e->ifa : NULL;
	n = e != NULL ? entries_make(e, kernel, a, n) : 0;
	for (unsigned i = 1; i < n; i++)
		e[i - 1].ifa.ifa_next = &e[i].ifa;
	freeifaddrs(kernel);
	return e != NULL ? 0 : (int)result(-ENOMEM);
}

/* ---- names and indices ---- */

unsigned if_nametoindex(const char *name)
{
	unsigned index = real.if_nametoindex(name);
	struct interface_addr a;

	if (likely(index != 0) || errno != ENODEV || is_inside() || !interface_own(&a, name, 0))
		return index;
	return a.index;
}

char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
	char *r = real.if_indextoname(index, name);
	struct interface_addr a;

	if (likely(r != NULL) || !chan_if_is_own(index) || is_inside() ||
	    !interface_own(&a, NULL, index))
		return r;
	memcpy(name, a.name, sizeof(a.name));
	return name;
}

struct if_nameindex *if_nameindex(void)
{
	struct if_nameindex *list = real.if_nameindex(), *longer;
	struct interface_addr a[ADDRESSES_MAX];
	unsigned n = 0, more;

	if (list == NULL || is_inside())
		return list;
	more = interface_addresses(a, NULL);
	while (list[n].if_index != 0)
		n++;
	longer = more > 0 ? realloc(list, (n + more + 1) * sizeof(*list)) : NULL;
	if (longer == NULL)
		return list; /* the kernel's */
	list = longer;
	for (unsigned i = 0; i < more; i++) {
		if (!a[i].own || !interface_first(a, i))
			continue;
		list[n].if_name = strdup(a[i].name);
		list[n].if_index = a[i].index;
		n += list[n].if_name != NULL;
	}
	list[n] = (struct if_nameindex){.if_index = 0};
	return list;
}
