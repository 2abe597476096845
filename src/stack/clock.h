/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack's clock: CLOCK_MONOTONIC in ns, read from the processor's time-stamp counter, since one
 * is read in every poll. It is set right against the kernel's clock once a second, and never goes
 * back. Without an invariant counter it is the kernel's clock itself.
 *
 * One owner.
 */
#ifndef ZS_STACK_CLOCK_H
#define ZS_STACK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock {
	uint64_t tsc, ns;   /* of the last setting */
	uint64_t mult;	    /* ns = ticks * mult >> 32 */
	uint64_t check_tsc; /* counter at which it is set again */
	uint64_t last_ns;
	bool kernel; /* no invariant counter */
};

/* Takes about 2 ms to measure the counter's rate. */
void clock_init(struct clock *c);
uint64_t clock_kernel_ns(void);
/* Sets it right; called by clock_ns. */
void clock_adjust(struct clock *c);

static inline uint64_t clock_tsc(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
}

static inline uint64_t clock_ns(struct clock *c)
{
	uint64_t tsc, ns;

	if (__builtin_expect(c->kernel, 0))
		return clock_kernel_ns();
	tsc = clock_tsc();
	if (__builtin_expect(tsc >= c->check_tsc, 0)) {
		clock_adjust(c);
		return c->last_ns = c->ns > c->last_ns ? c->ns : c->last_ns;
	}
	ns = c->ns + (uint64_t)(((unsigned __int128)(tsc - c->tsc) * c->mult) >> 32);
	if (ns > c->last_ns)
		c->last_ns = ns;
	return c->last_ns;
}

#endif
