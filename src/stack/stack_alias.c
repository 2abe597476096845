/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program of ours connects to a shared address, at a port where the kernel listens and none of
 * ours does. To the kernel the address is local: it would take no segment that claims to come from
 * it, and sends none to it over an interface. So our end goes by another address there, one that
 * exists between the stack and the kernel only; the kernel has a neighbour of that address at its
 * interface (src/svc/shared.c):
 *
 *	ours                        the kernel
 *	10.0.0.2:20000  ─► alias ─► 169.254.255.1:20000 ──► 10.0.0.2:22
 *	10.0.0.2:22     ◄─ alias ◄─ 10.0.0.2:22 ──► 169.254.255.1:20000
 *
 * Checksums are neither needed nor made on either way. Not done: UDP; our end bound to another
 * address than the one that it connects to.
 */
#include <string.h>

#include "base/csum.h"
#include "stack/stack_priv.h"
#include "wire/eth.h"
#include "wire/ip6.h"

/* RFC 3927 §2.1: nobody chooses from 169.254.255.0/24. */
#define ALIAS4 0xa9feff01u

struct ip_addr stack_alias(unsigned port, bool v6)
{
	if (v6)
		return (struct ip_addr){
			.b = {0xfe, 0x80, [8] = 'z', 's', [15] = (uint8_t)(port + 1)}};
	return ip_addr_v4(be32(ALIAS4 + port));
}

bool alias_port(const struct stack *s, const struct ip_addr *own, uint8_t *port)
{
	const struct ip_ifaddr *ia = ip_addr_find(s->ip, own);
	const struct eth_if *i = ia != NULL ? eth_if_get(s->eth, ia->ifindex) : NULL;

	if (i == NULL || i->vlan != 0 || s->kernel[i->port] == NULL)
		return false;
	*port = i->port;
	return true;
}

/* ---- to the kernel ---- */

static void put_ip4(struct pkt *p, const struct ip_addr *from)
{
	struct ip4_hdr h = {.ver_ihl = 0x45,
			    .tos = p->tos,
			    .total_len = be16((uint16_t)(IP4_HDR_LEN + p->m->pkt_len)),
			    .frag = be16(IP4_FRAG_DF),
			    .ttl = 64,
			    .proto = p->proto,
			    .src = from->w[3],
			    .dst = p->dst.w[3]};

	h.csum.v = csum_finish(csum_add(0, &h, sizeof(h)));
	memcpy(pkt_push(p->m, sizeof(h)), &h, sizeof(h));
}

static void put_ip6(struct pkt *p, const struct ip_addr *from)
{
	struct ip6_hdr h = {.ver_tc_flow = be32(6u << 28 | (uint32_t)p->tos << 20),
			    .payload_len = be16((uint16_t)p->m->pkt_len),
			    .next = p->proto,
			    .hop_limit = 64};

	memcpy(h.src, from->b, 16);
	memcpy(h.dst, p->dst.b, 16);
	memcpy(pkt_push(p->m, sizeof(h)), &h, sizeof(h));
}

bool alias_out(struct pkt *p, const struct eth_addr *mac)
{
	bool v6 = !ip_addr_is_v4(&p->dst);
	struct ip_addr from = stack_alias(p->port, v6);
	struct wire_eth e = {
		.dst = *mac, .src = *mac, .type = be16(v6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4)};

	if (!ip_addr_eq(&p->src, &p->dst) || p->m->pkt_len > UINT16_MAX - IP4_HDR_LEN)
		return false;
	if (v6)
		put_ip6(p, &from);
	else
		put_ip4(p, &from);
	memcpy(pkt_push(p->m, sizeof(e)), &e, sizeof(e));
	p->flags |= PKT_F_L4_CSUM;
	return true;
}

/* ---- from the kernel ---- */

static bool take_ip4(struct pkt *p, const uint8_t *l3, uint32_t room)
{
	const struct ip4_hdr *h = (const void *)l3;
	uint16_t total;

	if (room < sizeof(*h) || h->ver_ihl != 0x45 ||
	    (be16_host(h->frag) & (IP4_FRAG_MF | IP4_FRAG_OFFSET)) != 0)
		return false;
	total = be16_host(h->total_len);
	p->src = ip_addr_v4(h->src);
	p->dst = ip_addr_v4(h->dst);
	p->proto = h->proto;
	p->tos = h->tos;
	p->l4_off = sizeof(struct wire_eth) + sizeof(*h);
	p->l4_len = total - (uint32_t)sizeof(*h);
	return total > sizeof(*h) && total <= room;
}

static bool take_ip6(struct pkt *p, const uint8_t *l3, uint32_t room)
{
	const struct ip6_hdr *h = (const void *)l3;

	if (room < sizeof(*h))
		return false;
	memcpy(p->src.b, h->src, 16);
	memcpy(p->dst.b, h->dst, 16);
	p->proto = h->next;
	p->tos = (uint8_t)(be32_host(h->ver_tc_flow) >> 20);
	p->l4_off = sizeof(struct wire_eth) + sizeof(*h);
	p->l4_len = be16_host(h->payload_len);
	return p->l4_len <= room - sizeof(*h);
}

/* A segment from an address of ours to the alias. */
static bool take(const struct stack *s, struct pkt *p)
{
	const struct wire_eth *e = (const void *)pkt_data(p->m);
	uint16_t type = be16_host(e->type);
	uint32_t room = p->m->data_len - (uint32_t)sizeof(*e);
	struct ip_addr alias = stack_alias(p->port, type == ETH_TYPE_IP6);
	uint8_t port;

	if (type != ETH_TYPE_IP4 && type != ETH_TYPE_IP6)
		return false;
	return (type == ETH_TYPE_IP4 ? take_ip4 : take_ip6)(p, (const uint8_t *)(e + 1), room) &&
	       p->proto == IP_PROTO_TCP && ip_addr_eq(&p->dst, &alias) &&
	       alias_port(s, &p->src, &port) && port == p->port;
}

void alias_in(struct stack *s, struct pkt *p)
{
	if (p->m->nb_segs != 1 || !take(s, p)) {
		pkt_drop(&s->drops, p->m, DROP_IP_NOT_OURS);
		return;
	}
	p->dst = p->src;
	p->path = PATH_NONE;
	pkt_trim_back(p->m, p->l4_off + p->l4_len);
	pkt_pull(p->m, p->l4_off);
	if (!stack_self_put(s, p, false))
		pkt_drop(&s->drops, p->m, DROP_TX_FULL);
}
