/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets over UDP: bind, connect, send. Receiving is in sock_udp_in.c, groups in sock_group.c.
 *
 * A datagram is sent in one go: the pieces of it that came in several commands are kept until the
 * last one is there. Errors that Linux finds in sendto() arrive as the socket's pending error.
 *
 * Datagrams are built at once and wait in a small ring for the stack's transmission; while that is
 * full, commands are not taken.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sock/sock_udp.h"

/* Below this, no path is asked for its MTU: every link carries it (RFC 8200 §5, less headers). */
#define ALWAYS_FITS 1200

int udp_sock_init(struct sock *k)
{
	struct sock_udp *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return -ENOMEM;
	u->rcvbuf = SOCK_UDP_BUF;
	u->mcast_ttl = 1;
	u->mcast_loop = u->mcast_all = true;
	u->mcast_if = -1;
	k->udp = u;
	return 0;
}

static void part_drop(struct sock_udp *u)
{
	pkt_free(u->part);
	u->part = NULL;
}

void udp_sock_fini(struct sock *k)
{
	struct sock_udp *u = k->udp;
	struct socks *s = k->app->s;

	if (u == NULL)
		return;
	if (k->pcb != NULL)
		udp_unbind(s->cfg.udp, k->pcb);
	k->pcb = NULL;
	part_drop(u);
	udp_queue_free(u);
	udp_groups_leave(k);
	free(u);
	k->udp = NULL;
}

int udp_sock_bind(struct sock *k, const struct ip_addr *a, uint16_t port)
{
	int err = port_bind(k, a, port);
	struct udp_bind b = {
		.laddr = *a,
		.lport = k->lport,
		.v6only = (k->flags & SOCKF_V6ONLY) != 0,
		.reuse = (k->flags & SOCKF_REUSEPORT) != 0,
		.share = (k->flags & SOCKF_REUSEADDR) != 0,
		.user = (uintptr_t)k,
	};

	if (err != 0)
		return err;
	err = udp_bind(k->app->s->cfg.udp, &b, &k->pcb);
	if (err != 0)
		port_release(k);
	return err;
}

/* Sending and connecting bind what is unbound. */
static int autobind(struct sock *k)
{
	struct ip_addr any = k->domain == AF_INET ? ip_addr_v4(be32(0)) : (struct ip_addr){0};

	int err;

	if (k->pcb != NULL)
		return 0;
	err = udp_sock_bind(k, &any, 0);
	k->udp->chosen = err == 0;
	return err;
}

/* connect(2), AF_UNSPEC: a port that nobody asked for is given back with the peer. */
static int disconnect(struct sock *k)
{
	if (k->pcb == NULL)
		return 0;
	if (k->udp->chosen && k->share == NULL) {
		udp_unbind(k->app->s->cfg.udp, k->pcb);
		k->pcb = NULL;
		port_release(k);
		k->laddr = (struct ip_addr){0};
		k->lport = 0;
		k->udp->chosen = false;
		return 0;
	}
	return udp_connect(k->app->s->cfg.udp, k->pcb, &k->laddr, NULL, 0);
}

/* Is the datagram to leave by the interface that IP_MULTICAST_IF names? */
static bool by_mcast_if(const struct sock *k, const struct ip_addr *dst)
{
	return ip_addr_is_multicast(dst) && k->udp->mcast_if >= 0;
}

/* The interface's address to send from to a group: of the group's scope, if there is one. */
static int source_of_if(const struct sock *k, const struct ip_addr *dst, struct ip_addr *src)
{
	bool link = sock_has_scope(dst);
	const struct ip_ifaddr *own, *best = NULL;

	for (unsigned i = 0; (own = ip_addr_at(k->app->s->cfg.ip, i)) != NULL; i++) {
		if (own->ifindex != k->udp->mcast_if || own->tentative ||
		    ip_addr_is_v4(&own->addr) != ip_addr_is_v4(dst))
			continue;
		if (best == NULL || (ip_addr_is_link_local6(&own->addr) == link &&
				     ip_addr_is_link_local6(&best->addr) != link))
			best = own;
	}
	if (best == NULL)
		return -EADDRNOTAVAIL;
	*src = best->addr;
	return 0;
}

/* The address that it is bound to is one that packets come from. */
static bool bound_to_host(const struct sock *k)
{
	const struct ip_addr *a = &udp_binding(k->pcb)->laddr;

	return !ip_addr_is_any(a) && !ip_addr_is_multicast(a) &&
	       !ip_addr_is_broadcast(k->app->s->cfg.ip, a);
}

/* The address to send from: bound, the destination if it is ours, of the interface for groups, or
 * by route. */
static int choose_source(const struct sock *k, const struct ip_addr *dst, uint32_t scope,
			 struct ip_addr *src)
{
	if (bound_to_host(k)) {
		*src = udp_binding(k->pcb)->laddr;
		return ip_addr_is_v4(src) == ip_addr_is_v4(dst) ? 0 : -ENETUNREACH;
	}
	if (sock_addr_is_own(k->app->s, dst)) {
		*src = *dst;
		return 0;
	}
	return by_mcast_if(k, dst) ? source_of_if(k, dst, src) : sock_source(k, dst, scope, src);
}

static int may_broadcast(const struct sock *k, const struct ip_addr *dst, bool *all)
{
	*all = ip_addr_is_broadcast(k->app->s->cfg.ip, dst);
	return *all && !(k->flags & SOCKF_BROADCAST) ? -EACCES : 0;
}

int udp_sock_connect(struct sock_cmd *c)
{
	struct sock *k = c->k;
	struct ip_addr dst, src;
	bool all, bound;
	int err;

	memcpy(&dst, c->q->addr, sizeof(dst));
	if (c->q->port == 0 && ip_addr_is_any(&dst))
		return disconnect(k);
	err = sock_fam(k, &dst);
	if (err < 0)
		return err;
	if (c->q->port == 0)
		return -EINVAL;
	err = may_broadcast(k, &dst, &all);
	if (err == 0)
		err = autobind(k);
	if (err == 0)
		err = choose_source(k, &dst, c->q->scope, &src);
	if (err != 0)
		return err;
	/* What is bound to a group, or to all, hears that alone. */
	bound = !ip_addr_is_any(&udp_binding(k->pcb)->laddr);
	err = udp_connect(c->s->cfg.udp, k->pcb, bound ? NULL : &src, &dst, c->q->port);
	if (err != 0)
		return err;
	memcpy(c->out.addr, &dst, sizeof(dst));
	memcpy(c->out.laddr, &udp_binding(k->pcb)->laddr, sizeof(src));
	c->out.port = c->q->port;
	c->out.lport = k->lport;
	return 0;
}

int udp_sock_shutdown(struct sock *k, int how)
{
	if (k->pcb == NULL || udp_binding(k->pcb)->rport == 0)
		return -ENOTCONN;
	k->udp->shut_rd |= how != SHUT_WR;
	k->udp->shut_wr |= how != SHUT_RD;
	return 0;
}

/* ---- sending ---- */

/* The own address that the application named by its last bytes. */
static int named_source(const struct sock_cmd *c, struct ip_addr *src)
{
	const struct ip_ifaddr *own;

	for (unsigned i = 0; (own = ip_addr_at(c->s->cfg.ip, i)) != NULL; i++) {
		const uint8_t *b = own->addr.b + sizeof(own->addr.b) - sizeof(c->q->from);

		if (own->tentative || memcmp(b, c->q->from, sizeof(c->q->from)) != 0)
			continue;
		*src = own->addr;
		return 0;
	}
	return -EINVAL;
}

static int destination(const struct sock_cmd *c, struct pkt *p)
{
	const struct udp_bind *b = udp_binding(c->k->pcb);
	uint32_t scope = 0;
	bool all;
	int err;

	p->sport = b->lport;
	if (c->q->op != CHAN_OP_SEND && c->q->port != 0) {
		memcpy(&p->dst, c->q->addr, sizeof(p->dst));
		p->dport = c->q->port;
		scope = c->q->scope;
	} else if (c->q->op == CHAN_OP_SENDTO) {
		return -EINVAL;
	} else {
		p->dst = b->raddr;
		p->dport = b->rport;
	}
	if (p->dport == 0)
		return -EDESTADDRREQ;
	err = sock_fam(c->k, &p->dst);
	if (err < 0)
		return err;
	err = may_broadcast(c->k, &p->dst, &all);
	if (err != 0)
		return err;
	if (unlikely(all))
		p->flags |= PKT_F_BCAST;
	if (unlikely(c->q->flags & CHAN_SEND_FROM)) {
		err = named_source(c, &p->src);
		if (err == 0 && ip_addr_is_v4(&p->src) != ip_addr_is_v4(&p->dst))
			err = -EINVAL;
	} else {
		err = choose_source(c->k, &p->dst, scope, &p->src);
	}
	return err != 0 || (p->flags & PKT_F_BCAST) || ip_addr_is_multicast(&p->dst)
		       ? err
		       : sock_check_route(c->k, &p->dst);
}

/* RFC 8085 §3.2: no fragments where it can be helped; IP_MTU_DISCOVER says what may be done.
 * SOCK_LATER: the application was told that it can't be. */
static int fit(struct sock *k, struct pkt *p, uint32_t len)
{
	uint32_t total = len + 8 + (ip_addr_is_v4(&p->dst) ? 20 : 40);

	if (len > UDP_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (k->udp->pmtu == UDP_PMTU_DONT)
		return 0;
	if (len > ALWAYS_FITS && total > ip_pmtu(k->app->s->cfg.ip, &p->dst)) {
		if (k->udp->pmtu != UDP_PMTU_DO)
			return 0;
		udp_error_too_large(k, p);
		return SOCK_LATER;
	}
	p->flags |= PKT_F_DF;
	return 0;
}

static void as_told(uint32_t ip, struct pkt *p)
{
	if (ip & CHAN_IP_TTL)
		p->ttl = (uint8_t)(ip >> CHAN_IP_TTL_SHIFT);
	if (ip & CHAN_IP_TOS)
		p->tos = (uint8_t)(ip >> CHAN_IP_TOS_SHIFT);
}

/* Takes m, which is NULL for an empty datagram. */
static int transmit(struct sock_cmd *c, struct rte_mbuf *m)
{
	struct socks *s = c->s;
	struct sock_udp *u = c->k->udp;
	struct pkt p = {.flags = PKT_F_L4_CSUM, .path = PATH_NONE, .tos = u->tos};
	bool only = false;
	int err = destination(c, &p);

	if (err == 0)
		err = fit(c->k, &p, m != NULL ? m->pkt_len : 0);
	p.ttl = ip_addr_is_multicast(&p.dst) ? u->mcast_ttl : u->ttl;
	if (unlikely(c->q->flags & CHAN_SEND_IP) && c->q->op != CHAN_OP_SEND_LOAN)
		as_told(c->q->loan, &p);
	if (err == 0)
		udp_loop(c->k, &p, &m, &only);
	if (err != 0 || only) {
		pkt_free(m);
		return err;
	}
	if (udp_output(s->cfg.udp, s->cfg.pools, &p, m) != NEXT_IP_OUT) {
		pkt_drop(s->cfg.drops, p.m, p.drop);
		return -ENOBUFS;
	}
	s->out[s->out_tail++ % SOCK_OUT_MAX] = p;
	return 0;
}

/* Adds a piece; NULL: an empty one. Takes m. */
static int part_add(struct sock_udp *u, struct rte_mbuf *m)
{
	if (m == NULL)
		return 0;
	if (u->part == NULL) {
		u->part = m;
		return 0;
	}
	if (u->part->pkt_len + m->pkt_len > UDP_PAYLOAD_MAX || pkt_chain(u->part, m) != 0) {
		pkt_free(m);
		return -EMSGSIZE;
	}
	return 0;
}

/* What the command brings. *m NULL with 0: nothing, and its token is home. */
static int piece(struct sock_cmd *c, struct rte_mbuf **m)
{
	int err = 0;

	*m = NULL;
	if (c->q->len == 0 && c->q->op != CHAN_OP_SEND_LOAN) {
		send_refuse(c->app, c->q->token);
		return 0;
	}
	*m = send_payload(c, &err);
	if (*m == NULL && err != SOCK_STALL) {
		c->s->n.bad_commands++;
		send_refuse(c->app, c->q->token);
	}
	return err;
}

int udp_sock_send(struct sock_cmd *c)
{
	struct sock *k = c->k;
	struct sock_udp *u = k->udp;
	struct rte_mbuf *m;
	int err;

	if (unlikely(c->s->out_tail - c->s->out_head == SOCK_OUT_MAX))
		return SOCK_STALL;
	err = piece(c, &m);
	if (err == SOCK_STALL)
		return err;
	if (err == 0 && (u->part != NULL || (c->q->flags & CHAN_SEND_PART)))
		err = part_add(u, m);
	if (err != 0) {
		part_drop(u);
		u->part_err = err;
	}
	if (c->q->flags & CHAN_SEND_PART)
		return SOCK_LATER;
	/* The datagram is whole, or lost. */
	if (u->part != NULL)
		m = u->part;
	err = u->part_err;
	u->part = NULL;
	u->part_err = 0;
	if (err == 0)
		err = u->shut_wr ? -EPIPE : autobind(k);
	if (err != 0)
		pkt_free(m);
	else
		err = transmit(c, m);
	if (err != 0 && err != SOCK_LATER)
		sock_error(k, err);
	return SOCK_LATER;
}
