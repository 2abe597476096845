/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects of one size, named by a 32-bit index. Address space for all of them is reserved at once,
 * so an object never moves; memory is touched only as objects are first used. Indices are given out
 * last freed first, which is the one most likely still in the cache. Everything is O(1).
 *
 *	objects  │ 0 │ 1 │ 2 │ … touched up to `used` …│        reserved        │ max
 *	links    │ SLAB_LIVE, or the next free index    │
 *
 * The links lie apart from the objects: a freed object is not written to. One owner, no locks.
 */
#ifndef ZS_BASE_SLAB_H
#define ZS_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#define SLAB_NONE UINT32_MAX	   /* no object */
#define SLAB_LIVE (UINT32_MAX - 1) /* in a link: not free */
#define SLAB_MAX  (UINT32_MAX - 2) /* most objects */

struct slab {
	char *base;
	uint32_t *link;
	size_t size;	/* of an object, bytes */
	uint32_t max;	/* limit on objects */
	uint32_t used;	/* objects ever given out: those below were touched */
	uint32_t live;	/* objects out now */
	uint32_t first; /* free list, SLAB_NONE at its end */
};

/* Objects of size bytes (rounded up to 8; a multiple of 64 gives cache-line alignment), at most
 * max. -EINVAL, -ENOMEM. */
int slab_init(struct slab *s, size_t size, uint32_t max) must_check;
void slab_fini(struct slab *s);

/* An index, or SLAB_NONE at the limit. Zeroed on its first use only. */
static inline uint32_t slab_alloc(struct slab *s)
{
	uint32_t i = s->first;

	if (i != SLAB_NONE)
		s->first = s->link[i];
	else if (s->used < s->max)
		i = s->used++;
	else
		return SLAB_NONE;
	s->link[i] = SLAB_LIVE;
	s->live++;
	return i;
}

/* Is i the name of an object that is out? Takes any number. */
static inline bool slab_is_live(const struct slab *s, uint32_t i)
{
	return i < s->used && s->link[i] == SLAB_LIVE;
}

static inline void slab_free(struct slab *s, uint32_t i)
{
	ASSERT(slab_is_live(s, i));
	s->link[i] = s->first;
	s->first = i;
	s->live--;
}

/* The object's address; good for prefetching a free one too. */
static inline void *slab_at(const struct slab *s, uint32_t i)
{
	ASSERT(i < s->max);
	return s->base + i * s->size;
}

static inline uint32_t slab_index(const struct slab *s, const void *object)
{
	size_t off = (size_t)((const char *)object - s->base);

	ASSERT(off % s->size == 0 && off / s->size < s->used);
	return (uint32_t)(off / s->size);
}

#endif
