/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The round-trip estimator of one connection (RFC 6298) and a windowed minimum of its samples.
 * Owned by the connection, touched by its core. All times are µs in 32 bits.
 *
 * Karn's algorithm (RFC 6298 §3) is the caller's: only samples of segments that were sent once, or
 * that a time-stamp identifies, come here.
 */
#ifndef ZS_TCP_RTT_H
#define ZS_TCP_RTT_H

#include <stdbool.h>
#include <stdint.h>

#define TCP_RTT_NONE	UINT32_MAX
#define TCP_RTT_SLOTS	4
#define TCP_RTT_INIT_US 1000000 /* RFC 6298 §2.1: RTO before the first sample */

struct tcp_rtt {
	uint32_t srtt8_us;    /* SRTT × 8; 0 = no sample yet */
	uint32_t rttvar4_us;  /* RTTVAR × 4 */
	uint32_t rto_base_us; /* within floor and ceiling, without back-off */
	uint32_t min_rto_us, max_rto_us;
	uint32_t latest_us; /* newest sample, TCP_RTT_NONE before the first */
	uint32_t min_epoch; /* number of the newest slot's period, since the clock's zero */
	uint32_t min_slot[TCP_RTT_SLOTS]; /* least sample of each period, TCP_RTT_NONE = none */
	uint32_t slot_us;
	uint8_t backoff; /* how often RTO was doubled since the last sample or new ACK */
};

/* window_us: the minimum never looks back farther than this, and always over 3/4 of it. */
void tcp_rtt_init(struct tcp_rtt *r, uint32_t min_rto_us, uint32_t max_rto_us, uint32_t window_us);
/* A valid sample taken at now_ns. Ends back-off (RFC 6298 §5.7 and the note at its end). */
void tcp_rtt_sample(struct tcp_rtt *r, uint32_t rtt_us, uint64_t now_ns);
/* RFC 6298 §5.5: the timer expired. */
void tcp_rtt_backoff(struct tcp_rtt *r);
/* New data was acknowledged: the path lives. For callers whose ACK gave no valid sample. */
static inline void tcp_rtt_backoff_clear(struct tcp_rtt *r)
{
	r->backoff = 0;
}
/* RTO with back-off, between floor and ceiling. */
static inline uint32_t tcp_rtt_rto_us(const struct tcp_rtt *r)
{
	uint64_t rto = (uint64_t)r->rto_base_us << r->backoff;

	return rto > r->max_rto_us ? r->max_rto_us : (uint32_t)rto;
}
/* Least sample of the window that ends at now_ns, or TCP_RTT_NONE. */
uint32_t tcp_rtt_min_us(const struct tcp_rtt *r, uint64_t now_ns);

static inline bool tcp_rtt_known(const struct tcp_rtt *r)
{
	return r->srtt8_us != 0;
}

static inline uint32_t tcp_rtt_srtt_us(const struct tcp_rtt *r)
{
	return r->srtt8_us >> 3;
}

static inline uint32_t tcp_rtt_rttvar_us(const struct tcp_rtt *r)
{
	return r->rttvar4_us >> 2;
}

#endif
