/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that other processes hold too (shared.c): what comes behind the answer to a question that
 * was in vain must not be slept on.
 */
#include <netinet/tcp.h>

#include "client/client_priv.h"
#include <sys/ioctl.h>

#include "fake.h"

#define core0 (&fake.core[0])

static uint32_t sid;
static unsigned asked;

static struct csock *shared(int fd)
{
	int err = 0;
	struct csock *s = fd_csock(fd, &err);

	assert_non_null(s);
	s->flags |= CSOCK_SHARED;
	asked = 0;
	return s;
}

static void no_sleep(void)
{
	fail_msg("sleeps on what has come");
}

static void others_leave(void)
{
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_SOLE, .sid = sid});
}

/* The second question: the first one is asked again anyway. */
static int tcp_option(int fd, int name, int v)
{
	return zs_setsockopt(fd, IPPROTO_TCP, name, &v, sizeof(v));
}

/* What only this process knew the service knows before there is another holder. */
static void cork_is_told_before_there_is_another_holder(void **state)
{
	int fd = fake_connection(0, &sid), err;
	const struct chan_sqe *q = core0->log;

	assert_int_equal(tcp_option(fd, TCP_NODELAY, 1), 0);
	assert_int_equal(tcp_option(fd, TCP_NODELAY, 0), 0);
	assert_int_equal(tcp_option(fd, TCP_CORK, 1), 0);
	fork_share(fd_csock(fd, &err), 1);
	q = fake_last(core0, CHAN_OP_SHARE);
	assert_int_equal(fake_count(core0, CHAN_OP_SETOPT), 3);
	assert_int_equal(q[-1].opt.name, TCP_CORK);
	assert_int_equal(q[-1].opt.value[0], 1);
	assert_int_equal(q[-2].opt.name, TCP_NODELAY);
	assert_int_equal(q[-2].opt.value[0], 0);
	/* From here on the service is asked. */
	assert_int_equal(tcp_option(fd, TCP_CORK, 0), 0);
	assert_int_equal(fake_count(core0, CHAN_OP_SETOPT), 4);
}

static void last_one_then_data(enum chan_op op)
{
	if (op != CHAN_OP_READ)
		return;
	if (++asked == 2) {
		others_leave();
		fake_data(core0, sid, "ten", 0);
	}
	fake.result[CHAN_OP_READ] = -EAGAIN;
}

static void data_behind_the_answer_is_read(void **state)
{
	int fd = fake_connection(0, &sid);
	char buf[8];

	shared(fd);
	fake.result[CHAN_OP_READ] = -EAGAIN;
	fake.on_answer = last_one_then_data;
	fake.on_sleep = no_sleep;
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "ten", 3);
	assert_int_equal(asked, 2);
}

/* A hint behind each of the first answers; the third one has something. */
static void hint_then_data(enum chan_op op)
{
	if (op != CHAN_OP_READ)
		return;
	if (++asked < 3)
		fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_READABLE, .sid = sid});
	fake.result[CHAN_OP_READ] = asked < 2 ? -EAGAIN : 0;
}

static void a_hint_behind_the_answer_is_followed(void **state)
{
	int fd = fake_connection(0, &sid);
	char buf[8];

	shared(fd);
	fake.result[CHAN_OP_READ] = -EAGAIN;
	fake.on_answer = hint_then_data;
	fake.on_sleep = no_sleep;
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 0);
	assert_int_equal(asked, 3);
}

static void last_one_then_connection(enum chan_op op)
{
	if (op != CHAN_OP_ACCEPT)
		return;
	asked++;
	others_leave();
	fake_accept(core0, sid);
}

static void a_connection_behind_the_answer_is_accepted(void **state)
{
	int l = fake_listener(0, &sid);

	shared(l);
	fake.result[CHAN_OP_ACCEPT] = -EAGAIN;
	fake.on_answer = last_one_then_connection;
	fake.on_sleep = no_sleep;
	assert_true(zs_accept(l, NULL, NULL) >= 0);
	assert_int_equal(asked, 1);
}

/* The answer is that there is something, but another thread was faster. */
static void taken_by_another(enum chan_op op)
{
	asked += op == CHAN_OP_READ;
	fake.result[CHAN_OP_READ] = -EAGAIN;
}

static void data_that_another_thread_took_is_no_end(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	char buf[8];

	shared(fd);
	fake.result[CHAN_OP_READ] = 3;
	fake.on_answer = taken_by_another;
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -EAGAIN);
	assert_true(asked >= 2);
}

static void a_datagram_that_another_thread_took_is_none(void **state)
{
	int fd = zs_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char buf[8];

	shared(fd);
	fake.result[CHAN_OP_READ] = 1;
	fake.on_answer = taken_by_another;
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -EAGAIN);
	assert_true(asked >= 2);
}

/* ---- leases ---- */

#define NAME chan_lease_name(5, 3)

static _Atomic uint64_t *word(void)
{
	return &core0->end.sh->lease[5];
}

static void lease_begins(void)
{
	atomic_store(word(), NAME);
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_LEASE, .sid = sid, .off = NAME});
}

static void lease_is_over(bool more)
{
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_LEASE, .sid = sid, .aux = more});
}

static int leased(int flags)
{
	int fd = fake_connection(flags, &sid);

	shared(fd);
	lease_begins();
	fake_data(core0, sid, "abcdef", 0);
	fake_data(core0, sid, "ghi", 0);
	assert_int_equal(zs_process(0), 1);
	return fd;
}

static void nobody_is_asked_for_what_is_leased(void **state)
{
	int fd = leased(SOCK_NONBLOCK);
	char buf[8];

	assert_int_equal(zs_recv(fd, buf, 3, MSG_PEEK), 3);
	assert_int_equal(atomic_load(word()), NAME);
	assert_int_equal(zs_read(fd, buf, 2), 2);
	assert_int_equal(atomic_load(word()), NAME + 2);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "cdefghi", 7);
	assert_int_equal(atomic_load(word()), NAME + 9);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(fake_count(core0, CHAN_OP_READ), 0);
	fake_serve(core0);
	assert_int_equal(core0->returned, 2);
}

static void nothing_to_read(enum chan_op op)
{
	if (op != CHAN_OP_READ)
		return;
	fake.result[CHAN_OP_READ] = -EAGAIN;
}

static void what_another_process_took_is_not_read(void **state)
{
	int fd = leased(SOCK_NONBLOCK);
	struct zs_buf b;
	char buf[8];

	assert_int_equal(zs_read(fd, buf, 2), 2);
	atomic_fetch_or(word(), CHAN_LEASE_CUT);
	fake.result[CHAN_OP_READ] = -EAGAIN;
	fake.on_answer = nothing_to_read;
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -EAGAIN);
	fake_serve(core0);
	assert_int_equal(core0->returned, 2);
	/* What was on its way goes back. */
	fake_data(core0, sid, "late", 0);
	assert_int_equal(zs_recv_zc(fd, &b, 1, 0), -EAGAIN);
	fake_serve(core0);
	assert_int_equal(core0->returned, 3);
	lease_is_over(true);
	assert_int_equal(zs_process(0), 1);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), MSG_PEEK), -EAGAIN);
	fake_data(core0, sid, "ours", 0);
	assert_int_equal(zs_process(0), 1);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 4);
}

static void what_another_process_took_is_not_looked_at(void **state)
{
	int fd = leased(SOCK_NONBLOCK);
	char buf[8];

	atomic_fetch_or(word(), CHAN_LEASE_CUT);
	fake.result[CHAN_OP_READ] = -EAGAIN;
	fake.on_answer = nothing_to_read;
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), MSG_PEEK), -EAGAIN);
}

static void what_is_closed_with_a_lease_is_left_to_the_others(void **state)
{
	int fd = leased(0);
	char buf[8];

	assert_int_equal(zs_read(fd, buf, 7), 7);
	fake.keep_closes = true;
	assert_int_equal(zs_close(fd), 0);
	assert_int_equal(atomic_load(word()), (NAME + 7) | CHAN_LEASE_LEFT);
	fake_data(core0, sid, "late", 0);
	(void)zs_process(0);
	fake_serve(core0);
	assert_int_equal(core0->returned, 1);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->arg[1], 0);
}

/* The end comes behind what was lent; after a lease it is for whoever reads the rest. */
static void the_end_is_asked_for_when_it_is_told(void **state)
{
	int fd = leased(SOCK_NONBLOCK);
	char buf[16];

	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_READABLE, .sid = sid});
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), MSG_WAITALL), 9);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), 0);
	assert_int_equal(fake_count(core0, CHAN_OP_READ), 1);
}

static void a_lease_that_makes_no_sense_breaks_its_socket(void **state)
{
	int fd = fake_connection(0, &sid);
	uint64_t before = client.stats.bad_events;
	char buf[8];

	shared(fd);
	lease_is_over(false);
	assert_int_equal(zs_process(0), 1);
	assert_int_equal(client.stats.bad_events, before + 1);
	assert_int_equal(zs_read(fd, buf, sizeof(buf)), -EPROTO);
}

#define LEASE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

/* ---- EPOLLEXCLUSIVE ---- */

static int set_with(int fd, uint32_t events)
{
	int ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = events};

	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	return ep;
}

static void said(unsigned n, int last)
{
	struct epoll_event e;

	(void)!zs_epoll_wait(zs_epoll_create1(0), &e, 1, 0);
	assert_int_equal(fake_count(core0, CHAN_OP_EXCLUSIVE), n);
	if (n > 0)
		assert_int_equal(fake_last(core0, CHAN_OP_EXCLUSIVE)->arg[0], last);
}

static void the_service_knows_when_one_holder_will_do(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), one, two;

	shared(l);
	one = set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	said(1, 1);
	(void)set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	said(1, 1);
	two = set_with(l, EPOLLIN);
	said(2, 0);
	assert_int_equal(zs_close(one), 0);
	said(2, 0);
	assert_int_equal(zs_epoll_ctl(two, EPOLL_CTL_DEL, l, NULL), 0);
	said(2, 0);
}

static void who_polls_is_told_always(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid);
	struct pollfd p = {.fd = l, .events = POLLIN};

	shared(l);
	(void)set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	said(1, 1);
	assert_int_equal(zs_poll(&p, 1, 1), 0);
	said(2, 0);
}

static void said_while_asleep(void)
{
	assert_int_equal(fake_count(core0, CHAN_OP_EXCLUSIVE), 1);
	assert_int_equal(fake_last(core0, CHAN_OP_EXCLUSIVE)->arg[0], 1);
}

static void nothing_there(enum chan_op op)
{
	fake.result[CHAN_OP_ACCEPT] = -EAGAIN;
}

/* One of the processes that sleep in accept() will do; who gives up says so. */
static void who_sleeps_in_accept_is_one_of_several(void **state)
{
	int l = fake_listener(0, &sid);
	struct timeval tv = {.tv_usec = 100000};

	shared(l);
	assert_int_equal(zs_setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	fake.result[CHAN_OP_ACCEPT] = -EAGAIN;
	fake.on_answer = nothing_there;
	fake.on_sleep = said_while_asleep;
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
	assert_true(fake.sleeps > 0);
	fake.on_sleep = NULL;
	said(2, 0);
}

static void connection_while_asleep(void)
{
	said_while_asleep();
	fake.on_sleep = NULL;
	fake.on_answer = last_one_then_connection;
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_READABLE, .sid = sid});
}

/* Who gets what it was woken for has nothing to say. */
static void who_accepts_says_nothing(void **state)
{
	int l = fake_listener(0, &sid);

	shared(l);
	fake.result[CHAN_OP_ACCEPT] = -EAGAIN;
	fake.on_answer = nothing_there;
	fake.on_sleep = connection_while_asleep;
	assert_true(zs_accept(l, NULL, NULL) >= 0);
	said(1, 1);
}

/* Connections wait at it, not buffers: those of the same numbers have nothing to do with them. */
static void a_listener_that_is_alone_again_keeps_its_queue(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid);
	struct core *c = &client.core[0];

	shared(l);
	for (uint32_t i = 0; i < c->max_loans; i++)
		c->loan[i].copy = true;
	fake_accept(core0, sid);
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_SOLE, .sid = sid});
	fake_accept(core0, sid);
	assert_true(zs_accept(l, NULL, NULL) >= 0);
	assert_true(zs_accept(l, NULL, NULL) >= 0);
	assert_int_equal(zs_accept(l, NULL, NULL), -EAGAIN);
}

static void sharing_says_how_it_is_waited_for(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), err;

	(void)set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	said(0, 0);
	fork_share(fd_csock(l, &err), 1);
	said(1, 1);
	/* Alone again, and with others again. */
	others_leave();
	said(1, 1);
	fork_share(fd_csock(l, &err), 2);
	said(2, 1);
}

/* The others leave while it looks: what it was shown it is told again, as its own. */
static void shown_and_told(enum chan_op op)
{
	if (op != CHAN_OP_READ)
		return;
	fake.on_answer = NULL;
	fake_data(core0, sid, "abc", CHAN_CQ_COPY);
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_SOLE, .sid = sid});
	fake_data(core0, sid, "abc", 0);
}

static void what_is_looked_at_while_the_others_leave_is_there_once(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), n = 0;
	char buf[8];

	shared(fd);
	fake.result[CHAN_OP_READ] = 3;
	fake.on_answer = shown_and_told;
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), MSG_PEEK), 3);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), -EAGAIN);
	shared(fd);
	fake.result[CHAN_OP_READ] = 3;
	fake.on_answer = shown_and_told;
	assert_int_equal(zs_ioctl(fd, FIONREAD, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), 3);
	assert_int_equal(zs_recv(fd, buf, sizeof(buf), 0), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cork_is_told_before_there_is_another_holder,
						fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(data_behind_the_answer_is_read, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_hint_behind_the_answer_is_followed, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_connection_behind_the_answer_is_accepted,
						fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(data_that_another_thread_took_is_no_end, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_datagram_that_another_thread_took_is_none,
						fake_setup, fake_teardown),
		LEASE(nobody_is_asked_for_what_is_leased),
		LEASE(what_another_process_took_is_not_read),
		LEASE(what_another_process_took_is_not_looked_at),
		LEASE(what_is_looked_at_while_the_others_leave_is_there_once),
		LEASE(what_is_closed_with_a_lease_is_left_to_the_others),
		LEASE(the_end_is_asked_for_when_it_is_told),
		LEASE(a_lease_that_makes_no_sense_breaks_its_socket),
		cmocka_unit_test_setup_teardown(the_service_knows_when_one_holder_will_do,
						fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(who_polls_is_told_always, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(who_sleeps_in_accept_is_one_of_several, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(who_accepts_says_nothing, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_listener_that_is_alone_again_keeps_its_queue, fake_setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(sharing_says_how_it_is_waited_for, fake_setup,
						fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
