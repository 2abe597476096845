/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams from one socket of this host to others: to an address of our own, and copies of what
 * goes to a group or to all (IP_MULTICAST_LOOP; RFC 1112 §6.1). They never reach IP: no header, no
 * checksum. A program that has a link to the sender's (docs/design/013) is lent the payload where
 * the sender wrote it; what it can't see is copied into buffers that it can. So is what comes to
 * one who does not keep up, since who does not read must not hold another's memory, nor stop its
 * sends: the first LENT_MAX unread buffers of a socket are lent, and half of what a socket may
 * send, and a quarter of what a program may.
 *
 * A group's datagram goes to sockets that joined it (as Linux with IP_MULTICAST_ALL off).
 *
 * TCP to ourselves turns round below the engine: stack_self.c.
 */
#include "sock/sock_udp.h"

#define LENT_MAX     64	  /* buffers that a socket holds */
#define LENT_APP_MAX 1024 /* buffers that an application holds */
#define ASK_AFTER    16	  /* datagrams of a socket: who asks once needs no link for it */

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

/* Is a link to the receiver worth it? */
static void count(struct sock *k, struct sock *to)
{
	if (likely(k->udp->looped == ASK_AFTER) || k->app == to->app)
		return;
	if (++k->udp->looped == ASK_AFTER && !((k->flags | to->flags) & SOCKF_NO_LINK))
		app_link_ask(to->app, k->app);
}

/* May more of what k sends be lent? What it has of a neighbour itself is nobody else's to keep. */
static bool may_lend(const struct sock *k, struct rte_mbuf *m)
{
	if (k->unacked > k->limit / 2 || k->app->refs > k->app->refs_max / 4 ||
	    (k->flags & SOCKF_NO_LINK))
		return false;
	for (; m != NULL; m = m->next)
		if (!sock_has(k->app, m))
			return false;
	return true;
}

/* Will it be told of it at once, as it is? */
static bool may_be_lent(struct sock *to, struct rte_mbuf *m)
{
	struct sock_app *a = to->app;

	if (m == NULL || to->share != NULL || to->udp->count != 0 || to->lent >= LENT_MAX ||
	    a->loans.held >= LENT_APP_MAX || (to->flags & SOCKF_NO_LINK) ||
	    !app_room(a, m->nb_segs) || app_lend_room(a, m->nb_segs) < m->nb_segs)
		return false;
	for (; m != NULL; m = m->next)
		if (!sock_sees(a, m))
			return false;
	return true;
}

static void hand_over(struct socks *s, struct udp_pcb *pcb, const struct pkt *p,
		      struct rte_mbuf **m)
{
	struct pkt in = *p;

	in.m = *m;
	if (in.ttl == 0)
		in.ttl = 64;
	*m = NULL;
	s->n.loop_lent_bytes += in.m->pkt_len;
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

void udp_loop(struct sock *k, const struct pkt *p, struct rte_mbuf **m, bool *only)
{
	struct socks *s = k->app->s;
	bool group = ip_addr_is_multicast(&p->dst), all = (p->flags & PKT_F_BCAST) != 0;
	struct udp_pcb *pcb;

	*only = !group && !all && sock_addr_is_own(s, &p->dst);
	if (likely(!*only && !all && !(group && k->udp->mcast_loop)))
		return;
	pcb = of_zone(k, p, udp_first_match(s->cfg.udp, p));
	if (pcb == NULL && *only)
		udp_error_refused(k, p, *m);
	while (pcb != NULL) {
		struct udp_pcb *next = of_zone(k, p, udp_next_match(s->cfg.udp, p, pcb));
		struct sock *to = (struct sock *)(uintptr_t)udp_user(pcb);

		if (*only)
			count(k, to);
		if (*only && next == NULL && may_lend(k, *m) && may_be_lent(to, *m))
			hand_over(s, pcb, p, m);
		else if (!group || udp_group_member(to, &p->dst))
			deliver(s, pcb, p, *m);
		pcb = next;
	}
}
