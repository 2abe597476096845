/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Doorbells: how a side that found its rings empty sleeps, and how the other wakes it. The sleeper:
 *
 *	bell_arm(armed);
 *	if (nothing in any ring that this bell stands for)
 *		bell_sleep(fd, timeout);        (or fd in an epoll set, then bell_drain())
 *	bell_disarm(armed);
 *
 * The other, once after each batch of chan_push() and also after chan_pop() when that says so:
 * bell_ring(armed, fd). A wake-up may come without cause; none is ever lost (see
 * bell.c).
 */
#ifndef ZS_CHAN_BELL_H
#define ZS_CHAN_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

/* A new descriptor to sleep on (eventfd, non-blocking, close-on-exec); or -errno. */
must_check int bell_open(void);

/* A bell for a sleeper that the ringer does not trust: the descriptor that can be slept on and
 * emptied, and not be rung; *ring can be rung, and is not handed out. -errno. */
must_check int bell_pair(int *ring);

/* What the sleeper says by arming. Who wants no trifles is not woken for them alone. */
enum {
	BELL_ARMED = 1,
	BELL_ARMED_NO_TRIFLES = 2,
};

void bell_arm(_Atomic uint32_t *armed);
void bell_arm_as(_Atomic uint32_t *armed, uint32_t how);
void bell_disarm(_Atomic uint32_t *armed);

/* Sleeps until the bell rings, at most timeout_ns (-1: forever). 1 rung (and drained), 0 time is
 * up, -EINTR a signal, other -errno. */
must_check int bell_sleep(int fd, int64_t timeout_ns);

/* Forgets what was rung so far. Never blocks, whatever the other side did to the descriptor. */
void bell_drain(int fd);
/* The same for who is alone on that side, by read(2): all that a sandbox leaves. */
void bell_empty(int fd);

/* The kernel's part of bell_ring(), only when somebody sleeps. */
void bell_wake(int fd) cold_path;

/* True if there was somebody to wake. Any value but 0 means armed: the word is shared, and a liar
 * only makes its own bell ring. */
static inline bool bell_ring(_Atomic uint32_t *armed, int fd)
{
	if (likely(atomic_exchange_explicit(armed, 0, memory_order_acq_rel) == 0))
		return false;
	bell_wake(fd);
	return true;
}

/* After a batch of nothing but trifles. */
static inline bool bell_ring_trifle(_Atomic uint32_t *armed, int fd)
{
	uint32_t how = atomic_fetch_add_explicit(armed, 0, memory_order_acq_rel);

	return unlikely(how != 0 && how != BELL_ARMED_NO_TRIFLES) && bell_ring(armed, fd);
}

#endif
