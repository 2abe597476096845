/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scoreboard of one connection: what was sent and is not cumulatively acknowledged (RFC 6675
 * §3). A deque of records sorted by stream offset, one for each packet handed to the port. Offsets
 * are 64 bits and never wrap; the connection maps sequence numbers to them.
 *
 *	una                                                   nxt
 *	 |  rec 0  |  rec 1   | rec 2 |      rec 3     | rec 4 |
 *	    LOST      SACKED    LOST      SACKED          0
 *	    RTX
 *
 *	flags          in flight (RFC 6675 "pipe")
 *	0              once
 *	LOST           no; next_lost gives it for retransmission
 *	LOST | RTX     once, the retransmission
 *	RTX            twice: a probe (TLP)
 *	SACKED         no; excludes the others
 */
#ifndef ZS_TCP_SENT_H
#define ZS_TCP_SENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "tcp/mem.h"

enum { TCP_SENT_SACKED = 1 << 0, TCP_SENT_LOST = 1 << 1, TCP_SENT_RTX = 1 << 2 };

struct tcp_sent_rec {
	uint64_t start, end; /* stream offsets */
	uint64_t xmit_ns;    /* of the latest transmission */
	uint8_t n_xmit;	     /* transmissions, stays at 255 */
	uint8_t flags;	     /* TCP_SENT_… */
	uint8_t pad[6];
};
_Static_assert(sizeof(struct tcp_sent_rec) == 32, "two to a cache line");

#define TCP_SENT_INLINE 2u

struct tcp_sent {
	union {
		struct tcp_sent_rec inl[TCP_SENT_INLINE]; /* while cap == TCP_SENT_INLINE */
		struct tcp_sent_rec *ring;
	};
	uint32_t head, count, cap; /* cap is a power of two */
	uint64_t una, nxt;	   /* acknowledged below, sent below */
	uint64_t fack;		   /* highest offset delivered (RFC 8985 RACK.fack) */
	uint64_t sacked_bytes, lost_bytes, rtx_bytes; /* of records with that flag */
	uint64_t lost_hint; /* no record that starts below is LOST and not RTX */
};

/* What one ACK delivered: the caller sets the first three, the calls below add to the rest. */
struct tcp_sent_ack {
	uint64_t now_ns;
	uint64_t min_rtt_ns; /* an answer to a retransmission faster than this is to the original */
	uint32_t mss;	     /* unit in which records are split */

	uint64_t acked_bytes;  /* newly delivered by the cumulative ACK, not by SACK before */
	uint64_t sacked_bytes; /* newly delivered by SACK */
	uint64_t newest_ns, newest_end; /* latest sent of those delivered (RFC 8985 §6.2 step 2) */
	uint64_t sample_ns; /* when the latest delivered that was sent once was sent (Karn) */
	bool newest_valid, sample_valid;
	bool newest_rtx; /* the newest was a retransmission */
	bool reordered;	 /* delivered below fack, never retransmitted (§6.2 step 3) */
};

struct tcp_sack_range {
	uint64_t start, end;
};

void tcp_sent_init(struct tcp_sent *s, uint64_t offset);
void tcp_sent_fini(struct tcp_sent *s, struct tcp_mem *m);
/* Room for n more records. -ENOMEM changes nothing. */
int tcp_sent_reserve(struct tcp_sent *s, struct tcp_mem *m, uint32_t n) must_check;
/* New data [nxt, end) was sent; room was reserved. Times never go back. */
void tcp_sent_append(struct tcp_sent *s, uint64_t end, uint64_t now_ns);
/* Everything below una is acknowledged; una is above s->una and at most nxt. */
void tcp_sent_ack(struct tcp_sent *s, uint64_t una, struct tcp_sent_ack *a);
/* SACK blocks, after the cumulative ACK of the same segment. At most 4; sorts them. Parts outside
 * [una, nxt] mean nothing. Marks whole segments only; needs memory only to split. */
void tcp_sent_sack(struct tcp_sent *s, struct tcp_mem *m, struct tcp_sack_range *b, unsigned n,
		   struct tcp_sent_ack *a);

/* The i-th record from una, i < count. */
static inline struct tcp_sent_rec *tcp_sent_at(struct tcp_sent *s, uint32_t i)
{
	struct tcp_sent_rec *base = s->cap == TCP_SENT_INLINE ? s->inl : s->ring;

	return &base[(s->head + i) & (s->cap - 1)];
}

/* tcp_sent_ack for when no record has a flag: every byte below una is delivered, in order. False,
 * and nothing has changed: one of the records was sent more than once. *xmit_ns: of the newest one
 * delivered. */
static inline bool tcp_sent_ack_clean(struct tcp_sent *s, uint64_t una, uint64_t *xmit_ns)
{
	struct tcp_sent_rec *r;
	uint32_t n = 0;

	ASSERT(una > s->una && una <= s->nxt);
	do {
		r = tcp_sent_at(s, n++);
		if (unlikely(r->n_xmit != 1))
			return false;
	} while (r->end < una);
	*xmit_ns = r->xmit_ns;
	if (r->end != una) {
		r->start = una;
		n--;
	}
	s->head = (s->head + n) & (s->cap - 1);
	s->count -= n;
	s->una = una;
	if (una > s->fack)
		s->fack = una;
	return true;
}

/* Index of the first record that ends above offset; count when none does. */
uint32_t tcp_sent_find(struct tcp_sent *s, uint64_t offset);
/* Cuts record i at an offset inside it. -ENOMEM changes nothing. */
int tcp_sent_split(struct tcp_sent *s, struct tcp_mem *m, uint32_t i, uint64_t at) must_check;
/* False when it is SACKED or waits for retransmission already. */
bool tcp_sent_mark_lost(struct tcp_sent *s, uint32_t i);
/* RTO: everything not SACKED is lost. forget_sacks: the peer may have dropped what it held
 * (RFC 2018 §8). */
void tcp_sent_mark_all_lost(struct tcp_sent *s, bool forget_sacks);
/* The loss was none: what was sent once, or is on its way again, is not lost. A record whose
 * retransmission was lost too stays so. */
void tcp_sent_unmark_lost(struct tcp_sent *s);
/* First record that is LOST and not RTX, or -1. */
int64_t tcp_sent_next_lost(struct tcp_sent *s);
/* Record i was sent again. Split it first if less was sent. */
void tcp_sent_retransmitted(struct tcp_sent *s, uint32_t i, uint64_t now_ns);

static inline uint64_t tcp_sent_outstanding(const struct tcp_sent *s)
{
	return s->nxt - s->una;
}

/* RFC 6675 §4: bytes believed to be in the network. */
static inline uint64_t tcp_sent_pipe(const struct tcp_sent *s)
{
	return s->nxt - s->una - s->sacked_bytes - s->lost_bytes + s->rtx_bytes;
}

/* Asserts every invariant. */
void tcp_sent_check(struct tcp_sent *s);

#endif
