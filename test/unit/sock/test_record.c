/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of records (SOCK_SEQPACKET, docs/design/013): who may be connected to whom, and that a
 * connection without a link ends instead of waiting for ever.
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

	assert_int_equal(call(A, q).res, -EPROTONOSUPPORT);
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
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
