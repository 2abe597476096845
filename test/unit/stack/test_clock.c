/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The clock: never back, and never far from the kernel's. Nothing here depends on how fast the
 * machine is: each reading is compared with the kernel's before and after it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stack/clock.h"

/* A rate measured over 2 ms may be wrong by some parts in ten thousand. */
#define SLACK_NS 2000000u

static void check_reading(struct clock *c, uint64_t *last)
{
	uint64_t before = clock_kernel_ns(), now = clock_ns(c), after = clock_kernel_ns();

	assert_true(now >= *last);
	assert_true(now + SLACK_NS >= before);
	assert_true(now <= after + SLACK_NS);
	*last = now;
}

static void readings_follow_the_kernel_and_never_go_back(void **state)
{
	struct clock c;
	uint64_t last = 0;

	clock_init(&c);
	for (unsigned i = 0; i < 100000; i++)
		check_reading(&c, &last);
}

static void setting_it_right_never_takes_it_back(void **state)
{
	struct clock c;
	uint64_t last = 0;

	clock_init(&c);
	for (unsigned i = 0; i < 1000; i++) {
		check_reading(&c, &last);
		c.check_tsc = 0; /* as if a second had passed */
	}
}

static void a_counter_that_went_back_is_not_trusted(void **state)
{
	struct clock c;
	uint64_t last = 0;

	clock_init(&c);
	if (c.kernel)
		skip();
	c.tsc = UINT64_MAX;
	c.check_tsc = 0;
	clock_ns(&c);
	assert_true(c.kernel);
	check_reading(&c, &last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readings_follow_the_kernel_and_never_go_back),
		cmocka_unit_test(setting_it_right_never_takes_it_back),
		cmocka_unit_test(a_counter_that_went_back_is_not_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
