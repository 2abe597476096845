/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one lock of the client: it guards everything that state.h declares. A program with one
 * thread that uses sockets should not pay for it, although the process always has other threads
 * (EAL makes some). So the lock is biased: the first thread that takes it owns it and from then on
 * only marks that it is inside, with plain stores. The first *other* thread revokes the bias: it
 * says so, makes every running thread pass a barrier (membarrier(2)), waits until the owner is
 * outside, and from then on everybody uses the mutex.
 *
 *	owner: inside = 1; (compiler barrier) read revoked      other: revoked = 1; membarrier;
 *	                                                               wait until inside == 0
 *
 * Either the owner sees `revoked` and steps back, or the other sees `inside` and waits: the usual
 * argument of Dekker, with the owner's fence paid by the other side.
 *
 * Not done: giving the bias back; sharding by core.
 */
#ifndef ZS_CLIENT_LOCK_H
#define ZS_CLIENT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

extern __thread bool lock_mine __attribute__((tls_model("initial-exec")));
extern _Atomic bool lock_inside;  /* written by the owner alone */
extern _Atomic bool lock_revoked; /* goes from false to true */
extern unsigned lock_n_wakes;	  /* threads to be woken once it is given back */
/* A child of fork that has not come to its sockets yet (child.c): who takes the lock does that
 * first. Nobody has the bias in such a child, so the fast way knows nothing of it. */
extern _Atomic bool lock_unborn;
void child_born(void);

void client_lock_slow(void) cold_path;
void client_unlock_slow(void) slow_path;
void client_unlock_wake(void) slow_path;
/* Wakes who sleeps on the word (futex) once the lock is given back: at once, it would only find
 * it taken. By then the word may be something else, so a wake-up without cause must do no harm
 * there. Inside. */
void client_lock_wake(_Atomic uint32_t *word);
/* Lets those have the lock who wait for it. */
void client_lock_breathe(void);
void client_lock_reset(void);
/* No system call but futex from here on. Outside. */
void client_lock_frugal(void);

static inline void client_lock(void)
{
	if (likely(lock_mine)) {
		atomic_store_explicit(&lock_inside, true, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		if (likely(!atomic_load_explicit(&lock_revoked, memory_order_acquire)))
			return;
		atomic_store_explicit(&lock_inside, false, memory_order_release);
	}
	client_lock_slow();
}

/* Leaves a child unborn: for what needs none of its channels. */
void client_lock_unborn(void) slow_path;
static inline void client_lock_as_is(void)
{
	if (likely(!atomic_load_explicit(&lock_unborn, memory_order_relaxed)))
		client_lock();
	else
		client_lock_unborn();
}

/* It is given back, whatever is to be done then. */
static inline void client_lock_leave(void)
{
	if (likely(lock_mine && atomic_load_explicit(&lock_inside, memory_order_relaxed))) {
		atomic_store_explicit(&lock_inside, false, memory_order_release);
		return;
	}
	client_unlock_slow();
}

static inline void client_unlock(void)
{
	if (likely(lock_n_wakes == 0))
		client_lock_leave();
	else
		client_unlock_wake();
}

#endif
