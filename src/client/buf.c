/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Buffers: what the program holds, and what is in flight. A handle is
 *
 *	 63    56 55    48 47           32 31                             0
 *	┌────────┬────────┬───────────────┬────────────────────────────────┐
 *	│ LENT   │  core  │     epoch     │ the loan's name                │
 *	│ EMPTY  │  core  │       0       │ row of an empty datagram       │
 *	│ LINK   │  core  │  generation   │ row of what a neighbour sent   │
 *	│ OWN    │  core  │  generation   │ the block's offset, in units   │
 *	└────────┴────────┴───────────────┴────────────────────────────────┘
 *
 * A loan's name has the generation of the service's table in it, and the epoch says which service's
 * (lost.c); a block's generation is ours. So a handle that is used after its last hold ended fails,
 * unless the same place was taken thousands of times since (H33).
 */
#include "client/client_priv.h"

#define HANDLE_LENT  1u
#define HANDLE_OWN   2u
#define HANDLE_EMPTY 3u
#define HANDLE_LINK  4u
#define HOLDS_MAX    INT16_MAX

uint64_t loan_handle(const struct core *c, uint32_t row)
{
	uint64_t core = (uint64_t)c->id << 48;
	const struct loan *l = &c->loan[row];

	if (likely(row < c->own_rows))
		return (uint64_t)HANDLE_LENT << 56 | core | (uint64_t)client.epoch << 32 | l->name;
	if (loan_is_link(c, row))
		return (uint64_t)HANDLE_LINK << 56 | core | (uint64_t)link_row_gen(c, row) << 32 |
		       row;
	if (loan_is_gone(c, row))
		return (uint64_t)HANDLE_LENT << 56 | core | (uint64_t)c->dgram[row].epoch << 32 |
		       l->name;
	return (uint64_t)HANDLE_EMPTY << 56 | core | row;
}

uint64_t block_handle(const struct core *c, uint64_t off)
{
	uint32_t unit = (uint32_t)(off / BLOCK_UNIT);

	return (uint64_t)HANDLE_OWN << 56 | (uint64_t)c->id << 48 |
	       (uint64_t)c->block[unit].gen << 32 | unit;
}

/* An empty datagram's row, or what lies at a neighbour's or came from there; or ret, which holds
 * every loan there can be, seems full: then the stack lies about what it took. */
void loan_put_slow(struct core *c, uint32_t row)
{
	struct loan *l = &c->loan[row];

	if (row < c->own_rows && l->region != 0) {
		link_region_put(l->region);
		l->region = 0;
		loan_put(c, row);
		return;
	}
	if (row < c->own_rows) {
		l->name = LOAN_NONE;
		client.stats.bad_events++;
		return;
	}
	if (loan_is_link(c, row)) {
		link_row_put(c, row);
		return;
	}
	if (loan_is_gone(c, row)) {
		lost_loan_put(c, row);
		return;
	}
	l->base = NULL;
	l->next = c->empty_free;
	c->empty_free = row;
}

void loan_refuse(struct core *c, uint32_t name)
{
	struct chan_ring *ret = &c->end.ret;

	if (loan_index(name) >= c->max_loans || c->loan[loan_index(name)].name != LOAN_NONE ||
	    chan_free(ret, 1) == 0) {
		client.stats.bad_events++;
		return;
	}
	chan_send_name(ret, name);
	core_kick(c);
}

void sock_starved(struct csock *s)
{
	struct core *c = csock_core(s);

	if (s->flags & CSOCK_STARVED)
		return;
	core_wants_tokens(c);
	s->flags |= CSOCK_STARVED;
	s->starved_link = c->starved;
	c->starved = csock_row(s);
}

static void starved_wake(struct core *c)
{
	uint32_t i = c->starved;

	c->starved = NIL;
	while (i != NIL) {
		struct csock *s = &client.sock[i];

		i = s->starved_link;
		s->flags &= ~(uint32_t)(CSOCK_STARVED | CSOCK_NOBUF);
		if (s->state != CSOCK_FREE && s->state != CSOCK_CLOSED)
			csock_notify(s, EPOLLOUT);
	}
}

/* All go back to the arena: whole spans of them may serve another class. */
static cold_path void spares_drop(struct core *c)
{
	for (struct spares *s = c->spare; s < c->spare + SPARE_CLASSES; s++)
		while (s->n > 0)
			BUG_ON(arena_free(&c->arena, (uint64_t)s->unit[--s->n] * BLOCK_UNIT) != 0);
}

uint64_t block_alloc_slow(struct core *c, uint32_t bytes)
{
	uint64_t off = arena_alloc(&c->arena, bytes);

	if (unlikely(off == ARENA_NONE)) {
		spares_drop(c);
		off = arena_alloc(&c->arena, bytes);
		c->arena_short = off == ARENA_NONE;
	}
	return off;
}

void block_free(struct core *c, uint64_t off)
{
	BUG_ON(arena_free(&c->arena, off) != 0);
	c->arena_short = false;
	/* It may come home from the program, not by a token. */
	if (unlikely(c->starved != NIL))
		starved_wake(c);
}

static int find_lent(const struct zs_buf *b, struct buf_ref *r)
{
	uint32_t name = (uint32_t)b->handle;
	bool empty = b->handle >> 56 == HANDLE_EMPTY;
	uint32_t row = empty ? name : loan_index(name);
	const struct core *c = r->core;
	uint16_t epoch = (uint16_t)(b->handle >> 32);
	const struct loan *l;

	if (unlikely(!empty && epoch != client.epoch))
		row = lost_loan_find(c, name, epoch);
	else if (empty ? row - c->own_rows >= EMPTY_ROWS : row >= c->own_rows)
		return -EINVAL;
	if (unlikely(row == NIL))
		return -EINVAL;
	l = &c->loan[row];
	if (l->holds == 0 || (!empty && l->name != name))
		return -EINVAL;
	r->lent = true;
	r->what = row;
	r->off = (uint64_t)((const uint8_t *)b->data - l->base);
	return r->off <= l->len && b->len <= l->len - r->off ? 0 : -ERANGE;
}

static int find_link(const struct zs_buf *b, struct buf_ref *r)
{
	uint32_t row = (uint32_t)b->handle;
	const struct core *c = r->core;
	const struct loan *l = &c->loan[row];

	if (row < c->link_rows || row - c->link_rows >= c->link_fresh || l->holds == 0 ||
	    link_row_gen(c, row) != (uint16_t)(b->handle >> 32))
		return -EINVAL;
	r->lent = true;
	r->what = row;
	r->off = (uint64_t)((const uint8_t *)b->data - l->base);
	return r->off <= l->len && b->len <= l->len - r->off ? 0 : -ERANGE;
}

static int find_own(const struct zs_buf *b, struct buf_ref *r)
{
	struct core *c = r->core;
	uint32_t unit = (uint32_t)b->handle;
	uint64_t at = (uint64_t)unit * BLOCK_UNIT, in;
	uint32_t bytes;

	if (at >= c->end.hdr.arena_bytes || c->block[unit].holds == 0 ||
	    c->block[unit].gen != (uint16_t)(b->handle >> 32))
		return -EINVAL;
	bytes = arena_block_bytes(&c->arena, at);
	in = (uint64_t)((const uint8_t *)b->data - ((const uint8_t *)c->map->arena + at));
	r->lent = false;
	r->what = unit;
	r->off = at + in;
	return in <= bytes && b->len <= bytes - in ? 0 : -ERANGE;
}

/* -EINVAL: not held. -ERANGE: held, but data and len are not inside; r is valid all the same. */
int buf_find(const struct zs_buf *b, struct buf_ref *r)
{
	unsigned core = b->handle >> 48 & 0xff;

	if (core >= client.n_tables)
		return -EINVAL;
	r->core = &client.core[core];
	switch (b->handle >> 56) {
	case HANDLE_LENT:
	case HANDLE_EMPTY:
		return find_lent(b, r);
	case HANDLE_OWN:
		return find_own(b, r);
	case HANDLE_LINK:
		return find_link(b, r);
	}
	return -EINVAL;
}

static void block_unused(struct core *c, uint32_t unit)
{
	if (c->block[unit].holds == 0 && c->block[unit].sends == 0)
		block_free(c, (uint64_t)unit * BLOCK_UNIT);
}

static void loan_unused(struct core *c, uint32_t row)
{
	if (c->loan[row].holds == 0 && c->loan[row].sends == 0)
		loan_put(c, row);
}

void buf_put(const struct buf_ref *r)
{
	struct core *c = r->core;

	if (!r->lent) {
		c->block[r->what].holds--;
		block_unused(c, r->what);
		return;
	}
	c->lent -= --c->loan[r->what].holds == 0;
	loan_unused(c, r->what);
}

void buf_to_send(const struct buf_ref *r)
{
	struct core *c = r->core;

	if (r->lent)
		c->loan[r->what].sends++;
	else
		c->block[r->what].sends++;
	buf_put(r);
}

/* The block of a copying send. token_done() wakes who waits for one. */
static inline void copy_free(struct core *c, const struct token *t)
{
	uint32_t cls = spare_class(t->len);

	if (unlikely(cls == SPARE_CLASSES || c->spare[cls].n == SPARE_MAX)) {
		block_free(c, (uint64_t)t->what * BLOCK_UNIT);
		return;
	}
	c->spare[cls].unit[c->spare[cls].n++] = t->what;
	c->arena_short = false;
}

/* A send of it is over. */
static inline void send_over(struct core *c, const struct token *t)
{
	switch (t->kind) {
	case TOKEN_COPY:
		copy_free(c, t);
		break;
	case TOKEN_BLOCK:
		c->block[t->what].sends--;
		block_unused(c, t->what);
		break;
	case TOKEN_LOAN:
		c->loan[t->what].sends--;
		loan_unused(c, t->what);
		break;
	}
}

int zs_buf_release(const struct zs_buf *bufs, int n)
{
	struct buf_ref r;
	int result = 0;

	client_lock();
	if (client_ready() < 0) {
		client_unlock();
		return -ENXIO;
	}
	for (int i = 0; i < n; i++) {
		if (bufs[i].handle == 0)
			continue;
		if (unlikely(buf_find(&bufs[i], &r) == -EINVAL))
			result = -EINVAL;
		else
			buf_put(&r);
	}
	client_unlock();
	return result;
}

uint16_t *buf_holds(const struct buf_ref *r)
{
	return r->lent ? &r->core->loan[r->what].holds : &r->core->block[r->what].holds;
}

int zs_buf_ref(const struct zs_buf *b)
{
	struct buf_ref r;
	uint16_t *holds;
	int result = 0;

	client_lock();
	if (client_ready() < 0) {
		result = -ENXIO;
	} else if (buf_find(b, &r) == -EINVAL) {
		result = -EINVAL;
	} else {
		holds = buf_holds(&r);
		if (*holds >= HOLDS_MAX)
			result = -EOVERFLOW;
		else
			(*holds)++;
	}
	client_unlock();
	return result;
}

/* Says nothing of arena_short: that a big block was not to be had must not stop small sends. */
int block_new(struct core *c, uint32_t size, struct zs_buf *b)
{
	uint64_t off = arena_alloc(&c->arena, size);
	struct block *k;

	if (unlikely(off == ARENA_NONE)) {
		spares_drop(c);
		off = arena_alloc(&c->arena, size);
	}
	if (off == ARENA_NONE)
		return -ENOBUFS;
	if (unlikely(core_blocks_open(c, off + ARENA_SPAN_BYTES) < 0)) {
		BUG_ON(arena_free(&c->arena, off) != 0);
		return -ENOBUFS;
	}
	k = &c->block[off / BLOCK_UNIT];
	k->gen++;
	k->holds = 1;
	k->sends = 0;
	*b = (struct zs_buf){
		.data = (uint8_t *)c->map->arena + off,
		.len = size,
		.handle = block_handle(c, off),
	};
	return 0;
}

int zs_buf_alloc(int fd, uint32_t size, struct zs_buf *b)
{
	struct csock *s = NULL;
	int r = 0;

	if (size == 0 || size > ZS_BUF_MAX)
		return -EMSGSIZE;
	client_lock();
	if (fd >= 0)
		s = fd_csock(fd, &r);
	else
		r = client_ready();
	if (r == 0) {
		struct core *c = s != NULL ? csock_core(s) : &client.core[0];

		r = block_new(c, size, b);
		/* What came home in the meantime may be enough. */
		if (r == -ENOBUFS && client_drain() != 0)
			r = block_new(c, size, b);
		/* Who waits for EPOLLOUT now waits for a buffer. */
		if (r == -ENOBUFS && s != NULL) {
			s->flags |= CSOCK_NOBUF;
			sock_starved(s);
		}
	}
	client_unlock();
	return r;
}

/* ---- sends in flight ---- */

void cookie_unref(struct core *c, struct csock *s, uint32_t row)
{
	struct cookie *k = &c->cookie[row];

	if (--k->sends != 0)
		return;
	if (s == NULL || s->state == CSOCK_CLOSED) {
		k->next = c->cookie_free;
		c->cookie_free = row;
		return;
	}
	k->next = NIL;
	if (s->cookie_head == NIL)
		s->cookie_head = row;
	else
		c->cookie[s->cookie_tail].next = row;
	s->cookie_tail = row;
	s->flags |= CSOCK_COOKIES;
	csock_notify(s, EPOLLWRBAND);
}

/* Room again: for those who asked in vain, when there is as much as csock_mask() calls writable. */
static void space_back(struct csock *s)
{
	if (likely((s->flags & CSOCK_NOSPACE) == 0) || s->inflight >= s->limit ||
	    s->limit - s->inflight < s->inflight / 2)
		return;
	s->flags &= ~(uint32_t)CSOCK_NOSPACE;
	csock_notify(s, EPOLLOUT);
}

void token_done(struct core *c, uint32_t i)
{
	const struct token *t = &c->token[i];

	if (unlikely(i >= c->max_tokens || t->kind == TOKEN_FREE || t->link != 0))
		client.stats.bad_events++;
	else
		token_home(c, i);
}

void token_home(struct core *c, uint32_t i)
{
	struct token *t = &c->token[i];
	struct csock *s = unlikely(t->link != 0) ? link_token_sock(t) : csock_find(c, t->sid);

	send_over(c, t);
	t->kind = TOKEN_FREE;
	t->link = 0;
	/* One of a service that is gone may be more than this one has. */
	if (likely(i < c->max_tokens)) {
		t->what = c->token_free;
		c->token_free = i;
		c->tokens_left++;
	}
	if (s != NULL)
		s->inflight -= t->len;
	if (t->cookie != NIL)
		cookie_unref(c, s, t->cookie);
	if (unlikely(t->stamp != 0) && s != NULL)
		errqueue_gone(s, t->stamp - 1);
	if (s != NULL && s->state != CSOCK_CLOSED)
		space_back(s);
	if (unlikely(c->starved != NIL))
		starved_wake(c);
}
