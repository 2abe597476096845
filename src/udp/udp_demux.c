/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which endpoint gets a datagram: the most specific match (RFC 1122 §4.1.3.5 leaves the choice to
 * the host; this is everybody's):
 *
 *	local address + peer   connected
 *	peer                   connected from the wildcard
 *	local address          bound
 *	nothing                wildcard
 *
 * Each is one probe of the table by key, skipped while no endpoint of that class exists. Where
 * several endpoints have one key the latest binding wins, as in Linux; if that one is of a
 * SO_REUSEPORT group, the flow's hash picks the member, so that a flow stays with it while the
 * group stays. Datagrams to a group address go to each match instead.
 */
#include "base/hash.h"
#include "udp/udp_priv.h"

uint32_t udp_key_hash(const struct udp *u, const struct udp_key *k)
{
	return (uint32_t)hash_bytes(k, sizeof(*k), u->seed);
}

struct udp_pcb **udp_port_bucket(const struct udp *u, uint16_t port)
{
	/* An odd factor spreads runs of ports; a local port is not the enemy's to choose. */
	return &u->by_port[(port * 0x9e3779b1u >> 12) & u->mask];
}

static bool key_matches(const struct udp_pcb *pcb, const struct udp_key *k, uint8_t fam)
{
	return (pcb->fam & fam) && memcmp(&pcb->key, k, sizeof(*k)) == 0;
}

/* The latest endpoint at this key, or the member of its group that the flow's hash picks; or NULL.
 */
static struct udp_pcb *probe(const struct udp *u, const struct udp_key *k, uint8_t fam,
			     const struct udp_key *full)
{
	struct udp_pcb *head = u->by_key[udp_key_hash(u, k) & u->mask], *pcb, *first = NULL;
	uint32_t n = 0;

	for (pcb = head; pcb; pcb = pcb->key_next) {
		if (!key_matches(pcb, k, fam))
			continue;
		if (first == NULL)
			first = pcb;
		if (!first->b.reuse)
			return first;
		n += pcb->b.reuse;
	}
	if (n < 2)
		return first;
	n = (uint32_t)((uint64_t)udp_key_hash(u, full) * n >> 32);
	for (pcb = first; pcb; pcb = pcb->key_next) {
		if (key_matches(pcb, k, fam) && pcb->b.reuse && n-- == 0)
			return pcb;
	}
	return first;
}

struct udp_pcb *udp_find(struct udp *u, const struct ip_addr *laddr, uint16_t lport,
			 const struct ip_addr *raddr, uint16_t rport)
{
	struct udp_key full = {.laddr = *laddr, .raddr = *raddr, .lport = lport, .rport = rport};
	struct udp_key k = full;
	uint8_t fam = udp_addr_fam(laddr);
	struct udp_pcb *pcb = NULL;

	for (unsigned c = 0; c < UDP_CLASSES && pcb == NULL; c++) {
		if (u->in_class[c] == 0)
			continue;
		k = full;
		if (c == UDP_CONNECTED_ANY || c == UDP_WILDCARD)
			k.laddr = (struct ip_addr){0};
		if (c == UDP_BOUND || c == UDP_WILDCARD) {
			k.raddr = (struct ip_addr){0};
			k.rport = 0;
		}
		pcb = probe(u, &k, fam, &full);
	}
	return pcb;
}

bool udp_is_group(const struct pkt *p)
{
	return (p->flags & PKT_F_BCAST) || ip_addr_is_multicast(&p->dst) ||
	       (ip_addr_is_v4(&p->dst) && p->dst.w[3].v == UINT32_MAX);
}

struct udp_pcb *udp_group_match(const struct pkt *p, struct udp_pcb *from)
{
	uint8_t fam = udp_addr_fam(&p->dst);

	for (; from; from = from->port_next) {
		if (from->key.lport != p->dport || !(from->fam & fam))
			continue;
		if (!ip_addr_is_any(&from->key.laddr) && !ip_addr_eq(&from->key.laddr, &p->dst))
			continue;
		if (ip_addr_is_any(&from->key.raddr) ||
		    (from->key.rport == p->sport && ip_addr_eq(&from->key.raddr, &p->src)))
			return from;
	}
	return NULL;
}

struct udp_pcb *udp_first_match(struct udp *u, const struct pkt *p)
{
	if (udp_is_group(p))
		return udp_group_match(p, *udp_port_bucket(u, p->dport));
	return udp_find(u, &p->dst, p->dport, &p->src, p->sport);
}

struct udp_pcb *udp_next_match(struct udp *u, const struct pkt *p, struct udp_pcb *after)
{
	(void)u;
	return udp_is_group(p) ? udp_group_match(p, after->port_next) : NULL;
}
