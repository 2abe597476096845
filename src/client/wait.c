/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting. One of the waiting threads leads: it runs the stack (mode poll), spins for a while, then
 * sleeps: inside the stack's own wait (mode poll), or on the doorbells of all channels (mode
 * thread). The others follow, each asleep on a word of its own. Whoever handles an event wakes the
 * waiters it concerns; a leader that leaves makes one of the followers leader. So it is never so
 * that threads wait and nobody listens, and an event wakes only those that asked for it.
 *
 * Spinning (spin.c) is the leader's, so by at most one thread of the process.
 *
 * A wait may be for descriptors of the kernel, too: kwait.c.
 *
 * Not done: restarting after a signal with SA_RESTART: every wait that a signal ends says -EINTR.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

/* Calls that found nothing, after which one runs the stack: a program that never waits must not
 * starve it, but one that asks each of many sockets must not run it each time. */
#define DRY_MAX 64
/* Calls that found nothing between two looks at the clock. */
#define QUIET_EACH 16
/* Calls that found something and look after the service all the same. */
#define BUSY_EACH 256

int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

int64_t deadline_ms(int timeout_ms)
{
	return timeout_ms < 0 ? FOREVER : now_ns() + timeout_ms * 1000000ll;
}

/* A program that never waits looks after the service now and then. */
static void quiet(void)
{
	if ((++client.quiet % QUIET_EACH == 0 || client.lost) && client.leader == NULL)
		rejoin_look(now_ns(), false);
}

unsigned client_drain(void)
{
	unsigned n = 0;

	client.blind = 0;
	for (unsigned i = 0; i < client.n_cores; i++)
		n += core_drain(&client.core[i]);
	if (unlikely(client.links != NULL))
		n += links_drain();
	if (unlikely(client.any != NULL) && n != 0)
		wlink_wake(client.any);
	if ((n == 0 || ++client.busy % BUSY_EACH == 0) && client.transport.attached)
		quiet();
	return n;
}

unsigned client_turn(void)
{
	unsigned n = 0;

	client.dry = 0;
	if (!client.threaded && !client.asleep)
		n = client.transport.ops->poll(client.transport.embed);
	return n + client_drain();
}

unsigned client_dry(void)
{
	if (client.threaded || ++client.dry < DRY_MAX)
		return client_drain();
	return client_turn();
}

/* zs_stop() waits until nobody is in here. */
void client_breathe(void)
{
	client.waiting++;
	client_lock_breathe();
	client.waiting--;
}

/* 0 when the word may have changed; -ETIMEDOUT, -EINTR. */
static int futex_wait(_Atomic uint32_t *word, int64_t deadline, bool deaf)
{
	struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
	int r = 0;

	if (!deaf)
		interrupt_sleep(&ts);
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL,
		    FUTEX_BITSET_MATCH_ANY) != 0 &&
	    errno != EAGAIN)
		r = -errno;
	return !deaf && interrupt_woke() && r == -ETIMEDOUT ? -EINTR : r;
}

void waiter_init(struct waiter *w)
{
	*w = (struct waiter){.bell = -1};
	list_init(&w->node);
}

static void word_set(struct waiter *w)
{
	atomic_store_explicit(&w->word, 1, memory_order_release);
	if (!w->follows)
		return;
	if (likely(w->kernel == NULL))
		client_lock_wake(&w->word);
	else if (w->bell >= 0)
		bell_wake(w->bell);
}

/* The bells of a service can only be slept on. */
static int kick_fd(void)
{
	return client.kick_fd >= 0 ? client.kick_fd : client.core[0].map->app_bell_fd;
}

void waiter_wake(struct waiter *w)
{
	if (w->woken)
		return;
	w->woken = true;
	word_set(w);
	if (w == client.leader && client.asleep) {
		client.kicked = true;
		bell_wake(kick_fd());
	}
}

void client_rearm(void)
{
	if (client.asleep && client.threaded)
		bell_wake(kick_fd());
}

static int follow_word(struct waiter *w, int64_t deadline)
{
	int r;

	client_unlock();
	r = futex_wait(&w->word, deadline, w->deaf);
	client_lock();
	return r;
}

static int follow(struct waiter *w, int64_t deadline)
{
	int r;

	atomic_store_explicit(&w->word, 0, memory_order_relaxed);
	w->follows = true;
	list_add_tail(&client.followers, &w->node);
	r = likely(w->kernel == NULL) ? follow_word(w, deadline) : kwait_follow(w, deadline);
	list_del(&w->node);
	w->follows = false;
	return w->woken ? 0 : r;
}

static int sleep_polled(int64_t timeout_ns)
{
	int r;

	client_unlock();
	r = client.transport.ops->wait(client.transport.embed, timeout_ns);
	client_lock();
	if (client.kicked)
		bell_empty(client.core[0].map->app_bell_fd);
	client.kicked = false;
	return r;
}

/* The leader, in the kernel, of a wait that began at `since`. Whoever pushes a command meanwhile
 * rings: client.asleep says so. */
static int client_sleep(struct waiter *w, int64_t since, int64_t now, int64_t deadline)
{
	int64_t timeout_ns;
	int r;

	if (client.transport.attached)
		deadline = rejoin_sleep_until(since, now, deadline);
	timeout_ns = deadline == FOREVER ? -1 : deadline > now ? deadline - now : 0;
	client.stats.sleeps++;
	client.asleep = true;
	r = client.threaded ? sleep_on_bells(timeout_ns, w) : sleep_polled(timeout_ns);
	client.asleep = false;
	if (client.transport.attached)
		rejoin_look(now_ns(), r > 0);
	return r < 0 ? r : 0;
}

/* Turns that find nothing between two looks at the clock, which costs as much as such a turn. */
#define CLOCK_EACH 8

/* Without a host's word there are false alarms: only what may say -EINTR for nothing listens. */
static bool hears(const struct waiter *w)
{
	return w->interruptible || (!w->deaf && interrupt_is_told());
}

static int lead_on(struct waiter *w, int64_t deadline, struct spin *spin)
{
	int64_t since = 0, now;
	int r;

	for (unsigned turn = 1;; turn++) {
		unsigned n = client_turn();
		bool busy = n != 0;

		spin_found(spin, n);
		if (w->woken)
			return 0;
		if (client.stopping)
			return -EBADF;
		if (!busy && spin_is_dense() && turn % CLOCK_EACH != 0) {
			client_breathe();
			continue;
		}
		now = now_ns();
		since = since != 0 ? since : now;
		if (now >= deadline)
			return -ETIMEDOUT;
		if (client.transport.attached)
			rejoin_look(now, false);
		r = unlikely(w->kernel != NULL) ? kwait_due(w, now) : 0;
		if (w->woken)
			return 0;
		if (r < 0)
			return r;
		if (!spin->held && unlikely(hears(w)) && interrupt_seen())
			return -EINTR;
		if (spin_on(spin, now, busy))
			continue;
		/* What was held back is handled now. */
		if (unlikely(hears(w)) && interrupt_seen())
			return -EINTR;
		r = client_sleep(w, since, now, deadline);
		if (r < 0 && !w->woken)
			return r;
		if (w->interruptible)
			interrupt_watch();
		/* Woken by a port's timer for nothing, it sleeps on: what was quiet stays so. */
		turn = CLOCK_EACH - 1;
	}
}

static int lead(struct waiter *w, int64_t deadline)
{
	struct spin spin;
	int r;

	spin_begin(&spin, w->interruptible && !interrupt_is_told());
	r = lead_on(w, deadline, &spin);
	spin_end(&spin, w->woken);
	return r;
}

static void hand_over(void)
{
	if (client.leader == NULL && !list_empty(&client.followers))
		word_set(container_of(client.followers.next, struct waiter, node));
}

int client_wait(struct waiter *w, int64_t deadline)
{
	int r = 0;

	client.waiting++;
	while (!w->woken && r == 0) {
		if (client.stopping) {
			r = -EBADF;
		} else if (client.leader == NULL) {
			client.leader = w;
			if (w->interruptible)
				interrupt_watch();
			r = lead(w, deadline);
			if (w->interruptible)
				interrupt_unwatch();
			client.leader = NULL;
		} else {
			r = follow(w, deadline);
		}
	}
	hand_over();
	client.waiting--;
	if (unlikely(r == -EINTR))
		interrupt_timed(deadline != FOREVER);
	return w->woken ? 0 : r;
}

void wlink_remove(struct wlink **list, struct wlink *l)
{
	while (*list != l)
		list = &(*list)->next;
	*list = l->next;
}

void wlink_wake(struct wlink *l)
{
	for (; l != NULL; l = l->next)
		waiter_wake(l->w);
}

static int wait_linked(struct csock *s, int64_t deadline, bool exclusive)
{
	struct waiter w;
	struct wlink l = {.w = &w, .next = s->waiters, .exclusive = exclusive};
	uint32_t serial = s->serial;
	int r;

	waiter_init(&w);
	s->waiters = &l;
	if (unlikely((s->flags & CSOCK_EXCLUSIVE) || exclusive))
		shared_exclusive(s);
	r = client_wait(&w, deadline);
	wlink_remove(&s->waiters, &l);
	return s->serial != serial || client.stopping ? -EBADF : r;
}

int csock_wait(struct csock *s, int64_t deadline)
{
	return wait_linked(s, deadline, false);
}

int csock_wait_exclusive(struct csock *s, int64_t deadline)
{
	return wait_linked(s, deadline, true);
}

/* Waits for anything while another leads. */
static int process_follow(struct waiter *w, int64_t end)
{
	struct wlink l = {.w = w, .next = client.any};
	int r;

	client.any = &l;
	client_rearm();
	r = client_wait(w, end);
	wlink_remove(&client.any, &l);
	return r == 0 ? 1 : r == -ETIMEDOUT ? 0 : r;
}

/* Waits for anything: it leads and looks itself, if nobody else does. */
static int process_sleep(int64_t timeout_ns)
{
	int64_t now = now_ns(), end = timeout_ns < 0 ? FOREVER : now + timeout_ns, since = now;
	struct waiter w;
	struct spin spin;
	unsigned n = 0;
	int r = 0;

	waiter_init(&w);
	if (client.leader != NULL)
		return process_follow(&w, end);
	w.anything = true;
	client.leader = &w;
	client.waiting++;
	spin_begin(&spin, false);
	while (n == 0 && r == 0 && !client.stopping) {
		if (!spin_on(&spin, now, false))
			r = client_sleep(&w, since, now, end);
		n = client_turn();
		spin_found(&spin, n);
		now = now_ns();
		if (now >= end)
			break;
	}
	spin_end(&spin, n > 0);
	client.waiting--;
	client.leader = NULL;
	hand_over();
	return n > 0 ? 1 : client.stopping ? -EBADF : r;
}

int zs_process(int64_t timeout_ns)
{
	int r;

	client_lock();
	r = client_ready();
	if (r == 0) {
		r = client_turn() != 0;
		if (r == 0 && timeout_ns != 0)
			r = process_sleep(timeout_ns);
	}
	client_unlock();
	return r;
}
