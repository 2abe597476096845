/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stack on a port whose send ring is its own receive ring: what the test sends on it, the stack
 * receives, and the other way round. The test is the peer and the application.
 */
#ifndef ZS_TEST_STACK_TEST_H
#define ZS_TEST_STACK_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/csum.h"
#include "chan/bell.h"
#include "stack/stack_priv.h"

/* No test needs all of these helpers. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define RING_FRAMES 256 /* less than the ring has, so that the stack's own find room */

static struct dev *port;
static struct pkt_pools pools;
static struct drop_counters drops;
static struct stack *s;
static struct chan_map map;
static struct chan_end app;
static struct sock_app *attached;
static const struct eth_addr peer_mac = {{2, 0, 0, 0, 0, 9}};

static int up(void **state)
{
	static const char *const vdevs[] = {"net_ring0", NULL};
	struct dev_eal_cfg ec = {.vdevs = vdevs, .no_huge = true, .mem_mb = 96};
	struct dev_cfg dc = {.n_queues = 1, .rx_pools = &pools.rx};
	char err[200] = "";

	if (dev_eal_init(&ec, err, sizeof(err)) < 0 ||
	    dev_pools_create(0, 4096, 1024, 0, NULL, &pools, err, sizeof(err)) < 0 ||
	    dev_open(0, &dc, &port, err, sizeof(err)) < 0) {
		print_error("%s\n", err);
		return -1;
	}
	return 0;
}

static int attach(void)
{
	struct chan_geometry g;
	struct chan_hdr h;

	chan_geometry_defaults(&g);
	g.arena_bytes = 1 << 20;
	map.base = aligned_alloc(4096, chan_bytes(&g));
	map.arena = aligned_alloc(4096, g.arena_bytes);
	map.arena_bytes = g.arena_bytes;
	memset(map.base, 0, chan_bytes(&g));
	chan_format(map.base, &g);
	map.region[CHAN_REGION_ARENA].base = map.arena;
	map.region[CHAN_REGION_ARENA].bytes = map.arena_bytes;
	map.app_bell_fd = bell_open();
	map.stack_bell_fd = bell_open();
	if (chan_check(map.base, chan_bytes(&g), &h) != 0 ||
	    stack_attach(s, &(struct sock_app_cfg){.map = &map}, &attached) < 0)
		return -1;
	chan_attach(&app, &map, &h);
	return 0;
}

static int stack_up(void **state)
{
	struct stack_cfg cfg;
	struct ip_addr a = ip_addr_v4(be32(0x0a000002)), peer = ip_addr_v4(be32(0x0a000001));
	char err[200] = "";
	int i;

	stack_cfg_defaults(&cfg);
	cfg.pools = pools;
	cfg.port[0] = (struct stack_port){port, 0};
	cfg.n_ports = 1;
	cfg.max_conns = cfg.max_socks = 1024;
	if (stack_create(&cfg, &s, err, sizeof(err)) < 0)
		return -1;
	i = stack_if(s, 0, 0, 1500);
	return i < 0 || stack_addr_add(s, (unsigned)i, &a, 24) < 0 ||
			       neigh_set(s->eth, (uint8_t)i, &peer, &peer_mac) < 0 || attach() < 0
		       ? -1
		       : 0;
}

static void ring_empty(void)
{
	struct pkt p[PKT_BURST];
	unsigned n;

	while ((n = dev_rx_burst(port, 0, p, PKT_BURST, &drops)) > 0)
		for (unsigned i = 0; i < n; i++)
			pkt_free(p[i].m);
}

static int stack_down(void **state)
{
	stack_detach(s, attached, map.stack_bell_fd, false);
	stack_halt(s);
	ring_empty();
	stack_destroy(s);
	close(map.app_bell_fd);
	close(map.stack_bell_fd);
	free(map.base);
	free(map.arena);
	memset(&map, 0, sizeof(map));
	return 0;
}

/* A frame from the peer: IPv4, protocol and n bytes behind the header. */
static struct rte_mbuf *frame(uint8_t proto, const void *l4, uint16_t n)
{
	struct eth_addr mac = eth_if_get(s->eth, 0)->mac;
	uint8_t h[34] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = proto, [26] = 10, 0, 0, 1, 10,
			 0,	   0,		2};
	struct rte_mbuf *m = pkt_alloc_hdr(&pools);
	uint16_t csum;

	assert_non_null(m);
	memcpy(h, &mac, 6);
	memcpy(h + 6, &peer_mac, 6);
	h[17] = (uint8_t)(20 + n);
	csum = csum_finish(csum_add(0, h + 14, 20));
	memcpy(h + 24, &csum, 2);
	memcpy(pkt_put(m, sizeof(h)), h, sizeof(h));
	memcpy(pkt_put(m, n), l4, n);
	return m;
}

static bool inject(struct rte_mbuf *m)
{
	struct pkt p = {.m = m};
	uint64_t copied;

	if (dev_tx_burst(port, 0, &p, 1, &pools, &drops, &copied) == 1)
		return true;
	pkt_free(m);
	return false;
}

static void command(const struct chan_sqe *q)
{
	assert_true(chan_free(&app.sq, 1) >= 1);
	chan_send(&app.sq, q);
}

static bool event(struct chan_cqe *e)
{
	return chan_receive(&app.cq, e);
}

#endif
