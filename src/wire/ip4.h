/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The IPv4 header on the wire (RFC 791 §3.1).
 */
#ifndef ZS_WIRE_IP4_H
#define ZS_WIRE_IP4_H

#include "base/be.h"

struct ip4_hdr {
	uint8_t ver_ihl; /* version 4 in the high half, header length in 32-bit words in the low
			    half */
	uint8_t tos;	 /* DSCP and ECN */
	be16_t total_len;
	be16_t id;
	be16_t frag; /* flags, and the offset in units of 8 bytes */
	uint8_t ttl;
	uint8_t proto;
	be16_t csum;
	be32_t src;
	be32_t dst;
};
_Static_assert(sizeof(struct ip4_hdr) == 20, "RFC 791");

#define IP4_HDR_LEN	20
#define IP4_HDR_LEN_MAX 60
#define IP4_MIN_MTU	68
#define IP4_FRAG_DF	0x4000
#define IP4_FRAG_MF	0x2000
#define IP4_FRAG_OFFSET 0x1fff
#define IP4_OPT_END	0
#define IP4_OPT_NOP	1
#define IP4_OPT_LSRR	131
#define IP4_OPT_SSRR	137

#define IP_PROTO_ICMP  1
#define IP_PROTO_IGMP  2
#define IP_PROTO_TCP   6
#define IP_PROTO_UDP   17
#define IP_PROTO_ICMP6 58

#endif
