/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many UDP datagrams of one size behind one header: so the kernel passes on what a program on this
 * machine sent at once (udp(7): UDP_SEGMENT). Unlike TCP's segments, they must not become one when
 * they are received, so they are cut here as the last port on their way would do it: the headers
 * are repeated with other lengths, and IPv4's identification counts up.
 *
 * The checksums of such datagrams are for that port to compute, so there are none to be checked.
 * What stands in the field is the sum of the pseudo-header (dev_csum.c), with the new length.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/csum.h"
#include "dev/dev_priv.h"

#define UDP_HDR 8

static uint32_t headers(const struct dev_udp_cut *c)
{
	return (uint32_t)c->l.l2 + c->l.l3 + UDP_HDR;
}

bool dev_udp_cut_begin(struct dev_udp_cut *c, struct rte_mbuf *m, uint16_t size,
		       struct rte_mempool *pool)
{
	uint32_t room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;

	*c = (struct dev_udp_cut){.size = size};
	if (size != 0 && dev_layout_read(m, &c->l) && c->l.proto == IPPROTO_UDP &&
	    c->l.l4_len > UDP_HDR && headers(c) + size <= room) {
		c->m = m;
		c->at = headers(c);
		c->left = c->l.l4_len - UDP_HDR;
		return true;
	}
	pkt_free(m);
	return false;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The headers of datagram number c->taken, with n bytes of payload. */
static void headers_put(const struct dev_udp_cut *c, uint8_t *f, uint32_t n)
{
	uint8_t *ip = f + c->l.l2, *udp = ip + c->l.l3;
	uint16_t was = get16(udp + 4), csum = get16(udp + 6);
	uint16_t sum;

	put16(udp + 4, UDP_HDR + n);
	if (csum != 0) /* RFC 768: there is none */
		put16(udp + 6, csum_fold((uint32_t)csum + (uint16_t)~was + UDP_HDR + n));
	if (c->l.v6) {
		put16(ip + 4, c->l.l3 - 40u + UDP_HDR + n);
		return;
	}
	put16(ip + 2, c->l.l3 + UDP_HDR + n);
	put16(ip + 4, get16(ip + 4) + c->taken);
	memset(ip + 10, 0, 2);
	sum = csum_finish(csum_add(0, ip, c->l.l3));
	memcpy(ip + 10, &sum, 2);
}

int dev_udp_cut_next(struct dev_udp_cut *c, struct rte_mempool *pool, struct rte_mbuf **out)
{
	uint32_t hdr = headers(c), n = RTE_MIN(c->left, (uint32_t)c->size);
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *f;

	if (m == NULL)
		return -ENOBUFS;
	f = pkt_put(m, (uint16_t)(hdr + n));
	memcpy(f, pkt_data(c->m), hdr);
	pkt_copy_out(c->m, c->at, n, f + hdr);
	headers_put(c, f, n);
	m->ol_flags |= c->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	c->at += n;
	c->left -= n;
	c->taken++;
	if (c->left == 0) {
		pkt_free(c->m);
		c->m = NULL;
	}
	*out = m;
	return 1;
}
