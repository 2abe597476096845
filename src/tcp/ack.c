/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What an acknowledgement means: RFC 9293 §3.10.7.4 fifth, with RTT (6298, 7323), loss (8985 for
 * peers with SACK, 6582 without), congestion (5681), proportional rate reduction (6937), and the
 * undoing of retransmissions that were none of the network's fault (3522, 2883).
 *
 *	                 loss found                    una >= recover
 *	   TCP_CC_OPEN ─────────────► TCP_CC_RECOVERY ────────────────► TCP_CC_OPEN
 *	        │                          │ RTO                            ▲
 *	        └──────── RTO ─────► TCP_CC_LOSS ───────────────────────────┘
 *
 * An episode (from leaving OPEN to coming back) is undone when its first ACK echoes a timestamp
 * from before the retransmission (Eifel), or when every retransmission of it was reported as
 * duplicate.
 *
 * DEVIATION(RFC 6582 §3.2): what a duplicate ACK takes out of the network is taken off the pipe,
 * instead of being added to cwnd; this is limited transmit (RFC 3042) and window inflation at once.
 *
 * Not done: F-RTO (RFC 5682) for peers without timestamps: D-SACK tells them.
 */
#include "tcp/tcp_priv.h"

/* One acknowledgement on its way through. */
struct ack {
	const struct tcp_seg *s;
	uint64_t ack;
	uint64_t field;	 /* the ack of the segment, maybe older than una */
	uint64_t flight; /* before it */
	bool advanced;
	bool window_moved;
	bool dsack;
	struct tcp_range dsack_range;
	struct tcp_sent_ack a;
};

void tcp_cc_mss_update(struct tcp_conn *c)
{
	tcp_cc_set_mss(&c->cc, c->mss, c->state < TCP_ESTABLISHED);
	if (c->state < TCP_ESTABLISHED && c->syn_rtx)
		c->cc.cwnd_bytes = c->mss; /* RFC 6928 §2 */
}

/* Without SACK each duplicate ACK says that a segment arrived, not which. */
static uint64_t dupack_credit(const struct tcp_conn *c)
{
	return c->sack || c->repair == NULL ? 0 : (uint64_t)c->repair->rack.dupacks * c->mss;
}

uint64_t tcp_pipe(const struct tcp_conn *c)
{
	uint64_t pipe = tcp_sent_pipe(&c->sent), credit = dupack_credit(c);

	return pipe > credit ? pipe - credit : 0;
}

uint64_t tcp_cwnd(const struct tcp_conn *c)
{
	if (c->cc.phase == TCP_CC_RECOVERY && c->repair != NULL)
		return c->repair->prr_cwnd;
	return c->cc.cwnd_bytes;
}

/* ---- episodes of repair ---------------------------------------------------------------------- */

struct tcp_repair *tcp_repair_get(struct tcp *t, struct tcp_conn *c)
{
	if (c->repair != NULL)
		return c->repair;
	c->repair = tcp_mem_get(&t->mem, sizeof(*c->repair));
	if (c->repair == NULL)
		return NULL;
	*c->repair = (struct tcp_repair){0};
	tcp_rack_init(&c->repair->rack, c->sent.una);
	return c->repair;
}

/* Nothing is in flight: an idle connection holds no memory for what might be. */
static inline void scoreboard_idle(struct tcp *t, struct tcp_conn *c)
{
	if (likely(c->sent.cap == TCP_SENT_INLINE && c->repair == NULL))
		return;
	if (c->sent.cap != TCP_SENT_INLINE)
		tcp_sent_fini(&c->sent, &t->mem);
	if (c->repair != NULL)
		tcp_rack_fini(&c->repair->rack, &t->mem);
}

void tcp_repair_free(struct tcp *t, struct tcp_conn *c)
{
	if (c->repair == NULL)
		return;
	tcp_rack_fini(&c->repair->rack, &t->mem);
	tcp_mem_put(&t->mem, c->repair, sizeof(*c->repair));
	c->repair = NULL;
}

static void dupacks_clear(struct tcp_conn *c)
{
	if (c->repair != NULL)
		tcp_rack_dupack_clear(&c->repair->rack);
}

static void episode_begin(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_repair *r = tcp_repair_get(t, c);

	c->recover = c->sent.nxt;
	c->undo = r != NULL;
	c->eifel = r != NULL && c->ts;
	if (r == NULL)
		return;
	r->undo_una = c->sent.una;
	r->undo_rtx = 0;
	r->undo_ts = tcp_ts_now(t, c);
}

/* The caller has seen that there is a tcp_repair. */
static void enter_recovery(struct tcp *t, struct tcp_conn *c)
{
	uint64_t flight = tcp_sent_outstanding(&c->sent);
	struct tcp_repair *r = c->repair;

	episode_begin(t, c);
	t->n.fast_recoveries++;
	c->cc.ops->on_loss_event(&c->cc, flight, t->now_ns);
	r->prr_delivered = 0;
	r->prr_out = 0;
	r->prr_flight = flight;
	r->prr_cwnd = tcp_pipe(c) + c->mss; /* RFC 6937 §3: the first goes out at once */
	c->tlp.pending = false;
	c->tlp_due = false;
}

/* Reported congestion, without a retransmission of which we know (a tail loss probe did it). */
static void congestion_only(struct tcp *t, struct tcp_conn *c)
{
	c->cc.ops->on_loss_event(&c->cc, tcp_sent_outstanding(&c->sent), t->now_ns);
	c->cc.ops->on_exit_recovery(&c->cc, t->now_ns);
}

static void episode_end(struct tcp *t, struct tcp_conn *c)
{
	c->cc.ops->on_exit_recovery(&c->cc, t->now_ns);
	if (c->repair != NULL)
		tcp_rack_recovered(&c->repair->rack);
	dupacks_clear(c);
	c->eifel = false; /* D-SACKs come a round trip later: undo stays */
}

static void undo_episode(struct tcp *t, struct tcp_conn *c)
{
	if (c->cc.phase == TCP_CC_LOSS)
		t->n.spurious_rtos++;
	tcp_sent_unmark_lost(&c->sent);
	tcp_rack_rewind(&c->repair->rack, c->sent.una);
	c->cc.ops->on_spurious(&c->cc, t->now_ns);
	if (c->cc.phase != TCP_CC_OPEN)
		c->cc.ops->on_exit_recovery(&c->cc, t->now_ns);
	tcp_rtt_backoff_clear(&c->rtt);
	dupacks_clear(c);
	c->undo = false;
	c->eifel = false;
}

/* RFC 3522 §3.2: the first ACK that comes in answers the original, if what it echoes is older than
 * the retransmission. */
static void eifel_check(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	if (!c->eifel || !k->advanced || c->repair->undo_rtx == 0)
		return;
	c->eifel = false;
	if (k->s->opts.have_ts && (int32_t)(k->s->opts.ts_ecr - c->repair->undo_ts) < 0)
		undo_episode(t, c);
}

/* RFC 3708: all retransmissions of the episode arrived twice. */
static void dsack_undo_check(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	struct tcp_repair *r = c->repair;

	if (!c->undo || !k->dsack || r->undo_rtx == 0 || k->dsack_range.start < r->undo_una ||
	    k->dsack_range.end > c->recover)
		return;
	if (--r->undo_rtx == 0)
		undo_episode(t, c);
}

/* ---- loss ------------------------------------------------------------------------------------ */

static struct tcp_rack_env rack_env(const struct tcp *t, const struct tcp_conn *c)
{
	uint32_t min_us = tcp_rtt_min_us(&c->rtt, t->now_ns);

	return (struct tcp_rack_env){
		.now_ns = t->now_ns,
		.min_rtt_ns = min_us == TCP_RTT_NONE ? 0 : min_us * 1000ull,
		.srtt_ns = tcp_rtt_srtt_us(&c->rtt) * 1000ull,
		.mss = c->mss,
		.in_recovery = c->cc.phase != TCP_CC_OPEN,
	};
}

void tcp_loss_detect(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_rack_env e = rack_env(t, c);
	struct tcp_repair *r = tcp_repair_get(t, c);
	uint64_t deadline;

	if (r == NULL)
		return;
	if (tcp_rack_detect(&r->rack, &c->sent, &e, &deadline) > 0)
		t->n.rack_losses++;
	if (c->cc.phase == TCP_CC_OPEN && tcp_sent_next_lost(&c->sent) >= 0)
		enter_recovery(t, c);
	if (deadline != TCP_RACK_NEVER)
		tcp_timer_reorder(t, c, deadline);
}

/* RFC 5681 §2: nothing new, no data, no change of window, and something is outstanding. */
static bool is_duplicate(const struct tcp_conn *c, const struct ack *k)
{
	return !k->advanced && !k->window_moved && k->s->len == 0 && k->ack == c->sent.una &&
	       !(k->s->flags & (TCP_SYN | TCP_FIN)) && tcp_sent_outstanding(&c->sent) > 0;
}

/* Peers without SACK: RFC 5681 §3.2, RFC 6582 §3.2. */
static void newreno(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	struct tcp_repair *r;

	if (k->advanced) {
		dupacks_clear(c);
		if (c->cc.phase == TCP_CC_RECOVERY && c->sent.una < c->recover)
			(void)tcp_rack_partial_ack(&c->sent, &t->mem, c->mss);
		return;
	}
	/* §3.2 step 2: duplicates of retransmissions after a time-out start nothing new. */
	if (!is_duplicate(c, k) || (c->cc.phase == TCP_CC_OPEN && c->sent.una < c->recover))
		return;
	r = tcp_repair_get(t, c);
	if (r != NULL && tcp_rack_dupack(&r->rack, &c->sent, &t->mem, c->mss) &&
	    c->cc.phase == TCP_CC_OPEN)
		enter_recovery(t, c);
}

/* RFC 6937 §3, with its slow-start reduction bound:
 *	pipe > ssthresh:  sndcnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out
 *	else:             sndcnt = MIN(ssthresh - pipe, MAX(prr_delivered - prr_out, DeliveredData)
 *+ MSS) cwnd = pipe + sndcnt */
static void prr_update(struct tcp_conn *c, const struct ack *k)
{
	uint64_t delivered = k->a.acked_bytes + k->a.sacked_bytes;
	uint64_t pipe = tcp_pipe(c), ssthresh = c->cc.ssthresh_bytes, allowed;
	struct tcp_repair *r = c->repair;

	if (!c->sack && is_duplicate(c, k))
		delivered = c->mss;
	r->prr_delivered += delivered;
	if (pipe > ssthresh) {
		unsigned __int128 n = (unsigned __int128)r->prr_delivered * ssthresh;

		allowed = (uint64_t)((n + r->prr_flight - 1) / r->prr_flight);
		allowed = allowed > r->prr_out ? allowed - r->prr_out : 0;
	} else {
		allowed = r->prr_delivered > r->prr_out ? r->prr_delivered - r->prr_out : 0;
		if (allowed < delivered)
			allowed = delivered;
		allowed += c->mss;
		if (allowed > ssthresh - pipe)
			allowed = ssthresh - pipe;
	}
	/* The fast retransmission itself; RFC 6582 §3.2 step 3: that of a partial ACK. And never a
	 * part of a segment: nothing else may come that adds to it. */
	if (r->prr_out == 0 || (!c->sack && k->advanced) || allowed > 0)
		allowed = allowed > c->mss ? allowed : c->mss;
	r->prr_cwnd = pipe + allowed;
}

/* ---- samples --------------------------------------------------------------------------------- */

/* By Karn's rule from the scoreboard, else RFC 7323 §4.1 from the echo, whose clock counts whole
 * milliseconds: one is added, so that the least RTT is not thought to be 0. */
static uint32_t rtt_sample(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	uint32_t us, ms;

	if (k->a.sample_valid) {
		us = (uint32_t)((t->now_ns - k->a.sample_ns) / 1000);
	} else if (k->advanced && c->ts && k->s->opts.have_ts && k->s->opts.ts_ecr != 0) {
		ms = tcp_ts_now(t, c) - k->s->opts.ts_ecr;
		if (ms > 3600000)
			return 0; /* nonsense, or forged */
		us = ms * 1000 + 1000;
	} else {
		return 0;
	}
	us = us != 0 ? us : 1;
	tcp_rtt_sample(&c->rtt, us, t->now_ns);
	return us;
}

/* RFC 2883 §4: the first block lies below the acknowledgement, or within the second. */
static void find_dsack(const struct tcp_conn *c, struct ack *k, const struct tcp_sack_range *b,
		       unsigned n)
{
	if (n == 0 || b[0].start >= b[0].end)
		return;
	if (b[0].end > k->field && !(n > 1 && b[0].start >= b[1].start && b[0].end <= b[1].end))
		return;
	k->dsack = true;
	k->dsack_range = (struct tcp_range){b[0].start, b[0].end};
}

static void sack_process(struct tcp *t, struct tcp_conn *c, struct ack *k)
{
	struct tcp_sack_range b[TCP_SACK_MAX];
	unsigned n = k->s->opts.n_sack;

	for (unsigned i = 0; i < n; i++) {
		b[i].start = seq_unwrap(k->ack, k->s->opts.sack[i].start);
		b[i].end = seq_unwrap(k->ack, k->s->opts.sack[i].end);
	}
	find_dsack(c, k, b, n);
	if (k->dsack) {
		t->n.dsack_recv++;
		TCP_SATURATE(c->dsack_dups, UINT32_MAX);
		if (tcp_repair_get(t, c) != NULL)
			tcp_rack_dsack(&c->repair->rack, c->sent.una, c->sent.nxt);
	}
	t->n.sack_blocks += n;
	if (tcp_sent_outstanding(&c->sent) > 0)
		tcp_sent_sack(&c->sent, &t->mem, b, n, &k->a);
}

static void tlp_process(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	struct tcp_tlp_ack a = {.una = k->ack,
				.dsack_of_end = k->dsack && k->dsack_range.end == c->tlp.end,
				.bare_dup = is_duplicate(c, k) && k->s->opts.n_sack == 0};

	if (!tcp_tlp_acked(&c->tlp, &a))
		return;
	t->n.tlp_recoveries++;
	if (c->cc.phase == TCP_CC_OPEN)
		congestion_only(t, c);
}

/* ---- congestion window ----------------------------------------------------------------------- */

/* RFC 7661: growth is earned by a window that was used. In slow start half of it is enough, since
 * it doubles. */
static bool app_limited(const struct tcp_conn *c, uint64_t flight)
{
	if (c->cwnd_used)
		return false;
	if (tcp_cc_slow_start(&c->cc))
		return flight * 2 < c->cc.cwnd_bytes;
	return flight + 2ull * c->mss < c->cc.cwnd_bytes;
}

static void cwnd_update(struct tcp *t, struct tcp_conn *c, const struct ack *k, uint32_t rtt_us)
{
	struct tcp_cc_ack a = {
		.acked_bytes = k->a.acked_bytes + k->a.sacked_bytes,
		.flight_bytes = tcp_sent_outstanding(&c->sent),
		.now_ns = t->now_ns,
		.rtt_us = rtt_us,
		.app_limited = app_limited(c, k->flight),
	};

	if (c->cc.phase == TCP_CC_RECOVERY)
		prr_update(c, k);
	else if (a.acked_bytes > 0)
		c->cc.ops->on_ack(&c->cc, &a);
}

/* Twice what may be in flight keeps the application a round trip ahead. */
static void sndbuf_grow(struct tcp *t, struct tcp_conn *c)
{
	uint64_t want = 2 * c->cc.cwnd_bytes;

	if (!c->snd_auto || want <= c->sndbuf)
		return;
	c->sndbuf = want < t->cfg.sndbuf_max_bytes ? (uint32_t)want : t->cfg.sndbuf_max_bytes;
}

/* ---- window ---------------------------------------------------------------------------------- */

/* RFC 9293 §3.10.7.4: the window of a segment that is newer than the one of the last update. */
static bool window_update(struct tcp_conn *c, const struct tcp_seg *s, uint64_t seq, uint64_t ack)
{
	uint32_t wnd = (uint32_t)s->wnd << ((s->flags & TCP_SYN) ? 0 : c->snd_wscale);
	bool moved;

	if (ack < c->sent.una || c->snd_wl1 > seq || (c->snd_wl1 == seq && c->snd_wl2 > ack))
		return false;
	moved = wnd != c->snd_wnd;
	c->snd_wnd = wnd;
	c->snd_wl1 = seq;
	c->snd_wl2 = ack;
	if (wnd > c->snd_wnd_max)
		c->snd_wnd_max = wnd;
	return moved;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void advance_una(struct tcp *t, struct tcp_conn *c, struct ack *k)
{
	uint64_t data = k->ack < c->sndq.end_off ? k->ack : c->sndq.end_off;

	tcp_sent_ack(&c->sent, k->ack, &k->a);
	tcp_sndq_ack(&c->sndq, data);
	c->stuck_ms = t->now_ms;
	c->retries = 0;
	tcp_rtt_backoff_clear(&c->rtt);
	tcp_event(t, c, TCP_EV_SPACE);
}

/* Is anything but plain progress known? Then RACK has nothing to find, and need not be told: all
 * that was delivered was sent before all that is not. */
static bool in_trouble(const struct tcp_conn *c, const struct ack *k)
{
	if (!c->sack && (!k->advanced || c->repair != NULL))
		return true; /* duplicates are counted */
	return c->cc.phase != TCP_CC_OPEN || k->a.sacked_bytes > 0 || c->sent.sacked_bytes > 0 ||
	       c->sent.lost_bytes > 0 || c->sent.rtx_bytes > 0 || k->a.newest_rtx;
}

static slow_path void repair(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	if (!c->sack) {
		newreno(t, c, k);
		return;
	}
	if (tcp_repair_get(t, c) == NULL)
		return;
	tcp_rack_acked(&c->repair->rack, &k->a);
	if (tcp_sent_outstanding(&c->sent) > 0)
		tcp_loss_detect(t, c);
}

static slow_path void ack_in_trouble(struct tcp *t, struct tcp_conn *c, const struct ack *k)
{
	eifel_check(t, c, k);
	dsack_undo_check(t, c, k);
	if (c->cc.phase != TCP_CC_OPEN && c->sent.una >= c->recover)
		episode_end(t, c);
}

static void ack_init(struct tcp *t, struct tcp_conn *c, struct ack *k)
{
	k->a.now_ns = t->now_ns;
	k->a.mss = c->mss;
	/* Only answers to retransmissions are compared with the least RTT. */
	if (unlikely(c->sent.rtx_bytes > 0)) {
		uint32_t min_us = tcp_rtt_min_us(&c->rtt, t->now_ns);

		k->a.min_rtt_ns = min_us == TCP_RTT_NONE ? 0 : min_us * 1000ull;
	}
}

void tcp_ack_process(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s, uint64_t seq,
		     uint64_t ack)
{
	struct ack k = {.s = s, .ack = ack, .field = ack, .flight = tcp_sent_outstanding(&c->sent)};
	uint32_t rtt_us;

	c->last_ack_ms = t->now_ms;
	if (ack < c->sent.una)
		k.ack = c->sent.una; /* old: says nothing but by its SACK blocks */
	k.advanced = ack > c->sent.una;
	ack_init(t, c, &k);
	k.window_moved = window_update(c, s, seq, ack);
	if (k.advanced)
		advance_una(t, c, &k);
	if (c->sack && s->opts.n_sack > 0)
		sack_process(t, c, &k);
	rtt_us = rtt_sample(t, c, &k);
	if (c->tlp.pending)
		tlp_process(t, c, &k);
	if (k.advanced || k.a.sacked_bytes > 0)
		tcp_timer_acked(t, c);
	if (k.flight > 0 && unlikely(in_trouble(c, &k)))
		repair(t, c, &k);
	if (unlikely(c->cc.phase != TCP_CC_OPEN || k.dsack))
		ack_in_trouble(t, c, &k);
	if (k.advanced || k.a.sacked_bytes > 0 || c->cc.phase == TCP_CC_RECOVERY)
		cwnd_update(t, c, &k, rtt_us);
	sndbuf_grow(t, c);
	if (k.window_moved)
		tcp_timer_unblocked(t, c);
	if (tcp_sent_outstanding(&c->sent) == 0)
		scoreboard_idle(t, c);
}

/* In slow start a window that was not used does not grow, and its algorithm keeps no time: nothing
 * is to be told. */
static inline bool growth_is_unearned(const struct tcp_conn *c, uint64_t flight)
{
	return !c->cwnd_used && tcp_cc_slow_start(&c->cc) && flight * 2 < c->cc.cwnd_bytes;
}

static inline void grow(struct tcp *t, struct tcp_conn *c, uint64_t acked, uint64_t flight,
			uint32_t rtt_us)
{
	struct tcp_cc_ack a = {
		.acked_bytes = acked,
		.flight_bytes = tcp_sent_outstanding(&c->sent),
		.now_ns = t->now_ns,
		.rtt_us = rtt_us,
		.app_limited = app_limited(c, flight),
	};

	c->cc.ops->on_ack(&c->cc, &a);
	sndbuf_grow(t, c);
}

/* tcp_ack_process for the fast path (input.c), which has asked whether anything is amiss: new data
 * is acknowledged, in order, nothing is lost, probed for or told by SACK, the window is as it was.
 * What is still outstanding was sent after what was delivered, so RACK has nothing to detect. */
void tcp_ack_fast(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s, uint64_t seq,
		  uint64_t ack)
{
	uint64_t flight = tcp_sent_outstanding(&c->sent), acked = ack - c->sent.una, xmit_ns;
	uint32_t rtt_us;

	if (unlikely(!tcp_sent_ack_clean(&c->sent, ack, &xmit_ns))) {
		tcp_ack_process(t, c, s, seq, ack);
		return;
	}
	c->last_ack_ms = t->now_ms;
	c->snd_wl1 = seq;
	c->snd_wl2 = ack;
	tcp_sndq_ack(&c->sndq, ack < c->sndq.end_off ? ack : c->sndq.end_off);
	c->stuck_ms = t->now_ms;
	c->retries = 0;
	tcp_event(t, c, TCP_EV_SPACE);
	rtt_us = (uint32_t)((t->now_ns - xmit_ns) / 1000);
	rtt_us = rtt_us != 0 ? rtt_us : 1;
	tcp_rtt_sample(&c->rtt, rtt_us, t->now_ns);
	if (unlikely(c->repair != NULL))
		tcp_rack_in_order(&c->repair->rack, t->now_ns, xmit_ns, ack);
	tcp_timer_acked(t, c);
	if (!growth_is_unearned(c, flight))
		grow(t, c, acked, flight, rtt_us);
	if (tcp_sent_outstanding(&c->sent) == 0)
		scoreboard_idle(t, c);
}

/* RFC 6298 §5.4 to §5.7, RFC 8985 §6.3. The caller knows that it is not time to give up. */
void tcp_rto_expired(struct tcp *t, struct tcp_conn *c)
{
	struct tcp_rack_env e = rack_env(t, c);
	bool reneged = c->sent.count > 0 && (tcp_sent_at(&c->sent, 0)->flags & TCP_SENT_SACKED);

	struct tcp_repair *r;

	t->n.timeouts++;
	if (c->cc.phase != TCP_CC_LOSS)
		episode_begin(t, c);
	c->recover = c->sent.nxt;
	r = c->repair;
	if (reneged || r == NULL) { /* RFC 2018 §8: the peer may have dropped what it held */
		tcp_sent_mark_all_lost(&c->sent, true);
		if (r != NULL)
			tcp_rack_rewind(&r->rack, c->sent.una);
	} else {
		(void)tcp_rack_rto(&r->rack, &c->sent, &e);
	}
	dupacks_clear(c);
	c->tlp.pending = false;
	if (tcp_synchronized(c))
		c->cc.ops->on_rto(&c->cc, tcp_sent_outstanding(&c->sent), t->now_ns);
	else
		c->syn_rtx = true;
	tcp_rtt_backoff(&c->rtt);
}
