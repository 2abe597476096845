/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_test.h"

static void established_data_in_order_is_read_and_acked_late(void **state)
{
	/* RFC 9293 §3.8.6.3: delayed acknowledgement, MUST-58: below 0.5 s */
	establish(0);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 100});
	expect_nothing();
	assert_int_equal(events(), TCP_EV_DATA);
	assert_int_equal(app_read(), 100);
	expire_after_ms(41);
	expect("A 1:1 ack 101");
	assert_int_equal(tcp_counters(t)->fast_path_in, 1);
}

static void established_second_full_segment_is_acked_at_once(void **state)
{
	/* RFC 9293 §3.8.6.3, MUST-59 */
	establish(0);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001");
}

static void established_response_carries_the_ack(void **state)
{
	establish(WITH_TS | WITH_SACK | WITH_WS);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 64});
	app_send(64);
	expect("PA 1:65 ack 65 ts");
	rx((struct in){.flags = "PA", .seq = 65, .ack = 65, .len = 64});
	app_send(64);
	expect("PA 65:129 ack 129 ts");
	assert_int_equal(tcp_counters(t)->fast_path_in, 2);
}

static void established_hole_is_sacked_and_filled(void **state)
{
	/* RFC 2018 §4, RFC 5681 §4.2 */
	establish(WITH_SACK);
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 1 sack 1001-2001");
	rx((struct in){.flags = "A", .seq = 3001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 1 sack 3001-4001,1001-2001");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001 sack 3001-4001");
	rx((struct in){.flags = "A", .seq = 2001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 4001");
	assert_int_equal(app_read(), 4000);
}

static void established_duplicate_is_reported_by_dsack(void **state)
{
	/* RFC 2883 §4.1 */
	establish(WITH_SACK);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001 sack 1-1001");
	expect_nothing();
	assert_int_equal(drops.n[DROP_TCP_DUP], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(established_data_in_order_is_read_and_acked_late),
		T(established_second_full_segment_is_acked_at_once),
		T(established_response_carries_the_ack),
		T(established_hole_is_sacked_and_filled),
		T(established_duplicate_is_reported_by_dsack),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
