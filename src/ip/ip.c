/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The instance of IP, and the steps that both families share. All memory is taken by ip_create.
 */
#include <errno.h>
#include <stdlib.h>

#include "ip/ip_priv.h"

struct ip *ip_create(const struct ip_cfg *cfg)
{
	struct ip *ip;

	if (cfg->pools == NULL || cfg->drops == NULL)
		return NULL;
	ip = calloc(1, sizeof(*ip));
	if (ip == NULL)
		return NULL;
	ip->cfg = *cfg;
	ip->rng = cfg->seed;
	for (unsigned i = 0; i < sizeof(cfg->secret); i++)
		ip->rng = ip->rng * 31 + cfg->secret[i];
	ip->generation = 1;
	ip->group_due_ns = ip->route_due_ns = UINT64_MAX;
	local_update(ip);
	for (unsigned i = 0; i < IP_IDENTS; i++)
		ip->ident[i] = (uint32_t)ip_random(ip);
	ip->errors.credit_ns = ip->echoes.credit_ns = SECOND_NS;
	ip->pmtus = pmtu_create(cfg->max_pmtu);
	ip->frags = frag_create(cfg->max_frag_datagrams);
	if (ip->pmtus == NULL || ip->frags == NULL) {
		ip_destroy(ip);
		return NULL;
	}
	return ip;
}

void ip_destroy(struct ip *ip)
{
	if (ip == NULL)
		return;
	frag_destroy(ip);
	groups_destroy(ip);
	free(ip->pmtus);
	free(ip);
}

bool ip_head_slow(const struct ip *ip, struct pkt *p, uint32_t n)
{
	return n <= UINT16_MAX && pkt_head(ip->cfg.pools, &p->m, (uint16_t)n) == 0;
}

enum next ip_group_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	return p->flags & PKT_F_V6 ? mld_input(ip, p, ifindex) : igmp_input(ip, p, ifindex);
}

/* Where an ICMP or any other protocol goes; the ICMPs know their own family only. */
static slow_path enum next deliver_other(struct ip *ip, struct pkt *p)
{
	bool v6 = (p->flags & PKT_F_V6) != 0, group = (p->flags & PKT_F_BCAST) != 0;

	ip->counters.in_delivers++;
	if (p->proto == IP_PROTO_IGMP && !v6 && group)
		return NEXT_GROUP;
	if (p->proto == IP_PROTO_ICMP6 && v6 && group && mld_is(p))
		return NEXT_GROUP;
	if (p->proto == IP_PROTO_ICMP && !v6)
		return NEXT_ICMP4;
	if (p->proto == IP_PROTO_ICMP6 && v6)
		return NEXT_ICMP6;
	ip->counters.in_delivers--;
	p->drop = DROP_IP_PROTO;
	return NEXT_UNREACH_PROTO;
}

/* Whoever comes next finds its header in one piece (H22). TCP never talks to groups (RFC 1122
 * §4.2.3.10). */
enum next ip_deliver(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	if (unlikely(
		    !ip_head(ip, p, p->l4_off + (p->l4_len < L4_HDR_MAX ? p->l4_len : L4_HDR_MAX))))
		return pkt_refuse(p, DROP_NO_MBUF);
	if (p->proto == IP_PROTO_TCP) {
		if (p->flags & PKT_F_BCAST)
			return pkt_refuse(p, DROP_IP_NOT_OURS);
		ip->counters.in_delivers++;
		return NEXT_TCP;
	}
	if (p->proto != IP_PROTO_UDP)
		return deliver_other(ip, p);
	ip->counters.in_delivers++;
	return NEXT_UDP;
}

uint64_t ip_deadline(const struct ip *ip)
{
	uint64_t due = frag_deadline(ip);

	due = ip->route_due_ns < due ? ip->route_due_ns : due;
	return ip->group_due_ns < due ? ip->group_due_ns : due;
}

/* Learned path MTUs run out where they are looked up. */
unsigned ip_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n)
{
	unsigned made = frag_expire(ip, out, ifindex, n);

	route_expire(ip);
	return made + group_expire(ip, out + made, ifindex + made, n - made);
}
