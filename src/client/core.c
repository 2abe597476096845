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

static uint64_t loans_of(const struct core *c)
{
	return (uint64_t)c->link_rows + LINK_ROWS;
}

int socks_init(unsigned zones)
{
	uint32_t rows = 0;

	for (unsigned i = 0; i < client.n_cores; i++)
		rows = client.core[i].max_socks > rows ? client.core[i].max_socks : rows;
	client.sock = table_new((uint64_t)zones * rows, sizeof(*client.sock));
	if (client.sock == NULL)
		return -ENOMEM;
	client.n_zones = zones;
	client.zone_rows = rows;
	client.free_sock = NIL;
	memset(client.top, 0, sizeof(client.top));
	for (unsigned i = 0; i < client.n_cores; i++)
		client.core[i].sock = &client.sock[i * rows];
	return 0;
}

void socks_fini(void)
{
	table_free(client.sock, (uint64_t)client.n_zones * client.zone_rows, sizeof(*client.sock));
	client.sock = NULL;
}

static int tables_init(struct core *c)
{
	c->loan = table_new(loans_of(c), sizeof(*c->loan));
	c->dgram = table_new(c->link_rows, sizeof(*c->dgram));
	c->token = table_new(c->token_rows, sizeof(*c->token));
	c->cookie = table_new(c->token_rows, sizeof(*c->cookie));
	c->block = table_new(blocks_of(c), sizeof(*c->block));
	if (c->loan == NULL || c->dgram == NULL || c->token == NULL || c->cookie == NULL ||
	    c->block == NULL)
		return -ENOMEM;
	return arena_init(&c->arena, c->end.hdr.arena_bytes);
}

/* All but those of links, which come home from there. */
static void tokens_free(struct core *c)
{
	c->token_free = NIL;
	c->tokens_left = 0;
	for (uint32_t i = c->max_tokens; i-- > 0;) {
		if (c->token[i].kind != TOKEN_FREE)
			continue;
		c->token[i].what = c->token_free;
		c->token_free = i;
		c->tokens_left++;
	}
}

static void lists_init(struct core *c)
{
	for (uint32_t i = 0; i < EMPTY_ROWS; i++)
		c->loan[c->own_rows + i].next = i + 1 < EMPTY_ROWS ? c->own_rows + i + 1 : NIL;
	c->empty_free = c->own_rows;
	for (uint32_t i = 0; i < c->token_rows; i++)
		c->cookie[i].next = i + 1 < c->token_rows ? i + 1 : NIL;
	c->cookie_free = 0;
	tokens_free(c);
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
	c->max_loans = c->own_rows = hdr.max_loans;
	c->gone_rows = c->own_rows + EMPTY_ROWS;
	c->link_rows = c->gone_rows + GONE_TIMES * c->own_rows;
	c->link_free = NIL;
	c->max_tokens = c->token_rows = hdr.max_tokens;
	r = tables_init(c);
	if (r < 0) {
		core_fini(c);
		return r;
	}
	lists_init(c);
	if (id == 0)
		told_show(c);
	return 0;
}

int core_rows_init(struct core *c)
{
	table_free(c->row, client.zone_rows, sizeof(*c->row));
	c->row = table_new(client.zone_rows, sizeof(*c->row));
	return c->row == NULL ? -ENOMEM : 0;
}

/* What is asked for when attaching again is that it be no larger. */
int core_fits(unsigned id, const struct chan_map *map)
{
	const struct core *c = &client.core[id];
	struct chan_hdr hdr;
	int r = chan_check(map->base, UINT64_MAX, &hdr);

	if (r < 0)
		return r;
	if (hdr.max_sockets > client.zone_rows || hdr.arena_bytes > map->arena_bytes)
		return -EPROTO;
	if (id < client.n_tables &&
	    (hdr.max_loans > c->own_rows || hdr.max_tokens > c->token_rows ||
	     hdr.arena_bytes != c->end.hdr.arena_bytes || map->arena != c->map->arena))
		return -EPROTO;
	return 0;
}

int core_rejoin(unsigned id, const struct chan_map *map)
{
	struct core *c = &client.core[id];
	struct chan_hdr hdr;
	int r = chan_check(map->base, UINT64_MAX, &hdr);

	if (r == 0 && id >= client.n_tables) {
		r = core_init(c, id, map);
		c->sock = client.sock;
		return r < 0 ? r : core_rows_init(c);
	}
	if (r < 0)
		return r;
	c->map = map;
	chan_attach(&c->end, map, &hdr);
	if (id == 0)
		told_show(c);
	c->max_socks = hdr.max_sockets;
	c->max_loans = hdr.max_loans;
	c->max_tokens = hdr.max_tokens;
	tokens_free(c);
	return 0;
}

void core_fini(struct core *c)
{
	table_free(c->row, client.zone_rows, sizeof(*c->row));
	table_free(c->loan, loans_of(c), sizeof(*c->loan));
	table_free(c->dgram, c->link_rows, sizeof(*c->dgram));
	table_free(c->token, c->token_rows, sizeof(*c->token));
	table_free(c->cookie, c->token_rows, sizeof(*c->cookie));
	table_free(c->block, blocks_of(c), sizeof(*c->block));
	link_core_fini(c);
	arena_fini(&c->arena);
	memset(c, 0, sizeof(*c));
}
