/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The copying receives. What was received stands in a socket's queue, as lent buffers linked by
 * their rows; a buffer that was read to its end goes back to the stack, which opens the window
 * again.
 *
 * Urgent data (RFC 9293 §3.8.5, as Linux does it): one byte, whose place the stack tells. A read
 * stops before it; the next one begins behind it, unless SO_OOBINLINE. MSG_OOB reads it out of its
 * place without moving.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/iov.h"
#include "zstack/zstack.h"

#define RECV_FLAGS                                                                                 \
	(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_TRUNC | MSG_OOB | MSG_NOSIGNAL |              \
	 MSG_CMSG_CLOEXEC | MSG_ERRQUEUE)

struct recv_args {
	struct iov_it it;
	int flags;
	struct sockaddr *addr; /* or NULL */
	socklen_t *addrlen;
	struct msghdr *msg; /* or NULL */
};

int64_t recv_deadline(const struct csock *s)
{
	return s->rcvtimeo_ns != 0 ? now_ns() + s->rcvtimeo_ns : FOREVER;
}

static bool urgent_at_head(const struct csock *s)
{
	return (s->flags & (CSOCK_URG | CSOCK_OOBINLINE)) == CSOCK_URG && s->urg_ahead == 0;
}

static uint32_t available(const struct csock *s)
{
	return s->unread > 0 && unlikely(urgent_at_head(s)) ? s->unread - 1 : s->unread;
}

/* Nothing is there and nothing is to be waited for: the end, or why not. -EAGAIN: neither. */
static int stream_end(struct csock *s)
{
	if (s->err != 0)
		return csock_take_error(s);
	if (s->shut & SHUT_RD_BIT)
		return 0;
	if (s->state == CSOCK_IDLE || s->state == CSOCK_LISTEN)
		return -ENOTCONN;
	return -EAGAIN;
}

static bool nonblocking(const struct csock *s, int flags)
{
	return (flags & MSG_DONTWAIT) || (s->flags & CSOCK_NONBLOCK);
}

int recv_wait(struct csock *s, uint32_t target, size_t want, int flags, int64_t deadline)
{
	bool looked = false;
	int r;

	if (unlikely(s->flags & CSOCK_OFFER))
		link_use(s);
	/* What another thread has only looked at. */
	if (unlikely(s->flags & CSOCK_SHARED) && (flags & MSG_PEEK) == 0 && s->head != NIL &&
	    csock_core(s)->loan[s->head].copy)
		shared_forget(s);
	while (available(s) < target) {
		if (available(s) > 0 && (s->err != 0 || (s->shut & SHUT_RD_BIT)))
			return 1;
		r = available(s) > 0 ? -EAGAIN : stream_end(s);
		if (r != -EAGAIN)
			return r;
		if (unlikely(csock_shared(s)) && shared_asks(s)) {
			r = shared_read(s, want, (flags & MSG_PEEK) != 0);
			if (r < 0 && r != -EAGAIN)
				return r;
			if (r != -EAGAIN && (r == 1) == (available(s) > 0))
				return r;
			/* Another thread has taken it; or the others have left, or are not asked,
			 * and what came is here. */
			if (r >= 0 || !csock_shared(s) || csock_leased(s))
				continue;
		}
		if (!looked) {
			looked = true;
			client_dry();
			continue;
		}
		r = nonblocking(s, flags) ? -EAGAIN : csock_wait(s, deadline);
		if (r < 0 && r != -EBADF && available(s) > 0)
			return 1;
		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
	return 1;
}

uint32_t recv_before_mark(const struct csock *s)
{
	if (likely((s->flags & CSOCK_URG) == 0) || s->urg_ahead == 0 || s->urg_ahead > s->unread)
		return s->unread;
	return s->urg_ahead;
}

void recv_consumed(struct csock *s, uint32_t n)
{
	s->unread -= n;
	if (likely((s->flags & CSOCK_URG) == 0))
		return;
	if (n > s->urg_ahead)
		s->flags &= ~(uint32_t)(CSOCK_URG | CSOCK_URG_READ);
	else
		s->urg_ahead -= n;
}

/* The head buffer was read as far as `head`: if that is its end it goes back. */
static void head_advance(struct core *c, struct csock *s, uint32_t n)
{
	uint32_t row = s->head;
	struct loan *l = &c->loan[row];

	l->head += n;
	recv_consumed(s, n);
	if (l->head < l->len)
		return;
	s->head = l->next;
	if (s->head == NIL)
		s->tail = NIL;
	loan_put(c, row);
}

void recv_skip_urgent(struct csock *s)
{
	if (unlikely(urgent_at_head(s)) && s->unread > 0)
		head_advance(csock_core(s), s, 1);
}

static size_t stream_take(struct csock *s, struct iov_it *it, size_t want, int flags)
{
	struct core *c = csock_core(s);
	size_t done = 0;

	while (done < want) {
		struct loan *l = &c->loan[s->head];
		size_t n = l->len - l->head;

		n = n < want - done ? n : want - done;
		if (likely((flags & MSG_TRUNC) == 0)) {
			iov_put(it, l->base + l->head, n);
			client.stats.api_copied_bytes += n;
		} else {
			it->left -= n;
		}
		head_advance(c, s, (uint32_t)n);
		done += n;
	}
	client.stats.rx_bytes += done;
	return done;
}

/* Up to the urgent mark, or from behind it if it is at the head. */
static size_t stream_peek(struct csock *s, struct iov_it *it, size_t want, int flags)
{
	struct core *c = csock_core(s);
	uint32_t skip = urgent_at_head(s) ? 1 : 0;
	size_t done = 0;

	if (want > recv_before_mark(s))
		want = recv_before_mark(s);
	for (uint32_t row = s->head; row != NIL && done < want; row = c->loan[row].next) {
		const struct loan *l = &c->loan[row];
		uint32_t at = l->head + skip;
		size_t n;

		if (at >= l->len) {
			skip = at - l->len;
			continue;
		}
		skip = 0;
		n = l->len - at < want - done ? l->len - at : want - done;
		if ((flags & MSG_TRUNC) == 0)
			client.stats.api_copied_bytes += iov_put(it, l->base + at, n);
		done += n;
	}
	return done;
}

/* The urgent byte, out of its place in the queue. */
static ssize_t recv_urgent(struct csock *s, struct recv_args *a)
{
	struct core *c = csock_core(s);
	uint32_t at = s->urg_ahead, row = s->head;

	if (s->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if ((s->flags & (CSOCK_URG | CSOCK_URG_READ | CSOCK_OOBINLINE)) != CSOCK_URG)
		return -EINVAL;
	if (s->unread <= at)
		return -EAGAIN;
	while (at >= c->loan[row].len - c->loan[row].head) {
		at -= c->loan[row].len - c->loan[row].head;
		row = c->loan[row].next;
	}
	if ((a->flags & MSG_PEEK) == 0)
		s->flags |= CSOCK_URG_READ;
	if (a->msg != NULL)
		a->msg->msg_flags |= MSG_OOB;
	client.stats.api_copied_bytes++;
	return (ssize_t)iov_put(&a->it, c->loan[row].base + c->loan[row].head + at, 1);
}

void recv_into(struct csock *s, void *to, uint32_t n)
{
	struct iovec v = {to, n};
	struct iov_it it = {.v = &v, .left = n};

	stream_take(s, &it, n, 0);
}

/* How many bytes to wait for. With MSG_WAITALL whatever is there is taken at once, to open the
 * window for the rest; a peek can't. */
static uint32_t recv_target(const struct csock *s, int flags, size_t left)
{
	if ((flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL)
		return 1;
	if ((flags & MSG_WAITALL) == 0 && s->rcvlowat < left)
		return s->rcvlowat;
	return left < INT32_MAX ? (uint32_t)left : INT32_MAX;
}

static ssize_t recv_stream(struct csock *s, struct recv_args *a)
{
	int64_t deadline = recv_deadline(s);
	size_t done = 0, left = a->it.left;
	uint32_t n;
	int r = 0;

	while (left > 0) {
		r = recv_wait(s, recv_target(s, a->flags, left), left, a->flags, deadline);
		if (r <= 0)
			break;
		if (a->flags & MSG_PEEK) {
			if (unlikely(s->lease != 0) && !shared_holds(s))
				continue;
			done = stream_peek(s, &a->it, left, a->flags);
			if (unlikely(csock_core(s)->loan[s->head].copy))
				shared_forget(s);
			return (ssize_t)done;
		}
		recv_skip_urgent(s);
		n = left < recv_before_mark(s) ? (uint32_t)left : recv_before_mark(s);
		if (unlikely(s->lease != 0))
			n = shared_take(s, n);
		if (unlikely(n == 0))
			continue;
		left = n;
		done += stream_take(s, &a->it, left, a->flags);
		left = a->it.left;
		if ((a->flags & MSG_WAITALL) == 0 || (s->flags & CSOCK_URG && s->urg_ahead == 0))
			break;
	}
	/* An error behind bytes that are reported now is for the next call. */
	if (done > 0 && r < 0 && r != -EAGAIN && r != -EINTR && r != -EBADF)
		s->err = r;
	return done > 0 ? (ssize_t)done : r;
}

/* ---- datagrams ---- */

/* Unlinks the datagram at the head. */
static void dgram_drop(struct core *c, struct csock *q)
{
	bool more;

	do {
		uint32_t row = q->head;

		more = c->loan[row].more && c->loan[row].next != NIL;
		q->head = c->loan[row].next;
		loan_put(c, row);
	} while (more);
	if (q->head == NIL)
		q->tail = NIL;
	q->unread--;
}

/* What was only looked at is not to be read here. */
static void drop_copies(struct csock *s)
{
	for (unsigned i = 0; i < csock_members(s); i++)
		if (csock_member(s, i)->unread > 0)
			shared_forget(csock_member(s, i));
}

/* Is there one to be looked at, or to be read? */
static bool has_dgram(struct csock *s, bool looks)
{
	if (!looks && unlikely(csock_shared(s)))
		drop_copies(s);
	return csock_reader(s)->unread > 0;
}

int recv_wait_dgram(struct csock *s, int flags)
{
	int64_t deadline = recv_deadline(s);
	bool looks = (flags & MSG_PEEK) != 0, looked = false;
	int r;

	csock_wanted(s);
	if (unlikely(s->err != 0))
		return csock_take_error(s);
	while (!has_dgram(s, looks)) {
		if (s->err != 0)
			return csock_take_error(s);
		if (s->shut & SHUT_RD_BIT)
			return 0;
		if (unlikely(csock_shared(s))) {
			r = shared_read(s, 1, looks);
			if (r != -EAGAIN && r != 1)
				return r;
			if (r == 1 || !csock_shared(s))
				continue;
		}
		if (!looked) {
			looked = true;
			client_dry();
			continue;
		}
		r = nonblocking(s, flags) ? -EAGAIN : csock_wait(s, deadline);
		if (r < 0)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
	return 1;
}

static ssize_t recv_dgram(struct csock *s, struct recv_args *a)
{
	int r = recv_wait_dgram(s, a->flags);
	size_t len = 0, got = 0;
	struct csock *q;
	struct core *c;
	uint32_t row;

	if (r <= 0)
		return r;
	q = csock_reader(s);
	c = csock_core(q);
	endpoint_to(c->dgram[q->head].addr, c->dgram[q->head].port,
		    dgram_scope(q, &c->dgram[q->head]), s->domain, a->addr, a->addrlen);
	if (a->msg != NULL)
		cmsgs_put(s, &c->dgram[q->head], a->msg);
	row = q->head;
	do {
		got += iov_put(&a->it, c->loan[row].base, c->loan[row].len);
		len += c->loan[row].len;
	} while (c->loan[row].more && (row = c->loan[row].next) != NIL);
	if (got < len && a->msg != NULL)
		a->msg->msg_flags |= MSG_TRUNC;
	client.stats.api_copied_bytes += got;
	if ((a->flags & MSG_PEEK) == 0) {
		client.stats.rx_bytes += len;
		dgram_drop(c, q);
		if (s->group != NULL)
			s->group->turn++;
	} else if (unlikely(c->loan[q->head].copy)) {
		dgram_drop(c, q);
	}
	return (ssize_t)(a->flags & MSG_TRUNC ? len : got);
}

/* ---- records ---- */

static ssize_t recv_record(struct csock *s, struct recv_args *a)
{
	int none = 0;

	return record_recv(s, &a->it, a->flags, a->msg != NULL ? &a->msg->msg_flags : &none);
}

/* ---- the calls ---- */

/* A stream has no control messages. */
static inline ssize_t no_cmsgs(struct recv_args *a, ssize_t n)
{
	if (a->msg != NULL && n >= 0 && a->msg->msg_control != NULL)
		a->msg->msg_controllen = 0;
	return n;
}

static ssize_t recv_any(int fd, struct recv_args *a)
{
	struct csock *s;
	ssize_t n = 0;
	int err;

	if (unlikely((a->flags & ~RECV_FLAGS) != 0))
		return -EOPNOTSUPP;
	client_lock();
	s = fd_csock(fd, &err);
	if (unlikely(s == NULL))
		n = err;
	else if (unlikely(a->flags & MSG_ERRQUEUE))
		n = errqueue_recv(s, &a->it, a->msg);
	else if (unlikely(a->flags & MSG_OOB))
		n = no_cmsgs(a, recv_urgent(s, a));
	else if (likely(s->type == SOCK_STREAM))
		n = no_cmsgs(a, recv_stream(s, a));
	else if (csock_records(s))
		n = no_cmsgs(a, recv_record(s, a));
	else
		n = recv_dgram(s, a);
	/* A stream has no sender's address to tell (POSIX leaves it, Linux says length 0). */
	if (s != NULL && csock_connects(s) && !(a->flags & MSG_ERRQUEUE) && a->addrlen != NULL &&
	    a->addr != NULL)
		*a->addrlen = 0;
	client_unlock();
	return n;
}

ssize_t zs_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		    socklen_t *addrlen)
{
	struct iovec v = {buf, len};
	struct recv_args a = {.flags = flags, .addr = addr, .addrlen = addrlen};

	return iov_start(&a.it, &v, 1) < 0 ? -EINVAL : recv_any(fd, &a);
}

/* What is there, at most len bytes; there is something. */
static inline size_t recv_plain(struct csock *s, uint8_t *to, size_t len)
{
	struct core *c = csock_core(s);
	size_t want = len < s->unread ? len : s->unread, done = 0;

	do {
		const struct loan *l = &c->loan[s->head];
		size_t n = l->len - l->head;

		n = n < want - done ? n : want - done;
		memcpy(to + done, l->base + l->head, n);
		head_advance(c, s, (uint32_t)n);
		done += n;
	} while (done < want);
	client.stats.api_copied_bytes += done;
	client.stats.rx_bytes += done;
	return done;
}

/* 0: nothing was done. */
static size_t recv_fast(int fd, void *buf, size_t len)
{
	struct csock *s;
	size_t n = 0;
	int err;

	client_lock();
	s = fd_csock(fd, &err);
	if (likely(s != NULL && csock_plain(s) && s->unread > 0 && len > 0))
		n = recv_plain(s, buf, len);
	client_unlock();
	return n;
}

ssize_t zs_recv(int fd, void *buf, size_t len, int flags)
{
	size_t n;

	if (likely((flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT)) == 0)) {
		n = recv_fast(fd, buf, len);
		if (likely(n > 0))
			return (ssize_t)n;
	}
	return zs_recvfrom(fd, buf, len, flags, NULL, NULL);
}

ssize_t zs_read(int fd, void *buf, size_t len)
{
	return zs_recv(fd, buf, len, 0);
}

ssize_t zs_readv(int fd, const struct iovec *iov, int n)
{
	struct recv_args a = {.flags = 0};

	if (n < 0 || iov_start(&a.it, iov, (size_t)n) < 0)
		return -EINVAL;
	return recv_any(fd, &a);
}

ssize_t zs_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct recv_args a = {
		.flags = flags,
		.addr = msg->msg_name,
		.addrlen = &msg->msg_namelen,
		.msg = msg,
	};

	if (msg->msg_iovlen > IOV_COUNT_MAX)
		return -EMSGSIZE;
	if (iov_start(&a.it, msg->msg_iov, msg->msg_iovlen) < 0)
		return -EINVAL;
	msg->msg_flags = 0;
	return recv_any(fd, &a);
}
