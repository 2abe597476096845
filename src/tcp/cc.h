/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Congestion control: what every algorithm offers, and the state of one connection. An algorithm is
 * one file and one row of a table; it knows bytes and times, and nothing of segments or buffers.
 * Owned by the connection, touched by its core.
 *
 * The engine decides when something was lost; the algorithm says how much may be in flight:
 *
 *	on_ack            new data was acknowledged, not while in fast recovery
 *	on_loss_event     fast recovery begins, or ECN-Echo: once a window (RFC 5681 §3.2, RFC 3168)
 *	on_exit_recovery  everything sent before the event is acknowledged
 *	on_rto            the retransmission timer expired
 *	on_spurious       the last event was none (RFC 3522, RFC 5682, DSACK): undo it
 *	after_idle        about to send after an idle time (RFC 5681 §4.1)
 */
#ifndef ZS_TCP_CC_H
#define ZS_TCP_CC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct tcp_cc;

#define TCP_CC_CWND_MAX	     (1ull << 30) /* the largest window of RFC 7323 §2.3 */
#define TCP_CC_SSTHRESH_INIT UINT64_MAX	  /* RFC 5681 §3.1: arbitrarily high */

struct tcp_cc_ack {
	uint64_t acked_bytes;  /* newly acknowledged, by ACK or by SACK */
	uint64_t flight_bytes; /* sent and not acknowledged, after this ACK */
	uint64_t now_ns;
	uint32_t rtt_us;  /* valid sample of this ACK; 0 = none */
	bool app_limited; /* cwnd was not filled: an increase would not be earned (RFC 7661) */
};

/* flight_bytes is RFC 5681's FlightSize: all that is sent and not cumulatively acknowledged. */
struct tcp_cc_ops {
	const char *name;
	void (*init)(struct tcp_cc *cc);
	void (*on_ack)(struct tcp_cc *cc, const struct tcp_cc_ack *a);
	void (*on_loss_event)(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns);
	void (*on_rto)(struct tcp_cc *cc, uint64_t flight_bytes, uint64_t now_ns);
	void (*on_exit_recovery)(struct tcp_cc *cc, uint64_t now_ns);
	void (*on_spurious)(struct tcp_cc *cc, uint64_t now_ns);
	void (*after_idle)(struct tcp_cc *cc, uint32_t idle_us, uint32_t rto_us, uint64_t now_ns);
};

enum tcp_cc_phase { TCP_CC_OPEN, TCP_CC_RECOVERY, TCP_CC_LOSS };

struct tcp_cc {
	const struct tcp_cc_ops *ops;
	uint64_t cwnd_bytes;
	uint64_t ssthresh_bytes;
	uint64_t prior_cwnd_bytes; /* before the last event, for undo; 0 = nothing to undo */
	uint64_t prior_ssthresh_bytes;
	uint32_t mss;  /* what a full segment carries now: set it with tcp_cc_set_mss */
	uint8_t phase; /* enum tcp_cc_phase */
	union {
		uint64_t words[8];
		uint8_t bytes[64];
	} state; /* the algorithm's own */
};

/* By name, as in TCP_CONGESTION; NULL when there is none. */
const struct tcp_cc_ops *tcp_cc_find(const char *name) must_check;
/* The i-th algorithm, NULL behind the last. */
const struct tcp_cc_ops *tcp_cc_at(unsigned i) must_check;

/* A new connection: initial window of RFC 6928. */
void tcp_cc_init(struct tcp_cc *cc, const struct tcp_cc_ops *ops, uint32_t mss);
/* Another algorithm for a living connection: windows stay, its state starts anew. */
void tcp_cc_switch(struct tcp_cc *cc, const struct tcp_cc_ops *ops);
/* The path's MTU changed, or the handshake told the MSS. Before the first data, the initial window
 * follows; afterwards cwnd stays, in bytes, but is at least one segment. */
void tcp_cc_set_mss(struct tcp_cc *cc, uint32_t mss, bool before_data);

static inline bool tcp_cc_slow_start(const struct tcp_cc *cc)
{
	return cc->cwnd_bytes < cc->ssthresh_bytes;
}

/* RFC 6928 §2: min(10 MSS, max(2 MSS, 14,600)). */
uint64_t tcp_cc_initial_window(uint32_t mss);

/* ---- for the algorithms ---------------------------------------------------------------------- */

/* Slow start for `acked` new bytes; returns those that remain for congestion avoidance. */
uint64_t tcp_cc_slow_start_grow(struct tcp_cc *cc, uint64_t acked_bytes, uint32_t divisor);
/* Remembers what on_spurious goes back to, sets ssthresh (at least 2 MSS). */
void tcp_cc_reduce(struct tcp_cc *cc, uint64_t ssthresh_bytes, enum tcp_cc_phase phase);
bool tcp_cc_undo(struct tcp_cc *cc);
/* RFC 5681 §4.1. */
void tcp_cc_restart_window(struct tcp_cc *cc, uint32_t idle_us, uint32_t rto_us);

extern const struct tcp_cc_ops tcp_cc_newreno, tcp_cc_cubic;

#endif
