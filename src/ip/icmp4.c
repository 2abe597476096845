/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ICMP input (RFC 792, RFC 1122 §3.2.2): echo requests are answered, errors are handed up.
 *
 * An error is a stranger's claim. It must quote a packet that we could have sent; TCP then checks
 * the quoted sequence number (RFC 5927 §4.1). Source quenches are ignored
 * (RFC 6633), redirects are counted and not followed: the gateway that sends them forwards.
 * Not done: timestamp and address-mask requests.
 */
#include <errno.h>

#include "ip/ip_priv.h"
#include "wire/icmp.h"

/* RFC 1122 §4.2.3.9 says what is soft; the numbers are those that Linux gives to programs. */
static const struct {
	uint8_t err;
	bool hard;
} unreach[16] = {
	{ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},  {ECONNREFUSED, true},
	{EMSGSIZE, false},     {EOPNOTSUPP, false},   {ENETUNREACH, true},  {EHOSTDOWN, true},
	{ENONET, true},	       {ENETUNREACH, true},   {EHOSTUNREACH, true}, {ENETUNREACH, false},
	{EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
};

static bool classify(const struct icmp_hdr *h, struct icmp_error *err)
{
	err->type = h->type;
	err->code = h->code;
	if (h->type == ICMP4_UNREACH && h->code < 16) {
		err->err = unreach[h->code].err;
		err->hard = unreach[h->code].hard;
		return true;
	}
	err->err = h->type == ICMP4_PARAM ? EPROTO : EHOSTUNREACH;
	err->hard = h->type == ICMP4_PARAM;
	err->pointer = h->type == ICMP4_PARAM ? be32_host(h->rest) >> 24 : 0;
	return h->type == ICMP4_TIME_EXCEEDED || h->type == ICMP4_PARAM;
}

/* RFC 1191 §5, §7: routers of old say 0; then the next plateau below the packet's own length. */
static uint16_t next_mtu(uint16_t said, uint16_t quoted_len)
{
	static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296};
	uint16_t mtu = said;

	for (unsigned i = 0; mtu == 0 && i < array_size(plateau); i++)
		mtu = plateau[i] < quoted_len ? plateau[i] : 0;
	return mtu < IP4_MIN_MTU ? IP4_MIN_MTU : mtu;
}

static enum next error_input(struct ip *ip, struct pkt *p, struct icmp_error *err)
{
	uint8_t b[ICMP_HDR_LEN + IP4_HDR_LEN_MAX + 8 + ICMP_QUOTED_MAX];
	uint32_t want = p->l4_len < sizeof(b) ? p->l4_len : sizeof(b);
	uint32_t n = pkt_copy_out(p->m, p->l4_off, want, b);
	const struct icmp_hdr *h = (const struct icmp_hdr *)b;
	const struct ip4_hdr *q = (const struct ip4_hdr *)(b + ICMP_HDR_LEN);
	unsigned ihl, len;

	if (n < ICMP_HDR_LEN + IP4_HDR_LEN + 8)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	ihl = (q->ver_ihl & 15) * 4u;
	if (q->ver_ihl >> 4 != 4 || ihl < IP4_HDR_LEN || ICMP_HDR_LEN + ihl + 8 > n)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	/* Behind the quoted packet there may be more (RFC 4884). */
	len = be16_host(q->total_len);
	if (len > n - ICMP_HDR_LEN)
		len = n - ICMP_HDR_LEN;
	if (len < ihl + 8)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	*err = (struct icmp_error){
		.src = ip_addr_v4(q->src), .dst = ip_addr_v4(q->dst), .proto = q->proto};
	if (!classify(h, err))
		return pkt_refuse(p, DROP_ICMP_TYPE);
	if (err->err == EMSGSIZE)
		err->mtu = next_mtu((uint16_t)be32_host(h->rest), be16_host(q->total_len));
	if ((be16_host(q->frag) & IP4_FRAG_OFFSET) != 0 || (p->flags & PKT_F_BCAST) ||
	    icmp_quote_flow(ip, p, b + ICMP_HDR_LEN + ihl, len - ihl, err) == NEXT_DROP)
		return pkt_refuse(p, DROP_ICMP_UNMATCHED);
	return NEXT_ICMP_ERROR;
}

enum next icmp4_input(struct ip *ip, struct pkt *p, struct icmp_error *err)
{
	uint8_t type;

	if (p->l4_len < ICMP_HDR_LEN)
		return pkt_refuse(p, DROP_ICMP_SHORT);
	if (!ip_head(ip, p, p->l4_off + ICMP_HDR_LEN))
		return pkt_refuse(p, DROP_NO_MBUF);
	if (pkt_csum(p->m, p->l4_off, p->l4_len) != 0xffff)
		return pkt_refuse(p, DROP_ICMP_CSUM);
	type = pkt_data(p->m)[p->l4_off];
	switch (type) {
	case ICMP4_ECHO:
		return icmp_echo_reply(ip, p, ICMP4_ECHO_REPLY);
	case ICMP4_ECHO_REPLY:
		return ping_input(ip, p);
	case ICMP4_UNREACH:
	case ICMP4_TIME_EXCEEDED:
	case ICMP4_PARAM:
		return error_input(ip, p, err);
	case ICMP4_REDIRECT:
		return pkt_refuse(p, DROP_REDIRECT);
	default:
		return pkt_refuse(p, DROP_ICMP_TYPE);
	}
}
