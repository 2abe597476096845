/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip_test.h"

static enum next frag4(uint16_t id, unsigned off, unsigned len, bool more, struct pkt *p)
{
	struct ip4_hdr h = hdr4(IP_PROTO_UDP, len);
	uint8_t b[1480];

	for (unsigned i = 0; i < len; i++)
		b[i] = (uint8_t)((off + i) * 7);
	h.id = be16(id);
	h.frag = be16((uint16_t)(off / 8 | (more ? IP4_FRAG_MF : 0)));
	*p = rx4(h, b, len);
	return ip4_input(ip, p, 0);
}

static enum next frag6(uint32_t id, unsigned off, unsigned len, bool more, struct pkt *p)
{
	struct ip6_frag_hdr f = {
		.next = IP_PROTO_UDP, .id = be32(id), .off_m = be16((uint16_t)(off | more))};
	uint8_t b[1480];

	memcpy(b, &f, 8);
	for (unsigned i = 0; i < len; i++)
		b[8 + i] = (uint8_t)((off + i) * 7);
	*p = rx6(hdr6(IP6_NEXT_FRAGMENT, 8 + len), b, 8 + len);
	return ip6_input(ip, p, 0);
}

static void whole(struct pkt *p, unsigned len)
{
	uint8_t b[4096];

	assert_int_equal(p->l4_len, len);
	assert_int_equal(p->m->pkt_len, p->l4_off + len);
	assert_int_equal(pkt_copy_out(p->m, p->l4_off, len, b), len);
	for (unsigned i = 0; i < len; i++)
		assert_int_equal(b[i], (uint8_t)(i * 7));
	rte_mbuf_sanity_check(p->m, 1);
	pkt_free(p->m);
}

static void fragments_in_every_order_make_the_datagram(void **state)
{
	static const uint8_t order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	struct pkt p;

	for (unsigned o = 0; o < 6; o++) {
		for (unsigned i = 0; i < 3; i++) {
			unsigned k = order[o][i], len = k == 2 ? 33 : 800;

			assert_int_equal(frag4((uint16_t)o, k * 800, len, k < 2, &p),
					 i == 2 ? NEXT_UDP : NEXT_CONSUMED);
		}
		whole(&p, 1633);
		for (unsigned i = 0; i < 3; i++) {
			unsigned k = order[o][i], len = k == 2 ? 33 : 800;

			assert_int_equal(frag6(o, k * 800, len, k < 2, &p),
					 i == 2 ? NEXT_UDP : NEXT_CONSUMED);
		}
		whole(&p, 1633);
	}
	/* RFC 6946: an atomic fragment is a whole datagram. */
	assert_int_equal(frag6(99, 0, 100, false, &p), NEXT_UDP);
	whole(&p, 100);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
}

/* RFC 5722 §4, RFC 8200 §4.5. */
static void h09_overlap_discards_the_datagram_and_what_follows(void **state)
{
	struct pkt p;

	assert_int_equal(frag4(1, 0, 800, true, &p), NEXT_CONSUMED);
	refused(frag4(1, 792, 800, true, &p), &p, DROP_FRAG_OVERLAP);
	refused(frag4(1, 800, 8, false, &p), &p, DROP_FRAG_OVERLAP);
	assert_int_equal(drops.n[DROP_FRAG_OVERLAP], 1);
	assert_int_equal(frag6(1, 800, 80, false, &p), NEXT_CONSUMED);
	refused(frag6(1, 880, 80, true, &p), &p, DROP_FRAG_OVERLAP);
	refused(frag6(1, 0, 800, true, &p), &p, DROP_FRAG_OVERLAP);
}

static void h09_bad_lengths_dropped(void **state)
{
	struct pkt p;

	refused(frag4(1, 65528, 800, false, &p), &p, DROP_FRAG_BAD);
	refused(frag6(1, 65528, 8, false, &p), &p, DROP_FRAG_BAD);
	refused(frag4(1, 0, 801, true, &p), &p, DROP_FRAG_BAD);
	assert_int_equal(frag6(1, 0, 801, true, &p), NEXT_IP_OUT);
	pkt_free(p.m);
	refused(frag4(1, 8, 0, true, &p), &p, DROP_FRAG_BAD);
}

static void h09_flood_is_bounded_and_expires(void **state)
{
	struct pkt p, out[4];
	uint8_t ifindex[4] = {9};

	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(frag4((uint16_t)i, 8 * (1 + i % 9), 8, true, &p), NEXT_CONSUMED);
	assert_true(rte_mempool_avail_count(pools.rx) >= POOL_SIZE - 64);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(frag4(6000, 16 * (i + 1), 8, true, &p), NEXT_CONSUMED);
	refused(frag4(6000, 16 * 140, 8, true, &p), &p, DROP_FRAG_LIMIT);
	assert_int_equal(frag4(6001, 0, 800, true, &p), NEXT_CONSUMED);
	assert_int_equal(ip_deadline(ip), UINT64_C(31000000000));
	ip_begin(ip, ip_deadline(ip));
	assert_int_equal(ip_expire(ip, out, ifindex, 4), 1);
	assert_int_equal(pkt_data(out[0].m)[IP4_HDR_LEN], 11);
	assert_int_equal(ifindex[0], 0);
	pkt_free(out[0].m);
	assert_int_equal(ip_deadline(ip), UINT64_MAX);
	assert_int_equal(rte_mempool_avail_count(pools.rx), POOL_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(fragments_in_every_order_make_the_datagram),
		T(h09_overlap_discards_the_datagram_and_what_follows),
		T(h09_bad_lengths_dropped),
		T(h09_flood_is_bounded_and_expires),
	};

	return run(tests, array_size(tests));
}
