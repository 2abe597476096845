/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The unread part of a stream that several hold. It is of three kinds, in this order:
 *
 *	pending   what holders had been told and gave back, what a reader has left
 *	the connection, as far as its gap; behind, which fills the gap; rest
 *	the connection
 *
 * There is a gap where the stream went over a link, for which its receiver had not yet been told
 * the place (sock_link.c). What it got over the link it gives back to stand behind that.
 */
#include "sock/sock_share.h"
#include "sock/sock_udp.h"

#define BUFS_MAX 16 /* from the connection at a time */

bool pending_any(const struct sock_desc *sh)
{
	return sh->pending.first != NULL || sh->behind.first != NULL || sh->rest.first != NULL;
}

void pending_free(struct sock_desc *sh)
{
	pkt_free(queue_all(&sh->pending));
	pkt_free(queue_all(&sh->behind));
	pkt_free(queue_all(&sh->rest));
}

/* ---- buffers ---- */

struct rte_mbuf *stream_copy(struct sock_app *a, const uint8_t *from, uint32_t len)
{
	struct rte_mbuf *head = NULL, *m;

	while (len > 0) {
		uint32_t n;

		m = pkt_alloc_rx(a->s->cfg.pools);
		if (m == NULL || (head != NULL && pkt_chain(head, m) != 0)) {
			pkt_free(m);
			pkt_free(head);
			return NULL;
		}
		n = pkt_room(m) < len ? pkt_room(m) : len;
		memcpy(pkt_put(m, (uint16_t)n), from, n);
		head = head == NULL ? m : head;
		from += n;
		len -= n;
	}
	return head;
}

void stream_charge(struct sock *k, const struct rte_mbuf *m)
{
	for (; m != NULL; m = m->next)
		tcp_recv_charge(k->app->s->cfg.tcp, k->conn, pkt_charge(m));
}

struct rte_mbuf *stream_cut(struct sock *k, struct rte_mbuf *m, uint32_t keep)
{
	struct rte_mbuf *tail = stream_copy(k->app, pkt_data(m) + keep, m->data_len - keep);

	if (tail == NULL)
		return NULL;
	k->app->s->n.pressure_copied_bytes += m->data_len - keep;
	stream_charge(k, tail);
	pkt_trim_back(m, (uint16_t)keep);
	return tail;
}

bool queue_tell(struct sock *k, struct pkt_queue *q, struct chan_cqe **last)
{
	while (q->first != NULL) {
		struct rte_mbuf *m = q->first;

		if (!app_room(k->app, 2) || app_lend_room(k->app, 1) == 0)
			return false;
		q->bytes -= m->data_len;
		q->first = pkt_seg_split(m);
		*last = sock_announce(k, m);
		if (*last == NULL)
			return false; /* such payload could not have been read before */
	}
	return true;
}

/* ---- out of the connection ---- */

/* The rest is one buffer with the gap inside: its first `keep` bytes, what is behind them stays. */
static struct rte_mbuf *cut_rest(struct sock *k, uint32_t keep)
{
	struct pkt_queue *rest = &k->share->rest;
	struct rte_mbuf *m = rest->first, *tail = stream_cut(k, m, keep);

	if (tail == NULL)
		return NULL;
	(void)queue_all(rest);
	queue_add(rest, tail);
	return m;
}

/* What stands before the gap, a buffer at a time. -EAGAIN: there is something, and no memory. */
static int take_before_gap(struct sock *k, struct rte_mbuf **out)
{
	struct sock_desc *sh = k->share;
	uint64_t at = tcp_conn_recv_at(k->conn) - sh->rest.bytes;

	if (sh->rest.first == NULL) {
		*out = tcp_recv(k->app->s->cfg.tcp, k->conn, 1);
		if (*out == NULL)
			return 0;
		queue_add(&sh->rest, *out);
	}
	if (at + sh->rest.bytes <= sh->gap_at)
		*out = queue_all(&sh->rest);
	else
		*out = cut_rest(k, (uint32_t)(sh->gap_at - at));
	return *out == NULL ? -EAGAIN : 0;
}

static bool before_gap(const struct sock *k)
{
	const struct sock_desc *sh = k->share;

	return unlikely(sh->gap == GAP_AT) &&
	       tcp_conn_recv_at(k->conn) - sh->rest.bytes < sh->gap_at;
}

/* The next of the stream; *out = NULL: there is no more now. */
static int take(struct sock *k, struct rte_mbuf **out)
{
	struct sock_desc *sh = k->share;

	if (before_gap(k))
		return take_before_gap(k, out);
	*out = NULL;
	if (unlikely(sh->gap == GAP_AT)) {
		sh->gap = GAP_NONE;
		*out = queue_all(&sh->behind);
	}
	if (*out == NULL)
		*out = queue_all(&sh->rest);
	if (*out == NULL)
		*out = tcp_recv(k->app->s->cfg.tcp, k->conn, BUFS_MAX);
	return 0;
}

int64_t pending_gather(struct sock *k, uint32_t want)
{
	struct pkt_queue *q = &k->share->pending;

	while (q->bytes < want) {
		struct rte_mbuf *m;
		int err = take(k, &m);

		if (m == NULL || err < 0) {
			if (err < 0 && q->bytes == 0)
				return err;
			break;
		}
		queue_add(q, m);
	}
	return q->bytes < want ? (int64_t)q->bytes : want;
}

void pending_gap(struct sock *k, uint64_t at)
{
	struct sock_desc *sh = k->share;

	if (sh->gap != GAP_TO_COME)
		return;
	sh->gap = GAP_AT;
	sh->gap_at = at;
	share_readable(k);
	if (sh->n == 1)
		sock_news(k, NEWS_DATA);
}

void pending_consume(struct sock *k, uint32_t n)
{
	struct pkt_queue *q = &k->share->pending;

	q->bytes -= n;
	while (n > 0) {
		struct rte_mbuf *m = q->first;

		if (n < m->data_len) {
			pkt_pull(m, (uint16_t)n);
			return;
		}
		n -= m->data_len;
		q->first = pkt_seg_split(m);
		tcp_recv_done(k->app->s->cfg.tcp, k->conn, pkt_charge(m), m->data_len);
		pkt_seg_free(m);
	}
}

/* ---- to the last holder ---- */

/* There is a part of it that did not come from the connection, and is not yet at hand. */
static bool has_gap(const struct sock_desc *sh)
{
	return sh->gap == GAP_AT || sh->behind.first != NULL || sh->rest.first != NULL;
}

bool pending_tell(struct sock *k, bool *wait)
{
	struct sock_desc *sh = k->share;
	struct chan_cqe *last;

	do {
		if (!queue_tell(k, &sh->pending, &last))
			return false;
		if (unlikely(has_gap(sh)) && k->kind == SOCK_CONN && pending_gather(k, 1) < 0)
			return false;
	} while (sh->pending.first != NULL);
	*wait = has_gap(sh) && k->kind == SOCK_CONN;
	return true;
}

/* ---- what comes back ---- */

/* What came over a link and was not read. */
static int unread_link(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	struct sock *k = c->k;
	struct sock_desc *sh = k->share;
	uint64_t bytes = c->app->end.hdr.arena_bytes;
	struct rte_mbuf *m;

	if (sh == NULL || k->kind != SOCK_CONN || q->len == 0 || q->len > CHAN_SEND_MAX ||
	    q->off > bytes || q->len > bytes - q->off) {
		c->s->n.bad_commands++;
		return -EINVAL;
	}
	if (q->len > CHAN_UNREAD_MAX - sh->from_arena || tcp_recv_short(c->s->cfg.tcp))
		return -ENOBUFS;
	m = stream_copy(c->app, (const uint8_t *)c->app->map->arena + q->off, q->len);
	if (m == NULL)
		return SOCK_STALL;
	sh->from_arena += q->len;
	c->s->n.domain_copied_bytes += q->len;
	stream_charge(k, m);
	queue_add(q->arg[0] != 0 && sh->gap != GAP_NONE ? &sh->behind : &sh->pending, m);
	share_readable(k);
	return 0;
}

/* A buffer that its holder has not read to the end comes back, to be read by whoever is first. */
int cmd_unread(struct sock_cmd *c)
{
	struct sock *k = c->k;
	struct sock_desc *sh = k->share;
	struct rte_mbuf *m = loan_look(&c->app->loans, c->q->loan);

	if (k->kind == SOCK_UDP)
		return udp_sock_unread(c);
	if (c->q->loan == LOAN_NONE)
		return unread_link(c);
	if (sh == NULL || k->kind != SOCK_CONN || m == NULL || pkt_note(m) != k->sid ||
	    c->q->off >= m->data_len) {
		c->s->n.bad_commands++;
		return -EINVAL;
	}
	(void)loan_take_back(&c->app->loans, c->q->loan);
	k->lent--;
	app_lent(c->app, -1);
	pkt_pull(m, (uint16_t)c->q->off);
	m->next = NULL;
	queue_add(&sh->pending, m);
	share_readable(k);
	return 0;
}
