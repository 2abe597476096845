/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Mode thread, and many threads of the program: waits that end when they should, closing under a
 * waiter, the biased lock passing to a second thread, fork. No assertion depends on how long
 * anything takes.
 */
#include <sched.h>
#include <sys/wait.h>
#include <time.h>

#include "client/lock.h"
#include "fake.h"

#define core0 (&fake.core[0])

static int setup(void **state)
{
	fake_start(1, true);
	return 0;
}

/* Events of the test come from another thread than the fake's. */
#define inject(call)                                                                               \
	do {                                                                                       \
		pthread_mutex_lock(&fake.lock);                                                    \
		call;                                                                              \
		pthread_mutex_unlock(&fake.lock);                                                  \
	} while (0)

static uint32_t sid;
static int fd;

static uint64_t sleeps(void)
{
	struct zs_stats st;

	assert_int_equal(zs_stats(&st, sizeof(st)), 0);
	return st.sleeps;
}

struct call {
	pthread_t thread;
	ssize_t (*run)(void);
	ssize_t result;
};

static void *call_main(void *arg)
{
	struct call *c = arg;

	c->result = c->run();
	return NULL;
}

static void call_start(struct call *c, ssize_t (*run)(void))
{
	c->run = run;
	assert_int_equal(pthread_create(&c->thread, NULL, call_main, c), 0);
}

static ssize_t call_end(struct call *c)
{
	assert_int_equal(pthread_join(c->thread, NULL), 0);
	return c->result;
}

/* Until some thread of the program sleeps once more than before. */
static void wait_asleep(uint64_t before)
{
	while (sleeps() <= before)
		sched_yield();
}

static ssize_t read_one(void)
{
	char c;

	return zs_read(fd, &c, 1);
}

static void data_wakes_a_sleeping_reader(void **state)
{
	struct call c;
	uint64_t before;

	fd = fake_connection(0, &sid);
	before = sleeps();
	call_start(&c, read_one);
	wait_asleep(before);
	inject(fake_data(core0, sid, "x", 0));
	assert_int_equal(call_end(&c), 1);
}

static uint32_t armed(void)
{
	return atomic_load(&core0->end.sh->bells.app_armed);
}

static void await_armed(uint32_t how)
{
	while (armed() != how)
		sched_yield();
}

/* chan.h, "Trifles": it is armed as before, so nobody rang. */
static void tokens_do_not_wake_a_reader(void **state)
{
	struct call c;

	fake.keep_tokens = true;
	fd = fake_connection(0, &sid);
	assert_int_equal(zs_write(fd, "x", 1), 1);
	call_start(&c, read_one);
	await_armed(BELL_ARMED_NO_TRIFLES);
	inject(fake_ack(core0, core0->n_held));
	assert_int_equal(armed(), BELL_ARMED_NO_TRIFLES);
	inject(fake_data(core0, sid, "x", 0));
	assert_int_equal(call_end(&c), 1);
}

/* To the limit, until it would wait. */
static void fill(void)
{
	static char much[4096];

	fake.keep_tokens = true;
	fd = fake_connection(SOCK_NONBLOCK, &sid);
	while (zs_write(fd, much, sizeof(much)) > 0)
		;
	assert_int_equal(zs_fcntl(fd, F_SETFL, 0), 0);
	while (core0->n_held < FAKE_LIMIT / sizeof(much))
		sched_yield();
}

static ssize_t write_one(void)
{
	return zs_write(fd, "x", 1);
}

static void tokens_wake_a_sleeping_writer(void **state)
{
	struct call c;

	fill();
	call_start(&c, write_one);
	await_armed(BELL_ARMED);
	inject(fake_ack(core0, core0->n_held));
	assert_int_equal(call_end(&c), 1);
}

static void tokens_wake_a_writer_though_a_reader_leads(void **state)
{
	struct call reader, writer;

	fd = fake_connection(0, &sid);
	call_start(&reader, read_one);
	await_armed(BELL_ARMED_NO_TRIFLES);
	uint32_t sid_read = sid;

	fill();
	call_start(&writer, write_one);
	await_armed(BELL_ARMED);
	inject(fake_ack(core0, core0->n_held));
	assert_int_equal(call_end(&writer), 1);
	inject(fake_data(core0, sid_read, "x", 0));
	assert_int_equal(call_end(&reader), 1);
}

static void close_wakes_a_sleeping_reader(void **state)
{
	struct call c;
	uint64_t before;

	fd = fake_connection(0, &sid);
	before = sleeps();
	call_start(&c, read_one);
	wait_asleep(before);
	assert_int_equal(zs_close(fd), 0);
	assert_int_equal(call_end(&c), -EBADF);
}

static int ep;
static ssize_t epoll_one(void)
{
	struct epoll_event e;
	int n;

	/* A preemption while it spins may pass for a signal (interrupt.c). */
	do
		n = zs_epoll_wait(ep, &e, 1, -1);
	while (n == -EINTR);
	return n;
}

static void close_wakes_a_sleeping_set(void **state)
{
	struct call c;
	uint64_t before = sleeps();

	ep = zs_epoll_create1(0);
	call_start(&c, epoll_one);
	wait_asleep(before);
	assert_int_equal(zs_close(ep), 0);
	assert_int_equal(call_end(&c), -EBADF);
}

/* A socket that joins the set of a sleeper, ready already. */
static void adding_a_ready_socket_wakes_the_set(void **state)
{
	struct epoll_event e = {.events = EPOLLOUT};
	struct call c;
	uint64_t before;

	fd = fake_connection(0, &sid);
	before = sleeps();
	ep = zs_epoll_create1(0);
	call_start(&c, epoll_one);
	wait_asleep(before);
	assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
	assert_int_equal(call_end(&c), 1);
}

static void stop_wakes_everybody(void **state)
{
	struct call a, b, c;

	fd = fake_connection(0, &sid);
	ep = zs_epoll_create1(0);
	call_start(&a, read_one);
	call_start(&b, epoll_one);
	call_start(&c, read_one);
	for (int i = 0; i < 100; i++)
		sched_yield();
	zs_stop();
	/* Who came too late finds no stack. */
	assert_true(call_end(&a) == -EBADF || a.result == -ENXIO);
	assert_true(call_end(&b) == -EBADF || b.result == -ENXIO);
	assert_true(call_end(&c) == -EBADF || c.result == -ENXIO);
}

/* ---- a thread for each connection ---- */

#define PEERS  16
#define ROUNDS 300

static int peer_fd[PEERS];
static uint32_t peer_sid[PEERS];
static _Atomic unsigned echoed;

static void *echo_main(void *arg)
{
	int me = *(int *)arg;
	char buf[64];
	ssize_t n;

	while ((n = zs_read(me, buf, sizeof(buf))) > 0) {
		if (zs_write(me, buf, (size_t)n) != n)
			break;
		atomic_fetch_add(&echoed, (unsigned)n);
	}
	return (void *)(intptr_t)n;
}

static void many_threads_echo_and_lose_nothing(void **state)
{
	pthread_t t[PEERS];
	void *result;

	atomic_store(&echoed, 0);
	for (int i = 0; i < PEERS; i++)
		peer_fd[i] = fake_connection(0, &peer_sid[i]);
	for (int i = 0; i < PEERS; i++)
		pthread_create(&t[i], NULL, echo_main, &peer_fd[i]);
	for (int k = 0; k < ROUNDS; k++) {
		inject(for (int i = 0; i < PEERS; i++) fake_data(core0, peer_sid[i], "ab", 0));
		while (atomic_load(&echoed) < (unsigned)(k + 1) * PEERS * 2)
			sched_yield();
		inject(core0->n_log = 0);
	}
	inject(for (int i = 0; i < PEERS; i++) fake_fin(core0, peer_sid[i]));
	for (int i = 0; i < PEERS; i++) {
		pthread_join(t[i], &result);
		assert_null(result);
	}
}

/* One set, several threads: each event goes to somebody. */
static _Atomic bool done;
static void *set_main(void *arg)
{
	struct epoll_event e[4];
	char buf[16];
	ssize_t n;

	while (!atomic_load(&done)) {
		int k = zs_epoll_wait(ep, e, 4, 5);

		for (int i = 0; i < k; i++) {
			while ((n = zs_read(e[i].data.fd, buf, sizeof(buf))) > 0)
				atomic_fetch_add(&echoed, (unsigned)n);
		}
	}
	return NULL;
}

static void threads_share_a_set(void **state)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	pthread_t t[4];

	ep = zs_epoll_create1(0);
	atomic_store(&echoed, 0);
	atomic_store(&done, false);
	for (int i = 0; i < PEERS; i++) {
		peer_fd[i] = e.data.fd = fake_connection(SOCK_NONBLOCK, &peer_sid[i]);
		assert_int_equal(zs_epoll_ctl(ep, EPOLL_CTL_ADD, peer_fd[i], &e), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, set_main, NULL);
	for (int k = 0; k < ROUNDS; k++) {
		inject(for (int i = 0; i < PEERS; i++) fake_data(core0, peer_sid[i], "x", 0));
		while (atomic_load(&echoed) < (unsigned)(k + 1) * PEERS)
			sched_yield();
	}
	atomic_store(&done, true);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

/* Buffers are released by another thread than the one that received them. */
static ssize_t release_all(void)
{
	struct zs_buf b;
	int n = 0;

	while (n < 1000) {
		int k = zs_recv_zc(fd, &b, 1, 0);

		if (k != 1 || zs_buf_release(&b, 1) != 0)
			return -1;
		n++;
	}
	return n;
}

static void two_threads_share_a_socket(void **state)
{
	struct call a, b;

	fd = fake_connection(0, &sid);
	call_start(&a, release_all);
	call_start(&b, release_all);
	for (int i = 0; i < 2000; i++) {
		inject(fake_data(core0, sid, "x", 0));
		if (i % 100 == 99)
			while (core0->returned + 200 < (unsigned)i)
				sched_yield();
	}
	assert_int_equal(call_end(&a), 1000);
	assert_int_equal(call_end(&b), 1000);
}

static void child_of_fork_has_no_stack(void **state)
{
	int status;
	pid_t pid;

	fd = fake_connection(0, &sid);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(zs_write(fd, "x", 1) == -ENXIO ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(zs_write(fd, "x", 1), 1);
}

static void *take_lock(void *arg)
{
	client_lock();
	client_unlock();
	return arg;
}

/* 0: the only thread of a child has the lock for itself, until there is another. */
static int child_lock(void)
{
	pthread_t other;
	bool mine;

	take_lock(NULL);
	mine = lock_mine && !atomic_load(&lock_revoked);
	if (pthread_create(&other, NULL, take_lock, NULL) != 0)
		return 1;
	pthread_join(other, NULL);
	take_lock(NULL);
	return mine && atomic_load(&lock_revoked) ? 0 : 2;
}

static void child_of_fork_has_a_lock_of_its_own(void **state)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(child_lock());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static _Atomic bool processed;
static ssize_t process_one(void)
{
	int r = zs_process(-1);

	atomic_store(&processed, true);
	return r;
}

/* Whatever happens ends it, also when another thread looks. */
static void process_returns_though_another_leads(void **state)
{
	struct timespec ms = {.tv_nsec = 1000000};
	struct call a, b;
	uint64_t before;
	uint32_t other;

	fake_connection(0, &other);
	fd = fake_connection(0, &sid);
	before = sleeps();
	atomic_store(&processed, false);
	call_start(&a, read_one);
	wait_asleep(before);
	call_start(&b, process_one);
	while (!atomic_load(&processed)) {
		nanosleep(&ms, NULL);
		inject(fake_error(core0, other, -EHOSTUNREACH, false));
	}
	assert_int_equal(call_end(&b), 1);
	inject(fake_data(core0, sid, "x", 0));
	assert_int_equal(call_end(&a), 1);
}

static ssize_t set_option(void)
{
	int on = 1;

	return zs_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

static void close_during_a_command_of_all_cores_ends_it(void **state)
{
	struct call c;

	fake_teardown(state);
	fake_start(2, true);
	fd = zs_socket(AF_INET, SOCK_STREAM, 0);
	pthread_mutex_lock(&fake.lock);
	call_start(&c, set_option);
	while (!chan_ready(&fake.core[0].end.sq, 64) && !chan_ready(&fake.core[1].end.sq, 64))
		sched_yield();
	assert_int_equal(zs_close(fd), 0);
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(call_end(&c), -EBADF);
}

static ssize_t listen_twice(void)
{
	return zs_listen(fd, 5);
}

/* One descriptor has one socket on each core, whoever asks for it. */
static void two_threads_listen_on_one_descriptor(void **state)
{
	struct call c[2];

	fake_teardown(state);
	fake_start(2, true);
	fd = zs_socket(AF_INET, SOCK_STREAM, 0);
	pthread_mutex_lock(&fake.lock);
	call_start(&c[0], listen_twice);
	while (!chan_ready(&fake.core[0].end.sq, 64))
		sched_yield();
	call_start(&c[1], listen_twice);
	for (int i = 0; i < 1000; i++) /* likely inside, before the first one's answer */
		sched_yield();
	pthread_mutex_unlock(&fake.lock);
	assert_int_equal(call_end(&c[0]), 0);
	assert_int_equal(call_end(&c[1]), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_SOCKET), 1);
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_BIND), 1);
		assert_int_equal(fake_count(&fake.core[i], CHAN_OP_LISTEN), 2);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(data_wakes_a_sleeping_reader),
		T(tokens_do_not_wake_a_reader),
		T(tokens_wake_a_sleeping_writer),
		T(tokens_wake_a_writer_though_a_reader_leads),
		T(close_wakes_a_sleeping_reader),
		T(close_wakes_a_sleeping_set),
		T(adding_a_ready_socket_wakes_the_set),
		T(stop_wakes_everybody),
		T(many_threads_echo_and_lose_nothing),
		T(threads_share_a_set),
		T(two_threads_share_a_socket),
		T(process_returns_though_another_leads),
		T(close_during_a_command_of_all_cores_ends_it),
		T(two_threads_listen_on_one_descriptor),
		T(child_of_fork_has_no_stack),
		T(child_of_fork_has_a_lock_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
