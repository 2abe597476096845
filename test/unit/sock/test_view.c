/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sends out of a neighbour's arena (src/sock/sock_view.c). B's program is linked to another one of
 * the same host, and sends what lies there to host A.
 */
#include "base/rand.h"
#include "sock_test.h"

#define NEAR 2u /* number of the neighbour */

static struct host near; /* the neighbour */
static uint8_t got[1 << 20];

static int setup_two(void **state)
{
	b_cfg = (struct sock_app_cfg){.id = 1, .domain = 1, .zone = 1};
	setup_hosts(state);
	guest_up(&near, (struct sock_app_cfg){.id = NEAR, .alone = true, .domain = 1, .zone = 1});
	connected_pair();
	for (uint32_t i = 0; i < geo.arena_bytes; i++)
		((uint8_t *)near.map.arena)[i] = (uint8_t)(i * 31 + i / 256);
	return 0;
}

static int teardown_two(void **state)
{
	guest_down();
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

static void linked(void)
{
	socks_link_up(B->app, near.app, (const uint32_t[]){5, 5});
}

static uint64_t there(uint64_t off)
{
	return (uint64_t)NEAR << 32 | off;
}

/* What A's client gets, in so many steps. */
static uint32_t received_by_a(unsigned steps)
{
	struct chan_cqe e;
	uint32_t n = 0;

	for (unsigned i = 0; i < steps; i++) {
		step(1);
		while (take(A, CHAN_EV_DATA, client, &e)) {
			memcpy(got + n, bytes_of(A, &e), (size_t)e.res);
			n += (uint32_t)e.res;
			give_back(A, e.loan);
		}
	}
	return n;
}

static void expect_bytes(uint32_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(got[i], (uint8_t)((off + i) * 31 + (off + i) / 256));
}

static void neighbour_dies(void)
{
	socks_detach(B->socks, near.app, true);
}

static void neighbour_again(void)
{
	channel_down(&near);
	guest_up(&near, (struct sock_app_cfg){.id = NEAR, .alone = true, .domain = 1, .zone = 1});
}

static void it_goes_to_the_wire_from_there(void **state)
{
	linked();
	do_send(B, server, there(4096), 60000, 3);
	step(1);
	assert_int_equal(near.app->guests, 1);
	assert_int_equal(received_by_a(30), 60000);
	expect_bytes(4096, 60000);
	assert_true(took_token(B, 3));
	assert_int_equal(near.app->guests, 0);
	assert_int_equal(B->app->abroad, 0);
}

static void so_do_datagrams(void **state)
{
	uint32_t from = make_socket(B, AF_INET, SOCK_DGRAM),
		 to = make_socket(A, AF_INET, SOCK_DGRAM);
	struct chan_cqe e;

	linked();
	assert_int_equal(do_bind(A, to, &A->addr, 99), 0);
	assert_int_equal(do_connect(B, from, &A->addr, 99), 0);
	do_send(B, from, there(512), 1000, 3);
	e = await(A, CHAN_EV_DGRAM, to, 10);
	assert_int_equal(e.res, 1000);
	assert_memory_equal(bytes_of(A, &e), (uint8_t *)near.map.arena + 512, 1000);
	give_back(A, e.loan);
	step(2);
	assert_true(took_token(B, 3));
}

/* What one neighbour has of another it may not give to a third to keep. */
static void to_a_neighbour_they_are_copied(void **state)
{
	uint32_t from = make_socket(B, AF_INET, SOCK_DGRAM),
		 to = make_socket(&near, AF_INET, SOCK_DGRAM);

	linked();
	assert_int_equal(do_bind(&near, to, &B->addr, 99), 0);
	assert_int_equal(do_connect(B, from, &B->addr, 99), 0);
	do_send(B, from, there(512), 1000, 3);
	assert_int_equal(await(&near, CHAN_EV_DGRAM, to, 10).res, 1000);
	assert_true(took_token(B, 3));
	assert_int_equal(B->socks->n.loop_lent_bytes, 0);
}

static void refused(uint64_t off, uint32_t len)
{
	uint64_t bad = B->socks->n.bad_commands;

	do_send(B, server, off, len, 7);
	step(2);
	assert_true(took_token(B, 7));
	assert_int_equal(B->socks->n.bad_commands, bad + 1);
	assert_int_equal(near.app->guests, 0);
	assert_int_equal(received_by_a(3), 0);
}

/* H32. */
static void only_what_it_was_given(void **state)
{
	uint64_t end = geo.arena_bytes;

	refused(there(0), 10); /* no link yet */
	linked();
	refused((uint64_t)9 << 32, 10);
	refused((uint64_t)UINT32_MAX << 32, 10);
	refused((uint64_t)1 << 32, 10); /* its own has no number */
	refused(there(end), 1);
	refused(there(end - 10), 11);
	refused(there(UINT32_MAX), 2);
	refused(there(16), UINT32_MAX - 8);
	refused(there(16), 0);
	socks_unview(B->app, NEAR);
	refused(there(0), 10);
	socks_unview(B->app, NEAR);
	socks_link_down(B->app, near.app);
	refused(there(0), 10);
}

static void until_it_says_so_out_of_a_dead_ones(void **state)
{
	linked();
	neighbour_dies();
	step(2);
	assert_null(socks_reaped(B->socks));
	do_send(B, server, there(4096), 5000, 3);
	assert_int_equal(received_by_a(10), 5000);
	expect_bytes(4096, 5000);
	socks_unview(B->app, NEAR);
	assert_ptr_equal(socks_reaped(B->socks), &near.map);
	neighbour_again();
}

static void and_the_dead_ones_stays_for_what_is_on_its_way(void **state)
{
	linked();
	cut = true;
	do_send(B, server, there(4096), 5000, 3);
	step(5);
	neighbour_dies();
	socks_unview(B->app, NEAR);
	step(5);
	assert_null(socks_reaped(B->socks));
	cut = false;
	assert_int_equal(received_by_a(1000), 5000);
	expect_bytes(4096, 5000);
	assert_true(took_token(B, 3));
	assert_ptr_equal(socks_reaped(B->socks), &near.map);
	neighbour_again();
}

static void who_may_is_gone_too(void **state)
{
	linked();
	neighbour_dies();
	assert_null(socks_reaped(B->socks));
	socks_detach(B->socks, B->app, true);
	B->app = NULL;
	assert_non_null(socks_reaped(B->socks));
	assert_non_null(socks_reaped(B->socks));
	neighbour_again();
}

/* The neighbour gets its memory back from who died, and what that sent is sent all the same. */
static void what_the_dead_sent_is_copied(void **state)
{
	uint32_t cursor = 0;

	linked();
	cut = true;
	do_send(B, server, there(4096), 60000, 3);
	do_send(B, server, 0, 10, 4); /* its own stays where it is */
	step(5);
	socks_detach(B->socks, B->app, true);
	assert_int_equal(socks_abroad(B->socks, &B->map), 1);
	socks_bring_home(B->socks, &B->map, &cursor);
	assert_int_equal(cursor, 0);
	assert_int_equal(socks_abroad(B->socks, &B->map), 0);
	assert_int_equal(near.app->guests, 0);
	assert_int_equal(B->socks->n.home_copied_bytes, 60000);
	B->app = NULL;
	memset(near.map.arena, 0xee, geo.arena_bytes);
	cut = false;
	assert_int_equal(received_by_a(2000), 60010);
	expect_bytes(4096, 60000);
	assert_null(socks_reaped(B->socks)); /* the neighbour has perhaps something of it */
	socks_unview(near.app, 1);
	assert_ptr_equal(socks_reaped(B->socks), &B->map);
}

/* A socket that was closed before lives on as a connection alone. */
static void also_of_sockets_that_it_had_closed(void **state)
{
	uint32_t cursor = 0;

	linked();
	cut = true;
	do_send(B, server, there(4096), 5000, 3);
	assert_int_equal(do_close(B, server, -1), 0);
	socks_detach(B->socks, B->app, true);
	assert_int_equal(socks_abroad(B->socks, &B->map), 1);
	socks_bring_home(B->socks, &B->map, &cursor);
	assert_int_equal(socks_abroad(B->socks, &B->map), 0);
	B->app = NULL;
	memset(near.map.arena, 0xee, geo.arena_bytes);
	cut = false;
	assert_int_equal(received_by_a(2000), 5000);
	expect_bytes(4096, 5000);
}

/* H32: whatever it names, and whatever the neighbour does meanwhile; all comes home (H31). */
static void random_nonsense(void **state)
{
	struct rand r;

	rand_init(&r, 7);
	linked();
	for (uint32_t i = 0; i < 3000; i++) {
		uint64_t off = (uint64_t)(rand_u32(&r) % 4) << 32 |
			       (rand_u32(&r) % 8 == 0 ? (uint32_t)rand_u32(&r)
						      : rand_u32(&r) % geo.arena_bytes);

		do_send(B, server, off, (uint32_t)rand_u32(&r) % 70000, i % 64);
		memset((uint8_t *)near.map.arena + rand_u32(&r) % (geo.arena_bytes - 5000), (int)i,
		       5000);
		if (i % 1000 == 999)
			socks_unview(B->app, NEAR);
		if (i % 1000 == 0)
			linked();
		if (i % 4 == 0)
			(void)received_by_a(1);
		B->n_ev = 0;
	}
	(void)received_by_a(300);
	assert_int_equal(near.app->guests, 0);
	assert_int_equal(B->app->tokens.count, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_two, teardown_two)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_goes_to_the_wire_from_there),
		T(so_do_datagrams),
		T(to_a_neighbour_they_are_copied),
		T(only_what_it_was_given),
		T(until_it_says_so_out_of_a_dead_ones),
		T(and_the_dead_ones_stays_for_what_is_on_its_way),
		T(who_may_is_gone_too),
		T(what_the_dead_sent_is_copied),
		T(also_of_sockets_that_it_had_closed),
		T(random_nonsense),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
