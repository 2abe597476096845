/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pools of a core (pkt.h) and memory for payload. They come from EAL's own memory, which
 * is what af_xdp (its UMEM is the receive pool), virtio_user, NICs and zero-copy memif need to send
 * without a copy. A service shows received packets to other processes: there their data lies in
 * memory of the service's, and only the mbufs are in EAL's.
 *
 * The defaults take 19 + 5 + 1 MB, and 8.5 for large packets where a port has them. A ring of 1024 descriptors each way, the most any row asks for,
 * leaves 6000 received buffers to be lent.
 */
#define ALLOW_EXPERIMENTAL_API /* rte_pktmbuf_pool_create_extbuf */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include "dev/dev_priv.h"

static struct rte_mempool *pool(const char *kind, unsigned id, uint32_t n, uint16_t room,
				const struct dev_mem *mem)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	/* DPDK wants n >= 1.5 caches; more than a quarter would starve the ring behind it. */
	unsigned cache = RTE_MIN((unsigned)DEV_POOL_CACHE, n / 4);
	struct rte_pktmbuf_extmem ext;

	snprintf(name, sizeof(name), "zs_%s_%u", kind, id);
	if (mem == NULL)
		return rte_pktmbuf_pool_create(name, n, cache, 0, room, (int)rte_socket_id());
	ext = (struct rte_pktmbuf_extmem){.buf_ptr = mem->base,
					  .buf_iova = RTE_BAD_IOVA,
					  .buf_len = mem->bytes,
					  .elt_size = room};
	return rte_pktmbuf_pool_create_extbuf(name, n, cache, 0, room, (int)rte_socket_id(), &ext,
					      1);
}

static uint32_t room_of(uint16_t rx_room)
{
	return (rx_room ? rx_room : dev_rx_room()) + RTE_PKTMBUF_HEADROOM;
}

size_t dev_pool_bytes(uint32_t n, uint16_t rx_room)
{
	return (size_t)n * room_of(rx_room);
}

struct rte_mempool *dev_pool_create(const char *kind, unsigned id, uint32_t n, uint16_t rx_room,
				    const struct dev_mem *mem)
{
	return pool(kind, id, n, (uint16_t)room_of(rx_room), mem);
}

void dev_pool_destroy(struct rte_mempool *p)
{
	rte_mempool_free(p);
}

int dev_pools_create(unsigned id, uint32_t n_rx, uint32_t n_tx, uint16_t rx_room,
		     const struct dev_mem *mem, struct pkt_pools *out, char *err, size_t err_len)
{
	uint32_t room = room_of(rx_room);
	uint32_t n_ref = n_tx ? n_tx : DEV_POOL_REF; /* who asks for small pools gets those */
	int rc;

	*out = (struct pkt_pools){0};
	n_rx = n_rx ? n_rx : DEV_POOL_RX;
	n_tx = n_tx ? n_tx : DEV_POOL_TX;
	if (room > UINT16_MAX) {
		snprintf(err, err_len, "pools of core %u: buffers of %u bytes are too large", id,
			 room);
		return -EINVAL;
	}
	out->rx = mem == NULL && dev_umem_wanted() ? dev_umem_pool(id, n_rx)
						   : pool("rx", id, n_rx, (uint16_t)room, mem);
	out->hdr =
		out->rx ? pool("hdr", id, n_tx, PKT_HDR_ROOM + RTE_PKTMBUF_HEADROOM, NULL) : NULL;
	out->ref = out->hdr ? pool("ref", id, n_ref, 0, NULL) : NULL;
	if (out->ref != NULL)
		return 0;
	rc = rte_errno ? -rte_errno : -ENOMEM;
	snprintf(
		err, err_len,
		"no memory for %u + %u + %u buffers of core %u (%s): give the process more (--mem)",
		n_rx, n_tx, n_ref, id, strerror(-rc));
	dev_pools_destroy(out);
	return rc;
}

void dev_pools_destroy(struct pkt_pools *p)
{
	rte_mempool_free(p->ref);
	rte_mempool_free(p->hdr);
	rte_mempool_free(p->large);
	rte_mempool_free(p->rx);
	*p = (struct pkt_pools){0};
}

void *dev_mem_alloc(size_t len)
{
	return rte_zmalloc("zs_mem", len, (unsigned)sysconf(_SC_PAGESIZE));
}

void dev_mem_free(void *p)
{
	rte_free(p);
}

/* Non-EAL threads have no lcore id, hence no cache, until they are registered. */
int dev_thread_init(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 0;
	return rte_thread_register() < 0 ? -rte_errno : 0;
}

/* The thread that started EAL stays known: it ends it. */
void dev_thread_fini(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY && rte_lcore_id() != rte_get_main_lcore())
		rte_thread_unregister();
}
