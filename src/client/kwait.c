/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting for descriptors of the kernel beside those of the client (host.h). Who leads sleeps on
 * both in one ppoll(2); while it spins it looks at the kernel's in bounded time. A follower, who
 * otherwise sleeps on a word (wait.c), has to sleep on an eventfd beside them: there is a pool of
 * these.
 *
 * A signal mask for the time of the wait is the kernel's to set: only ppoll() does it without a gap
 * in which a signal is handled and the wait does not notice. So it holds while the thread sleeps,
 * and at each look; a signal that it lets through is delivered at the next look.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <unistd.h>

#include "client/client_priv.h"

#define LOOK_NS	 20000	 /* between two looks of who spins */
#define BELLS	 64u	 /* kept for followers to come */
#define BLIND_NS 1000000 /* a follower for whom there is no eventfd looks that often */

static struct {
	int fd[BELLS];
	unsigned n;
} pool;

int kwait_sleep(struct kwait *k, unsigned n, int64_t timeout_ns, bool deaf)
{
	struct timespec ts = sleep_time(timeout_ns);
	int r;

	if (!deaf)
		interrupt_sleep(&ts);
	r = ppoll(k->fd, k->n + n, &ts, k->mask);
	r = r < 0 ? -errno : r;
	if (k->n > 0)
		k->looked_ns = now_ns();
	if (!deaf && interrupt_woke() && r == 0)
		r = -EINTR;
	for (unsigned i = 0; r > 0 && i < k->n && !k->ready; i++)
		k->ready = k->fd[i].revents != 0;
	return r;
}

int kwait_look(struct waiter *w)
{
	int r;

	client_unlock();
	r = kwait_sleep(w->kernel, 0, 0, false);
	client_lock();
	w->woken |= w->kernel->ready;
	return r < 0 ? r : 0;
}

int kwait_due(struct waiter *w, int64_t now)
{
	if (now - w->kernel->looked_ns < LOOK_NS)
		return 0;
	return kwait_look(w);
}

/* ---- followers ---- */

static int bell_take(void)
{
	int fd = pool.n > 0 ? pool.fd[--pool.n] : fd_high(bell_open());

	return fd >= 0 ? fd : -1;
}

static void bell_give(int fd, bool rung)
{
	if (fd < 0)
		return;
	if (rung)
		bell_empty(fd);
	if (pool.n < BELLS)
		pool.fd[pool.n++] = fd;
	else
		close(fd);
}

int kwait_follow(struct waiter *w, int64_t deadline)
{
	struct kwait *k = w->kernel;
	int64_t now = now_ns(), left = deadline == FOREVER ? -1 : deadline - now;
	int r;

	if (left != -1 && left <= 0)
		return -ETIMEDOUT;
	w->bell = bell_take();
	k->fd[k->n] = (struct pollfd){.fd = w->bell, .events = POLLIN};
	if (w->bell < 0 && (left < 0 || left > BLIND_NS))
		left = BLIND_NS;
	client_unlock();
	r = kwait_sleep(k, 1, left, false);
	client_lock();
	bell_give(w->bell, atomic_load_explicit(&w->word, memory_order_relaxed) != 0);
	w->bell = -1;
	w->woken |= k->ready;
	return r < 0 ? r : 0;
}

void kwait_forget(void)
{
	while (pool.n > 0)
		close(pool.fd[--pool.n]);
}
