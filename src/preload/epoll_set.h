/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Epoll sets, between the hooks (epoll_call.c) and what they know of a set (epoll_set.c).
 */
#ifndef ZS_PRELOAD_EPOLL_SET_H
#define ZS_PRELOAD_EPOLL_SET_H

#include "preload/preload.h"

#pragma GCC visibility push(hidden)

/* One for each epoll of the kernel's that the program made or put one of ours into. Never freed,
 * since a thread may still look at it: used again. */
struct eset {
	struct eset *next_free;
	int fd;		     /* one of its numbers, while it has one */
	_Atomic int kernel;  /* members that the kernel has, at most: it forgets those that close */
	_Atomic int asleep;  /* threads in the kernel that know of no member of ours */
	_Atomic int kick;    /* wakes them: an eventfd in the kernel's set; -1 */
	_Atomic bool kicked; /* there was one */
	_Atomic int doubles; /* members that are on both sides */
	_Atomic unsigned turn;
	_Atomic bool oneshots;	/* some of them EPOLLONESHOT */
	_Atomic int64_t looked; /* at the kernel's, ns */
};

/* NULL: not known to be one. */
struct eset *eset_of(int epfd);
/* A new one of the kernel's. 0, -ENOMEM. */
int eset_new(int epfd) must_check;
/* epoll_ctl(2) where more than the kernel, or more than the client, has to know. 0, -errno. */
int eset_ctl(int epfd, int op, int fd, struct epoll_event *ev) must_check;
/* Members of the kernel alone come and go: it was told, and said 0. */
void eset_kernel_ctl(struct eset *e, int op);

/* Of n events the first `ours` are the client's: what is on both sides is told once, and disarmed
 * on both if it is EPOLLONESHOT. How many stay. */
int eset_join(struct eset *e, struct epoll_event *ev, int ours, int n);

/* ---- epoll_kick.c ---- */

/* Around a sleep in the kernel of a thread that knows of no member of ours. False: there are some
 * now. */
bool eset_sleep(struct eset *e, int epfd) must_check;
void eset_woke(struct eset *e);
/* Takes the kick out of n events; how many stay. */
int eset_strip(const struct eset *e, struct epoll_event *ev, int n);
/* Members of ours have come; those that sleep without knowing it are woken. */
void eset_kick(struct eset *e);
void eset_unkick(struct eset *e);

#pragma GCC visibility pop

#endif
