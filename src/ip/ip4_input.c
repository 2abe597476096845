/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IPv4 input: is the header sound, may the source send, is it for us (RFC 791 §3.1, RFC 1122
 * §3.2.1).
 *
 * Every length is compared before it is used; no subtraction can go below zero. Options are walked
 * and skipped, source routes are refused (RFC 7126 §4.3, §4.4). A host: nothing is forwarded.
 */
#include "ip/ip_priv.h"
#include "base/csum.h"

/* RFC 791 §3.1, RFC 1122 §3.2.1.8. Ends after at most 40 bytes. */
static bool options_acceptable(const uint8_t *o, unsigned len)
{
	unsigned i = 0;

	while (i < len && o[i] != IP4_OPT_END) {
		if (o[i] == IP4_OPT_NOP) {
			i++;
			continue;
		}
		if (o[i] == IP4_OPT_LSRR || o[i] == IP4_OPT_SSRR)
			return false;
		if (len - i < 2 || o[i + 1] < 2 || o[i + 1] > len - i)
			return false;
		i += o[i + 1];
	}
	return true;
}

/* RFC 1122 §3.2.1.3: no host may send from these. Our own address includes LAND (H17). */
static bool source_acceptable(const struct ip *ip, const struct pkt *p)
{
	const struct ip_addr *src = &p->src;
	uint8_t top = src->b[12];

	/* A snooping switch without an address asks from 0.0.0.0 (RFC 4541 §2.1.1). */
	if (unlikely(p->proto == IP_PROTO_IGMP && src->w[3].v == 0))
		return true;
	return top != 0 && top != 127 && top < 224 && !ip_source_is_local(ip, src);
}

static bool destination_is_ours(const struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	uint8_t kind = local_find(ip, &p->dst)->kind;

	if (likely(kind == LOCAL_OWN))
		return true;
	p->flags |= PKT_F_BCAST;
	return kind == LOCAL_BROADCAST ||
	       (ip_addr_is_multicast(&p->dst) && ip_group_wanted(ip, ifindex, &p->dst));
}

/* The usual 20 bytes are five words whose sum can't overflow; folded twice it has 16 bits. */
static bool csum_good(const struct ip4_hdr *h, unsigned ihl)
{
	uint32_t w[5];
	uint64_t sum;

	if (unlikely(ihl != IP4_HDR_LEN))
		return csum_fold(csum_add(0, h, ihl)) == 0xffff;
	memcpy(w, h, sizeof(w));
	sum = (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
	return csum_fold(csum_fold64(sum)) == 0xffff;
}

/* Nearly every packet: no options, and all of it lies in its first buffer. False: not so, or its
 * sum is wrong; check_header() finds out. */
static inline bool header_is_plain(const struct pkt *p, const struct ip4_hdr *h)
{
	unsigned total;

	if (p->m->data_len < p->l3_off + IP4_HDR_LEN)
		return false;
	total = be16_host(h->total_len);
	return h->ver_ihl == 0x45 && total >= IP4_HDR_LEN && p->l3_off + total <= p->m->data_len &&
	       ((p->flags & PKT_F_IPCSUM_OK) || csum_good(h, IP4_HDR_LEN));
}

/* Header and total length, 0 or why not. H04, H05. The header is contiguous afterwards. */
static slow_path enum drop_reason check_header(const struct ip *ip, struct pkt *p, unsigned *ihl,
					       unsigned *total)
{
	const struct ip4_hdr *h;
	uint32_t room;

	if (p->m->pkt_len < (uint32_t)p->l3_off + IP4_HDR_LEN)
		return DROP_IP_SHORT;
	room = p->m->pkt_len - p->l3_off;
	if (!ip_head(ip, p, p->l3_off + IP4_HDR_LEN))
		return DROP_NO_MBUF;
	h = (const struct ip4_hdr *)(pkt_data(p->m) + p->l3_off);
	if (h->ver_ihl >> 4 != 4)
		return DROP_IP_VERSION;
	*ihl = (h->ver_ihl & 15) * 4u;
	*total = be16_host(h->total_len);
	if (*ihl < IP4_HDR_LEN)
		return DROP_IP_HDR_LEN;
	if (*total < *ihl || *total > room)
		return DROP_IP_SHORT;
	if (!ip_head(ip, p, p->l3_off + *ihl))
		return DROP_NO_MBUF;
	h = (const struct ip4_hdr *)(pkt_data(p->m) + p->l3_off);
	if (!(p->flags & PKT_F_IPCSUM_OK) && !csum_good(h, *ihl))
		return DROP_IP_CSUM;
	if (unlikely(*ihl > IP4_HDR_LEN) &&
	    !options_acceptable((const uint8_t *)h + IP4_HDR_LEN, *ihl - IP4_HDR_LEN))
		return DROP_IP_OPTIONS;
	return DROP_NONE;
}

static enum next fragment_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct ip4_hdr *h = (const struct ip4_hdr *)(pkt_data(p->m) + p->l3_off);
	uint16_t frag = be16_host(h->frag);
	enum next next;

	if (!frag_input(ip, p, be16_host(h->id), (frag & IP4_FRAG_OFFSET) * 8u,
			(frag & IP4_FRAG_MF) != 0, &next))
		return next;
	return ip_deliver(ip, p, ifindex);
}

enum next ip4_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct ip4_hdr *h = (const struct ip4_hdr *)(pkt_data(p->m) + p->l3_off);
	unsigned ihl = IP4_HDR_LEN, total;
	enum drop_reason why;
	uint16_t frag;

	ip->counters.in_receives++;
	if (likely(header_is_plain(p, h))) {
		total = be16_host(h->total_len);
	} else {
		why = check_header(ip, p, &ihl, &total);
		if (why != DROP_NONE)
			return pkt_refuse(p, why);
		h = (const struct ip4_hdr *)(pkt_data(p->m) + p->l3_off);
	}
	p->flags &= (uint16_t)~PKT_F_V6;
	p->src = ip_addr_v4(h->src);
	p->dst = ip_addr_v4(h->dst);
	p->proto = h->proto;
	p->ttl = h->ttl;
	p->tos = h->tos;
	p->l4_off = (uint16_t)(p->l3_off + ihl);
	p->l4_len = total - ihl;
	frag = be16_host(h->frag);
	if (!source_acceptable(ip, p))
		return pkt_refuse(p, DROP_IP_SOURCE);
	if (!destination_is_ours(ip, p, ifindex))
		return pkt_refuse(p, DROP_IP_NOT_OURS);
	if (p->m->pkt_len > p->l3_off + total)
		pkt_trim_back(p->m, p->l3_off + total);
	if (unlikely(frag & (IP4_FRAG_MF | IP4_FRAG_OFFSET)))
		return fragment_input(ip, p, ifindex);
	if (likely(ip_is_plain_tcp(p))) {
		ip->counters.in_delivers++;
		return NEXT_TCP;
	}
	return ip_deliver(ip, p, ifindex);
}
