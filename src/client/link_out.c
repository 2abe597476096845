/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sending over a link. As at the service (send.c, zc.c): a token, an entry in a ring, and the token
 * that comes back ends it. Small payload of the copying calls lies in the entry; the rest in a
 * block of our arena, which the other side reads where it lies, as it does what the zero-copy calls
 * send. What we received from a third it is told by its place, too.
 *
 * From link_may_write() to end(), which is short, the other side may be waiting for us
 * (link_cut()).
 */
#include "client/iov.h"
#include "client/link.h"

#define RESERVE 8u /* entries for who is not a send of data: link_say() */
/* Beside the bytes of a record, so that the small ones of one do not fill a link. */
#define RECORD_CHARGE 1024u

/* Places of a link are all its streams', and one whose receiver doesn't read gives none back. The
 * first half is for whoever comes first; of the second a stream gets no more than an eighth of what
 * is left, so that even after dozens of such there is something for the next. */
static bool has_share(const struct csock *s, const struct plink *l, uint32_t n)
{
	const struct lsock *ls = lsock_of(s);
	uint32_t left = LINK_RETURNS - l->out, has = ls->serial == s->serial ? ls->places : 0;

	return l->out + n <= LINK_RETURNS && has + n <= (left + 7) / 8;
}

bool link_room(const struct csock *s, uint32_t n)
{
	struct plink *l = link_of(s);

	return l->state == LINK_UP && link_room_for(&l->end, n + RESERVE) >= n + RESERVE &&
	       (likely(l->out + n <= LINK_RETURNS / 2) || has_share(s, l, n));
}

bool link_may_write(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (likely(link_begin(&link_of(s)->end, ls->tx_cut)))
		return true;
	if (likely(!ls->kept)) {
		stream_tx_back(s);
		return false;
	}
	/* It was cut for others. Who does so all the time can't be written to. */
	ls->tx_cut = atomic_load(&link_of(s)->end.other->cut);
	if (link_begin(&link_of(s)->end, ls->tx_cut))
		return true;
	kept_break(s, -ECONNRESET);
	return false;
}

void link_write_nothing(struct csock *s)
{
	link_written(&link_of(s)->end);
}

/* The next entry; there is a token, and room. */
static struct link_entry *begin(struct csock *s, struct plink *l, uint32_t len, uint8_t kind,
				uint32_t what)
{
	struct core *c = csock_core(s);
	struct lsock *ls = lsock_of(s);
	struct link_entry *q = link_slot(&l->end);
	uint32_t charge = likely(!csock_records(s)) ? len : len + RECORD_CHARGE;
	uint32_t t = token_take(c);

	c->token[t] = (struct token){.sid = csock_row(s),
				     .len = charge,
				     .what = what,
				     .cookie = NIL,
				     .kind = kind,
				     .link = (uint8_t)(1 + ls->link),
				     .serial = (uint16_t)s->serial};
	q->to = ls->to_row;
	q->gen = ls->to_gen;
	q->token = (uint32_t)c->id << 24 | t;
	q->len = len;
	q->region = LINK_REGION_NONE;
	q->off = 0;
	q->flags = 0;
	l->out++;
	l->out_lent += kind == TOKEN_LOAN;
	if (unlikely(ls->serial != s->serial)) {
		ls->serial = s->serial;
		ls->places = 0;
	}
	ls->places++;
	s->inflight += charge;
	client.stats.tx_bytes += len;
	return q;
}

static void end(struct plink *l, uint32_t len)
{
	link_push(&l->end, len);
	link_ring(l);
}

/* As the other side knows it, whatever the next service calls us. */
static uint32_t own_region(const struct plink *l, const struct core *c)
{
	return link_region(l->own_app, c->id);
}

/* ---- what is not payload ---- */

bool link_say(struct plink *l, struct csock *s, uint32_t flags)
{
	struct core *c = s != NULL ? csock_core(s) : &client.core[0];
	struct link_entry *q = link_slot(&l->end);
	uint32_t t;

	if (link_room_for(&l->end, 1) == 0 || l->out == LINK_RETURNS)
		return false;
	if (!link_begin(&l->end, atomic_load(&l->end.other->cut)))
		return false;
	t = token_take(c);
	if (t == NIL) {
		link_written(&l->end);
		return false;
	}
	c->token[t] = (struct token){.sid = s != NULL ? csock_row(s) : NIL,
				     .cookie = NIL,
				     .kind = TOKEN_EMPTY,
				     .link = (uint8_t)(1 + (l - client.links->link)),
				     .serial = s != NULL ? (uint16_t)s->serial : 0};
	q->to = s != NULL ? lsock_of(s)->to_row : 0;
	q->gen = s != NULL ? lsock_of(s)->to_gen : 0;
	q->token = (uint32_t)c->id << 24 | t;
	q->len = 0;
	q->region = LINK_REGION_NONE;
	q->off = 0;
	q->flags = flags;
	l->out++;
	end(l, 0);
	return true;
}

/* ---- with a copy ---- */

bool link_send_plain(struct csock *s, const void *buf, uint32_t len)
{
	struct core *c = csock_core(s);
	struct plink *l = link_of(s);
	struct link_entry *q;
	uint64_t off;

	if (unlikely(!link_may_write(s)))
		return false;
	if (likely(len <= LINK_INLINE)) {
		q = begin(s, l, len, TOKEN_EMPTY, 0);
		memcpy(q->data, buf, len);
	} else {
		off = block_alloc(c, len);
		if (unlikely(off == ARENA_NONE)) {
			link_write_nothing(s);
			return false;
		}
		memcpy((uint8_t *)c->map->arena + off, buf, len);
		q = begin(s, l, len, TOKEN_COPY, (uint32_t)(off / BLOCK_UNIT));
		q->region = own_region(l, c);
		q->off = (uint32_t)off;
	}
	client.stats.api_copied_bytes += len;
	end(l, len);
	return true;
}

/* link_may_write() has said so. 0 or -EAGAIN. */
static int put_block(struct csock *s, struct iov_it *it, uint32_t n, int flags)
{
	struct core *c = csock_core(s);
	struct plink *l = link_of(s);
	struct link_entry *q;
	uint64_t off;

	if (n <= LINK_INLINE) {
		q = begin(s, l, n, TOKEN_EMPTY, 0);
		iov_get(it, q->data, n);
	} else {
		off = block_alloc(c, n);
		if (unlikely(off == ARENA_NONE)) {
			link_write_nothing(s);
			sock_starved(s);
			return -EAGAIN;
		}
		iov_get(it, (uint8_t *)c->map->arena + off, n);
		q = begin(s, l, n, TOKEN_COPY, (uint32_t)(off / BLOCK_UNIT));
		q->region = own_region(l, c);
		q->off = (uint32_t)off;
	}
	client.stats.api_copied_bytes += n;
	if ((flags & MSG_OOB) && it->left == 0)
		q->flags = LINK_OOB;
	if (unlikely(n == 0))
		q->flags = LINK_EMPTY;
	end(l, n);
	return 0;
}

int link_send_block(struct csock *s, struct iov_it *it, uint32_t n, int flags)
{
	int r;

	if (unlikely(!link_may_write(s)))
		return 0;
	r = put_block(s, it, n, flags);
	return likely(r == 0) ? (int)n : r;
}

int link_send_record(struct csock *s, struct iov_it *it)
{
	int r;

	if (unlikely(!link_may_write(s)))
		return 0;
	r = put_block(s, it, (uint32_t)it->left, 0);
	return likely(r == 0) ? 1 : r;
}

/* ---- without a copy ---- */

static void in_region(const struct link_map *m, const uint8_t *at, uint32_t *region, uint64_t *off)
{
	*region = m->id;
	*off = (uint64_t)(at - (const uint8_t *)m->at.at);
}

/* How the other side calls the bytes of a buffer: false, it can't see them. What is not ours has a
 * name of the service's, which is gone where the link is kept. */
static bool name(const struct plink *l, const struct buf_ref *r, uint32_t *region, uint64_t *off)
{
	const struct core *c = r->core;
	const struct loan *lo = &c->loan[r->what];

	if (!r->lent) {
		*region = own_region(l, c);
		*off = r->off;
	} else if (l->kept) {
		return false;
	} else if (r->what < c->own_rows && lo->region != 0) {
		in_region(&client.links->region[lo->region - 1], lo->base + r->off, region, off);
	} else if (r->what < c->own_rows) {
		*region = LINK_REGION_PACKETS;
		*off = (uint64_t)(lo->base -
				  (const uint8_t *)c->map->region[CHAN_REGION_PKT].base) +
		       r->off;
		if (*off >= c->map->region[CHAN_REGION_PKT].bytes)
			return false;
	} else if (loan_is_link(c, r->what) && link_row(c, r->what)->region != REGION_NOBODY) {
		const struct link_map *m = &client.links->region[link_row(c, r->what)->region];

		in_region(m, lo->base + r->off, region, off);
		if (m->id == 0)
			return false; /* it came from a service that is gone */
	} else {
		return false;
	}
	return *off <= UINT32_MAX;
}

/* Where it lies in memory of the neighbour's that the service lets us send out of: until the link
 * is released, and nothing of it is before this was given back. */
bool link_wire_name(const struct buf_ref *r, uint64_t *off)
{
	const struct core *c = r->core;
	const struct link_row *row = link_row(c, r->what);
	const struct plink *l = &client.links->link[row->link];
	const struct link_map *m;

	if (row->region == REGION_NOBODY || l->id == 0)
		return false;
	m = &client.links->region[row->region];
	if (m->id != link_region(l->app, c->id))
		return false;
	*off = (uint64_t)(c->loan[r->what].base - (const uint8_t *)m->at.at) + r->off;
	if (l->app != client.transport.service.app)
		*off |= (uint64_t)l->app << 32;
	return true;
}

bool link_can_name(const struct csock *s, const struct buf_ref *r)
{
	uint32_t region;
	uint64_t off;

	return r->core == csock_core(s) && name(link_of(s), r, &region, &off);
}

void link_send_buf(struct csock *s, uint32_t len, const struct buf_ref *r, uint32_t cookie)
{
	struct core *c = csock_core(s);
	struct plink *l = link_of(s);
	struct link_entry *q = begin(s, l, len, r->lent ? TOKEN_LOAN : TOKEN_BLOCK, r->what);
	uint32_t region = LINK_REGION_NONE;
	uint64_t off = 0;

	(void)name(l, r, &region, &off);
	q->region = region;
	q->off = (uint32_t)off;
	if (cookie != NIL) {
		c->token[q->token & 0xffffff].cookie = cookie;
		c->cookie[cookie].sends++;
	}
	buf_to_send(r);
	end(l, len);
}
