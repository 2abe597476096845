/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sends without a copy: bytes of the application's arena, or of a buffer that is lent to it, become
 * mbufs that refer to them. The token names a record that counts these references; when the last
 * one goes (acknowledged, and no driver holds it) the token goes home through the done ring.
 *
 * A lent buffer is referred to in the same way, and held by the record meanwhile: so the
 * application may return the loan at once, and one mechanism tells when the bytes are gone. What a
 * neighbour has given it over a link is sent out of the neighbour's arena (sock_view.c).
 */
#include "sock/sock_priv.h"

static void done_push(struct sock_app *a, uint32_t token)
{
	/* It holds every token; there is no room only if the other side lies about its index. */
	if (unlikely(chan_free(&a->end.done, 1) == 0)) {
		a->s->n.tokens_bad++;
		return;
	}
	chan_fill(&a->end.done, token, sizeof(token));
}

/* What was another's. */
static slow_path void let_go(struct sock_send *d)
{
	if (d->abroad) {
		d->app->abroad--;
		d->of->guests--;
		app_reap(d->of);
	} else {
		pkt_seg_free(d->lent);
	}
	d->abroad = false;
	d->lent = NULL;
}

/* The last reference to a send's bytes is gone. */
static void send_gone(void *addr, void *arg)
{
	struct sock_send *d = arg;
	struct sock_app *a = d->app;

	if (unlikely(d->lent != NULL))
		let_go(d);
	if (likely(d->sock->sid == d->sid))
		d->sock->unacked -= d->bytes;
	a->refs -= d->pieces;
	token_end(&a->tokens, d->token);
	if (likely(!a->dying))
		done_push(a, d->token);
	else
		app_reap(a);
}

struct sock_send *send_of(const struct rte_mbuf *seg)
{
	return pkt_ext_arg(seg, send_gone);
}

void send_refuse(struct sock_app *a, uint32_t token)
{
	if (token >= a->tokens.max || a->tokens.send[token] != NULL) {
		a->s->n.tokens_bad++;
		return;
	}
	done_push(a, token);
}

static uint32_t pieces_of(uint32_t len)
{
	return (len - 1) / SOCK_PIECE_BYTES + 1;
}

/* Two pieces or more: one reference is ours until all of them are there. */
static struct rte_mbuf *attach_pieces(struct socks *s, struct sock_send *d, uint8_t *at,
				      uint64_t iova, uint32_t len)
{
	struct rte_mbuf *head = NULL;

	pkt_ext_init(&d->ext, send_gone, d, (uint16_t)(1 + pieces_of(len)));
	for (uint32_t off = 0; off < len; off += SOCK_PIECE_BYTES) {
		uint32_t n = len - off < SOCK_PIECE_BYTES ? len - off : SOCK_PIECE_BYTES;
		struct rte_mbuf *m =
			pkt_attach(s->cfg.pools, at + off, iova + off, (uint16_t)n, &d->ext);

		if (m == NULL || (head != NULL && pkt_chain(head, m) != 0)) {
			pkt_free(m);
			pkt_free(head);
			return NULL;
		}
		if (head == NULL)
			head = m;
	}
	pkt_ext_put(&d->ext);
	return head;
}

static struct rte_mbuf *attach(struct socks *s, struct sock_send *d, uint8_t *at, uint64_t iova,
			       uint32_t len)
{
	if (unlikely(len > SOCK_PIECE_BYTES))
		return attach_pieces(s, d, at, iova, len);
	pkt_ext_init(&d->ext, send_gone, d, 1);
	return pkt_attach(s->cfg.pools, at, iova, (uint16_t)len, &d->ext);
}

/* Where the bytes of a command lie, and whose they are, if not its application's. */
struct payload {
	uint8_t *at;
	uint64_t iova;
	struct rte_mbuf *lent; /* or NULL */
	struct sock_app *of;   /* or NULL */
};

/* In its own arena, or in one that it sees by a link. */
static int in_arena(const struct sock_cmd *c, struct payload *p)
{
	const struct chan_sqe *q = c->q;
	uint32_t whose = (uint32_t)(q->off >> 32), off = (uint32_t)q->off;
	const struct sock_app *a = c->app;

	if (unlikely(whose != 0)) {
		p->of = app_view(a, whose);
		a = p->of;
		if (a == NULL)
			return -EINVAL;
	}
	if (unlikely(off > a->end.hdr.arena_bytes || q->len > a->end.hdr.arena_bytes - off))
		return -EINVAL;
	p->at = (uint8_t *)a->map->arena + off;
	p->iova = (uintptr_t)p->at;
	return 0;
}

/* 0 or -EINVAL. */
static int payload_at(const struct sock_cmd *c, struct payload *p)
{
	const struct chan_sqe *q = c->q;

	p->lent = NULL;
	p->of = NULL;
	if (unlikely(q->len == 0 || q->len > CHAN_SEND_MAX))
		return -EINVAL;
	if (likely(q->op != CHAN_OP_SEND_LOAN))
		return in_arena(c, p);
	p->lent = loan_look(&c->app->loans, q->loan);
	if (p->lent == NULL || q->off > p->lent->data_len || q->len > p->lent->data_len - q->off)
		return -EINVAL;
	p->at = pkt_data(p->lent) + q->off;
	p->iova = pkt_iova(p->lent, (uint32_t)q->off);
	return 0;
}

/* Until let_go(). */
static slow_path void hold(struct sock_send *d, const struct payload *p)
{
	if (p->of != NULL) {
		d->abroad = true;
		d->of = p->of;
		d->of->guests++;
		d->app->abroad++;
	} else {
		d->lent = p->lent;
		pkt_seg_hold(d->lent);
	}
}

struct rte_mbuf *send_payload(struct sock_cmd *c, int *err)
{
	struct sock_app *a = c->app;
	const struct chan_sqe *q = c->q;
	struct payload p;
	struct rte_mbuf *m;
	struct sock_send *d;

	*err = payload_at(c, &p);
	if (unlikely(*err != 0))
		return NULL;
	if (unlikely(a->refs + pieces_of(q->len) > a->refs_max)) {
		*err = SOCK_STALL;
		return NULL;
	}
	d = &a->send[q->token < a->tokens.max ? q->token : 0];
	*err = token_begin(&a->tokens, q->token, d);
	if (unlikely(*err != 0))
		return NULL;
	d->app = a;
	d->token = q->token;
	m = attach(c->s, d, p.at, p.iova, q->len);
	if (unlikely(m == NULL)) {
		token_end(&a->tokens, q->token);
		*err = SOCK_STALL;
		return NULL;
	}
	d->sock = c->k;
	d->sid = c->k->sid;
	d->bytes = q->len;
	d->pieces = (uint16_t)pieces_of(q->len);
	a->refs += d->pieces;
	d->abroad = false;
	d->lent = NULL;
	if (unlikely(p.lent != NULL || p.of != NULL))
		hold(d, &p);
	c->k->unacked += q->len;
	return m;
}

int send_failed(struct sock_cmd *c, int err)
{
	if (err == SOCK_STALL)
		return err;
	if (err == -EINVAL || err == -EBUSY)
		c->s->n.bad_commands++;
	send_refuse(c->app, c->q->token);
	sock_error(c->k, err);
	return SOCK_LATER;
}

int cmd_send(struct sock_cmd *c)
{
	switch (c->k->kind) {
	case SOCK_CONN:
	case SOCK_CONNECTING:
		return tcp_sock_send(c);
	case SOCK_UDP:
		return udp_sock_send(c);
	default:
		return send_failed(c, c->k->kind == SOCK_DEAD ? -EPIPE : -ENOTCONN);
	}
}
