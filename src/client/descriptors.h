/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the program's numbers stand for: sockets and sets, and what is in a set.
 */
#ifndef ZS_CLIENT_DESCRIPTORS_H
#define ZS_CLIENT_DESCRIPTORS_H

#include "client/channel.h"

/* ---- fd.c ---- */
struct epset;
/* Does somebody else give the numbers (host.h)? */
bool fd_hosted(void);
int fd_init(void);
/* A host keeps the program from closing our own descriptors. */
bool fd_is_hosted(void);
void fd_fini(void);
#define FD_ANY (-1)
/* A descriptor for a socket or a set (the other is NULL). at: which; FD_ANY: the lowest free one,
 * or the host's choice. flags: for that, SOCK_CLOEXEC. -EMFILE, -EBUSY, -EBADF. */
int fd_open(struct csock *s, struct epset *e, int at, int flags) must_check;
/* Another that stands for the same. */
int fd_dup(int from, int to) must_check;
int fd_count(int fd);
/* Returns another descriptor of what it stood for; -1: there is none. */
int fd_free(int fd);
/* All descriptors of what fd stands for go, and not because the program said so. */
void fd_lose(int fd);
void fd_lose_all(void);
/* What descriptors stand for: a socket, or a set if the lowest bit is set; 0 = free. fd_room places
 * while the stack runs, and when it does not, none; the table moves when it grows. */
#define FD_MAX	   (1 << 22)
#define FD_SET_TAG 1u
extern uintptr_t *fd_table;
extern unsigned fd_room;
/* There is a place for this number. 0, -ENOMEM, -EMFILE: there can be none. */
int fd_make_room(int fd) must_check;
static inline bool fd_is_used(int fd)
{
	return (unsigned)fd < fd_room && fd_table[fd] != 0;
}
int fd_csock_error(int fd) cold_path;
/* NULL, and *err says why: -EBADF, -ENOTSOCK, -ENXIO. */
static inline struct csock *fd_csock(int fd, int *err)
{
	if (likely((unsigned)fd < fd_room)) {
		uintptr_t p = fd_table[fd];

		if (likely(p != 0 && (p & FD_SET_TAG) == 0))
			return (struct csock *)p;
	}
	*err = fd_csock_error(fd);
	return NULL;
}
struct epset *fd_epset(int fd, int *err);
/* The first in use at or after from; -1. */
int fd_next(int from);

/* ---- epitem.c, epoll.c ---- */
/* A socket or a set in a set. Linux knows it by open file and number, so one socket with two
 * descriptors (host.h) may be in a set twice. */
struct epitem {
	struct list ready; /* on the set's list, or alone */
	struct list of_set;
	struct epitem *next; /* of the same socket, or set */
	uint64_t data;
	uint32_t events; /* asked for; 0 after EPOLLONESHOT */
	uint32_t target; /* row of its socket; EPITEM_SET and the row of the set that it watches */
	uint32_t set;	 /* row of the set that it is in */
	int32_t fd;	 /* the target's descriptor that was named */
};
_Static_assert(sizeof(struct epitem) == 64, "one cache line");
#define EPITEM_SET 0x80000000u

struct epset {
	struct list ready; /* items that may be */
	struct list items;
	struct wlink *waiters;
	union {
		struct epitem *outer; /* it is in these sets */
		uint32_t next_free;   /* FREE */
	};
	uint32_t serial;     /* changes when it is closed */
	uint32_t users;	     /* threads that wait for it: its row stays */
	int32_t fd;	     /* one of its descriptors; -1: closed, FREE: on the free list */
	uint32_t row : 31;   /* its own */
	uint32_t kernel : 1; /* the host's kernel has members of it, too */
};
_Static_assert(sizeof(struct epset) == 64, "one cache line");

void epitem_notify(struct epitem *first, uint32_t mask);
void epitem_free(struct epitem *i);
/* The same, while its socket goes on: what it alone was told (EPOLLEXCLUSIVE) another is. */
void epitem_drop(struct epitem *i);
void epitem_forget(struct csock *s);
/* What a set may hold. */
struct eptarget {
	struct csock *s;
	struct epset *e; /* if s is NULL */
	int fd;
};
int epitem_ctl(struct epset *e, int op, const struct eptarget *t,
	       const struct epoll_event *ev) must_check;
uint32_t epitem_mask_set(const struct epitem *i) slow_path;
/* Its state of this moment, of what is asked for. */
static inline uint32_t epitem_mask(const struct epitem *i)
{
	if (unlikely(i->target & EPITEM_SET))
		return epitem_mask_set(i);
	return csock_mask(&client.sock[i->target]) & i->events;
}
/* NULL: there is no memory. */
struct epset *epset_alloc(void);
/* May be called in a set that is closed and that nobody waits for any more. */
void epset_free_if_unused(struct epset *e);
/* Is there anything to collect? */
bool epset_ready(struct epset *e);
int epset_new(int at) must_check;
/* Its descriptor is now this one. */
void epset_rename(struct epset *e, int fd);
void epset_close(struct epset *e);
/* In a child of fork: nobody waits on it here. */
void epset_alone(struct epset *e);

#endif
