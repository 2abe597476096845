/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_test.h"

static void closed_connect_sends_syn_with_all_options(void **state)
{
	/* RFC 9293 §3.10.1, RFC 7323 §2.2, RFC 2018 §2 */
	open_active();
	expect("S 0:0 win 65535 mss 1460 ws 8 sackok ts");
	assert_int_equal(tcp_conn_state(conn), TCP_SYN_SENT);
	expect_nothing();
}

static void synsent_syn_ack_establishes(void **state)
{
	/* RFC 9293 §3.10.7.3 fourth */
	open_active();
	pull();
	after_ms(10);
	rx((struct in){.flags = "SA", .seq = 0, .ack = 1, .mss = 1400});
	expect("A 1:1 ack 1");
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_int_equal(events(), TCP_EV_CONNECTED | TCP_EV_SPACE);
	assert_int_equal(conn->mss, 1400);
	assert_int_equal(tcp_rtt_srtt_us(&conn->rtt), 10000);
}

static void listen_handshake_gives_a_connection_with_its_data(void **state)
{
	/* RFC 9293 §3.10.7.2; the third segment carries data */
	open_listener();
	rx((struct in){.flags = "S", .seq = 0, .mss = 1460});
	expect("SA 0:0 ack 1 win 65535 mss 1460");
	assert_null(tcp_accept_next(t));
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 100});
	assert_ptr_equal(tcp_accept_next(t), listener);
	assert_null(tcp_accept_next(t));
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	assert_null(tcp_accept(t, listener));
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_true(events() & TCP_EV_DATA);
	assert_int_equal(app_read(), 100);
	app_send(50);
	expect("PA 1:51 ack 101");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(closed_connect_sends_syn_with_all_options, setup,
						teardown),
		cmocka_unit_test_setup_teardown(synsent_syn_ack_establishes, setup, teardown),
		cmocka_unit_test_setup_teardown(listen_handshake_gives_a_connection_with_its_data,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
