/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The copying sends. The program's bytes go into blocks of the arena, each block is one command,
 * and the token that comes back when they are acknowledged frees it. A socket may send while its
 * bytes in flight are below the limit that the service told; the last block may pass it. Beside
 * that limit a send needs a token, a block and a place in the ring, which all sockets of a core
 * share: a socket that finds none is remembered, and woken when something came back.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/iov.h"
#include "zstack/zstack.h"

#define DGRAM_MAX 65507u /* 65535 less the headers of IPv4 and UDP; the stack's, for IPv6 too */
#define CHUNK_MIN 2048u	 /* smaller blocks are not made just because room is short */
#define YIELDS	  1000

int64_t send_deadline(const struct csock *s)
{
	return s->sndtimeo_ns != 0 ? now_ns() + s->sndtimeo_ns : FOREVER;
}

/* Places in the ring. The stack empties it as fast as it can, so that is worth a short wait even
 * for a socket that doesn't block: no event says later that there is room. */
static bool ring_room(struct core *c, uint32_t n)
{
	for (int i = 0; i < YIELDS; i++) {
		if (likely(cmd_room(c, n)))
			return true;
		if (client_turn() == 0)
			client_yield();
		client_breathe();
	}
	return false;
}

/* On whichever way it goes. */
static inline bool way_room(const struct csock *s, uint32_t n)
{
	return unlikely(s->flags & CSOCK_LINK) ? link_room(s, n) : cmd_room(csock_core(s), n);
}

/* To a link or from it, when its turn is. */
static int change_way(struct csock *s)
{
	uint32_t serial = s->serial;

	link_use(s);
	while (link_holds(s)) {
		if (!ring_room(csock_core(s), 1)) {
			sock_starved(s);
			return -EAGAIN;
		}
		if (s->serial != serial || client.stopping)
			return -EBADF;
		link_use(s);
	}
	return 0;
}

int send_means(struct csock *s, uint32_t n)
{
	struct core *c = csock_core(s);
	uint32_t serial = s->serial;
	bool room;
	int r;

	if (unlikely(s->flags & CSOCK_OFFER)) {
		r = change_way(s);
		if (r < 0)
			return r;
	}
	if (likely(c->tokens_left >= n && !c->arena_short && way_room(s, n)))
		return 0;
	client_drain();
	if (c->tokens_left >= n && !c->arena_short) {
		room = unlikely(s->flags & CSOCK_LINK) ? link_room(s, n) : ring_room(c, n);
		/* Others had the lock: they may have taken the tokens, or closed the descriptor. */
		if (s->serial != serial || client.stopping)
			return -EBADF;
		if (room && c->tokens_left >= n && !c->arena_short)
			return send_check(s);
	}
	sock_starved(s);
	return -EAGAIN;
}

int send_check(struct csock *s)
{
	if (s->err != 0)
		return s->err;
	if (s->shut & SHUT_WR_BIT)
		return -EPIPE;
	if (csock_connects(s) && s->state != CSOCK_CONNECTED)
		return s->state == CSOCK_CONNECTING ? -EAGAIN : -EPIPE;
	return likely(csock_room(s)) ? 0 : -EAGAIN;
}

int send_wait(struct csock *s, int flags, uint32_t tokens, int64_t deadline)
{
	int r;

	csock_wanted(s);
	csock_no_space(s);
	if ((flags & MSG_DONTWAIT) || (s->flags & CSOCK_NONBLOCK)) {
		/* What came back since the last look may be enough. */
		client_dry();
		r = send_check(s) == 0 ? send_means(s, tokens) : -EAGAIN;
		return r == 0 || r == -EBADF ? r : -EAGAIN;
	}
	r = csock_wait(s, deadline);
	return r == -ETIMEDOUT ? -EAGAIN : r;
}

/* What a call returns that has sent `done` bytes before it met r. An error that was not told yet
 * stays pending when bytes are reported instead. */
ssize_t send_result(struct csock *s, ssize_t done, int r)
{
	if (done > 0) {
		shared_sent(s);
		return done;
	}
	if (r < 0 && r != -EBADF && r == s->err)
		s->err = 0;
	return r;
}

/* One block of a stream. Returns its length, or -EAGAIN. */
static int send_block(struct csock *s, struct iov_it *it, int flags)
{
	struct core *c = csock_core(s);
	uint32_t room = s->limit - s->inflight;
	uint32_t n = it->left < ARENA_SPAN_BYTES ? (uint32_t)it->left : ARENA_SPAN_BYTES;
	uint8_t how = CHAN_SEND_COPIED;
	struct chan_sqe *q;
	uint64_t off;

	if (n > room)
		n = room > CHUNK_MIN ? room : n < CHUNK_MIN ? n : CHUNK_MIN;
	if (unlikely(s->flags & CSOCK_LINK))
		return link_send_block(s, it, n, flags);
	off = block_alloc(c, n);
	if (unlikely(off == ARENA_NONE)) {
		sock_starved(s);
		return -EAGAIN;
	}
	iov_get(it, (uint8_t *)c->map->arena + off, n);
	client.stats.api_copied_bytes += n;
	q = send_begin(s, n, TOKEN_COPY, (uint32_t)(off / BLOCK_UNIT));
	q->off = off;
	if (flags & MSG_MORE)
		how |= CHAN_SEND_MORE;
	if ((flags & MSG_OOB) && it->left == 0)
		how |= CHAN_SEND_OOB;
	cmd_push_first(c, chan_first(CHAN_OP_SEND, how, 0));
	return (int)n;
}

static ssize_t send_stream(struct csock *s, struct iov_it *it, int flags)
{
	int64_t deadline = send_deadline(s);
	ssize_t done = 0;
	int r = cork_before_send(s, &flags);

	if (unlikely(r < 0))
		return r;
	client_send_looks();
	do {
		r = send_check(s);
		if (likely(r == 0)) {
			if (it->left == 0)
				break;
			r = send_means(s, 1);
			if (likely(r == 0))
				r = send_block(s, it, flags);
		}
		if (r > 0)
			done += r;
		else if (r == -EAGAIN)
			r = send_wait(s, flags, 1, deadline);
	} while (r >= 0 && it->left > 0);
	return send_result(s, done, r < 0 ? r : 0);
}

/* ---- datagrams ---- */

int send_autobind(struct csock *s)
{
	struct endpoint any = {.port = 0};
	int r;

	if (likely(s->flags & CSOCK_BOUND) || s->state != CSOCK_IDLE ||
	    (s->group == NULL && !client.transport.attached))
		return 0;
	if (unlikely(client.lost) && (s->flags & CSOCK_NONBLOCK))
		return -EAGAIN;
	if (s->domain == AF_INET)
		any.addr[10] = any.addr[11] = 0xff;
	r = socket_bind(s, &any);
	/* Another thread's datagram was first. */
	return r == -EINVAL && (s->flags & CSOCK_BOUND) ? 0 : r;
}

/* Waits until a datagram of one piece or more can go. */
int send_dgram_ready(struct csock *s, int flags, uint32_t pieces)
{
	int64_t deadline = send_deadline(s);
	int r;

	client_send_looks();
	for (;;) {
		r = send_check(s);
		if (r == 0)
			r = send_means(s, pieces);
		if (r != -EAGAIN)
			return r;
		r = send_wait(s, flags, pieces, deadline);
		if (r < 0)
			return r;
	}
}

/* Where a datagram goes: to, or NULL for the connected peer. */
int send_dgram_to(struct csock *s, const struct sockaddr *addr, socklen_t addrlen,
		  struct endpoint *to)
{
	if (addr == NULL)
		return s->state == CSOCK_CONNECTED ? 0 : -EDESTADDRREQ;
	int r = endpoint_from(to, s->domain, addr, addrlen);

	return r == 0 && to->port == 0 ? -EINVAL : r;
}

uint16_t send_dgram_fill(struct chan_sqe *q, const struct endpoint *to)
{
	if (to == NULL)
		return 0;
	memcpy(q->addr, to->addr, 16);
	q->scope = to->scope;
	return to->port;
}

static ssize_t send_dgram(struct csock *s, struct iov_it *it, int flags, const struct endpoint *to,
			  const struct send_ctl *ctl)
{
	uint32_t n = (uint32_t)it->left;
	uint8_t how = CHAN_SEND_COPIED;
	struct chan_sqe *q;
	uint64_t off = 0;
	uint16_t port;
	int r = send_dgram_ready(s, flags, 1);
	struct core *c = csock_core(s);

	if (r < 0)
		return r;
	if (n > 0)
		off = block_alloc(c, n);
	if (off == ARENA_NONE)
		return -ENOBUFS;
	iov_get(it, (uint8_t *)c->map->arena + off, n);
	client.stats.api_copied_bytes += n;
	q = send_begin(s, n, n > 0 ? TOKEN_COPY : TOKEN_EMPTY, (uint32_t)(off / BLOCK_UNIT));
	q->off = off;
	if (flags & MSG_MORE)
		how |= CHAN_SEND_PART;
	else if (unlikely(s->flags & CSOCK_STAMPS))
		errqueue_sends(s, &c->token[q->token]);
	port = send_dgram_fill(q, to);
	if (unlikely(ctl->has_from)) {
		how |= CHAN_SEND_FROM;
		memcpy(q->from, ctl->from + 16 - sizeof(q->from), sizeof(q->from));
	}
	if (unlikely(ctl->ip != 0)) {
		how |= CHAN_SEND_IP;
		q->loan = ctl->ip;
	}
	cmd_push_first(c, chan_first(to != NULL ? CHAN_OP_SENDTO : CHAN_OP_SEND, how, port));
	return n;
}

struct send_args {
	struct iov_it it;
	int flags;
	const struct sockaddr *addr; /* or NULL */
	socklen_t addrlen;
	const struct msghdr *msg; /* with control messages, or NULL */
};

/* What the program is to be told of n bytes that were sent. */
static slow_path ssize_t heard(struct csock *s, const struct endpoint *to, ssize_t n)
{
	int r = refused_look(s, to != NULL ? to->addr : s->peer,
			     to != NULL ? to->port : s->peer_port);

	return r < 0 ? r : n;
}

static slow_path ssize_t may_broadcast(struct csock *s, const struct endpoint *to, ssize_t n)
{
	int r = refused_broadcast(s, to->addr);

	return r < 0 ? r : n;
}

static ssize_t dgram(struct csock *s, struct send_args *a)
{
	struct send_ctl ctl = {.ip = 0};
	struct endpoint to;
	ssize_t r;

	if (a->flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (a->it.left > DGRAM_MAX)
		return -EMSGSIZE;
	r = send_dgram_to(s, a->addr, a->addrlen, &to);
	if (r == 0 && unlikely(a->msg != NULL))
		r = cmsgs_take(s, a->msg, a->it.left, &ctl);
	if (r == 0)
		r = send_autobind(s);
	if (r == 0)
		r = send_dgram(s, &a->it, a->flags, a->addr != NULL ? &to : NULL, &ctl);
	if (unlikely(s->flags & CSOCK_HEARS) && r >= 0 && (a->flags & MSG_MORE) == 0)
		r = heard(s, a->addr != NULL ? &to : NULL, r);
	else if (r >= 0 && a->addr != NULL && unlikely(address_is_broadcast(to.addr)))
		r = may_broadcast(s, &to, r);
	return r < 0 ? send_result(s, 0, (int)r) : r;
}

/* Its control messages are looked at, and say nothing. */
static ssize_t stream(struct csock *s, struct send_args *a)
{
	struct send_ctl none = {.ip = 0};
	int r = unlikely(a->msg != NULL) ? cmsgs_take(s, a->msg, 0, &none) : 0;

	return r < 0 ? r : send_stream(s, &a->it, a->flags);
}

static ssize_t send_any(int fd, struct send_args *a)
{
	struct csock *s;
	ssize_t n = 0;
	int err;

	if (unlikely((a->flags & ~SENDMSG_FLAGS) != 0))
		return -EOPNOTSUPP;
	client_lock();
	s = fd_csock(fd, &err);
	if (unlikely(s == NULL))
		n = err;
	else if (likely(s->type == SOCK_STREAM))
		n = stream(s, a);
	else if (csock_records(s))
		n = record_send(s, &a->it, a->flags);
	else
		n = dgram(s, a);
	if (unlikely(a->flags & MSG_ZEROCOPY) && n > 0 && (s->flags & CSOCK_ZEROCOPY))
		errqueue_sent(s);
	client_unlock();
	return n;
}

ssize_t zs_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
		  socklen_t addrlen)
{
	struct iovec v = {(void *)(uintptr_t)buf, len};
	struct send_args a = {.flags = flags, .addr = addr, .addrlen = addrlen};

	return iov_start(&a.it, &v, 1) < 0 ? -EINVAL : send_any(fd, &a);
}

/* Nothing is in the way of a send of len bytes as one block: no error, no limit, no wish. */
static inline bool send_is_plain(const struct csock *s, size_t len)
{
	struct core *c = csock_core(s);

	return csock_plain(s) && csock_room(s) && len != 0 && len <= s->limit - s->inflight &&
	       len <= ARENA_SPAN_BYTES && c->tokens_left != 0 && !c->arena_short &&
	       ++client.blind <= SENDS_BLIND && way_room(s, 1);
}

/* False: nothing was done. */
static inline bool send_plain(struct csock *s, const void *buf, uint32_t len)
{
	struct core *c = csock_core(s);
	struct chan_sqe *q;
	uint64_t off;

	if (unlikely(s->flags & CSOCK_LINK))
		return link_send_plain(s, buf, len);
	off = block_alloc(c, len);
	if (unlikely(off == ARENA_NONE))
		return false;
	memcpy((uint8_t *)c->map->arena + off, buf, len);
	client.stats.api_copied_bytes += len;
	q = send_begin(s, len, TOKEN_COPY, (uint32_t)(off / BLOCK_UNIT));
	q->off = off;
	cmd_push_first(c, chan_first(CHAN_OP_SEND, CHAN_SEND_COPIED, 0));
	return true;
}

static bool send_fast(int fd, const void *buf, size_t len)
{
	struct csock *s;
	bool done;
	int err;

	client_lock();
	s = fd_csock(fd, &err);
	done = likely(s != NULL && send_is_plain(s, len)) && send_plain(s, buf, (uint32_t)len);
	client_unlock();
	return done;
}

ssize_t zs_send(int fd, const void *buf, size_t len, int flags)
{
	if (likely((flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) == 0 && send_fast(fd, buf, len)))
		return (ssize_t)len;
	return zs_sendto(fd, buf, len, flags, NULL, 0);
}

ssize_t zs_write(int fd, const void *buf, size_t len)
{
	return zs_send(fd, buf, len, 0);
}

ssize_t zs_writev(int fd, const struct iovec *iov, int n)
{
	struct send_args a = {.flags = 0};

	if (n < 0 || iov_start(&a.it, iov, (size_t)n) < 0)
		return -EINVAL;
	return send_any(fd, &a);
}

ssize_t zs_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct send_args a = {.flags = flags, .addrlen = msg->msg_namelen};

	if (msg->msg_iovlen > IOV_COUNT_MAX)
		return -EMSGSIZE;
	if (iov_start(&a.it, msg->msg_iov, msg->msg_iovlen) < 0)
		return -EINVAL;
	a.addr = msg->msg_namelen > 0 ? msg->msg_name : NULL;
	a.msg = msg->msg_controllen > 0 ? msg : NULL;
	return send_any(fd, &a);
}
