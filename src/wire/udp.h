/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The UDP header (RFC 768). Whoever reads it checks len: 8 <= len <= bytes there are (H03).
 */
#ifndef ZS_WIRE_UDP_H
#define ZS_WIRE_UDP_H

#include <stddef.h>

#include "base/be.h"

struct udp_hdr {
	be16_t sport;
	be16_t dport;
	be16_t len;  /* header and payload, in bytes */
	be16_t csum; /* 0 = none; allowed with IPv4 only (RFC 8200 §8.1) */
};

_Static_assert(sizeof(struct udp_hdr) == 8, "RFC 768");
_Static_assert(offsetof(struct udp_hdr, len) == 4, "RFC 768");
_Static_assert(offsetof(struct udp_hdr, csum) == 6, "RFC 768");

#endif
