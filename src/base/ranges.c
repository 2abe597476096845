/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Both changes come down to one: the ranges from i up to j, those that [lo, hi) concerns, give way
 * to at most two others.
 *
 *	add      i ├──┤   ├──┤ j         remove   i ├────┤   ├────┤ j
 *	           [lo ──── hi)                       [lo ───── hi)
 *	         ├────────────┤                     ├─┤           ├┤
 */
#include <errno.h>
#include <string.h>

#include "base/ranges.h"

uint32_t ranges_find(const struct ranges *r, uint64_t x)
{
	uint32_t lo = 0, hi = r->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r->v[mid].hi > x)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* The first range, from i on, that starts at x or above. */
static uint32_t find_start(const struct ranges *r, uint32_t i, uint64_t x)
{
	uint32_t hi = r->n;

	while (i < hi) {
		uint32_t mid = i + (hi - i) / 2;

		if (r->v[mid].lo >= x)
			hi = mid;
		else
			i = mid + 1;
	}
	return i;
}

static int replace(struct ranges *r, uint32_t i, uint32_t j, const struct range *with, uint32_t k)
{
	if (r->n - (j - i) + k > r->max)
		return -ENOSPC;
	if (j != i + k)
		memmove(r->v + i + k, r->v + j, (r->n - j) * sizeof(r->v[0]));
	for (uint32_t m = 0; m < k; m++)
		r->v[i + m] = with[m];
	r->n = r->n - (j - i) + k;
	return 0;
}

bool ranges_contains(const struct ranges *r, uint64_t lo, uint64_t hi)
{
	if (lo >= hi)
		return true;
	uint32_t i = ranges_find(r, lo);

	return i < r->n && r->v[i].lo <= lo && hi <= r->v[i].hi;
}

int ranges_add(struct ranges *r, uint64_t lo, uint64_t hi)
{
	if (lo >= hi)
		return 0;
	struct range joined = {lo, hi};
	/* One below and one above, so that ranges that only touch are merged as well. */
	uint32_t i = lo > 0 ? ranges_find(r, lo - 1) : 0;
	uint32_t j = hi < UINT64_MAX ? find_start(r, i, hi + 1) : r->n;

	if (i < j) {
		if (r->v[i].lo < lo)
			joined.lo = r->v[i].lo;
		if (r->v[j - 1].hi > hi)
			joined.hi = r->v[j - 1].hi;
	}
	return replace(r, i, j, &joined, 1);
}

int ranges_remove(struct ranges *r, uint64_t lo, uint64_t hi)
{
	if (lo >= hi)
		return 0;
	struct range rest[2];
	uint32_t i = ranges_find(r, lo), j = find_start(r, i, hi), k = 0;

	if (i == j)
		return 0;
	if (r->v[i].lo < lo)
		rest[k++] = (struct range){r->v[i].lo, lo};
	if (r->v[j - 1].hi > hi)
		rest[k++] = (struct range){hi, r->v[j - 1].hi};
	return replace(r, i, j, rest, k);
}

uint64_t ranges_count(const struct ranges *r)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < r->n; i++)
		sum += r->v[i].hi - r->v[i].lo;
	return sum;
}

void ranges_check(const struct ranges *r)
{
	ASSERT(r->n <= r->max);
	for (uint32_t i = 0; i < r->n; i++) {
		ASSERT(r->v[i].lo < r->v[i].hi);
		ASSERT(i == 0 || r->v[i - 1].hi < r->v[i].lo);
	}
}
