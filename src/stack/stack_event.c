/* SPDX-License-Identifier: BSD-3-Clause
 *
 * News that concern more than one protocol: what the neighbours' room found out (RFC 4861, 4862),
 * ICMP errors about flows of ours, and what the way to a destination can carry.
 */
#include <errno.h>

#include "stack/stack_priv.h"
#include "wire/flow.h"
#include "wire/icmp.h"

void stack_icmp_error(struct stack *s, const struct icmp_error *e)
{
	socks_icmp_error(s->socks, e);
}

/* As if we had said it in a message: "host unreachable", "address unreachable". */
static void from_ourselves(struct icmp_error *e)
{
	bool v4 = ip_addr_is_v4(&e->dst);

	e->type = v4 ? ICMP4_UNREACH : ICMP6_UNREACH;
	e->code = v4 ? ICMP4_UNREACH_HOST : ICMP6_UNREACH_ADDR;
	e->offender = e->src;
	e->ttl = 64;
}

/* The neighbour of m, the first packet that waited, does not answer: its flow is told. */
static void unreachable(struct stack *s, struct rte_mbuf *m)
{
	struct icmp_error e = {.err = EHOSTUNREACH, .hard = true}; /* first hand, not forged */
	struct wire_flow f;
	uint8_t h[IP4_HDR_LEN_MAX + 8 + ICMP_QUOTED_MAX];
	uint32_t got;
	be32_t seq;

	if (m == NULL)
		return;
	got = pkt_copy_out(m, 0, sizeof(h), h);
	pkt_drop(&s->drops, m, DROP_NEIGH_UNREACHABLE);
	if (!wire_flow_read(h, got, &f) || !f.has_ports || f.l4 + 8 > got)
		return;
	e.proto = f.proto;
	e.src = f.src;
	e.dst = f.dst;
	e.sport = f.sport;
	e.dport = f.dport;
	memcpy(&seq, h + f.l4 + 4, sizeof(seq));
	e.tcp_seq = be32_host(seq);
	e.have_seq = e.proto == IP_PROTO_TCP;
	if (e.proto == IP_PROTO_UDP)
		icmp_quote_payload(&e, h + f.l4 + 8, got - f.l4 - 8);
	else
		icmp_quote_payload(&e, h + f.l4, got - f.l4);
	from_ourselves(&e);
	stack_icmp_error(s, &e);
}

/* A router introduced itself: RFC 4861 §6.3.4. A lifetime of 0 takes the route back. */
static void router(struct stack *s, const struct eth_event *ev)
{
	struct ip_route r = {.ifindex = ev->ifindex, .gateway = ev->addr, .metric = 1024};
	uint32_t was = ip_generation(s->ip);

	if (ev->mtu != 0)
		ip_if_mtu6(s->ip, ev->ifindex, ev->mtu);
	(void)ip_route_learn(s->ip, &r, ev->lifetime_s);
	if (ip_generation(s->ip) != was)
		stack_default_links(s);
}

/* A prefix on our link; addresses are those of the configuration. */
static void prefix(struct stack *s, const struct eth_event *ev)
{
	struct ip_route r = {.prefix = ev->addr,
			     .prefix_len = ev->prefix_len,
			     .ifindex = ev->ifindex,
			     .metric = 1024};

	if ((ev->flags & 0x80) && ev->prefix_len > 0 && !ip_addr_is_link_local6(&ev->addr))
		(void)ip_route_learn(s->ip, &r, ev->lifetime_s);
}

static void event(struct stack *s, const struct eth_event *ev)
{
	switch (ev->kind) {
	case ETH_EV_ADDR_OK:
		ip_addr_set_tentative(s->ip, &ev->addr, false, false);
		break;
	case ETH_EV_ADDR_DUPLICATE:
		ip_addr_set_tentative(s->ip, &ev->addr, false, true);
		break;
	case ETH_EV_UNREACHABLE:
		ip_gateway_failed(s->ip, ev->ifindex, &ev->addr);
		unreachable(s, ev->m);
		break;
	case ETH_EV_ROUTER:
		router(s, ev);
		break;
	case ETH_EV_PREFIX:
		prefix(s, ev);
		break;
	}
}

unsigned stack_events(struct stack *s)
{
	struct eth_event ev;
	unsigned n = 0;

	while (n < 64 && eth_event_next(s->eth, &ev)) {
		event(s, &ev);
		n++;
	}
	return n;
}

/* ---- links ---- */

static void link_of_if(const struct stack *s, unsigned ifindex, struct tcp_link *out)
{
	const struct eth_if *i = eth_if_get(s->eth, ifindex);
	const struct dev_caps *caps = dev_caps(s->cfg.port[i->port].dev);

	*out = (struct tcp_link){
		.mtu = i->mtu,
		.tso_segs = 1,
		.path = PATH_NONE,
		.l4_csum = caps->tx_l4_csum,
		.inline_all = caps->max_segs == 1,
	};
	if (!dev_tso(s->cfg.port[i->port].dev))
		return;
	out->tso_bytes = caps->tso_max_bytes;
	out->tso_segs = (uint16_t)(out->tso_bytes / 536 + 1);
}

/* To ourselves: no wire, no neighbour, and the sum is believed. */
static void link_of_self(const struct stack *s, const struct ip_addr *dst, struct tcp_link *out)
{
	const struct ip_ifaddr *own = ip_addr_find(s->ip, dst);

	link_of_if(s, own != NULL ? own->ifindex : 0, out);
	out->tso_segs = 1;
	out->tso_bytes = 0;
	out->inline_all = false;
	out->l4_csum = true;
}

int stack_link_of(void *stack, const struct ip_addr *src, const struct ip_addr *dst,
		  struct tcp_link *out)
{
	struct stack *s = stack;
	const struct ip_ifaddr *own = ip_addr_find(s->ip, src);
	const struct ip_route *r = ip_route_find(s->ip, dst);
	unsigned ifindex;
	uint16_t mtu;

	if (unlikely(stack_is_own(s, dst))) {
		link_of_self(s, dst, out);
		return 0;
	}
	/* Link-local destinations have no route: the source's link is meant. */
	if (ip_addr_is_link_local6(dst) && own != NULL)
		r = NULL;
	else if (r == NULL)
		return -ENETUNREACH;
	ifindex = r != NULL ? r->ifindex : own->ifindex;
	link_of_if(s, ifindex, out);
	mtu = ip_pmtu(s->ip, dst);
	if (mtu != 0 && mtu < out->mtu)
		out->mtu = mtu;
	out->path = eth_path(s->eth, (uint8_t)ifindex,
			     r != NULL && !ip_addr_is_any(&r->gateway) ? &r->gateway : dst);
	return 0;
}

/* For replies before a connection exists: the least of all interfaces, so that no MSS announced is
 * too large. */
void stack_default_links(struct stack *s)
{
	struct tcp_link least = {.mtu = 0};

	for (unsigned i = 0; i < eth_if_count(s->eth); i++) {
		struct tcp_link l;

		link_of_if(s, i, &l);
		if (least.mtu == 0 || l.mtu < least.mtu)
			least = l;
	}
	if (least.mtu == 0)
		return;
	least.tso_segs = 1;
	tcp_default_link(s->tcp, false, &least);
	tcp_default_link(s->tcp, true, &least);
}
