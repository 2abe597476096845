/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The header that the kernel puts in front of a packet, and wants there, where it is to do what a
 * NIC would: compute a checksum, cut a packet into segments (struct virtio_net_hdr, VIRTIO 1.1
 * §5.1.6). tap's (dev_tap.c) and packet sockets' (dev_packet.c) are the same.
 */
#include <linux/virtio_net.h>
#include <string.h>

#include "dev/dev_priv.h"

uint64_t dev_vnet_verdict(const struct virtio_net_hdr *h, uint32_t len)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return (uint32_t)h->csum_start + h->csum_offset + 2 <= len
			       ? RTE_MBUF_F_RX_L4_CKSUM_GOOD
			       : 0;
	return h->flags & VIRTIO_NET_HDR_F_DATA_VALID ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
}

struct virtio_net_hdr dev_vnet_header(const struct rte_mbuf *m)
{
	struct virtio_net_hdr h = {0};

	if ((m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG)) == 0)
		return h;
	h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h.csum_start = (uint16_t)(m->l2_len + m->l3_len);
	h.csum_offset = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_UDP_CKSUM ? 6 : 16;
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		h.gso_type = m->ol_flags & RTE_MBUF_F_TX_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6
							      : VIRTIO_NET_HDR_GSO_TCPV4;
		h.gso_size = m->tso_segsz;
		h.hdr_len = (uint16_t)(h.csum_start + m->l4_len);
	}
	return h;
}

uint8_t *dev_vnet_length_in(struct rte_mbuf *m, const struct virtio_net_hdr *h, uint16_t *was)
{
	uint8_t *field = rte_pktmbuf_mtod_offset(m, uint8_t *, h->csum_start + h->csum_offset);
	uint32_t sum;

	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return NULL;
	memcpy(was, field, 2);
	sum = *was + (uint32_t)rte_cpu_to_be_16((uint16_t)(m->pkt_len - h->csum_start));
	sum = (sum & 0xffff) + (sum >> 16);
	memcpy(field, &(uint16_t){(uint16_t)sum}, 2);
	return field;
}
