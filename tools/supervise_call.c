/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bind, listen, names and options of the program's sockets.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_TRIES  16
#define BACKLOG_MAX 4096

/* ---- bind ---- */

static bool is_any(const union name *n)
{
	const struct in6_addr *a = &n->v6.sin6_addr;

	if (n->any.sa_family == AF_INET)
		return n->v4.sin_addr.s_addr == INADDR_ANY;
	return IN6_IS_ADDR_UNSPECIFIED(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr32[3] == 0);
}

/* In the kernel, where it asked for, at Z-Stack's port; at loopback, where the kernel has the
 * stack's addresses as well. */
static int bind_kernel(const struct notice *n, struct sup *s, const union name *asked,
		       socklen_t len, bool shared)
{
	union name at = *asked;

	if (shared && is_any(asked))
		len = loopback_name(&at, s->domain, is_v6only(n->sock, s->domain), 0);
	at.v4.sin_port = s->local.v4.sin_port;
	return bind(n->sock, &at.any, len) < 0 ? -errno : 0;
}

static int bind_once(const struct notice *n, const union name *asked, socklen_t len, int domain,
		     int whose)
{
	struct sup *s = sup_new(SUP_BOUND, domain);
	int r = -ENOMEM;

	if (s == NULL)
		return r;
	s->caller = process_of(n->tid);
	s->number = (int)n->arg[0];
	r = s->zs = zs_socket_like(n->sock, domain);
	if (r >= 0)
		r = bind(s->zs, &asked->any, len) < 0 ? -errno : 0;
	if (r == 0)
		sup_local(s);
	s->both = (whose & SUPERVISE_KERNEL) != 0;
	if (r == 0 && s->both)
		r = bind_kernel(n, s, asked, len, (whose & SUPERVISE_SHARED) != 0);
	if (r == 0)
		sup_insert(s, n->cookie);
	else
		sup_drop(s);
	return r;
}

/* Sockets that the program has closed give their ports back when these are wanted again. One that
 * only was bound is taken for closed if it is not where it was bound. */
static uint16_t wanted;

static void look_if_wanted(struct sup *s)
{
	int fd;

	if (s->local.v4.sin_port != wanted)
		return;
	if (s->state == SUP_LISTENS)
		listeners_look(s);
	if (s->gone || s->state != SUP_BOUND)
		return;
	fd = program_socket(s->caller, s->number, s->cookie);
	if (fd >= 0)
		close(fd);
	else
		sup_drop(s);
}

static int bind_asked(const struct notice *n, const union name *asked, socklen_t len, int domain,
		      int whose)
{
	int r = bind_once(n, asked, len, domain, whose);

	wanted = asked->v4.sin_port;
	if (r == -EADDRINUSE && wanted != 0) {
		sup_each(look_if_wanted);
		r = bind_once(n, asked, len, domain, whose);
	}
	for (int i = 0; i < PORT_TRIES && r == -EADDRINUSE && wanted == 0; i++)
		r = bind_once(n, asked, len, domain, whose);
	return r;
}

void call_bind(struct notice *n)
{
	union name asked;
	socklen_t len;
	bool udp = false;
	int domain = notice_named(n, &asked, &len, &udp), r = SUPERVISE_KERNEL;

	if (domain == -EPERM)
		r = -EPERM;
	else if (domain >= 0 && !udp && sup_find(n->cookie) != NULL)
		r = -EINVAL;
	else if (domain >= 0 && !has_port(n->sock))
		r = ask_whose(n, "bind", &asked, len);
	if (r >= 0 && (udp || !(r & SUPERVISE_OURS))) {
		notice_continue(n->id);
		return;
	}
	if (r >= 0 && !program_may_bind(n->tid, ntohs(asked.v4.sin_port)))
		r = -EACCES;
	if (r >= 0)
		r = bind_asked(n, &asked, len, domain, r);
	(void)notice_reply(n->id, r);
}

/* ---- listen ---- */

/* Where the program's socket is reached over loopback. */
static int reach(const struct notice *n, struct sup *s)
{
	bool v6 = is_v6only(n->sock, s->domain);
	union name own = {0};
	socklen_t len = sizeof(own);
	uint16_t port;

	if (!s->both) {
		len = loopback_name(&own, s->domain, v6, 0);
		if (bind(n->sock, &own.any, len) < 0)
			return -errno;
		len = sizeof(own);
	}
	if (getsockname(n->sock, &own.any, &len) < 0)
		return -errno;
	port = own.v4.sin_port;
	s->at = own;
	s->at_len = len;
	if (is_any(&own))
		s->at_len = loopback_name(&s->at, v6 ? AF_INET6 : AF_INET, v6, port);
	return 0;
}

static int listen_on(const struct notice *n, struct sup *s)
{
	int backlog = (int)n->arg[1], r = 0;

	if (s->state == SUP_BOUND)
		r = reach(n, s);
	if (r < 0)
		return r;
	if (listen(n->sock, backlog) < 0 || listen(s->zs, backlog) < 0)
		return -errno;
	s->backlog = backlog < 1 ? 1 : backlog > BACKLOG_MAX ? BACKLOG_MAX : (unsigned)backlog;
	if (s->state == SUP_BOUND) {
		s->state = SUP_LISTENS;
		watch_zs(s, EPOLLIN);
	}
	return 0;
}

/* Nobody said where: at all addresses, and a port that is free everywhere. */
static int listen_anywhere(struct notice *n, int domain)
{
	union name any = {.any.sa_family = (sa_family_t)domain};
	socklen_t len = domain == AF_INET ? sizeof(any.v4) : sizeof(any.v6);
	int r = ask_whose(n, "listen", &any, len);

	if (r < 0)
		return r;
	if (!(r & SUPERVISE_OURS))
		return 1;
	return bind_asked(n, &any, len, domain, r);
}

void call_listen(struct notice *n)
{
	int domain = notice_socket(n, NULL), r = domain == -EPERM ? -EPERM : 1;
	struct sup *s = domain >= 0 ? sup_find(n->cookie) : NULL;

	if (s != NULL || (domain >= 0 && !has_port(n->sock))) {
		r = s == NULL ? listen_anywhere(n, domain) : 0;
		s = sup_find(n->cookie);
		if (r == 0 && s->state != SUP_BOUND && s->state != SUP_LISTENS)
			r = -EINVAL;
		if (r == 0)
			r = listen_on(n, s);
	}
	if (r > 0)
		notice_continue(n->id);
	else
		(void)notice_reply(n->id, r);
}

/* ---- names ---- */

void call_name(struct notice *n, bool peer)
{
	struct sup *s = notice_socket(n, NULL) >= 0 ? sup_find(n->cookie) : NULL;
	const union name *name;
	socklen_t len;
	int r;

	if (s == NULL) {
		notice_continue(n->id);
		return;
	}
	if (s->state == SUP_CONNECTING && !peer)
		sup_local(s);
	name = peer ? &s->peer : &s->local;
	len = peer ? s->peer_len : s->local_len;
	if (peer && s->state != SUP_OPEN)
		r = -ENOTCONN;
	else if (len == 0)
		r = -ENOTCONN;
	else
		r = n->arg[1] != 0 ? program_name(n->tid, n->arg[1], n->arg[2], name, len)
				   : -EFAULT;
	(void)notice_reply(n->id, r);
}

/* ---- options ---- */

/* What the kernel would do on loopback Z-Stack's does towards the peer. Wrong ones the kernel
 * refuses. */
void call_setsockopt(struct notice *n)
{
	struct sup *s = notice_socket(n, NULL) >= 0 ? sup_find(n->cookie) : NULL;
	int value;

	if (s != NULL && s->zs >= 0 && n->arg[4] >= sizeof(value) &&
	    program_read(n->tid, n->arg[3], &value, sizeof(value)) == 0)
		(void)setsockopt(s->zs, (int)n->arg[1], (int)n->arg[2], &value, sizeof(value));
	notice_continue(n->id);
}

/* Why it did not connect; the kernel only knows of a reset, which is over with this. */
void call_error(struct notice *n)
{
	struct sup *s = notice_socket(n, NULL) >= 0 ? sup_find(n->cookie) : NULL;
	int error, unused;
	socklen_t len = sizeof(error);

	if (s == NULL || s->state != SUP_FAILED) {
		notice_continue(n->id);
		return;
	}
	error = -s->error;
	(void)getsockopt(n->sock, SOL_SOCKET, SO_ERROR, &unused, &len);
	if (program_read(n->tid, n->arg[4], &len, sizeof(len)) < 0 || len < sizeof(error)) {
		(void)notice_reply(n->id, -EINVAL);
		return;
	}
	len = sizeof(error);
	if (program_write(n->tid, n->arg[3], &error, sizeof(error)) < 0 ||
	    program_write(n->tid, n->arg[4], &len, sizeof(len)) < 0) {
		(void)notice_reply(n->id, -EFAULT);
		return;
	}
	sup_drop(s);
	(void)notice_reply(n->id, 0);
}
