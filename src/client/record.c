/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Records (SOCK_SEQPACKET): a stream over a link, whose entries keep their boundaries. What one call
 * sends is one entry, so one row of the other end's receive queue, and one call takes one row; the
 * rest is a stream's (link.h). Calls behave as on a UNIX socket of that type, but for MSG_EOR, which
 * each record received has: it tells an empty one from the end.
 *
 * There is no other way than a link, as TCP has no boundaries. Until the link is there, or again
 * there (link.h: cut), a socket is not writable. That none can come is told by the service: of a
 * program that is not here by connect(), later by the end of the connection (sock/sock_link.c).
 */
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/iov.h"
#include "zstack/zstack.h"

_Static_assert(ZS_RECORD_MAX == CHAN_SEND_MAX && ZS_RECORD_MAX <= ARENA_SPAN_BYTES, "one block");

/* ---- sending ---- */

int record_ready(struct csock *s)
{
	int r = send_check(s);

	if (r == 0 && (s->flags & (CSOCK_LINK | CSOCK_OFFER)))
		r = send_means(s, 1);
	/* Others had the lock meanwhile. */
	return r == 0 && !csock_has_way(s) ? -EAGAIN : r;
}

int record_wait(struct csock *s, int flags, int64_t deadline)
{
	int r;

	csock_no_space(s);
	if ((flags & MSG_DONTWAIT) || (s->flags & CSOCK_NONBLOCK)) {
		/* What came since the last look may be enough. */
		client_dry();
		return record_ready(s);
	}
	r = csock_wait(s, deadline);
	return r == -ETIMEDOUT ? -EAGAIN : r;
}

ssize_t record_send(struct csock *s, struct iov_it *it, int flags)
{
	int64_t deadline = send_deadline(s);
	size_t len = it->left;
	int r;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > ZS_RECORD_MAX)
		return -EMSGSIZE;
	client_send_looks();
	do {
		r = record_ready(s);
		if (likely(r == 0))
			r = link_send_record(s, it);
		if (r > 0)
			return (ssize_t)len;
		if (r == -EAGAIN)
			r = record_wait(s, flags, deadline);
	} while (r == 0);
	return send_result(s, 0, r);
}

/* ---- receiving ---- */

uint32_t record_next(struct csock *s)
{
	uint32_t row = s->head;

	s->head = csock_core(s)->loan[row].next;
	if (s->head == NIL)
		s->tail = NIL;
	s->unread--;
	return row;
}

ssize_t record_recv(struct csock *s, struct iov_it *it, int flags, int *msg_flags)
{
	int r = recv_wait(s, 1, 1, flags, recv_deadline(s));
	struct core *c = csock_core(s);
	size_t n, len;

	if (r <= 0)
		return r;
	len = c->loan[s->head].len;
	n = iov_put(it, c->loan[s->head].base, len);
	client.stats.api_copied_bytes += n;
	*msg_flags |= MSG_EOR | (n < len ? MSG_TRUNC : 0);
	if ((flags & MSG_PEEK) == 0) {
		client.stats.rx_bytes += len;
		loan_put(c, record_next(s));
	}
	return (ssize_t)(flags & MSG_TRUNC ? len : n);
}
