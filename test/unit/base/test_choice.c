/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/choice.h"
#include "base/rand.h"

/* A stretch whose cost depends on its way. */
static bool stretch(struct choice *c, uint32_t one, uint32_t other)
{
	bool way = choice_now(c);

	choice_stretch(c, way ? other : one);
	return way;
}

static void the_cheaper_way_is_taken_soon(void **state)
{
	struct choice c = {0};
	unsigned n = 0;

	while (!c.other) {
		stretch(&c, 100, 70);
		assert_in_range(++n, 1, 16);
	}
	assert_true(choice_now(&c));
	n = 0;
	while (c.other) {
		stretch(&c, 70, 100);
		assert_in_range(++n, 1, 16);
	}
}

static void a_way_that_is_a_little_cheaper_is_not(void **state)
{
	struct choice c = {0};

	for (unsigned i = 0; i < 10000; i++) {
		stretch(&c, 100, 90);
		assert_false(c.other);
	}
}

static void trials_become_rare(void **state)
{
	struct choice c = {0};
	unsigned trials = 0;

	for (unsigned i = 0; i < 100000; i++)
		trials += stretch(&c, 100, 200);
	assert_in_range(trials, 100000 / CHOICE_PAUSE_MAX - 10, 100000 / CHOICE_PAUSE_MAX + 10);
}

/* What makes all stretches of a while cheap or dear is not taken for the way's doing. */
static void a_change_of_the_load_changes_nothing(void **state)
{
	struct choice c = {0};

	for (unsigned i = 0; i < 100000; i++) {
		uint32_t cost = i / 500 % 2 ? 100 : 1000;

		stretch(&c, cost, cost);
		assert_false(c.other);
	}
}

static void noise_does_not_hide_what_is_much_cheaper(void **state)
{
	struct rand r;
	struct choice c = {0};
	unsigned by_other = 0;

	rand_init(&r, 1);
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t noise = rand_below(&r, 40);

		by_other += stretch(&c, 100 + noise, 50 + noise);
	}
	assert_true(by_other > 18000);
}

static void stretches_without_work_decide_nothing(void **state)
{
	struct choice c = {0};

	while (!c.trying)
		stretch(&c, 100, 1);
	choice_skip(&c);
	assert_false(choice_now(&c));
	stretch(&c, 100, 1);
	assert_int_equal(c.won, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cheaper_way_is_taken_soon),
		cmocka_unit_test(a_way_that_is_a_little_cheaper_is_not),
		cmocka_unit_test(trials_become_rare),
		cmocka_unit_test(a_change_of_the_load_changes_nothing),
		cmocka_unit_test(noise_does_not_hide_what_is_much_cheaper),
		cmocka_unit_test(stretches_without_work_decide_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
