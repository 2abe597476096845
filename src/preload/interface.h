/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interfaces as an unmodified program sees them: the kernel's, which have the stack's addresses as
 * well where the stack's ports stand on them, and one of its own for each other interface of the
 * stack's, "zstack0" and on, which the kernel knows nothing of (docs/design/011).
 */
#ifndef ZS_PRELOAD_INTERFACE_H
#define ZS_PRELOAD_INTERFACE_H

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "preload/address.h"

/* One address of the stack's, and the interface that has it. */
struct interface_addr {
	struct in6_addr addr; /* IPv4 mapped */
	bool v4, tentative;
	uint8_t prefix_len; /* of its own family */
	bool own;	    /* the interface is none of the kernel's */
	uint32_t index;
	char name[IF_NAMESIZE];
	/* Of an interface of its own: */
	uint16_t mtu;
	uint8_t mac[6];
};

#define INTERFACE_LOWER_UP 0x10000 /* IFF_LOWER_UP: <linux/if.h> does not go with <net/if.h> */
#define INTERFACE_OWN_FLAGS                                                                        \
	(IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | INTERFACE_LOWER_UP)

#pragma GCC visibility push(hidden)

/* The stack's addresses, as they are now, but those that the kernel has, too (--share), and those
 * that a rule leaves to it. kernel: what the C library says; NULL: it is asked. How many there are,
 * 0 where nothing can be known. Attaches to the service. Leaves errno alone. */
unsigned interface_addresses(struct interface_addr out[ADDRESSES_MAX],
			     const struct ifaddrs *kernel);
/* Of the first i addresses none is at the interface of a[i]. */
bool interface_first(const struct interface_addr *a, unsigned i);
/* The one of that name or index (0: any) that is none of the kernel's. False: there is none. */
bool interface_own(struct interface_addr *out, const char *name, uint32_t index);
struct in_addr interface_v4(const struct interface_addr *a);
/* IPv4: false, there is none, of so long a prefix. */
bool interface_broadcast(const struct interface_addr *a, struct in_addr *out);
struct in_addr interface_mask(const struct interface_addr *a);

#pragma GCC visibility pop

#endif
