/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An application that does everything wrong on its channel, beside one that works: H32, H33, H34 of
 * the list of hostile inputs. The good one's data must arrive whole, and every buffer must come
 * home.
 */
#include "sock_test.h"

/* The bad one: a second application of host B. */
static struct host evil;
static struct rand rnd;

static void evil_up(uint32_t cq_size)
{
	struct chan_geometry g = geo;
	struct chan_hdr hdr;

	memset(&evil, 0, sizeof(evil));
	g.cq_size = cq_size;
	g.sq_size = 128;
	g.max_tokens = 256;
	g.max_loans = 256;
	g.max_sockets = 64;
	evil.bytes = chan_bytes(&g);
	evil.map.base = aligned_alloc(4096, evil.bytes);
	evil.map.arena = aligned_alloc(4096, g.arena_bytes);
	evil.map.arena_bytes = g.arena_bytes;
	evil.map.app_bell_fd = bell_open();
	evil.map.stack_bell_fd = bell_open();
	evil.map.region[CHAN_REGION_PKT] = B->map.region[CHAN_REGION_PKT];
	memset(evil.map.base, 0, evil.bytes);
	memset(evil.map.arena, 0xee, g.arena_bytes);
	chan_format(evil.map.base, &g);
	assert_int_equal(
		socks_attach(B->socks, &(struct sock_app_cfg){.map = &evil.map}, &evil.app), 0);
	assert_int_equal(chan_check(evil.map.base, evil.bytes, &hdr), 0);
	chan_attach(&evil.end, &evil.map, &hdr);
}

static void evil_down(void)
{
	if (evil.app != NULL)
		socks_detach(B->socks, evil.app, false);
	evil.app = NULL;
	/* Datagrams of it may still be on their way. */
	step(100);
	while (socks_reaped(B->socks) != NULL)
		;
	assert_int_equal(B->socks->lent, 0);
	assert_true(list_empty(&B->socks->dying));
	free(evil.map.base);
	free(evil.map.arena);
	close(evil.map.app_bell_fd);
	close(evil.map.stack_bell_fd);
}

static uint32_t pick(uint32_t n)
{
	return (uint32_t)rand_below(&rnd, n);
}

/* Sometimes right, sometimes nearly, sometimes anything. */
static uint32_t any_sid(void)
{
	uint32_t i = pick(70);

	if (pick(8) == 0)
		return rand_u32(&rnd);
	if (i < evil.app->socks.used) {
		struct sock *k = slab_at(&evil.app->socks, i);

		return pick(8) == 0 ? k->sid + 1 : k->sid;
	}
	return i;
}

static uint32_t any_number(void)
{
	switch (pick(6)) {
	case 0:
		return rand_u32(&rnd);
	case 1:
		return UINT32_MAX - pick(3);
	case 2:
		return pick(100000);
	default:
		return pick(64);
	}
}

static uint32_t ticket_of(uint32_t sid)
{
	struct sock *k = sock_find(evil.app, sid);

	if (k == NULL || pick(10) == 0)
		return any_number();
	return k->ticket + (pick(6) == 0 ? pick(70) : 0);
}

static struct chan_sqe any_command(void)
{
	struct chan_sqe q;
	static const int levels[] = {SOL_SOCKET, IPPROTO_TCP, IPPROTO_IP, IPPROTO_IPV6, 999};

	for (size_t i = 0; i < sizeof(q); i += 4)
		memcpy((char *)&q + i, &(uint32_t){any_number()}, 4);
	q.op = (uint8_t)(pick(20) == 0 ? rand_u32(&rnd) : pick(CHAN_OP_MAX + 1));
	q.flags = (uint8_t)(pick(4) == 0 ? rand_u32(&rnd) : pick(2) << 3);
	q.sid = any_sid();
	q.ticket = ticket_of(q.sid);
	q.len = pick(3) == 0 ? any_number() : pick(70000);
	q.off = pick(3) == 0 ? rand_u64(&rnd) >> pick(64) : pick(4u << 20);
	q.token = pick(8) == 0 ? any_number() : pick(256);
	q.loan = pick(2) == 0 ? any_number() : (1 + pick(3)) << LOAN_INDEX_BITS | pick(8);
	if (q.op == CHAN_OP_SOCKET) {
		q.arg[0] = pick(2) ? AF_INET : AF_INET6;
		q.arg[1] = pick(2) ? SOCK_STREAM : SOCK_DGRAM;
		q.arg[2] = pick(10) == 0;
	} else if (q.op == CHAN_OP_SETOPT || q.op == CHAN_OP_GETOPT) {
		q.opt.level = (int16_t)levels[pick(5)];
		q.opt.name = (int16_t)pick(60);
		q.len = pick(40);
	} else if (q.op == CHAN_OP_CLOSE) {
		q.arg[0] = (int32_t)pick(4) - 1;
		q.arg[1] = (int32_t)pick(2);
	} else if (q.op <= CHAN_OP_SENDTO && pick(4) != 0) {
		const struct ip_addr *to = pick(2) ? &A->addr : &A->addr6;

		memcpy(q.addr, pick(4) == 0 ? &(struct ip_addr){0} : to, 16);
		q.port = (uint16_t)(pick(3) == 0 ? pick(65536) : 80 + pick(3));
	}
	return q;
}

static void write_commands(void)
{
	struct chan_ring *r = &evil.end.sq;

	for (uint32_t n = pick(20); n != 0 && chan_free(r, 1) != 0; n--) {
		struct chan_sqe q = any_command();

		chan_send(r, &q);
	}
}

static void return_buffers(void)
{
	struct chan_ring *r = &evil.end.ret;

	for (uint32_t n = pick(10); n != 0 && chan_free(r, 1) != 0; n--) {
		uint32_t loan = (1 + pick(4)) << LOAN_INDEX_BITS | pick(16);

		if (pick(6) == 0)
			loan = rand_u32(&rnd);
		chan_send_name(r, loan);
	}
}

/* Indices that are none, ahead and behind; entries marked as new, all of them too. */
static void lie_about_indices(void)
{
	struct chan_idx *idx[] = {&evil.end.sh->sq, &evil.end.sh->cq, &evil.end.sh->ret,
				  &evil.end.sh->done};
	struct chan_ring *r = pick(2) ? &evil.end.sq : &evil.end.ret;
	uint32_t bytes = r == &evil.end.sq ? 64 : 4;

	switch (pick(3)) {
	case 0:
		atomic_store(&idx[pick(4)]->head, rand_u32(&rnd) >> pick(32));
		break;
	case 1:
		atomic_fetch_xor(chan_word(r, rand_u32(&rnd), bytes), CHAN_MARK);
		break;
	default:
		for (uint32_t i = 0; i <= r->mask; i++)
			atomic_fetch_xor(chan_word(r, i, bytes), CHAN_MARK);
	}
}

static void read_events(void)
{
	struct chan_cqe e;
	uint32_t token;

	for (uint32_t n = pick(20); n != 0 && chan_receive(&evil.end.cq, &e); n--)
		;
	for (uint32_t n = pick(20); n != 0 && chan_receive_name(&evil.end.done, &token); n--)
		;
}

/* The good ones exchange a hundred bytes. */
static void good_exchange(uint32_t round)
{
	uint8_t seed = (uint8_t)round;
	uint32_t got = 0;
	struct chan_cqe e;

	for (int i = 0; i < 100; i++)
		((uint8_t *)A->map.arena)[i] = (uint8_t)(seed + i);
	do_send(A, client, 0, 100, 1);
	while (got < 100) {
		e = await(B, CHAN_EV_DATA, server, 200);
		for (int32_t i = 0; i < e.res; i++)
			assert_int_equal(bytes_of(B, &e)[i], (uint8_t)(seed + got + (uint32_t)i));
		got += (uint32_t)e.res;
		give_back(B, e.loan);
	}
	for (int i = 0; i < 200 && !took_token(A, 1); i++)
		step(1);
	A->n_ev = B->n_ev = 0;
}

static void hostile_run(uint64_t seed, unsigned rounds, bool lie)
{
	struct ip_addr any = {0};
	uint32_t sink;

	rand_init(&rnd, seed);
	connected_pair();
	/* Peers that the bad one can reach. */
	sink = make_socket(A, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(A, sink, &any, 81), 0);
	assert_int_equal(do_listen(A, sink, 4), 0);
	evil_up(pick(2) ? 16 : 1024);
	for (unsigned i = 0; i < rounds; i++) {
		write_commands();
		return_buffers();
		read_events();
		if (lie && pick(20) == 0)
			lie_about_indices();
		if (i % 10 == 0)
			good_exchange(i);
		else
			step(1);
		if (A->n_ev > 1000)
			A->n_ev = 0;
	}
	tcp_check_all(B->tcp);
	assert_true(B->socks->n.bad_commands > rounds / 10);
	evil_down();
	good_exchange(1);
}

/* H32, H33, H34 */
static void random_commands_disturb_nobody(void **state)
{
	hostile_run(1, 1500, false);
}

static void random_commands_of_another_seed_disturb_nobody(void **state)
{
	hostile_run(20261124, 1500, false);
}

/* H32 */
static void random_indices_disturb_nobody(void **state)
{
	hostile_run(7, 1500, true);
}

/* H33 */
static void loan_returned_twice_is_refused(void **state)
{
	struct chan_cqe e;

	connected_pair();
	do_send(A, client, 0, 100, 1);
	e = await(B, CHAN_EV_DATA, server, 10);
	give_back(B, e.loan);
	give_back(B, e.loan);
	give_back(B, LOAN_NONE);
	give_back(B, UINT32_MAX);
	step(1);
	assert_int_equal(B->socks->n.loans_bad_return, 3);
	assert_int_equal(B->socks->lent, 0);
	submit(B, (struct chan_sqe){.op = CHAN_OP_SEND_LOAN,
				    .sid = server,
				    .loan = e.loan,
				    .len = 10,
				    .token = 2});
	assert_int_equal(await(B, CHAN_EV_ERROR, server, 3).res, -EINVAL);
	assert_true(took_token(B, 2));
}

/* H32 */
static void send_outside_the_arena_is_refused(void **state)
{
	connected_pair();
	do_send(A, client, geo.arena_bytes - 50, 100, 1);
	assert_int_equal(await(A, CHAN_EV_ERROR, client, 3).res, -EINVAL);
	do_send(A, client, UINT64_MAX - 50, 100, 1);
	assert_int_equal(await(A, CHAN_EV_ERROR, client, 3).res, -EINVAL);
	do_send(A, client, 0, CHAN_SEND_MAX + 1, 1);
	assert_int_equal(await(A, CHAN_EV_ERROR, client, 3).res, -EINVAL);
	do_send(A, client, 0, 10, UINT32_MAX);
	assert_int_equal(await(A, CHAN_EV_ERROR, client, 3).res, -EINVAL);
	step(3);
	assert_int_equal(A->n_done, 3);
}

static void sid_of_another_generation_is_refused(void **state)
{
	struct chan_cqe e;
	uint32_t s = make_socket(A, AF_INET, SOCK_STREAM), again;

	assert_int_equal(do_close(A, s, -1), 0);
	again = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(sid_index(s), sid_index(again));
	e = call(A, (struct chan_sqe){.op = CHAN_OP_NAME, .sid = s});
	assert_int_equal(e.res, -EBADF);
	A->ticket[sid_index(again)] = 0;
	assert_int_equal(do_close(A, again, -1), 0);
}

/* H34: its sends to a peer that reads nothing take its own share of the small buffers, not ours. */
static void sends_without_end_stall_their_sender_only(void **state)
{
	uint32_t s, tickets = 0, token = 0;
	struct chan_sqe q = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_STREAM}};
	struct ip_addr any = {0};
	uint32_t sink;

	connected_pair();
	sink = make_socket(A, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(A, sink, &any, 81), 0);
	assert_int_equal(do_listen(A, sink, 4), 0);
	evil_up(1024);
	evil.app->refs_max = 100;
	push(&evil, &q);
	step(2);
	s = ((struct sock *)slab_at(&evil.app->socks, 0))->sid;
	q = with_addr(CHAN_OP_CONNECT, s, &A->addr, 81);
	q.ticket = tickets++;
	push(&evil, &q);
	step(10);
	for (int i = 0; i < 256; i++) {
		q = (struct chan_sqe){
			.op = CHAN_OP_SEND, .sid = s, .len = 40000, .ticket = tickets++};
		q.token = token++;
		if (chan_free(&evil.end.sq, 1) == 0)
			break;
		push(&evil, &q);
		step(1);
	}
	assert_true(evil.app->refs <= 100);
	assert_true(chan_free(&evil.end.sq, 128) < 128);
	good_exchange(3);
	evil_down();
	good_exchange(4);
}

/* H32: the service keeps the header that it made; what an application writes over it before it is
 * attached changes neither sizes nor limits. */
static void h32_header_written_over_before_attaching_changes_nothing(void **state)
{
	struct host h = {.socks = B->socks};
	struct sock_app_cfg cfg = {.map = &h.map, .hdr = &h.end.hdr};
	struct chan_geometry g = geo, lie = geo;

	h.bytes = chan_bytes(&g);
	h.map.base = aligned_alloc(4096, h.bytes);
	h.map.arena = aligned_alloc(4096, g.arena_bytes);
	h.map.arena_bytes = g.arena_bytes;
	h.map.app_bell_fd = h.map.stack_bell_fd = -1;
	chan_format(h.map.base, &g);
	assert_int_equal(chan_check(h.map.base, h.bytes, &h.end.hdr), 0);
	lie.sq_size = lie.cq_size = CHAN_RING_MAX;
	lie.max_sockets = 1u << SID_INDEX_BITS;
	lie.arena_bytes = 1ull << 40;
	chan_format(h.map.base, &lie);
	assert_int_equal(socks_attach(B->socks, &cfg, &h.app), 0);
	assert_int_equal(h.app->end.sq.mask + 1, g.sq_size);
	assert_int_equal(h.app->end.cq.mask + 1, g.cq_size);
	assert_int_equal(h.app->socks.max, g.max_sockets);
	assert_int_equal(h.app->end.hdr.arena_bytes, g.arena_bytes);
	socks_detach(B->socks, h.app, false);
	assert_ptr_equal(socks_reaped(B->socks), &h.map);
	free(h.map.base);
	free(h.map.arena);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_commands_disturb_nobody),
		T(random_commands_of_another_seed_disturb_nobody),
		T(random_indices_disturb_nobody),
		T(loan_returned_twice_is_refused),
		T(send_outside_the_arena_is_refused),
		T(sid_of_another_generation_is_refused),
		T(sends_without_end_stall_their_sender_only),
		T(h32_header_written_over_before_attaching_changes_nothing),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
