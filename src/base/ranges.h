/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A set of 64-bit numbers as a sorted array of half-open ranges [lo, hi). Ranges never touch or
 * overlap (touching ones are merged), so a set has one form only. Search is binary; a change moves
 * the tail of the array, which for the few dozen ranges meant here is cheaper than following
 * pointers. The capacity is fixed: what does not fit is refused and changes nothing, so a peer
 * can't make it grow (H08).
 */
#ifndef ZS_BASE_RANGES_H
#define ZS_BASE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct range {
	uint64_t lo, hi; /* lo < hi; hi is not in the set */
};

struct ranges {
	struct range *v; /* the caller's array, sorted */
	uint32_t n, max;
};

static inline void ranges_init(struct ranges *r, struct range *v, uint32_t max)
{
	*r = (struct ranges){.v = v, .max = max};
}

/* The first range that ends past x: holds x, or else is the next one. r->n if there is none. */
uint32_t ranges_find(const struct ranges *r, uint64_t x);
/* Is all of [lo, hi) in the set? An empty range always is. */
bool ranges_contains(const struct ranges *r, uint64_t lo, uint64_t hi);
/* -ENOSPC when one more range would be needed than there is room for; then nothing changed. */
int ranges_add(struct ranges *r, uint64_t lo, uint64_t hi) must_check;
/* The same: cutting a hole makes two ranges of one.
 * Cutting everything below a number never needs room. */
int ranges_remove(struct ranges *r, uint64_t lo, uint64_t hi) must_check;
/* How many numbers are in the set. */
uint64_t ranges_count(const struct ranges *r);
void ranges_check(const struct ranges *r);

#endif
