/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "base/ranges.h"

#define SPAN 200

static uint32_t runs(const bool *bit)
{
	uint32_t n = 0;

	for (int i = 0; i < SPAN; i++)
		n += bit[i] && (i == 0 || !bit[i - 1]);
	return n;
}

static bool all(const bool *bit, uint64_t lo, uint64_t hi)
{
	for (; lo < hi; lo++)
		if (!bit[lo])
			return false;
	return true;
}

static void compare(const struct ranges *r, const bool *bit, uint64_t base)
{
	uint64_t count = 0;

	ranges_check(r);
	assert_int_equal(r->n, runs(bit));
	for (int i = 0; i < SPAN; i++) {
		assert_int_equal(ranges_contains(r, base + i, base + i + 1), bit[i]);
		count += bit[i];
	}
	assert_int_equal(ranges_count(r), count);
}

/* A change either happens as in the bitmap, or would have needed more room and changes nothing. */
static void against_bitmap(struct rand *rng, uint64_t base, uint32_t max)
{
	bool bit[SPAN] = {0}, next[SPAN];
	struct range v[16];
	struct ranges r;

	ranges_init(&r, v, max);
	for (int n = 0; n < 3000; n++) {
		uint64_t lo = rand_below(rng, SPAN), len = rand_below(rng, n % 4 ? 6 : 40);
		uint64_t hi = lo + len < SPAN ? lo + len : SPAN - 1;
		bool add = rand_below(rng, 2);

		memcpy(next, bit, sizeof(bit));
		for (uint64_t i = lo; i < hi; i++)
			next[i] = add;
		int want = runs(next) > max ? -ENOSPC : 0;
		int got = add ? ranges_add(&r, base + lo, base + hi)
			      : ranges_remove(&r, base + lo, base + hi);

		assert_int_equal(got, want);
		if (got == 0)
			memcpy(bit, next, sizeof(bit));
		compare(&r, bit, base);
		lo = rand_below(rng, SPAN);
		hi = lo + rand_below(rng, SPAN - lo);
		assert_int_equal(ranges_contains(&r, base + lo, base + hi), all(bit, lo, hi));
	}
}

/* H08: capacity is bounded. Also at both ends of the numbers. */
static void random_changes_equal_a_bitmap(void **state)
{
	struct rand rng;

	rand_init(&rng, 1);
	for (uint32_t max = 1; max <= 16; max++) {
		against_bitmap(&rng, 0, max);
		against_bitmap(&rng, UINT64_MAX - SPAN, max);
		against_bitmap(&rng, (1ULL << 32) - SPAN / 2, max);
	}
}

static void find_gives_the_range_that_holds_or_follows(void **state)
{
	struct range v[4];
	struct ranges r;

	ranges_init(&r, v, 4);
	assert_int_equal(ranges_find(&r, 0), 0);
	assert_int_equal(ranges_add(&r, 10, 20), 0);
	assert_int_equal(ranges_add(&r, 30, 40), 0);
	assert_int_equal(ranges_find(&r, 0), 0);
	assert_int_equal(ranges_find(&r, 19), 0);
	assert_int_equal(ranges_find(&r, 20), 1);
	assert_int_equal(ranges_find(&r, 30), 1);
	assert_int_equal(ranges_find(&r, 40), 2);
}

static void empty_and_inverted_ranges_change_nothing(void **state)
{
	struct ranges r;

	ranges_init(&r, NULL, 0);
	assert_int_equal(ranges_add(&r, 5, 5), 0);
	assert_int_equal(ranges_add(&r, 6, 5), 0);
	assert_int_equal(ranges_remove(&r, 0, UINT64_MAX), 0);
	assert_true(ranges_contains(&r, 5, 5));
	assert_int_equal(ranges_add(&r, 5, 6), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes_equal_a_bitmap),
		cmocka_unit_test(find_gives_the_range_that_holds_or_follows),
		cmocka_unit_test(empty_and_inverted_ranges_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
