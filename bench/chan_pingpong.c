/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What one message through a channel costs: nanoseconds one way, for a command followed by an
 *event.
 *
 *	chan_pingpong [round trips]
 *
 * Rows: both sides in one thread (the library's one-process form); two threads that spin; two
 *threads that sleep on their bells after each message. Run it on an idle machine; two cores are
 * needed for the second row to mean anything. Bench programs are no tests: nothing here fails.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chan/bell.h"
#include "chan/chan.h"

static struct chan_end app, stk;
static struct chan_map map;
static uint64_t trips = 1000000;
static bool sleepy;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

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
	memcpy(chan_slot(r, r->own, 64), entry, 64);
	chan_push(r, 1);
}

static void wait_entry(struct chan_ring *r, _Atomic uint32_t *armed, int fd)
{
	while (chan_ready(r) == 0) {
		if (!sleepy)
			continue;
		bell_arm(armed);
		if (chan_ready(r) == 0 && bell_sleep(fd, 1000000000) < 0)
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

	wait_entry(&stk.sq, &stk.sh->bells.stack_armed, map.stack_bell_fd);
	chan_copy(&q, chan_slot(&stk.sq, stk.sq.own, sizeof(q)), sizeof(q));
	chan_pop(&stk.sq, 1);
	c.loan = q.token;
	send_entry(&stk.cq, &c);
	bell_ring(&stk.sh->bells.app_armed, map.app_bell_fd);
}

static void app_receives(uint64_t i)
{
	struct chan_cqe c;

	wait_entry(&app.cq, &app.sh->bells.app_armed, map.app_bell_fd);
	chan_copy(&c, chan_slot(&app.cq, app.cq.own, sizeof(c)), sizeof(c));
	chan_pop(&app.cq, 1);
	BUG_ON(c.loan != (uint32_t)i);
}

static void *stack_thread(void *arg)
{
	uint64_t n = *(const uint64_t *)arg;

	while (n-- > 0)
		stack_answers();
	return NULL;
}

static void report(const char *what, uint64_t ns, uint64_t n)
{
	printf("%-28s %8.1f ns one way (%llu round trips)\n", what, (double)ns / 2.0 / (double)n,
	       (unsigned long long)n);
}

static void one_thread(uint64_t n)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		app_sends(i);
		stack_answers();
		app_receives(i);
	}
	report("one thread", now_ns() - start, n);
}

static void two_threads(const char *what, uint64_t n)
{
	pthread_t thread;

	BUG_ON(pthread_create(&thread, NULL, stack_thread, &n) != 0);
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		app_sends(i);
		app_receives(i);
	}
	report(what, now_ns() - start, n);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		trips = strtoull(argv[1], NULL, 0);
	if (trips < 100) {
		fprintf(stderr, "usage: %s [round trips, at least 100]\n", argv[0]);
		return 2;
	}
	make_channel();
	one_thread(trips);
	two_threads("two threads, spinning", trips);
	sleepy = true;
	two_threads("two threads, sleeping", trips / 20);
	return 0;
}
