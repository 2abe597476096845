/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a leader (wait.c) looks for work before it sleeps (DESIGN §3.12), and how.
 *
 * A program that says for how long (--spin) just looks. Else those who would make work for us may
 * be kept from it as long as we look, as long as there are no more CPUs than work. But to sleep at
 * once is no better: each event then pays for a wake-up, which across CPUs costs some microseconds,
 * and tens of them on a virtual machine whose CPU went idle meanwhile; and it comes while the
 * others are in the middle of what they do, so that we are woken for one request of many. So
 * between two looks the CPU is given away (sched_yield): who else is ready goes on until it has
 * nothing to do, and we find the work of all that time without having been rung for. Only time in
 * which we have the CPU counts. Where there are more CPUs than stacks an answer may come at once,
 * from another one: for that it looks LOOK_NS before it gives way.
 *
 * This must not be paid for nothing. A wait that ended in sleep all the same was a miss, and after
 * k of them in a row the next 2^k - 1 waits sleep at once. Who keeps the CPU for long would
 * have had to hand it over if we had slept and been woken: that counts as many misses, unless much
 * work was there afterwards, which he then made (base/turn.h).
 *
 * Once nobody else is ready, looking on keeps nobody waiting, but who is to be woken on this CPU
 * from another one has to be let in by an interrupt; on some virtual machines that takes ten times
 * as long when the CPU is busy as when it idles, and then it is better to sleep at once. On others,
 * and on a CPU that we have to ourselves, it is not. So both are tried (base/choice.h), by what
 * a piece of work takes.
 *
 * sched_yield() gives way within one scheduling group only; with the others in groups of their own
 * looking pays for nothing, is missed, and stops.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>

#include "client/client_priv.h"

#define SPIN_NS	   50000 /* as config.c's SPIN_US */
#define LOOK_NS	   5000	 /* the others are not asked before */
#define MISSES_MAX 6
#define HOG_MISSES 3
#define HOG_MAX	   10

/* A stretch of waits by one way. Where a wait takes longer than WAIT_NS there is little to do, and
 * its time says nothing. */
#define STRETCH 64
#define WAIT_NS 500000

/* Looking for work needs a CPU that nobody else of us needs: beside those of the stack's threads.
 * In mode poll there is one thread, which works itself: it spins, unless the machine has a single
 * CPU, which a peer on it would wait for. */
static bool spare_cpu(unsigned stack_threads)
{
	cpu_set_t cpus;

	if (stack_threads == 0)
		return sysconf(_SC_NPROCESSORS_ONLN) > 1;
	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
	       CPU_COUNT(&cpus) > (int)stack_threads;
}

void spin_init(int64_t wanted_ns)
{
	unsigned threads = client.threaded ? client.n_cores : 0;
	bool spare = wanted_ns >= 0 || spare_cpu(threads);

	client.spin_ns = wanted_ns >= 0 ? wanted_ns : spare || threads != 0 ? SPIN_NS : 0;
	client.yields = wanted_ns < 0;
	client.look_ns = spare ? LOOK_NS : 0;
	client.misses = (struct backoff){0};
	client.alone = (struct spin_alone){.since_ns = 0};
}

bool spin_is_dense(void)
{
	return client.spin_ns > 0 && (!client.yields || client.look_ns > 0);
}

void spin_begin(struct spin *s, bool signals)
{
	s->budget_ns = client.spin_ns;
	s->quiet_ns = 0;
	s->signals = signals;
	s->held = false;
	s->turn = (struct turn){.is_long = false};
	if (client.yields && backoff_skips(&client.misses))
		s->budget_ns = client.look_ns;
}

static void miss(struct spin *s, unsigned more, unsigned most)
{
	s->budget_ns = 0;
	backoff_failed(&client.misses, more, most);
}

/* The others' turn. */
static void give_way(struct spin *s, int64_t now)
{
	int64_t took;

	if (s->signals && !s->held)
		interrupt_hold(&s->mask);
	s->held = s->signals;
	client_unlock();
	client_yield();
	client_lock();
	took = now_ns() - now;
	turn_took(&s->turn, took);
	if (!turn_found_nobody(took))
		s->quiet_ns += took;
	else if (choice_now(&client.alone.sleeps))
		s->budget_ns = 0;
}

static void stretch_ends(struct spin_alone *a)
{
	int64_t now = now_ns(), took = now - a->since_ns;

	if (a->since_ns == 0 || a->found == 0 || took > STRETCH * WAIT_NS)
		choice_skip(&a->sleeps);
	else
		choice_stretch(&a->sleeps, (uint32_t)(took / a->found) + 1);
	*a = (struct spin_alone){.sleeps = a->sleeps, .since_ns = now};
}

void spin_found(struct spin *s, unsigned n)
{
	client.alone.found += n;
	if (turn_was_lost(&s->turn, n))
		miss(s, HOG_MISSES, HOG_MAX);
}

static void let_signals(struct spin *s)
{
	if (s->held)
		interrupt_release(&s->mask);
	s->held = false;
}

bool spin_on(struct spin *s, int64_t now, bool busy)
{
	if (busy || s->quiet_ns == 0)
		s->quiet_ns = now;
	if (!busy && now - s->quiet_ns >= s->budget_ns) {
		if (client.yields && s->budget_ns > client.look_ns)
			miss(s, 1, MISSES_MAX);
		let_signals(s);
		return false;
	}
	if (client.yields && !busy && now - s->quiet_ns >= client.look_ns)
		give_way(s, now);
	else
		client_breathe();
	return true;
}

void spin_end(struct spin *s, bool paid)
{
	if (paid && client.yields && s->budget_ns > client.look_ns)
		backoff_worked(&client.misses);
	if (client.yields && ++client.alone.waits == STRETCH)
		stretch_ends(&client.alone);
	let_signals(s);
}
