/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See sent.h. RFC 2018 (sender), RFC 6675 §3 and §4.
 *
 * The ring starts with room for two records inside the connection, which is all that request and
 * response ever need, and doubles through tcp_mem. A split moves the records behind it. All work is
 * bounded by the number of records, which is at most what is in flight divided by the segment size
 * plus the number of sends in flight (H07): a SACK block never makes records smaller than a
 * segment.
 *
 * Not done: remembering the blocks of the last ACK; a block is walked from its first record, and
 * records marked already are only stepped over.
 */
#include "tcp/sent.h"

#include <errno.h>

void tcp_sent_init(struct tcp_sent *s, uint64_t offset)
{
	*s = (struct tcp_sent){.cap = TCP_SENT_INLINE,
			       .una = offset,
			       .nxt = offset,
			       .fack = offset,
			       .lost_hint = offset};
}

void tcp_sent_fini(struct tcp_sent *s, struct tcp_mem *m)
{
	if (s->cap != TCP_SENT_INLINE)
		tcp_mem_put(m, s->ring, s->cap * sizeof(*s->ring));
	tcp_sent_init(s, s->nxt);
}

int tcp_sent_reserve(struct tcp_sent *s, struct tcp_mem *m, uint32_t n)
{
	uint64_t cap = s->cap;
	struct tcp_sent_rec *ring;

	if (s->count + (uint64_t)n <= cap)
		return 0;
	while (cap < s->count + (uint64_t)n)
		cap *= 2;
	ring = tcp_mem_get(m, cap * sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->count; i++)
		ring[i] = *tcp_sent_at(s, i);
	if (s->cap != TCP_SENT_INLINE)
		tcp_mem_put(m, s->ring, s->cap * sizeof(*ring));
	s->ring = ring;
	s->cap = (uint32_t)cap;
	s->head = 0;
	return 0;
}

void tcp_sent_append(struct tcp_sent *s, uint64_t end, uint64_t now_ns)
{
	ASSERT(s->count < s->cap && end > s->nxt);
	*tcp_sent_at(s, s->count++) =
		(struct tcp_sent_rec){.start = s->nxt, .end = end, .xmit_ns = now_ns, .n_xmit = 1};
	s->nxt = end;
}

uint32_t tcp_sent_find(struct tcp_sent *s, uint64_t offset)
{
	uint32_t lo = 0, hi = s->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (tcp_sent_at(s, mid)->end > offset)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int tcp_sent_split(struct tcp_sent *s, struct tcp_mem *m, uint32_t i, uint64_t at)
{
	struct tcp_sent_rec *r;
	int err = tcp_sent_reserve(s, m, 1);

	if (err)
		return err;
	ASSERT(at > tcp_sent_at(s, i)->start && at < tcp_sent_at(s, i)->end);
	for (uint32_t k = s->count++; k > i; k--)
		*tcp_sent_at(s, k) = *tcp_sent_at(s, k - 1);
	r = tcp_sent_at(s, i);
	r->end = at;
	tcp_sent_at(s, i + 1)->start = at;
	return 0;
}

/* ---- acknowledgement ------------------------------------------------------------------------- */

/* Takes `bytes` of a record with these flags off the counts. */
static void uncount(struct tcp_sent *s, uint8_t flags, uint64_t bytes)
{
	if (flags & TCP_SENT_SACKED)
		s->sacked_bytes -= bytes;
	if (flags & TCP_SENT_LOST)
		s->lost_bytes -= bytes;
	if (flags & TCP_SENT_RTX)
		s->rtx_bytes -= bytes;
}

/* RFC 8985 §6.2 steps 1 to 3 for a record (up to `end`) that is delivered for the first time. */
static void delivered(struct tcp_sent *s, const struct tcp_sent_rec *r, uint64_t end,
		      struct tcp_sent_ack *a)
{
	bool rtx = r->n_xmit > 1;

	if (end > s->fack)
		s->fack = end;
	else if (end < s->fack && !rtx)
		a->reordered = true;
	if (!rtx && (!a->sample_valid || r->xmit_ns > a->sample_ns)) {
		a->sample_valid = true;
		a->sample_ns = r->xmit_ns;
	}
	if (rtx && a->now_ns - r->xmit_ns < a->min_rtt_ns)
		return; /* too soon to be the retransmission's */
	if (a->newest_valid &&
	    (r->xmit_ns < a->newest_ns || (r->xmit_ns == a->newest_ns && end <= a->newest_end)))
		return;
	a->newest_valid = true;
	a->newest_ns = r->xmit_ns;
	a->newest_end = end;
	a->newest_rtx = rtx;
}

void tcp_sent_ack(struct tcp_sent *s, uint64_t una, struct tcp_sent_ack *a)
{
	ASSERT(una > s->una && una <= s->nxt);
	while (s->una < una) {
		struct tcp_sent_rec *r = tcp_sent_at(s, 0);
		uint64_t end = r->end < una ? r->end : una;

		if (!(r->flags & TCP_SENT_SACKED)) {
			a->acked_bytes += end - r->start;
			delivered(s, r, end, a);
		}
		uncount(s, r->flags, end - r->start);
		s->una = end;
		if (end < r->end) {
			r->start = end;
		} else {
			s->head = (s->head + 1) & (s->cap - 1);
			s->count--;
		}
	}
}

static void sack_record(struct tcp_sent *s, struct tcp_sent_rec *r, struct tcp_sent_ack *a)
{
	uint64_t bytes = r->end - r->start;

	uncount(s, r->flags, bytes);
	r->flags = TCP_SENT_SACKED;
	s->sacked_bytes += bytes;
	a->sacked_bytes += bytes;
	delivered(s, r, r->end, a);
}

/* Cuts record i so that it lies within [start, end), at whole segments. False: nothing of it does,
 * or there is no memory, which is no harm, since SACK is advice (RFC 2018 §8). *i moves on if a
 * part in front was cut off. */
static bool trim_to_block(struct tcp_sent *s, struct tcp_mem *m, uint32_t *i,
			  const struct tcp_sack_range *b, uint32_t mss)
{
	const struct tcp_sent_rec *r = tcp_sent_at(s, *i);
	uint64_t lo = r->start, hi = r->end;

	if (b->start > lo)
		lo += (b->start - lo + mss - 1) / mss * mss;
	if (b->end < hi)
		hi = b->end > r->start ? r->start + (b->end - r->start) / mss * mss : r->start;
	if (lo >= hi)
		return false;
	if (hi < r->end && tcp_sent_split(s, m, *i, hi))
		return false;
	if (lo > tcp_sent_at(s, *i)->start) {
		if (tcp_sent_split(s, m, *i, lo))
			return false;
		++*i;
	}
	return true;
}

static void sack_block(struct tcp_sent *s, struct tcp_mem *m, const struct tcp_sack_range *b,
		       struct tcp_sent_ack *a)
{
	if (b->start >= b->end || b->start < s->una || b->end > s->nxt)
		return; /* D-SACK, or of no use to us */
	for (uint32_t i = tcp_sent_find(s, b->start); i < s->count; i++) {
		if (tcp_sent_at(s, i)->start >= b->end)
			break;
		if (tcp_sent_at(s, i)->flags & TCP_SENT_SACKED)
			continue;
		if (trim_to_block(s, m, &i, b, a->mss))
			sack_record(s, tcp_sent_at(s, i), a);
	}
}

/* In ascending order, since a block below one that came in the same segment is no reordering. */
void tcp_sent_sack(struct tcp_sent *s, struct tcp_mem *m, struct tcp_sack_range *b, unsigned n,
		   struct tcp_sent_ack *a)
{
	ASSERT(n <= 4 && a->mss > 0);
	for (unsigned i = 1; i < n; i++) {
		for (unsigned k = i; k > 0 && b[k].start < b[k - 1].start; k--) {
			struct tcp_sack_range t = b[k];

			b[k] = b[k - 1];
			b[k - 1] = t;
		}
	}
	for (unsigned i = 0; i < n; i++)
		sack_block(s, m, &b[i], a);
}

/* ---- loss and retransmission ----------------------------------------------------------------- */

bool tcp_sent_mark_lost(struct tcp_sent *s, uint32_t i)
{
	struct tcp_sent_rec *r = tcp_sent_at(s, i);
	uint8_t state = r->flags & (TCP_SENT_LOST | TCP_SENT_RTX);

	if ((r->flags & TCP_SENT_SACKED) || state == TCP_SENT_LOST)
		return false;
	uncount(s, r->flags, r->end - r->start);
	r->flags = TCP_SENT_LOST;
	s->lost_bytes += r->end - r->start;
	if (r->start < s->lost_hint)
		s->lost_hint = r->start;
	return true;
}

void tcp_sent_mark_all_lost(struct tcp_sent *s, bool forget_sacks)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct tcp_sent_rec *r = tcp_sent_at(s, i);

		if (forget_sacks && (r->flags & TCP_SENT_SACKED)) {
			uncount(s, r->flags, r->end - r->start);
			r->flags = 0;
		}
		tcp_sent_mark_lost(s, i);
	}
}

void tcp_sent_unmark_lost(struct tcp_sent *s)
{
	for (uint32_t i = 0; s->lost_bytes && i < s->count; i++) {
		struct tcp_sent_rec *r = tcp_sent_at(s, i);

		if (r->n_xmit > 1 && !(r->flags & TCP_SENT_RTX))
			continue;
		uncount(s, r->flags & TCP_SENT_LOST, r->end - r->start);
		r->flags &= ~TCP_SENT_LOST;
	}
}

int64_t tcp_sent_next_lost(struct tcp_sent *s)
{
	/* Most of the time nothing is lost, or all of it is on its way again. */
	if (!s->lost_bytes)
		return -1;
	for (uint32_t i = tcp_sent_find(s, s->lost_hint); i < s->count; i++) {
		struct tcp_sent_rec *r = tcp_sent_at(s, i);

		s->lost_hint = r->start;
		if ((r->flags & (TCP_SENT_LOST | TCP_SENT_RTX)) == TCP_SENT_LOST)
			return i;
	}
	s->lost_hint = s->nxt;
	return -1;
}

void tcp_sent_retransmitted(struct tcp_sent *s, uint32_t i, uint64_t now_ns)
{
	struct tcp_sent_rec *r = tcp_sent_at(s, i);

	ASSERT(!(r->flags & TCP_SENT_SACKED));
	if (!(r->flags & TCP_SENT_RTX))
		s->rtx_bytes += r->end - r->start;
	r->flags |= TCP_SENT_RTX;
	r->xmit_ns = now_ns;
	if (r->n_xmit < UINT8_MAX)
		r->n_xmit++;
}

void tcp_sent_check(struct tcp_sent *s)
{
	uint64_t at = s->una, sacked = 0, lost = 0, rtx = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		const struct tcp_sent_rec *r = tcp_sent_at(s, i);
		uint64_t bytes = r->end - r->start;

		ASSERT(r->start == at && r->end > r->start && r->n_xmit > 0);
		ASSERT(!(r->flags & TCP_SENT_SACKED) || r->flags == TCP_SENT_SACKED);
		ASSERT((r->flags & (TCP_SENT_LOST | TCP_SENT_RTX)) != TCP_SENT_LOST ||
		       r->start >= s->lost_hint || r->end > s->lost_hint);
		sacked += r->flags & TCP_SENT_SACKED ? bytes : 0;
		lost += r->flags & TCP_SENT_LOST ? bytes : 0;
		rtx += r->flags & TCP_SENT_RTX ? bytes : 0;
		at = r->end;
	}
	ASSERT(at == s->nxt && s->count <= s->cap && !(s->cap & (s->cap - 1)));
	ASSERT(sacked == s->sacked_bytes && lost == s->lost_bytes && rtx == s->rtx_bytes);
}
