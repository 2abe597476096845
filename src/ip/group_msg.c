/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IGMP and MLD messages: reports made, queries and other hosts' reports read (RFC 3376 §4,
 * RFC 2236 §2, RFC 3810 §5, RFC 2710 §3). Each leaves with a router alert and never crosses a
 * router.
 *
 *	IPv4  header with option 148 │ IGMP            TTL 1
 *	IPv6  header │ hop-by-hop    │ ICMPv6          hop limit 1, from link-local or ::
 */
#include "ip/ip_priv.h"
#include "base/csum.h"
#include "wire/icmp.h"

enum {
	OLD_LEN4 = sizeof(struct wire_igmp),
	OLD_LEN6 = sizeof(struct wire_mld),
	ALERT4_LEN = IP4_HDR_LEN + 4,
	ALERT6_LEN = IP6_HDR_LEN + 8,
	RECORDS_MAX = 32,
	TOS_CONTROL = 0xc0, /* RFC 3376 §4 */
};

static const struct ip_addr all_routers6 = {.b = {0xff, 2, [15] = 2}};
static const struct ip_addr reports6 = {.b = {0xff, 2, [15] = 0x16}};

bool group_report_begin(const struct ip *ip, uint8_t ifindex, bool v6, struct group_report *r)
{
	*r = (struct group_report){.v6 = v6, .version = group_version_of(ip, ifindex, v6)};
	r->m = pkt_alloc_hdr(ip->cfg.pools);
	if (r->m == NULL)
		return false;
	r->src = ip_source_on(ip, ifindex, v6);
	r->dst = v6 ? reports6 : ip_addr_v4(be32(0xe0000016));
	if (r->version == GROUP_NEWEST) {
		struct wire_report *h = (void *)pkt_put(r->m, sizeof(*h));

		*h = (struct wire_report){.type = v6 ? MLD_V2_REPORT : IGMP_V3_REPORT};
	}
	return true;
}

static uint16_t record_len(const struct group_report *r, unsigned records, unsigned sources)
{
	uint16_t len = r->v6 ? 16 : 4;

	return (uint16_t)(records * (sizeof(struct wire_record) + len) + sources * len);
}

bool group_report_room(const struct group_report *r, unsigned records, unsigned sources)
{
	if (r->version != GROUP_NEWEST)
		return r->n == 0;
	return r->n + records <= RECORDS_MAX &&
	       r->m->pkt_len + record_len(r, records, sources) <= PKT_HDR_ROOM;
}

static void add_record(struct group_report *r, const struct ip_addr *g, uint8_t type,
		       const struct ip_addr *source, unsigned n)
{
	uint16_t len = r->v6 ? 16 : 4;
	struct wire_record *rec = (void *)pkt_put(r->m, record_len(r, 1, n));
	uint8_t *at = (uint8_t *)(rec + 1);

	*rec = (struct wire_record){.type = type, .sources = be16((uint16_t)n)};
	memcpy(at, g->b + 16 - len, len);
	for (unsigned i = 0; i < n; i++)
		memcpy(at += len, source[i].b + 16 - len, len);
}

static void add_old6(struct group_report *r, const struct ip_addr *g, bool leave)
{
	struct wire_mld *h = (void *)pkt_put(r->m, sizeof(*h));

	*h = (struct wire_mld){.type = leave ? MLD_V1_DONE : MLD_V1_REPORT};
	memcpy(h->group, g->b, 16);
	r->dst = leave ? all_routers6 : *g;
}

static void add_old4(struct group_report *r, const struct ip_addr *g, bool leave)
{
	struct wire_igmp *h = (void *)pkt_put(r->m, sizeof(*h));

	*h = (struct wire_igmp){.group = g->w[3]};
	h->type = leave			       ? IGMP_V2_LEAVE
		  : r->version == GROUP_OLDEST ? IGMP_V1_REPORT
					       : IGMP_V2_REPORT;
	r->dst = leave ? ip_addr_v4(be32(0xe0000002)) : *g;
}

bool group_report_add(struct group_report *r, const struct ip_addr *g, uint8_t type,
		      const struct ip_addr *source, unsigned n)
{
	if (!group_report_room(r, 1, n))
		return false;
	r->n++;
	if (r->version == GROUP_NEWEST)
		add_record(r, g, type, source, n);
	else if (r->v6)
		add_old6(r, g, type == GROUP_TO_INCLUDE);
	else
		add_old4(r, g, type == GROUP_TO_INCLUDE);
	return true;
}

static void push4(const struct group_report *r)
{
	struct ip4_hdr *h = (struct ip4_hdr *)pkt_push(r->m, ALERT4_LEN);
	static const uint8_t alert[4] = {148, 4, 0, 0}; /* RFC 2113 */

	*h = (struct ip4_hdr){
		.ver_ihl = 0x46,
		.tos = TOS_CONTROL,
		.total_len = be16((uint16_t)r->m->pkt_len),
		.frag = be16(IP4_FRAG_DF),
		.ttl = 1,
		.proto = IP_PROTO_IGMP,
		.src = r->src.w[3],
		.dst = r->dst.w[3],
	};
	memcpy(h + 1, alert, sizeof(alert));
	h->csum.v = csum_finish(csum_add(0, h, ALERT4_LEN));
}

static void push6(const struct group_report *r)
{
	static const uint8_t alert[8] = {IP_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0}; /* RFC 2711 */
	uint16_t len = (uint16_t)(r->m->pkt_len + sizeof(alert));
	struct ip6_hdr *h = (struct ip6_hdr *)pkt_push(r->m, ALERT6_LEN);

	h->ver_tc_flow = be32(UINT32_C(6) << 28 | TOS_CONTROL << 20);
	h->payload_len = be16(len);
	h->next = IP6_NEXT_HOP_BY_HOP;
	h->hop_limit = 1;
	memcpy(h->src, r->src.b, 16);
	memcpy(h->dst, r->dst.b, 16);
	memcpy(h + 1, alert, sizeof(alert));
}

void group_report_end(struct ip *ip, const struct group_report *r, struct pkt *out)
{
	struct rte_mbuf *m = r->m;
	struct wire_report *h = (void *)pkt_data(m);
	uint32_t sum = 0;

	if (r->version == GROUP_NEWEST)
		h->n = be16(r->n);
	if (r->v6)
		sum = csum_pseudo(0, r->src.b, r->dst.b, true, IP_PROTO_ICMP6, m->pkt_len);
	/* All of these messages have it in the same place. */
	h->csum.v = csum_finish(csum_add(sum, h, m->pkt_len));
	if (r->v6)
		push6(r);
	else
		push4(r);
	*out = (struct pkt){.m = m,
			    .flags = r->v6 ? PKT_F_V6 : 0,
			    .src = r->src,
			    .dst = r->dst,
			    .nexthop = r->dst};
	ip->counters.out_requests++;
}

/* ---- what others send ---- */

static enum next done(struct pkt *p)
{
	pkt_free(p->m);
	return NEXT_CONSUMED;
}

/* A delay in RFC 3376 §4.1.1 and RFC 3810 §5.1.3: `bits` of mantissa under a 3-bit exponent, once
 * the top bit is set. */
static uint32_t delay_decode(uint32_t code, unsigned bits)
{
	uint32_t mantissa = code & ((1u << bits) - 1), exponent = code >> bits & 7;

	return code >> (bits + 3) == 0 ? code : (mantissa | 1u << bits) << (exponent + 3);
}

static void query4(struct ip *ip, const struct wire_igmp *h, uint32_t len, uint8_t ifindex)
{
	struct ip_addr about = ip_addr_v4(h->group);
	struct group_asked q = {.max_resp_ns = h->max_resp * SECOND_NS / 10};

	if (len >= IGMP_V3_QUERY_LEN) {
		q.version = GROUP_NEWEST;
		q.max_resp_ns = delay_decode(h->max_resp, 4) * SECOND_NS / 10;
	} else if (h->max_resp == 0) {
		q.version = GROUP_OLDEST;
		q.max_resp_ns = 10 * SECOND_NS;
	} else {
		q.version = GROUP_OLD;
	}
	group_query(ip, ifindex, &about, false, &q);
}

enum next igmp_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct wire_igmp *h = (const void *)(pkt_data(p->m) + p->l4_off);
	struct ip_addr group;

	if (p->l4_len < OLD_LEN4 ||
	    (p->l4_len > OLD_LEN4 && p->l4_len < IGMP_V3_QUERY_LEN && h->type == IGMP_QUERY))
		return pkt_refuse(p, DROP_GROUP_BAD);
	if (pkt_csum(p->m, p->l4_off, p->l4_len) != 0xffff)
		return pkt_refuse(p, DROP_GROUP_BAD);
	group = ip_addr_v4(h->group);
	switch (h->type) {
	case IGMP_QUERY:
		if (h->group.v != 0 && !ip_addr_is_multicast(&group))
			return pkt_refuse(p, DROP_GROUP_BAD);
		query4(ip, h, p->l4_len, ifindex);
		return done(p);
	case IGMP_V1_REPORT:
	case IGMP_V2_REPORT:
		group_heard(ip, ifindex, &group);
		return done(p);
	default:
		return pkt_refuse(p, DROP_GROUP_NOT_OURS);
	}
}

static void query6(struct ip *ip, const struct wire_mld *h, uint32_t len, uint8_t ifindex)
{
	bool newest = len >= MLD_V2_QUERY_LEN;
	uint32_t ms = be16_host(h->max_resp);
	struct group_asked q = {.version = newest ? GROUP_NEWEST : GROUP_OLD};
	struct ip_addr about;

	q.max_resp_ns = (newest ? delay_decode(ms, 12) : ms) * (SECOND_NS / 1000);
	memcpy(about.b, h->group, 16);
	group_query(ip, ifindex, &about, true, &q);
}

bool mld_is(const struct pkt *p)
{
	const uint8_t *h = pkt_data(p->m) + p->l4_off;

	return p->l4_len >= ICMP_HDR_LEN &&
	       ((h[0] >= MLD_QUERY && h[0] <= MLD_V1_DONE) || h[0] == MLD_V2_REPORT);
}

enum next mld_input(struct ip *ip, struct pkt *p, uint8_t ifindex)
{
	const struct wire_mld *h = (const void *)(pkt_data(p->m) + p->l4_off);
	uint32_t sum = csum_pseudo(0, p->src.b, p->dst.b, true, IP_PROTO_ICMP6, p->l4_len);
	struct ip_addr group;

	if (csum_fold(sum + pkt_csum(p->m, p->l4_off, p->l4_len)) != 0xffff)
		return pkt_refuse(p, DROP_ICMP_CSUM);
	/* RFC 3810 §6.2, §5.1.14; RFC 2710 §3.3 */
	if (p->ttl != 1 || h->code != 0 || p->l4_len < sizeof(struct wire_report))
		return pkt_refuse(p, DROP_GROUP_BAD);
	if (h->type == MLD_V2_REPORT || h->type == MLD_V1_DONE)
		return pkt_refuse(p, DROP_GROUP_NOT_OURS);
	if (p->l4_len < OLD_LEN6 ||
	    (p->l4_len > OLD_LEN6 && p->l4_len < MLD_V2_QUERY_LEN && h->type == MLD_QUERY))
		return pkt_refuse(p, DROP_GROUP_BAD);
	memcpy(group.b, h->group, 16);
	if (h->type == MLD_V1_REPORT) {
		group_heard(ip, ifindex, &group);
		return done(p);
	}
	if (!ip_addr_is_link_local6(&p->src) ||
	    (!ip_addr_is_any(&group) && !ip_addr_is_multicast(&group)))
		return pkt_refuse(p, DROP_GROUP_BAD);
	query6(ip, h, p->l4_len, ifindex);
	return done(p);
}
