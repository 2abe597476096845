/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Output is a transaction (docs/design/002): tcp_output offers segments and changes nothing that a
 * peer could notice; tcp_output_done advances for what the port took. Records may be cut and memory
 * reserved in between, so that the second half can't fail.
 *
 * Connections take turns (turn.c); each may use its share of the burst. Replies without a
 * connection get what room is left, and always a small part of it.
 */
#include "tcp/turn_priv.h"

/* Least segments of a turn. */
#define SHARE_MIN 4u

/* ---- replies --------------------------------------------------------------------------------- */

static unsigned offer_replies(struct tcp *t, struct tcp_tx *tx, unsigned n)
{
	unsigned i;

	for (i = 0; i < n && i < t->reply_count; i++) {
		const struct tcp_reply *r = &t->replies[(t->reply_head + i) % TCP_REPLIES];
		struct tcp_out o = {.key = &r->key,
				    .seq = r->seq,
				    .ack = r->ack,
				    .path = r->path,
				    .wnd = r->wnd,
				    .flags = r->flags,
				    .tos = r->tos,
				    .ttl = r->ttl,
				    .opts = &r->opts};

		if (!tcp_seg_start(t, &tx[i], &o, pkt_alloc_hdr(t->cfg.pools)))
			break;
		tcp_seg_finish(&tx[i], 0);
		tx[i].conn = NULL;
		tx[i].kind = TX_REPLY;
		tx[i].start = tx[i].end = 0;
	}
	return i;
}

/* ---- the transaction ------------------------------------------------------------------------- */

bool tcp_output_pending(const struct tcp *t)
{
	return t->n_out > 0 || t->reply_count > 0;
}

static struct tcp_conn *next_turn(struct tcp *t)
{
	struct list *l = list_pop(&t->out);

	if (l == NULL)
		return NULL;
	t->n_out--;
	return container_of(l, struct tcp_conn, out_link);
}

/* By hand: all of it zeroed first would cost as much as the segment's header. */
static inline void turn_init(struct turn *u, unsigned max)
{
	u->n = 0;
	u->n_hdr = 0;
	u->max = max;
	u->again = 0;
	u->new_recs = 0;
	u->wnd = 0;
	u->wnd_edge = 0;
	u->acked = u->stuck = u->dsack = false;
	u->opts.have_ts = false;
	u->opts.n_sack = 0;
}

/* What connections leave for replies: one with much to send would fill every burst. */
static unsigned replies_share(const struct tcp *t, unsigned n)
{
	unsigned share = n < 8 ? n > 1 : n / 8;

	return t->reply_count < share ? t->reply_count : share;
}

unsigned tcp_output(struct tcp *t, struct tcp_tx *tx, unsigned n)
{
	unsigned turns = t->n_out, done = 0, most = n - replies_share(t, n), share;

	if (turns > 0) {
		share = (most + turns - 1) / turns;
		share = share < SHARE_MIN ? SHARE_MIN : share;
		for (; turns > 0 && done < most; turns--) {
			struct turn u;

			u.t = t;
			u.c = next_turn(t);
			u.tx = tx + done;
			if (likely(tcp_turn_fast(&u))) {
				done++;
				continue;
			}
			turn_init(&u, share < most - done ? share : most - done);
			if (tcp_turn_take(&u))
				tcp_want_output(t, u.c);
			done += u.n;
		}
	}
	return done + offer_replies(t, tx + done, n - done);
}

/* ---- what the port took ---------------------------------------------------------------------- */

/* Every segment of a connection acknowledges. */
static void ack_sent(struct tcp *t, struct tcp_conn *c, uint32_t kind, bool syn)
{
	uint64_t nxt = tcp_rcv_nxt(c);
	uint64_t edge = nxt + ((uint64_t)(kind >> 16) << c->rcv_wscale);

	if (kind & KIND_DSACK) {
		c->rcvq.dsack = (struct tcp_range){0};
		t->n.dsack_sent++;
	}
	c->ack_now = false;
	c->last_ack_sent = nxt;
	if (!syn && edge > c->rcv_adv)
		c->rcv_adv = edge;
	tcp_timer_ack_sent(t, c);
}

static void new_sent(struct tcp *t, struct tcp_conn *c, const struct tcp_tx *tx)
{
	uint64_t first = tx->start == tcp_iss(c) ? tx->start + 1 : tx->start;
	uint64_t last = tx->end < c->sndq.end_off ? tx->end : c->sndq.end_off;
	uint32_t len = last > first ? (uint32_t)(last - first) : 0;

	if (c->tlp_due) {
		c->tlp_due = false;
		t->n.tlp_probes++;
		tcp_tlp_sent(&c->tlp, tx->end, false);
	}
	if (tcp_sent_outstanding(&c->sent) == 0)
		c->stuck_ms = t->now_ms;
	tcp_sent_append(&c->sent, tx->end, t->now_ns);
	c->last_snd_ns = t->now_ns;
	if (len > 0) {
		c->data_segs_out++;
		if (len % c->mss != 0) {
			c->snd_sml = tx->end;
			c->push = false;
		}
		if (tx->end >= c->sndq.end_off)
			c->push = false;
	}
	if (c->repair != NULL)
		c->repair->prr_out += len;
	tcp_timer_data_sent(t, c);
}

static void again_sent(struct tcp *t, struct tcp_conn *c, const struct tcp_tx *tx)
{
	uint32_t i = tcp_sent_find(&c->sent, tx->start);
	struct tcp_repair *r;

	ASSERT(tcp_sent_at(&c->sent, i)->start == tx->start);
	tcp_sent_retransmitted(&c->sent, i, t->now_ns);
	r = tcp_repair_get(t, c);
	if (r != NULL)
		tcp_rack_rtx(&r->rack, &t->mem, tx->start, tx->end, t->now_ns);
	t->n.retrans_segs++;
	c->total_retrans++;
	c->bytes_retrans += tx->end - tx->start;
	c->last_snd_ns = t->now_ns;
	if (KIND_OF(tx->kind) == TX_LAST_AGAIN) {
		c->tlp_due = false;
		t->n.tlp_probes++;
		tcp_tlp_sent(&c->tlp, c->sent.nxt, true);
	} else if (r != NULL) {
		r->undo_rtx++;
		r->prr_out += tx->end - tx->start;
	}
	tcp_timer_data_sent(t, c);
}

static void segment_sent(struct tcp *t, struct tcp_conn *c, const struct tcp_tx *tx)
{
	enum tx_kind kind = KIND_OF(tx->kind);
	/* A probe before the first byte has the SYN's number, and so has a bare ACK. */
	bool syn = tx->start == tcp_iss(c) && kind != TX_PROBE && kind != TX_BARE;

	c->segs_out++;
	switch (kind) {
	case TX_NEW:
		new_sent(t, c, tx);
		break;
	case TX_AGAIN:
	case TX_LAST_AGAIN:
		again_sent(t, c, tx);
		break;
	case TX_PROBE:
		c->probe_due = false;
		break;
	case TX_REPLY:
	case TX_BARE:
		break;
	}
	if (c->state > TCP_SYN_SENT)
		ack_sent(t, c, tx->kind, syn);
}

static void not_taken(struct tcp *t, struct tcp_tx *tx)
{
	pkt_free(tx->p.m);
	tx->p.m = NULL;
	if (tx->conn != NULL)
		tcp_want_output(t, tx->conn);
}

void tcp_output_done(struct tcp *t, struct tcp_tx *tx, unsigned n, unsigned taken)
{
	ASSERT(taken <= n);
	t->n.out_segs += taken;
	for (unsigned i = 0; i < taken; i++) {
		if (tx[i].conn != NULL) {
			segment_sent(t, tx[i].conn, &tx[i]);
			continue;
		}
		t->reply_head = (t->reply_head + 1) % TCP_REPLIES;
		t->reply_count--;
	}
	for (unsigned i = taken; i < n; i++)
		not_taken(t, &tx[i]);
	for (unsigned i = 0; i < n; i++)
		if (tx[i].conn != NULL)
			tcp_debug_check(t, tx[i].conn);
}
