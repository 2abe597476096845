/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SipHash (libsodium's crypto_shorthash) is the keyed function of RFC 6528 §3 (H10). A cookie:
 *
 *	 31      26   24                      0
 *	| period  | mss |  SipHash(…)          |
 *	  5 bits    3      24
 *
 * The period is 64 s long and part of what is hashed in full, so a cookie is good in its own and in
 * the next period: the secret changes with it (RFC 4987 §3.6). A blind guess has one chance in
 * 2^24.
 */
#include "tcp/cookie.h"

#include <sodium.h>
#include <string.h>

#define PERIOD_NS 64000000000ull
#define HASH_MASK 0xffffffu

/* Common MSS values: the minimum, IPv4 and IPv6 defaults, tunnels, Ethernet, jumbo frames. */
static const uint16_t mss_table[8] = {216, 536, 1220, 1360, 1400, 1440, 1460, 8940};

enum purpose { FOR_ISN = 1, FOR_COOKIE = 2 };

struct hashed {
	struct tcp_key flow;
	uint64_t period;
	uint32_t irs, detail;
};
_Static_assert(sizeof(struct hashed) == 56, "hashed as memory");

static uint32_t hash(const uint8_t key[16], const struct hashed *h)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint32_t v;

	_Static_assert(crypto_shorthash_KEYBYTES == 16, "key of SipHash");
	crypto_shorthash(out, (const unsigned char *)h, sizeof(*h), key);
	memcpy(&v, out, sizeof(v));
	return v;
}

uint32_t tcp_isn(const uint8_t key[16], const struct tcp_key *flow, uint64_t now_ns)
{
	struct hashed h = {.flow = *flow, .detail = FOR_ISN};

	return (uint32_t)(now_ns / 4000) + hash(key, &h);
}

static uint32_t cookie_of(const uint8_t key[16], const struct tcp_key *flow, uint32_t irs,
			  uint32_t mss_index, uint64_t period)
{
	struct hashed h = {
		.flow = *flow, .period = period, .irs = irs, .detail = FOR_COOKIE | mss_index << 8};

	return (uint32_t)(period & 31) << 27 | mss_index << 24 | (hash(key, &h) & HASH_MASK);
}

uint32_t tcp_cookie_make(const uint8_t key[16], const struct tcp_key *flow, uint32_t irs,
			 uint16_t mss, uint64_t now_ns)
{
	uint32_t i = array_size(mss_table) - 1;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return cookie_of(key, flow, irs, i, now_ns / PERIOD_NS);
}

bool tcp_cookie_check(const uint8_t key[16], const struct tcp_key *flow, uint32_t irs,
		      uint32_t cookie, uint64_t now_ns, struct tcp_cookie *out)
{
	uint64_t now = now_ns / PERIOD_NS;
	uint64_t age = (now - (cookie >> 27)) & 31;
	uint32_t i = cookie >> 24 & 7;

	if (age > 1 || age > now || cookie_of(key, flow, irs, i, now - age) != cookie)
		return false;
	*out = (struct tcp_cookie){.mss = mss_table[i], .wscale = TCP_COOKIE_NO_WSCALE};
	return true;
}

uint32_t tcp_cookie_ts(uint32_t ts, const struct tcp_cookie *c)
{
	uint32_t bits = (uint32_t)c->sack << 4 | (c->wscale & 15);
	uint32_t v = (ts & ~31u) | bits;

	return v - (bits > (ts & 31) ? 32 : 0);
}

void tcp_cookie_ts_read(uint32_t tsecr, struct tcp_cookie *out)
{
	out->sack = tsecr >> 4 & 1;
	out->wscale = tsecr & 15;
}
