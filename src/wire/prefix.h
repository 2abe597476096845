/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Prefixes of addresses of either family, whose lengths are those of the family: 0 to 32, or 0
 * to 128 (RFC 4632 §3.1, RFC 4291 §2.3).
 */
#ifndef ZS_WIRE_PREFIX_H
#define ZS_WIRE_PREFIX_H

#include "wire/addr.h"

/* The length of a's prefix in the 16-byte form. */
static inline unsigned ip_bits(const struct ip_addr *a, unsigned prefix_len)
{
	return ip_addr_is_v4(a) ? prefix_len + 96 : prefix_len;
}

static inline struct ip_addr ip_mask(unsigned bits)
{
	struct ip_addr m = {.q = {0, 0}};

	for (unsigned i = 0; i < 16 && bits > 0; i++) {
		unsigned take = bits < 8 ? bits : 8;

		m.b[i] = (uint8_t)(0xff00 >> take);
		bits -= take;
	}
	return m;
}

static inline bool ip_in_prefix(const struct ip_addr *a, const struct ip_addr *net,
				const struct ip_addr *mask)
{
	return (((a->q[0] ^ net->q[0]) & mask->q[0]) | ((a->q[1] ^ net->q[1]) & mask->q[1])) == 0;
}

/* The host part is all zero (network, or subnet-router anycast) or, for IPv4, all ones. Prefixes
 * with one host bit or none have neither (RFC 3021, RFC 6164). */
static inline bool ip_addr_is_reserved(const struct ip_addr *a, unsigned prefix_len)
{
	bool v4 = ip_addr_is_v4(a);
	unsigned bits = ip_bits(a, prefix_len);
	struct ip_addr m = ip_mask(bits);
	uint64_t h0 = a->q[0] & ~m.q[0];
	uint64_t h1 = a->q[1] & ~m.q[1];

	if (bits >= 127)
		return false;
	if ((h0 | h1) == 0)
		return true;
	return v4 && h1 == ~m.q[1];
}

/* Can a host have this address, with a prefix of that length? */
static inline bool ip_addr_is_host(const struct ip_addr *a, unsigned prefix_len)
{
	bool v4 = ip_addr_is_v4(a);

	if (prefix_len > (v4 ? 32 : 128) || (v4 && a->b[12] >= 240))
		return false;
	return !ip_addr_is_any(a) && !ip_addr_is_multicast(a) &&
	       !ip_addr_is_reserved(a, prefix_len);
}

/* Is `to` in the prefix of an own address? */
static inline bool ip_addr_on_link(const struct ip_addr *own, unsigned prefix_len,
				   const struct ip_addr *to)
{
	struct ip_addr mask = ip_mask(ip_bits(own, prefix_len));

	return ip_addr_is_v4(own) == ip_addr_is_v4(to) && ip_in_prefix(to, own, &mask);
}

#endif
