/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lending received buffers. A lent buffer carries the sid of its socket, so that its return finds
 * the window it is charged to.
 *
 * An application sees the memory of its trust domain only (DESIGN §3.7). What was received
 * elsewhere is copied into a buffer of its domain's (sock_own.c): domain_copied_bytes.
 *
 * Fairness: what one socket has received and the application does not read must not keep the
 * others from being told anything. The first half of what the application may hold is for whoever
 * comes first; of the second half a socket gets no more than an eighth of what is left, so that
 * even after dozens of unread sockets there is something for the next.
 *
 * Pressure: an application that holds more than a quarter of what it may hold gets small payloads
 * together in one buffer instead of one each; this is the copy that pressure_copied_bytes counts.
 */
#include "sock/sock_priv.h"

static bool in_region(const struct chan_map *map, uint32_t r, uintptr_t at, uint32_t len,
		      uint64_t *off)
{
	*off = at - (uintptr_t)map->region[r].base;
	return *off < map->region[r].bytes && len <= map->region[r].bytes - *off;
}

static slow_path bool other_region(struct sock_app *a, uintptr_t at, uint32_t len, uint64_t *off)
{
	for (uint32_t r = CHAN_REGION_ARENA; r < CHAN_REGION_MAX; r++) {
		if (!in_region(a->map, r, at, len, off))
			continue;
		a->last_region = r;
		return true;
	}
	return false;
}

static bool find(struct sock_app *a, struct rte_mbuf *m, struct sock_lent *out)
{
	uintptr_t at = (uintptr_t)pkt_data(m);

	if (unlikely(!in_region(a->map, a->last_region, at, m->data_len, &out->off)) &&
	    !other_region(a, at, m->data_len, &out->off))
		return false;
	out->region = (uint16_t)a->last_region;
	return true;
}

/* What a neighbour sent, which this one sees (sock_loop.c). */
static slow_path bool find_neighbour(struct sock_app *a, struct rte_mbuf *m, struct sock_lent *out)
{
	uintptr_t at = (uintptr_t)pkt_data(m);
	const struct sock_app *of = app_link_neighbour(a, at, m->data_len);

	if (of == NULL)
		return false;
	out->region = CHAN_REGION_NEIGHBOUR;
	out->off = (uint64_t)of->id << 32 | (uint32_t)(at - (uintptr_t)of->map->arena);
	return true;
}

static bool find_anywhere(struct sock_app *a, struct rte_mbuf *m, struct sock_lent *out)
{
	return likely(find(a, m, out)) || find_neighbour(a, m, out);
}

/* In its own arena an application is told of nothing: that is its to write. */
bool sock_sees(struct sock_app *a, struct rte_mbuf *m)
{
	struct sock_lent out;

	return find_anywhere(a, m, &out) && out.region != CHAN_REGION_ARENA;
}

bool sock_has(struct sock_app *a, struct rte_mbuf *m)
{
	struct sock_lent out;

	return find(a, m, &out);
}

/* Into a buffer of the application's own domain. */
static slow_path bool bring(struct sock_app *a, struct rte_mbuf **m)
{
	struct rte_mbuf *from = *m, *to;
	uint16_t len = from->data_len;

	to = own_take(a, len);
	if (to == NULL)
		return false;
	memcpy(pkt_put(to, len), pkt_data(from), len);
	a->s->n.domain_copied_bytes += len;
	pkt_seg_free(from);
	*m = to;
	return true;
}

bool sock_lend(struct sock *k, struct rte_mbuf **m, struct sock_lent *out)
{
	struct sock_app *a = k->app;
	struct socks *s = a->s;

	if (unlikely(!find_anywhere(a, *m, out)) && (!bring(a, m) || !find(a, *m, out)))
		return false;
	out->loan = loan_give(&a->loans, *m);
	ASSERT(out->loan != LOAN_NONE);
	pkt_note_set(*m, k->sid);
	k->lent++;
	app_lent(a, 1);
	s->n.loans++;
	return true;
}

uint32_t sock_lend_room(struct sock *k, uint32_t n)
{
	const struct loan_table *t = &k->app->loans;
	uint32_t half = t->quota / 2, most;

	n = app_lend_room(k->app, n);
	if (likely(t->held < half))
		return n < half - t->held ? n : half - t->held;
	if (n == 0)
		return 0;
	most = (t->quota - t->held + 7) / 8;
	most = most > k->lent ? most - k->lent : 0;
	return n < most ? n : most;
}

bool sock_pressure(const struct sock_app *a, uint32_t more)
{
	return a->loans.held + more > a->loans.quota / 4 || a->s->lent + more > a->s->lent_max / 2;
}

/* Moves the payload of from, and of as many after it as fit, to a fresh buffer. Returns the rest.
 */
static struct rte_mbuf *gather(struct socks *s, struct rte_mbuf *to, struct rte_mbuf *from,
			       uint32_t *freed)
{
	while (from != NULL && from->data_len <= pkt_room(to)) {
		uint16_t len = from->data_len;
		struct rte_mbuf *rest;

		memcpy(pkt_put(to, len), pkt_data(from), len);
		s->n.pressure_copied_bytes += len;
		*freed += pkt_charge(from);
		rest = pkt_seg_split(from);
		pkt_seg_free(from);
		from = rest;
	}
	return from;
}

struct rte_mbuf *sock_compact(struct sock *k, struct rte_mbuf *m, uint32_t *saved)
{
	struct socks *s = k->app->s;
	struct rte_mbuf *head = NULL, **link = &head;

	*saved = 0;
	while (m != NULL) {
		struct rte_mbuf *next = m->next, *to = NULL;
		uint32_t freed = 0;

		if (next != NULL)
			to = pkt_alloc_rx(s->cfg.pools);
		if (to != NULL && (uint32_t)m->data_len + next->data_len <= pkt_room(to)) {
			m = gather(s, to, m, &freed);
			if (freed > pkt_charge(to))
				*saved += freed - pkt_charge(to);
			*link = to;
		} else {
			pkt_free(to);
			*link = m;
			m = pkt_seg_split(m);
		}
		link = &(*link)->next;
	}
	return head;
}
