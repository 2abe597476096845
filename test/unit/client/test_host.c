/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a host of libzstack relies upon (client/host.h): numbers that it chooses, and several for
 * one thing.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/host.h"
#include "fake.h"

#define core0 (&fake.core[0])

static uint32_t sid;
static char buf[64];
static int next_fd, last_flags, gone[16];
static unsigned n_gone, n_back;

static int fd_new(int flags)
{
	last_flags = flags;
	return next_fd >= 0 ? next_fd++ : next_fd;
}

static void fd_back(int fd)
{
	next_fd = fd;
	n_back++;
}

static void fd_gone(int fd)
{
	gone[n_gone++ % 16] = fd;
}

static __thread volatile bool pending; /* a handler waits */

static bool interrupted(void)
{
	return pending;
}

static const struct host_ops ops = {
	.fd_new = fd_new, .fd_back = fd_back, .fd_gone = fd_gone, .interrupted = interrupted};

static int setup(void **state)
{
	host_set(&ops);
	next_fd = 100;
	n_gone = n_back = 0;
	last_flags = -1;
	return fake_setup(state);
}

/* A TCP socket at this number that is connected. */
static void connection_at(int fd)
{
	struct sockaddr_in a = fake_addr(80);

	assert_int_equal(host_socket_at(fd, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), fd);
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	zs_process(0);
	sid = fake_last(core0, CHAN_OP_CONNECT)->sid;
}

static void a_socket_takes_the_number_it_is_told(void **state)
{
	assert_int_equal(host_socket_at(7, AF_INET, SOCK_DGRAM, 0), 7);
	assert_int_equal(host_socket_at(7, AF_INET, SOCK_DGRAM, 0), -EBUSY);
	assert_int_equal(host_epoll_at(7), -EBUSY);
	assert_int_equal(host_socket_at(-1, AF_INET, SOCK_DGRAM, 0), -EBADF);
	assert_int_equal(host_socket_at(1 << 30, AF_INET, SOCK_DGRAM, 0), -EMFILE);
	assert_int_equal(host_socket_at(8, AF_UNIX, SOCK_DGRAM, 0), -EAFNOSUPPORT);
	assert_int_equal(host_epoll_at(9), 9);
	assert_int_equal(zs_close(7), 0);
	assert_int_equal(zs_close(7), -EBADF);
	assert_int_equal(host_epoll_at(7), 7);
	assert_int_equal(n_gone, 0);
}

static void the_host_chooses_what_accept_returns(void **state)
{
	uint32_t lsid;
	int l = fake_listener(SOCK_NONBLOCK, &lsid);

	assert_int_equal(l, 100);
	fake_accept(core0, lsid);
	fake_accept(core0, lsid);
	assert_int_equal(zs_accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), 101);
	assert_int_equal(last_flags, SOCK_CLOEXEC);
	next_fd = -EMFILE;
	assert_int_equal(zs_accept(l, NULL, NULL), -EMFILE);
	/* It is still there. */
	next_fd = 55;
	assert_int_equal(zs_accept(l, NULL, NULL), 55);
	assert_int_equal(last_flags, 0);
}

static void a_number_beyond_the_table_is_given_back(void **state)
{
	uint32_t lsid;
	int l = fake_listener(SOCK_NONBLOCK, &lsid);

	fake_accept(core0, lsid);
	next_fd = 1 << 25;
	assert_int_equal(zs_accept(l, NULL, NULL), -EMFILE);
	assert_int_equal(n_back, 1);
	assert_int_equal(n_gone, 0);
	assert_int_equal(next_fd, 1 << 25);
}

/* The program closed one of ours by a raw system call, and the kernel gave it out again. */
static void a_number_that_the_host_gives_again_was_closed(void **state)
{
	uint32_t lsid;
	int l = fake_listener(SOCK_NONBLOCK, &lsid);

	connection_at(20);
	fake_accept(core0, lsid);
	next_fd = 20;
	assert_int_equal(zs_accept(l, NULL, NULL), 20);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_CLOSE)->sid, sid);
	fake_accept(core0, lsid);
	next_fd = l;
	assert_int_equal(zs_accept(l, NULL, NULL), -EBADF);
	assert_int_equal(gone[0], l);
	assert_int_equal(n_gone, 1);
}

static void any_number_reads_and_the_last_one_closes(void **state)
{
	connection_at(10);
	assert_int_equal(host_fd_count(10), 1);
	assert_int_equal(host_dup(10, 11), 0);
	assert_int_equal(host_dup(11, 12), 0);
	assert_int_equal(host_dup(10, 12), -EBUSY);
	assert_int_equal(host_dup(13, 14), -EBADF);
	assert_int_equal(host_dup(10, -1), -EBADF);
	assert_int_equal(host_dup(10, 1 << 30), -EMFILE);
	for (int fd = 10; fd <= 12; fd++)
		assert_int_equal(host_fd_count(fd), 3);
	fake_data(core0, sid, "abc", 0);
	for (int fd = 10; fd <= 12; fd++)
		assert_int_equal(zs_read(fd, buf, 1), 1);
	assert_int_equal(zs_close(10), 0);
	assert_int_equal(zs_read(10, buf, 1), -EBADF);
	assert_int_equal(host_fd_count(10), -EBADF);
	assert_int_equal(host_fd_count(12), 2);
	assert_int_equal(zs_close(12), 0);
	assert_int_equal(zs_write(11, "x", 1), 1);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_CLOSE), 0);
	assert_int_equal(host_fd_count(11), 1);
	assert_int_equal(zs_close(11), 0);
	zs_process(0);
	assert_int_equal(fake_count(core0, CHAN_OP_CLOSE), 1);
	assert_int_equal(n_gone, 0);
}

static void a_set_has_several_numbers_too(void **state)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 4}, out;

	connection_at(10);
	assert_int_equal(host_epoll_at(30), 30);
	assert_int_equal(host_dup(30, 31), 0);
	assert_int_equal(zs_epoll_ctl(31, EPOLL_CTL_ADD, 10, &e), 0);
	assert_int_equal(zs_close(30), 0);
	fake_data(core0, sid, "abc", 0);
	assert_int_equal(zs_epoll_wait(31, &out, 1, 0), 1);
	assert_int_equal(out.data.u64, 4);
	assert_int_equal(zs_close(31), 0);
	assert_int_equal(zs_epoll_wait(31, &out, 1, 0), -EBADF);
}

/* epoll(7), "closing a file descriptor": an item stays as long as its open file has descriptors. */
static void each_number_is_an_item_and_stays_while_the_socket_lives(void **state)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1}, out[4];

	connection_at(10);
	assert_int_equal(host_dup(10, 11), 0);
	assert_int_equal(host_epoll_at(30), 30);
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_ADD, 10, &e), 0);
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_ADD, 10, &e), -EEXIST);
	e.data.u64 = 2;
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_ADD, 11, &e), 0);
	fake_data(core0, sid, "abc", 0);
	assert_int_equal(zs_epoll_wait(30, out, 4, 0), 2);
	assert_int_equal(out[0].data.u64 + out[1].data.u64, 3);
	assert_int_equal(zs_close(10), 0);
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_DEL, 10, NULL), -EBADF);
	assert_int_equal(zs_epoll_wait(30, out, 4, 0), 2);
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_DEL, 11, NULL), 0);
	assert_int_equal(zs_epoll_wait(30, out, 4, 0), 1);
	assert_int_equal(out[0].data.u64, 1);
	assert_int_equal(zs_close(11), 0);
	assert_int_equal(zs_epoll_wait(30, out, 4, 0), 0);
}

static void what_stop_takes_the_host_is_told(void **state)
{
	connection_at(10);
	assert_int_equal(host_dup(10, 11), 0);
	assert_int_equal(host_epoll_at(30), 30);
	fake_stop();
	assert_int_equal(n_gone, 3);
	assert_int_equal(gone[0] + gone[1], 21);
	assert_int_equal(gone[2], 30);
	assert_int_equal(host_fd_count(10), -ENXIO);
	fake_start(1, false);
}

/* Against a list of which number stands for which socket. */
static void numbers_of_random_order_are_those_of_a_model(void **state)
{
	int of[64] = {0}, made = 0, n;

	srand(11);
	for (int step = 0; step < 3000; step++) {
		int a = rand() % 64, b = rand() % 64, op = rand() % 3;

		if (op == 0 && of[a] == 0) {
			assert_int_equal(host_socket_at(a, AF_INET, SOCK_DGRAM, 0), a);
			of[a] = ++made;
		} else if (op == 1) {
			assert_int_equal(host_dup(a, b), of[a] == 0   ? -EBADF
							 : of[b] != 0 ? -EBUSY
								      : 0);
			of[b] = of[a] != 0 && of[b] == 0 ? of[a] : of[b];
		} else if (op == 2) {
			assert_int_equal(zs_close(a), of[a] != 0 ? 0 : -EBADF);
			of[a] = 0;
		}
		core0->n_log = 0;
		n = 0;
		for (int i = 0; i < 64; i++)
			n += of[i] == of[b];
		assert_int_equal(host_fd_count(b), of[b] != 0 ? n : -EBADF);
	}
}

static void addresses_come_from_the_stack_and_are_remembered(void **state)
{
	struct chan_addr *in_scratch = (struct chan_addr *)core0->end.scratch, a[2];
	unsigned routes;

	memset(in_scratch, 0, 2 * sizeof(*in_scratch));
	in_scratch[0].addr[15] = 1;
	in_scratch[1].prefix_len = 64;
	fake.result[CHAN_OP_ADDRS] = 2;
	assert_int_equal(host_addresses(a, 2, &routes), 2);
	assert_int_equal(a[0].addr[15], 1);
	assert_int_equal(a[1].prefix_len, 64);
	assert_int_equal(routes, 0);
	in_scratch[0].addr[15] = 2;
	memset(a, 0, sizeof(a));
	assert_int_equal(host_addresses(a, 1, &routes), 2);
	assert_int_equal(a[0].addr[15], 1);
	assert_int_equal(a[1].prefix_len, 0);
	assert_int_equal(fake_count(core0, CHAN_OP_ADDRS), 1);
	/* Who lists them wants them as they are now, and what comes next knows of that. */
	fake.result[CHAN_OP_ADDRS] = 2;
	assert_int_equal(host_addresses_now(a, 1), 2);
	assert_int_equal(a[0].addr[15], 2);
	assert_int_equal(fake_count(core0, CHAN_OP_ADDRS), 2);
	assert_int_equal(host_addresses(a, 1, &routes), 2);
	assert_int_equal(a[0].addr[15], 2);
	assert_int_equal(fake_count(core0, CHAN_OP_ADDRS), 2);
}

static void interfaces_have_the_kernels_number_or_one_of_their_own(void **state)
{
	assert_int_equal(host_interface(FAKE_IF), FAKE_IF_KERNEL);
	assert_int_equal(host_interface(FAKE_IF + 1), CHAN_IF_OWN + FAKE_IF + 1);
	assert_true(chan_if_is_own(host_interface(FAKE_IF + 1)));
	assert_false(chan_if_is_own(FAKE_IF_KERNEL));
}

/* ---- waiting for both sides ---- */

static int pipe_fd[2];
static uint32_t sid2;

/* Sockets 10 and 20, a set 30 that has 10, a pipe; the stack has a thread. */
static int setup_wait(void **state)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct sockaddr_in a = fake_addr(80);

	host_set(&ops);
	fake_start(1, true);
	for (int fd = 10; fd <= 20; fd += 10) {
		assert_int_equal(host_socket_at(fd, AF_INET, SOCK_STREAM, 0), fd);
		assert_int_equal(zs_connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		*(fd == 10 ? &sid : &sid2) = fake_last(core0, CHAN_OP_CONNECT)->sid;
	}
	assert_int_equal(host_epoll_at(30), 30);
	assert_int_equal(zs_epoll_ctl(30, EPOLL_CTL_ADD, 10, &e), 0);
	return pipe(pipe_fd);
}

static int teardown_wait(void **state)
{
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	fake_stop();
	return 0;
}

static void arrive(uint32_t s)
{
	pthread_mutex_lock(&fake.lock);
	fake_data(core0, s, "x", 0);
	pthread_mutex_unlock(&fake.lock);
}

static void what_is_there_already_counts(void **state)
{
	struct pollfd k = {.fd = pipe_fd[0], .events = POLLIN};
	struct pollfd ours[2] = {{.fd = 20, .events = POLLIN}, {.fd = 99, .events = POLLIN}};
	struct host_wait set = {.epfd = 30, .fd = -1, .kernel = &k, .n_kernel = 1};
	struct host_wait poll = set;

	poll.epfd = -1;
	poll.pfd = ours;
	poll.n_pfd = 2;
	assert_int_equal(host_wait(&set), 0);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	set.deadline_ns = INT64_MAX;
	assert_int_equal(host_wait(&set), HOST_KERNEL);
	assert_int_equal(k.revents, POLLIN);
	arrive(sid);
	arrive(sid2);
	assert_int_equal(host_wait(&set), HOST_OURS);
	assert_int_equal(host_wait(&poll), HOST_OURS | HOST_KERNEL);
	assert_int_equal(ours[0].revents, POLLIN);
	assert_int_equal(ours[1].revents, 0);
	assert_int_equal(k.revents, POLLIN);
	set = (struct host_wait){.epfd = -1, .fd = 20, .deadline_ns = INT64_MAX};
	assert_int_equal(host_wait(&set), HOST_OURS);
	set.fd = 30;
	assert_int_equal(host_wait(&set), -EBADF);
}

static void a_deadline_ends_it(void **state)
{
	struct pollfd k = {.fd = pipe_fd[0], .events = POLLIN};
	struct host_wait w = {.epfd = 30,
			      .fd = -1,
			      .kernel = &k,
			      .n_kernel = 1,
			      .deadline_ns = now_ns() + 3000000};

	assert_int_equal(host_wait(&w), 0);
	assert_true(now_ns() >= w.deadline_ns);
}

/* A thread that waits for the set and the pipe. */
struct waits {
	struct pollfd k;
	struct host_wait w;
	int result;
	pthread_t thread;
};

static void *wait_main(void *arg)
{
	struct waits *t = arg;

	t->result = host_wait(&t->w);
	return NULL;
}

static void wait_begin(struct waits *t, int epfd)
{
	t->k = (struct pollfd){.fd = pipe_fd[0], .events = POLLIN};
	t->w = (struct host_wait){.epfd = epfd,
				  .fd = epfd < 0 ? 20 : -1,
				  .kernel = &t->k,
				  .n_kernel = 1,
				  .deadline_ns = INT64_MAX};
	assert_int_equal(pthread_create(&t->thread, NULL, wait_main, t), 0);
}

static int wait_end(struct waits *t)
{
	pthread_join(t->thread, NULL);
	return t->result;
}

/* Until a thread leads, and so many follow. */
static void others_wait(bool leader, unsigned followers)
{
	for (;;) {
		unsigned n = 0;
		bool leads;

		client_lock();
		for (struct list *l = client.followers.next; l != &client.followers; l = l->next)
			n++;
		leads = client.leader != NULL;
		client_unlock();
		if (leads == leader && n == followers)
			return;
		sched_yield();
	}
}

static void either_side_ends_the_leaders_sleep(void **state)
{
	struct waits t;
	char c;

	for (int i = 0; i < 20; i++) {
		wait_begin(&t, 30);
		others_wait(true, 0);
		if (i % 2 == 0)
			assert_int_equal(write(pipe_fd[1], "x", 1), 1);
		else
			arrive(sid);
		assert_int_equal(wait_end(&t), i % 2 == 0 ? HOST_KERNEL : HOST_OURS);
		assert_int_equal(i % 2 == 0 ? read(pipe_fd[0], &c, 1) : zs_read(10, &c, 1), 1);
	}
}

/* It sleeps on an eventfd beside the pipe; a leader that leaves makes it leader. */
static void either_side_ends_a_followers_sleep(void **state)
{
	struct waits leads, follows;
	char c;

	for (int i = 0; i < 20; i++) {
		wait_begin(&leads, 30);
		others_wait(true, 0);
		wait_begin(&follows, -1);
		others_wait(true, 1);
		if (i % 2 == 0) {
			arrive(sid2);
			assert_int_equal(wait_end(&follows), HOST_OURS);
			assert_int_equal(zs_read(20, &c, 1), 1);
			arrive(sid);
			assert_int_equal(wait_end(&leads), HOST_OURS);
		} else {
			arrive(sid);
			assert_int_equal(wait_end(&leads), HOST_OURS);
			others_wait(true, 0);
			assert_int_equal(write(pipe_fd[1], "x", 1), 1);
			assert_int_equal(wait_end(&follows), HOST_KERNEL);
			assert_int_equal(read(pipe_fd[0], &c, 1), 1);
		}
		assert_int_equal(zs_read(10, &c, 1), 1);
	}
	wait_begin(&leads, 30);
	others_wait(true, 0);
	wait_begin(&follows, -1);
	others_wait(true, 1);
	assert_int_equal(write(pipe_fd[1], "x", 1), 1);
	assert_int_equal(wait_end(&leads), HOST_KERNEL);
	assert_int_equal(wait_end(&follows), HOST_KERNEL);
}

static void members_in_the_kernel_end_a_wait_that_knows_none(void **state)
{
	struct host_wait w = {.epfd = 30, .fd = -1, .deadline_ns = INT64_MAX};
	struct waits t;

	assert_int_equal(host_epoll_kernel(30, true), 0);
	assert_int_equal(host_wait(&w), HOST_AGAIN);
	assert_int_equal(host_epoll_kernel(30, false), 0);
	t.w = w;
	assert_int_equal(pthread_create(&t.thread, NULL, wait_main, &t), 0);
	others_wait(true, 0);
	assert_int_equal(host_epoll_kernel(30, true), 0);
	assert_int_equal(wait_end(&t), HOST_AGAIN);
	assert_int_equal(host_epoll_kernel(10, true), -EINVAL);
	arrive(sid);
	assert_int_equal(host_wait(&w), HOST_OURS);
}

static volatile sig_atomic_t handled;

static void handler(int sig)
{
	handled++;
}

/* ppoll(2): blocked before and after, let through while it waits. */
static void a_mask_holds_while_it_waits(void **state)
{
	struct sigaction sa = {.sa_handler = handler};
	struct host_wait w = {.epfd = 30, .fd = -1, .deadline_ns = INT64_MAX};
	sigset_t usr1, none;

	handled = 0;
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigaction(SIGUSR1, &sa, NULL);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	w.sigmask = &none;
	assert_int_equal(host_wait(&w), -EINTR);
	assert_int_equal(handled, 1);
	/* What is ready goes before the signal. */
	pthread_kill(pthread_self(), SIGUSR1);
	arrive(sid);
	while (zs_recv(10, buf, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
		;
	assert_int_equal(host_wait(&w), HOST_OURS);
	assert_int_equal(handled, 1);
	zs_read(10, buf, 1);
	w.deadline_ns = 0;
	assert_int_equal(host_wait(&w), -EINTR);
	assert_int_equal(handled, 2);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
}

static void put_off(int sig)
{
	handled++;
	pending = true;
	host_interrupt();
}

static void *read_main(void *arg)
{
	struct waits *t = arg;
	char c;

	t->result = (int)zs_read(20, &c, 1);
	return NULL;
}

/* At whatever moment it comes: before the sleep, in it, while it spins, leads or follows. */
static void a_signal_that_is_put_off_ends_every_wait(void **state)
{
	struct sigaction sa = {.sa_handler = put_off};
	struct waits leads, t;

	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 300; i++) {
		bool follows = i % 3 == 2;

		handled = 0;
		if (follows) {
			wait_begin(&leads, 30);
			others_wait(true, 0);
		}
		if (i % 2 == 0)
			assert_int_equal(pthread_create(&t.thread, NULL, read_main, &t), 0);
		else
			wait_begin(&t, -1);
		others_wait(true, follows);
		for (int spin = 0; spin < i * 50; spin++)
			__builtin_ia32_pause();
		pthread_kill(t.thread, SIGUSR1);
		assert_int_equal(wait_end(&t), -EINTR);
		assert_int_equal(handled, 1);
		if (!follows)
			continue;
		arrive(sid);
		assert_int_equal(wait_end(&leads), HOST_OURS);
		assert_int_equal(zs_read(10, buf, 1), 1);
	}
}

/* What the stack is asked is not left without its answer. */
static void a_signal_that_is_put_off_leaves_commands_alone(void **state)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	pending = true;
	assert_int_equal(host_socket_at(40, AF_INET, SOCK_DGRAM, 0), 40);
	assert_int_equal(zs_getsockname(40, (struct sockaddr *)&a, &len), 0);
	pending = false;
}

static void a_set_that_is_closed_ends_its_waits(void **state)
{
	struct waits t;

	wait_begin(&t, 30);
	others_wait(true, 0);
	assert_int_equal(zs_close(30), 0);
	assert_int_equal(wait_end(&t), -EBADF);
}

static void a_set_can_be_polled(void **state)
{
	struct pollfd p = {.fd = 30, .events = POLLIN};

	assert_int_equal(zs_poll(&p, 1, 0), 0);
	arrive(sid);
	assert_int_equal(zs_poll(&p, 1, -1), 1);
	assert_int_equal(p.revents, POLLIN);
}

static uint64_t told(enum chan_told where)
{
	return core0->end.sh->told.n[where];
}

/* Also those from before there was a stack, and from the time of another. */
static void the_service_sees_where_sockets_went(void **state)
{
	host_count_none();
	host_count(TOLD_UNIX);
	host_count(TOLD_UNIX);
	host_count(TOLD_TAKEN);
	assert_int_equal(told(TOLD_UNIX), 2);
	fake_stop();
	host_count(TOLD_UNIX);
	fake_start(1, false);
	assert_int_equal(told(TOLD_UNIX), 3);
	assert_int_equal(told(TOLD_TAKEN), 1);
	assert_int_equal(told(TOLD_BOTH), 0);
}

#define W(f) cmocka_unit_test_setup_teardown(f, setup_wait, teardown_wait)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_socket_takes_the_number_it_is_told, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(the_host_chooses_what_accept_returns, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_number_beyond_the_table_is_given_back, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_number_that_the_host_gives_again_was_closed,
						setup, fake_teardown),
		cmocka_unit_test_setup_teardown(any_number_reads_and_the_last_one_closes, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(a_set_has_several_numbers_too, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(
			each_number_is_an_item_and_stays_while_the_socket_lives, setup,
			fake_teardown),
		cmocka_unit_test_setup_teardown(what_stop_takes_the_host_is_told, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(addresses_come_from_the_stack_and_are_remembered,
						setup, fake_teardown),
		cmocka_unit_test_setup_teardown(
			interfaces_have_the_kernels_number_or_one_of_their_own, setup,
			fake_teardown),
		cmocka_unit_test_setup_teardown(numbers_of_random_order_are_those_of_a_model, setup,
						fake_teardown),
		cmocka_unit_test_setup_teardown(the_service_sees_where_sockets_went, setup,
						fake_teardown),
		W(what_is_there_already_counts),
		W(a_deadline_ends_it),
		W(either_side_ends_the_leaders_sleep),
		W(either_side_ends_a_followers_sleep),
		W(members_in_the_kernel_end_a_wait_that_knows_none),
		W(a_mask_holds_while_it_waits),
		W(a_signal_that_is_put_off_ends_every_wait),
		W(a_signal_that_is_put_off_leaves_commands_alone),
		W(a_set_that_is_closed_ends_its_waits),
		W(a_set_can_be_polled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
