/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The neighbour table, for ARP and ND alike, with the states of RFC 4861 §7.3.2:
 *
 *   INCOMPLETE --answer--> REACHABLE --30 s--> STALE --use--> DELAY --5 s--> PROBE --3 tries-->
 * gone
 *                              ^------------- answer, or upper layer's word ------------'
 *
 * The table is bounded (H20). Who replaces whom: a station that introduces itself may take a free
 * slot or that of the oldest guest (one that did the same and was never used); our own packet may
 * also take a stale neighbour's, or that of one that does not answer. So forged requests only
 * ever replace each other.
 *
 * DEVIATION(RFC 4861 §6.3.4): the retransmission timer that a router advertises is not taken; one
 * interval for all keeps the list of deadlines sorted.
 */
#include <errno.h>
#include <stdlib.h>

#include "eth/eth_priv.h"

enum { WAITERS_MAX = 4096, EVICT_SCAN = 8 };

static uint32_t hash(const struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	uint64_t h = (a->q[0] ^ e->key) * 0x9fb21c651e98df25ull;

	h = (h ^ h >> 32 ^ a->q[1] ^ ifindex) * 0xd6e8feb86659fd93ull + e->key;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	return (uint32_t)(h >> 32) & e->bucket_mask;
}

int neigh_init(struct eth *e)
{
	uint64_t waiters = (uint64_t)e->cfg.max_neigh * e->cfg.queue_max;
	uint32_t buckets = 16;

	if (waiters > WAITERS_MAX)
		waiters = WAITERS_MAX;
	while (buckets < e->cfg.max_neigh)
		buckets *= 2;
	for (e->path_bits = 1; e->cfg.max_neigh >> e->path_bits; e->path_bits++)
		;
	e->bucket_mask = buckets - 1;
	e->neigh = aligned_alloc(64, e->cfg.max_neigh * sizeof(*e->neigh));
	e->bucket = calloc(buckets, sizeof(*e->bucket));
	e->waiters = calloc(waiters + 1, sizeof(*e->waiters));
	for (unsigned i = 0; i < LIST_MAX; i++)
		TAILQ_INIT(&e->list[i]);
	TAILQ_INIT(&e->work);
	if (e->neigh == NULL || e->bucket == NULL || e->waiters == NULL)
		return -ENOMEM;
	memset(e->neigh, 0, e->cfg.max_neigh * sizeof(*e->neigh));
	for (uint32_t i = 0; i < e->cfg.max_neigh; i++)
		TAILQ_INSERT_TAIL(&e->list[LIST_FREE], &e->neigh[i], place);
	for (uint64_t i = 0; i < waiters; i++) {
		e->waiters[i].next = e->free_waiter;
		e->free_waiter = &e->waiters[i];
	}
	return 0;
}

void neigh_fini(struct eth *e)
{
	struct pkt p;

	for (uint32_t i = 0; e->neigh != NULL && i < e->cfg.max_neigh; i++)
		while (neigh_unwait(e, &e->neigh[i], &p))
			pkt_drop(e->cfg.drops, p.m, DROP_SHUTDOWN);
	free(e->neigh);
	free(e->bucket);
	free(e->waiters);
}

struct neigh *neigh_find(const struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	struct neigh *n = e->bucket[hash(e, ifindex, a)];

	while (n != NULL && (n->ifindex != ifindex || !ip_addr_eq(&n->addr, a)))
		n = n->hash_next;
	return n;
}

static void place(struct eth *e, struct neigh *n, enum neigh_list list)
{
	TAILQ_REMOVE(&e->list[n->list], n, place);
	n->list = (uint8_t)list;
	TAILQ_INSERT_TAIL(&e->list[list], n, place);
}

static void work_add(struct eth *e, struct neigh *n)
{
	if (n->on_work)
		return;
	n->on_work = true;
	TAILQ_INSERT_TAIL(&e->work, n, work);
}

void neigh_work_done(struct eth *e, struct neigh *n)
{
	if (!n->on_work)
		return;
	n->on_work = false;
	TAILQ_REMOVE(&e->work, n, work);
}

static void solicit(struct eth *e, struct neigh *n)
{
	n->tries++;
	n->want_solicit = true;
	n->due = e->now + NEIGH_RETRANS_NS;
	place(e, n, LIST_RETRANS);
	work_add(e, n);
}

/* Out of the hash and onto the free list; those that wait are dropped for the given reason. */
static void release(struct eth *e, struct neigh *n, enum drop_reason why)
{
	struct neigh **at = &e->bucket[hash(e, n->ifindex, &n->addr)];
	struct pkt p;

	while (*at != n)
		at = &(*at)->hash_next;
	*at = n->hash_next;
	while (neigh_unwait(e, n, &p))
		pkt_drop(e->cfg.drops, p.m, why);
	neigh_work_done(e, n);
	n->want_solicit = false;
	n->state = NEIGH_FREE;
	n->generation++;
	place(e, n, LIST_FREE);
}

static bool idle(const struct eth *e, const struct neigh *n)
{
	return n->state == NEIGH_STALE ||
	       (n->state == NEIGH_REACHABLE && n->reachable_until <= e->now);
}

/* A slot for a packet of ours. */
static bool evict_for_us(struct eth *e)
{
	struct neigh *n = TAILQ_FIRST(&e->list[LIST_GUEST]);

	if (n == NULL) {
		n = TAILQ_FIRST(&e->list[LIST_KNOWN]);
		for (int i = 0; n != NULL && !idle(e, n) && i < EVICT_SCAN; i++)
			n = TAILQ_NEXT(n, place);
		if (n != NULL && !idle(e, n))
			n = NULL;
	}
	if (n == NULL) {
		/* Something scans a subnet through us: the oldest that was asked twice in vain. */
		n = TAILQ_FIRST(&e->list[LIST_RETRANS]);
		for (int i = 0; n != NULL && i < EVICT_SCAN; i++) {
			if (n->state == NEIGH_INCOMPLETE && n->tries > 1)
				break;
			n = TAILQ_NEXT(n, place);
		}
		if (n != NULL && (n->state != NEIGH_INCOMPLETE || n->tries <= 1))
			n = NULL;
	}
	if (n == NULL)
		return false;
	release(e, n, DROP_NEIGH_UNREACHABLE);
	return true;
}

/* Takes a free slot, there is one. */
static struct neigh *take(struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	struct neigh *n = TAILQ_FIRST(&e->list[LIST_FREE]);
	struct neigh **at = &e->bucket[hash(e, ifindex, a)];

	n->addr = *a;
	n->ifindex = ifindex;
	n->tries = 0;
	n->router = false;
	n->updated = e->now;
	n->reachable_until = 0;
	n->hash_next = *at;
	*at = n;
	return n;
}

struct neigh *neigh_create(struct eth *e, uint8_t ifindex, const struct ip_addr *a)
{
	struct neigh *n;

	if (TAILQ_EMPTY(&e->list[LIST_FREE]) && !evict_for_us(e))
		return NULL;
	n = take(e, ifindex, a);
	n->state = NEIGH_INCOMPLETE;
	solicit(e, n);
	return n;
}

void neigh_introduce(struct eth *e, uint8_t ifindex, const struct ip_addr *a,
		     const struct eth_addr *mac)
{
	struct neigh *n = neigh_find(e, ifindex, a);

	if (n != NULL) {
		neigh_update(e, n, mac);
		return;
	}
	if (TAILQ_EMPTY(&e->list[LIST_FREE])) {
		n = TAILQ_FIRST(&e->list[LIST_GUEST]);
		if (n == NULL)
			return;
		release(e, n, DROP_NEIGH_TABLE_FULL);
	}
	n = take(e, ifindex, a);
	n->mac = *mac;
	front_update(e, n);
	n->state = NEIGH_STALE;
	place(e, n, LIST_GUEST);
}

static void set_mac(struct eth *e, struct neigh *n, const struct eth_addr *mac)
{
	if (!neigh_has_mac(n) || !eth_addr_eq(&n->mac, mac))
		n->generation++;
	n->mac = *mac;
	front_update(e, n);
	n->updated = e->now;
	n->want_solicit = false;
	n->tries = 0;
	if (n->waiting > 0)
		work_add(e, n);
}

void neigh_update(struct eth *e, struct neigh *n, const struct eth_addr *mac)
{
	bool guest = n->list == LIST_GUEST;

	if (n->state == NEIGH_PERMANENT || (neigh_has_mac(n) && eth_addr_eq(&n->mac, mac)))
		return;
	set_mac(e, n, mac);
	n->state = NEIGH_STALE;
	if (!guest)
		place(e, n, LIST_KNOWN);
	/* It is in use already: the waiting packets count as that. */
	if (n->waiting > 0)
		neigh_use(e, n);
}

void neigh_confirm(struct eth *e, struct neigh *n, const struct eth_addr *mac)
{
	uint64_t base = e->nd[n->ifindex].reachable_ns;

	if (n->state == NEIGH_PERMANENT)
		return;
	set_mac(e, n, mac);
	n->state = NEIGH_REACHABLE;
	n->reachable_until = e->now + base / 2 + eth_random(e) % base;
	place(e, n, LIST_KNOWN);
}

void neigh_use(struct eth *e, struct neigh *n)
{
	if (n->state == NEIGH_REACHABLE && n->reachable_until <= e->now)
		n->state = NEIGH_STALE;
	if (n->state != NEIGH_STALE)
		return;
	n->state = NEIGH_DELAY;
	n->due = e->now + NEIGH_DELAY_NS;
	place(e, n, LIST_DELAY);
}

enum next neigh_wait(struct eth *e, struct neigh *n, struct pkt *p)
{
	struct waiter *w;
	struct pkt oldest;

	/* RFC 4861 §7.2.2: the newest packets are kept. */
	if (n->waiting > 0 && n->waiting >= e->cfg.queue_max && neigh_unwait(e, n, &oldest))
		pkt_drop(e->cfg.drops, oldest.m, DROP_NEIGH_QUEUE_FULL);
	w = e->free_waiter;
	if (w == NULL)
		return pkt_refuse(p, DROP_NEIGH_QUEUE_FULL);
	e->free_waiter = w->next;
	*w = (struct waiter){.p = *p};
	if (n->waiting++ == 0)
		n->first = w;
	else
		*n->last = w;
	n->last = &w->next;
	return NEXT_CONSUMED;
}

bool neigh_unwait(struct eth *e, struct neigh *n, struct pkt *p)
{
	struct waiter *w = n->first;

	if (n->waiting == 0)
		return false;
	n->waiting--;
	n->first = w->next;
	w->next = e->free_waiter;
	e->free_waiter = w;
	*p = w->p;
	return true;
}

/* Nobody answered: the first packet that waited goes up, for its sender to be told. */
static void fail(struct eth *e, struct neigh *n)
{
	struct eth_event ev = {.kind = ETH_EV_UNREACHABLE, .ifindex = n->ifindex, .addr = n->addr};
	struct pkt first;

	if (neigh_unwait(e, n, &first))
		ev.m = first.m;
	if (!eth_event_push(e, &ev) && ev.m != NULL)
		pkt_drop(e->cfg.drops, ev.m, DROP_NEIGH_UNREACHABLE);
	release(e, n, DROP_NEIGH_UNREACHABLE);
}

void neigh_expire(struct eth *e)
{
	struct neigh *n;
	int budget = ETH_EXPIRE_MAX;

	while ((n = TAILQ_FIRST(&e->list[LIST_DELAY])) != NULL && n->due <= e->now &&
	       budget-- > 0) {
		n->state = NEIGH_PROBE;
		n->tries = 0;
		solicit(e, n);
	}
	while ((n = TAILQ_FIRST(&e->list[LIST_RETRANS])) != NULL && n->due <= e->now &&
	       budget-- > 0) {
		if (n->tries < NEIGH_TRIES)
			solicit(e, n);
		else
			fail(e, n);
	}
}

int neigh_set(struct eth *e, uint8_t ifindex, const struct ip_addr *a, const struct eth_addr *mac)
{
	struct neigh *n = neigh_find(e, ifindex, a);

	if (ifindex >= e->n_ifs || !eth_addr_is_station(mac))
		return -EINVAL;
	if (n == NULL) {
		if (TAILQ_EMPTY(&e->list[LIST_FREE]) && !evict_for_us(e))
			return -ENOSPC;
		n = take(e, ifindex, a);
	}
	set_mac(e, n, mac);
	n->state = NEIGH_PERMANENT;
	place(e, n, LIST_PERM);
	return 0;
}

void neigh_learn(struct eth *e, uint8_t ifindex, const struct ip_addr *a,
		 const struct eth_addr *mac)
{
	struct neigh *n;

	if (ifindex >= e->n_ifs || !eth_addr_is_station(mac))
		return;
	n = neigh_find(e, ifindex, a);
	/* The other core was answered; that is as good as an answer here. */
	if (n != NULL && (n->state == NEIGH_INCOMPLETE || n->state == NEIGH_PROBE))
		neigh_confirm(e, n, mac);
	else
		neigh_introduce(e, ifindex, a, mac);
}

unsigned neigh_each(struct eth *e, uint32_t *cursor, unsigned n,
		    void (*fn)(void *arg, const struct neigh_info *i), void *arg)
{
	static const char *const names[] = {"free",  "incomplete", "reachable", "stale",
					    "delay", "probe",	   "permanent"};
	unsigned seen = 0;

	for (; *cursor < e->cfg.max_neigh && seen < n; ++*cursor) {
		const struct neigh *x = &e->neigh[*cursor];
		struct neigh_info i = {.addr = x->addr, .mac = x->mac, .ifindex = x->ifindex};

		if (x->state == NEIGH_FREE)
			continue;
		i.state = names[idle(e, x) ? NEIGH_STALE : x->state];
		i.age_ns = e->now - x->updated;
		fn(arg, &i);
		seen++;
	}
	if (*cursor == e->cfg.max_neigh)
		*cursor = 0;
	return seen;
}
