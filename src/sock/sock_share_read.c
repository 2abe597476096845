/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See sock_share.h: what a holder asks for.
 *
 * Reading from a shared connection copies: a reader gets the bytes that it asked for and no more,
 * in buffers of its own, which are counted in domain_copied_bytes. Not done: urgent data of shared
 * connections stands in the stream like any other.
 */
#include "sock/sock_share.h"

#define READ_BUFS_MAX  16 /* of one CHAN_OP_READ */
#define READ_BYTES_MAX (READ_BUFS_MAX * 2048u)

/* What is lent here is charged to nobody's window: the note names no socket. */
static bool lend_copy(struct sock *k, struct rte_mbuf *m, bool looks)
{
	struct chan_cqe *e;
	struct sock_lent lent;

	if (!sock_lend(k, &m, &lent)) {
		pkt_free(m);
		return false;
	}
	pkt_note_set(m, 0);
	k->lent--;
	e = app_event(k->app);
	*e = (struct chan_cqe){.ev = CHAN_EV_DATA,
			       .flags = looks ? CHAN_CQ_COPY : 0,
			       .sid = k->sid,
			       .res = m->data_len,
			       .off = lent.off,
			       .region = lent.region,
			       .loan = lent.loan};
	return true;
}

static int32_t read_stream(struct sock *k, uint32_t want, bool looks)
{
	struct sock_app *a = k->app;
	struct rte_mempool *pool = a->own != NULL ? a->own->pool : a->s->cfg.pools->rx;
	uint32_t bufs = app_lend_room(a, READ_BUFS_MAX), done = 0;
	struct rte_mbuf *to;
	int64_t there;

	there = pending_gather(k, want < READ_BYTES_MAX ? want : READ_BYTES_MAX);
	if (there < 0)
		return SOCK_STALL;
	want = (uint32_t)there;
	if (want == 0)
		return tcp_conn_got_fin(k->conn) ? 0 : -EAGAIN;
	while (done < want && bufs-- > 0 && app_room(a, 2) && (to = pkt_alloc(pool)) != NULL) {
		uint32_t n = pkt_room(to);

		n = n < want - done ? n : want - done;
		(void)pkt_copy_out(k->share->pending.first, done, n, pkt_put(to, (uint16_t)n));
		if (!lend_copy(k, to, looks))
			return -EFAULT;
		done += n;
	}
	a->s->n.domain_copied_bytes += done;
	if (done == 0)
		return SOCK_STALL; /* there is something, and no buffer for it */
	if (!looks)
		pending_consume(k, done);
	return (int32_t)done;
}

/* Whether it is worth asking again; if not it is told when it is. */
static int answer(struct sock_cmd *c, int res, bool looked)
{
	if (res == SOCK_STALL)
		return res;
	c->out.aux = res != -EAGAIN && (looked || share_has_more(c->k));
	if (c->out.aux == 0)
		c->k->flags |= SOCKF_WANT;
	return res;
}

/* In front of the answer; what finds no room comes later. */
static void push(struct sock *k)
{
	k->news |= NEWS_DATA;
	(void)lease_tell(k);
	sock_news(k, 0);
}

/* Of who has a lease: is the end of the stream behind what it has been lent? */
static int read_leased(struct sock *k)
{
	push(k);
	if (k->kind != SOCK_CONN || !tcp_conn_got_fin(k->conn))
		return -EAGAIN;
	if (!(k->news & NEWS_DATA))
		return 0;
	k->news |= NEWS_READABLE; /* once more, then */
	return -EAGAIN;
}

static int read_conn(struct sock *k, uint32_t want, bool looks)
{
	struct sock_desc *sh = k->share;

	if (unlikely(sh->owes != NULL))
		return -EAGAIN;
	if (lease_holder(sh) == k)
		return read_leased(k);
	if (sh->lease != NULL && lease_end(sh) != 0)
		return SOCK_STALL;
	if (!looks && lease_due(k) && lease_begin(k)) {
		push(k);
		return -EAGAIN;
	}
	return read_stream(k, want, looks);
}

int cmd_read(struct sock_cmd *c)
{
	struct sock *k = c->k, *reader;
	int32_t want = c->q->arg[0];
	bool looks = c->q->arg[1] != 0;
	int res = -EAGAIN;

	/* It has just become the only holder: it is told so, and gets everything. */
	if (!sock_is_shared(k))
		return -EAGAIN;
	reader = lease_holder(k->share);
	if (!lease_tell_end(k))
		return SOCK_STALL;
	if (k->kind == SOCK_CONN && want > 0)
		res = read_conn(k, (uint32_t)want, looks);
	else if (k->kind == SOCK_UDP)
		res = udp_sock_read(k, looks);
	/* Only now: it is told whether there is more. */
	if (unlikely(reader != NULL && reader != k))
		sock_news(reader, 0);
	return answer(c, res, looks);
}

int cmd_accept(struct sock_cmd *c)
{
	struct sock *k = c->k;

	if (!sock_is_shared(k))
		return -EAGAIN;
	if (k->kind != SOCK_LISTEN)
		return -EINVAL;
	if (!sock_slot_free(c->app))
		return -ENFILE;
	return answer(c, tcp_sock_accept(k) ? 0 : -EAGAIN, false);
}
