/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Neighbour discovery messages (RFC 4861 §4) as they lie in a packet from the ICMPv6 header on, and
 * what a valid one says. Parsing checks all that can be seen without the IP header: lengths, code,
 * target, and every option (length 0 or past the end refuses the message, RFC 4861 §4.6).
 * Not done: redirects (a host may ignore them), SEND, route information, RDNSS (unknown options are
 * skipped).
 */
#ifndef ZS_WIRE_ND_H
#define ZS_WIRE_ND_H

#include <stddef.h>

#include "base/assert.h"
#include "base/be.h"
#include "wire/addr.h"
#include "wire/eth.h"

enum {
	ND_RS = 133,
	ND_RA = 134,
	ND_NS = 135,
	ND_NA = 136,
	ND_REDIRECT = 137,

	ND_OPT_SLLA = 1,
	ND_OPT_TLLA = 2,
	ND_OPT_PREFIX = 3,
	ND_OPT_MTU = 5,

	ND_NA_ROUTER = 0x80,
	ND_NA_SOLICITED = 0x40,
	ND_NA_OVERRIDE = 0x20,

	ND_PREFIX_MAX = 8, /* of one advertisement; the rest is ignored */
};

/* NS and NA. */
struct wire_nd {
	uint8_t type;
	uint8_t code;
	be16_t csum;
	uint8_t flags; /* NA */
	uint8_t reserved[3];
	uint8_t target[16];
} __attribute__((packed));

/* The link-layer address option for Ethernet. */
struct wire_nd_lla {
	uint8_t type;
	uint8_t len; /* in units of 8 bytes */
	struct eth_addr mac;
} __attribute__((packed));

struct wire_ra {
	uint8_t type;
	uint8_t code;
	be16_t csum;
	uint8_t hop_limit;
	uint8_t flags;
	be16_t lifetime_s;
	be32_t reachable_ms;
	be32_t retrans_ms;
} __attribute__((packed));

struct wire_nd_prefix {
	uint8_t type;
	uint8_t len;
	uint8_t prefix_len;
	uint8_t flags;
	be32_t valid_s;
	be32_t preferred_s;
	be32_t reserved;
	uint8_t prefix[16];
} __attribute__((packed));

_Static_assert(sizeof(struct wire_nd) == 24, "wire format");
_Static_assert(sizeof(struct wire_nd_lla) == 8, "wire format");
_Static_assert(sizeof(struct wire_ra) == 16, "wire format");
_Static_assert(sizeof(struct wire_nd_prefix) == 32, "wire format");

struct nd_prefix {
	struct ip_addr prefix;
	uint8_t len;
	uint8_t flags; /* 0x80 on link, 0x40 autonomous */
	uint32_t valid_s, preferred_s;
};

struct nd_msg {
	uint8_t type;
	uint8_t flags; /* NA: R S O; RA: M O */
	bool has_slla, has_tlla;
	uint8_t n_prefix;
	struct ip_addr target; /* NS, NA */
	struct eth_addr slla, tlla;
	uint16_t lifetime_s;   /* RA */
	uint32_t mtu;	       /* RA; 0: not said */
	uint32_t reachable_ms; /* RA; 0: not said */
	struct nd_prefix prefix[ND_PREFIX_MAX];
};

/* 0, or -EINVAL. len bytes from the ICMPv6 header on. */
int nd_parse(const uint8_t *icmp, size_t len, struct nd_msg *out) must_check;

/* ff02::1:ffXX:XXXX of an address (RFC 4291 §2.7.1). */
static inline struct ip_addr nd_solicited_node(const struct ip_addr *a)
{
	return (struct ip_addr){
		.b = {0xff, 2, [11] = 1, [12] = 0xff, a->b[13], a->b[14], a->b[15]}};
}

#endif
