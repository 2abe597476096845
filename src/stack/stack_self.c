/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP from this host to itself: a segment for an address of our own, or for loopback's, turns round
 * before IP and is received in the next poll. IP refuses such packets from outside (H17), and has
 * no way to send them.
 *
 * The payload is copied into buffers that the receiver can see, as that of datagrams is
 * (sock_loop.c). Both ends of such a connection belong to the same core, since the hash of a flow
 * is the same from both ends. Not done: capture, priority, ICMP.
 */
#include "stack/stack_priv.h"

bool stack_is_own(const struct stack *s, const struct ip_addr *a)
{
	return ip_addr_is_loopback(a) || ip_addr_find(s->ip, a) != NULL;
}

bool stack_self_put(struct stack *s, struct pkt *p, bool kernel)
{
	struct stack_self *l = &s->self;
	struct pkt *in = &l->p[(l->head + l->n) % STACK_SELF_SEGMENTS];

	if (l->n == STACK_SELF_SEGMENTS)
		return false;
	*in = (struct pkt){
		.m = pkt_copy_rx(&s->cfg.pools, p->m),
		.proto = p->proto,
		.ttl = p->ttl,
		.tos = p->tos,
		.flags = (uint16_t)(PKT_F_CSUM_OK | (ip_addr_is_v4(&p->dst) ? 0 : PKT_F_V6)),
		.l4_len = p->m->pkt_len,
		.src = p->src,
		.dst = p->dst,
	};
	if (in->m == NULL) { /* as if it were lost: it is sent again */
		pkt_drop(&s->drops, p->m, DROP_NO_MBUF);
		return true;
	}
	if (unlikely(s->n_kernels != 0) && kernel && alias_port(s, &p->dst, &in->port))
		in->flags |= PKT_F_SHARED;
	l->n++;
	s->copied_bytes += p->m->pkt_len;
	pkt_free(p->m);
	return true;
}

unsigned stack_self_take(struct stack *s, struct pkt *p, unsigned n)
{
	struct stack_self *l = &s->self;
	unsigned i;

	for (i = 0; i < n && l->n > 0; i++, l->n--) {
		p[i] = l->p[l->head];
		l->head = (l->head + 1) % STACK_SELF_SEGMENTS;
	}
	return i;
}
