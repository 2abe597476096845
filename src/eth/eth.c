/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interfaces, frames in, and what eth sends by itself. An interface is a port and one VLAN of it; a
 * frame finds its interface by both. Time comes from eth_begin only, randomness from the seed.
 *
 * IP groups are let through by their MAC prefix: ip knows which ones were joined, and two groups
 * can share one MAC anyway. Not done: stacked tags, LLC frames, promiscuous listening.
 */
#include <errno.h>
#include <stdlib.h>

#include "eth/eth_priv.h"

void eth_cfg_defaults(struct eth_cfg *cfg)
{
	*cfg = (struct eth_cfg){.max_neigh = 1024, .queue_max = 16};
}

struct eth *eth_create(const struct eth_cfg *cfg)
{
	struct eth *e;

	if (cfg->max_neigh == 0 || cfg->max_neigh > 1u << 16 || cfg->queue_max > 1u << 16)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->cfg = *cfg;
	e->rng = cfg->seed;
	e->key = eth_random(e);
	e->own_due = UINT64_MAX;
	if (neigh_init(e) < 0) {
		eth_destroy(e);
		return NULL;
	}
	return e;
}

void eth_destroy(struct eth *e)
{
	struct eth_event ev;

	if (e == NULL)
		return;
	while (eth_event_next(e, &ev))
		if (ev.m != NULL)
			pkt_drop(e->cfg.drops, ev.m, DROP_SHUTDOWN);
	neigh_fini(e);
	free(e);
}

int eth_if_add(struct eth *e, const struct eth_if *i)
{
	if (i->vlan > ETH_VID_MAX || !eth_addr_is_station(&i->mac))
		return -EINVAL;
	for (unsigned k = 0; k < e->n_ifs; k++)
		if (e->ifs[k].port == i->port && e->ifs[k].vlan == i->vlan)
			return -EEXIST;
	if (e->n_ifs == ETH_IF_MAX)
		return -ENOSPC;
	e->ifs[e->n_ifs] = *i;
	e->nd[e->n_ifs] = (struct if_nd){.due = UINT64_MAX, .reachable_ns = NEIGH_REACHABLE_NS};
	return (int)e->n_ifs++;
}

const struct eth_if *eth_if_get(const struct eth *e, unsigned index)
{
	return index < e->n_ifs ? &e->ifs[index] : NULL;
}

unsigned eth_if_count(const struct eth *e)
{
	return e->n_ifs;
}

void eth_begin(struct eth *e, uint64_t now_ns)
{
	e->now = now_ns;
}

/* splitmix64: small state, and any seed will do. */
uint64_t eth_random(struct eth *e)
{
	uint64_t z = e->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

bool eth_event_push(struct eth *e, const struct eth_event *ev)
{
	if (e->ev_tail - e->ev_head == ETH_EVENT_MAX)
		return false;
	e->event[e->ev_tail++ % ETH_EVENT_MAX] = *ev;
	return true;
}

bool eth_event_next(struct eth *e, struct eth_event *ev)
{
	if (own_event_next(e, ev))
		return true;
	if (e->ev_head == e->ev_tail)
		return false;
	*ev = e->event[e->ev_head++ % ETH_EVENT_MAX];
	return true;
}

static int if_find(const struct eth *e, uint8_t port, uint16_t vlan)
{
	for (unsigned k = 0; k < e->n_ifs; k++)
		if (e->ifs[k].port == port && e->ifs[k].vlan == vlan)
			return (int)k;
	return -1;
}

static bool group_wanted(const struct eth_addr *dst)
{
	static const uint8_t group4[3] = {0x01, 0x00, 0x5e}, group6[2] = {0x33, 0x33};
	struct eth_addr all = eth_addr_broadcast();

	return eth_addr_eq(dst, &all) || memcmp(dst, group4, 3) == 0 || memcmp(dst, group6, 2) == 0;
}

static enum next next_of_type(struct pkt *p, uint16_t type)
{
	switch (type) {
	case ETH_TYPE_IP4:
		return NEXT_IP4;
	case ETH_TYPE_IP6:
		return NEXT_IP6;
	case ETH_TYPE_ARP:
		return NEXT_ARP;
	default:
		return pkt_refuse(p, DROP_ETH_TYPE);
	}
}

/* Headers that lie in several segments, or why not. */
static slow_path enum drop_reason head_slow(struct eth *e, struct pkt *p, uint16_t n)
{
	if (p->m->pkt_len < n)
		return DROP_ETH_SHORT;
	return pkt_head(e->cfg.pools, &p->m, n) == 0 ? DROP_NONE : DROP_NO_MBUF;
}

/* The first n bytes lie together afterwards (H22). */
static enum drop_reason head(struct eth *e, struct pkt *p, uint16_t n)
{
	return likely(p->m->data_len >= n) ? DROP_NONE : head_slow(e, p, n);
}

enum next eth_input(struct eth *e, struct pkt *p, uint8_t *ifindex)
{
	enum drop_reason why = head(e, p, sizeof(struct wire_eth));
	const struct wire_eth *h;
	uint16_t type;
	int k;

	p->vlan = 0;
	if (why != DROP_NONE)
		return pkt_refuse(p, why);
	h = (const void *)pkt_data(p->m);
	type = be16_host(h->type);
	p->l3_off = sizeof(*h);
	if (p->m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		p->vlan = p->m->vlan_tci & ETH_VID_MASK;
	} else if (type == ETH_TYPE_VLAN) {
		const struct wire_vlan *tag;

		why = head(e, p, sizeof(*h) + sizeof(*tag));
		if (why != DROP_NONE)
			return pkt_refuse(p, why);
		h = (const void *)pkt_data(p->m);
		tag = (const void *)(h + 1);
		/* VLAN id 0 is a priority without a VLAN: untagged. */
		p->vlan = be16_host(tag->tci) & ETH_VID_MASK;
		type = be16_host(tag->type);
		p->l3_off += sizeof(*tag);
	}
	k = if_find(e, p->port, p->vlan);
	if (k < 0)
		return pkt_refuse(p, DROP_ETH_VLAN);
	*ifindex = (uint8_t)k;
	if (eth_addr_is_group(&h->dst)) {
		if (!group_wanted(&h->dst))
			return pkt_refuse(p, DROP_ETH_NOT_OURS);
		p->flags |= PKT_F_BCAST;
	} else if (!eth_addr_eq(&h->dst, &e->ifs[k].mac)) {
		return pkt_refuse(p, DROP_ETH_NOT_OURS);
	}
	return next_of_type(p, type);
}

/* One frame of a neighbour that has work; false: it has none left. */
static bool work_frame(struct eth *e, struct neigh *n, struct pkt *p)
{
	*p = (struct pkt){0};
	if (n->want_solicit) {
		n->want_solicit = false;
		/* Without a buffer the timer tries again. */
		if (ip_addr_is_v4(&n->addr) ? arp_solicit(e, n, p) : nd_solicit(e, n, p))
			return true;
	}
	if (!neigh_has_mac(n))
		return false;
	if (!neigh_unwait(e, n, p))
		return false;
	eth_push(e, p, n->ifindex, &n->mac, ip_addr_is_v4(&n->addr) ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
	return true;
}

unsigned eth_poll(struct eth *e, struct pkt *out, unsigned n)
{
	unsigned sent = 0;
	struct neigh *w;

	neigh_expire(e);
	if (e->own_due <= e->now)
		sent = own_poll(e, out, n);
	while (sent < n && (w = TAILQ_FIRST(&e->work)) != NULL) {
		sent += work_frame(e, w, &out[sent]);
		if (!w->want_solicit && (w->waiting == 0 || !neigh_has_mac(w)))
			neigh_work_done(e, w);
	}
	return sent;
}

uint64_t eth_deadline(const struct eth *e)
{
	const struct neigh *r = TAILQ_FIRST(&e->list[LIST_RETRANS]);
	const struct neigh *d = TAILQ_FIRST(&e->list[LIST_DELAY]);
	uint64_t due = e->own_due;

	if (!TAILQ_EMPTY(&e->work) || e->ev_head != e->ev_tail || e->own_events > 0)
		return e->now;
	if (r != NULL && r->due < due)
		due = r->due;
	if (d != NULL && d->due < due)
		due = d->due;
	return due;
}
