/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One ring of a channel (chan.h says what goes through them): a producer, a consumer, neither of
 * which trusts the other.
 *
 * For the producer other and own are private and always at most size apart (modulo 2^32); the
 * consumer's index is loaded once and accepted only if it keeps that true and does not go
 * backwards. So there is never more room than the ring has, whatever the other side writes; a
 * liar's index counts in `bad` and the ring stands still. For the same reason no side may *assert*
 * that ret or done has room: they do by their size, unless the other side lies.
 *
 * A producer that lies can make every entry look new, at any time: a consumer that goes on as long
 * as it finds some says how many it takes at most.
 *
 * bytes: of an entry of this ring, 64 or 4.
 */
#ifndef ZS_CHAN_RING_H
#define ZS_CHAN_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

/* How far a ring has been read: free-running, on a line of its own, written by the consumer. */
struct chan_idx {
	_Alignas(64) _Atomic uint32_t head;
};

/* A side's private view of a ring: cached index of the other, own index, checked geometry. */
struct chan_ring {
	struct chan_idx *idx;
	void *slots;
	uint32_t mask;
	uint32_t shift; /* brings the parity of an entry's lap to bit 31 of its index */
	/* The next entry to fill or to read, free-running: the truth, never read back from shared
	 * memory. */
	uint32_t own;
	union {
		struct {		 /* producer */
			uint32_t other;	 /* last valid index read of the consumer */
			uint32_t hidden; /* entries filled and not yet shown: the last ones */
			uint32_t held;	 /* the first word of the first of them */
		};
		uint32_t rung; /* consumer: where the producer was last to be rung for room */
	};
	uint64_t bad; /* times the other side's index was impossible */
};

#define CHAN_MARK (1u << 31)

/* Producer: how many free slots (reads the other's index only when short). */
static inline uint32_t chan_free(struct chan_ring *r, uint32_t want)
{
	uint32_t used = r->own - r->other;

	if (r->mask + 1 - used >= want)
		return r->mask + 1 - used;
	uint32_t head = atomic_load_explicit(&r->idx->head, memory_order_acquire);

	/* Valid only if it lies between what we knew and what we produced. */
	if (r->own - head <= r->own - r->other)
		r->other = head;
	else
		r->bad++;
	return r->mask + 1 - (r->own - r->other);
}

static inline void *chan_slot(const struct chan_ring *r, uint32_t i, uint32_t bytes)
{
	return (char *)r->slots + (uint64_t)(i & r->mask) * bytes;
}

static inline _Atomic uint32_t *chan_word(const struct chan_ring *r, uint32_t i, uint32_t bytes)
{
	return (_Atomic uint32_t *)chan_slot(r, i, bytes);
}

/* What the first word of the i-th entry has beside its own bits. Fresh memory has none: the first
 * lap is marked. */
static inline uint32_t chan_mark(const struct chan_ring *r, uint32_t i)
{
	return ~(i << r->shift) & CHAN_MARK;
}

/* Producer: the slot at own was filled, but for its first word, which is this (31 bits) and nobody
 * else's to write: the other side reads it at any time. There was room. The other side sees it
 * after chan_push(), for which the first of several waits: so all of them appear at once. */
static inline void chan_fill(struct chan_ring *r, uint32_t first, uint32_t bytes)
{
	first = (first & ~CHAN_MARK) | chan_mark(r, r->own);
	if (r->hidden++ == 0)
		r->held = first;
	else
		atomic_store_explicit(chan_word(r, r->own, bytes), first, memory_order_relaxed);
	r->own++;
}

/* Producer: makes visible what was filled, one entry at least. */
static inline void chan_push(struct chan_ring *r, uint32_t bytes)
{
	atomic_store_explicit(chan_word(r, r->own - r->hidden, bytes), r->held,
			      memory_order_release);
	r->hidden = 0;
}

/* Producer: an entry made elsewhere (64 bytes). There is room; chan_push() is still to be called.
 */
static inline void chan_put(struct chan_ring *r, const void *entry)
{
	const uint32_t *first = entry;

	__builtin_memcpy((uint32_t *)chan_slot(r, r->own, 64) + 1, first + 1, 60);
	chan_fill(r, *first, 64);
}

/* Consumer: one entry out of shared memory, once. The barrier forbids the compiler to read the slot
 * again when it uses the copy: the other side may have changed it after the check (H32). */
static inline void chan_copy(void *copy, const void *slot, uint32_t size)
{
	__builtin_memcpy(copy, slot, size);
	__asm__ volatile("" ::: "memory");
}

/* Consumer: is there an entry? *first: its first word, without the mark. */
static inline bool chan_look(const struct chan_ring *r, uint32_t *first, uint32_t bytes)
{
	uint32_t word = atomic_load_explicit(chan_word(r, r->own, bytes), memory_order_acquire);

	*first = word & ~CHAN_MARK;
	return (int32_t)(word ^ r->own << r->shift) < 0; /* the mark is that of this lap */
}

static inline bool chan_ready(const struct chan_ring *r, uint32_t bytes)
{
	uint32_t first;

	return chan_look(r, &first, bytes);
}

/* Consumer: copies the next entry (64 bytes), and leaves it there. False: there is none. */
static inline bool chan_peek(const struct chan_ring *r, void *copy)
{
	uint32_t *to = copy, first;

	if (!chan_look(r, &first, 64))
		return false;
	to[0] = first;
	chan_copy(to + 1, (const uint32_t *)chan_slot(r, r->own, 64) + 1, 60);
	return true;
}

/* Consumer: an entry that was there has been read. */
static inline void chan_take(struct chan_ring *r)
{
	r->own++;
}

/* Consumer: gives the slots of all that was taken back. True: the producer may sleep until it has
 * room, and is to be rung for. That is said once for each half of a ring: it sleeps while the index
 * that it read after arming is more than half a ring behind what it produced. The ringing before
 * that, if it came before the arming, had shown it no less (bell.c); so what is left to take
 * reaches the next. */
static inline bool chan_pop(struct chan_ring *r)
{
	atomic_store_explicit(&r->idx->head, r->own, memory_order_release);
	if (likely(r->own - r->rung <= r->mask / 2))
		return false;
	r->rung = r->own;
	return true;
}

/* ---- one at a time ---- */

/* Producer: chan_fill() and chan_push() of an entry, where nothing is hidden. */
static inline void chan_show(struct chan_ring *r, uint32_t first, uint32_t bytes)
{
	first = (first & ~CHAN_MARK) | chan_mark(r, r->own);
	atomic_store_explicit(chan_word(r, r->own, bytes), first, memory_order_release);
	r->own++;
}

/* Producer: there is room. */
static inline void chan_send(struct chan_ring *r, const void *entry)
{
	chan_put(r, entry);
	chan_push(r, 64);
}

static inline void chan_send_name(struct chan_ring *r, uint32_t name)
{
	chan_show(r, name, sizeof(name));
}

/* Consumer, of whom nobody waits for room: false: there is nothing. */
static inline bool chan_receive(struct chan_ring *r, void *entry)
{
	if (!chan_peek(r, entry))
		return false;
	chan_take(r);
	(void)chan_pop(r);
	return true;
}

static inline bool chan_receive_name(struct chan_ring *r, uint32_t *name)
{
	if (!chan_look(r, name, sizeof(*name)))
		return false;
	chan_take(r);
	(void)chan_pop(r);
	return true;
}

#endif
