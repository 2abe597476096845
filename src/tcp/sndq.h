/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The send queue of a connection: the bytes from the first unacknowledged one to the last that the
 * application gave, as a chain of mbufs that refer to payload (slices of received buffers, or mbufs
 * attached to an application's memory). The queue alone owns each element, so their `next` links
 * them; whoever wants the same bytes twice makes two slices.
 *
 *	head_off                                             end_off
 *	   │ element │ element        │ element │ element │     │
 *	   └ acknowledged up to somewhere in the first one
 *
 * Offsets are stream offsets (docs/design/002). A cursor remembers where the last read was, so that
 * segments taken in order, new or repeated, cost no walk from the head.
 */
#ifndef ZS_TCP_SNDQ_H
#define ZS_TCP_SNDQ_H

#include "pkt/pkt.h"

struct tcp_sndq_cursor {
	struct rte_mbuf *m; /* NULL: start from the head */
	uint64_t off;	    /* stream offset of m's first byte */
};

/* Which cursor a read moves: new data and repairs advance independently. */
enum tcp_sndq_reader { TCP_SNDQ_NEW, TCP_SNDQ_REPAIR, TCP_SNDQ_READERS };

struct tcp_sndq {
	struct rte_mbuf *head, *tail; /* both NULL when empty */
	uint64_t head_off;	      /* of head's first byte; equals end_off when empty */
	uint64_t end_off;	      /* past the last byte */
	struct tcp_sndq_cursor cursor[TCP_SNDQ_READERS];
};

/* An element says in a field that only receivers use whether its bytes came from a copying call. */
#define TCP_SNDQ_COPIED 1u
static inline bool tcp_sndq_copied(const struct rte_mbuf *m)
{
	return m->hash.usr == TCP_SNDQ_COPIED;
}

void tcp_sndq_init(struct tcp_sndq *q, uint64_t start_off);
/* Frees everything. */
void tcp_sndq_fini(struct tcp_sndq *q);

/* Queues the payload of a chain; empty segments are freed. copied: the bytes come from a copying
 * call, so that a small segment of them may be copied beside its headers. Takes m. */
void tcp_sndq_append(struct tcp_sndq *q, struct rte_mbuf *m, bool copied);

/* Everything below off was acknowledged: frees the elements that lie wholly below. */
void tcp_sndq_ack(struct tcp_sndq *q, uint64_t off);

/* Puts the bytes [off, off + len) behind the headers in hdr: by copy when all of them came from a
 * copying call, are at most PKT_INLINE_MAX and fit hdr's tailroom, else as at most max_slices
 * slices. Returns the bytes put there: len, or less when the slices were used up; or -ENOBUFS with
 * hdr as it was. The bytes are in the queue: head_off <= off, off + len <= end_off. */
int tcp_sndq_gather(struct tcp_sndq *q, enum tcp_sndq_reader reader, const struct pkt_pools *pools,
		    uint64_t off, uint32_t len, struct rte_mbuf *hdr,
		    unsigned max_slices) must_check;

/* Asserts the invariants. */
void tcp_sndq_check(const struct tcp_sndq *q);

#endif
