/* SPDX-License-Identifier: BSD-3-Clause
 *
 * RFC 8985. The idea of RACK: what was sent long enough before something that has arrived is lost.
 *
 * The RFC walks a list of all segments sorted by time of transmission. Here the same order exists
 * twice: first transmissions lie in the scoreboard in the order of their sending, and of those one
 * cursor remembers up to where they are dealt with; retransmissions are in a log of their own. Each
 * is looked at once and passed, so that the work for an ACK is amortized constant.
 *
 *	scoreboard  [ 0 | S | L | S | 0 | 0 | 0 | ...        log  [ r | r | r | ...
 *	                              ^cursor: not late yet         ^head: not late yet
 *
 * DEVIATION(RFC 8985 §6.2 step 5): the deadline is that of the earliest segment that may be lost,
 * not of the latest, because the walk ends there; each expiry then finds at least one.
 * DEVIATION(RFC 8985 §6.2 step 4): segments that were SACKed are counted in bytes of full segments.
 *
 * Not done: the echoed time-stamp as evidence of which transmission arrived (step 2's other test).
 */
#include "tcp/rack.h"

#define REO_PERSIST 16
#define LOG_MIN	    8u

void tcp_rack_init(struct tcp_rack *k, uint64_t offset)
{
	*k = (struct tcp_rack){.cursor = offset, .reo_mult = 1};
}

void tcp_rack_fini(struct tcp_rack *k, struct tcp_mem *m)
{
	if (k->log)
		tcp_mem_put(m, k->log, k->log_cap * sizeof(*k->log));
	k->log = NULL;
	k->log_cap = k->log_count = 0;
}

/* ---- log of retransmissions ------------------------------------------------------------------ */

static struct tcp_rack_rtx *log_at(const struct tcp_rack *k, uint32_t i)
{
	return &k->log[(k->log_head + i) & (k->log_cap - 1)];
}

static void log_pop(struct tcp_rack *k)
{
	k->log_head = (k->log_head + 1) & (k->log_cap - 1);
	k->log_count--;
}

static bool log_grow(struct tcp_rack *k, struct tcp_mem *m)
{
	uint32_t cap = k->log_cap ? 2 * k->log_cap : LOG_MIN;
	struct tcp_rack_rtx *log;

	if (cap > TCP_RACK_LOG_MAX)
		return false;
	log = tcp_mem_get(m, cap * sizeof(*log));
	if (!log)
		return false;
	for (uint32_t i = 0; i < k->log_count; i++)
		log[i] = *log_at(k, i);
	if (k->log)
		tcp_mem_put(m, k->log, k->log_cap * sizeof(*log));
	k->log = log;
	k->log_cap = cap;
	k->log_head = 0;
	return true;
}

void tcp_rack_rtx(struct tcp_rack *k, struct tcp_mem *m, uint64_t start, uint64_t end,
		  uint64_t now_ns)
{
	if (k->log_count == k->log_cap && !log_grow(k, m))
		return;
	*log_at(k, k->log_count++) = (struct tcp_rack_rtx){start, end, now_ns};
}

/* ---- what was delivered ---------------------------------------------------------------------- */

/* RACK_sent_after() */
static bool sent_after(uint64_t ns1, uint64_t end1, uint64_t ns2, uint64_t end2)
{
	return ns1 > ns2 || (ns1 == ns2 && end1 > end2);
}

void tcp_rack_acked(struct tcp_rack *k, const struct tcp_sent_ack *a)
{
	if (a->reordered)
		k->reordering_seen = true;
	if (!a->newest_valid)
		return;
	k->rtt_ns = a->now_ns - a->newest_ns;
	if (k->valid && !sent_after(a->newest_ns, a->newest_end, k->xmit_ns, k->end))
		return;
	k->valid = true;
	k->xmit_ns = a->newest_ns;
	k->end = a->newest_end;
}

void tcp_rack_dsack(struct tcp_rack *k, uint64_t una, uint64_t nxt)
{
	if (una < k->dsack_round)
		return; /* one step a round trip */
	k->dsack_round = nxt;
	if (k->reo_mult < UINT16_MAX)
		k->reo_mult++;
	k->reo_persist = REO_PERSIST;
}

void tcp_rack_recovered(struct tcp_rack *k)
{
	if (k->reo_persist)
		k->reo_persist--;
	if (!k->reo_persist)
		k->reo_mult = 1;
}

void tcp_rack_rewind(struct tcp_rack *k, uint64_t una)
{
	k->cursor = una;
}

/* Without any sign of reordering, and with evidence of loss, it does not wait. Otherwise
 * min(mult · min_RTT / 4, SRTT). */
uint64_t tcp_rack_reo_wnd_ns(const struct tcp_rack *k, const struct tcp_sent *s,
			     const struct tcp_rack_env *e)
{
	uint64_t wnd = k->reo_mult * (e->min_rtt_ns / 4);

	if (!k->reordering_seen &&
	    (e->in_recovery || s->sacked_bytes > (TCP_DUPTHRESH - 1ull) * e->mss))
		return 0;
	return wnd < e->srtt_ns ? wnd : e->srtt_ns;
}

/* ---- what is lost ---------------------------------------------------------------------------- */

enum verdict { LATE, MAYBE, NOT_BEFORE };

/* LATE: lost. MAYBE: at *deadline_ns if nothing is heard. NOT_BEFORE: sent after what arrived. */
static enum verdict judge(const struct tcp_rack *k, const struct tcp_rack_env *e, uint64_t wnd_ns,
			  const struct tcp_rack_rtx *seg, uint64_t *deadline_ns)
{
	uint64_t due = seg->xmit_ns + k->rtt_ns + wnd_ns;

	if (!sent_after(k->xmit_ns, k->end, seg->xmit_ns, seg->end))
		return NOT_BEFORE;
	if (due <= e->now_ns)
		return LATE;
	if (due < *deadline_ns)
		*deadline_ns = due;
	return MAYBE;
}

static void detect_first(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e,
			 uint64_t wnd_ns, uint64_t *deadline_ns)
{
	uint32_t i;

	if (k->cursor < s->una)
		k->cursor = s->una;
	for (i = tcp_sent_find(s, k->cursor); i < s->count; i++) {
		const struct tcp_sent_rec *r = tcp_sent_at(s, i);
		struct tcp_rack_rtx seg = {r->start, r->end, r->xmit_ns};

		if (r->n_xmit == 1 && !r->flags) {
			if (judge(k, e, wnd_ns, &seg, deadline_ns) != LATE)
				break;
			tcp_sent_mark_lost(s, i);
		}
		k->cursor = seg.end;
	}
}

/* The first record at or behind *i of this retransmission, still unanswered: false when none. It
 * may have been cut since, or be acknowledged or sent once more. */
static bool rtx_find(struct tcp_sent *s, const struct tcp_rack_rtx *seg, uint32_t *i)
{
	for (; *i < s->count; ++*i) {
		const struct tcp_sent_rec *r = tcp_sent_at(s, *i);

		if (r->start >= seg->end)
			return false;
		if (r->flags & TCP_SENT_RTX && r->xmit_ns == seg->xmit_ns)
			return true;
	}
	return false;
}

static void detect_rtx(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e,
		       uint64_t wnd_ns, uint64_t *deadline_ns)
{
	for (; k->log_count; log_pop(k)) {
		const struct tcp_rack_rtx *seg = log_at(k, 0);
		uint32_t i = tcp_sent_find(s, seg->start);

		for (; rtx_find(s, seg, &i); i++) {
			const struct tcp_sent_rec *r = tcp_sent_at(s, i);
			struct tcp_rack_rtx part = {r->start, r->end, r->xmit_ns};

			if (judge(k, e, wnd_ns, &part, deadline_ns) != LATE)
				return;
			tcp_sent_mark_lost(s, i);
		}
	}
}

/* Marking takes a record's bytes out of the pipe, so the difference is what was marked. */
uint64_t tcp_rack_detect(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e,
			 uint64_t *deadline_ns)
{
	uint64_t wnd = tcp_rack_reo_wnd_ns(k, s, e);
	uint64_t pipe = tcp_sent_pipe(s);

	*deadline_ns = TCP_RACK_NEVER;
	if (!k->valid)
		return 0;
	detect_first(k, s, e, wnd, deadline_ns);
	detect_rtx(k, s, e, wnd, deadline_ns);
	return pipe - tcp_sent_pipe(s);
}

uint64_t tcp_rack_rto(struct tcp_rack *k, struct tcp_sent *s, const struct tcp_rack_env *e)
{
	uint64_t wnd = tcp_rack_reo_wnd_ns(k, s, e);
	uint64_t pipe = tcp_sent_pipe(s);

	for (uint32_t i = 0; i < s->count; i++)
		if (!i || tcp_sent_at(s, i)->xmit_ns + k->rtt_ns + wnd <= e->now_ns)
			tcp_sent_mark_lost(s, i);
	return pipe - tcp_sent_pipe(s);
}

/* ---- without SACK ---------------------------------------------------------------------------- */

/* Marks the first segment lost, cut to one if there is memory. */
static bool mark_head(struct tcp_sent *s, struct tcp_mem *m, uint32_t mss)
{
	bool cut = true; /* without memory the whole record is marked: more is sent, no harm */

	if (!s->count)
		return false;
	if (tcp_sent_at(s, 0)->end - s->una > mss)
		cut = !tcp_sent_split(s, m, 0, s->una + mss);
	(void)cut;
	return tcp_sent_mark_lost(s, 0);
}

bool tcp_rack_dupack(struct tcp_rack *k, struct tcp_sent *s, struct tcp_mem *m, uint32_t mss)
{
	if (k->dupacks < UINT32_MAX)
		k->dupacks++;
	return k->dupacks == TCP_DUPTHRESH && mark_head(s, m, mss);
}

void tcp_rack_dupack_clear(struct tcp_rack *k)
{
	k->dupacks = 0;
}

bool tcp_rack_partial_ack(struct tcp_sent *s, struct tcp_mem *m, uint32_t mss)
{
	return mark_head(s, m, mss);
}

/* ---- tail loss probe ------------------------------------------------------------------------- */

void tcp_tlp_sent(struct tcp_tlp *p, uint64_t nxt, bool is_rtx)
{
	*p = (struct tcp_tlp){.end = nxt, .pending = true, .is_rtx = is_rtx};
}

bool tcp_tlp_acked(struct tcp_tlp *p, const struct tcp_tlp_ack *a)
{
	if (!p->pending || a->una < p->end)
		return false;
	if (!p->is_rtx || a->dsack_of_end) {
		p->pending = false; /* new data, or both copies arrived */
		return false;
	}
	if (a->una > p->end) {
		p->pending = false;
		return true;
	}
	if (a->bare_dup)
		p->pending = false; /* the second copy, told by a peer without DSACK */
	return false;
}
