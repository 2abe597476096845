/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What ICMP and ICMPv6 share: the rate limit, echo replies in place, quoted flows, errors out.
 *
 * Errors are never sent about errors, later fragments, groups, broadcasts, or sources that are no
 * single host (RFC 1122 §3.2.2, RFC 4443 §2.4 e). All that we send at a stranger's wish comes out
 * of a token bucket, one for errors and a larger one for echo replies, which people measure with.
 * The price is random, so that a bucket can't be read as a side channel by counting. DEVIATION(RFC
 * 4443 §2.4 c): quotes at most QUOTE_MAX bytes instead of up to 1280, so that an error is one
 * header buffer.
 */
#include "ip/ip_priv.h"
#include "base/csum.h"
#include "wire/icmp.h"

#define QUOTE_MAX 540 /* with the two headers at most 576 - 8 in IPv4: RFC 1812 §4.3.2.3 */

/* Takes one message from the bucket; false: not now. */
static bool may_send(struct ip *ip, struct bucket *b, uint32_t rate_pps)
{
	uint64_t price, passed = ip->now_ns - b->last_ns;

	if (rate_pps == 0)
		return false;
	price = SECOND_NS / rate_pps;
	price = price / 2 + ip_random(ip) % (price + 1);
	b->last_ns = ip->now_ns;
	b->credit_ns += passed < SECOND_NS ? passed : SECOND_NS;
	if (b->credit_ns > SECOND_NS)
		b->credit_ns = SECOND_NS;
	if (b->credit_ns < price)
		return false;
	b->credit_ns -= price;
	return true;
}

/* Room to write the reply's headers where the request's were? Nobody else may see that (H22). */
static bool reply_fits(const struct pkt *p)
{
	return pkt_is_private(p->m) && rte_pktmbuf_headroom(p->m) + p->l4_off >= PKT_HEADROOM;
}

/* The request's ICMP header in a buffer of ours, in front of its payload, which is only read. */
static slow_path bool reply_apart(const struct ip *ip, struct pkt *p)
{
	struct rte_mbuf *h = pkt_alloc_hdr(ip->cfg.pools), *rest;

	if (h == NULL)
		return false;
	pkt_copy_out(p->m, p->l4_off, ICMP_HDR_LEN, pkt_put(h, ICMP_HDR_LEN));
	rest = pkt_trim_front(p->m, p->l4_off + ICMP_HDR_LEN);
	h->next = rest;
	h->nb_segs = rest->nb_segs + 1;
	h->pkt_len += rest->pkt_len;
	p->m = h;
	return true;
}

/* RFC 4443 §4.2: an echo to a group of the link is answered, from a link-local address of where it
 * came from. In IPv4 it is an amplifier: RFC 1122 §3.2.2.6 lets us be silent. */
static bool group_echo_source(const struct ip *ip, const struct pkt *p, struct ip_addr *from)
{
	if (!(p->flags & PKT_F_V6) || !ip_addr_is_link_local6(&p->src))
		return false;
	*from = ip_source_on(ip, ip->group_ifindex, true);
	return !ip_addr_is_any(from);
}

/* The sum of a message after one address of its pseudo-header became another. */
static uint32_t readdressed(uint32_t sum, const struct ip_addr *was, const struct ip_addr *is)
{
	uint32_t minus = (uint16_t)~csum_fold(csum_add(0, was->b, sizeof(was->b)));

	return csum_add(sum + minus, is->b, sizeof(is->b));
}

enum next icmp_echo_reply(struct ip *ip, struct pkt *p, uint8_t reply_type)
{
	struct ip_addr us = p->dst;
	struct icmp_hdr *h;
	be16_t was, is;
	uint32_t sum;

	ip->counters.icmp_echo_in++;
	if ((p->flags & PKT_F_BCAST) && !group_echo_source(ip, p, &us))
		return pkt_refuse(p, DROP_ICMP_TYPE);
	if (!may_send(ip, &ip->echoes, ip->cfg.echo_rate_pps))
		return pkt_refuse(p, DROP_ICMP_RATE);
	if (likely(reply_fits(p)))
		pkt_pull(p->m, p->l4_off);
	else if (!reply_apart(ip, p))
		return pkt_refuse(p, DROP_NO_MBUF);
	h = (struct icmp_hdr *)pkt_data(p->m);
	memcpy(&was, h, 2);
	h->type = reply_type;
	memcpy(&is, h, 2);
	/* RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m') */
	sum = (uint32_t)(uint16_t)~h->csum.v + (uint16_t)~was.v + is.v;
	if (p->flags & PKT_F_BCAST)
		sum = readdressed(sum, &p->dst, &us);
	h->csum.v = csum_finish(sum);
	p->m->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
	p->m->tx_offload = 0;
	p->dst = p->src;
	p->src = us;
	p->flags &= PKT_F_V6;
	p->ttl = 0;
	p->path = PATH_NONE;
	p->l3_off = p->l4_off = 0;
	p->l4_hdr = ICMP_HDR_LEN;
	return NEXT_IP_OUT;
}

void icmp_quote_payload(struct icmp_error *err, const uint8_t *payload, uint32_t len)
{
	err->quoted = (uint8_t)(len < ICMP_QUOTED_MAX ? len : ICMP_QUOTED_MAX);
	memcpy(err->quote, payload, err->quoted);
}

enum next icmp_quote_flow(struct ip *ip, const struct pkt *p, const uint8_t *l4, uint32_t left,
			  struct icmp_error *err)
{
	be16_t port[2];
	be32_t seq;

	/* We sent it: from an address of ours, to a single host, in a protocol of ours. */
	if (ip_addr_find(ip, &err->src) == NULL || ip_addr_is_multicast(&err->dst) ||
	    ip_is_broadcast(ip, &err->dst) || ip_addr_is_any(&err->dst) ||
	    (err->proto != IP_PROTO_TCP && err->proto != IP_PROTO_UDP))
		return NEXT_DROP;
	memcpy(port, l4, 4);
	memcpy(&seq, l4 + 4, 4);
	err->sport = be16_host(port[0]);
	err->dport = be16_host(port[1]);
	err->have_seq = err->proto == IP_PROTO_TCP;
	err->tcp_seq = err->have_seq ? be32_host(seq) : 0;
	err->offender = p->src;
	err->ttl = p->ttl;
	if (err->proto == IP_PROTO_UDP)
		icmp_quote_payload(err, l4 + 8, left - 8);
	else
		icmp_quote_payload(err, l4, left);
	ip->counters.icmp_errors_in++;
	return NEXT_ICMP_ERROR;
}

/* RFC 1122 §3.2.2: is p a packet about which no error is ever sent? */
static bool never_about(const struct ip *ip, const struct pkt *p)
{
	bool v6 = (p->flags & PKT_F_V6) != 0;
	uint8_t type = 0xff;

	if ((p->flags & PKT_F_BCAST) || ip_addr_is_any(&p->src) || ip_addr_is_multicast(&p->src) ||
	    ip_is_broadcast(ip, &p->src) || ip_addr_is_multicast(&p->dst))
		return true;
	if (p->proto != (v6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP))
		return false;
	if (pkt_copy_out(p->m, p->l4_off, 1, &type) != 1)
		return true;
	return v6 ? type < ICMP6_INFORMATIONAL || type == ICMP6_ND_LAST
		  : type != ICMP4_ECHO && type != ICMP4_ECHO_REPLY;
}

/* Where in the packet the next-header field stands that named p->proto (RFC 4443 §3.4). */
static uint32_t proto_pointer(const struct pkt *p)
{
	uint32_t at = p->l3_off + 6u, next = p->l3_off + (uint32_t)IP6_HDR_LEN;
	uint8_t x[2] = {0, 0}, type = 0;

	while (next < p->l4_off && pkt_copy_out(p->m, at, 1, &type) == 1 &&
	       pkt_copy_out(p->m, next, 2, x) == 2) {
		at = next;
		next += type == IP6_NEXT_FRAGMENT ? IP6_FRAG_LEN : (x[1] + 1u) * 8;
	}
	return at - p->l3_off;
}

static struct icmp_hdr error_header(const struct pkt *p, enum icmp_why why)
{
	static const uint8_t type4[][2] = {
		[ICMP_WHY_PORT] = {ICMP4_UNREACH, ICMP4_UNREACH_PORT},
		[ICMP_WHY_PROTO] = {ICMP4_UNREACH, ICMP4_UNREACH_PROTO},
		[ICMP_WHY_REASSEMBLY] = {ICMP4_TIME_EXCEEDED, 1},
		[ICMP_WHY_HEADER] = {ICMP4_PARAM, 0},
	};
	static const uint8_t type6[][2] = {
		[ICMP_WHY_PORT] = {ICMP6_UNREACH, ICMP6_UNREACH_PORT},
		[ICMP_WHY_PROTO] = {ICMP6_PARAM, 1},
		[ICMP_WHY_REASSEMBLY] = {ICMP6_TIME_EXCEEDED, 1},
		[ICMP_WHY_HEADER] = {ICMP6_PARAM, 0},
	};
	bool v6 = (p->flags & PKT_F_V6) != 0;
	const uint8_t *t = v6 ? type6[why] : type4[why];
	struct icmp_hdr h = {.type = t[0], .code = t[1]};

	if (v6 && why == ICMP_WHY_PROTO)
		h.rest = be32(proto_pointer(p));
	return h;
}

static void reply_address(struct pkt *reply, const struct pkt *p)
{
	bool v6 = (p->flags & PKT_F_V6) != 0;

	reply->src = p->dst;
	reply->dst = p->src;
	reply->proto = v6 ? IP_PROTO_ICMP6 : IP_PROTO_ICMP;
	reply->flags = v6 ? PKT_F_V6 : 0;
	reply->path = PATH_NONE;
	reply->l4_hdr = ICMP_HDR_LEN;
	reply->l4_len = reply->m->pkt_len;
}

static enum next error_build(struct ip *ip, const struct pkt *p, const struct icmp_hdr *say,
			     struct pkt *reply)
{
	uint32_t quote = p->l4_off - p->l3_off + p->l4_len;
	struct icmp_hdr *h;
	uint32_t sum = 0;

	*reply = (struct pkt){.port = p->port, .vlan = p->vlan};
	if (never_about(ip, p))
		return pkt_refuse(reply, DROP_ICMP_TYPE);
	if (!may_send(ip, &ip->errors, ip->cfg.icmp_rate_pps))
		return pkt_refuse(reply, DROP_ICMP_RATE);
	reply->m = pkt_alloc_hdr(ip->cfg.pools);
	if (reply->m == NULL)
		return pkt_refuse(reply, DROP_NO_MBUF);
	quote = quote < QUOTE_MAX ? quote : QUOTE_MAX;
	h = (struct icmp_hdr *)pkt_put(reply->m, (uint16_t)(ICMP_HDR_LEN + quote));
	*h = *say;
	if (pkt_copy_out(p->m, p->l3_off, quote, h + 1) != quote) {
		pkt_free(reply->m);
		reply->m = NULL;
		return pkt_refuse(reply, DROP_IP_SHORT);
	}
	reply_address(reply, p);
	if (p->flags & PKT_F_V6)
		sum = csum_pseudo(0, reply->src.b, reply->dst.b, true, IP_PROTO_ICMP6,
				  reply->l4_len);
	h->csum.v = csum_finish(csum_add(sum, h, reply->l4_len));
	ip->counters.icmp_errors_out++;
	return NEXT_IP_OUT;
}

enum next icmp_error_build(struct ip *ip, const struct pkt *p, enum icmp_why why, struct pkt *reply)
{
	struct icmp_hdr say = error_header(p, why);

	return error_build(ip, p, &say, reply);
}

enum next icmp_param_build(struct ip *ip, const struct pkt *p, uint8_t code, uint32_t pointer,
			   struct pkt *reply)
{
	struct icmp_hdr say = {.type = ICMP6_PARAM, .code = code, .rest = be32(pointer)};

	return error_build(ip, p, &say, reply);
}
