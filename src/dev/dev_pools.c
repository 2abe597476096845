/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The three pools of a core (pkt.h). They come from EAL's own memory, which is what af_xdp (its
 * UMEM is the receive pool) and zero-copy memif need to send without a copy.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>

#include "dev/dev_priv.h"

#define POOL_CACHE   256
#define RX_ROOM_FULL 2048

static struct rte_mempool *pool(const char *kind, unsigned id, uint32_t n, uint16_t room)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	/* DPDK wants n >= 1.5 caches; more than a quarter would starve the ring behind it. */
	unsigned cache = RTE_MIN((unsigned)POOL_CACHE, n / 4);

	snprintf(name, sizeof(name), "zs_%s_%u", kind, id);
	return rte_pktmbuf_pool_create(name, n, cache, 0, room, (int)rte_socket_id());
}

int dev_pools_create(unsigned id, uint32_t n_rx, uint32_t n_tx, uint16_t rx_room,
		     struct pkt_pools *out, char *err, size_t err_len)
{
	uint32_t room = (rx_room ? rx_room : RX_ROOM_FULL) + RTE_PKTMBUF_HEADROOM;
	int rc;

	*out = (struct pkt_pools){0};
	if (room > UINT16_MAX || n_rx == 0 || n_tx == 0) {
		snprintf(err, err_len, "pools of core %u: bad sizes", id);
		return -EINVAL;
	}
	out->rx = pool("rx", id, n_rx, (uint16_t)room);
	out->hdr = out->rx ? pool("hdr", id, n_tx, PKT_HDR_ROOM + RTE_PKTMBUF_HEADROOM) : NULL;
	out->ref = out->hdr ? pool("ref", id, n_tx, 0) : NULL;
	if (out->ref != NULL)
		return 0;
	rc = rte_errno ? -rte_errno : -ENOMEM;
	snprintf(err, err_len, "no memory for %u + 2 x %u buffers of core %u: %s", n_rx, n_tx, id,
		 strerror(-rc));
	dev_pools_destroy(out);
	return rc;
}

void dev_pools_destroy(struct pkt_pools *p)
{
	rte_mempool_free(p->ref);
	rte_mempool_free(p->hdr);
	rte_mempool_free(p->rx);
	*p = (struct pkt_pools){0};
}
