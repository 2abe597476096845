/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whose an AF_INET or AF_INET6 socket is. socket() makes one of the kernel's; the first bind,
 * listen, connect or sendto asks the rules (rules.h), and where none fits:
 *
 *	bound to an address of the stack's                       ours
 *	bound to the wildcard address                            both
 *	bound to another one                                     the kernel's
 *	connected, or sent to a subnet of the stack's address    ours
 *	connected or sent elsewhere                              the kernel's
 *	TCP, bound to loopback                                   both
 *	TCP, connected to loopback                               ours, if one of ours listens there
 *
 * "Both" is a socket of ours that has a twin, the kernel's: a listener or receiver for all
 * addresses. What connects (or, UDP, is connected) after that is the one or the other. A UDP socket
 * that sends to the kernel's side and to ours, in any order, is both as well.
 *
 * Becoming ours: the client gets a socket at the same number; the options that the program set are
 * carried over; it is bound; only when nothing can fail any more the placeholder takes the place of
 * the kernel's socket, at each of its numbers. Before, the program has lost nothing.
 */
#include <netinet/in.h>
#include <string.h>

#include "preload/whose.h"

#define PORT_TRIES 16

/* ---- becoming ours ---- */

static int int_option(int fd, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	real.getsockopt(fd, SOL_SOCKET, name, &v, &len);
	return v;
}

/* The client's socket beside the kernel's at the same number, with its options. */
static int ours_make(int fd)
{
	int flags = real.fcntl(fd, F_GETFL);
	int type = int_option(fd, SO_TYPE), r;
	const struct group_if *g;

	if (flags < 0)
		return -errno;
	type |= flags & O_NONBLOCK ? SOCK_NONBLOCK : 0;
	r = host_socket_at(fd, int_option(fd, SO_DOMAIN), type, 0);
	if (r == -EBUSY) {
		/* What had the number was closed past the hooks. */
		zs_close(fd);
		r = host_socket_at(fd, int_option(fd, SO_DOMAIN), type, 0);
	}
	if (r < 0)
		return r == -EMFILE ? -ENOBUFS : r;
	options_carry(fd, fd, number_options(fd));
	g = number_group_if(fd);
	if (g != NULL)
		(void)zs_setsockopt(fd, g->level, g->name, g->value, g->len);
	return 0;
}

/* The kernel's socket at a number of the library's. */
static int twin_make(int fd)
{
	int twin = own_dup(fd);

	return twin < 0 ? -ENOBUFS : twin;
}

/* One number of the socket. If it was closed past the hooks, it is none any more. */
static void take_number(int fd, int n, int twin)
{
	int r = n != fd ? host_dup(fd, n) : 0;

	if (r == 0)
		r = placeholder_at(n);
	fd_set_kind(n, twin >= 0 ? FD_BOTH : FD_SOCKET);
	twin_set(n, twin);
	if (r == 0 || n == fd)
		return;
	zs_close(n);
	epoll_forget(n);
	fd_set_kind(n, FD_KERNEL);
	number_fresh(n);
}

/* Every number of the socket is ours from here on. */
static int ours_install(int fd, int twin)
{
	int n = fd, r = placeholder_make();
	bool blocks = (real.fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;

	if (r < 0)
		return r;
	do {
		int next = number_next(n);

		epoll_moving(n);
		take_number(fd, n, twin);
		n = next;
	} while (n != fd);
	if (twin >= 0) {
		number_set_blocks(fd, blocks);
		real.fcntl(twin, F_SETFL, O_NONBLOCK);
		zs_fcntl(fd, F_SETFL, O_NONBLOCK);
	}
	do {
		epoll_moved(n);
		n = number_next(n);
	} while (n != fd);
	return 0;
}

static int ours_alone(int fd)
{
	int r = ours_make(fd);

	if (r < 0)
		return r;
	r = ours_install(fd, -1);
	if (r < 0)
		zs_close(fd);
	return r;
}

/* ---- bind ---- */

/* A wildcard becomes loopback's address of its family; of both, IPv4's, which more programs use. */
static void to_loopback(int fd, struct sockaddr_storage *at)
{
	struct sockaddr_in *in = (void *)at;
	struct sockaddr_in6 *in6 = (void *)at;
	int only = 0;
	socklen_t n = sizeof(only);

	if (at->ss_family == AF_INET && in->sin_addr.s_addr == INADDR_ANY) {
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return;
	}
	if (at->ss_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return;
	real.getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &n);
	in6->sin6_addr = in6addr_loopback;
	if (!only)
		in6->sin6_addr = (struct in6_addr){.s6_addr = {[10] = 0xff, 0xff, 127, 0, 0, 1}};
}

/* The kernel's gets the port that ours has. Where the kernel has the stack's addresses, too, the
 * port is taken there at all of them (docs/design/012): its side is loopback then. */
static int twin_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_storage at;
	struct sockaddr_in6 got;
	socklen_t n = sizeof(got);
	int r = zs_getsockname(fd, (struct sockaddr *)&got, &n);

	if (r < 0)
		return r;
	memcpy(&at, addr, len < sizeof(at) ? len : sizeof(at));
	/* The port stands at the same place in both families. */
	((struct sockaddr_in6 *)&at)->sin6_port = got.sin6_port;
	if (host_is_shared())
		to_loopback(fd, &at);
	return real.bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

static int bind_ours(int fd, const struct wish *w, const struct sockaddr *addr, socklen_t len,
		     bool both)
{
	int r = ours_make(fd), twin = -1;

	if (r < 0)
		return r;
	no_link_rule(fd, &w->c);
	r = zs_bind(fd, addr, len);
	if (r == 0 && both)
		r = twin_bind(fd, addr, len);
	if (r == 0 && both)
		r = twin = twin_make(fd);
	if (r >= 0)
		r = ours_install(fd, twin);
	if (r < 0)
		zs_close(fd);
	return r;
}

static int bind_both(int fd, const struct wish *w, const struct sockaddr *addr, socklen_t len)
{
	int r = -EADDRINUSE;

	for (int i = 0; i < PORT_TRIES && r == -EADDRINUSE; i++) {
		r = bind_ours(fd, w, addr, len, true);
		if (w->c.port != 0)
			break;
	}
	return r;
}

static int bind_wish(int fd, struct wish *w, const struct sockaddr *addr, socklen_t len)
{
	int r = whose_told(w);

	switch (r) {
	case WHOSE_OURS:
		r = bind_ours(fd, w, addr, len, false);
		break;
	case WHOSE_BOTH:
		r = bind_both(fd, w, addr, len);
		/* Loopback is the kernel's in the first place: a port that the program may not
		 * have of ours is no fault, nor that there is no room. */
		if (w->loopback && (r == -EACCES || r == -ENETDOWN || lacks_room(r))) {
			w->why = TOLD_LOOPBACK;
			return whose_done(w, DECIDED_KERNEL);
		}
		break;
	default:
		return whose_done(w, r);
	}
	return whose_done(w, r < 0 ? r : DECIDED_OURS);
}

/* It is the kernel's for good, and nothing of ours is in its way. */
static void kernel_alone(int fd)
{
	bool last;

	do {
		int n = number_next(fd);

		last = n == fd;
		epoll_forget(n);
		fd_set_kind(n, FD_KERNEL);
		number_fresh(n);
	} while (!last);
}

void decide_kernel(int fd)
{
	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED)
		kernel_alone(fd);
	number_unlock();
}

static int kernel_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	if (real.bind(fd, addr, len) < 0)
		return -errno;
	if (fd_kind(fd) == FD_UNDECIDED)
		kernel_alone(fd);
	return DECIDED_KERNEL;
}

int decide_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct wish w;
	int r = DECIDED_KERNEL;

	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED && wish_from(&w, fd, "bind", addr, len))
		r = bind_wish(fd, &w, addr, len);
	if (r == DECIDED_KERNEL)
		r = kernel_bind(fd, addr, len);
	number_unlock();
	return r;
}

/* Nobody said where: at a port that is free everywhere. */
int decide_listen(int fd)
{
	struct sockaddr_in6 any = {.sin6_family = (sa_family_t)int_option(fd, SO_DOMAIN)};
	struct sockaddr_in6 now;
	socklen_t len = sizeof(now);
	struct wish w;
	int r = DECIDED_KERNEL;

	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED && int_option(fd, SO_TYPE) == SOCK_STREAM &&
	    real.getsockname(fd, (struct sockaddr *)&now, &len) == 0 && now.sin6_port == 0 &&
	    wish_from(&w, fd, "listen", (struct sockaddr *)&any, sizeof(any)))
		r = bind_wish(fd, &w, (struct sockaddr *)&any,
			      any.sin6_family == AF_INET ? sizeof(struct sockaddr_in)
							 : sizeof(any));
	number_unlock();
	return r;
}

/* ---- connect and send ---- */

/* Is it bound in the kernel, for it has sent there? */
static bool kernel_bound(int fd)
{
	struct sockaddr_in6 now;
	socklen_t len = sizeof(now);

	return real.getsockname(fd, (struct sockaddr *)&now, &len) == 0 && now.sin6_port != 0;
}

static int connect_ours(int fd)
{
	int r = ours_alone(fd);

	if (r < 0)
		return r == -ENOMEM ? r : -ENOBUFS;
	return DECIDED_OURS;
}

int decide_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct wish w;
	int r = DECIDED_KERNEL;

	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED && wish_from(&w, fd, "connect", addr, len) &&
	    (w.c.udp || !kernel_bound(fd))) {
		w.c.connect = true;
		w.group_if = number_group_if(fd) != NULL;
		r = whose_told(&w);
		if (r == WHOSE_OURS)
			r = connect_ours(fd);
		r = whose_done(&w, r);
	}
	number_unlock();
	return r;
}

int decide_ours(int fd)
{
	int r = -EBADF;

	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED)
		r = ours_alone(fd);
	number_unlock();
	return r;
}

/* UDP: what sends to us may send to the kernel's side next, and the other way round. */
int decide_send(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct wish w = {.verb = NULL};
	int r = DECIDED_KERNEL, twin;

	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED && wish_from(&w, fd, "send", addr, len) && w.c.udp) {
		w.c.connect = true;
		w.group_if = number_group_if(fd) != NULL;
		r = whose_told(&w);
	}
	if (r == WHOSE_OURS) {
		r = twin = twin_make(fd);
		if (r >= 0)
			r = ours_make(fd);
		if (r == 0)
			r = ours_install(fd, twin);
		r = whose_done(&w, r < 0 ? r : DECIDED_OURS);
	} else if (w.c.connect && !kernel_bound(fd)) {
		r = whose_done(&w, r); /* the first that it sends there */
	}
	number_unlock();
	return r;
}

/* Which socket it is asked of makes no difference. */
static bool stack_takes(int fd, const struct group_if *g)
{
	bool takes;

	if (start_need() < 0 || !host_alive() || ours_make(fd) < 0)
		return false;
	takes = zs_setsockopt(fd, g->level, g->name, g->value, g->len) == 0;
	zs_close(fd);
	return takes;
}

bool decide_group_if(int fd, int level, int name, const void *value, socklen_t len)
{
	struct group_if g = {.level = level, .name = name, .len = len};
	bool takes = false;

	if (len == 0 || len > sizeof(g.value))
		return false;
	memcpy(g.value, value, len);
	number_lock();
	if (fd_kind(fd) == FD_UNDECIDED && int_option(fd, SO_TYPE) == SOCK_DGRAM)
		takes = stack_takes(fd, &g);
	if (takes)
		number_set_group_if(fd, &g);
	number_unlock();
	return takes;
}

/* ---- both ---- */

enum decided both_whose(int fd, const struct sockaddr *addr, socklen_t len, bool send)
{
	struct wish w;

	if (!wish_from(&w, twin_of(fd), send ? "send" : "connect", addr, len))
		return DECIDED_OURS;
	w.c.connect = true;
	w.group_if = number_group_if(fd) != NULL;
	return whose(&w) == WHOSE_KERNEL ? DECIDED_KERNEL : DECIDED_OURS;
}

static void twin_close(int twin)
{
	fd_set_kind(twin, FD_KERNEL);
	real.close(twin);
}

void both_ours(int fd)
{
	int twin, n = fd;

	number_lock();
	twin = twin_of(fd);
	if (fd_kind(fd) != FD_BOTH || twin < 0) {
		number_unlock();
		return;
	}
	if (number_blocks(fd))
		zs_fcntl(fd, F_SETFL, 0);
	do {
		epoll_moving(n);
		fd_set_kind(n, FD_SOCKET);
		twin_set(n, -1);
		epoll_moved(n);
		n = number_next(n);
	} while (n != fd);
	twin_close(twin);
	number_unlock();
}

void both_kernel(int fd)
{
	int twin, n = fd;

	number_lock();
	twin = twin_of(fd);
	if (fd_kind(fd) != FD_BOTH || twin < 0) {
		number_unlock();
		return;
	}
	if (number_blocks(fd))
		real.fcntl(twin, F_SETFL, 0);
	do {
		int flags = real.fcntl(n, F_GETFD);

		epoll_moving(n);
		zs_close(n);
		real.dup3(twin, n, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		fd_set_kind(n, FD_UNDECIDED);
		twin_set(n, -1);
		epoll_moved(n);
		n = number_next(n);
	} while (n != fd);
	twin_close(twin);
	number_unlock();
}
