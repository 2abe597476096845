/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <cmocka.h>

#include "chan/bell.h"
#include "chan/chan.h"

#define MS	      1000000ll
#define ROUNDS	      20000u
#define LITMUS_ROUNDS 60000u
#define LOST_WAKE_NS  (5000 * MS)

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void unarmed_bell_rung_does_not_enter_the_kernel(void **state)
{
	_Atomic uint32_t armed = 0;
	int fd = bell_open();

	assert_true(fd >= 0);
	assert_false(bell_ring(&armed, fd));
	assert_false(readable(fd));
	bell_arm(&armed);
	bell_disarm(&armed);
	assert_false(bell_ring(&armed, fd));
	assert_int_equal(bell_sleep(fd, MS), 0);
	close(fd);
}

static void armed_bell_rung_twice_writes_once(void **state)
{
	_Atomic uint32_t armed = 0;
	uint64_t count = 0;
	int fd = bell_open();

	bell_arm(&armed);
	assert_true(bell_ring(&armed, fd));
	assert_false(bell_ring(&armed, fd));
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	bell_arm(&armed);
	assert_true(bell_ring(&armed, fd));
	assert_int_equal(bell_sleep(fd, -1), 1);
	assert_false(readable(fd));
	close(fd);
}

static void trifles_ring_only_who_wants_them(void **state)
{
	_Atomic uint32_t armed = 0;
	int fd = bell_open();

	assert_false(bell_ring_trifle(&armed, fd));
	bell_arm_as(&armed, BELL_ARMED_NO_TRIFLES);
	assert_false(bell_ring_trifle(&armed, fd));
	assert_false(readable(fd));
	assert_true(bell_ring(&armed, fd));
	assert_int_equal(bell_sleep(fd, 0), 1);
	bell_arm(&armed);
	assert_true(bell_ring_trifle(&armed, fd));
	assert_false(bell_ring_trifle(&armed, fd));
	assert_int_equal(bell_sleep(fd, 0), 1);
	close(fd);
}

/* H32: the shared word has any value. */
static void h32_nonsense_in_armed_counts_as_armed(void **state)
{
	_Atomic uint32_t armed = 0xdeadbeef;
	int fd = bell_open();

	assert_true(bell_ring(&armed, fd));
	assert_false(bell_ring(&armed, fd));
	assert_int_equal(bell_sleep(fd, 0), 1);
	close(fd);
}

/* H34: the other side holds the same open file and makes it blocking, or fills its counter. */
static void h34_descriptor_made_blocking_does_not_block_the_drain(void **state)
{
	int fd = bell_open();
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	bell_drain(fd);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(bell_sleep(fd, 0), 1);
	assert_int_equal(bell_sleep(fd, 0), 0);
	close(fd);
}

static void full_counter_of_a_nonblocking_bell_leaves_it_rung(void **state)
{
	_Atomic uint32_t armed = 1;
	int fd = bell_open();
	uint64_t most = UINT64_MAX - 1;

	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_true(bell_ring(&armed, fd));
	assert_int_equal(bell_sleep(fd, 0), 1);
	close(fd);
}

/* H34: its end is the sleeper's alone; what he does to it, and that he never reads, costs the
 * ringer nothing. */
static void h34_ringing_never_waits_for_who_sleeps(void **state)
{
	int fd, shared = bell_pair(&fd);

	assert_int_equal(fcntl(shared, F_SETFL, 0), 0);
	for (int i = 0; i < 100000; i++)
		bell_wake(fd);
	assert_true(readable(shared));
	close(shared);
	close(fd);
}

/* H34: what a service hands out instead of an eventfd: it wakes like it, and can't be rung. */
static void h34_shared_bell_wakes_and_can_not_be_rung(void **state)
{
	_Atomic uint32_t armed = 0;
	int fd, shared = bell_pair(&fd);
	uint64_t count = 1;

	assert_true(shared >= 0);
	assert_int_equal(bell_sleep(shared, 0), 0);
	for (int i = 0; i < 3; i++) {
		bell_arm(&armed);
		assert_true(bell_ring(&armed, fd));
		assert_true(readable(shared));
		bell_empty(shared);
		assert_false(readable(shared));
	}
	assert_int_equal(write(shared, &count, sizeof(count)), -1);
	bell_empty(shared);
	bell_wake(fd);
	bell_wake(fd);
	bell_empty(shared);
	assert_false(readable(shared));
	close(shared);
	close(fd);
}

static void bad_descriptor_is_an_error_not_a_wake_up(void **state)
{
	int fd = bell_open();

	close(fd);
	assert_int_equal(bell_sleep(fd, 0), -EBADF);
}

/* Two threads over one small channel: commands one way, events the other. */
struct side {
	struct chan_ring *in, *out;
	_Atomic uint32_t *my_armed, *other_armed;
	int my_fd, other_fd;
	uint32_t seed, slept, lost;
};

static void dawdle(struct side *s)
{
	s->seed = s->seed * 1664525 + 1013904223;
	for (uint32_t i = s->seed >> 24 & 0x7f; i > 0; i--)
		__asm__ volatile("");
}

static bool is_there(struct chan_ring *r, bool room)
{
	return room ? chan_free(r, 1) != 0 : chan_ready(r, 64);
}

static bool wait_for(struct side *s, struct chan_ring *r, bool room)
{
	for (;;) {
		int woke = 1;

		if (is_there(r, room))
			return true;
		dawdle(s);
		/* And at once the check: the window is a store buffer long. */
		bell_arm(s->my_armed);
		if (!is_there(r, room)) {
			woke = bell_sleep(s->my_fd, LOST_WAKE_NS);
			s->slept++;
		}
		bell_disarm(s->my_armed);
		if (woke == 0) {
			s->lost++;
			return false;
		}
	}
}

static const struct chan_sqe nothing;

/* Each round trip is a chance to go to sleep just when the answer comes. */
static void *ping_pong(void *arg)
{
	struct side *s = arg;
	struct chan_sqe entry;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		dawdle(s);
		if (!wait_for(s, s->out, true))
			return NULL;
		chan_send(s->out, &nothing);
		bell_ring(s->other_armed, s->other_fd);
		if (!wait_for(s, s->in, false))
			return NULL;
		assert_true(chan_receive(s->in, &entry));
		bell_ring(s->other_armed, s->other_fd);
	}
	return NULL;
}

static void *pour(void *arg)
{
	struct side *s = arg;

	for (uint32_t i = 0; i < 10 * ROUNDS; i++) {
		if (!wait_for(s, s->out, true))
			return NULL;
		chan_send(s->out, &nothing);
		bell_ring(s->other_armed, s->other_fd);
	}
	return NULL;
}

/* It rings for room only when chan_pop() says so: once in half a ring. */
static void *drink(void *arg)
{
	struct side *s = arg;

	for (uint32_t i = 0; i < 10 * ROUNDS; i++) {
		if (!wait_for(s, s->in, false))
			return NULL;
		chan_take(s->in);
		if (chan_pop(s->in))
			bell_ring(s->other_armed, s->other_fd);
	}
	return NULL;
}

static void stress(void *(*app_does)(void *), void *(*stack_does)(void *))
{
	struct chan_geometry g = {4, 4, 4, 4, 4, 4, 1, 65536};
	struct chan_map m = {.base = aligned_alloc(64, chan_bytes(&g))};
	struct chan_end a, s;
	struct chan_hdr h;
	pthread_t thread;

	assert_non_null(m.base);
	memset(m.base, 0, chan_bytes(&g));
	chan_format(m.base, &g);
	assert_int_equal(chan_check(m.base, chan_bytes(&g), &h), 0);
	chan_attach(&a, &m, &h);
	chan_attach(&s, &m, &h);
	m.app_bell_fd = bell_open();
	m.stack_bell_fd = bell_open();
	struct chan_bells *b = &a.sh->bells;
	struct side app = {&a.cq,	    &a.sq, &b->app_armed, &b->stack_armed, m.app_bell_fd,
			   m.stack_bell_fd, 1};
	struct side stk = {&s.sq,	  &s.cq, &b->stack_armed, &b->app_armed, m.stack_bell_fd,
			   m.app_bell_fd, 2};

	assert_int_equal(pthread_create(&thread, NULL, stack_does, &stk), 0);
	app_does(&app);
	pthread_join(thread, NULL);
	assert_int_equal(app.lost + stk.lost, 0);
	assert_true(app.slept + stk.slept > 0);
	close(m.app_bell_fd);
	close(m.stack_bell_fd);
	free(m.base);
}

static void two_threads_answering_each_other_lose_no_wake_up(void **state)
{
	stress(ping_pong, ping_pong);
}

static void ring_full_and_empty_in_turn_loses_no_wake_up(void **state)
{
	stress(pour, drink);
}

/* Store buffering, provoked: in each round both sides start at once, one arms and looks, the other
 * pushes and rings. That the look finds nothing and the ring nobody is the lost wake-up. */
struct litmus {
	_Atomic uint32_t armed, round, finished;
	struct chan_idx idx;
	struct chan_ring p, c;
	bool rung;
};

static void spin_until(_Atomic uint32_t *word, uint32_t value)
{
	for (uint32_t i = 1; atomic_load_explicit(word, memory_order_acquire) != value; i++)
		if (i % 2048 == 0)
			sched_yield();
}

static void *litmus_ringer(void *arg)
{
	struct litmus *l = arg;
	struct side jitter = {.seed = 3};

	for (uint32_t i = 1; i <= LITMUS_ROUNDS; i++) {
		spin_until(&l->round, i);
		dawdle(&jitter);
		chan_send_name(&l->p, i);
		l->rung = bell_ring(&l->armed, -1);
		atomic_store_explicit(&l->finished, i, memory_order_release);
	}
	return NULL;
}

static void arming_while_the_other_pushes_never_misses_both_ways(void **state)
{
	static uint32_t slots[4];
	static struct litmus l;
	struct side jitter = {.seed = 4};
	uint32_t missed = 0;
	pthread_t thread;

	l.p = l.c = (struct chan_ring){.idx = &l.idx, .slots = slots, .mask = 3, .shift = 29};
	assert_int_equal(pthread_create(&thread, NULL, litmus_ringer, &l), 0);
	for (uint32_t i = 1; i <= LITMUS_ROUNDS; i++) {
		atomic_store_explicit(&l.round, i, memory_order_release);
		dawdle(&jitter);
		bell_arm(&l.armed);
		bool seen = chan_ready(&l.c, 4);
		uint32_t name;

		spin_until(&l.finished, i);
		missed += !seen && !l.rung;
		bell_disarm(&l.armed);
		assert_true(chan_receive_name(&l.c, &name));
		assert_int_equal(name, i);
		l.p.other = l.p.own;
	}
	pthread_join(thread, NULL);
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unarmed_bell_rung_does_not_enter_the_kernel),
		cmocka_unit_test(armed_bell_rung_twice_writes_once),
		cmocka_unit_test(trifles_ring_only_who_wants_them),
		cmocka_unit_test(h32_nonsense_in_armed_counts_as_armed),
		cmocka_unit_test(h34_descriptor_made_blocking_does_not_block_the_drain),
		cmocka_unit_test(full_counter_of_a_nonblocking_bell_leaves_it_rung),
		cmocka_unit_test(h34_ringing_never_waits_for_who_sleeps),
		cmocka_unit_test(h34_shared_bell_wakes_and_can_not_be_rung),
		cmocka_unit_test(bad_descriptor_is_an_error_not_a_wake_up),
		cmocka_unit_test(arming_while_the_other_pushes_never_misses_both_ways),
		cmocka_unit_test(two_threads_answering_each_other_lose_no_wake_up),
		cmocka_unit_test(ring_full_and_empty_in_turn_loses_no_wake_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
