/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tcp/demux.h"

static bool found(const struct demux *d, uint32_t hash, uint32_t index)
{
	struct demux_walk w = demux_walk(d, hash);
	uint32_t i;

	while ((i = demux_next(&w)) != DEMUX_NONE)
		if (i == index)
			return true;
	return false;
}

static void empty_table_has_no_candidates(void **state)
{
	struct demux d;

	assert_int_equal(demux_init(&d, 100), 0);
	for (uint32_t h = 0; h < 1000; h++) {
		struct demux_walk w = demux_walk(&d, h * 2654435761u);

		assert_int_equal(demux_next(&w), DEMUX_NONE);
	}
	demux_fini(&d);
}

/* A hash whose tag and bucket are 0 is not mistaken for a free place. */
static void hash_zero_is_an_entry_like_others(void **state)
{
	struct demux d;

	assert_int_equal(demux_init(&d, 100), 0);
	assert_int_equal(demux_add(&d, 0, 0), 0);
	assert_true(found(&d, 0, 0));
	demux_del(&d, 0, 0);
	assert_false(found(&d, 0, 0));
	demux_fini(&d);
}

/* All entries in one bucket: the overflow chain holds them all, and comes back when they go. */
static void colliding_entries_fill_to_the_limit_and_all_come_back(void **state)
{
	enum { N = 1000 };
	struct demux d;

	assert_int_equal(demux_init(&d, N), 0);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(demux_add(&d, 0x12340000, i), 0);
		assert_int_equal(demux_add(&d, 7, N), -ENOSPC);
		for (uint32_t i = 0; i < N; i++) {
			uint32_t victim = (i * 7919u) % N;

			assert_true(found(&d, 0x12340000, victim));
			demux_del(&d, 0x12340000, victim);
			assert_false(found(&d, 0x12340000, victim));
		}
		assert_int_equal(d.count, 0);
	}
	demux_fini(&d);
}

/* Against a naive model: an array that says which hash each index was added with. */
static void random_adds_and_deletes_match_a_naive_model(void **state)
{
	enum { MAX = 512, STEPS = 200000 };
	static uint32_t hash_of[MAX];
	static bool in[MAX];
	struct demux d;

	srandom(1);
	assert_int_equal(demux_init(&d, MAX), 0);
	memset(in, 0, sizeof(in));
	for (int step = 0; step < STEPS; step++) {
		uint32_t i = (uint32_t)random() % MAX;

		assert_int_equal(in[i], in[i] && found(&d, hash_of[i], i));
		if (in[i]) {
			demux_del(&d, hash_of[i], i);
		} else {
			/* Few distinct hashes, so that buckets overflow. */
			hash_of[i] = ((uint32_t)random() & 7) | ((uint32_t)random() & 3) << 16;
			assert_int_equal(demux_add(&d, hash_of[i], i), 0);
		}
		in[i] = !in[i];
	}
	for (uint32_t i = 0; i < MAX; i++)
		if (in[i])
			demux_del(&d, hash_of[i], i);
	assert_int_equal(d.count, 0);
	demux_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_table_has_no_candidates),
		cmocka_unit_test(hash_zero_is_an_entry_like_others),
		cmocka_unit_test(colliding_entries_fill_to_the_limit_and_all_come_back),
		cmocka_unit_test(random_adds_and_deletes_match_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
