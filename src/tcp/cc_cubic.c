/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CUBIC (RFC 9438) with HyStart++ (RFC 9406), in integers.
 *
 *	 cwnd                                              /
 *	   |                                              /
 *	 W_max - - - - - - - - - - - ______.______- - - - - -
 *	   |                    __--'    K
 *	   |               .--''
 *	   |            .-'
 *	 cwnd_epoch  .'
 *	   +----------+---------------------------------------> t
 *	         loss, epoch starts
 *
 * Windows are bytes and times µs. C = 0.4 segments/s³ is 4·MSS / 10^19 bytes/µs³; the products need
 * 128 bits. Remainders of divisions are carried, so that growth does not depend on how ACKs are
 * cut. Slow start and congestion avoidance never need their state together: it is a union.
 *
 * Not done: RFC 9438 §4.9.2's restoration of W_max and K to the microsecond; a new epoch starts
 * that heads for the window from before the event.
 */
#include "tcp/cc.h"

#include <string.h>

typedef unsigned __int128 u128;

/* RFC 9406 §4.3 */
enum {
	MIN_RTT_THRESH_US = 4000,
	MAX_RTT_THRESH_US = 16000,
	MIN_RTT_DIVISOR = 8,
	N_RTT_SAMPLE = 8,
	CSS_GROWTH_DIVISOR = 4,
	CSS_ROUNDS = 5,
};

#define ELAPSED_MAX_US 1000000000ull /* of an epoch: beyond it the curve is above any window */

struct avoidance {
	uint64_t start_ns; /* of the epoch; moves on over times without growth */
	uint64_t k_us;
	uint64_t west_bytes; /* W_est */
	uint64_t west_rest;  /* numerator over 17·cwnd */
	uint64_t cwnd_rest;  /* numerator over cwnd */
};

struct hystart {
	uint64_t round_left_bytes; /* to be acknowledged until the round ends */
	uint32_t last_min_us, cur_min_us, baseline_us;
	uint32_t samples;    /* in this round */
	uint32_t css_rounds; /* 0 = standard slow start */
};

struct cubic {
	uint64_t wmax_bytes; /* 0 = no event yet */
	uint64_t last_ns;    /* of the last on_ack */
	bool epoch;	     /* u.ca is valid; else u.ss */
	bool after_rto;	     /* RFC 9438 §4.8: the next epoch has K = 0 */
	union {
		struct avoidance ca;
		struct hystart ss;
	} u;
};
_Static_assert(sizeof(struct cubic) <= sizeof(((struct tcp_cc *)0)->state), "fits");

static struct cubic *state_of(struct tcp_cc *cc)
{
	return (struct cubic *)cc->state.bytes;
}

static void hystart_reset(struct cubic *s)
{
	s->epoch = false;
	s->u.ss = (struct hystart){.last_min_us = UINT32_MAX, .cur_min_us = UINT32_MAX};
}

static void init(struct tcp_cc *cc)
{
	struct cubic *s = state_of(cc);

	memset(s, 0, sizeof(*s));
	hystart_reset(s);
}

/* ---- slow start: RFC 9406 §4.2 --------------------------------------------------------------- */

static uint32_t hystart_thresh_us(const struct hystart *h)
{
	uint32_t t = h->last_min_us / MIN_RTT_DIVISOR;

	if (t < MIN_RTT_THRESH_US)
		return MIN_RTT_THRESH_US;
	return t > MAX_RTT_THRESH_US ? MAX_RTT_THRESH_US : t;
}

static void hystart_sample(struct hystart *h, uint32_t rtt_us)
{
	if (rtt_us < h->cur_min_us)
		h->cur_min_us = rtt_us;
	if (++h->samples < N_RTT_SAMPLE)
		return;
	if (h->css_rounds) {
		if (h->cur_min_us < h->baseline_us)
			h->css_rounds = 0; /* the increase was not real: slow start goes on */
	} else if (h->last_min_us != UINT32_MAX &&
		   h->cur_min_us >= h->last_min_us + hystart_thresh_us(h)) {
		h->baseline_us = h->cur_min_us;
		h->css_rounds = 1;
	}
}

/* A round is one window of data. True when slow start is over. */
static bool hystart_round(struct hystart *h, const struct tcp_cc_ack *a)
{
	if (a->acked_bytes < h->round_left_bytes) {
		h->round_left_bytes -= a->acked_bytes;
		return false;
	}
	h->round_left_bytes = a->flight_bytes;
	h->last_min_us = h->cur_min_us;
	h->cur_min_us = UINT32_MAX;
	h->samples = 0;
	return h->css_rounds && h->css_rounds++ >= CSS_ROUNDS;
}

static uint64_t slow_start(struct tcp_cc *cc, const struct tcp_cc_ack *a)
{
	struct hystart *h = &state_of(cc)->u.ss;
	uint64_t rest;

	/* RFC 9406 §4.3: only the first slow start has no other end than loss. */
	if (cc->ssthresh_bytes != TCP_CC_SSTHRESH_INIT)
		return tcp_cc_slow_start_grow(cc, a->acked_bytes, 1);
	if (a->rtt_us)
		hystart_sample(h, a->rtt_us);
	rest = tcp_cc_slow_start_grow(cc, a->acked_bytes, h->css_rounds ? CSS_GROWTH_DIVISOR : 1);
	if (hystart_round(h, a))
		cc->ssthresh_bytes = cc->cwnd_bytes;
	return rest;
}

/* ---- congestion avoidance: RFC 9438 §4.2 to §4.5 --------------------------------------------- */

/* floor(n^(1/3)), a bit at a time; once an epoch. */
static uint64_t cube_root(u128 n)
{
	uint64_t root = 0;

	for (int bit = 41; bit >= 0; bit--) {
		uint64_t try = root | 1ull << bit;

		if ((u128)try * try * try <= n)
			root = try;
	}
	return root;
}

/* §4.2: K = cbrt((W_max - cwnd_epoch) / C), the time until the curve is at W_max again. */
static void epoch_start(struct tcp_cc *cc, uint64_t now_ns)
{
	struct cubic *s = state_of(cc);
	uint64_t below;

	if (s->after_rto || s->wmax_bytes < cc->cwnd_bytes)
		s->wmax_bytes = cc->cwnd_bytes; /* K = 0 */
	s->after_rto = false;
	below = s->wmax_bytes - cc->cwnd_bytes;
	s->epoch = true;
	s->u.ca = (struct avoidance){
		.start_ns = now_ns,
		.k_us = cube_root((u128)below * 2500000000000000000ull / cc->mss),
		.west_bytes = cc->cwnd_bytes,
	};
}

/* §4.2: W_cubic(t) = C (t - K)³ + W_max */
static uint64_t curve_bytes(const struct tcp_cc *cc, const struct cubic *s, uint64_t t_us)
{
	uint64_t k = s->u.ca.k_us;
	uint64_t d = t_us < k ? k - t_us : t_us - k;
	u128 c;

	if (d > ELAPSED_MAX_US)
		d = ELAPSED_MAX_US;
	c = (u128)d * d * d * 4 * cc->mss / 10000000000000000000ull;
	if (t_us < k)
		return c < s->wmax_bytes ? s->wmax_bytes - (uint64_t)c : 0;
	return c < TCP_CC_CWND_MAX ? s->wmax_bytes + (uint64_t)c : 2 * TCP_CC_CWND_MAX;
}

/* §4.3: W_est += α · acked / cwnd segments; α = 3 (1 - β) / (1 + β) = 9/17, and 1 above the window
 * of before the event. */
static void west_grow(const struct tcp_cc *cc, struct avoidance *ca, uint64_t acked_bytes)
{
	uint64_t alpha17 = ca->west_bytes < cc->prior_cwnd_bytes ? 9 : 17;
	uint64_t n = alpha17 * cc->mss * acked_bytes + ca->west_rest;

	ca->west_bytes += n / (17 * cc->cwnd_bytes);
	ca->west_rest = n % (17 * cc->cwnd_bytes);
}

static void avoid(struct tcp_cc *cc, uint64_t acked_bytes, uint32_t rtt_us, uint64_t now_ns)
{
	struct cubic *s = state_of(cc);
	struct avoidance *ca = &s->u.ca;
	uint64_t t_us, target, n, cwnd = cc->cwnd_bytes;

	if (!s->epoch)
		epoch_start(cc, now_ns);
	t_us = (now_ns - ca->start_ns) / 1000;
	west_grow(cc, ca, acked_bytes);
	if (curve_bytes(cc, s, t_us) < ca->west_bytes) {
		cwnd = ca->west_bytes > cwnd ? ca->west_bytes : cwnd; /* Reno-friendly */
	} else {
		/* §4.4, §4.5: cwnd += (target - cwnd) / cwnd for each segment acknowledged. */
		target = curve_bytes(cc, s, t_us + rtt_us);
		if (target > cwnd + cwnd / 2)
			target = cwnd + cwnd / 2;
		if (target > cwnd) {
			n = (target - cwnd) * acked_bytes + ca->cwnd_rest;
			ca->cwnd_rest = n % cwnd;
			cwnd += n / cwnd;
		}
	}
	cc->cwnd_bytes = cwnd > TCP_CC_CWND_MAX ? TCP_CC_CWND_MAX : cwnd;
}

static void on_ack(struct tcp_cc *cc, const struct tcp_cc_ack *a)
{
	struct cubic *s = state_of(cc);
	uint64_t last = s->last_ns, acked = a->acked_bytes;

	s->last_ns = a->now_ns;
	if (acked > TCP_CC_CWND_MAX)
		acked = TCP_CC_CWND_MAX;
	if (a->app_limited || cc->phase == TCP_CC_RECOVERY) {
		/* §5.8: time in which the window was not used does not move us along the curve. */
		if (s->epoch && last > s->u.ca.start_ns)
			s->u.ca.start_ns += a->now_ns - last;
		return;
	}
	if (tcp_cc_slow_start(cc)) {
		if (s->epoch)
			hystart_reset(s); /* below ssthresh again, after an idle time */
		acked = slow_start(cc, a);
	}
	if (acked)
		avoid(cc, acked, a->rtt_us, a->now_ns);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* §4.6 and §4.7; β = 0.7. Fast convergence: who could not get back to W_max gives way to others. */
static uint64_t reduced_bytes(struct tcp_cc *cc, uint64_t flight_bytes)
{
	struct cubic *s = state_of(cc);

	if (cc->cwnd_bytes < s->wmax_bytes)
		s->wmax_bytes = cc->cwnd_bytes * 17 / 20;
	else
		s->wmax_bytes = cc->cwnd_bytes;
	if (flight_bytes > cc->cwnd_bytes)
		flight_bytes = cc->cwnd_bytes;
	return flight_bytes * 7 / 10;
}

static void on_loss_event(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns)
{
	tcp_cc_reduce(cc, reduced_bytes(cc, flight_bytes), TCP_CC_RECOVERY);
	hystart_reset(state_of(cc));
}

static void on_rto(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns)
{
	struct cubic *s = state_of(cc);
	uint64_t ssthresh = cc->ssthresh_bytes;

	/* RFC 5681 §3.1: held constant while the same data is sent again and again. */
	if (cc->phase != TCP_CC_LOSS)
		ssthresh = reduced_bytes(cc, flight_bytes);
	tcp_cc_reduce(cc, ssthresh, TCP_CC_LOSS);
	hystart_reset(s);
	s->after_rto = true;
}

static void on_exit_recovery(struct tcp_cc *cc, uint64_t now_ns)
{
	cc->phase = TCP_CC_OPEN;
}

/* §4.9: back to the window of before, and W_max there. */
static void on_spurious(struct tcp_cc *cc, uint64_t now_ns)
{
	struct cubic *s = state_of(cc);
	uint64_t prior = cc->prior_cwnd_bytes;

	if (!tcp_cc_undo(cc))
		return;
	if (s->wmax_bytes < prior)
		s->wmax_bytes = prior;
	s->after_rto = false;
	hystart_reset(s);
}

static void after_idle(struct tcp_cc *cc, uint32_t idle_us, uint32_t rto_us, uint64_t now_ns)
{
	struct cubic *s = state_of(cc);

	tcp_cc_restart_window(cc, idle_us, rto_us);
	/* §5.8: the curve goes on where it was. */
	if (s->epoch && now_ns > s->last_ns && s->last_ns >= s->u.ca.start_ns)
		s->u.ca.start_ns += now_ns - s->last_ns;
	s->last_ns = now_ns;
}

const struct tcp_cc_ops tcp_cc_cubic = {
	.name = "cubic",
	.init = init,
	.on_ack = on_ack,
	.on_loss_event = on_loss_event,
	.on_rto = on_rto,
	.on_exit_recovery = on_exit_recovery,
	.on_spurious = on_spurious,
	.after_idle = after_idle,
};
