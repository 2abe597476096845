/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libzstack-preload: libc's calls on sockets, taken over in programs that know nothing of Z-Stack
 * (docs/design/011). A hook has the name of a function of libc and looks like this:
 *
 *	ssize_t read(int fd, void *buf, size_t len)
 *	{
 *		long r;
 *
 *		if (likely(!fd_is_ours(fd)))
 *			return real.read(fd, buf, len);
 *		do {
 *			enter();
 *			r = zs_read(fd, buf, len);
 *		} while (leave(r));
 *		return result(r);
 *	}
 *
 * Everything else of libc is reached through `real`, also by the client, whose objects are linked
 * into the library with --wrap (real.c). This room alone touches errno.
 */
#ifndef ZS_PRELOAD_H
#define ZS_PRELOAD_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "client/host.h"
#include "preload/real.h"
#include "preload/rules.h"
#include "zstack/zstack.h"

#pragma GCC visibility push(hidden)

/* ---- fd.c: what a number stands for ---- */

/* The order matters: see the questions below. */
enum fd_kind {
	FD_KERNEL,    /* or nothing */
	FD_UNDECIDED, /* a TCP or UDP socket of the kernel's that may become ours (decide.c) */
	FD_EPOLL,     /* an epoll of the kernel's and a set of the client's (epoll_call.c) */
	FD_SOCKET,    /* the client's socket; the kernel has a placeholder */
	FD_BOTH,      /* the client's, and one of the kernel's beside it: twin_of(fd) (both.c) */
	FD_OWN,	      /* the library's: the program doesn't see it */
};
#define FD_KINDS (1u << 22) /* as the client's FD_MAX; higher numbers are the kernel's */

/* Untouched pages cost nothing. A hint: the number may be closed by another thread between the look
 * and the call, which then ends in EBADF, or is on whatever has the number now. */
extern _Atomic uint8_t fd_kinds[FD_KINDS];

static inline enum fd_kind fd_kind(int fd)
{
	if (unlikely((unsigned)fd >= FD_KINDS))
		return FD_KERNEL;
	return atomic_load_explicit(&fd_kinds[fd], memory_order_relaxed);
}

/* Not the kernel's, as far as reading, writing and options go. */
static inline bool fd_is_ours(int fd)
{
	return unlikely(fd_kind(fd) >= FD_SOCKET);
}

void fd_set_kind(int fd, enum fd_kind kind);
/* The first number at or after `from` that is not plainly the kernel's; -1. */
int fd_special(int from);
/* A duplicate of the placeholder: the lowest free number from min on; -errno. */
int placeholder_new(int min, int flags) must_check;
/* The placeholder takes the place of whatever has the number. FD_CLOEXEC stays as it was. */
int placeholder_at(int fd) must_check;
/* Is the file behind this number a placeholder of this process? (exec's and fork's: adopt.c) */
bool placeholder_is(int fd);
/* From here on the library's own numbers are, above all that programs use by hand. */
int own_min(void);

/* ---- entering and leaving: signal_call.c defers handlers meanwhile ---- */

struct inside {
	unsigned depth;
	_Atomic bool pending; /* a handler waits until the thread leaves */
};
extern __thread struct inside inside __attribute__((tls_model("initial-exec")));

/* Runs what waits; true: the call ended with -EINTR, and all handlers have SA_RESTART. */
bool leave_slow(long r) slow_path;

static inline void enter(void)
{
	inside.depth++;
	atomic_signal_fence(memory_order_seq_cst);
}

/* r: what the call returned. True: it is to be made again (never for poll, select, epoll_wait,
 * which ignore it, and calls with a time-out). */
static inline bool leave(long r)
{
	atomic_signal_fence(memory_order_seq_cst);
	inside.depth--;
	if (likely(!atomic_load_explicit(&inside.pending, memory_order_relaxed)))
		return false;
	return leave_slow(r);
}

static inline long result(long r)
{
	if (likely(r >= 0))
		return r;
	errno = (int)-r;
	return -1;
}

/* ---- start.c ---- */

/* Attaches, or loads the stack, unless it is done. 0; -ENETDOWN, after it was said on stderr why.
 */
int start_need(void) must_check;
bool started(void);
const struct rules *run_rules(void);
/* "zstack: …" on stderr, in one write. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- both.c: numbers of kind FD_BOTH ---- */

/* The kernel's socket beside ours, a number of the library's (FD_OWN); -1. It never blocks. */
int twin_of(int fd);

/* ---- epoll_call.c ---- */

/* A number becomes ours: it leaves the kernel's epolls that hold it. Before the placeholder takes
 * its place; then epoll_moved() puts it into the client's sets, and its twin, if it has one, into
 * the kernel's. */
void epoll_moving(int fd);
void epoll_moved(int fd);
/* A number is closed, or another file takes its place: of the kernel's or ours. */
void epoll_forget(int fd);

#pragma GCC visibility pop

#endif
