/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A histogram of times: 64 steps an octave, so within 1.6 %, from a nanosecond to hours.
 */
#ifndef ZS_BENCH_HIST_H
#define ZS_BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB 64

struct hist {
	uint64_t n;
	uint64_t count[48 * HIST_SUB];
};

static inline unsigned hist_slot(uint64_t v)
{
	unsigned octave;

	if (v < HIST_SUB)
		return (unsigned)v;
	octave = 63 - (unsigned)__builtin_clzll(v) - 6;
	if (octave > 46)
		octave = 46;
	return (octave + 1) * HIST_SUB + (unsigned)((v >> octave) & (HIST_SUB - 1));
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->n++;
	h->count[hist_slot(v)]++;
}

/* The value below which `share` of all lie; 0 when there are none. */
static inline uint64_t hist_quantile(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)((double)h->n * share), seen = 0;

	for (unsigned i = 0; i < sizeof(h->count) / sizeof(h->count[0]); i++) {
		seen += h->count[i];
		if (seen > want)
			return i < HIST_SUB
				       ? i
				       : (uint64_t)(HIST_SUB + i % HIST_SUB) << (i / HIST_SUB - 1);
	}
	return 0;
}

#endif
