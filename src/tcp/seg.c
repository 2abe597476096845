/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Segments: what came in as a struct tcp_seg, what goes out as a buffer with headers (RFC 9293
 * §3.1). Stages 1 and 2 of a burst are here: parse all, then look all up, so that the lines of
 * memory of one segment come while another is worked on (DESIGN §3.5).
 *
 * Checksums: the field of a segment that goes out always holds the sum of the pseudo-header, and
 * PKT_F_L4_CSUM is set: src/dev has the port complete it, or completes it in software where the
 * port can't, in one pass over bytes that nobody has touched before. With PKT_F_TSO the length is
 * left out of the sum, as DPDK wants it.
 *
 * Replies to segments that have no connection are rows in a bounded ring. They cost no buffer until
 * they are sent, and when the ring is full the newest is not sent: a peer that needs one asks
 * again.
 */
#include "base/csum.h"
#include "tcp/tcp_priv.h"

/* RFC 9293 §3.1: combinations that no implementation sends. */
static bool flags_nonsense(uint8_t flags)
{
	return (flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN) ||
	       (flags & (TCP_SYN | TCP_RST)) == (TCP_SYN | TCP_RST) ||
	       (flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == 0;
}

static enum next refuse(struct tcp *t, struct pkt *p, enum drop_reason why)
{
	t->n.in_errs++;
	return pkt_refuse(p, why);
}

static bool csum_good(const struct pkt *p)
{
	uint32_t sum;

	if (p->flags & PKT_F_CSUM_OK)
		return true;
	sum = csum_pseudo(pkt_csum(p->m, p->l4_off, p->l4_len), p->src.b, p->dst.b,
			  p->flags & PKT_F_V6, TCP_PROTO, p->l4_len);
	return csum_fold(sum) == 0xffff;
}

struct tcp_key tcp_key_of(const struct pkt *p)
{
	return (struct tcp_key){
		.laddr = p->dst, .raddr = p->src, .lport = p->dport, .rport = p->sport};
}

/* Makes the header contiguous; its length, or 0. */
static slow_path unsigned header_len_slow(struct pkt *p)
{
	uint32_t fixed = p->l4_off + (uint32_t)sizeof(struct tcp_hdr);
	unsigned len;

	if (p->l4_len < sizeof(struct tcp_hdr) || p->m->pkt_len < p->l4_off + p->l4_len ||
	    fixed + TCP_OPTS_MAX > UINT16_MAX)
		return 0;
	if (pkt_linearize_head(p->m, (uint16_t)fixed) != 0)
		return 0;
	len = tcp_hdr_len((const struct tcp_hdr *)(pkt_data(p->m) + p->l4_off));
	if (len < sizeof(struct tcp_hdr) || len > p->l4_len) /* H02, H03 */
		return 0;
	if (pkt_linearize_head(p->m, (uint16_t)(p->l4_off + len)) != 0)
		return 0;
	return len;
}

/* The same where all of it is in the first buffer. */
static inline unsigned header_len(struct pkt *p)
{
	uint32_t room = p->m->data_len - (uint32_t)p->l4_off;
	unsigned len;

	if (unlikely(p->m->data_len < p->l4_off || room < p->l4_len ||
		     p->l4_len < sizeof(struct tcp_hdr)))
		return header_len_slow(p);
	len = tcp_hdr_len((const struct tcp_hdr *)(pkt_data(p->m) + p->l4_off));
	return likely(len >= sizeof(struct tcp_hdr) && len <= p->l4_len) ? len : 0; /* H02, H03 */
}

enum next tcp_parse(struct tcp *t, struct pkt *p, struct tcp_seg *s)
{
	unsigned hdr_len = header_len(p);
	const struct tcp_hdr *h;

	t->n.in_segs++;
	if (unlikely(hdr_len == 0))
		return refuse(t, p, DROP_TCP_SHORT);
	h = (const struct tcp_hdr *)(pkt_data(p->m) + p->l4_off);
	if (unlikely(!csum_good(p)))
		return refuse(t, p, DROP_TCP_CSUM);
	if (unlikely(flags_nonsense(h->flags)))
		return refuse(t, p, DROP_TCP_BAD_FLAGS);
	if (unlikely(tcp_opts_parse((const uint8_t *)(h + 1), hdr_len - sizeof(*h),
				    h->flags & TCP_SYN, &s->opts) != 0))
		return refuse(t, p, DROP_TCP_BAD_OPT);
	p->sport = be16_host(h->sport);
	p->dport = be16_host(h->dport);
	s->seq = be32_host(h->seq);
	s->ack = be32_host(h->ack);
	s->wnd = be16_host(h->win);
	s->urg = be16_host(h->urg);
	s->flags = h->flags;
	s->ecn = p->tos & 3;
	t->n.ecn_ce += s->ecn == 3;
	s->hdr_len = (uint16_t)hdr_len;
	s->segs = 1;
	s->len = p->l4_len - hdr_len;
	p->l4_hdr = (uint16_t)hdr_len;
	s->hash = tcp_flow_hash(t, &p->dst, &p->src, p->dport, p->sport);
	s->conn = NULL;
	demux_prefetch(&t->demux, s->hash);
	return NEXT_TCP;
}

/* The lines of a connection that a segment touches; the seldom ones are left out. */
static inline void prefetch_conn(const struct tcp_conn *c)
{
	for (size_t off = 0; off < offsetof(struct tcp_conn, listener); off += 64)
		__builtin_prefetch((const char *)c + off);
}

void tcp_prefetch(const struct tcp_conn *c)
{
	prefetch_conn(c);
}

/* By its tag alone: to compare the keys would be to wait for the connection's memory. tcp_input
 * compares them. */
void tcp_lookup(struct tcp *t, const struct pkt *p, struct tcp_seg *s)
{
	struct demux_walk w = demux_walk(&t->demux, s->hash);
	uint32_t i = demux_next(&w);

	if (unlikely(i == DEMUX_NONE))
		return;
	s->conn = slab_at(&t->conns, i);
	prefetch_conn(s->conn);
}

/* ---- out ------------------------------------------------------------------------------------- */

static unsigned write_ts(uint8_t *out, uint32_t val, uint32_t ecr)
{
	be32_t words[3] = {be32(0x0101080a), be32(val), be32(ecr)};

	memcpy(out, words, TCP_TS_LEN);
	return TCP_TS_LEN;
}

static void fill_pkt(struct pkt *p, const struct tcp_out *o, bool v6)
{
	p->port = 0;
	p->proto = TCP_PROTO;
	p->ttl = o->ttl;
	p->tos = o->tos;
	p->flags = PKT_F_L4_CSUM | PKT_F_DF | (v6 ? PKT_F_V6 : 0);
	p->vlan = 0;
	p->drop = DROP_NONE;
	p->sport = o->key->lport;
	p->dport = o->key->rport;
	p->l3_off = 0;
	p->l4_off = 0;
	p->hash = 0;
	p->path = o->path;
	p->src = o->key->laddr;
	p->dst = o->key->raddr;
	p->nexthop = (struct ip_addr){0};
}

bool tcp_seg_start(struct tcp *t, struct tcp_tx *tx, const struct tcp_out *o, struct rte_mbuf *m)
{
	struct tcp_hdr *h;
	unsigned opts = 0;

	if (unlikely(m == NULL))
		return false;
	h = (struct tcp_hdr *)pkt_data(m);
	if (o->opts != NULL)
		opts = tcp_opts_write((uint8_t *)(h + 1), o->opts);
	else if (o->ts)
		opts = write_ts((uint8_t *)(h + 1), o->ts_val, o->ts_ecr);
	pkt_put(m, (uint16_t)(sizeof(*h) + opts));
	h->sport = be16(o->key->lport);
	h->dport = be16(o->key->rport);
	h->seq = be32(o->seq);
	h->ack = be32(o->ack);
	h->off = tcp_hdr_off(opts);
	h->flags = o->flags;
	h->win = be16(o->wnd);
	h->urg = be16(o->urg);
	fill_pkt(&tx->p, o, !ip_addr_is_v4(&o->key->raddr));
	tx->p.m = m;
	tx->p.l4_hdr = (uint16_t)(sizeof(*h) + opts);
	return true;
}

void tcp_seg_finish(struct tcp_tx *tx, uint16_t tso_segsz)
{
	struct pkt *p = &tx->p;
	struct tcp_hdr *h = (struct tcp_hdr *)pkt_data(p->m);
	uint32_t len = p->m->pkt_len;

	p->l4_len = len;
	if (tso_segsz != 0) {
		p->flags |= PKT_F_TSO;
		p->m->tso_segsz = tso_segsz;
		len = 0;
	}
	h->csum.v =
		csum_fold(csum_pseudo(0, p->src.b, p->dst.b, p->flags & PKT_F_V6, TCP_PROTO, len));
}

void tcp_reply(struct tcp *t, const struct tcp_reply *r)
{
	if (t->reply_count == TCP_REPLIES)
		return;
	t->replies[(t->reply_head + t->reply_count++) % TCP_REPLIES] = *r;
}

/* RFC 9293 §3.10.7.1. Never in answer to a reset, nor to a group. */
void tcp_reply_rst(struct tcp *t, const struct pkt *p, const struct tcp_seg *s)
{
	struct tcp_reply r = {.key = tcp_key_of(p), .path = PATH_NONE, .flags = TCP_RST};

	if (s->flags & TCP_RST)
		return;
	if (s->flags & TCP_ACK) {
		r.seq = s->ack;
	} else {
		r.flags |= TCP_ACK;
		r.ack = s->seq + s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	}
	t->n.out_rsts++;
	tcp_reply(t, &r);
}
