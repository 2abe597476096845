/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP segments, written and read without the engine's own parser: a second opinion on the wire
 * format (RFC 9293 §3.1, RFC 7323 §2.2 and §3.2, RFC 2018 §2 and §3).
 */
#include "lab.h"

#include <string.h>

#include "base/csum.h"

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* One byte at a time, as the RFC says it, over the pseudo-header too. */
static uint16_t csum(const struct ip_addr *src, const struct ip_addr *dst, const uint8_t *l4,
		     uint32_t n)
{
	unsigned first = ip_addr_is_v4(src) ? 12 : 0;
	uint64_t sum = 6 + n;

	for (unsigned i = first; i < 16; i += 2)
		sum += get16(src->b + i) + (uint64_t)get16(dst->b + i);
	for (uint32_t i = 0; i + 1 < n; i += 2)
		sum += get16(l4 + i);
	if (n & 1)
		sum += (uint64_t)l4[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint8_t *put_opts(uint8_t *p, const struct tcp_opts *o)
{
	if (o->have_mss) {
		put32(p, 0x02040000u | o->mss);
		p += 4;
	}
	if (o->have_wscale) {
		put32(p, 0x01030300u | o->wscale);
		p += 4;
	}
	if (o->sack_ok) {
		put32(p, 0x01010402u);
		p += 4;
	}
	if (o->have_ts) {
		put32(p, 0x0101080au);
		put32(p + 4, o->ts_val);
		put32(p + 8, o->ts_ecr);
		p += 12;
	}
	if (o->n_sack > 0) {
		put32(p, 0x01010502u + 8u * o->n_sack);
		p += 4;
		for (unsigned i = 0; i < o->n_sack; i++, p += 8) {
			put32(p, o->sack[i].start);
			put32(p + 4, o->sack[i].end);
		}
	}
	return p;
}

uint32_t lab_seg_write(const struct lab_seg *s, uint8_t *out)
{
	uint32_t hdr = (uint32_t)(put_opts(out + 20, &s->opts) - out);
	uint32_t n;

	if (s->raw_len > 0)
		memcpy(out + hdr, s->raw, s->raw_len);
	hdr += s->raw_len;
	n = hdr + s->len;

	put16(out, s->sport);
	put16(out + 2, s->dport);
	put32(out + 4, s->seq);
	put32(out + 8, s->ack);
	out[12] = (uint8_t)((s->off != 0 ? s->off : hdr / 4) << 4);
	out[13] = s->flags;
	put16(out + 14, s->wnd);
	put16(out + 16, 0);
	put16(out + 18, s->urg);
	if (s->len > 0)
		memcpy(out + hdr, s->payload, s->len);
	put16(out + 16, csum(&s->src, &s->dst, out, n));
	return n;
}

struct pkt lab_rx(const struct ip_addr *src, const struct ip_addr *dst, const uint8_t *l4,
		  uint32_t n, uint32_t cut)
{
	return (struct pkt){.m = lab_packet(l4, n, LAB_FRONT, cut),
			    .proto = 6,
			    .l3_off = 14,
			    .l4_off = LAB_FRONT,
			    .l4_len = n,
			    .flags = ip_addr_is_v4(src) ? 0 : PKT_F_V6,
			    .src = *src,
			    .dst = *dst};
}

/* Returns the length of the option at p, 0 when the list is broken. */
static unsigned read_opt(const uint8_t *p, unsigned left, struct tcp_opts *o)
{
	unsigned n = p[0] < 2 ? 1 : left < 2 ? 0 : p[1];

	if (n > left || (p[0] >= 2 && n < 2))
		return 0;
	switch (p[0]) {
	case 2:
		o->have_mss = true;
		o->mss = get16(p + 2);
		break;
	case 3:
		o->have_wscale = true;
		o->wscale = p[2];
		break;
	case 4:
		o->sack_ok = true;
		break;
	case 5:
		o->n_sack = (uint8_t)((n - 2) / 8);
		for (unsigned i = 0; i < o->n_sack && i < TCP_SACK_MAX; i++)
			o->sack[i] =
				(struct tcp_sack_block){get32(p + 2 + i * 8), get32(p + 6 + i * 8)};
		break;
	case 8:
		o->have_ts = true;
		o->ts_val = get32(p + 2);
		o->ts_ecr = get32(p + 6);
		break;
	}
	return n;
}

bool lab_seg_read(const struct rte_mbuf *m, uint32_t off, const struct ip_addr *src,
		  const struct ip_addr *dst, uint8_t *copy, struct lab_seg *s)
{
	uint32_t n = pkt_copy_out(m, off, LAB_SEG_MAX, copy);
	unsigned hdr = n >= 20 ? (copy[12] >> 4) * 4u : 0;

	if (hdr < 20 || hdr > n || csum(src, dst, copy, n) != 0)
		return false;
	*s = (struct lab_seg){.src = *src,
			      .dst = *dst,
			      .sport = get16(copy),
			      .dport = get16(copy + 2),
			      .seq = get32(copy + 4),
			      .ack = get32(copy + 8),
			      .flags = copy[13],
			      .wnd = get16(copy + 14),
			      .urg = get16(copy + 18),
			      .len = n - hdr,
			      .payload = copy + hdr};
	for (unsigned i = 20, used; i < hdr && copy[i] != 0; i += used) {
		used = read_opt(copy + i, hdr - i, &s->opts);
		if (used == 0)
			return false;
	}
	return true;
}

void lab_csum_complete(const struct pkt *p)
{
	uint8_t *field = pkt_data(p->m) + 16;
	uint32_t sum = get16(field);

	/* For segmentation the pseudo-header is without the length, which the port knows best. */
	if (p->flags & PKT_F_TSO) {
		sum += p->m->pkt_len;
		sum = (sum & 0xffff) + (sum >> 16);
		put16(field, sum + (sum >> 16));
	}
	sum = csum_finish(pkt_csum(p->m, 0, p->m->pkt_len));
	field[0] = (uint8_t)sum; /* in the order of this machine, as csum.h has it */
	field[1] = (uint8_t)(sum >> 8);
}
