/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Walks over packets of several segments: the slow paths beside the inlines of pkt.h.
 *
 * The idea: cutting a packet changes only its own mbufs (where data starts, how much there is),
 * never bytes, so slices of the same buffers do not notice. The one function that moves bytes,
 * pkt_linearize_head(), does so only in a buffer that nobody else can see.
 *
 * Lengths come from the wire and may be nonsense: each function clamps them instead of asserting.
 * Only pkt_head() allocates: a header buffer, for headers that lie in memory of others (H22).
 */
#include "pkt/pkt.h"

#include <errno.h>
#include <string.h>

#include "base/csum.h"

bool pkt_is_private(const struct rte_mbuf *seg)
{
	if (rte_mbuf_refcnt_read(seg) != 1)
		return false;
	if (RTE_MBUF_DIRECT(seg))
		return true;
	return RTE_MBUF_HAS_PINNED_EXTBUF(seg) && rte_mbuf_ext_refcnt_read(seg->shinfo) == 1;
}

/* Frees one segment that is no longer part of a chain. A slice elsewhere may still hold its buffer,
 * and with it this mbuf: it must not keep naming its old neighbours. */
static void free_segment(struct rte_mbuf *seg)
{
	seg->next = NULL;
	seg->nb_segs = 1;
	rte_pktmbuf_free_seg(seg);
}

/* Appends to the head what is missing to n bytes, from the segments behind it. There is room. */
static void pull_up(struct rte_mbuf *m, uint16_t n)
{
	uint8_t *tail = pkt_data(m) + m->data_len;

	while (m->data_len < n) {
		struct rte_mbuf *seg = m->next;
		uint16_t want = n - m->data_len;
		uint16_t take = want < seg->data_len ? want : seg->data_len;

		memcpy(tail, pkt_data(seg), take);
		tail += take;
		m->data_len += take;
		seg->data_off += take;
		seg->data_len -= take;
		if (seg->data_len == 0) {
			m->next = seg->next;
			m->nb_segs--;
			free_segment(seg);
		}
	}
}

int pkt_linearize_head(struct rte_mbuf *m, uint16_t n)
{
	if (likely(n <= m->data_len))
		return 0;
	if (n > m->pkt_len || n > m->buf_len || !pkt_is_private(m))
		return -ENOBUFS;
	if (n > m->buf_len - m->data_off) {
		uint16_t off = m->buf_len - n;

		memmove((uint8_t *)m->buf_addr + off, pkt_data(m), m->data_len);
		m->data_off = off;
	}
	pull_up(m, n);
	return 0;
}

int pkt_head(const struct pkt_pools *pools, struct rte_mbuf **m, uint16_t n)
{
	struct rte_mbuf *h, *old = *m, *rest;

	if (pkt_linearize_head(old, n) == 0)
		return 0;
	if (n > old->pkt_len || n > PKT_HDR_ROOM)
		return -ENOBUFS;
	h = pkt_alloc_hdr(pools);
	if (h == NULL)
		return -ENOBUFS;
	pkt_copy_out(old, 0, n, pkt_put(h, n));
	h->ol_flags |= old->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED;
	h->vlan_tci = old->vlan_tci;
	rest = pkt_trim_front(old, n);
	h->next = rest;
	h->nb_segs = rest->nb_segs + 1;
	h->pkt_len += rest->pkt_len;
	*m = h;
	return 0;
}

/* The segment that holds byte *off, which becomes relative to it. NULL past the end. */
static const struct rte_mbuf *seek(const struct rte_mbuf *m, uint32_t *off)
{
	while (m != NULL && *off >= m->data_len) {
		*off -= m->data_len;
		m = m->next;
	}
	return m;
}

uint32_t pkt_copy_out(const struct rte_mbuf *m, uint32_t off, uint32_t len, void *out)
{
	uint8_t *to = out;
	uint32_t left = len;

	for (m = seek(m, &off); m != NULL && left > 0; m = m->next, off = 0) {
		uint32_t n = m->data_len - off;

		if (n > left)
			n = left;
		memcpy(to, rte_pktmbuf_mtod_offset(m, const uint8_t *, off), n);
		to += n;
		left -= n;
	}
	return len - left;
}

struct rte_mbuf *pkt_trim_front(struct rte_mbuf *m, uint32_t n)
{
	if (n > m->pkt_len)
		n = m->pkt_len;
	while (n >= m->data_len && m->next != NULL) {
		struct rte_mbuf *seg = m;

		m = seg->next;
		m->pkt_len = seg->pkt_len - seg->data_len;
		m->nb_segs = seg->nb_segs - 1;
		n -= seg->data_len;
		free_segment(seg);
	}
	pkt_pull(m, (uint16_t)n);
	return m;
}

void pkt_trim_back(struct rte_mbuf *m, uint32_t keep)
{
	struct rte_mbuf *seg = m, *rest;
	uint16_t segs = 1;

	if (keep >= m->pkt_len)
		return;
	m->pkt_len = keep;
	for (; keep > seg->data_len; seg = seg->next, segs++)
		keep -= seg->data_len;
	seg->data_len = (uint16_t)keep;
	rest = seg->next;
	seg->next = NULL;
	m->nb_segs = segs;
	while (rest != NULL) {
		seg = rest;
		rest = seg->next;
		free_segment(seg);
	}
}

uint16_t pkt_csum(const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	uint32_t sum = 0, done = 0;

	for (m = seek(m, &off); m != NULL && done < len; m = m->next, off = 0) {
		uint32_t n = m->data_len - off;
		const uint8_t *data = rte_pktmbuf_mtod_offset(m, const uint8_t *, off);

		if (n > len - done)
			n = len - done;
		sum = csum_join(sum, csum_add(0, data, n), done);
		done += n;
	}
	return csum_fold(sum);
}

struct rte_mbuf *pkt_copy_rx(const struct pkt_pools *pools, const struct rte_mbuf *m)
{
	uint32_t len = m != NULL ? m->pkt_len : 0, off = 0;
	struct rte_mbuf *head = NULL;

	do {
		struct rte_mbuf *to = pkt_alloc_rx(pools);
		uint32_t n = len - off;

		if (to != NULL && head != NULL && pkt_chain(head, to) != 0) {
			pkt_free(to);
			to = NULL;
		}
		if (to == NULL) {
			pkt_free(head);
			return NULL;
		}
		if (head == NULL)
			head = to;
		n = n < pkt_room(to) ? n : pkt_room(to);
		pkt_copy_out(m, off, n, pkt_data(to));
		to->data_len = (uint16_t)n;
		head->pkt_len += n;
		off += n;
	} while (off < len);
	return head;
}
