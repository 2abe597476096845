/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receiving a burst. Checksum verdicts are taken from ports that compute them only: flags that
 * come with a buffer through net_ring or memif are the sender's word (H19). Frames that a PMD cut
 * to its frame size look whole but for their length.
 */
#include <string.h>

#include "dev/dev_priv.h"

static uint16_t rx_flags(const struct dev_caps *c, const struct rte_mbuf *m)
{
	uint16_t f = 0;

	if (c->rx_l4_csum &&
	    (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		f |= PKT_F_CSUM_OK;
	if (c->rx_ip_csum &&
	    (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		f |= PKT_F_IPCSUM_OK;
	return f;
}

static cold_path void rx_cut(struct dev *d, struct dev_queue *q, struct rte_mbuf *m,
			     struct drop_counters *drops)
{
	q->count.rx_truncated++;
	pkt_drop(drops, m, DROP_ETH_TRUNCATED);
	if (q->warned_cut)
		return;
	q->warned_cut = true;
	fprintf(stderr,
		"port %s: dropped a frame larger than %u bytes that arrived cut; "
		"turn the peer's segmentation offloads (TSO, GSO) off\n",
		d->name, d->caps.max_frame_bytes);
}

unsigned dev_rx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      struct drop_counters *drops)
{
	struct rte_mbuf *m[PKT_BURST];
	struct dev_queue *q = &d->q[queue];
	unsigned got, kept = 0;

	got = rte_eth_rx_burst(d->port_id, queue, m, (uint16_t)RTE_MIN(n, (unsigned)PKT_BURST));
	for (unsigned i = 0; i < got; i++) {
		if (unlikely(m[i]->pkt_len >= d->caps.max_frame_bytes)) {
			rx_cut(d, q, m[i], drops);
			continue;
		}
		p[kept].m = m[i];
		p[kept].flags = rx_flags(&d->caps, m[i]);
		q->count.rx_bytes += m[i]->pkt_len;
		kept++;
	}
	q->count.rx_packets += kept;
	return kept;
}
