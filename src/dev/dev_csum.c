/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Transport checksums of frames on their way out: by the port, which must be told where the headers
 * lie, or in software. The field holds the sum of the pseudo-header (RFC 9293 §3.1), as the
 * protocols leave it, so that the sum over header and payload is the one wanted.
 *
 * memif, af_xdp, rings, files, and the drivers of af_packet and tap have no way to say "this packet
 * has no checksum, and needs none": the far end would have to believe every frame. So it is always
 * computed there. virtio, vhost, and the kernel (dev_vnet.c) say it for each packet, and none is
 * computed on either side.
 */
#include <netinet/in.h>
#include <string.h>

#include "base/csum.h"
#include "dev/dev_priv.h"

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Skips the extension headers that a host sends before a transport header; 0 when malformed. */
static cold_path uint32_t v6_hdr_len(const uint8_t *ip, uint32_t have, uint8_t *proto)
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

bool dev_layout_read(const struct rte_mbuf *m, struct dev_layout *l)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *), *ip;
	uint32_t total, hdr, have = m->data_len;
	uint16_t type;

	l->l2 = 14;
	if (unlikely(have < 14 + 20))
		return false;
	type = get16(p + 12);
	if (unlikely(type == 0x8100)) {
		l->l2 = 18;
		type = get16(p + 16);
	}
	ip = p + l->l2;
	have -= l->l2;
	l->v6 = type == 0x86dd;
	if (have < (l->v6 ? 40 : 20) || (type != 0x0800 && !l->v6))
		return false;
	if (l->v6) {
		total = 40u + get16(ip + 4);
		l->proto = ip[6];
		hdr = 40;
		if (unlikely(l->proto != IPPROTO_TCP && l->proto != IPPROTO_UDP))
			hdr = v6_hdr_len(ip, have, &l->proto);
	} else {
		total = get16(ip + 2);
		l->proto = ip[9];
		hdr = (ip[0] & 15u) * 4;
	}
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

uint8_t *dev_csum_software(struct rte_mbuf *m, const struct dev_layout *l, uint16_t *was)
{
	uint32_t at = (uint32_t)l->l2 + l->l3;
	uint8_t *l4 = rte_pktmbuf_mtod_offset(m, uint8_t *, at);
	uint8_t *field = l4 + csum_field(l->proto);
	uint16_t sum;

	if (unlikely(at + csum_field(l->proto) + 2 > m->data_len))
		return NULL;
	if (likely(l->l4_len <= m->data_len - at))
		sum = csum_finish(csum_add(0, l4, l->l4_len));
	else
		sum = (uint16_t)~pkt_csum(m, at, l->l4_len);
	if (sum == 0 && l->proto == IPPROTO_UDP)
		sum = 0xffff; /* RFC 768: 0 means none */
	memcpy(was, field, 2);
	memcpy(field, &sum, 2);
	return field;
}

void dev_csum_port(struct rte_mbuf *m, const struct pkt *p, const struct dev_layout *l)
{
	uint16_t segment = m->tso_segsz;

	m->tx_offload = 0;
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
	m->tso_segsz = segment;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	/* Each segment has another length, so another header checksum. */
	if (!l->v6)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
}
