/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who runs a stack: a thread of its own for each, which spins while there is work and a little
 * longer, then sleeps; or the program's thread, by poll and wait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "svc/embed_priv.h"

#define CLOCK_EACH 16 /* idle turns between two looks at the clock */

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Spinning takes a CPU from somebody when all stacks and the program don't have one each. */
static bool may_spin(unsigned stacks)
{
	cpu_set_t may;

	return sched_getaffinity(0, sizeof(may), &may) == 0 && (unsigned)CPU_COUNT(&may) > stacks;
}

/* Turns the loop until it was idle for the spinning time, or the end. */
static void spin(struct embed_core *c)
{
	int64_t idle_since = 0;

	for (unsigned turn = 1; !atomic_load_explicit(&c->embed->stop, memory_order_relaxed);
	     turn++) {
		if (stack_poll(c->stack) != 0) {
			idle_since = 0;
			turn = 0;
			continue;
		}
		if (c->spin_ns == 0)
			return;
		if (turn % CLOCK_EACH != 0)
			continue;
		if (idle_since == 0)
			idle_since = now_ns();
		else if (now_ns() - idle_since >= c->spin_ns)
			return;
	}
}

static void *run(void *arg)
{
	struct embed_core *c = arg;

	dev_thread_init();
	while (!atomic_load(&c->embed->stop)) {
		spin(c);
		if (!atomic_load(&c->embed->stop))
			(void)!stack_wait(c->stack, -1, -1);
	}
	dev_thread_fini();
	return NULL;
}

static int start(struct embed_core *c, unsigned i)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	char name[16];
	int rc;

	pthread_attr_init(&attr);
	if (c->has_cpu) {
		CPU_ZERO(&cpus);
		CPU_SET(c->cpu, &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	rc = -pthread_create(&c->thread, &attr, run, c);
	pthread_attr_destroy(&attr);
	if (rc < 0)
		return rc;
	c->running = true;
	snprintf(name, sizeof(name), "zstack-%u", i);
	pthread_setname_np(c->thread, name);
	return 0;
}

int embed_threads_start(struct embed *e, const struct embed_err *err)
{
	int64_t spin_ns = may_spin(e->n) ? e->spin_ns : 0;

	for (unsigned i = 0; i < e->n; i++) {
		int rc;

		e->core[i].spin_ns = spin_ns;
		rc = start(&e->core[i], i);
		if (rc < 0)
			return embed_fail(err, rc, "cannot start a thread: %s", strerror(-rc));
	}
	return 0;
}

void embed_threads_stop(struct embed *e)
{
	atomic_store(&e->stop, true);
	for (unsigned i = 0; i < e->n; i++) {
		if (!e->core[i].running)
			continue;
		stack_wake(e->core[i].stack);
		pthread_join(e->core[i].thread, NULL);
		e->core[i].running = false;
	}
}

unsigned embed_poll(struct embed *e)
{
	dev_thread_init();
	return stack_poll(e->core[0].stack);
}

int embed_wait(struct embed *e, int64_t timeout_ns)
{
	struct stack *s = e->core[0].stack;
	int rc = stack_wait(s, timeout_ns, e->core[0].map.app_bell_fd);

	return rc == 0 && stack_ports_gone(s) ? -ENODEV : rc;
}

void embed_leave(struct embed_core *c)
{
	int64_t end;

	if (c->app == NULL)
		return;
	end = now_ns() + c->embed->linger_ns;
	stack_detach(c->stack, c->app, c->map.stack_bell_fd, true);
	c->app = NULL;
	do {
		if (stack_poll(c->stack) != 0)
			continue;
		if (stack_idle(c->stack))
			return;
		(void)!stack_wait(c->stack, 10000000, -1);
	} while (now_ns() < end);
}
