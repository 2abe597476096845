/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The application's allocator over its payload region. Blocks are named by their offset, which is
 * what a command carries. All bookkeeping is private memory of the application: the service never
 * trusts it, and nothing written into a payload can destroy it.
 *
 *	┌ span 0: 256 × 256 B ┬ span 1: 32 × 2 KiB ┬ span 2: 4 × 16 KiB ┬ span 3: 1 × 64 KiB ┬ …
 */
#ifndef ZS_CHAN_ARENA_H
#define ZS_CHAN_ARENA_H

#include <stdint.h>

#include "base/assert.h"

#define ARENA_SPAN_BYTES (64u << 10)
#define ARENA_CLASSES	 4
#define ARENA_NONE	 UINT64_MAX /* no block */

struct arena_span;

/* Owned by one channel of the application and used under that channel's lock. */
struct arena {
	struct arena_span *span; /* one for each 64 KiB */
	uint32_t spans;		 /* how many there are */
	uint32_t fresh;		 /* spans from here on were never used: untouched memory */
	uint32_t empty;		 /* list of used spans that are whole again, last one first */
	uint32_t partial[ARENA_CLASSES]; /* list of spans of a class that have a free block */
	uint64_t used_bytes;		 /* in blocks handed out, by their full size */
};

/* bytes: length of the region, rounded down to whole spans. -EINVAL (none, or 2^32 and more),
 * -ENOMEM. */
must_check int arena_init(struct arena *a, uint64_t bytes);
void arena_fini(struct arena *a);

/* Offset of a block of at least bytes, aligned to its size class; ARENA_NONE when the region is
 * exhausted, and for 0 or more than ARENA_SPAN_BYTES: longer payload is several blocks. O(1). */
uint64_t arena_alloc(struct arena *a, uint32_t bytes);

/* off: what arena_alloc() returned. -EINVAL if it names no block in use: nothing has changed. O(1).
 */
must_check int arena_free(struct arena *a, uint64_t off);

/* Full size of the block in use at off; 0 if there is none. */
uint32_t arena_block_bytes(const struct arena *a, uint64_t off);

/* Asserts every invariant. O(spans). */
void arena_check(const struct arena *a);

#endif
