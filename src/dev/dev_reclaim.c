/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Taking sent buffers back (DESIGN §3.8). A zero-copy send completes when its buffer is
 * acknowledged and no driver holds it, so buffers must come home also when traffic stops. Three
 * ways, found in the sources of DPDK 22.11 and tested row by row:
 *
 *	memif (zero-copy), af_xdp   every burst begins or ends with cleaning: send a burst of none
 *	virtio                      cleans when a packet finds too few descriptors: offer one of
 *	                            more segments than any ring has. The PMD cleans, then refuses it
 *	                            before it looks at its buffers
 *	NICs                        rte_eth_tx_done_cleanup(), where there is one
 *
 * Whether all is home is known by one more reference on the last packet of the last burst (the
 * marker): rings are first in, first out, and only our own calls clean. When a peer leaves, memif's
 * are taken back by dev_guard.c and virtio's when the port is closed.
 */
#include <rte_cycles.h>

#include "dev/dev_priv.h"

/* Half of what 16 bits hold: the PMD computes with them. No virtio ring is longer. */
#define PROBE_SEGS 32768

static void probe(struct dev *d, uint16_t queue)
{
	struct rte_mbuf fake = {.nb_segs = PROBE_SEGS, .refcnt = 1};
	struct rte_mbuf *m = &fake;

	(void)!rte_eth_tx_burst(d->port_id, queue, &m, 1);
}

static void clean(struct dev *d, uint16_t queue)
{
	struct rte_mbuf *none = NULL;

	switch (d->reclaim) {
	case DEV_RECLAIM_NONE:
		break;
	case DEV_RECLAIM_EMPTY:
		(void)!dev_pmd_tx(d, queue, &none, 0);
		break;
	case DEV_RECLAIM_PROBE:
		probe(d, queue);
		break;
	case DEV_RECLAIM_CALL:
		rte_eth_tx_done_cleanup(d->port_id, queue, 0);
		break;
	}
}

void dev_watch(struct dev *d)
{
	/* A guarded port is to be taken care of soon after its peer came. */
	bool soon = d->guarded && d->control < 0 && !d->guard_slow;
	uint64_t now = rte_rdtsc();

	if (likely(now - d->check_tsc < rte_get_tsc_hz() >> (soon ? 7 : 0)))
		return;
	d->check_tsc = now;
	dev_check(d);
}

bool dev_tx_reclaim(struct dev *d, uint16_t queue)
{
	struct dev_queue *q = &d->q[queue];

	if (queue == 0)
		dev_watch(d);
	if (d->reclaim == DEV_RECLAIM_NONE)
		return false;
	clean(d, queue);
	if (q->marker == NULL)
		return false;
	if (rte_mbuf_refcnt_read(q->marker) != 1)
		return !d->gone;
	rte_pktmbuf_free_seg(q->marker);
	q->marker = NULL;
	return false;
}

void dev_reclaim_close(struct dev *d)
{
	for (unsigned i = 0; i < d->n_queues; i++)
		if (d->q[i].marker != NULL)
			rte_pktmbuf_free_seg(d->q[i].marker);
}
