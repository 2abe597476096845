/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening, describing and closing a port. Asks for what the row of the table allows and the port
 * reports; what it lacks is done by dev_tx.c. Not done: VLAN offload, flow rules.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	if (c->lro)
		want |= RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER;
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

/* A key of equal 16-bit words gives both directions of a flow the same hash. */
static void rss_configure(struct rte_eth_conf *conf, const struct rte_eth_dev_info *info,
			  uint8_t key[UINT8_MAX])
{
	for (unsigned i = 0; i < info->hash_key_size; i++)
		key[i] = i & 1 ? 0x5a : 0x6d;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_key = key;
	conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
	conf->rx_adv_conf.rss_conf.rss_hf =
		info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
}

static int configure(struct dev *d, const struct dev_cfg *cfg, const struct rte_eth_dev_info *info)
{
	bool intr = d->row->try_intr || d->row->intr_is_fd;
	struct rte_eth_conf conf = {0};
	uint8_t key[UINT8_MAX];
	int rc;

	conf.rxmode.mtu = d->row->cuts_frames ? 0 : cfg->mtu;
	conf.rxmode.offloads = rx_offloads(&d->caps, info);
	conf.txmode.offloads = tx_offloads(&d->caps, info);
	if (d->caps.rss && cfg->n_queues > 1)
		rss_configure(&conf, info, key);
	/* Succeeds also on ports that have no interrupts: dev_wake_find() asks each queue. */
	conf.intr_conf.rxq = intr;
	rc = rte_eth_dev_configure(d->port_id, cfg->n_queues, cfg->n_queues, &conf);
	if (rc < 0 && intr) {
		conf.intr_conf.rxq = 0;
		rc = rte_eth_dev_configure(d->port_id, cfg->n_queues, cfg->n_queues, &conf);
	}
	return rc;
}

static int queues_setup(struct dev *d, const struct dev_cfg *cfg)
{
	uint16_t nrx = cfg->rx_desc ? cfg->rx_desc : d->row->rx_desc;
	uint16_t ntx = cfg->tx_desc ? cfg->tx_desc : d->row->tx_desc;
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

/* Neighbour discovery lives on multicast; filtering it is eth's work. A port that can't open up for
 * multicast alone is opened for all. */
static int listen_to(struct dev *d, bool promiscuous)
{
	int rc = rte_eth_allmulticast_enable(d->port_id);

	if (rc == -ENOTSUP || promiscuous)
		rc = rte_eth_promiscuous_enable(d->port_id);
	return rc == -ENOTSUP ? 0 : rc;
}

/* An interface of the kernel's has an MTU of its own, which most PMDs don't look at. */
static void mtu_learn(struct dev *d, uint16_t asked)
{
	if (asked != 0)
		d->mtu = asked;
	else if (d->ifindex != 0)
		d->mtu = (uint16_t)RTE_MIN(dev_if_mtu(d->ifname), (unsigned)UINT16_MAX);
	else if (rte_eth_dev_get_mtu(d->port_id, &d->mtu) < 0)
		d->mtu = RTE_ETHER_MTU;
	d->mtu = RTE_MIN(d->mtu, d->caps.mtu_max);
}

static int mtu_set(const struct dev *d, uint16_t mtu)
{
	if (mtu == 0)
		return 0;
	return d->row->cuts_frames ? dev_if_mtu_set(d->ifname, mtu)
				   : rte_eth_dev_set_mtu(d->port_id, mtu);
}

/* Configures and starts; what says which step failed. */
static int bring_up(struct dev *d, const struct dev_cfg *cfg, const struct rte_eth_dev_info *info,
		    const char **what)
{
	struct sigaction held[NSIG];
	int rc;

	*what = "it refuses this configuration";
	rc = configure(d, cfg, info);
	if (rc < 0)
		return rc;
	*what = "cannot set the MTU";
	rc = mtu_set(d, cfg->mtu);
	if (rc < 0 && rc != -ENOTSUP)
		return rc;
	*what = "cannot set up its queues (too few or too small buffers?)";
	dev_signals_hold(held);
	rc = queues_setup(d, cfg);
	dev_signals_release(held);
	if (rc < 0)
		return rc;
	*what = d->row->intr_thread ? "cannot start; start the server's side of the link first"
				    : "cannot start";
	rc = rte_eth_dev_start(d->port_id);
	if (rc < 0)
		return rc;
	*what = "cannot receive multicast";
	rc = listen_to(d, cfg->promiscuous);
	if (rc < 0) {
		rte_eth_dev_stop(d->port_id);
		return rc;
	}
	mtu_learn(d, cfg->mtu);
	return 0;
}

const char *dev_port_args(const struct rte_eth_dev_info *info)
{
	const struct rte_devargs *da = rte_dev_devargs(info->device);

	return da != NULL && da->args != NULL ? da->args : "";
}

/* The piece of EAL's memory around an address. */
struct piece {
	const void *at;
	uintptr_t base;
	size_t len;
};

static int piece_find(const struct rte_memseg_list *list, const struct rte_memseg *first,
		      size_t len, void *arg)
{
	struct piece *p = arg;

	(void)list;
	if ((uintptr_t)p->at - (uintptr_t)first->addr >= len)
		return 0;
	p->base = (uintptr_t)first->addr;
	p->len = len;
	return 1;
}

/* What a port sends from that sees EAL's memory and nothing else: the piece that the receive
 * buffers lie in, which is all of it unless it grew since. memif knows only what was there when it
 * connected.
 */
static void memory_learn(struct dev *d, struct rte_mempool *rx)
{
	struct piece p = {.at = STAILQ_FIRST(&rx->mem_list)->addr};

	rte_memseg_contig_walk(piece_find, &p);
	d->mem_base = p.base;
	d->mem_len = p.len;
	/* NICs want bus addresses; the engine attaches memory by its own. */
	d->copy_attached = d->reclaim == DEV_RECLAIM_CALL && rte_eal_iova_mode() != RTE_IOVA_VA;
}

static void interface_learn(struct dev *d, const struct rte_eth_dev_info *info)
{
	if (!d->row->kernel_if)
		return;
	d->ifindex = info->if_index;
	if (d->ifindex == 0 && dev_args_get(dev_port_args(info), "iface", d->ifname, IF_NAMESIZE))
		d->ifindex = if_nametoindex(d->ifname);
	if (if_indextoname(d->ifindex, d->ifname) == NULL)
		d->ifindex = 0;
}

static void mac_learn(struct dev *d)
{
	struct rte_ether_addr a = {0};

	rte_eth_macaddr_get(d->port_id, &a);
	/* net_ring has none: one of the local ones (IEEE 802: bit 1 of the first byte). */
	if (!rte_is_valid_assigned_ether_addr(&a))
		a = (struct rte_ether_addr){{2, 'z', 's', (uint8_t)(getpid() >> 8),
					     (uint8_t)getpid(), (uint8_t)d->port_id}};
	/* tap's PMD gives the address to the kernel's end: ours must be another, or neighbour
	 * discovery finds a duplicate. The link has two ends only, and takes any. */
	if (d->row->intr_is_fd)
		a.addr_bytes[5] ^= 1;
	memcpy(&d->mac, &a, sizeof(d->mac));
}

static int dev_init(struct dev *d, const struct dev_cfg *cfg, const char **what, char *detail,
		    size_t detail_len)
{
	struct rte_eth_dev_info info;
	int rc;

	*what = "it gives no information";
	rte_eth_dev_get_name_by_port(d->port_id, d->name);
	rc = rte_eth_dev_info_get(d->port_id, &info);
	if (rc < 0)
		return rc;
	dev_row_apply(d, &info, dev_port_args(&info));
	interface_learn(d, &info);
	dev_guard_open(d, dev_port_args(&info));
	*what = detail;
	snprintf(detail, detail_len, "it has %u queue pairs and %u were asked: use fewer cores",
		 d->caps.max_queues, cfg->n_queues);
	if (cfg->n_queues == 0 || cfg->n_queues > d->caps.max_queues)
		return -EINVAL;
	snprintf(detail, detail_len, "MTU %u is more than its %u", cfg->mtu, d->caps.mtu_max);
	if (cfg->mtu > d->caps.mtu_max)
		return -EINVAL;
	if (d->segs == DEV_SEGS_EAL)
		memory_learn(d, cfg->rx_pools[0]);
	rc = bring_up(d, cfg, &info, what);
	if (rc < 0)
		return rc;
	mac_learn(d);
	if (d->reclaim == DEV_RECLAIM_CALL)
		d->caps.tx_done_cleanup = rte_eth_tx_done_cleanup(d->port_id, 0, 0) >= 0;
	if (d->reclaim == DEV_RECLAIM_CALL && !d->caps.tx_done_cleanup)
		d->reclaim = DEV_RECLAIM_NONE;
	for (unsigned q = 0; q < d->n_queues; q++)
		d->q[q].offer = PKT_BURST;
	dev_wake_find(d);
	*what = "cannot turn its offloads on";
	rc = dev_packet_open(d, dev_port_args(&info), cfg);
	dev_whole_open(d);
	if (rc == 0)
		rc = dev_tap_open(d, cfg);
	if (rc < 0) {
		dev_tap_close(d);
		dev_packet_close(d);
		dev_wake_close(d);
		rte_eth_dev_stop(d->port_id);
		return rc;
	}
	d->was_up = dev_link_up(d);
	return 0;
}

int dev_open(unsigned index, const struct dev_cfg *cfg, struct dev **out, char *err, size_t err_len)
{
	const char *what;
	char detail[128];
	struct dev *d;
	int rc, id = dev_port_id(index);

	if (id < 0)
		return open_fail(err, err_len, "?", "no such port", id);
	if (posix_memalign((void **)&d, 64, sizeof(*d)) != 0)
		return open_fail(err, err_len, "?", "no memory", -ENOMEM);
	*d = (struct dev){.port_id = (uint16_t)id, .index = index, .n_queues = cfg->n_queues};
	rc = dev_init(d, cfg, &what, detail, sizeof(detail));
	if (rc < 0) {
		rc = open_fail(err, err_len, d->name, what, rc);
		free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void dev_close(struct dev *d)
{
	if (d == NULL)
		return;
	dev_tap_close(d);
	dev_packet_close(d);
	dev_wake_close(d);
	dev_guard_close(d);
	dev_reclaim_close(d);
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
	return d->mac;
}

unsigned dev_ifindex(const struct dev *d)
{
	return d->ifindex;
}

uint16_t dev_mtu(const struct dev *d)
{
	return d->mtu;
}

void dev_describe(const struct dev *d, FILE *out)
{
	static const char *const wake[] = {"interrupt", "socket", "a timer of 1 ms"};
	const struct dev_caps *c = &d->caps;

	fprintf(out, "port %u %s: %u queue%s, mtu %u; in software:", d->index, d->name, d->n_queues,
		d->n_queues > 1 ? "s" : "", d->mtu);
	fprintf(out, "%s%s%s%s%s%s", c->tx_l4_csum ? "" : " checksum",
		c->tso || d->row->tso_by_peer ? "" : " TSO", c->multi_seg ? "" : " chains (copied)",
		c->external ? "" : " outside memory (copied)",
		d->n_queues > 1 && !c->rss ? " RSS" : "",
		c->tx_l4_csum && c->tso && c->multi_seg && c->external &&
				(d->n_queues == 1 || c->rss)
			? " nothing"
			: "");
	fprintf(out, "; wakes by %s%s%s\n", wake[dev_wake_kind(d, 0)],
		c->shares_memory ? "; its peer can write our memory: trust it" : "",
		d->was_up ? "" : "; link down");
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
	out->rx_missed += dev_packet_missed(d);
	if (rte_eth_stats_get(d->port_id, &s) == 0) {
		out->rx_missed += s.imissed;
		out->rx_errors += s.ierrors;
		out->tx_errors += s.oerrors;
		out->rx_nombuf += s.rx_nombuf;
	}
}
