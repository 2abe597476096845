/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection's turn: what it sends now. It is asked in this order: lost data, a tail loss probe,
 * new data and FIN, a probe for a silent peer, an acknowledgement alone. All that is said of the
 * receiving side is the same for the segments of one turn, and is computed once.
 *
 * Small segments (RFC 9293 §3.7.4, §3.8.6.2.1): a segment that is not full is sent when nothing of
 * the kind is unacknowledged (Minshall's variant of Nagle's rule), or without Nagle's rule, and
 * when the window takes all that is queued, or half of the largest window there was.
 *
 * DEVIATION(RFC 9293 §3.8.6.1): a probe of a closed window repeats the number before the first
 * unacknowledged byte and carries nothing. It is answered like one with a byte of new data, and
 * can't be taken for data that was sent. tcp_link.inline_all is not looked at: src/dev copies
 * chains together where the port wants it.
 */
#include "tcp/turn_priv.h"

/* Pieces of payload behind one header. */
#define SLICES_MAX     16
#define SLICES_MAX_TSO 40

/* ---- one segment ----------------------------------------------------------------------------- */

static slow_path void turn_sack_opts(struct turn *u)
{
	struct tcp_conn *c = u->c;
	struct tcp_range r[TCP_SACK_MAX], dsack = c->rcvq.dsack;
	unsigned max = c->ts ? 3 : 4;

	u->opts = (struct tcp_opts_out){
		.have_ts = c->ts, .ts_val = u->opts.ts_val, .ts_ecr = u->opts.ts_ecr};
	u->opts.n_sack = (uint8_t)tcp_rcvq_sack(&c->rcvq, r, max);
	c->rcvq.dsack = dsack; /* until it is known that the port took it */
	u->dsack = dsack.start < dsack.end;
	for (unsigned i = 0; i < u->opts.n_sack; i++) {
		u->opts.sack[i].start = (uint32_t)r[i].start;
		u->opts.sack[i].end = (uint32_t)r[i].end;
	}
}

static inline void turn_opts(struct turn *u)
{
	const struct tcp_conn *c = u->c;

	u->opts.have_ts = c->ts;
	u->opts.ts_val = tcp_ts_now(u->t, c);
	u->opts.ts_ecr = c->ts_recent;
	if (unlikely(c->rcvq.n_blocks > 0 || c->rcvq.dsack.start != c->rcvq.dsack.end) && c->sack)
		turn_sack_opts(u);
}

static void syn_opts(const struct turn *u, struct tcp_opts_out *o)
{
	const struct tcp_conn *c = u->c;
	bool first = c->state == TCP_SYN_SENT; /* offers all; later what was agreed on */

	*o = (struct tcp_opts_out){
		.mss = c->advmss,
		.have_wscale = first || c->wscale,
		.wscale = u->t->rcv_wscale,
		.sack_ok = first || c->sack,
		.have_ts = first || c->ts,
		.ts_val = tcp_ts_now(u->t, c),
		.ts_ecr = first ? 0 : c->ts_recent,
	};
}

/* RFC 9293 §3.8.5 */
static uint16_t urgent(const struct tcp_conn *c, uint64_t start, uint8_t *flags)
{
	uint64_t ahead;

	if (!c->snd_urg || c->snd_up <= start)
		return 0;
	*flags |= TCP_URG;
	ahead = c->snd_up - start;
	return ahead < UINT16_MAX ? (uint16_t)ahead : UINT16_MAX;
}

static struct rte_mbuf *header(struct turn *u)
{
	return u->n_hdr > 0 ? u->hdr[--u->n_hdr] : pkt_alloc_hdr(u->t->cfg.pools);
}

/* Starts the next segment of the turn: header at `start` with these flags. */
static struct tcp_tx *start_segment(struct turn *u, enum tx_kind kind, uint64_t start,
				    uint8_t flags)
{
	struct tcp_conn *c = u->c;
	struct tcp_tx *tx = &u->tx[u->n];
	struct tcp_opts_out syn;
	struct tcp_out o = {
		.key = &c->key,
		.seq = (uint32_t)start,
		.path = c->link.path,
		.tos = c->tos,
		.ttl = c->ttl,
		.ts = u->opts.have_ts,
		.ts_val = u->opts.ts_val,
		.ts_ecr = u->opts.ts_ecr,
		.wnd = u->wnd,
	};

	if (c->state != TCP_SYN_SENT) {
		flags |= TCP_ACK;
		o.ack = (uint32_t)tcp_rcv_nxt(c);
	}
	if (flags & TCP_SYN) {
		uint64_t edge;

		syn_opts(u, &syn);
		o.opts = &syn;
		o.wnd = c->state == TCP_SYN_SENT ? tcp_syn_window(u->t, c->rcvbuf)
						 : tcp_window_field(u->t, c, true, &edge);
	} else if (u->opts.n_sack > 0) {
		o.opts = &u->opts;
	}
	if (c->snd_urg)
		o.urg = urgent(c, start, &flags);
	o.flags = flags;
	if (!tcp_seg_start(u->t, tx, &o, header(u))) {
		u->stuck = true;
		return NULL;
	}
	tx->conn = c;
	tx->start = start;
	tx->end = start;
	tx->kind = kind | (u->dsack ? KIND_DSACK : 0) | (uint32_t)u->wnd << 16;
	return tx;
}

static void end_segment(struct turn *u, struct tcp_tx *tx, uint16_t segsz)
{
	tcp_seg_finish(tx, segsz);
	u->n++;
	u->acked = true;
	u->dsack = false; /* RFC 2883 §4: each duplicate is reported once */
}

/* A segment of [start, end) of the stream, SYN and FIN included, or less where payload is in too
 * many pieces. False: no buffer. */
static bool offer_stream(struct turn *u, enum tx_kind kind, uint64_t start, uint64_t end,
			 uint16_t segsz)
{
	struct tcp_conn *c = u->c;
	uint64_t first = start == tcp_iss(c) ? start + 1 : start;
	uint64_t last = end > c->sndq.end_off ? c->sndq.end_off : end;
	uint8_t flags = start == tcp_iss(c) ? TCP_SYN : 0;
	struct tcp_tx *tx;
	int got = 0;

	if (last == c->sndq.end_off && last > first)
		flags |= TCP_PSH;
	if (end > c->sndq.end_off && c->fin_queued)
		flags |= TCP_FIN;
	tx = start_segment(u, kind, start, flags);
	if (tx == NULL)
		return false;
	if (last > first) {
		got = tcp_sndq_gather(&c->sndq, kind == TX_NEW ? TCP_SNDQ_NEW : TCP_SNDQ_REPAIR,
				      u->t->cfg.pools, first, (uint32_t)(last - first), tx->p.m,
				      segsz != 0 ? SLICES_MAX_TSO : SLICES_MAX);
		if (got < 0) {
			pkt_free(tx->p.m);
			u->stuck = true;
			return false;
		}
	}
	if (first + (uint64_t)got < last) { /* cut short: what closes the stream comes later */
		struct tcp_hdr *h = (struct tcp_hdr *)pkt_data(tx->p.m);

		h->flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
		end = first + (uint64_t)got;
	}
	tx->end = end;
	end_segment(u, tx, (uint32_t)got > segsz ? segsz : 0);
	return true;
}

/* Payload of a full segment with the options of this turn. */
static uint32_t turn_mss(const struct turn *u)
{
	uint32_t sack = u->opts.n_sack > 0 ? 4u + 8u * u->opts.n_sack : 0;

	return u->c->mss > sack + TCP_MSS_MIN / 2 ? u->c->mss - sack : TCP_MSS_MIN / 2;
}

/* Most payload of one offered packet, in whole segments. */
static uint32_t turn_chunk(const struct turn *u, uint32_t mss)
{
	const struct tcp_link *l = &u->c->link;
	uint64_t most = (uint64_t)mss * l->tso_segs;

	if (l->tso_segs <= 1)
		return mss;
	if (l->tso_bytes != 0 && most > l->tso_bytes)
		most = l->tso_bytes;
	if (most > 65535 - 120)
		most = 65535 - 120;
	return most > mss ? (uint32_t)(most - most % mss) : mss;
}

/* ---- what to send ---------------------------------------------------------------------------- */

static uint64_t cwnd_room(const struct turn *u)
{
	uint64_t cwnd = tcp_cwnd(u->c);

	return cwnd > u->in_flight ? cwnd - u->in_flight : 0;
}

/* The next lost record behind what this turn offered. */
static int64_t next_lost(const struct turn *u)
{
	struct tcp_sent *s = &u->c->sent;
	int64_t i = tcp_sent_next_lost(s);

	if (i < 0)
		return -1;
	for (; i < s->count; i++) {
		const struct tcp_sent_rec *r = tcp_sent_at(s, (uint32_t)i);

		if (r->start >= u->again &&
		    (r->flags & (TCP_SENT_LOST | TCP_SENT_RTX)) == TCP_SENT_LOST)
			return i;
	}
	return -1;
}

/* Cuts record i to at most `most` bytes. Without memory it stays as it is and is not sent now. */
static bool cut_record(struct turn *u, uint32_t i, uint32_t most)
{
	const struct tcp_sent_rec *r = tcp_sent_at(&u->c->sent, i);

	if (r->end - r->start <= most)
		return true;
	if (tcp_sent_split(&u->c->sent, &u->t->mem, i, r->start + most) == 0)
		return true;
	u->stuck = true;
	return false;
}

/* Sends record i again, at most one segment of it. A piece that can't be one segment (its payload
 * is in too many parts) is cut once more. */
static bool offer_record(struct turn *u, uint32_t i, enum tx_kind kind)
{
	struct tcp_sent *s = &u->c->sent;
	uint64_t start, end;

	if (!cut_record(u, i, turn_mss(u)))
		return false;
	start = tcp_sent_at(s, i)->start;
	end = tcp_sent_at(s, i)->end;
	if (!offer_stream(u, kind, start, end, 0))
		return false;
	if (u->tx[u->n - 1].end < end &&
	    tcp_sent_split(s, &u->t->mem, i, u->tx[u->n - 1].end) != 0) {
		pkt_free(u->tx[--u->n].p.m);
		u->stuck = true;
		return false;
	}
	return true;
}

/* RFC 6675 §5: lost data goes first, as far as the congestion window lets it. */
static bool offer_lost(struct turn *u)
{
	int64_t i = u->c->sent.lost_bytes > 0 ? next_lost(u) : -1;
	uint64_t len;

	if (i < 0 || (cwnd_room(u) < u->c->mss && u->in_flight > 0))
		return false;
	if (!offer_record(u, (uint32_t)i, TX_AGAIN))
		return false;
	len = u->tx[u->n - 1].end - u->tx[u->n - 1].start;
	u->again = u->tx[u->n - 1].end;
	u->in_flight += len;
	return true;
}

static bool records_left(struct turn *u)
{
	uint32_t max = u->c->mss < TCP_MSS_V4 ? TCP_SENT_MAX_TINY : TCP_SENT_MAX;

	if (u->c->sent.count + u->new_recs >= max)
		return false;
	if (tcp_sent_reserve(&u->c->sent, &u->t->mem, u->new_recs + 1) == 0)
		return true;
	u->stuck = u->c->sent.count == 0; /* else the next ACK brings us back */
	return false;
}

/* Nagle's rule in Minshall's form, cork, MSG_MORE. */
static bool held_back(const struct turn *u)
{
	const struct tcp_conn *c = u->c;

	if (c->push || c->fin_queued)
		return false;
	if (c->cork || c->more)
		return true;
	return !c->nodelay && c->snd_sml > c->sent.una && u->nxt > c->sent.una;
}

/* How much new data to send next; 0: nothing now. */
static uint32_t new_data_len(struct turn *u, uint32_t mss)
{
	struct tcp_conn *c = u->c;
	uint64_t queued = c->sndq.end_off > u->nxt ? c->sndq.end_off - u->nxt : 0;
	uint64_t edge = c->sent.una + c->snd_wnd;
	uint64_t wnd = edge > u->nxt ? edge - u->nxt : 0, cwnd = cwnd_room(u);
	uint64_t len = queued < wnd ? queued : wnd;
	uint32_t chunk = turn_chunk(u, mss);

	if (len > chunk)
		len = chunk;
	if (len == 0)
		return 0;
	if (cwnd < len) {
		c->cwnd_used = true;
		len = cwnd - cwnd % mss;
		if (len == 0 && u->in_flight == 0)
			len = mss < queued && mss < wnd ? mss : (queued < wnd ? queued : wnd);
		return (uint32_t)len;
	}
	if (len >= mss)
		return (uint32_t)(len == queued && !held_back(u) ? len : len - len % mss);
	/* Less than a segment: §3.8.6.2.1 (3) all of it fits, or (4) half of the largest window. */
	if (len == queued ? held_back(u) : len * 2 < c->snd_wnd_max && !c->push)
		return 0;
	return (uint32_t)len;
}

/* RFC 5681 §4.1 */
static void restart_after_idle(struct turn *u)
{
	struct tcp_conn *c = u->c;
	uint64_t idle_ns = u->t->now_ns - c->last_snd_ns, idle_us;

	if (c->last_snd_ns == 0 || idle_ns <= c->rtt.rto_base_us * 1000ull)
		return;
	idle_us = idle_ns / 1000;
	c->cc.ops->after_idle(&c->cc, idle_us < UINT32_MAX ? (uint32_t)idle_us : UINT32_MAX,
			      c->rtt.rto_base_us, u->t->now_ns);
}

static bool fin_next(const struct turn *u, uint64_t data_end)
{
	return u->c->fin_queued && u->nxt <= u->c->sndq.end_off && data_end == u->c->sndq.end_off;
}

/* New data, and the FIN behind the last of it. The FIN alone needs no window (RFC 9293 lets it be
 * sent beyond a closed one no more than data; but it costs the peer nothing). */
static bool offer_new(struct turn *u)
{
	struct tcp_conn *c = u->c;
	uint32_t mss, len;
	uint64_t end;

	if (!tcp_may_send(c))
		return false;
	if (u->nxt == c->sent.una && u->nxt < c->sndq.end_off)
		restart_after_idle(u);
	mss = turn_mss(u);
	len = new_data_len(u, mss);
	end = u->nxt + len;
	if (len == 0 && !fin_next(u, u->nxt))
		return false;
	if (!records_left(u) ||
	    !offer_stream(u, TX_NEW, u->nxt, end + fin_next(u, end), (uint16_t)mss))
		return false;
	end = u->tx[u->n - 1].end;
	u->in_flight += end - u->nxt;
	u->nxt = end;
	u->new_recs++;
	return true;
}

static bool offer_syn(struct turn *u)
{
	struct tcp_conn *c = u->c;

	if (u->nxt != tcp_iss(c) || !records_left(u) ||
	    !offer_stream(u, TX_NEW, u->nxt, u->nxt + 1, 0))
		return false;
	u->nxt++;
	u->new_recs++;
	return true;
}

/* Makes the last record one segment. */
static bool cut_last(struct turn *u, uint32_t mss)
{
	struct tcp_sent *s = &u->c->sent;
	const struct tcp_sent_rec *r = tcp_sent_at(s, s->count - 1);
	uint64_t len = r->end - r->start;

	if (len <= mss)
		return true;
	u->stuck = tcp_sent_split(s, &u->t->mem, s->count - 1, r->end - ((len - 1) % mss + 1)) != 0;
	return !u->stuck;
}

/* RFC 8985 §7.3: new data if there is any, else the last segment again. */
static bool offer_tlp(struct turn *u)
{
	struct tcp_conn *c = u->c;
	uint64_t queued = c->sndq.end_off > u->nxt ? c->sndq.end_off - u->nxt : 0;
	uint64_t edge = c->sent.una + c->snd_wnd;
	uint32_t mss = turn_mss(u);
	uint64_t len = queued < mss ? queued : mss;

	if (u->n > 0)
		return false;
	/* What came in since the timer expired may have answered the question. */
	if (c->sent.count == 0 || c->sent.sacked_bytes > 0 || c->sent.lost_bytes > 0) {
		c->tlp_due = false;
		return false;
	}
	if (len > 0 && u->nxt + len <= edge && records_left(u)) {
		if (!offer_stream(u, TX_NEW, u->nxt, u->nxt + len + fin_next(u, u->nxt + len), 0))
			return false;
		u->nxt = u->tx[u->n - 1].end;
		u->new_recs++;
		return true;
	}
	return cut_last(u, mss) && offer_record(u, c->sent.count - 1, TX_LAST_AGAIN);
}

/* For a closed window, or a peer that has been silent: something it must answer. */
static bool offer_probe(struct turn *u)
{
	struct tcp_tx *tx;

	if (!u->c->probe_due || u->n > 0)
		return false;
	tx = start_segment(u, TX_PROBE, u->c->sent.una - 1, 0);
	if (tx == NULL)
		return false;
	end_segment(u, tx, 0);
	return true;
}

static bool offer_ack(struct turn *u)
{
	struct tcp_tx *tx;

	if (!u->c->ack_now || u->acked || u->c->state < TCP_SYN_RCVD)
		return false;
	tx = start_segment(u, TX_BARE, u->c->sent.nxt, 0);
	if (tx == NULL)
		return false;
	end_segment(u, tx, 0);
	return true;
}

/* The next segment of the turn, or none. */
static bool offer(struct turn *u)
{
	struct tcp_conn *c = u->c;

	if (unlikely(c->sent.lost_bytes > 0) && offer_lost(u))
		return true;
	if (unlikely(c->tlp_due) && !u->stuck && offer_tlp(u))
		return true;
	if (unlikely(c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD))
		return !u->stuck && offer_syn(u);
	if (!u->stuck && offer_new(u))
		return true;
	if (unlikely(c->probe_due) && !u->stuck && offer_probe(u))
		return true;
	return !u->stuck && offer_ack(u);
}

/* Data waits and nothing will bring us back but a timer. */
static void wait_for_timer(struct turn *u)
{
	struct tcp_conn *c = u->c;

	if (u->nxt > c->sent.nxt || u->stuck || tcp_sent_outstanding(&c->sent) > 0 ||
	    !tcp_may_send(c) || c->sndq.end_off <= c->sent.nxt)
		return;
	tcp_timer_blocked(u->t, c,
			  c->snd_wnd < c->mss && c->snd_wnd < c->sndq.end_off - c->sent.nxt);
}

/* One turn. True: it has more to send than its share. */
/* Header buffers for as many segments as will likely go: what the peer of a port that shares memory
 * has read comes back to this core while the first ones are made. */
static void headers_ahead(struct turn *u)
{
	const struct tcp_conn *c = u->c;
	uint64_t queued = c->sndq.end_off > u->nxt ? c->sndq.end_off - u->nxt : 0;
	uint64_t edge = c->sent.una + c->snd_wnd, wnd = edge > u->nxt ? edge - u->nxt : 0;
	uint64_t n = queued < wnd ? queued : wnd, cwnd = cwnd_room(u);

	n = (n < cwnd ? n : cwnd) / turn_chunk(u, turn_mss(u));
	if (n > u->max)
		n = u->max;
	if (n > 1 && pkt_alloc_hdrs(u->t->cfg.pools, u->hdr, (unsigned)n))
		u->n_hdr = (unsigned)n;
}

bool tcp_turn_take(struct turn *u)
{
	struct tcp_conn *c = u->c;

	c->cwnd_used = false;
	u->nxt = c->sent.nxt;
	u->in_flight = tcp_pipe(c);
	if (c->state > TCP_SYN_SENT) {
		u->wnd = tcp_window_field(u->t, c, false, &u->wnd_edge);
		turn_opts(u);
	}
	if (c->state == TCP_ESTABLISHED)
		headers_ahead(u);
	while (u->n < u->max && offer(u))
		;
	while (unlikely(u->n_hdr > 0))
		pkt_free(u->hdr[--u->n_hdr]);
	wait_for_timer(u);
	return u->stuck || u->n == u->max;
}
