/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Several segments of a burst as one. A bulk sender's segments arrive one behind the other and
 * differ in nothing but where they stand in the stream: what the first one says of acknowledgement,
 * window and timestamp the others repeat. So their payload is hung behind the first one's, and the
 * engine looks at the connection once: one decision about the acknowledgement, one entry of the
 * receive queue, one event.
 *
 * Merged is only what would take the fast path one by one (RFC 9293 §3.10.7.4 in its common case):
 * exactly in order, nothing missing, nothing lost, no flag but ACK and PSH, the same ACK, window,
 * ECN bits and timestamps, all of it inside the window. Whatever loss recovery of either side wants
 * to see is therefore seen segment by segment: duplicate and partial ACKs, holes, SACK and D-SACK,
 * CE marks. Counters count segments as they arrived; acknowledgements count bytes (RFC 5681 §4.2),
 * so the second full-sized segment is not waited for.
 *
 * Not done: merging across segments of other connections in the burst.
 */
#include "tcp/tcp_priv.h"

/* Does b follow a, which may be several already, and say the same? */
static bool continues(const struct tcp_seg *a, const struct tcp_seg *b)
{
	const struct tcp_opts *o = &a->opts, *p = &b->opts;

	return b->conn == a->conn && b->seq == a->seq + a->len && b->len > 0 &&
	       (b->flags & ~TCP_PSH) == TCP_ACK && b->ack == a->ack && b->wnd == a->wnd &&
	       b->ecn == a->ecn && p->n_sack == 0 && p->have_ts == o->have_ts &&
	       (!p->have_ts || (p->ts_val == o->ts_val && p->ts_ecr == o->ts_ecr));
}

/* The payload of p alone, as a chain. */
static struct rte_mbuf *payload(struct pkt *p, uint32_t len)
{
	struct rte_mbuf *m = p->m;
	uint32_t hdr = p->l4_off + p->l4_hdr;

	if (likely(hdr < m->data_len))
		pkt_pull(m, (uint16_t)hdr);
	else
		m = pkt_trim_front(m, hdr);
	pkt_trim_back(m, len);
	p->m = NULL;
	return m;
}

/* Hangs what continues the first segment behind it; returns how many segments that makes. */
static unsigned merge(struct pkt *const *p, struct tcp_seg *s, unsigned n, uint64_t room)
{
	struct rte_mbuf *head = p[0]->m, *tail;
	uint32_t longest = s->len;
	unsigned k;

	/* What pads a short frame would lie between. */
	pkt_trim_back(head, p[0]->l4_off + p[0]->l4_len);
	tail = rte_pktmbuf_lastseg(head);
	for (k = 1; k < n && continues(s, &s[k]) && (uint64_t)s->len + s[k].len <= room; k++) {
		struct rte_mbuf *m = payload(p[k], s[k].len);

		head->nb_segs += m->nb_segs;
		head->pkt_len += m->pkt_len;
		tail->next = m;
		tail = rte_pktmbuf_lastseg(m);
		s->len += s[k].len;
		s->flags |= s[k].flags;
		longest = s[k].len > longest ? s[k].len : longest;
	}
	s->segs = (uint16_t)k;
	/* What a full segment of the peer is, is learned from single ones. */
	p[0]->l4_len = p[0]->l4_hdr + longest;
	return k;
}

void tcp_input_burst(struct tcp *t, struct pkt *const *p, struct tcp_seg *s, unsigned n)
{
	unsigned k;

	for (unsigned i = 0; i < n; i += k) {
		const struct tcp_conn *c = s[i].conn;

		k = 1;
		if (i + 1 < n && c != NULL && s[i].len > 0 && continues(&s[i], &s[i + 1]) &&
		    tcp_key_matches(c, p[i]) && tcp_fast_path_applies(c, &s[i]))
			k = merge(&p[i], &s[i], n - i, c->rcv_adv - c->rcvq.rcv_nxt);
		tcp_input(t, p[i], &s[i]);
	}
}
