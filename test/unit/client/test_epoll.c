/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Readiness as Linux reports it: epoll(7), poll(2), select(2); level, edge, one-shot; every state's
 * bits; sets and descriptors that close.
 */
#include "client/client_priv.h"
#include "fake.h"

#define core0 (&fake.core[0])
#define ALL   (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI)

static uint32_t sid;
static struct epoll_event ev[16];
static char buf[256];

static int set_with(int fd, uint32_t events)
{
	int ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = events, .data.u64 = 1000 + (unsigned)fd};

	assert_true(ep >= 0);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	return ep;
}

/* What a look now reports of the one item; 0: nothing. */
static uint32_t look(int ep)
{
	int n = zs_epoll_wait(ep, ev, 16, 0);

	assert_in_range(n, 0, 1);
	return n ? ev[0].events : 0;
}

/* Tables grow while they are used. */
static void sets_and_numbers_by_the_thousand(void **state)
{
	static int eps[5000];
	int fd = fake_connection(0, &sid), n = (int)array_size(eps);

	for (int i = 0; i < n; i++)
		eps[i] = set_with(fd, EPOLLOUT);
	assert_int_equal(eps[n - 1], eps[0] + n - 1);
	for (int i = 0; i < n; i++)
		assert_int_equal(look(eps[i]), EPOLLOUT);
	assert_int_equal(zs_close(eps[17]), 0);
	assert_int_equal(zs_epoll_create1(0), eps[17]);
	for (int i = 0; i < n; i++)
		assert_int_equal(zs_close(eps[i]), 0);
	assert_int_equal(zs_close(eps[n - 1] + 1), -EBADF);
	assert_int_equal(zs_close(1 << 21), -EBADF);
	assert_int_equal(zs_close(fd), 0);
}

static void ctl_errors_are_linuxs(void **state)
{
	int fd = fake_connection(0, &sid), ep = set_with(fd, EPOLLIN), other = zs_epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN};

	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), -EEXIST);
	assert_int_equal(zs_epoll_ctl(other, EPOLL_CTL_MOD, fd, &e), -ENOENT);
	assert_int_equal(zs_epoll_ctl(other, EPOLL_CTL_DEL, fd, NULL), -ENOENT);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, 99, &e), -EBADF);
	assert_int_equal(zs_epoll_ctl(99, EPOLL_CTL_ADD, fd, &e), -EBADF);
	assert_int_equal(zs_epoll_ctl(fd, EPOLL_CTL_ADD, fd, &e), -EINVAL);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e), -EINVAL);
	assert_int_equal(zs_epoll_ctl(fd, EPOLL_CTL_ADD, other, &e), -EINVAL);
	assert_int_equal(zs_epoll_ctl(ep, 77, fd, &e), -EINVAL);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, NULL), -EFAULT);
	assert_int_equal(zs_epoll_wait(ep, ev, 0, 0), -EINVAL);
	assert_int_equal(zs_epoll_wait(fd, ev, 1, 0), -EINVAL);
	assert_int_equal(zs_epoll_wait(99, ev, 1, 0), -EBADF);
	assert_int_equal(zs_epoll_create1(1), -EINVAL);
	assert_int_equal(zs_read(ep, buf, 1), -ENOTSOCK);
}

static void level_reports_until_it_is_read(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLIN);

	assert_int_equal(look(ep), 0);
	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(ep), EPOLLIN);
	assert_int_equal(ev[0].data.u64, 1000 + (unsigned)fd);
	assert_int_equal(look(ep), EPOLLIN);
	zs_read(fd, buf, 2);
	assert_int_equal(look(ep), EPOLLIN);
	zs_read(fd, buf, 2);
	assert_int_equal(look(ep), 0);
	fake_data(core0, sid, "x", 0);
	assert_int_equal(look(ep), EPOLLIN);
}

/* epoll(7): news only, also when the old news was not acted upon. */
static void edge_reports_each_arrival_once(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLIN | EPOLLET);

	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(ep), EPOLLIN);
	assert_int_equal(look(ep), 0);
	zs_read(fd, buf, 2);
	assert_int_equal(look(ep), 0);
	fake_data(core0, sid, "e", 0);
	assert_int_equal(look(ep), EPOLLIN);
	assert_int_equal(look(ep), 0);
	fake_fin(core0, sid);
	assert_int_equal(look(ep), EPOLLIN);
}

/* Linux: an edge carries the whole state. */
static void edge_of_input_tells_output_too(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	int ep = set_with(fd, EPOLLIN | EPOLLOUT | EPOLLET);

	assert_int_equal(look(ep), EPOLLOUT);
	assert_int_equal(look(ep), 0);
	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT);
}

static void edge_of_output_comes_after_a_write_found_no_room(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	int ep = set_with(fd, EPOLLOUT | EPOLLET);
	static char big[FAKE_LIMIT];

	fake.keep_tokens = true;
	assert_int_equal(look(ep), EPOLLOUT);
	/* Acknowledgements alone are no news while nobody was refused. */
	assert_int_equal(zs_write(fd, big, 1000), 1000);
	zs_process(0);
	fake_ack(core0, 1);
	assert_int_equal(look(ep), 0);
	while (zs_write(fd, big, 10000) > 0)
		;
	zs_process(0);
	assert_int_equal(look(ep), 0);
	/* A third must be free. */
	fake_ack(core0, 1);
	assert_int_equal(look(ep), 0);
	fake_ack(core0, core0->n_held);
	assert_int_equal(look(ep), EPOLLOUT);
	assert_int_equal(look(ep), 0);
}

static void oneshot_reports_once_until_mod(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLIN | EPOLLONESHOT);
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 5};

	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(ep), EPOLLIN);
	fake_data(core0, sid, "abcd", 0);
	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(look(ep), 0);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e), 0);
	assert_int_equal(look(ep), EPOLLIN | EPOLLERR | EPOLLHUP);
	assert_int_equal(ev[0].data.u64, 5);
	assert_int_equal(look(ep), 0);
}

static void add_and_mod_tell_what_is_so_already(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	int ep;

	fake_data(core0, sid, "abcd", 0);
	zs_process(0);
	ep = set_with(fd, EPOLLIN | EPOLLET);
	assert_int_equal(look(ep), EPOLLIN);
	assert_int_equal(look(ep), 0);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e), 0);
	assert_int_equal(look(ep), EPOLLIN);
}

/* The bits of each state, as Linux's tcp_poll has them. */
static void fresh_socket_is_out_and_hup(void **state)
{
	int ep = set_with(zs_socket(AF_INET, SOCK_STREAM, 0), ALL);

	assert_int_equal(look(ep), EPOLLOUT | EPOLLHUP);
}

static void listener_is_in_when_there_is_one(void **state)
{
	int fd = fake_listener(SOCK_NONBLOCK, &sid), ep = set_with(fd, ALL);

	assert_int_equal(look(ep), 0);
	fake_accept(core0, sid);
	assert_int_equal(look(ep), EPOLLIN);
	zs_accept(fd, NULL, NULL);
	assert_int_equal(look(ep), 0);
}

static int connecting(int *ep)
{
	struct sockaddr_in to = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	sid = core0->next_sid - 1;
	fake.keep_connects = true;
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), -EINPROGRESS);
	*ep = set_with(fd, ALL | EPOLLET);
	return fd;
}

static void connecting_is_nothing_then_out(void **state)
{
	int ep;

	connecting(&ep);
	assert_int_equal(look(ep), 0);
	fake_connected(core0, sid, 0);
	assert_int_equal(look(ep), EPOLLOUT);
	assert_int_equal(look(ep), 0);
}

static void refused_is_everything(void **state)
{
	int ep;

	connecting(&ep);
	look(ep);
	fake_connected(core0, sid, -ECONNREFUSED);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
}

static void half_closed_by_peer_is_in_and_rdhup(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, ALL);

	fake_fin(core0, sid);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}

/* EPOLLHUP is reported to those who asked for nothing (epoll_ctl(2)). */
static void end_of_both_sides_is_hup_unasked(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, 0);

	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	assert_int_equal(look(ep), 0);
	fake_fin(core0, sid);
	assert_int_equal(look(ep), EPOLLHUP);
}

static void half_closed_by_us_is_out(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, ALL);

	assert_int_equal(zs_shutdown(fd, SHUT_WR), 0);
	assert_int_equal(look(ep), EPOLLOUT);
	assert_int_equal(zs_shutdown(fd, SHUT_RD), 0);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}

static void reset_is_everything_until_it_is_told(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, ALL);

	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
	assert_int_equal(zs_read(fd, buf, 1), -ECONNRESET);
	assert_int_equal(look(ep), EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
}

static void errors_are_told_unasked(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, 0);

	fake_data(core0, sid, "x", 0);
	assert_int_equal(look(ep), 0);
	fake_error(core0, sid, -ECONNRESET, true);
	assert_int_equal(look(ep), EPOLLERR | EPOLLHUP);
}

static void close_leaves_every_set(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), a = set_with(fd, ALL), b = set_with(fd, ALL);

	assert_int_equal(look(a), EPOLLOUT);
	zs_close(fd);
	assert_int_equal(look(a), 0);
	assert_int_equal(look(b), 0);
	assert_int_equal(zs_close(a), 0);
	assert_int_equal(zs_epoll_wait(a, ev, 1, 0), -EBADF);
}

static void one_socket_in_two_sets_is_told_to_both(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	int a = set_with(fd, EPOLLIN | EPOLLET), b = set_with(fd, EPOLLIN);

	fake_data(core0, sid, "x", 0);
	assert_int_equal(look(a), EPOLLIN);
	assert_int_equal(look(b), EPOLLIN);
	assert_int_equal(look(a), 0);
	zs_close(b);
	fake_data(core0, sid, "x", 0);
	assert_int_equal(look(a), EPOLLIN);
}

/* A caller with room for few gets round to all. */
static void short_array_rotates_through_the_ready(void **state)
{
	int ep = zs_epoll_create1(0), seen[10] = {0};
	struct epoll_event e = {.events = EPOLLIN};

	for (int i = 0; i < 10; i++) {
		int fd = fake_connection(SOCK_NONBLOCK, &sid);

		e.data.u32 = (uint32_t)i;
		zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
		fake_data(core0, sid, "x", 0);
	}
	for (int k = 0; k < 5; k++) {
		assert_int_equal(zs_epoll_wait(ep, ev, 4, 0), 4);
		for (int i = 0; i < 4; i++)
			seen[ev[i].data.u32]++;
	}
	for (int i = 0; i < 10; i++)
		assert_int_equal(seen[i], 2);
	assert_int_equal(zs_epoll_wait(ep, ev, 16, 0), 10);
}

static void data_comes(void)
{
	fake_data(core0, sid, "x", 0);
}

/* epoll(7), "Can I add an epoll file descriptor to another epoll set?" */
static void a_set_with_something_ready_is_readable_in_another(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), in = set_with(fd, EPOLLIN);
	int out = set_with(in, EPOLLIN), edge = set_with(in, EPOLLIN | EPOLLET);
	struct epoll_event e = {.events = EPOLLIN};

	assert_int_equal(look(out), 0);
	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(out), EPOLLIN);
	assert_int_equal(ev[0].data.u64, 1000 + (unsigned)in);
	assert_int_equal(look(out), EPOLLIN);
	assert_int_equal(look(edge), EPOLLIN);
	assert_int_equal(look(edge), 0);
	/* Looking at one takes nothing from the other. */
	assert_int_equal(look(in), EPOLLIN);
	zs_read(fd, buf, 4);
	assert_int_equal(look(out), 0);
	fake_data(core0, sid, "e", 0);
	assert_int_equal(look(edge), EPOLLIN);
	assert_int_equal(zs_epoll_ctl(out, EPOLL_CTL_MOD, in, &e), 0);
	assert_int_equal(zs_epoll_ctl(out, EPOLL_CTL_DEL, in, NULL), 0);
	assert_int_equal(zs_epoll_ctl(out, EPOLL_CTL_DEL, in, NULL), -ENOENT);
	assert_int_equal(look(out), 0);
	assert_int_equal(zs_close(in), 0);
	assert_int_equal(look(edge), 0);
}

static void sets_hold_neither_themselves_nor_more_than_some_levels(void **state)
{
	struct epoll_event e = {.events = EPOLLIN};
	int ep[7], r = 0;

	for (int i = 0; i < 7; i++)
		ep[i] = zs_epoll_create1(0);
	assert_int_equal(zs_epoll_ctl(ep[0], EPOLL_CTL_ADD, ep[1], &e), 0);
	assert_int_equal(zs_epoll_ctl(ep[1], EPOLL_CTL_ADD, ep[0], &e), -ELOOP);
	assert_int_equal(zs_epoll_ctl(ep[1], EPOLL_CTL_ADD, ep[2], &e), 0);
	assert_int_equal(zs_epoll_ctl(ep[2], EPOLL_CTL_ADD, ep[0], &e), -ELOOP);
	for (int i = 2; i < 6 && r == 0; i++)
		r = zs_epoll_ctl(ep[i], EPOLL_CTL_ADD, ep[i + 1], &e);
	assert_int_equal(r, -ELOOP);
	e.events |= EPOLLEXCLUSIVE;
	assert_int_equal(zs_epoll_ctl(ep[6], EPOLL_CTL_ADD, ep[5], &e), -EINVAL);
}

/* epoll_ctl(2), EPOLLEXCLUSIVE. */
static void exclusive_is_only_for_adding(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = zs_epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE};

	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), -EINVAL);
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e), -EINVAL);
	e.events = EPOLLIN;
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e), -EINVAL);
	fake_data(core0, sid, "abcd", 0);
	assert_int_equal(look(ep), EPOLLIN);
}

/* Somebody sleeps in a set. */
struct sleeper {
	struct waiter w;
	struct wlink link;
};

static void sleeps_in(struct sleeper *s, int ep)
{
	int err;

	waiter_init(&s->w);
	s->link = (struct wlink){.w = &s->w};
	fd_epset(ep, &err)->waiters = &s->link;
}

static void wakes(int ep)
{
	int err;

	fd_epset(ep, &err)->waiters = NULL;
}

static void of_sets_that_sleep_exclusively_one_is_woken(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), any = set_with(l, EPOLLIN), ep[3];
	struct sleeper s[2];

	for (int i = 0; i < 3; i++)
		ep[i] = set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	sleeps_in(&s[0], ep[0]);
	sleeps_in(&s[1], ep[1]);
	fake_accept(core0, sid);
	assert_int_equal(look(any), EPOLLIN);
	assert_true(s[0].w.woken != s[1].w.woken);
	assert_int_equal(look(ep[2]), EPOLLIN); /* nobody sleeps there */
	/* Before the first one has looked another connection comes. */
	fake_accept(core0, sid);
	assert_int_equal(look(any), EPOLLIN);
	assert_true(s[0].w.woken && s[1].w.woken);
	wakes(ep[0]);
	wakes(ep[1]);
	assert_int_equal(look(ep[0]), EPOLLIN);
	assert_int_equal(look(ep[1]), EPOLLIN);
}

static void sets_are_woken_in_turn(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), any = set_with(l, EPOLLIN), ep[3];
	struct sleeper s[3];
	int first = -1;

	for (int i = 0; i < 3; i++)
		ep[i] = set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
	for (int n = 0; n < 6; n++) {
		int woken = -1;

		for (int i = 0; i < 3; i++)
			sleeps_in(&s[i], ep[i]);
		fake_accept(core0, sid);
		assert_int_equal(look(any), EPOLLIN);
		for (int i = 0; i < 3; i++) {
			woken = s[i].w.woken ? i : woken;
			wakes(ep[i]);
		}
		assert_true(woken >= 0 && s[woken].w.woken);
		first = n == 0 ? woken : first;
		assert_int_equal(woken == first, n % 3 == 0);
		assert_int_equal(look(ep[woken]), EPOLLIN);
		assert_int_equal(look(ep[(woken + 1) % 3]) + look(ep[(woken + 2) % 3]), 0);
		assert_true(zs_accept(l, NULL, NULL) >= 0);
		assert_int_equal(look(any) + look(ep[woken]), 0);
	}
}

/* It was told alone, and goes: whoever is left is told. */
static void a_set_that_goes_hands_on_what_it_was_told(void **state)
{
	int l = fake_listener(SOCK_NONBLOCK, &sid), any = set_with(l, EPOLLIN), ep[3];
	struct sleeper s[3];
	int left = 3;

	for (int i = 0; i < 3; i++) {
		ep[i] = set_with(l, EPOLLIN | EPOLLEXCLUSIVE);
		sleeps_in(&s[i], ep[i]);
	}
	fake_accept(core0, sid);
	assert_int_equal(look(any), EPOLLIN);
	while (left > 1) {
		int gone = 0, n = 0;

		while (ep[gone] < 0 || !s[gone].w.woken)
			gone++;
		wakes(ep[gone]);
		if (left == 3)
			assert_int_equal(zs_close(ep[gone]), 0);
		else
			assert_int_equal(zs_epoll_ctl(ep[gone], EPOLL_CTL_DEL, l, NULL), 0);
		ep[gone] = -1;
		for (int i = 0; i < 3; i++)
			n += ep[i] >= 0 && s[i].w.woken;
		assert_int_equal(n, 1);
		left--;
	}
	for (int i = 0; i < 3; i++)
		if (ep[i] >= 0)
			wakes(ep[i]);
}

static void closed_sets_leave_room_for_others(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);

	for (int i = 0; i < 1000; i++) {
		int in = set_with(fd, EPOLLIN), out = set_with(in, EPOLLIN);

		assert_int_equal(zs_close(i & 1 ? in : out), 0);
		assert_int_equal(zs_close(i & 1 ? out : in), 0);
	}
}

static void wait_sleeps_until_news(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLIN);

	assert_int_equal(zs_epoll_wait(ep, ev, 1, 2), 0);
	fake.sleeps = 0;
	fake.on_sleep = data_comes;
	assert_int_equal(zs_epoll_wait(ep, ev, 1, -1), 1);
	assert_int_equal(fake.sleeps, 1);
}

/* News that nobody asked for don't end the wait. */
static int naps;
static void other_news(void)
{
	if (naps++ < 3)
		fake_event(core0,
			   &(struct chan_cqe){.ev = CHAN_EV_WRITABLE, .sid = sid, .aux = 200000});
	else
		fake_data(core0, sid, "x", 0);
}

static void wait_sleeps_again_after_other_news(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLIN);

	naps = 0;
	fake.on_sleep = other_news;
	assert_int_equal(zs_epoll_wait(ep, ev, 1, -1), 1);
	assert_int_equal(naps, 4);
}

static void every_wait_runs_the_stack(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid), ep = set_with(fd, EPOLLOUT);
	unsigned before = fake.polls;

	for (int i = 0; i < 10; i++)
		assert_int_equal(look(ep), EPOLLOUT);
	assert_int_equal(fake.polls - before, 10);
}

/* A program that never waits must not starve the stack. */
static void many_vain_reads_run_the_stack(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	unsigned before = fake.polls;

	for (int i = 0; i < 1000; i++)
		assert_int_equal(zs_read(fd, buf, 1), -EAGAIN);
	assert_in_range(fake.polls - before, 10, 20);
}

/* ---- poll, select ---- */

static void poll_reports_states_and_bad_descriptors(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct pollfd p[] = {{.fd = fd, .events = POLLIN | POLLOUT},
			     {.fd = 99, .events = POLLIN},
			     {.fd = -1, .events = POLLIN, .revents = 7}};

	assert_int_equal(zs_poll(p, 3, 0), 2);
	assert_int_equal(p[0].revents, POLLOUT);
	assert_int_equal(p[1].revents, POLLNVAL);
	assert_int_equal(p[2].revents, 0);
	p[0].events = POLLIN;
	assert_int_equal(zs_poll(p, 1, 2), 0);
	fake.on_sleep = data_comes;
	assert_int_equal(zs_poll(p, 1, -1), 1);
	assert_int_equal(p[0].revents, POLLIN);
}

static void poll_of_many_waits_for_any(void **state)
{
	struct pollfd p[200];

	for (int i = 0; i < 200; i++)
		p[i] = (struct pollfd){.fd = fake_connection(SOCK_NONBLOCK, &sid),
				       .events = POLLIN};
	fake.on_sleep = data_comes;
	assert_int_equal(zs_poll(p, 200, -1), 1);
	assert_int_equal(p[199].revents, POLLIN);
}

static void select_answers_in_the_sets(void **state)
{
	int fd = fake_connection(SOCK_NONBLOCK, &sid);
	struct timeval none = {0, 0};
	fd_set r, w;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	assert_int_equal(zs_select(fd + 1, &r, &w, NULL, &none), 1);
	assert_false(FD_ISSET(fd, &r));
	assert_true(FD_ISSET(fd, &w));
	FD_SET(fd, &r);
	fake_data(core0, sid, "x", 0);
	assert_int_equal(zs_select(fd + 1, &r, &w, NULL, &none), 2);
	FD_SET(99, &r);
	assert_int_equal(zs_select(100, &r, NULL, NULL, &none), -EBADF);
	assert_int_equal(zs_select(FD_SETSIZE + 1, &r, NULL, NULL, &none), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ctl_errors_are_linuxs),
		T(level_reports_until_it_is_read),
		T(edge_reports_each_arrival_once),
		T(edge_of_input_tells_output_too),
		T(edge_of_output_comes_after_a_write_found_no_room),
		T(oneshot_reports_once_until_mod),
		T(add_and_mod_tell_what_is_so_already),
		T(fresh_socket_is_out_and_hup),
		T(listener_is_in_when_there_is_one),
		T(connecting_is_nothing_then_out),
		T(refused_is_everything),
		T(half_closed_by_peer_is_in_and_rdhup),
		T(end_of_both_sides_is_hup_unasked),
		T(half_closed_by_us_is_out),
		T(reset_is_everything_until_it_is_told),
		T(errors_are_told_unasked),
		T(close_leaves_every_set),
		T(one_socket_in_two_sets_is_told_to_both),
		T(short_array_rotates_through_the_ready),
		T(a_set_with_something_ready_is_readable_in_another),
		T(sets_hold_neither_themselves_nor_more_than_some_levels),
		T(exclusive_is_only_for_adding),
		T(of_sets_that_sleep_exclusively_one_is_woken),
		T(sets_are_woken_in_turn),
		T(a_set_that_goes_hands_on_what_it_was_told),
		T(closed_sets_leave_room_for_others),
		T(wait_sleeps_until_news),
		T(wait_sleeps_again_after_other_news),
		T(every_wait_runs_the_stack),
		T(many_vain_reads_run_the_stack),
		T(poll_reports_states_and_bad_descriptors),
		T(poll_of_many_waits_for_any),
		T(select_answers_in_the_sets),
		T(sets_and_numbers_by_the_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
