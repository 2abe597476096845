/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "base/hash.h"
#include "tcp/syncache.h"

int syncache_init(struct syncache *c, uint32_t max, uint32_t rto_ms, uint64_t key)
{
	int err = slab_init(&c->slab, sizeof(struct syn_entry), max);

	if (err != 0)
		return err;
	err = demux_init(&c->demux, max);
	if (err != 0) {
		slab_fini(&c->slab);
		return err;
	}
	c->key = key;
	c->rto_ms = rto_ms;
	for (unsigned i = 0; i <= SYN_TRIES_MAX; i++)
		c->list[i].first = c->list[i].last = SLAB_NONE;
	return 0;
}

void syncache_fini(struct syncache *c)
{
	demux_fini(&c->demux);
	slab_fini(&c->slab);
}

static struct syn_entry *entry(const struct syncache *c, uint32_t i)
{
	return slab_at(&c->slab, i);
}

static uint32_t flow_hash(const struct syncache *c, const struct ip_addr *laddr, uint16_t lport,
			  const struct ip_addr *raddr, uint16_t rport)
{
	struct {
		struct ip_addr l, r;
		uint16_t lport, rport;
		uint32_t zero; /* no padding: all of it is hashed */
	} k = {*laddr, *raddr, lport, rport, 0};

	_Static_assert(sizeof(k) == 40, "hashed as memory");
	return (uint32_t)hash_bytes(&k, sizeof(k), c->key);
}

static uint32_t entry_hash(const struct syncache *c, const struct syn_entry *e)
{
	return flow_hash(c, &e->laddr, e->lport, &e->raddr, e->rport);
}

/* ---- the lists by tries: oldest first ---- */

static void list_append(struct syncache *c, uint32_t i)
{
	struct syn_entry *e = entry(c, i);

	e->next = SLAB_NONE;
	e->prev = c->list[e->tries].last;
	if (e->prev != SLAB_NONE)
		entry(c, e->prev)->next = i;
	else
		c->list[e->tries].first = i;
	c->list[e->tries].last = i;
}

static void list_remove(struct syncache *c, const struct syn_entry *e)
{
	if (e->prev != SLAB_NONE)
		entry(c, e->prev)->next = e->next;
	else
		c->list[e->tries].first = e->next;
	if (e->next != SLAB_NONE)
		entry(c, e->next)->prev = e->prev;
	else
		c->list[e->tries].last = e->prev;
}

/* RFC 6298 §5.5: rto · 2^(tries − 1) */
static void schedule(struct syncache *c, struct syn_entry *e, uint32_t now_ms)
{
	e->deadline_ms = now_ms + (c->rto_ms << (e->tries - 1));
	list_append(c, slab_index(&c->slab, e));
}

/* ---- */

struct syn_entry *syncache_find(const struct syncache *c, const struct ip_addr *laddr,
				uint16_t lport, const struct ip_addr *raddr, uint16_t rport)
{
	struct demux_walk w = demux_walk(&c->demux, flow_hash(c, laddr, lport, raddr, rport));
	uint32_t i;

	while ((i = demux_next(&w)) != DEMUX_NONE) {
		struct syn_entry *e = entry(c, i);

		if (e->lport == lport && e->rport == rport && ip_addr_eq(&e->raddr, raddr) &&
		    ip_addr_eq(&e->laddr, laddr))
			return e;
	}
	return NULL;
}

struct syn_entry *syncache_add(struct syncache *c, const struct syn_entry *from, uint32_t now_ms)
{
	uint32_t i = slab_alloc(&c->slab);
	struct syn_entry *e;

	if (i == SLAB_NONE)
		return NULL;
	e = entry(c, i);
	*e = *from;
	if (demux_add(&c->demux, entry_hash(c, e), i) != 0) {
		slab_free(&c->slab, i);
		return NULL;
	}
	e->tries = 1;
	schedule(c, e, now_ms);
	return e;
}

void syncache_del(struct syncache *c, struct syn_entry *e)
{
	uint32_t i = slab_index(&c->slab, e);

	list_remove(c, e);
	demux_del(&c->demux, entry_hash(c, e), i);
	slab_free(&c->slab, i);
}

struct syn_entry *syncache_due(const struct syncache *c, uint32_t now_ms)
{
	for (unsigned t = 1; t <= SYN_TRIES_MAX; t++) {
		uint32_t i = c->list[t].first;

		if (i != SLAB_NONE && (int32_t)(entry(c, i)->deadline_ms - now_ms) <= 0)
			return entry(c, i);
	}
	return NULL;
}

bool syncache_resent(struct syncache *c, struct syn_entry *e, uint32_t now_ms)
{
	if (e->tries >= SYN_TRIES_MAX) {
		syncache_del(c, e);
		return false;
	}
	list_remove(c, e);
	e->tries++;
	schedule(c, e, now_ms);
	return true;
}

uint32_t syncache_wait_ms(const struct syncache *c, uint32_t now_ms)
{
	uint32_t least = UINT32_MAX;

	for (unsigned t = 1; t <= SYN_TRIES_MAX; t++) {
		uint32_t i = c->list[t].first;
		int32_t wait;

		if (i == SLAB_NONE)
			continue;
		wait = (int32_t)(entry(c, i)->deadline_ms - now_ms);
		if (wait <= 0)
			return 0;
		if ((uint32_t)wait < least)
			least = (uint32_t)wait;
	}
	return least;
}
