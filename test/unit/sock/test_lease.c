/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams that several programs hold and one reads (src/sock/sock_lease.c). Every byte of the
 * stream is read once, in its order, whoever reads and whenever the lease ends; the buffers, and
 * what the connection is charged for, are what they were.
 */
#include "sock_test.h"

#define CHILD 7
#define QUEUE 256
#define OVER  1u

static struct host child;

/* A program that holds the server's end, as libzstack would. */
struct reader {
	struct host *h;
	uint32_t sid;
	uint64_t lease; /* 0, OVER, or as the word should be */
	bool hint, sole;
	unsigned begun;
	struct {
		uint32_t loan, len, head;
		const uint8_t *at;
	} q[QUEUE];
	unsigned n;
};

static struct reader one, two;
static uint64_t sent, got; /* bytes of the stream */
static uint32_t next_token;

static uint8_t byte_at(uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13);
}

static void send_more(uint32_t n)
{
	uint32_t at = next_token % 64 * 4096;

	assert_true(n <= 4096);
	for (uint32_t i = 0; i < n; i++)
		((uint8_t *)A->map.arena)[at + i] = byte_at(sent + i);
	do_send(A, client, at, n, next_token++ % 1024);
	sent += n;
}

static _Atomic uint64_t *word(struct reader *r)
{
	return &r->h->end.sh->lease[chan_lease_number(r->lease)];
}

static void give_up(struct reader *r)
{
	while (r->n > 0)
		give_back(r->h, r->q[--r->n].loan);
	r->lease = OVER;
}

static void on_event(struct reader *r, const struct chan_cqe *e)
{
	switch (e->ev) {
	case CHAN_EV_DATA:
		if (r->lease == OVER) {
			give_back(r->h, e->loan);
			return;
		}
		assert_true(r->n < QUEUE);
		r->q[r->n].loan = e->loan;
		r->q[r->n].len = (uint32_t)e->res;
		r->q[r->n].head = 0;
		r->q[r->n++].at = bytes_of(r->h, e);
		return;
	case CHAN_EV_LEASE:
		if (e->off != 0) {
			assert_int_equal(r->lease, 0);
			assert_int_equal(r->n, 0);
			r->begun++;
			r->lease = e->off;
			return;
		}
		assert_int_not_equal(r->lease, 0);
		if (r->lease != OVER)
			give_up(r);
		r->lease = 0;
		r->hint = e->aux != 0;
		return;
	case CHAN_EV_READABLE:
		r->hint = true;
		return;
	case CHAN_EV_SOLE:
		assert_int_equal(r->lease, 0);
		r->sole = true;
		return;
	}
}

static void hear(struct reader *r)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < r->h->n_ev; i++) {
		struct chan_cqe e = r->h->ev[i];

		if (e.sid == r->sid && e.ev != CHAN_EV_RESULT)
			on_event(r, &e);
		else
			r->h->ev[kept++] = e;
	}
	r->h->n_ev = kept;
}

/* The first n bytes of its queue are the stream's next. */
static void consume(struct reader *r, uint32_t n)
{
	while (n-- > 0) {
		assert_int_equal(r->q[0].at[r->q[0].head++], byte_at(got++));
		if (r->q[0].head < r->q[0].len)
			continue;
		give_back(r->h, r->q[0].loan);
		memmove(&r->q[0], &r->q[1], --r->n * sizeof(r->q[0]));
	}
}

static uint32_t queued(const struct reader *r)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < r->n; i++)
		n += r->q[i].len - r->q[i].head;
	return n;
}

static bool leased(const struct reader *r)
{
	return r->lease > OVER;
}

/* At most so many of those in its queue. */
static uint32_t take_some(struct reader *r, uint32_t want)
{
	uint64_t was = r->lease;

	want = want < queued(r) ? want : queued(r);
	if (leased(r) && want > 0) {
		if (!atomic_compare_exchange_strong(word(r), &was, was + want)) {
			give_up(r);
			return 0;
		}
		r->lease += want;
	}
	consume(r, want);
	return want;
}

static int32_t ask(struct reader *r, uint32_t want)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .sid = r->sid, .arg = {(int32_t)want}};
	int32_t res;

	r->hint = false;
	res = call(r->h, q).res;
	hear(r);
	return res;
}

/* As a program reads that does not wait. */
static uint32_t read_some(struct reader *r, uint32_t want)
{
	uint32_t n;

	hear(r);
	n = take_some(r, want);
	if (n > 0 || (leased(r) && !r->hint) || r->sole)
		return n;
	(void)ask(r, want);
	return take_some(r, want);
}

static void read_all(struct reader *r)
{
	for (unsigned idle = 0; got < sent && idle < 50;) {
		idle = read_some(r, 700) > 0 ? 0 : idle + 1;
		step(1);
	}
	assert_int_equal(got, sent);
}

static void share(void)
{
	struct chan_sqe q = {.op = CHAN_OP_SHARE, .arg = {CHILD}};

	connected_pair();
	memset(&child, 0, sizeof(child));
	child.socks = B->socks;
	channel_up(&child, (struct sock_app_cfg){.id = CHILD, .parent = B->app});
	show_pool(&child, pools.rx);
	guest = &child;
	q.sid = server;
	one = (struct reader){.h = B, .sid = server};
	two = (struct reader){.h = &child, .sid = call(B, q).aux};
	assert_int_not_equal(two.sid, 0);
	child.ticket[sid_index(two.sid)] = 0;
	sent = got = next_token = 0;
}

static void child_down(void)
{
	guest = NULL;
	socks_detach(B->socks, child.app, true);
	while (socks_reaped(B->socks) != NULL)
		;
	channel_down(&child);
}

/* All are home, and the connection has what it is charged for. */
static void settle(void)
{
	step(3);
	hear(&one);
	hear(&two);
	step(3);
	tcp_check_all(B->tcp);
	assert_int_equal(B->app->loans.held, 0);
	assert_int_equal(B->socks->lent, 0);
	assert_int_equal(B->socks->n.loans_bad_return, 0);
}

static void give_lease(struct reader *r)
{
	for (unsigned i = 0; i < 50 && !leased(r); i++) {
		if (got == sent)
			send_more(100);
		step(2);
		(void)read_some(r, 700);
	}
	assert_true(leased(r));
}

/* ---- tests ---- */

static void who_reads_alone_does_not_ask(void **state)
{
	uint64_t asked;

	share();
	give_lease(&one);
	read_all(&one);
	asked = B->socks->n.commands;
	for (unsigned i = 0; i < 40; i++) {
		send_more(3000);
		step(3);
		read_all(&one);
	}
	assert_int_equal(B->socks->n.commands, asked);
	assert_int_equal(one.begun, 1);
	settle();
	child_down();
}

static void another_reader_gets_what_was_not_taken(void **state)
{
	share();
	give_lease(&one);
	read_all(&one);
	for (unsigned i = 0; i < 4; i++)
		send_more(3000);
	step(10);
	hear(&one);
	assert_int_equal(queued(&one), 12000);
	assert_int_equal(take_some(&one, 4321), 4321);
	/* The first has heard nothing of it, and finds out. */
	B->hold_cq = true;
	assert_true(read_some(&two, 1000) > 0);
	assert_int_equal(take_some(&one, 10), 0);
	B->hold_cq = false;
	read_all(&two);
	settle();
	child_down();
}

static void a_reader_that_closes_leaves_the_rest(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_CLOSE, .arg = {-1}};

	share();
	give_lease(&two);
	read_all(&two);
	for (unsigned i = 0; i < 4; i++)
		send_more(2500);
	step(10);
	hear(&two);
	assert_int_equal(take_some(&two, 2600), 2600);
	assert_true(atomic_compare_exchange_strong(word(&two), &two.lease,
						   two.lease | CHAN_LEASE_LEFT));
	two.n = 0;
	q.sid = two.sid;
	assert_int_equal(call(&child, q).res, 0);
	read_all(&one);
	assert_true(one.sole);
	assert_int_equal(child.app->loans.held, 0);
	settle();
	child_down();
}

static void a_reader_that_dies_leaves_the_rest(void **state)
{
	share();
	give_lease(&two);
	read_all(&two);
	for (unsigned i = 0; i < 4; i++)
		send_more(2500);
	step(10);
	hear(&two);
	assert_int_equal(take_some(&two, 3), 3);
	child_down();
	read_all(&one);
	assert_true(one.sole);
	settle();
}

/* The other holder reads nothing, and goes. */
static void a_reader_that_is_left_alone_reads_on(void **state)
{
	share();
	give_lease(&one);
	for (unsigned i = 0; i < 4; i++)
		send_more(2500);
	step(10);
	hear(&one);
	assert_true(take_some(&one, 3000) > 0);
	child_down();
	send_more(1000);
	read_all(&one);
	assert_true(one.sole);
	settle();
}

static void the_end_of_the_stream_is_told(void **state)
{
	share();
	give_lease(&one);
	send_more(4000);
	assert_int_equal(do_close(A, client, -1), 0);
	step(10);
	hear(&one);
	assert_true(one.hint);
	assert_true(queued(&one) > 0);
	assert_int_equal(ask(&one, 100), 0);
	read_all(&one);
	assert_int_equal(ask(&one, 100), 0);
	assert_int_equal(ask(&two, 100), 0);
	settle();
	child_down();
}

/* It came before the lease did. */
static void the_end_that_was_there_is_told(void **state)
{
	share();
	send_more(4000);
	assert_int_equal(do_close(A, client, -1), 0);
	step(10);
	for (unsigned i = 0; i < 5 && !leased(&one); i++)
		(void)read_some(&one, 10);
	assert_true(leased(&one));
	step(2);
	hear(&one);
	assert_true(one.hint);
	read_all(&one);
	assert_int_equal(ask(&one, 100), 0);
	settle();
	child_down();
}

/* Reads what there is, whatever it is. */
static void discard(struct reader *r)
{
	for (unsigned i = 0; i < 10; i++) {
		uint32_t n;

		(void)ask(r, 100000);
		n = queued(r);
		if (leased(r)) {
			atomic_fetch_add(word(r), n);
			r->lease += n;
		}
		while (r->n > 0)
			give_back(r->h, r->q[--r->n].loan);
		step(1);
	}
	got = sent;
}

/* Whatever stands in the word, the service and other streams go on. */
static void a_word_that_lies_takes_all_that_was_lent(void **state)
{
	static const uint64_t lies[] = {CHAN_LEASE_TAKEN, UINT64_MAX, 0, CHAN_LEASE_CUT,
					5ull << 48};

	share();
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		give_lease(&one);
		send_more(2000);
		step(5);
		atomic_store(word(&one), lies[i]);
		(void)ask(&two, 100);
		step(3);
		hear(&one);
		assert_int_equal(one.lease, 0);
		/* What is lost, or comes again, is the two's own affair. */
		discard(&two);
		tcp_check_all(B->tcp);
	}
	step(3);
	tcp_check_all(B->tcp);
	child_down();
}

static uint32_t seed;

static uint32_t any(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Both read now and then, as much as they like; one of them may not look at its events. */
static void bytes_keep_their_order_whoever_reads(void **state)
{
	for (seed = 1; seed <= 6; seed++) {
		uint32_t start = seed;
		unsigned runs = 0;

		share();
		for (unsigned i = 0; i < 300; i++) {
			struct reader *r = any(2) == 0 ? &one : &two;

			B->hold_cq = child.hold_cq = false;
			(r == &one ? &child : B)->hold_cq = any(2) == 0;
			for (unsigned n = any(12); n > 0; n--) {
				if (any(2) == 0 && sent - got < 60000)
					send_more(1 + any(4096));
				step(any(3));
				(void)read_some(r, 1 + any(5000));
			}
			runs += r->begun;
			A->n_done = A->n_ev = 0;
		}
		B->hold_cq = child.hold_cq = false;
		step(50);
		read_all(&one);
		assert_true(runs > 0 && B->socks->n.leases_ended > 0);
		settle();
		child_down();
		(void)do_close(B, server, -1);
		(void)do_close(B, listener, -1);
		(void)do_close(A, client, -1);
		seed = start;
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_hosts, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_reads_alone_does_not_ask),
		TEST(another_reader_gets_what_was_not_taken),
		TEST(a_reader_that_closes_leaves_the_rest),
		TEST(a_reader_that_dies_leaves_the_rest),
		TEST(a_reader_that_is_left_alone_reads_on),
		TEST(the_end_of_the_stream_is_told),
		TEST(the_end_that_was_there_is_told),
		TEST(a_word_that_lies_takes_all_that_was_lent),
		TEST(bytes_keep_their_order_whoever_reads),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
