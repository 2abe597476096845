/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening, describing and closing a port. Asks for what the row of the table allows and the port
 * reports; what it lacks is done by dev_tx.c. Not done: VLAN offload, flow rules, LRO.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_devargs.h>

#include "dev/dev_priv.h"

static int open_fail(char *err, size_t err_len, const char *name, const char *what, int rc)
{
	snprintf(err, err_len, "port %s: %s: %s", name, what, strerror(-rc));
	return rc;
}

static uint64_t rx_offloads(const struct dev_caps *c, const struct rte_eth_dev_info *info)
{
	uint64_t want = 0;

	if (c->rx_l4_csum)
		want |= RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	if (c->rx_ip_csum)
		want |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	return want & info->rx_offload_capa;
}

static uint64_t tx_offloads(const struct dev_caps *c, const struct rte_eth_dev_info *info)
{
	uint64_t want = 0;

	if (c->multi_seg)
		want |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if (c->tx_l4_csum)
		want |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (c->tx_ip_csum)
		want |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	if (c->tso)
		want |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	return want & info->tx_offload_capa;
}

static int configure(struct dev *d, const struct dev_row *row, const struct dev_cfg *cfg,
		     const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = {0};
	int rc;

	conf.rxmode.mtu = cfg->mtu;
	conf.rxmode.offloads = rx_offloads(&d->caps, info);
	conf.txmode.offloads = tx_offloads(&d->caps, info);
	if (d->caps.rss && cfg->n_queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads &
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	/* Succeeds also on ports that have no interrupts: dev_wake_find() asks each queue. */
	conf.intr_conf.rxq = row->try_intr;
	rc = rte_eth_dev_configure(d->port_id, cfg->n_queues, cfg->n_queues, &conf);
	if (rc < 0 && row->try_intr) {
		conf.intr_conf.rxq = 0;
		rc = rte_eth_dev_configure(d->port_id, cfg->n_queues, cfg->n_queues, &conf);
	}
	return rc;
}

static int queues_setup(struct dev *d, const struct dev_row *row, const struct dev_cfg *cfg)
{
	uint16_t nrx = cfg->rx_desc ? cfg->rx_desc : row->rx_desc;
	uint16_t ntx = cfg->tx_desc ? cfg->tx_desc : row->tx_desc;
	int node = rte_eth_dev_socket_id(d->port_id);
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->port_id, &nrx, &ntx);

	for (uint16_t q = 0; rc == 0 && q < cfg->n_queues; q++) {
		rc = rte_eth_rx_queue_setup(d->port_id, q, nrx, (unsigned)node, NULL,
					    cfg->rx_pools[q]);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(d->port_id, q, ntx, (unsigned)node, NULL);
	}
	return rc;
}

/* Configures and starts; what says which step failed. */
static int bring_up(struct dev *d, const struct dev_row *row, const struct dev_cfg *cfg,
		    const struct rte_eth_dev_info *info, const char **what)
{
	int rc;

	*what = "it refuses this configuration";
	rc = configure(d, row, cfg, info);
	if (rc < 0)
		return rc;
	*what = "cannot set the MTU";
	rc = cfg->mtu != 0 ? rte_eth_dev_set_mtu(d->port_id, cfg->mtu) : 0;
	if (rc < 0 && rc != -ENOTSUP)
		return rc;
	*what = "cannot set up its queues";
	rc = queues_setup(d, row, cfg);
	if (rc < 0)
		return rc;
	*what = "cannot start";
	rc = rte_eth_dev_start(d->port_id);
	if (rc < 0)
		return rc;
	*what = "cannot set promiscuous mode";
	rc = cfg->promiscuous ? rte_eth_promiscuous_enable(d->port_id) : 0;
	if (rc < 0 && rc != -ENOTSUP) {
		rte_eth_dev_stop(d->port_id);
		return rc;
	}
	/* Neighbour discovery lives on multicast; filtering it is eth's work. */
	rte_eth_allmulticast_enable(d->port_id);
	if (cfg->mtu != 0)
		d->mtu = cfg->mtu;
	else if (rte_eth_dev_get_mtu(d->port_id, &d->mtu) < 0)
		d->mtu = RTE_ETHER_MTU;
	d->mtu = RTE_MIN(d->mtu, d->caps.mtu_max);
	return 0;
}

static const char *port_args(const struct rte_eth_dev_info *info)
{
	const struct rte_devargs *da = rte_dev_devargs(info->device);

	return da != NULL && da->args != NULL ? da->args : "";
}

int dev_open(unsigned index, const struct dev_cfg *cfg, struct dev **out, char *err, size_t err_len)
{
	struct rte_eth_dev_info info;
	const struct dev_row *row;
	const char *what;
	struct dev *d;
	int rc, id = dev_port_id(index);

	if (id < 0)
		return open_fail(err, err_len, "?", "no such port", id);
	if (posix_memalign((void **)&d, 64, sizeof(*d)) != 0)
		return open_fail(err, err_len, "?", "no memory", -ENOMEM);
	*d = (struct dev){.port_id = (uint16_t)id, .index = index, .n_queues = cfg->n_queues};
	what = "it gives no information";
	rte_eth_dev_get_name_by_port(d->port_id, d->name);
	rc = rte_eth_dev_info_get(d->port_id, &info);
	if (rc < 0)
		goto fail;
	row = dev_row_find(info.driver_name);
	dev_row_caps(row, &info, port_args(&info), &d->caps);
	d->walk_segs = !d->caps.indirect || !d->caps.external;
	if (row->cuts_frames)
		d->tx_ring = (uint16_t)dev_args_u32(port_args(&info), "framecnt", 512);
	rc = -EINVAL;
	what = "it does not have that many queues";
	if (cfg->n_queues == 0 || cfg->n_queues > d->caps.max_queues)
		goto fail;
	what = "MTU larger than its frames";
	if (cfg->mtu > d->caps.mtu_max)
		goto fail;
	rc = bring_up(d, row, cfg, &info, &what);
	if (rc < 0)
		goto fail;
	d->caps.tx_done_cleanup = rte_eth_tx_done_cleanup(d->port_id, 0, 0) >= 0;
	dev_wake_find(d, row, port_args(&info));
	*out = d;
	return 0;
fail:
	rc = open_fail(err, err_len, d->name, what, rc);
	free(d);
	return rc;
}

void dev_close(struct dev *d)
{
	if (d == NULL)
		return;
	dev_wake_close(d);
	rte_eth_dev_stop(d->port_id);
	rte_eth_dev_close(d->port_id);
	free(d);
}

const char *dev_name(const struct dev *d)
{
	return d->name;
}

const struct dev_caps *dev_caps(const struct dev *d)
{
	return &d->caps;
}

struct eth_addr dev_mac(const struct dev *d)
{
	struct rte_ether_addr a = {0};
	struct eth_addr mac;

	rte_eth_macaddr_get(d->port_id, &a);
	memcpy(&mac, &a, sizeof(mac));
	return mac;
}

uint16_t dev_mtu(const struct dev *d)
{
	return d->mtu;
}

bool dev_link_up(struct dev *d)
{
	struct rte_eth_link link = {0};

	return rte_eth_link_get_nowait(d->port_id, &link) == 0 && link.link_status;
}

void dev_describe(const struct dev *d, FILE *out)
{
	static const char *const wake[] = {"interrupt", "socket", "timer"};

	fprintf(out, "port %u %s: %u queue%s, mtu %u; in software:%s%s%s%s; wakes by %s\n",
		d->index, d->name, d->n_queues, d->n_queues > 1 ? "s" : "", d->mtu,
		d->caps.tx_l4_csum ? "" : " checksum", d->caps.multi_seg ? "" : " chains",
		d->caps.external ? "" : " outside memory",
		d->caps.tx_l4_csum && d->caps.multi_seg && d->caps.external ? " nothing" : "",
		wake[dev_wake_kind(d, 0)]);
}

static void counters_add(struct dev_counters *a, const struct dev_counters *b)
{
	const uint64_t *from = (const uint64_t *)b;
	uint64_t *to = (uint64_t *)a;

	_Static_assert(sizeof(*a) % sizeof(uint64_t) == 0, "counters are uint64_t only");
	for (unsigned i = 0; i < sizeof(*a) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

void dev_counters(struct dev *d, struct dev_counters *out)
{
	struct rte_eth_stats s = {0};

	memset(out, 0, sizeof(*out));
	for (unsigned q = 0; q < d->n_queues; q++)
		counters_add(out, &d->q[q].count);
	if (rte_eth_stats_get(d->port_id, &s) == 0) {
		out->rx_missed += s.imissed;
		out->rx_errors += s.ierrors;
		out->tx_errors += s.oerrors;
		out->rx_nombuf += s.rx_nombuf;
	}
}
