/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's interfaces, as much of rtnetlink(7) as a shared port needs. In the network namespace
 * of the process. Each returns 0 or -errno.
 */
#ifndef ZS_SVC_KNET_H
#define ZS_SVC_KNET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "wire/addr.h"

struct knet_addr {
	unsigned ifindex;
	struct ip_addr addr;
	uint8_t prefix_len;
};
/* IPv6 without duplicate address detection: it is the stack's affair. */
int knet_addr_add(const struct knet_addr *a) must_check;
int knet_addr_del(const struct knet_addr *a);

/* A neighbour that is always there. */
struct knet_neigh {
	unsigned ifindex;
	struct ip_addr addr;
	struct eth_addr mac;
};
int knet_neigh_add(const struct knet_neigh *n) must_check;

/* len bits of prefix, of its own family; gateway any: on the link. */
struct knet_route {
	unsigned ifindex;
	struct ip_addr prefix, gateway;
	uint8_t prefix_len;
};
/* Behind what is there already: of a high metric. */
int knet_route_add(const struct knet_route *r) must_check;
int knet_route_del(const struct knet_route *r);

int knet_up(const char *ifname) must_check;
/* /proc/sys/net/ipv6/conf/IFNAME/KEY, if there is IPv6. */
void knet_set6(const char *ifname, const char *key, int value);
/* Which interface has the address? False: none. */
bool knet_has(const struct ip_addr *a, char ifname[16]);
/* net.ipv4.ip_local_port_range, for IPv6 too. */
int knet_port_range(unsigned *first, unsigned *last) must_check;

#endif
