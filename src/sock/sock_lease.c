/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stream that several hold and one reads: most who inherit a connection only keep it. Asking for
 * each piece (CHAN_OP_READ) costs its reader a turn of the service and a copy. So who has read some
 * times in a row, and nobody else meanwhile, gets a *lease*: what comes is lent to it as to the
 * only holder. The lease can be ended at any time, without the reader, which may be asleep or
 * stopped: what it has *taken* of the stream stands in its channel, in one word,
 *
 *	 63   62   61    56 55        48 47                        0
 *	┌────┬────┬────────┬────────────┬───────────────────────────┐
 *	│ CUT│LEFT│ number │ generation │ bytes taken               │
 *	└────┴────┴────────┴────────────┴───────────────────────────┘
 *
 * which the reader changes by compare-and-swap before it touches the bytes, and we by setting CUT.
 * So each byte is either the reader's or, from CUT on, everybody's again: it is copied to what is
 * pending, and the reader gives back what it was lent when it finds out (CHAN_EV_LEASE). LEFT is
 * the reader's own end: it closes the socket, and has forgotten what it had not taken.
 *
 * The word is the application's to write: what is more than it was told of is counted as a mistake,
 * and as all of that (H32). It can harm nobody's stream but that which it shares.
 */
#include <stdlib.h>

#include "sock/sock_share.h"

#define LEASE_BUFS  128u	 /* lent under a lease and not taken */
#define LEASE_BYTES (256u << 10) /* … at most; so much is copied when it ends */
#define TURNS_MIN   2u		 /* reads in a row that bring a lease */
#define TURNS_MAX   256u	 /* … after others have ended the ones before */
#define CUT_TRIES   64u		 /* while the reader takes more */

struct sock_lease {
	struct sock *k; /* the reader */
	uint64_t name;	/* the word as it was at first */
	uint64_t told;	/* bytes lent since then */
	uint64_t first; /* … before buf[head] */
	uint32_t head, n;
	struct lease_buf {
		uint32_t loan, len;
	} buf[LEASE_BUFS];
};

/* ---- the word ---- */

static _Atomic uint64_t *word(const struct sock_lease *l)
{
	return &l->k->app->end.sh->lease[chan_lease_number(l->name)];
}

/* How far it is taken. */
static uint64_t taken(struct sock_lease *l, uint64_t w)
{
	uint64_t n = w & CHAN_LEASE_TAKEN;

	if (likely(chan_lease_same(w, l->name) && n <= l->told))
		return n;
	l->k->app->s->n.bad_commands++;
	return l->told;
}

struct sock *lease_holder(const struct sock_desc *sh)
{
	return sh->lease != NULL ? sh->lease->k : NULL;
}

uint64_t lease_unread(const struct sock_desc *sh)
{
	struct sock_lease *l = sh->lease;
	uint64_t w;

	if (likely(l == NULL))
		return 0;
	w = atomic_load_explicit(word(l), memory_order_relaxed) & CHAN_LEASE_TAKEN;
	return w <= l->told ? l->told - w : 0;
}

/* ---- what was lent ---- */

static struct lease_buf *buf_at(struct sock_lease *l, uint32_t i)
{
	return &l->buf[(l->head + i) % LEASE_BUFS];
}

/* The buffer, if the application has it still, as it must. */
static struct rte_mbuf *lent(struct sock_lease *l, const struct lease_buf *b)
{
	struct rte_mbuf *m = loan_look(&l->k->app->loans, b->loan);

	return m != NULL && pkt_note(m) == l->k->sid && m->data_len == b->len ? m : NULL;
}

/* Buffers that are taken to their end are the reader's own affair. */
static void pass_taken(struct sock_lease *l, uint64_t at)
{
	while (l->n > 0 && l->first + buf_at(l, 0)->len <= at) {
		l->first += buf_at(l, 0)->len;
		l->head++;
		l->n--;
	}
}

static bool room(struct sock_lease *l)
{
	uint64_t w = atomic_load_explicit(word(l), memory_order_relaxed);
	struct sock *k = l->k;

	pass_taken(l, taken(l, w));
	return l->n < LEASE_BUFS && l->told - l->first < LEASE_BYTES && app_room(k->app, 3) &&
	       sock_lend_room(k, 1) > 0;
}

static void note_lent(struct sock_lease *l, const struct chan_cqe *e)
{
	*buf_at(l, l->n++) = (struct lease_buf){e->loan, (uint32_t)e->res};
	l->told += (uint32_t)e->res;
}

bool lease_tell(struct sock *k)
{
	struct pkt_queue *q = &k->share->pending;
	struct sock_lease *l = k->share->lease;

	while (k->kind == SOCK_CONN && pending_gather(k, 1) > 0) {
		struct rte_mbuf *m = q->first;
		struct chan_cqe *e;

		if (!room(l))
			return false;
		q->bytes -= m->data_len;
		q->first = pkt_seg_split(m);
		e = sock_announce(k, m);
		if (e == NULL) {
			lease_free(k->share);
			return sock_unreachable(k);
		}
		note_lent(l, e);
	}
	k->news &= (uint16_t)~NEWS_DATA;
	return true;
}

/* ---- how it begins ---- */

static int number_take(struct sock_app *a)
{
	for (int i = 0; i < CHAN_LEASES; i++) {
		if (a->leases & 1ull << i)
			continue;
		a->leases |= 1ull << i;
		return i;
	}
	return -1;
}

/* Nothing of the stream stands where it can't be lent from in its order. */
static bool in_order(const struct sock_desc *sh)
{
	return sh->gap == GAP_NONE && sh->behind.first == NULL && sh->rest.first == NULL;
}

bool lease_due(struct sock *k)
{
	struct sock_desc *sh = k->share;

	if (sh->reader != k) {
		sh->reader = k;
		sh->turns = 0;
	}
	if (sh->turns_due == 0)
		sh->turns_due = TURNS_MIN;
	return ++sh->turns >= sh->turns_due && !(k->flags & SOCKF_PARKED) && in_order(sh) &&
	       app_room(k->app, 4) && sock_lend_room(k, 1) > 0 && pending_gather(k, 1) > 0;
}

bool lease_begin(struct sock *k)
{
	struct sock_app *a = k->app;
	struct sock_lease *l = calloc(1, sizeof(*l));
	int number = l != NULL ? number_take(a) : -1;

	if (number < 0) {
		free(l);
		return false;
	}
	l->k = k;
	a->lease_gen = a->lease_gen % UINT8_MAX + 1;
	l->name = chan_lease_name((unsigned)number, a->lease_gen);
	atomic_store_explicit(word(l), l->name, memory_order_relaxed);
	k->share->lease = l;
	*app_event(a) = (struct chan_cqe){.ev = CHAN_EV_LEASE, .sid = k->sid, .off = l->name};
	a->s->n.leases++;
	/* It will not ask again before it is told to. */
	if (tcp_conn_got_fin(k->conn) || tcp_conn_error(k->conn) != 0)
		k->news |= NEWS_READABLE;
	return true;
}

/* ---- how it ends ---- */

void lease_free(struct sock_desc *sh)
{
	struct sock_lease *l = sh->lease;

	if (l == NULL)
		return;
	l->k->app->leases &= ~(1ull << chan_lease_number(l->name));
	sh->lease = NULL;
	free(l);
}

/* Buffers of a lease that were not taken to their end, first to last. Begins with .end = first. */
struct untaken {
	uint32_t i;
	uint64_t end; /* of the buffer, in bytes of the lease */
	const struct lease_buf *b;
	struct rte_mbuf *m;
	uint32_t skip; /* of its bytes that were */
};

/* The next that reaches beyond `at` and is still out. False: there is none. */
static bool next_untaken(struct sock_lease *l, uint64_t at, struct untaken *u)
{
	while (u->i < l->n) {
		u->b = buf_at(l, u->i++);
		u->end += u->b->len;
		u->m = u->end > at ? lent(l, u->b) : NULL;
		u->skip = at + u->b->len > u->end ? (uint32_t)(at + u->b->len - u->end) : 0;
		if (u->m != NULL)
			return true;
	}
	return false;
}

/* What is not taken, again; NULL also when there is nothing. False: no memory. */
static bool copy_rest(struct sock_lease *l, uint64_t at, struct pkt_queue *out)
{
	struct untaken u = {.end = l->first};

	while (next_untaken(l, at, &u)) {
		struct rte_mbuf *copy =
			stream_copy(l->k->app, pkt_data(u.m) + u.skip, u.b->len - u.skip);

		if (copy == NULL) {
			pkt_free(queue_all(out));
			return false;
		}
		queue_add(out, copy);
	}
	return true;
}

/* The first n bytes were taken meanwhile. */
static void drop_front(struct pkt_queue *q, uint64_t n)
{
	while (q->first != NULL && n > 0) {
		struct rte_mbuf *m = q->first;
		uint16_t part = n < m->data_len ? (uint16_t)n : m->data_len;

		q->bytes -= part;
		n -= part;
		if (part < m->data_len) {
			pkt_pull(m, part);
			return;
		}
		q->first = pkt_seg_split(m);
		pkt_seg_free(m);
	}
}

/* Sets CUT; where the word, which is *w, stands then. rest begins there, too. */
static uint64_t cut(struct sock_lease *l, uint64_t *w, struct pkt_queue *rest)
{
	uint64_t at = taken(l, *w), now;

	for (unsigned i = 0; i < CUT_TRIES; i++) {
		if (atomic_compare_exchange_strong(word(l), w, *w | CHAN_LEASE_CUT))
			return at;
		now = taken(l, *w);
		if (now < at)
			break;
		drop_front(rest, now - at);
		at = now;
	}
	/* Nobody takes so often in so short a time. */
	l->k->app->s->n.bad_commands++;
	atomic_store(word(l), l->name | CHAN_LEASE_CUT);
	drop_front(rest, rest->bytes);
	return l->told;
}

/* What the reader still has and has not taken is charged to nobody any more: the copies are. */
static void disown(struct sock_lease *l, uint64_t at)
{
	struct tcp *t = l->k->app->s->cfg.tcp;
	struct untaken u = {.end = l->first};

	while (next_untaken(l, at, &u)) {
		if (u.skip > 0) {
			pkt_trim_back(u.m, (uint16_t)u.skip);
			continue;
		}
		pkt_note_set(u.m, 0);
		l->k->lent--;
		tcp_recv_done(t, l->k->conn, pkt_charge(u.m), 0);
	}
}

/* The reader has forgotten it, or is gone: the buffers themselves. */
static void take_back(struct sock_lease *l, uint64_t at, struct pkt_queue *out)
{
	struct untaken u = {.end = l->first};

	while (next_untaken(l, at, &u)) {
		(void)loan_take_back(&l->k->app->loans, u.b->loan);
		l->k->lent--;
		app_lent(l->k->app, -1);
		if (u.skip > 0)
			pkt_pull(u.m, (uint16_t)u.skip);
		u.m->next = NULL;
		queue_add(out, u.m);
	}
}

static void put_first(struct sock_desc *sh, struct pkt_queue *q)
{
	struct pkt_queue behind = sh->pending;

	sh->pending = *q;
	if (behind.first != NULL)
		queue_add(&sh->pending, behind.first);
}

static void over(struct sock_desc *sh, struct pkt_queue *rest)
{
	struct sock *k = sh->lease->k;

	put_first(sh, rest);
	sh->reader = NULL;
	lease_free(sh);
	k->news |= NEWS_LEASE;
}

void lease_leave(struct sock_desc *sh)
{
	struct sock_lease *l = sh->lease;
	struct pkt_queue rest = {.first = NULL};
	uint64_t w = atomic_fetch_or(word(l), CHAN_LEASE_CUT);

	take_back(l, taken(l, w), &rest);
	over(sh, &rest);
}

int lease_end(struct sock_desc *sh)
{
	struct sock_lease *l = sh->lease;
	struct pkt_queue rest = {.first = NULL};
	uint64_t w = atomic_load_explicit(word(l), memory_order_acquire), at;

	if (l->k->kind != SOCK_CONN || (w & CHAN_LEASE_LEFT)) {
		lease_leave(sh);
		return 0;
	}
	pass_taken(l, taken(l, w));
	if (!copy_rest(l, taken(l, w), &rest))
		return SOCK_STALL;
	at = cut(l, &w, &rest);
	if (unlikely(w & CHAN_LEASE_LEFT)) {
		pkt_free(queue_all(&rest));
		take_back(l, at, &rest);
	} else {
		stream_charge(l->k, rest.first);
		l->k->app->s->n.domain_copied_bytes += rest.bytes;
		disown(l, at);
	}
	if (sh->turns_due < TURNS_MAX)
		sh->turns_due *= 2;
	l->k->app->s->n.leases_ended++;
	over(sh, &rest);
	return 0;
}

bool lease_tell_end(struct sock *k)
{
	bool more;

	if (likely(!(k->news & NEWS_LEASE)))
		return true;
	if (!app_room(k->app, 1))
		return false;
	more = share_has_more(k);
	k->news &= (uint16_t)~NEWS_LEASE;
	*app_event(k->app) =
		(struct chan_cqe){.ev = CHAN_EV_LEASE, .sid = k->sid, .aux = more ? 1 : 0};
	if (!more)
		k->flags |= SOCKF_WANT;
	return true;
}
