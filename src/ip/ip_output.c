/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IP output: source, route, size, header (RFC 1122 §3.3.1, RFC 8200 §3).
 *
 * The IPv4 header checksum is always made here: 20 bytes in the cache cost less than telling the
 * port. Not done: options, loopback (a packet to an address of ours is refused: they turn round
 * above), zones of link-local addresses beyond the interface of the source.
 */
#include "ip/ip_priv.h"
#include "base/csum.h"
#include "base/hash.h"

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

static enum drop_reason resolve(struct ip *ip, struct pkt *p, uint8_t *ifindex)
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
	if (ip_addr_is_any(&p->dst) || ip_addr_is_loopback(&p->dst) ||
	    ip_addr_find(ip, &p->dst) != NULL || !find_way(ip, p, ifindex))
		return DROP_IP_NO_ROUTE;
	return DROP_NONE;
}

static struct way *way_slot(struct ip *ip, const struct pkt *p)
{
	uint64_t h =
		hash_mix(p->dst.q[0] ^ p->dst.q[1] ^ HASH_C1, p->src.q[0] ^ p->src.q[1] ^ HASH_C2);

	return &ip->way[h % IP_WAYS];
}

enum drop_reason ip_resolve(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	struct way *w = way_slot(ip, p);
	struct ip_addr asked = p->src;
	enum drop_reason why;

	if (likely(w->generation == ip->generation && ip_addr_eq(&w->dst, &p->dst) &&
		   ip_addr_eq(&w->src, &p->src))) {
		p->src = w->from;
		p->nexthop = w->nexthop;
		*ifindex = w->ifindex;
		return DROP_NONE;
	}
	why = resolve(ip, p, ifindex);
	if (why == DROP_NONE)
		*w = (struct way){.src = asked,
				  .dst = p->dst,
				  .from = p->src,
				  .nexthop = p->nexthop,
				  .generation = ip->generation,
				  .ifindex = *ifindex};
	return why;
}

/* RFC 6864 §4: the identification means something only where fragments may arise. */
static void push_v4(struct ip *ip, struct pkt *p, uint8_t ttl)
{
	bool df = (p->flags & PKT_F_DF) != 0;
	uint16_t id = df ? 0 : (uint16_t)ip_ident(ip, &p->src, &p->dst, p->proto);
	uint32_t total = p->m->pkt_len + IP4_HDR_LEN;
	/* Words of the wire in registers, summed there: a header read back at once would stall. */
	uint32_t w0 = 0x45 | (uint32_t)p->tos << 8 | (uint32_t)be16((uint16_t)total).v << 16;
	uint32_t w1 = be16(id).v | (uint32_t)be16(df ? IP4_FRAG_DF : 0).v << 16;
	uint32_t w2 = ttl | (uint32_t)p->proto << 8;
	uint32_t w3 = p->src.w[3].v, w4 = p->dst.w[3].v;
	uint64_t sum = (uint64_t)w0 + w1 + w2 + w3 + w4;
	be32_t *h = (be32_t *)pkt_push(p->m, IP4_HDR_LEN);

	h[0].v = w0;
	h[1].v = w1;
	h[2].v = w2 | (uint32_t)csum_finish(csum_fold64(sum)) << 16;
	h[3].v = w3;
	h[4].v = w4;
}

static void push_v6(struct pkt *p, uint8_t ttl)
{
	uint32_t len = p->m->pkt_len;
	struct ip6_hdr *h = (struct ip6_hdr *)pkt_push(p->m, IP6_HDR_LEN);

	h->ver_tc_flow = be32(UINT32_C(6) << 28 | (uint32_t)p->tos << 20);
	h->payload_len = be16((uint16_t)len);
	h->next = p->proto;
	h->hop_limit = ttl;
	memcpy(h->src, p->src.b, 16);
	memcpy(h->dst, p->dst.b, 16);
}

/* The usual segment: TCP knows its path, and whether it is of IPv6. */
static inline bool is_plain(const struct ip *ip, const struct pkt *p, uint8_t ifindex)
{
	bool v4 = (p->flags & PKT_F_V6) == 0;

	return p->path != PATH_NONE && (p->flags & PKT_F_TSO) == 0 && p->ttl != 0 &&
	       p->m->pkt_len + (v4 ? IP4_HDR_LEN : IP6_HDR_LEN) <= link_mtu(ip, ifindex, v4);
}

/* Way and size. DROP_NONE: p->nexthop and *ifindex are set, p->flags names the family. */
static slow_path enum drop_reason find_out(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	bool v4 = ip_addr_is_v4(&p->dst);
	uint32_t total = p->m->pkt_len + (v4 ? IP4_HDR_LEN : IP6_HDR_LEN);
	enum drop_reason why;
	uint16_t mtu;

	if (p->path != PATH_NONE) { /* TCP knows its path MTU, and p->src is set */
		mtu = link_mtu(ip, *ifindex, v4);
	} else {
		why = ip_resolve(ip, p, ifindex);
		if (unlikely(why != DROP_NONE))
			return why;
		mtu = pmtu_over(ip, &p->dst, *ifindex);
	}
	p->flags = (uint16_t)(v4 ? p->flags & ~PKT_F_V6 : p->flags | PKT_F_V6);
	if (unlikely((v4 ? total : p->m->pkt_len) > UINT16_MAX ||
		     (total > mtu && !(p->flags & PKT_F_TSO))))
		return DROP_IP_TOO_BIG;
	return DROP_NONE;
}

enum next ip_output(struct ip *ip, struct pkt *p, uint8_t *ifindex)
{
	uint8_t ttl = p->ttl != 0 ? p->ttl : ip->cfg.default_ttl;
	enum drop_reason why;

	if (unlikely(!is_plain(ip, p, *ifindex))) {
		why = find_out(ip, p, ifindex);
		if (why != DROP_NONE)
			return pkt_refuse(p, why);
	}
	if (p->flags & PKT_F_V6)
		push_v6(p, ttl);
	else
		push_v4(ip, p, ttl);
	ip->counters.out_requests++;
	return NEXT_NEIGH_OUT;
}
