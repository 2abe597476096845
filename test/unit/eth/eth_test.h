/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stack of one interface in virtual time, and frames made by hand.
 */
#ifndef ETH_TEST_H
#define ETH_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include <rte_eal.h>

#include "eth/eth.h"
#include "wire/arp.h"
#include "wire/eth.h"

#define SEC 1000000000ull

static struct rte_mempool *pool;
static struct pkt_pools pools;
static struct drop_counters drops;
static uint64_t now;
static struct eth *e;
static const struct eth_addr mac_us = {{2, 0, 0, 0, 0, 1}};
static const struct eth_addr mac_a = {{2, 0, 0, 0, 0, 0xa}};
static const struct eth_addr mac_b = {{2, 0, 0, 0, 0, 0xb}};

static inline int group_setup(void **state)
{
	char *argv[] = {"test",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "64",	"--log-level=1"};

	if (rte_eal_init(8, argv) < 0)
		return -1;
	pool = rte_pktmbuf_pool_create("p", 1023, 0, 0, 2048 + 128, 0);
	pools = (struct pkt_pools){.rx = pool, .hdr = pool, .ref = pool};
	return pool == NULL;
}

static inline void stack_make(uint32_t max_neigh, uint32_t queue_max)
{
	struct eth_cfg cfg;

	eth_cfg_defaults(&cfg);
	cfg.max_neigh = max_neigh;
	cfg.queue_max = queue_max;
	cfg.pools = &pools;
	cfg.drops = &drops;
	cfg.seed = 1;
	memset(&drops, 0, sizeof(drops));
	now = SEC;
	e = eth_create(&cfg);
	assert_non_null(e);
	eth_begin(e, now);
	assert_int_equal(eth_if_add(e, &(struct eth_if){0, 0, 1500, mac_us}), 0);
}

static inline int setup(void **state)
{
	stack_make(64, 4);
	return 0;
}

/* Every buffer came home. */
static inline int teardown(void **state)
{
	eth_destroy(e);
	e = NULL;
	return rte_mempool_in_use_count(pool) != 0;
}

static inline struct ip_addr v4(uint32_t a)
{
	return ip_addr_v4(be32(a));
}

#define US   0x0a000001u
#define PEER 0x0a00000au

static inline struct pkt frame(const struct eth_addr *dst, const struct eth_addr *src,
			       uint16_t type, const void *body, uint16_t len)
{
	struct pkt p = {.m = rte_pktmbuf_alloc(pool)};
	struct wire_eth h = {*dst, *src, be16(type)};

	assert_non_null(p.m);
	memcpy(pkt_put(p.m, sizeof(h)), &h, sizeof(h));
	memcpy(pkt_put(p.m, len), body, len);
	return p;
}

static inline struct pkt arp(uint16_t op, const struct eth_addr *sha, uint32_t spa, uint32_t tpa)
{
	struct eth_addr dst = op == ARP_REPLY ? mac_us : eth_addr_broadcast();
	struct wire_arp a;

	wire_arp_fill(&a, op, sha, be32(spa), &(struct eth_addr){0}, be32(tpa));
	return frame(&dst, sha, ETH_TYPE_ARP, &a, sizeof(a));
}

/* Through eth_input and arp_input as the switchboard does it; a refused packet is counted and
 * freed. */
static inline enum next arp_give(struct pkt *p)
{
	uint8_t i = 99;
	enum next n = eth_input(e, p, &i);

	if (n == NEXT_ARP)
		n = arp_input(e, p, i);
	if (n == NEXT_DROP)
		pkt_drop(&drops, p->m, p->drop);
	return n;
}

static inline const struct wire_arp *arp_of(const struct pkt *p)
{
	assert_true(p->m->data_len >= sizeof(struct wire_eth) + sizeof(struct wire_arp));
	return (const void *)(pkt_data(p->m) + sizeof(struct wire_eth));
}

static inline const struct wire_eth *eth_of(const struct pkt *p)
{
	return (const void *)pkt_data(p->m);
}

/* A packet whose first byte is the tag. */
static inline enum next send_to(const struct ip_addr *to, uint8_t tag, struct pkt *p)
{
	enum next n;

	*p = (struct pkt){.m = rte_pktmbuf_alloc(pool), .nexthop = *to};
	memset(pkt_put(p->m, 40), tag, 40);
	n = eth_output(e, p, 0);
	if (n == NEXT_DROP)
		pkt_drop(&drops, p->m, p->drop);
	return n;
}

static inline void advance(uint64_t ns)
{
	now += ns;
	eth_begin(e, now);
}

/* Moves time to the deadline and polls once. */
static inline unsigned poll_at_deadline(struct pkt *out, unsigned n)
{
	uint64_t due = eth_deadline(e);

	assert_true(due != UINT64_MAX);
	if (due > now)
		advance(due - now);
	return eth_poll(e, out, n);
}

struct state_of {
	struct ip_addr a;
	const char *state;
	struct eth_addr mac;
	unsigned total;
};

static inline void state_cb(void *arg, const struct neigh_info *i)
{
	struct state_of *s = arg;

	s->total++;
	if (ip_addr_eq(&i->addr, &s->a)) {
		s->state = i->state;
		s->mac = i->mac;
	}
}

static inline struct state_of neigh_state_of(const struct ip_addr *a)
{
	struct state_of s = {.a = *a, .state = "none"};
	uint32_t cursor = 0;

	do
		neigh_each(e, &cursor, 10, state_cb, &s);
	while (cursor != 0);
	return s;
}

#endif
