/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chan/arena.h"

#define SPANS  24
#define REGION ((uint64_t)SPANS * ARENA_SPAN_BYTES)
#define GRAINS (REGION / 256)
#define ROUNDS 300000

static uint64_t seed = 0x123456789abcdefull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void bad_sizes_are_refused(void **state)
{
	struct arena a;

	assert_int_equal(arena_init(&a, 0), -EINVAL);
	assert_int_equal(arena_init(&a, ARENA_SPAN_BYTES - 1), -EINVAL);
	assert_int_equal(arena_init(&a, UINT64_MAX), -EINVAL);
	assert_int_equal(arena_init(&a, ARENA_SPAN_BYTES), 0);
	assert_true(arena_alloc(&a, 0) == ARENA_NONE);
	assert_true(arena_alloc(&a, ARENA_SPAN_BYTES + 1) == ARENA_NONE);
	assert_true(arena_alloc(&a, UINT32_MAX) == ARENA_NONE);
	arena_fini(&a);
}

static void each_size_gets_the_smallest_class_that_fits(void **state)
{
	static const uint32_t want[][2] = {{1, 256},	   {256, 256},	  {257, 2048},
					   {2048, 2048},   {2049, 16384}, {16384, 16384},
					   {16385, 65536}, {65536, 65536}};
	struct arena a;

	assert_int_equal(arena_init(&a, REGION), 0);
	for (unsigned i = 0; i < array_size(want); i++) {
		uint64_t off = arena_alloc(&a, want[i][0]);

		assert_int_equal(arena_block_bytes(&a, off), want[i][1]);
		assert_int_equal(off % want[i][1], 0);
	}
	arena_fini(&a);
}

static void block_freed_twice_or_never_given_is_refused(void **state)
{
	struct arena a;

	assert_int_equal(arena_init(&a, REGION), 0);
	assert_int_equal(arena_free(&a, 0), -EINVAL);
	uint64_t one = arena_alloc(&a, 2000), two = arena_alloc(&a, 2000);

	assert_int_equal(arena_free(&a, one + 1), -EINVAL);
	assert_int_equal(arena_free(&a, two + 2048), -EINVAL);
	assert_int_equal(arena_free(&a, REGION), -EINVAL);
	assert_int_equal(arena_free(&a, ARENA_NONE), -EINVAL);
	assert_int_equal(arena_free(&a, one), 0);
	assert_int_equal(arena_free(&a, one), -EINVAL);
	assert_int_equal(arena_free(&a, two), 0);
	assert_int_equal(arena_free(&a, two), -EINVAL); /* the span went back meanwhile */
	arena_check(&a);
	arena_fini(&a);
}

static void region_full_of_small_blocks_freed_serves_large_ones(void **state)
{
	static uint64_t off[GRAINS];
	struct arena a;

	assert_int_equal(arena_init(&a, REGION + 1000), 0);
	for (unsigned i = 0; i < GRAINS; i++) {
		off[i] = arena_alloc(&a, 100);
		assert_true(off[i] != ARENA_NONE);
	}
	assert_true(arena_alloc(&a, 1) == ARENA_NONE);
	assert_int_equal(a.used_bytes, REGION);
	for (unsigned i = 0; i < GRAINS; i++)
		assert_int_equal(arena_free(&a, off[i]), 0);
	for (unsigned i = 0; i < SPANS; i++)
		assert_true(arena_alloc(&a, ARENA_SPAN_BYTES) != ARENA_NONE);
	assert_true(arena_alloc(&a, 1) == ARENA_NONE);
	arena_check(&a);
	arena_fini(&a);
}

/* The model: each 256 bytes of the region belong to a block or to none; and, for the right to
 * refuse, for each span how many blocks are live and of which size. */
struct model {
	bool used[GRAINS];
	uint32_t span_bytes[SPANS], span_live[SPANS];
	struct {
		uint64_t off;
		uint32_t bytes;
	} live[GRAINS];
	uint32_t n;
};

static bool model_has_room(const struct model *m, uint32_t bytes)
{
	for (unsigned s = 0; s < SPANS; s++) {
		if (m->span_live[s] == 0 || (m->span_bytes[s] == bytes &&
					     (uint64_t)m->span_live[s] * bytes < ARENA_SPAN_BYTES))
			return true;
	}
	return false;
}

static void model_mark(struct model *m, uint64_t off, uint32_t bytes, bool use)
{
	uint32_t s = (uint32_t)(off / ARENA_SPAN_BYTES);

	assert_true(off + bytes <= REGION);
	for (uint64_t g = off / 256; g < (off + bytes) / 256; g++) {
		assert_true(m->used[g] != use);
		m->used[g] = use;
	}
	assert_true(!use || m->span_live[s] == 0 || m->span_bytes[s] == bytes);
	m->span_bytes[s] = bytes;
	m->span_live[s] += use ? 1 : -1u;
}

static void model_alloc(struct model *m, struct arena *a)
{
	static const uint32_t sizes[] = {256, 2048, 16384, 65536};
	uint32_t r = (uint32_t)rnd() % 64, c = r < 44 ? 0 : r < 58 ? 1 : r < 62 ? 2 : 3;
	uint64_t off = arena_alloc(a, sizes[c] - (uint32_t)rnd() % 200);

	if (off == ARENA_NONE) {
		assert_false(model_has_room(m, sizes[c]));
		return;
	}
	model_mark(m, off, sizes[c], true);
	m->live[m->n].off = off;
	m->live[m->n++].bytes = sizes[c];
}

static void model_free(struct model *m, struct arena *a)
{
	uint32_t i = (uint32_t)(rnd() % m->n);

	model_mark(m, m->live[i].off, m->live[i].bytes, false);
	assert_int_equal(arena_block_bytes(a, m->live[i].off), m->live[i].bytes);
	assert_int_equal(arena_free(a, m->live[i].off), 0);
	assert_int_equal(arena_block_bytes(a, m->live[i].off), 0);
	m->live[i] = m->live[--m->n];
}

static void random_allocs_and_frees_agree_with_the_naive_model(void **state)
{
	static struct model m;
	struct arena a;

	assert_int_equal(arena_init(&a, REGION), 0);
	for (int i = 0; i < ROUNDS; i++) {
		/* Long waves of mostly allocating and mostly freeing: full and empty are both
		 * reached. */
		bool grow = (i / 3000) % 2 == 0 ? rnd() % 8 != 0 : rnd() % 8 == 0;

		if (grow || m.n == 0)
			model_alloc(&m, &a);
		else
			model_free(&m, &a);
		if (i % 64 == 0)
			arena_check(&a);
	}
	while (m.n != 0)
		model_free(&m, &a);
	arena_check(&a);
	assert_int_equal(a.used_bytes, 0);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_sizes_are_refused),
		cmocka_unit_test(each_size_gets_the_smallest_class_that_fits),
		cmocka_unit_test(block_freed_twice_or_never_given_is_refused),
		cmocka_unit_test(region_full_of_small_blocks_freed_serves_large_ones),
		cmocka_unit_test(random_allocs_and_frees_agree_with_the_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
