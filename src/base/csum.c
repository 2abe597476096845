/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Long Internet checksums (RFC 1071) in the widest registers of this machine.
 *
 * One's-complement addition is associative over any word size that is a multiple of 16 bits (RFC
 * 1071 §2(C)). The wide versions split each 64-bit lane into its 32-bit halves and add those to
 * 64-bit lanes: no carry is lost before 2^32 additions, far past any buffer. The low halves are
 * masked and the high ones shifted down, so no lane crossing is needed until the end.
 *
 * A table, resolved by a constructor: the pointer is never NULL and never changes under a thread.
 */
#include <immintrin.h>

#include "base/csum.h"

static uint32_t csum_scalar(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t even = 0, odd = 0;

	/* Two chains: add-with-carry depends on the one before it. */
	for (; len >= 32; len -= 32, p += 32) {
		even = csum_add64(even, csum_load64(p));
		odd = csum_add64(odd, csum_load64(p + 8));
		even = csum_add64(even, csum_load64(p + 16));
		odd = csum_add64(odd, csum_load64(p + 24));
	}
	return csum_fold64(csum_add64(csum_add64(even, odd), csum_short(p, len)));
}

__attribute__((target("avx2"))) static uint32_t csum_avx2(const void *data, size_t len)
{
	const uint8_t *p = data;
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	uint64_t lane[4];

	for (; len >= 64; len -= 64, p += 64) {
		__m256i x = _mm256_loadu_si256((const __m256i *)p);
		__m256i y = _mm256_loadu_si256((const __m256i *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((__m256i *)lane, a);
	uint64_t sum = csum_add64(csum_add64(lane[0], lane[1]), csum_add64(lane[2], lane[3]));

	return csum_fold64(csum_add64(sum, csum_short(p, len)));
}

__attribute__((target("avx512f,avx512bw"))) static uint32_t csum_avx512(const void *data,
									size_t len)
{
	const uint8_t *p = data;
	const __m512i low = _mm512_set1_epi64(0xffffffff);
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;

	for (; len >= 128; len -= 128, p += 128) {
		__m512i x = _mm512_loadu_si512(p);
		__m512i y = _mm512_loadu_si512(p + 64);

		a = _mm512_add_epi64(a, _mm512_and_si512(x, low));
		b = _mm512_add_epi64(b, _mm512_srli_epi64(x, 32));
		c = _mm512_add_epi64(c, _mm512_and_si512(y, low));
		d = _mm512_add_epi64(d, _mm512_srli_epi64(y, 32));
	}
	/* Two masked loads end it without a scalar tail; bytes outside the mask are not touched. */
	for (; len > 0; p += 64) {
		__mmask64 m = len >= 64 ? ~0ULL : (1ULL << len) - 1;
		__m512i x = _mm512_maskz_loadu_epi8(m, p);

		a = _mm512_add_epi64(a, _mm512_and_si512(x, low));
		b = _mm512_add_epi64(b, _mm512_srli_epi64(x, 32));
		len -= len >= 64 ? 64 : len;
	}
	a = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
	return csum_fold64((uint64_t)_mm512_reduce_add_epi64(a));
}

uint32_t (*csum_long)(const void *data, size_t len) = csum_scalar;

csum_long_fn csum_wide(unsigned i)
{
	/* Called from a constructor, so perhaps before libgcc's own has filled the answers. */
	__builtin_cpu_init();
	if (i == 0)
		return csum_scalar;
	if (i == 1 && __builtin_cpu_supports("avx2"))
		return csum_avx2;
	if (i == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		return csum_avx512;
	return NULL;
}

__attribute__((constructor)) static void choose(void)
{
	for (unsigned i = 0; i < CSUM_WIDE_MAX; i++)
		if (csum_wide(i))
			csum_long = csum_wide(i);
}
