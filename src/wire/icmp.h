/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ICMP on the wire: RFC 792 and RFC 4443. Both begin with the same four bytes.
 */
#ifndef ZS_WIRE_ICMP_H
#define ZS_WIRE_ICMP_H

#include "base/be.h"

struct icmp_hdr {
	uint8_t type;
	uint8_t code;
	be16_t csum;
	be32_t rest; /* echo: id and sequence; ICMP too big: MTU in the low half; ICMPv6 too big:
			MTU */
};
_Static_assert(sizeof(struct icmp_hdr) == 8, "RFC 792");

#define ICMP_HDR_LEN 8

#define ICMP4_ECHO_REPLY     0
#define ICMP4_UNREACH	     3
#define ICMP4_SOURCE_QUENCH  4
#define ICMP4_REDIRECT	     5
#define ICMP4_ECHO	     8
#define ICMP4_TIME_EXCEEDED  11
#define ICMP4_PARAM	     12
#define ICMP4_UNREACH_HOST   1
#define ICMP4_UNREACH_PROTO  2
#define ICMP4_UNREACH_PORT   3
#define ICMP4_UNREACH_TOOBIG 4

#define ICMP6_UNREACH	    1
#define ICMP6_TOO_BIG	    2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAM	    4
#define ICMP6_INFORMATIONAL 128 /* types from here on are no errors */
#define ICMP6_ECHO	    128
#define ICMP6_ECHO_REPLY    129
#define ICMP6_ND_FIRST	    133
#define ICMP6_ND_LAST	    137
#define ICMP6_UNREACH_ADDR  3
#define ICMP6_UNREACH_PORT  4
#define ICMP6_PARAM_FIELD   0 /* a field of a header */
#define ICMP6_PARAM_OPTION  2 /* an option that is not known */
#define ICMP6_PARAM_CHAIN   3 /* headers that do not all lie in the first fragment (RFC 7112) */

#endif
