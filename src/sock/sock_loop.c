/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams from one socket of this host to others: to an address of our own, and copies of what
 * goes to a group or to all (IP_MULTICAST_LOOP; RFC 1112 §6.1). They never reach IP: the payload is
 * copied into buffers that the receiver can see, and counted.
 *
 * A group's datagram goes to sockets that joined it (as Linux with IP_MULTICAST_ALL off).
 *
 * TCP to ourselves turns round below the engine: stack_self.c.
 */
#include "sock/sock_udp.h"

bool sock_addr_is_own(const struct socks *s, const struct ip_addr *a)
{
	return ip_addr_is_loopback(a) || ip_addr_find(s->cfg.ip, a) != NULL;
}

static void deliver(struct socks *s, struct udp_pcb *pcb, const struct pkt *p,
		    const struct rte_mbuf *m)
{
	struct pkt in = *p;

	in.m = pkt_copy_rx(s->cfg.pools, m);
	if (in.ttl == 0)
		in.ttl = 64;
	if (in.m == NULL) {
		pkt_drop(s->cfg.drops, NULL, DROP_NO_MBUF);
		return;
	}
	s->n.loop_copied_bytes += in.m->pkt_len;
	socks_udp_input(s, pcb, &in);
}

/* The next one at this pcb or behind it whose loopback the sender's is. */
static struct udp_pcb *of_zone(const struct sock *k, const struct pkt *p, struct udp_pcb *pcb)
{
	struct udp *u = k->app->s->cfg.udp;

	if (!ip_addr_is_loopback(&p->dst) && !ip_addr_is_loopback(&p->src))
		return pcb;
	while (pcb != NULL && ((const struct sock *)(uintptr_t)udp_user(pcb))->zone != k->zone)
		pcb = udp_next_match(u, p, pcb);
	return pcb;
}

int udp_loop(struct sock *k, const struct pkt *p, struct rte_mbuf *m, bool *only)
{
	struct socks *s = k->app->s;
	bool group = ip_addr_is_multicast(&p->dst), all = (p->flags & PKT_F_BCAST) != 0;
	struct udp_pcb *pcb;

	*only = !group && !all && sock_addr_is_own(s, &p->dst);
	if (likely(!*only && !all && !(group && k->udp->mcast_loop)))
		return 0;
	pcb = of_zone(k, p, udp_first_match(s->cfg.udp, p));
	if (pcb == NULL && *only)
		return udp_binding(k->pcb)->rport != 0 || k->udp->recverr ? -ECONNREFUSED : 0;
	while (pcb != NULL) {
		struct udp_pcb *next = of_zone(k, p, udp_next_match(s->cfg.udp, p, pcb));
		const struct sock *to = (const struct sock *)(uintptr_t)udp_user(pcb);

		if (!group || udp_group_member(to, &p->dst))
			deliver(s, pcb, p, m);
		pcb = next;
	}
	return 0;
}
