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
#include <signal.h>
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
	/* The number that fd_new() just gave is not needed: as if it had not been given. */
	void (*fd_back)(int fd);
	/* The client has dropped what fd stood for, without having been told to close it: the stack
	 * was stopped, or a child of fork could not inherit it. Inside the lock, as fd_new. */
	void (*fd_gone)(int fd);
	/* Has a signal come for the calling thread since it entered, whose handler waits until it
	 * leaves? Then what it waits for ends with -EINTR. NULL: handlers run when they come. */
	bool (*interrupted)(void);
};

/* Before zs_start(). The table is that of the process, and never taken back. With a host nothing is
 * stopped at exit(): that is the host's to do, if its stack is in the process. */
void host_set(const struct host_ops *ops);
/* For the host's signal handler, when interrupted() says so from here on: the calling thread does
 * not fall asleep any more, if it was about to. The one call that a handler may make. */
void host_interrupt(void);
/* Had the last wait of the calling thread that ended with -EINTR a time limit? Then the call is not
 * to be made again (signal(7)). */
bool host_timed(void);

/* The program is about to allow itself few system calls (seccomp): from here on the client makes
 * none but read, write, futex, poll and ppoll, unless the service goes. It does not spin any more.
 */
void host_frugal(void);

/* What the program was called as at its start, by its last component: programs write over what the C
 * library and the kernel have. */
const char *host_program(void);

/* A child of fork attaches when it first uses a socket. Now, since what comes may keep it from
 * that: false if it can't, and has no sockets. For others: does the stack run? */
bool host_settle(void);

/* A new socket or set at a number that the host has and the client does not know. */
int host_socket_at(int fd, int domain, int type, int protocol) must_check;
int host_epoll_at(int epfd) must_check;
/* `to`, of which the client knows nothing, stands for what `from` does, as well. -EBADF, -EBUSY. */
int host_dup(int from, int to) must_check;
/* zs_close(fd) drops one number; the last one closes. How many numbers there are; -EBADF. */
int host_fd_count(int fd);

/* What a wait is for: of the client's side, all that is named; of the kernel's, `kernel`. */
struct host_wait {
	int epfd;	    /* a set of the client: it has something to collect; or -1 */
	int fd;		    /* a socket of the client: it is readable, or has an error; or -1 */
	struct pollfd *pfd; /* sockets and sets of the client; revents are filled in, 0 for what is
			     * not the client's; may be NULL */
	unsigned n_pfd;
	struct pollfd *kernel; /* the kernel's descriptors; revents are filled in */
	unsigned n_kernel;
	int64_t *looked_ns; /* at the kernel's, of CLOCK_MONOTONIC: by the caller, then by the wait;
			     * or NULL: at its begin */
	int64_t deadline_ns;	 /* of CLOCK_MONOTONIC; INT64_MAX: none; 0: only looks */
	const sigset_t *sigmask; /* for the time of the wait (ppoll, epoll_pwait), or NULL */
	bool exclusive;		 /* fd is a listener: of the processes that all wait so for it, or
				  * with EPOLLEXCLUSIVE, one is woken; see host_accept_left() */
};

enum {
	HOST_OURS = 1,
	HOST_KERNEL = 2,
	HOST_AGAIN = 4, /* epfd has members in the kernel, and n_kernel is 0 */
};

/* Sleeps until one side may have something: HOST_OURS and HOST_KERNEL; 0 the deadline; -EINTR,
 * -EBADF, -ENXIO; -EOPNOTSUPP: of the kernel in mode poll. Level: what was there before the call
 * counts, on the kernel's side perhaps some microseconds later: the caller has looked. With pfd
 * both sides are looked at first and last. The caller looks again. */
int host_wait(const struct host_wait *w) must_check;

/* Who waited exclusively for a listener waits no more, and has not asked for what came: another
 * process is woken in its place. */
void host_accept_left(int fd);

/* Of a set of the client: others of its members are in the kernel's epoll of that number. A wait
 * for it that is not for them too ends with HOST_AGAIN. */
int host_epoll_kernel(int epfd, bool has);

/* Is there a stack to ask for new things? False while the service is gone: calls for them would
 * wait until it is back. Looks for it, if nobody else does; when it has just gone, for half a
 * second. */
bool host_alive(void);
/* Does the calling thread wait for a service that is gone? It must not while it holds a lock of the
 * host's: its calls then say -ENETDOWN. */
void host_wait_for_service(bool yes);
bool host_is_impatient(void);

/* Has the kernel the stack's addresses, too? Then a port that is ours is taken there. */
bool host_is_shared(void);

/* The addresses that the stack has now, IPv4 mapped, those of a link (fe80::/10) too; remembered
 * for a second, and while there is no service. How many there are (the first max of them are in
 * a[]), or -errno. Whether it has a default route for a family: CHAN_ROUTE_*; may be NULL. */
int host_addresses(struct chan_addr *a, unsigned max, unsigned *default_routes) must_check;
/* The same, but asked anew if there is a service. */
int host_addresses_now(struct chan_addr *a, unsigned max) must_check;
/* What the program calls interface `ifindex` of the stack's (chan_hdr's kernel_if). */
uint32_t host_interface(unsigned ifindex);

/* One more socket went that way; 'zstack apps' shows it. Also before zs_start(); a child of fork
 * begins at 0 (host_count_none(), if it may be that there is no stack yet). */
void host_count(enum chan_told where);
void host_count_none(void);

/* Does a program of the service listen there for TCP (IPv4 mapped), to which a same-node stream
 * could be? 1, 0 or -errno. Asks the service. */
int host_listens(const uint8_t addr[16], uint16_t port) must_check;

#endif
