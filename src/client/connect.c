/* SPDX-License-Identifier: BSD-3-Clause
 *
 * connect(): POSIX.1-2017 and connect(2), what is told when as Linux's inet_stream_connect() does.
 */
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

static int connect_dgram(struct csock *s, const struct endpoint *to, bool dissolve)
{
	struct chan_sqe cmd = {.op = CHAN_OP_CONNECT, .port = to->port};
	uint32_t serial = s->serial;
	bool here = !dissolve && address_is_here(to->addr);
	struct chan_cqe e;
	int r;

	if (unlikely(s->serial != serial))
		return -EBADF;
	memcpy(cmd.addr, to->addr, 16);
	cmd.scope = to->scope;
	r = unlikely(transport_is_shared()) && !dissolve ? send_autobind(s) : 0;
	if (r < 0)
		return r;
	r = group_call(s, &cmd, &e);
	if (r < 0)
		return r;
	s->state = dissolve ? CSOCK_IDLE : CSOCK_CONNECTED;
	if (here)
		s->flags |= CSOCK_HEARS;
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
	cmd_of(q, s, TOKEN_CONNECT);
	memcpy(q->addr, to->addr, 16);
	q->scope = to->scope;
	memcpy(s->peer, to->addr, 16);
	s->peer_port = to->port;
	s->state = CSOCK_CONNECTING;
	s->shut = 0;
	cmd_push_first(csock_core(s), chan_first(CHAN_OP_CONNECT, 0, to->port));
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
