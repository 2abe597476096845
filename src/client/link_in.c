/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What comes over a link: entries, which become rows of receive queues, and what the other side
 * gives back. Each is copied out of shared memory once, checked, then used (H32): what can't be
 * ends the link. An entry for a stream that is not there (any more) is no offence; it goes back at
 * once, marked, so that its sender learns as from a reset.
 *
 * What we give back is put by, and shown a little later, together: it would cost the other side a
 * cache line in the middle of a dialogue.
 */
#define _GNU_SOURCE
#include <poll.h>

#include "client/link.h"

#define TURN_MAX  LINK_SLOTS /* entries of a link in one turn */
#define IDLE_TURN 64u	     /* turns without news before what was put by is shown */
#define CUT_NS	  1000000000 /* for an entry to be written to its end */

/* ---- giving back ---- */

/* A buffer that comes back is news only to who waits for one, unless its stream is no more. */
void link_flush(struct plink *l)
{
	bool news = l->state != LINK_UP || l->kept;

	l->idle = 0;
	if (l->n_ret == 0)
		return;
	for (unsigned i = 0; i < l->n_ret; i++) {
		news |= (l->ret[i] & LINK_RET_GONE) != 0;
		link_give_back(&l->end, l->ret[i]);
	}
	l->n_ret = 0;
	l->ret_bytes = 0;
	if (!l->deaf && news)
		link_ring(l);
	else if (!l->deaf)
		link_ring_trifle(l);
	link_release(l);
}

void link_put_back(struct plink *l, uint32_t word, uint32_t bytes)
{
	l->in--;
	l->ret[l->n_ret++] = word;
	l->ret_bytes += bytes;
	if (unlikely(l->n_ret == LINK_RET_BATCH || l->ret_bytes >= LINK_RET_BYTES ||
		     l->state != LINK_UP))
		link_flush(l);
}

/* ---- what was given back ---- */

/* Its stream is not there any more: as after data to who has closed. */
static void refused(struct csock *s)
{
	if (s == NULL || s->state != CSOCK_CONNECTED)
		return;
	if (csock_kept(s))
		stream_leave(s);
	csock_broken(s, s->shut & SHUT_RD_BIT ? -EPIPE : -ECONNRESET);
}

static void back(struct plink *l, struct core *c, uint32_t i)
{
	const struct csock *s = link_token_sock(&c->token[i]);
	struct lsock *ls = s != NULL ? lsock_of(s) : NULL;

	l->out--;
	l->out_lent -= c->token[i].kind == TOKEN_LOAN;
	/* A word of link_say()'s has no place of its own. */
	if (likely(ls != NULL && ls->serial == s->serial && c->token[i].len > 0))
		ls->places--;
	token_home(c, i);
}

static bool take_return(struct plink *l, uint32_t word)
{
	uint32_t core = word >> 24 & 15, i = word & 0xffffff;
	struct core *c = &client.core[core];
	struct csock *s;

	if (core >= client.n_tables || i >= c->token_rows || c->token[i].kind == TOKEN_FREE ||
	    c->token[i].link != 1 + (unsigned)(l - client.links->link))
		return false;
	s = link_token_sock(&c->token[i]);
	back(l, c, i);
	if (unlikely(word & LINK_RET_GONE))
		refused(s);
	return true;
}

struct csock *link_token_sock(const struct token *t)
{
	struct csock *s = &client.sock[t->sid];

	if (unlikely(t->sid == NIL) || s->state == CSOCK_FREE || (uint16_t)s->serial != t->serial)
		return NULL;
	return s;
}

static unsigned take_returns(struct plink *l)
{
	unsigned n = 0;
	uint32_t word;

	while (link_returned(&l->end, &word)) {
		if (unlikely(!take_return(l, word))) {
			link_break(l);
			return n;
		}
		n++;
	}
	for (unsigned i = 0; n > 0 && i < client.n_cores; i++)
		core_tokens_came(&client.core[i]);
	return n;
}

void link_tokens_home(struct plink *l)
{
	uint8_t name = (uint8_t)(1 + (l - client.links->link));

	for (unsigned k = 0; k < client.n_tables && l->out > 0; k++) {
		struct core *c = &client.core[k];

		for (uint32_t i = 0; i < c->token_rows && l->out > 0; i++) {
			if (c->token[i].kind == TOKEN_FREE || c->token[i].link != name)
				continue;
			back(l, c, i);
		}
	}
}

/* ---- entries ---- */

/* The head of an entry, copied. */
struct head {
	uint32_t seq, to, gen, token, len, region, off, flags;
};
_Static_assert(sizeof(struct head) == offsetof(struct link_entry, data), "the same");

/* The socket of the other side's name for it; NULL: there is none. */
static struct csock *stream_of(struct plink *l, const struct head *h)
{
	struct csock *s;
	struct lsock *ls;

	if (unlikely(h->to >= client.n_zones * client.zone_rows))
		return NULL;
	s = &client.sock[h->to];
	ls = &client.links->sock[h->to];
	if (unlikely(!(s->flags & CSOCK_LINKED) || ls->gen != h->gen || ls->rx == RX_TCP ||
		     l != &client.links->link[ls->link] || s->state != CSOCK_CONNECTED))
		return NULL;
	return s;
}

/* The row of an entry; NIL: it can't be, or *lost: it could before. */
static uint32_t row_of(struct plink *l, struct core *c, const struct head *h,
		       const struct link_entry *q, bool *lost)
{
	uint8_t region = REGION_NOBODY;
	const uint8_t *base = NULL;
	uint32_t row;

	if (h->region != LINK_REGION_NONE) {
		base = region_at(l, h->region, h->off, h->len, &region);
		if (unlikely(base == NULL)) {
			*lost = region == REGION_LOST;
			return NIL;
		}
	} else if (unlikely(h->len > LINK_INLINE)) {
		return NIL;
	}
	row = link_row_new(c);
	if (unlikely(row == NIL))
		return NIL;
	if (base == NULL) {
		base = link_row_data(c, row);
		memcpy(link_row_data(c, row), q->data, h->len);
	} else if (region != REGION_NOBODY) {
		client.links->region[region].rows++;
	} else {
		client.links->packet_rows++;
	}
	c->loan[row] = (struct loan){.base = base, .name = 1, .len = h->len, .next = NIL};
	link_row(c, row)->token = h->token;
	link_row(c, row)->link = (uint8_t)(l - client.links->link);
	link_row(c, row)->region = region;
	return row;
}

/* Until the mark in the stream. */
static void wait_append(struct core *c, struct lsock *ls, uint32_t row, uint32_t len)
{
	if (ls->wait_head == NIL)
		ls->wait_head = row;
	else
		c->loan[ls->wait_tail].next = row;
	ls->wait_tail = row;
	ls->wait_bytes += len;
}

static void deliver(struct core *c, struct csock *s, uint32_t row, const struct head *h)
{
	struct lsock *ls = lsock_of(s);

	if (unlikely(ls->rx == RX_READY)) {
		wait_append(c, ls, row, h->len);
		return;
	}
	csock_queue(c, s, row);
	s->unread += likely(!csock_records(s)) ? h->len : 1;
	if (unlikely(h->flags & LINK_OOB)) {
		s->urg_ahead = s->unread - 1;
		s->flags = (s->flags | CSOCK_URG) & ~(uint32_t)CSOCK_URG_READ;
		csock_notify(s, EPOLLPRI);
	}
	csock_notify(s, EPOLLIN);
}

/* An entry without payload. */
static bool take_word(struct plink *l, const struct head *h)
{
	struct csock *s = h->flags != LINK_LOST ? stream_of(l, h) : NULL;
	uint32_t gone = s == NULL && h->flags != LINK_LOST ? LINK_RET_GONE : 0;

	if (l->in + l->n_ret >= LINK_RETURNS || !kept_told(l, s, h->flags))
		return false;
	l->in++;
	link_put_back(l, h->token | gone, 0);
	return true;
}

/* Its bytes can't be seen: they lie where a service would have shown us that is gone. */
static void take_hole(struct plink *l, struct csock *s, const struct head *h)
{
	link_put_back(l, h->token | LINK_RET_GONE, h->len);
	if (csock_kept(s))
		kept_break(s, -ECONNRESET);
}

/* A stream has no empty entry, and a record no urgent byte. */
static inline bool may_be(const struct csock *s, const struct head *h)
{
	if (unlikely(s == NULL))
		return true;
	return likely(!csock_records(s)) ? h->len != 0 : (h->flags & LINK_OOB) == 0;
}

/* False: the other side has no business writing this. */
static bool take_entry(struct plink *l, const struct link_entry *q)
{
	struct csock *s;
	struct head h;
	uint32_t row;
	bool lost = false;

	chan_copy(&h, q, sizeof(h));
	if (unlikely(h.len == 0 && h.flags != LINK_EMPTY && h.token <= LINK_TOKEN_MASK))
		return take_word(l, &h);
	if (unlikely(h.len > CHAN_SEND_MAX || h.token > LINK_TOKEN_MASK ||
		     l->in + l->n_ret >= LINK_RETURNS))
		return false;
	s = stream_of(l, &h);
	if (unlikely(!may_be(s, &h)))
		return false;
	l->in++;
	if (unlikely(s == NULL)) {
		link_put_back(l, h.token | LINK_RET_GONE, h.len);
		return true;
	}
	/* Who reads no more takes it, as TCP does. */
	if (unlikely(s->shut & SHUT_RD_BIT)) {
		link_put_back(l, h.token, h.len);
		return true;
	}
	row = row_of(l, csock_core(s), &h, q, &lost);
	if (unlikely(lost)) {
		take_hole(l, s, &h);
		return true;
	}
	if (unlikely(row == NIL)) {
		l->in--;
		return false;
	}
	deliver(csock_core(s), s, row, &h);
	return true;
}

static unsigned take_entries(struct plink *l, unsigned max)
{
	const struct link_entry *q;
	unsigned n = 0;

	while (n < max && (q = link_next(&l->end)) != NULL) {
		__builtin_prefetch(&l->end.other->entry[(l->end.rx + 1) % LINK_SLOTS]);
		if (unlikely(!take_entry(l, q))) {
			link_break(l);
			return n;
		}
		n++;
		if (unlikely(link_take(&l->end)))
			link_ring_trifle(l);
		if (unlikely(l->state != LINK_UP))
			break;
	}
	return n;
}

/* What is found in it may end it. */
unsigned link_drain(struct plink *l)
{
	unsigned n;

	l->reads = true;
	n = take_returns(l);
	if (likely(l->state == LINK_UP))
		n += take_entries(l, TURN_MAX);
	if (l->n_ret > 0 && (n > 0 ? (l->idle = 0) : ++l->idle) >= IDLE_TURN)
		link_flush(l);
	if (unlikely(l->kept))
		kept_turn(l);
	l->reads = false;
	if (unlikely(l->state == LINK_ENDED))
		link_release(l);
	return n;
}

void link_settle(struct plink *l)
{
	bool reads = l->reads;

	l->reads = true;
	if (l->state == LINK_UP)
		take_entries(l, LINK_SLOTS);
	l->reads = reads;
}

/* The other side is in the middle of an entry for some instructions, if it isn't kept from going
 * on. False: it is not to be waited for. */
static bool wait_written(struct plink *l)
{
	struct pollfd p = {.fd = l->pid_fd, .events = POLLIN};
	int64_t until = 0;

	while (link_is_written(&l->end)) {
		if (until == 0)
			until = now_ns() + CUT_NS;
		else if (poll(&p, 1, 0) > 0)
			return true; /* it ended, and wrote it not */
		else if (now_ns() > until)
			return false;
		client_yield();
	}
	return true;
}

void link_cut_off(struct plink *l)
{
	if (l->state != LINK_UP)
		return;
	link_cut(&l->end);
	if (unlikely(!wait_written(l)))
		link_break(l);
	link_settle(l);
	records_cut(l);
}

unsigned links_drain(void)
{
	struct links *k = client.links;
	unsigned n = 0;

	if (unlikely(k->rung))
		links_look();
	for (unsigned i = 0; i < k->n; i++)
		if (k->link[i].state != LINK_FREE)
			n += link_drain(&k->link[i]);
	if (unlikely(k->again))
		records_again();
	return n;
}
