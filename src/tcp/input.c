/* SPDX-License-Identifier: BSD-3-Clause
 *
 * RFC 9293 §3.10.7, "SEGMENT ARRIVES", one function for each of its steps, in its order:
 *
 *	        check_paws        RFC 7323 §5.3, before all
 *	first   check_sequence    is it in the window? else answer with an ACK
 *	second  check_rst         RFC 5961 §3
 *	fourth  check_syn         RFC 5961 §4   (third, security, is not in use any more)
 *	fifth   check_ack         RFC 5961 §5, then tcp_ack_process (ack.c) and the states that wait
 *	                          for our FIN to be acknowledged
 *	sixth   tcp_urg_process   (recv.c)
 *	seventh tcp_data_process  (recv.c)
 *	eighth  tcp_fin_process   (recv.c)
 *
 * In front stands the fast path: a list of questions that select the slow one. It takes what nearly
 * every segment is: in order, nothing lost, nothing new about windows and options.
 *
 * DEVIATION(RFC 9293 §3.10.7.4 first): a segment that was too early for a closed window is refused
 * for its data only; its acknowledgement counts, as the RFC's "special allowance" for ACKs.
 */
#include "tcp/tcp_priv.h"

/* A segment at a connection, positions unwrapped. */
struct arrival {
	struct tcp *t;
	struct tcp_conn *c;
	struct pkt *p;
	struct tcp_seg *s;
	uint64_t seq, end; /* end: behind text, SYN and FIN not counted */
	uint64_t ack;
	bool syn; /* is not what the connection began with */
	bool fin; /* counts: was not cut off */
};

/* Challenges of a connection per second: enough for a peer that lost its state. */
#define CHALLENGES_PER_SEC 8

static enum tcp_step stop(struct arrival *a, enum drop_reason why)
{
	a->p->drop = (uint16_t)why;
	return TCP_STOP;
}

/* RFC 5961 §7, but each connection has its own limit: a shared one tells an attacker about
 * connections of others (H12). */
void tcp_challenge_ack(struct tcp *t, struct tcp_conn *c)
{
	if (t->now_ms - c->challenge_ms >= 1000) {
		c->challenge_ms = t->now_ms;
		c->challenges = 0;
	}
	if (c->challenges >= CHALLENGES_PER_SEC)
		return;
	c->challenges++;
	t->n.challenge_acks++;
	c->ack_now = true;
	tcp_want_output(t, c);
}

/* RFC 7323 §5.3 R1, and §3.2: a segment without the option that was agreed on. */
static enum tcp_step check_paws(struct arrival *a)
{
	struct tcp_conn *c = a->c;
	const struct tcp_opts *o = &a->s->opts;

	if (!c->ts || (a->s->flags & TCP_RST))
		return TCP_GO_ON;
	if (!o->have_ts) {
		a->t->n.paws_drops++;
		return stop(a, DROP_TCP_PAWS);
	}
	if ((int32_t)(o->ts_val - c->ts_recent) >= 0 ||
	    tcp_age_clock(a->t) - c->ts_recent_at > TCP_TS_VALID)
		return TCP_GO_ON;
	a->t->n.paws_drops++;
	if (a->end > a->seq || a->fin) {
		c->ack_now = true;
		tcp_want_output(a->t, c);
	} else {
		tcp_challenge_ack(a->t, c);
	}
	return stop(a, DROP_TCP_PAWS);
}

/* Nothing of it is in the window: RFC 9293 §3.10.7.4 wants an ACK. Duplicates of data get it at
 * once, with a D-SACK (RFC 2883 §4.1); empty ones are limited, lest two ends keep each other busy.
 */
static enum tcp_step unacceptable(struct arrival *a)
{
	struct tcp_conn *c = a->c;
	uint64_t nxt = tcp_rcv_nxt(c);

	if (a->s->flags & TCP_RST)
		return stop(a, DROP_TCP_WINDOW);
	if (a->end == a->seq && !a->fin) {
		tcp_challenge_ack(a->t, c);
		return stop(a, DROP_TCP_WINDOW);
	}
	if (a->end <= nxt && a->seq < a->end)
		c->rcvq.dsack = (struct tcp_range){a->seq, a->end};
	c->ack_now = true;
	tcp_want_output(a->t, c);
	return stop(a, a->end <= nxt ? DROP_TCP_DUP : DROP_TCP_WINDOW);
}

/* Keeps the part before the right edge of the window. A FIN right at the edge counts: it takes no
 * room, and senders let it pass a closed window. */
static void cut_to_window(struct arrival *a)
{
	uint64_t keep = a->c->rcv_adv > a->seq ? a->c->rcv_adv - a->seq : 0;

	if (a->end <= a->c->rcv_adv)
		return;
	a->fin = false;
	a->c->ack_now = true;
	tcp_want_output(a->t, a->c);
	a->end = a->seq + keep;
}

/* RFC 9293 §3.10.7.4 first: SEG.SEQ and SEG.LEN against RCV.NXT and RCV.WND. */
static enum tcp_step check_sequence(struct arrival *a)
{
	uint64_t nxt = tcp_rcv_nxt(a->c), edge = a->c->rcv_adv;
	uint64_t end = a->end + a->fin + a->syn;
	bool ok;

	if (end == a->seq)
		ok = a->seq == nxt || (a->seq > nxt && a->seq < edge);
	else if (edge == nxt)
		ok = a->seq == nxt; /* closed: what follows cuts the data off */
	else
		ok = a->seq < edge && end > nxt;
	if (!ok)
		return unacceptable(a);
	cut_to_window(a);
	return TCP_GO_ON;
}

/* Second. RFC 5961 §3.2: only the exact number resets; in the window it is challenged. */
static enum tcp_step check_rst(struct arrival *a)
{
	struct tcp_conn *c = a->c;
	int err = -ECONNRESET;

	if (!(a->s->flags & TCP_RST))
		return TCP_GO_ON;
	if (a->seq != tcp_rcv_nxt(c)) {
		tcp_challenge_ack(a->t, c);
		return stop(a, DROP_TCP_RST_BLIND);
	}
	a->t->n.in_rsts++;
	if (c->state == TCP_SYN_RCVD)
		err = -ECONNREFUSED;
	if (c->state == TCP_CLOSING || c->state == TCP_LAST_ACK)
		err = 0;
	if (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT)
		a->t->n.estab_resets++;
	tcp_conn_end(a->t, c, err);
	return stop(a, DROP_TCP_RST);
}

/* Fourth. RFC 5961 §4.2. In SYN-RECEIVED a SYN in the window can only be forged: the peer's own was
 * before it. */
static enum tcp_step check_syn(struct arrival *a)
{
	if (!a->syn)
		return TCP_GO_ON;
	tcp_challenge_ack(a->t, a->c);
	return stop(a, DROP_TCP_RST_BLIND);
}

/* Fifth, SYN-RECEIVED: SND.UNA < SEG.ACK =< SND.NXT completes the handshake. */
static enum tcp_step check_ack_syn_rcvd(struct arrival *a)
{
	if (a->ack <= a->c->sent.una || a->ack > a->c->sent.nxt) {
		tcp_reply_rst(a->t, a->p, a->s);
		return stop(a, DROP_TCP_BAD_ACK);
	}
	a->c->snd_wl1 = a->seq - 1; /* so that this segment's window is taken */
	tcp_established(a->t, a->c);
	return TCP_GO_ON;
}

/* Fifth. RFC 5961 §5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT */
static enum tcp_step check_ack(struct arrival *a)
{
	struct tcp_conn *c = a->c;

	if (!(a->s->flags & TCP_ACK))
		return stop(a, DROP_TCP_NO_ACK);
	if (c->state == TCP_SYN_RCVD)
		return check_ack_syn_rcvd(a);
	if (a->ack > c->sent.nxt || a->ack + c->snd_wnd_max < c->sent.una) {
		tcp_challenge_ack(a->t, c);
		return stop(a, DROP_TCP_BAD_ACK);
	}
	return TCP_GO_ON;
}

/* RFC 7323 §4.3 (2), (3). Behind the checks of sequence number and ACK, so that a blind segment
 * can't poison it (H13). */
static void ts_recent_update(struct arrival *a)
{
	struct tcp_conn *c = a->c;

	if (!c->ts || !a->s->opts.have_ts || a->seq > c->last_ack_sent)
		return;
	if ((int32_t)(a->s->opts.ts_val - c->ts_recent) < 0 &&
	    tcp_age_clock(a->t) - c->ts_recent_at <= TCP_TS_VALID)
		return;
	c->ts_recent = a->s->opts.ts_val;
	c->ts_recent_at = tcp_age_clock(a->t);
}

/* Fifth, FIN-WAIT-1, CLOSING, LAST-ACK: is our FIN acknowledged? TCP_STOP: the connection is over,
 * or as good as. */
static enum tcp_step check_our_fin(struct arrival *a)
{
	struct tcp_conn *c = a->c;

	if (!tcp_fin_acked(c))
		return TCP_GO_ON;
	switch (c->state) {
	case TCP_FIN_WAIT_1:
		tcp_set_state(a->t, c, TCP_FIN_WAIT_2);
		tcp_event(a->t, c, TCP_EV_SENT_FIN);
		tcp_timer_orphaned(a->t, c);
		return TCP_GO_ON;
	case TCP_CLOSING:
		tcp_event(a->t, c, TCP_EV_SENT_FIN);
		tcp_time_wait(a->t, c);
		return stop(a, DROP_TCP_PURE_ACK);
	case TCP_LAST_ACK:
		tcp_event(a->t, c, TCP_EV_SENT_FIN);
		tcp_conn_end(a->t, c, 0);
		return stop(a, DROP_TCP_PURE_ACK);
	default:
		return TCP_GO_ON;
	}
}

/* Is there more to send than this segment asked for? */
static void output_if_any(struct tcp *t, struct tcp_conn *c)
{
	if (c->ack_now || c->sent.nxt < c->sndq.end_off + c->fin_queued || c->sent.lost_bytes > 0 ||
	    c->probe_due || c->tlp_due)
		tcp_want_output(t, c);
}

/* Sixth to eighth, with the headers cut off. */
static enum tcp_step take_contents(struct arrival *a)
{
	uint32_t len = (uint32_t)(a->end - a->seq);
	enum tcp_step step = TCP_STOP;

	if (a->s->flags & TCP_URG)
		tcp_urg_process(a->t, a->c, a->s, a->seq);
	a->p->drop = DROP_TCP_PURE_ACK;
	if (len > 0)
		step = tcp_data_process(a->t, a->c, a->p, a->seq, len);
	/* TCP_GO_ON here: the connection was reset. */
	if (step == TCP_GO_ON)
		return TCP_STOP;
	if (a->fin)
		tcp_fin_process(a->t, a->c, a->end);
	else if (unlikely(!a->c->fin_rcvd && tcp_rcvq_complete(&a->c->rcvq)))
		tcp_fin_process(a->t, a->c, a->c->rcvq.fin); /* the hole in front of it is filled */
	output_if_any(a->t, a->c);
	return step;
}

static enum tcp_step walk_steps(struct arrival *a)
{
	enum tcp_step (*const checks[])(struct arrival *) = {check_paws, check_sequence, check_rst,
							     check_syn, check_ack};

	for (unsigned i = 0; i < array_size(checks); i++)
		if (checks[i](a) != TCP_GO_ON)
			return TCP_STOP;
	ts_recent_update(a);
	tcp_timer_heard(a->t, a->c);
	tcp_ack_process(a->t, a->c, a->s, a->seq, a->ack);
	if (check_our_fin(a) != TCP_GO_ON)
		return TCP_STOP;
	return take_contents(a);
}

/* Both sides opened at once: the peer's SYN comes again, with the ACK that we wait for (RFC 9293
 * §3.5 figure 7, line 6). Strictly it lies before the window; by that each side would only tell the
 * other so. What follows its SYN is an ordinary segment. */
static bool crossing_syn_ack(const struct tcp_conn *c, const struct tcp_seg *s)
{
	return c->state == TCP_SYN_RCVD && !c->passive &&
	       (s->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) && s->seq == c->irs;
}

void tcp_segment_arrives(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s)
{
	struct arrival a = {.t = t, .c = c, .p = p, .s = s};

	a.seq = seq_unwrap(tcp_rcv_nxt(c), s->seq);
	a.syn = s->flags & TCP_SYN;
	if (a.syn && crossing_syn_ack(c, s)) {
		a.syn = false;
		a.seq++;
	}
	a.end = a.seq + s->len;
	a.ack = seq_unwrap(c->sent.una, s->ack);
	a.fin = s->flags & TCP_FIN;
	if (walk_steps(&a) != TCP_TAKEN)
		pkt_drop(t->cfg.drops, p->m, p->drop);
}

/* The SYN-ACK of an active open, whose SYN tcp_syn_sent_input has applied: from the fifth step on.
 */
void tcp_syn_ack_arrives(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s)
{
	struct arrival a = {.t = t, .c = c, .p = p, .s = s, .seq = c->rcvq.rcv_nxt};
	enum tcp_step step;

	a.end = a.seq + s->len;
	a.ack = seq_unwrap(c->sent.una, s->ack);
	a.fin = s->flags & TCP_FIN;
	cut_to_window(&a);
	step = check_ack_syn_rcvd(&a);
	ASSERT(step == TCP_GO_ON);
	tcp_ack_process(t, c, s, a.seq, a.ack);
	c->ack_now = true;
	if (step == TCP_GO_ON)
		step = take_contents(&a);
	if (step != TCP_TAKEN)
		pkt_drop(t->cfg.drops, p->m, p->drop);
}

/* TIME-WAIT: acknowledges what is sent again, survives resets (RFC 1337), makes place for a new
 * incarnation that is provably later (RFC 6191). */
static slow_path void time_wait_input(struct tcp *t, struct tcp_conn *c, struct pkt *p,
				      struct tcp_seg *s)
{
	uint64_t seq = seq_unwrap(tcp_rcv_nxt(c), s->seq);

	p->drop = DROP_TCP_CLOSED;
	if (s->flags & TCP_RST)
		goto drop;
	if ((s->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		bool later = c->ts && s->opts.have_ts ? (int32_t)(s->opts.ts_val - c->ts_recent) > 0
						      : seq > tcp_rcv_nxt(c);

		if (later) {
			t->n.time_wait_reused++;
			tcp_conn_end(t, c, 0);
			tcp_no_conn_input(t, p, s);
			return;
		}
	}
	if (s->flags & TCP_FIN || s->len > 0) {
		c->ack_now = true;
		tcp_want_output(t, c);
	} else if (s->flags & TCP_SYN || seq != tcp_rcv_nxt(c)) {
		tcp_challenge_ack(t, c);
	}
	if ((s->flags & TCP_FIN) && seq + s->len + 1 == tcp_rcv_nxt(c))
		tcp_timer_time_wait(t, c);
drop:
	pkt_drop(t->cfg.drops, p->m, p->drop);
}

static slow_path void slow_input(struct tcp *t, struct tcp_conn *c, struct pkt *p,
				 struct tcp_seg *s)
{
	switch (c->state) {
	case TCP_SYN_SENT:
		tcp_syn_sent_input(t, c, p, s);
		break;
	case TCP_TIME_WAIT:
		time_wait_input(t, c, p, s);
		break;
	default:
		tcp_segment_arrives(t, c, p, s);
	}
}

/* ---- the fast path --------------------------------------------------------------------------- */

/* Nothing of the connection needs attention: no hole, no loss, no probe, no end in sight. */
static inline bool conn_is_calm(const struct tcp_conn *c)
{
	return c->state == TCP_ESTABLISHED && c->rcvq.n_blocks == 0 &&
	       c->rcvq.fin == TCP_RCVQ_NO_FIN && c->cc.phase == TCP_CC_OPEN &&
	       c->sent.sacked_bytes == 0 && c->sent.lost_bytes == 0 && c->sent.rtx_bytes == 0 &&
	       !c->rcv_shut && !c->tlp.pending;
}

/* By its value, not by the field: a SYN's is not scaled (RFC 7323 §2.2). */
static inline bool same_window(const struct tcp_conn *c, const struct tcp_seg *s)
{
	return (uint32_t)s->wnd << c->snd_wscale == c->snd_wnd;
}

static inline bool fast_path_applies(const struct tcp_conn *c, const struct tcp_seg *s)
{
	uint32_t acked = s->ack - (uint32_t)c->sent.una;

	return (s->flags & ~TCP_PSH) == TCP_ACK && s->seq == (uint32_t)c->rcvq.rcv_nxt &&
	       (same_window(c, s) || (s->wnd != 0 && c->rtx_kind != TCP_RTX_PERSIST)) &&
	       s->opts.n_sack == 0 && s->opts.have_ts == c->ts &&
	       (!c->ts || (int32_t)(s->opts.ts_val - c->ts_recent) >= 0) &&
	       acked <= tcp_sent_outstanding(&c->sent) && (s->len > 0 || acked > 0) &&
	       s->len <= c->rcv_adv - c->rcvq.rcv_nxt && conn_is_calm(c);
}

/* A segment with the next sequence number and no old ACK is never older than the last update. The
 * peer's window moves with every segment that it takes, and by steps when it makes room. */
static inline void take_window(struct tcp_conn *c, uint16_t field)
{
	c->snd_wnd = (uint32_t)field << c->snd_wscale;
	if (c->snd_wnd > c->snd_wnd_max)
		c->snd_wnd_max = c->snd_wnd;
}

bool tcp_fast_path_applies(const struct tcp_conn *c, const struct tcp_seg *s)
{
	return fast_path_applies(c, s);
}

/* No text, or some that wants a closer look. */
static void fast_contents(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s,
			  uint64_t seq)
{
	p->drop = DROP_TCP_PURE_ACK;
	if (s->len == 0 || tcp_data_process(t, c, p, seq, s->len) == TCP_STOP)
		pkt_drop(t->cfg.drops, p->m, p->drop);
}

static inline void fast_input(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s)
{
	uint64_t seq = c->rcvq.rcv_nxt;

	t->n.fast_path_in += s->segs;
	c->data_segs_in += s->segs - 1u;
	if (c->ts && seq <= c->last_ack_sent) {
		c->ts_recent = s->opts.ts_val;
		c->ts_recent_at = tcp_age_clock(t);
	}
	tcp_timer_heard(t, c);
	if (!same_window(c, s))
		take_window(c, s->wnd);
	if (s->ack != (uint32_t)c->sent.una)
		tcp_ack_fast(t, c, s, seq, seq_unwrap(c->sent.una, s->ack));
	if (s->len == 0 || !tcp_data_fast(t, c, p, s->len))
		fast_contents(t, c, p, s, seq);
	output_if_any(t, c);
}

void tcp_input(struct tcp *t, struct pkt *p, struct tcp_seg *s)
{
	struct tcp_conn *c = s->conn;

	/* An earlier segment of the burst may have made the connection, or ended it. */
	if (c == NULL || unlikely(c->state == TCP_CLOSED || !tcp_key_matches(c, p))) {
		struct tcp_key key = tcp_key_of(p);

		c = tcp_find(t, &key, s->hash);
		if (c == NULL) {
			tcp_no_conn_input(t, p, s);
			return;
		}
	}
	c->segs_in += s->segs;
	c->last_rcv_ns = t->now_ns;
	if (likely(fast_path_applies(c, s)))
		fast_input(t, c, p, s);
	else
		slow_input(t, c, p, s);
	tcp_debug_check(t, c);
}
