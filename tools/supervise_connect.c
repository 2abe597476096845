/* SPDX-License-Identifier: BSD-3-Clause
 *
 * connect(). The program's socket must not say that it is connected before Z-Stack's is, nor that
 * it hung up: it is to be in SYN-SENT meanwhile, and to leave that when there is an answer.
 *
 * A connect() that does not block: the program's socket is connected to the *gate*, a listener on
 * loopback whose filter drops what comes. So its SYN has no answer. When Z-Stack's socket is
 * connected, a socket with the gate's address opens towards the program's: a simultaneous open (RFC
 * 9293 §3.5, figure 7), by which both are established at once, without the gate. When Z-Stack's
 * fails, the program's is disconnected, and the reason is told by SO_ERROR. If nobody is there any
 * more, the program has closed its socket.
 *
 *	program   SYN-SENT ---SYN--> (gate: dropped)
 *	          SYN-SENT <--SYN--- end
 *	          SYN-RCVD --SYN,ACK-> end, ESTABLISHED
 *
 * One that blocks waits for the answer of its notice: its socket is connected to the *door*, an
 * ordinary listener on loopback, when Z-Stack's is.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Of IPv4's loopback, and IPv6's. */
static int gate[2] = {-1, -1}, door[2] = {-1, -1};
static union name gate_name[2], door_name[2];

#define DOOR_BACKLOG 128

static socklen_t size_of(bool v6)
{
	return v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static void on(int fd, int name)
{
	int one = 1;

	(void)setsockopt(fd, SOL_SOCKET, name, &one, sizeof(one));
}

/* Several sockets have the gate's address. */
static int bound_socket(const union name *at, bool v6)
{
	int fd = kernel_socket(v6 ? AF_INET6 : AF_INET);

	if (fd < 0)
		return -errno;
	on(fd, SO_REUSEADDR);
	on(fd, SO_REUSEPORT);
	if (bind(fd, &at->any, size_of(v6)) == 0)
		return fd;
	close(fd);
	return -EADDRNOTAVAIL;
}

static int listener(union name *at, bool v6, bool drops)
{
	static struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog prog = {1, nothing};
	socklen_t len = size_of(v6);
	int fd;

	loopback_name(at, v6 ? AF_INET6 : AF_INET, v6, 0);
	fd = bound_socket(at, v6);
	if (fd < 0)
		return fd;
	if ((!drops || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) == 0) &&
	    getsockname(fd, &at->any, &len) == 0 && listen(fd, DOOR_BACKLOG) == 0)
		return fd;
	close(fd);
	return -EADDRNOTAVAIL;
}

/* Where there is no IPv6 its places stay empty. */
void connect_start(void)
{
	for (int v6 = 0; v6 < 2; v6++) {
		gate[v6] = listener(&gate_name[v6], v6, true);
		door[v6] = listener(&door_name[v6], v6, false);
	}
}

/* ---- where the program's socket goes ---- */

/* Its own port on loopback is expected from here on, at which the end will be connected to it. */
static int to_gate(struct notice *n, struct sup *s)
{
	bool v6 = is_v6only(n->sock, s->domain);
	union name to, own = {0};
	socklen_t len = loopback_name(&to, s->domain, v6, gate_name[v6].v4.sin_port),
		  m = sizeof(own);
	int r = 0;

	if (gate[v6] < 0)
		return -EAFNOSUPPORT;
	/* An earlier attempt that failed is told by the next call (Linux). */
	for (int i = 0; i < 2; i++) {
		r = connect(n->sock, &to.any, len) < 0 ? -errno : 0;
		if (r != -ECONNRESET && r != -ECONNABORTED)
			break;
	}
	if (r != -EINPROGRESS)
		return r < 0 ? r : -ECONNABORTED;
	(void)getsockname(n->sock, &own.any, &m);
	sup_expect(s, v6, own.v4.sin_port, gate_name[v6].v4.sin_port);
	return 0;
}

/* The end of a connection to the program's socket, which is at the gate. */
static int from_gate(struct sup *s)
{
	union name to;
	socklen_t len = loopback_name(&to, s->v6 ? AF_INET6 : AF_INET, s->v6, s->port);
	int fd = bound_socket(&gate_name[s->v6], s->v6);

	if (fd < 0)
		return fd;
	if (connect(fd, &to.any, len) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -ECONNREFUSED;
}

/* The program's socket, of which s->program is a copy, is connected to the door. */
static int by_door(struct sup *s)
{
	bool v6 = is_v6only(s->program, s->domain);
	union name to, own = {0}, from;
	socklen_t len = loopback_name(&to, s->domain, v6, door_name[v6].v4.sin_port),
		  m = sizeof(own);
	int fd;

	if (door[v6] < 0 || connect(s->program, &to.any, len) < 0)
		return -ENETUNREACH;
	(void)getsockname(s->program, &own.any, &m);
	for (;;) {
		m = sizeof(from);
		fd = accept4(door[v6], &from.any, &m, SOCK_CLOEXEC | SOCK_NONBLOCK);
		/* Others may knock, too. */
		if (fd < 0 || from.v4.sin_port == own.v4.sin_port)
			return fd < 0 ? -errno : fd;
		close(fd);
	}
}

/* ---- the answer of Z-Stack's socket ---- */

/* To poll it is one whose connection was refused: the kernel's word for that is a disconnect, of its
 * caller's socket. If that has another number by now: a reset, which is seen to open first. */
static void refuse(struct sup *s)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int fd = program_socket(s->caller, s->number, s->cookie);

	if (fd >= 0) {
		(void)connect(fd, &none, sizeof(none));
		close(fd);
		return;
	}
	fd = from_gate(s);
	if (fd >= 0) {
		reset_on_close(fd);
		close(fd);
	}
}

static void failed(struct sup *s, int error)
{
	uint64_t waits = s->waits;

	s->error = error;
	if (waits != 0) {
		sup_drop(s);
		(void)notice_reply(waits, error);
		return;
	}
	s->state = SUP_FAILED;
	s->since = time(NULL);
	close(s->zs);
	s->zs = -1;
	refuse(s);
	sup_unexpect(s);
}

static void connected(struct sup *s)
{
	uint64_t waits = s->waits;
	int end;

	sup_local(s);
	sup_peer(s);
	/* From here on the program may see that it is connected, and asks for names. */
	s->state = SUP_OPEN;
	end = waits != 0 ? by_door(s) : from_gate(s);
	if (end < 0) {
		sup_drop(s);
		if (waits != 0)
			(void)notice_reply(waits, end);
		return;
	}
	s->end = end;
	s->waits = 0;
	sup_unexpect(s);
	if (s->program >= 0)
		close(s->program);
	s->program = -1;
	carry_begin(s);
	if (waits != 0)
		(void)notice_reply(waits, 0);
}

void connect_event(struct sup *s)
{
	struct pollfd p = {.fd = s->zs, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&p, 1, 0) <= 0)
		return;
	if (getsockopt(s->zs, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0)
		failed(s, -error);
	else
		connected(s);
}

/* ---- the call ---- */

/* 0: it goes on; else what the call returns. */
static int begin(struct notice *n, struct sup *s, const union name *to, socklen_t len)
{
	int r;

	if (connect(s->zs, &to->any, len) < 0 && errno != EINPROGRESS)
		return -errno;
	s->state = SUP_CONNECTING;
	s->caller = n->tid;
	s->number = (int)n->arg[0];
	s->waits = 0;
	if (n->flags_nonblock) {
		r = to_gate(n, s);
	} else {
		s->waits = n->id;
		s->program = n->sock;
		n->sock = -1;
		r = 0;
	}
	if (r == 0)
		watch_zs(s, EPOLLIN | EPOLLOUT | EPOLLET);
	return r;
}

/* A socket of Z-Stack's for it, which may have been bound. */
static struct sup *sup_for(struct notice *n, struct sup *bound, int domain, int *r)
{
	struct sup *s = bound;

	*r = -ENOMEM;
	if (s == NULL)
		s = sup_new(SUP_CONNECTING, domain);
	if (s == NULL || bound != NULL)
		return s;
	s->zs = zs_socket_like(n->sock, domain);
	if (s->zs >= 0) {
		sup_insert(s, n->cookie);
		return s;
	}
	*r = s->zs;
	s->zs = -1;
	sup_drop(s);
	return NULL;
}

static void start(struct notice *n, struct sup *bound, int domain, const union name *to,
		  socklen_t len)
{
	int r;
	struct sup *s = sup_for(n, bound, domain, &r);

	if (s != NULL)
		r = begin(n, s, to, len);
	if (s != NULL && r < 0)
		sup_drop(s);
	if (r == 0 && n->flags_nonblock)
		r = -EINPROGRESS;
	if (r < 0)
		(void)notice_reply(n->id, r);
	else
		connect_event(s); /* on a link it may be connected by now */
}

/* True: that was the answer. */
static bool again(struct notice *n, struct sup *s)
{
	socklen_t len = sizeof(int);
	int r = -EALREADY, unused;

	if (s->state == SUP_BOUND)
		return false;
	/* The first call behind one that did not wait says 0, the others EISCONN. */
	if (s->state == SUP_OPEN || s->state == SUP_LISTENS) {
		notice_continue(n->id);
		return true;
	}
	if (s->state == SUP_CONNECTING && s->waits != 0 && !notice_valid(s->waits)) {
		s->waits = n->id; /* after a signal */
		return true;
	}
	if (s->state == SUP_FAILED) {
		r = s->error;
		sup_drop(s);
		(void)getsockopt(n->sock, SOL_SOCKET, SO_ERROR, &unused, &len);
	}
	(void)notice_reply(n->id, r);
	return true;
}

void call_connect(struct notice *n)
{
	union name to;
	socklen_t len;
	struct sup *s = NULL;
	bool udp = false;
	int domain = notice_named(n, &to, &len, &udp), whose = SUPERVISE_KERNEL;

	if (domain >= 0 && !udp) {
		s = sup_find(n->cookie);
		if (s != NULL && again(n, s))
			return;
	}
	if (domain >= 0 && (s != NULL || udp || !has_port(n->sock)))
		whose = ask_whose(n, "connect", &to, len);
	/* It can't be looked into: then nobody knows what it would be. */
	if (domain == -EPERM)
		whose = -EPERM;
	/* What is bound to Z-Stack's address goes nowhere else. */
	if (s != NULL && whose >= 0)
		whose = SUPERVISE_OURS;
	if (whose < 0)
		(void)notice_reply(n->id, whose);
	else if (udp || !(whose & SUPERVISE_OURS))
		notice_continue(n->id);
	else
		start(n, s, domain, &to, len);
}
