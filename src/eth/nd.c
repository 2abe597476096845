/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Neighbour discovery (RFC 4861 §7) and duplicate address detection (RFC 4862 §5.4), as a host. ip
 * has verified the hop limit of 255 and the checksum; the rest of §7.1 and §6.1 is verified here.
 * Router advertisements become events: what to do with them is the stack's. Redirects are counted
 * and not followed (RFC 4861 §8.3 leaves it to the host): the router that sends them forwards.
 *
 * DEVIATION(RFC 4861 §7.2.4): a solicitation without its sender's link-layer address is answered to
 * the MAC that sent the frame, so that a stranger can't make us open a table entry. Not done:
 * being a router, RFC 7527 nonces.
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
	uint8_t msg[];
} __attribute__((packed));

static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};
static const struct ip_addr all_routers = {.b = {0xff, 2, [15] = 2}};

struct nd_send {
	uint8_t type, flags;
	uint8_t ifindex;
	bool lla; /* say our MAC */
	struct ip_addr src, dst, target;
	struct eth_addr mac;
};

static void nd_message(const struct eth *e, const struct nd_send *s, uint16_t fixed, uint8_t *to)
{
	struct wire_nd nd = {.type = s->type, .flags = s->flags};
	struct wire_nd_lla lla = {.type = s->type == ND_NA ? ND_OPT_TLLA : ND_OPT_SLLA,
				  .len = 1,
				  .mac = e->ifs[s->ifindex].mac};

	memcpy(nd.target, s->target.b, 16);
	memcpy(to, &nd, fixed);
	if (s->lla)
		memcpy(to + fixed, &lla, sizeof(lla));
}

static bool nd_frame(struct eth *e, const struct nd_send *s, struct pkt *p)
{
	/* A router solicitation is the first 8 bytes of the others. */
	uint16_t fixed = s->type == ND_RS ? 8 : sizeof(struct wire_nd);
	uint16_t len = fixed + (s->lla ? sizeof(struct wire_nd_lla) : 0);
	struct nd_frame *f;
	uint32_t sum;

	p->m = pkt_alloc_hdr(e->cfg.pools);
	if (p->m == NULL) {
		e->cfg.drops->n[DROP_NO_MBUF]++;
		return false;
	}
	f = (void *)pkt_put(p->m, (uint16_t)(sizeof(*f) + len));
	f->version = be32(6u << 28);
	f->payload_len = be16(len);
	f->next_header = PROTO_ICMP6;
	f->hop_limit = HOP_LIMIT;
	memcpy(f->src, s->src.b, 16);
	memcpy(f->dst, s->dst.b, 16);
	nd_message(e, s, fixed, f->msg);
	sum = csum_pseudo(0, f->src, f->dst, true, PROTO_ICMP6, len);
	sum = csum_finish(csum_add(sum, f->msg, len));
	memcpy(f->msg + offsetof(struct wire_nd, csum), &sum, 2);
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

bool nd_solicit_routers(struct eth *e, uint8_t ifindex, struct pkt *p)
{
	static const struct ip_addr link_local = {.b = {0xfe, 0x80}};
	const struct own *o = own_nearest(e, ifindex, &link_local);
	struct nd_send s = {.type = ND_RS,
			    .ifindex = ifindex,
			    .lla = o != NULL, /* RFC 4861 §4.1: not from :: */
			    .dst = all_routers,
			    .mac = eth_addr_of_group(&all_routers)};

	if (o != NULL)
		s.src = o->addr;
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

/* RFC 4861 §7.2.5: a router that says it is none (any more) leaves the list of default routers. */
static void router_resigned(struct eth *e, const struct neigh *n)
{
	struct eth_event ev = {.kind = ETH_EV_ROUTER, .ifindex = n->ifindex, .addr = n->addr};

	(void)eth_event_push(e, &ev);
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
	if (n->router && !(m->flags & ND_NA_ROUTER))
		router_resigned(e, n);
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

/* What eth itself takes from an advertisement. */
static void ra_learn(struct eth *e, const struct ip_addr *router, uint8_t ifindex,
		     const struct nd_msg *m)
{
	struct neigh *n;

	if (m->has_slla)
		neigh_introduce(e, ifindex, router, &m->slla);
	n = neigh_find(e, ifindex, router);
	if (n != NULL)
		n->router = true;
	if (m->reachable_ms != 0 && m->reachable_ms <= NEIGH_REACHABLE_MAX_MS)
		e->nd[ifindex].reachable_ns = m->reachable_ms * (SEC_NS / 1000);
	if (m->lifetime_s != 0)
		routers_heard(e, ifindex);
}

static enum next ra_input(struct eth *e, struct pkt *p, uint8_t ifindex, const struct nd_msg *m)
{
	struct eth_event ev = {.kind = ETH_EV_ROUTER, .ifindex = ifindex, .addr = p->src};

	/* RFC 4861 §6.1.2 */
	if (!ip_addr_is_link_local6(&p->src))
		return pkt_refuse(p, DROP_ND_BAD);
	ra_learn(e, &p->src, ifindex, m);
	/* A flood of these must leave room for other news. */
	if (e->ev_tail - e->ev_head + 1 + m->n_prefix > ETH_EVENT_MAX / 2)
		return pkt_refuse(p, DROP_EVENT_FULL);
	ev.flags = m->flags;
	ev.lifetime_s = m->lifetime_s;
	ev.mtu = m->mtu;
	(void)eth_event_push(e, &ev);
	for (unsigned i = 0; i < m->n_prefix; i++) {
		const struct nd_prefix *pi = &m->prefix[i];

		ev = (struct eth_event){.kind = ETH_EV_PREFIX,
					.ifindex = ifindex,
					.addr = pi->prefix,
					.prefix_len = pi->len,
					.flags = pi->flags,
					.lifetime_s = pi->valid_s,
					.preferred_s = pi->preferred_s};
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
	if (p->l4_len > 0 && pkt_data(p->m)[p->l4_off] == ND_REDIRECT)
		return pkt_refuse(p, DROP_REDIRECT);
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
