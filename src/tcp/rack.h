/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Loss detection of one connection: RACK and TLP (RFC 8985), and duplicate ACKs for peers without
 * SACK (RFC 5681 §3.2, RFC 6582). Marks records of the scoreboard as lost; what is done about it is
 * the caller's. Times are ns on the clock of the caller; the caller owns the timers:
 *
 *	each ACK:    tcp_sent_ack, tcp_sent_sack, tcp_rack_acked, [tcp_rack_dsack], tcp_rack_detect
 *	reordering timer (detect's deadline): tcp_rack_detect
 *	each retransmission: tcp_sent_retransmitted, then tcp_rack_rtx
 */
#ifndef ZS_TCP_RACK_H
#define ZS_TCP_RACK_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/sent.h"

#define TCP_RACK_NEVER	 UINT64_MAX
#define TCP_DUPTHRESH	 3u
#define TCP_RACK_LOG_MAX 65536u /* retransmissions watched at once */

struct tcp_rack_rtx {
	uint64_t start, end, xmit_ns;
};

struct tcp_rack {
	uint64_t xmit_ns, end; /* of the latest sent that was delivered (RACK.xmit_ts, end_seq) */
	uint64_t rtt_ns;       /* its round trip */
	uint64_t
		cursor; /* first transmissions that start below are delivered, lost or sent again */
	uint64_t dsack_round;	  /* una from which the next DSACK counts; 0 = any */
	struct tcp_rack_rtx *log; /* retransmissions in the order of sending; NULL while cap is 0 */
	uint32_t log_head, log_count, log_cap;
	uint32_t dupacks;    /* in a row, without SACK */
	uint32_t reo_mult;   /* RACK.reo_wnd_mult */
	uint8_t reo_persist; /* recoveries until reo_mult falls back to 1 */
	bool reordering_seen;
	bool valid; /* xmit_ns, end and rtt_ns are */
};

void tcp_rack_init(struct tcp_rack *k, uint64_t offset);
void tcp_rack_fini(struct tcp_rack *k, struct tcp_mem *m);
/* [start, end) was sent again now. Without memory it isn't watched: its loss is found by RTO. */
void tcp_rack_rtx(struct tcp_rack *k, struct tcp_mem *m, uint64_t start, uint64_t end,
		  uint64_t now_ns);
/* RFC 8985 §6.2 steps 2 and 3: what the ACK delivered. */
void tcp_rack_acked(struct tcp_rack *k, const struct tcp_sent_ack *a);
/* The same for data sent once and delivered in order, up to `end`; the newest of it at xmit_ns. */
static inline void tcp_rack_in_order(struct tcp_rack *k, uint64_t now_ns, uint64_t xmit_ns,
				     uint64_t end)
{
	k->rtt_ns = now_ns - xmit_ns;
	k->valid = true;
	k->xmit_ns = xmit_ns;
	k->end = end;
	k->dupacks = 0;
}
/* §6.2 step 4: the ACK carried a DSACK. */
void tcp_rack_dsack(struct tcp_rack *k, uint64_t una, uint64_t nxt);
/* §6.2 step 4: fast or RTO recovery ended. */
void tcp_rack_recovered(struct tcp_rack *k);
/* Marks were taken back (tcp_sent_unmark_lost): look at everything again. */
void tcp_rack_rewind(struct tcp_rack *k, uint64_t una);

struct tcp_rack_env {
	uint64_t now_ns;
	uint64_t min_rtt_ns, srtt_ns; /* 0 = unknown */
	uint32_t mss;
	bool in_recovery; /* fast or RTO */
};
/* §6.2 step 4: the reordering window. */
uint64_t tcp_rack_reo_wnd_ns(const struct tcp_rack *k, const struct tcp_sent *s,
			     const struct tcp_rack_env *e);
/* §6.2 step 5: marks what is lost by now, returns how many bytes. *deadline_ns: when to call again
 * if no ACK comes, or TCP_RACK_NEVER. */
uint64_t tcp_rack_detect(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e,
			 uint64_t *deadline_ns);
/* §6.3: the retransmission timer expired. Marks the first segment, and what is late. */
uint64_t tcp_rack_rto(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e);

/* ---- peers without SACK ---------------------------------------------------------------------- */

/* A duplicate ACK (RFC 5681 §2). True when it is the third: the first segment is marked lost. */
bool tcp_rack_dupack(struct tcp_rack *k, struct tcp_sent *s, struct tcp_mem *m, uint32_t mss);
/* New data was acknowledged: the count starts anew. */
void tcp_rack_dupack_clear(struct tcp_rack *k);
/* RFC 6582 §3.2 step 3: a partial ACK in recovery tells that the segment behind it is lost too. */
bool tcp_rack_partial_ack(struct tcp_sent *s, struct tcp_mem *m, uint32_t mss);

/* ---- tail loss probe, RFC 8985 §7 ------------------------------------------------------------ */

struct tcp_tlp {
	uint64_t end; /* nxt when the probe was sent */
	bool pending;
	bool is_rtx; /* the probe was a retransmission, not new data */
};

struct tcp_tlp_ack {
	uint64_t una;	   /* acknowledgement of the segment */
	bool dsack_of_end; /* it carries a DSACK that ends at tlp->end */
	bool bare_dup;	   /* it acknowledges nothing new, has no data, no SACK, the same window */
};

/* §7.2: after how long to probe, µs. rto_left_us: until the RTO fires, no probe is later. srtt_us
 * 0: unknown. PTO = 2 SRTT, and for a single segment the delay of the peer's ACK on top; 1 s
 * without SRTT. */
static inline uint32_t tcp_tlp_pto_us(uint32_t srtt_us, uint64_t flight_bytes, uint32_t mss,
				      uint32_t max_ack_delay_us, uint32_t rto_left_us)
{
	uint64_t pto = srtt_us ? 2ull * srtt_us : 1000000;

	if (srtt_us && flight_bytes <= mss)
		pto += max_ack_delay_us;
	return pto < rto_left_us ? (uint32_t)pto : rto_left_us;
}

void tcp_tlp_sent(struct tcp_tlp *p, uint64_t nxt, bool is_rtx);
/* §7.4.2. True: the probe repaired a loss, which asks for a congestion response. */
bool tcp_tlp_acked(struct tcp_tlp *p, const struct tcp_tlp_ack *a);

#endif
