/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Cycles of the time-stamp counter, and how many there are in a nanosecond.
 */
#ifndef ZS_BENCH_TSC_H
#define ZS_BENCH_TSC_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

static inline uint64_t tsc(void)
{
	return __rdtsc();
}

static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Takes 50 ms. */
static inline double tsc_per_ns(void)
{
	uint64_t ns = clock_now_ns(), c = tsc(), end;

	while ((end = clock_now_ns()) - ns < 50000000)
		;
	return (double)(tsc() - c) / (double)(end - ns);
}

static inline int double_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts v. */
static inline double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), double_compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

#endif
