/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The Internet checksum (RFC 1071): a one's-complement sum of 16-bit words. Partial sums are
 * uint32_t of at most 17 bits, over words as this machine loads them: RFC 1071 §2(B) lets the bytes
 * of every word be swapped as long as the result is stored the same way, so nothing here swaps bytes
 * and csum_finish() goes into the packet as it is.
 *
 *	sum = csum_pseudo(0, src, dst, v6, proto, len);
 *	hdr->csum.v = csum_finish(csum_add(sum, l4, len));   the field was 0
 *	good = csum_fold(csum_add(sum, l4, len)) == 0xffff;  over a received one, field included
 *
 * A piece of odd length may only be the last one. What follows one is summed apart and joined by
 * csum_join(). Not done: incremental update (RFC 1624).
 */
#ifndef ZS_BASE_CSUM_H
#define ZS_BASE_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Up to this many bytes the call through a pointer costs more than wide registers save. */
#define CSUM_INLINE_MAX 64

/* The whole-register sum of a long piece, as a 17-bit partial sum; chosen once for this machine. */
extern uint32_t (*csum_long)(const void *data, size_t len);

/* 64 bits to 17: the carries come back in at the bottom, as one's complement wants. Non-zero stays
 * so. */
static inline uint32_t csum_fold64(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

/* Adds with the carry brought around, so that any number of words can be added. */
static inline uint64_t csum_add64(uint64_t sum, uint64_t word)
{
	uint64_t carry = __builtin_add_overflow(sum, word, &sum);

	return sum + carry;
}

static inline uint64_t csum_load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* The last 0 to 7 bytes as one word, with zeros above. */
static inline uint64_t csum_tail(const uint8_t *p, size_t len)
{
	uint64_t v = 0;
	uint32_t w4;
	uint16_t w2;

	if (len & 1)
		v = p[len - 1];
	if (len & 2) {
		memcpy(&w2, p + (len & 4), 2);
		v = v << 16 | w2;
	}
	if (len & 4) {
		memcpy(&w4, p, 4);
		v = v << 32 | w4;
	}
	return v;
}

static inline uint64_t csum_short(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (; len >= 8; len -= 8, p += 8)
		sum = csum_add64(sum, csum_load64(p));
	return csum_add64(sum, csum_tail(p, len));
}

/* Adds len bytes to a partial sum. */
static inline uint32_t csum_add(uint32_t sum, const void *data, size_t len)
{
	if (len <= CSUM_INLINE_MAX)
		return csum_fold64(csum_add64(csum_short(data, len), sum));
	return csum_fold64((uint64_t)sum + csum_long(data, len));
}

/* To 16 bits, not inverted. 0xffff over data that holds its own checksum means: good. */
static inline uint16_t csum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* Inverted, to be stored in the packet as it is. UDP sends 0xffff for 0 (RFC 768): the caller's
 * part. */
static inline uint16_t csum_finish(uint32_t sum)
{
	return (uint16_t)~csum_fold(sum);
}

/* A sum of bytes that start at an odd offset of the whole: each byte is in the other half of its
 * word. */
static inline uint32_t csum_swap(uint32_t sum)
{
	return __builtin_bswap16(csum_fold(sum));
}

/* Joins the sum of a piece to that of the `before` bytes in front of it. */
static inline uint32_t csum_join(uint32_t sum, uint32_t piece, size_t before)
{
	return csum_fold64((uint64_t)sum + (before & 1 ? csum_swap(piece) : piece));
}

/* Adds the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1): addresses of 16 bytes, IPv4 in the last
 * four; len is of the transport header and payload. Its sum is the same for both families' layouts.
 */
static inline uint32_t csum_pseudo(uint32_t sum, const uint8_t src[16], const uint8_t dst[16],
				   bool v6, uint8_t proto, uint32_t len)
{
	uint64_t s = (uint64_t)sum + __builtin_bswap32(len) + ((uint32_t)proto << 8);

	if (v6) {
		s = csum_add64(s, csum_load64(src));
		s = csum_add64(s, csum_load64(src + 8));
		s = csum_add64(s, csum_load64(dst));
		return csum_fold64(csum_add64(s, csum_load64(dst + 8)));
	}
	return csum_fold64(s + (csum_load64(src + 8) >> 32) + (csum_load64(dst + 8) >> 32));
}

/* The versions behind csum_long, for the test. csum_wide(i) is NULL where this machine lacks it,
 * and from CSUM_WIDE_MAX on. */
#define CSUM_WIDE_MAX 3
typedef uint32_t (*csum_long_fn)(const void *data, size_t len);
csum_long_fn csum_wide(unsigned i);

#endif
