/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What one message through a channel costs: nanoseconds one way, for a command followed by an
 * event, half of the median round trip (and its 99th percentile).
 *
 *	chan_pingpong [round trips]
 *
 * Rows: both sides in one thread (the library's one-process form); one word that two threads write
 * in turn, the least that two CPUs can do; the channel between two threads that spin; between two
 * that sleep on their bells after each message. The threads are on the first two CPUs that the
 * process may use. Medians, so that who takes a CPU away now and then does not count. Bench
 * programs are no tests: nothing here fails.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chan/bell.h"
#include "chan/chan.h"
#include "hist.h"
#include "tsc.h"

static struct chan_end app, stk;
static struct chan_map map;
static uint64_t trips = 1000000;
static bool sleepy;

static void make_channel(void)
{
	struct chan_geometry g;
	struct chan_hdr h;

	chan_geometry_defaults(&g);
	map.base = aligned_alloc(4096, chan_bytes(&g));
	BUG_ON(map.base == NULL);
	memset(map.base, 0, chan_bytes(&g));
	chan_format(map.base, &g);
	BUG_ON(chan_check(map.base, chan_bytes(&g), &h) != 0);
	chan_attach(&app, &map, &h);
	chan_attach(&stk, &map, &h);
	map.app_bell_fd = bell_open();
	map.stack_bell_fd = bell_open();
	BUG_ON(map.app_bell_fd < 0 || map.stack_bell_fd < 0);
}

static void send_entry(struct chan_ring *r, const void *entry)
{
	while (chan_free(r, 1) == 0)
		;
	chan_send(r, entry);
}

static void receive_entry(struct chan_ring *r, void *entry, _Atomic uint32_t *armed, int fd)
{
	while (!chan_receive(r, entry)) {
		if (!sleepy)
			continue;
		bell_arm(armed);
		if (!chan_ready(r, 64) && bell_sleep(fd, 1000000000) < 0)
			perror("bell_sleep");
		bell_disarm(armed);
	}
}

static void app_sends(uint64_t i)
{
	struct chan_sqe q = {.op = CHAN_OP_SEND, .token = (uint32_t)i};

	send_entry(&app.sq, &q);
	bell_ring(&app.sh->bells.stack_armed, map.stack_bell_fd);
}

static void stack_answers(void)
{
	struct chan_sqe q;
	struct chan_cqe c = {.ev = CHAN_EV_RESULT};

	receive_entry(&stk.sq, &q, &stk.sh->bells.stack_armed, map.stack_bell_fd);
	c.loan = q.token;
	send_entry(&stk.cq, &c);
	bell_ring(&stk.sh->bells.app_armed, map.app_bell_fd);
}

static void app_receives(uint64_t i)
{
	struct chan_cqe c;

	receive_entry(&app.cq, &c, &app.sh->bells.app_armed, map.app_bell_fd);
	BUG_ON(c.loan != (uint32_t)i);
}

/* ---- two CPUs ---- */

/* The side-th of those that the process may use; where there is but one, that one. */
static void pin(int side)
{
	static cpu_set_t may;
	static bool known;
	cpu_set_t one;

	if (!known)
		known = sched_getaffinity(0, sizeof(may), &may) == 0;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (side-- == 0)
			break;
	}
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static _Alignas(64) _Atomic uint64_t word;

static void word_await(uint64_t value)
{
	while (atomic_load_explicit(&word, memory_order_acquire) != value)
		;
}

static void word_trip(uint64_t i)
{
	atomic_store_explicit(&word, 2 * i + 1, memory_order_release);
	word_await(2 * i + 2);
}

static void word_answer(uint64_t i)
{
	word_await(2 * i + 1);
	atomic_store_explicit(&word, 2 * i + 2, memory_order_release);
}

static void channel_trip(uint64_t i)
{
	app_sends(i);
	app_receives(i);
}

static void channel_answer(uint64_t i)
{
	stack_answers();
}

static void channel_alone(uint64_t i)
{
	app_sends(i);
	stack_answers();
	app_receives(i);
}

/* ---- rows ---- */

struct row {
	const char *what;
	void (*trip)(uint64_t i);
	void (*answer)(uint64_t i); /* by another thread; NULL: there is none */
	uint64_t n;
};

static void *answer_all(void *arg)
{
	const struct row *r = arg;

	pin(1);
	for (uint64_t i = 0; i < r->n; i++)
		r->answer(i);
	return NULL;
}

static void run(struct row *r, double per_ns)
{
	static struct hist h;
	pthread_t thread;

	memset(&h, 0, sizeof(h));
	if (r->answer != NULL)
		BUG_ON(pthread_create(&thread, NULL, answer_all, r) != 0);
	for (uint64_t i = 0; i < r->n; i++) {
		uint64_t start = tsc();

		r->trip(i);
		hist_add(&h, tsc() - start);
	}
	printf("%-28s %8.1f ns one way, p99 %.1f (%llu round trips)\n", r->what,
	       (double)hist_quantile(&h, 0.5) / 2 / per_ns,
	       (double)hist_quantile(&h, 0.99) / 2 / per_ns, (unsigned long long)r->n);
	if (r->answer != NULL)
		pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	double per_ns = tsc_per_ns();

	if (argc > 1)
		trips = strtoull(argv[1], NULL, 0);
	if (trips < 100) {
		fprintf(stderr, "usage: %s [round trips, at least 100]\n", argv[0]);
		return 2;
	}
	make_channel();
	pin(0);
	run(&(struct row){"one thread", channel_alone, NULL, trips}, per_ns);
	run(&(struct row){"two threads, one word", word_trip, word_answer, trips}, per_ns);
	run(&(struct row){"two threads, spinning", channel_trip, channel_answer, trips}, per_ns);
	sleepy = true;
	run(&(struct row){"two threads, sleeping", channel_trip, channel_answer, trips / 20},
	    per_ns);
	return 0;
}
