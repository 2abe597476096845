/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_test.h"

static void established_queued_data_goes_out_in_segments(void **state)
{
	establish(0);
	app_send(2500);
	expect("A 1:1001 ack 1", "A 1001:2001 ack 1", "PA 2001:2501 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 2501});
	assert_int_equal(events(), TCP_EV_SPACE);
	expect_nothing();
	assert_null(conn->sndq.head);
}

static void port_that_takes_one_of_three_is_offered_the_rest_again(void **state)
{
	/* The transaction: nothing advances for what was not taken */
	establish(0);
	app_send(2500);
	assert_int_equal(pull_refusing(2), 3);
	assert_int_equal(conn->sent.nxt, tcp_iss(conn) + 1001);
	assert_true(tcp_output_pending(t));
	expect("A 1001:2001 ack 1", "PA 2001:2501 ack 1");
	assert_false(tcp_output_pending(t));
}

static void established_nagle_holds_the_second_small_segment(void **state)
{
	/* RFC 9293 §3.7.4 */
	establish(NAGLE);
	app_send(10);
	expect("PA 1:11 ack 1");
	app_send(10);
	expect_nothing();
	app_send(10);
	expect_nothing();
	rx((struct in){.flags = "A", .seq = 1, .ack = 11});
	expect("PA 11:31 ack 1");
}

static void established_closed_window_is_probed(void **state)
{
	/* RFC 9293 §3.8.6.1, MUST-36 */
	establish(0);
	app_send(1000);
	expect("PA 1:1001 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .wnd = 1});
	app_send(100);
	expect_nothing();
	expire_after_ms(201);
	expect("A 1000:1000 ack 1");
	expire_after_ms(201);
	expect_nothing();
	expire_after_ms(201);
	expect("A 1000:1000 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .wnd = 5000});
	expect("PA 1001:1101 ack 1");
}

static void established_data_held_back_has_a_timer_behind_a_bare_ack(void **state)
{
	/* RFC 9293 §3.8.6.2.1: what silly window avoidance holds back is sent by a timer at last */
	establish(0);
	app_send(1000);
	expect("PA 1:1001 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .wnd = 300});
	expect_nothing();
	app_send(1000);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .len = 1000, .wnd = 300});
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1001, .len = 1000, .wnd = 300});
	expect("A 1001:1001 ack 2001");
	expire_after_ms(201);
	expect("A 1001:1301 ack 2001");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(established_queued_data_goes_out_in_segments),
		T(port_that_takes_one_of_three_is_offered_the_rest_again),
		T(established_nagle_holds_the_second_small_segment),
		T(established_closed_window_is_probed),
		T(established_data_held_back_has_a_timer_behind_a_bare_ack),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
