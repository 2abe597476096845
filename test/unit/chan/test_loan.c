/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chan/chan.h"
#include "chan/loan.h"

#define ROWS 64

static uint64_t seed = 0xfeedfacefeedfaceull;
static char buffers[100000]; /* only their addresses matter */

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void impossible_table_sizes_are_refused(void **state)
{
	struct loan_table l;
	struct token_table t;

	assert_int_equal(loan_init(&l, 0), -EINVAL);
	assert_int_equal(loan_init(&l, (1u << LOAN_INDEX_BITS) + 1), -EINVAL);
	assert_int_equal(token_init(&t, 0), -EINVAL);
	assert_int_equal(token_init(&t, UINT32_MAX), -EINVAL);
}

/* H33 */
static void h33_loan_returned_twice_yields_nothing(void **state)
{
	struct loan_table t;

	assert_int_equal(loan_init(&t, ROWS), 0);
	uint32_t loan = loan_give(&t, &buffers[1]);

	assert_int_not_equal(loan, LOAN_NONE);
	assert_ptr_equal(loan_look(&t, loan), &buffers[1]);
	assert_ptr_equal(loan_take_back(&t, loan), &buffers[1]);
	assert_null(loan_take_back(&t, loan));
	assert_null(loan_look(&t, loan));
	/* The row is in use again: the old name still means nothing. */
	uint32_t next = loan_give(&t, &buffers[2]);

	assert_int_equal(loan_index(next), loan_index(loan));
	assert_null(loan_take_back(&t, loan));
	assert_ptr_equal(loan_take_back(&t, next), &buffers[2]);
	assert_int_equal(t.bad, 2);
	loan_fini(&t);
}

/* H33: every value there is for the row, but the right one; and rows that do not exist. */
static void h33_name_not_held_yields_nothing(void **state)
{
	struct loan_table t;

	assert_int_equal(loan_init(&t, ROWS), 0);
	assert_null(loan_take_back(&t, LOAN_NONE));
	uint32_t loan = loan_give(&t, &buffers[1]);

	for (uint32_t gen = 0; gen < 4096; gen++) {
		for (uint32_t row = 0; row < ROWS + 2; row++) {
			uint32_t guess = gen << LOAN_INDEX_BITS | row;

			if (guess != loan)
				assert_null(loan_take_back(&t, guess));
		}
		assert_null(loan_take_back(&t, gen << LOAN_INDEX_BITS | 0xfffff));
	}
	assert_ptr_equal(loan_take_back(&t, loan), &buffers[1]);
	loan_fini(&t);
}

static void generation_wrapping_never_makes_the_name_none(void **state)
{
	struct loan_table t;
	uint32_t before = LOAN_NONE;

	assert_int_equal(loan_init(&t, 1), 0);
	for (int i = 0; i < 10000; i++) {
		uint32_t loan = loan_give(&t, &buffers[1]);

		assert_int_not_equal(loan, LOAN_NONE);
		assert_int_not_equal(loan, before);
		before = loan;
		assert_ptr_equal(loan_take_back(&t, loan), &buffers[1]);
	}
	loan_fini(&t);
}

/* H34: who returns nothing gets nothing more, and gets more after it returned. */
static void h34_quota_reached_refuses_until_one_returns(void **state)
{
	struct loan_table t;
	uint32_t loan[4], cursor = 0;

	assert_int_equal(loan_init(&t, ROWS), 0);
	t.quota = 3;
	for (int i = 0; i < 3; i++)
		loan[i] = loan_give(&t, &buffers[i]);
	assert_int_equal(loan_give(&t, &buffers[3]), LOAN_NONE);
	t.quota = 2; /* lowered below what is held */
	assert_ptr_equal(loan_take_back(&t, loan[0]), &buffers[0]);
	assert_int_equal(loan_give(&t, &buffers[3]), LOAN_NONE);
	t.quota = ROWS + 10; /* the table is the limit then */
	for (uint32_t i = t.held; i < ROWS; i++)
		assert_int_not_equal(loan_give(&t, &buffers[i]), LOAN_NONE);
	assert_int_equal(loan_give(&t, &buffers[3]), LOAN_NONE);
	while (loan_reap(&t, &cursor) != NULL)
		;
	loan_fini(&t);
}

/* H31: the dead application's loans come back, each once. */
static void h31_reaping_returns_each_held_buffer_once(void **state)
{
	struct loan_table t;
	uint32_t loan[ROWS], cursor = 0, n = 0;
	bool seen[ROWS] = {false};

	assert_int_equal(loan_init(&t, ROWS), 0);
	for (int i = 0; i < ROWS; i++)
		loan[i] = loan_give(&t, &buffers[i]);
	for (int i = 0; i < ROWS; i += 3)
		assert_non_null(loan_take_back(&t, loan[i]));
	for (char *b; (b = loan_reap(&t, &cursor)) != NULL; n++) {
		assert_false(seen[b - buffers]);
		assert_int_not_equal((b - buffers) % 3, 0);
		seen[b - buffers] = true;
	}
	assert_int_equal(n, ROWS - (ROWS + 2) / 3);
	assert_int_equal(t.held, 0);
	for (int i = 0; i < ROWS; i++)
		assert_null(loan_take_back(&t, loan[i]));
	loan_fini(&t);
}

/* Against a model that keeps (name, buffer) pairs in an array. */
static void random_loans_and_hostile_returns_agree_with_the_naive_model(void **state)
{
	static struct {
		uint32_t loan;
		void *buffer;
	} held[ROWS];
	struct loan_table t;
	uint32_t n = 0, cursor = 0;

	assert_int_equal(loan_init(&t, ROWS), 0);
	for (int round = 0; round < 200000; round++) {
		uint32_t pick = (uint32_t)rnd() % 4;

		if (pick < 2) {
			void *b = &buffers[rnd() % sizeof(buffers)];
			uint32_t loan = loan_give(&t, b);

			assert_true((loan == LOAN_NONE) == (n == ROWS));
			for (uint32_t i = 0; i < n; i++)
				assert_int_not_equal(held[i].loan, loan);
			if (loan != LOAN_NONE) {
				held[n].loan = loan;
				held[n++].buffer = b;
			}
		} else if (pick == 2 && n > 0) {
			uint32_t i = (uint32_t)rnd() % n;

			assert_ptr_equal(loan_take_back(&t, held[i].loan), held[i].buffer);
			assert_null(loan_take_back(&t, held[i].loan));
			held[i] = held[--n];
		} else {
			uint32_t lie = (uint32_t)rnd(), i = 0;

			while (i < n && held[i].loan != lie)
				i++;
			if (i == n)
				assert_null(loan_take_back(&t, lie));
		}
		assert_int_equal(t.held, n);
	}
	while (loan_reap(&t, &cursor) != NULL)
		n--;
	assert_int_equal(n, 0);
	loan_fini(&t);
}

/* H32: a token out of range, or used again while its send is in flight. */
static void h32_token_in_flight_or_out_of_range_is_refused(void **state)
{
	struct token_table t;

	assert_int_equal(token_init(&t, 8), 0);
	assert_int_equal(token_begin(&t, 8, &buffers[0]), -EINVAL);
	assert_int_equal(token_begin(&t, UINT32_MAX, &buffers[0]), -EINVAL);
	assert_int_equal(token_begin(&t, 7, &buffers[0]), 0);
	assert_int_equal(token_begin(&t, 7, &buffers[1]), -EBUSY);
	assert_int_equal(t.bad, 3);
	assert_null(token_end(&t, 6));
	assert_null(token_end(&t, 8));
	assert_ptr_equal(token_end(&t, 7), &buffers[0]);
	assert_null(token_end(&t, 7));
	assert_int_equal(token_begin(&t, 7, &buffers[1]), 0);
	assert_non_null(token_end(&t, 7));
	token_fini(&t);
}

/* H31: the walk over a dead application's sends meets each once. */
static void h31_walk_finds_every_token_in_flight(void **state)
{
	struct token_table t;
	uint32_t n = 0;

	assert_int_equal(token_init(&t, 100), 0);
	assert_int_equal(token_next(&t, 0), 100);
	for (uint32_t i = 0; i < 100; i += 9)
		assert_int_equal(token_begin(&t, i, &buffers[i]), 0);
	assert_int_equal(t.count, 12);
	for (uint32_t i = token_next(&t, 0); i < t.max; i = token_next(&t, i + 1), n++)
		assert_ptr_equal(token_end(&t, i), &buffers[9 * n]);
	assert_int_equal(n, 12);
	assert_int_equal(t.count, 0);
	token_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(impossible_table_sizes_are_refused),
		cmocka_unit_test(h33_loan_returned_twice_yields_nothing),
		cmocka_unit_test(h33_name_not_held_yields_nothing),
		cmocka_unit_test(generation_wrapping_never_makes_the_name_none),
		cmocka_unit_test(h34_quota_reached_refuses_until_one_returns),
		cmocka_unit_test(h31_reaping_returns_each_held_buffer_once),
		cmocka_unit_test(random_loans_and_hostile_returns_agree_with_the_naive_model),
		cmocka_unit_test(h32_token_in_flight_or_out_of_range_is_refused),
		cmocka_unit_test(h31_walk_finds_every_token_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
