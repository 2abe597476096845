/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections on their way from one program to another (src/sock/sock_keep.c): the receiver reads
 * what the sender had not, in its place, and nothing before that; who goes in the middle loses
 * nothing; only who knows a name gets anything.
 */
#include "sock/sock_share.h"
#include "sock_test.h"

#define SENDER	 6
#define RECEIVER 7
#define KEEPER	 8
#define NAME	 (0x5ec7e7ull << 40 | 77)
#define IMAGE	 40u

static struct host keeper, other;

static int32_t named_cmd(struct host *h, uint8_t op, uint64_t name, uint32_t sid, uint32_t len,
			 struct chan_cqe *out)
{
	struct chan_sqe q = {.op = op, .sid = sid, .off = 0, .len = len};
	struct chan_cqe e;

	memcpy(q.data, &name, sizeof(name));
	e = call(h, q);
	if (out != NULL)
		*out = e;
	return e.res;
}

static void say_kept(void)
{
	submit(B, (struct chan_sqe){.op = CHAN_OP_KEPT, .sid = server});
	step(1);
}

/* B's connection has 1,000 bytes that B was told of, and a keeper and another program are there.
 * Returns the loan. */
static uint32_t to_be_passed(void)
{
	uint32_t loan;

	connected_pair();
	fill_arena(A);
	fill_arena(B);
	do_send(A, client, 0, 1000, 1);
	loan = await(B, CHAN_EV_DATA, server, 20).loan;
	app_up(&keeper, (struct sock_app_cfg){.id = KEEPER, .keeps = true});
	app_up(&other, (struct sock_app_cfg){.id = RECEIVER});
	guest = &other;
	assert_int_equal(socks_keep(keeper.app, NAME), 0);
	return loan;
}

static void all_down(void)
{
	guest = NULL;
	app_down(&other);
	app_down(&keeper);
	step(2);
}

static void give_back_unread(uint32_t loan)
{
	struct chan_sqe q = {.op = CHAN_OP_UNREAD, .sid = server, .loan = loan};

	assert_int_equal(call(B, q).res, 0);
}

static int32_t read_by_other(uint32_t sid)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .sid = sid, .arg = {4000}};
	int32_t n = call(&other, q).res;
	struct chan_cqe e;

	while (take(&other, CHAN_EV_DATA, sid, &e)) {
		for (int32_t i = 0; i < e.res; i++)
			assert_int_equal(bytes_of(&other, &e)[i], (uint8_t)i);
		give_back(&other, e.loan);
	}
	return n;
}

static void who_redeems_reads_what_the_sender_gave_back(void **state)
{
	uint32_t loan = to_be_passed(), sid;
	struct chan_cqe e;

	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, IMAGE, NULL), 0);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, IMAGE, &e), IMAGE);
	assert_memory_equal(other.end.scratch, B->map.arena, IMAGE);
	sid = e.sid;
	other.ticket[sid_index(sid)] = 0;
	/* Not before all of it is there. */
	assert_int_equal(read_by_other(sid), -EAGAIN);
	assert_false(take(&other, CHAN_EV_READABLE, sid, &e));
	give_back_unread(loan);
	assert_int_equal(read_by_other(sid), -EAGAIN);
	assert_false(take(&other, CHAN_EV_READABLE, sid, &e));
	say_kept();
	(void)await(&other, CHAN_EV_READABLE, sid, 5);
	assert_int_equal(read_by_other(sid), 1000);
	/* It is as any other when it has one holder again. */
	socks_keep_end(keeper.app, NAME);
	assert_int_equal(call(B, (struct chan_sqe){.op = CHAN_OP_CLOSE, .sid = server}).res, 0);
	(void)await(&other, CHAN_EV_SOLE, sid, 5);
	do_send(A, client, 0, 500, 2);
	e = await(&other, CHAN_EV_DATA, sid, 20);
	assert_int_equal(e.res, 500);
	give_back(&other, e.loan);
	all_down();
}

static void a_sender_that_goes_owes_nothing(void **state)
{
	uint32_t sid;
	struct chan_cqe e;

	(void)to_be_passed();
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, IMAGE, NULL), 0);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, IMAGE, &e), IMAGE);
	sid = e.sid;
	other.ticket[sid_index(sid)] = 0;
	assert_int_equal(read_by_other(sid), -EAGAIN);
	assert_int_equal(call(B, (struct chan_sqe){.op = CHAN_OP_CLOSE, .sid = server}).res, 0);
	do_send(A, client, 0, 500, 2);
	(void)await(&other, CHAN_EV_READABLE, sid, 20);
	assert_int_equal(read_by_other(sid), 500);
	all_down();
}

/* The message was not sent: nobody redeems. What is on its way back then is not lost. */
static void what_is_not_sent_comes_back(void **state)
{
	uint32_t loan = to_be_passed();
	struct chan_cqe e;

	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, IMAGE, NULL), 0);
	socks_keep_end(keeper.app, NAME);
	step(2);
	assert_false(take(B, CHAN_EV_SOLE, server, &e));
	give_back_unread(loan);
	say_kept();
	(void)await(B, CHAN_EV_SOLE, server, 5);
	e = await(B, CHAN_EV_DATA, server, 5);
	assert_int_equal(e.res, 1000);
	give_back(B, e.loan);
	all_down();
}

static void names_that_are_none(void **state)
{
	uint64_t bad = B->socks->n.bad_commands;

	(void)to_be_passed();
	assert_int_equal(socks_keep(keeper.app, NAME + 4096), -EEXIST);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME + 4096, server, IMAGE, NULL), -ENOENT);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, 0, server, IMAGE, NULL), -ENOENT);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, listener, IMAGE, NULL), -EBUSY);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, IMAGE, NULL), -ENOENT);
	assert_int_equal(B->socks->n.bad_commands, bad);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, 0, NULL), -EINVAL);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, CHAN_KEPT_IMAGE_MAX + 1, NULL),
			 -EINVAL);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, CHAN_SCRATCH_BYTES + 1, NULL),
			 -EFAULT);
	assert_int_equal(B->socks->n.bad_commands, bad + 3);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, IMAGE, NULL), 0);
	assert_int_equal(named_cmd(B, CHAN_OP_KEEP, NAME, server, IMAGE, NULL), -EEXIST);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, IMAGE - 1, NULL), -ENOBUFS);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME ^ 1ull << 50, 0, IMAGE, NULL),
			 -ENOENT);
	socks_keep_end(keeper.app, NAME);
	assert_int_equal(named_cmd(&other, CHAN_OP_REDEEM, NAME, 0, IMAGE, NULL), -ENOENT);
	all_down();
}

static int setup_keep(void **state)
{
	b_cfg = (struct sock_app_cfg){.id = SENDER};
	return setup_hosts(state);
}

static int teardown_keep(void **state)
{
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_keep, teardown_keep)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_redeems_reads_what_the_sender_gave_back),
		TEST(a_sender_that_goes_owes_nothing),
		TEST(what_is_not_sent_comes_back),
		TEST(names_that_are_none),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
