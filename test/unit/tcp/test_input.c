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

static void memory_of_all_connections_is_bounded(void **state)
{
	/* cfg.mem_max_bytes: windows stop growing, then data is refused */
	uint32_t seq = 1;

	tcp_destroy(t);
	cfg.mem_max_bytes = 100000;
	make_engine();
	establish(WITH_WS);
	for (unsigned i = 0; i < 400; i++, seq += 1000) {
		rx((struct in){.flags = "A", .seq = seq, .ack = 1, .len = 1000});
		pull();
	}
	assert_true(t->rcv_mem <= cfg.mem_max_bytes + 3000);
	assert_true(drops.n[DROP_TCP_RCVQ_FULL] + drops.n[DROP_TCP_OOO_LIMIT] > 0);
	assert_true(app_read() > 0);
	assert_int_equal(t->rcv_mem - tcp_rcvq_charge(&conn->rcvq), 0);
}

static void lent_buffers_stay_charged(void **state)
{
	struct rte_mbuf *m;
	uint32_t charge;

	establish(0);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	m = tcp_recv(t, conn, 10);
	charge = pkt_charge(m);
	assert_int_equal(t->rcv_mem, charge);
	assert_int_equal(conn->lent, charge);
	tcp_recv_done(t, conn, charge, 1000);
	assert_int_equal(t->rcv_mem, 0);
	pkt_free(m);
}

static void shut_reader_lets_data_pass_by(void **state)
{
	establish(0);
	tcp_shutdown_recv(t, conn);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	expect("A 1:1 ack 1001");
	assert_int_equal(drops.n[DROP_TCP_CLOSED], 1);
	rx((struct in){.flags = "FA", .seq = 1001, .ack = 1});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
	expect("A 1:1 ack 1002");
}

static void shut_reader_with_a_hole_goes_on(void **state)
{
	establish(0);
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 1");
	tcp_shutdown_recv(t, conn);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001");
	assert_int_equal(t->rcv_mem, 0);
}

static void shut_reader_cuts_data_at_an_early_fin(void **state)
{
	establish(0);
	tcp_shutdown_recv(t, conn);
	rx((struct in){.flags = "FA", .seq = 1001, .ack = 1});
	expect("A 1:1 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1200});
	expect("A 1:1 ack 1002");
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
	assert_int_equal(t->rcv_mem, 0);
}

static void shut_reader_keeps_what_was_unread(void **state)
{
	establish(0);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	tcp_shutdown_recv(t, conn);
	rx((struct in){.flags = "A", .seq = 1001, .ack = 1, .len = 1000});
	expect("A 1:1 ack 2001");
	assert_int_equal(app_read(), 1000);
	assert_int_equal(t->rcv_mem, 0);
}

static void full_window_takes_a_fin(void **state)
{
	establish(0);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 1000});
	pull();
	conn->rcvbuf = 1; /* no more room */
	conn->rcv_adv = tcp_rcv_nxt(conn);
	rx((struct in){.flags = "FA", .seq = 1001, .ack = 1});
	assert_int_equal(tcp_conn_state(conn), TCP_CLOSE_WAIT);
	expect("A 1:1 ack 1002 win 0");
}

static void window_of_the_syn_ack_is_replaced_by_a_scaled_one(void **state)
{
	/* RFC 7323 §2.2: the same field, but scaled from now on */
	open_active();
	pull();
	rx((struct in){.flags = "SA", .ack = 1, .mss = 1000, .ws = true, .wscale = 7});
	pull();
	assert_int_equal(conn->snd_wnd, 60000);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 10});
	assert_int_equal(conn->snd_wnd, 60000 << 7);
}

static void segment_without_agreed_timestamps_is_dropped(void **state)
{
	/* RFC 7323 §3.2 */
	establish(WITH_TS);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 10, .no_ts = true});
	assert_int_equal(drops.n[DROP_TCP_PAWS], 1);
	peer_ts -= 100; /* RFC 7323 §5.3 R1 */
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 10});
	expect("A 1:1 ack 1 ts");
	assert_int_equal(tcp_counters(t)->paws_drops, 2);
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
		T(memory_of_all_connections_is_bounded),
		T(lent_buffers_stay_charged),
		T(shut_reader_lets_data_pass_by),
		T(shut_reader_with_a_hole_goes_on),
		T(shut_reader_cuts_data_at_an_early_fin),
		T(shut_reader_keeps_what_was_unread),
		T(full_window_takes_a_fin),
		T(window_of_the_syn_ack_is_replaced_by_a_scaled_one),
		T(segment_without_agreed_timestamps_is_dropped),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
