/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "pkt/drop.h"

/* DESIGN §3.13: each reason has a name of its own and a sentence. */
static void every_reason_has_a_unique_name_and_a_sentence(void **state)
{
	for (int i = 0; i < DROP_MAX; i++) {
		assert_true(strlen(drop_name(i)) > 0);
		assert_true(strlen(drop_text(i)) > 0);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(drop_name(i), drop_name(j));
	}
}

static void unknown_reason_is_said_to_be_unknown(void **state)
{
	assert_string_equal(drop_name(DROP_MAX), "unknown");
	assert_string_equal(drop_text((enum drop_reason) - 1), "unknown reason");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_a_unique_name_and_a_sentence),
		cmocka_unit_test(unknown_reason_is_said_to_be_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
