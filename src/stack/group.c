/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Packets on the wrong core. A flow belongs to one stack of the group: the one that owns the bucket
 * of its symmetric hash (DESIGN §3.6). Ports steer as they like: RSS where they can, by chance
 * where the peer chooses the queue. What arrives elsewhere goes to its owner through a ring for
 * each pair of cores, after IP has checked and reassembled it.
 *
 * Neighbours are learned by each core for itself: every core gets a copy of each ARP and ND message
 * that one of them received; its answer, if any, stays on the core that received it. Questions
 * about groups go to all, too, and each core answers for its own sockets.
 *
 * A full ring drops (DROP_WRONG_CORE_FULL): the owner is behind anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "chan/bell.h"
#include "stack/stack_priv.h"

#define RING_SIZE    512u /* power of two */
#define BUCKETS	     256u
#define HASH_KEY_OFF 8

/* One producer, one consumer. */
struct group_ring {
	_Alignas(64) _Atomic uint32_t tail; /* written by the producer */
	_Alignas(64) _Atomic uint32_t head; /* written by the consumer */
	struct group_msg slot[RING_SIZE];
};

struct stack_group {
	unsigned n;
	uint8_t owner[BUCKETS];
	struct {
		_Alignas(64) _Atomic uint32_t armed;
		_Atomic int wake_fd; /* -1 until it joined */
	} core[STACK_CORES_MAX];
	struct group_ring *ring; /* n × n: from × n + to */
};

int stack_group_create(unsigned n, struct stack_group **out)
{
	struct stack_group *g;

	if (n == 0 || n > STACK_CORES_MAX)
		return -EINVAL;
	g = aligned_alloc(64, sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	memset(g, 0, sizeof(*g));
	g->n = n;
	g->ring = aligned_alloc(64, sizeof(*g->ring) * n * n);
	if (g->ring == NULL) {
		free(g);
		return -ENOMEM;
	}
	memset(g->ring, 0, sizeof(*g->ring) * n * n);
	for (unsigned i = 0; i < BUCKETS; i++)
		g->owner[i] = (uint8_t)(i % n);
	for (unsigned i = 0; i < n; i++)
		atomic_init(&g->core[i].wake_fd, -1);
	*out = g;
	return 0;
}

/* Stacks are destroyed: what is still in a ring goes with the pools. */
void stack_group_destroy(struct stack_group *g)
{
	if (g == NULL)
		return;
	free(g->ring);
	free(g);
}

void group_join(struct stack *s)
{
	atomic_store(&s->cfg.group->core[s->cfg.core].wake_fd, s->wake_fd);
}

static unsigned owner_of(const struct stack *s, const struct ip_addr *a, const struct ip_addr *b,
			 uint16_t aport, uint16_t bport)
{
	uint64_t key;

	memcpy(&key, s->cfg.secret + HASH_KEY_OFF, sizeof(key));
	return s->cfg.group->owner[hash_flow(a->b, b->b, aport, bport, key) % BUCKETS];
}

bool group_owns(void *stack, const struct tcp_key *key)
{
	const struct stack *s = stack;

	return s->cfg.group == NULL ||
	       owner_of(s, &key->laddr, &key->raddr, key->lport, key->rport) == s->cfg.core;
}

static struct group_ring *ring_to(const struct stack *s, unsigned core)
{
	const struct stack_group *g = s->cfg.group;

	return &g->ring[s->cfg.core * g->n + core];
}

/* A slot to fill, or NULL when the ring is full. */
static struct group_msg *slot(struct group_ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == RING_SIZE)
		return NULL;
	return &r->slot[tail % RING_SIZE];
}

static void push(struct stack *s, unsigned core, struct group_ring *r)
{
	struct stack_group *g = s->cfg.group;
	int fd = atomic_load(&g->core[core].wake_fd);

	atomic_fetch_add_explicit(&r->tail, 1, memory_order_release);
	if (fd >= 0)
		bell_ring(&g->core[core].armed, fd);
}

/* Source and destination port of the transport header; false when they are not there. */
static bool ports_of(const struct pkt *p, uint16_t *sport, uint16_t *dport)
{
	be16_t port[2];

	if (pkt_copy_out(p->m, p->l4_off, 4, port) != 4)
		return false;
	*sport = be16_host(port[0]);
	*dport = be16_host(port[1]);
	return true;
}

bool group_pass(struct stack *s, struct pkt *p)
{
	struct group_ring *r;
	struct group_msg *m;
	uint16_t sport, dport;
	unsigned core;

	/* Groups have receivers on every core; what is malformed is counted here. */
	if ((p->flags & PKT_F_BCAST) || !ports_of(p, &sport, &dport))
		return false;
	core = owner_of(s, &p->src, &p->dst, sport, dport);
	if (core == s->cfg.core)
		return false;
	r = ring_to(s, core);
	m = slot(r);
	if (m == NULL) {
		pkt_drop(&s->drops, p->m, DROP_WRONG_CORE_FULL);
		return true;
	}
	m->kind = GROUP_PACKET;
	m->p = *p;
	push(s, core, r);
	return true;
}

bool group_pass_error(struct stack *s, const struct icmp_error *e)
{
	unsigned core = owner_of(s, &e->src, &e->dst, e->sport, e->dport);
	struct group_ring *r;
	struct group_msg *m;

	if (core == s->cfg.core)
		return false;
	r = ring_to(s, core);
	m = slot(r);
	if (m != NULL) {
		m->kind = GROUP_ERROR;
		m->error = *e;
		push(s, core, r);
	}
	return true;
}

static struct rte_mbuf *copy_frame(struct stack *s, struct rte_mbuf *m)
{
	struct rte_mbuf *c;

	if (m->pkt_len > PKT_HDR_ROOM)
		return NULL;
	c = pkt_alloc_hdr(&s->cfg.pools);
	if (c != NULL)
		pkt_copy_out(m, 0, m->pkt_len, pkt_put(c, (uint16_t)m->pkt_len));
	return c;
}

void group_copy(struct stack *s, const struct pkt *p, enum next next, uint8_t ifindex)
{
	for (unsigned core = 0; core < s->cfg.group->n; core++) {
		struct group_ring *r = ring_to(s, core);
		struct group_msg *m = core == s->cfg.core ? NULL : slot(r);
		struct rte_mbuf *c = m == NULL ? NULL : copy_frame(s, p->m);

		if (c == NULL)
			continue;
		*m = (struct group_msg){
			.kind = GROUP_NEWS, .next = next, .ifindex = ifindex, .p = *p};
		m->p.m = c;
		push(s, core, r);
	}
}

static struct group_ring *ring_from(const struct stack *s, unsigned core)
{
	const struct stack_group *g = s->cfg.group;

	return &g->ring[core * g->n + s->cfg.core];
}

bool group_take(struct stack *s, struct group_msg *out)
{
	unsigned n = s->cfg.group->n;

	/* From where it left off: a core that misdirects much must not shut the others out. */
	for (unsigned i = 0; i < n; i++) {
		unsigned core = (s->group_turn + i) % n;
		struct group_ring *r = ring_from(s, core);
		uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

		if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
			continue;
		*out = r->slot[head % RING_SIZE];
		atomic_store_explicit(&r->head, head + 1, memory_order_release);
		s->group_turn = core + 1;
		return true;
	}
	return false;
}

void group_arm(struct stack *s)
{
	if (s->cfg.group != NULL)
		bell_arm(&s->cfg.group->core[s->cfg.core].armed);
}

bool group_pending(struct stack *s)
{
	if (s->cfg.group == NULL)
		return false;
	for (unsigned core = 0; core < s->cfg.group->n; core++) {
		struct group_ring *r = ring_from(s, core);

		if (atomic_load_explicit(&r->head, memory_order_relaxed) !=
		    atomic_load_explicit(&r->tail, memory_order_acquire))
			return true;
	}
	return false;
}
