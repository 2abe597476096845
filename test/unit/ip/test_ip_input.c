/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip_test.h"

static void sound_ipv4_is_delivered_and_padding_cut(void **state)
{
	uint8_t pay[46] = {1, 2, 3};
	struct pkt p = rx4(hdr4(IP_PROTO_UDP, 10), pay, 46);

	assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
	assert_int_equal(p.l4_off, 34);
	assert_int_equal(p.l4_len, 10);
	assert_int_equal(p.m->pkt_len, 44);
	assert_int_equal(p.ttl, 64);
	pkt_free(p.m);
	p = rx4(hdr4(200, 10), pay, 10);
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_UNREACH_PROTO);
	pkt_free(p.m);
}

static void h04_ipv4_total_length_lies_dropped(void **state)
{
	uint8_t pay[64] = {0};

	for (unsigned total = 0; total <= 65535; total++) {
		struct ip4_hdr h = hdr4(IP_PROTO_UDP, 0);
		struct pkt p;

		h.total_len = be16((uint16_t)total);
		p = rx4(h, pay, 30);
		if (total >= 20 && total <= 50) {
			assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
			assert_int_equal(p.l4_len, total - 20);
			pkt_free(p.m);
		} else {
			refused(ip4_input(ip, &p, 0), &p, DROP_IP_SHORT);
		}
	}
}

static void h04_frame_cut_at_every_byte_dropped(void **state)
{
	struct ip4_hdr h4 = hdr4(IP_PROTO_UDP, 8);
	struct ip6_hdr h6 = hdr6(IP_PROTO_UDP, 8);
	uint8_t b[48] = {0};

	h4.csum.v = csum_finish(csum_add(0, &h4, 20));
	memcpy(b, &h4, 20);
	for (unsigned n = 0; n < 28; n++) {
		struct pkt p = rx(b, n);

		refused(ip4_input(ip, &p, 0), &p, DROP_IP_SHORT);
	}
	memcpy(b, &h6, 40);
	for (unsigned n = 0; n < 48; n++) {
		struct pkt p = rx(b, n);

		refused(ip6_input(ip, &p, 0), &p, DROP_IP_SHORT);
	}
}

static void h05_every_ihl_and_version_but_the_right_ones_dropped(void **state)
{
	uint8_t pay[8] = {0};

	for (unsigned v = 0; v < 256; v++) {
		struct ip4_hdr h = hdr4(IP_PROTO_UDP, 8);
		struct pkt p;
		enum next next;

		h.ver_ihl = (uint8_t)v;
		p = rx4(h, pay, 8);
		next = ip4_input(ip, &p, 0);
		if (v == 0x45 || v == 0x46 ||
		    v == 0x47) /* the payload of zeros sums like options */
			assert_int_equal(next, NEXT_UDP);
		else
			assert_int_equal(next, NEXT_DROP);
		pkt_free(p.m);
	}
}

static enum next with_options(const uint8_t *opt, unsigned n, struct pkt *p)
{
	struct ip4_hdr h = hdr4(IP_PROTO_UDP, n + 8);
	uint8_t b[20 + 40 + 8] = {0};

	h.ver_ihl = (uint8_t)(0x45 + n / 4);
	memcpy(b, &h, 20);
	memcpy(b + 20, opt, n);
	((struct ip4_hdr *)b)->csum.v = csum_finish(csum_add(0, b, 20 + n));
	*p = rx(b, 28 + n);
	return ip4_input(ip, p, 0);
}

static void h05_hostile_options_and_source_routes_dropped(void **state)
{
	static const uint8_t bad[][8] = {
		{131, 7, 4, 1, 2, 3, 4, 0}, {137, 7, 4, 1, 2, 3, 4, 0}, {1, 1, 1, 1, 1, 1, 1, 7},
		{7, 0, 0, 0, 0, 0, 0, 0},   {7, 1, 0, 0, 0, 0, 0, 0},	{7, 9, 0, 0, 0, 0, 0, 0},
		{1, 7, 8, 0, 0, 0, 0, 0},
	};
	static const uint8_t good[8] = {1, 7, 6, 4, 0, 0, 0, 0};
	struct pkt p;

	for (unsigned i = 0; i < array_size(bad); i++)
		refused(with_options(bad[i], 8, &p), &p, DROP_IP_OPTIONS);
	assert_int_equal(with_options(good, 8, &p), NEXT_UDP);
	assert_int_equal(p.l4_len, 8);
	pkt_free(p.m);
}

static void h17_source_that_no_host_sends_from_dropped(void **state)
{
	struct ip_addr bad[] = {OUR4,
				v4(0, 0, 0, 0),
				v4(255, 255, 255, 255),
				v4(224, 0, 0, 1),
				v4(10, 0, 0, 255),
				v4(127, 0, 0, 1),
				v4(240, 0, 0, 1),
				v4(0, 1, 2, 3)};
	struct ip_addr bad6[] = {OUR6,
				 {.b = {0xff, 2, [15] = 1}},
				 {.b = {[15] = 1}},
				 {.q = {0, 0}},
				 v4(10, 0, 0, 2)};
	uint8_t pay[20] = {0};

	for (unsigned i = 0; i < array_size(bad); i++) {
		struct ip4_hdr h = hdr4(IP_PROTO_TCP, 20);
		struct pkt p;

		h.src = bad[i].w[3];
		p = rx4(h, pay, 20);
		refused(ip4_input(ip, &p, 0), &p, DROP_IP_SOURCE);
	}
	for (unsigned i = 0; i < array_size(bad6); i++) {
		struct ip6_hdr h = hdr6(IP_PROTO_TCP, 20);
		struct pkt p;

		memcpy(h.src, bad6[i].b, 16);
		p = rx6(h, pay, 20);
		refused(ip6_input(ip, &p, 0), &p, DROP_IP_SOURCE);
	}
}

/* RFC 4862 §5.4.4: whoever has the address that we probe for answers from it. */
static void source_that_is_tentative_here_accepted(void **state)
{
	struct ip6_hdr h = hdr6(IP_PROTO_UDP, 8);
	struct ip_addr probed = {.b = {0xfd, [15] = 0x77}};
	struct ip_ifaddr a = {.addr = probed, .prefix_len = 64, .tentative = true};
	uint8_t pay[8] = {0};
	struct pkt p;

	assert_int_equal(ip_addr_add(ip, &a), 0);
	memcpy(h.src, probed.b, 16);
	p = rx6(h, pay, 8);
	assert_int_equal(ip6_input(ip, &p, 0), NEXT_UDP);
	pkt_free(p.m);
	ip_addr_set_tentative(ip, &probed, false, false);
	p = rx6(h, pay, 8);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_SOURCE);
}

static void destination_not_ours_or_tentative_dropped(void **state)
{
	struct ip_addr other[] = {v4(10, 0, 0, 3), v4(224, 0, 0, 9), v4(127, 0, 0, 1), OUR4};
	struct ip_addr mapped = OUR4, our6 = OUR6;
	struct ip6_hdr h6 = hdr6(IP_PROTO_UDP, 8);
	uint8_t pay[8] = {0};
	struct pkt p;

	ip_addr_set_tentative(ip, &other[3], true, false);
	for (unsigned i = 0; i < array_size(other); i++) {
		struct ip4_hdr h = hdr4(IP_PROTO_UDP, 8);

		h.dst = other[i].w[3];
		p = rx4(h, pay, 8);
		refused(ip4_input(ip, &p, 0), &p, DROP_IP_NOT_OURS);
	}
	memcpy(h6.dst, mapped.b, 16);
	p = rx6(h6, pay, 8);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_NOT_OURS);
	ip_addr_set_tentative(ip, &our6, false, true);
	p = rx6(hdr6(IP_PROTO_UDP, 8), pay, 8);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_NOT_OURS);
}

static void group_and_broadcast_reach_udp_but_not_tcp(void **state)
{
	struct ip_addr g = v4(239, 1, 1, 1),
		       sol = {.b = {0xff, 2, [11] = 1, [12] = 0xff, [15] = 1}};
	struct ip_addr dst[] = {v4(10, 0, 0, 255), v4(255, 255, 255, 255), g};
	struct ip6_hdr h6 = hdr6(IP_PROTO_ICMP6, 24);
	uint8_t pay[24] = {0};
	struct pkt p;

	assert_int_equal(ip_group_join(ip, 0, &g), 0);
	for (unsigned i = 0; i < array_size(dst); i++) {
		struct ip4_hdr h = hdr4(IP_PROTO_UDP, 20);

		h.dst = dst[i].w[3];
		p = rx4(h, pay, 20);
		assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
		assert_true(p.flags & PKT_F_BCAST);
		pkt_free(p.m);
		h.proto = IP_PROTO_TCP;
		p = rx4(h, pay, 20);
		refused(ip4_input(ip, &p, 0), &p, DROP_IP_NOT_OURS);
	}
	assert_int_equal(ip_group_leave(ip, 0, &g), 0);
	memcpy(h6.dst, sol.b, 16);
	p = rx6(h6, pay, 24);
	assert_int_equal(ip6_input(ip, &p, 0), NEXT_ICMP6);
	pkt_free(p.m);
}

static void h19_bad_header_checksum_dropped(void **state)
{
	uint8_t pay[8] = {0};
	struct pkt p = rx4(hdr4(IP_PROTO_UDP, 8), pay, 8);

	pkt_data(p.m)[14 + 8] ^= 1;
	refused(ip4_input(ip, &p, 0), &p, DROP_IP_CSUM);
}

static void h21_sound_extension_chain_is_walked(void **state)
{
	uint8_t b[40] = {IP6_NEXT_DST_OPTS, 0, 1,    4, 0, 0, 0, 0, /* hop-by-hop: PadN */
			 IP6_NEXT_ROUTING,  0, 0x1e, 2, 0, 0, 0, 0,
			 IP_PROTO_UDP,	    0, 4,    0}; /* routing type 4, no segments left */
	struct pkt p = rx6(hdr6(IP6_NEXT_HOP_BY_HOP, 40), b, 40);

	assert_int_equal(ip6_input(ip, &p, 0), NEXT_UDP);
	assert_int_equal(p.l4_off, 14 + 40 + 24);
	assert_int_equal(p.l4_len, 16);
	pkt_free(p.m);
}

static void h21_hostile_extension_chains_dropped(void **state)
{
	static const struct {
		uint8_t first;
		uint8_t b[24];
	} bad[] = {
		{IP6_NEXT_HOP_BY_HOP, {0, 0, 1, 4, [8] = 17, 0, 1, 4}}, /* twice */
		{IP6_NEXT_DST_OPTS, {0, 0, 1, 4, [8] = 17, 0, 1, 4}},	/* hop-by-hop second */
		{IP6_NEXT_DST_OPTS, {60, 0, 1, 4, [8] = 60, 0, 1, 4, [16] = 17, 0, 1, 4}},
		{IP6_NEXT_DST_OPTS, {17, 3, 1, 4}},		      /* past the end */
		{IP6_NEXT_DST_OPTS, {17, 255, 1, 4}},		      /* far past the end */
		{IP6_NEXT_DST_OPTS, {17, 0, 1, 5}},		      /* option past the end */
		{IP6_NEXT_DST_OPTS, {17, 0, 0x40, 4}},		      /* must not be skipped */
		{IP6_NEXT_DST_OPTS, {17, 0, 0, 0, 0, 0, 0, 7}},	      /* option cut */
		{IP6_NEXT_ROUTING, {17, 0, 0, 0}},		      /* RFC 5095 */
		{IP6_NEXT_ROUTING, {43, 0, 4, 0, [8] = 17, 0, 4, 0}}, /* twice */
	};
	struct pkt p;

	for (unsigned i = 0; i < array_size(bad); i++) {
		p = rx6(hdr6(bad[i].first, 24), bad[i].b, 24);
		refused(ip6_input(ip, &p, 0), &p, DROP_IP_EXT_HDR);
	}
	p = rx6(hdr6(IP6_NEXT_DST_OPTS, 7), bad[0].b, 7);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_EXT_HDR);
	p = rx6(hdr6(IP6_NEXT_NONE, 0), bad[0].b, 0);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_PROTO);
}

/* RFC 8200 §4.2, §4.4, §4.5: the sender is told what and where. */
static void h21_refused_headers_are_told_to_the_sender(void **state)
{
	static const struct {
		uint8_t first;
		uint8_t b[24];
		uint8_t code, pointer;
	} bad[] = {
		{IP6_NEXT_DST_OPTS, {17, 0, 1, 0, 0x80, 2}, 2, 44},
		{IP6_NEXT_HOP_BY_HOP, {17, 0, 0xc5, 4}, 2, 42},
		{IP6_NEXT_ROUTING, {17, 0, 4, 1}, 0, 42},	  /* we are no waypoint */
		{IP6_NEXT_FRAGMENT, {17, 0, 0, 0x11}, 0, 4},	  /* 15 bytes, and more to come */
		{IP6_NEXT_FRAGMENT, {6, 0, 0, 1, [8] = 1}, 3, 0}, /* TCP header in two */
	};
	struct ip_addr all = {.b = {0xff, 2, [15] = 1}};
	struct ip_addr peer = PEER6;
	struct ip6_hdr h;
	struct pkt p;

	for (unsigned i = 0; i < array_size(bad); i++) {
		unsigned len = i == 3 ? 23 : 24;
		const uint8_t *m;

		p = rx6(hdr6(bad[i].first, len), bad[i].b, len);
		assert_int_equal(ip6_input(ip, &p, 0), NEXT_IP_OUT);
		m = pkt_data(p.m);
		assert_int_equal(m[0], ICMP6_PARAM);
		assert_int_equal(m[1], bad[i].code);
		assert_int_equal(m[7], bad[i].pointer);
		assert_memory_equal(m + 8 + 40, bad[i].b, len);
		assert_true(ip_addr_eq(&p.dst, &peer));
		pkt_free(p.m);
	}
	assert_int_equal(drops.n[DROP_IP_EXT_HDR], 3);
	assert_int_equal(drops.n[DROP_FRAG_BAD], 2);
	/* Never about a group. */
	h = hdr6(IP6_NEXT_DST_OPTS, 24);
	memcpy(h.dst, all.b, 16);
	p = rx6(h, bad[0].b, 24);
	refused(ip6_input(ip, &p, 0), &p, DROP_IP_EXT_HDR);
}

/* H21, H22: random chains, split at every byte over two mbufs: the walk ends, nothing leaks. */
static void h21_random_chains_in_two_segments_end(void **state)
{
	uint32_t r = 1;

	for (unsigned i = 0; i < 20000; i++) {
		uint8_t b[64];
		static const uint8_t kinds[] = {0, 43, 44, 60, 17, 6, 58, 59};
		unsigned cut = i % 100;
		struct rte_mbuf *tail = rte_pktmbuf_alloc(pools.rx);
		struct pkt p;

		for (unsigned j = 0; j < sizeof(b); j++) {
			r = r * 1664525 + 1013904223;
			b[j] = j % 8 == 0 ? kinds[r >> 29] : (uint8_t)(r >> 24) & (r >> 16 & 3);
		}
		p = rx6(hdr6(kinds[i % 4], 64), b, 64);
		cut = p.m->data_len - cut;
		memcpy(pkt_put(tail, (uint16_t)(p.m->data_len - cut)), pkt_data(p.m) + cut,
		       p.m->data_len - cut);
		p.m->pkt_len = p.m->data_len = (uint16_t)cut;
		assert_int_equal(rte_pktmbuf_chain(p.m, tail), 0);
		if (ip6_input(ip, &p, 0) != NEXT_CONSUMED)
			pkt_free(p.m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sound_ipv4_is_delivered_and_padding_cut),
		T(h04_ipv4_total_length_lies_dropped),
		T(h04_frame_cut_at_every_byte_dropped),
		T(h05_every_ihl_and_version_but_the_right_ones_dropped),
		T(h05_hostile_options_and_source_routes_dropped),
		T(h17_source_that_no_host_sends_from_dropped),
		T(source_that_is_tentative_here_accepted),
		T(destination_not_ours_or_tentative_dropped),
		T(group_and_broadcast_reach_udp_but_not_tcp),
		T(h19_bad_header_checksum_dropped),
		T(h21_sound_extension_chain_is_walked),
		T(h21_hostile_extension_chains_dropped),
		T(h21_refused_headers_are_told_to_the_sender),
		T(h21_random_chains_in_two_segments_end),
	};

	return run(tests, array_size(tests));
}
