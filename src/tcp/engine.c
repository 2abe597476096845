/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine as a whole: creation, time, counters, walking over its connections.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "tcp/tcp_priv.h"

/* Address space of arrays that grow (scoreboards, out-of-order blocks), touched as used. */
#define ARENA_MIN      (64ull << 20)
#define ARENA_PER_CONN 8192ull
#define ARENA_MAX      (16ull << 30)
#define SYNACK_RTO_MS  1000 /* RFC 6298 §2.1 */

/* DEVIATION(RFC 9293 §3.4.1): an MSL of 30 s, not two minutes, and DEVIATION(RFC 9293 MUST-23): a
 * SYN is given up after about two minutes, not three; both as everyone. */
void tcp_cfg_defaults(struct tcp_cfg *cfg)
{
	*cfg = (struct tcp_cfg){
		.max_conns = 1u << 20,
		.max_syn = 1u << 14,
		.sndbuf_bytes = 256u << 10,
		.sndbuf_max_bytes = 16u << 20,
		.rcvbuf_bytes = 256u << 10,
		.rcvbuf_max_bytes = 16u << 20,
		.mem_max_bytes = 1ull << 30,
		.min_rto_us = 200000,
		.max_rto_us = 60000000,
		.delack_us = 40000,
		.msl_us = 30000000,
		.syn_retries = 6,
		.retries_us =
			924600000, /* 15 doublings from 200 ms: RFC 9293 MUST-20, at least 100 s */
		.cc = "cubic",
	};
}

static void *mem_alloc(void *arg, size_t size)
{
	return tcp_mem_get(arg, size);
}

static void mem_free(void *arg, void *p, size_t size)
{
	tcp_mem_put(arg, p, size);
}

static uint8_t wscale_for(uint32_t rcvbuf_max)
{
	uint8_t s = 0;

	while (s < TCP_WSCALE_MAX && (65536ull << s) < rcvbuf_max)
		s++;
	return s;
}

static void init_lists(struct tcp *t)
{
	list_init(&t->out);
	list_init(&t->events);
	list_init(&t->time_wait);
	list_init(&t->accept_news);
	for (unsigned i = 0; i < TCP_LISTEN_HEADS; i++)
		list_init(&t->listen[i]);
	wheel_init(&t->wheel, 0);
}

static int init_arena(struct tcp *t)
{
	t->arena_size = ARENA_MIN + ARENA_PER_CONN * t->cfg.max_conns;
	if (t->arena_size > ARENA_MAX)
		t->arena_size = ARENA_MAX;
	t->arena = mmap(NULL, t->arena_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->arena == MAP_FAILED) {
		t->arena = NULL;
		return -ENOMEM;
	}
	madvise(t->arena, t->arena_size, MADV_HUGEPAGE); /* as in base/slab.c */
	tcp_mem_init(&t->mem, t->arena, t->arena_size);
	t->rcvq_env = (struct tcp_rcvq_env){.alloc = mem_alloc,
					    .free = mem_free,
					    .arg = &t->mem,
					    .pools = t->cfg.pools,
					    .tight_shift = 1};
	return 0;
}

static int init_tables(struct tcp *t)
{
	size_t size = (sizeof(struct tcp_conn) + 63) & ~(size_t)63;
	uint64_t key;
	int err;

	memcpy(&key, t->cfg.secret, sizeof(key));
	t->hash_key = hash_u64(key ^ t->cfg.seed, 1);
	err = slab_init(&t->conns, size, t->cfg.max_conns);
	if (err == 0)
		err = demux_init(&t->demux, t->cfg.max_conns);
	if (err == 0)
		err = syncache_init(&t->syncache, t->cfg.max_syn, SYNACK_RTO_MS, hash_u64(key, 2));
	if (err == 0)
		err = init_arena(t);
	return err;
}

struct tcp *tcp_create(const struct tcp_cfg *cfg)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->cfg = *cfg;
	t->cc = tcp_cc_find(cfg->cc != NULL ? cfg->cc : "cubic");
	if (t->cc == NULL)
		t->cc = &tcp_cc_cubic;
	t->rcv_wscale = wscale_for(cfg->rcvbuf_max_bytes);
	t->rcv_mem_tight = cfg->mem_max_bytes / 4 * 3;
	t->rcv_mem_gone = cfg->mem_max_bytes + cfg->mem_max_bytes / 2;
	t->link4 = (struct tcp_link){.mtu = 1500, .tso_segs = 1, .path = PATH_NONE};
	t->link6 = t->link4;
	init_lists(t);
	t->replies = calloc(TCP_REPLIES, sizeof(*t->replies));
	if (t->replies == NULL || init_tables(t) != 0) {
		tcp_destroy(t);
		return NULL;
	}
	return t;
}

static void drop_listeners(struct tcp *t)
{
	for (unsigned i = 0; i < TCP_LISTEN_HEADS; i++) {
		struct list *l;

		while ((l = list_pop(&t->listen[i])) != NULL)
			free(container_of(l, struct tcp_listener, link));
	}
}

void tcp_destroy(struct tcp *t)
{
	if (t == NULL)
		return;
	for (uint32_t i = 0; i < t->conns.used; i++) {
		if (!slab_is_live(&t->conns, i))
			continue;
		tcp_release_send(t, slab_at(&t->conns, i));
		tcp_release_recv(t, slab_at(&t->conns, i));
	}
	drop_listeners(t);
	slab_fini(&t->conns);
	if (t->demux.buckets != NULL)
		demux_fini(&t->demux);
	if (t->syncache.slab.base != NULL)
		syncache_fini(&t->syncache);
	if (t->arena != NULL)
		munmap(t->arena, t->arena_size);
	free(t->replies);
	free(t);
}

void tcp_begin(struct tcp *t, uint64_t now_ns)
{
	if (now_ns <= t->now_ns)
		return;
	t->now_ns = now_ns;
	t->now_ms = (uint32_t)(now_ns / 1000000);
}

void tcp_default_link(struct tcp *t, bool v6, const struct tcp_link *link)
{
	*(v6 ? &t->link6 : &t->link4) = *link;
}

const struct tcp_link *tcp_link_default(const struct tcp *t, const struct ip_addr *raddr)
{
	return ip_addr_is_v4(raddr) ? &t->link4 : &t->link6;
}

/* Some are counted below. */
const struct tcp_counters *tcp_counters(struct tcp *t)
{
	t->n.ooo_pruned = t->rcvq_env.pruned;
	t->n.rcv_compacted = t->rcvq_env.compacted;
	t->n.rcv_compacted_bytes = t->rcvq_env.compacted_bytes;
	return &t->n;
}

uint64_t tcp_deadline(const struct tcp *t)
{
	uint64_t at = wheel_next(&t->wheel);
	uint32_t wait_ms = syncache_wait_ms(&t->syncache, t->now_ms);
	uint64_t syn_at;

	if (wait_ms == UINT32_MAX)
		return at;
	/* The cache counts whole milliseconds. */
	syn_at = (t->now_ns / 1000000 + wait_ms) * 1000000;
	return syn_at < at ? syn_at : at;
}

unsigned tcp_each(struct tcp *t, uint32_t *cursor, unsigned n,
		  void (*fn)(void *arg, struct tcp_conn *c), void *arg)
{
	unsigned done = 0;
	uint32_t i = *cursor;

	for (; i < t->conns.used && done < n; i++) {
		if (!slab_is_live(&t->conns, i))
			continue;
		fn(arg, slab_at(&t->conns, i));
		done++;
	}
	*cursor = i < t->conns.used ? i : 0;
	return done;
}
