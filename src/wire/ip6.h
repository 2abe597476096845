/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The IPv6 header and the extension headers that a host meets (RFC 8200 §3, §4).
 */
#ifndef ZS_WIRE_IP6_H
#define ZS_WIRE_IP6_H

#include "base/be.h"

struct ip6_hdr {
	be32_t ver_tc_flow;
	be16_t payload_len;
	uint8_t next;
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
};
_Static_assert(sizeof(struct ip6_hdr) == 40, "RFC 8200");

struct ip6_frag_hdr {
	uint8_t next;
	uint8_t reserved;
	be16_t off_m; /* the offset times 8, and M in the lowest bit */
	be32_t id;
};
_Static_assert(sizeof(struct ip6_frag_hdr) == 8, "RFC 8200 §4.5");

#define IP6_HDR_LEN  40
#define IP6_FRAG_LEN 8
#define IP6_MIN_MTU  1280

#define IP6_NEXT_HOP_BY_HOP 0
#define IP6_NEXT_ROUTING    43
#define IP6_NEXT_FRAGMENT   44
#define IP6_NEXT_NONE	    59
#define IP6_NEXT_DST_OPTS   60

#endif
