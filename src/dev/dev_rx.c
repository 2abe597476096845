/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receiving a burst. Checksum verdicts are taken from ports that compute them only: flags that
 * come with a buffer through net_ring or memif are the sender's word (H19). Frames that a PMD cut
 * to its frame size look whole but for their length: dev_whole.c has the rest of them. What
 * dev_packet.c could not get whole it doesn't hand on, but it is counted here.
 */
#include <string.h>

#include "dev/dev_priv.h"

/* A guarded port is looked after by its first queue, once a second (dev_guard.c). */
#define WATCH_POLLS 1024

/* The one mask and value that mean "verified": NONE says that the packet carries no checksum, which
 * virtio and vhost use for "not computed, and not needed". */
static bool l4_good(const struct dev *d, uint64_t ol_flags)
{
	uint64_t verdict = ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	return verdict == RTE_MBUF_F_RX_L4_CKSUM_GOOD ||
	       (verdict == RTE_MBUF_F_RX_L4_CKSUM_NONE && d->row->none_is_good);
}

static uint16_t rx_flags(const struct dev *d, const struct rte_mbuf *m)
{
	uint16_t f = 0;

	if (d->caps.rx_l4_csum && l4_good(d, m->ol_flags))
		f |= PKT_F_CSUM_OK;
	if (d->caps.rx_ip_csum &&
	    (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		f |= PKT_F_IPCSUM_OK;
	return f;
}

/* The frame in place of its beginning, or NULL: dropped. */
static cold_path struct rte_mbuf *rx_cut(struct dev *d, struct dev_queue *q, struct rte_mbuf *m,
					 struct drop_counters *drops)
{
	struct rte_mbuf *whole = dev_whole_take(d, q, m);
	struct dev_layout l;

	if (whole != NULL) {
		pkt_free(m);
		return whole;
	}
	/* It just fills the ring's: IP says that nothing is missing. */
	if (dev_layout_read(m, &l))
		return m;
	q->count.rx_truncated++;
	pkt_drop(drops, m, DROP_ETH_TRUNCATED);
	if (q->warned_cut)
		return NULL;
	q->warned_cut = true;
	fprintf(stderr,
		"port %s: dropped a frame larger than %u bytes; they come too fast: leave "
		"qdisc_bypass out of the SPEC, or turn the segmentation offloads of the sending "
		"interface off (the other end of %s): ethtool -K IFACE tso off gso off\n",
		d->name, d->caps.max_frame_bytes, d->ifname);
	return NULL;
}

/* Frames that the kernel could keep neither in a slot nor beside. */
static cold_path void rx_lost(struct dev *d, struct dev_queue *q, struct drop_counters *drops)
{
	drops->n[DROP_ETH_TRUNCATED] += q->lost;
	q->count.rx_truncated += q->lost;
	q->lost = 0;
	if (q->warned_cut)
		return;
	q->warned_cut = true;
	fprintf(stderr,
		"port %s: large frames come faster than they are fetched: the buffer of its socket "
		"was full, and some were dropped. It is larger with CAP_NET_ADMIN, or by sysctl "
		"net.core.rmem_max\n",
		d->name);
}

unsigned dev_rx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      struct drop_counters *drops)
{
	bool verdicts = d->caps.rx_l4_csum || d->caps.rx_ip_csum;
	struct rte_mbuf *m[PKT_BURST];
	struct dev_queue *q = &d->q[queue];
	unsigned got, kept = 0;
	uint64_t bytes = 0;

	got = dev_pmd_rx(d, queue, m, (uint16_t)RTE_MIN(n, (unsigned)PKT_BURST));
	if (unlikely(d->guarded && queue == 0 && ++q->polls % WATCH_POLLS == 0))
		dev_watch(d);
	if (unlikely(q->lost != 0))
		rx_lost(d, q, drops);
	if (got == 0)
		return 0;
	for (unsigned i = 0; i < got; i++) {
		uint32_t len = m[i]->pkt_len;

		if (unlikely(len >= d->caps.max_frame_bytes)) {
			m[i] = rx_cut(d, q, m[i], drops);
			if (m[i] == NULL)
				continue;
			len = m[i]->pkt_len;
		}
		p[kept].m = m[i];
		p[kept].flags = verdicts ? rx_flags(d, m[i]) : 0;
		bytes += len;
		kept++;
	}
	q->count.rx_bytes += bytes;
	q->count.rx_packets += kept;
	return kept;
}
