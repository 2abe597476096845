/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See clock.h. Between two settings the counter's measured rate is trusted; at a setting the rate
 * is measured anew over the whole second, so that its error stays near that of the two readings.
 */
#include "stack/clock.h"

#include <time.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#define SECOND_NS  1000000000ull
#define MEASURE_NS 2000000ull

uint64_t clock_kernel_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

/* Leaf 0x80000007, EDX bit 8: the counter runs at one rate in all states. */
static bool counter_invariant(void)
{
#ifdef __x86_64__
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
#else
	return false;
#endif
}

/* Counter and clock at the same moment. */
struct pair {
	uint64_t tsc, ns;
};

/* The two readings that belong together best of a few: an interruption between them only spoils
 * one.
 */
static struct pair read_pair(void)
{
	struct pair p = {0, 0};
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t before = clock_tsc(), t = clock_kernel_ns(), after = clock_tsc();

		if (after - before >= best)
			continue;
		best = after - before;
		p = (struct pair){before + best / 2, t};
	}
	return p;
}

static uint64_t rate(uint64_t ticks, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}

static void set_check(struct clock *c)
{
	c->check_tsc = c->tsc + (uint64_t)(((unsigned __int128)SECOND_NS << 32) / c->mult);
}

static void set(struct clock *c, struct pair from, struct pair to)
{
	c->mult = rate(to.tsc - from.tsc, to.ns - from.ns);
	c->tsc = to.tsc;
	c->ns = to.ns;
	set_check(c);
}

void clock_init(struct clock *c)
{
	struct pair from, to;

	*c = (struct clock){.kernel = !counter_invariant()};
	if (c->kernel)
		return;
	from = read_pair();
	do
		to = read_pair();
	while (to.ns - from.ns < MEASURE_NS);
	c->kernel = to.tsc <= from.tsc;
	if (!c->kernel)
		set(c, from, to);
}

void clock_adjust(struct clock *c)
{
	struct pair now = read_pair();

	/* A counter that went back is not to be trusted. */
	c->kernel = now.tsc <= c->tsc || now.ns <= c->ns;
	if (!c->kernel)
		set(c, (struct pair){c->tsc, c->ns}, now);
}
