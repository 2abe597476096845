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

static void port_with_tso_is_offered_large_packets(void **state)
{
	struct tcp_link l = {.mtu = 1500, .tso_segs = 16, .tso_bytes = 8000};

	establish(0);
	tcp_conn_link(t, conn, &l);
	app_send(9500);
	expect("A 1:8001 ack 1 tso 1000", "PA 8001:9501 ack 1 tso 1000");
	rx((struct in){.flags = "A", .seq = 1, .ack = 9501});
}

static void third_duplicate_ack_repairs(void **state)
{
	/* RFC 5681 §3.2, RFC 6582: a peer without SACK */
	establish(0);
	app_send(6000);
	assert_int_equal(pull(), 6);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	expect_nothing();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	expect("A 1:1001 ack 1");
	assert_int_equal(tcp_counters(t)->fast_recoveries, 1);
	rx((struct in){.flags = "A", .seq = 1, .ack = 2001}); /* partial: the third is lost too */
	expect("A 2001:3001 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 6001});
	assert_int_equal(conn->cc.phase, TCP_CC_OPEN);
	assert_int_equal(tcp_counters(t)->timeouts, 0);
}

static void sacked_neighbours_repair_the_hole(void **state)
{
	/* RFC 8985 §6.2 */
	establish(WITH_SACK);
	app_send(6000);
	assert_int_equal(pull(), 6);
	after_ms(1);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .sack = {{2001, 6001}}});
	expect("A 1001:2001 ack 1");
	assert_int_equal(conn->cc.phase, TCP_CC_RECOVERY);
	rx((struct in){.flags = "A", .seq = 1, .ack = 6001});
	assert_int_equal(conn->cc.phase, TCP_CC_OPEN);
}

static void cork_holds_and_uncork_sends(void **state)
{
	struct tcp_opt o;

	establish(0);
	tcp_opt_get(conn, &o);
	o.cork = true;
	assert_int_equal(tcp_opt_set(t, conn, &o), 0);
	app_send(1500);
	expect("A 1:1001 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001});
	expect_nothing();
	o.cork = false;
	assert_int_equal(tcp_opt_set(t, conn, &o), 0);
	expect("PA 1001:1501 ack 1");
}

static void more_is_sent_after_a_while_all_the_same(void **state)
{
	establish(0);
	app_send_flags(10, TCP_SEND_MORE);
	expect_nothing();
	expire_after_ms(201);
	expect("PA 1:11 ack 1");
}

static void urgent_byte_is_pointed_at(void **state)
{
	/* RFC 9293 §3.8.5, RFC 6093 */
	establish(0);
	app_send_flags(5, TCP_SEND_OOB);
	expect("PAU 1:6 ack 1 urg 5");
	app_send(5);
	expect("PA 6:11 ack 1");
}

static void small_window_waits_for_half_of_the_largest(void **state)
{
	/* RFC 9293 §3.8.6.2.1 */
	establish(0);
	app_send(1000);
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .wnd = 300});
	app_send(900);
	expect_nothing();
	expire_after_ms(201); /* the override time-out */
	expect("A 1001:1301 ack 1");
}

static void unread_data_closes_the_window_and_reading_opens_it(void **state)
{
	/* RFC 9293 §3.8.6: the right edge never moves left; §3.8.6.2.2 */
	uint64_t edge = 0;
	uint32_t seq = 1;

	tcp_destroy(t);
	cfg.rcvbuf_bytes = cfg.rcvbuf_max_bytes = 60000;
	make_engine();
	establish(0);
	while (conn->rcv_adv - tcp_rcv_nxt(conn) >= 1000) {
		rx((struct in){.flags = "A", .seq = seq, .ack = 1, .len = 1000});
		seq += 1000;
		pull();
		assert_true(conn->rcv_adv >= edge);
		edge = conn->rcv_adv;
	}
	expect_nothing();
	assert_int_equal(app_read(), seq - 1);
	assert_int_equal(pull(), 1); /* the news of the room */
	assert_true(conn->rcv_adv > edge + 10000);
}

static void fast_reader_gets_a_larger_buffer(void **state)
{
	/* dynamic right-sizing */
	uint32_t seq = 1, before;

	tcp_destroy(t);
	cfg.rcvbuf_bytes = 50000;
	cfg.rcvbuf_max_bytes = 4 << 20;
	make_engine();
	establish(WITH_WS);
	before = conn->rcvbuf;
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 40 && conn->rcv_adv - tcp_rcv_nxt(conn) >= 1000; i++) {
			rx((struct in){.flags = "A", .seq = seq, .ack = 1, .len = 1000});
			seq += 1000;
		}
		app_read();
		after_ms(2);
		pull();
	}
	assert_true(conn->rcvbuf > 2 * before);
}

static void progress_is_what_the_peer_acknowledges_or_sends(void **state)
{
	/* RFC 4861 §7.3.1 */
	establish(0);
	after_ms(6000);
	assert_true(tcp_conn_progress_ms(t, conn) >= 6000);
	app_send(10);
	expect("PA 1:11 ack 1");
	assert_true(tcp_conn_progress_ms(t, conn) >= 6000);
	after_ms(10);
	rx((struct in){.flags = "A", .seq = 1, .ack = 11});
	assert_int_equal(tcp_conn_progress_ms(t, conn), 0);
	after_ms(7000);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 11, .len = 5});
	assert_int_equal(tcp_conn_progress_ms(t, conn), 0);
	assert_int_equal(app_read(), 5);
	pull();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(progress_is_what_the_peer_acknowledges_or_sends),
		T(established_queued_data_goes_out_in_segments),
		T(port_that_takes_one_of_three_is_offered_the_rest_again),
		T(established_nagle_holds_the_second_small_segment),
		T(established_closed_window_is_probed),
		T(established_data_held_back_has_a_timer_behind_a_bare_ack),
		T(port_with_tso_is_offered_large_packets),
		T(third_duplicate_ack_repairs),
		T(sacked_neighbours_repair_the_hole),
		T(cork_holds_and_uncork_sends),
		T(more_is_sent_after_a_while_all_the_same),
		T(urgent_byte_is_pointed_at),
		T(small_window_waits_for_half_of_the_largest),
		T(unread_data_closes_the_window_and_reading_opens_it),
		T(fast_reader_gets_a_larger_buffer),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
