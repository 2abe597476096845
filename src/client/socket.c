/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets from zs_socket() to zs_close(): POSIX.1-2017 "System Interfaces", and Linux where POSIX
 * leaves it open. The states here are the program's view; the connection's are the service's.
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define TYPE_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

static int socket_open(int domain, int type, int protocol)
{
	struct core *c = &client.core[client.next_core++ % client.n_cores];
	struct csock *s;
	int r = core_socket(c, domain, type & ~TYPE_FLAGS, protocol, &s);

	if (r < 0)
		return r;
	r = group_new(s);
	if (r == 0)
		r = fd_open(s, NULL);
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
	return -ESOCKTNOSUPPORT;
}

int zs_socket(int domain, int type, int protocol)
{
	int r = protocol_check(type & ~TYPE_FLAGS, protocol);

	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	if (r < 0)
		return r;
	client_lock();
	r = client_ready();
	if (r == 0)
		r = socket_open(domain, type, protocol);
	client_unlock();
	return r;
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
		if (r == 0)
			r = transport_may_bind(at->addr, at->port);
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
	struct chan_sqe cmd = {.op = CHAN_OP_LISTEN, .arg = {backlog < 0 ? 0 : backlog}};
	struct chan_cqe e;
	int r;

	if (s->state != CSOCK_IDLE && s->state != CSOCK_LISTEN)
		return -EINVAL;
	r = listen_bind(s);
	if (r == 0)
		r = group_spread(s);
	if (r < 0)
		return r;
	/* The first connection may be announced before the result is. */
	s->state = CSOCK_LISTEN;
	for (unsigned i = 1; s->group != NULL && i < s->group->n; i++)
		s->group->sock[i]->state = CSOCK_LISTEN;
	s->backlog = (uint32_t)cmd.arg[0];
	r = group_call(s, &cmd, &e);
	/* Closed meanwhile, it has another state, or is another's. */
	if (r < 0 && r != -EBADF)
		s->state = CSOCK_IDLE;
	return r < 0 ? r : 0;
}

static int socket_listen(struct csock *s, int backlog)
{
	struct group *g = s->group;
	int r;

	if (s->type != SOCK_STREAM)
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
	q->op = CHAN_OP_RCVBUF_MORE;
	q->sid = l->sid;
	q->ticket = l->ticket++;
	q->token = TOKEN_NOBODY;
	q->arg[0] = (int32_t)l->taken;
	l->taken = 0;
	cmd_push(csock_core(l));
}

static int accept_take(struct csock *l, struct csock **out)
{
	struct csock *s = &client.sock[l->head];
	int fd = fd_open(s, NULL);

	if (fd < 0)
		return fd;
	l->head = s->link;
	if (l->head == NIL)
		l->tail = NIL;
	s->link = NIL;
	l->unread--;
	s->fd = fd;
	client.stats.accepts++;
	*out = s;
	accept_tell(l);
	return fd;
}

static int socket_accept(struct csock *s, struct csock **out)
{
	int64_t deadline = recv_deadline(s);
	int r;

	if (s->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if (s->state != CSOCK_LISTEN)
		return -EINVAL;
	csock_wanted(s);
	if (csock_reader(s)->unread == 0)
		client_dry();
	while (csock_reader(s)->unread == 0) {
		if (s->err != 0)
			return csock_take_error(s);
		if (unlikely(csock_shared(s))) {
			r = shared_accept(s);
			if (r == 0)
				continue;
			if (r != -EAGAIN)
				return r;
		}
		if (s->flags & CSOCK_NONBLOCK)
			return -EAGAIN;
		r = csock_wait(s, deadline);
		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
	return accept_take(csock_reader(s), out);
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
		r = socket_accept(l, &s);
	if (s != NULL) {
		if (flags & SOCK_NONBLOCK)
			s->flags |= CSOCK_NONBLOCK;
		endpoint_to(s->peer, s->peer_port, 0, s->domain, addr, addrlen);
	}
	client_unlock();
	return r;
}

int zs_accept(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
	return zs_accept4(fd, addr, addrlen, 0);
}

/* ---- connect ---- */

static int connect_dgram(struct csock *s, const struct endpoint *to, bool dissolve)
{
	struct chan_sqe cmd = {.op = CHAN_OP_CONNECT, .port = to->port};
	struct chan_cqe e;
	int r;

	memcpy(cmd.addr, to->addr, 16);
	cmd.scope = to->scope;
	r = group_call(s, &cmd, &e);
	if (r < 0)
		return r;
	s->state = dissolve ? CSOCK_IDLE : CSOCK_CONNECTED;
	memcpy(s->peer, to->addr, 16);
	s->peer_port = to->port;
	s->peer_scope = to->scope;
	memcpy(s->local, e.laddr, 16);
	s->local_port = e.lport;
	return 0;
}

/* The error of a connect that failed, told by connect() itself: the socket is as new (Linux). */
static int connect_failed(struct csock *s)
{
	int err = csock_take_error(s);

	if (s->flags & CSOCK_REFUSED) {
		s->flags &= ~(uint32_t)CSOCK_REFUSED;
		s->state = CSOCK_IDLE;
		s->shut = 0;
	}
	return err != 0 ? err : -ECONNABORTED;
}

/* May a connection be opened, or what is there to say of the last one (as Linux's
 * inet_stream_connect)? 1: open it. */
static int connect_check(struct csock *s)
{
	bool told = (s->flags & CSOCK_ASYNC) == 0;

	switch (s->state) {
	case CSOCK_IDLE:
		return 1;
	case CSOCK_CONNECTING:
		return -EALREADY;
	case CSOCK_CONNECTED:
		s->flags &= ~(uint32_t)CSOCK_ASYNC;
		return told ? -EISCONN : 0;
	case CSOCK_BROKEN:
		s->flags &= ~(uint32_t)CSOCK_ASYNC;
		if ((s->flags & CSOCK_REFUSED) == 0)
			return -EISCONN;
		return connect_failed(s);
	}
	return -EISCONN;
}

static int connect_push(struct csock *s, const struct endpoint *to)
{
	uint32_t serial = s->serial;
	uint8_t state = s->state;
	struct chan_sqe *q = cmd_slot(csock_core(s));

	/* Closed meanwhile; or another thread has connected it. */
	if (unlikely(s->serial != serial))
		return -EBADF;
	if (unlikely(s->state != state))
		return -EALREADY;
	if (unlikely(q == NULL))
		return -ENETDOWN;
	q->op = CHAN_OP_CONNECT;
	q->sid = s->sid;
	q->ticket = s->ticket++;
	q->token = TOKEN_CONNECT;
	memcpy(q->addr, to->addr, 16);
	q->port = to->port;
	q->scope = to->scope;
	memcpy(s->peer, to->addr, 16);
	s->peer_port = to->port;
	s->state = CSOCK_CONNECTING;
	s->shut = 0;
	cmd_push(csock_core(s));
	return 1;
}

static int connect_wait(struct csock *s)
{
	int64_t deadline = send_deadline(s);
	int r = 0;

	while (s->state == CSOCK_CONNECTING && r == 0)
		r = csock_wait(s, deadline);
	if (r == -EBADF)
		return r;
	if (s->state == CSOCK_CONNECTING) {
		s->flags |= CSOCK_ASYNC;
		return r == -ETIMEDOUT ? -EINPROGRESS : r;
	}
	return s->state == CSOCK_CONNECTED ? 0 : connect_failed(s);
}

static int connect_stream(struct csock *s, const struct endpoint *to)
{
	int r = 0;

	if (unlikely(s->sid == 0) && s->state == CSOCK_IDLE)
		r = client.lost && (s->flags & CSOCK_NONBLOCK) ? -ENETDOWN : csock_ready(s);
	if (r < 0)
		return r;
	r = connect_check(s);
	if (r <= 0 && !(r == -EALREADY && (s->flags & CSOCK_NONBLOCK) == 0))
		return r;
	if (r == 1)
		r = connect_push(s, to);
	if (r == -EBADF || r == -ENETDOWN)
		return r;
	if ((s->flags & CSOCK_NONBLOCK) == 0)
		return connect_wait(s);
	s->flags |= CSOCK_ASYNC;
	return -EINPROGRESS;
}

int zs_connect(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	struct endpoint to = {.port = 0};
	bool dissolve =
		addr != NULL && addrlen >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC;
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && !dissolve)
		r = endpoint_from(&to, s->domain, addr, addrlen);
	if (r == 0 && s->type == SOCK_DGRAM)
		r = connect_dgram(s, &to, dissolve);
	else if (r == 0)
		r = dissolve ? -EAFNOSUPPORT : connect_stream(s, &to);
	client_unlock();
	return r;
}

/* ---- shutdown and close ---- */

static int socket_shutdown(struct csock *s, int how)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (s->state != CSOCK_CONNECTED)
		return -ENOTCONN;
	s->shut |= how == SHUT_RD   ? SHUT_RD_BIT
		   : how == SHUT_WR ? SHUT_WR_BIT
				    : SHUT_RD_BIT | SHUT_WR_BIT;
	if (s->type == SOCK_STREAM) {
		q = cmd_slot(csock_core(s));
		if (unlikely(s->serial != serial))
			return -EBADF;
		if (unlikely(q == NULL))
			return -ENOTCONN;
		q->op = CHAN_OP_SHUTDOWN;
		q->sid = s->sid;
		q->ticket = s->ticket++;
		q->token = TOKEN_NOBODY;
		q->arg[0] = how;
		cmd_push(csock_core(s));
	}
	csock_notify(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return 0;
}

int zs_shutdown(int fd, int how)
{
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_shutdown(s, how);
	client_unlock();
	return r;
}

/* SO_LINGER with a time: until everything is acknowledged, or the time is up (POSIX close()). */
static void linger_wait(struct csock *s, uint32_t sid, int64_t deadline)
{
	struct waiter w;
	struct wlink l;
	int r = 0;

	s->flags |= CSOCK_LINGERS;
	while (s->sid == sid && r != -ETIMEDOUT && r != -EBADF) {
		waiter_init(&w);
		l = (struct wlink){.w = &w, .next = s->waiters};
		s->waiters = &l;
		r = client_wait(&w, deadline);
		wlink_remove(&s->waiters, &l);
	}
}

int socket_close(struct csock *s)
{
	bool waits = s->linger_s > 0 && s->type == SOCK_STREAM && s->state == CSOCK_CONNECTED;
	int64_t deadline = waits ? now_ns() + s->linger_s * 1000000000ll : 0;
	uint32_t sid = s->sid;

	fd_free(s->fd);
	group_close(s);
	if (waits && !client.stopping)
		linger_wait(s, sid, deadline);
	return 0;
}

int zs_close(int fd)
{
	struct epset *e;
	struct csock *s;
	int r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL) {
		r = socket_close(s);
	} else if (r == -ENOTSOCK) {
		r = 0;
		e = fd_epset(fd, &r);
		fd_free(fd);
		epset_close(e);
	}
	client_unlock();
	return r;
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
	if (s != NULL && s->state == CSOCK_CONNECTED && s->type == SOCK_STREAM) {
		endpoint_to(s->local, s->local_port, 0, s->domain, addr, addrlen);
	} else if (s != NULL) {
		r = name_ask(s, &e);
		if (r >= 0)
			endpoint_to(e.addr, e.port, 0, s->domain, addr, addrlen);
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
	if (s != NULL && s->state != CSOCK_CONNECTED)
		r = -ENOTCONN;
	else if (s != NULL)
		endpoint_to(s->peer, s->peer_port, 0, s->domain, addr, addrlen);
	client_unlock();
	return r;
}

/* ---- fcntl, ioctl ---- */

static void nonblock_set(struct csock *s, bool on)
{
	s->flags = on ? s->flags | CSOCK_NONBLOCK : s->flags & ~(uint32_t)CSOCK_NONBLOCK;
}

static int socket_fcntl(struct csock *s, int cmd, int arg)
{
	switch (cmd) {
	case F_GETFL:
		return O_RDWR | (s->flags & CSOCK_NONBLOCK ? O_NONBLOCK : 0);
	case F_SETFL:
		nonblock_set(s, (arg & O_NONBLOCK) != 0);
		return 0;
	case F_GETFD:
		return FD_CLOEXEC;
	case F_SETFD:
		return 0;
	}
	return -EINVAL;
}

int zs_fcntl(int fd, int cmd, ...)
{
	struct csock *s;
	va_list ap;
	int arg, r = 0;

	va_start(ap, cmd);
	arg = cmd == F_SETFL || cmd == F_SETFD ? va_arg(ap, int) : 0;
	va_end(ap);
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_fcntl(s, cmd, arg);
	client_unlock();
	return r;
}

/* Bytes that a read would deliver: of a stream up to the urgent mark, of datagrams the next. */
static int readable_bytes(struct csock *s)
{
	struct core *c;
	uint32_t n = 0;

	if (s->state == CSOCK_LISTEN)
		return -EINVAL;
	if (s->unread == 0)
		client_dry();
	s = csock_reader(s);
	c = csock_core(s);
	if (s->type == SOCK_STREAM)
		return (int)(s->flags & CSOCK_URG && s->urg_ahead < s->unread && s->urg_ahead > 0
				     ? s->urg_ahead
				     : s->unread);
	for (uint32_t row = s->unread > 0 ? s->head : NIL; row != NIL; row = c->loan[row].next) {
		n += c->loan[row].len;
		if (!c->loan[row].more)
			break;
	}
	return (int)n;
}

static int socket_ioctl(struct csock *s, unsigned long request, int *arg)
{
	int r = 0;

	switch (request) {
	case FIONREAD:
		r = readable_bytes(s);
		if (r >= 0)
			*arg = r;
		break;
	case FIONBIO:
		nonblock_set(s, *arg != 0);
		break;
	case SIOCATMARK:
		*arg = (s->flags & CSOCK_URG) != 0 && s->urg_ahead == 0;
		break;
	case SIOCOUTQ:
		*arg = (int)s->inflight;
		break;
	default:
		return -ENOTTY;
	}
	return r < 0 ? r : 0;
}

int zs_ioctl(int fd, unsigned long request, ...)
{
	struct csock *s;
	va_list ap;
	int *arg, r = 0;

	va_start(ap, request);
	arg = va_arg(ap, int *);
	va_end(ap);
	if (arg == NULL)
		return -EFAULT;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL)
		r = socket_ioctl(s, request, arg);
	client_unlock();
	return r;
}
