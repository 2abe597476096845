/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node streams that went on without a service become connections of this one
 * (src/sock/sock_revive.c): when both ends have come and know the secret, and no sooner; a program
 * that claims what it may not have, or whose claim is of no use, gets nothing.
 */
#include "sock_test.h"

#define DOMAIN 1
#define LINK   9
#define SECRET 0x123456789abcdefull
#define OWN    40001 /* ports of the two ends */
#define PEER   40002

static struct host other;

static void others_up(struct sock_app_cfg cfg)
{
	cfg.id = 8;
	memset(&other, 0, sizeof(other));
	other.socks = B->socks;
	other.addr = B->addr;
	other.peer = A;
	channel_up(&other, cfg);
	show_pool(&other, pools.rx);
	guest = &other;
}

static int setup_two(void **state)
{
	b_cfg = (struct sock_app_cfg){.id = 7, .domain = DOMAIN};
	if (setup_hosts(state) != 0)
		return -1;
	others_up((struct sock_app_cfg){.domain = DOMAIN});
	return 0;
}

static int teardown_two(void **state)
{
	if (guest != NULL)
		guest_down();
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

static struct chan_sqe claim(uint32_t sid, uint16_t lport, uint16_t rport)
{
	struct chan_sqe q = {.op = CHAN_OP_REVIVE,
			     .sid = sid,
			     .port = lport,
			     .len = rport,
			     .off = SECRET,
			     .loan = 77,
			     .token = 0x20000};

	memcpy(q.data, &B->addr, 16);
	memcpy(q.data + 16, &B->addr, 16);
	return q;
}

/* Its two sockets. */
static void sockets_two(void)
{
	server = make_socket(B, AF_INET, SOCK_STREAM);
	client = make_socket(&other, AF_INET, SOCK_STREAM);
}

static int32_t result(struct host *h)
{
	struct chan_cqe e;

	for (unsigned i = 0; i < 20; i++) {
		if (take_result(h, 0x20000, &e))
			return e.res;
		step(1);
	}
	return 1;
}

static void both_claim(void)
{
	sockets_two();
	submit(B, claim(server, OWN, PEER));
	assert_int_equal(result(B), 1); /* it waits */
	submit(&other, claim(client, PEER, OWN));
	assert_int_equal(result(&other), 0);
	assert_int_equal(result(B), 0);
}

static void other_says(uint32_t len, uint32_t token)
{
	do_send(&other, client, 0, len, token);
}

static void two_that_agree_are_a_connection(void **state)
{
	both_claim();
	other_says(100, 1);
	assert_int_equal(await(B, CHAN_EV_DATA, server, 5).res, 100);
	assert_int_equal(do_close(&other, client, -1), 0);
	(void)await(B, CHAN_EV_FIN, server, 5);
	assert_int_equal(do_close(B, server, -1), 0);
}

static void they_are_offered_a_link(void **state)
{
	struct sock_link_wanted w;

	both_claim();
	assert_true(socks_link_wanted(B->socks, &w));
	socks_link_up(B->app, other.app, (uint32_t[2]){LINK, LINK});
	assert_int_equal(await(B, CHAN_EV_LINK_OFFER, server, 5).aux, LINK);
	assert_int_equal(await(&other, CHAN_EV_LINK_OFFER, client, 5).aux, LINK);
}

/* From the link whose service is gone: the mark comes although nothing was ever sent by TCP, and
 * before what is. */
static void each_says_that_it_goes_by_tcp(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_LINK_SWITCH, .token = 0xffff};

	both_claim();
	q.sid = client;
	submit(&other, q);
	assert_int_equal(await(B, CHAN_EV_LINK_RX, server, 5).aux, 0);
	q.sid = server;
	submit(B, q);
	assert_int_equal(await(&other, CHAN_EV_LINK_RX, client, 5).aux, 0);
}

static void another_secret_is_another_stream(void **state)
{
	struct chan_sqe q;

	sockets_two();
	submit(B, claim(server, OWN, PEER));
	q = claim(client, PEER, OWN);
	q.off++;
	submit(&other, q);
	assert_int_equal(result(&other), 1);
	assert_int_equal(result(B), 1);
	client = make_socket(&other, AF_INET, SOCK_STREAM);
	q = claim(client, PEER, OWN);
	q.loan++;
	submit(&other, q);
	assert_int_equal(result(&other), 1);
	assert_int_equal(result(B), 1);
	/* Who knows it is not kept out by those. */
	client = make_socket(&other, AF_INET, SOCK_STREAM);
	submit(&other, claim(client, PEER, OWN));
	assert_int_equal(result(&other), 0);
	assert_int_equal(result(B), 0);
}

static void nonsense_is_refused(void **state)
{
	struct chan_sqe q[6];
	uint32_t sid;

	sockets_two();
	for (unsigned i = 0; i < 6; i++)
		q[i] = claim(server, OWN, PEER);
	q[0].len = 0;
	q[1].len = 65536;
	q[2].port = 0;
	q[3].port = PEER; /* to itself */
	memcpy(q[4].data + 16, &B->addr6, 16);
	q[5].data[0] = 0x20; /* no IPv4 mapped one of an IPv4 socket */
	for (unsigned i = 0; i < 6; i++)
		assert_true(call(B, q[i]).res < 0);
	memcpy(q[0].data, &A->addr, 16);
	q[0].len = PEER;
	assert_int_equal(call(B, q[0]).res, -EADDRNOTAVAIL);
	/* A second claim of one socket; one that listens; sharing it meanwhile. */
	submit(B, claim(server, OWN, PEER));
	assert_int_equal(result(B), 1);
	assert_int_equal(call(B, claim(server, OWN, PEER)).res, -EINVAL);
	assert_int_equal(socks_share(B->app, server, other.app, &sid), -EBUSY);
	listener = make_socket(B, AF_INET, SOCK_STREAM);
	assert_int_equal(do_listen(B, listener, 1), 0);
	assert_int_equal(call(B, claim(listener, OWN, PEER)).res, -EINVAL);
}

/* What waits, and then is something else, or nothing. */
static void who_waits_may_go_away(void **state)
{
	struct ip_addr any = {0};

	sockets_two();
	submit(B, claim(server, OWN, PEER));
	assert_int_equal(result(B), 1);
	assert_int_equal(do_close(B, server, -1), 0);
	submit(&other, claim(client, PEER, OWN));
	assert_int_equal(result(&other), 1);
	assert_int_equal(do_bind(&other, client, &any, 1000), 0);
	assert_int_equal(do_listen(&other, client, 1), 0);
	server = make_socket(B, AF_INET, SOCK_STREAM);
	submit(B, claim(server, OWN, PEER));
	assert_int_equal(result(B), 1);
	guest_down();
	assert_int_equal(result(B), 1);
}

static void a_port_that_it_may_not_have_is_not_claimed(void **state)
{
	struct ip_addr any = {0};

	guest_down();
	others_up((struct sock_app_cfg){.domain = DOMAIN, .free_ports_from = 1024});
	sockets_two();
	assert_int_equal(call(&other, claim(client, 22, OWN)).res, -EACCES);
	assert_int_equal(socks_grant(other.app, &any, 22, SOCK_GRANT_TCP), 0);
	submit(&other, claim(client, 22, OWN));
	assert_int_equal(result(&other), 1);
	/* Or somebody listens there, of whom it may have had it: a child of a server. */
	listener = make_socket(B, AF_INET, SOCK_STREAM);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 1), 0);
	client = make_socket(&other, AF_INET, SOCK_STREAM);
	submit(&other, claim(client, 80, OWN));
	assert_int_equal(result(&other), 1);
	submit(B, claim(server, OWN, 80));
	assert_int_equal(result(B), 0);
	assert_int_equal(result(&other), 0);
}

/* Whose port is another's by now has the error; so has who waited for it. */
static void a_tuple_that_is_taken_is_said_to_both(void **state)
{
	uint32_t first;
	struct ip_addr any = {0};

	both_claim();
	first = server;
	sockets_two();
	submit(B, claim(server, OWN, PEER));
	assert_int_equal(result(B), 1);
	submit(&other, claim(client, PEER, OWN));
	assert_int_equal(result(&other), -EADDRINUSE);
	assert_int_equal(result(B), -EADDRINUSE);
	/* They are sockets as any other. */
	assert_int_equal(do_bind(B, server, &any, 81), 0);
	assert_int_equal(do_close(B, first, 0), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_two, teardown_two)
	const struct CMUnitTest tests[] = {
		T(two_that_agree_are_a_connection),
		T(they_are_offered_a_link),
		T(each_says_that_it_goes_by_tcp),
		T(another_secret_is_another_stream),
		T(nonsense_is_refused),
		T(who_waits_may_go_away),
		T(a_port_that_it_may_not_have_is_not_claimed),
		T(a_tuple_that_is_taken_is_said_to_both),
	};

	return cmocka_run_group_tests_name("revive", tests, eal_up, NULL);
}
