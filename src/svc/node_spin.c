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
 * After k turns of others in a row that were too long (base/turn.h) no way is given for 2^k - 1
 * quiet times, the present one included.
 */
#include "svc/node_spin.h"

#define MISSES_MAX 6
#define HOGS_MAX   10

static void quiet_ends(struct node_spin *s)
{
	s->since_ns = 0;
	(void)backoff_skips(&s->hogs);
}

/* The look after giving way found n pieces of work. */
static void turn_ends(struct node_spin *s, unsigned n)
{
	if (turn_was_lost(&s->turn, n))
		backoff_failed(&s->hogs, 1, HOGS_MAX);
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
	turn_ends(s, 0);
	if (s->hogs.skip > 0)
		return true;
	took = give(now_ns);
	s->since_ns += took;
	turn_took(&s->turn, took);
	return true;
}

void node_spin_busy(struct node_spin *s, unsigned n)
{
	if (s->since_ns == 0)
		return;
	turn_ends(s, n);
	if (s->hogs.skip == 0)
		backoff_worked(&s->hogs);
	backoff_worked(&s->misses);
	quiet_ends(s);
}
