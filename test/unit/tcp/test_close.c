/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_test.h"

static unsigned live(void)
{
	return t->conns.live;
}

static void established_close_goes_through_fin_wait_to_time_wait(void **state)
{
	/* RFC 9293 §3.6 case 1 */
	establish(0);
	app_send(10);
	tcp_close(t, conn);
	expect("FPA 1:11 ack 1");
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_1);
	rx((struct in){.flags = "A", .seq = 1, .ack = 12});
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_2);
	rx((struct in){.flags = "FA", .seq = 1, .ack = 12});
	assert_int_equal(tcp_conn_state(conn), TCP_TIME_WAIT);
	expect("A 12:12 ack 2");
	expire_after_ms(59000);
	assert_int_equal(live(), 1);
	expire_after_ms(1001);
	assert_int_equal(live(), 0);
}

static void established_fin_then_close_ends_in_last_ack(void **state)
{
	/* RFC 9293 §3.6 case 2 */
	establish(0);
	rx((struct in){.flags = "FPA", .seq = 1, .ack = 1, .len = 10});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
	expect("A 1:1 ack 12");
	assert_int_equal(events(), TCP_EV_DATA | TCP_EV_FIN);
	assert_int_equal(app_read(), 10);
	tcp_close(t, conn);
	assert_int_equal(tcp_conn_state(conn), TCP_LAST_ACK);
	expect("FA 1:1 ack 12");
	rx((struct in){.flags = "A", .seq = 12, .ack = 2});
	assert_int_equal(live(), 0);
}

static void both_close_at_once_meet_in_closing(void **state)
{
	/* RFC 9293 §3.6 case 3, H25 */
	establish(0);
	tcp_close(t, conn);
	expect("FA 1:1 ack 1");
	rx((struct in){.flags = "FA", .seq = 1, .ack = 1});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSING);
	expect("A 2:2 ack 2");
	rx((struct in){.flags = "A", .seq = 2, .ack = 2});
	assert_int_equal(tcp_conn_state(conn), TCP_TIME_WAIT);
}

static void close_with_unread_data_resets(void **state)
{
	/* RFC 2525 §2.17 */
	establish(0);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 10});
	tcp_close(t, conn);
	expect("RA 1:1 ack 11");
	assert_int_equal(live(), 0);
}

static void established_rst_is_told_at_once(void **state)
{
	/* H23 */
	establish(0);
	rx((struct in){.flags = "R", .seq = 1});
	assert_int_equal(events(), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(tcp_conn_error(conn), -ECONNRESET);
	assert_int_equal(tcp_send(t, conn, NULL, 0), -ECONNRESET);
	tcp_close(t, conn);
	assert_int_equal(live(), 0);
	expect_nothing();
}

static void second_rst_of_one_burst_finds_no_connection(void **state)
{
	/* H23: both were looked up before the first was processed */
	struct pkt p[2];
	struct tcp_seg s[2];

	establish(0);
	for (int i = 0; i < 2; i++) {
		p[i] = build(&(struct in){.flags = "R", .seq = 1});
		assert_int_equal(tcp_parse(t, &p[i], &s[i]), NEXT_TCP);
		tcp_lookup(t, &p[i], &s[i]);
	}
	for (int i = 0; i < 2; i++)
		tcp_input(t, &p[i], &s[i]);
	assert_int_equal(events(), TCP_EV_ERROR | TCP_EV_CLOSED);
	tcp_close(t, conn);
	assert_int_equal(live(), 0);
	expect_nothing();
}

static void to_time_wait(unsigned with)
{
	establish(with);
	assert_int_equal(tcp_shutdown_send(t, conn), 0);
	pull();
	rx((struct in){.flags = "FA", .seq = 1, .ack = 2});
	pull();
	assert_int_equal(tcp_conn_state(conn), TCP_TIME_WAIT);
	events();
	tcp_close(t, conn);
}

static void time_wait_survives_rst(void **state)
{
	/* RFC 1337 */
	to_time_wait(0);
	rx((struct in){.flags = "R", .seq = 2});
	assert_int_equal(live(), 1);
	rx((struct in){.flags = "FA", .seq = 1, .ack = 2}); /* our ACK was lost */
	expect("A 2:2 ack 2");
}

static void time_wait_gives_way_to_a_later_syn(void **state)
{
	/* RFC 6191 §2 */
	to_time_wait(WITH_TS);
	open_listener();
	rx((struct in){.flags = "S", .seq = 500});
	expect("A 2:2 ack 2 ts"); /* not provably later */
	peer_ts++;
	rx((struct in){.flags = "S", .seq = 500});
	expect("SA 0:0 ack 501 mss 1460 ts");
	assert_int_equal(live(), 0);
	assert_int_equal(tcp_counters(t)->time_wait_reused, 1);
}

static void oldest_time_wait_makes_place_at_the_limit(void **state)
{
	tcp_destroy(t);
	cfg.max_conns = 1;
	make_engine();
	to_time_wait(0);
	open_listener();
	peer_port++;
	rx((struct in){.flags = "S"});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	assert_int_equal(tcp_counters(t)->time_wait_recycled, 1);
	/* And when there is none, the handshake's end waits. */
	peer_port++;
	rx((struct in){.flags = "S"});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	assert_null(tcp_accept(t, listener));
	assert_int_equal(drops.n[DROP_NO_MEMORY], 1);
}

static void data_for_a_closed_user_resets(void **state)
{
	/* RFC 9293 §3.6.1, RFC 1122 §4.2.2.13 */
	establish(0);
	tcp_close(t, conn);
	pull();
	rx((struct in){.flags = "PA", .seq = 1, .ack = 2, .len = 10});
	expect("RA 2:2 ack 1");
	assert_int_equal(live(), 0);
}

static void half_closed_stream_still_receives(void **state)
{
	/* RFC 9293 §3.6 */
	establish(0);
	assert_int_equal(tcp_shutdown_send(t, conn), 0);
	assert_int_equal(tcp_send(t, conn, NULL, 0), -EPIPE);
	expect("FA 1:1 ack 1");
	rx((struct in){.flags = "PA", .seq = 1, .ack = 2, .len = 100});
	assert_true(events() & TCP_EV_SENT_FIN);
	assert_int_equal(app_read(), 100);
	rx((struct in){.flags = "FA", .seq = 101, .ack = 2});
	assert_int_equal(events(), TCP_EV_FIN | TCP_EV_CLOSED);
	expect("A 2:2 ack 102");
	tcp_close(t, conn);
}

static void fin_ahead_of_a_hole_waits_for_it(void **state)
{
	establish(WITH_SACK);
	rx((struct in){.flags = "FA", .seq = 101, .ack = 1, .len = 10});
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	expect("A 1:1 ack 1 sack 101-111");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 100});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
	expect("A 1:1 ack 112");
	assert_int_equal(app_read(), 110);
}

static void lost_fin_is_sent_again(void **state)
{
	establish(0);
	tcp_close(t, conn);
	expect("FA 1:1 ack 1");
	expire_after_ms(201);
	expect("FA 1:1 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 2});
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_2);
}

static void abort_sends_rst_and_frees(void **state)
{
	/* RFC 9293 §3.10.5 */
	establish(0);
	app_send(5000);
	tcp_abort(t, conn);
	expect("RA 1:1 ack 1");
	assert_int_equal(live(), 0);
	assert_null(tcp_event_next(t, &(uint32_t){0}));
}

static void abort_of_a_close_with_data_left_sends_rst(void **state)
{
	/* RFC 9293 §3.10.5, where LAST-ACK begins when the FIN leaves, not when the user closes */
	establish(0);
	rx((struct in){.flags = "FA", .seq = 1, .ack = 1});
	expect("A 1:1 ack 2");
	app_send(10);
	tcp_close(t, conn);
	assert_int_equal(tcp_conn_state(conn), TCP_LAST_ACK);
	expect("FPA 1:11 ack 2");
	tcp_abort(t, conn);
	expect("RA 12:12 ack 2");
	assert_int_equal(live(), 0);
}

static void time_wait_is_reused_by_our_own_connect(void **state)
{
	/* RFC 6191, RFC 7323 §5.8: our clock of timestamps has moved on */
	struct tcp_open o = {.link = {.mtu = 1500, .tso_segs = 1}};

	to_time_wait(WITH_TS);
	o.key = conn->key;
	assert_int_equal(tcp_connect(t, &o, &conn), -EADDRINUSE);
	after_ms(1001);
	assert_int_equal(tcp_connect(t, &o, &conn), 0);
	assert_int_equal(live(), 1);
	assert_int_equal(pull(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(established_close_goes_through_fin_wait_to_time_wait),
		T(established_fin_then_close_ends_in_last_ack),
		T(both_close_at_once_meet_in_closing),
		T(close_with_unread_data_resets),
		T(established_rst_is_told_at_once),
		T(second_rst_of_one_burst_finds_no_connection),
		T(time_wait_survives_rst),
		T(time_wait_gives_way_to_a_later_syn),
		T(oldest_time_wait_makes_place_at_the_limit),
		T(data_for_a_closed_user_resets),
		T(half_closed_stream_still_receives),
		T(fin_ahead_of_a_hole_waits_for_it),
		T(lost_fin_is_sent_again),
		T(abort_sends_rst_and_frees),
		T(abort_of_a_close_with_data_left_sends_rst),
		T(time_wait_is_reused_by_our_own_connect),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
