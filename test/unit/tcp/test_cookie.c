/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tcp/cookie.h"

#define S 1000000000ull

static const uint8_t key[16] = "an example's key";
static const struct tcp_key flow = {.lport = 80, .rport = 4000};

/* RFC 6528 §3, H10: the clock moves it within a flow, the key and the flow set it apart. */
static void isn_runs_with_the_clock_and_differs_by_flow_and_key(void **state)
{
	struct tcp_key other = flow;
	uint8_t key2[16] = {1};

	other.rport++;
	assert_int_equal(tcp_isn(key, &flow, 8000) - tcp_isn(key, &flow, 0), 2);
	assert_int_not_equal(tcp_isn(key, &flow, 0), tcp_isn(key, &other, 0));
	assert_int_not_equal(tcp_isn(key, &flow, 0), tcp_isn(key2, &flow, 0));
}

/* RFC 4987 §3.6, H15: good for one to two periods of 64 s, for its flow and sequence number only.
 */
static void random_cookies_are_good_for_their_flow_and_time_only(void **state)
{
	srand(7);
	for (int i = 0; i < 20000; i++) {
		uint64_t t = rand() * 1000ull * (rand() % 1000);
		uint32_t irs = rand() * 2u, mss = rand() % 65536, c;
		struct tcp_key f = flow, g = flow;
		struct tcp_cookie out;

		f.rport = rand();
		g.rport = f.rport ^ (1 + rand() % 65535);
		c = tcp_cookie_make(key, &f, irs, mss, t);
		assert_true(tcp_cookie_check(key, &f, irs, c, t, &out));
		assert_true(out.mss <= mss || out.mss == 216);
		assert_true(out.wscale == TCP_COOKIE_NO_WSCALE && !out.sack);
		assert_true(tcp_cookie_check(key, &f, irs, c, t + 64 * S, &out));
		assert_false(tcp_cookie_check(key, &f, irs, c, t + 128 * S, &out));
		assert_false(tcp_cookie_check(key, &f, irs, c, t + 32 * 64 * S, &out));
		assert_false(tcp_cookie_check(key, &f, irs + 1, c, t, &out));
		assert_false(tcp_cookie_check(key, &f, irs, c ^ 1u << rand() % 32, t, &out));
		assert_false(tcp_cookie_check(key, &g, irs, c, t, &out));
	}
}

static void timestamp_carries_wscale_and_sack_and_is_not_later(void **state)
{
	for (uint32_t i = 0; i < 100000; i++) {
		struct tcp_cookie c = {.wscale = i & 15, .sack = i >> 4 & 1}, out = {0};
		uint32_t ts = i * 2654435761u, v = tcp_cookie_ts(ts, &c);

		tcp_cookie_ts_read(v, &out);
		assert_true(out.wscale == c.wscale && out.sack == c.sack);
		assert_true(ts - v < 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(isn_runs_with_the_clock_and_differs_by_flow_and_key),
		cmocka_unit_test(random_cookies_are_good_for_their_flow_and_time_only),
		cmocka_unit_test(timestamp_carries_wscale_and_sack_and_is_not_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
