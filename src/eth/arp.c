/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ARP (RFC 826) with probes, announcements and conflicts (RFC 5227). A request for us becomes the
 * reply in its own buffer. What is learned: an answer to our question confirms; anything else only
 * corrects an entry that exists (then STALE, so it is verified when used), and a station that asks
 * for us is introduced, as we are about to be talked to. Not done: proxy ARP.
 */
#include "eth/eth_priv.h"
#include "wire/arp.h"

static bool arp_frame(struct eth *e, uint8_t ifindex, const struct eth_addr *dst,
		      const struct wire_arp *a, struct pkt *p)
{
	p->m = pkt_alloc_hdr(e->cfg.pools);
	if (p->m == NULL) {
		e->cfg.drops->n[DROP_NO_MBUF]++;
		return false;
	}
	memcpy(pkt_put(p->m, sizeof(*a)), a, sizeof(*a));
	eth_push(e, p, ifindex, dst, ETH_TYPE_ARP);
	return true;
}

bool arp_solicit(struct eth *e, const struct neigh *n, struct pkt *p)
{
	const struct own *o = own_nearest(e, n->ifindex, &n->addr);
	struct eth_addr dst = neigh_has_mac(n) ? n->mac : eth_addr_broadcast();
	struct wire_arp a;

	wire_arp_fill(&a, ARP_REQUEST, &e->ifs[n->ifindex].mac, o ? o->addr.w[3] : be32(0),
		      &(struct eth_addr){0}, n->addr.w[3]);
	return arp_frame(e, n->ifindex, &dst, &a, p);
}

bool arp_probe(struct eth *e, const struct own *o, struct pkt *p)
{
	struct eth_addr dst = eth_addr_broadcast();
	struct wire_arp a;

	wire_arp_fill(&a, ARP_REQUEST, &e->ifs[o->ifindex].mac, be32(0), &(struct eth_addr){0},
		      o->addr.w[3]);
	return arp_frame(e, o->ifindex, &dst, &a, p);
}

bool arp_announce(struct eth *e, const struct own *o, struct pkt *p)
{
	struct eth_addr dst = eth_addr_broadcast();
	struct wire_arp a;

	wire_arp_fill(&a, ARP_REQUEST, &e->ifs[o->ifindex].mac, o->addr.w[3], &(struct eth_addr){0},
		      o->addr.w[3]);
	return arp_frame(e, o->ifindex, &dst, &a, p);
}

/* The request becomes the reply: same buffer, trailing padding cut off. */
static enum next reply(struct eth *e, struct pkt *p, uint8_t ifindex)
{
	struct rte_mbuf *m = p->m;
	struct wire_arp *a;
	struct wire_arp rep;
	struct eth_addr to;

	pkt_pull(m, p->l3_off);
	a = (void *)pkt_data(m);
	to = a->sha;
	wire_arp_fill(&rep, ARP_REPLY, &e->ifs[ifindex].mac, a->tpa, &a->sha, a->spa);
	if (!pkt_is_private(m) || m->nb_segs != 1 ||
	    rte_pktmbuf_headroom(m) < sizeof(struct wire_eth) + sizeof(struct wire_vlan)) {
		/* Somebody else reads this buffer too: a new one. */
		pkt_free(m);
		return arp_frame(e, ifindex, &to, &rep, p) ? NEXT_TX : NEXT_CONSUMED;
	}
	*a = rep;
	m->data_len = sizeof(*a);
	m->pkt_len = sizeof(*a);
	m->ol_flags &= RTE_MBUF_F_EXTERNAL;
	m->tx_offload = 0;
	eth_push(e, p, ifindex, &to, ETH_TYPE_ARP);
	return NEXT_TX;
}

/* RFC 5227 §2.1.1 and §2.4: another station uses an address of ours, or probes for one that we
 * probe. */
static bool conflict(struct eth *e, uint8_t ifindex, const struct ip_addr *spa, struct own *target)
{
	struct own *o = ip_addr_is_any(spa) ? NULL : own_find(e, ifindex, spa);

	if (o == NULL && ip_addr_is_any(spa) && target != NULL && target->state == OWN_TENTATIVE)
		o = target;
	if (o == NULL || o->state == OWN_DUPLICATE)
		return false;
	own_conflict(e, o);
	return true;
}

static bool sender_possible(const struct ip_addr *spa)
{
	return !ip_addr_is_multicast(spa) && !ip_addr_is_loopback(spa) &&
	       be32_host(spa->w[3]) != 0xffffffff;
}

enum next arp_input(struct eth *e, struct pkt *p, uint8_t ifindex)
{
	uint32_t end = p->l3_off + sizeof(struct wire_arp);
	const struct wire_arp *a;
	struct ip_addr spa, tpa;
	struct neigh *n;
	struct own *target;
	bool asked;

	if (p->m->pkt_len < end)
		return pkt_refuse(p, DROP_ARP_BAD);
	if (p->m->data_len < end && pkt_head(e->cfg.pools, &p->m, (uint16_t)end) < 0)
		return pkt_refuse(p, DROP_NO_MBUF);
	a = (const void *)(pkt_data(p->m) + p->l3_off);
	if (!wire_arp_valid(a))
		return pkt_refuse(p, DROP_ARP_BAD);
	spa = ip_addr_v4(a->spa);
	tpa = ip_addr_v4(a->tpa);
	if (!sender_possible(&spa))
		return pkt_refuse(p, DROP_ARP_BAD);
	/* Our own frame, brought back by a loop or a mirror. */
	if (eth_addr_eq(&a->sha, &e->ifs[ifindex].mac))
		return pkt_refuse(p, DROP_ARP_NOT_OURS);
	asked = be16_host(a->op) == ARP_REQUEST;
	target = own_find(e, ifindex, &tpa);
	if (conflict(e, ifindex, &spa, target))
		return pkt_refuse(p, DROP_ARP_NOT_OURS);
	if (target != NULL && target->state != OWN_USABLE)
		target = NULL;

	n = ip_addr_is_any(&spa) ? NULL : neigh_find(e, ifindex, &spa);
	if (n != NULL && !asked && target != NULL &&
	    (n->state == NEIGH_INCOMPLETE || n->state == NEIGH_PROBE))
		neigh_confirm(e, n, &a->sha);
	else if (n != NULL)
		neigh_update(e, n, &a->sha);
	else if (asked && target != NULL && !ip_addr_is_any(&spa))
		neigh_introduce(e, ifindex, &spa, &a->sha);

	if (target == NULL && n == NULL)
		return pkt_refuse(p, DROP_ARP_NOT_OURS);
	if (target != NULL && asked)
		return reply(e, p, ifindex);
	pkt_free(p->m);
	return NEXT_CONSUMED;
}
