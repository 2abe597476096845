/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service is gone: what becomes of the tables that were full of its names. Sends that were in
 * flight are over; commands that wait for a result are told to ask again; connections are reset,
 * after the data that they had received; listeners and UDP sockets stay, without a sid, until
 * remake.c gives them another.
 *
 * What the service had lent lies in its packet region, which stays mapped here as long as anything
 * of it is held. The rows of such buffers move out of the way of the next service's names, and a
 * handle finds its row by name and epoch.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/client_priv.h"

/* The packet region of a service that is gone. */
struct gone {
	struct gone *next;
	struct mapping packets;
	uint32_t rows; /* that lie in it */
	uint16_t epoch;
};

static void gone_free(struct gone *g)
{
	struct gone **p = &client.gone;

	while (*p != NULL && *p != g)
		p = &(*p)->next;
	if (*p == g)
		*p = g->next;
	if (g->packets.at != NULL)
		munmap(g->packets.at, g->packets.bytes);
	free(g);
}

void lost_fini(void)
{
	while (client.gone != NULL)
		gone_free(client.gone);
}

/* In a child of fork the regions are not mapped, and other things may be there. */
void lost_forget(void)
{
	while (client.gone != NULL) {
		struct gone *g = client.gone;

		client.gone = g->next;
		free(g);
	}
}

/* ---- loans ---- */

const struct mapping *lost_packets(const struct gone *g)
{
	return &g->packets;
}

void lost_hold(struct gone *g)
{
	g->rows++;
}

void lost_unhold(struct gone *g)
{
	if (--g->rows == 0)
		gone_free(g);
}

static uint32_t zone_row(const struct core *c, uint32_t near, uint32_t k)
{
	return c->gone_rows + (near + k) % (GONE_TIMES * c->own_rows);
}

uint32_t lost_loan_find(const struct core *c, uint32_t name, uint16_t epoch)
{
	for (uint32_t k = 0; k < GONE_TIMES * c->own_rows && c->gone_used > 0; k++) {
		uint32_t row = zone_row(c, loan_index(name), k);

		if (name != LOAN_NONE && c->loan[row].name == name && c->dgram[row].epoch == epoch)
			return row;
	}
	return NIL;
}

void lost_loan_put(struct core *c, uint32_t row)
{
	struct loan *l = &c->loan[row];
	struct gone *g = client.gone;

	while (g != NULL && g->epoch != c->dgram[row].epoch)
		g = g->next;
	if (unlikely(l->region != 0))
		link_region_put(l->region);
	l->region = 0;
	l->name = LOAN_NONE;
	l->base = NULL;
	c->gone_used--;
	if (g != NULL)
		lost_unhold(g);
}

/* There is room: see room_for_all(). */
static uint32_t loan_move(struct core *c, uint32_t row, struct gone *g)
{
	uint32_t k = 0, to;

	while (c->loan[to = zone_row(c, row, k)].name != LOAN_NONE)
		k++;
	c->loan[to] = c->loan[row];
	c->dgram[to] = c->dgram[row];
	c->dgram[to].epoch = g->epoch;
	c->loan[row] = (struct loan){.name = LOAN_NONE, .next = to};
	c->gone_used++;
	g->rows++;
	return to;
}

/* Whoever holds on to thousands of buffers of services that are gone gets no more of them: what
 * waits in queues is dropped, and what is held stays readable for ever and can't be sent. */
static bool room_for_all(const struct core *c, const struct gone *g)
{
	return g != NULL && c->gone_used <= (GONE_TIMES - 1) * c->own_rows;
}

static void queue_move(struct core *c, struct csock *s, struct gone *g)
{
	uint32_t *at = &s->head, next;

	for (uint32_t row = s->head; row != NIL; row = next) {
		next = c->loan[row].next;
		if (row < c->own_rows)
			row = loan_move(c, row, g);
		*at = row;
		at = &c->loan[row].next;
		s->tail = row;
	}
	*at = NIL;
}

/* Sends of them that neighbours still read (those to the service are over) know them by row. */
static void sends_move(struct core *c)
{
	for (uint32_t i = 0; i < c->token_rows; i++) {
		struct token *t = &c->token[i];

		if (t->kind != TOKEN_LOAN || t->link == 0 || t->what >= c->own_rows)
			continue;
		t->what = c->loan[t->what].next;
		if (t->what == NIL)
			t->kind = TOKEN_EMPTY;
	}
}

static void held_move(struct core *c, struct gone *g)
{
	bool room = room_for_all(c, g);

	for (uint32_t row = 0; row < c->max_loans; row++) {
		bool held = c->loan[row].holds != 0 || c->loan[row].sends != 0;

		if (c->loan[row].name == LOAN_NONE)
			continue;
		if (held && room) {
			loan_move(c, row, g);
			continue;
		}
		c->lent -= c->loan[row].holds != 0;
		if (held && g != NULL)
			g->rows++; /* never given back: it stays mapped */
		c->loan[row] = (struct loan){.name = LOAN_NONE, .next = NIL};
	}
	sends_move(c);
}

/* ---- sockets ---- */

/* Whoever sent it has it back from a service that is gone, and writes there. */
static bool lies_at_neighbours(const struct core *c, const struct csock *s)
{
	for (uint32_t row = s->head; row != NIL; row = c->loan[row].next)
		if (row < c->own_rows && c->loan[row].region != 0)
			return true;
	return false;
}

static void sock_lose(struct csock *s, struct gone *g)
{
	struct core *c = csock_core(s);
	bool opened = s->state == CSOCK_CONNECTED || s->state == CSOCK_CONNECTING;
	bool kept = csock_kept(s);

	s->sid = s->ticket = 0;
	if (!kept)
		s->inflight = s->limit = 0;
	s->lease = 0; /* of what was lent nobody else can read any more */
	if (s->flags & CSOCK_SHARED)
		s->flags |= CSOCK_JOINT;
	s->flags &= ~(uint32_t)(CSOCK_TOCLOSE | CSOCK_SHARED | CSOCK_HINT | CSOCK_EXCLUSIVE);
	if (s->state == CSOCK_CLOSED) {
		if (s->flags & CSOCK_LINGERS)
			wlink_wake(s->waiters);
		if (!kept)
			link_recall(s);
		return;
	}
	if (s->state == CSOCK_LISTEN) {
		/* Those on its queue have rows of their own, and go by themselves. */
		s->head = s->tail = NIL;
		s->unread = s->taken = 0;
		return;
	}
	if (room_for_all(c, g) && !lies_at_neighbours(c, s))
		queue_move(c, s, g);
	else
		csock_drop_queue(s);
	if (!csock_connects(s) || !opened || kept)
		return;
	if (s->fd >= 0) {
		csock_broken(s, -ECONNRESET);
		return;
	}
	csock_drop_queue(s);
	csock_free(s);
}

static void socks_lose(struct gone *g)
{
	bool first = client.core[0].row == NULL;

	for (unsigned i = 0; i < client.n_tables; i++)
		BUG_ON(core_rows_init(&client.core[i]) != 0);
	for (unsigned z = 0; z < client.n_zones; z++) {
		for (uint32_t i = 0; i < client.top[z]; i++) {
			struct csock *s = &client.sock[z * client.zone_rows + i];

			if (s->state != CSOCK_FREE)
				sock_lose(s, g);
			else if (first)
				csock_free(s);
		}
	}
}

/* ---- the rest ---- */

static void tokens_home(struct core *c)
{
	for (uint32_t i = 0; i < c->max_tokens; i++) {
		if (c->token[i].kind != TOKEN_FREE && c->token[i].link == 0)
			token_done(c, i);
	}
}

void client_lose(struct mapping *packets)
{
	struct gone *g = calloc(1, sizeof(*g));

	/* What it said last. */
	for (unsigned i = 0; i < client.n_cores; i++)
		core_drain(&client.core[i]);
	links_lose();
	if (g != NULL) {
		/* What is held may all be dropped before the end: one more, which is this function's. */
		*g = (struct gone){
			.next = client.gone, .epoch = client.epoch, .packets = *packets, .rows = 1};
		client.gone = g;
		*packets = (struct mapping){NULL, 0};
	}
	client.lost = true;
	for (unsigned i = 0; i < client.n_cores; i++)
		tokens_home(&client.core[i]);
	socks_lose(g);
	for (unsigned i = 0; i < client.n_cores; i++) {
		held_move(&client.core[i], g);
		client.core[i].to_close = NIL;
		replies_lose(&client.core[i]);
	}
	if (g != NULL && links_hold_packets())
		g->rows++; /* never given back: it stays mapped */
	links_lost(g);
	if (g != NULL)
		lost_unhold(g);
	client.epoch++;
	if (client.any != NULL)
		wlink_wake(client.any);
}
