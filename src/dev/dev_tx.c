/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sending a burst. Each packet is made fit for the port (copied together, checksummed, or marked
 * for its offloads), then all are offered at once; what the port did not take is put back as it
 * was. A packet that must be copied is sent as the copy, and the original is freed when the copy
 * went out.
 *
 * Segmentation in software is not done: a TSO packet for a port without TSO (caps.tso) is dropped.
 */
#include <string.h>

#include <linux/sockios.h>
#include <rte_ip.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dev/dev_priv.h"

/* Ethernet and one VLAN tag. */
#define L2_MAX 18

/* One packet on its way out: what goes to the port, and how to undo it. */
struct ready {
	struct rte_mbuf *m;
	uint8_t *csum; /* field that software completed, or NULL */
	uint16_t csum_was;
};

/* Where the headers of a frame lie. l4_len ends where IP says, not where padding ends. */
struct layout {
	uint16_t l2, l3;
	uint32_t l4_len;
	uint8_t proto;
	bool v6;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Skips the extension headers that a host sends before a transport header; 0 when malformed. */
static uint32_t v6_hdr_len(const uint8_t *ip, uint32_t have, uint8_t *proto)
{
	uint32_t len = 40;

	*proto = ip[6];
	while (*proto == IPPROTO_HOPOPTS || *proto == IPPROTO_ROUTING ||
	       *proto == IPPROTO_DSTOPTS) {
		if (len + 8 > have)
			return 0;
		*proto = ip[len];
		len += 8u + 8u * ip[len + 1];
	}
	return len;
}

/* Reads the headers, which our own stack built into the first segment. False: not such a frame. */
static bool layout_read(struct rte_mbuf *m, struct layout *l)
{
	const uint8_t *p = pkt_data(m), *ip;
	uint32_t total, hdr, have = m->data_len;
	uint16_t type;

	l->l2 = 14;
	if (have < 14 + 20)
		return false;
	type = get16(p + 12);
	if (type == 0x8100) {
		l->l2 = 18;
		type = get16(p + 16);
	}
	ip = p + l->l2;
	have -= l->l2;
	l->v6 = type == 0x86dd;
	if (have < (l->v6 ? 40 : 20) || (type != 0x0800 && !l->v6))
		return false;
	total = l->v6 ? 40u + get16(ip + 4) : get16(ip + 2);
	l->proto = ip[9];
	hdr = l->v6 ? v6_hdr_len(ip, have, &l->proto) : (ip[0] & 15u) * 4;
	/* The shortest transport header is 8 bytes. */
	if (hdr < 20 || hdr + 8 > have || hdr + 8 > total || l->l2 + total > m->pkt_len)
		return false;
	l->l3 = (uint16_t)hdr;
	l->l4_len = total - hdr;
	return true;
}

static unsigned csum_field(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	default: /* ICMP, ICMPv6 */
		return 2;
	}
}

/* Sum over a chain. (rte_raw_cksum_mbuf of DPDK 22.11 cuts the sum of a segment that starts at an
 * odd offset to 16 bits before it is folded: wrong for such chains.) */
static uint16_t csum_chain(const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	uint32_t sum = 0, done = 0;

	for (; m != NULL && done < len; m = m->next) {
		uint32_t n, part;

		if (off >= m->data_len) {
			off -= m->data_len;
			continue;
		}
		n = RTE_MIN(m->data_len - off, len - done);
		part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, void *, off), n);
		sum += done & 1 ? rte_bswap16((uint16_t)part) : part;
		done += n;
		off = 0;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* The field holds the sum of the pseudo-header, so the sum over everything is the one wanted. */
static bool csum_software(struct ready *r, const struct layout *l)
{
	uint32_t at = (uint32_t)l->l2 + l->l3;
	uint16_t sum;

	if (at + csum_field(l->proto) + 2 > r->m->data_len)
		return false;
	sum = (uint16_t)~csum_chain(r->m, at, l->l4_len);
	if (sum == 0 && l->proto == IPPROTO_UDP)
		sum = 0xffff; /* RFC 768: 0 means none */
	r->csum = pkt_data(r->m) + at + csum_field(l->proto);
	memcpy(&r->csum_was, r->csum, 2);
	memcpy(r->csum, &sum, 2);
	return true;
}

static void csum_port(struct rte_mbuf *m, const struct pkt *p, const struct layout *l)
{
	m->l2_len = l->l2;
	m->l3_len = l->l3;
	m->ol_flags |= l->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (l->proto == IPPROTO_UDP) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		return;
	}
	m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
	if (!(p->flags & PKT_F_TSO))
		return;
	m->l4_len = p->l4_hdr;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	/* Each segment has another length, so another header checksum. */
	if (!l->v6)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
}

static bool must_linearize(const struct dev *d, const struct rte_mbuf *m)
{
	if (m->nb_segs > d->caps.max_segs)
		return true;
	if (!d->walk_segs)
		return false;
	for (; m != NULL; m = m->next)
		if ((!d->caps.external && (m->ol_flags & RTE_MBUF_F_EXTERNAL)) ||
		    (!d->caps.indirect && (m->ol_flags & RTE_MBUF_F_INDIRECT)))
			return true;
	return false;
}

/* A private copy in one buffer; NULL with *why set. Borrows m. */
static struct rte_mbuf *linearize(const struct rte_mbuf *m, const struct pkt_pools *pools,
				  enum drop_reason *why)
{
	struct rte_mempool *from = m->pkt_len <= PKT_HDR_ROOM ? pools->hdr : pools->rx;
	struct rte_mbuf *c;

	*why = DROP_TX_LINEARIZE;
	if (m->pkt_len + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(from))
		return NULL;
	*why = DROP_NO_MBUF;
	c = rte_pktmbuf_alloc(from);
	if (c == NULL)
		return NULL;
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
		memcpy(pkt_put(c, s->data_len), rte_pktmbuf_mtod(s, void *), s->data_len);
	c->tso_segsz = m->tso_segsz;
	return c;
}

/* Makes p fit for the port. DROP_NONE: r is ready; DROP_NO_MBUF: try later; else: never. */
static enum drop_reason prepare(struct dev *d, const struct pkt *p, const struct pkt_pools *pools,
				struct ready *r)
{
	enum drop_reason why;
	struct layout l;
	bool by_port;

	*r = (struct ready){.m = p->m};
	if (p->flags & PKT_F_TSO ? !d->caps.tso : p->m->pkt_len > (uint32_t)d->mtu + L2_MAX)
		return DROP_IP_TOO_BIG;
	if (unlikely(must_linearize(d, p->m))) {
		r->m = linearize(p->m, pools, &why);
		if (r->m == NULL)
			return why;
	}
	if (!(p->flags & (PKT_F_L4_CSUM | PKT_F_TSO)))
		return DROP_NONE;
	if (unlikely(!layout_read(r->m, &l)))
		goto malformed;
	by_port = d->caps.tx_l4_csum && (l.proto == IPPROTO_TCP || l.proto == IPPROTO_UDP);
	if (by_port)
		csum_port(r->m, p, &l);
	else if (!csum_software(r, &l))
		goto malformed;
	return DROP_NONE;
malformed:
	if (r->m != p->m)
		pkt_free(r->m);
	return DROP_IP_SHORT;
}

/* What left the port: counted, and the original of a copy freed. */
static void sent(struct dev_queue *q, const struct ready *r, struct rte_mbuf *orig, uint32_t len,
		 uint64_t *copied)
{
	q->count.tx_packets++;
	q->count.tx_bytes += len;
	q->count.tx_sw_csum += r->csum != NULL;
	if (r->m == orig)
		return;
	q->count.tx_linearized++;
	q->count.tx_linearized_bytes += len;
	*copied += len;
	pkt_free(orig);
}

static void undo(const struct ready *r, struct rte_mbuf *orig)
{
	if (r->m != orig)
		pkt_free(r->m);
	else if (r->csum != NULL)
		memcpy(r->csum, &r->csum_was, 2);
}

/* Offers *n ready packets; returns how many the port took. *n shrinks to those before the first
 * that its tx_prepare refuses for good. */
static uint16_t offer(struct dev *d, uint16_t queue, const struct ready *r, unsigned *n)
{
	struct rte_mbuf *m[PKT_BURST];

	for (unsigned i = 0; i < *n; i++)
		m[i] = r[i].m;
	if (d->caps.tx_l4_csum)
		*n = rte_eth_tx_prepare(d->port_id, queue, m, (uint16_t)*n);
	return rte_eth_tx_burst(d->port_id, queue, m, (uint16_t)*n);
}

/* Prepares and offers packets up to the first that can't go now or ever; *why says about that. */
static unsigned send_run(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
			 const struct pkt_pools *pools, uint64_t *copied, enum drop_reason *why)
{
	struct ready r[PKT_BURST];
	uint32_t len[PKT_BURST];
	unsigned k, fit, took;

	*why = DROP_NONE;
	for (k = 0; k < n; k++) {
		*why = prepare(d, &p[k], pools, &r[k]);
		if (*why != DROP_NONE)
			break;
		len[k] = p[k].m->pkt_len;
	}
	fit = k;
	took = k > 0 ? offer(d, queue, r, &fit) : 0;
	for (unsigned i = 0; i < took; i++)
		sent(&d->q[queue], &r[i], p[i].m, len[i], copied);
	for (unsigned i = took; i < k; i++)
		undo(&r[i], p[i].m);
	if (took < fit)
		*why = DROP_NO_MBUF; /* the port is full: later */
	else if (fit < k)
		*why = DROP_IP_SHORT; /* refused by the port, as malformed */
	d->q[queue].credit -= RTE_MIN(d->q[queue].credit, took);
	return took;
}

unsigned dev_tx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      const struct pkt_pools *pools, struct drop_counters *drops, uint64_t *copied)
{
	enum drop_reason why;
	unsigned done = 0;

	n = dev_tx_room(d, queue, n);
	while (done < n) {
		done += send_run(d, queue, p + done, n - done, pools, copied, &why);
		if (why == DROP_NO_MBUF)
			break;
		if (why != DROP_NONE)
			pkt_drop(drops, p[done++].m, why);
	}
	return done;
}

/* af_packet waits in poll() when its ring of tx_ring frames is full, so it is never offered more
 * than fit. What it still holds is what the kernel charges to its socket, at least 512 bytes a
 * frame; asked only when the frames counted as free are used up. */
static unsigned af_packet_room(struct dev *d, struct dev_queue *q, unsigned n)
{
	int held = 0;

	if (q->credit >= n)
		return n;
	(void)!sendto(q->wake_fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	if (ioctl(q->wake_fd, SIOCOUTQ, &held) < 0)
		return n;
	held /= 512;
	q->credit = held < d->tx_ring ? (uint32_t)(d->tx_ring - held) : 0;
	return RTE_MIN(n, q->credit);
}

unsigned dev_tx_room(struct dev *d, uint16_t queue, unsigned n)
{
	struct dev_queue *q = &d->q[queue];

	n = RTE_MIN(n, (unsigned)PKT_BURST);
	if (d->caps.kernel_socket && d->tx_ring != 0)
		return af_packet_room(d, q, n);
	return n;
}

void dev_tx_reclaim(struct dev *d, uint16_t queue)
{
	if (d->caps.tx_done_cleanup)
		rte_eth_tx_done_cleanup(d->port_id, queue, 0);
}
