/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The receive pool of an af_xdp port, which is its UMEM.
 *
 * af_xdp's PMD takes the pool for one array of buffers: it registers their number times their size
 * as UMEM. DPDK's pools leave gaps, because no buffer may cross a page: in ordinary memory, where a
 * page holds one, two fifths of the buffers then lie behind the UMEM's end, and what is sent from
 * them or received into them is lost without a word. So where such a port is, a buffer is a page.
 */
#include <rte_errno.h>
#include <rte_mbuf_pool_ops.h>

#include "dev/dev_priv.h"

bool dev_umem_wanted(void)
{
	struct rte_eth_dev_info info;
	uint16_t port;

	RTE_ETH_FOREACH_DEV (port) {
		if (rte_eth_dev_info_get(port, &info) == 0 &&
		    dev_row_find(info.driver_name)->segs == DEV_SEGS_DIRECT)
			return true;
	}
	return false;
}

static void umem_free(struct rte_mempool_memhdr *piece, void *memzone)
{
	rte_memzone_free(memzone);
}

/* Memory that begins at a page, as AF_XDP wants it, without gaps. */
static bool umem_populate(struct rte_mempool *mp)
{
	const size_t len = (size_t)mp->size * DEV_UMEM_CHUNK;
	const struct rte_memzone *mz =
		rte_memzone_reserve_aligned(mp->name, len, mp->socket_id, 0, DEV_UMEM_CHUNK);

	return mz != NULL && rte_mempool_populate_virt(mp, mz->addr, len, DEV_UMEM_CHUNK, umem_free,
						       (void *)(uintptr_t)mz) == (int)mp->size;
}

struct rte_mempool *dev_umem_pool(unsigned id, uint32_t n)
{
	const unsigned flags = RTE_MEMPOOL_F_NO_SPREAD; /* nothing between two buffers */
	struct rte_pktmbuf_pool_private priv = {0};
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_mempool_objsz size;
	struct rte_mempool *mp;
	uint32_t elt;

	rte_mempool_calc_obj_size(RTE_CACHE_LINE_SIZE, flags, &size);
	elt = DEV_UMEM_CHUNK - size.header_size - size.trailer_size;
	priv.mbuf_data_room_size = (uint16_t)(elt - sizeof(struct rte_mbuf));
	snprintf(name, sizeof(name), "zs_rx_%u", id);
	mp = rte_mempool_create_empty(name, n, elt, RTE_MIN((unsigned)DEV_POOL_CACHE, n / 4),
				      sizeof(priv), (int)rte_socket_id(), flags);
	if (mp == NULL)
		return NULL;
	rte_pktmbuf_pool_init(mp, &priv);
	if (rte_mempool_set_ops_byname(mp, rte_mbuf_best_mempool_ops(), NULL) == 0 &&
	    umem_populate(mp)) {
		rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
		return mp;
	}
	rte_mempool_free(mp);
	rte_errno = ENOMEM;
	return NULL;
}
