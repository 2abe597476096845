/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Neighbour discovery (RFC 4861 §7) and duplicate address detection (RFC 4862 §5.4), as a host. ip
 * has verified the hop limit of 255 and the checksum; the rest of §7.1 and §6.1 is verified here.
 * Router advertisements become events: what to do with them is the stack's.
 *
 * DEVIATION(RFC 4861 §7.2.4): a solicitation without its sender's link-layer address is answered to
 * the MAC that sent the frame, so that a stranger can't make us open a table entry. Not done:
 * sending router solicitations, redirects, being a router, MLD reports for solicited-node groups (a
 * snooping switch must forward link-local scope groups), RFC 7527 nonces.
 */
#include "base/csum.h"
#include "eth/eth_priv.h"
#include "wire/nd.h"

enum { PROTO_ICMP6 = 58, HOP_LIMIT = 255 };

struct nd_frame {
	be32_t version;
	be16_t payload_len;
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t src[16];
	uint8_t dst[16];
	struct wire_nd nd;
	struct wire_nd_lla lla;
} __attribute__((packed));

static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};

struct nd_send {
	uint8_t type, flags;
	uint8_t ifindex;
	bool lla; /* say our MAC */
	struct ip_addr src, dst, target;
	struct eth_addr mac;
};

static bool nd_frame(struct eth *e, const struct nd_send *s, struct pkt *p)
{
	uint16_t len = sizeof(struct wire_nd) + (s->lla ? sizeof(struct wire_nd_lla) : 0);
	struct nd_frame *f;

	p->m = pkt_alloc_hdr(e->cfg.pools);
	if (p->m == NULL) {
		e->cfg.drops->n[DROP_NO_MBUF]++;
		return false;
	}
	f = (void *)pkt_put(p->m, (uint16_t)(offsetof(struct nd_frame, nd) + len));
	f->version = be32(6u << 28);
	f->payload_len = be16(len);
	f->next_header = PROTO_ICMP6;
	f->hop_limit = HOP_LIMIT;
	memcpy(f->src, s->src.b, 16);
	memcpy(f->dst, s->dst.b, 16);
	f->nd = (struct wire_nd){.type = s->type, .flags = s->flags};
	memcpy(f->nd.target, s->target.b, 16);
	if (s->lla) {
		f->lla.type = s->type == ND_NS ? ND_OPT_SLLA : ND_OPT_TLLA;
		f->lla.len = 1;
		f->lla.mac = e->ifs[s->ifindex].mac;
	}
	f->nd.csum.v = csum_finish(
		csum_add(csum_pseudo(0, f->src, f->dst, true, PROTO_ICMP6, len), &f->nd, len));
	eth_push(e, p, s->ifindex, &s->mac, ETH_TYPE_IP6);
	return true;
}

bool nd_solicit(struct eth *e, const struct neigh *n, struct pkt *p)
{
	const struct own *o = own_nearest(e, n->ifindex, &n->addr);
	struct nd_send s = {.type = ND_NS, .ifindex = n->ifindex, .lla = true, .target = n->addr};

	/* From the unspecified address it would be duplicate detection. */
	if (o == NULL)
		return false;
	s.src = o->addr;
	s.dst = neigh_has_mac(n) ? n->addr : nd_solicited_node(&n->addr);
	s.mac = neigh_has_mac(n) ? n->mac : eth_addr_of_group(&s.dst);
	return nd_frame(e, &s, p);
}

bool nd_probe(struct eth *e, const struct own *o, struct pkt *p)
{
	struct nd_send s = {.type = ND_NS, .ifindex = o->ifindex, .target = o->addr};

	s.dst = nd_solicited_node(&o->addr);
	s.mac = eth_addr_of_group(&s.dst);
	return nd_frame(e, &s, p);
}

bool nd_announce(struct eth *e, const struct own *o, struct pkt *p)
{
	struct nd_send s = {.type = ND_NA,
			    .flags = ND_NA_OVERRIDE,
			    .ifindex = o->ifindex,
			    .lla = true,
			    .src = o->addr,
			    .dst = all_nodes,
			    .target = o->addr,
			    .mac = eth_addr_of_group(&all_nodes)};

	return nd_frame(e, &s, p);
}

static enum next done(struct pkt *p)
{
	pkt_free(p->m);
	return NEXT_CONSUMED;
}

static enum next ns_input(struct eth *e, struct pkt *p, uint8_t ifindex, const struct nd_msg *m,
			  const struct eth_addr *from)
{
	struct own *o = own_find(e, ifindex, &m->target);
	bool dad = ip_addr_is_any(&p->src);
	struct nd_send s = {.type = ND_NA, .ifindex = ifindex, .lla = true, .target = m->target};
	struct ip_addr group = nd_solicited_node(&m->target);

	/* RFC 4861 §7.1.1 */
	if (dad && (m->has_slla || !ip_addr_eq(&p->dst, &group)))
		return pkt_refuse(p, DROP_ND_BAD);
	/* RFC 4862 §5.4.3: two nodes try the same address. */
	if (dad && o != NULL && o->state == OWN_TENTATIVE) {
		own_conflict(e, o);
		return done(p);
	}
	if (o == NULL || o->state != OWN_USABLE)
		return pkt_refuse(p, DROP_ND_NOT_OURS);
	if (!dad && own_find(e, ifindex, &p->src) != NULL)
		return pkt_refuse(p, DROP_ND_BAD);
	if (m->has_slla)
		neigh_introduce(e, ifindex, &p->src, &m->slla);
	s.src = m->target;
	s.dst = dad ? all_nodes : p->src;
	s.flags = dad ? ND_NA_OVERRIDE : ND_NA_OVERRIDE | ND_NA_SOLICITED;
	s.mac = dad ? eth_addr_of_group(&all_nodes) : m->has_slla ? m->slla : *from;
	pkt_free(p->m);
	return nd_frame(e, &s, p) ? NEXT_TX : NEXT_CONSUMED;
}

/* RFC 4861 §7.2.5, the table of appendix C. */
static void na_learn(struct eth *e, struct neigh *n, const struct nd_msg *m)
{
	/* A guest was never asked: its word would put it among those that we verified (H20). */
	bool solicited = (m->flags & ND_NA_SOLICITED) && n->list != LIST_GUEST;
	bool differs;

	if (n->state == NEIGH_INCOMPLETE) {
		if (!m->has_tlla)
			return;
		differs = true;
	} else {
		differs = m->has_tlla && !eth_addr_eq(&m->tlla, &n->mac);
		if (differs && !(m->flags & ND_NA_OVERRIDE)) {
			/* Somebody disagrees: keep the MAC, verify it at the next use. */
			if (n->state == NEIGH_REACHABLE)
				n->reachable_until = e->now;
			return;
		}
	}
	n->router = m->flags & ND_NA_ROUTER;
	if (solicited)
		neigh_confirm(e, n, m->has_tlla ? &m->tlla : &n->mac);
	else if (differs)
		neigh_update(e, n, &m->tlla);
}

static enum next na_input(struct eth *e, struct pkt *p, uint8_t ifindex, const struct nd_msg *m)
{
	struct own *o = own_find(e, ifindex, &m->target);
	struct neigh *n;

	if (ip_addr_is_multicast(&p->dst) && (m->flags & ND_NA_SOLICITED))
		return pkt_refuse(p, DROP_ND_BAD);
	if (o != NULL) {
		own_conflict(e, o);
		return done(p);
	}
	n = neigh_find(e, ifindex, &m->target);
	if (n == NULL)
		return pkt_refuse(p, DROP_ND_NOT_OURS);
	na_learn(e, n, m);
	return done(p);
}

static enum next ra_input(struct eth *e, struct pkt *p, uint8_t ifindex, const struct nd_msg *m)
{
	struct eth_event ev = {.kind = ETH_EV_ROUTER, .ifindex = ifindex, .addr = p->src};

	/* RFC 4861 §6.1.2 */
	if (!ip_addr_is_link_local6(&p->src))
		return pkt_refuse(p, DROP_ND_BAD);
	if (m->has_slla)
		neigh_introduce(e, ifindex, &p->src, &m->slla);
	/* A flood of these must leave room for other news. */
	if (e->ev_tail - e->ev_head + 1 + m->n_prefix > ETH_EVENT_MAX / 2)
		return pkt_refuse(p, DROP_ND_NOT_OURS);
	ev.flags = m->flags;
	ev.lifetime_s = m->lifetime_s;
	ev.mtu = m->mtu;
	(void)eth_event_push(e, &ev);
	for (unsigned i = 0; i < m->n_prefix; i++) {
		ev = (struct eth_event){.kind = ETH_EV_PREFIX,
					.ifindex = ifindex,
					.addr = m->prefix[i].prefix,
					.prefix_len = m->prefix[i].len,
					.flags = m->prefix[i].flags,
					.lifetime_s = m->prefix[i].valid_s};
		(void)eth_event_push(e, &ev);
	}
	return done(p);
}

enum next nd_input(struct eth *e, struct pkt *p, uint8_t ifindex)
{
	uint32_t end = p->l4_off + p->l4_len;
	struct eth_addr from;
	struct nd_msg m;

	/* RFC 6980 §5: never in fragments. So m starts with the frame's Ethernet header. */
	if ((p->flags & PKT_F_FRAGMENTED) || p->l3_off < sizeof(struct wire_eth) ||
	    end > UINT16_MAX)
		return pkt_refuse(p, DROP_ND_BAD);
	if (p->m->pkt_len < end)
		return pkt_refuse(p, DROP_ND_BAD);
	if (p->m->data_len < end && pkt_head(e->cfg.pools, &p->m, (uint16_t)end) < 0)
		return pkt_refuse(p, DROP_NO_MBUF);
	if (ip_addr_is_multicast(&p->src) ||
	    nd_parse(pkt_data(p->m) + p->l4_off, p->l4_len, &m) < 0)
		return pkt_refuse(p, DROP_ND_BAD);
	from = ((const struct wire_eth *)(const void *)pkt_data(p->m))->src;
	/* Our own frame, brought back by a loop or a mirror. */
	if (eth_addr_eq(&from, &e->ifs[ifindex].mac))
		return pkt_refuse(p, DROP_ND_NOT_OURS);
	switch (m.type) {
	case ND_NS:
		return ns_input(e, p, ifindex, &m, &from);
	case ND_NA:
		return na_input(e, p, ifindex, &m);
	case ND_RA:
		return ra_input(e, p, ifindex, &m);
	default:
		/* Router solicitations are for routers. */
		return pkt_refuse(p, DROP_ND_NOT_OURS);
	}
}
