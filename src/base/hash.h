/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Keyed hashes for tables whose keys come from the network. The idea: a 64x64 multiplication folded
 * to 64 bits mixes two words well and costs a few cycles. Both factors are masked with secrets
 * derived from the key: with a public mask, a peer could choose a word that makes the factor 0 and
 * so a collision under every key. Not a MAC: cookies and initial sequence numbers need a real one.
 */
#ifndef ZS_BASE_HASH_H
#define ZS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Odd constants with half of their bits set, from the fractions of square roots of 2 and 3. */
#define HASH_C1 0x6a09e667f3bcc909ULL
#define HASH_C2 0xbb67ae8584caa73bULL

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t hash_load(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* One 64-bit word. */
static inline uint64_t hash_u64(uint64_t v, uint64_t key)
{
	return hash_mix(v ^ key, (key * HASH_C2) ^ HASH_C1);
}

/* Any length; with a constant one the compiler unrolls all of it. */
static inline uint64_t hash_bytes(const void *data, size_t len, uint64_t key)
{
	const uint8_t *p = data;
	uint64_t mask = key * HASH_C1 ^ HASH_C2;
	uint64_t h = key ^ len * HASH_C2;
	uint64_t a = 0, b = 0;

	for (; len >= 16; len -= 16, p += 16)
		h = hash_mix(hash_load(p) ^ mask, hash_load(p + 8) ^ h);
	if (len >= 8) {
		a = hash_load(p);
		p += 8;
		len -= 8;
	}
	memcpy(&b, p, len);
	h = hash_mix(a ^ mask, b ^ h);
	return hash_mix(h ^ HASH_C1, mask);
}

/* One end of a flow, before the two are joined. */
static inline uint64_t hash_end(const uint8_t addr[16], uint16_t port, uint64_t key)
{
	uint64_t mask = key * HASH_C1 ^ HASH_C2;
	uint64_t h = hash_mix(hash_load(addr) ^ mask, hash_load(addr + 8) ^ key);

	return hash_mix(h ^ key, port ^ mask);
}

/* Both directions of a flow have the same hash, so the same core owns them. A sum, not an exclusive
 * or: a flow between equal ends would cancel out. */
static inline uint32_t hash_flow(const uint8_t a[16], const uint8_t b[16], uint16_t aport,
				 uint16_t bport, uint64_t key)
{
	return (uint32_t)(hash_u64(hash_end(a, aport, key) + hash_end(b, bport, key), key) >> 32);
}

#endif
