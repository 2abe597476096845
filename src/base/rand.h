/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small deterministic generator: Blackman and Vigna's xoshiro256**, seeded through Steele's
 * splitmix64 (both algorithms are in the public domain). The same seed gives the same numbers
 * everywhere, so that a failed run can be repeated. Not for secrets: keys come from the system.
 */
#ifndef ZS_BASE_RAND_H
#define ZS_BASE_RAND_H

#include <stdint.h>

struct rand {
	uint64_t s[4]; /* never all zero */
};

static inline uint64_t rand_rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

/* Any seed is good, 0 too: splitmix64 never gives four zeros in a row. */
static inline void rand_init(struct rand *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		seed += 0x9e3779b97f4a7c15;
		uint64_t z = seed;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
		z = (z ^ z >> 27) * 0x94d049bb133111eb;
		r->s[i] = z ^ z >> 31;
	}
}

static inline uint64_t rand_u64(struct rand *r)
{
	uint64_t out = rand_rotl(r->s[1] * 5, 7) * 9;
	uint64_t shifted = r->s[1] << 17;

	r->s[2] ^= r->s[0];
	r->s[3] ^= r->s[1];
	r->s[1] ^= r->s[2];
	r->s[0] ^= r->s[3];
	r->s[2] ^= shifted;
	r->s[3] = rand_rotl(r->s[3], 45);
	return out;
}

static inline uint32_t rand_u32(struct rand *r)
{
	return (uint32_t)(rand_u64(r) >> 32);
}

/* 0 … n-1, n > 0. The product's bias is below n / 2^64: beneath notice. */
static inline uint64_t rand_below(struct rand *r, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rand_u64(r) * n) >> 64);
}

#endif
