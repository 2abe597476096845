/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The Ethernet II header and the 802.1Q tag as they lie in a packet, and the mapping of IP groups
 * to group MACs (RFC 1112 §6.4, RFC 2464 §7). Lengths are checked by the reader before it looks.
 * Not done: LLC/SNAP, stacked tags (802.1ad).
 */
#ifndef ZS_WIRE_ETH_H
#define ZS_WIRE_ETH_H

#include "base/be.h"
#include "wire/addr.h"

#define ETH_TYPE_IP4  0x0800
#define ETH_TYPE_ARP  0x0806
#define ETH_TYPE_VLAN 0x8100
#define ETH_TYPE_IP6  0x86dd
#define ETH_VID_MASK  0x0fff
#define ETH_VID_MAX   4094

struct wire_eth {
	struct eth_addr dst;
	struct eth_addr src;
	be16_t type;
} __attribute__((packed));

/* Follows the EtherType 0x8100. */
struct wire_vlan {
	be16_t tci; /* priority 3 bits, drop eligible 1, VLAN id 12 */
	be16_t type;
} __attribute__((packed));

_Static_assert(sizeof(struct wire_eth) == 14, "wire format");
_Static_assert(sizeof(struct wire_vlan) == 4, "wire format");

static inline bool eth_addr_eq(const struct eth_addr *a, const struct eth_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Broadcast is a group too. */
static inline bool eth_addr_is_group(const struct eth_addr *a)
{
	return a->b[0] & 1;
}

/* What a station may call itself: neither a group nor zero. */
static inline bool eth_addr_is_station(const struct eth_addr *a)
{
	static const struct eth_addr zero;

	return !eth_addr_is_group(a) && !eth_addr_eq(a, &zero);
}

static inline struct eth_addr eth_addr_broadcast(void)
{
	return (struct eth_addr){.b = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
}

/* The link-local address of a station (RFC 4291 §2.5.1, RFC 2464 §5). The VLAN is mixed into the
 * filler in the middle: interfaces of one port share the MAC, and are to have addresses of their
 * own. */
static inline struct ip_addr eth_link_local6(const struct eth_addr *mac, uint16_t vlan)
{
	const uint8_t *m = mac->b;

	return (struct ip_addr){.b = {0xfe, 0x80, [8] = m[0] ^ 2, m[1], m[2],
				      0xff ^ (uint8_t)(vlan >> 8), 0xfe ^ (uint8_t)vlan, m[3], m[4],
				      m[5]}};
}

/* The group MAC of a multicast address of either family: IPv4 gives 23 bits, IPv6 gives 32. */
static inline struct eth_addr eth_addr_of_group(const struct ip_addr *a)
{
	if (ip_addr_is_v4(a))
		return (struct eth_addr){
			.b = {0x01, 0x00, 0x5e, a->b[13] & 0x7f, a->b[14], a->b[15]}};
	return (struct eth_addr){.b = {0x33, 0x33, a->b[12], a->b[13], a->b[14], a->b[15]}};
}

#endif
