/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The timing wheel's slots (wheel.h has the idea). The invariant that everything rests on: a node
 * on level L shares with the current tick all digits above L, and its own digit L is greater. So
 * the earliest slot is the lowest bit of the lowest level, and time may jump to any tick before
 * that slot's start without touching a node.
 */
#include "base/wheel.h"

void wheel_init(struct wheel *w, uint64_t now_ns)
{
	*w = (struct wheel){.tick = now_ns >> WHEEL_SHIFT};
	list_init(&w->pending);
	for (unsigned i = 0; i < array_size(w->slot); i++)
		list_init(&w->slot[i]);
}

static void mark_empty(struct wheel *w, unsigned place)
{
	unsigned level = place / WHEEL_SLOTS;

	w->slots[level] &= ~(1ULL << place % WHEEL_SLOTS);
	if (w->slots[level] == 0)
		w->levels &= ~(1u << level);
}

/* A pending node still names the slot that it came from: to mark that as what it is does no harm,
 * and making a slot pending need not touch its nodes. */
static void take_out(struct wheel *w, struct wheel_node *n)
{
	list_del(&n->link);
	if (list_empty(&w->slot[n->place]))
		mark_empty(w, n->place);
}

void wheel_place(struct wheel *w, struct wheel_node *n)
{
	if (list_linked(&n->link))
		take_out(w, n);
	n->tick = wheel_tick(n->deadline_ns);
	if (n->tick <= w->tick) {
		n->place = 0;
		list_add_tail(&w->pending, &n->link);
		return;
	}
	unsigned level = (63 - __builtin_clzll(n->tick ^ w->tick)) / WHEEL_BITS;
	unsigned digit = n->tick >> level * WHEEL_BITS & (WHEEL_SLOTS - 1);

	n->place = level * WHEEL_SLOTS + digit;
	w->slots[level] |= 1ULL << digit;
	w->levels |= 1u << level;
	list_add_tail(&w->slot[n->place], &n->link);
}

void wheel_cancel(struct wheel *w, struct wheel_node *n)
{
	n->deadline_ns = WHEEL_NEVER;
	if (list_linked(&n->link))
		take_out(w, n);
}

/* The earliest slot that is not empty, and the tick at which it starts. Asks for one to exist. */
static unsigned first_slot(const struct wheel *w, uint64_t *start)
{
	unsigned level = __builtin_ctz(w->levels);
	unsigned digit = __builtin_ctzll(w->slots[level]);
	unsigned shift = level * WHEEL_BITS;

	*start = (w->tick >> shift >> WHEEL_BITS << WHEEL_BITS | digit) << shift;
	return level * WHEEL_SLOTS + digit;
}

uint64_t wheel_next(const struct wheel *w)
{
	uint64_t start;

	if (!list_empty(&w->pending))
		return w->tick << WHEEL_SHIFT;
	if (w->levels == 0)
		return WHEEL_NEVER;
	first_slot(w, &start);
	/* The tick after the clock's last: nothing can be due then, but nor is it "never". */
	return start >> (64 - WHEEL_SHIFT) ? WHEEL_NEVER - 1 : start << WHEEL_SHIFT;
}

/* Goes to the first slot that starts by tick `until`, and makes its nodes pending. */
static bool turn(struct wheel *w, uint64_t until)
{
	uint64_t start;

	if (w->levels != 0) {
		unsigned place = first_slot(w, &start);

		if (start <= until) {
			w->tick = start;
			list_splice(&w->pending, &w->slot[place]);
			mark_empty(w, place);
			return true;
		}
	}
	if (until > w->tick)
		w->tick = until;
	return false;
}

struct wheel_node *wheel_expire(struct wheel *w, uint64_t now_ns, unsigned *budget)
{
	uint64_t until = now_ns >> WHEEL_SHIFT;

	if (until < w->tick)
		until = w->tick;
	while (*budget > 0) {
		struct list *l = list_pop(&w->pending);

		__builtin_prefetch(w->pending.next);
		if (!l) {
			if (!turn(w, until))
				return NULL;
			continue;
		}
		struct wheel_node *n = container_of(l, struct wheel_node, link);

		(*budget)--;
		if (n->deadline_ns == WHEEL_NEVER)
			continue;
		if (wheel_tick(n->deadline_ns) <= until)
			return n;
		wheel_place(w, n); /* armed anew since, or from a slot of a higher level */
	}
	return NULL;
}

/* A node's slot follows from its tick and the current one. */
static void check_slot(const struct wheel *w, unsigned place)
{
	unsigned level = place / WHEEL_SLOTS, digit = place % WHEEL_SLOTS;
	bool empty = list_empty(&w->slot[place]);

	ASSERT(empty == !(w->slots[level] >> digit & 1));
	LIST_EACH (l, &w->slot[place]) {
		const struct wheel_node *n = container_of(l, struct wheel_node, link);

		ASSERT(n->place == place);
		ASSERT(n->tick <= wheel_tick(n->deadline_ns));
		ASSERT(n->tick > w->tick);
		ASSERT((n->tick ^ w->tick) >> level * WHEEL_BITS >> WHEEL_BITS == 0);
		ASSERT((n->tick >> level * WHEEL_BITS & (WHEEL_SLOTS - 1)) == digit);
	}
}

void wheel_check(const struct wheel *w)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		ASSERT((w->slots[level] != 0) == (w->levels >> level & 1));
	for (unsigned place = 0; place < WHEEL_LEVELS * WHEEL_SLOTS; place++)
		check_slot(w, place);
}
