/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip_test.h"

static struct pkt tx(struct ip_addr dst, unsigned n)
{
	struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx), .dst = dst, .proto = IP_PROTO_UDP};

	memset(pkt_put(p.m, (uint16_t)n), 0x5a, n);
	return p;
}

static void ipv4_without_source_gets_one_and_a_sound_header(void **state)
{
	struct pkt p = tx(PEER4, 100);
	struct ip_addr our = OUR4, peer = PEER4;
	uint8_t ifindex = 9;
	const struct ip4_hdr *h;

	p.flags = PKT_F_DF;
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	assert_int_equal(ifindex, 0);
	assert_true(ip_addr_eq(&p.src, &our));
	assert_true(ip_addr_eq(&p.nexthop, &peer));
	h = (const struct ip4_hdr *)pkt_data(p.m);
	assert_int_equal(csum_fold(csum_add(0, h, 20)), 0xffff);
	assert_int_equal(be16_host(h->total_len), 120);
	assert_int_equal(be16_host(h->frag), IP4_FRAG_DF);
	assert_int_equal(h->ttl, 64);
	pkt_free(p.m);
}

static void ipv6_header_is_what_rfc8200_says(void **state)
{
	struct ip6_hdr want = hdr6(IP_PROTO_UDP, 100);
	struct ip_addr src = OUR6, dst = PEER6;
	struct pkt p = tx(PEER6, 100);
	uint8_t ifindex = 0;

	memcpy(want.src, src.b, 16);
	memcpy(want.dst, dst.b, 16);
	want.ver_tc_flow = be32(0x60200000);
	p.tos = 2;
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	assert_memory_equal(pkt_data(p.m), &want, 40);
	pkt_free(p.m);
}

static void gateway_and_missing_routes(void **state)
{
	struct ip_route r = {.prefix = v4(0, 0, 0, 0), .gateway = v4(10, 0, 0, 254)};
	struct pkt p = tx(v4(8, 8, 8, 8), 8);
	uint8_t ifindex = 0;

	refused(ip_output(ip, &p, &ifindex), &p, DROP_IP_NO_ROUTE);
	assert_int_equal(ip_route_add(ip, &r), 0);
	p = tx(v4(8, 8, 8, 8), 8);
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	assert_true(ip_addr_eq(&p.nexthop, &r.gateway));
	pkt_free(p.m);
	p = tx(OUR4, 8);
	refused(ip_output(ip, &p, &ifindex), &p, DROP_IP_NO_ROUTE);
}

static void larger_than_the_path_is_refused_and_left_intact(void **state)
{
	struct pkt p = tx(PEER4, 1481);
	uint8_t ifindex = 0;

	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_DROP);
	assert_int_equal(p.drop, DROP_IP_TOO_BIG);
	assert_int_equal(p.m->pkt_len, 1481);
	p.flags |= PKT_F_TSO;
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	pkt_free(p.m);
}

static void known_path_needs_no_route(void **state)
{
	struct pkt p = tx(v4(8, 8, 8, 8), 8);
	uint8_t ifindex = 0;

	p.path = 7;
	p.src = OUR4;
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	pkt_free(p.m);
}

/* Ways are remembered; a change of routes or addresses is seen at once. */
static void datagrams_follow_changes_of_the_tables(void **state)
{
	struct ip_route def = {.prefix = v4(0, 0, 0, 0), .gateway = v4(10, 0, 0, 254)};
	struct ip_route more = {
		.prefix = v4(8, 8, 0, 0), .prefix_len = 16, .gateway = v4(10, 0, 0, 253)};
	const struct ip_addr *gateway[] = {&def.gateway, &def.gateway, &more.gateway, &more.gateway,
					   &def.gateway};
	struct ip_addr our = OUR4;
	uint8_t ifindex;
	struct pkt p;

	assert_int_equal(ip_route_add(ip, &def), 0);
	for (unsigned i = 0; i < array_size(gateway); i++) {
		p = tx(v4(8, 8, 8, 8), 8);
		if (i == 2)
			assert_int_equal(ip_route_add(ip, &more), 0);
		if (i == 4)
			assert_int_equal(ip_route_del(ip, &more), 0);
		ifindex = 9;
		assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
		assert_true(ip_addr_eq(&p.nexthop, gateway[i]));
		assert_true(ip_addr_eq(&p.src, &our));
		assert_int_equal(ifindex, 0);
		pkt_free(p.m);
	}
	assert_int_equal(ip_addr_del(ip, &our), 0);
	p = tx(v4(8, 8, 8, 8), 8);
	refused(ip_output(ip, &p, &ifindex), &p, DROP_IP_NO_SOURCE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ipv4_without_source_gets_one_and_a_sound_header),
		T(ipv6_header_is_what_rfc8200_says),
		T(gateway_and_missing_routes),
		T(larger_than_the_path_is_refused_and_left_intact),
		T(known_path_needs_no_route),
		T(datagrams_follow_changes_of_the_tables),
	};

	return run(tests, array_size(tests));
}
