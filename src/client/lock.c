/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The slow side of the client's lock: who owns the bias, and how it is revoked. See lock.h.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/lock.h"

#define BREATHE_MAX 1000 /* yields, before going on in spite of those who wait */

__thread bool lock_mine __attribute__((tls_model("initial-exec")));
_Atomic bool lock_inside;
_Atomic bool lock_revoked;
_Atomic bool lock_unborn;

#define WAKES_MAX 16u

unsigned lock_n_wakes;
static _Atomic uint32_t *wake[WAKES_MAX];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool frugal;
static bool owned;		/* somebody has, or had, the bias; under the mutex */
static _Atomic unsigned queued; /* threads that want the mutex */

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

static void bias_revoke(void)
{
	atomic_store(&lock_revoked, true);
	/* Without the system call the bias was never given out: see claim(). */
	membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	while (atomic_load_explicit(&lock_inside, memory_order_acquire))
		sched_yield();
}

/* Under the mutex, nobody has used the lock yet. */
static void claim(void)
{
	owned = true;
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) {
		atomic_store(&lock_revoked, true);
		return;
	}
	lock_mine = true;
	atomic_store_explicit(&lock_inside, true, memory_order_relaxed);
}

void client_lock_slow(void)
{
	atomic_fetch_add_explicit(&queued, 1, memory_order_relaxed);
	pthread_mutex_lock(&mutex);
	atomic_fetch_sub_explicit(&queued, 1, memory_order_relaxed);
	if (unlikely(atomic_load_explicit(&lock_unborn, memory_order_relaxed)))
		child_born();
	if (atomic_load_explicit(&lock_revoked, memory_order_relaxed))
		return;
	if (owned) {
		bias_revoke();
		return;
	}
	claim();
	/* Whoever has the bias is inside by its mark, not by the mutex. */
	if (lock_mine)
		pthread_mutex_unlock(&mutex);
}

void client_lock_unborn(void)
{
	pthread_mutex_lock(&mutex);
	if (likely(atomic_load_explicit(&lock_unborn, memory_order_relaxed)))
		return;
	/* Another thread was first, and may have the bias. */
	pthread_mutex_unlock(&mutex);
	client_lock();
}

void client_unlock_slow(void)
{
	pthread_mutex_unlock(&mutex);
}

static void wake_one(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void client_lock_wake(_Atomic uint32_t *word)
{
	if (lock_n_wakes < WAKES_MAX)
		wake[lock_n_wakes++] = word;
	else
		wake_one(word);
}

void client_unlock_wake(void)
{
	_Atomic uint32_t *word[WAKES_MAX];
	unsigned n = lock_n_wakes;

	memcpy(word, wake, n * sizeof(word[0]));
	lock_n_wakes = 0;
	client_lock_leave();
	for (unsigned i = 0; i < n; i++)
		wake_one(word[i]);
}

void client_lock_breathe(void)
{
	bool woke = lock_n_wakes > 0;

	client_unlock();
	/* They may have been put on this CPU. */
	if (woke && !frugal)
		sched_yield();
	for (int i = 0; i < BREATHE_MAX && !frugal; i++) {
		if (atomic_load_explicit(&queued, memory_order_relaxed) == 0)
			break;
		sched_yield();
	}
	client_lock();
}

void client_lock_frugal(void)
{
	pthread_mutex_lock(&mutex);
	if (owned && !lock_mine && !atomic_load(&lock_revoked))
		bias_revoke();
	atomic_store(&lock_revoked, true);
	frugal = true;
	pthread_mutex_unlock(&mutex);
}

/* In the child of a fork: this is its only thread, whoever held the lock in the parent. So the bias
 * is to be had again; but in a sandbox, which may not allow the system call for it. */
void client_lock_reset(void)
{
	mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	lock_mine = false;
	owned = false;
	lock_n_wakes = 0;
	atomic_store(&queued, 0);
	atomic_store(&lock_inside, false);
	atomic_store(&lock_revoked, frugal);
}
