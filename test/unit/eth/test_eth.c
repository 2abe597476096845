/* SPDX-License-Identifier: BSD-3-Clause */
#include "eth_test.h"

static enum next input(struct pkt *p, uint8_t *ifindex)
{
	enum next n = eth_input(e, p, ifindex);

	pkt_free(p->m);
	return n;
}

/* H20, H22: length first. */
static void h20_frame_shorter_than_header_is_refused(void **state)
{
	struct eth_addr all = eth_addr_broadcast();

	for (uint16_t len = 0; len < 18; len++) {
		struct pkt p = frame(&all, &mac_a, ETH_TYPE_VLAN, "\0\1\x08\0", 4);
		uint8_t i;

		p.m->data_len = p.m->pkt_len = len;
		assert_int_equal(input(&p, &i), NEXT_DROP);
		assert_int_equal(p.drop, DROP_ETH_SHORT);
	}
}

/* H22: headers in two segments, in memory that others read too. */
static void h22_headers_in_pieces_are_put_together(void **state)
{
	struct pkt whole = frame(&mac_us, &mac_a, ETH_TYPE_VLAN, "\0\0\x08\0abcdef", 10);
	uint8_t before[24], after[24];

	memcpy(before, pkt_data(whole.m), 24);
	for (uint16_t cut = 1; cut < 24; cut++) {
		struct pkt p = {.m = pkt_slice(&pools, whole.m, 0, cut)};
		uint8_t i = 9;

		assert_int_equal(rte_pktmbuf_chain(p.m, pkt_slice(&pools, whole.m, cut,
								  (uint16_t)(24 - cut))),
				 0);
		assert_int_equal(eth_input(e, &p, &i), NEXT_IP4);
		assert_int_equal(p.l3_off, 18);
		assert_int_equal(p.m->pkt_len, 24);
		assert_int_equal(pkt_copy_out(p.m, 0, 24, after), 24);
		assert_memory_equal(before, after, 24);
		pkt_free(p.m);
		assert_memory_equal(before, pkt_data(whole.m), 24);
	}
	pkt_free(whole.m);
}

static void count_cb(void *arg, const struct neigh_info *i)
{
	++*(unsigned *)arg;
}

/* Whoever walks in steps stops when the cursor is 0 again. */
static void walk_of_neighbours_ends_with_cursor_0(void **state)
{
	struct ip_addr a = ip_addr_v4(be32(0x0a000009));
	uint32_t cursor = 0;
	unsigned seen = 0, calls = 0;

	assert_int_equal(neigh_set(e, 0, &a, &mac_a), 0);
	do {
		neigh_each(e, &cursor, 1, count_cb, &seen);
		assert_true(++calls < 1000);
	} while (cursor != 0);
	assert_true(seen >= 1);
}

static void frame_for_us_goes_by_its_type(void **state)
{
	static const struct {
		uint16_t type;
		enum next next;
	} row[] = {{0x0800, NEXT_IP4}, {0x86dd, NEXT_IP6}, {0x0806, NEXT_ARP}, {0x88cc, NEXT_DROP}};

	for (unsigned k = 0; k < array_size(row); k++) {
		struct pkt p = frame(&mac_us, &mac_a, row[k].type, "", 0);
		uint8_t i = 9;

		assert_int_equal(input(&p, &i), row[k].next);
		assert_int_equal(i, 0);
		assert_int_equal(p.l3_off, 14);
		assert_int_equal(p.flags & PKT_F_BCAST, 0);
	}
}

static void frame_for_another_is_refused_and_groups_are_marked(void **state)
{
	static const struct {
		struct eth_addr dst;
		enum next next;
	} row[] = {{{{2, 0, 0, 0, 0, 9}}, NEXT_DROP},
		   {{{0x01, 0x80, 0xc2, 0, 0, 0}}, NEXT_DROP},
		   {{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, NEXT_IP4},
		   {{{0x01, 0, 0x5e, 0, 0, 1}}, NEXT_IP4},
		   {{{0x33, 0x33, 0, 0, 0, 1}}, NEXT_IP4}};

	for (unsigned k = 0; k < array_size(row); k++) {
		struct pkt p = frame(&row[k].dst, &mac_a, 0x0800, "", 0);
		uint8_t i;

		assert_int_equal(input(&p, &i), row[k].next);
		if (row[k].next == NEXT_DROP)
			assert_int_equal(p.drop, DROP_ETH_NOT_OURS);
		else
			assert_true(p.flags & PKT_F_BCAST);
	}
}

static void vlan_tag_selects_the_interface(void **state)
{
	uint8_t i = 0;
	struct pkt p;

	assert_int_equal(eth_if_add(e, &(struct eth_if){0, 7, 1500, mac_us}), 1);
	assert_int_equal(eth_if_add(e, &(struct eth_if){0, 7, 1500, mac_us}), -EEXIST);
	p = frame(&mac_us, &mac_a, ETH_TYPE_VLAN, "\xe0\x07\x08\0", 4);
	assert_int_equal(input(&p, &i), NEXT_IP4);
	assert_int_equal(i, 1);
	assert_int_equal(p.l3_off, 18);
	assert_int_equal(p.vlan, 7);
	/* Priority tag: VLAN id 0 is the untagged interface. */
	p = frame(&mac_us, &mac_a, ETH_TYPE_VLAN, "\xe0\x00\x08\0", 4);
	assert_int_equal(input(&p, &i), NEXT_IP4);
	assert_int_equal(i, 0);
	/* Taken off by the port. */
	p = frame(&mac_us, &mac_a, 0x0800, "", 0);
	p.m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	p.m->vlan_tci = 0x2007;
	assert_int_equal(input(&p, &i), NEXT_IP4);
	assert_int_equal(i, 1);
	assert_int_equal(p.l3_off, 14);
	p = frame(&mac_us, &mac_a, ETH_TYPE_VLAN, "\0\x08\x08\0", 4);
	assert_int_equal(input(&p, &i), NEXT_DROP);
	assert_int_equal(p.drop, DROP_ETH_VLAN);
	/* A second tag is a type that nobody takes. */
	p = frame(&mac_us, &mac_a, ETH_TYPE_VLAN, "\0\x07\x81\0\0\x07\x08\0", 8);
	assert_int_equal(input(&p, &i), NEXT_DROP);
	assert_int_equal(p.drop, DROP_ETH_TYPE);
}

static void output_on_vlan_is_tagged(void **state)
{
	struct ip_addr to = v4(PEER);
	struct pkt p = {.m = rte_pktmbuf_alloc(pool), .nexthop = to};
	int i = eth_if_add(e, &(struct eth_if){3, 7, 1500, mac_us});

	assert_int_equal(neigh_set(e, (uint8_t)i, &to, &mac_a), 0);
	pkt_put(p.m, 20);
	assert_int_equal(eth_output(e, &p, (uint8_t)i), NEXT_TX);
	assert_int_equal(p.port, 3);
	assert_int_equal(p.m->pkt_len, 38);
	assert_memory_equal(pkt_data(p.m) + 12, "\x81\0\0\7\x08\0", 6);
	pkt_free(p.m);
}

/* RFC 1112 §6.4, RFC 2464 §7. */
static void groups_and_broadcast_are_mapped(void **state)
{
	struct ip_addr g6 = {.b = {0xff, 2, [12] = 0xff, 1, 2, 3}}, g4 = v4(0xe0812233),
		       all = v4(0xffffffff);
	struct pkt p;

	assert_int_equal(send_to(&g4, 0, &p), NEXT_TX);
	assert_memory_equal(pkt_data(p.m), "\x01\x00\x5e\x01\x22\x33\2\0\0\0\0\1\x08\0", 14);
	pkt_free(p.m);
	assert_int_equal(send_to(&g6, 0, &p), NEXT_TX);
	assert_memory_equal(pkt_data(p.m), "\x33\x33\xff\1\2\3\2\0\0\0\0\1\x86\xdd", 14);
	pkt_free(p.m);
	assert_int_equal(send_to(&all, 0, &p), NEXT_TX);
	assert_memory_equal(pkt_data(p.m), "\xff\xff\xff\xff\xff\xff", 6);
	pkt_free(p.m);
}

static void bad_configuration_is_refused(void **state)
{
	struct eth_if i = {0, 4095, 1500, mac_us};
	struct ip_addr any = v4(0), group = v4(0xe0000001);

	assert_int_equal(eth_if_add(e, &i), -EINVAL);
	i.vlan = 1;
	i.mac.b[0] = 1;
	assert_int_equal(eth_if_add(e, &i), -EINVAL);
	assert_int_equal(eth_addr_add(e, 0, &any, false), -EINVAL);
	assert_int_equal(eth_addr_add(e, 0, &group, false), -EINVAL);
	assert_int_equal(eth_addr_add(e, 1, &group, false), -EINVAL);
	assert_null(eth_if_get(e, 1));
	assert_int_equal(eth_if_count(e), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(h20_frame_shorter_than_header_is_refused),
		T(walk_of_neighbours_ends_with_cursor_0),
		T(walk_of_neighbours_ends_with_cursor_0),
		T(h22_headers_in_pieces_are_put_together),
		T(frame_for_us_goes_by_its_type),
		T(frame_for_another_is_refused_and_groups_are_marked),
		T(vlan_tag_selects_the_interface),
		T(output_on_vlan_is_tagged),
		T(groups_and_broadcast_are_mapped),
		T(bad_configuration_is_refused),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
