/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Frames out: from the next hop to a MAC, and the header in front. A path is what a connection
 * keeps of that: slot (plus one, so that 0 is none) in the low bits, the slot's generation above.
 * Not done: MTU checks (ip and tcp know it), IPv4 directed broadcast (ip names 255.255.255.255 as
 * its next hop).
 */
#include "eth/eth_priv.h"

void eth_push(struct eth *e, struct pkt *p, uint8_t ifindex, const struct eth_addr *dst,
	      uint16_t type)
{
	const struct eth_if *i = &e->ifs[ifindex];
	struct wire_eth *h;

	if (i->vlan != 0) {
		struct wire_vlan *tag = (void *)pkt_push(p->m, sizeof(*tag));

		*tag = (struct wire_vlan){be16(i->vlan), be16(type)};
		type = ETH_TYPE_VLAN;
	}
	h = (void *)pkt_push(p->m, sizeof(*h));
	*h = (struct wire_eth){*dst, i->mac, be16(type)};
	p->port = i->port;
	p->vlan = i->vlan;
}

void front_update(const struct eth *e, struct neigh *n)
{
	const struct eth_if *i = &e->ifs[n->ifindex];
	uint16_t type = ip_addr_is_v4(&n->addr) ? ETH_TYPE_IP4 : ETH_TYPE_IP6;
	struct wire_eth h = {n->mac, i->mac, be16(type)};
	struct wire_vlan tag = {be16(i->vlan), be16(type)};

	n->port = i->port;
	n->vlan = i->vlan;
	n->front_len = i->vlan != 0 ? ETH_FRONT_MAX : sizeof(h);
	if (i->vlan == 0) {
		memcpy(n->front + sizeof(tag), &h, sizeof(h));
		return;
	}
	h.type = be16(ETH_TYPE_VLAN);
	memcpy(n->front, &h, sizeof(h));
	memcpy(n->front + sizeof(h), &tag, sizeof(tag));
}

/* An IP packet to a neighbour whose MAC is known. As many bytes are always written; without a tag
 * the first four are of the headroom. */
static inline void front_push(struct pkt *p, const struct neigh *n)
{
	memcpy(pkt_data(p->m) - ETH_FRONT_MAX, n->front, ETH_FRONT_MAX);
	(void)pkt_push(p->m, n->front_len);
	p->port = n->port;
	p->vlan = n->vlan;
}

static bool group_mac(const struct ip_addr *a, struct eth_addr *mac)
{
	if (ip_addr_is_multicast(a)) {
		*mac = eth_addr_of_group(a);
		return true;
	}
	if (ip_addr_is_v4(a) && be32_host(a->w[3]) == 0xffffffff) {
		*mac = eth_addr_broadcast();
		return true;
	}
	return false;
}

static uint16_t type_of(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) ? ETH_TYPE_IP4 : ETH_TYPE_IP6;
}

enum next eth_output(struct eth *e, struct pkt *p, uint8_t ifindex)
{
	struct eth_addr mac;
	struct neigh *n;

	if (ifindex >= e->n_ifs)
		return pkt_refuse(p, DROP_TX_DOWN);
	if (group_mac(&p->nexthop, &mac)) {
		eth_push(e, p, ifindex, &mac, type_of(&p->nexthop));
		return NEXT_TX;
	}
	n = neigh_find(e, ifindex, &p->nexthop);
	if (n == NULL)
		n = neigh_create(e, ifindex, &p->nexthop);
	if (n == NULL)
		return pkt_refuse(p, DROP_NEIGH_TABLE_FULL);
	neigh_use(e, n);
	/* Behind those that still wait, or it would overtake them. */
	if (!neigh_has_mac(n) || n->waiting > 0)
		return neigh_wait(e, n, p);
	eth_push(e, p, ifindex, &n->mac, type_of(&n->addr));
	return NEXT_TX;
}

static inline struct neigh *path_neigh(const struct eth *e, uint32_t path)
{
	uint32_t slot = path & ((1u << e->path_bits) - 1);
	struct neigh *n;

	if (slot == 0 || slot > e->cfg.max_neigh)
		return NULL;
	n = &e->neigh[slot - 1];
	if (!neigh_has_mac(n) || path != (n->generation << e->path_bits | slot))
		return NULL;
	return n;
}

uint32_t eth_path(struct eth *e, uint8_t ifindex, const struct ip_addr *nexthop)
{
	struct neigh *n = neigh_find(e, ifindex, nexthop);

	if (n == NULL || !neigh_has_mac(n))
		return PATH_NONE;
	return n->generation << e->path_bits | (uint32_t)(n - e->neigh + 1);
}

int eth_path_if(const struct eth *e, uint32_t path)
{
	const struct neigh *n = path_neigh(e, path);

	return n == NULL || n->waiting > 0 ? -1 : n->ifindex;
}

bool eth_output_path(struct eth *e, struct pkt *p)
{
	struct neigh *n = path_neigh(e, p->path);

	if (n == NULL || n->waiting > 0)
		return false;
	if (unlikely(n->state != NEIGH_REACHABLE || n->reachable_until <= e->now))
		neigh_use(e, n);
	front_push(p, n);
	return true;
}

bool eth_confirm_wanted(const struct eth *e)
{
	return !TAILQ_EMPTY(&e->list[LIST_DELAY]);
}

void eth_path_confirm(struct eth *e, uint32_t path)
{
	struct neigh *n = path_neigh(e, path);

	if (n == NULL || n->state == NEIGH_PERMANENT)
		return;
	/* Per ACK: only the date is moved unless the state must change. */
	if (n->state == NEIGH_REACHABLE && n->reachable_until > e->now + NEIGH_REACHABLE_NS / 4)
		return;
	neigh_confirm(e, n, &n->mac);
}
