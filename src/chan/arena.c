/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Spans of 64 KiB cut into blocks of one size. A span has a bitmap of its free blocks and is on one
 * of these: its class's partial list (some blocks free), the empty list (all free: any class can
 * have it), or none (all used; or never used yet and above `fresh`). Every step is a list operation
 * and at most four words of bitmap.
 *
 * An empty span goes back at once: the region is small beside what a burst in another class may
 * want, and cutting a span again costs four stores.
 *
 * Not done: blocks across spans; a lock (the channel has one); memory back to the kernel.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "chan/arena.h"

#define NIL	   UINT32_MAX
#define MAP_WORDS  4
#define CLASS_NONE 0xff

struct arena_span {
	uint64_t free_map[MAP_WORDS]; /* bit set: block is free */
	uint32_t prev, next; /* on the class's partial list; next alone on the empty list */
	uint16_t live;	     /* blocks in use */
	uint8_t cls;	     /* CLASS_NONE: not cut */
};

static const uint8_t class_shift[ARENA_CLASSES] = {8, 11, 14, 16};
#define SPAN_SHIFT 16
_Static_assert(ARENA_SPAN_BYTES == 1u << SPAN_SHIFT, "span");
_Static_assert(ARENA_SPAN_BYTES >> 8 <= 64 * MAP_WORDS, "bitmap holds the smallest class");

static uint32_t class_blocks(uint8_t cls)
{
	return 1u << (SPAN_SHIFT - class_shift[cls]);
}

static uint8_t class_of(uint32_t bytes)
{
	uint8_t cls = 0;

	while (bytes > 1u << class_shift[cls])
		cls++;
	return cls;
}

int arena_init(struct arena *a, uint64_t bytes)
{
	uint64_t n = bytes >> SPAN_SHIFT;

	*a = (struct arena){.empty = NIL};
	for (int c = 0; c < ARENA_CLASSES; c++)
		a->partial[c] = NIL;
	if (n == 0 || n >= NIL)
		return -EINVAL;
	a->span = calloc(n, sizeof(*a->span));
	if (a->span == NULL)
		return -ENOMEM;
	a->spans = (uint32_t)n;
	return 0;
}

void arena_fini(struct arena *a)
{
	free(a->span);
	*a = (struct arena){.empty = NIL};
}

static void partial_add(struct arena *a, uint32_t i)
{
	struct arena_span *s = &a->span[i];
	uint32_t *head = &a->partial[s->cls];

	s->prev = NIL;
	s->next = *head;
	if (*head != NIL)
		a->span[*head].prev = i;
	*head = i;
}

static void partial_remove(struct arena *a, uint32_t i)
{
	struct arena_span *s = &a->span[i];

	if (s->prev != NIL)
		a->span[s->prev].next = s->next;
	else
		a->partial[s->cls] = s->next;
	if (s->next != NIL)
		a->span[s->next].prev = s->prev;
}

/* Takes an uncut span for a class; used ones first, so that the region's touched part stays small.
 */
static uint32_t span_cut(struct arena *a, uint8_t cls)
{
	uint32_t i = a->empty, n = class_blocks(cls);

	if (i != NIL)
		a->empty = a->span[i].next;
	else if (a->fresh < a->spans)
		i = a->fresh++;
	else
		return NIL;
	struct arena_span *s = &a->span[i];

	s->cls = cls;
	s->live = 0;
	for (uint32_t w = 0; w < MAP_WORDS; w++, n -= n < 64 ? n : 64)
		s->free_map[w] = n >= 64 ? UINT64_MAX : (1ull << n) - 1;
	partial_add(a, i);
	return i;
}

static uint32_t block_take(struct arena_span *s)
{
	uint32_t w = 0;

	while (s->free_map[w] == 0)
		w++;
	uint32_t bit = (uint32_t)__builtin_ctzll(s->free_map[w]);

	s->free_map[w] &= s->free_map[w] - 1;
	s->live++;
	return w * 64 + bit;
}

uint64_t arena_alloc(struct arena *a, uint32_t bytes)
{
	if (bytes == 0 || bytes > ARENA_SPAN_BYTES)
		return ARENA_NONE;
	uint8_t cls = class_of(bytes);
	uint32_t i = a->partial[cls];

	if (i == NIL)
		i = span_cut(a, cls);
	if (i == NIL)
		return ARENA_NONE;
	struct arena_span *s = &a->span[i];
	uint32_t block = block_take(s);

	if (s->live == class_blocks(cls))
		partial_remove(a, i);
	a->used_bytes += 1u << class_shift[cls];
	return ((uint64_t)i << SPAN_SHIFT) + ((uint64_t)block << class_shift[cls]);
}

/* Does off name the start of a block in use? */
static bool block_find(const struct arena *a, uint64_t off, uint32_t *span, uint32_t *block)
{
	if (off >> SPAN_SHIFT >= a->fresh)
		return false;
	*span = (uint32_t)(off >> SPAN_SHIFT);
	const struct arena_span *s = &a->span[*span];

	if (s->cls == CLASS_NONE)
		return false;
	uint32_t in_span = (uint32_t)off & (ARENA_SPAN_BYTES - 1);

	*block = in_span >> class_shift[s->cls];
	return in_span == *block << class_shift[s->cls] &&
	       (s->free_map[*block / 64] >> *block % 64 & 1) == 0;
}

int arena_free(struct arena *a, uint64_t off)
{
	uint32_t i, block;

	if (!block_find(a, off, &i, &block))
		return -EINVAL;
	struct arena_span *s = &a->span[i];

	a->used_bytes -= 1u << class_shift[s->cls];
	if (s->live == class_blocks(s->cls))
		partial_add(a, i);
	s->free_map[block / 64] |= 1ull << block % 64;
	if (--s->live != 0)
		return 0;
	partial_remove(a, i);
	s->cls = CLASS_NONE;
	s->next = a->empty;
	a->empty = i;
	return 0;
}

uint32_t arena_block_bytes(const struct arena *a, uint64_t off)
{
	uint32_t i, block;

	return block_find(a, off, &i, &block) ? 1u << class_shift[a->span[i].cls] : 0;
}

static void span_check(const struct arena_span *s)
{
	uint32_t free_blocks = 0;

	for (int w = 0; w < MAP_WORDS; w++)
		free_blocks += (uint32_t)__builtin_popcountll(s->free_map[w]);
	BUG_ON(s->live == 0);
	BUG_ON(free_blocks + s->live != class_blocks(s->cls));
}

void arena_check(const struct arena *a)
{
	uint32_t uncut = 0, listed = 0, partial = 0;
	uint64_t used = 0;

	for (uint32_t i = 0; i < a->fresh; i++) {
		const struct arena_span *s = &a->span[i];

		if (s->cls == CLASS_NONE) {
			uncut++;
			continue;
		}
		span_check(s);
		used += (uint64_t)s->live << class_shift[s->cls];
		partial += s->live < class_blocks(s->cls);
	}
	BUG_ON(used != a->used_bytes);
	for (uint32_t i = a->empty; i != NIL; i = a->span[i].next)
		uncut--;
	BUG_ON(uncut != 0);
	for (uint8_t c = 0; c < ARENA_CLASSES; c++) {
		for (uint32_t i = a->partial[c]; i != NIL; i = a->span[i].next, listed++)
			BUG_ON(a->span[i].cls != c || a->span[i].live == class_blocks(c));
	}
	BUG_ON(listed != partial);
}
