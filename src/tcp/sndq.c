/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tcp/sndq.h"

void tcp_sndq_init(struct tcp_sndq *q, uint64_t start_off)
{
	*q = (struct tcp_sndq){.head_off = start_off, .end_off = start_off};
}

void tcp_sndq_fini(struct tcp_sndq *q)
{
	tcp_sndq_ack(q, q->end_off);
}

static void append_element(struct tcp_sndq *q, struct rte_mbuf *m, bool copied)
{
	m->next = NULL;
	m->nb_segs = 1;
	m->pkt_len = m->data_len;
	m->hash.usr = copied ? TCP_SNDQ_COPIED : 0;
	if (q->tail != NULL)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = m;
	q->end_off += m->data_len;
}

void tcp_sndq_append(struct tcp_sndq *q, struct rte_mbuf *m, bool copied)
{
	while (m != NULL) {
		struct rte_mbuf *next = m->next;

		if (m->data_len != 0)
			append_element(q, m, copied);
		else
			rte_pktmbuf_free_seg(m);
		m = next;
	}
}

/* A cursor that stood on a freed element starts anew at the head. */
static void drop_cursors(struct tcp_sndq *q, const struct rte_mbuf *gone)
{
	for (int i = 0; i < TCP_SNDQ_READERS; i++)
		if (q->cursor[i].m == gone)
			q->cursor[i].m = NULL;
}

void tcp_sndq_ack(struct tcp_sndq *q, uint64_t off)
{
	ASSERT(off <= q->end_off);
	while (q->head != NULL && q->head_off + q->head->data_len <= off) {
		struct rte_mbuf *m = q->head;

		q->head = m->next;
		q->head_off += m->data_len;
		drop_cursors(q, m);
		m->next = NULL;
		rte_pktmbuf_free_seg(m);
	}
	if (q->head == NULL)
		q->tail = NULL;
}

/* The element that holds byte off; the cursor is left on it. */
static struct tcp_sndq_cursor *seek(struct tcp_sndq *q, enum tcp_sndq_reader reader, uint64_t off)
{
	struct tcp_sndq_cursor *c = &q->cursor[reader];

	if (c->m == NULL || off < c->off) {
		c->m = q->head;
		c->off = q->head_off;
	}
	while (off >= c->off + c->m->data_len) {
		c->off += c->m->data_len;
		c->m = c->m->next;
		ASSERT(c->m != NULL);
	}
	return c;
}

static bool may_inline(struct tcp_sndq_cursor at, uint64_t end, uint32_t len,
		       const struct rte_mbuf *hdr)
{
	if (len > PKT_INLINE_MAX || len > rte_pktmbuf_tailroom(hdr) || hdr->next != NULL)
		return false;
	for (; at.m != NULL && at.off < end; at.off += at.m->data_len, at.m = at.m->next)
		if (!tcp_sndq_copied(at.m))
			return false;
	return true;
}

static void copy_inline(struct tcp_sndq_cursor at, uint64_t off, uint32_t len, struct rte_mbuf *hdr)
{
	uint8_t *out = pkt_put(hdr, (uint16_t)len);

	while (len > 0) {
		uint32_t skip = (uint32_t)(off - at.off);
		uint32_t n = at.m->data_len - skip;

		if (n > len)
			n = len;
		memcpy(out, pkt_data(at.m) + skip, n);
		out += n;
		off += n;
		len -= n;
		at.off += at.m->data_len;
		at.m = at.m->next;
	}
}

/* Slices of [off, off + len) as a chain; *got bytes of it. NULL when the pool is empty. */
static struct rte_mbuf *slice_chain(struct tcp_sndq_cursor at, const struct pkt_pools *pools,
				    uint64_t off, uint32_t len, unsigned max, uint32_t *got)
{
	struct rte_mbuf *first = NULL, **link = &first;

	for (*got = 0; *got < len && max > 0; max--) {
		uint32_t skip = (uint32_t)(off + *got - at.off);
		uint32_t n = at.m->data_len - skip;
		struct rte_mbuf *s;

		if (n > len - *got)
			n = len - *got;
		s = pkt_slice(pools, at.m, (uint16_t)skip, (uint16_t)n);
		if (unlikely(s == NULL)) {
			rte_pktmbuf_free(first);
			return NULL;
		}
		*link = s;
		link = &s->next;
		*got += n;
		at.off += at.m->data_len;
		at.m = at.m->next;
	}
	return first;
}

static void chain_behind(struct rte_mbuf *hdr, struct rte_mbuf *payload, uint32_t len)
{
	struct rte_mbuf *last = rte_pktmbuf_lastseg(hdr);

	last->next = payload;
	for (; payload != NULL; payload = payload->next)
		hdr->nb_segs++;
	hdr->pkt_len += len;
}

int tcp_sndq_gather(struct tcp_sndq *q, enum tcp_sndq_reader reader, const struct pkt_pools *pools,
		    uint64_t off, uint32_t len, struct rte_mbuf *hdr, unsigned max_slices)
{
	struct tcp_sndq_cursor at;
	struct rte_mbuf *payload;
	uint32_t got;

	ASSERT(len > 0 && max_slices > 0);
	ASSERT(off >= q->head_off && off + len <= q->end_off);
	at = *seek(q, reader, off);
	if (may_inline(at, off + len, len, hdr)) {
		copy_inline(at, off, len, hdr);
		return (int)len;
	}
	payload = slice_chain(at, pools, off, len, max_slices, &got);
	if (unlikely(payload == NULL))
		return -ENOBUFS;
	chain_behind(hdr, payload, got);
	return (int)got;
}

void tcp_sndq_check(const struct tcp_sndq *q)
{
	uint64_t off = q->head_off;

	for (const struct rte_mbuf *m = q->head; m != NULL; m = m->next) {
		ASSERT(m->data_len > 0);
		ASSERT(m->next != NULL || m == q->tail);
		for (int i = 0; i < TCP_SNDQ_READERS; i++)
			ASSERT(q->cursor[i].m != m || q->cursor[i].off == off);
		off += m->data_len;
	}
	ASSERT(off == q->end_off);
	ASSERT((q->head == NULL) == (q->tail == NULL));
}
