/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of ports (DESIGN §3.8): what each PMD of DPDK 22.11 sends correctly, which is not what
 * it reports. af_xdp and zero-copy memif send garbage rather than refuse. What is false here is
 * done in software by dev_tx.c: a linearizing copy, the checksum. A PCI NIC is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/dev_priv.h"

static const struct dev_row rows[] = {
	/* What the driver does; dev_packet.c does more. */
	{.driver = "net_af_packet",
	 .multi_seg = true,
	 .kernel_socket = true,
	 .kernel_if = true,
	 .cuts_frames = true,
	 .copies_input = true,
	 .max_segs = 255,
	 .rx_desc = 512,
	 .tx_desc = 512},
	/* Chains: only the first length is right. A buffer of its UMEM's pool goes as an offset,
	 * whatever it refers to. What comes from another pool it copies. */
	{.driver = "net_af_xdp",
	 .segs = DEV_SEGS_DIRECT,
	 .reclaim = DEV_RECLAIM_EMPTY,
	 .kernel_socket = true,
	 .kernel_if = true,
	 .max_segs = 1,
	 .rx_desc = 2048,
	 .tx_desc = 2048},
	/* writev of all segments; IOV_MAX is far. Its checksum is wrong over chains with odd
	 * lengths, and its TSO is software. */
	{.driver = "net_tap",
	 .multi_seg = true,
	 .intr_is_fd = true,
	 .kernel_if = true,
	 .max_segs = 255,
	 .rx_desc = 256,
	 .tx_desc = 256},
	/* Copying, or the server's side of zero-copy, which copies into the client's buffers. A
	 * frame larger than a buffer leaves "continues in the next" in its descriptors for later
	 * frames: so none is sent. */
	{.driver = "net_memif",
	 .multi_seg = true,
	 .intr_thread = true,
	 .max_segs = 255,
	 .rx_desc = 1024,
	 .tx_desc = 1024},
	/* Publishes only memory whose descriptors EAL knows. Its own tx_prepare() would take the
	 * length out of the pseudo-header and the header checksum out of a TSO packet, which its
	 * peer wants. */
	{.driver = "net_virtio_user",
	 .segs = DEV_SEGS_EAL,
	 .reclaim = DEV_RECLAIM_PROBE,
	 .multi_seg = true,
	 .offloads = true,
	 .none_is_good = true,
	 .try_intr = true,
	 .max_segs = 64,
	 .rx_desc = 256,
	 .tx_desc = 256},
	{.driver = "net_virtio",
	 .segs = DEV_SEGS_EAL,
	 .reclaim = DEV_RECLAIM_PROBE,
	 .multi_seg = true,
	 .offloads = true,
	 .none_is_good = true,
	 .try_intr = true,
	 .max_segs = 64,
	 .rx_desc = 256,
	 .tx_desc = 256},
	/* Copies. Without its receive checksum offload it computes the checksums that the sender
	 * left out. */
	{.driver = "net_vhost",
	 .multi_seg = true,
	 .offloads = true,
	 .none_is_good = true,
	 .tso_by_peer = true,
	 .try_intr = true,
	 .max_segs = 255,
	 .rx_desc = 256,
	 .tx_desc = 256},
	{.driver = "net_pcap", .multi_seg = true, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
	{.driver = "net_ring", .multi_seg = true, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
	{.driver = "net_null", .multi_seg = true, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
};

/* The client's side: describes a buffer by its offset in EAL's memory. Of a burst of more than four
 * its transmit function looks at the ring's room once for four packets, whatever slots they take:
 * when the ring fills, chains overwrite what the far end has yet to read. */
static const struct dev_row row_memif_zc = {
	.driver = "net_memif",
	.segs = DEV_SEGS_EAL,
	.reclaim = DEV_RECLAIM_EMPTY,
	.multi_seg = true,
	.intr_thread = true,
	.max_segs = 64,
	.rx_desc = 1024,
	.tx_desc = 1024,
	.tx_most = 4,
};

/* Memory that EAL doesn't know isn't mapped for the NIC's DMA. */
static const struct dev_row row_nic = {
	.driver = "nic",
	.segs = DEV_SEGS_EAL,
	.reclaim = DEV_RECLAIM_CALL,
	.multi_seg = true,
	.offloads = true,
	.tx_prepare = true,
	.try_intr = true,
	.max_segs = 32,
	.rx_desc = 512,
	.tx_desc = 512,
};

const struct dev_row *dev_row_find(const char *driver)
{
	for (unsigned i = 0; i < array_size(rows); i++)
		if (strcmp(rows[i].driver, driver) == 0)
			return &rows[i];
	return &row_nic;
}

bool dev_args_get(const char *args, const char *key, char *val, size_t val_len)
{
	size_t k = strlen(key);

	for (const char *p = args; p != NULL && *p != '\0';) {
		size_t n = strcspn(p, ",");

		if (n > k && strncmp(p, key, k) == 0 && p[k] == '=') {
			snprintf(val, val_len, "%.*s", (int)(n - k - 1), p + k + 1);
			return true;
		}
		p += n;
		p += *p == ',';
	}
	return false;
}

uint32_t dev_args_u32(const char *args, const char *key, uint32_t otherwise)
{
	char val[16];

	return dev_args_get(args, key, val, sizeof(val)) ? (uint32_t)strtoul(val, NULL, 0)
							 : otherwise;
}

/* af_packet's ring, TPACKET_V2: the link-layer header of a received frame starts behind 32 bytes of
 * ring header, 20 of address, both padded for the network header to be aligned to 16:
 * ALIGN16(52 + 16) - 14 = 66. */
static uint16_t af_packet_frame_bytes(const char *args)
{
	return (uint16_t)(dev_args_u32(args, "framesz", 2048) - 66);
}

static void caps_offloads(const struct rte_eth_dev_info *info, struct dev_caps *c)
{
	const uint64_t l4 = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	uint64_t tx = info->tx_offload_capa, rx = info->rx_offload_capa;

	c->tx_l4_csum = (tx & l4) == l4;
	c->tx_ip_csum = tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	c->tso = c->tx_l4_csum && (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO);
	c->rx_l4_csum = (rx & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) && (rx & RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
	c->rx_ip_csum = rx & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	c->lro = (rx & RTE_ETH_RX_OFFLOAD_TCP_LRO) && (rx & RTE_ETH_RX_OFFLOAD_SCATTER);
	c->multi_seg = c->multi_seg && (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	c->rss = info->flow_type_rss_offloads != 0 && info->hash_key_size != 0 && c->max_queues > 1;
}

/* What depends on the arguments of the SPEC. */
static void caps_args(struct dev *d, const char *args)
{
	struct dev_caps *c = &d->caps;

	if (d->row->cuts_frames) {
		c->max_frame_bytes = af_packet_frame_bytes(args);
		/* A frame of exactly that size can't be told from a cut one. */
		c->mtu_max = (uint16_t)RTE_MIN(c->mtu_max, c->max_frame_bytes - 1 - DEV_L2_MAX);
		d->tx_ring = (uint16_t)dev_args_u32(args, "framecnt", 512);
	}
	/* Of a chunk: DPDK's headers of a buffer, and its headroom, and that of XDP. */
	if (strcmp(c->driver, "net_af_xdp") == 0)
		c->mtu_max = (uint16_t)RTE_MIN(
			c->mtu_max, DEV_UMEM_CHUNK - RTE_CACHE_LINE_SIZE - sizeof(struct rte_mbuf) -
					    RTE_PKTMBUF_HEADROOM - 256 - DEV_L2_MAX);
	if (strcmp(c->driver, "net_memif") == 0) {
		uint32_t size = RTE_MAX(dev_args_u32(args, "bsize", 2048), 64u + DEV_L2_MAX);

		c->mtu_max = (uint16_t)RTE_MIN(c->mtu_max, size - DEV_L2_MAX);
	}
	/* As a server it takes the next one. */
	d->no_return =
		strcmp(c->driver, "net_virtio_user") == 0 && dev_args_u32(args, "server", 0) == 0;
	c->shares_memory = d->row == &row_memif_zc || strcmp(c->driver, "net_virtio_user") == 0;
}

static const struct dev_row *row_of(const char *driver, const char *args)
{
	const struct dev_row *row = dev_row_find(driver);
	char word[16];

	if (strcmp(driver, "net_memif") != 0 ||
	    !dev_args_get(args, "zero-copy", word, sizeof(word)) || strcmp(word, "yes") != 0)
		return row;
	if (dev_args_get(args, "role", word, sizeof(word)) && strcmp(word, "client") != 0 &&
	    strcmp(word, "slave") != 0)
		return row;
	return &row_memif_zc;
}

bool dev_receives_anywhere(unsigned index)
{
	struct rte_eth_dev_info info;
	int id = dev_port_id(index);

	return id >= 0 && rte_eth_dev_info_get((uint16_t)id, &info) == 0 &&
	       row_of(info.driver_name, dev_port_args(&info))->segs == DEV_SEGS_ANY;
}

void dev_row_apply(struct dev *d, const struct rte_eth_dev_info *info, const char *args)
{
	const struct dev_row *row = row_of(info->driver_name, args);
	struct dev_caps *c = &d->caps;

	d->row = row;
	d->segs = row->segs;
	d->reclaim = row->reclaim;
	*c = (struct dev_caps){
		.driver = info->driver_name,
		.multi_seg = row->multi_seg,
		.indirect = row->segs != DEV_SEGS_DIRECT,
		.external = row->segs == DEV_SEGS_ANY,
		.kernel_socket = row->kernel_socket,
		/* af_xdp gives back all but its own copies at once. */
		.lazy_free = row->reclaim != DEV_RECLAIM_NONE && row->segs == DEV_SEGS_EAL,
		.max_segs = row->max_segs,
		.max_frame_bytes = UINT32_MAX,
		.max_queues = RTE_MIN(info->max_rx_queues, info->max_tx_queues),
		.mtu_max = info->max_mtu != 0 ? info->max_mtu : UINT16_MAX,
	};
	c->max_queues = RTE_MIN(c->max_queues, DEV_QUEUES_MAX);
	if (row->offloads)
		caps_offloads(info, c);
	if (row == &row_nic && info->tx_desc_lim.nb_mtu_seg_max != 0)
		c->max_segs = RTE_MIN(c->max_segs, info->tx_desc_lim.nb_mtu_seg_max);
	if (!c->multi_seg)
		c->max_segs = 1;
	caps_args(d, args);
	if (c->tso || row->tso_by_peer)
		c->tso_max_bytes = UINT16_MAX;
}
