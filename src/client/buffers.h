/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is lent, allocated, and in flight: loans, blocks, tokens, cookies.
 */
#ifndef ZS_CLIENT_BUFFERS_H
#define ZS_CLIENT_BUFFERS_H

#include "client/channel.h"

/* ---- buf.c: loans, blocks, tokens, cookies ---- */
void loan_put_slow(struct core *c, uint32_t row) slow_path;
/* A buffer of which nobody has a hold goes back to the stack. */
static inline void loan_put(struct core *c, uint32_t row)
{
	struct chan_ring *ret = &c->end.ret;

	if (unlikely(row >= c->own_rows || chan_free(ret, 1) == 0 || c->loan[row].region != 0)) {
		loan_put_slow(c, row);
		return;
	}
	chan_send_name(ret, c->loan[row].name);
	c->loan[row].name = LOAN_NONE;
	core_kick(c);
}
/* Of one that was not taken: its name goes back at once. */
void loan_refuse(struct core *c, uint32_t name) slow_path;
uint64_t loan_handle(const struct core *c, uint32_t row);
static inline bool loan_is_gone(const struct core *c, uint32_t row)
{
	return row >= c->gone_rows && row < c->link_rows;
}
static inline bool loan_is_link(const struct core *c, uint32_t row)
{
	return row >= c->link_rows;
}

uint64_t block_handle(const struct core *c, uint64_t off);
/* A buffer, resolved: where its bytes are. */
struct buf_ref {
	struct core *core;
	bool lent;
	uint32_t what; /* loan row; block unit */
	uint64_t off;  /* of data: in the arena; relative to the lent bytes */
};
int buf_find(const struct zs_buf *b, struct buf_ref *r) must_check;
/* May the channel of this core not name it? */
static inline bool buf_is_foreign(const struct buf_ref *r, const struct core *c)
{
	return r->core != c || (r->lent && loan_is_gone(c, r->what));
}
/* Ends one hold of the program. */
void buf_put(const struct buf_ref *r);
/* One hold of the program becomes a send in flight, which its token ends. */
void buf_to_send(const struct buf_ref *r);
/* -ENOBUFS. One hold. */
int block_new(struct core *c, uint32_t size, struct zs_buf *b);
uint16_t *buf_holds(const struct buf_ref *r);
/* One send under a cookie is complete. s: its socket, or NULL when that is gone. */
void cookie_unref(struct core *c, struct csock *s, uint32_t row);
/* ARENA_NONE: there is none, which core->arena_short remembers. */
uint64_t block_alloc_slow(struct core *c, uint32_t bytes) slow_path;
void block_free(struct core *c, uint64_t off);
/* SPARE_CLASSES: it has none. */
static inline uint32_t spare_class(uint32_t bytes)
{
	return bytes <= 256 ? 0 : bytes <= 2048 ? 1 : SPARE_CLASSES;
}
static inline uint64_t block_alloc(struct core *c, uint32_t bytes)
{
	uint32_t cls = spare_class(bytes);

	if (unlikely(cls == SPARE_CLASSES || c->spare[cls].n == 0))
		return block_alloc_slow(c, bytes);
	return (uint64_t)c->spare[cls].unit[--c->spare[cls].n] * BLOCK_UNIT;
}
/* NIL: none is left. */
static inline uint32_t token_take(struct core *c)
{
	uint32_t t = c->token_free;

	if (unlikely(t == NIL))
		return NIL;
	c->token_free = c->token[t].what;
	c->tokens_left--;
	return t;
}
void token_done(struct core *c, uint32_t token);
/* Of one that is known to be in flight. */
void token_home(struct core *c, uint32_t token);
void sock_starved(struct csock *s);

/* A send's command, with its token; there is room (send_means). The caller fills of off and loan
 * what is not 0, and pushes it. Where a datagram goes stays as it was: it means nothing without a
 * port. what: by kind. */
static inline struct chan_sqe *send_begin(struct csock *s, uint32_t len, uint8_t kind,
					  uint32_t what)
{
	struct core *c = csock_core(s);
	struct chan_sqe *q = chan_slot(&c->end.sq, c->end.sq.own, sizeof(*q));
	uint32_t t = token_take(c);

	c->token[t] = (struct token){
		.sid = s->sid, .len = len, .what = what, .cookie = NIL, .kind = kind};
	q->sid = s->sid;
	q->ticket = s->ticket++;
	q->len = len;
	q->off = 0;
	q->token = t;
	q->loan = 0;
	s->inflight += len;
	client.stats.tx_bytes += len;
	return q;
}

#endif
