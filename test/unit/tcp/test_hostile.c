/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Inputs that have broken a TCP before, each with its number in the project's list. Nothing
 * crashes, memory and work stay bounded, a counter moves, the connection survives where it should.
 */
#include "tcp_test.h"

/* A SYN whose header and options are these bytes; byte 12 is the data offset. */
static enum next rx_raw_options(uint8_t off, const uint8_t *opts, unsigned len)
{
	struct in in = {.flags = "S"};
	struct pkt p = build(&in);
	struct tcp_hdr *h = (struct tcp_hdr *)(pkt_data(p.m) + 34);

	if (len > 0)
		memcpy(pkt_put(p.m, (uint16_t)len), opts, len);
	h->off = off;
	p.l4_len = p.m->pkt_len - 34;
	p.flags |= PKT_F_CSUM_OK;
	return rx_pkt(&p);
}

static void option_of_length_0_ends_parsing_H01(void **state)
{
	open_listener();
	assert_int_equal(rx_raw_options(6 << 4, (const uint8_t[]){9, 0, 1, 1}, 4), NEXT_DROP);
	assert_int_equal(drops.n[DROP_TCP_BAD_OPT], 1);
	expect_nothing();
}

static void option_and_header_past_the_end_are_dropped_H02(void **state)
{
	open_listener();
	assert_int_equal(rx_raw_options(6 << 4, (const uint8_t[]){2, 40, 1, 1}, 4), NEXT_DROP);
	assert_int_equal(drops.n[DROP_TCP_BAD_OPT], 1);
	assert_int_equal(rx_raw_options(15 << 4, (const uint8_t[]){1, 1, 1, 1}, 4), NEXT_DROP);
	assert_int_equal(drops.n[DROP_TCP_SHORT], 1);
}

static void data_offset_below_five_is_dropped_H03(void **state)
{
	open_listener();
	for (uint8_t off = 0; off < 5; off++)
		assert_int_equal(rx_raw_options((uint8_t)(off << 4), NULL, 0), NEXT_DROP);
	assert_int_equal(drops.n[DROP_TCP_SHORT], 5);
	assert_int_equal(tcp_counters(t)->in_errs, 5);
}

static void urgent_pointer_of_0_and_beyond_the_window_H06(void **state)
{
	establish(0);
	rx((struct in){.flags = "UA", .seq = 1, .ack = 1, .len = 10, .urg = 0});
	assert_int_equal(tcp_conn_urg(conn), -1);
	rx((struct in){.flags = "UA", .seq = 11, .ack = 1, .len = 10, .urg = 65535});
	assert_int_equal(tcp_conn_urg(conn), 10 + 65534);
	assert_int_equal(app_read(), 20);
	assert_int_equal(tcp_conn_urg(conn), 65524);
	rx((struct in){.flags = "UA", .seq = 21, .ack = 1, .len = 10, .urg = 5});
	assert_int_equal(tcp_conn_urg(conn), 65524); /* the mark doesn't move back */
}

static void tiny_mss_and_sack_storm_stay_bounded_H07(void **state)
{
	/* CVE-2019-11477 ff.: MSS 1, then blocks that cut everything */
	open_active();
	pull();
	after_ms(1);
	rx((struct in){.flags = "SA", .ack = 1, .mss = 1, .sack_ok = true});
	pull();
	assert_in_range(conn->mss, TCP_MSS_MIN - TCP_TS_LEN, TCP_MSS_MIN);
	conn->cc.cwnd_bytes = 1 << 20;
	app_send(500000);
	for (unsigned i = 0; i < 200; i++)
		pull();
	assert_in_range(conn->sent.count, 100, TCP_SENT_MAX_TINY);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t at = 100 + i * 37 % 50000;

		rx((struct in){.flags = "A",
			       .seq = 1,
			       .ack = 1,
			       .sack = {{at, at + 13}, {at + 400, at + 500}, {at + 7, at + 9}}});
		assert_in_range(conn->sent.count, 1, TCP_SENT_MAX_TINY);
	}
	pull();
	tcp_sent_check(&conn->sent);
}

static void thousands_of_tiny_holes_stay_bounded_H08(void **state)
{
	/* CVE-2018-5390 */
	unsigned in_use;

	establish(WITH_SACK);
	for (uint32_t i = 0; i < 5000; i++)
		rx((struct in){
			.flags = "A", .seq = 3 + 2 * (i * 7919 % 20000), .ack = 1, .len = 1});
	in_use = rte_mempool_in_use_count(pools.rx);
	assert_in_range(conn->rcvq.n_blocks, 1, TCP_RCVQ_BLOCKS);
	assert_in_range(in_use, 1, TCP_RCVQ_BLOCKS * 2);
	assert_true(drops.n[DROP_TCP_OOO_LIMIT] > 0 || tcp_counters(t)->ooo_pruned > 0);
	pull();
}

static uint32_t isn_of_next_syn_ack(void)
{
	rx((struct in){.flags = "S"});
	pull();
	return iss;
}

static void initial_sequence_numbers_are_keyed_H10(void **state)
{
	/* RFC 6528 §3: other flows, and other keys, have others; time adds 250,000 a second */
	uint32_t a, b, c;

	open_listener();
	a = isn_of_next_syn_ack();
	peer_port++;
	b = isn_of_next_syn_ack();
	assert_int_not_equal(a, b);
	assert_true(a - b > 100000 && b - a > 100000);
	tcp_unlisten(t, listener);
	tcp_destroy(t);
	cfg.secret[0] ^= 1;
	make_engine();
	open_listener();
	peer_port--;
	c = isn_of_next_syn_ack();
	assert_true(a - c > 100000 && c - a > 100000);
}

static void blind_segments_are_challenged_H11(void **state)
{
	/* RFC 5961 §3.2, §4.2, §5.2 */
	establish(0);
	rx((struct in){.flags = "R", .seq = 100});
	expect("A 1:1 ack 1");
	rx((struct in){.flags = "S", .seq = 200});
	expect("A 1:1 ack 1");
	rx((struct in){.flags = "PA", .seq = 1, .ack = 0x40000000, .len = 10});
	expect("A 1:1 ack 1");
	rx((struct in){.flags = "PA", .seq = 1, .ack = 0xc0000000, .len = 10});
	expect("A 1:1 ack 1");
	assert_int_equal(events(), 0);
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_int_equal(tcp_counters(t)->challenge_acks, 4);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 10});
	assert_int_equal(app_read(), 10);
}

static void challenges_of_one_connection_leave_the_other_alone_H12(void **state)
{
	/* CVE-2016-5696: no counter is shared */
	struct tcp_conn *victim;

	establish(0);
	victim = conn;
	open_listener();
	peer_port = 3000;
	rx((struct in){.flags = "S"});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	conn = tcp_accept(t, listener);
	for (unsigned i = 0; i < 200; i++)
		rx((struct in){.flags = "R", .seq = 100});
	expect("A 1:1 ack 1");
	assert_in_range(tcp_counters(t)->challenge_acks, 1, 20);
	peer_port = PEER_PORT;
	iss = victim->iss;
	rx((struct in){.flags = "R", .seq = 100});
	assert_true(victim->ack_now);
	pull();
}

static void forged_timestamps_do_not_poison_paws_H13(void **state)
{
	/* CVE-2005-0356: out of the window, or acknowledging nonsense */
	uint32_t good;

	establish(WITH_TS);
	good = conn->ts_recent;
	peer_ts = good + 0x7000000;
	rx((struct in){.flags = "PA", .seq = 0x10000000, .ack = 1, .len = 10});
	rx((struct in){.flags = "PA", .seq = 1, .ack = 0x40000000, .len = 10});
	rx((struct in){
		.flags = "PA", .seq = 101, .ack = 1, .len = 10}); /* ahead of Last.ACK.sent */
	assert_int_equal(conn->ts_recent, good);
	peer_ts = good + 1;
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 100});
	assert_int_equal(conn->ts_recent, good + 1);
	assert_int_equal(app_read(), 110);
	pull();
}

/* A dialogue with overlaps, data past the window and a shrinking window, at these beginnings. */
static void dialogue_at(uint32_t their_isn, uint32_t our_isn)
{
	peer_isn = their_isn;
	got_bytes = 0;
	open_active();
	tcp_init_send(t, conn, our_isn);
	pull();
	assert_int_equal(iss, our_isn);
	after_ms(1);
	rx((struct in){.flags = "SA", .ack = 1, .mss = 1000});
	pull();
	rx((struct in){.flags = "A", .seq = 5, .ack = 1, .len = 20});
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .len = 8});
	rx((struct in){.flags = "A", .seq = 20, .ack = 1, .len = 20});
	assert_int_equal(app_read(), 39);
	rx((struct in){.flags = "A", .seq = 65530, .ack = 1, .len = 100}); /* past the window */
	rx((struct in){.flags = "A", .seq = 40 + 0x80000000u, .ack = 1, .len = 10});
	rx((struct in){.flags = "A", .seq = 40 + 0x7fffffffu, .ack = 1, .len = 10});
	pull();
	app_send(2500);
	assert_int_equal(pull(), 3);
	rx((struct in){.flags = "A", .seq = 40, .ack = 1001, .wnd = 100}); /* shrinks */
	rx((struct in){.flags = "A", .seq = 40, .ack = 2501, .wnd = 5000});
	assert_int_equal(conn->sent.una, conn->sent.nxt);
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	tcp_abort(t, conn);
	pull();
}

static void numbers_wrap_anywhere_H14(void **state)
{
	for (uint32_t i = 0; i < 60; i++) {
		dialogue_at(0xffffffffu - i, 7);
		dialogue_at(0x7fffffffu - i + 8, 0x80000000u - i);
		dialogue_at(3, 0xffffffffu - i * 50);
		dialogue_at(i * 0x4444444, 0x7fffffffu - i * 50);
	}
}

static void syn_flood_is_answered_by_cookies_H15(void **state)
{
	establish(0);
	open_listener();
	for (uint32_t i = 0; i < 500; i++) {
		peer_addr = addr((uint8_t)(10 + i % 100));
		peer_port = (uint16_t)(10000 + i);
		rx((struct in){.flags = "S", .mss = 1460, .sack_ok = true, .ws = true});
	}
	assert_int_equal(syncache_count(&t->syncache), 64);
	assert_int_equal(tcp_counters(t)->syn_cookies_sent, 500 - 64);
	assert_int_equal(t->conns.live, 1);
	/* Established connections go first, and are not disturbed. */
	peer_addr = addr(2);
	peer_port = PEER_PORT;
	iss = conn->iss;
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 10});
	assert_int_equal(app_read(), 10);
	app_send(10);
	pull();
	compare_line("PA 1:11 ack 11", out_text[0], __FILE__, __LINE__);
	while (pull() > 0)
		;
}

static void replies_are_sent_beside_bulk(void **state)
{
	/* Connections go first, but don't take all of a burst. */
	establish(0);
	open_listener();
	conn->cc.cwnd_bytes = 1000000;
	conn->snd_wnd = 1000000;
	app_send(OUT_MAX * 1000);
	peer_port++;
	rx((struct in){.flags = "S", .mss = 1460});
	pull();
	assert_int_equal(n_out, OUT_MAX);
	assert_int_equal(out_text[OUT_MAX - 1][0], 'S');
	assert_int_equal(t->reply_count, 0);
}

static void connection_limit_keeps_the_handshake(void **state)
{
	/* The entry of the SYN cache stays until there is a connection. */
	tcp_destroy(t);
	cfg.max_conns = 1;
	make_engine();
	establish(0);
	open_listener();
	peer_port++;
	rx((struct in){.flags = "S", .mss = 1460});
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	assert_int_equal(tcp_counters(t)->listen_drops, 1);
	assert_int_equal(syncache_count(&t->syncache), 1);
	tcp_abort(t, conn);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	assert_int_equal(syncache_count(&t->syncache), 0);
}

static void answered_cookie_makes_a_connection_with_its_data_H15(void **state)
{
	/* RFC 4987 §3.6: what the SYN said comes back by sequence number and timestamp */
	default_cfg();
	tcp_destroy(t);
	cfg.max_syn = 1;
	make_engine();
	open_listener();
	peer_port = 1;
	rx((struct in){.flags = "S"});
	pull();
	peer_port = PEER_PORT;
	ts_on = true;
	rx((struct in){.flags = "S", .mss = 1460, .ws = true, .wscale = 5, .sack_ok = true});
	expect("SA 0:0 ack 1 win 65535 mss 1460 ws 8 sackok ts");
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 33});
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	assert_int_equal(app_read(), 33);
	assert_int_equal(conn->snd_wscale, 5);
	assert_true(conn->sack && conn->ts);
	assert_int_equal(tcp_counters(t)->syn_cookies_ok, 1);
	peer_port++;
	rx((struct in){.flags = "A", .seq = 1, .ack = 1}); /* a guess */
	assert_int_equal(tcp_counters(t)->syn_cookies_bad, 1);
	pull();
}

static void answered_cookie_meets_a_full_accept_queue_and_is_good_later_H15(void **state)
{
	/* As in Linux: counted as an overflow and dropped, for the peer repeats its data. */
	uint32_t first, second;

	default_cfg();
	tcp_destroy(t);
	cfg.max_syn = 1;
	make_engine();
	open_listener();
	tcp_listen_backlog(listener, 1);
	peer_port = 1;
	rx((struct in){.flags = "S"});
	pull();
	peer_port = PEER_PORT;
	rx((struct in){.flags = "S"});
	expect("SA 0:0 ack 1 win 65535 mss 1460");
	first = iss;
	peer_port++;
	rx((struct in){.flags = "S"});
	expect("SA 0:0 ack 1 win 65535 mss 1460");
	second = iss;
	iss = first;
	peer_port = PEER_PORT;
	rx((struct in){.flags = "A", .seq = 1, .ack = 1});
	iss = second;
	peer_port++;
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 5});
	assert_int_equal(tcp_counters(t)->listen_overflows, 1);
	assert_int_equal(drops.n[DROP_TCP_ACCEPT_FULL], 1);
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	tcp_abort(t, conn);
	pull();
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 5});
	conn = tcp_accept(t, listener);
	assert_non_null(conn);
	assert_int_equal(app_read(), 5);
}

static void orphan_with_a_closed_window_times_out_H16(void **state)
{
	establish(0);
	app_send(5000);
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 5001, .wnd = 1});
	app_send(1000);
	pull();
	tcp_close(t, conn);
	for (unsigned i = 0; i < 200 && t->conns.live > 0; i++) {
		expire_after_ms(1000);
		if (pull() > 0 && t->conns.live > 0)
			rx((struct in){.flags = "A", .seq = 1, .ack = 5001, .wnd = 1});
	}
	assert_int_equal(t->conns.live, 0);
	assert_int_equal(tcp_counters(t)->persist_drops, 1);
}

static void silent_peer_in_fin_wait_2_times_out_H16(void **state)
{
	establish(0);
	tcp_close(t, conn);
	pull();
	rx((struct in){.flags = "A", .seq = 1, .ack = 2});
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_2);
	expire_after_ms(59000);
	assert_int_equal(t->conns.live, 1);
	expire_after_ms(1500);
	assert_int_equal(t->conns.live, 0);
}

static void reader_that_never_reads_is_held_to_its_buffer_H16(void **state)
{
	uint32_t seq = 1;

	cfg.rcvbuf_bytes = cfg.rcvbuf_max_bytes = 100000;
	tcp_destroy(t);
	make_engine();
	establish(0);
	for (unsigned i = 0; i < 3000; i++, seq += 100) /* window or not */
		rx((struct in){.flags = "A", .seq = seq, .ack = 1, .len = 100});
	pull();
	assert_true(t->rcv_mem <= 2 * 100000 + 5000);
	assert_true(drops.n[DROP_TCP_RCVQ_FULL] + drops.n[DROP_TCP_WINDOW] > 0);
	assert_true(conn->rcv_adv - tcp_rcv_nxt(conn) < 100000);
}

static void impossible_sources_get_no_answer_H17(void **state)
{
	open_listener();
	peer_flags = PKT_F_BCAST;
	rx((struct in){.flags = "S"});
	peer_flags = 0;
	peer_addr = ip_addr_v4(be32(0xe0000001)); /* multicast */
	rx((struct in){.flags = "S"});
	peer_addr = ip_addr_v4(be32(0));
	rx((struct in){.flags = "S"});
	peer_addr = addr(1); /* LAND */
	peer_port = OUR_PORT;
	rx((struct in){.flags = "S"});
	expect_nothing();
	assert_int_equal(drops.n[DROP_TCP_NO_CONN], 4);
	assert_int_equal(syncache_count(&t->syncache), 0);
}

static void icmp_errors_need_a_number_in_flight_H18(void **state)
{
	/* RFC 5927 §4, §5.2, §7 */
	struct tcp_icmp e = {.err = EMSGSIZE, .mtu = 68};

	establish(0);
	e.key = conn->key;
	e.seq = iss + 1;
	tcp_icmp_error(t, &e); /* nothing is in flight */
	assert_int_equal(conn->mtu, 1500);
	app_send(3000);
	pull();
	e.seq = iss + 5000;
	tcp_icmp_error(t, &e);
	assert_int_equal(conn->mtu, 1500);
	e.seq = iss + 1;
	tcp_icmp_error(t, &e);
	assert_int_equal(conn->mtu, 552); /* clamped */
	assert_int_equal(conn->mss, 512);
	expect("A 1:513 ack 1", "A 513:1001 ack 1", "A 1001:1513 ack 1", "A 1513:2001 ack 1",
	       "A 2001:2513 ack 1", "PA 2513:3001 ack 1");
	e.err = ECONNREFUSED;
	e.hard = true;
	tcp_icmp_error(t, &e);
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	assert_int_equal(conn->cc.phase, TCP_CC_OPEN);
}

static void bad_checksums_are_dropped_H19(void **state)
{
	establish(0);
	rx((struct in){.flags = "PA", .seq = 1, .ack = 1, .len = 10, .bad_csum = true});
	assert_int_equal(drops.n[DROP_TCP_CSUM], 1);
	assert_int_equal(app_read(), 0);
	assert_int_equal(tcp_counters(t)->in_errs, 1);
}

static void empty_pools_delay_but_do_not_break_H22(void **state)
{
	struct rte_mbuf *all[4095];
	unsigned n = 0;

	establish(0);
	app_send(3000);
	while (n < 4095 && (all[n] = rte_pktmbuf_alloc(pools.hdr)) != NULL)
		n++;
	assert_int_equal(pull(), 0);
	assert_true(tcp_output_pending(t));
	while (n > 0)
		pkt_free(all[--n]);
	assert_int_equal(pull(), 3);
}

static void rst_is_an_error_at_once_H23(void **state)
{
	establish(0);
	app_send(1000);
	rx((struct in){.flags = "RA", .seq = 1, .ack = 1});
	assert_true(events() & TCP_EV_ERROR);
	assert_int_equal(tcp_conn_error(conn), -ECONNRESET);
	assert_int_equal(tcp_counters(t)->estab_resets, 1);
	expect_nothing();
	tcp_close(t, conn);
}

static void half_close_lasts_for_hours_H25(void **state)
{
	/* RFC 9293 §3.6, a peer without any option */
	open_active();
	pull();
	rx((struct in){.flags = "SA", .ack = 1});
	pull();
	assert_int_equal(conn->mss, TCP_MSS_V4);
	assert_int_equal(tcp_shutdown_send(t, conn), 0);
	expect("FA 1:1 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 2});
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_2);
	expire_after_ms(10ull * 3600 * 1000);
	expect_nothing();
	rx((struct in){.flags = "PA", .seq = 1, .ack = 2, .len = 100});
	assert_int_equal(app_read(), 100);
	assert_int_equal(tcp_conn_state(conn), TCP_FIN_WAIT_2);
	pull();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(option_of_length_0_ends_parsing_H01),
		T(option_and_header_past_the_end_are_dropped_H02),
		T(data_offset_below_five_is_dropped_H03),
		T(urgent_pointer_of_0_and_beyond_the_window_H06),
		T(tiny_mss_and_sack_storm_stay_bounded_H07),
		T(thousands_of_tiny_holes_stay_bounded_H08),
		T(initial_sequence_numbers_are_keyed_H10),
		T(blind_segments_are_challenged_H11),
		T(challenges_of_one_connection_leave_the_other_alone_H12),
		T(forged_timestamps_do_not_poison_paws_H13),
		T(numbers_wrap_anywhere_H14),
		T(syn_flood_is_answered_by_cookies_H15),
		T(replies_are_sent_beside_bulk),
		T(connection_limit_keeps_the_handshake),
		T(answered_cookie_makes_a_connection_with_its_data_H15),
		T(answered_cookie_meets_a_full_accept_queue_and_is_good_later_H15),
		T(orphan_with_a_closed_window_times_out_H16),
		T(silent_peer_in_fin_wait_2_times_out_H16),
		T(reader_that_never_reads_is_held_to_its_buffer_H16),
		T(impossible_sources_get_no_answer_H17),
		T(icmp_errors_need_a_number_in_flight_H18),
		T(bad_checksums_are_dropped_H19),
		T(empty_pools_delay_but_do_not_break_H22),
		T(rst_is_an_error_at_once_H23),
		T(half_close_lasts_for_hours_H25),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
