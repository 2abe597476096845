/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A hierarchical timing wheel (Varghese and Lauck, 1987): arming, cancelling and expiring are O(1).
 *
 * Time is cut into ticks of 131 µs. Eight levels of 64 slots cover every tick of a 64-bit clock. A
 * node lies on the level of the highest 6-bit digit in which its tick differs from the current one,
 * in the slot of that digit: so all of a lower level comes before all of a higher one, and the
 * earliest slot is found by two bit scans. A slot whose time comes has its nodes spread over the
 * levels below; a node moves at most seven times.
 *
 *	digit      7      …      2        1        0
 *	now        0             5        3       61
 *	node A     0             5        3       63    level 0, slot 63
 *	node B     0             5        9        2    level 1, slot 9
 *
 * Moving a deadline to later is lazy: only the field is written, and the node finds its new place
 * when its old one comes up. A connection that pushes its deadline at every packet touches no list.
 *
 * Promises: a node is never returned before its deadline, and is returned by the first wheel_expire
 * at WHEEL_TICK_NS or more past it (within the budget). wheel_next may be early, never late.
 * One owner, no locks. Not done: deadlines finer than a tick (pacing keeps its own time).
 */
#ifndef ZS_BASE_WHEEL_H
#define ZS_BASE_WHEEL_H

#include <stdint.h>

#include "base/list.h"

#define WHEEL_SHIFT   17 /* a tick is 2^17 ns */
#define WHEEL_TICK_NS (1ULL << WHEEL_SHIFT)
#define WHEEL_BITS    6
#define WHEEL_SLOTS   (1u << WHEEL_BITS)
#define WHEEL_LEVELS  8 /* 17 + 8 * 6 bits are more than 64 */
#define WHEEL_NEVER   UINT64_MAX

/* Lies inside the object that waits; the object must cancel it before it dies. Read only
 * deadline_ns. */
struct wheel_node {
	struct list link;
	uint64_t deadline_ns; /* what the owner wants; WHEEL_NEVER when not armed */
	uint64_t tick : 48;   /* when its slot comes up; not after the deadline's tick */
	uint64_t place : 16;  /* level * 64 + slot that it was last put into */
};
_Static_assert(sizeof(struct wheel_node) == 32, "half a cache line in every connection");

/* Must not be moved or copied: the slots are heads of lists. */
struct wheel {
	uint64_t tick;		      /* the current one: every slot up to it has been emptied */
	uint32_t levels;	      /* bit per level: has a slot that is not empty */
	uint64_t slots[WHEEL_LEVELS]; /* bit per slot: not empty */
	struct list pending;	      /* nodes whose slot came up and that were not looked at */
	struct list slot[WHEEL_LEVELS * WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ns);

static inline void wheel_node_init(struct wheel_node *n)
{
	list_init(&n->link);
	n->deadline_ns = WHEEL_NEVER;
}

/* The first tick that begins at the deadline or after it. */
static inline uint64_t wheel_tick(uint64_t deadline_ns)
{
	return (deadline_ns >> WHEEL_SHIFT) + ((deadline_ns & (WHEEL_TICK_NS - 1)) != 0);
}

/* Puts a node into the slot of its deadline, from wherever it is. */
void wheel_place(struct wheel *w, struct wheel_node *n);

/* Sets or changes the deadline. One in the past is due at the next wheel_expire. WHEEL_NEVER is
 * allowed and is the cheapest way to stop a node that will be armed again. */
static inline void wheel_arm(struct wheel *w, struct wheel_node *n, uint64_t deadline_ns)
{
	n->deadline_ns = deadline_ns;
	if (list_linked(&n->link) ? n->tick > wheel_tick(deadline_ns) : deadline_ns != WHEEL_NEVER)
		wheel_place(w, n);
}

/* Takes the node out of the wheel: its memory may go. */
void wheel_cancel(struct wheel *w, struct wheel_node *n);

/* When wheel_expire next has something to do; WHEEL_NEVER if nothing is armed. A time that is past:
 * now. */
uint64_t wheel_next(const struct wheel *w);

/* The next node that is due, out of the wheel and with its deadline still in it, or NULL when there
 * is none or *budget, which counts every node looked at, is used up. now_ns must not go back; a
 * smaller one is taken as the last. The caller may arm and cancel any node between two calls.
 *
 *	unsigned budget = 64;
 *	while ((n = wheel_expire(w, now, &budget)))
 *		…
 */
struct wheel_node *wheel_expire(struct wheel *w, uint64_t now_ns, unsigned *budget) must_check;

/* Asserts the place of every node. */
void wheel_check(const struct wheel *w);

#endif
