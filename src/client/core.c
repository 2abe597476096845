/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tables of one channel. All are made here, of the sizes that the channel's header says. What
 * is large is opened to be written as it comes into use (table.h).
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chan/netns.h"
#include "client/client_priv.h"
#include "client/table.h"

#define OPEN_SOCKS   1024u /* at a time */
#define OPEN_BLOCKS  8192u
#define MANY_NUMBERS 65536

static uint64_t blocks_of(const struct core *c)
{
	return c->end.hdr.arena_bytes / BLOCK_UNIT;
}

static uint64_t loans_of(const struct core *c)
{
	return (uint64_t)c->link_rows + LINK_ROWS;
}

/* In another network namespace the kernel's indices mean nothing. */
static void interfaces_name(struct chan_hdr *hdr)
{
	if (hdr->netns == 0 || hdr->netns == netns_id())
		return;
	for (unsigned i = 0; i < CHAN_IFS_MAX; i++)
		hdr->kernel_if[i] = CHAN_IF_OWN + i;
}

/* What is not used costs address space alone, which RLIMIT_AS may limit: of the program that attaches,
 * or of what it forks after having set it (vsftpd). A later service may have more cores than this one,
 * but no more than there are CPUs. Where the limit is known already, it finds less room for its sockets. */
static unsigned zones_of(unsigned most)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct rlimit l;

	if (cpus <= client.n_cores ||
	    (getrlimit(RLIMIT_AS, &l) == 0 && l.rlim_cur != RLIM_INFINITY))
		return client.n_cores;
	return cpus < most ? (unsigned)cpus : most;
}

int socks_init(unsigned zones)
{
	uint32_t rows = 0;

	zones = zones_of(zones);
	for (unsigned i = 0; i < client.n_cores; i++)
		rows = client.core[i].max_socks > rows ? client.core[i].max_socks : rows;
	client.sock = table_reserve((uint64_t)zones * rows, sizeof(*client.sock));
	if (client.sock == NULL)
		return -ENOMEM;
	client.n_zones = zones;
	client.zone_rows = rows;
	client.free_sock = NIL;
	memset(client.top, 0, sizeof(client.top));
	memset(client.opened, 0, sizeof(client.opened));
	for (unsigned i = 0; i < client.n_cores; i++) {
		client.core[i].sock = &client.sock[i * rows];
		if (client.transport.attached)
			client.core[i].row_later = table_new(rows, sizeof(*client.core[i].row));
		if (client.transport.attached && client.core[i].row_later == NULL)
			return -ENOMEM;
	}
	return 0;
}

void socks_fini(void)
{
	table_free(client.sock, (uint64_t)client.n_zones * client.zone_rows, sizeof(*client.sock));
	client.sock = NULL;
}

int zone_open(unsigned zone, uint32_t rows)
{
	uint32_t from = client.opened[zone], to = rows;
	uint64_t at = (uint64_t)zone * client.zone_rows;
	int r;

	if (likely(rows <= from))
		return 0;
	if (to < from + OPEN_SOCKS)
		to = from + OPEN_SOCKS;
	if (to > client.zone_rows)
		to = client.zone_rows;
	r = table_open(client.sock, sizeof(*client.sock), at + from, at + to);
	if (r == 0 && client.links != NULL)
		r = links_open(at + from, at + to);
	if (r == 0)
		client.opened[zone] = to;
	return r;
}

int core_blocks_open(struct core *c, uint64_t end)
{
	uint64_t from = c->blocks_opened, to = end / BLOCK_UNIT;

	if (likely(to <= from))
		return 0;
	if (to < from + OPEN_BLOCKS)
		to = from + OPEN_BLOCKS;
	if (to > blocks_of(c))
		to = blocks_of(c);
	if (table_open(c->block, sizeof(*c->block), from, to) < 0)
		return -ENOBUFS;
	c->blocks_opened = to;
	return 0;
}

/* Numbers that the program may have. */
static int numbers_max(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur > MANY_NUMBERS)
		return MANY_NUMBERS;
	return (int)l.rlim_cur;
}

/* Called once, while more may still be had. What can't be opened now can't be used later. */
void tables_open_all(void)
{
	(void)!fd_make_room(numbers_max() - 1);
	for (unsigned z = 0; z < client.n_cores && z < client.n_zones; z++)
		(void)!zone_open(z, client.zone_rows);
	for (unsigned i = 0; i < client.n_cores; i++) {
		struct core *c = &client.core[i];

		(void)!core_blocks_open(c, c->end.hdr.arena_bytes);
		link_rows_open(c);
	}
}

static int tables_init(struct core *c)
{
	c->loan = table_reserve(loans_of(c), sizeof(*c->loan));
	c->dgram = table_new(c->link_rows, sizeof(*c->dgram));
	c->token = table_new(c->token_rows, sizeof(*c->token));
	c->cookie = table_new(c->token_rows, sizeof(*c->cookie));
	c->block = table_reserve(blocks_of(c), sizeof(*c->block));
	if (c->loan == NULL || c->dgram == NULL || c->token == NULL || c->cookie == NULL ||
	    c->block == NULL || table_open(c->loan, sizeof(*c->loan), 0, c->link_rows) < 0)
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
	interfaces_name(&hdr);
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
	if (c->row != NULL) {
		memset(c->row, 0, client.zone_rows * sizeof(*c->row));
		return 0;
	}
	c->row = c->row_later != NULL ? c->row_later : table_new(client.zone_rows, sizeof(*c->row));
	c->row_later = NULL;
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
	interfaces_name(&hdr);
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
	table_free(c->row_later, client.zone_rows, sizeof(*c->row));
	table_free(c->loan, loans_of(c), sizeof(*c->loan));
	table_free(c->dgram, c->link_rows, sizeof(*c->dgram));
	table_free(c->token, c->token_rows, sizeof(*c->token));
	table_free(c->cookie, c->token_rows, sizeof(*c->cookie));
	table_free(c->block, blocks_of(c), sizeof(*c->block));
	link_core_fini(c);
	arena_fini(&c->arena);
	memset(c, 0, sizeof(*c));
}
