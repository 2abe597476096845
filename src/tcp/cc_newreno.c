/* SPDX-License-Identifier: BSD-3-Clause
 *
 * RFC 5681's slow start, congestion avoidance and reduction, counted in bytes (RFC 3465 §2.1).
 * Which segments are sent in recovery (RFC 6582, RFC 6675) is the engine's matter, not this file's.
 *
 * Not done: Proportional Rate Reduction (RFC 6937); cwnd falls to ssthresh at once.
 */
#include "tcp/cc.h"

struct newreno {
	uint64_t acked_bytes; /* since cwnd last grew in congestion avoidance */
};
_Static_assert(sizeof(struct newreno) <= sizeof(((struct tcp_cc *)0)->state), "fits");

static struct newreno *state_of(struct tcp_cc *cc)
{
	return (struct newreno *)cc->state.bytes;
}

static void init(struct tcp_cc *cc)
{
	state_of(cc)->acked_bytes = 0;
}

/* RFC 5681 §3.1 with RFC 3465 §2.1: one segment for each window of acknowledged bytes. */
static void avoid(struct tcp_cc *cc, uint64_t acked_bytes)
{
	struct newreno *s = state_of(cc);

	s->acked_bytes += acked_bytes;
	if (s->acked_bytes < cc->cwnd_bytes)
		return;
	s->acked_bytes -= cc->cwnd_bytes;
	if (s->acked_bytes > cc->cwnd_bytes)
		s->acked_bytes = cc->cwnd_bytes; /* after a reduction: no credit from before */
	cc->cwnd_bytes += cc->mss;
	if (cc->cwnd_bytes > TCP_CC_CWND_MAX)
		cc->cwnd_bytes = TCP_CC_CWND_MAX;
}

static void on_ack(struct tcp_cc *cc, const struct tcp_cc_ack *a)
{
	uint64_t acked = a->acked_bytes;

	if (a->app_limited || cc->phase == TCP_CC_RECOVERY)
		return;
	if (tcp_cc_slow_start(cc))
		acked = tcp_cc_slow_start_grow(cc, acked, 1);
	if (acked)
		avoid(cc, acked);
}

/* RFC 5681 (4): ssthresh = max(FlightSize / 2, 2 MSS). */
static void on_loss_event(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns)
{
	tcp_cc_reduce(cc, flight_bytes / 2, TCP_CC_RECOVERY);
	state_of(cc)->acked_bytes = 0;
}

/* RFC 5681 §3.1: ssthresh is held constant while the same data is sent again and again. */
static void on_rto(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns)
{
	uint64_t half = cc->phase == TCP_CC_LOSS ? cc->ssthresh_bytes : flight_bytes / 2;

	tcp_cc_reduce(cc, half, TCP_CC_LOSS);
	state_of(cc)->acked_bytes = 0;
}

static void on_exit_recovery(struct tcp_cc *cc, uint64_t now_ns)
{
	cc->phase = TCP_CC_OPEN;
}

static void on_spurious(struct tcp_cc *cc, uint64_t now_ns)
{
	tcp_cc_undo(cc);
}

static void after_idle(struct tcp_cc *cc, uint32_t idle_us, uint32_t rto_us, uint64_t now_ns)
{
	tcp_cc_restart_window(cc, idle_us, rto_us);
}

const struct tcp_cc_ops tcp_cc_newreno = {
	.name = "newreno",
	.init = init,
	.on_ack = on_ack,
	.on_loss_event = on_loss_event,
	.on_rto = on_rto,
	.on_exit_recovery = on_exit_recovery,
	.on_spurious = on_spurious,
	.after_idle = after_idle,
};
