/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IPv6 input: the header, who sent it, is it for us, and the walk over the extension headers
 * (RFC 8200 §3, §4; RFC 7112; RFC 5095: routing type 0 is refused).
 *
 * The walk sees at most EXT_MAX headers of at most EXT_BYTES bytes, each lying wholly inside the
 * packet, so its work is bounded whatever the chain says (H21). Hop-by-hop comes first or not at
 * all; of the others a header may occur once, destination options twice (RFC 8200 §4.1). An option
 * that we don't know and may not skip drops the packet, and its sender is told where it wants that
 * (§4.2), except about groups: that would be an amplifier. Not done: jumbograms (RFC 2675), AH,
 * ESP.
 */
#include "ip/ip_priv.h"
#include "wire/icmp.h"

#define EXT_MAX	  6
#define EXT_BYTES 512u

static bool source_acceptable(const struct ip *ip, const struct ip_addr *src)
{
	/* ::ffff:0:0/96 on the wire would pass for IPv4 above (RFC 4942 §2.2). */
	return !ip_addr_is_v4(src) && src->b[0] != 0xff && !ip_addr_is_loopback(src) &&
	       !ip_source_is_local(ip, src);
}

static bool destination_is_ours(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct ip_addr *dst = &p->dst;

	if (likely(local_find(ip, dst)->kind == LOCAL_OWN))
		return !ip_addr_is_v4(dst);
	p->flags |= PKT_F_BCAST;
	ip->group_ifindex = ifindex;
	return dst->b[0] == 0xff && ip_group_wanted(ip, ifindex, dst);
}

/* What is wrong with a packet. */
struct problem {
	enum drop_reason why; /* NONE: nothing */
	bool tell;	      /* its sender, with: */
	uint8_t code;
	uint32_t pointer; /* from the IPv6 header on */
};

static enum next problem(struct ip *ip, struct pkt *p, const struct problem *pr)
{
	struct pkt reply;

	if (!pr->tell || icmp_param_build(ip, p, pr->code, pr->pointer, &reply) == NEXT_DROP)
		return pkt_refuse(p, pr->why);
	pkt_drop(ip->cfg.drops, p->m, pr->why);
	*p = reply;
	return NEXT_IP_OUT;
}

/* RFC 8200 §4.2: the two high bits of an unknown option say what becomes of the packet: 0 skips the
 * option, 1 drops in silence, 2 and 3 tell. Returns the refused one's place, or 0. */
static unsigned option_refused(const uint8_t *x, unsigned len, bool *tell)
{
	*tell = false;
	for (unsigned i = 2; i < len;) {
		if (x[i] == 0) { /* Pad1 */
			i++;
			continue;
		}
		if (len - i < 2 || x[i + 1] > len - i - 2)
			return i;
		*tell = x[i] >> 6 >= 2;
		if (x[i] >> 6 != 0)
			return i;
		i += 2u + x[i + 1];
	}
	return 0;
}

/* The order of RFC 8200 §4.1, as far as a host may insist on it. seen is a set of headers. */
static bool ext_expected(uint8_t type, unsigned nth, unsigned *seen)
{
	unsigned bit = type == IP6_NEXT_ROUTING ? 1 : type == IP6_NEXT_FRAGMENT ? 2 : 4;

	if (type == IP6_NEXT_HOP_BY_HOP)
		return nth == 0;
	if (type == IP6_NEXT_DST_OPTS && (*seen & 4))
		bit = 8;
	if (*seen & bit)
		return false;
	*seen |= bit;
	return true;
}

/* One header at p->l4_off, contiguous: skips it. A routing header is taken when it is at its end.
 */
static void ext_skip(const struct ip *ip, struct pkt *p, uint8_t type, struct problem *pr)
{
	const uint8_t *x = pkt_data(p->m) + p->l4_off;
	unsigned len = (x[1] + 1u) * 8, at = 0;

	pr->why = DROP_IP_EXT_HDR;
	if (len > p->l4_len || p->l4_off + len > p->l3_off + IP6_HDR_LEN + EXT_BYTES)
		return;
	if (!ip_head(ip, p, p->l4_off + len)) {
		pr->why = DROP_NO_MBUF;
		return;
	}
	x = pkt_data(p->m) + p->l4_off;
	if (type == IP6_NEXT_ROUTING) {
		/* RFC 8200 §4.4; RFC 5095: type 0 is refused even at its end. */
		pr->tell = x[3] != 0;
		pr->code = ICMP6_PARAM_FIELD;
		at = x[2] == 0 || x[3] != 0 ? 2 : 0;
	} else {
		pr->code = ICMP6_PARAM_OPTION;
		at = option_refused(x, len, &pr->tell);
	}
	pr->pointer = p->l4_off - p->l3_off + at;
	if (at != 0)
		return;
	pr->why = DROP_NONE;
	p->proto = x[0];
	p->l4_off = (uint16_t)(p->l4_off + len);
	p->l4_len -= len;
}

static bool is_ext(uint8_t proto)
{
	return proto == IP6_NEXT_HOP_BY_HOP || proto == IP6_NEXT_ROUTING ||
	       proto == IP6_NEXT_FRAGMENT || proto == IP6_NEXT_DST_OPTS;
}

/* RFC 8200 §4.5: what a fragment may not be. */
static void fragment_check(const struct pkt *p, uint16_t off_m, struct problem *pr)
{
	static const uint8_t least[256] = {
		[IP_PROTO_TCP] = 20, [IP_PROTO_UDP] = 8, [IP_PROTO_ICMP6] = 8};
	bool more = off_m & 1, first = (off_m & ~7) == 0;

	*pr = (struct problem){.why = DROP_FRAG_BAD, .tell = true, .code = ICMP6_PARAM_FIELD};
	pr->pointer = offsetof(struct ip6_hdr, payload_len);
	if (more && p->l4_len % 8 != 0)
		return;
	/* A header in two fragments hides from filters (RFC 7112 §5). */
	pr->code = ICMP6_PARAM_CHAIN;
	pr->pointer = 0;
	if (more && first && p->l4_len < least[p->proto])
		return;
	pr->why = DROP_NONE;
}

/* The fragment header at p->l4_off, contiguous. True: p is whole, and the walk goes on behind it.
 */
static bool fragment_input(struct ip *ip, struct pkt *p, enum next *next)
{
	const struct ip6_frag_hdr *f = (const struct ip6_frag_hdr *)(pkt_data(p->m) + p->l4_off);
	uint16_t off_m = be16_host(f->off_m);
	uint32_t id = be32_host(f->id);
	struct problem pr;

	p->proto = f->next;
	p->l4_off += IP6_FRAG_LEN;
	p->l4_len -= IP6_FRAG_LEN;
	if ((off_m & ~6) == 0)
		return true;
	fragment_check(p, off_m, &pr);
	if (pr.why == DROP_NONE)
		return frag_input(ip, p, id, off_m & ~7u, off_m & 1, next);
	*next = problem(ip, p, &pr);
	return false;
}

static enum next ext_walk(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	unsigned seen = 0;
	enum next next = NEXT_DROP;

	for (unsigned nth = 0; is_ext(p->proto); nth++) {
		struct problem pr = {.why = DROP_NONE};
		uint8_t type = p->proto;

		if (nth == EXT_MAX || p->l4_len < 8 || !ext_expected(type, nth, &seen))
			return pkt_refuse(p, DROP_IP_EXT_HDR);
		if (!ip_head(ip, p, p->l4_off + 8u))
			return pkt_refuse(p, DROP_NO_MBUF);
		if (type == IP6_NEXT_FRAGMENT) {
			if (!fragment_input(ip, p, &next))
				return next;
			continue;
		}
		ext_skip(ip, p, type, &pr);
		if (pr.why != DROP_NONE)
			return problem(ip, p, &pr);
	}
	if (p->proto == IP6_NEXT_NONE)
		return pkt_refuse(p, DROP_IP_PROTO);
	/* Only duplicate address detection speaks from :: (RFC 4291 §2.5.2). */
	if (ip_addr_is_any(&p->src) && p->proto != IP_PROTO_ICMP6)
		return pkt_refuse(p, DROP_IP_SOURCE);
	return ip_deliver(ip, p, ifindex);
}

static enum drop_reason check_header(const struct ip *ip, struct pkt *p, unsigned *payload)
{
	const struct ip6_hdr *h;
	uint32_t room;

	if (p->m->pkt_len < (uint32_t)p->l3_off + IP6_HDR_LEN)
		return DROP_IP_SHORT;
	room = p->m->pkt_len - p->l3_off - IP6_HDR_LEN;
	if (!ip_head(ip, p, p->l3_off + IP6_HDR_LEN))
		return DROP_NO_MBUF;
	h = (const struct ip6_hdr *)(pkt_data(p->m) + p->l3_off);
	*payload = be16_host(h->payload_len);
	if (be32_host(h->ver_tc_flow) >> 28 != 6)
		return DROP_IP_VERSION;
	return *payload > room ? DROP_IP_SHORT : DROP_NONE;
}

enum next ip6_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct ip6_hdr *h;
	unsigned payload = 0;
	enum drop_reason why = check_header(ip, p, &payload);
	uint32_t end = p->l3_off + IP6_HDR_LEN + payload;

	ip->counters.in_receives++;
	if (why != DROP_NONE)
		return pkt_refuse(p, why);
	h = (const struct ip6_hdr *)(pkt_data(p->m) + p->l3_off);
	p->flags |= PKT_F_V6;
	memcpy(p->src.b, h->src, 16);
	memcpy(p->dst.b, h->dst, 16);
	p->proto = h->next;
	p->ttl = h->hop_limit;
	p->tos = (uint8_t)(be32_host(h->ver_tc_flow) >> 20);
	p->l4_off = (uint16_t)(p->l3_off + IP6_HDR_LEN);
	p->l4_len = payload;
	if (!source_acceptable(ip, &p->src))
		return pkt_refuse(p, DROP_IP_SOURCE);
	if (!destination_is_ours(ip, p, ifindex))
		return pkt_refuse(p, DROP_IP_NOT_OURS);
	if (p->m->pkt_len > end)
		pkt_trim_back(p->m, end);
	return ext_walk(ip, p, ifindex);
}
