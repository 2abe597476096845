/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One form for IPv4 and IPv6 addresses everywhere above the wire: 16 bytes, IPv4 as ::ffff:a.b.c.d
 * (RFC 4291 §2.5.5.2), so that a flow key is one memory comparison.
 */
#ifndef ZS_WIRE_ADDR_H
#define ZS_WIRE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/be.h"

struct ip_addr {
	union {
		uint8_t b[16];
		be32_t w[4]; /* w[3] is the IPv4 address of a mapped one */
		uint64_t q[2];
	};
};

struct eth_addr {
	uint8_t b[6];
};

static inline struct ip_addr ip_addr_v4(be32_t v4)
{
	struct ip_addr a = {.b = {[10] = 0xff, [11] = 0xff}};

	a.w[3] = v4;
	return a;
}

static inline bool ip_addr_is_v4(const struct ip_addr *a)
{
	return a->q[0] == 0 && a->w[2].v == __builtin_bswap32(0xffff);
}

static inline bool ip_addr_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return ((a->q[0] ^ b->q[0]) | (a->q[1] ^ b->q[1])) == 0;
}

/* The unspecified address: all zero, either as :: or as ::ffff:0.0.0.0. */
static inline bool ip_addr_is_any(const struct ip_addr *a)
{
	return a->q[0] == 0 && a->w[3].v == 0 &&
	       (a->w[2].v == 0 || a->w[2].v == __builtin_bswap32(0xffff));
}

static inline bool ip_addr_is_multicast(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

/* fe80::/10 */
static inline bool ip_addr_is_link_local6(const struct ip_addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static inline bool ip_addr_is_loopback(const struct ip_addr *a)
{
	if (ip_addr_is_v4(a))
		return a->b[12] == 127;
	return a->q[0] == 0 && a->w[2].v == 0 && be32_host(a->w[3]) == 1;
}

/* Text form, RFC 5952 for IPv6. Writes at most ADDR_TEXT_MAX bytes with the NUL; returns buf. */
#define ADDR_TEXT_MAX 48
const char *ip_addr_text(const struct ip_addr *a, char buf[ADDR_TEXT_MAX]);

/* Parses either family. 0, or -EINVAL. */
int ip_addr_parse(const char *text, struct ip_addr *out);

#endif
