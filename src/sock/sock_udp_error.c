/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors about datagrams and segments that were sent: from the network (RFC 1122 §4.1.3.3), or because nobody
 * on this host wants them. A connected socket is told the errno of those that mean something; one
 * with IP_RECVERR is told of each who said it and about which datagram, for the program's error
 * queue (ip(7)). An error queue that is full loses what is new, and so is what finds no room in the
 * event ring: the errno alone is told then, when there is some.
 */
#include <netinet/in.h>
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */

#include "sock/sock_share.h"
#include "sock/sock_udp.h"
#include "wire/icmp.h"

static uint32_t quote_events(const struct icmp_error *e)
{
	return (e->quoted + CHAN_DATA_MAX - 1u) / CHAN_DATA_MAX;
}

static void tell_quote(struct sock *k, const struct icmp_error *e)
{
	for (uint32_t at = 0; at < e->quoted; at += CHAN_DATA_MAX) {
		uint32_t left = e->quoted - at, n = left < CHAN_DATA_MAX ? left : CHAN_DATA_MAX;
		struct chan_cqe *q = app_event(k->app);

		*q = (struct chan_cqe){.ev = CHAN_EV_QUOTE,
				       .flags = left > n ? CHAN_CQ_MORE : 0,
				       .sid = k->sid,
				       .res = (int32_t)n};
		memcpy(q->data, e->quote + at, n);
	}
}

/* All that is known of it. False: there is no room. */
static bool tell_queued(struct sock *k, const struct icmp_error *e, uint8_t origin)
{
	struct chan_cqe *q;

	if (list_linked(&k->wait) || (k->flags & SOCKF_PARKED) ||
	    !app_room(k->app, 1 + quote_events(e)))
		return false;
	q = app_event(k->app);
	*q = (struct chan_cqe){
		.ev = CHAN_EV_ERROR,
		.flags = CHAN_CQ_QUEUED | (e->quoted != 0 ? CHAN_CQ_MORE : 0),
		.port = e->dport,
		.sid = k->sid,
		.res = -e->err,
		.aux = CHAN_ERROR_AUX(origin, e->type, e->code, e->ttl),
		.off = e->err == EMSGSIZE ? e->mtu : e->pointer,
	};
	memcpy(q->addr, &e->dst, sizeof(e->dst));
	memcpy(q->laddr, &e->offender, sizeof(e->offender));
	tell_quote(k, e);
	return true;
}

static void report(struct sock *k, const struct icmp_error *e, uint8_t origin)
{
	if (!k->udp->recverr || !tell_queued(k, e, origin))
		sock_error(k, -e->err);
}

static uint8_t origin_of(const struct icmp_error *e)
{
	return ip_addr_is_v4(&e->dst) ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
}

static void udp_error(struct socks *s, const struct icmp_error *e)
{
	struct udp_pcb *pcb = udp_find(s->cfg.udp, &e->src, e->sport, &e->dst, e->dport);
	struct sock *k;
	bool large = e->err == EMSGSIZE;

	if (pcb == NULL) {
		s->cfg.drops->n[DROP_ICMP_UNMATCHED]++;
		return;
	}
	k = (struct sock *)(uintptr_t)udp_user(pcb);
	if (large)
		ip_pmtu_learn(s->cfg.ip, &e->dst, e->mtu);
	/* Who lets datagrams be cut has no use for it, unless it asked. */
	if (large &&
	    (k->udp->recverr ? k->udp->pmtu == UDP_PMTU_DONT : k->udp->pmtu != UDP_PMTU_DO))
		return;
	/* Without a peer an error can't be told apart. */
	if (k->udp->recverr || (udp_binding(pcb)->rport != 0 && (e->hard || large)))
		report(k, e, origin_of(e));
}

/* As Linux does for a connection whose program asked (IP_RECVERR): an attempt that fails leaves in
 * the error queue why; one that is established goes on, but the program is told. */
static void tcp_error(struct socks *s, const struct icmp_error *e, const struct tcp_icmp *t)
{
	struct sock *k = (struct sock *)(uintptr_t)tcp_icmp_user(s->cfg.tcp, t);

	if (k == NULL || !k->recverr || e->err == EMSGSIZE)
		return;
	if (k->kind == SOCK_CONNECTING && e->hard)
		(void)tell_queued(k, e, origin_of(e));
	else if (k->kind == SOCK_CONN && k->share == NULL)
		sock_error(k, -e->err);
	for (uint32_t i = 0; k->kind == SOCK_CONN && k->share != NULL && i < k->share->n; i++)
		sock_error(k->share->holder[i], -e->err);
}

void socks_icmp_error(struct socks *s, const struct icmp_error *e)
{
	if (e->proto == IPPROTO_UDP) {
		udp_error(s, e);
		return;
	}
	/* RFC 5927 §4, RFC 1122 §4.2.3.9: TCP checks the quoted sequence number itself; without one
	 * it is not believed. */
	if (e->proto != IPPROTO_TCP || !e->have_seq)
		return;
	struct tcp_icmp t = {
		.key = {.laddr = e->src, .raddr = e->dst, .lport = e->sport, .rport = e->dport},
		.seq = e->tcp_seq,
		.err = e->err,
		.hard = e->hard,
		.mtu = e->mtu,
	};

	tcp_error(s, e, &t);
	tcp_icmp_error(s->cfg.tcp, &t);
}

void udp_error_refused(struct sock *k, const struct pkt *p, const struct rte_mbuf *m)
{
	bool v4 = ip_addr_is_v4(&p->dst);
	struct icmp_error e = {
		.dst = p->dst,
		.dport = p->dport,
		.offender = p->dst,
		.err = ECONNREFUSED,
		.type = v4 ? ICMP4_UNREACH : ICMP6_UNREACH,
		.code = v4 ? ICMP4_UNREACH_PORT : ICMP6_UNREACH_PORT,
		.ttl = 64,
	};

	if (udp_binding(k->pcb)->rport == 0 && !k->udp->recverr)
		return;
	if (m != NULL)
		e.quoted = (uint8_t)pkt_copy_out(
			m, 0, m->pkt_len < ICMP_QUOTED_MAX ? m->pkt_len : ICMP_QUOTED_MAX, e.quote);
	report(k, &e, origin_of(&e));
}

void udp_error_too_large(struct sock *k, const struct pkt *p)
{
	struct icmp_error e = {
		.dst = p->dst,
		.dport = p->dport,
		.err = EMSGSIZE,
		.mtu = ip_pmtu(k->app->s->cfg.ip, &p->dst),
	};

	report(k, &e, SO_EE_ORIGIN_LOCAL);
}
