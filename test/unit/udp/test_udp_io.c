/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams in and out with hand-made mbufs: hostile lengths, checksums, chains, group delivery.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/csum.h"
#include "udp/udp.h"
#include "wire/udp.h"

#include <rte_eal.h>
#include <rte_mbuf.h>

#define L4_OFF 34

static struct drop_counters drops;
static struct pkt_pools pools;
static struct udp *u;
static struct udp_pcb *sock;
static unsigned avail;

static struct ip_addr v4(uint32_t a)
{
	return ip_addr_v4(be32(a));
}

static struct ip_addr v6(uint8_t first, uint8_t last)
{
	return (struct ip_addr){.b = {first, 0x01, [15] = last}};
}

#define ME    v4(0x0a000001)
#define PEER  v4(0x0a000002)
#define GROUP v4(0xe0000105)
#define ME6   v6(0x20, 1)
#define PEER6 v6(0x20, 2)

static int setup(void **state)
{
	struct udp_bind b = {.lport = 53, .user = 1};

	u = udp_create(16, 42, &drops);
	avail = rte_mempool_avail_count(pools.rx) + rte_mempool_avail_count(pools.hdr);
	return u ? udp_bind(u, &b, &sock) : -1;
}

static int teardown(void **state)
{
	assert_int_equal(rte_mempool_avail_count(pools.rx) + rte_mempool_avail_count(pools.hdr),
			 avail);
	udp_destroy(u);
	return 0;
}

/* A chain that holds the bytes, with at most `cut` of them in each segment. */
static struct rte_mbuf *chain_of(const uint8_t *bytes, uint32_t n, uint32_t cut)
{
	struct rte_mbuf *head = NULL, *m;

	do {
		uint16_t len = (uint16_t)(n < cut ? n : cut);

		m = rte_pktmbuf_alloc(pools.rx);
		assert_non_null(m);
		memcpy(pkt_put(m, len), bytes, len);
		bytes += len;
		n -= len;
		if (head)
			rte_pktmbuf_chain(head, m);
		else
			head = m;
	} while (n);
	return head;
}

struct dgram {
	struct ip_addr src, dst;
	uint16_t len;  /* of the payload */
	uint16_t said; /* length field; 0 = the right one */
	uint16_t pad;  /* bytes behind the datagram that IP counts too */
	uint16_t cut;  /* bytes in a segment */
	uint16_t flags;
	bool no_csum, bad_csum;
};

/* The packet as IP would hand it over. */
static struct pkt packet(const struct dgram *d)
{
	static uint8_t b[4096];
	bool is6 = !ip_addr_is_v4(&d->dst);
	uint16_t len = (uint16_t)(8 + d->len);
	struct udp_hdr h = {be16(4000), be16(53), be16(d->said ? d->said : len), {0}};
	struct pkt p = {.l4_off = L4_OFF, .l4_len = len + d->pad, .src = d->src, .dst = d->dst};

	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 7);
	memcpy(b + L4_OFF, &h, 8);
	h.csum.v = csum_finish(
		csum_add(csum_pseudo(0, d->src.b, d->dst.b, is6, 17, len), b + L4_OFF, len));
	h.csum.v ^= d->bad_csum ? 0x0100 : 0;
	if (!d->no_csum)
		memcpy(b + L4_OFF, &h, 8);
	p.flags = (uint16_t)(d->flags | (is6 ? PKT_F_V6 : 0));
	p.m = chain_of(b, L4_OFF + p.l4_len, d->cut ? d->cut : 2000);
	return p;
}

static enum next input(const struct dgram *d, enum drop_reason why)
{
	struct pkt p = packet(d);
	struct udp_pcb *pcb;
	enum next n = udp_input(u, &p, &pcb);
	uint8_t b[2000];

	if (n == NEXT_CONSUMED) {
		assert_ptr_equal(pcb, sock);
		assert_int_equal(p.sport, 4000);
		assert_int_equal(p.m->pkt_len, d->len);
		assert_int_equal(pkt_copy_out(p.m, 0, d->len, b), d->len);
		for (unsigned i = 0; i < d->len; i++)
			assert_int_equal(b[i], (uint8_t)((L4_OFF + 8 + i) * 7));
	} else {
		assert_null(pcb);
		assert_int_equal(p.drop, why);
		/* As it came: an ICMP error quotes it. */
		assert_int_equal(p.m->pkt_len, p.l4_off + p.l4_len);
	}
	pkt_free(p.m);
	return n;
}

static void whole_datagram_is_delivered_in_any_segmentation(void **state)
{
	for (uint16_t len = 0; len < 300; len += 13) {
		for (uint16_t cut = 35; cut < 400; cut += 9) {
			struct dgram a = {PEER, ME, .len = len, .cut = cut};
			struct dgram b = {PEER6, ME6, .len = len, .cut = cut, .pad = 5};

			assert_int_equal(input(&a, DROP_NONE), NEXT_CONSUMED);
			assert_int_equal(input(&b, DROP_NONE), NEXT_CONSUMED);
		}
	}
}

/* H03: UDP length below 8 or above what IP carries. */
static void h03_wrong_length_is_dropped(void **state)
{
	for (uint16_t said = 1; said < 8; said++)
		assert_int_equal(
			input(&(struct dgram){PEER, ME, .len = 20, .said = said}, DROP_UDP_SHORT),
			NEXT_DROP);
	assert_int_equal(input(&(struct dgram){PEER, ME, .len = 20, .said = 29}, DROP_UDP_SHORT),
			 NEXT_DROP);
	assert_int_equal(input(&(struct dgram){PEER, ME, .len = 20, .said = 65535}, DROP_UDP_SHORT),
			 NEXT_DROP);
	assert_int_equal(udp_counters(u)->in_errors, 9);
	assert_int_equal(udp_counters(u)->in_datagrams, 0);
}

/* H03: the packet ends inside the header, or IP's length is longer than the packet. */
static void h03_truncated_header_is_dropped(void **state)
{
	for (uint16_t have = 0; have < 16; have++) {
		struct pkt p = packet(&(struct dgram){PEER, ME, .len = 20});
		struct udp_pcb *pcb;

		pkt_trim_back(p.m, L4_OFF + have);
		if (have < 8)
			p.l4_len = have;
		assert_int_equal(udp_input(u, &p, &pcb), NEXT_DROP);
		assert_int_equal(p.drop, DROP_UDP_SHORT);
		pkt_free(p.m);
	}
}

/* H19 */
static void h19_bad_csum_is_dropped_unless_the_port_verified(void **state)
{
	struct dgram d = {PEER, ME, .len = 99, .bad_csum = true};

	assert_int_equal(input(&d, DROP_UDP_CSUM), NEXT_DROP);
	d.flags = PKT_F_CSUM_OK;
	assert_int_equal(input(&d, DROP_NONE), NEXT_CONSUMED);
}

/* RFC 768 and RFC 8200 §8.1 */
static void zero_csum_is_for_ip4_only(void **state)
{
	struct dgram d = {PEER, ME, .len = 99, .no_csum = true};
	struct dgram d6 = {PEER6, ME6, .len = 99, .no_csum = true, .flags = PKT_F_CSUM_OK};

	assert_int_equal(input(&d, DROP_NONE), NEXT_CONSUMED);
	assert_int_equal(input(&d6, DROP_UDP_CSUM), NEXT_DROP);
}

static void no_endpoint_asks_for_port_unreachable(void **state)
{
	struct dgram d = {PEER, ME, .len = 9, .cut = 36};

	udp_unbind(u, sock);
	assert_int_equal(input(&d, DROP_UDP_NO_PORT), NEXT_UNREACH_PORT);
	d.dst = GROUP;
	assert_int_equal(input(&d, DROP_UDP_NO_PORT), NEXT_DROP);
	d.dst = v4(0xffffffff);
	assert_int_equal(input(&d, DROP_UDP_NO_PORT), NEXT_DROP);
	assert_int_equal(udp_counters(u)->no_ports, 3);
}

static void group_datagram_goes_to_each_match(void **state)
{
	struct udp_bind b[] = {
		{.lport = 53, .reuse = true, .user = 1},
		{.laddr = GROUP, .lport = 53, .reuse = true, .user = 2},
		{.laddr = ME, .lport = 53, .reuse = true, .user = 4},
		{.laddr = v4(0), .lport = 53, .reuse = true, .user = 8},
		{.laddr = v4(0), .lport = 54, .user = 16},
		{.lport = 53, .raddr = PEER, .rport = 4000, .reuse = true, .user = 32},
		{.lport = 53, .raddr = PEER, .rport = 4001, .reuse = true, .user = 64},
		{.lport = 53, .v6only = true, .reuse = true, .user = 128},
	};
	struct pkt p = packet(&(struct dgram){PEER, GROUP, .len = 9});
	struct udp_pcb *pcb;
	uint64_t got = 0;

	udp_unbind(u, sock);
	for (unsigned i = 0; i < array_size(b); i++)
		assert_int_equal(udp_bind(u, &b[i], &pcb), 0);
	assert_int_equal(udp_input(u, &p, &pcb), NEXT_CONSUMED);
	for (; pcb; pcb = udp_next_match(u, &p, pcb)) {
		assert_int_equal(got & udp_user(pcb), 0);
		got |= udp_user(pcb);
	}
	assert_int_equal(got, 1 + 2 + 8 + 32);
	pkt_free(p.m);
}

static void unicast_datagram_has_one_match(void **state)
{
	struct pkt p = packet(&(struct dgram){PEER, ME, .len = 9});
	struct udp_pcb *pcb;

	assert_int_equal(udp_input(u, &p, &pcb), NEXT_CONSUMED);
	assert_null(udp_next_match(u, &p, pcb));
	pkt_free(p.m);
}

/* What goes out comes back in, over any chain; also the empty datagram. */
static void output_builds_what_input_takes(void **state)
{
	static uint8_t b[1500];

	for (uint16_t len = 0; len < 1400; len += 111) {
		for (unsigned is6 = 0; is6 < 2; is6++) {
			struct pkt p = {.src = is6 ? PEER6 : PEER,
					.dst = is6 ? ME6 : ME,
					.sport = 4000,
					.dport = 53};
			struct rte_mbuf *payload = len ? chain_of(b, len, 77) : NULL;
			struct udp_pcb *pcb;

			assert_int_equal(udp_output(u, &pools, &p, payload), NEXT_IP_OUT);
			assert_int_equal(p.l4_len, len + 8);
			assert_int_equal(p.m->pkt_len, len + 8);
			rte_mbuf_sanity_check(p.m, 1);
			p.flags = is6 ? PKT_F_V6 : 0;
			assert_int_equal(udp_input(u, &p, &pcb), NEXT_CONSUMED);
			assert_int_equal(p.m->pkt_len, len);
			pkt_free(p.m);
		}
	}
	assert_int_equal(udp_counters(u)->out_datagrams, 26);
}

static void output_leaves_the_pseudo_header_sum_to_the_port(void **state)
{
	static uint8_t b[64];
	struct pkt p = {.src = PEER, .dst = ME, .sport = 1, .dport = 2, .flags = PKT_F_L4_CSUM};
	struct udp_hdr h;

	assert_int_equal(udp_output(u, &pools, &p, chain_of(b, 64, 64)), NEXT_IP_OUT);
	memcpy(&h, pkt_data(p.m), sizeof(h));
	assert_int_equal(h.csum.v, csum_fold(csum_pseudo(0, p.src.b, p.dst.b, false, 17, 72)));
	pkt_free(p.m);
}

/* RFC 768: a computed checksum of 0 is sent as all ones. */
static void output_sends_zero_csum_as_ones(void **state)
{
	uint8_t b[2] = {0, 0};
	struct pkt p = {.src = PEER, .dst = ME, .sport = 1, .dport = 2};
	struct udp_hdr h;

	assert_int_equal(udp_output(u, &pools, &p, chain_of(b, 2, 2)), NEXT_IP_OUT);
	memcpy(&h, pkt_data(p.m), sizeof(h));
	pkt_free(p.m);
	/* With the checksum as payload the sum is all ones, its complement 0. */
	memcpy(b, &h.csum, 2);
	p = (struct pkt){.src = PEER, .dst = ME, .sport = 1, .dport = 2};
	assert_int_equal(udp_output(u, &pools, &p, chain_of(b, 2, 2)), NEXT_IP_OUT);
	memcpy(&h, pkt_data(p.m), sizeof(h));
	assert_int_equal(h.csum.v, 0xffff);
	pkt_free(p.m);
}

static void output_refuses_too_long(void **state)
{
	static uint8_t b[65528];
	struct pkt p = {.src = PEER, .dst = ME, .sport = 1, .dport = 2};

	assert_int_equal(udp_output(u, &pools, &p, chain_of(b, 65528, 2000)), NEXT_DROP);
	assert_int_equal(p.drop, DROP_IP_TOO_BIG);
	pkt_free(p.m);
}

static int group_setup(void **state)
{
	static char *argv[] = {"test",	      "--no-huge",     "--no-pci", "--no-telemetry",
			       "--no-shconf", "--log-level=3", "-m",	   "64",
			       NULL};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", 1023, 0, 0, 128 + 2048, SOCKET_ID_ANY);
	pools.hdr = rte_pktmbuf_pool_create("hdr", 63, 0, 0, 128 + PKT_HDR_ROOM, SOCKET_ID_ANY);
	return pools.rx && pools.hdr ? 0 : -1;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(whole_datagram_is_delivered_in_any_segmentation),
		T(h03_wrong_length_is_dropped),
		T(h03_truncated_header_is_dropped),
		T(h19_bad_csum_is_dropped_unless_the_port_verified),
		T(zero_csum_is_for_ip4_only),
		T(no_endpoint_asks_for_port_unreachable),
		T(group_datagram_goes_to_each_match),
		T(unicast_datagram_has_one_match),
		T(output_builds_what_input_takes),
		T(output_leaves_the_pseudo_header_sum_to_the_port),
		T(output_sends_zero_csum_as_ones),
		T(output_refuses_too_long),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
