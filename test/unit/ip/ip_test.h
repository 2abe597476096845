/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A fixture for the tests of src/ip: real mbufs, an instance with one interface that
 * has 10.0.0.1/24 and 2001:db8::1/64, and hand-made packets from a peer. Teardown checks that the
 * pools are full again.
 */
#ifndef ZS_TEST_IP_TEST_H
#define ZS_TEST_IP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <rte_eal.h>

#include "base/csum.h"
#include "ip/ip.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define POOL_SIZE 1023

static struct pkt_pools pools;
static struct drop_counters drops;
static struct ip *ip;

static inline struct ip_addr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return ip_addr_v4(be32((uint32_t)a << 24 | (uint32_t)b << 16 | (uint32_t)c << 8 | d));
}

/* 2001:db8::last */
static inline struct ip_addr v6(uint8_t last)
{
	return (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = last}};
}

#define OUR4  v4(10, 0, 0, 1)
#define PEER4 v4(10, 0, 0, 2)
#define OUR6  v6(1)
#define PEER6 v6(2)

static inline int eal_up(void **state)
{
	char *argv[] = {"t",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "64",	"--log-level",
			"1",	       NULL};

	if (rte_eal_init(9, argv) < 0)
		return -1;
	pools.rx = rte_pktmbuf_pool_create("rx", POOL_SIZE, 0, 0, 2176, 0);
	pools.hdr = rte_pktmbuf_pool_create("hdr", POOL_SIZE, 0, 0,
					    RTE_PKTMBUF_HEADROOM + PKT_HDR_ROOM, 0);
	pools.ref = rte_pktmbuf_pool_create("ref", POOL_SIZE, 0, 0, 0, 0);
	return pools.rx != NULL && pools.hdr != NULL && pools.ref != NULL ? 0 : -1;
}

/* The reports of groups that are due; they have a test of their own. */
static inline void reports_drain(void)
{
	uint8_t ifindex[8];
	struct pkt p[8];
	unsigned n;

	while ((n = ip_expire(ip, p, ifindex, 8)) > 0)
		while (n > 0)
			pkt_free(p[--n].m);
}

static inline int ip_up_with(struct ip_cfg *cfg)
{
	struct eth_addr mac = {{2, 0, 0, 0, 0, 1}};
	struct ip_ifaddr a4 = {.addr = OUR4, .prefix_len = 24};
	struct ip_ifaddr a6 = {.addr = OUR6, .prefix_len = 64};

	cfg->pools = &pools;
	cfg->drops = &drops;
	cfg->seed = 1;
	ip = ip_create(cfg);
	if (ip == NULL)
		return -1;
	ip_begin(ip, 0);
	if ((ip_if_add(ip, 0, 1500, &mac) | ip_addr_add(ip, &a4) | ip_addr_add(ip, &a6)) != 0)
		return -1;
	reports_drain();
	ip_begin(ip, 1000000000);
	reports_drain();
	return ip_deadline(ip) == UINT64_MAX ? 0 : -1;
}

static inline int ip_up(void **state)
{
	struct ip_cfg cfg;

	ip_cfg_defaults(&cfg);
	memset(&drops, 0, sizeof(drops));
	return ip_up_with(&cfg);
}

static inline int ip_down(void **state)
{
	ip_destroy(ip);
	return rte_mempool_avail_count(pools.rx) == POOL_SIZE &&
			       rte_mempool_avail_count(pools.hdr) == POOL_SIZE &&
			       rte_mempool_avail_count(pools.ref) == POOL_SIZE
		       ? 0
		       : -1;
}

/* A received frame of n bytes behind 14 bytes of Ethernet header. */
static inline struct pkt rx(const void *bytes, unsigned n)
{
	struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx), .l3_off = 14};

	memset(pkt_put(p.m, 14), 0, 14);
	memcpy(pkt_put(p.m, (uint16_t)n), bytes, n);
	return p;
}

/* An IPv4 header from the peer to us, checksum not yet made. */
static inline struct ip4_hdr hdr4(uint8_t proto, unsigned payload)
{
	return (struct ip4_hdr){.ver_ihl = 0x45,
				.total_len = be16((uint16_t)(20 + payload)),
				.ttl = 64,
				.proto = proto,
				.src = PEER4.w[3],
				.dst = OUR4.w[3]};
}

static inline struct pkt rx4(struct ip4_hdr h, const void *payload, unsigned n)
{
	uint8_t b[2048];

	h.csum.v = 0;
	h.csum.v = csum_finish(csum_add(0, &h, sizeof(h)));
	memcpy(b, &h, 20);
	memcpy(b + 20, payload, n);
	return rx(b, 20 + n);
}

static inline struct ip6_hdr hdr6(uint8_t next, unsigned payload)
{
	struct ip6_hdr h = {.ver_tc_flow = be32(0x60000000),
			    .payload_len = be16((uint16_t)payload),
			    .next = next,
			    .hop_limit = 64};
	struct ip_addr src = PEER6, dst = OUR6;

	memcpy(h.src, src.b, 16);
	memcpy(h.dst, dst.b, 16);
	return h;
}

static inline struct pkt rx6(struct ip6_hdr h, const void *payload, unsigned n)
{
	uint8_t b[2048];

	memcpy(b, &h, 40);
	memcpy(b + 40, payload, n);
	return rx(b, 40 + n);
}

/* Input of p is refused for that reason; p is freed. */
static inline void refused(enum next next, struct pkt *p, enum drop_reason why)
{
	assert_int_equal(next, NEXT_DROP);
	assert_string_equal(drop_name(p->drop), drop_name(why));
	pkt_free(p->m);
}

static inline int run(const struct CMUnitTest *tests, size_t n)
{
	return _cmocka_run_group_tests("ip", tests, n, eal_up, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ip_up, ip_down)

#endif
