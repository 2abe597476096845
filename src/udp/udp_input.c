/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A received datagram (RFC 768, RFC 1122 §4.1.3): lengths, checksum, endpoint.
 *
 * The length in the header rules; bytes that IP carries behind it are cut off. A checksum of zero
 * is "none" over IPv4 and refused over IPv6 (RFC 8200 §8.1). A datagram that is refused or finds
 * nobody is left as it came, because an ICMP error quotes it.
 *
 * Not done: tunnels' zero checksums over IPv6 (RFC 6935), jumbograms (RFC 2675), UDP-Lite.
 */
#include "base/csum.h"
#include "udp/udp_priv.h"
#include "wire/ip4.h"
#include "wire/udp.h"

static enum next refuse(struct udp *u, struct pkt *p, enum drop_reason why)
{
	u->n.in_errors++;
	return pkt_refuse(p, why);
}

static bool csum_good(const struct pkt *p, const struct udp_hdr *h, uint16_t len)
{
	bool v6 = p->flags & PKT_F_V6;
	uint32_t sum;

	if (h->csum.v == 0)
		return !v6;
	if (p->flags & PKT_F_CSUM_OK)
		return true;
	sum = csum_pseudo(pkt_csum(p->m, p->l4_off, len), p->src.b, p->dst.b, v6, IP_PROTO_UDP,
			  len);
	return csum_fold(sum) == 0xffff;
}

static enum next nobody(struct udp *u, struct pkt *p, bool group)
{
	u->n.no_ports++;
	if (group) /* RFC 1122 §3.2.2: no ICMP error about a group datagram */
		return pkt_refuse(p, DROP_UDP_NO_PORT);
	p->drop = DROP_UDP_NO_PORT;
	return NEXT_UNREACH_PORT;
}

enum next udp_input(struct udp *u, struct pkt *p, struct udp_pcb **pcb)
{
	bool group = udp_is_group(p);
	const struct udp_hdr *h;
	uint32_t head = (uint32_t)p->l4_off + sizeof(*h);
	uint16_t len;

	*pcb = NULL;
	/* What IP says is there must be there: a wrong l4_len must not become a wrong read. */
	if (p->l4_len < sizeof(*h) || p->m->pkt_len < p->l4_off + p->l4_len || head > UINT16_MAX)
		return refuse(u, p, DROP_UDP_SHORT);
	if (p->m->data_len < head && pkt_linearize_head(p->m, (uint16_t)head) != 0)
		return refuse(u, p, DROP_UDP_SHORT);
	h = (const struct udp_hdr *)(pkt_data(p->m) + p->l4_off);
	len = be16_host(h->len);
	if (len < sizeof(*h) || len > p->l4_len)
		return refuse(u, p, DROP_UDP_SHORT);
	if (!csum_good(p, h, len))
		return refuse(u, p, DROP_UDP_CSUM);
	p->sport = be16_host(h->sport);
	p->dport = be16_host(h->dport);
	if (group)
		*pcb = udp_group_match(p, *udp_port_bucket(u, p->dport));
	else
		*pcb = udp_find(u, &p->dst, p->dport, &p->src, p->sport);
	if (*pcb == NULL)
		return nobody(u, p, group);
	pkt_trim_back(p->m, p->l4_off + len);
	p->m = pkt_trim_front(p->m, head);
	u->n.in_datagrams++;
	return NEXT_CONSUMED;
}
