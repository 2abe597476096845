/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See flow.h. RFC 791 §3.1, RFC 8200 §3 and §4.
 */
#include "wire/flow.h"

#include "wire/eth.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define EXTENSIONS_MAX 8 /* of one packet: more is nonsense (H21) */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool read4(const uint8_t *p, uint32_t len, struct wire_flow *f)
{
	const struct ip4_hdr *h = (const struct ip4_hdr *)p;
	uint32_t total;

	if (len < IP4_HDR_LEN)
		return false;
	f->l4 = (h->ver_ihl & 15u) * 4;
	total = be16_host(h->total_len);
	if (f->l4 < IP4_HDR_LEN || f->l4 > len || total < f->l4)
		return false;
	f->l4_len = total - f->l4;
	f->frag = (be16_host(h->frag) & IP4_FRAG_OFFSET) * 8u;
	f->proto = h->proto;
	f->src = ip_addr_v4(h->src);
	f->dst = ip_addr_v4(h->dst);
	return true;
}

static bool is_extension(uint8_t next)
{
	return next == IP6_NEXT_HOP_BY_HOP || next == IP6_NEXT_ROUTING ||
	       next == IP6_NEXT_DST_OPTS || next == IP6_NEXT_FRAGMENT;
}

static bool read6(const uint8_t *p, uint32_t len, struct wire_flow *f)
{
	const struct ip6_hdr *h = (const struct ip6_hdr *)p;
	uint32_t end, hdr;

	if (len < IP6_HDR_LEN)
		return false;
	f->l4 = IP6_HDR_LEN;
	f->proto = h->next;
	end = IP6_HDR_LEN + be16_host(h->payload_len);
	memcpy(f->src.b, h->src, sizeof(f->src.b));
	memcpy(f->dst.b, h->dst, sizeof(f->dst.b));
	for (unsigned n = 0; is_extension(f->proto) && f->frag == 0; n++) {
		const uint8_t *x = p + f->l4;

		if (n == EXTENSIONS_MAX || f->l4 + 8 > len)
			return false;
		hdr = IP6_FRAG_LEN;
		if (f->proto == IP6_NEXT_FRAGMENT)
			f->frag = get16(x + 2) & ~7u;
		else
			hdr = 8u + 8u * x[1];
		f->proto = x[0];
		f->l4 += hdr;
	}
	if (f->l4 > len || f->l4 > end)
		return false;
	f->l4_len = end - f->l4;
	return true;
}

bool wire_flow_read(const uint8_t *ip, uint32_t len, struct wire_flow *f)
{
	*f = (struct wire_flow){.v6 = len > 0 && ip[0] >> 4 == 6};
	if (len == 0 || (!f->v6 && ip[0] >> 4 != 4))
		return false;
	if (!(f->v6 ? read6(ip, len, f) : read4(ip, len, f)))
		return false;
	f->has_ports = f->frag == 0 && (f->proto == IP_PROTO_TCP || f->proto == IP_PROTO_UDP) &&
		       f->l4_len >= 4 && f->l4 + 4 <= len;
	if (f->has_ports) {
		f->sport = get16(ip + f->l4);
		f->dport = get16(ip + f->l4 + 2);
	}
	return true;
}

uint16_t wire_frame_type(const uint8_t *frame, uint32_t len, uint32_t *payload)
{
	*payload = 14;
	if (len < 14)
		return 0;
	if (get16(frame + 12) != ETH_TYPE_VLAN)
		return get16(frame + 12);
	*payload = 18;
	return len < 18 ? 0 : get16(frame + 16);
}
