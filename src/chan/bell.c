/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why no wake-up is lost. The sleeper writes `armed` and then reads the rings' marks and indices;
 * the ringer writes a mark or an index and then reads `armed`. Were these plain loads and stores,
 * each could read the old value of the other (store buffering, x86 does it) and the sleeper would
 * sleep on a full ring. Here every access to `armed` on both sides is an atomic exchange with
 * acquire and release. All modifications of one atomic have one order, and an exchange reads exactly
 * its predecessor in it. So of arm A and ring R, either
 *
 *	A … R	R, or an earlier ring after A, is the first to read the 1 and writes the descriptor;
 * or R … A	A reads a value written by R or by an exchange after R; a chain of exchanges is a
 * release sequence, so A synchronizes with R, and what was stored before R is visible to the check
 *		that follows A.
 *
 * Disarming must be an exchange too: a plain store between R and A would cut that chain. There is
 * no fence in this argument, so the thread sanitizer can follow it. On x86 a fence would cost what
 * the exchange costs; the ringer's line stays in its own cache as long as the other side does not
 * sleep.
 *
 * bell_ring_trifle() reads by an addition of nothing, which is a modification like an exchange: it
 * has its place in the order, and a chain goes through it.
 *
 * Whoever holds the same open file can clear O_NONBLOCK and fill the counter to 2^64 - 2, and
 * write() has no per-call "don't wait" for an eventfd. So who rings for applications that he does
 * not trust has a pipe (bell_pair): its ends are two open files, and the sleeper's can't be
 * written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "chan/bell.h"

int bell_open(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

void bell_arm_as(_Atomic uint32_t *armed, uint32_t how)
{
	atomic_exchange_explicit(armed, how, memory_order_acq_rel);
}

void bell_arm(_Atomic uint32_t *armed)
{
	bell_arm_as(armed, BELL_ARMED);
}

void bell_disarm(_Atomic uint32_t *armed)
{
	atomic_exchange_explicit(armed, 0, memory_order_acq_rel);
}

void bell_drain(int fd)
{
	uint64_t count;
	struct iovec v = {&count, sizeof(count)};

	/* O_NONBLOCK belongs to the open file, which the other side shares and can change: so
	 * "don't wait" is said with the call. Nothing to read is as good as read. */
	(void)!preadv2(fd, &v, 1, -1, RWF_NOWAIT);
}

void bell_empty(int fd)
{
	uint64_t counts[32]; /* a pipe has one for each time that it was rung */

	(void)!read(fd, counts, sizeof(counts));
}

int bell_pair(int *ring)
{
	int fd[2];

	if (pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	*ring = fd[1];
	return fd[0];
}

int bell_sleep(int fd, int64_t timeout_ns)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	int n = ppoll(&p, 1, timeout_ns < 0 ? NULL : &ts, NULL);

	if (n < 0)
		return -errno;
	if (n == 0)
		return 0;
	if ((p.revents & POLLIN) == 0)
		return -EBADF;
	bell_drain(fd);
	return 1;
}

void bell_wake(int fd)
{
	uint64_t one = 1;
	ssize_t n;

	/* EAGAIN: the counter is full, so the descriptor is readable and the sleeper awake. */
	do {
		n = write(fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
}
