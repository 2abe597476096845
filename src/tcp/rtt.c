/* SPDX-License-Identifier: BSD-3-Clause
 *
 * RFC 6298 in fixed point, and the minimum of recent samples in four slots.
 *
 * SRTT is kept eight times and RTTVAR four times as large as it is, so that the gains of 1/8 and
 * 1/4 are shifts and the remainders of the divisions are not lost. The minimum is one value for
 * each quarter of the window: a sample is forgotten between 3/4 and a whole window after it was
 * taken, for constant work and 16 bytes, where an exact minimum would keep every sample.
 *
 * Not done: gains that depend on the number of samples a round trip (RFC 7323 appendix G).
 */
#include "tcp/rtt.h"

#include "base/assert.h"

/* RFC 6298 §2: G. Ours is a nanosecond clock read once a poll; a poll is not longer than this. */
#define CLOCK_GRANULARITY_US 100
/* Larger samples say that the clock or the peer is broken; eight of them must fit 32 bits. */
#define SAMPLE_MAX_US (UINT32_MAX / 16)

void tcp_rtt_init(struct tcp_rtt *r, uint32_t min_rto_us, uint32_t max_rto_us, uint32_t window_us)
{
	uint32_t slot = window_us / TCP_RTT_SLOTS;
	uint32_t rto = TCP_RTT_INIT_US;

	ASSERT(min_rto_us <= max_rto_us);
	if (rto < min_rto_us)
		rto = min_rto_us;
	if (rto > max_rto_us)
		rto = max_rto_us;
	*r = (struct tcp_rtt){
		.rto_base_us = rto,
		.min_rto_us = min_rto_us,
		.max_rto_us = max_rto_us,
		.latest_us = TCP_RTT_NONE,
		.slot_us = slot ? slot : 1,
	};
	for (int i = 0; i < TCP_RTT_SLOTS; i++)
		r->min_slot[i] = TCP_RTT_NONE;
}

/* The division is for once in a period; time doesn't go back. */
static uint32_t epoch_of(const struct tcp_rtt *r, uint64_t now_ns)
{
	if (likely(now_ns < (r->min_epoch + 1ull) * r->slot_us * 1000))
		return r->min_epoch;
	return (uint32_t)(now_ns / 1000 / r->slot_us);
}

static void min_add(struct tcp_rtt *r, uint32_t rtt_us, uint64_t now_ns)
{
	uint32_t now = epoch_of(r, now_ns);
	uint32_t *slot;

	/* Slots of the periods that passed without a sample are emptied. */
	for (uint32_t n = 0; r->min_epoch != now && n < TCP_RTT_SLOTS; n++)
		r->min_slot[++r->min_epoch % TCP_RTT_SLOTS] = TCP_RTT_NONE;
	r->min_epoch = now;
	slot = &r->min_slot[now % TCP_RTT_SLOTS];
	if (rtt_us < *slot)
		*slot = rtt_us;
}

uint32_t tcp_rtt_min_us(const struct tcp_rtt *r, uint64_t now_ns)
{
	uint32_t age = epoch_of(r, now_ns) - r->min_epoch;
	uint32_t min = TCP_RTT_NONE;

	/* The newest slot is `age` periods old, the one before it one more, and so on. */
	for (uint32_t i = 0; age < TCP_RTT_SLOTS && i < TCP_RTT_SLOTS - age; i++) {
		uint32_t v = r->min_slot[(r->min_epoch - i) % TCP_RTT_SLOTS];

		min = v < min ? v : min;
	}
	return min;
}

/* RFC 6298 §2.2, §2.3:
 *	first:	SRTT = R, RTTVAR = R / 2
 *	then:	RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, SRTT = 7/8 SRTT + 1/8 R
 *	RTO = SRTT + max(G, 4 RTTVAR) */
void tcp_rtt_sample(struct tcp_rtt *r, uint32_t rtt_us, uint64_t now_ns)
{
	uint32_t rtt = rtt_us > SAMPLE_MAX_US ? SAMPLE_MAX_US : rtt_us;
	uint32_t srtt, rto;

	rtt = rtt ? rtt : 1; /* 0 would read as "no sample" */
	if (!tcp_rtt_known(r)) {
		r->srtt8_us = rtt << 3;
		r->rttvar4_us = rtt << 1;
	} else {
		srtt = r->srtt8_us >> 3;
		r->rttvar4_us += (srtt > rtt ? srtt - rtt : rtt - srtt) - (r->rttvar4_us >> 2);
		r->srtt8_us += rtt - srtt;
	}
	r->latest_us = rtt;
	r->backoff = 0;
	min_add(r, rtt, now_ns);

	rto = (r->srtt8_us >> 3) +
	      (r->rttvar4_us > CLOCK_GRANULARITY_US ? r->rttvar4_us : CLOCK_GRANULARITY_US);
	/* §2.4 and §2.5 */
	if (rto < r->min_rto_us)
		rto = r->min_rto_us;
	if (rto > r->max_rto_us)
		rto = r->max_rto_us;
	r->rto_base_us = rto;
}

void tcp_rtt_backoff(struct tcp_rtt *r)
{
	if (r->backoff < 31)
		r->backoff++;
}
