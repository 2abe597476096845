/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ICMPv6 input (RFC 4443): echo requests are answered, errors are handed up, neighbour discovery
 * goes to src/eth once its hop limit proves that it comes from this link (RFC 4861 §6.1, §7.1).
 *
 * Not done: multicast listener discovery; errors about packets that we sent with extension headers
 * other than the fragment header, for we send none.
 */
#include <errno.h>

#include "ip/ip_priv.h"
#include "base/csum.h"
#include "wire/icmp.h"

/* The numbers are those that Linux gives to programs. */
static const struct {
	uint8_t err;
	bool hard;
} unreach[7] = {
	{ENETUNREACH, false}, {EACCES, true}, {EHOSTUNREACH, false}, {EHOSTUNREACH, false},
	{ECONNREFUSED, true}, {EACCES, true}, {EACCES, true},
};

static bool classify(const struct icmp_hdr *h, struct icmp_error *err)
{
	uint32_t mtu = be32_host(h->rest); /* or the pointer */

	err->type = h->type;
	err->code = h->code;
	if (h->type == ICMP6_UNREACH && h->code < array_size(unreach)) {
		err->err = unreach[h->code].err;
		err->hard = unreach[h->code].hard;
		return true;
	}
	if (h->type == ICMP6_TOO_BIG) {
		err->err = EMSGSIZE;
		mtu = mtu < IP6_MIN_MTU ? IP6_MIN_MTU : mtu; /* RFC 8201 §4 (H18) */
		err->mtu = mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu;
		return true;
	}
	err->err = h->type == ICMP6_PARAM ? EPROTO : EHOSTUNREACH;
	err->hard = h->type == ICMP6_PARAM && h->code == 1;
	err->pointer = h->type == ICMP6_PARAM ? (uint16_t)mtu : 0;
	return h->type == ICMP6_TIME_EXCEEDED || h->type == ICMP6_PARAM;
}

static enum next error_input(struct ip *ip, struct pkt *p, struct icmp_error *err)
{
	uint8_t b[ICMP_HDR_LEN + IP6_HDR_LEN + IP6_FRAG_LEN + 8 + ICMP_QUOTED_MAX];
	uint32_t want = p->l4_len < sizeof(b) ? p->l4_len : sizeof(b);
	uint32_t n = pkt_copy_out(p->m, p->l4_off, want, b);
	const struct ip6_hdr *q = (const struct ip6_hdr *)(b + ICMP_HDR_LEN);
	uint32_t l4 = ICMP_HDR_LEN + IP6_HDR_LEN;
	bool later = false;
	uint32_t end;

	if (n < l4 + 8 || be32_host(q->ver_tc_flow) >> 28 != 6)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	*err = (struct icmp_error){.proto = q->next};
	memcpy(err->src.b, q->src, 16);
	memcpy(err->dst.b, q->dst, 16);
	if (q->next == IP6_NEXT_FRAGMENT) {
		const struct ip6_frag_hdr *f = (const struct ip6_frag_hdr *)(b + l4);

		err->proto = f->next;
		later = be16_host(f->off_m) >> 3 != 0;
		l4 += IP6_FRAG_LEN;
	}
	/* Behind the quoted packet there may be more (RFC 4884). */
	end = ICMP_HDR_LEN + IP6_HDR_LEN + be16_host(q->payload_len);
	end = end < n ? end : n;
	if (end < l4 + 8)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	if (!classify((const struct icmp_hdr *)b, err))
		return pkt_refuse(p, DROP_ICMP_TYPE);
	/* A mapped address inside would name a flow of IPv4. */
	if (later || (p->flags & PKT_F_BCAST) || ip_addr_is_v4(&err->src) ||
	    ip_addr_is_v4(&err->dst) || icmp_quote_flow(ip, p, b + l4, end - l4, err) == NEXT_DROP)
		return pkt_refuse(p, DROP_ICMP_UNMATCHED);
	return NEXT_ICMP_ERROR;
}

static enum next check_nd(struct pkt *p, uint8_t code)
{
	return p->ttl == 255 && code == 0 ? NEXT_ND : pkt_refuse(p, DROP_ND_BAD);
}

enum next icmp6_input(struct ip *ip, struct pkt *p, struct icmp_error *err)
{
	const struct icmp_hdr *h;
	uint32_t sum;

	if (p->l4_len < ICMP_HDR_LEN)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	if (!ip_head(ip, p, p->l4_off + ICMP_HDR_LEN))
		return pkt_refuse(p, DROP_NO_MBUF);
	sum = csum_pseudo(0, p->src.b, p->dst.b, true, IP_PROTO_ICMP6, p->l4_len);
	if (csum_fold(sum + pkt_csum(p->m, p->l4_off, p->l4_len)) != 0xffff)
		return pkt_refuse(p, DROP_ICMP_CSUM);
	h = (const struct icmp_hdr *)(pkt_data(p->m) + p->l4_off);
	if (h->type >= ICMP6_ND_FIRST && h->type <= ICMP6_ND_LAST)
		return check_nd(p, h->code);
	if (ip_addr_is_any(&p->src))
		return pkt_refuse(p, DROP_IP_SOURCE);
	switch (h->type) {
	case ICMP6_ECHO:
		return icmp_echo_reply(ip, p, ICMP6_ECHO_REPLY);
	case ICMP6_ECHO_REPLY:
		return ping_input(ip, p);
	case ICMP6_UNREACH:
	case ICMP6_TOO_BIG:
	case ICMP6_TIME_EXCEEDED:
	case ICMP6_PARAM:
		return error_input(ip, p, err);
	default:
		return pkt_refuse(p, DROP_ICMP_TYPE);
	}
}
