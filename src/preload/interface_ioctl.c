/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ioctl() about interfaces (netdevice(7)), of any socket: what the kernel knows nothing of is
 * answered here, and SIOCGIFCONF has the stack's addresses of IPv4 behind the kernel's. What sets
 * something is the kernel's.
 *
 * Of an interface of the kernel's with addresses of its own, SIOCGIFADDR says its first one, as
 * ever; one of the stack's it says only if that is asked for by name and address (SIOCGIFNETMASK
 * and its kin do so in a program that goes through SIOCGIFCONF's list), or if there is no other.
 */
#include <net/if_arp.h>
#include <net/if.h>
#include <string.h>

#include "preload/interface.h"
#include "preload/preload.h"

static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	int r = real.ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

/* ---- addresses ---- */

static void sockaddr_v4(struct sockaddr *to, struct in_addr v4)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = v4};

	memcpy(to, &in, sizeof(*to));
}

/* The list, or with no buffer the room that it takes. */
static int list_all(int fd, struct ifconf *conf)
{
	int room = conf->ifc_len, r = kernel_ioctl(fd, SIOCGIFCONF, conf);
	struct interface_addr a[ADDRESSES_MAX];
	unsigned n = r == 0 ? interface_addresses(a, NULL) : 0;

	for (unsigned i = 0; i < n; i++) {
		struct ifreq one = {.ifr_metric = 0};

		if (!a[i].v4 ||
		    (conf->ifc_buf != NULL && room - conf->ifc_len < (int)sizeof(struct ifreq)))
			continue;
		memcpy(one.ifr_name, a[i].name, sizeof(one.ifr_name));
		sockaddr_v4(&one.ifr_addr, interface_v4(&a[i]));
		if (conf->ifc_buf != NULL)
			memcpy(conf->ifc_buf + conf->ifc_len, &one, sizeof(one));
		conf->ifc_len += (int)sizeof(one);
	}
	return r;
}

/* The address of the stack's at that interface that the request is about: of the very address, or
 * at all. */
static bool address_of(struct interface_addr *out, const struct ifreq *q, bool any)
{
	const struct sockaddr_in *asked = (const void *)&q->ifr_addr;
	struct interface_addr a[ADDRESSES_MAX];
	unsigned n = interface_addresses(a, NULL);

	for (unsigned i = 0; i < n; i++) {
		if (!a[i].v4 || strncmp(a[i].name, q->ifr_name, IF_NAMESIZE) != 0 ||
		    (!any && interface_v4(&a[i]).s_addr != asked->sin_addr.s_addr))
			continue;
		*out = a[i];
		return true;
	}
	return false;
}

static void say_address(struct ifreq *q, const struct interface_addr *a, unsigned long request)
{
	struct in_addr v4 = interface_v4(a);

	if (request == SIOCGIFNETMASK)
		v4 = interface_mask(a);
	if (request == SIOCGIFBRDADDR && !interface_broadcast(a, &v4))
		v4.s_addr = 0;
	sockaddr_v4(&q->ifr_addr, v4);
}

/* An interface that the kernel does not know, or knows no address of IPv4 at. */
static bool knows_none(int r)
{
	return r == -ENODEV || r == -EADDRNOTAVAIL;
}

static int address(int fd, unsigned long request, struct ifreq *q)
{
	const struct ifreq asked = *q;
	struct interface_addr a;
	int r = kernel_ioctl(fd, request, q);

	if (r != 0 && !knows_none(r))
		return r;
	if (!(asked.ifr_addr.sa_family == AF_INET && address_of(&a, &asked, false)) &&
	    !(knows_none(r) && address_of(&a, &asked, true)))
		return r;
	say_address(q, &a, request);
	return 0;
}

/* ---- interfaces of its own ---- */

static int answer(unsigned long request, struct ifreq *q, const struct interface_addr *a)
{
	switch (request) {
	case SIOCGIFINDEX:
		q->ifr_ifindex = (int)a->index;
		return 0;
	case SIOCGIFFLAGS:
		q->ifr_flags = (short)INTERFACE_OWN_FLAGS;
		return 0;
	case SIOCGIFMTU:
		q->ifr_mtu = a->mtu;
		return 0;
	case SIOCGIFMETRIC:
		q->ifr_metric = 0;
		return 0;
	case SIOCGIFHWADDR:
		q->ifr_hwaddr = (struct sockaddr){.sa_family = ARPHRD_ETHER};
		memcpy(q->ifr_hwaddr.sa_data, a->mac, sizeof(a->mac));
		return 0;
	case SIOCGIFNAME:
		memcpy(q->ifr_name, a->name, sizeof(a->name));
		return 0;
	default:
		return -ENODEV;
	}
}

int interface_ioctl(int fd, unsigned long request, void *arg)
{
	struct interface_addr a;
	struct ifreq *q = arg;
	bool by_index = request == SIOCGIFNAME;
	int r;

	if (arg == NULL)
		return kernel_ioctl(fd, request, arg);
	switch (request) {
	case SIOCGIFCONF:
		return list_all(fd, arg);
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK:
		return address(fd, request, arg);
	}
	r = kernel_ioctl(fd, request, arg);
	if (likely(r != -ENODEV) || (by_index && !chan_if_is_own((uint32_t)q->ifr_ifindex)) ||
	    !interface_own(&a, by_index ? NULL : q->ifr_name,
			   by_index ? (uint32_t)q->ifr_ifindex : 0))
		return r;
	return answer(request, q, &a);
}
