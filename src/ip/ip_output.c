/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IP output: source, route, size, header (RFC 1122 §3.3.1, RFC 8200 §3).
 *
 * The IPv4 header checksum is always made here: 20 bytes in the cache cost less than telling the
 * port. Not done: options, loopback (a packet to an address of ours is refused: the sockets join
 * such peers above), zones of link-local addresses beyond the interface of the source.
 */
#include "ip/ip_priv.h"
#include "base/csum.h"

/* Fills *ifindex and the next hop. Groups and link-local addresses may have no route: then the
 * source's interface is meant, and they are on its link. */
static bool find_way(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	const struct ip_route *r = ip_route_find(ip, &p->dst);
	const struct ip_ifaddr *own = ip_addr_find(ip, &p->src);
	bool link_scope = ip_addr_is_multicast(&p->dst) || ip_addr_is_link_local6(&p->dst) ||
			  ip_is_broadcast(ip, &p->dst);

	p->nexthop = p->dst;
	if (link_scope && own != NULL) {
		*ifindex = own->ifindex;
		return true;
	}
	if (r == NULL)
		return false;
	*ifindex = r->ifindex;
	if (!link_scope && !ip_addr_is_any(&r->gateway))
		p->nexthop = r->gateway;
	return true;
}

enum drop_reason ip_resolve(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	const struct ip_ifaddr *own;

	if (ip_addr_is_any(&p->src)) {
		own = ip_source_for(ip, &p->dst);
		if (own == NULL)
			return DROP_IP_NO_SOURCE;
		p->src = own->addr;
	}
	if (ip_addr_is_v4(&p->src) != ip_addr_is_v4(&p->dst))
		return DROP_IP_NO_SOURCE;
	if (p->path != PATH_NONE)
		return DROP_NONE;
	if (ip_addr_is_any(&p->dst) || ip_addr_is_loopback(&p->dst) ||
	    ip_addr_find(ip, &p->dst) != NULL || !find_way(ip, p, ifindex))
		return DROP_IP_NO_ROUTE;
	return DROP_NONE;
}

/* RFC 6864 §4: the identification means something only where fragments may arise. */
static void push_v4(struct ip *ip, struct pkt *p)
{
	bool df = (p->flags & PKT_F_DF) != 0;
	struct ip4_hdr *h = (struct ip4_hdr *)pkt_push(p->m, IP4_HDR_LEN);

	*h = (struct ip4_hdr){
		.ver_ihl = 0x45,
		.tos = p->tos,
		.total_len = be16((uint16_t)p->m->pkt_len),
		.id = be16(df ? 0 : (uint16_t)ip_ident(ip, &p->src, &p->dst, p->proto)),
		.frag = be16(df ? IP4_FRAG_DF : 0),
		.ttl = p->ttl,
		.proto = p->proto,
		.src = p->src.w[3],
		.dst = p->dst.w[3],
	};
	h->csum.v = csum_finish(csum_add(0, h, sizeof(*h)));
}

static void push_v6(struct pkt *p)
{
	uint32_t len = p->m->pkt_len;
	struct ip6_hdr *h = (struct ip6_hdr *)pkt_push(p->m, IP6_HDR_LEN);

	h->ver_tc_flow = be32(UINT32_C(6) << 28 | (uint32_t)p->tos << 20);
	h->payload_len = be16((uint16_t)len);
	h->next = p->proto;
	h->hop_limit = p->ttl;
	memcpy(h->src, p->src.b, 16);
	memcpy(h->dst, p->dst.b, 16);
}

enum next ip_output(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	bool v4 = ip_addr_is_v4(&p->dst);
	uint32_t total = p->m->pkt_len + (v4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	enum drop_reason why = ip_resolve(ip, p, ifindex);

	if (why != DROP_NONE)
		return pkt_refuse(p, why);
	p->flags = (uint16_t)(v4 ? p->flags & ~PKT_F_V6 : p->flags | PKT_F_V6);
	if (p->ttl == 0)
		p->ttl = ip->cfg.default_ttl;
	if ((v4 ? total : p->m->pkt_len) > UINT16_MAX ||
	    (!(p->flags & PKT_F_TSO) && total > pmtu_over(ip, &p->dst, *ifindex)))
		return pkt_refuse(p, DROP_IP_TOO_BIG);
	if (v4)
		push_v4(ip, p);
	else
		push_v6(p);
	p->m->l3_len = v4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	ip->counters.out_requests++;
	return NEXT_NEIGH_OUT;
}
