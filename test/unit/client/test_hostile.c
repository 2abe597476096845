/* SPDX-License-Identifier: BSD-3-Clause
 *
 * H32 from the client's side: a stack that says what makes no sense. The program gets an error on
 * the socket concerned, a counter moves, nothing else happens. Last, random events for a long
 * while.
 */
#include "fake.h"

#define core0 (&fake.core[0])

static uint32_t sid;
static char buf[4096];

static uint64_t bad(void)
{
	struct zs_stats st;

	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	return st.bad_events;
}

/* One DATA event with one field wrong. */
static void data_event_that_lies_breaks_its_socket(void **state)
{
	uint32_t max_loans = core0->end.hdr.max_loans;
	const struct chan_cqe lies[] = {
		{.res = 5, .region = 1, .loan = LOAN_NONE},
		{.res = 5, .region = 1, .loan = 1u << LOAN_INDEX_BITS | max_loans},
		{.res = 5, .region = 1, .loan = UINT32_MAX},
		{.res = 5, .region = 2, .loan = 1},
		{.res = 5, .region = 15, .loan = 1},
		{.res = 5, .region = 0xffff, .loan = 1},
		{.res = 5, .region = 0, .loan = 1},
		{.res = 5, .region = 1, .off = FAKE_PKT - 4, .loan = 1},
		{.res = 5, .region = 1, .off = UINT64_MAX - 2, .loan = 1},
		{.res = -5, .region = 1, .loan = 1},
		{.res = INT32_MAX, .region = 1, .loan = 1},
		{.res = 0, .region = 1, .loan = 1},
	};

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		int fd = fake_connection(SOCK_NONBLOCK, &sid);
		struct chan_cqe e = lies[i];

		e.ev = CHAN_EV_DATA;
		e.sid = sid;
		fake_event(core0, &e);
		assert_int_equal(zs_read(fd, buf, 10), -EPROTO);
		assert_int_equal(zs_read(fd, buf, 10), 0);
		assert_int_equal(bad(), i + 1);
		assert_int_equal(zs_close(fd), 0);
	}
}

static void loan_given_twice_breaks_the_second(void **state)
{
	int a = fake_connection(SOCK_NONBLOCK, &sid), b;
	uint32_t first = sid;

	core0->next_loan = 7;
	fake_data(core0, first, "hello", 0);
	zs_process(0);
	b = fake_connection(SOCK_NONBLOCK, &sid);
	core0->next_loan = 7;
	fake_data(core0, sid, "evil!", 0);
	assert_int_equal(zs_read(b, buf, 10), -EPROTO);
	assert_int_equal(zs_read(a, buf, 10), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(bad(), 1);
}

static void events_for_nobody_are_counted(void **state)
{
	uint32_t sids[] = {0, 99, 4095, 4096, UINT32_MAX, 1u << SID_INDEX_BITS | 1};

	for (unsigned i = 0; i < 6; i++) {
		for (int ev = 0; ev <= 10; ev++) {
			struct chan_cqe e = {.ev = (uint8_t)ev, .sid = sids[i], .res = 1};

			fake_event(core0, &e);
		}
	}
	zs_process(0);
	assert_int_equal(bad(), 66);
	/* A good loan of nobody's data goes home. */
	fake_data(core0, 99, "x", 0);
	zs_process(0);
	zs_process(0);
	assert_int_equal(core0->returned, 1);
}

static void results_nobody_asked_for_are_counted(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	uint32_t tokens[] = {0,		  5,	       0x80000000u, 0x80000001u,
			     0x8000ff3fu, 0x81000000u, 0x82000000u, 0xffffffffu};

	for (unsigned i = 0; i < 8; i++)
		fake_event(core0,
			   &(struct chan_cqe){.ev = CHAN_EV_RESULT, .sid = sid, .loan = tokens[i]});
	zs_process(0);
	assert_int_equal(bad(), 8);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

static void tokens_that_are_not_out_are_counted(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	uint32_t tokens[] = {0, 1, 4095, 4096, UINT32_MAX};

	for (unsigned i = 0; i < 5; i++) {
		chan_send_name(&core0->end.done, tokens[i]);
	}
	zs_process(0);
	assert_int_equal(bad(), 5);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

static void accept_that_lies_makes_nothing(void **state)
{
	int fd = fake_listener(SOCK_NONBLOCK, &sid), c;
	uint32_t news[] = {0, 4096, UINT32_MAX, sid};

	for (unsigned i = 0; i < 4; i++)
		fake_event(core0,
			   &(struct chan_cqe){.ev = CHAN_EV_ACCEPT, .sid = sid, .aux = news[i]});
	fake_event(core0,
		   &(struct chan_cqe){.ev = CHAN_EV_ACCEPT, .sid = sid, .aux = 50, .res = -1});
	zs_process(0);
	assert_int_equal(bad(), 5);
	assert_int_equal(zs_accept(fd, NULL, NULL), -EPROTO);
	assert_int_equal(zs_accept(fd, NULL, NULL), -EAGAIN);
	c = fake_connection(SOCK_NONBLOCK, &sid);
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_ACCEPT, .sid = sid, .aux = 60});
	assert_int_equal(zs_read(c, buf, 1), -EPROTO);
}

/* The ring's index itself: it may stand still, but never run away. */
static void impossible_ring_indices_are_ignored(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct chan_idx *sq = &core0->end.sh->sq;
	uint32_t head = atomic_load(&sq->head);

	atomic_store(&sq->head, head + 1000000);
	assert_int_equal(zs_process(0), 0);
	atomic_store(&sq->head, head);
	assert_int_equal(zs_write(fd, "x", 1), 1);
	assert_int_equal(zs_read(fd, buf, 1), -EAGAIN);
}

static void lengths_of_answers_are_checked(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), v;
	socklen_t len = sizeof(v);
	FILE *f = fopen("/dev/null", "w");

	fake.result[CHAN_OP_GETOPT] = 33;
	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, 1, &v, &len), -EPROTO);
	len = sizeof(v);
	fake.result[CHAN_OP_GETOPT] = 5000;
	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, 11, &v, &len), -EPROTO);
	fake.result[CHAN_OP_GETOPT] = -100000;
	assert_int_equal(zs_getsockopt(fd, IPPROTO_TCP, 1, &v, &len), -EPROTO);
	fake.result[CHAN_OP_DUMP] = 1 << 20;
	assert_int_equal(zs_dump(ZS_DUMP_SOCKETS, f), -EPROTO);
	fclose(f);
}

static uint64_t seed = 0x853c49e6748fea9bull;
static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static struct chan_cqe random_event(void)
{
	struct chan_cqe e;
	uint8_t *p = (uint8_t *)&e;

	for (unsigned i = 0; i < sizeof(e); i++)
		p[i] = (uint8_t)rnd(256);
	e.ev = (uint8_t)rnd(10);
	if (rnd(4))
		e.sid = rnd(20);
	if (rnd(4))
		e.region = (uint16_t)rnd(3);
	if (rnd(4))
		e.off = rnd(FAKE_PKT);
	if (rnd(4))
		e.res = (int32_t)rnd(2000) - 100;
	if (rnd(4))
		e.loan = 1u << LOAN_INDEX_BITS | rnd(64);
	if (rnd(3) == 0)
		e.aux = rnd(40);
	return e;
}

/* The program goes on with its calls; whatever they return, they return, and nothing is touched
 * that is not ours (the sanitizers watch). */
static void random_events_never_crash(void **state)
{
	struct zs_buf b[4];
	int fd[8], ep = zs_epoll_create1(0), n;
	struct epoll_event ev[8], all = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI};

	fd[0] = fake_listener(SOCK_NONBLOCK, &sid);
	fd[1] = zs_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	for (int i = 2; i < 8; i++)
		fd[i] = fake_connection(SOCK_NONBLOCK, &sid);
	for (int i = 0; i < 8; i++)
		zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &all);
	for (int round = 0; round < 20000; round++) {
		struct chan_cqe e = random_event();
		int f = fd[rnd(8)];

		core0->n_log = 0;
		fake_event(core0, &e);
		zs_epoll_wait(ep, ev, 8, 0);
		zs_recv(f, buf, rnd(sizeof(buf)), rnd(2) ? MSG_PEEK : 0);
		zs_recv(f, buf, 1, MSG_OOB);
		n = zs_recvfrom_zc(f, b, 4, 0, NULL, NULL);
		if (n > 0 && rnd(2))
			n = zs_buf_release(b, n);
		else if (n > 0 && zs_send_zc(fd[rnd(8)], b, n, rnd(3), 0) < n)
			zs_buf_release(b, n);
		zs_send(f, buf, rnd(100), 0);
		zs_accept(fd[0], NULL, NULL);
	}
	zs_process(0);
	core0->tickets_bad = 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(data_event_that_lies_breaks_its_socket),
		T(loan_given_twice_breaks_the_second),
		T(events_for_nobody_are_counted),
		T(results_nobody_asked_for_are_counted),
		T(tokens_that_are_not_out_are_counted),
		T(accept_that_lies_makes_nothing),
		T(impossible_ring_indices_are_ignored),
		T(lengths_of_answers_are_checked),
		T(random_events_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
