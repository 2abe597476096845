/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams from one socket of this host to others: to an address of our own, and copies of what
 * goes to a group or to all (IP_MULTICAST_LOOP; RFC 1112 §6.1). They never reach IP: the payload is
 * copied into buffers that the receiver can see, and counted.
 *
 * A group's datagram goes to sockets that joined it (as Linux with IP_MULTICAST_ALL off).
 *
 * Not done: TCP to ourselves.
 */
#include "sock/sock_udp.h"

bool udp_is_own(const struct socks *s, const struct ip_addr *a)
{
	return ip_addr_is_loopback(a) || ip_addr_find(s->cfg.ip, a) != NULL;
}

/* The payload in received-like buffers; an empty one for NULL. NULL: no buffers. */
static struct rte_mbuf *copy(struct socks *s, const struct rte_mbuf *m)
{
	uint32_t len = m != NULL ? m->pkt_len : 0, off = 0;
	struct rte_mbuf *head = NULL;

	do {
		struct rte_mbuf *to = pkt_alloc_rx(s->cfg.pools);
		uint32_t n = len - off;

		if (to != NULL && head != NULL && pkt_chain(head, to) != 0) {
			pkt_free(to);
			to = NULL;
		}
		if (to == NULL) {
			pkt_free(head);
			return NULL;
		}
		if (head == NULL)
			head = to;
		n = n < pkt_room(to) ? n : pkt_room(to);
		pkt_copy_out(m, off, n, pkt_data(to));
		to->data_len = (uint16_t)n;
		head->pkt_len += n;
		off += n;
	} while (off < len);
	s->n.loop_copied_bytes += len;
	return head;
}

static void deliver(struct socks *s, struct udp_pcb *pcb, const struct pkt *p,
		    const struct rte_mbuf *m)
{
	struct pkt in = *p;

	in.m = copy(s, m);
	if (in.ttl == 0)
		in.ttl = 64;
	if (in.m == NULL)
		pkt_drop(s->cfg.drops, NULL, DROP_NO_MBUF);
	else
		socks_udp_input(s, pcb, &in);
}

int udp_loop(struct sock *k, const struct pkt *p, struct rte_mbuf *m, bool *only)
{
	struct socks *s = k->app->s;
	bool group = ip_addr_is_multicast(&p->dst), all = (p->flags & PKT_F_BCAST) != 0;
	struct udp_pcb *pcb;

	*only = !group && !all && udp_is_own(s, &p->dst);
	if (likely(!*only && !all && !(group && k->udp->mcast_loop)))
		return 0;
	pcb = udp_first_match(s->cfg.udp, p);
	if (pcb == NULL && *only)
		return udp_binding(k->pcb)->rport != 0 ? -ECONNREFUSED : 0;
	while (pcb != NULL) {
		struct udp_pcb *next = udp_next_match(s->cfg.udp, p, pcb);
		const struct sock *to = (const struct sock *)(uintptr_t)udp_user(pcb);

		if (!group || udp_group_member(to, &p->dst))
			deliver(s, pcb, p, m);
		pcb = next;
	}
	return 0;
}
