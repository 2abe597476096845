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

static void synsent_rst_refuses(void **state)
{
	/* RFC 9293 §3.10.7.3 second; without a good ACK it is blind */
	open_active();
	pull();
	rx((struct in){.flags = "R", .seq = 0});
	assert_int_equal(tcp_conn_state(conn), TCP_SYN_SENT);
	rx((struct in){.flags = "RA", .seq = 0, .ack = 1});
	assert_int_equal(events(), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(tcp_conn_error(conn), -ECONNREFUSED);
	tcp_close(t, conn);
	assert_int_equal(t->conns.live, 0);
}

static void synsent_bad_ack_sends_rst(void **state)
{
	/* RFC 9293 §3.10.7.3 first, MUST-10 */
	open_active();
	pull();
	rx((struct in){.flags = "SA", .seq = 0, .ack = 2});
	expect("R 2:2");
	assert_int_equal(tcp_conn_state(conn), TCP_SYN_SENT);
}

static void synsent_queues_data_for_the_handshake(void **state)
{
	open_active();
	app_send(100);
	expect("S 0:0 mss 1460 ws 8 sackok ts");
	rx((struct in){.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
	expect("PA 1:101 ack 1");
}

static void synsent_syn_opens_from_both_sides(void **state)
{
	/* RFC 9293 §3.5 figure 7, H25 */
	open_active();
	pull();
	rx((struct in){.flags = "S", .seq = 0, .mss = 1200});
	assert_int_equal(tcp_conn_state(conn), TCP_SYN_RCVD);
	expect("SA 0:0 ack 1 win 65535 mss 1460");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_true(events() & TCP_EV_CONNECTED);
}

static void syn_ack_with_data_and_fin_is_taken_whole(void **state)
{
	open_active();
	pull();
	rx((struct in){.flags = "SFA", .seq = 0, .ack = 1});
	assert_int_equal(drops.n[DROP_TCP_BAD_FLAGS], 1);
	rx((struct in){.flags = "SA", .seq = 0, .ack = 1, .len = 10, .mss = 1000});
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_int_equal(conn->rcvq.ready.bytes, 10);
	expect("A 1:1 ack 11");
}

static void connect_of_a_used_tuple_is_refused(void **state)
{
	struct tcp_open o = {.link = {.mtu = 1500, .tso_segs = 1}};
	struct tcp_conn *other;

	establish(0);
	o.key = conn->key;
	assert_int_equal(tcp_connect(t, &o, &other), -EADDRINUSE);
}

static void closed_port_answers_with_rst(void **state)
{
	/* RFC 9293 §3.10.7.1 */
	rx((struct in){.flags = "S", .seq = 0});
	expect("RA 0:0 ack 1");
	iss = 0;
	rx((struct in){.flags = "A", .seq = 1, .ack = 77});
	have_iss = true;
	expect("R 77:77");
	rx((struct in){.flags = "R", .seq = 1});
	expect_nothing();
}

static void full_accept_queue_drops_syns_and_keeps_acks_waiting(void **state)
{
	struct tcp_listen l = {.lport = OUR_PORT, .backlog = 1};

	assert_int_equal(tcp_listen(t, &l, &listener), 0);
	rx((struct in){.flags = "S"});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	peer_port++;
	rx((struct in){.flags = "S"});
	expect_nothing();
	assert_int_equal(drops.n[DROP_TCP_ACCEPT_FULL], 1);
	conn = tcp_accept(t, listener);
	rx((struct in){.flags = "S"});
	assert_int_equal(pull(), 1);
}

static void unlisten_resets_what_waits(void **state)
{
	open_listener();
	rx((struct in){.flags = "S"});
	pull();
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 5});
	tcp_unlisten(t, listener);
	expect("RA 1:1 ack 6");
	assert_int_equal(t->conns.live, 0);
	assert_null(tcp_accept_next(t));
}

static void repeated_syn_gets_the_same_answer(void **state)
{
	uint32_t first;

	open_listener();
	rx((struct in){.flags = "S"});
	pull();
	first = iss;
	after_ms(300);
	rx((struct in){.flags = "S"});
	pull();
	assert_int_equal(iss, first);
	assert_int_equal(syncache_count(&t->syncache), 1);
	rx((struct in){.flags = "R", .seq = 1}); /* RFC 9293 §3.10.7.4 second, SYN-RECEIVED */
	assert_int_equal(syncache_count(&t->syncache), 0);
}

static void v6_handshake_announces_what_its_headers_leave(void **state)
{
	/* RFC 9293 §3.7.1: 1,220 without an option, MTU - 60 announced */
	v6 = true;
	peer_addr = addr(2);
	open_listener();
	rx((struct in){.flags = "S"});
	expect("SA 0:0 ack 1 win 65535 mss 1440");
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 10});
	conn = tcp_accept(t, listener);
	assert_int_equal(conn->mss, TCP_MSS_V6);
	assert_int_equal(app_read(), 10);
	app_send(2000);
	expect("A 1:1221 ack 11", "PA 1221:2001 ack 11");
}

static void wildcard_of_either_family_listens_as_told(void **state)
{
	struct tcp_listen l = {.laddr = ip_addr_v4(be32(0)), .lport = OUR_PORT, .backlog = 1};

	assert_int_equal(tcp_listen(t, &l, &listener), 0);
	v6 = true;
	peer_addr = addr(2);
	rx((struct in){.flags = "S"});
	expect("RA 0:0 ack 1"); /* 0.0.0.0 is no v6 wildcard */
	tcp_unlisten(t, listener);
	l = (struct tcp_listen){.lport = OUR_PORT, .v6only = true, .backlog = 1};
	assert_int_equal(tcp_listen(t, &l, &listener), 0);
	rx((struct in){.flags = "S"});
	expect("SA 0:0 ack 1 mss 1440");
	v6 = false;
	peer_addr = addr(2);
	have_iss = false;
	rx((struct in){.flags = "S"});
	expect("RA 0:0 ack 1");
}

/* Segments at an address that the kernel has, too: how many of them are handed back, as they were.
 */
static unsigned handed_back(struct in in)
{
	struct pkt p, *out[PKT_BURST];
	uint32_t len;
	unsigned n;

	peer_flags = PKT_F_SHARED;
	p = build(&in);
	len = p.m->pkt_len;
	rx_pkt(&p);
	n = tcp_strangers(t, out);
	if (n == 0)
		return 0;
	assert_ptr_equal(out[0], &p);
	assert_int_equal(p.m->pkt_len, len);
	pkt_free(p.m);
	assert_int_equal(tcp_strangers(t, out), 0);
	return n;
}

static void shared_address_hands_back_what_nobody_claims(void **state)
{
	struct tcp_listen l = {.lport = OUR_PORT, .backlog = 1};

	assert_int_equal(handed_back((struct in){.flags = "S", .seq = 0}), 1);
	iss = 0;
	assert_int_equal(handed_back((struct in){.flags = "A", .seq = 1, .ack = 77}), 1);
	assert_int_equal(handed_back((struct in){.flags = "R", .seq = 1}), 1);
	expect_nothing();
	assert_int_equal(drops.n[DROP_TCP_NO_CONN], 0);

	/* A listener claims a SYN; an ACK may be of a connection that the kernel had at the port.
	 */
	assert_int_equal(tcp_listen(t, &l, &listener), 0);
	assert_int_equal(handed_back((struct in){.flags = "A", .seq = 1, .ack = 77}), 1);
	assert_int_equal(handed_back((struct in){.flags = "S", .seq = 0, .mss = 1460}), 0);
	expect("SA 0:0 ack 1 mss 1460");
	have_iss = true;
	assert_int_equal(handed_back((struct in){.flags = "A", .seq = 1, .ack = 1}), 0);
	assert_int_equal(handed_back((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 9}), 0);
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	tcp_abort(t, conn);
	pull();
	assert_int_equal(handed_back((struct in){.flags = "A", .seq = 10, .ack = 2}), 1);
	expect_nothing();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(closed_connect_sends_syn_with_all_options, setup,
						teardown),
		cmocka_unit_test_setup_teardown(synsent_syn_ack_establishes, setup, teardown),
		cmocka_unit_test_setup_teardown(listen_handshake_gives_a_connection_with_its_data,
						setup, teardown),
		cmocka_unit_test_setup_teardown(synsent_rst_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(synsent_bad_ack_sends_rst, setup, teardown),
		cmocka_unit_test_setup_teardown(synsent_queues_data_for_the_handshake, setup,
						teardown),
		cmocka_unit_test_setup_teardown(synsent_syn_opens_from_both_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(syn_ack_with_data_and_fin_is_taken_whole, setup,
						teardown),
		cmocka_unit_test_setup_teardown(connect_of_a_used_tuple_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(closed_port_answers_with_rst, setup, teardown),
		cmocka_unit_test_setup_teardown(full_accept_queue_drops_syns_and_keeps_acks_waiting,
						setup, teardown),
		cmocka_unit_test_setup_teardown(unlisten_resets_what_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(repeated_syn_gets_the_same_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(v6_handshake_announces_what_its_headers_leave,
						setup, teardown),
		cmocka_unit_test_setup_teardown(wildcard_of_either_family_listens_as_told, setup,
						teardown),
		cmocka_unit_test_setup_teardown(shared_address_hands_back_what_nobody_claims, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
