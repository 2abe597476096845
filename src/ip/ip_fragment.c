/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fragmentation at the source (RFC 791 §3.2, RFC 8200 §4.5), and identifications.
 *
 * A fragment is a header buffer of its own and slices of the datagram's buffers: no payload is
 * copied. All fragments are made before the first is handed out, so that a datagram goes whole or
 * not at all. The slices keep the buffers, the datagram itself is freed.
 *
 * An identification is a secret function of source, destination and protocol plus a counter
 * (RFC 7739 §5.3): no reuse towards one peer before the counter wraps (RFC 6864 §4.3), and nothing
 * to be learned from it about the traffic with others. Not done: IPv4 options.
 */
#include <errno.h>

#include "ip/ip_priv.h"
#include "base/csum.h"
#include "base/hash.h"

/* Routers that claim less are left to cut IPv4 fragments themselves: a forged MTU of 68 would
 * multiply our packets by twenty (H18). */
#define IP4_FRAGMENT_MIN 552

uint32_t ip_ident(struct ip *ip, const struct ip_addr *src, const struct ip_addr *dst,
		  uint8_t proto)
{
	uint64_t key, h;

	memcpy(&key, ip->cfg.secret + 8, 8);
	key ^= ip->cfg.seed;
	h = hash_mix(hash_end(dst->b, proto, key), hash_end(src->b, proto, ~key));
	return (uint32_t)h + ip->ident[(h >> 32) % IP_IDENTS]++;
}

/* What PKT_F_L4_CSUM left open: the field holds the sum of the pseudo-header. */
static bool csum_complete(const struct ip *ip, struct pkt *p)
{
	uint16_t at = p->proto == IP_PROTO_TCP ? 16 : p->proto == IP_PROTO_UDP ? 6 : 2;
	uint16_t sum;

	if (!(p->flags & PKT_F_L4_CSUM))
		return true;
	if (!ip_head(ip, p, at + 2u))
		return false;
	sum = (uint16_t)~pkt_csum(p->m, 0, p->m->pkt_len);
	if (sum == 0 && p->proto == IP_PROTO_UDP)
		sum = 0xffff; /* RFC 768: 0 means none */
	memcpy(pkt_data(p->m) + at, &sum, 2);
	p->flags &= (uint16_t)~PKT_F_L4_CSUM;
	return true;
}

/* Where in the datagram the next fragment starts. */
struct cursor {
	struct rte_mbuf *seg;
	uint32_t off; /* in seg */
};

/* Appends slices of the next n bytes to head. */
static bool append(const struct pkt_pools *pools, struct rte_mbuf *head, struct cursor *c,
		   uint32_t n)
{
	struct rte_mbuf *last = head;

	while (n > 0) {
		uint32_t have = c->seg->data_len - c->off;
		uint32_t take = have < n ? have : n;

		if (take > 0) {
			last->next = pkt_slice(pools, c->seg, (uint16_t)c->off, (uint16_t)take);
			if (last->next == NULL)
				return false;
			last = last->next;
			head->nb_segs++;
			head->pkt_len += take;
			n -= take;
			c->off += take;
		}
		if (c->off == c->seg->data_len && c->seg->next != NULL)
			*c = (struct cursor){c->seg->next, 0};
	}
	return true;
}

static void header4(struct rte_mbuf *m, const struct pkt *p, uint32_t id, uint32_t off, bool more)
{
	struct ip4_hdr *h = (struct ip4_hdr *)pkt_data(m);

	*h = (struct ip4_hdr){
		.ver_ihl = 0x45,
		.tos = p->tos,
		.total_len = be16((uint16_t)m->pkt_len),
		.id = be16((uint16_t)id),
		.frag = be16((uint16_t)(off / 8 | (more ? IP4_FRAG_MF : 0))),
		.ttl = p->ttl,
		.proto = p->proto,
		.src = p->src.w[3],
		.dst = p->dst.w[3],
	};
	h->csum.v = csum_finish(csum_add(0, h, sizeof(*h)));
}

static void header6(struct rte_mbuf *m, const struct pkt *p, uint32_t id, uint32_t off, bool more)
{
	struct ip6_hdr *h = (struct ip6_hdr *)pkt_data(m);
	struct ip6_frag_hdr *f = (struct ip6_frag_hdr *)(h + 1);

	h->ver_tc_flow = be32(UINT32_C(6) << 28 | (uint32_t)p->tos << 20);
	h->payload_len = be16((uint16_t)(m->pkt_len - IP6_HDR_LEN));
	h->next = IP6_NEXT_FRAGMENT;
	h->hop_limit = p->ttl;
	memcpy(h->src, p->src.b, 16);
	memcpy(h->dst, p->dst.b, 16);
	*f = (struct ip6_frag_hdr){
		.next = p->proto, .off_m = be16((uint16_t)(off | more)), .id = be32(id)};
}

/* The fragment of len bytes at off; NULL: no buffer. */
static struct rte_mbuf *fragment(struct ip *ip, const struct pkt *p, struct cursor *c, uint32_t id,
				 uint32_t off, uint32_t len)
{
	bool v6 = (p->flags & PKT_F_V6) != 0;
	bool more = off + len < p->m->pkt_len;
	struct rte_mbuf *m = pkt_alloc_hdr(ip->cfg.pools);

	if (m == NULL)
		return NULL;
	(void)pkt_put(m, v6 ? IP6_HDR_LEN + IP6_FRAG_LEN : IP4_HDR_LEN);
	if (!append(ip->cfg.pools, m, c, len)) {
		pkt_free(m);
		return NULL;
	}
	if (v6)
		header6(m, p, id, off, more);
	else
		header4(m, p, id, off, more);
	return m;
}

/* Payload bytes of each fragment but the last. */
static uint32_t fragment_len(struct ip *ip, const struct pkt *p, uint8_t ifindex)
{
	uint32_t mtu = pmtu_over(ip, &p->dst, ifindex);

	if (p->flags & PKT_F_V6)
		return (mtu - IP6_HDR_LEN - IP6_FRAG_LEN) & ~7u;
	if (mtu < IP4_FRAGMENT_MIN)
		mtu = ip->ifs[ifindex].mtu < IP4_FRAGMENT_MIN ? ip->ifs[ifindex].mtu
							      : IP4_FRAGMENT_MIN;
	return (mtu - IP4_HDR_LEN) & ~7u;
}

static int split(struct ip *ip, struct pkt *p, struct pkt *out, unsigned n, uint32_t step)
{
	uint32_t id = ip_ident(ip, &p->src, &p->dst, p->proto);
	struct cursor c = {p->m, 0};
	uint32_t total = p->m->pkt_len;
	unsigned made = 0;

	if ((total + step - 1) / step > n)
		return -EMSGSIZE;
	for (uint32_t off = 0; off < total; off += step) {
		uint32_t len = total - off < step ? total - off : step;

		out[made] = *p;
		out[made].flags &= PKT_F_V6;
		out[made].l4_hdr = 0;
		out[made].m = fragment(ip, p, &c, id, off, len);
		if (out[made].m == NULL) {
			while (made > 0)
				pkt_free(out[--made].m);
			return -ENOBUFS;
		}
		made++;
	}
	return (int)made;
}

int ip_fragment(struct ip *ip, struct pkt *p, struct pkt *out, unsigned n, uint8_t *ifindex)
{
	enum drop_reason why = ip_resolve(ip, p, ifindex);
	bool v6 = !ip_addr_is_v4(&p->dst);
	int rc;

	p->flags = (uint16_t)(v6 ? p->flags | PKT_F_V6 : p->flags & ~PKT_F_V6);
	if (p->ttl == 0)
		p->ttl = ip->cfg.default_ttl;
	if (why != DROP_NONE || *ifindex >= IP_IFS_MAX || !ip->ifs[*ifindex].used)
		rc = -EHOSTUNREACH;
	else if (p->m->pkt_len + (v6 ? 0 : IP4_HDR_LEN) > UINT16_MAX)
		rc = -EMSGSIZE;
	else if (!csum_complete(ip, p))
		rc = -ENOBUFS;
	else
		rc = split(ip, p, out, n, fragment_len(ip, p, *ifindex));
	pkt_free(p->m);
	p->m = NULL;
	if (rc > 0) {
		ip->counters.out_requests++;
		ip->counters.frag_created += (unsigned)rc;
	}
	return rc;
}
