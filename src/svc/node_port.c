/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the stacks stand on: DPDK's environment, buffers, ports.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "svc/node.h"
#include "svc/svc_cfg.h"
#include "wire/eth.h"

/* Buffers of the receive pool that ports keep in their rings. */
uint32_t node_port_bufs(const struct embed_cfg *cfg)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < svc_count(cfg->vdevs); i++)
		n += strncmp(cfg->vdevs[i], "net_af_xdp", 10) == 0 ? DEV_POOL_XDP : 0;
	return n;
}

/* A core's, for large packets. */
static uint32_t large_bufs(const struct embed_cfg *cfg)
{
	for (unsigned i = 0; i < svc_count(cfg->vdevs); i++)
		if (dev_receives_large(cfg->vdevs[i]))
			return DEV_POOL_LARGE;
	return 0;
}

static uint32_t rx_bufs(const struct embed_cfg *cfg)
{
	return DEV_POOL_RX + node_port_bufs(cfg);
}

int node_eal_open(struct node *n, const struct embed_cfg *cfg, size_t mem_bytes,
		  const struct svc_err *err)
{
	size_t large = dev_pool_bytes(large_bufs(cfg), DEV_LARGE_ROOM);
	struct dev_eal_cfg ec = {
		.vdevs = cfg->vdevs,
		.pci = cfg->pci,
		.mem_mb = cfg->mem_mb,
		.no_huge = cfg->no_huge,
		.n_mbufs = n->n * (rx_bufs(cfg) + large_bufs(cfg) + 2 * DEV_POOL_TX + n->more_bufs),
		.n_rx = n->n * rx_bufs(cfg),
		.n_shared = n->domain_bufs != 0 ? n->n * RTE_MAX(rx_bufs(cfg), n->domain_bufs) : 0,
		.shared_bytes = n->n * large,
		.mem_bytes = n->n * (mem_bytes + (n->domain_bufs == 0 ? large : 0)),
		.mtu = (uint16_t)RTE_MIN(cfg->mtu, (unsigned)UINT16_MAX),
		.n_queues = (uint16_t)n->n,
		.telemetry = n->telemetry,
	};
	int rc = dev_eal_init(&ec, err->text, err->len);

	n->eal_up = rc == 0;
	return rc;
}

static int open_dev(struct node *n, unsigned index, const struct embed_cfg *cfg,
		    const struct svc_err *err)
{
	struct rte_mempool *rx[EMBED_CORES_MAX], *large[EMBED_CORES_MAX];
	struct dev_cfg dc = {.n_queues = (uint16_t)n->n,
			     .mtu = (uint16_t)cfg->mtu,
			     .rx_pools = rx,
			     .large_pools = large};
	int rc;

	if (cfg->mtu > UINT16_MAX)
		return svc_fail(err, -EINVAL, "--mtu %u: at most 65535", cfg->mtu);
	for (unsigned i = 0; i < n->n; i++) {
		rx[i] = n->core[i].pools.rx;
		large[i] = n->core[i].pools.large;
	}
	rc = dev_open(index, &dc, &n->dev[index], err->text, err->len);
	if (rc < 0)
		return rc;
	n->n_dev = index + 1;
	return 0;
}

static size_t pages(size_t bytes)
{
	return RTE_ALIGN(bytes, (size_t)sysconf(_SC_PAGESIZE));
}

/* Each pool begins on a page: first the usual one. */
static size_t rx_part(const struct embed_cfg *cfg)
{
	return pages(dev_pool_bytes(rx_bufs(cfg), 0));
}

static size_t packet_part(const struct embed_cfg *cfg)
{
	return rx_part(cfg) + pages(dev_pool_bytes(large_bufs(cfg), DEV_LARGE_ROOM));
}

size_t node_packet_bytes(const struct node *n, const struct embed_cfg *cfg)
{
	for (unsigned i = 0; i < dev_count(); i++)
		if (!dev_receives_anywhere(i))
			return 0;
	return n->n * packet_part(cfg);
}

/* Where each trust domain has buffers of its own, which payload is copied into, they decide. */
static int open_large(struct node *n, unsigned i, const struct embed_cfg *cfg,
		      const struct dev_mem *mem, const struct svc_err *err)
{
	struct pkt_pools *p = &n->core[i].pools;

	if (large_bufs(cfg) == 0 || (mem == NULL && n->domain_bufs != 0))
		return 0;
	p->large = dev_pool_create("large", i, large_bufs(cfg), DEV_LARGE_ROOM, mem);
	return p->large != NULL ? 0
				: svc_fail(err, -ENOMEM,
					   "no memory for large packets of core %u (--mem)", i);
}

static int open_pools(struct node *n, unsigned i, const struct embed_cfg *cfg,
		      const struct svc_err *err)
{
	struct dev_mem rx = {n->packets.base, rx_part(cfg)}, large = {NULL, packet_part(cfg)};
	bool shared = rx.base != NULL;
	int rc;

	if (shared) {
		rx.base = (char *)rx.base + i * packet_part(cfg);
		large.base = (char *)rx.base + rx.bytes;
		large.bytes -= rx.bytes;
	}
	rc = dev_pools_create(i, rx_bufs(cfg), 0, 0, shared ? &rx : NULL, &n->core[i].pools,
			      err->text, err->len);
	return rc == 0 ? open_large(n, i, cfg, shared ? &large : NULL, err) : rc;
}

int node_ports_open(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < n->n && rc == 0; i++)
		rc = open_pools(n, i, cfg, err);
	if (rc == 0 && dev_count() > STACK_PORTS_MAX)
		rc = svc_fail(err, -EINVAL, "%u ports: at most %u", dev_count(), STACK_PORTS_MAX);
	for (unsigned i = 0; rc == 0 && i < dev_count(); i++)
		rc = open_dev(n, i, cfg, err);
	return rc;
}

void node_ports_close(struct node *n)
{
	while (n->n_dev > 0)
		dev_close(n->dev[--n->n_dev]);
}

void node_pools_close(struct node *n)
{
	for (unsigned i = 0; i < n->n; i++)
		if (n->core[i].pools.rx != NULL)
			dev_pools_destroy(&n->core[i].pools);
}
