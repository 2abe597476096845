/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A frame in a few words: enough to see who talks to whom. Wireshark knows the rest. Every length
 * is checked: what a peer sent may be anything.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

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

/* The transport header: h has len bytes of the frame, payload is what IP says there is. */
static void transport(struct words *w, unsigned proto, const uint8_t *h, size_t len, size_t payload)
{
	size_t s = strlen(w->src), d = strlen(w->dst);

	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP) {
		strcpy(w->proto, proto == IPPROTO_TCP ? "tcp" : "udp");
		if (len < 4)
			return;
		snprintf(w->src + s, sizeof(w->src) - s, ":%u", get16(h));
		snprintf(w->dst + d, sizeof(w->dst) - d, ":%u", get16(h + 2));
		if (proto == IPPROTO_TCP)
			tcp(w, h, len, payload);
	} else if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		strcpy(w->proto, proto == IPPROTO_ICMP ? "icmp" : "icmp6");
		if (len >= 2)
			snprintf(w->info, sizeof(w->info), "type %u code %u", h[0], h[1]);
	} else {
		snprintf(w->info, sizeof(w->info), "protocol %u", proto);
	}
}

static void ip4(struct words *w, const uint8_t *h, size_t len)
{
	size_t hdr = len >= 20 ? (size_t)(h[0] & 15) * 4 : 0, total;

	strcpy(w->proto, "ip");
	if (hdr < 20 || hdr > len)
		return;
	total = get16(h + 2);
	inet_ntop(AF_INET, h + 12, w->src, sizeof(w->src));
	inet_ntop(AF_INET, h + 16, w->dst, sizeof(w->dst));
	if ((get16(h + 6) & 0x1fff) != 0)
		snprintf(w->info, sizeof(w->info), "fragment at %u", (get16(h + 6) & 0x1fff) * 8);
	else
		transport(w, h[9], h + hdr, len - hdr, total > hdr ? total - hdr : 0);
}

static void ip6(struct words *w, const uint8_t *h, size_t len)
{
	char a[INET6_ADDRSTRLEN];

	strcpy(w->proto, "ip6");
	if (len < 40)
		return;
	snprintf(w->src, sizeof(w->src), "[%s]", inet_ntop(AF_INET6, h + 8, a, sizeof(a)));
	snprintf(w->dst, sizeof(w->dst), "[%s]", inet_ntop(AF_INET6, h + 24, a, sizeof(a)));
	transport(w, h[6], h + 40, len - 40, get16(h + 4));
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
	size_t at = 14;
	unsigned type;

	if (len >= 18 && get16(f + 12) == 0x8100)
		at = 18;
	if (len >= at) {
		type = get16(f + at - 2);
		mac(f + 6, w.src, sizeof(w.src));
		mac(f, w.dst, sizeof(w.dst));
		if (type == 0x0800)
			ip4(&w, f + at, len - at);
		else if (type == 0x86dd)
			ip6(&w, f + at, len - at);
		else if (type == 0x0806)
			arp(&w, f + at, len - at);
		else
			snprintf(w.info, sizeof(w.info), "type 0x%04x", type);
	}
	return json_pack("{s:s, s:s, s:s, s:s}", "proto", w.proto, "src", w.src, "dst", w.dst,
			 "info", w.info);
}
