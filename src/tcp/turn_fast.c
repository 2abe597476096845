/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What nearly every turn of a dialogue is: all that is queued goes out as one segment, which
 * acknowledges too; or there is only to acknowledge. A list of questions selects it; the answer
 * "no" to any leaves the turn to turn.c. A segment made here is the same, byte for byte, that
 * turn.c would make.
 *
 * The header is written from registers, the sum of the pseudo-header included. Payload is copied
 * behind it where turn.c's gathering would copy it, else it is one slice.
 */
#include "base/csum.h"
#include "tcp/turn_priv.h"

/* Nothing of the connection needs attention but data in order. */
static inline bool conn_is_plain(const struct tcp_conn *c)
{
	return c->state == TCP_ESTABLISHED && !c->fin_queued && !c->fin_rcvd && !c->tlp_due &&
	       !c->probe_due && !c->cork && !c->more && !c->snd_urg && c->ts &&
	       c->rcvq.n_blocks == 0 && c->rcvq.dsack.start == c->rcvq.dsack.end &&
	       c->sent.lost_bytes == 0 && c->sent.sacked_bytes == 0 && c->sent.rtx_bytes == 0 &&
	       c->cc.phase == TCP_CC_OPEN && (c->sack || c->repair == NULL);
}

/* RFC 5681 §4.1: the window may have to shrink first. */
static inline bool was_idle(const struct tcp *t, const struct tcp_conn *c)
{
	return c->last_snd_ns != 0 && t->now_ns - c->last_snd_ns > c->rtt.rto_base_us * 1000ull;
}

/* Do `len` bytes, which are all that is queued, go as one segment now? */
static inline bool data_may_go(const struct tcp *t, const struct tcp_conn *c, uint64_t len)
{
	uint64_t flight = tcp_sent_outstanding(&c->sent), most = flight + len;

	return len <= c->mss && most <= c->snd_wnd && most <= c->cc.cwnd_bytes &&
	       c->sndq.tail->data_len == len && c->sent.count < c->sent.cap &&
	       (flight == 0 ? !was_idle(t, c) : c->nodelay);
}

static inline void write_header(const struct turn *u, struct tcp_hdr *h, uint8_t flags,
				uint32_t l4_len)
{
	const struct tcp_conn *c = u->c;
	uint64_t nxt = c->sent.nxt;
	be32_t ts[3] = {be32(0x0101080a), be32(tcp_ts_now(u->t, c)), be32(c->ts_recent)};
	uint32_t sum =
		csum_pseudo(0, c->key.laddr.b, c->key.raddr.b, tcp_is_v6(c), TCP_PROTO, l4_len);

	*h = (struct tcp_hdr){
		.sport = be16(c->key.lport),
		.dport = be16(c->key.rport),
		.seq = be32((uint32_t)nxt),
		.ack = be32((uint32_t)c->rcvq.rcv_nxt),
		.off = tcp_hdr_off(TCP_TS_LEN),
		.flags = flags,
		.win = be16(u->wnd),
		.csum.v = csum_fold(sum),
	};
	memcpy(h + 1, ts, sizeof(ts));
}

static inline void describe(const struct turn *u, struct rte_mbuf *m, uint32_t l4_len,
			    enum tx_kind kind)
{
	struct tcp_conn *c = u->c;
	struct tcp_tx *tx = u->tx;
	struct pkt *p = &tx->p;

	p->m = m;
	p->port = 0;
	p->proto = TCP_PROTO;
	p->ttl = c->ttl;
	p->tos = c->tos;
	p->flags = PKT_F_L4_CSUM | PKT_F_DF | (tcp_is_v6(c) ? PKT_F_V6 : 0);
	p->vlan = 0;
	p->drop = DROP_NONE;
	p->sport = c->key.lport;
	p->dport = c->key.rport;
	p->l3_off = 0;
	p->l4_off = 0;
	p->l4_hdr = sizeof(struct tcp_hdr) + TCP_TS_LEN;
	p->l4_len = l4_len;
	p->hash = 0;
	p->path = c->link.path;
	p->src = c->key.laddr;
	p->dst = c->key.raddr;
	p->nexthop = (struct ip_addr){0};
	tx->conn = c;
	tx->start = c->sent.nxt;
	tx->end = c->sent.nxt + l4_len - p->l4_hdr;
	tx->kind = kind | (uint32_t)u->wnd << 16;
}

/* Puts the last element's bytes, all of them, behind the header. False: no buffer. */
static inline bool add_payload(const struct turn *u, struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *last = u->c->sndq.tail, *slice;

	if (likely(len <= PKT_INLINE_MAX && tcp_sndq_copied(last))) {
		memcpy(pkt_put(m, (uint16_t)len), pkt_data(last), len);
		return true;
	}
	slice = pkt_slice(u->t->cfg.pools, last, 0, (uint16_t)len);
	if (unlikely(slice == NULL))
		return false;
	m->next = slice;
	m->nb_segs = 2;
	m->pkt_len += len;
	return true;
}

static inline bool offer_plain(struct turn *u, uint32_t len)
{
	uint32_t hdr = sizeof(struct tcp_hdr) + TCP_TS_LEN;
	struct rte_mbuf *m = pkt_alloc_hdr(u->t->cfg.pools);

	if (unlikely(m == NULL))
		return false;
	write_header(u, (struct tcp_hdr *)pkt_put(m, (uint16_t)hdr),
		     len > 0 ? TCP_ACK | TCP_PSH : TCP_ACK, hdr + len);
	if (len > 0 && unlikely(!add_payload(u, m, len))) {
		pkt_free(m);
		return false;
	}
	describe(u, m, hdr + len, len > 0 ? TX_NEW : TX_BARE);
	u->n = 1;
	return true;
}

bool tcp_turn_fast(struct turn *u)
{
	struct tcp_conn *c = u->c;
	uint64_t len = c->sndq.end_off - c->sent.nxt, edge;

	if (unlikely(!conn_is_plain(c)) || (len > 0 ? !data_may_go(u->t, c, len) : !c->ack_now))
		return false;
	c->cwnd_used = false;
	u->wnd = tcp_window_field(u->t, c, false, &edge);
	return offer_plain(u, (uint32_t)len);
}
