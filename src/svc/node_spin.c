/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stack that looks for work takes its CPU from whoever else is ready there: on a small machine
 * the very program that is to make some. To sleep at once is no better: each event is then paid for
 * with a wake-up (docs/design/014). So between looks the CPU is given away (sched_yield), which
 * costs nothing but the call if nobody wants it; and only time in which we had it counts.
 *
 * Where stacks have no more CPUs than they are, giving way may be without effect (the others are in
 * another scheduling group), and then looking only keeps them waiting. So as in the client's spin.c
 * a quiet time that ended in sleep was a miss, and after k of them in a row the next 2^k - 1 are
 * slept through at once.
 *
 * Who keeps the CPU for HOG_NS would have had to hand it over to a sleeper that is woken. After k
 * such times in a row no way is given for 2^k - 1 quiet times, the present one included. Who made
 * much work meanwhile is none of them.
 */
#include "svc/node_spin.h"

#define MISSES_MAX 6
#define HOG_NS	   1800000
#define HOGS_MAX   10
#define MADE_MUCH  8 /* pieces of work */

static void quiet_ends(struct node_spin *s)
{
	s->since_ns = 0;
	(void)backoff_skips(&s->hogs);
}

/* They made n pieces of work in it. */
static void long_turn_ends(struct node_spin *s, unsigned n)
{
	if (s->long_turn && n < MADE_MUCH)
		backoff_failed(&s->hogs, 1, HOGS_MAX);
	s->long_turn = false;
}

bool node_spin_quiet(struct node_spin *s, int64_t now_ns, int64_t (*give)(int64_t now_ns))
{
	int64_t took;

	if (s->since_ns == 0) {
		if (backoff_skips(&s->misses))
			return false;
		s->since_ns = now_ns;
	}
	if (now_ns - s->since_ns >= s->budget_ns) {
		quiet_ends(s);
		if (s->tight)
			backoff_failed(&s->misses, 1, MISSES_MAX);
		return false;
	}
	long_turn_ends(s, 0);
	if (s->hogs.skip > 0)
		return true;
	took = give(now_ns);
	s->since_ns += took;
	s->long_turn = took > HOG_NS;
	return true;
}

void node_spin_busy(struct node_spin *s, unsigned n)
{
	if (s->since_ns == 0)
		return;
	long_turn_ends(s, n);
	if (s->hogs.skip == 0)
		backoff_worked(&s->hogs);
	backoff_worked(&s->misses);
	quiet_ends(s);
}
