/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The receive queue (RFC 9293 §3.10.7.4 "seventh", RFC 2018, RFC 2883).
 *
 *	        ready            hole   block 0   hole  block 1
 *	|----|-------|---|..............|---|--|........|------|
 *	                 ^ rcv_nxt
 *
 * The idea: blocks lie in a sorted array that is searched in halves, and each is a list of segments
 * that is joined to its neighbour in O(1). An arriving segment is laid over the blocks it meets:
 * only the pieces between them are kept, and all becomes one block, which goes to ready when it
 * starts at rcv_nxt.
 *
 * Hostile peers (H08, CVE-2018-5390): the array is bounded, so a segment costs at most
 * TCP_RCVQ_BLOCKS steps besides its own segments; memory is charged by whole buffers, tiny segments
 * are copied together once the charge is high, and the furthest block goes first.
 *
 * Not done: urgent data, the window (both the engine's), growing past TCP_RCVQ_BLOCKS holes.
 */
#include "tcp/rcvq.h"

#include <errno.h>

void tcp_rcvq_init(struct tcp_rcvq *q, uint64_t rcv_nxt, uint32_t max_charge,
		   struct tcp_rcvq_env *env)
{
	*q = (struct tcp_rcvq){
		.rcv_nxt = rcv_nxt, .fin = TCP_RCVQ_NO_FIN, .max_charge = max_charge, .env = env};
}

/* Queues without holes, most of all, hold no memory for them. */
static void blocks_release(struct tcp_rcvq *q)
{
	if (q->block == NULL || q->n_blocks > 0)
		return;
	q->env->free(q->env->arg, q->block, TCP_RCVQ_BLOCKS * sizeof(*q->block));
	q->block = NULL;
}

void tcp_rcvq_fini(struct tcp_rcvq *q)
{
	pkt_free(q->ready.head);
	for (uint32_t i = 0; i < q->n_blocks; i++)
		pkt_free(q->block[i].l.head);
	q->n_blocks = 0;
	blocks_release(q);
	q->ready = (struct tcp_rcvq_list){0};
	q->ooo_charge = 0;
}

/* ---- lists of segments ---- */

static void list_push(struct tcp_rcvq_list *l, struct rte_mbuf *seg)
{
	if (l->tail)
		l->tail->next = seg;
	else
		l->head = seg;
	l->tail = seg;
	l->bytes += seg->data_len;
	l->charge += pkt_charge(seg);
}

static struct rte_mbuf *list_shift(struct tcp_rcvq_list *l)
{
	struct rte_mbuf *seg = l->head;

	l->head = seg->next;
	if (l->head == NULL)
		l->tail = NULL;
	seg->next = NULL;
	l->bytes -= seg->data_len;
	l->charge -= pkt_charge(seg);
	return seg;
}

/* Makes each segment of a chain a packet of its own; empty ones are freed. Takes m. */
static struct tcp_rcvq_list list_flatten(struct tcp_rcvq *q, struct rte_mbuf *m)
{
	struct tcp_rcvq_list l = {0};
	struct rte_mbuf *next;

	for (; m; m = next) {
		q->env->steps++;
		next = m->next;
		m->next = NULL;
		m->nb_segs = 1;
		m->pkt_len = m->data_len;
		if (m->data_len)
			list_push(&l, m);
		else
			rte_pktmbuf_free_seg(m);
	}
	return l;
}

static void list_drop_front(struct tcp_rcvq *q, struct tcp_rcvq_list *l, uint32_t n)
{
	while (n && n >= l->head->data_len) {
		q->env->steps++;
		n -= l->head->data_len;
		rte_pktmbuf_free_seg(list_shift(l));
	}
	if (n) {
		pkt_pull(l->head, (uint16_t)n);
		l->bytes -= n;
	}
}

/* Moves the first n bytes to the end of `to`. A segment across the cut is cut in two; when there is
 * no buffer for that, the bytes behind the cut are given up and false is returned. */
static bool list_move(struct tcp_rcvq *q, struct tcp_rcvq_list *l, uint32_t n,
		      struct tcp_rcvq_list *to)
{
	struct rte_mbuf *seg, *rest = NULL;
	uint16_t over;

	while (n && n >= l->head->data_len) {
		q->env->steps++;
		n -= l->head->data_len;
		list_push(to, list_shift(l));
	}
	if (n == 0)
		return true;
	seg = list_shift(l);
	over = (uint16_t)(seg->data_len - n);
	rest = pkt_slice(q->env->pools, seg, (uint16_t)n, over);
	seg->data_len -= over;
	seg->pkt_len -= over;
	list_push(to, seg);
	if (rest == NULL)
		return false;
	rest->next = l->head;
	l->head = rest;
	if (l->tail == NULL)
		l->tail = rest;
	l->bytes += over;
	l->charge += pkt_charge(rest);
	return true;
}

/* May bytes be written behind those of seg? Only when nobody else looks at the buffer. */
static bool seg_writable(const struct rte_mbuf *seg)
{
	return RTE_MBUF_DIRECT(seg) && rte_mbuf_refcnt_read(seg) == 1;
}

/* Appends `from` to `to`, which is then empty. Under pressure the first segment of `from`, if tiny,
 * is copied behind the last one of `to`: one copy of bounded size for each join. */
static void list_join(struct tcp_rcvq *q, struct tcp_rcvq_list *to, struct tcp_rcvq_list *from)
{
	struct rte_mbuf *last = to->tail, *seg = from->head;

	if (seg && last && q->tight && seg->data_len <= TCP_RCVQ_TINY && seg_writable(last) &&
	    rte_pktmbuf_tailroom(last) >= seg->data_len) {
		seg = list_shift(from);
		memcpy(pkt_put(last, seg->data_len), pkt_data(seg), seg->data_len);
		to->bytes += seg->data_len;
		q->env->compacted++;
		q->env->compacted_bytes += seg->data_len;
		rte_pktmbuf_free_seg(seg);
	}
	if (from->head == NULL)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	to->bytes += from->bytes;
	to->charge += from->charge;
	*from = (struct tcp_rcvq_list){0};
}

/* ---- blocks ---- */

/* The first block that ends at or behind off, or n_blocks. */
static uint32_t block_search(struct tcp_rcvq *q, uint64_t off)
{
	uint32_t lo = 0, hi = q->n_blocks;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		q->env->steps++;
		if (q->block[mid].end < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void blocks_remove(struct tcp_rcvq *q, uint32_t i, uint32_t n)
{
	uint32_t behind = q->n_blocks - i - n;

	if (n == 0)
		return;
	memmove(&q->block[i], &q->block[i + n], behind * sizeof(*q->block));
	q->env->steps += behind;
	q->n_blocks -= n;
}

static void prune_last(struct tcp_rcvq *q)
{
	struct tcp_rcvq_block *b = &q->block[--q->n_blocks];

	q->ooo_charge -= b->l.charge;
	q->env->pruned++;
	pkt_free(b->l.head);
}

unsigned tcp_rcvq_prune(struct tcp_rcvq *q, uint32_t charge)
{
	uint32_t before = q->n_blocks;

	while (q->n_blocks && tcp_rcvq_charge(q) > charge)
		prune_last(q);
	blocks_release(q);
	return before - q->n_blocks;
}

/* A free place at i. The furthest block makes room, unless the new one would be the furthest. */
static bool block_open(struct tcp_rcvq *q, uint32_t i)
{
	if (q->block == NULL) {
		q->block = q->env->alloc(q->env->arg, TCP_RCVQ_BLOCKS * sizeof(*q->block));
		if (q->block == NULL)
			return false;
	}
	if (q->n_blocks == TCP_RCVQ_BLOCKS) {
		if (i == q->n_blocks)
			return false;
		prune_last(q);
	}
	memmove(&q->block[i + 1], &q->block[i], (q->n_blocks - i) * sizeof(*q->block));
	q->env->steps += q->n_blocks - i;
	q->n_blocks++;
	return true;
}

/* ---- insertion ---- */

/* RFC 2883 §4: the first duplicate range of the segment is the one that is reported. */
static void dsack_note(struct tcp_rcvq *q, uint64_t start, uint64_t end)
{
	if (start < end && q->dsack.start == q->dsack.end)
		q->dsack = (struct tcp_range){start, end};
}

/* Puts the block in the place of the n blocks at i that it has swallowed. */
static bool block_put(struct tcp_rcvq *q, struct tcp_rcvq_block *b, uint32_t i, uint32_t n)
{
	if (b->start == q->rcv_nxt) {
		blocks_remove(q, i, n);
		q->rcv_nxt = b->end;
		list_join(q, &q->ready, &b->l);
		return true;
	}
	if (n == 0 && !block_open(q, i)) {
		pkt_free(b->l.head);
		return false;
	}
	if (n > 1)
		blocks_remove(q, i + 1, n - 1);
	b->stamp = ++q->stamp;
	q->block[i] = *b;
	q->ooo_charge += b->l.charge;
	return true;
}

/* Takes block j out of the account and into b, of whose new data `l` the part up to end is older.
 */
static void block_swallow(struct tcp_rcvq *q, struct tcp_rcvq_block *b, uint32_t j, uint64_t from,
			  uint64_t end, struct tcp_rcvq_list *l)
{
	struct tcp_rcvq_block *o = &q->block[j];
	uint64_t old_end = o->end < end ? o->end : end;

	q->env->steps++;
	q->ooo_charge -= o->l.charge;
	dsack_note(q, from, old_end);
	list_drop_front(q, l, (uint32_t)(old_end - from));
	b->end = o->end;
	list_join(q, &b->l, &o->l);
}

/* Lays the list at start over the blocks. Returns the bytes kept or -ENOBUFS. */
static int lay(struct tcp_rcvq *q, uint64_t start, struct tcp_rcvq_list *l)
{
	uint64_t end = start + l->bytes;
	uint32_t i = block_search(q, start), j = i;
	struct tcp_rcvq_block b = {.start = start, .end = start};
	int kept = 0;

	if (j < q->n_blocks && q->block[j].start <= start) {
		b.start = q->block[j].start;
		block_swallow(q, &b, j++, start, end, l);
	}
	while (l->head) {
		bool meets = j < q->n_blocks && q->block[j].start <= end;
		uint64_t stop = meets ? q->block[j].start : end;
		struct tcp_rcvq_list piece = {0};

		if (!list_move(q, l, (uint32_t)(stop - b.end), &piece)) {
			pkt_free(l->head);
			*l = (struct tcp_rcvq_list){0};
			end = stop;
		}
		kept += (int)piece.bytes;
		list_join(q, &b.l, &piece);
		b.end = stop;
		if (meets)
			block_swallow(q, &b, j++, stop, end, l);
	}
	return block_put(q, &b, i, j - i) ? kept : -ENOBUFS;
}

int tcp_rcvq_insert(struct tcp_rcvq *q, uint64_t start, struct rte_mbuf *m)
{
	uint64_t end = start + m->pkt_len;
	struct tcp_rcvq_list l;
	int kept;

	q->dsack = (struct tcp_range){0};
	if (end > q->fin) {
		end = q->fin > start ? q->fin : start;
		pkt_trim_back(m, (uint32_t)(end - start));
	}
	l = list_flatten(q, m);
	if (start < q->rcv_nxt) {
		uint64_t old_end = end < q->rcv_nxt ? end : q->rcv_nxt;

		dsack_note(q, start, old_end);
		list_drop_front(q, &l, (uint32_t)(old_end - start));
		start = old_end;
	}
	if (l.head == NULL)
		return 0;
	q->tight = tcp_rcvq_charge(q) + l.charge >= tcp_rcvq_tight_at(q);
	kept = lay(q, start, &l);
	if (unlikely(tcp_rcvq_charge(q) > q->max_charge))
		tcp_rcvq_prune(q, q->max_charge);
	blocks_release(q);
	/* The new data may have been the furthest. */
	if (kept > 0 && start > q->rcv_nxt &&
	    (q->n_blocks == 0 || q->block[q->n_blocks - 1].end <= start))
		return -ENOBUFS;
	return kept;
}

int tcp_rcvq_fin(struct tcp_rcvq *q, uint64_t off)
{
	uint64_t known = q->n_blocks ? q->block[q->n_blocks - 1].end : q->rcv_nxt;

	if (off < known || (q->fin != TCP_RCVQ_NO_FIN && q->fin != off))
		return -EBADMSG;
	q->fin = off;
	return 0;
}

/* ---- out ---- */

struct rte_mbuf *tcp_rcvq_read(struct tcp_rcvq *q, unsigned max, uint32_t *charge)
{
	struct rte_mbuf *head = q->ready.head, *last = NULL, *seg = head;
	uint32_t bytes = 0, cost = 0;
	unsigned n;

	for (n = 0; n < max && n < UINT16_MAX && seg != NULL; n++) {
		bytes += seg->data_len;
		cost += pkt_charge(seg);
		last = seg;
		seg = seg->next;
	}
	*charge = cost;
	if (n == 0)
		return NULL;
	/* The segments are linked already: the list is cut behind the last one. */
	last->next = NULL;
	q->ready.head = seg;
	if (seg == NULL)
		q->ready.tail = NULL;
	q->ready.bytes -= bytes;
	q->ready.charge -= cost;
	head->nb_segs = (uint16_t)n;
	head->pkt_len = bytes;
	return head;
}

unsigned tcp_rcvq_sack(struct tcp_rcvq *q, struct tcp_range *out, unsigned max)
{
	uint64_t below = UINT64_MAX; /* wider than any stamp */
	unsigned n = 0;

	if (max && q->dsack.start < q->dsack.end) {
		out[n++] = q->dsack;
		q->dsack = (struct tcp_range){0};
	}
	for (; n < max; n++) {
		const struct tcp_rcvq_block *best = NULL;

		for (uint32_t i = 0; i < q->n_blocks; i++) {
			const struct tcp_rcvq_block *b = &q->block[i];

			if (b->stamp < below && (best == NULL || b->stamp > best->stamp))
				best = b;
		}
		if (best == NULL)
			break;
		below = best->stamp;
		out[n] = (struct tcp_range){best->start, best->end};
	}
	return n;
}

static void list_check(const struct tcp_rcvq_list *l, uint64_t bytes)
{
	uint64_t sum = 0, charge = 0;

	for (const struct rte_mbuf *m = l->head; m; m = m->next) {
		BUG_ON(m->data_len == 0 || (m->next == NULL) != (m == l->tail));
		sum += m->data_len;
		charge += pkt_charge(m);
	}
	BUG_ON(sum != bytes || l->bytes != bytes || l->charge != charge);
}

void tcp_rcvq_check(const struct tcp_rcvq *q)
{
	uint64_t after = q->rcv_nxt, charge = 0;

	list_check(&q->ready, q->ready.bytes);
	for (uint32_t i = 0; i < q->n_blocks; i++) {
		const struct tcp_rcvq_block *b = &q->block[i];

		BUG_ON(b->start <= after || b->end <= b->start);
		list_check(&b->l, b->end - b->start);
		after = b->end;
		charge += b->l.charge;
	}
	BUG_ON(charge != q->ooo_charge || after > q->fin);
}
