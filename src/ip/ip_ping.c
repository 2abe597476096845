/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Echo requests of our own (RFC 792, RFC 4443 §4.1), for people who look whether a host answers.
 *
 * A request has an id, chosen by whoever asks, and a place here that notes the reply. On several
 * cores the reply may arrive at any of them, so all expect it, and one sends. Not done: ICMP errors
 * about requests; what doesn't answer, doesn't.
 */
#include <errno.h>

#include "ip/ip_priv.h"
#include "base/csum.h"
#include "wire/icmp.h"

static const struct ping *ping_find(const struct ip *ip, uint16_t id)
{
	for (unsigned i = 0; i < IP_PINGS_MAX; i++)
		if (ip->ping[i].used && ip->ping[i].asked.id == id)
			return &ip->ping[i];
	return NULL;
}

static struct ping *ping_place(struct ip *ip, uint16_t id)
{
	struct ping *e = (struct ping *)ping_find(ip, id);

	for (unsigned i = 0; i < IP_PINGS_MAX && e == NULL; i++)
		if (!ip->ping[i].used)
			e = &ip->ping[i];
	return e;
}

int ip_ping_expect(struct ip *ip, const struct ip_ping *p)
{
	struct ping *e = ping_place(ip, p->id);

	if (e == NULL)
		return -ENOSPC;
	*e = (struct ping){.used = true, .asked = *p};
	return 0;
}

/* The message, whose checksum covers the address that it leaves from. */
static void fill(const struct ip_ping *p, struct pkt *out)
{
	bool v4 = ip_addr_is_v4(&p->dst);
	struct icmp_hdr *h = (struct icmp_hdr *)pkt_put(out->m, (uint16_t)out->l4_len);
	uint8_t *data = (uint8_t *)(h + 1);
	uint32_t sum = 0;

	*h = (struct icmp_hdr){.type = v4 ? ICMP4_ECHO : ICMP6_ECHO,
			       .rest = be32((uint32_t)p->id << 16 | p->seq)};
	for (unsigned i = 0; i < p->bytes; i++)
		data[i] = (uint8_t)i;
	if (!v4)
		sum = csum_pseudo(0, out->src.b, out->dst.b, true, IP_PROTO_ICMP6, out->l4_len);
	h->csum.v = csum_finish(csum_add(sum, h, out->l4_len));
}

enum next ip_ping_build(struct ip *ip, const struct ip_ping *p, struct pkt *out)
{
	const struct ip_ifaddr *from = ip_source_for(ip, &p->dst);

	*out = (struct pkt){.dst = p->dst,
			    .proto = ip_addr_is_v4(&p->dst) ? IP_PROTO_ICMP : IP_PROTO_ICMP6,
			    .path = PATH_NONE,
			    .l4_hdr = ICMP_HDR_LEN,
			    .l4_len = ICMP_HDR_LEN + p->bytes};
	ASSERT(p->bytes <= IP_PING_MAX);
	if (from == NULL)
		return pkt_refuse(out, DROP_IP_NO_SOURCE);
	out->src = from->addr;
	out->m = pkt_alloc_hdr(ip->cfg.pools);
	if (out->m == NULL)
		return pkt_refuse(out, DROP_NO_MBUF);
	fill(p, out);
	return NEXT_IP_OUT;
}

enum next ping_input(struct ip *ip, struct pkt *p)
{
	const struct icmp_hdr *h = (const struct icmp_hdr *)(pkt_data(p->m) + p->l4_off);
	uint32_t rest = be32_host(h->rest);
	struct ping *e = (struct ping *)ping_find(ip, (uint16_t)(rest >> 16));

	if (e == NULL || e->answered || e->asked.seq != (uint16_t)rest ||
	    !ip_addr_eq(&e->asked.dst, &p->src))
		return pkt_refuse(p, DROP_ICMP_UNMATCHED);
	e->answered = true;
	e->pong = (struct ip_pong){.at_ns = ip->now_ns, .ttl = p->ttl};
	pkt_free(p->m);
	return NEXT_CONSUMED;
}

bool ip_ping_answered(const struct ip *ip, uint16_t id, struct ip_pong *out)
{
	const struct ping *e = ping_find(ip, id);

	if (e == NULL || !e->answered)
		return false;
	*out = e->pong;
	return true;
}

void ip_ping_forget(struct ip *ip, uint16_t id)
{
	struct ping *e = (struct ping *)ping_find(ip, id);

	if (e != NULL)
		e->used = false;
}
