/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a querier and a snooping switch see of a host that joins and leaves groups.
 */
#include <errno.h>

#include "ip_test.h"
#include "wire/group.h"

#define GROUP4 v4(239, 1, 2, 3)
#define GROUP6 ((struct ip_addr){.b = {0xff, 5, [15] = 0x42}})
#define LOCAL6 ((struct ip_addr){.b = {0xfe, 0x80, [15] = 0x11}})

static uint64_t now;

static int up(void **state)
{
	now = 1000000000;
	return ip_up(state);
}

static void advance_to(uint64_t ns)
{
	now = ns;
	ip_begin(ip, now);
}

/* The one message that is due at the next deadline. */
static struct pkt next_message(void)
{
	uint8_t ifindex[2] = {9, 9};
	struct pkt p[2];

	assert_int_not_equal(ip_deadline(ip), UINT64_MAX);
	if (ip_deadline(ip) > now)
		advance_to(ip_deadline(ip));
	assert_int_equal(ip_expire(ip, p, ifindex, 2), 1);
	assert_int_equal(ifindex[0], 0);
	rte_mbuf_sanity_check(p[0].m, 1);
	return p[0];
}

/* RFC 3376 §4: TTL 1, router alert, checksum; to dst. The IGMP message in it. */
static const void *igmp_of(const struct pkt *p, struct ip_addr dst, unsigned len)
{
	const struct ip4_hdr *h = (const void *)pkt_data(p->m);

	assert_int_equal(h->ver_ihl, 0x46);
	assert_int_equal(h->ttl, 1);
	assert_int_equal(h->proto, IP_PROTO_IGMP);
	assert_int_equal(be16_host(h->total_len), 24 + len);
	assert_int_equal(p->m->pkt_len, 24 + len);
	assert_int_equal(csum_fold(csum_add(0, h, 24)), 0xffff);
	assert_memory_equal(h + 1, "\x94\4\0\0", 4);
	assert_memory_equal(&h->dst, &dst.w[3], 4);
	assert_true(ip_addr_eq(&p->nexthop, &dst));
	assert_int_equal(pkt_csum(p->m, 24, len), 0xffff);
	return pkt_data(p->m) + 24;
}

/* RFC 3810 §5: hop limit 1, router alert, from src. */
static const void *mld_of(const struct pkt *p, struct ip_addr src, struct ip_addr dst, unsigned len)
{
	const struct ip6_hdr *h = (const void *)pkt_data(p->m);
	uint32_t sum = csum_pseudo(0, h->src, h->dst, true, IP_PROTO_ICMP6, len);

	assert_int_equal(h->next, IP6_NEXT_HOP_BY_HOP);
	assert_int_equal(h->hop_limit, 1);
	assert_int_equal(be16_host(h->payload_len), 8 + len);
	assert_int_equal(p->m->pkt_len, 48 + len);
	assert_memory_equal(h + 1, "\x3a\0\5\2\0\0\1\0", 8);
	assert_memory_equal(h->src, src.b, 16);
	assert_memory_equal(h->dst, dst.b, 16);
	assert_int_equal(csum_fold(sum + pkt_csum(p->m, 48, len)), 0xffff);
	return pkt_data(p->m) + 48;
}

/* A report of the newest version about one group. */
static void check_record4(struct pkt *p, uint8_t type, struct ip_addr group)
{
	const struct wire_report *r = igmp_of(p, v4(224, 0, 0, 22), 16);
	const struct wire_record *rec = (const void *)(r + 1);

	assert_int_equal(r->type, IGMP_V3_REPORT);
	assert_int_equal(be16_host(r->n), 1);
	assert_int_equal(rec->type, type);
	assert_int_equal(be16_host(rec->sources), 0);
	assert_memory_equal(rec + 1, &group.w[3], 4);
	pkt_free(p->m);
}

/* What the stack does with it. */
static enum next input(enum next next, struct pkt *p)
{
	return next == NEXT_GROUP ? ip_group_input(ip, p, 0) : next;
}

static enum next query4(struct ip_addr dst, struct ip_addr group, uint8_t max_resp, unsigned len)
{
	struct ip4_hdr h = hdr4(IP_PROTO_IGMP, len);
	uint8_t b[16] = {IGMP_QUERY, max_resp};
	struct wire_igmp *q = (void *)b;
	struct pkt p;
	enum next next;

	h.ttl = 1;
	h.src = be32(0); /* a switch without an address */
	h.dst = dst.w[3];
	q->group = group.w[3];
	q->csum.v = csum_finish(csum_add(0, b, len));
	p = rx4(h, b, len);
	next = input(ip4_input(ip, &p, 0), &p);
	if (next == NEXT_DROP)
		pkt_drop(&drops, p.m, p.drop);
	return next;
}

static enum next give6(uint8_t *b, unsigned len, uint8_t hop_limit, struct ip_addr src,
		       struct ip_addr dst)
{
	struct ip6_hdr h = hdr6(IP6_NEXT_HOP_BY_HOP, 8 + len);
	uint8_t whole[128] = {IP_PROTO_ICMP6, 0, 5, 2, 0, 0, 1, 0};
	uint32_t sum = csum_pseudo(0, src.b, dst.b, true, IP_PROTO_ICMP6, len);
	struct wire_report *r = (void *)b;
	struct pkt p;
	enum next next;

	r->csum.v = 0;
	r->csum.v = csum_finish(csum_add(sum, b, len));
	memcpy(whole + 8, b, len);
	memcpy(h.src, src.b, 16);
	memcpy(h.dst, dst.b, 16);
	h.hop_limit = hop_limit;
	p = rx6(h, whole, 8 + len);
	next = input(ip6_input(ip, &p, 0), &p);
	if (next == NEXT_DROP)
		pkt_drop(&drops, p.m, p.drop);
	return next;
}

static enum next query6(struct ip_addr dst, struct ip_addr group, uint16_t ms, unsigned len)
{
	uint8_t b[64] = {MLD_QUERY};
	struct wire_mld *q = (void *)b;

	q->max_resp = be16(ms);
	memcpy(q->group, group.b, 16);
	return give6(b, len, 1, LOCAL6, dst);
}

/* RFC 3376 §5.1 */
static void join_and_leave_are_reported_twice(void **state)
{
	struct ip_addr g = GROUP4;
	struct pkt p;

	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	for (int i = 0; i < 2; i++) {
		p = next_message();
		check_record4(&p, GROUP_TO_EXCLUDE, g);
	}
	assert_true(now <= 2000000000);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	for (int i = 0; i < 2; i++) {
		p = next_message();
		check_record4(&p, GROUP_TO_INCLUDE, g);
	}
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	assert_int_equal(ip_group_leave(ip, 0, &g), -ENOENT);
}

/* RFC 3376 §5.2 */
static void general_query_is_answered_within_its_time(void **state)
{
	struct ip_addr all = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0), g[3];
	const struct wire_report *r;
	struct pkt p;

	for (uint8_t i = 0; i < 3; i++) {
		g[i] = v4(239, 0, 0, i);
		assert_int_equal(ip_group_join(ip, 0, &g[i]), 0);
	}
	assert_int_equal(ip_group_join(ip, 0, &all), 0); /* never reported */
	advance_to(now + 1000000000);
	reports_drain();
	advance_to(now + 1000000000);
	reports_drain();
	assert_int_equal(query4(all, any, 100, 12), NEXT_CONSUMED);
	assert_true(ip_deadline(ip) <= now + UINT64_C(10000000000));
	p = next_message();
	r = igmp_of(&p, v4(224, 0, 0, 22), 8 + 3 * 8);
	assert_int_equal(be16_host(r->n), 3);
	assert_int_equal(((const struct wire_record *)(r + 1))->type, GROUP_IS_EXCLUDE);
	pkt_free(p.m);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	/* About one group, and about one that we don't listen to. */
	assert_int_equal(query4(g[1], g[1], 10, 12), NEXT_CONSUMED);
	p = next_message();
	check_record4(&p, GROUP_IS_EXCLUDE, g[1]);
	any = v4(239, 9, 9, 9);
	assert_int_equal(query4(all, any, 10, 12), NEXT_CONSUMED);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
}

/* RFC 3376 §7.2.1, RFC 2236 §3 */
static void older_querier_gets_its_own_version(void **state)
{
	struct ip_addr all = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0), g = GROUP4;
	const struct wire_igmp *m;
	struct pkt p;

	assert_int_equal(query4(all, any, 100, 8), NEXT_CONSUMED);
	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	for (int i = 0; i < 2; i++) {
		p = next_message();
		m = igmp_of(&p, g, 8);
		assert_int_equal(m->type, IGMP_V2_REPORT);
		assert_memory_equal(&m->group, &g.w[3], 4);
		pkt_free(p.m);
	}
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	p = next_message();
	assert_int_equal(((const struct wire_igmp *)igmp_of(&p, v4(224, 0, 0, 2), 8))->type,
			 IGMP_V2_LEAVE);
	pkt_free(p.m);
	/* Version 1 has no leave. */
	assert_int_equal(query4(all, any, 0, 8), NEXT_CONSUMED);
	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	p = next_message();
	assert_int_equal(((const struct wire_igmp *)igmp_of(&p, g, 8))->type, IGMP_V1_REPORT);
	pkt_free(p.m);
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	reports_drain();
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	/* And when the old querier is gone, the newest again. */
	advance_to(now + UINT64_C(300000000000));
	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	p = next_message();
	check_record4(&p, GROUP_TO_EXCLUDE, g);
}

/* RFC 2236 §3: the other's report serves us as well. */
static void older_report_of_another_host_cancels_ours(void **state)
{
	struct ip_addr all = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0), g = GROUP4;
	struct ip4_hdr h = hdr4(IP_PROTO_IGMP, 8);
	struct wire_igmp m = {.type = IGMP_V2_REPORT, .group = g.w[3]};
	struct pkt p;

	assert_int_equal(query4(all, any, 100, 8), NEXT_CONSUMED);
	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	advance_to(now + 1000000000);
	reports_drain();
	advance_to(now + 1000000000);
	reports_drain();
	assert_int_equal(query4(all, any, 100, 8), NEXT_CONSUMED);
	assert_int_not_equal(ip_deadline(ip), UINT64_MAX);
	h.dst = g.w[3];
	m.csum.v = csum_finish(csum_add(0, &m, 8));
	p = rx4(h, &m, 8);
	assert_int_equal(input(ip4_input(ip, &p, 0), &p), NEXT_CONSUMED);
	advance_to(now + UINT64_C(10000000000));
	reports_drain();
	assert_int_equal(ip_counters(ip)->group_reports_out, 1 + 2 + 1);
}

/* RFC 3810 §6.1; from :: until there is a link-local address, and once more from that one. */
static void solicited_node_group_is_reported_by_mld(void **state)
{
	struct ip_ifaddr a = {.addr = LOCAL6, .prefix_len = 64, .tentative = true};
	struct ip_addr reports = {.b = {0xff, 2, [15] = 0x16}}, none = {.q = {0, 0}};
	struct ip_addr group = {.b = {0xff, 2, [11] = 1, [12] = 0xff, [15] = 0x11}};
	const struct wire_report *r;
	struct pkt p;

	assert_int_equal(ip_addr_add(ip, &a), 0);
	for (int i = 0; i < 2; i++) {
		p = next_message();
		r = mld_of(&p, none, reports, 8 + 20);
		assert_int_equal(r->type, MLD_V2_REPORT);
		assert_int_equal(be16_host(r->n), 1);
		assert_int_equal(((const struct wire_record *)(r + 1))->type, GROUP_TO_EXCLUDE);
		assert_memory_equal((const uint8_t *)(r + 1) + 4, group.b, 16);
		pkt_free(p.m);
	}
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	ip_addr_set_tentative(ip, &a.addr, false, false);
	p = next_message();
	r = mld_of(&p, LOCAL6, reports, 8 + 2 * 20);
	assert_int_equal(be16_host(r->n), 2);
	pkt_free(p.m);
	p = next_message();
	pkt_free(p.m);
	assert_int_equal(ip_addr_del(ip, &a.addr), 0);
	p = next_message();
	r = mld_of(&p, none, reports, 8 + 20);
	assert_int_equal(((const struct wire_record *)(r + 1))->type, GROUP_TO_INCLUDE);
	pkt_free(p.m);
}

/* RFC 3810 §6.2, §8.2.1 */
static void mld_queries_are_answered_in_their_version(void **state)
{
	struct ip_addr all = {.b = {0xff, 2, [15] = 1}}, any = {.q = {0, 0}}, g = GROUP6;
	struct ip_addr reports = {.b = {0xff, 2, [15] = 0x16}}, none = any;
	const struct wire_mld *m;
	struct pkt p;

	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	p = next_message();
	pkt_free(p.m);
	p = next_message();
	pkt_free(p.m);
	assert_int_equal(query6(all, any, 1000, 28), NEXT_CONSUMED);
	p = next_message();
	(void)mld_of(&p, none, reports, 8 + 2 * 20);
	pkt_free(p.m);
	assert_int_equal(query6(g, g, 1000, 24), NEXT_CONSUMED);
	p = next_message();
	m = mld_of(&p, none, g, 24);
	assert_int_equal(m->type, MLD_V1_REPORT);
	assert_memory_equal(m->group, g.b, 16);
	pkt_free(p.m);
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	p = next_message();
	m = mld_of(&p, none, (struct ip_addr){.b = {0xff, 2, [15] = 2}}, 24);
	assert_int_equal(m->type, MLD_V1_DONE);
	pkt_free(p.m);
}

static void malformed_messages_are_counted_and_change_nothing(void **state)
{
	struct ip_addr all = v4(224, 0, 0, 1), all6 = {.b = {0xff, 2, [15] = 1}};
	struct ip_addr any = v4(0, 0, 0, 0), uni = v4(10, 0, 0, 9), any6 = {.q = {0, 0}};
	uint8_t b[28] = {MLD_QUERY};
	unsigned bad = 0;

	for (unsigned len = 0; len < 12; len++) {
		if (len == 8)
			continue;
		if (len < 8) {
			struct ip4_hdr h = hdr4(IP_PROTO_IGMP, len);
			struct pkt p;

			h.dst = all.w[3];
			p = rx4(h, "\x11\0\xee\xff\0\0\0", len);
			refused(input(ip4_input(ip, &p, 0), &p), &p, DROP_GROUP_BAD);
			continue;
		}
		assert_int_equal(query4(all, any, 1, len), NEXT_DROP);
		bad++;
	}
	assert_int_equal(query4(all, uni, 1, 8), NEXT_DROP);
	for (unsigned len = 8; len < 28; len++) {
		if (len == 24)
			continue;
		assert_int_equal(query6(all6, any6, 1, len), NEXT_DROP);
		bad++;
	}
	/* From beyond the link, or from no link-local address. */
	assert_int_equal(give6(b, 28, 64, LOCAL6, all6), NEXT_DROP);
	assert_int_equal(give6(b, 28, 1, PEER6, all6), NEXT_DROP);
	assert_int_equal(drops.n[DROP_GROUP_BAD], bad + 3);
	b[0] = MLD_V2_REPORT;
	assert_int_equal(give6(b, 28, 1, LOCAL6, all6), NEXT_DROP);
	assert_int_equal(drops.n[DROP_GROUP_NOT_OURS], 1);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
}

/* H22: no buffer now: later. */
static void h22_report_without_a_buffer_is_sent_later(void **state)
{
	struct rte_mbuf *hold[POOL_SIZE];
	struct ip_addr g = GROUP4;
	uint8_t ifindex[2];
	struct pkt p[2];

	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pools.hdr, hold, POOL_SIZE), 0);
	assert_int_equal(ip_expire(ip, p, ifindex, 2), 0);
	assert_true(ip_deadline(ip) > now);
	rte_pktmbuf_free_bulk(hold, POOL_SIZE);
	p[0] = next_message();
	check_record4(&p[0], GROUP_TO_EXCLUDE, g);
}

/* ---- sources ---- */

static void sources_of(const struct pkt *p, uint8_t type, unsigned n, const struct ip_addr *src)
{
	const struct wire_report *r = igmp_of(p, v4(224, 0, 0, 22), 16 + 4 * n);
	const struct wire_record *rec = (const void *)(r + 1);

	assert_int_equal(be16_host(r->n), 1);
	assert_int_equal(rec->type, type);
	assert_int_equal(be16_host(rec->sources), n);
	for (unsigned i = 0; i < n; i++)
		assert_memory_equal((const uint8_t *)(rec + 1) + 4 + 4 * i, &src[i].w[3], 4);
	pkt_free(p->m);
}

/* Both reports of a change. */
static void change_is(uint8_t type, unsigned n, const struct ip_addr *src)
{
	for (int i = 0; i < 2; i++) {
		struct pkt p = next_message();

		sources_of(&p, type, n, src);
	}
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
}

/* RFC 3376 §3.2, §5.1 */
static void sources_that_come_and_go_are_allowed_and_blocked(void **state)
{
	struct ip_addr g = GROUP4, s[2] = {v4(10, 0, 0, 50), v4(10, 0, 0, 51)};
	struct ip_filter one = {.n = 1, .source = s}, two = {.n = 2, .source = s};

	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &one), 0);
	change_is(GROUP_ALLOW, 1, s);
	assert_int_equal(ip_group_filter(ip, 0, &g, &one, &two), 0);
	change_is(GROUP_ALLOW, 1, s + 1);
	/* Another listener of one of them changes nothing, also when it goes. */
	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &one), 0);
	assert_int_equal(ip_group_filter(ip, 0, &g, &two, NULL), 0);
	change_is(GROUP_BLOCK, 1, s + 1);
	assert_int_equal(ip_group_filter(ip, 0, &g, &one, NULL), 0);
	change_is(GROUP_BLOCK, 1, s);
	assert_int_equal(ip_group_filter(ip, 0, &g, &one, NULL), -ENOENT);
}

static void listener_of_all_but_some_changes_the_mode(void **state)
{
	struct ip_addr g = GROUP4, s[2] = {v4(10, 0, 0, 50), v4(10, 0, 0, 51)};
	struct ip_addr hosts = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0);
	struct ip_filter in = {.n = 1, .source = s}, all = {.exclude = true},
			 but = {.exclude = true, .n = 2, .source = s};
	struct pkt p;

	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &in), 0);
	change_is(GROUP_ALLOW, 1, s);
	/* What somebody includes is not excluded. */
	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &but), 0);
	change_is(GROUP_TO_EXCLUDE, 1, s + 1);
	assert_int_equal(query4(hosts, any, 10, 12), NEXT_CONSUMED);
	p = next_message();
	sources_of(&p, GROUP_IS_EXCLUDE, 1, s + 1);
	assert_int_equal(ip_group_filter(ip, 0, &g, &but, &all), 0);
	change_is(GROUP_ALLOW, 1, s + 1);
	assert_int_equal(ip_group_filter(ip, 0, &g, &all, NULL), 0);
	change_is(GROUP_TO_INCLUDE, 1, s);
	assert_int_equal(query4(hosts, any, 10, 12), NEXT_CONSUMED);
	p = next_message();
	sources_of(&p, GROUP_IS_INCLUDE, 1, s);
	assert_int_equal(ip_group_filter(ip, 0, &g, &in, NULL), 0);
	change_is(GROUP_BLOCK, 1, s);
}

/* RFC 3376 §5.2: changes alone are no answer. */
static void query_is_answered_beside_changes(void **state)
{
	struct ip_addr g = GROUP4, s[2] = {v4(10, 0, 0, 50), v4(10, 0, 0, 51)};
	struct ip_addr hosts = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0);
	struct ip_filter one = {.n = 1, .source = s}, two = {.n = 2, .source = s};
	struct pkt p, both[2];
	uint8_t ifindex[2];

	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &one), 0);
	change_is(GROUP_ALLOW, 1, s);
	assert_int_equal(query4(hosts, any, 10, 12), NEXT_CONSUMED);
	assert_int_equal(ip_group_filter(ip, 0, &g, &one, &two), 0);
	assert_int_equal(ip_expire(ip, both, ifindex, 2), 2);
	sources_of(&both[0], GROUP_ALLOW, 1, s + 1);
	sources_of(&both[1], GROUP_IS_INCLUDE, 2, s);
	p = next_message();
	sources_of(&p, GROUP_ALLOW, 1, s + 1);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
}

/* RFC 3376 §7.2.1: it is joined, and left; of sources nothing can be said. */
static void older_querier_hears_nothing_of_sources(void **state)
{
	struct ip_addr hosts = v4(224, 0, 0, 1), any = v4(0, 0, 0, 0), g = GROUP4;
	struct ip_addr s[2] = {v4(10, 0, 0, 50), v4(10, 0, 0, 51)};
	struct ip_filter one = {.n = 1, .source = s}, two = {.n = 2, .source = s};
	struct pkt p;

	assert_int_equal(query4(hosts, any, 100, 8), NEXT_CONSUMED);
	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &one), 0);
	for (int i = 0; i < 2; i++) {
		p = next_message();
		assert_int_equal(((const struct wire_igmp *)igmp_of(&p, g, 8))->type,
				 IGMP_V2_REPORT);
		pkt_free(p.m);
	}
	assert_int_equal(ip_group_filter(ip, 0, &g, &one, &two), 0);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	assert_int_equal(ip_group_filter(ip, 0, &g, &two, NULL), 0);
	p = next_message();
	assert_int_equal(((const struct wire_igmp *)igmp_of(&p, v4(224, 0, 0, 2), 8))->type,
			 IGMP_V2_LEAVE);
	pkt_free(p.m);
}

/* As many as there can be, of IPv6, in one message; one more is refused, and changes nothing. */
static void sources_are_limited(void **state)
{
	struct ip_addr g = GROUP6, s[33], reports = {.b = {0xff, 2, [15] = 0x16}},
		       none = {.q = {0, 0}};
	struct ip_filter most = {.n = 32, .source = s}, more = {.n = 1, .source = s + 32};
	uint8_t type[2] = {GROUP_ALLOW, GROUP_BLOCK};
	const struct wire_report *r;
	struct pkt p;

	for (uint8_t i = 0; i < 33; i++)
		s[i] = (struct ip_addr){.b = {0xfd, [15] = i}};
	for (int change = 0; change < 2; change++) {
		if (change == 0)
			assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &most), 0);
		else
			assert_int_equal(ip_group_filter(ip, 0, &g, &most, NULL), 0);
		assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &more), -ENOBUFS);
		for (int i = 0; i < 2; i++) {
			p = next_message();
			r = mld_of(&p, none, reports, 8 + 20 + 32 * 16);
			assert_int_equal(((const struct wire_record *)(r + 1))->type, type[change]);
			pkt_free(p.m);
		}
		assert_int_equal(ip_deadline(ip), UINT64_MAX);
	}
	assert_int_equal(ip_group_filter(ip, 0, &g, NULL, &more), 0);
}

#define G(f) cmocka_unit_test_setup_teardown(f, up, ip_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		G(sources_that_come_and_go_are_allowed_and_blocked),
		G(listener_of_all_but_some_changes_the_mode),
		G(query_is_answered_beside_changes),
		G(older_querier_hears_nothing_of_sources),
		G(sources_are_limited),
		G(join_and_leave_are_reported_twice),
		G(general_query_is_answered_within_its_time),
		G(older_querier_gets_its_own_version),
		G(older_report_of_another_host_cancels_ours),
		G(solicited_node_group_is_reported_by_mld),
		G(mld_queries_are_answered_in_their_version),
		G(malformed_messages_are_counted_and_change_nothing),
		G(h22_report_without_a_buffer_is_sent_later),
	};

	return run(tests, array_size(tests));
}
