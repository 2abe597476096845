/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What came over links: rows of the receive queues, and where their payload lies. That is memory of
 * the neighbour, which we map to be read only; or of a third program, when the neighbour passes on
 * what it received: then the service is asked for it once, and it stays mapped as long as there is
 * place. Small payload came with its entry and was copied out of it, to where each row has room.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/mman.h>

#include "client/link.h"
#include "client/table.h"

#define OPEN_ROWS 1024u /* at a time */
#define ASK_MS	  1000	/* for the service to say where a region is */

/* ---- rows ---- */

int link_core_init(struct core *c)
{
	if (c->link_row == NULL)
		c->link_row = table_reserve(LINK_ROWS, sizeof(*c->link_row));
	if (c->link_data == NULL)
		c->link_data = table_reserve(LINK_ROWS, LINK_INLINE);
	return c->link_row != NULL && c->link_data != NULL ? 0 : -ENOMEM;
}

void link_core_fini(struct core *c)
{
	table_free(c->link_row, LINK_ROWS, sizeof(*c->link_row));
	table_free(c->link_data, LINK_ROWS, LINK_INLINE);
	c->link_row = NULL;
	c->link_data = NULL;
}

/* A row is in three tables. */
static int rows_open(struct core *c, uint32_t to)
{
	uint32_t from = c->link_opened;

	if (to > LINK_ROWS)
		to = LINK_ROWS;
	if ((c->link_row == NULL && link_core_init(c) < 0) ||
	    table_open(c->link_row, sizeof(*c->link_row), from, to) < 0 ||
	    table_open(c->link_data, LINK_INLINE, from, to) < 0 ||
	    table_open(c->loan, sizeof(*c->loan), c->link_rows + (uint64_t)from,
		       c->link_rows + (uint64_t)to) < 0)
		return -ENOMEM;
	c->link_opened = to;
	return 0;
}

void link_rows_open(struct core *c)
{
	if (c->link_row != NULL)
		(void)!rows_open(c, LINK_ROWS);
}

struct link_row *link_row(const struct core *c, uint32_t row)
{
	return &c->link_row[row - c->link_rows];
}

uint8_t *link_row_data(const struct core *c, uint32_t row)
{
	return c->link_data + (uint64_t)(row - c->link_rows) * LINK_INLINE;
}

uint16_t link_row_gen(const struct core *c, uint32_t row)
{
	return link_row(c, row)->gen;
}

uint32_t link_row_new(struct core *c)
{
	uint32_t row = c->link_free;

	if (likely(row != NIL)) {
		c->link_free = c->loan[row].next;
		return row;
	}
	if (c->link_fresh == LINK_ROWS ||
	    (c->link_fresh == c->link_opened && rows_open(c, c->link_opened + OPEN_ROWS) < 0))
		return NIL;
	return c->link_rows + c->link_fresh++;
}

void link_row_put(struct core *c, uint32_t row)
{
	struct link_row *r = link_row(c, row);
	struct plink *l = &client.links->link[r->link];
	struct loan *lo = &c->loan[row];

	if (r->region != REGION_NOBODY)
		client.links->region[r->region].rows--;
	else
		client.links->packet_rows -= lo->base != link_row_data(c, row);
	r->gen++;
	lo->name = LOAN_NONE;
	lo->base = NULL;
	lo->next = c->link_free;
	c->link_free = row;
	link_put_back(l, r->token, lo->len);
}

/* ---- regions ---- */

static void region_drop(struct link_map *m)
{
	munmap(m->at.at, m->at.bytes);
	*m = (struct link_map){.at.at = NULL};
}

static bool region_is_idle(const struct link_map *m)
{
	return m->at.at != NULL && m->rows == 0 && m->links == 0;
}

/* A free place, of one that is only kept in case, if need be. */
static struct link_map *region_place(void)
{
	struct link_map *kept = NULL;

	for (struct link_map *m = client.links->region; m < client.links->region + REGIONS_MAX;
	     m++) {
		if (m->at.at == NULL)
			return m;
		if (region_is_idle(m))
			kept = m;
	}
	if (kept != NULL)
		region_drop(kept);
	return kept;
}

static struct link_map *region_find(uint32_t id)
{
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		if (client.links->region[i].id == id)
			return &client.links->region[i];
	return NULL;
}

/* By a name that the last service gave. */
static struct link_map *region_find_lost(const struct plink *l, uint32_t id)
{
	uint16_t since = (uint16_t)(client.epoch - l->epoch);

	for (unsigned i = 0; since <= 1 && !l->far_kept && i < REGIONS_MAX; i++)
		if (client.links->region[i].at.at != NULL && client.links->region[i].was == id)
			return &client.links->region[i];
	return NULL;
}

int region_add(uint32_t id, int fd, uint64_t bytes, uint32_t links)
{
	struct link_map *m = region_find(id);
	int rc;

	if (m == NULL) {
		m = region_place();
		if (m == NULL)
			return -ENOSPC;
		rc = mapping_map(&m->at, fd, bytes, PROT_READ);
		if (rc < 0)
			return rc;
		m->id = id;
	}
	m->links += links;
	return (int)(m - client.links->region);
}

void regions_sweep(void)
{
	for (struct link_map *m = client.links->region; m < client.links->region + REGIONS_MAX; m++)
		if (region_is_idle(m))
			region_drop(m);
}

void regions_unlink(struct plink *l)
{
	while (l->n_arenas > 0)
		client.links->region[l->arena[--l->n_arenas]].links--;
}

void regions_lose(void)
{
	for (struct link_map *m = client.links->region; m < client.links->region + REGIONS_MAX;
	     m++) {
		m->was = m->id;
		m->id = 0;
	}
}

void regions_fini(void)
{
	for (struct link_map *m = client.links->region; m < client.links->region + REGIONS_MAX; m++)
		if (m->at.at != NULL)
			region_drop(m);
}

/* The service answers at once, or is gone. Its other messages are taken as they come. */
static int region_ask(uint32_t id)
{
	struct attached *a = &client.transport.service;
	struct attach_region ask = {.id = id};
	struct pollfd p = {.fd = a->sock, .events = POLLIN};
	struct attach_msg m;
	int rc = client.lost ? -ENETDOWN
			     : attach_send(a->sock, ATTACH_REGION, &ask, sizeof(ask), NULL, 0);

	while (rc == 0) {
		if (poll(&p, 1, ASK_MS) <= 0)
			return -ETIMEDOUT;
		rc = service_recv(a->sock, &m);
		if (rc == -EAGAIN)
			rc = 0;
		else if (rc == 0 && m.head.type == ATTACH_REGION_IS && m.region.id == id)
			break;
		else if (rc == 0)
			(void)links_message(&m);
		if (rc == 0)
			attach_close_fds(&m);
	}
	if (rc < 0)
		return rc;
	rc = m.n_fds == 1 && m.region.bytes > 0 ? region_add(id, m.fd[0], m.region.bytes, 0)
						: -ENOENT;
	attach_close_fds(&m);
	return rc < 0 ? rc : 0;
}

const uint8_t *link_region_get(const struct core *c, uint64_t off, uint32_t len, uint8_t *region)
{
	uint32_t id = link_region((uint32_t)(off >> 32), c->id), at = (uint32_t)off;
	struct link_map *m = client.links != NULL && id != 0 ? region_find(id) : NULL;

	if (m == NULL || at > m->at.bytes || len > m->at.bytes - at)
		return NULL;
	*region = (uint8_t)(1 + (m - client.links->region));
	m->rows++;
	return (const uint8_t *)m->at.at + at;
}

void link_region_put(uint8_t region)
{
	client.links->region[region - 1].rows--;
}

/* The packets of a service that is gone. */
static const uint8_t *in_lost_packets(struct plink *l, uint32_t off, uint32_t len, uint8_t *region)
{
	const struct mapping *at = l->packets != NULL ? lost_packets(l->packets) : NULL;

	*region = at != NULL && at->at != NULL ? REGION_NOBODY : REGION_LOST;
	if (*region == REGION_LOST || off > at->bytes || len > at->bytes - off)
		return NULL;
	l->late = true;
	return (const uint8_t *)at->at + off;
}

static const uint8_t *in_packets(struct plink *l, uint32_t off, uint32_t len, uint8_t *region)
{
	if (unlikely(l->kept))
		return in_lost_packets(l, off, len, region);
	*region = REGION_NOBODY;
	return client.lost ? NULL : chan_at(client.core[0].map, CHAN_REGION_PKT, off, len);
}

/* The map of a name that the other side uses; NULL: there is none, or *region is REGION_LOST. */
static struct link_map *region_of(struct plink *l, uint32_t id, uint8_t *region)
{
	struct link_map *m;

	if ((id & ~15u) == link_region(l->app, 0))
		return (id & 15) < l->n_arenas ? &client.links->region[l->arena[id & 15]] : NULL;
	if (unlikely(l->kept)) {
		m = region_find_lost(l, id);
		*region = m == NULL ? REGION_LOST : 0;
		return m;
	}
	m = region_find(id);
	if (m == NULL && region_ask(id) == 0)
		m = region_find(id);
	return m;
}

const uint8_t *region_at(struct plink *l, uint32_t id, uint32_t off, uint32_t len, uint8_t *region)
{
	struct link_map *m = &client.links->region[l->last_region];

	if (unlikely(m->id != id || l->kept)) {
		if (id == LINK_REGION_PACKETS)
			return in_packets(l, off, len, region);
		m = id != LINK_REGION_NONE ? region_of(l, id, region) : NULL;
		if (m == NULL)
			return NULL;
		l->last_region = (uint8_t)(m - client.links->region);
	}
	*region = l->last_region;
	if (off > m->at.bytes || len > m->at.bytes - off)
		return NULL;
	return (const uint8_t *)m->at.at + off;
}
