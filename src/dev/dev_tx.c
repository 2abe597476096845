/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sending a burst. Each packet is made fit for the port (copied together, checksummed, or marked
 * for its offloads), then all are offered at once; what the port did not take is put back as it
 * was. A packet that must be copied is sent as the copy, and the original is freed when the copy
 * went out.
 *
 * Not done: segmentation in software. It would build, for each segment, a header buffer and slices,
 * which is what the engine does when it makes the segments itself: it saves the engine's record of
 * a segment and costs a second walk over the slices. So the engine makes TSO packets for ports with
 * caps.tso only, and any other is dropped here.
 */
#include <string.h>

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dev/dev_priv.h"

/* PMDs don't tell how much room they have. A port that refused is offered little, and twice as much
 * each time that it took everything: what it refuses was made, summed and undone for nothing. */
#define OFFER_MIN 8

/* One packet on its way out: what goes to the port, and how to undo it. */
struct ready {
	struct rte_mbuf *m;
	uint8_t *csum; /* field that software completed, or NULL */
	uint32_t len;
	uint16_t csum_was;
};

/* Where a port sends from EAL's memory, attached memory of dev_mem_alloc() is as good as its own.
 */
static bool in_eal_memory(const struct dev *d, const struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, uintptr_t) - d->mem_base < d->mem_len;
}

static bool must_linearize(const struct dev *d, const struct rte_mbuf *m)
{
	if (unlikely(m->nb_segs > d->caps.max_segs))
		return true;
	if (likely(d->segs == DEV_SEGS_ANY))
		return false;
	if (d->segs == DEV_SEGS_DIRECT)
		return !RTE_MBUF_DIRECT(m);
	for (; m != NULL; m = m->next)
		if (unlikely(!in_eal_memory(d, m) ||
			     (d->copy_attached && (m->ol_flags & RTE_MBUF_F_EXTERNAL))))
			return true;
	return false;
}

/* Attached memory has no bus address yet. Ports that need one run with virtual addresses for them
 * (dev_open.c), else attached memory was copied. */
static void address(struct rte_mbuf *m)
{
	for (; m != NULL; m = m->next)
		if (m->ol_flags & RTE_MBUF_F_EXTERNAL)
			rte_mbuf_iova_set(m, (uintptr_t)m->buf_addr);
}

/* A buffer for the copy of n more bytes: what fits one of the small pool comes from there, except
 * for af_xdp, whose receive pool is the memory that it sends from. */
static struct rte_mbuf *copy_buffer(const struct dev *d, const struct pkt_pools *pools, uint32_t n)
{
	bool small = n <= PKT_HDR_ROOM && d->segs != DEV_SEGS_DIRECT;

	return rte_pktmbuf_alloc(small ? pools->hdr : pools->rx);
}

/* A private copy in as few buffers as it takes; NULL with *why set. Borrows m. */
static cold_path struct rte_mbuf *linearize(const struct dev *d, const struct rte_mbuf *m,
					    const struct pkt_pools *pools, enum drop_reason *why)
{
	struct rte_mbuf *head = NULL, *tail = NULL;
	uint32_t done = 0;

	*why = DROP_TX_LINEARIZE;
	while (done < m->pkt_len) {
		struct rte_mbuf *c = copy_buffer(d, pools, m->pkt_len - done);
		uint32_t n;

		if (c == NULL) {
			*why = DROP_NO_MBUF;
			goto fail;
		}
		n = RTE_MIN(m->pkt_len - done, (uint32_t)rte_pktmbuf_tailroom(c));
		c->data_len = (uint16_t)pkt_copy_out(m, done, n, pkt_data(c));
		if (head == NULL)
			head = c;
		else
			tail->next = c;
		tail = c;
		head->nb_segs += c != head;
		done += n;
		if (c->data_len != n || head->nb_segs > d->caps.max_segs)
			goto fail;
	}
	head->pkt_len = m->pkt_len;
	head->tso_segsz = m->tso_segsz;
	return head;
fail:
	pkt_free(head);
	return NULL;
}

/* The part of prepare() for packets that want a checksum. */
static enum drop_reason checksum(const struct dev *d, const struct pkt *p, struct ready *r)
{
	struct dev_layout l;

	if (unlikely(!dev_layout_read(r->m, &l)))
		return DROP_IP_SHORT;
	if (d->caps.tx_l4_csum && (l.proto == IPPROTO_TCP || l.proto == IPPROTO_UDP)) {
		dev_csum_port(r->m, p, &l);
		return DROP_NONE;
	}
	r->csum = dev_csum_software(r->m, &l, &r->csum_was);
	return r->csum != NULL ? DROP_NONE : DROP_IP_SHORT;
}

static bool too_big(const struct dev *d, const struct pkt *p)
{
	if (unlikely(p->flags & PKT_F_TSO))
		return !d->caps.tso;
	return p->m->pkt_len > (uint32_t)d->mtu + DEV_L2_MAX;
}

/* Makes p fit for the port. DROP_NONE: r is ready; DROP_NO_MBUF: try later; else: never. */
static inline enum drop_reason prepare(const struct dev *d, const struct pkt *p,
				       const struct pkt_pools *pools, struct ready *r)
{
	enum drop_reason why = DROP_NONE;

	r->m = p->m;
	r->csum = NULL;
	r->len = p->m->pkt_len;
	if (unlikely(too_big(d, p)))
		return DROP_IP_TOO_BIG;
	if (unlikely(must_linearize(d, p->m))) {
		r->m = linearize(d, p->m, pools, &why);
		if (r->m == NULL)
			return why;
		why = DROP_NONE;
	} else if (d->segs == DEV_SEGS_EAL) {
		address(p->m);
	}
	if (p->flags & (PKT_F_L4_CSUM | PKT_F_TSO))
		why = checksum(d, p, r);
	if (unlikely(why != DROP_NONE && r->m != p->m))
		pkt_free(r->m);
	return why;
}

/* What left the port as a copy: counted, and the original freed. */
static cold_path void sent_copy(struct dev_queue *q, const struct ready *r, struct rte_mbuf *orig,
				uint64_t *copied)
{
	q->count.tx_linearized++;
	q->count.tx_linearized_bytes += r->len;
	*copied += r->len;
	pkt_free(orig);
}

static cold_path void undo(const struct ready *r, struct rte_mbuf *orig)
{
	if (r->m != orig)
		pkt_free(r->m);
	else if (r->csum != NULL)
		memcpy(r->csum, &r->csum_was, 2);
}

/* For a port that is given few at once. */
static cold_path uint16_t pmd_tx_few(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	uint16_t done = 0, part, took;

	do {
		part = RTE_MIN((uint16_t)(n - done), d->row->tx_most);
		took = dev_pmd_tx(d, queue, m + done, part);
		done += took;
	} while (took == part && done < n);
	return done;
}

/* Offers *n ready packets; returns how many the port took. *n shrinks to those before the first
 * that its tx_prepare refuses for good. */
static uint16_t offer(struct dev *d, uint16_t queue, const struct ready *r, unsigned *n)
{
	struct rte_mbuf *m[PKT_BURST];
	uint16_t took;

	for (unsigned i = 0; i < *n; i++)
		m[i] = r[i].m;
	if (d->row->tx_prepare && d->caps.tx_l4_csum)
		*n = rte_eth_tx_prepare(d->port_id, queue, m, (uint16_t)*n);
	took = unlikely(d->row->tx_most != 0) ? pmd_tx_few(d, queue, m, (uint16_t)*n)
					      : dev_pmd_tx(d, queue, m, (uint16_t)*n);
	if (took != 0 && d->caps.lazy_free)
		dev_reclaim_mark(&d->q[queue], m[took - 1]);
	return took;
}

/* Prepares and offers packets up to the first that can't go now or ever; *why says about that. */
static unsigned send_run(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
			 const struct pkt_pools *pools, uint64_t *copied, enum drop_reason *why)
{
	struct dev_counters *c = &d->q[queue].count;
	struct ready r[PKT_BURST];
	unsigned k, fit, took;

	*why = DROP_NONE;
	for (k = 0; k < n; k++) {
		*why = prepare(d, &p[k], pools, &r[k]);
		if (unlikely(*why != DROP_NONE))
			break;
	}
	fit = k;
	took = k > 0 ? offer(d, queue, r, &fit) : 0;
	for (unsigned i = 0; i < took; i++) {
		c->tx_bytes += r[i].len;
		c->tx_sw_csum += r[i].csum != NULL;
		if (unlikely(r[i].m != p[i].m))
			sent_copy(&d->q[queue], &r[i], p[i].m, copied);
	}
	c->tx_packets += took;
	for (unsigned i = took; i < k; i++)
		undo(&r[i], p[i].m);
	if (unlikely(took < fit)) {
		*why = DROP_NO_MBUF; /* the port is full: later */
		d->q[queue].offer = OFFER_MIN;
	} else {
		d->q[queue].offer = RTE_MIN(d->q[queue].offer * 2, (uint32_t)PKT_BURST);
		if (unlikely(fit < k))
			*why = DROP_IP_SHORT; /* refused by the port, as malformed */
	}
	d->q[queue].credit -= RTE_MIN(d->q[queue].credit, took);
	return took;
}

unsigned dev_tx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      const struct pkt_pools *pools, struct drop_counters *drops, uint64_t *copied)
{
	enum drop_reason why;
	unsigned done = 0;

	if (d->tx_ring != 0)
		n = dev_tx_room(d, queue, n);
	while (done < n) {
		unsigned most = RTE_MIN(n - done, d->q[queue].offer);

		done += send_run(d, queue, p + done, most, pools, copied, &why);
		if (why == DROP_NO_MBUF)
			break;
		if (why != DROP_NONE)
			pkt_drop(drops, p[done++].m, why);
	}
	return done;
}

/* af_packet waits in poll() when its ring of tx_ring frames is full, so it is never offered more
 * than fit. What it still holds is what the kernel charges to its socket, at least 512 bytes a
 * frame; asked only when the frames counted as free are used up. */
static unsigned af_packet_room(struct dev *d, struct dev_queue *q, unsigned n)
{
	int held = 0;

	if (q->credit >= n)
		return n;
	(void)!sendto(q->real_fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	if (ioctl(q->real_fd, SIOCOUTQ, &held) < 0)
		return n;
	held /= 512;
	q->credit = held < d->tx_ring ? (uint32_t)(d->tx_ring - held) : 0;
	return RTE_MIN(n, q->credit);
}

unsigned dev_tx_room(struct dev *d, uint16_t queue, unsigned n)
{
	struct dev_queue *q = &d->q[queue];

	n = RTE_MIN(n, q->offer);
	if (d->tx_ring != 0 && q->real_fd >= 0)
		return af_packet_room(d, q, n);
	return n;
}
