/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a stack's thread looks for work before it sleeps, and how it gives way meanwhile.
 */
#ifndef ZS_SVC_NODE_SPIN_H
#define ZS_SVC_NODE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/turn.h"

/* Of one thread, which alone touches it. A quiet time is one without work. */
struct node_spin {
	int64_t budget_ns; /* own time of a quiet time; 0: it sleeps at once */
	bool tight;	   /* no CPU to spare: looking in vain must cost next to nothing */
	int64_t since_ns;  /* begin of the quiet time and what others had of it; 0: none */
	/* tight: quiet times that ended in sleep all the same; what is left out is slept through at
	 * once. */
	struct backoff misses;
	struct turn turn;    /* the others' last one */
	struct backoff hogs; /* times that giving way took too long; left out: it gives no way */
};

/* Nothing was found. give() lets others run and returns how long they did, in ns, 0 if nobody was
 * ready. False: it is to sleep. */
bool node_spin_quiet(struct node_spin *s, int64_t now_ns, int64_t (*give)(int64_t now_ns));
/* n > 0 pieces of work were found. */
void node_spin_busy(struct node_spin *s, unsigned n);

#endif
