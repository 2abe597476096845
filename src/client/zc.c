/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets without a copy: what is received is handed out where it lies, what is sent goes by its
 * place. The one thing that is copied is a buffer that is not of the socket's channel, since that
 * can only name its own memory, and a neighbour's: of another core, or lent by a service that is
 * gone, or passed on by a neighbour who had it of a third; it is counted like any copy.
 *
 * So is what is small and came from a neighbour, when it goes to the wire: whoever is slow there
 * would hold a block of the neighbour's, and one of the link's places, for the sake of some bytes.
 */
#include <string.h>

#include "client/client_priv.h"
#include "client/iov.h"
#include "zstack/zstack.h"

#define NEIGHBOUR_MIN 512u /* bytes, from which on a neighbour's are sent where they lie */
#define PIECES_MAX    48   /* of a datagram sent: 64 KB as it arrives in fragments */

/* ---- receiving ---- */

static void lend(struct core *c, uint32_t row, struct zs_buf *b)
{
	struct loan *l = &c->loan[row];

	l->holds = 1;
	c->lent++;
	*b = (struct zs_buf){
		.data = (uint8_t *)(uintptr_t)l->base + l->head,
		.len = l->len - l->head,
		.handle = loan_handle(c, row),
	};
	client.stats.rx_bytes += b->len;
}

/* Buffers up to the urgent mark; a buffer with the mark inside is lent in full only if the byte is
 * part of the stream, else it is split by copying: see lend_before_mark(). */
static int lend_stream(struct csock *s, struct zs_buf *bufs, int n)
{
	struct core *c = csock_core(s);
	int k = 0;

	while (k < n && s->head != NIL) {
		uint32_t row = s->head, len = c->loan[row].len - c->loan[row].head;

		if (unlikely(len > recv_before_mark(s)))
			break;
		/* A buffer is one's own as a whole, or of a lease. */
		if (unlikely(s->lease != 0) && shared_take(s, len) == 0)
			break;
		s->head = c->loan[row].next;
		if (s->head == NIL)
			s->tail = NIL;
		lend(c, row, &bufs[k++]);
		recv_consumed(s, len);
	}
	return k;
}

/* The urgent mark is inside the head buffer: what is before it is copied into a buffer of our own,
 * so that one hold ends it. Rare, and counted. */
static int lend_before_mark(struct csock *s, struct zs_buf *b)
{
	struct core *c = csock_core(s);
	uint32_t n = recv_before_mark(s);
	int r;

	n = n < ZS_BUF_MAX ? n : ZS_BUF_MAX;
	r = block_new(c, n, b);
	if (r < 0)
		return r;
	recv_into(s, b->data, n);
	return 1;
}

/* Each buffer a record. */
static int lend_records(struct csock *s, struct zs_buf *bufs, int n)
{
	struct core *c = csock_core(s);
	int k = 0;

	while (k < n && s->unread > 0)
		lend(c, record_next(s), &bufs[k++]);
	return k;
}

static int recv_stream_zc(struct csock *s, struct zs_buf *bufs, int n, int flags)
{
	int r;

	if (n == 0)
		return 0;
	do {
		r = recv_wait(s, 1, UINT32_MAX, flags, recv_deadline(s));
		if (r <= 0)
			return r;
		if (unlikely(csock_records(s)))
			return lend_records(s, bufs, n);
		recv_skip_urgent(s);
		r = lend_stream(s, bufs, n);
	} while (r == 0 && s->unread == 0); /* another process has read it */
	return r > 0 ? r : lend_before_mark(s, bufs);
}

int zs_recv_zc(int fd, struct zs_buf *bufs, int n, int flags)
{
	struct csock *s;
	int r = 0;

	if ((flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) != 0)
		return -EOPNOTSUPP;
	if (n < 0)
		return -EINVAL;
	client_lock();
	s = fd_csock(fd, &r);
	if (likely(s != NULL)) {
		r = csock_connects(s) ? recv_stream_zc(s, bufs, n, flags) : -EOPNOTSUPP;
	}
	client_unlock();
	return r;
}

static int pieces(const struct core *c, uint32_t row)
{
	int n = 1;

	while (c->loan[row].more && c->loan[row].next != NIL) {
		row = c->loan[row].next;
		n++;
	}
	return n;
}

static int lend_dgram(struct csock *s, struct zs_buf *bufs, int n, struct sockaddr *addr,
		      socklen_t *addrlen)
{
	struct csock *q = csock_reader(s);
	struct core *c = csock_core(q);
	const struct dgram *d = &c->dgram[q->head];
	int count = pieces(c, q->head);

	if (count > n)
		return -EMSGSIZE;
	endpoint_to(d->addr, d->port, dgram_scope(q, d), s->domain, addr, addrlen);
	for (int i = 0; i < count; i++) {
		uint32_t row = q->head;

		q->head = c->loan[row].next;
		lend(c, row, &bufs[i]);
	}
	if (q->head == NIL)
		q->tail = NIL;
	q->unread--;
	if (s->group != NULL)
		s->group->turn++;
	return count;
}

int zs_recvfrom_zc(int fd, struct zs_buf *bufs, int n, int flags, struct sockaddr *addr,
		   socklen_t *addrlen)
{
	struct csock *s;
	int r = 0;

	if ((flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) != 0)
		return -EOPNOTSUPP;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && csock_connects(s)) {
		r = recv_stream_zc(s, bufs, n, flags);
		if (r >= 0 && addrlen != NULL)
			*addrlen = 0;
	} else if (s != NULL) {
		r = recv_wait_dgram(s, flags);
		if (r > 0)
			r = lend_dgram(s, bufs, n, addr, addrlen);
	}
	client_unlock();
	return r;
}

/* ---- sending ---- */

/* A buffer of another channel: its bytes again, in a block of ours. */
static int adopt(struct csock *s, const struct zs_buf *b, struct buf_ref *r)
{
	struct zs_buf copy;

	if (b->len > ZS_BUF_MAX)
		return -EMSGSIZE;
	if (block_new(csock_core(s), b->len, &copy) < 0) {
		csock_core(s)->arena_short = true;
		sock_starved(s);
		return -EAGAIN;
	}
	memcpy(copy.data, b->data, b->len);
	client.stats.api_copied_bytes += b->len;
	return buf_find(&copy, r);
}

/* One command for one buffer, whose hold is the send's from here on; *op is the one for cmd_push.
 */
static struct chan_sqe *push_buf(struct csock *s, const struct zs_buf *b, const struct buf_ref *r,
				 uint32_t cookie, uint8_t *op)
{
	struct core *c = csock_core(s);
	uint8_t kind = b->len == 0 ? TOKEN_EMPTY : r->lent ? TOKEN_LOAN : TOKEN_BLOCK;
	struct chan_sqe *q = send_begin(s, b->len, kind, r->what);

	if (cookie != NIL) {
		c->token[q->token].cookie = cookie;
		c->cookie[cookie].sends++;
	}
	*op = CHAN_OP_SEND;
	if (kind == TOKEN_EMPTY) {
		buf_put(r);
		return q;
	}
	q->off = r->off;
	if (kind == TOKEN_LOAN && likely(!loan_is_link(c, r->what))) {
		q->loan = c->loan[r->what].name;
		*op = CHAN_OP_SEND_LOAN;
	} else if (kind == TOKEN_LOAN) {
		BUG_ON(!link_wire_name(r, &q->off));
		core_wants_tokens(c); /* the neighbour may wait for it */
	}
	buf_to_send(r);
	return q;
}

static uint32_t cookie_take(struct core *c, uint64_t value)
{
	uint32_t row = c->cookie_free;

	if (row == NIL)
		return NIL;
	c->cookie_free = c->cookie[row].next;
	c->cookie[row] = (struct cookie){.value = value, .next = NIL};
	core_wants_tokens(c);
	return row;
}

/* Nothing was sent under it. */
static void cookie_give_back(struct core *c, uint32_t row)
{
	c->cookie[row].next = c->cookie_free;
	c->cookie_free = row;
}

/* What a neighbour sent, to the service. */
static slow_path bool wire_can_name(const struct buf_ref *r, uint32_t len)
{
	uint64_t off;

	return len >= NEIGHBOUR_MIN && link_wire_name(r, &off);
}

static inline bool way_can_name(const struct csock *s, const struct buf_ref *r, uint32_t len)
{
	if (unlikely(s->flags & CSOCK_LINK))
		return link_can_name(s, r);
	return !r->lent || !loan_is_link(r->core, r->what) || wire_can_name(r, len);
}

/* A buffer that the way can't name becomes one of ours. */
static int make_nameable(struct csock *s, const struct zs_buf *b, struct buf_ref *r)
{
	struct buf_ref copy;
	int err;

	if (likely(!buf_is_foreign(r, csock_core(s)) && way_can_name(s, r, b->len)))
		return 0;
	err = adopt(s, b, &copy);
	if (err < 0)
		return err;
	buf_put(r);
	*r = copy;
	return 0;
}

/* 1 taken, -errno, or 0: the next attempt goes by TCP. */
static int send_linked(struct csock *s, const struct zs_buf *b, struct buf_ref *r, uint32_t cookie)
{
	int err;

	if (unlikely(!link_may_write(s)))
		return 0;
	err = make_nameable(s, b, r);
	if (unlikely(err < 0)) {
		link_write_nothing(s);
		return err;
	}
	link_send_buf(s, b->len, r, cookie);
	return 1;
}

/* A record without bytes; to send nothing of a stream is done at once. */
static int send_empty(struct csock *s)
{
	struct iov_it none = {.left = 0};

	return link_send_record(s, &none);
}

/* One buffer of a stream: 1 taken, 0: to be tried again, or -errno. */
static int send_one(struct csock *s, const struct zs_buf *b, uint32_t cookie, int flags)
{
	struct buf_ref r;
	uint8_t op;
	int err;

	if (unlikely(buf_find(b, &r) < 0))
		return -EINVAL;
	if (unlikely(csock_records(s) && (b->len > ZS_RECORD_MAX || !csock_has_way(s))))
		return b->len > ZS_RECORD_MAX ? -EMSGSIZE : -EAGAIN;
	if (b->len == 0) {
		err = unlikely(csock_records(s)) ? send_empty(s) : 1;
		if (err > 0)
			buf_put(&r);
		return err;
	}
	if (s->flags & CSOCK_LINK)
		return send_linked(s, b, &r, cookie);
	err = make_nameable(s, b, &r);
	if (unlikely(err < 0))
		return err;
	push_buf(s, b, &r, cookie, &op);
	cmd_push_first(csock_core(s), chan_first(op, flags & MSG_MORE ? CHAN_SEND_MORE : 0, 0));
	return 1;
}

static int ready(struct csock *s)
{
	int r;

	if (unlikely(csock_records(s)))
		return record_ready(s);
	r = send_check(s);
	return likely(r == 0) ? send_means(s, 1) : r;
}

static int send_all(struct csock *s, const struct zs_buf *bufs, int n, uint32_t cookie, int flags)
{
	int64_t deadline = send_deadline(s);
	int k = 0, r = cork_before_send(s, &flags);

	client_send_looks();
	while (k < n && r >= 0) {
		r = ready(s);
		if (likely(r == 0))
			r = send_one(s, &bufs[k], cookie, flags);
		if (r > 0)
			k++;
		else if (r == -EAGAIN)
			r = unlikely(csock_records(s)) ? record_wait(s, flags, deadline)
						       : send_wait(s, flags, 1, deadline);
	}
	return (int)send_result(s, k, r < 0 ? r : 0);
}

/* With a cookie, which is complete when the last of its sends is: the call itself counts as one, so
 * that it can't be before all are on their way. */
static int send_cookie(struct csock *s, const struct zs_buf *bufs, int n, uint64_t value, int flags)
{
	struct core *c = csock_core(s);
	uint32_t serial = s->serial, row = cookie_take(c, value);
	int r;

	if (row == NIL)
		return -ENOBUFS;
	c->cookie[row].sends = 1;
	r = send_all(s, bufs, n, row, flags);
	if (r > 0)
		cookie_unref(c, s->serial == serial ? s : NULL, row);
	else
		cookie_give_back(c, row);
	return r;
}

int zs_send_zc(int fd, const struct zs_buf *bufs, int n, uint64_t cookie, int flags)
{
	struct csock *s;
	int r = 0;

	if ((flags & ~(MSG_DONTWAIT | MSG_MORE | MSG_NOSIGNAL)) != 0)
		return -EOPNOTSUPP;
	if (n < 0)
		return -EINVAL;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && !csock_connects(s))
		r = -EOPNOTSUPP;
	else if (likely(s != NULL) && cookie == 0)
		r = send_all(s, bufs, n, NIL, flags);
	else if (s != NULL)
		r = send_cookie(s, bufs, n, cookie, flags);
	client_unlock();
	return r;
}

/* ---- datagrams ---- */

/* Is each held as often as it is in the array? */
static int dgram_find(const struct zs_buf *bufs, int n, struct buf_ref *refs)
{
	for (int i = 0; i < n; i++) {
		int times = 1;

		if (buf_find(&bufs[i], &refs[i]) < 0)
			return -EINVAL;
		for (int k = 0; k < i; k++)
			times += bufs[k].handle == bufs[i].handle;
		if (times > *buf_holds(&refs[i]))
			return -EINVAL;
	}
	return 0;
}

/* Buffers of other channels are replaced by copies: all, or none. */
static int dgram_adopt(struct csock *s, const struct zs_buf *bufs, int n, struct buf_ref *refs)
{
	struct buf_ref copy[PIECES_MAX];
	int err = 0, i;

	for (i = 0; i < n; i++) {
		copy[i] = refs[i];
		if (bufs[i].len == 0 || (!buf_is_foreign(&refs[i], csock_core(s)) &&
					 way_can_name(s, &refs[i], bufs[i].len)))
			continue;
		err = adopt(s, &bufs[i], &copy[i]);
		if (err < 0)
			break;
	}
	while (i-- > 0) {
		if (copy[i].lent == refs[i].lent && copy[i].core == refs[i].core)
			continue;
		buf_put(err < 0 ? &copy[i] : &refs[i]);
		if (err == 0)
			refs[i] = copy[i];
	}
	return err;
}

static int send_dgram_zc(struct csock *s, const struct zs_buf *bufs, int n, uint32_t cookie,
			 int flags, const struct endpoint *to)
{
	struct buf_ref refs[PIECES_MAX];
	uint8_t core = s->core, op;
	int r = send_dgram_ready(s, flags, (uint32_t)n);

	/* The cookie is of the core that it was on. */
	if (unlikely(s->core != core))
		r = -ENETDOWN;
	if (r == 0)
		r = dgram_find(bufs, n, refs);
	if (r == 0)
		r = dgram_adopt(s, bufs, n, refs);
	if (r < 0)
		return r;
	for (int i = 0; i < n; i++) {
		struct chan_sqe *q = push_buf(s, &bufs[i], &refs[i], cookie, &op);
		uint16_t port = send_dgram_fill(q, to);

		if (to != NULL && op == CHAN_OP_SEND)
			op = CHAN_OP_SENDTO;
		cmd_push_first(csock_core(s), chan_first(op, i + 1 < n ? CHAN_SEND_PART : 0, port));
	}
	return n;
}

static int dgram_zc(struct csock *s, const struct zs_buf *bufs, int n, uint64_t value, int flags,
		    const struct sockaddr *addr, socklen_t addrlen)
{
	struct core *c = csock_core(s);
	uint32_t row = NIL;
	struct endpoint to;
	int r = send_dgram_to(s, addr, addrlen, &to);

	if (r == 0)
		r = send_autobind(s);
	if (r < 0)
		return r;
	if (value != 0 && (row = cookie_take(c, value)) == NIL)
		return -ENOBUFS;
	r = send_dgram_zc(s, bufs, n, row, flags, addr != NULL ? &to : NULL);
	if (r < 0 && row != NIL)
		cookie_give_back(c, row);
	return r < 0 ? (int)send_result(s, 0, r) : r;
}

int zs_sendto_zc(int fd, const struct zs_buf *bufs, int n, uint64_t cookie, int flags,
		 const struct sockaddr *addr, socklen_t addrlen)
{
	struct csock *s;
	int r = 0;

	if ((flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL)) != 0)
		return -EOPNOTSUPP;
	if (n < 1 || n > PIECES_MAX)
		return -EINVAL;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && s->type != SOCK_DGRAM)
		r = -EOPNOTSUPP;
	else if (s != NULL)
		r = dgram_zc(s, bufs, n, cookie, flags, addr, addrlen);
	client_unlock();
	return r;
}

/* ---- what is complete ---- */

int zs_sent_zc(int fd, uint64_t *cookies, int n)
{
	struct csock *s;
	struct core *c;
	int k = 0, r = 0;

	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && s->cookie_head == NIL)
		client_dry();
	while (s != NULL && k < n && s->cookie_head != NIL) {
		uint32_t row = s->cookie_head;

		c = csock_core(s);
		s->cookie_head = c->cookie[row].next;
		cookies[k++] = c->cookie[row].value;
		cookie_give_back(c, row);
	}
	if (s != NULL && s->cookie_head == NIL)
		s->flags &= ~(uint32_t)CSOCK_COOKIES;
	client_unlock();
	return s != NULL ? k : r;
}
