/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See interface.h. Nothing is kept: what is there is asked for each time, since addresses come and
 * go, and who asks for interfaces does so rarely.
 */
#include "preload/interface.h"

#include <linux/if_packet.h>
#include <string.h>

#include "preload/preload.h"

#define MTU_USUAL 1500 /* where nobody is there to say */

/* ---- what the kernel has ---- */

static bool is_same(const struct sockaddr *sa, const struct in6_addr *a)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET)
		return IN6_IS_ADDR_V4MAPPED(a) && in->sin_addr.s_addr == a->s6_addr32[3];
	return sa->sa_family == AF_INET6 && IN6_ARE_ADDR_EQUAL(&in6->sin6_addr, a);
}

static bool kernel_has(const struct ifaddrs *k, const struct in6_addr *a)
{
	for (; k != NULL; k = k->ifa_next)
		if (is_same(k->ifa_addr, a))
			return true;
	return false;
}

static bool kernel_has_name(const struct ifaddrs *k, const char *name)
{
	for (; k != NULL; k = k->ifa_next)
		if (strcmp(k->ifa_name, name) == 0)
			return true;
	return false;
}

/* NULL: it has none of that index. */
static const char *kernel_name(const struct ifaddrs *k, uint32_t index)
{
	for (; k != NULL; k = k->ifa_next) {
		const struct sockaddr_ll *ll = (const void *)k->ifa_addr;

		if (ll != NULL && ll->sll_family == AF_PACKET && (uint32_t)ll->sll_ifindex == index)
			return k->ifa_name;
	}
	return NULL;
}

/* ---- what the stack has ---- */

/* A name that the kernel has is the kernel's. */
static void own_name(const struct ifaddrs *k, uint32_t index, char name[IF_NAMESIZE])
{
	unsigned number = index - CHAN_IF_OWN;

	snprintf(name, IF_NAMESIZE, "zstack%u", number);
	for (unsigned n = 1; kernel_has_name(k, name) && n < 100; n++)
		snprintf(name, IF_NAMESIZE, "zstack%u-%u", number, n);
}

static void place(struct interface_addr *out, const struct chan_addr *a, const struct ifaddrs *k)
{
	const char *name;

	out->index = host_interface(a->ifindex);
	name = chan_if_is_own(out->index) ? NULL : kernel_name(k, out->index);
	out->own = name == NULL;
	if (name != NULL) {
		memcpy(out->name, name, strnlen(name, IF_NAMESIZE - 1) + 1);
		return;
	}
	out->index = CHAN_IF_OWN + a->ifindex % CHAN_IFS_MAX;
	own_name(k, out->index, out->name);
}

static struct interface_addr describe(const struct chan_addr *a, const struct ifaddrs *k)
{
	struct interface_addr out = {.tentative = (a->flags & CHAN_ADDR_TENTATIVE) != 0,
				     .mtu = a->mtu != 0 ? a->mtu : MTU_USUAL};

	memcpy(&out.addr, a->addr, sizeof(out.addr));
	memcpy(out.mac, a->mac, sizeof(out.mac));
	out.v4 = IN6_IS_ADDR_V4MAPPED(&out.addr);
	out.prefix_len = a->prefix_len - (out.v4 && a->prefix_len >= 96 ? 96 : 0);
	place(&out, a, k);
	return out;
}

/* Whoever binds it, at whatever port, would be told that it is none of this host's. */
static bool is_left(const struct chan_addr *a)
{
	struct rule_case c = {.udp = false};

	memcpy(&c.addr, a->addr, sizeof(c.addr));
	if (rules_ask(run_rules(), &c) != RULE_LEAVE)
		return false;
	c.udp = true;
	return rules_ask(run_rules(), &c) == RULE_LEAVE;
}

static unsigned merge(struct interface_addr *out, const struct ifaddrs *k)
{
	struct chan_addr a[ADDRESSES_MAX];
	unsigned n = 0;
	int count;

	enter();
	count = stack_addresses_now(a);
	for (int i = 0; i < count; i++) {
		struct in6_addr in6;

		memcpy(&in6, a[i].addr, sizeof(in6));
		if (!kernel_has(k, &in6) && !is_left(&a[i]))
			out[n++] = describe(&a[i], k);
	}
	leave(0);
	return n;
}

unsigned interface_addresses(struct interface_addr out[ADDRESSES_MAX], const struct ifaddrs *kernel)
{
	struct ifaddrs *asked = NULL;
	int err = errno;
	unsigned n = 0;

	/* In a sandbox the library makes no system calls that the program does not make. */
	if (is_inside() || (in_sandbox() && (kernel == NULL || !started())))
		return 0;
	if (kernel == NULL && real.getifaddrs(&asked) == 0)
		kernel = asked;
	if (kernel != NULL)
		n = merge(out, kernel);
	freeifaddrs(asked);
	errno = err;
	return n;
}

bool interface_first(const struct interface_addr *a, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (a[k].index == a[i].index)
			return false;
	return true;
}

bool interface_own(struct interface_addr *out, const char *name, uint32_t index)
{
	struct interface_addr a[ADDRESSES_MAX];
	unsigned n = interface_addresses(a, NULL);

	for (unsigned i = 0; i < n; i++) {
		if (!a[i].own || (index != 0 && a[i].index != index) ||
		    (name != NULL && strncmp(a[i].name, name, IF_NAMESIZE) != 0))
			continue;
		*out = a[i];
		return true;
	}
	return false;
}

/* ---- IPv4 ---- */

struct in_addr interface_v4(const struct interface_addr *a)
{
	return (struct in_addr){a->addr.s6_addr32[3]};
}

struct in_addr interface_mask(const struct interface_addr *a)
{
	uint64_t mask = ~(uint64_t)0 << (32 - (a->prefix_len < 32 ? a->prefix_len : 32));

	return (struct in_addr){htonl((uint32_t)mask)};
}

bool interface_broadcast(const struct interface_addr *a, struct in_addr *out)
{
	out->s_addr = a->addr.s6_addr32[3] | ~interface_mask(a).s_addr;
	return a->v4 && a->prefix_len <= 30;
}
