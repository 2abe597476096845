/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tcp/rtt.h"

#define MS 1000000ull

static struct tcp_rtt fresh(uint32_t floor_us)
{
	struct tcp_rtt r;

	tcp_rtt_init(&r, floor_us, 60000000, 1000000);
	return r;
}

/* RFC 6298 §2.1 */
static void new_rto_is_one_second(void **state)
{
	struct tcp_rtt r = fresh(200000);

	assert_int_equal(tcp_rtt_rto_us(&r), 1000000);
	assert_false(tcp_rtt_known(&r));
	assert_int_equal(tcp_rtt_min_us(&r, 5 * MS), TCP_RTT_NONE);
}

/* RFC 6298 §2.2 */
static void first_sample_sets_srtt_and_half_as_variance(void **state)
{
	struct tcp_rtt r = fresh(1);

	tcp_rtt_sample(&r, 100000, 0);
	assert_int_equal(tcp_rtt_srtt_us(&r), 100000);
	assert_int_equal(tcp_rtt_rttvar_us(&r), 50000);
	assert_int_equal(tcp_rtt_rto_us(&r), 300000);
}

/* RFC 6298 §2.4, §2.5, §5.5: floor, doubling, ceiling; a sample ends it. */
static void backoff_doubles_up_to_the_ceiling_and_a_sample_ends_it(void **state)
{
	struct tcp_rtt r = fresh(200000);

	tcp_rtt_sample(&r, 10, 0);
	assert_int_equal(tcp_rtt_rto_us(&r), 200000);
	for (int i = 1; i <= 8; i++) {
		tcp_rtt_backoff(&r);
		assert_int_equal(tcp_rtt_rto_us(&r), 200000u << i);
	}
	for (int i = 0; i < 300; i++)
		tcp_rtt_backoff(&r);
	assert_int_equal(tcp_rtt_rto_us(&r), 60000000);
	tcp_rtt_sample(&r, 10, 0);
	assert_int_equal(tcp_rtt_rto_us(&r), 200000);
}

static void absurd_samples_do_not_overflow(void **state)
{
	struct tcp_rtt r = fresh(200000);

	for (int i = 0; i < 100; i++)
		tcp_rtt_sample(&r, i & 1 ? UINT32_MAX : 0, i * MS);
	assert_in_range(tcp_rtt_rto_us(&r), 200000, 60000000);
}

/* RFC 6298 §2.3 against the formula in floating point. */
static void random_samples_follow_the_formula(void **state)
{
	struct tcp_rtt r = fresh(1);
	double srtt = 0, var = 0;

	srand(1);
	for (int i = 0; i < 20000; i++) {
		uint32_t s = 500 + rand() % (i / 4000 % 2 ? 200000 : 2000);
		double rto;

		tcp_rtt_sample(&r, s, i * MS);
		if (!i) {
			srtt = s;
			var = s / 2.0;
		} else {
			var += ((srtt > s ? srtt - s : s - srtt) - var) / 4;
			srtt += (s - srtt) / 8;
		}
		rto = srtt + 4 * var;
		assert_true(tcp_rtt_srtt_us(&r) <= srtt + 2 && tcp_rtt_srtt_us(&r) >= srtt - 2);
		assert_true(tcp_rtt_rto_us(&r) <= rto + 20 && tcp_rtt_rto_us(&r) >= rto - 20);
	}
}

/* The minimum is one of the samples of the window and at most that of its newest three quarters. */
static void random_minimum_against_all_samples_kept(void **state)
{
	static struct {
		uint64_t t;
		uint32_t v;
	} all[20000];
	struct tcp_rtt r = fresh(1);
	uint64_t now = 0;

	srand(2);
	for (int n = 0; n < 20000; n++) {
		uint32_t whole = TCP_RTT_NONE, most = TCP_RTT_NONE, got;

		now += rand() % 100 ? rand() % (10 * MS) : rand() % (1500 * MS);
		got = tcp_rtt_min_us(&r, now);
		for (int i = n - 1; i >= 0 && all[i].t + 1000 * MS >= now; i--) {
			whole = all[i].v < whole ? all[i].v : whole;
			if (all[i].t + 750 * MS >= now)
				most = whole;
		}
		assert_true(got >= whole && got <= most);
		all[n].t = now;
		all[n].v = 1 + rand() % 100000;
		tcp_rtt_sample(&r, all[n].v, now);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_rto_is_one_second),
		cmocka_unit_test(first_sample_sets_srtt_and_half_as_variance),
		cmocka_unit_test(backoff_doubles_up_to_the_ceiling_and_a_sample_ends_it),
		cmocka_unit_test(absurd_samples_do_not_overflow),
		cmocka_unit_test(random_samples_follow_the_formula),
		cmocka_unit_test(random_minimum_against_all_samples_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
