/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who runs a stack: a thread of its own for each, which spins while there is work and a little
 * longer, then sleeps; or the program's thread, by poll and wait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "svc/node.h"

#define CLOCK_EACH 16 /* idle turns between two looks at the clock */

int64_t node_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Looking for work takes a CPU from somebody when all stacks and the program don't have one each.
 */
static bool is_tight(unsigned stacks)
{
	cpu_set_t may;

	return sched_getaffinity(0, sizeof(may), &may) < 0 || (unsigned)CPU_COUNT(&may) <= stacks;
}

/* ---- calls into a running stack ---- */

struct node_call {
	void (*fn)(struct node_core *c, void *arg);
	void *arg;
	struct node_call *next;
	sem_t done;
};

static slow_path void calls_run(struct node_core *c)
{
	struct node_call *call;

	pthread_mutex_lock(&c->lock);
	call = c->calls;
	c->calls = NULL;
	atomic_store_explicit(&c->called, false, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	while (call != NULL) {
		struct node_call *next = call->next; /* it is gone once it is done */

		call->fn(c, call->arg);
		sem_post(&call->done);
		call = next;
	}
}

void node_call(struct node_core *c, void (*fn)(struct node_core *c, void *arg), void *arg)
{
	struct node_call call = {.fn = fn, .arg = arg};

	if (!c->running) {
		fn(c, arg);
		return;
	}
	sem_init(&call.done, 0, 0);
	pthread_mutex_lock(&c->lock);
	call.next = c->calls;
	c->calls = &call;
	atomic_store_explicit(&c->called, true, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	stack_wake(c->stack);
	while (sem_wait(&call.done) < 0 && errno == EINTR)
		;
	sem_destroy(&call.done);
}

/* One turn of the loop. Whoever calls rings the stack's bell afterwards, so that no call waits for
 * the end of a sleep. */
unsigned node_poll(struct node_core *c)
{
	if (unlikely(atomic_load_explicit(&c->called, memory_order_relaxed)))
		calls_run(c);
	return stack_poll(c->stack);
}

/* ---- threads ---- */

/* How long others had the CPU. */
static int64_t give_way(int64_t now_ns)
{
	int64_t took;

	sched_yield();
	took = node_now_ns() - now_ns;
	return turn_found_nobody(took) ? 0 : took;
}

/* Turns the loop until it was idle for the spinning time, or the end. */
static void spin(struct node_core *c)
{
	for (unsigned turn = 1; !atomic_load_explicit(&c->node->stop, memory_order_relaxed);
	     turn++) {
		unsigned n = node_poll(c);

		if (n != 0) {
			node_spin_busy(&c->spin, n);
			turn = 0;
			continue;
		}
		if (turn % CLOCK_EACH != 0 && c->spin.budget_ns != 0)
			continue;
		if (!node_spin_quiet(&c->spin, node_now_ns(), give_way))
			return;
	}
}

static void *run(void *arg)
{
	struct node_core *c = arg;

	dev_thread_init();
	while (!atomic_load(&c->node->stop)) {
		spin(c);
		if (!atomic_load(&c->node->stop))
			(void)!stack_wait(c->stack, -1, -1);
	}
	dev_thread_fini();
	return NULL;
}

static int start(struct node_core *c, unsigned i)
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
	snprintf(name, sizeof(name), "zstack-%u", i % EMBED_CORES_MAX);
	pthread_setname_np(c->thread, name);
	return 0;
}

int node_threads_start(struct node *n, const struct svc_err *err)
{
	bool tight = is_tight(n->n);

	for (unsigned i = 0; i < n->n; i++) {
		int rc;

		n->core[i].spin = (struct node_spin){.budget_ns = n->spin_ns, .tight = tight};
		rc = start(&n->core[i], i);
		if (rc < 0)
			return svc_fail(err, rc, "cannot start a thread: %s", strerror(-rc));
	}
	return 0;
}

void node_stop(struct node *n)
{
	atomic_store(&n->stop, true);
	for (unsigned i = 0; i < n->n; i++) {
		if (!n->core[i].running)
			continue;
		stack_wake(n->core[i].stack);
		pthread_join(n->core[i].thread, NULL);
		n->core[i].running = false;
	}
}
