/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_test.h"

static void lost_data_is_sent_again_with_back_off(void **state)
{
	/* RFC 6298 §5.4 to §5.6 */
	establish(0);
	app_send(500);
	expect("PA 1:501 ack 1");
	expire_after_ms(199);
	expect_nothing();
	expire_after_ms(2);
	expect("PA 1:501 ack 1");
	assert_int_equal(conn->cc.phase, TCP_CC_LOSS);
	assert_int_equal(conn->cc.cwnd_bytes, conn->mss);
	expire_after_ms(398);
	expect_nothing();
	expire_after_ms(4);
	expect("PA 1:501 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 501});
	assert_int_equal(conn->cc.phase, TCP_CC_OPEN);
	assert_int_equal(conn->rtt.backoff, 0);
	assert_int_equal(tcp_counters(t)->timeouts, 2);
	assert_int_equal(tcp_counters(t)->retrans_segs, 2);
}

static void late_ack_after_time_out_undoes_it(void **state)
{
	/* RFC 3522: the echo is older than the retransmission */
	uint64_t cwnd;
	uint32_t first_ts;

	establish(WITH_TS);
	cwnd = conn->cc.cwnd_bytes;
	app_send(2000);
	pull();
	first_ts = last_ts;
	expire_after_ms(205);
	assert_int_equal(pull(), 1);
	assert_true(conn->cc.cwnd_bytes < cwnd);
	last_ts = first_ts;
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001});
	assert_int_equal(tcp_counters(t)->spurious_rtos, 1);
	assert_int_equal(conn->cc.phase, TCP_CC_OPEN);
	assert_true(conn->cc.cwnd_bytes >= cwnd);
	rx((struct in){.flags = "A", .seq = 1, .ack = 2001});
	expect_nothing();
}

static void lost_tail_is_probed(void **state)
{
	/* RFC 8985 §7 */
	establish(WITH_SACK);
	app_send(3000);
	assert_int_equal(pull(), 3);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001});
	expire_after_ms(5); /* PTO = 2 SRTT = 2 ms */
	expect("PA 2001:3001 ack 1");
	assert_int_equal(tcp_counters(t)->tlp_probes, 1);
	/* The probe arrived, the segment before it was lost: RACK repairs without a time-out. */
	after_ms(1);
	rx((struct in){.flags = "A", .seq = 1, .ack = 1001, .sack = {{2001, 3001}}});
	expire_after_ms(2);
	expect("A 1001:2001 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 3001});
	assert_int_equal(tcp_counters(t)->timeouts, 0);
}

static void syn_is_given_up_after_its_retries(void **state)
{
	/* RFC 9293 §3.8.3, MUST-23 */
	unsigned syns = 1;

	open_active();
	pull();
	for (unsigned s = 0; s < 200 && t->conns.live > 0 && conn->state == TCP_SYN_SENT; s++) {
		expire_after_ms(1000);
		syns += pull();
	}
	assert_int_equal(syns, 1 + cfg.syn_retries);
	assert_int_equal(events(), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(tcp_conn_error(conn), -ETIMEDOUT);
	assert_int_equal(tcp_counters(t)->attempt_fails, 1);
	tcp_close(t, conn);
}

static void syn_ack_is_sent_again_and_given_up(void **state)
{
	unsigned sent = 1;

	open_listener();
	rx((struct in){.flags = "S"});
	pull();
	for (unsigned s = 0; s < 200; s++) {
		expire_after_ms(1000);
		sent += pull();
	}
	assert_int_equal(sent, 1 + cfg.syn_retries);
	assert_int_equal(syncache_count(&t->syncache), 0);
}

static void user_timeout_ends_a_silent_connection(void **state)
{
	/* RFC 5482, RFC 9293 §3.8.3 */
	struct tcp_opt o;

	establish(0);
	tcp_opt_get(conn, &o);
	o.user_timeout_ms = 3000;
	assert_int_equal(tcp_opt_set(t, conn, &o), 0);
	app_send(100);
	for (unsigned s = 0; s < 40 && conn->state == TCP_ESTABLISHED; s++) {
		pull();
		expire_after_ms(200);
	}
	assert_int_equal(tcp_conn_error(conn), -ETIMEDOUT);
	assert_in_range((now - 1000001 * MS) / MS, 3000, 4000);
	assert_int_equal(tcp_counters(t)->aborts_timeout, 1);
	tcp_close(t, conn);
}

static void idle_connection_is_probed_and_given_up(void **state)
{
	/* RFC 9293 §3.8.4 */
	struct tcp_opt o;

	establish(0);
	tcp_opt_get(conn, &o);
	o.keepalive = true;
	o.keepidle_s = 10;
	o.keepintvl_s = 2;
	o.keepcnt = 3;
	assert_int_equal(tcp_opt_set(t, conn, &o), 0);
	expire_after_ms(9900);
	expect_nothing();
	expire_after_ms(200);
	expect("A 0:0 ack 1");
	rx((struct in){.flags = "A", .seq = 1, .ack = 1}); /* alive */
	expire_after_ms(9000);
	expect_nothing();
	for (unsigned i = 0; i < 3; i++) {
		expire_after_ms(i == 0 ? 3100 : 2100);
		expect("A 0:0 ack 1");
	}
	expire_after_ms(2100);
	assert_int_equal(events(), TCP_EV_ERROR | TCP_EV_CLOSED);
	assert_int_equal(tcp_conn_error(conn), -ETIMEDOUT);
	tcp_close(t, conn);
}

static void keepalive_of_a_busy_connection_only_looks(void **state)
{
	struct tcp_opt o;

	establish(0);
	tcp_opt_get(conn, &o);
	o.keepalive = true;
	o.keepidle_s = 5;
	assert_int_equal(tcp_opt_set(t, conn, &o), 0);
	for (uint32_t i = 0; i < 10; i++) {
		expire_after_ms(1000);
		rx((struct in){.flags = "A", .seq = 1 + i, .ack = 1, .len = 1});
		expire_after_ms(100);
		expect_lines(__FILE__, __LINE__, 1,
			     (const char *[]){(const char *[]){
				     "A 1:1 ack 2", "A 1:1 ack 3", "A 1:1 ack 4", "A 1:1 ack 5",
				     "A 1:1 ack 6", "A 1:1 ack 7", "A 1:1 ack 8", "A 1:1 ack 9",
				     "A 1:1 ack 10", "A 1:1 ack 11"}[i]});
	}
	assert_int_equal(tcp_counters(t)->keepalive_probes, 0);
}

static void deadline_is_never_late(void **state)
{
	establish(0);
	app_send(10);
	pull();
	assert_true(tcp_deadline(t) <= now + 200 * MS);
	rx((struct in){.flags = "A", .seq = 1, .ack = 11});
	open_listener();
	peer_port++;
	rx((struct in){.flags = "S"});
	assert_true(tcp_deadline(t) <= now + 1000 * MS);
	pull();
}

static void patience_begins_when_data_waits(void **state)
{
	/* The peer said nothing new for long, but there was nothing to say. */
	establish(0);
	conn->user_timeout_ms = 5000;
	rx((struct in){.flags = "A", .seq = 1, .ack = 1, .wnd = 1});
	expire_after_ms(60000);
	app_send(10);
	pull();
	expire_after_ms(3000);
	assert_int_equal(tcp_conn_state(conn), TCP_ESTABLISHED);
	pull();
	for (unsigned i = 0; i < 10; i++) {
		expire_after_ms(1000);
		pull();
	}
	assert_int_equal(tcp_conn_error(conn), -ETIMEDOUT);
	tcp_close(t, conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(lost_data_is_sent_again_with_back_off),
		T(late_ack_after_time_out_undoes_it),
		T(lost_tail_is_probed),
		T(syn_is_given_up_after_its_retries),
		T(syn_ack_is_sent_again_and_given_up),
		T(user_timeout_ends_a_silent_connection),
		T(idle_connection_is_probed_and_given_up),
		T(keepalive_of_a_busy_connection_only_looks),
		T(deadline_is_never_late),
		T(patience_begins_when_data_waits),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
