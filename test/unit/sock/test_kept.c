/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams that the service's keeper holds (src/sock/sock_kept.c): what is looked at stays unread,
 * what is taken is gone, in order; the bell is rung once for what is new, and not for what others
 * may have; what is sent holds memory of its own, which is bounded and outlives its sender (H16).
 */
#include "sock/sock_share.h"
#include "sock_test.h"

#define BYTES 3000

static struct host keeper;
static uint32_t sid;
static uint8_t buf[65536];

static void keeper_up(void)
{
	memset(&keeper, 0, sizeof(keeper));
	keeper.socks = B->socks;
	channel_up(&keeper, (struct sock_app_cfg){.keeps = true});
}

static void keeper_down(void)
{
	socks_detach(B->socks, keeper.app, true);
	step(3);
	while (socks_reaped(B->socks) != NULL)
		;
	channel_down(&keeper);
}

/* B's connection is passed. */
static void passed(void)
{
	connected_pair();
	keeper_up();
	assert_int_equal(socks_share(B->app, server, keeper.app, &sid), 0);
}

static void leaves(struct host *h, uint32_t of)
{
	socks_drop(h->app, of);
	step(1);
}

static struct sock_kept turn(struct sock_kept t)
{
	t.name = 7;
	if (t.buf == NULL)
		t.buf = buf;
	if (t.in_flight == 0)
		t.in_flight = 65536;
	assert_true(socks_kept_turn(keeper.app, sid, &t));
	return t;
}

/* How often the bell was rung, and the names then. */
static unsigned news(void)
{
	uint64_t name[4], rung = 0;
	unsigned n = socks_kept_news(keeper.app, name, 4);

	(void)!read(keeper.map.app_bell_fd, &rung, sizeof(rung));
	assert_int_equal(rung, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(name[i], 7);
	return n;
}

static void client_sends(uint32_t token)
{
	for (uint32_t i = 0; i < BYTES; i++)
		((uint8_t *)A->map.arena)[i] = (uint8_t)(i % 251);
	do_send(A, client, 0, BYTES, token);
	step(3);
}

static void bytes_are(uint32_t n, uint32_t from)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(buf[i], (uint8_t)((from + i) % BYTES % 251));
}

static void what_is_looked_at_stays(void **state)
{
	struct sock_kept t;

	passed();
	leaves(B, server);
	client_sends(0);
	for (unsigned i = 0; i < 2; i++) {
		t = turn((struct sock_kept){.max = 1000, .only_sole = true});
		assert_true(t.sole);
		assert_int_equal(t.n, 1000);
		bytes_are(1000, 0);
	}
	t = turn((struct sock_kept){.consume = 400, .max = sizeof(buf), .take = true});
	assert_int_equal(t.n, BYTES - 400);
	assert_false(t.fin);
	bytes_are(BYTES - 400, 400);
	assert_int_equal(do_close(A, client, -1), 0);
	step(2);
	t = turn((struct sock_kept){.max = 10});
	assert_int_equal(t.n, 0);
	assert_true(t.fin);
	keeper_down();
}

static void it_is_told_once(void **state)
{
	passed();
	leaves(B, server);
	assert_int_equal(turn((struct sock_kept){.max = 10}).n, 0);
	assert_int_equal(news(), 0);
	client_sends(0);
	client_sends(1);
	assert_int_equal(news(), 1);
	assert_int_equal(news(), 0);
	assert_int_equal(turn((struct sock_kept){.max = 10}).n, 10);
	keeper_down();
}

/* What others may read is not looked at, and told when they have left. */
static void others_hold_it(void **state)
{
	struct sock_kept t;

	passed();
	client_sends(0);
	t = turn((struct sock_kept){.max = 10, .only_sole = true});
	assert_false(t.sole);
	assert_int_equal(t.n, 0);
	client_sends(1);
	assert_int_equal(news(), 0);
	leaves(B, server);
	assert_int_equal(news(), 1);
	t = turn((struct sock_kept){.max = sizeof(buf), .only_sole = true});
	assert_true(t.sole);
	assert_int_equal(t.n, 2 * BYTES);
	bytes_are(2 * BYTES, 0);
	keeper_down();
}

/* Nobody is told anything for the keeper's sake before it has looked. */
static void before_its_first_turn_nothing_is_told(void **state)
{
	passed();
	leaves(B, server);
	client_sends(0);
	assert_int_equal(news(), 0);
	keeper_down();
}

static void what_it_sends_arrives(void **state)
{
	static const uint8_t text[] = "answer";
	struct chan_cqe e;

	passed();
	leaves(B, server);
	(void)turn((struct sock_kept){.send = text, .n_send = 6, .end = true});
	e = await(A, CHAN_EV_DATA, client, 3);
	assert_int_equal(e.res, 6);
	assert_memory_equal(bytes_of(A, &e), text, 6);
	give_back(A, e.loan);
	step(2);
	assert_int_equal(keeper.app->kept_sends, 0);
	assert_int_equal(turn((struct sock_kept){.send = text, .n_send = 1}).send_error, -EPIPE);
	assert_int_equal(keeper.app->kept_sends, 0);
	keeper_down();
}

/* A peer that acknowledges nothing: so many bytes, so many sends, and no more; it is told when
 * there is room. */
static void what_is_in_flight_is_bounded(void **state)
{
	struct sock_kept t = {0};
	unsigned n;

	passed();
	leaves(B, server);
	cut = true;
	t = turn(t);
	for (n = 0; t.room > 0; n++)
		t = turn((struct sock_kept){.send = buf, .n_send = 1});
	assert_int_equal(n, 16);
	step(1);
	assert_int_equal(news(), 0);
	cut = false;
	now += 2000000000;
	step(5);
	assert_int_equal(news(), 1);
	t = turn((struct sock_kept){.in_flight = 20000});
	assert_int_equal(t.room, 20000);
	t = turn((struct sock_kept){.in_flight = 20000, .send = buf, .n_send = 20000});
	assert_int_equal(t.room, 0);
	keeper_down();
}

/* Its memory is its own until the last byte was acknowledged. */
static void what_was_sent_outlives_the_keeper(void **state)
{
	passed();
	leaves(B, server);
	cut = true;
	(void)turn((struct sock_kept){.send = buf, .n_send = 1000, .end = true});
	socks_detach(B->socks, keeper.app, true);
	assert_null(socks_reaped(B->socks));
	cut = false;
	now += 2000000000;
	step(8);
	assert_ptr_equal(socks_reaped(B->socks), &keeper.map);
	channel_down(&keeper);
}

static void an_error_is_told(void **state)
{
	struct sock_kept t;

	passed();
	leaves(B, server);
	(void)turn((struct sock_kept){.max = 1});
	assert_int_equal(do_close(A, client, 0), 0);
	step(2);
	assert_int_equal(news(), 1);
	t = turn((struct sock_kept){.max = 1});
	assert_int_equal(t.error, -ECONNRESET);
	keeper_down();
}

static void only_connections_are_streams(void **state)
{
	struct sock_kept t = {.name = 1};
	uint32_t other;

	passed();
	assert_true(socks_kept_streams(keeper.app, sid));
	assert_int_equal(socks_share(B->app, listener, keeper.app, &other), 0);
	assert_false(socks_kept_streams(keeper.app, other));
	assert_false(socks_kept_turn(keeper.app, other, &t));
	assert_false(socks_kept_streams(keeper.app, other + 1));
	keeper_down();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_looked_at_stays),
		TEST(it_is_told_once),
		TEST(others_hold_it),
		TEST(before_its_first_turn_nothing_is_told),
		TEST(what_it_sends_arrives),
		TEST(what_is_in_flight_is_bounded),
		TEST(what_was_sent_outlives_the_keeper),
		TEST(an_error_is_told),
		TEST(only_connections_are_streams),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
