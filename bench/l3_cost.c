/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What Ethernet and IP cost on the road of every packet: cycles per packet, without a link.
 *
 *	l3_cost [ADDRESSES]     own addresses of each family, 1 to 30; default 1
 *
 * A burst of 32 packets goes through each pair of functions as the switchboard calls them; what it
 * takes to set the packets up again is measured alone and subtracted. The least of many rounds is
 * printed: what the code costs when nobody disturbs it.
 */
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "base/csum.h"
#include "eth/eth.h"
#include "ip/ip.h"
#include "wire/eth.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define BURST  32
#define ROUNDS 20000
#define L4_LEN 84 /* TCP with timestamps is 32, and 52 bytes of payload */

static const struct eth_addr mac_us = {{2, 0, 0, 0, 0, 1}}, mac_peer = {{2, 0, 0, 0, 0, 2}};
static struct pkt_pools pools;
static struct drop_counters drops;
static struct eth *eth;
static struct ip *ip;
static struct rte_mbuf *m[BURST];
static struct pkt p[BURST];
static uint32_t path[2];

static struct ip_addr addr(bool v6, uint8_t last)
{
	return v6 ? (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = last}}
		  : ip_addr_v4(be32(0x0a000000u | last));
}

static void die(const char *what)
{
	fprintf(stderr, "l3_cost: %s\n", what);
	exit(1);
}

static void up(unsigned addresses)
{
	struct eth_cfg ec;
	struct ip_cfg ic;

	eth_cfg_defaults(&ec);
	ip_cfg_defaults(&ic);
	ec.pools = ic.pools = &pools;
	ec.drops = ic.drops = &drops;
	eth = eth_create(&ec);
	ip = ip_create(&ic);
	if (eth == NULL || ip == NULL)
		die("no memory");
	eth_begin(eth, 1000000000);
	ip_begin(ip, 1000000000);
	if (eth_if_add(eth, &(struct eth_if){.mtu = 1500, .mac = mac_us}) < 0 ||
	    ip_if_add(ip, 0, 1500, &mac_us) < 0)
		die("no interface");
	for (unsigned i = 0; i < 2 * addresses; i++) {
		bool v6 = i & 1;
		struct ip_ifaddr a = {.prefix_len = v6 ? 64 : 24};

		a.addr = addr(v6, (uint8_t)(100 + i / 2));
		if (ip_addr_add(ip, &a) < 0 || eth_addr_add(eth, 0, &a.addr, false) < 0)
			die("no address");
	}
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct ip_addr peer = addr(v6, 2);

		if (neigh_set(eth, 0, &peer, &mac_peer) < 0)
			die("no neighbour");
		path[v6] = eth_path(eth, 0, &peer);
	}
}

static uint16_t frame_write(uint8_t *b, bool v6)
{
	struct wire_eth e = {mac_us, mac_peer, be16(v6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4)};
	struct ip_addr src = addr(v6, 2), dst = addr(v6, 100);
	struct ip4_hdr h4 = {.ver_ihl = 0x45,
			     .total_len = be16(IP4_HDR_LEN + L4_LEN),
			     .frag = be16(IP4_FRAG_DF),
			     .ttl = 64,
			     .proto = IP_PROTO_TCP,
			     .src = src.w[3],
			     .dst = dst.w[3]};
	struct ip6_hdr h6 = {.ver_tc_flow = be32(6u << 28),
			     .payload_len = be16(L4_LEN),
			     .next = IP_PROTO_TCP,
			     .hop_limit = 64};

	h4.csum.v = csum_finish(csum_add(0, &h4, sizeof(h4)));
	memcpy(h6.src, src.b, 16);
	memcpy(h6.dst, dst.b, 16);
	memcpy(b, &e, sizeof(e));
	memcpy(b + sizeof(e), v6 ? (void *)&h6 : (void *)&h4, v6 ? sizeof(h6) : sizeof(h4));
	return (uint16_t)(sizeof(e) + (v6 ? sizeof(h6) : sizeof(h4)) + L4_LEN);
}

/* ---- what is measured: one function sets the burst up, one runs it ---- */

static uint16_t frame_len;

static void input_set(bool v6)
{
	for (unsigned i = 0; i < BURST; i++) {
		m[i]->data_off = RTE_PKTMBUF_HEADROOM;
		m[i]->data_len = frame_len;
		m[i]->pkt_len = frame_len;
		p[i] = (struct pkt){.m = m[i]};
	}
}

static void input_run(bool v6)
{
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t ifindex;
		enum next n = eth_input(eth, &p[i], &ifindex);

		if (n != (v6 ? NEXT_IP6 : NEXT_IP4))
			die("eth_input refused");
		n = v6 ? ip6_input(ip, &p[i], ifindex) : ip4_input(ip, &p[i], ifindex);
		if (n != NEXT_TCP)
			die("ip input refused");
	}
}

static void output_set(bool v6)
{
	for (unsigned i = 0; i < BURST; i++) {
		m[i]->data_off = RTE_PKTMBUF_HEADROOM;
		m[i]->data_len = L4_LEN;
		m[i]->pkt_len = L4_LEN;
		p[i] = (struct pkt){.m = m[i],
				    .proto = IP_PROTO_TCP,
				    .flags = PKT_F_DF,
				    .path = path[v6],
				    .src = addr(v6, 100),
				    .dst = addr(v6, 2)};
	}
}

static void output_run(bool v6)
{
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t ifindex = (uint8_t)eth_path_if(eth, p[i].path);

		if (ip_output(ip, &p[i], &ifindex) != NEXT_NEIGH_OUT ||
		    !eth_output_path(eth, &p[i]))
			die("output by path refused");
	}
}

static void routed_set(bool v6)
{
	output_set(v6);
	for (unsigned i = 0; i < BURST; i++)
		p[i].path = PATH_NONE;
}

static void routed_run(bool v6)
{
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t ifindex = 0;

		if (ip_output(ip, &p[i], &ifindex) != NEXT_NEIGH_OUT ||
		    eth_output(eth, &p[i], ifindex) != NEXT_TX)
			die("output by route refused");
	}
}

/* Least cycles of one burst; run may be NULL. */
static uint64_t least(void (*set)(bool), void (*run)(bool), bool v6)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t t0, t1;

		t0 = rte_rdtsc_precise();
		set(v6);
		if (run != NULL)
			run(v6);
		t1 = rte_rdtsc_precise();
		best = t1 - t0 < best ? t1 - t0 : best;
	}
	return best;
}

static void row(const char *name, void (*set)(bool), void (*run)(bool))
{
	printf("%-28s", name);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		uint64_t alone = least(set, NULL, v6), all;

		for (unsigned i = 0; i < BURST; i++)
			frame_len =
				frame_write((uint8_t *)m[i]->buf_addr + RTE_PKTMBUF_HEADROOM, v6);
		all = least(set, run, v6);
		printf("  IPv%c %6.1f", v6 ? '6' : '4', (double)(all - alone) / BURST);
	}
	printf("   cycles/packet\n");
}

int main(int argc, char **argv)
{
	char *eal[] = {"l3_cost",     "--no-huge", "--no-pci", "--no-telemetry",
		       "--no-shconf", "-m",	   "64",       "--log-level=1"};
	int addresses = argc > 1 ? atoi(argv[1]) : 1;

	if (addresses < 1 || addresses > 30)
		die("1 to 30 addresses");
	if (rte_eal_init(8, eal) < 0)
		die("EAL does not start");
	pools.rx = rte_pktmbuf_pool_create("rx", 255, 0, 0, 2176, 0);
	pools.hdr = pools.ref = pools.rx;
	if (pools.rx == NULL || rte_pktmbuf_alloc_bulk(pools.rx, m, BURST) != 0)
		die("no memory");
	up((unsigned)addresses);
	row("input (eth, ip)", input_set, input_run);
	row("output by path (ip, eth)", output_set, output_run);
	row("output by route (ip, eth)", routed_set, routed_run);
	return 0;
}
