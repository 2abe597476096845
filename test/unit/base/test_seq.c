/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/seq.h"

#define G (1ull << 32) /* one turn of the wire's 32 bits */
#define H (1ull << 31)

/* Tries the three turns around near and keeps the closest, the lower of two equals. */
static uint64_t naive(uint64_t near, uint32_t wire)
{
	uint64_t best = 0, best_dist = UINT64_MAX;

	for (int turn = -1; turn <= 1; turn++) {
		__int128 pos = (__int128)(near / G * G) + (__int128)turn * (__int128)G + wire;
		uint64_t dist;

		if (pos < 0)
			continue;
		dist = (uint64_t)(pos < near ? near - pos : pos - near);
		if (dist < best_dist) {
			best = (uint64_t)pos;
			best_dist = dist;
		}
	}
	return best;
}

/* H14: every offset near 2^31 and 2^32, of the position and of the distance. */
static void unwrap_near_each_boundary_equals_naive_model(void **state)
{
	static const uint64_t centre[] = {0, H, G, G + H, 2 * G, 2 * G + H, 5 * G, 1ull << 62};
	static const int64_t dist[] = {0, (int64_t)H, -(int64_t)H, (int64_t)G, 1 << 16};

	for (unsigned c = 0; c < array_size(centre); c++)
		for (unsigned d = 0; d < array_size(dist); d++)
			for (int i = -40; i <= 40; i++)
				for (int j = -40; j <= 40; j++) {
					uint64_t near = centre[c] + (uint64_t)(int64_t)i;
					uint32_t wire = (uint32_t)(near + (uint64_t)(dist[d] + j));

					if (centre[c] == 0 && i < 0)
						continue;
					assert_int_equal(seq_unwrap(near, wire), naive(near, wire));
				}
}

/* H14 */
static void unwrap_of_positions_within_2g_returns_them(void **state)
{
	uint64_t x = 88172645463325252ull;

	for (int i = 0; i < 200000; i++) {
		uint64_t near, pos;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		near = H + (x >> 8);
		pos = near - H + (x * 2654435761u >> 32 & (G - 1));
		assert_int_equal(seq_unwrap(near, (uint32_t)pos), pos);
	}
}

/* H14: half a turn away is old, never new. */
static void unwrap_half_a_turn_away_is_the_old_one(void **state)
{
	assert_int_equal(seq_unwrap(3 * G + 7, (uint32_t)(7 + H)), 3 * G + 7 - H);
	assert_int_equal(seq_unwrap(3 * G + 7, (uint32_t)(7 + H - 1)), 3 * G + 7 + H - 1);
}

static void start_leaves_room_below_for_the_oldest_duplicate(void **state)
{
	assert_int_equal(seq_start(0), G);
	assert_int_equal(seq_unwrap(seq_start(0), 0xffffffff), G - 1);
	assert_int_equal(seq_unwrap(seq_start(0), 0x80000000), G - H);
	assert_int_equal(seq_unwrap(seq_start(0xffffffff), 0), 2 * G);
}

/* H14: a position below zero would turn small again when a length is added to it. */
static void unwrap_below_zero_gives_the_next_position_up(void **state)
{
	assert_int_equal(seq_unwrap(0, 0xffffffff), 0xffffffff);
	assert_int_equal(seq_unwrap(5, 0x80000006), 0x80000006);
	assert_int_equal(seq_unwrap(5, 4), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unwrap_near_each_boundary_equals_naive_model),
		cmocka_unit_test(unwrap_of_positions_within_2g_returns_them),
		cmocka_unit_test(unwrap_half_a_turn_away_is_the_old_one),
		cmocka_unit_test(start_leaves_room_below_for_the_oldest_duplicate),
		cmocka_unit_test(unwrap_below_zero_gives_the_next_position_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
