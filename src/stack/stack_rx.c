/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The road of a received packet. Protocols don't call one another: each returns where the packet
 * goes next (enum next), and the switchboard below sends it there.
 *
 * TCP goes in stages over the whole burst (DESIGN §3.5): parse and hash all, look all up, process
 * all, so that the memory of one segment's connection arrives while another is being parsed.
 */
#include <string.h>

#include "stack/stack_priv.h"

/* The TCP segments of one burst. */
struct burst {
	struct pkt *p[PKT_BURST];
	struct tcp_seg seg[PKT_BURST];
	unsigned n;
};

/* Another reference on the same payload, for a second receiver of a multicast datagram. */
struct rte_mbuf *stack_another(const struct pkt_pools *pools, struct rte_mbuf *m)
{
	struct rte_mbuf *first = NULL, **link = &first;

	for (struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
		*link = pkt_slice(pools, seg, 0, seg->data_len);
		if (*link == NULL) {
			pkt_free(first);
			return NULL;
		}
		if (*link != first) {
			first->nb_segs++;
			first->pkt_len += seg->data_len;
		}
		link = &(*link)->next;
	}
	return first;
}

/* A datagram for pcb, and if it went to a group, for all others that listen. Takes p->m. */
static void udp_deliver(struct stack *s, struct pkt *p, struct udp_pcb *pcb)
{
	struct udp_pcb *next;

	while ((next = udp_next_match(s->udp, p, pcb)) != NULL) {
		struct pkt copy = *p;

		copy.m = stack_another(&s->cfg.pools, p->m);
		if (copy.m != NULL)
			socks_udp_input(s->socks, pcb, &copy);
		else
			pkt_drop(&s->drops, NULL, DROP_NO_MBUF);
		pcb = next;
	}
	socks_udp_input(s->socks, pcb, p);
}

static enum next udp_rx(struct stack *s, struct pkt *p)
{
	struct udp_pcb *pcb;
	enum next next;

	if (s->cfg.group != NULL && group_pass(s, p))
		return NEXT_CONSUMED;
	if (unlikely(p->flags & PKT_F_SHARED))
		kernel_copy_datagram(s, p);
	next = udp_input(s->udp, p, &pcb);
	if (next == NEXT_CONSUMED)
		udp_deliver(s, p, pcb);
	return next;
}

/* Answers p with an ICMP error, and drops it; or the kernel does, if it does not want it. */
static cold_path enum next unreachable(struct stack *s, struct pkt *p, enum icmp_why why)
{
	struct pkt reply;
	enum next next;

	if (p->flags & PKT_F_SHARED)
		return NEXT_KERNEL;
	next = icmp_error_build(s->ip, p, why, &reply);
	if (next != NEXT_DROP)
		stack_out(s, &reply, next, 0);
	if (why == ICMP_WHY_PROTO)
		p->drop = DROP_IP_PROTO;
	return NEXT_DROP;
}

static enum next icmp_rx(struct stack *s, struct pkt *p, bool v6)
{
	bool shared = (p->flags & PKT_F_SHARED) != 0;
	struct icmp_error e;
	enum next next;

	if (unlikely(shared) && kernel_is_echo(p, v6))
		return NEXT_KERNEL;
	next = v6 ? icmp6_input(s->ip, p, &e) : icmp4_input(s->ip, p, &e);
	if (next != NEXT_ICMP_ERROR)
		return next;
	if (s->cfg.group == NULL || !group_pass_error(s, &e))
		stack_icmp_error(s, &e);
	/* Whose flow it is about, both look themselves. */
	if (unlikely(shared))
		return NEXT_KERNEL;
	pkt_free(p->m);
	return NEXT_CONSUMED;
}

static enum next neigh_rx(struct stack *s, struct pkt *p, enum next next, uint8_t ifindex)
{
	if (s->cfg.group != NULL)
		group_copy(s, p, next, ifindex);
	if (unlikely(p->flags & PKT_F_SHARED))
		kernel_copy_news(s, p, next);
	return next == NEXT_ARP ? arp_input(s->eth, p, ifindex) : nd_input(s->eth, p, ifindex);
}

/* Each core reports the groups of its own sockets. */
static cold_path enum next group_rx(struct stack *s, struct pkt *p, uint8_t ifindex)
{
	if (s->cfg.group != NULL)
		group_copy(s, p, NEXT_GROUP, ifindex);
	if (p->flags & PKT_F_SHARED)
		kernel_copy_news(s, p, NEXT_GROUP);
	return ip_group_input(s->ip, p, ifindex);
}

/* Follows the packet until TCP wants it (true) or it has left (false). */
static bool switchboard(struct stack *s, struct pkt *p, enum next next, uint8_t ifindex)
{
	for (;;) {
		switch (next) {
		case NEXT_IP4:
			next = ip4_input(s->ip, p, ifindex);
			break;
		case NEXT_IP6:
			next = ip6_input(s->ip, p, ifindex);
			break;
		case NEXT_TCP:
			return s->cfg.group == NULL || !group_pass(s, p);
		case NEXT_UDP:
			next = udp_rx(s, p);
			break;
		case NEXT_ARP:
		case NEXT_ND:
			next = neigh_rx(s, p, next, ifindex);
			break;
		case NEXT_ICMP4:
		case NEXT_ICMP6:
			next = icmp_rx(s, p, next == NEXT_ICMP6);
			break;
		case NEXT_GROUP:
			next = group_rx(s, p, ifindex);
			break;
		case NEXT_UNREACH_PORT:
		case NEXT_UNREACH_PROTO:
			next = unreachable(
				s, p, next == NEXT_UNREACH_PORT ? ICMP_WHY_PORT : ICMP_WHY_PROTO);
			break;
		case NEXT_CONSUMED:
			return false;
		case NEXT_KERNEL:
			kernel_put(s, p);
			return false;
		case NEXT_DROP:
			if (likely(!kernel_wants(s, p))) {
				pkt_drop(&s->drops, p->m, (enum drop_reason)p->drop);
				return false;
			}
			next = NEXT_KERNEL;
			break;
		default:
			stack_out(s, p, next, ifindex);
			return false;
		}
	}
}

/* Segments of nobody here. */
static slow_path void strangers(struct stack *s)
{
	struct pkt *p[PKT_BURST];
	unsigned n = tcp_strangers(s->tcp, p);

	for (unsigned i = 0; i < n; i++)
		kernel_put(s, p[i]);
}

/* Stages 1 to 3 of all segments of the burst. */
static void tcp_rx(struct stack *s, struct burst *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct pkt *p = b->p[i];

		if (unlikely(tcp_parse(s->tcp, p, &b->seg[n]) != NEXT_TCP)) {
			pkt_drop(&s->drops, p->m, (enum drop_reason)p->drop);
			continue;
		}
		b->p[n++] = p;
	}
	for (unsigned i = 0; i < n; i++)
		tcp_lookup(s->tcp, b->p[i], &b->seg[i]);
	tcp_input_burst(s->tcp, b->p, b->seg, n);
	if (unlikely(s->n_kernels != 0))
		strangers(s);
}

unsigned stack_rx(struct stack *s, unsigned port)
{
	const struct stack_port *sp = &s->cfg.port[port];
	struct pkt p[PKT_BURST];
	struct burst b;
	unsigned n = dev_rx_burst(sp->dev, sp->queue, p, PKT_BURST, &s->drops);
	uint8_t ifindex;

	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(pkt_data(p[i].m));
	b.n = 0;
	for (unsigned i = 0; i < n; i++) {
		p[i].port = (uint8_t)port;
		if (unlikely(s->n_captures != 0))
			captures_frame(s, &p[i], port, false);
		enum next next = eth_input(s->eth, &p[i], &ifindex);

		if (unlikely(s->n_kernels != 0))
			kernel_mark(s, &p[i], next);
		if (switchboard(s, &p[i], next, ifindex))
			b.p[b.n++] = &p[i];
	}
	if (b.n != 0)
		tcp_rx(s, &b);
	return n;
}

unsigned stack_rx_self(struct stack *s)
{
	struct pkt p[PKT_BURST];
	struct burst b;
	unsigned n = stack_self_take(s, p, PKT_BURST);

	b.n = 0;
	for (unsigned i = 0; i < n; i++)
		if (s->cfg.group == NULL || !group_pass(s, &p[i]))
			b.p[b.n++] = &p[i];
	if (b.n != 0)
		tcp_rx(s, &b);
	return n;
}

/* A message that another core received: what it says of a neighbour is learned here, and answered
 * there. */
static void news(struct stack *s, struct group_msg *m)
{
	enum next next;

	if (m->next == NEXT_GROUP)
		next = ip_group_input(s->ip, &m->p, m->ifindex);
	else if (m->next == NEXT_ARP)
		next = arp_input(s->eth, &m->p, m->ifindex);
	else
		next = nd_input(s->eth, &m->p, m->ifindex);
	if (next != NEXT_CONSUMED)
		pkt_free(m->p.m);
}

unsigned stack_rx_group(struct stack *s)
{
	struct group_msg m[PKT_BURST];
	struct burst b;
	unsigned n;

	b.n = 0;
	for (n = 0; n < PKT_BURST && group_take(s, &m[n]); n++) {
		struct udp_pcb *pcb;

		if (m[n].kind == GROUP_ERROR)
			stack_icmp_error(s, &m[n].error);
		else if (m[n].kind == GROUP_NEWS)
			news(s, &m[n]);
		else if (m[n].p.proto == IP_PROTO_TCP)
			b.p[b.n++] = &m[n].p;
		else if (udp_input(s->udp, &m[n].p, &pcb) == NEXT_CONSUMED)
			udp_deliver(s, &m[n].p, pcb);
		else
			switchboard(s, &m[n].p, NEXT_UNREACH_PORT, 0);
	}
	if (b.n != 0)
		tcp_rx(s, &b);
	return n;
}
