/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A datagram to send (RFC 768): the header in a buffer of its own in front of the payload, which is
 * not touched. With PKT_F_L4_CSUM the port completes the checksum and wants the sum of the
 * pseudo-header in the field; otherwise it is computed here. A computed 0 goes out as 0xffff.
 *
 * Not done: sending without a checksum (RFC 768 lets IPv4 do so), segmentation offload (UDP GSO).
 */
#include "base/csum.h"
#include "udp/udp_priv.h"
#include "wire/ip4.h"
#include "wire/udp.h"

/* The payload goes back in p: who gets NEXT_DROP counts and frees it. */
static enum next refuse(struct pkt *p, struct rte_mbuf *payload, enum drop_reason why)
{
	p->m = payload;
	return pkt_refuse(p, why);
}

static uint16_t csum_field(const struct pkt *p, uint16_t len)
{
	bool v6 = !ip_addr_is_v4(&p->dst);
	uint32_t sum = csum_pseudo(0, p->src.b, p->dst.b, v6, IP_PROTO_UDP, len);
	uint16_t csum;

	if (p->flags & PKT_F_L4_CSUM)
		return csum_fold(sum);
	csum = csum_finish(sum + pkt_csum(p->m, 0, len));
	return csum ? csum : 0xffff;
}

enum next udp_output(struct udp *u, const struct pkt_pools *pools, struct pkt *p,
		     struct rte_mbuf *payload)
{
	uint32_t len = (uint32_t)sizeof(struct udp_hdr) + (payload ? payload->pkt_len : 0);
	struct udp_hdr *h;

	if (len > UINT16_MAX || (payload && payload->nb_segs == UINT16_MAX))
		return refuse(p, payload, DROP_IP_TOO_BIG);
	p->m = pkt_alloc_hdr(pools);
	if (p->m == NULL)
		return refuse(p, payload, DROP_NO_MBUF);
	h = (struct udp_hdr *)pkt_put(p->m, sizeof(*h));
	if (payload) {
		p->m->next = payload;
		p->m->nb_segs = (uint16_t)(payload->nb_segs + 1);
		p->m->pkt_len += payload->pkt_len;
	}
	p->proto = IP_PROTO_UDP;
	p->l4_hdr = sizeof(*h);
	p->l4_len = len;
	*h = (struct udp_hdr){
		.sport = be16(p->sport), .dport = be16(p->dport), .len = be16((uint16_t)len)};
	h->csum.v = csum_field(p, (uint16_t)len);
	u->n.out_datagrams++;
	return NEXT_IP_OUT;
}
