/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which timer follows what, and what happens when one expires. The rest of the engine says what
 * happened; only this file knows the policy.
 *
 *	sending    one of: RTO (RFC 6298), tail loss probe and reordering (RFC 8985 §7, §6.2),
 *	           persist (RFC 9293 §3.8.6.1), push (what cork or the silly window rule held back)
 *	receiving  delayed ACK (RFC 9293 §3.8.6.3)
 *	life       keepalive (§3.8.4), FIN-WAIT-2 without a user, TIME-WAIT (§3.6.1)
 *
 * The earliest of the three is in the wheel, or an earlier time: what moves to later, or is
 * stopped, costs one store, and is found out when the wheel comes to where it was.
 *
 * How long a peer may leave us without an answer: R2 of §3.8.3 (cfg.retries_us, or the user's
 * time-out of RFC 5482), measured from the last progress. A connection without a user gets
 * ORPHAN_US at most, also when the peer keeps answering that its window is closed (H16).
 */
#include "tcp/tcp_priv.h"

#define ORPHAN_US 100000000ull /* RFC 9293 §3.8.3: R2 is at least 100 s */
#define PUSH_US	  200000u

static void arm(struct tcp *t, struct tcp_conn *c)
{
	uint64_t at = c->rtx_at_ns;

	if (c->delack_at_ns < at)
		at = c->delack_at_ns;
	if (c->life_at_ns < at)
		at = c->life_at_ns;
	wheel_arm(&t->wheel, &c->timer, at);
}

/* One of the three is at `at_ns` now. A node that the wheel has just given out counts as armed: it
 * is put back when all three were looked at. */
static inline void arm_by(struct tcp *t, struct tcp_conn *c, uint64_t at_ns)
{
	if (at_ns < c->timer.deadline_ns)
		wheel_arm(&t->wheel, &c->timer, at_ns);
}

static inline void stop_rtx(struct tcp_conn *c)
{
	c->rtx_kind = TCP_RTX_NONE;
	c->rtx_at_ns = TCP_NEVER;
}

static inline void arm_rtx(struct tcp *t, struct tcp_conn *c, enum tcp_rtx_kind kind, uint64_t us)
{
	c->rtx_kind = kind;
	c->rtx_at_ns = t->now_ns + us * 1000;
	arm_by(t, c, c->rtx_at_ns);
}

/* ---- what happened: sending ------------------------------------------------------------------ */

/* RFC 8985 §7.2 */
static bool tlp_allowed(const struct tcp_conn *c)
{
	return c->sack && c->cc.phase == TCP_CC_OPEN && c->sent.sacked_bytes == 0 &&
	       c->sent.lost_bytes == 0 && !c->tlp.pending && c->rtt.backoff == 0 &&
	       tcp_rtt_known(&c->rtt) && tcp_synchronized(c);
}

/* The probe if there may be one before the time-out, else the time-out. */
static void arm_tlp_or_rto(struct tcp *t, struct tcp_conn *c)
{
	uint32_t rto_us = tcp_rtt_rto_us(&c->rtt), pto_us = rto_us;

	if (tlp_allowed(c))
		pto_us = tcp_tlp_pto_us(tcp_rtt_srtt_us(&c->rtt), tcp_sent_outstanding(&c->sent),
					c->mss, t->cfg.delack_us, rto_us);
	arm_rtx(t, c, pto_us < rto_us ? TCP_RTX_TLP : TCP_RTX_RTO, pto_us);
}

/* RFC 6298 §5.1: a time-out that runs goes on. RFC 8985 §7.2: a probe is put off by each segment.
 */
void tcp_timer_data_sent(struct tcp *t, struct tcp_conn *c)
{
	if (c->rtx_kind == TCP_RTX_RTO || c->rtx_kind == TCP_RTX_REORDER)
		return;
	arm_tlp_or_rto(t, c);
}

/* RFC 6298 §5.2, §5.3 */
void tcp_timer_acked(struct tcp *t, struct tcp_conn *c)
{
	if (tcp_sent_outstanding(&c->sent) == 0)
		stop_rtx(c);
	else
		arm_tlp_or_rto(t, c);
}

void tcp_timer_reorder(struct tcp *t, struct tcp_conn *c, uint64_t at_ns)
{
	if (c->rtx_kind == TCP_RTX_RTO && c->rtx_at_ns <= at_ns)
		return;
	c->rtx_kind = TCP_RTX_REORDER;
	c->rtx_at_ns = at_ns;
	arm_by(t, c, at_ns);
}

void tcp_timer_blocked(struct tcp *t, struct tcp_conn *c, bool by_window)
{
	if (c->rtx_kind != TCP_RTX_NONE && !(by_window && c->rtx_kind == TCP_RTX_PUSH))
		return;
	if (by_window)
		arm_rtx(t, c, TCP_RTX_PERSIST, tcp_rtt_rto_us(&c->rtt));
	else
		arm_rtx(t, c, TCP_RTX_PUSH, PUSH_US);
}

void tcp_timer_unblocked(struct tcp *t, struct tcp_conn *c)
{
	if (c->rtx_kind != TCP_RTX_PERSIST || c->snd_wnd == 0)
		return;
	c->probes = 0;
	tcp_rtt_backoff_clear(&c->rtt);
	stop_rtx(c);
}

/* ---- what happened: receiving ---------------------------------------------------------------- */

void tcp_timer_ack_owed(struct tcp *t, struct tcp_conn *c)
{
	if (c->delack_at_ns != TCP_NEVER)
		return;
	c->delack_at_ns = t->now_ns + t->cfg.delack_us * 1000ull;
	arm_by(t, c, c->delack_at_ns);
}

void tcp_timer_ack_sent(struct tcp *t, struct tcp_conn *c)
{
	c->delack_at_ns = TCP_NEVER;
}

/* ---- what happened: life --------------------------------------------------------------------- */

static void arm_life(struct tcp *t, struct tcp_conn *c, uint64_t at_ns)
{
	c->life_at_ns = at_ns;
	arm_by(t, c, at_ns);
}

void tcp_timer_established(struct tcp *t, struct tcp_conn *c)
{
	if (c->keepalive && c->state != TCP_TIME_WAIT)
		arm_life(t, c, c->last_rcv_ns + c->keepidle_s * 1000000000ull);
}

void tcp_timer_heard(struct tcp *t, struct tcp_conn *c)
{
	c->probes = 0;
}

void tcp_timer_orphaned(struct tcp *t, struct tcp_conn *c)
{
	if (c->orphan && c->state == TCP_FIN_WAIT_2)
		arm_life(t, c, t->now_ns + c->linger2_s * 1000000000ull);
}

void tcp_timer_time_wait(struct tcp *t, struct tcp_conn *c)
{
	stop_rtx(c);
	arm_life(t, c, t->now_ns + 2000ull * t->cfg.msl_us);
}

void tcp_timer_stop(struct tcp *t, struct tcp_conn *c)
{
	c->rtx_kind = TCP_RTX_NONE;
	c->rtx_at_ns = c->delack_at_ns = c->life_at_ns = TCP_NEVER;
	wheel_cancel(&t->wheel, &c->timer);
}

/* ---- expiry ---------------------------------------------------------------------------------- */

/* RFC 9293 §3.8.3: a reason learned from ICMP is better than none. */
static void give_up(struct tcp *t, struct tcp_conn *c)
{
	t->n.aborts_timeout++;
	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD)
		t->n.attempt_fails++;
	tcp_conn_end(t, c, c->soft_err != 0 ? c->soft_err : -ETIMEDOUT);
}

static uint64_t patience_us(const struct tcp *t, const struct tcp_conn *c)
{
	uint64_t us = c->user_timeout_ms != 0 ? c->user_timeout_ms * 1000ull : t->cfg.retries_us;

	return c->orphan && us > ORPHAN_US ? ORPHAN_US : us;
}

static bool stuck_too_long(const struct tcp *t, const struct tcp_conn *c)
{
	return t->now_ms - c->stuck_ms >= patience_us(t, c) / 1000;
}

static bool silent_too_long(const struct tcp *t, const struct tcp_conn *c)
{
	return t->now_ns - c->last_rcv_ns >= patience_us(t, c) * 1000;
}

/* RFC 9293 §3.8.6: a peer that closed its window over what is in flight, and answers, is waited for
 * as long as by the persist timer. */
static bool rto_hopeless(const struct tcp *t, const struct tcp_conn *c)
{
	if (c->snd_wnd == 0 && !c->orphan && c->user_timeout_ms == 0)
		return c->last_rcv_ns < c->last_snd_ns && silent_too_long(t, c);
	return stuck_too_long(t, c);
}

/* False: the connection is over. */
static bool rto_fired(struct tcp *t, struct tcp_conn *c)
{
	bool opening = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RCVD;

	if (opening ? c->retries >= t->cfg.syn_retries : rto_hopeless(t, c)) {
		give_up(t, c);
		return false;
	}
	TCP_SATURATE(c->retries, UINT8_MAX);
	tcp_rto_expired(t, c);
	arm_rtx(t, c, TCP_RTX_RTO, tcp_rtt_rto_us(&c->rtt)); /* RFC 6298 §5.6 */
	return true;
}

static void tlp_fired(struct tcp *t, struct tcp_conn *c)
{
	c->tlp_due = tlp_allowed(c);
	arm_rtx(t, c, TCP_RTX_RTO, tcp_rtt_rto_us(&c->rtt)); /* RFC 8985 §7.3 */
}

static void reorder_fired(struct tcp *t, struct tcp_conn *c)
{
	arm_rtx(t, c, TCP_RTX_RTO, tcp_rtt_rto_us(&c->rtt));
	tcp_loss_detect(t, c);
}

/* RFC 9293 §3.8.6.1, MUST-36, MUST-37: as long as the peer answers, we go on; it must answer,
 * though, and the user may have set a limit. With a small window the override of §3.8.6.2.1 (4)
 * applies. */
static bool persist_fired(struct tcp *t, struct tcp_conn *c)
{
	bool limited = c->user_timeout_ms != 0 || c->orphan;

	if (limited ? stuck_too_long(t, c) : c->probes > 0 && silent_too_long(t, c)) {
		t->n.persist_drops++;
		give_up(t, c);
		return false;
	}
	if (c->snd_wnd > 0) {
		c->push = true;
	} else {
		c->probe_due = true;
		t->n.zero_window_probes++;
		TCP_SATURATE(c->probes, UINT8_MAX);
	}
	tcp_rtt_backoff(&c->rtt);
	arm_rtx(t, c, TCP_RTX_PERSIST, tcp_rtt_rto_us(&c->rtt));
	return true;
}

static bool rtx_fired(struct tcp *t, struct tcp_conn *c)
{
	enum tcp_rtx_kind kind = c->rtx_kind;

	stop_rtx(c);
	tcp_want_output(t, c);
	switch (kind) {
	case TCP_RTX_NONE:
		return true;
	case TCP_RTX_RTO:
		return rto_fired(t, c);
	case TCP_RTX_TLP:
		tlp_fired(t, c);
		return true;
	case TCP_RTX_REORDER:
		reorder_fired(t, c);
		return true;
	case TCP_RTX_PERSIST:
		return persist_fired(t, c);
	case TCP_RTX_PUSH:
		c->push = true;
		return true;
	}
	return true;
}

/* RFC 9293 §3.8.4 */
static bool keepalive_fired(struct tcp *t, struct tcp_conn *c)
{
	uint64_t due = c->last_rcv_ns + c->keepidle_s * 1000000000ull;

	if (!c->keepalive || !tcp_synchronized(c))
		return true;
	if (c->probes == 0 && (due > t->now_ns || tcp_sent_outstanding(&c->sent) > 0)) {
		arm_life(t, c, due > t->now_ns ? due : t->now_ns + c->keepidle_s * 1000000000ull);
		return true;
	}
	if (c->probes >= c->keepcnt) {
		give_up(t, c);
		return false;
	}
	c->probes++;
	c->probe_due = true;
	t->n.keepalive_probes++;
	tcp_want_output(t, c);
	arm_life(t, c, t->now_ns + c->keepintvl_s * 1000000000ull);
	return true;
}

static bool life_fired(struct tcp *t, struct tcp_conn *c)
{
	c->life_at_ns = TCP_NEVER;
	if (c->state == TCP_TIME_WAIT || (c->state == TCP_FIN_WAIT_2 && c->orphan)) {
		tcp_conn_end(t, c, 0);
		return false;
	}
	return keepalive_fired(t, c);
}

static void expired(struct tcp *t, struct tcp_conn *c)
{
	if (c->delack_at_ns <= t->now_ns) {
		c->delack_at_ns = TCP_NEVER;
		c->ack_now = true;
		t->n.delayed_acks++;
		tcp_want_output(t, c);
	}
	if (c->rtx_at_ns <= t->now_ns && !rtx_fired(t, c))
		return;
	if (c->life_at_ns <= t->now_ns && !life_fired(t, c))
		return;
	arm(t, c);
	tcp_debug_check(t, c);
}

unsigned tcp_expire(struct tcp *t, unsigned budget)
{
	unsigned left = budget;
	struct wheel_node *n;

	tcp_syn_expire(t, &left);
	while ((n = wheel_expire(&t->wheel, t->now_ns, &left)) != NULL)
		expired(t, container_of(n, struct tcp_conn, timer));
	return budget - left;
}
