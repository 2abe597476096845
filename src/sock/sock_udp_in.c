/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams received. A datagram is told with all of its pieces or not yet; what finds no room
 * waits in a queue of the socket (sock_udp_queue.c). Waiting and lent buffers together are what
 * SO_RCVBUF limits: beyond it, datagrams are dropped and counted. What one of several holders asked
 * for is read as far as the socket is concerned, and charged no more.
 */
#include <netinet/in.h>

#include "sock/sock_share.h"
#include "sock/sock_udp.h"

static uint32_t charge_of(const struct rte_mbuf *m)
{
	uint32_t charge = 0;

	for (; m != NULL; m = m->next)
		charge += pkt_charge(m);
	return charge;
}

/* Room for all pieces in the ring and in the loan table? */
static bool room_for(struct sock *k, const struct udp_dgram *d)
{
	struct sock_app *a = k->app;
	uint32_t n = d->m != NULL ? d->m->nb_segs : 1;

	return app_room(a, n) && app_lend_room(a, n) >= n;
}

static struct chan_cqe *piece_event(struct sock *k, const struct udp_dgram *d)
{
	struct chan_cqe *e = app_event(k->app);

	*e = (struct chan_cqe){
		.ev = CHAN_EV_DGRAM,
		.port = d->sport,
		.lport = k->lport,
		.sid = k->sid,
		.aux = CHAN_DGRAM_AUX(d->ifindex, d->ttl, d->tos),
	};
	memcpy(e->addr, &d->src, sizeof(d->src));
	memcpy(e->laddr, &d->dst, sizeof(d->dst));
	return e;
}

/* Nobody's return of it is the socket's affair. */
static void uncharged(struct sock *k, struct rte_mbuf *m)
{
	pkt_note_set(m, 0);
	k->lent--;
}

/* Lends every piece. The caller made sure of the room. Takes d->m. */
static void tell_dgram(struct sock *k, const struct udp_dgram *d, bool charged, uint8_t flags)
{
	struct chan_cqe *e = NULL;
	struct rte_mbuf *m = d->m;

	while (m != NULL) {
		struct rte_mbuf *rest = pkt_seg_split(m);
		struct sock_lent lent;

		if (!sock_lend(k, &m, &lent)) {
			/* Told without its bytes rather than not at all: a wrong configuration. */
			k->udp->charge -= charged ? pkt_charge(m) + charge_of(rest) : 0;
			pkt_free(m);
			pkt_free(rest);
			break;
		}
		if (!charged)
			uncharged(k, m);
		if (e != NULL)
			e->flags |= CHAN_CQ_MORE;
		e = piece_event(k, d);
		e->flags = flags;
		e->res = m->data_len;
		e->off = lent.off;
		e->region = lent.region;
		e->loan = lent.loan;
		m = rest;
	}
	if (e == NULL)
		piece_event(k, d)->flags = flags;
}

bool udp_sock_tell(struct sock *k)
{
	struct sock_udp *u = k->udp;

	while (u->count != 0) {
		struct udp_dgram d = *udp_queue_first(u);

		if (!room_for(k, &d))
			return false;
		udp_queue_pass(u);
		tell_dgram(k, &d, true, 0);
	}
	k->news &= (uint16_t)~NEWS_DATA;
	return true;
}

/* A copy is told; the datagram waits on. */
static int look(struct sock *k, struct udp_dgram *d)
{
	struct sock_app *a = k->app;

	d->m = d->m != NULL ? pkt_copy_rx(a->s->cfg.pools, d->m) : NULL;
	if (d->m == NULL && udp_queue_first(k->udp)->m != NULL)
		return SOCK_STALL;
	if (!room_for(k, d)) {
		pkt_free(d->m);
		return SOCK_STALL;
	}
	a->s->n.domain_copied_bytes += d->m != NULL ? d->m->pkt_len : 0;
	tell_dgram(k, d, false, CHAN_CQ_COPY);
	return 1;
}

int udp_sock_read(struct sock *k, bool looks)
{
	struct sock_udp *u = k->udp;
	struct udp_dgram d;

	if (u->count == 0)
		return -EAGAIN;
	d = *udp_queue_first(u);
	if (looks)
		return look(k, &d);
	if (!room_for(k, &d))
		return SOCK_STALL;
	udp_queue_pass(u);
	u->charge -= charge_of(d.m);
	tell_dgram(k, &d, false, 0);
	return 1;
}

/* Keeps it for later. False: no place. */
static bool wait_for_room(struct sock *k, const struct udp_dgram *d)
{
	if (!udp_queue_add(k->udp, d))
		return false;
	if (sock_is_shared(k))
		share_readable(k);
	else
		sock_news(k, NEWS_DATA);
	return true;
}

/* Empty segments of a chain carry nothing to lend. */
static struct rte_mbuf *without_empty(struct rte_mbuf *m)
{
	struct rte_mbuf *head = NULL, **link = &head;
	uint16_t n = 0;

	while (m != NULL) {
		struct rte_mbuf *rest = pkt_seg_split(m);

		if (m->data_len == 0) {
			pkt_free(m);
		} else {
			*link = m;
			link = &m->next;
			n++;
		}
		m = rest;
	}
	if (head != NULL)
		head->nb_segs = n;
	return head;
}

void socks_udp_input(struct socks *s, struct udp_pcb *pcb, struct pkt *p)
{
	struct sock *k = (struct sock *)(uintptr_t)udp_user(pcb);
	struct sock_udp *u = k->udp;
	struct udp_dgram d = {.src = p->src,
			      .dst = p->dst,
			      .sport = p->sport,
			      .ifindex = p->port,
			      .ttl = p->ttl,
			      .tos = p->tos};
	uint32_t charge;

	if (unlikely(ip_addr_is_multicast(&p->dst)) && !udp_group_wants(k, p)) {
		pkt_free(p->m);
		return;
	}
	d.m = without_empty(p->m);
	charge = charge_of(d.m);
	if (u->shut_rd || (u->charge != 0 && u->charge + charge > u->rcvbuf) ||
	    (d.m != NULL && d.m->nb_segs > k->app->end.hdr.cq_size / 2)) {
		pkt_drop(s->cfg.drops, d.m, DROP_UDP_QUEUE_FULL);
		return;
	}
	u->charge += charge;
	if (likely(k->share == NULL && u->count == 0 && room_for(k, &d))) {
		tell_dgram(k, &d, true, 0);
	} else if (!wait_for_room(k, &d)) {
		u->charge -= charge;
		pkt_drop(s->cfg.drops, d.m, DROP_UDP_QUEUE_FULL);
	}
}

void udp_sock_returned(struct sock *k, uint32_t charge)
{
	k->udp->charge -= charge;
}
