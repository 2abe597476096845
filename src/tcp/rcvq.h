/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The receive queue of a connection: data that is ready for the reader, and blocks that arrived
 * ahead of a hole. Offsets are 64-bit positions in the stream. A leaf object: no clock, no globals.
 */
#ifndef ZS_TCP_RCVQ_H
#define ZS_TCP_RCVQ_H

#include "pkt/pkt.h"

/* Most out-of-order blocks held: bounds memory and the work per segment (H08). */
#define TCP_RCVQ_BLOCKS 128
#define TCP_RCVQ_NO_FIN UINT64_MAX
/* With half of max_charge in use, a segment up to this size is copied into the room behind its
 * predecessor. */
#define TCP_RCVQ_TINY 512

struct tcp_range {
	uint64_t start, end;
};

/* What all queues of an engine share. Memory for the blocks is taken at the first hole and given
 * back with the last. */
struct tcp_rcvq_env {
	void *(*alloc)(void *arg, size_t size);
	void (*free)(void *arg, void *p, size_t size);
	void *arg;
	const struct pkt_pools *pools; /* ref: a segment around an older block is cut in two */
	uint64_t steps; /* work done: segments, blocks and probes looked at or moved */
	uint64_t pruned, compacted, compacted_bytes;
	uint8_t tight_shift; /* tight from max_charge >> this */
};

/* Segments linked by next, each otherwise a packet of its own. */
struct tcp_rcvq_list {
	struct rte_mbuf *head, *tail;
	uint32_t bytes, charge;
};

struct tcp_rcvq_block {
	uint64_t start, end;
	uint32_t stamp; /* of the last segment that touched it: order of SACK blocks */
	struct tcp_rcvq_list l;
};

/* Embedded in its connection, same owner and core. Blocks are sorted, not empty, and neither
 * overlap nor touch each other or rcv_nxt. */
struct tcp_rcvq {
	uint64_t rcv_nxt; /* all before it is in order */
	uint64_t fin;	  /* offset of the end of the stream, or TCP_RCVQ_NO_FIN */
	struct tcp_rcvq_list ready;
	uint32_t ooo_charge; /* of the blocks */
	uint32_t max_charge; /* ready and blocks together; the owner may change it at any time */
	uint16_t n_blocks;
	bool tight; /* tiny segments are copied together: set by each insertion */
	uint32_t stamp;
	struct tcp_rcvq_block *block; /* TCP_RCVQ_BLOCKS of them, NULL until needed */
	struct tcp_rcvq_env *env;
	struct tcp_range dsack; /* empty: nothing to report */
};

void tcp_rcvq_init(struct tcp_rcvq *q, uint64_t rcv_nxt, uint32_t max_charge,
		   struct tcp_rcvq_env *env);
/* Frees every buffer and the blocks. */
void tcp_rcvq_fini(struct tcp_rcvq *q);

/* Adds payload that starts at offset start. Takes m, a chain of payload only. Of bytes that arrive
 * twice the first stay. Returns the bytes that are new and kept, 0 for a duplicate, or -ENOBUFS
 * when nothing of it could be kept. rcv_nxt tells whether the stream advanced. In-order data is
 * kept even above max_charge, at the cost of blocks: the window bounds it. */
int tcp_rcvq_insert(struct tcp_rcvq *q, uint64_t start, struct rte_mbuf *m);

static inline uint32_t tcp_rcvq_tight_at(const struct tcp_rcvq *q)
{
	return q->max_charge >> q->env->tight_shift;
}

/* Is there room for one more buffer, without looking at what is there? */
static inline bool tcp_rcvq_may_append(const struct tcp_rcvq *q, uint32_t charge)
{
	return q->ready.charge + charge < tcp_rcvq_tight_at(q);
}

/* A chain, from m to last, that continues the stream, of a queue without holes. */
static inline void tcp_rcvq_append_chain(struct tcp_rcvq *q, struct rte_mbuf *m,
					 struct rte_mbuf *last, uint32_t charge)
{
	q->dsack = (struct tcp_range){0};
	if (q->ready.tail != NULL)
		q->ready.tail->next = m;
	else
		q->ready.head = m;
	q->ready.tail = last;
	q->ready.bytes += m->pkt_len;
	q->ready.charge += charge;
	q->rcv_nxt += m->pkt_len;
}

/* The same as tcp_rcvq_insert for what nearly every segment is: it continues the stream of a queue
 * without holes that is not short of room. False: not so, nothing was done. */
static inline bool tcp_rcvq_append(struct tcp_rcvq *q, uint64_t start, struct rte_mbuf *m)
{
	uint32_t charge = pkt_charge(m);
	struct rte_mbuf *last = m;

	if (start != q->rcv_nxt || q->n_blocks > 0 || m->data_len == 0)
		return false;
	while (last->next != NULL) {
		last = last->next;
		if (unlikely(last->data_len == 0))
			return false;
		charge += pkt_charge(last);
	}
	if (!tcp_rcvq_may_append(q, charge) || start + m->pkt_len > q->fin)
		return false;
	tcp_rcvq_append_chain(q, m, last, charge);
	return true;
}

/* The peer's stream ends at off. -EBADMSG when that contradicts what is known. Data behind it is
 * cut off by tcp_rcvq_insert. */
int tcp_rcvq_fin(struct tcp_rcvq *q, uint64_t off) must_check;

static inline bool tcp_rcvq_complete(const struct tcp_rcvq *q)
{
	return q->rcv_nxt == q->fin;
}

/* The next in-order data as a packet of at most max segments, or NULL; *charge is what it cost, and
 * no longer counted here. The caller owns it. */
struct rte_mbuf *tcp_rcvq_read(struct tcp_rcvq *q, unsigned max, uint32_t *charge);

/* SACK blocks for the next acknowledgement, at most max: a D-SACK first (RFC 2883 §4) if the last
 * segment had old data, which is then reported; then the blocks, last touched first (RFC 2018 §4).
 */
unsigned tcp_rcvq_sack(struct tcp_rcvq *q, struct tcp_range *out, unsigned max);

/* Drops the furthest blocks until the charge is at most `charge` or none is left (reneging, as RFC
 * 2018 §8 permits). Returns the blocks dropped. */
unsigned tcp_rcvq_prune(struct tcp_rcvq *q, uint32_t charge);

static inline uint32_t tcp_rcvq_charge(const struct tcp_rcvq *q)
{
	return q->ready.charge + q->ooo_charge;
}

/* Asserts every invariant. Walks all of it. */
void tcp_rcvq_check(const struct tcp_rcvq *q);

#endif
