/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets over TCP, through the channel.
 */
#include "sock_test.h"

static void fill(struct host *h, uint64_t off, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)h->map.arena)[off + i] = (uint8_t)(seed + i * 7);
}

static void check(const uint8_t *p, uint32_t from, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(p[i], (uint8_t)(seed + (from + i) * 7));
}

/* Reads len bytes of a pattern on sid, gives every buffer back. */
static void read_all(struct host *h, uint32_t sid, uint32_t len, uint8_t seed)
{
	uint32_t got = 0;

	while (got < len) {
		struct chan_cqe e = await(h, CHAN_EV_DATA, sid, 500);

		check(bytes_of(h, &e), got, (uint32_t)e.res, seed);
		got += (uint32_t)e.res;
		give_back(h, e.loan);
	}
	assert_int_equal(got, len);
}

static void connect_establishes_and_both_are_told(void **state)
{
	struct chan_cqe e;

	connected_pair();
	e = call(A, (struct chan_sqe){.op = CHAN_OP_NAME, .sid = client, .arg = {1}});
	assert_int_equal(e.res, 0);
	assert_int_equal(e.port, 80);
	assert_memory_equal(e.addr, &B->addr, 16);
	e = call(B, (struct chan_sqe){.op = CHAN_OP_NAME, .sid = server, .arg = {1}});
	assert_memory_equal(e.addr, &A->addr, 16);
	assert_in_range(e.port, 32768, 60999);
}

static void connect_v6_establishes(void **state)
{
	connected_pair();
	uint32_t s = make_socket(A, AF_INET6, SOCK_STREAM);

	assert_int_equal(do_connect(A, s, &B->addr6, 80), 0);
	assert_int_equal(await(B, CHAN_EV_ACCEPT, listener, 10).res > 0, 1);
}

static void connect_to_closed_port_is_refused_and_may_be_repeated(void **state)
{
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

	assert_int_equal(do_connect(A, s, &B->addr, 81), -ECONNREFUSED);
	assert_int_equal(do_connect(A, s, &B->addr, 81), -ECONNREFUSED);
}

static void connect_to_silence_times_out(void **state)
{
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

	cut = true;
	assert_int_equal(do_connect(A, s, &B->addr, 81), -ETIMEDOUT);
}

static void connect_without_route_is_unreachable(void **state)
{
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);
	struct ip_addr far = ip_addr_v4(be32(0xc0000201));

	assert_int_equal(do_connect(A, s, &far, 80), -ENETUNREACH);
	assert_int_equal(do_connect(A, s, &B->addr6, 80), -EAFNOSUPPORT);
}

static void data_is_lent_where_it_was_received(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 4096, 5000, 3);
	do_send(A, client, 4096, 5000, 7);
	read_all(B, server, 5000, 3);
	step(60);
	assert_true(took_token(A, 7));
	assert_false(take(A, CHAN_EV_ERROR, 0, &e));
	assert_int_equal(B->socks->lent, 0);
	assert_int_equal(B->socks->n.pressure_copied_bytes, 0);
}

static void token_stays_out_until_acknowledged(void **state)
{
	connected_pair();
	fill(A, 0, 100, 1);
	cut = true;
	do_send(A, client, 0, 100, 5);
	step(50);
	assert_false(took_token(A, 5));
	cut = false;
	read_all(B, server, 100, 1);
	step(100);
	assert_true(took_token(A, 5));
}

static void largest_send_arrives_whole(void **state)
{
	connected_pair();
	fill(A, 65536, CHAN_SEND_MAX, 9);
	do_send(A, client, 65536, CHAN_SEND_MAX, 0);
	read_all(B, server, CHAN_SEND_MAX, 9);
	step(60);
	assert_true(took_token(A, 0));
}

static void bulk_both_ways_arrives_in_order(void **state)
{
	connected_pair();
	for (uint32_t i = 0; i < 32; i++) {
		fill(A, i * 65536, 65536, (uint8_t)i);
		fill(B, i * 65536, 65536, (uint8_t)(i + 100));
		do_send(A, client, i * 65536, 65536, i);
		do_send(B, server, i * 65536, 65536, i);
	}
	uint64_t got[2] = {0, 0};

	while (got[0] < 32 * 65536 || got[1] < 32 * 65536) {
		struct host *h[2] = {A, B};
		struct chan_cqe e;

		for (int i = 0; i < 2; i++) {
			while (take(h[i], CHAN_EV_DATA, 0, &e)) {
				const uint8_t *p = bytes_of(h[i], &e);

				for (int32_t j = 0; j < e.res; j++, got[i]++) {
					uint8_t seed =
						(uint8_t)(got[i] / 65536 + (i == 0 ? 100 : 0));

					assert_int_equal(p[j],
							 (uint8_t)(seed + got[i] % 65536 * 7));
				}
				give_back(h[i], e.loan);
			}
		}
		step(1);
	}
	step(100);
	assert_int_equal(A->n_done, 32);
	assert_int_equal(B->n_done, 32);
}

static void lent_buffer_is_sent_on_as_it_is(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 0, 1000, 5);
	do_send(A, client, 0, 1000, 1);
	e = await(B, CHAN_EV_DATA, server, 20);
	submit(B, (struct chan_sqe){.op = CHAN_OP_SEND_LOAN,
				    .sid = server,
				    .loan = e.loan,
				    .off = 100,
				    .len = 900,
				    .token = 3});
	/* The loan may end before the send does. */
	cut = true;
	step(2);
	give_back(B, e.loan);
	step(2);
	cut = false;
	e = await(A, CHAN_EV_DATA, client, 1000);
	assert_int_equal(e.res, 900);
	check(bytes_of(A, &e), 100, 900, 5);
	give_back(A, e.loan);
	step(100);
	assert_true(took_token(B, 3));
}

static void end_of_stream_is_told_after_data(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 0, 100, 1);
	do_send(A, client, 0, 100, 1);
	assert_int_equal(
		call(A, (struct chan_sqe){.op = CHAN_OP_SHUTDOWN, .sid = client, .arg = {SHUT_WR}})
			.res,
		0);
	e = await(B, CHAN_EV_DATA, server, 20);
	give_back(B, e.loan);
	if (!(e.flags & CHAN_CQ_FIN))
		await(B, CHAN_EV_FIN, server, 20);
	assert_false(take(B, CHAN_EV_FIN, server, &e));
	/* Half-closed: the other way still works. */
	fill(B, 0, 50, 2);
	do_send(B, server, 0, 50, 1);
	read_all(A, client, 50, 2);
	do_send(A, client, 0, 10, 2);
	e = await(A, CHAN_EV_ERROR, client, 5);
	assert_int_equal(e.res, -EPIPE);
	assert_true(took_token(A, 2));
}

/* H23 */
static void reset_is_told_at_once_and_data_before_it_stays(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 0, 100, 1);
	do_send(A, client, 0, 100, 1);
	assert_int_equal(do_close(A, client, 0), 0);
	e = await(B, CHAN_EV_ERROR, server, 10);
	assert_int_equal(e.res, -ECONNRESET);
	assert_true(e.flags & CHAN_CQ_FATAL);
	do_send(B, server, 0, 10, 9);
	step(5);
	assert_true(took_token(B, 9));
	assert_false(take(B, CHAN_EV_ERROR, server, &e));
	assert_int_equal(do_close(B, server, -1), 0);
}

static void close_sends_what_was_queued(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 0, 65536, 4);
	do_send(A, client, 0, 65536, 4);
	assert_int_equal(do_close(A, client, -1), 0);
	uint32_t got = 0;

	while (got < 65536) {
		e = await(B, CHAN_EV_DATA, server, 100);
		check(bytes_of(B, &e), got, (uint32_t)e.res, 4);
		got += (uint32_t)e.res;
		give_back(B, e.loan);
	}
	if (!(e.flags & CHAN_CQ_FIN))
		await(B, CHAN_EV_FIN, server, 20);
	step(100);
	assert_true(took_token(A, 4));
	assert_int_equal(do_close(B, server, -1), 0);
	do_send(A, client, 0, 1, 5);
	step(2);
	assert_true(took_token(A, 5));
}

static void close_with_linger_waits_for_acknowledgement(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_CLOSE, .arg = {2}, .token = 77};
	struct chan_cqe e;

	connected_pair();
	q.sid = client;
	cut = true;
	do_send(A, client, 0, 100, 4);
	submit(A, q);
	step(20);
	assert_false(take_result(A, 77, &e));
	assert_true(socks_deadline(A->socks) <= now + 2000000000);
	cut = false;
	step(1000);
	assert_true(take_result(A, 77, &e));
	assert_int_equal(socks_deadline(A->socks), UINT64_MAX);
}

static void close_with_linger_ends_when_time_is_up(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_CLOSE, .arg = {1}, .token = 77};
	struct chan_cqe e;

	connected_pair();
	q.sid = client;
	cut = true;
	do_send(A, client, 0, 100, 4);
	submit(A, q);
	step(900);
	assert_false(take_result(A, 77, &e));
	step(200);
	assert_true(take_result(A, 77, &e));
	assert_false(took_token(A, 4));
}

/* POSIX close(): there is nothing to wait for. */
static void close_with_linger_after_the_fin_was_acknowledged_returns_at_once(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_CLOSE, .arg = {2}, .token = 77};
	struct chan_cqe e;

	connected_pair();
	assert_int_equal(
		call(A, (struct chan_sqe){.op = CHAN_OP_SHUTDOWN, .sid = client, .arg = {SHUT_WR}})
			.res,
		0);
	await(B, CHAN_EV_FIN, server, 20);
	step(100);
	q.sid = client;
	submit(A, q);
	step(5);
	assert_true(take_result(A, 77, &e));
	assert_int_equal(e.res, 0);
}

static void unread_data_on_close_resets(void **state)
{
	connected_pair();
	do_send(A, client, 0, 100, 4);
	step(5);
	assert_int_equal(
		call(B, (struct chan_sqe){.op = CHAN_OP_CLOSE, .sid = server, .arg = {-1, 1}}).res,
		0);
	assert_int_equal(await(A, CHAN_EV_ERROR, client, 10).res, -ECONNRESET);
}

static void backlog_bounds_what_is_announced(void **state)
{
	struct ip_addr any = {0};
	struct chan_cqe e;
	uint32_t s[6];

	listener = make_socket(B, AF_INET, SOCK_STREAM);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 2), 0);
	for (int i = 0; i < 3; i++) {
		s[i] = make_socket(A, AF_INET, SOCK_STREAM);
		assert_int_equal(do_connect(A, s[i], &B->addr, 80), 0);
	}
	step(10);
	assert_true(take(B, CHAN_EV_ACCEPT, listener, &e));
	assert_true(take(B, CHAN_EV_ACCEPT, listener, &e));
	assert_false(take(B, CHAN_EV_ACCEPT, listener, &e));
	submit(B, (struct chan_sqe){.op = CHAN_OP_RCVBUF_MORE, .sid = listener, .arg = {1}});
	step(2);
	assert_true(take(B, CHAN_EV_ACCEPT, listener, &e));
}

static void listener_closed_resets_its_queue(void **state)
{
	connected_pair();
	assert_int_equal(do_close(B, listener, -1), 0);
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM);

	assert_int_equal(do_connect(A, s, &B->addr, 80), -ECONNREFUSED);
	/* What was accepted lives on. */
	do_send(A, client, 0, 10, 1);
	give_back(B, await(B, CHAN_EV_DATA, server, 10).loan);
	/* And the port is free. */
	struct ip_addr any = {0};
	uint32_t l = make_socket(B, AF_INET, SOCK_STREAM);

	assert_int_equal(do_bind(B, l, &any, 80), 0);
	assert_int_equal(do_listen(B, l, 1), 0);
}

static void urgent_byte_is_marked(void **state)
{
	struct chan_cqe e;

	connected_pair();
	fill(A, 0, 10, 1);
	submit(A, (struct chan_sqe){.op = CHAN_OP_SEND,
				    .sid = client,
				    .len = 10,
				    .flags = CHAN_SEND_OOB,
				    .token = 1});
	e = await(B, CHAN_EV_URG, server, 10);
	assert_int_equal(e.aux, 9);
	e = await(B, CHAN_EV_DATA, server, 10);
	assert_int_equal(e.res, 10);
	give_back(B, e.loan);
}

/* DESIGN §3.10 */
static void commands_run_in_ticket_order(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SEND, .len = 1};

	connected_pair();
	for (uint32_t i = 0; i < 8; i++)
		((uint8_t *)A->map.arena)[i] = (uint8_t)i;
	q.sid = client;
	for (uint32_t i = 8; i-- > 0;) {
		q.off = i;
		q.token = i;
		q.ticket = A->ticket[sid_index(client)] + i;
		push(A, &q);
	}
	A->ticket[sid_index(client)] += 8;
	step(20);
	uint32_t got = 0;
	struct chan_cqe e;

	while (take(B, CHAN_EV_DATA, server, &e)) {
		const uint8_t *p = bytes_of(B, &e);

		for (int32_t i = 0; i < e.res; i++)
			assert_int_equal(p[i], got++);
		give_back(B, e.loan);
	}
	assert_int_equal(got, 8);
	assert_int_equal(A->socks->n.bad_commands, 0);
}

/* H34 */
static void full_event_ring_delays_and_loses_nothing(void **state)
{
	connected_pair();
	B->hold_cq = true;
	for (uint32_t i = 0; i < 60; i++) {
		fill(A, 0, 1000, 0);
		do_send(A, client, 0, 1000, i);
		step(2);
	}
	step(10);
	assert_true(B->socks->n.events_delayed > 0);
	assert_true(socks_arm(B->socks) == false);
	B->hold_cq = false;
	uint32_t got = 0;

	while (got < 60000) {
		struct chan_cqe e = await(B, CHAN_EV_DATA, server, 500);

		got += (uint32_t)e.res;
		give_back(B, e.loan);
	}
	socks_disarm(B->socks);
}

/* H34 */
static void loans_kept_stop_the_sender_only(void **state)
{
	struct chan_cqe e;
	uint32_t loans[4096], n = 0, got = 0, s2, server2;

	connected_pair();
	s2 = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(A, s2, &B->addr, 80), 0);
	server2 = await(B, CHAN_EV_ACCEPT, listener, 10).aux;
	for (uint32_t i = 0; i < 60; i++) {
		do_send(A, client, 0, 65536, i);
		step(1);
	}
	step(500);
	while (take(B, CHAN_EV_DATA, server, &e)) {
		loans[n++] = e.loan;
		got += (uint32_t)e.res;
	}
	assert_true(got < 60u * 65536);
	/* Window probes arrive meanwhile, and nobody is disturbed. */
	do_send(A, s2, 0, 100, 100);
	e = await(B, CHAN_EV_DATA, server2, 50);
	give_back(B, e.loan);
	for (uint32_t i = 0; i < n; i++)
		give_back(B, loans[i]);
	while (got < 60u * 65536) {
		e = await(B, CHAN_EV_DATA, server, 3000);
		got += (uint32_t)e.res;
		give_back(B, e.loan);
	}
}

static void pressure_compacts_small_payloads_and_counts(void **state)
{
	struct chan_cqe e;
	uint32_t got = 0;

	connected_pair();
	B->app->loans.quota = 8;
	for (uint32_t i = 0; i < 64; i++) {
		do_send(A, client, 0, 100, i);
		step(1);
	}
	step(20);
	while (got < 6400) {
		e = await(B, CHAN_EV_DATA, server, 100);
		got += (uint32_t)e.res;
		give_back(B, e.loan);
	}
	assert_true(B->socks->n.pressure_copied_bytes + tcp_counters(B->tcp)->rcv_compacted_bytes >
		    0);
}

/* H34, within one application: a program that waits for one socket, and does not read another. */
static void unread_sockets_leave_something_for_the_others(void **state)
{
	uint32_t other[12], n = array_size(other);
	struct chan_cqe e;

	connected_pair();
	B->app->loans.quota = 16;
	for (uint32_t i = 0; i < 20; i++) {
		do_send(A, client, 0, 1400, i);
		step(3);
	}
	step(50);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t s2 = make_socket(A, AF_INET, SOCK_STREAM);

		assert_int_equal(do_connect(A, s2, &B->addr, 80), 0);
		other[i] = await(B, CHAN_EV_ACCEPT, listener, 10).aux;
		do_send(A, s2, 0, 1, 100);
		if (i < 8) /* that many are left */
			(void)await(B, CHAN_EV_DATA, other[i], 50);
	}
	while (take(B, CHAN_EV_DATA, server, &e))
		give_back(B, e.loan);
	for (uint32_t i = 8; i < n; i++)
		give_back(B, await(B, CHAN_EV_DATA, other[i], 50).loan);
}

static void send_limit_is_told_when_it_changes(void **state)
{
	struct chan_cqe e;

	connected_pair();
	assert_int_equal(set_int(A, client, SOL_SOCKET, SO_SNDBUF, 300000), 0);
	e = await(A, CHAN_EV_WRITABLE, client, 5);
	while (take(A, CHAN_EV_WRITABLE, client, &e))
		;
	assert_int_equal(e.aux, 300000);
}

/* H31 */
static void detach_resets_and_leaves_nothing(void **state)
{
	struct chan_cqe e;

	connected_pair();
	do_send(A, client, 0, 1000, 1);
	do_send(B, server, 0, 1000, 1);
	step(5);
	assert_true(B->socks->lent > 0);
	cut = true;
	do_send(B, server, 0, 1000, 2);
	step(1);
	socks_detach(B->socks, B->app, false);
	B->app = NULL;
	cut = false;
	assert_int_equal(B->socks->lent, 0);
	assert_int_equal(B->socks->n_socks, 0);
	step(5);
	e = await(A, CHAN_EV_ERROR, client, 10);
	assert_int_equal(e.res, -ECONNRESET);
	assert_ptr_equal(socks_reaped(B->socks), &B->map);
	assert_null(socks_reaped(B->socks));
}

/* H31: the memory stays until the last sent buffer is back. */
static void detach_in_order_keeps_the_arena_until_all_is_sent(void **state)
{
	connected_pair();
	cut = true;
	fill(B, 0, 1000, 6);
	do_send(B, server, 0, 1000, 1);
	step(1);
	socks_detach(B->socks, B->app, true);
	B->app = NULL;
	assert_null(socks_reaped(B->socks));
	step(5);
	cut = false;
	read_all(A, client, 1000, 6);
	step(500);
	assert_ptr_equal(socks_reaped(B->socks), &B->map);
}

static void armed_stack_is_woken_by_work_only(void **state)
{
	connected_pair();
	step(60);
	assert_false(socks_arm(A->socks));
	do_send(A, client, 0, 10, 1);
	assert_true(bell_ring(&A->end.sh->bells.stack_armed, A->map.stack_bell_fd));
	assert_true(socks_arm(A->socks));
	step(5);
	give_back(B, await(B, CHAN_EV_DATA, server, 5).loan);
}

/* Idle costs nothing (DESIGN §3.12): what can't go on is no reason to stay awake. */
static void stack_sleeps_while_the_application_holds_all_loans(void **state)
{
	struct chan_cqe e;

	connected_pair();
	B->app->loans.quota = 4;
	for (uint32_t i = 0; i < 10; i++) {
		do_send(A, client, 0, 1400, i);
		step(3);
	}
	assert_false(list_empty(&B->app->waiting));
	assert_false(socks_arm(B->socks));
	socks_disarm(B->socks);
	e = await(B, CHAN_EV_DATA, server, 0);
	give_back(B, e.loan);
	assert_true(socks_arm(B->socks));
	for (int got = e.res; got < 14000; got += e.res) {
		e = await(B, CHAN_EV_DATA, server, 1000);
		give_back(B, e.loan);
	}
}

static void stack_sleeps_while_sends_wait_for_memory(void **state)
{
	connected_pair();
	cut = true;
	A->app->refs_max = 4;
	for (uint32_t i = 0; i < 8; i++)
		do_send(A, client, 0, 100, i);
	step(2);
	assert_false(socks_arm(A->socks));
	assert_true(socks_deadline(A->socks) <= now + 1000000);
	socks_disarm(A->socks);
	cut = false;
	for (int got = 0; got < 800;) {
		struct chan_cqe e = await(B, CHAN_EV_DATA, server, 1000);

		got += e.res;
		give_back(B, e.loan);
	}
	step(100);
	assert_int_equal(A->n_done, 8);
}

static void sleeping_application_is_woken(void **state)
{
	connected_pair();
	step(60);
	bell_drain(B->map.app_bell_fd);
	bell_arm(&B->end.sh->bells.app_armed);
	uint64_t before = B->socks->n.doorbells;

	do_send(A, client, 0, 10, 1);
	give_back(B, await(B, CHAN_EV_DATA, server, 5).loan);
	assert_int_equal(B->socks->n.doorbells, before + 1);
	assert_int_equal(bell_sleep(B->map.app_bell_fd, 0), 1);
}

/* chan.h, "Trifles": the token of an acknowledged send, and the taking of a few commands. */
static void application_that_wants_no_tokens_sleeps_on(void **state)
{
	connected_pair();
	step(60);
	uint64_t before = A->socks->n.doorbells;
	unsigned done = A->n_done;

	bell_arm_as(&A->end.sh->bells.app_armed, BELL_ARMED_NO_TRIFLES);
	do_send(A, client, 0, 10, 1);
	give_back(B, await(B, CHAN_EV_DATA, server, 5).loan);
	step(100);
	assert_int_equal(A->n_done, done + 1);
	assert_int_equal(A->socks->n.doorbells, before);
	bell_arm(&A->end.sh->bells.app_armed);
	do_send(A, client, 0, 10, 1);
	step(100);
	assert_int_equal(A->n_done, done + 2);
	assert_int_equal(A->socks->n.doorbells, before + 1);
}

/* chan.h, "Room": who found no place in sq may sleep until there is. */
static void taking_from_a_crowded_ring_wakes(void **state)
{
	uint64_t before;

	step(10);
	before = A->socks->n.doorbells;
	bell_arm_as(&A->end.sh->bells.app_armed, BELL_ARMED_NO_TRIFLES);
	/* Without results, so that nothing else rings. */
	push(A, &(struct chan_sqe){.op = CHAN_OP_RCVBUF_MORE, .sid = 0});
	host_step(A);
	assert_int_equal(A->socks->n.doorbells, before);
	for (uint32_t i = 0; i <= A->end.sq.mask / 2 + 1; i++)
		push(A, &(struct chan_sqe){.op = CHAN_OP_RCVBUF_MORE, .sid = 0});
	for (uint32_t i = 0; i <= A->end.sq.mask / 2 + 1; i += 64)
		host_step(A);
	assert_int_equal(A->socks->n.doorbells, before + 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)
static int setup_small(void **state)
{
	setup(state);
	geo.cq_size = 16;
	hosts_up();
	return 0;
}

/* ---- errors from the network, of a socket with IP_RECVERR ---- */

/* About the segment that A sent last, from port `lport`. */
static void host_unreachable(uint16_t lport, int err)
{
	struct icmp_error e = {.src = A->addr,
			       .dst = B->addr,
			       .proto = IPPROTO_TCP,
			       .sport = lport,
			       .dport = 80,
			       .tcp_seq = sent_seq,
			       .have_seq = true,
			       .err = err,
			       .hard = true,
			       .offender = B->addr,
			       .type = 3,
			       .code = 3,
			       .ttl = 64,
			       .quoted = 8};

	socks_icmp_error(A->socks, &e);
}

static uint16_t own_port(uint32_t sid)
{
	return call(A, (struct chan_sqe){.op = CHAN_OP_NAME, .sid = sid}).port;
}

static void an_error_from_the_network_is_told_if_wanted(void **state)
{
	struct chan_cqe e;
	int v;

	connected_pair();
	assert_int_equal(get_int(A, client, IPPROTO_IP, IP_RECVERR, &v), 4);
	assert_int_equal(v, 0);
	cut = true;
	do_send(A, client, 0, 10, 1);
	step(1);
	host_unreachable(own_port(client), EHOSTUNREACH);
	step(2);
	assert_false(take(A, CHAN_EV_ERROR, client, &e));
	assert_int_equal(set_int(A, client, IPPROTO_IP, IP_RECVERR, 1), 0);
	host_unreachable(own_port(client), EHOSTUNREACH);
	e = await(A, CHAN_EV_ERROR, client, 2);
	assert_int_equal(e.res, -EHOSTUNREACH);
	assert_int_equal(e.flags, 0);
	/* One that quotes what was not sent is nobody's. */
	sent_seq += 100000;
	host_unreachable(own_port(client), ECONNREFUSED);
	step(2);
	assert_false(take(A, CHAN_EV_ERROR, client, &e));
	/* The connection goes on. */
	cut = false;
	assert_int_equal(await(B, CHAN_EV_DATA, server, 3000).res, 10);
}

static void why_nobody_answered_is_queued_if_wanted(void **state)
{
	struct chan_sqe q;
	struct chan_cqe e;

	client = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(set_int(A, client, IPPROTO_IP, IP_RECVERR, 1), 0);
	cut = true;
	q = with_addr(CHAN_OP_CONNECT, client, &B->addr, 80);
	q.token = 77;
	submit(A, q);
	step(2);
	host_unreachable(own_port(client), ECONNREFUSED);
	step(2);
	assert_true(take(A, CHAN_EV_ERROR, client, &e));
	assert_int_equal(e.res, -ECONNREFUSED);
	assert_int_equal(e.flags, CHAN_CQ_QUEUED | CHAN_CQ_MORE);
	assert_int_equal(e.port, 80);
	assert_memory_equal(e.laddr, &B->addr, 16);
	assert_true(take(A, CHAN_EV_QUOTE, client, &e));
	assert_int_equal(e.res, 8);
	assert_true(take_result(A, 77, &e));
	assert_int_equal(e.res, -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(connect_establishes_and_both_are_told),
		T(connect_v6_establishes),
		T(connect_to_closed_port_is_refused_and_may_be_repeated),
		T(connect_to_silence_times_out),
		T(connect_without_route_is_unreachable),
		T(data_is_lent_where_it_was_received),
		T(token_stays_out_until_acknowledged),
		T(largest_send_arrives_whole),
		T(bulk_both_ways_arrives_in_order),
		T(lent_buffer_is_sent_on_as_it_is),
		T(end_of_stream_is_told_after_data),
		T(reset_is_told_at_once_and_data_before_it_stays),
		T(close_sends_what_was_queued),
		T(close_with_linger_waits_for_acknowledgement),
		T(close_with_linger_ends_when_time_is_up),
		T(close_with_linger_after_the_fin_was_acknowledged_returns_at_once),
		T(unread_data_on_close_resets),
		T(backlog_bounds_what_is_announced),
		T(listener_closed_resets_its_queue),
		T(urgent_byte_is_marked),
		T(commands_run_in_ticket_order),
		cmocka_unit_test_setup_teardown(full_event_ring_delays_and_loses_nothing,
						setup_small, teardown),
		T(loans_kept_stop_the_sender_only),
		T(pressure_compacts_small_payloads_and_counts),
		T(unread_sockets_leave_something_for_the_others),
		T(send_limit_is_told_when_it_changes),
		T(detach_resets_and_leaves_nothing),
		T(detach_in_order_keeps_the_arena_until_all_is_sent),
		T(armed_stack_is_woken_by_work_only),
		T(stack_sleeps_while_the_application_holds_all_loans),
		T(stack_sleeps_while_sends_wait_for_memory),
		T(sleeping_application_is_woken),
		T(application_that_wants_no_tokens_sleeps_on),
		T(taking_from_a_crowded_ring_wakes),
		T(an_error_from_the_network_is_told_if_wanted),
		T(why_nobody_answered_is_queued_if_wanted),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
