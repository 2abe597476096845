/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ARP for IPv4 over Ethernet (RFC 826) as it lies in a packet: the only combination in use.
 * Not done: other hardware or protocol types, RARP, InARP.
 */
#ifndef ZS_WIRE_ARP_H
#define ZS_WIRE_ARP_H

#include "base/be.h"
#include "wire/addr.h"
#include "wire/eth.h"

#define ARP_REQUEST 1
#define ARP_REPLY   2

struct wire_arp {
	be16_t htype;
	be16_t ptype;
	uint8_t hlen;
	uint8_t plen;
	be16_t op;
	struct eth_addr sha;
	be32_t spa;
	struct eth_addr tha;
	be32_t tpa;
} __attribute__((packed));

_Static_assert(sizeof(struct wire_arp) == 28, "wire format");

/* The fixed fields; a sender that is no station (a group, zero) would poison the table: refused. */
static inline bool wire_arp_valid(const struct wire_arp *a)
{
	uint16_t op = be16_host(a->op);

	return be16_host(a->htype) == 1 && be16_host(a->ptype) == ETH_TYPE_IP4 && a->hlen == 6 &&
	       a->plen == 4 && (op == ARP_REQUEST || op == ARP_REPLY) &&
	       eth_addr_is_station(&a->sha);
}

static inline void wire_arp_fill(struct wire_arp *a, uint16_t op, const struct eth_addr *sha,
				 be32_t spa, const struct eth_addr *tha, be32_t tpa)
{
	*a = (struct wire_arp){.htype = be16(1),
			       .ptype = be16(ETH_TYPE_IP4),
			       .hlen = 6,
			       .plen = 4,
			       .op = be16(op),
			       .sha = *sha,
			       .spa = spa,
			       .tha = *tha,
			       .tpa = tpa};
}

#endif
