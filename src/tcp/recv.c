/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the peer sends: text, urgent mark and FIN (RFC 9293 §3.10.7.4 sixth to eighth), when it is
 * acknowledged (§3.8.6.3), and the window it is offered (§3.8.6.2.2, RFC 7323 §2).
 *
 * Memory is charged by whole buffers, the window speaks of bytes. rcv_ratio is the part of a
 * buffer that the peer's full segments fill; room in bytes is room in charge times the ratio.
 *
 *	charge   |  lent to the user  |  ready  |  out of order  |     room      | rcvbuf
 *	bytes                             rcv_nxt |<--- room * rcv_ratio -->| edge
 *
 * The buffer grows by what the user reads in a round trip (dynamic right-sizing): a reader that
 * keeps up is never the limit, one that doesn't costs no memory.
 *
 * DEVIATION(RFC 9293 §3.8.6.3): segments that arrive in one burst are acknowledged by one ACK, as
 * receivers that merge segments do; the second full-sized segment is never waited for.
 */
#include "tcp/tcp_priv.h"

/* ---- the window ------------------------------------------------------------------------------ */

/* What a connection may hold when memory is short: those that would free what is held (the other
 * way through a proxy, say) must not be stopped by those that hold it. */
#define FLOOR_CHARGE (32u << 10)

/* Memory is short when this part of all that may be held is used: windows shrink to the floor. */
static bool memory_tight(const struct tcp *t)
{
	return t->rcv_mem > t->rcv_mem_tight;
}

/* Floors together may pass what all may hold, by half of that at most. */
static bool memory_gone(const struct tcp *t)
{
	return t->rcv_mem > t->rcv_mem_gone;
}

/* Charge that a connection may hold now. */
static uint32_t may_hold(const struct tcp *t, const struct tcp_conn *c)
{
	return memory_tight(t) && c->rcvbuf > FLOOR_CHARGE ? FLOOR_CHARGE : c->rcvbuf;
}

static uint64_t to_bytes(const struct tcp_conn *c, uint64_t charge)
{
	return charge * c->rcv_ratio >> 8;
}

static uint64_t full_window(const struct tcp_conn *c)
{
	uint64_t most = 65535ull << c->rcv_wscale; /* 0 where it was not agreed on */
	uint64_t full = to_bytes(c, c->rcvbuf);

	return full < most ? full : most;
}

/* RFC 9293 §3.8.6.2.2: the right edge moves by min(RCV.BUFF / 2, MSS) at least, and never left. */
uint64_t tcp_window_edge(const struct tcp *t, const struct tcp_conn *c)
{
	uint64_t used = (uint64_t)tcp_rcvq_charge(&c->rcvq) + c->lent, nxt = tcp_rcv_nxt(c);
	uint64_t full = full_window(c), most = may_hold(t, c), room, step, edge;

	if (used >= most || memory_gone(t))
		return c->rcv_adv;
	room = to_bytes(c, most - used);
	edge = nxt + (room < full ? room : full);
	step = full / 2 < c->rcv_mss ? full / 2 : c->rcv_mss;
	return edge >= c->rcv_adv + step ? edge : c->rcv_adv;
}

/* Rounded up to what the scale can say, so that the edge doesn't move left by rounding. RFC 7323
 * §2.2: a SYN's window is not scaled. */
uint16_t tcp_window_field(const struct tcp *t, const struct tcp_conn *c, bool syn, uint64_t *edge)
{
	uint64_t nxt = tcp_rcv_nxt(c), want = tcp_window_edge(t, c), field;
	unsigned scale = syn ? 0 : c->rcv_wscale;

	if (want <= nxt) { /* a FIN may have used up the last byte of it */
		*edge = c->rcv_adv > nxt ? c->rcv_adv : nxt;
		return 0;
	}
	field = (want - nxt + (1ull << scale) - 1) >> scale;
	if (field > UINT16_MAX)
		field = UINT16_MAX;
	*edge = nxt + (field << scale);
	return (uint16_t)field;
}

/* What a SYN offers: no segment has told yet how well buffers are filled. */
uint16_t tcp_syn_window(const struct tcp *t, uint32_t rcvbuf)
{
	uint32_t max = t->cfg.rcvbuf_max_bytes, bytes = (rcvbuf < max ? rcvbuf : max) / 2;

	return (uint16_t)(bytes < 65535 ? bytes : 65535);
}

void tcp_init_recv(struct tcp *t, struct tcp_conn *c, uint32_t irs)
{
	uint64_t start = seq_start(irs) + 1;

	c->irs = irs;
	tcp_rcvq_init(&c->rcvq, start, c->rcvbuf, &t->rcvq_env);
	c->rcv_adv = start + tcp_syn_window(t, c->rcvbuf);
	c->last_ack_sent = start;
	c->drs_wnd_end = start;
}

/* ---- growth of the buffer -------------------------------------------------------------------- */

/* Without acknowledged data of our own, a round trip is the time that a whole window takes. */
static void measure_rtt(struct tcp *t, struct tcp_conn *c)
{
	uint64_t us;

	if (c->rcvq.rcv_nxt < c->drs_wnd_end)
		return;
	us = (t->now_ns - c->drs_wnd_ns) / 1000;
	if (us > 0 && (c->rcv_rtt_us == 0 || us < c->rcv_rtt_us))
		c->rcv_rtt_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	c->drs_wnd_end = c->rcv_adv;
	c->drs_wnd_ns = t->now_ns;
}

static uint32_t receiver_rtt_us(const struct tcp_conn *c)
{
	uint32_t srtt = tcp_rtt_srtt_us(&c->rtt);

	if (c->rcv_rtt_us != 0 && (srtt == 0 || c->rcv_rtt_us < srtt))
		return c->rcv_rtt_us;
	return srtt != 0 ? srtt : 1000000;
}

static void rcvbuf_set(struct tcp *t, struct tcp_conn *c, uint64_t want)
{
	if (want > t->cfg.rcvbuf_max_bytes)
		want = t->cfg.rcvbuf_max_bytes;
	if (want <= c->rcvbuf)
		return;
	c->rcvbuf = (uint32_t)want;
	c->rcvq.max_charge = c->rcvbuf;
}

/* Twice what was read in the last round trip, so that a sender in slow start isn't held back, and
 * more if the rate still grows. */
static void right_size(struct tcp *t, struct tcp_conn *c, uint32_t bytes)
{
	uint64_t want;

	c->drs_bytes += bytes;
	if (t->now_ns - c->drs_start_ns < receiver_rtt_us(c) * 1000ull)
		return;
	if (c->rcv_auto && c->drs_bytes > c->drs_space && !memory_tight(t)) {
		want = 2ull * c->drs_bytes + 16ull * c->rcv_mss;
		if (c->drs_space != 0)
			want += 2 * want * (c->drs_bytes - c->drs_space) / c->drs_space;
		c->drs_space = c->drs_bytes;
		rcvbuf_set(t, c, (want << 8) / c->rcv_ratio);
	}
	c->drs_bytes = 0;
	c->drs_start_ns = t->now_ns;
}

/* ---- acknowledging --------------------------------------------------------------------------- */

/* RFC 9293 §3.8.6.3: at least every second full-sized segment, at most delack_us late. RFC 5681
 * §4.2: at once when out of order, and when a hole is filled. The first segments of a connection
 * are acknowledged at once, for slow start, until it turns out to be a dialogue. */
static void ack_owed(struct tcp *t, struct tcp_conn *c, bool urgent)
{
	uint64_t unacked = tcp_rcv_nxt(c) - c->last_ack_sent;

	if (urgent || c->quickack || unacked >= 2ull * c->rcv_mss) {
		c->ack_now = true;
	} else if (c->quickacks > 0) {
		c->quickacks--;
		c->ack_now = true;
	} else {
		tcp_timer_ack_owed(t, c);
	}
}

/* ---- text ------------------------------------------------------------------------------------ */

/* one: of a segment as it arrived, len: of what was made of it. */
static void learn_segment_size(struct tcp_conn *c, const struct rte_mbuf *m, uint32_t one,
			       uint32_t len)
{
	uint32_t charge = 0, ratio;

	if (one < c->rcv_mss)
		return;
	c->rcv_mss = (uint16_t)(one < c->advmss ? one : c->advmss);
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
		charge += pkt_charge(s);
	ratio = (uint32_t)(((uint64_t)len << 8) / charge);
	if (ratio > 0)
		c->rcv_ratio = (uint16_t)((c->rcv_ratio * 7 + ratio + 7) / 8);
}

/* The payload alone: [seq, seq + len). */
static struct rte_mbuf *cut_headers(struct pkt *p, uint32_t len)
{
	uint32_t hdr = p->l4_off + p->l4_hdr;
	struct rte_mbuf *m = p->m;

	if (likely(hdr < m->data_len))
		pkt_pull(m, (uint16_t)hdr);
	else
		m = pkt_trim_front(m, hdr);
	if (m->pkt_len > len)
		pkt_trim_back(m, len);
	p->m = NULL;
	return m;
}

/* RFC 9293 §3.6.1: data for a user who is gone resets the connection. */
static enum tcp_step refuse_data(struct tcp *t, struct tcp_conn *c, struct pkt *p)
{
	p->drop = DROP_TCP_CLOSED;
	t->n.aborts_close++;
	tcp_send_rst(t, c);
	tcp_conn_end(t, c, 0);
	return TCP_GO_ON;
}

/* Beyond what was promised, or beyond what all connections together may hold. */
static bool no_room(const struct tcp *t, const struct tcp_conn *c, uint64_t seq)
{
	uint64_t used = (uint64_t)tcp_rcvq_charge(&c->rcvq) + c->lent;

	if (memory_gone(t) || (t->rcv_mem > t->cfg.mem_max_bytes && used >= FLOOR_CHARGE))
		return true;
	if (seq > c->rcvq.rcv_nxt)
		return used > c->rcvbuf || memory_tight(t);
	return used > 2ull * c->rcvbuf;
}

static enum tcp_step drop_data(struct tcp_conn *c, struct pkt *p, enum drop_reason why)
{
	p->drop = (uint16_t)why;
	c->ack_now = true;
	return TCP_STOP;
}

/* Counts what tcp_rcvq_insert did, and decides about the ACK. */
static void data_arrived(struct tcp *t, struct tcp_conn *c, uint64_t before, bool hole, int kept)
{
	uint64_t nxt = c->rcvq.rcv_nxt;

	c->last_data_rcv_ms = t->now_ms;
	if (nxt > before) {
		tcp_event(t, c, TCP_EV_DATA);
		measure_rtt(t, c);
	} else if (kept > 0) {
		t->n.ooo_segs++;
	}
	ack_owed(t, c, hole || nxt == before || c->rcvq.dsack.start < c->rcvq.dsack.end);
}

/* The user reads no more: what comes is put in order, since a hole or the FIN may wait for it,
 * acknowledged and thrown away. What was unread before stays. */
static enum tcp_step discard_data(struct tcp *t, struct tcp_conn *c, struct rte_mbuf *m,
				  uint64_t seq)
{
	struct tcp_rcvq_list unread = c->rcvq.ready;
	uint32_t charge;
	int kept;

	c->rcvq.ready = (struct tcp_rcvq_list){0};
	charge = tcp_rcvq_charge(&c->rcvq);
	kept = tcp_rcvq_insert(&c->rcvq, seq, m);
	tcp_rcv_mem_add(t, c, charge);
	while ((m = tcp_rcvq_read(&c->rcvq, UINT16_MAX, &charge)) != NULL) {
		t->rcv_mem -= charge;
		t->cfg.drops->n[DROP_TCP_CLOSED]++;
		pkt_free(m);
	}
	c->rcvq.ready = unread;
	c->last_data_rcv_ms = t->now_ms;
	c->ack_now = true;
	if (kept <= 0)
		t->cfg.drops->n[kept == 0 ? DROP_TCP_DUP : DROP_TCP_OOO_LIMIT]++;
	return TCP_TAKEN;
}

/* In order, of a queue without holes; data_arrived() for that. */
static inline void in_order(struct tcp *t, struct tcp_conn *c)
{
	c->last_data_rcv_ms = t->now_ms;
	tcp_event(t, c, TCP_EV_DATA);
	measure_rtt(t, c);
	ack_owed(t, c, false);
}

bool tcp_data_fast(struct tcp *t, struct tcp_conn *c, struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = p->m;
	uint32_t used = tcp_rcvq_charge(&c->rcvq) + c->lent, charge = pkt_charge(m);
	uint32_t hdr = p->l4_off + p->l4_hdr;

	if (c->orphan || memory_tight(t) || used > c->rcvbuf || m->next != NULL ||
	    m->data_len != hdr + len || !tcp_rcvq_may_append(&c->rcvq, charge))
		return false;
	c->data_segs_in++;
	pkt_pull(m, (uint16_t)hdr);
	p->m = NULL;
	learn_segment_size(c, m, len, len);
	tcp_rcvq_append_chain(&c->rcvq, m, m, charge);
	t->rcv_mem += charge;
	in_order(t, c);
	return true;
}

enum tcp_step tcp_data_process(struct tcp *t, struct tcp_conn *c, struct pkt *p, uint64_t seq,
			       uint32_t len)
{
	uint64_t before = c->rcvq.rcv_nxt;
	uint32_t charge = tcp_rcvq_charge(&c->rcvq);
	bool hole = c->rcvq.n_blocks > 0;
	uint32_t one = p->l4_len - p->l4_hdr;
	struct rte_mbuf *m;
	int kept;

	c->data_segs_in++;
	p->drop = DROP_TCP_DUP;
	if (unlikely(!tcp_may_receive(c) || c->fin_rcvd))
		return TCP_STOP; /* RFC 9293: behind the FIN there is none */
	if (unlikely(c->orphan))
		return refuse_data(t, c, p);
	if (unlikely(no_room(t, c, seq)))
		return drop_data(c, p, seq > before ? DROP_TCP_OOO_LIMIT : DROP_TCP_RCVQ_FULL);
	m = cut_headers(p, len);
	if (unlikely(c->rcv_shut))
		return discard_data(t, c, m, seq);
	learn_segment_size(c, m, one < len ? one : len, len);
	if (likely(tcp_rcvq_append(&c->rcvq, seq, m)))
		kept = (int)len;
	else
		kept = tcp_rcvq_insert(&c->rcvq, seq, m);
	tcp_rcv_mem_add(t, c, charge);
	data_arrived(t, c, before, hole, kept);
	if (kept <= 0)
		t->cfg.drops->n[kept == 0 ? DROP_TCP_DUP : DROP_TCP_OOO_LIMIT]++;
	return TCP_TAKEN;
}

/* ---- urgent data ----------------------------------------------------------------------------- */

/* RFC 9293 §3.10.7.4 sixth, RFC 6093 §3: the pointer names the byte behind the urgent one. A
 * pointer of 0 names none of this segment (H06). The mark never moves back. */
enum tcp_step tcp_urg_process(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s,
			      uint64_t seq)
{
	uint64_t up = seq + s->urg;

	if (!tcp_may_receive(c) || s->urg == 0 || up <= c->rcvq.rcv_nxt)
		return TCP_GO_ON;
	if (c->urg_rcvd && up <= c->rcv_up)
		return TCP_GO_ON;
	c->urg_rcvd = true;
	c->rcv_up = up;
	tcp_event(t, c, TCP_EV_URG);
	return TCP_GO_ON;
}

void tcp_recv_charge(struct tcp *t, struct tcp_conn *c, uint32_t charge)
{
	c->lent += charge;
	t->rcv_mem += charge;
}

bool tcp_recv_short(const struct tcp *t)
{
	return memory_tight(t);
}

uint64_t tcp_conn_recv_at(const struct tcp_conn *c)
{
	return c->rcvq.rcv_nxt - c->rcvq.ready.bytes;
}

int64_t tcp_conn_urg(const struct tcp_conn *c)
{
	uint64_t next = tcp_conn_recv_at(c);

	if (!c->urg_rcvd || c->rcv_up <= next)
		return -1;
	return (int64_t)(c->rcv_up - 1 - next);
}

/* ---- FIN ------------------------------------------------------------------------------------- */

static void fin_in_order(struct tcp *t, struct tcp_conn *c)
{
	c->fin_rcvd = true;
	if (c->rcv_adv < tcp_rcv_nxt(c))
		c->rcv_adv = tcp_rcv_nxt(c);
	tcp_event(t, c, TCP_EV_FIN);
	switch (c->state) {
	case TCP_ESTABLISHED:
		tcp_set_state(t, c, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT_1: /* had our FIN been acknowledged, it would be FIN-WAIT-2 */
		tcp_set_state(t, c, TCP_CLOSING);
		break;
	case TCP_FIN_WAIT_2:
		tcp_time_wait(t, c);
		break;
	}
}

/* Eighth. A FIN ahead of a hole is remembered; one that contradicts what is known is nonsense. */
void tcp_fin_process(struct tcp *t, struct tcp_conn *c, uint64_t end)
{
	if (!tcp_may_receive(c)) {
		c->ack_now = true;
		return;
	}
	if (tcp_rcvq_fin(&c->rcvq, end) != 0) {
		tcp_challenge_ack(t, c);
		return;
	}
	c->ack_now = true;
	if (!c->fin_rcvd && tcp_rcvq_complete(&c->rcvq))
		fin_in_order(t, c);
}

/* ---- the user reads -------------------------------------------------------------------------- */

struct rte_mbuf *tcp_recv(struct tcp *t, struct tcp_conn *c, unsigned max)
{
	struct rte_mbuf *m;
	uint32_t charge;

	m = tcp_rcvq_read(&c->rcvq, max, &charge);
	c->lent += charge;
	return m;
}

/* RFC 9293 §3.8.6.2.2 and RFC 1122 §4.2.3.3: tell of room when the window was nearly used up and a
 * good part is free again. */
static bool window_news(const struct tcp *t, const struct tcp_conn *c)
{
	uint64_t full = full_window(c), left = c->rcv_adv - tcp_rcv_nxt(c), gain;

	if (!tcp_may_receive(c) || left * 2 > full)
		return false;
	gain = tcp_window_edge(t, c) - c->rcv_adv;
	return gain >= 2ull * c->rcv_mss || gain * 2 >= full;
}

void tcp_recv_done(struct tcp *t, struct tcp_conn *c, uint32_t charge, uint32_t bytes)
{
	ASSERT(charge <= c->lent);
	c->lent -= charge;
	t->rcv_mem -= charge;
	if (bytes > 0)
		right_size(t, c, bytes);
	if (window_news(t, c)) {
		c->ack_now = true;
		tcp_want_output(t, c);
	}
	tcp_debug_check(t, c);
}
