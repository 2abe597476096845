/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that sleep in the kernel for an epoll set that has no members of ours, when the first one
 * comes (epoll_set.c): they have to look at both sides from then on. An eventfd in the kernel's set
 * wakes them, and stays readable until the last of them has left: the kernel wakes one at a time.
 */
#include <sys/eventfd.h>
#include <sys/single_threaded.h>

#include "preload/epoll_set.h"

/* The kick's data: an address of ours is none of the program's. */
static char kick_mark;

static uint64_t kick_data(void)
{
	return (uint64_t)(uintptr_t)&kick_mark;
}

/* Those that sleep in the kernel look at both sides from now on. */
void eset_kick(struct eset *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = kick_data()};
	int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), high;

	high = fd >= 0 ? own_dup(fd) : -1;
	if (fd >= 0)
		real.close(fd);
	if (high < 0)
		return;
	e->kicked = true;
	e->kick = high;
	real.epoll_ctl(e->fd, EPOLL_CTL_ADD, high, &ev);
}

void eset_unkick(struct eset *e)
{
	int fd = atomic_exchange(&e->kick, -1);

	if (fd < 0)
		return;
	fd_set_kind(fd, FD_KERNEL);
	real.close(fd);
}

bool eset_sleep(struct eset *e, int epfd)
{
	if (__libc_single_threaded)
		return true;
	atomic_fetch_add(&e->asleep, 1);
	if (likely(fd_kind(epfd) == FD_EVENTS))
		return true;
	eset_woke(e);
	return false;
}

void eset_woke(struct eset *e)
{
	/* A thread was made meanwhile, if it did not count itself. */
	if (atomic_load(&e->asleep) == 0)
		return;
	if (atomic_fetch_sub(&e->asleep, 1) > 1 || atomic_load(&e->kick) < 0)
		return;
	number_lock();
	if (e->asleep == 0)
		eset_unkick(e);
	number_unlock();
}

int eset_strip(const struct eset *e, struct epoll_event *ev, int n)
{
	int kept = 0;

	if (likely(!atomic_load_explicit(&e->kicked, memory_order_relaxed)))
		return n;
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 != kick_data())
			ev[kept++] = ev[i];
	}
	return kept;
}
