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
	free(ip->pmtus);
	free(ip);
}

bool ip_head_slow(const struct ip *ip, struct pkt *p, uint32_t n)
{
	return n <= UINT16_MAX && pkt_head(ip->cfg.pools, &p->m, (uint16_t)n) == 0;
}

/* TCP never talks to groups (RFC 1122 §4.2.3.10); the ICMPs know their own family only. */
enum next ip_deliver(struct ip *ip, struct pkt *p)
{
	bool v6 = (p->flags & PKT_F_V6) != 0;
	enum next next = NEXT_UNREACH_PROTO;

	if (p->proto == IP_PROTO_TCP && (p->flags & PKT_F_BCAST))
		return pkt_refuse(p, DROP_IP_NOT_OURS);
	if (p->proto == IP_PROTO_TCP)
		next = NEXT_TCP;
	else if (p->proto == IP_PROTO_UDP)
		next = NEXT_UDP;
	else if (p->proto == IP_PROTO_ICMP && !v6)
		next = NEXT_ICMP4;
	else if (p->proto == IP_PROTO_ICMP6 && v6)
		next = NEXT_ICMP6;
	if (next == NEXT_UNREACH_PROTO) {
		p->drop = DROP_IP_PROTO;
		return next;
	}
	/* Whoever comes next finds its header in one piece. */
	if (!ip_head(ip, p, p->l4_off + (p->l4_len < L4_HDR_MAX ? p->l4_len : L4_HDR_MAX)))
		return pkt_refuse(p, DROP_NO_MBUF);
	ip->counters.in_delivers++;
	return next;
}
