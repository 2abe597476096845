/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tables of one channel. All are made here, of the sizes that the channel's header says; most
 * of their pages are never touched, so they are mapped rather than allocated.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <string.h>

#include "client/client_priv.h"

static void *table_new(uint64_t rows, size_t size)
{
	void *p = mmap(NULL, rows * size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

static void table_free(void *table, uint64_t rows, size_t size)
{
	if (table != NULL)
		munmap(table, rows * size);
}

static uint64_t blocks_of(const struct core *c)
{
	return c->end.hdr.arena_bytes / BLOCK_UNIT;
}

static int tables_init(struct core *c)
{
	c->sock = table_new(c->max_socks, sizeof(*c->sock));
	c->loan = table_new((uint64_t)c->max_loans + EMPTY_ROWS, sizeof(*c->loan));
	c->dgram = table_new((uint64_t)c->max_loans + EMPTY_ROWS, sizeof(*c->dgram));
	c->token = table_new(c->max_tokens, sizeof(*c->token));
	c->cookie = table_new(c->max_tokens, sizeof(*c->cookie));
	c->block = table_new(blocks_of(c), sizeof(*c->block));
	if (c->sock == NULL || c->loan == NULL || c->dgram == NULL || c->token == NULL ||
	    c->cookie == NULL || c->block == NULL)
		return -ENOMEM;
	return arena_init(&c->arena, c->end.hdr.arena_bytes);
}

static void lists_init(struct core *c)
{
	for (uint32_t i = 0; i < EMPTY_ROWS; i++)
		c->loan[c->max_loans + i].next = i + 1 < EMPTY_ROWS ? c->max_loans + i + 1 : NIL;
	c->empty_free = c->max_loans;
	for (uint32_t i = 0; i < c->max_tokens; i++) {
		c->token[i].what = i + 1 < c->max_tokens ? i + 1 : NIL;
		c->cookie[i].next = i + 1 < c->max_tokens ? i + 1 : NIL;
	}
	c->token_free = c->cookie_free = 0;
	c->tokens_left = c->max_tokens;
	c->starved = c->to_close = NIL;
}

/* The rings' length is not in the map: the service made them, and it says in the header what a
 * check of the header finds consistent. The first region is the arena, whose length is. */
int core_init(struct core *c, unsigned id, const struct chan_map *map)
{
	struct chan_hdr hdr;
	int r = chan_check(map->base, UINT64_MAX, &hdr);

	memset(c, 0, sizeof(*c));
	if (r < 0)
		return r;
	if (hdr.arena_bytes > map->arena_bytes || map->arena == NULL)
		return -EPROTO;
	c->id = (uint8_t)id;
	c->map = map;
	chan_attach(&c->end, map, &hdr);
	c->max_socks = hdr.max_sockets;
	c->max_loans = hdr.max_loans;
	c->max_tokens = hdr.max_tokens;
	r = tables_init(c);
	if (r < 0) {
		core_fini(c);
		return r;
	}
	lists_init(c);
	return 0;
}

void core_fini(struct core *c)
{
	table_free(c->sock, c->max_socks, sizeof(*c->sock));
	table_free(c->loan, (uint64_t)c->max_loans + EMPTY_ROWS, sizeof(*c->loan));
	table_free(c->dgram, (uint64_t)c->max_loans + EMPTY_ROWS, sizeof(*c->dgram));
	table_free(c->token, c->max_tokens, sizeof(*c->token));
	table_free(c->cookie, c->max_tokens, sizeof(*c->cookie));
	table_free(c->block, blocks_of(c), sizeof(*c->block));
	arena_fini(&c->arena);
	memset(c, 0, sizeof(*c));
}
