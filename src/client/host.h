/* SPDX-License-Identifier: BSD-3-Clause
 *
 * For a host of libzstack that gives descriptors of its own (src/preload, docs/design/011): there a
 * descriptor is the kernel's number, several may stand for one socket or set, and waits look at
 * the kernel's descriptors, too. Without a host the client counts its descriptors itself (fd.c).
 *
 * As the installed API: negative errno, any thread, never from a signal handler.
 */
#ifndef ZS_CLIENT_HOST_H
#define ZS_CLIENT_HOST_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "chan/chan.h"

struct host_ops {
	/* A number for a new socket (accept): the lowest free one, held by a file of the host's.
	 * flags: SOCK_CLOEXEC. -EMFILE, -ENFILE. Called inside the client's lock; it must not call
	 * the client. */
	int (*fd_new)(int flags);
	/* The client has dropped what fd stood for, without having been told to close it: the stack
	 * was stopped, or a child of fork could not inherit it. Inside the lock, as fd_new. */
	void (*fd_gone)(int fd);
};

/* Before zs_start(). The table is that of the process, and never taken back. */
void host_set(const struct host_ops *ops);

/* A new socket or set at a number that the host has and the client does not know. */
int host_socket_at(int fd, int domain, int type, int protocol) must_check;
int host_epoll_at(int epfd) must_check;
/* `to`, of which the client knows nothing, stands for what `from` does, as well. -EBADF, -EBUSY. */
int host_dup(int from, int to) must_check;
/* zs_close(fd) drops one number; the last one closes. How many numbers there are; -EBADF. */
int host_fd_count(int fd);

/* What a wait is for, of the client's side; of the kernel's side, what `poll` has (may be none). */
struct host_wait {
	int epfd;		  /* a set of the client, or -1 */
	int fd;			  /* a socket of the client: waits for news of it; or -1 */
	const struct pollfd *pfd; /* sockets of the client to be polled: what is not a socket of
				   * the client in it is skipped; NULL */
	unsigned n_pfd;
	struct pollfd *kernel; /* the kernel's descriptors; revents are filled in */
	unsigned n_kernel;
	int64_t deadline_ns; /* of CLOCK_MONOTONIC; INT64_MAX: none; 0: only looks */
	const void *sigmask; /* sigset_t for the time of the wait (ppoll, epoll_pwait), or NULL */
};

/* Sleeps until one side may have something: 1 the client's, 2 the kernel's, 3 both; 0 the deadline;
 * -EINTR, -EBADF. Level: what was there before the call counts. The caller looks again. */
int host_wait(const struct host_wait *w) must_check;

/* What a socket is ready for now, as poll(2) says; -EBADF. */
int host_poll_events(int fd, short events);

/* Is the epoll set waited for by others (nested, polled)? From now on host_epoll_bells() names
 * descriptors that are readable when the set may have something; the host adds them to the kernel's
 * epoll. Returns how many, at most max; -EBADF. */
int host_epoll_bells(int epfd, int *bells, unsigned max) must_check;

/* The addresses that the stack has now, IPv4 mapped, those of a link (fe80::/10) too; remembered
 * for a second, and while there is no service. How many there are (the first max of them are in
 * a[]), or -errno. Whether it has a default route for a family: CHAN_ROUTE_*. */
int host_addresses(struct chan_addr *a, unsigned max, unsigned *default_routes) must_check;

#endif
