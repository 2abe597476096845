/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An application that sees the buffers of its own trust domain only (DESIGN §3.7): what the port
 * received elsewhere is copied once, and counted; when the domain's buffers are all in use the
 * application waits, and nobody else (H34, H36).
 */
#include "sock_test.h"

#define OWN  63
#define BULK 120000

static struct rte_mempool *own;
static const struct ip_addr anyone = {0};

static int setup_domain(void **state)
{
	if (own == NULL)
		own = rte_pktmbuf_pool_create("own", OWN, 0, 0, 2048 + 128, 0);
	assert_non_null(own);
	b_cfg = (struct sock_app_cfg){.own = own, .own_max = OWN};
	return setup_hosts(state);
}

static int teardown_domain(void **state)
{
	int rc = teardown(state);

	b_cfg = (struct sock_app_cfg){0};
	assert_int_equal(rte_mempool_in_use_count(own), 0);
	return rc;
}

static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 3 + at / 256);
}

static void fill(struct host *h, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)h->map.arena)[i] = pattern(i);
}

/* Reads the events of data that are there, checks them against the pattern; how many. */
static unsigned read_data(struct host *h, enum chan_ev ev, uint32_t sid, uint32_t *at,
			  uint32_t *loans)
{
	struct chan_cqe e;
	unsigned n = 0;

	while (take(h, ev, sid, &e)) {
		const uint8_t *p = bytes_of(h, &e);

		assert_int_equal(e.region, CHAN_REGION_PKT);
		for (int32_t i = 0; i < e.res; i++, ++*at)
			assert_int_equal(p[i], pattern(*at));
		loans[n++] = e.loan;
	}
	return n;
}

static uint64_t copied(struct host *h)
{
	return socks_counters(h->socks)->domain_copied_bytes;
}

/* H36: what the application is told of lies in its own regions. */
static void h36_stream_from_elsewhere_is_copied_once_and_counted(void **state)
{
	uint32_t at = 0, loans[64];
	unsigned n;

	connected_pair();
	fill(A, 20000);
	do_send(A, client, 0, 20000, 1);
	step(20);
	n = read_data(B, CHAN_EV_DATA, server, &at, loans);
	assert_int_equal(at, 20000);
	assert_int_equal(copied(B), 20000);
	assert_int_equal(copied(A), 0);
	while (n > 0)
		give_back(B, loans[--n]);
	step(2);
	assert_int_equal(B->socks->lent, 0);
}

static void payload_that_it_sees_is_not_copied(void **state)
{
	uint32_t at = 0, loans[64];

	show_pool(B, pools.rx);
	connected_pair();
	fill(A, 20000);
	do_send(A, client, 0, 20000, 1);
	step(20);
	read_data(B, CHAN_EV_DATA, server, &at, loans);
	assert_int_equal(at, 20000);
	assert_int_equal(copied(B), 0);
}

/* H34: an application that keeps what it got stops; when it gives back, it goes on where it was. */
static void h34_no_buffer_left_stalls_the_stream_and_goes_on(void **state)
{
	uint32_t at = 0, loans[128];
	unsigned n = 0;

	connected_pair();
	fill(A, BULK);
	do_send(A, client, 0, BULK / 2, 1);
	do_send(A, client, BULK / 2, BULK / 2, 2);
	step(500);
	n = read_data(B, CHAN_EV_DATA, server, &at, loans);
	assert_int_equal(n, OWN);
	assert_true(at < BULK);
	step(500);
	assert_int_equal(read_data(B, CHAN_EV_DATA, server, &at, loans), 0);
	for (unsigned turn = 0; turn < 100 && at < BULK; turn++) {
		while (n > 0)
			give_back(B, loans[--n]);
		step(50);
		n = read_data(B, CHAN_EV_DATA, server, &at, loans);
		assert_true(n <= OWN);
	}
	assert_int_equal(at, BULK);
	assert_int_equal(copied(B), BULK);
	while (n > 0)
		give_back(B, loans[--n]);
	step(5);
}

static void most_that_one_may_hold_is_kept(void **state)
{
	uint32_t at = 0, loans[64];

	B->app->own->max = 5;
	connected_pair();
	fill(A, 20000);
	do_send(A, client, 0, 20000, 1);
	step(100);
	assert_int_equal(read_data(B, CHAN_EV_DATA, server, &at, loans), 5);
	assert_true(rte_mempool_in_use_count(own) <= 5 + SOCK_SPARE_MAX);
}

/* Somebody else of the domain has all buffers: nothing is lost meanwhile. */
static void buffers_taken_by_others_stall_until_they_come_back(void **state)
{
	struct rte_mbuf *taken[OWN];
	uint32_t at = 0, loans[64];

	connected_pair();
	app_spare_free(B->app);
	for (unsigned i = 0; i < OWN; i++) {
		taken[i] = rte_pktmbuf_alloc(own);
		assert_non_null(taken[i]);
	}
	fill(A, 5000);
	do_send(A, client, 0, 5000, 1);
	step(100);
	assert_int_equal(read_data(B, CHAN_EV_DATA, server, &at, loans), 0);
	for (unsigned i = 0; i < OWN; i++)
		rte_pktmbuf_free(taken[i]);
	step(2);
	read_data(B, CHAN_EV_DATA, server, &at, loans);
	assert_int_equal(at, 5000);
}

/* A proxy within the domain: what was copied in goes out by handle, without another copy. */
static void copied_buffer_is_sent_on_by_handle(void **state)
{
	uint32_t got = 0;
	struct chan_cqe e;

	connected_pair();
	fill(A, 1000);
	do_send(A, client, 0, 1000, 1);
	e = await(B, CHAN_EV_DATA, server, 20);
	assert_int_equal(e.res, 1000);
	submit(B, (struct chan_sqe){.op = CHAN_OP_SEND_LOAN,
				    .sid = server,
				    .len = 1000,
				    .token = 3,
				    .loan = e.loan});
	step(1);
	give_back(B, e.loan);
	e = await(A, CHAN_EV_DATA, client, 20);
	for (const uint8_t *p = bytes_of(A, &e); got < 1000; got++)
		assert_int_equal(p[got], pattern(got));
	step(100); /* the acknowledgement is delayed */
	assert_true(took_token(B, 3));
	assert_int_equal(copied(B), 1000);
}

static void send_to(uint32_t s, uint32_t len, uint32_t token)
{
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, s, &B->addr, 53);

	q.len = len;
	q.token = token;
	submit(A, q);
}

static void h36_datagram_in_pieces_is_copied_once(void **state)
{
	uint32_t a = make_socket(A, AF_INET6, SOCK_DGRAM), b = make_socket(B, AF_INET6, SOCK_DGRAM);
	uint32_t at = 0, loans[64];

	assert_int_equal(do_bind(B, b, &anyone, 53), 0);
	fill(A, 9000);
	send_to(a, 9000, 1);
	step(5);
	assert_true(read_data(B, CHAN_EV_DGRAM, b, &at, loans) > 1);
	assert_int_equal(at, 9000);
	assert_int_equal(copied(B), 9000);
}

/* H34: datagrams wait, then are dropped and counted; a socket that reads gets the next ones. */
static void h34_no_buffer_left_for_datagrams_waits_and_goes_on(void **state)
{
	uint32_t a = make_socket(A, AF_INET6, SOCK_DGRAM), b = make_socket(B, AF_INET6, SOCK_DGRAM);
	uint32_t loans[128];
	unsigned n = 0, got = 0;
	struct chan_cqe e;

	assert_int_equal(do_bind(B, b, &anyone, 53), 0);
	fill(A, 1000);
	for (unsigned i = 0; i < 100; i++) {
		send_to(a, 1000, i);
		step(1);
	}
	while (take(B, CHAN_EV_DGRAM, b, &e))
		loans[n++] = e.loan;
	assert_int_equal(n, OWN);
	got = n;
	for (unsigned turn = 0; turn < 10 && got < 100; turn++) {
		while (n > 0)
			give_back(B, loans[--n]);
		step(5);
		while (take(B, CHAN_EV_DGRAM, b, &e)) {
			assert_memory_equal(bytes_of(B, &e), A->map.arena, 1000);
			loans[n++] = e.loan;
			got++;
		}
	}
	assert_int_equal(got, 100);
	while (n > 0)
		give_back(B, loans[--n]);
	step(2);
}

/* H31: it dies with all buffers of its share: they are back. */
static void h31_dead_holder_of_copies_leaves_the_pool_full(void **state)
{
	connected_pair();
	fill(A, BULK);
	do_send(A, client, 0, BULK / 2, 1);
	do_send(A, client, BULK / 2, BULK / 2, 2);
	step(500);
	assert_true(rte_mempool_in_use_count(own) > 0);
	socks_detach(B->socks, B->app, true);
	B->app = NULL;
	assert_int_equal(rte_mempool_in_use_count(own), 0);
	assert_int_equal(B->socks->lent, 0);
}

/* H34: programs that keep what they get never have all of it; who comes later gets some. */
static void h34_hoarders_leave_something_for_who_comes(void **state)
{
	uint32_t a = make_socket(A, AF_INET6, SOCK_DGRAM), at = 0, loans[64], b;
	struct host other;

	B->app->alone = true;
	own_put(B->app->own);
	B->app->own = NULL;
	show_pool(B, pools.rx);
	B->socks->lent_max = 40;
	connected_pair();
	fill(A, BULK);
	do_send(A, client, 0, BULK / 2, 1);
	step(500);
	assert_in_range(read_data(B, CHAN_EV_DATA, server, &at, loans), 15, 20);
	step(500);
	assert_int_equal(read_data(B, CHAN_EV_DATA, server, &at, loans), 0);
	guest_up(&other, (struct sock_app_cfg){.alone = true});
	b = make_socket(&other, AF_INET6, SOCK_DGRAM);
	assert_int_equal(do_bind(&other, b, &anyone, 53), 0);
	for (unsigned i = 0; i < 30; i++) {
		send_to(a, 1000, 10 + i);
		step(1);
	}
	assert_in_range(other.n_ev, 5, 15);
	guest_down();
}

/* Another application of B's domain gets datagrams; how many it is told of. */
static unsigned newcomer_gets(struct host *other, uint32_t a, unsigned sent)
{
	uint32_t b;

	guest_up(other, (struct sock_app_cfg){.alone = true, .own = own, .own_max = OWN});
	assert_ptr_equal(other->app->own, B->app->own);
	b = make_socket(other, AF_INET6, SOCK_DGRAM);
	assert_int_equal(do_bind(other, b, &anyone, 53), 0);
	for (unsigned i = 0; i < sent; i++) {
		send_to(a, 1000, 10 + i);
		step(1);
	}
	return other->n_ev;
}

/* H34: the same within a domain, whose buffers are shared. */
static void h34_hoarder_of_a_domain_leaves_buffers_to_the_others_of_it(void **state)
{
	uint32_t a = make_socket(A, AF_INET6, SOCK_DGRAM), at = 0, loans[64];
	struct host other;

	B->app->alone = true;
	connected_pair();
	fill(A, BULK);
	do_send(A, client, 0, BULK / 2, 1);
	do_send(A, client, BULK / 2, BULK / 2, 2);
	step(500);
	assert_in_range(read_data(B, CHAN_EV_DATA, server, &at, loans), OWN / 2 - 1, OWN / 2 + 1);
	step(500);
	assert_int_equal(read_data(B, CHAN_EV_DATA, server, &at, loans), 0);
	assert_in_range(newcomer_gets(&other, a, 40), OWN / 4 - 1, OWN / 4 + 1);
	guest_down();
}

/* What an idle one has in reserve is had by who needs it. */
static void reserve_of_an_idle_one_is_taken_back(void **state)
{
	uint32_t a = make_socket(A, AF_INET6, SOCK_DGRAM);
	struct host other;

	B->app->alone = true;
	connected_pair();
	assert_int_equal(app_spare(B->app, SOCK_SPARE_MAX), (OWN + 1) / 2);
	assert_in_range(newcomer_gets(&other, a, 50), OWN / 2 - 1, OWN / 2 + 1);
	assert_int_equal(B->app->n_spare, 0);
	guest_down();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_domain, teardown_domain)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(h36_stream_from_elsewhere_is_copied_once_and_counted),
		T(payload_that_it_sees_is_not_copied),
		T(h34_no_buffer_left_stalls_the_stream_and_goes_on),
		T(most_that_one_may_hold_is_kept),
		T(buffers_taken_by_others_stall_until_they_come_back),
		T(copied_buffer_is_sent_on_by_handle),
		T(h36_datagram_in_pieces_is_copied_once),
		T(h34_no_buffer_left_for_datagrams_waits_and_goes_on),
		T(h31_dead_holder_of_copies_leaves_the_pool_full),
		T(h34_hoarders_leave_something_for_who_comes),
		T(h34_hoarder_of_a_domain_leaves_buffers_to_the_others_of_it),
		T(reserve_of_an_idle_one_is_taken_back),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
