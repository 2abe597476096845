/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A frame in a few words: enough to see who talks to whom. Wireshark knows the rest. Every length
 * is checked: what a peer sent may be anything.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "wire/eth.h"
#include "wire/flow.h"
#include "zstack.h"

struct words {
	char proto[16], src[64], dst[64], info[96];
};

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void tcp(struct words *w, const uint8_t *h, size_t len, size_t payload)
{
	static const char letters[] = "FSRPAUEC";
	char flags[9];
	unsigned n = 0;

	if (len < 20)
		return;
	for (unsigned i = 0; i < 8; i++)
		if (h[13] >> i & 1)
			flags[n++] = letters[i];
	flags[n] = '\0';
	snprintf(w->info, sizeof(w->info), "%s seq %u ack %u win %u data %zu", flags, get32(h + 4),
		 get32(h + 8), get16(h + 14),
		 payload > (size_t)(h[12] >> 4) * 4 ? payload - (size_t)(h[12] >> 4) * 4 : 0);
}

/* The transport header: h has len bytes of the frame. */
static void transport(struct words *w, const struct wire_flow *f, const uint8_t *h, size_t len)
{
	size_t s = strlen(w->src), d = strlen(w->dst);

	if (f->proto == IPPROTO_TCP || f->proto == IPPROTO_UDP) {
		strcpy(w->proto, f->proto == IPPROTO_TCP ? "tcp" : "udp");
		if (!f->has_ports)
			return;
		snprintf(w->src + s, sizeof(w->src) - s, ":%u", f->sport);
		snprintf(w->dst + d, sizeof(w->dst) - d, ":%u", f->dport);
		if (f->proto == IPPROTO_TCP)
			tcp(w, h, len, f->l4_len);
	} else if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6) {
		strcpy(w->proto, f->proto == IPPROTO_ICMP ? "icmp" : "icmp6");
		if (len >= 2)
			snprintf(w->info, sizeof(w->info), "type %u code %u", h[0], h[1]);
	} else {
		snprintf(w->info, sizeof(w->info), "protocol %u", f->proto);
	}
}

static void host(const struct ip_addr *a, bool v6, char *out, size_t len)
{
	char text[ADDR_TEXT_MAX];

	snprintf(out, len, v6 ? "[%s]" : "%s", ip_addr_text(a, text));
}

static void ip(struct words *w, const uint8_t *h, size_t len)
{
	struct wire_flow f;

	strcpy(w->proto, "ip");
	if (!wire_flow_read(h, (uint32_t)len, &f))
		return;
	if (f.v6)
		strcpy(w->proto, "ip6");
	host(&f.src, f.v6, w->src, sizeof(w->src));
	host(&f.dst, f.v6, w->dst, sizeof(w->dst));
	if (f.frag != 0)
		snprintf(w->info, sizeof(w->info), "fragment at %u", f.frag);
	else
		transport(w, &f, h + f.l4, len - f.l4);
}

static void arp(struct words *w, const uint8_t *h, size_t len)
{
	strcpy(w->proto, "arp");
	if (len < 28)
		return;
	inet_ntop(AF_INET, h + 14, w->src, sizeof(w->src));
	inet_ntop(AF_INET, h + 24, w->dst, sizeof(w->dst));
	strcpy(w->info, get16(h + 6) == 1 ? "who has" : "is at");
}

static void mac(const uint8_t *m, char *out, size_t len)
{
	snprintf(out, len, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

json_t *frame_json(const uint8_t *f, size_t len)
{
	struct words w = {.proto = "ether"};
	uint32_t at;
	unsigned type = wire_frame_type(f, (uint32_t)len, &at);

	if (len >= at) {
		mac(f + 6, w.src, sizeof(w.src));
		mac(f, w.dst, sizeof(w.dst));
		if (type == ETH_TYPE_IP4 || type == ETH_TYPE_IP6)
			ip(&w, f + at, len - at);
		else if (type == ETH_TYPE_ARP)
			arp(&w, f + at, len - at);
		else
			snprintf(w.info, sizeof(w.info), "type 0x%04x", type);
	}
	return json_pack("{s:s, s:s, s:s, s:s}", "proto", w.proto, "src", w.src, "dst", w.dst,
			 "info", w.info);
}
