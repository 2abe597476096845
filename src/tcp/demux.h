/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hash of a flow → the connections that may be meant. A bucket is one cache line of up to eight
 * 16-bit tags and 32-bit indices; a full one continues in an overflow bucket. The caller compares
 * the keys itself, having prefetched what the tags let through: so a burst of segments is looked up
 * in stages (DESIGN §3.5), and a lookup of a connection that is there touches one line here and one
 * of its own.
 *
 * The hash is keyed, so a peer can't aim at a bucket. Memory is reserved for the maximum and
 * touched as used. One core.
 */
#ifndef ZS_TCP_DEMUX_H
#define ZS_TCP_DEMUX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define DEMUX_WAYS 8
#define DEMUX_NONE UINT32_MAX

struct demux_bucket {
	uint16_t tag[DEMUX_WAYS];
	uint32_t index[DEMUX_WAYS]; /* 0 = free, else the index + 1 */
	uint32_t more;		    /* 0 = none, else the number of an overflow bucket */
	uint32_t pad[3];
};
_Static_assert(sizeof(struct demux_bucket) == 64, "one cache line");

struct demux {
	struct demux_bucket *buckets; /* mask + 1 home buckets, then the overflow buckets */
	uint32_t mask;
	uint32_t free_more;  /* list of returned overflow buckets, by `more` */
	uint32_t next_more;  /* first that was never used */
	uint32_t total;	     /* of all buckets */
	uint32_t count, max; /* entries */
	uint64_t bytes;
};

/* Room for max entries. 0 or -ENOMEM. */
int demux_init(struct demux *d, uint32_t max) must_check;
void demux_fini(struct demux *d);

/* -ENOSPC beyond max entries. The pair (hash, index) must not be there yet. */
int demux_add(struct demux *d, uint32_t hash, uint32_t index) must_check;
/* The pair must be there. */
void demux_del(struct demux *d, uint32_t hash, uint32_t index);

static inline const struct demux_bucket *demux_home(const struct demux *d, uint32_t hash)
{
	return &d->buckets[hash & d->mask];
}

static inline void demux_prefetch(const struct demux *d, uint32_t hash)
{
	__builtin_prefetch(demux_home(d, hash));
}

/* Walks the candidates of a hash:
 *	for (struct demux_walk w = demux_walk(d, hash); (i = demux_next(&w)) != DEMUX_NONE;) … */
struct demux_walk {
	const struct demux *d;
	const struct demux_bucket *bucket;
	uint16_t tag;
	uint8_t way;
};

static inline struct demux_walk demux_walk(const struct demux *d, uint32_t hash)
{
	return (struct demux_walk){d, demux_home(d, hash), (uint16_t)(hash >> 16), 0};
}

static inline uint32_t demux_next(struct demux_walk *w)
{
	for (;;) {
		while (w->way < DEMUX_WAYS) {
			unsigned i = w->way++;

			if (w->bucket->tag[i] == w->tag && w->bucket->index[i] != 0)
				return w->bucket->index[i] - 1;
		}
		if (w->bucket->more == 0)
			return DEMUX_NONE;
		w->bucket = &w->d->buckets[w->bucket->more];
		w->way = 0;
	}
}

#endif
