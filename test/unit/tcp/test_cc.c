/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tcp/cc.h"

#define MSS 1000u
#define MS  1000000ull

static struct tcp_cc fresh(const struct tcp_cc_ops *ops)
{
	struct tcp_cc cc;

	tcp_cc_init(&cc, ops, MSS);
	return cc;
}

static void ack(struct tcp_cc *cc, uint64_t bytes, uint64_t now_ns, uint32_t rtt_us)
{
	struct tcp_cc_ack a = {.acked_bytes = bytes,
			       .flight_bytes = cc->cwnd_bytes,
			       .now_ns = now_ns,
			       .rtt_us = rtt_us};

	cc->ops->on_ack(cc, &a);
}

static void names_are_found(void **state)
{
	assert_ptr_equal(tcp_cc_find("cubic"), &tcp_cc_cubic);
	assert_ptr_equal(tcp_cc_find("newreno"), &tcp_cc_newreno);
	assert_ptr_equal(tcp_cc_find("reno"), &tcp_cc_newreno);
	assert_null(tcp_cc_find("vegas"));
	assert_null(tcp_cc_find(""));
}

/* RFC 6928 §2 */
static void initial_window_is_ten_segments_of_usual_size(void **state)
{
	assert_int_equal(tcp_cc_initial_window(536), 5360);
	assert_int_equal(tcp_cc_initial_window(1460), 14600);
	assert_int_equal(tcp_cc_initial_window(4000), 14600);
	assert_int_equal(tcp_cc_initial_window(8960), 17920);
}

/* RFC 5681 §3.1, RFC 3465 §2.2 */
static void slow_start_doubles_each_round_and_limits_one_ack(void **state)
{
	for (unsigned i = 0; tcp_cc_at(i); i++) {
		struct tcp_cc cc = fresh(tcp_cc_at(i));

		for (int n = 0; n < 10; n++)
			ack(&cc, MSS, n * MS, 10000);
		assert_int_equal(cc.cwnd_bytes, 20 * MSS);
		ack(&cc, 100 * MSS, 20 * MS, 10000);
		assert_int_equal(cc.cwnd_bytes, 28 * MSS);
	}
}

/* RFC 5681 §3.1: one segment a round trip */
static void newreno_avoidance_grows_one_segment_a_window(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_newreno);

	cc.ssthresh_bytes = cc.cwnd_bytes;
	for (int n = 0; n < 10; n++)
		ack(&cc, MSS, n, 0);
	assert_int_equal(cc.cwnd_bytes, 11 * MSS);
	for (int n = 0; n < 11; n++)
		ack(&cc, MSS, n, 0);
	assert_int_equal(cc.cwnd_bytes, 12 * MSS);
}

/* RFC 5681 (4) and RFC 9438 §4.6 */
static void loss_reduces_by_the_algorithms_factor(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_newreno);

	cc.cwnd_bytes = 100 * MSS;
	cc.ops->on_loss_event(&cc, 100 * MSS, 0);
	assert_int_equal(cc.cwnd_bytes, 50 * MSS);
	ack(&cc, 10 * MSS, 0, 0);
	assert_int_equal(cc.cwnd_bytes, 50 * MSS); /* not while in recovery */

	cc = fresh(&tcp_cc_cubic);
	cc.cwnd_bytes = 100 * MSS;
	cc.ops->on_loss_event(&cc, 100 * MSS, 0);
	assert_int_equal(cc.cwnd_bytes, 70 * MSS);
}

/* RFC 5681 §3.1: cwnd one segment, ssthresh held when the timer fires again; RFC 3465 §2.3: L = 1
 */
static void rto_falls_to_one_segment_and_holds_ssthresh(void **state)
{
	for (unsigned i = 0; tcp_cc_at(i); i++) {
		struct tcp_cc cc = fresh(tcp_cc_at(i));
		uint64_t thresh;

		cc.cwnd_bytes = 100 * MSS;
		cc.ops->on_rto(&cc, 100 * MSS, 0);
		thresh = cc.ssthresh_bytes;
		assert_in_range(thresh, 50 * MSS, 70 * MSS);
		assert_int_equal(cc.cwnd_bytes, MSS);
		cc.ops->on_rto(&cc, MSS, 0);
		assert_int_equal(cc.ssthresh_bytes, thresh);
		ack(&cc, 5 * MSS, 1, 100);
		assert_int_equal(cc.cwnd_bytes, 2 * MSS);
		cc.ops->on_spurious(&cc, 0);
		assert_int_equal(cc.cwnd_bytes, 100 * MSS);
		assert_true(cc.ssthresh_bytes == TCP_CC_SSTHRESH_INIT);
		cc.ops->on_spurious(&cc, 0); /* nothing left to undo */
		assert_int_equal(cc.cwnd_bytes, 100 * MSS);
	}
}

/* RFC 5681 §4.1; RFC 7661 */
static void idle_restarts_and_unused_window_does_not_grow(void **state)
{
	for (unsigned i = 0; tcp_cc_at(i); i++) {
		struct tcp_cc cc = fresh(tcp_cc_at(i));
		struct tcp_cc_ack a = {.acked_bytes = MSS, .app_limited = true};

		cc.cwnd_bytes = 100 * MSS;
		cc.ops->on_ack(&cc, &a);
		assert_int_equal(cc.cwnd_bytes, 100 * MSS);
		cc.ops->after_idle(&cc, 100, 200, 0);
		assert_int_equal(cc.cwnd_bytes, 100 * MSS);
		cc.ops->after_idle(&cc, 300, 200, 0);
		assert_int_equal(cc.cwnd_bytes, 10 * MSS);
	}
}

/* One round trip of ACKs, a segment each, spread over it. */
static uint64_t cubic_round(struct tcp_cc *cc, uint64_t now_ns, uint32_t rtt_us)
{
	uint64_t n = cc->cwnd_bytes / MSS;

	for (uint64_t i = 1; i <= n; i++)
		ack(cc, MSS, now_ns + i * rtt_us * 1000 / n, rtt_us);
	return now_ns + rtt_us * 1000ull;
}

/* RFC 9438 §4.2: after a loss at 1000 segments and RTT 100 ms the curve is back at W_max after
 * K = cbrt(300 / 0.4) = 9.09 s, is flat there, and then probes beyond. */
static void cubic_returns_to_wmax_after_k(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_cubic);
	uint64_t t = MS;

	cc.cwnd_bytes = 1000 * MSS;
	cc.ops->on_loss_event(&cc, cc.cwnd_bytes, t);
	cc.ops->on_exit_recovery(&cc, t);
	assert_int_equal(cc.cwnd_bytes, 700 * MSS);
	while (t < 5000 * MS)
		t = cubic_round(&cc, t, 100000);
	/* 1000 - 0.4 * (9.09 - 5.1)³ = 974.6 */
	assert_in_range(cc.cwnd_bytes, 968 * MSS, 980 * MSS);
	while (t < 9090 * MS)
		t = cubic_round(&cc, t, 100000);
	assert_in_range(cc.cwnd_bytes, 995 * MSS, 1003 * MSS);
	while (t < 18000 * MS)
		t = cubic_round(&cc, t, 100000);
	/* 1000 + 0.4 * 9³ = 1291 */
	assert_in_range(cc.cwnd_bytes, 1270 * MSS, 1310 * MSS);
}

/* RFC 9438 §4.3: with a short round trip it grows as Reno would, α = 9/17 segments a round. */
static void cubic_is_reno_friendly_on_short_paths(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_cubic);
	uint64_t t = MS;

	cc.cwnd_bytes = 100 * MSS;
	cc.ops->on_loss_event(&cc, cc.cwnd_bytes, t);
	cc.ops->on_exit_recovery(&cc, t);
	for (int i = 0; i < 34; i++)
		t = cubic_round(&cc, t, 100);
	assert_in_range(cc.cwnd_bytes, 86 * MSS, 89 * MSS); /* 70 + 18 */
}

/* RFC 9438 §4.7 */
static void cubic_second_loss_below_wmax_converges_fast(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_cubic);

	cc.cwnd_bytes = 1000 * MSS;
	cc.ops->on_loss_event(&cc, cc.cwnd_bytes, 0);
	cc.ops->on_exit_recovery(&cc, 0);
	cc.ops->on_loss_event(&cc, cc.cwnd_bytes, 0);
	assert_int_equal(cc.state.words[0], 595 * MSS); /* W_max = 700 * 0.85 */
	assert_int_equal(cc.cwnd_bytes, 490 * MSS);
}

/* RFC 9406 §4.2: a delay that rises ends slow start without loss; a steady one does not. */
static void hystart_leaves_slow_start_when_delay_rises(void **state)
{
	struct tcp_cc cc = fresh(&tcp_cc_cubic);
	uint64_t t = MS;

	for (int i = 0; i < 5; i++)
		t = cubic_round(&cc, t, 20000);
	assert_true(tcp_cc_slow_start(&cc));
	for (int i = 0; i < 12; i++)
		t = cubic_round(&cc, t, 30000 + 1000 * i);
	assert_false(tcp_cc_slow_start(&cc));
	assert_true(cc.cwnd_bytes < TCP_CC_CWND_MAX);
}

/* Any order of events keeps the windows within their bounds. */
static void random_events_keep_the_bounds(void **state)
{
	srand(3);
	for (int run = 0; run < 200; run++) {
		struct tcp_cc cc = fresh(tcp_cc_at(run & 1));
		uint64_t t = rand();

		for (int i = 0; i < 1000; i++) {
			uint64_t was = cc.cwnd_bytes;

			t += rand() % 100 ? rand() % MS : (uint64_t)rand() * 1000;
			switch (rand() % 40) {
			case 0:
				cc.ops->on_loss_event(&cc, rand(), t);
				assert_true(cc.cwnd_bytes <= was);
				break;
			case 1:
				cc.ops->on_rto(&cc, rand(), t);
				break;
			case 2:
				cc.ops->on_spurious(&cc, t);
				break;
			case 3:
				cc.ops->after_idle(&cc, rand(), rand(), t);
				break;
			case 4:
				tcp_cc_set_mss(&cc, 1 + rand() % 65000, false);
				break;
			case 5:
			case 6:
				cc.ops->on_exit_recovery(&cc, t);
				break;
			default:
				ack(&cc, rand() >> rand() % 31, t, rand() >> rand() % 31);
				assert_true(cc.cwnd_bytes >= was);
			}
			assert_true(cc.cwnd_bytes >= cc.mss);
			assert_true(cc.cwnd_bytes <= TCP_CC_CWND_MAX);
			assert_true(cc.ssthresh_bytes >= 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(initial_window_is_ten_segments_of_usual_size),
		cmocka_unit_test(slow_start_doubles_each_round_and_limits_one_ack),
		cmocka_unit_test(newreno_avoidance_grows_one_segment_a_window),
		cmocka_unit_test(loss_reduces_by_the_algorithms_factor),
		cmocka_unit_test(rto_falls_to_one_segment_and_holds_ssthresh),
		cmocka_unit_test(idle_restarts_and_unused_window_does_not_grow),
		cmocka_unit_test(cubic_returns_to_wmax_after_k),
		cmocka_unit_test(cubic_is_reno_friendly_on_short_paths),
		cmocka_unit_test(cubic_second_loss_below_wmax_converges_fast),
		cmocka_unit_test(hystart_leaves_slow_start_when_delay_rises),
		cmocka_unit_test(random_events_keep_the_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
