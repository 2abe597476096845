/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a stack's thread looks for work, and when it gives way. Time and what giving way took
 * are what the test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "svc/node_spin.h"

#define BUDGET 50000
#define HOG    2000000

static int64_t now, others_take;
static unsigned given;

static int64_t give(int64_t at)
{
	assert_int_equal(at, now);
	given++;
	now += others_take;
	return others_take;
}

/* Quiet until it is to sleep, with a look each microsecond; how many looks that were. */
static unsigned quiet_time(struct node_spin *s)
{
	unsigned looks = 0;

	given = 0;
	while (node_spin_quiet(s, now, give)) {
		looks++;
		now += 1000;
	}
	return looks;
}

static int setup(void **state)
{
	now = 1000000000;
	others_take = 0;
	return 0;
}

static void quiet_time_ends_with_its_budget(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET}, none = {.budget_ns = 0};

	assert_int_equal(quiet_time(&s), 50);
	assert_int_equal(given, 50);
	assert_int_equal(quiet_time(&none), 0);
}

static void work_begins_a_new_quiet_time(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET};

	assert_true(node_spin_quiet(&s, now, give));
	now += BUDGET - 1;
	node_spin_busy(&s, 1);
	now += BUDGET;
	assert_int_equal(quiet_time(&s), 50);
}

static void only_time_of_its_own_counts(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET};

	others_take = HOG / 4;
	assert_int_equal(quiet_time(&s), 50);
}

static void who_keeps_the_cpu_for_long_is_given_way_to_less_and_less(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET};

	others_take = HOG;
	/* The quiet time in which it happened is one of those without giving way. */
	for (unsigned k = 1; k <= 5; k++) {
		quiet_time(&s);
		assert_int_equal(given, 1);
		for (unsigned i = 0; i < (1u << k) - 2; i++) {
			quiet_time(&s);
			assert_int_equal(given, 0);
		}
	}
	/* No end, but a limit. */
	for (unsigned k = 0; k < 100000; k++)
		quiet_time(&s);
	assert_in_range(s.hogs.skip, 0, 1023);
}

static void who_gives_the_cpu_back_is_given_way_to_again(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET};

	others_take = HOG;
	assert_true(node_spin_quiet(&s, now, give));
	others_take = 0;
	node_spin_busy(&s, 1);
	assert_int_equal(s.hogs.failed, 1);
	assert_true(node_spin_quiet(&s, now, give));
	node_spin_busy(&s, 1);
	assert_int_equal(s.hogs.failed, 0);
	given = 0;
	assert_true(node_spin_quiet(&s, now, give));
	assert_int_equal(given, 1);
}

static void who_keeps_the_cpu_to_make_much_work_may_have_it(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET};

	others_take = HOG;
	for (unsigned i = 0; i < 10; i++) {
		given = 0;
		assert_true(node_spin_quiet(&s, now, give));
		assert_int_equal(given, 1);
		node_spin_busy(&s, 100);
	}
	assert_int_equal(s.hogs.failed, 0);
}

static void where_cpus_are_few_looking_in_vain_becomes_rare(void **state)
{
	struct node_spin s = {.budget_ns = BUDGET, .tight = true}, wide = {.budget_ns = BUDGET};
	unsigned looked = 0, looked_wide = 0;

	for (unsigned i = 0; i < 1000; i++) {
		looked += quiet_time(&s) != 0;
		looked_wide += quiet_time(&wide) != 0;
	}
	assert_in_range(looked, 10, 25);
	assert_int_equal(looked_wide, 1000);
	/* What is found by looking makes up for it. */
	while (!node_spin_quiet(&s, now, give))
		now += 1000;
	node_spin_busy(&s, 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(node_spin_quiet(&s, now, give));
		node_spin_busy(&s, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(quiet_time_ends_with_its_budget, setup),
		cmocka_unit_test_setup(work_begins_a_new_quiet_time, setup),
		cmocka_unit_test_setup(only_time_of_its_own_counts, setup),
		cmocka_unit_test_setup(who_keeps_the_cpu_for_long_is_given_way_to_less_and_less,
				       setup),
		cmocka_unit_test_setup(who_gives_the_cpu_back_is_given_way_to_again, setup),
		cmocka_unit_test_setup(who_keeps_the_cpu_to_make_much_work_may_have_it, setup),
		cmocka_unit_test_setup(where_cpus_are_few_looking_in_vain_becomes_rare, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
