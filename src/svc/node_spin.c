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
 * such times in a row no way is given for 2^k - 1 quiet times, the present one included.
 */
#include "svc/node_spin.h"

#define MISSES_MAX 6
#define HOG_NS	   1800000
#define HOGS_MAX   10

static void hog(struct node_spin *s)
{
	s->hogs = s->hogs < HOGS_MAX ? s->hogs + 1 : HOGS_MAX;
	s->stays = (uint16_t)((1u << s->hogs) - 1);
}

static void quiet_ends(struct node_spin *s)
{
	s->since_ns = 0;
	if (s->stays > 0)
		s->stays--;
}

static void miss(struct node_spin *s)
{
	if (!s->tight)
		return;
	s->misses = s->misses < MISSES_MAX ? s->misses + 1 : MISSES_MAX;
	s->skips = (uint16_t)((1u << s->misses) - 1);
}

bool node_spin_quiet(struct node_spin *s, int64_t now_ns, int64_t (*give)(int64_t now_ns))
{
	int64_t took;

	if (s->since_ns == 0) {
		if (s->skips > 0) {
			s->skips--;
			return false;
		}
		s->since_ns = now_ns;
	}
	if (now_ns - s->since_ns >= s->budget_ns) {
		quiet_ends(s);
		miss(s);
		return false;
	}
	if (s->stays > 0)
		return true;
	took = give(now_ns);
	s->since_ns += took;
	if (took > HOG_NS)
		hog(s);
	return true;
}

void node_spin_busy(struct node_spin *s)
{
	if (s->since_ns == 0)
		return;
	if (s->stays == 0)
		s->hogs = 0;
	s->misses = 0;
	quiet_ends(s);
}
