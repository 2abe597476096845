/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets are made, bound, accepted, named: POSIX.1-2017 "System Interfaces", and Linux where POSIX
 * leaves it open. The states here are the program's view; the connection's are the service's.
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define TYPE_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

static int socket_open(int domain, int type, int protocol, int at)
{
	struct core *c = &client.core[client.next_core++ % client.n_cores];
	struct csock *s;
	int r = core_socket(c, domain, type & ~TYPE_FLAGS, protocol, &s);

	if (r < 0)
		return r;
	r = group_new(s);
	if (r == 0)
		r = fd_open(s, NULL, at, type & SOCK_CLOEXEC);
	if (r < 0) {
		group_close(s);
		return r;
	}
	s->fd = r;
	if (type & SOCK_NONBLOCK)
		s->flags |= CSOCK_NONBLOCK;
	return r;
}

static int protocol_check(int type, int protocol)
{
	if (type == SOCK_STREAM)
		return protocol == 0 || protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
	if (type == SOCK_DGRAM)
		return protocol == 0 || protocol == IPPROTO_UDP ? 0 : -EPROTONOSUPPORT;
	if (type == SOCK_SEQPACKET)
		return protocol == 0 ? 0 : -EPROTONOSUPPORT;
	return -ESOCKTNOSUPPORT;
}

int socket_new(int domain, int type, int protocol, int at)
{
	int r = protocol_check(type & ~TYPE_FLAGS, protocol);

	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (r < 0)
		return r;
	client_lock();
	r = client_ready();
	if (r == 0)
		r = socket_open(domain, type, protocol, at);
	client_unlock();
	return r;
}

int zs_socket(int domain, int type, int protocol)
{
	return socket_new(domain, type, protocol, FD_ANY);
}

static int bind_now(struct csock *s, const struct endpoint *at)
{
	struct chan_sqe cmd = {.op = CHAN_OP_BIND, .port = at->port};
	struct chan_cqe e;
	int r;

	if (s->state != CSOCK_IDLE || (s->flags & CSOCK_BOUND))
		return -EINVAL;
	memcpy(cmd.addr, at->addr, 16);
	cmd.scope = at->scope;
	do {
		r = unlikely(s->sid == 0) ? csock_ready(s) : 0;
		if (r == 0) {
			cmd.port = at->port;
			r = transport_may_bind(at->addr, &cmd.port, s->type == SOCK_DGRAM, -1);
		}
		if (r == 0)
			r = cmd_call(csock_core(s), s, &cmd, &e);
		if (unlikely(r == -ERESTART))
			service_miss();
	} while (r == -ERESTART);
	if (r < 0)
		return r;
	s->flags |= CSOCK_BOUND;
	s->bound_scope = at->scope;
	memcpy(s->local, at->addr, 16);
	s->local_port = (uint16_t)e.aux;
	vouch_bound(s);
	return s->type == SOCK_DGRAM ? group_spread(s) : 0;
}

int socket_bind(struct csock *s, const struct endpoint *at)
{
	struct group *g = s->group;
	int r = group_begin(s);

	if (r < 0)
		return r;
	r = bind_now(s, at);
	group_end(g);
	return r;
}

int zs_bind(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct endpoint at;
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = endpoint_from(&at, s->domain, addr, addrlen);
	if (r == 0)
		r = socket_bind(s, &at);
	client_unlock();
	return r;
}

/* With several cores the port must be known before the others can have it too; and at another
 * service it must be the same. */
static int listen_bind(struct csock *s)
{
	struct endpoint any = {.port = 0};

	if ((s->group == NULL && !client.transport.attached) || (s->flags & CSOCK_BOUND))
		return 0;
	if (s->domain == AF_INET)
		any.addr[10] = any.addr[11] = 0xff;
	return bind_now(s, &any);
}

static int listen_now(struct csock *s, int backlog)
{
	struct chan_sqe cmd = {.op = CHAN_OP_LISTEN, .arg = {(int32_t)chan_backlog(backlog)}};
	struct chan_cqe e;
	int r;

	if (s->state != CSOCK_IDLE && s->state != CSOCK_LISTEN)
		return -EINVAL;
	r = listen_bind(s);
	if (r == 0)
		r = group_spread(s);
	if (r < 0)
		return r;
	if (s->state == CSOCK_IDLE)
		errqueue_free(s);
	/* The first connection may be announced before the result is. */
	s->state = CSOCK_LISTEN;
	for (unsigned i = 1; s->group != NULL && i < s->group->n; i++)
		s->group->sock[i]->state = CSOCK_LISTEN;
	s->backlog = (uint32_t)cmd.arg[0];
	r = group_call(s, &cmd, &e);
	/* Closed meanwhile, it has another state, or is another's. */
	if (r < 0 && r != -EBADF) {
		s->state = CSOCK_IDLE;
		s->taken = s->backlog = 0;
	}
	return r < 0 ? r : 0;
}

static int socket_listen(struct csock *s, int backlog)
{
	struct group *g = s->group;
	int r;

	if (!csock_connects(s))
		return -EOPNOTSUPP;
	r = group_begin(s);
	if (r < 0)
		return r;
	r = listen_now(s, backlog);
	group_end(g);
	return r;
}

int zs_listen(int fd, int backlog)
{
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_listen(s, backlog);
	client_unlock();
	return r;
}

/* ---- accept ---- */

/* Tells the service that there is room on the queue again: half a backlog at a time, and whenever
 * the queue is empty, since then the service may be waiting for us. */
static void accept_tell(struct csock *l)
{
	uint32_t serial = l->serial;
	struct chan_sqe *q;

	l->taken++;
	if (l->unread != 0 && l->taken < l->backlog / 2)
		return;
	q = cmd_slot(csock_core(l));
	/* Closed meanwhile, or another thread has told it, or nobody wants to know. */
	if (unlikely(q == NULL || l->serial != serial || l->taken == 0))
		return;
	cmd_of(q, l, TOKEN_NOBODY);
	q->arg[0] = (int32_t)l->taken;
	l->taken = 0;
	cmd_push(csock_core(l), CHAN_OP_RCVBUF_MORE);
}

static int accept_take(struct csock *l, struct csock **out, int flags)
{
	struct csock *s = &client.sock[l->head];
	uint32_t serial = l->serial;
	int fd = fd_open(s, NULL, FD_ANY, flags & SOCK_CLOEXEC);

	if (fd < 0)
		return fd;
	/* The listener's number was closed past the host, and is the new one now. */
	if (unlikely(l->serial != serial)) {
		fd_lose(fd);
		return -EBADF;
	}
	l->head = s->link;
	if (l->head == NIL)
		l->tail = NIL;
	s->link = NIL;
	l->unread--;
	s->fd = fd;
	client.stats.accepts++;
	*out = s;
	if (unlikely(csock_records(s)))
		record_look(s);
	accept_tell(l);
	return fd;
}

static int socket_accept(struct csock *s, struct csock **out, int flags)
{
	int64_t deadline = recv_deadline(s);
	int r;

	if (!csock_connects(s))
		return -EOPNOTSUPP;
	if (s->state != CSOCK_LISTEN)
		return -EINVAL;
	csock_wanted(s);
	if (csock_reader(s)->unread == 0)
		client_dry();
	while (csock_reader(s)->unread == 0) {
		if (unlikely(s->state != CSOCK_LISTEN))
			return -EINVAL; /* shut down meanwhile */
		if (s->err != 0)
			return csock_take_error(s);
		if (unlikely(csock_shared(s))) {
			r = shared_accept(s);
			if (r == 0 || (r == -EAGAIN && !csock_shared(s)))
				continue;
			if (r != -EAGAIN)
				return r;
		}
		r = s->flags & CSOCK_NONBLOCK ? -EAGAIN : csock_wait_exclusive(s, deadline);
		if (r < 0 && r != -EBADF)
			shared_exclusive_left(s);
		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
	r = accept_take(csock_reader(s), out, flags);
	/* The next connection is for those who go on waiting. */
	shared_exclusive_left(s);
	return r;
}

/* sin6_scope_id, where an address has one: as the program named it. */
static uint32_t scope_of(const struct csock *s)
{
	return s->peer_scope != 0 ? s->peer_scope : s->bound_scope;
}

int zs_accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
	struct csock *l, *s = NULL;
	int r = 0;

	if ((flags & ~TYPE_FLAGS) != 0)
		return -EINVAL;
	client_lock();
	l = fd_csock(fd, &r);
	if (l != NULL)
		r = socket_accept(l, &s, flags);
	if (s != NULL) {
		if (flags & SOCK_NONBLOCK)
			s->flags |= CSOCK_NONBLOCK;
		/* A listener at a link-local address has peers on its link alone. */
		if (s->peer_scope == 0)
			s->peer_scope = l->bound_scope;
		endpoint_to(s->peer, s->peer_port, scope_of(s), s->domain, addr, addrlen);
	}
	client_unlock();
	return r;
}

int zs_accept(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	return zs_accept4(fd, addr, addrlen, 0);
}

/* ---- names ---- */

/* What the service chose, and has not told us. */
static int name_ask(struct csock *s, struct chan_cqe *e)
{
	struct chan_sqe cmd = {.op = CHAN_OP_NAME};

	return cmd_call(csock_core(s), s, &cmd, e);
}

int zs_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct chan_cqe e;
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && s->state == CSOCK_CONNECTED && csock_connects(s)) {
		endpoint_to(s->local, s->local_port, scope_of(s), s->domain, addr, addrlen);
	} else if (s != NULL) {
		r = name_ask(s, &e);
		if (r >= 0)
			endpoint_to(e.addr, e.port, scope_of(s), s->domain, addr, addrlen);
	}
	client_unlock();
	return r < 0 ? r : 0;
}

int zs_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		client_dry(); /* it may not be connected any more */
	if (s != NULL && s->state != CSOCK_CONNECTED)
		r = -ENOTCONN;
	else if (s != NULL)
		endpoint_to(s->peer, s->peer_port, scope_of(s), s->domain, addr, addrlen);
	client_unlock();
	return r;
}
