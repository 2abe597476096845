/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two programs of a node (docs/design/013). Records (SOCK_SEQPACKET): who may be connected to whom,
 * and that a connection without a link ends instead of waiting for ever. Datagrams: which are lent
 * where their sender wrote them, and that nobody holds up a sender.
 */
#include "sock_test.h"

#define PORT 99

static struct host other; /* one more program of B's */

static int setup_two(void **state)
{
	b_cfg = (struct sock_app_cfg){.id = 1, .domain = 1, .zone = 1};
	setup_hosts(state);
	guest_up(&other, (struct sock_app_cfg){.id = 2, .alone = true, .domain = 1, .zone = 1});
	return 0;
}

static int teardown_two(void **state)
{
	guest_down();
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

static uint32_t listening(int type)
{
	struct ip_addr any = {0};
	uint32_t l = make_socket(B, AF_INET6, type);

	assert_int_equal(do_bind(B, l, &any, PORT), 0);
	assert_int_equal(do_listen(B, l, 4), 0);
	return l;
}

static int opens(struct host *h, int type, const struct ip_addr *to)
{
	return do_connect(h, make_socket(h, AF_INET, type), to, PORT);
}

/* A connection between the two: both ends. */
static void pair(uint32_t *mine, uint32_t *theirs)
{
	uint32_t l = listening(SOCK_SEQPACKET);

	*theirs = make_socket(&other, AF_INET, SOCK_SEQPACKET);
	assert_int_equal(do_connect(&other, *theirs, &B->addr, PORT), 0);
	*mine = await(B, CHAN_EV_ACCEPT, l, 10).aux;
	B->ticket[sid_index(*mine)] = 0;
}

static void only_records_go_to_records(void **state)
{
	uint32_t l = listening(SOCK_SEQPACKET);
	struct chan_sqe q = {.op = CHAN_OP_LISTENS, .port = PORT};

	assert_int_equal(opens(&other, SOCK_SEQPACKET, &B->addr), 0);
	assert_int_equal(opens(&other, SOCK_STREAM, &B->addr), -ECONNREFUSED);
	assert_int_equal(opens(A, SOCK_STREAM, &B->addr), -ECONNREFUSED);
	memcpy(q.addr, &B->addr, sizeof(q.addr));
	assert_int_equal(call(&other, q).res, -ECONNREFUSED);
	do_close(B, l, -1);
	assert_int_equal(opens(&other, SOCK_SEQPACKET, &B->addr), -ECONNREFUSED);
	(void)listening(SOCK_STREAM);
	assert_int_equal(opens(&other, SOCK_SEQPACKET, &B->addr), -EPROTOTYPE);
	assert_int_equal(opens(&other, SOCK_STREAM, &B->addr), 0);
}

static void not_to_other_hosts_nor_domains(void **state)
{
	(void)listening(SOCK_SEQPACKET);
	assert_int_equal(opens(&other, SOCK_SEQPACKET, &A->addr), -EHOSTUNREACH);
	B->app->domain = 2;
	assert_int_equal(opens(&other, SOCK_SEQPACKET, &B->addr), -EACCES);
	B->app->domain = 1;
}

static void without_links_there_are_none(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_SEQPACKET, 0}};

	assert_int_equal(call(A, q).res, -ESOCKTNOSUPPORT);
}

static void a_port_is_for_one_kind(void **state)
{
	struct ip_addr any = ip_addr_v4(be32(0));
	uint32_t s[2];

	for (int i = 0; i < 2; i++) {
		s[i] = make_socket(B, AF_INET, i == 0 ? SOCK_STREAM : SOCK_SEQPACKET);
		assert_int_equal(set_int(B, s[i], SOL_SOCKET, SO_REUSEPORT, 1), 0);
		assert_int_equal(do_bind(B, s[i], &any, PORT), 0);
	}
	assert_int_equal(do_listen(B, s[0], 1), 0);
	assert_int_equal(do_listen(B, s[1], 1), -EADDRINUSE);
}

static void offered(struct host *h, uint32_t sid, uint32_t link)
{
	assert_int_equal(await(h, CHAN_EV_LINK_OFFER, sid, 10).aux, link);
}

static void it_is_offered_a_link_and_has_no_other_way(void **state)
{
	struct sock_link_wanted w;
	uint32_t mine, theirs;

	pair(&mine, &theirs);
	assert_true(socks_link_wanted(B->socks, &w));
	socks_link_up(B->app, other.app, (const uint32_t[]){5, 6});
	offered(B, mine, 5);
	offered(&other, theirs, 6);
	do_send(B, mine, 0, 10, 3);
	assert_int_equal(await(B, CHAN_EV_ERROR, mine, 10).res, -EOPNOTSUPP);
	assert_true(took_token(B, 3));
	assert_int_equal(set_int(B, mine, CHAN_OPT_LEVEL, CHAN_OPT_SAME_NODE, 0), -EOPNOTSUPP);
}

/* H36. */
static void a_refused_link_ends_it_for_both(void **state)
{
	struct sock_link_wanted w;
	uint32_t mine, theirs, more;
	struct chan_cqe e;

	pair(&mine, &theirs);
	assert_true(socks_link_wanted(B->socks, &w));
	socks_link_down(B->app, other.app);
	e = await(B, CHAN_EV_ERROR, mine, 10);
	assert_int_equal(e.res, -ENOBUFS);
	assert_int_equal(e.flags, CHAN_CQ_FATAL);
	assert_int_equal(await(&other, CHAN_EV_ERROR, theirs, 10).res, -ENOBUFS);
	/* So does the next. */
	more = make_socket(&other, AF_INET, SOCK_SEQPACKET);
	if (do_connect(&other, more, &B->addr, PORT) == 0)
		assert_int_equal(await(&other, CHAN_EV_ERROR, more, 10).res, -ENOBUFS);
	assert_int_equal(do_close(B, mine, -1), 0);
	assert_int_equal(do_close(&other, theirs, -1), 0);
}

static void streams_outlive_a_refused_link(void **state)
{
	uint32_t l = listening(SOCK_STREAM), mine,
		 theirs = make_socket(&other, AF_INET, SOCK_STREAM);
	struct chan_cqe e;

	assert_int_equal(do_connect(&other, theirs, &B->addr, PORT), 0);
	mine = await(B, CHAN_EV_ACCEPT, l, 10).aux;
	B->ticket[sid_index(mine)] = 0;
	socks_link_down(B->app, other.app);
	do_send(B, mine, 0, 10, 3);
	e = await(&other, CHAN_EV_DATA, theirs, 10);
	assert_int_equal(e.res, 10);
	give_back(&other, e.loan);
	step(2);
}

static void a_connection_has_one_holder(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_SHARE, .arg = {2}};
	uint32_t mine, theirs;

	pair(&mine, &theirs);
	other.app->parent = B->app;
	q.sid = mine;
	assert_int_equal(call(B, q).res, -EOPNOTSUPP);
	q.sid = make_socket(B, AF_INET, SOCK_SEQPACKET);
	assert_true(call(B, q).res >= 0);
	step(2);
}

/* ---- datagrams ---- */

static uint32_t receiver, sender; /* B's, and the other's */
static uint32_t token;

static void dgram_pair(void)
{
	receiver = make_socket(B, AF_INET, SOCK_DGRAM);
	assert_int_equal(do_bind(B, receiver, &B->addr, PORT), 0);
	sender = make_socket(&other, AF_INET, SOCK_DGRAM);
	assert_int_equal(do_connect(&other, sender, &B->addr, PORT), 0);
	token = 0;
}

static void linked(void)
{
	socks_link_up(B->app, other.app, (const uint32_t[]){5, 6});
}

static struct socks_counters *counts(void)
{
	return &B->socks->n;
}

/* Sends, and has what B is told of it; the last piece. */
static struct chan_cqe sent(uint64_t off, uint32_t len)
{
	struct chan_cqe e;

	do_send(&other, sender, off, len, token++);
	do {
		e = await(B, CHAN_EV_DGRAM, receiver, 10);
	} while (e.flags & CHAN_CQ_MORE);
	return e;
}

static void a_datagram_is_lent_where_it_lies(void **state)
{
	struct chan_cqe e;

	dgram_pair();
	linked();
	e = sent(4096, 500);
	assert_int_equal(e.region, CHAN_REGION_NEIGHBOUR);
	assert_true(e.off == (2ull << 32 | 4096));
	assert_int_equal(e.res, 500);
	step(5);
	assert_false(took_token(&other, 0));
	give_back(B, e.loan);
	step(2);
	assert_true(took_token(&other, 0));
	assert_int_equal(counts()->loop_lent_bytes, 500);
	assert_int_equal(counts()->loop_copied_bytes, 0);
}

static void the_sixteenth_asks_for_a_link(void **state)
{
	struct sock_link_wanted w;

	dgram_pair();
	for (int i = 1; i <= 20; i++) {
		give_back(B, sent(0, 10).loan);
		assert_int_equal(socks_link_wanted(B->socks, &w), i == 16);
	}
	assert_int_equal(counts()->loop_copied_bytes, 200);
	assert_int_equal(counts()->loop_lent_bytes, 0);
}

/* H34. */
static void unread_ones_are_copied_from_some_number_on(void **state)
{
	uint32_t home = 0;

	dgram_pair();
	linked();
	for (int i = 0; i < 200; i++)
		(void)sent(0, 10);
	step(2);
	assert_int_equal(counts()->loop_lent_bytes, 64 * 10);
	assert_int_equal(counts()->loop_copied_bytes, 136 * 10);
	for (uint32_t t = 0; t < token; t++)
		home += took_token(&other, t);
	assert_int_equal(home, 136);
}

static void half_of_what_may_be_sent_stays_for_the_others(void **state)
{
	uint32_t limit = 1u << 20, len = 60000;

	dgram_pair();
	linked();
	for (int i = 0; i < 14; i++)
		(void)sent(0, len);
	assert_int_equal(counts()->loop_lent_bytes, limit / 2 / len * len);
	assert_int_equal(counts()->loop_copied_bytes, (14 - limit / 2 / len) * len);
}

static void one_end_can_switch_it_off(void **state)
{
	dgram_pair();
	linked();
	for (int i = 0; i < 2; i++) {
		struct host *h = i == 0 ? B : &other;
		uint32_t s = i == 0 ? receiver : sender;

		assert_int_equal(set_int(h, s, CHAN_OPT_LEVEL, CHAN_OPT_SAME_NODE, 0), 0);
		give_back(B, sent(0, 10).loan);
		assert_int_equal(set_int(h, s, CHAN_OPT_LEVEL, CHAN_OPT_SAME_NODE, 1), 0);
	}
	assert_int_equal(counts()->loop_copied_bytes, 20);
	give_back(B, sent(0, 10).loan);
	assert_int_equal(counts()->loop_lent_bytes, 10);
	step(2);
}

/* H31. */
static void what_a_dead_receiver_held_comes_home(void **state)
{
	dgram_pair();
	linked();
	for (int i = 0; i < 3; i++)
		(void)sent(0, 1000);
	socks_detach(B->socks, B->app, true);
	B->app = NULL;
	step(2);
	for (uint32_t t = 0; t < 3; t++)
		assert_true(took_token(&other, t));
	do_send(&other, sender, 0, 10, 7);
	assert_int_equal(await(&other, CHAN_EV_ERROR, sender, 10).res, -ECONNREFUSED);
}

static void a_dead_senders_memory_is_read_to_the_end(void **state)
{
	struct chan_cqe e;

	dgram_pair();
	linked();
	e = sent(0, 1000);
	socks_detach(B->socks, other.app, false);
	step(2);
	socks_unview(B->app, 2); /* it holds nothing that came over the link */
	assert_null(socks_reaped(B->socks));
	give_back(B, e.loan);
	step(2);
	assert_ptr_equal(socks_reaped(B->socks), &other.map);
	channel_down(&other);
	guest_up(&other, (struct sock_app_cfg){.id = 2, .alone = true, .domain = 1, .zone = 1});
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_two, teardown_two)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(only_records_go_to_records),
		T(not_to_other_hosts_nor_domains),
		T(without_links_there_are_none),
		T(a_port_is_for_one_kind),
		T(it_is_offered_a_link_and_has_no_other_way),
		T(a_refused_link_ends_it_for_both),
		T(streams_outlive_a_refused_link),
		T(a_connection_has_one_holder),
		T(a_datagram_is_lent_where_it_lies),
		T(the_sixteenth_asks_for_a_link),
		T(unread_ones_are_copied_from_some_number_on),
		T(half_of_what_may_be_sent_stays_for_the_others),
		T(one_end_can_switch_it_off),
		T(what_a_dead_receiver_held_comes_home),
		T(a_dead_senders_memory_is_read_to_the_end),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
