/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of ports (DESIGN §3.8): what each PMD of DPDK 22.11 sends correctly, which is not what
 * it reports. af_xdp and zero-copy memif send garbage rather than refuse. What is false here is
 * done in software by dev_tx.c: a linearizing copy, the checksum. tap's "offloads" are software
 * inside its PMD, so ours is used. A PCI NIC is believed.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/dev_priv.h"

/* Copies every segment into a frame, or passes pointers in one process: any segment will do. */
#define ANY_SEGMENT .multi_seg = true, .indirect = true, .external = true

static const struct dev_row rows[] = {
	{.driver = "net_af_packet",
	 ANY_SEGMENT,
	 .kernel_socket = true,
	 .cuts_frames = true,
	 .max_segs = 255,
	 .rx_desc = 512,
	 .tx_desc = 512},
	/* Chains: only the first length is right. Direct buffers of its UMEM's pool go as offsets.
	 */
	{.driver = "net_af_xdp",
	 .kernel_socket = true,
	 .max_segs = 1,
	 .rx_desc = 2048,
	 .tx_desc = 2048},
	/* writev of all segments; its own limit is IOV_MAX minus the header. */
	{.driver = "net_tap", ANY_SEGMENT, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
	{.driver = "net_memif", ANY_SEGMENT, .max_segs = 32, .rx_desc = 1024, .tx_desc = 1024},
	/* Publishes only memory whose descriptors EAL knows: external memory is not. */
	{.driver = "net_virtio_user",
	 .multi_seg = true,
	 .indirect = true,
	 .offloads = true,
	 .try_intr = true,
	 .lazy_free = true,
	 .max_segs = 64,
	 .rx_desc = 256,
	 .tx_desc = 256},
	{.driver = "net_vhost",
	 ANY_SEGMENT,
	 .offloads = false,
	 .try_intr = true,
	 .max_segs = 64,
	 .rx_desc = 256,
	 .tx_desc = 256},
	{.driver = "net_pcap", ANY_SEGMENT, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
	{.driver = "net_ring", ANY_SEGMENT, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
	{.driver = "net_null", ANY_SEGMENT, .max_segs = 255, .rx_desc = 256, .tx_desc = 256},
};

/* Memory that EAL doesn't know isn't mapped for the NIC's DMA. */
static const struct dev_row row_nic = {
	.driver = "nic",
	.multi_seg = true,
	.indirect = true,
	.offloads = true,
	.try_intr = true,
	.lazy_free = true,
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
	c->multi_seg = c->multi_seg && (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
}

void dev_row_caps(const struct dev_row *row, const struct rte_eth_dev_info *info, const char *args,
		  struct dev_caps *c)
{
	char zc[8];

	*c = (struct dev_caps){
		.driver = info->driver_name,
		.multi_seg = row->multi_seg,
		.indirect = row->indirect,
		.external = row->external,
		.kernel_socket = row->kernel_socket,
		.lazy_free = row->lazy_free,
		.max_segs = row->max_segs,
		.max_frame_bytes = UINT16_MAX,
		.max_queues = RTE_MIN(info->max_rx_queues, info->max_tx_queues),
		.mtu_max = info->max_mtu != 0 ? info->max_mtu : UINT16_MAX,
	};
	if (row->offloads)
		caps_offloads(info, c);
	if (row == &row_nic && info->tx_desc_lim.nb_mtu_seg_max != 0)
		c->max_segs = RTE_MIN(c->max_segs, info->tx_desc_lim.nb_mtu_seg_max);
	if (!c->multi_seg)
		c->max_segs = 1;
	if (c->tso)
		c->tso_max_bytes = UINT16_MAX;
	c->rss = row == &row_nic && info->flow_type_rss_offloads != 0 && c->max_queues > 1;
	c->max_queues = RTE_MIN(c->max_queues, DEV_QUEUES_MAX);
	/* Zero-copy memif describes a buffer by its offset in EAL's memory. */
	if (dev_args_get(args, "zero-copy", zc, sizeof(zc)) && strcmp(zc, "yes") == 0)
		c->external = false;
	if (row->cuts_frames) {
		c->max_frame_bytes = af_packet_frame_bytes(args);
		/* A frame of exactly that size can't be told from a cut one; 18 = Ethernet, VLAN.
		 */
		c->mtu_max = RTE_MIN(c->mtu_max, c->max_frame_bytes - 1 - 18);
	}
}
