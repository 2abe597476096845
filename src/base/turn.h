/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the others did with a CPU that was given away between two looks for work (sched_yield). Who
 * kept it for long would have had to hand it over to a sleeper that is woken; unless he made much
 * work meanwhile, giving way to him did not pay.
 */
#ifndef ZS_BASE_TURN_H
#define ZS_BASE_TURN_H

#include <stdbool.h>
#include <stdint.h>

#define TURN_SHORT_NS 5000    /* nobody was ready, it was the call alone */
#define TURN_LONG_NS  1800000 /* a scheduler's time slice, about */
#define TURN_MUCH     8	      /* pieces of work */

struct turn {
	bool is_long; /* and was not judged yet */
};

static inline bool turn_found_nobody(int64_t took_ns)
{
	return took_ns <= TURN_SHORT_NS;
}

static inline void turn_took(struct turn *t, int64_t took_ns)
{
	t->is_long = took_ns > TURN_LONG_NS;
}

/* So much was found in the look after it: was it too long? Once. */
static inline bool turn_was_lost(struct turn *t, unsigned found)
{
	bool lost = t->is_long && found < TURN_MUCH;

	t->is_long = false;
	return lost;
}

#endif
