/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How often each duration occurred: 32 steps for each power of two, so that a quantile is exact to
 * 3 %.
 */
#ifndef EXAMPLES_HISTOGRAM_H
#define EXAMPLES_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 32

struct histogram {
	uint64_t n;
	uint64_t count[40 * HISTOGRAM_STEPS]; /* up to 2^44 ns */
};

static inline unsigned histogram_row(uint64_t ns)
{
	unsigned log = 63 - (unsigned)__builtin_clzll(ns | HISTOGRAM_STEPS);
	unsigned row = (log - 5) * HISTOGRAM_STEPS + (unsigned)(ns >> (log - 5));

	return row < 40 * HISTOGRAM_STEPS ? row : 40 * HISTOGRAM_STEPS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	h->count[histogram_row(ns)]++;
	h->n++;
}

/* The duration, in microseconds, that the share `part` of all did not exceed. */
static inline double histogram_us(const struct histogram *h, double part)
{
	uint64_t want = (uint64_t)((double)h->n * part), seen = 0;
	unsigned row = 0;

	while (row < 40 * HISTOGRAM_STEPS - 1 && (seen += h->count[row]) < want)
		row++;
	if (row < 2 * HISTOGRAM_STEPS)
		return row / 1e3;
	unsigned log = row / HISTOGRAM_STEPS - 1;

	return (double)((uint64_t)(row % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << log) / 1e3;
}

#endif
