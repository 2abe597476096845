/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capture to pcapng (draft-ietf-opsawg-pcapng): one section, one interface block for each port,
 * enhanced packet blocks with direction and ns time stamps. For looking, not for speed: a frame is
 * copied, and its checksum is completed in the copy, because on the way out it is the port's to
 * fill in, and on the way in a port that vouches for it may not have computed it.
 *
 * Not done: filters, rotation.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/csum.h"
#include "stack/stack_priv.h"
#include "wire/eth.h"

#define FRAME_MAX     (64u << 10)
#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_IF      1u
#define BLOCK_PACKET  6u
#define LINK_ETHERNET 1u

enum { OPT_END = 0, OPT_IF_NAME = 2, OPT_TSRESOL = 9, OPT_EPB_FLAGS = 2 };

struct capture {
	pthread_mutex_t lock;
	FILE *f;
	uint32_t snap;
	unsigned n_ports; /* interface blocks written */
	uint8_t frame[FRAME_MAX];
};

static void put32(struct capture *c, uint32_t v)
{
	fwrite(&v, sizeof(v), 1, c->f);
}

static void option(struct capture *c, uint16_t code, const void *value, uint16_t len)
{
	static const uint8_t zero[4];

	put32(c, code | (uint32_t)len << 16);
	fwrite(value, 1, len, c->f);
	fwrite(zero, 1, -len & 3u, c->f);
}

static uint32_t option_bytes(uint32_t len)
{
	return 4 + ((len + 3) & ~3u);
}

static void section_block(struct capture *c)
{
	put32(c, BLOCK_SECTION);
	put32(c, 28);
	put32(c, 0x1a2b3c4d); /* tells the byte order */
	put32(c, 1);	      /* version 1.0 */
	put32(c, UINT32_MAX); /* section length: not known */
	put32(c, UINT32_MAX);
	put32(c, 28);
}

static void if_block(struct capture *c, unsigned port)
{
	static const uint8_t nanoseconds = 9;
	char name[16];
	int n = snprintf(name, sizeof(name), "port%u", port);
	uint32_t len = 20 + option_bytes((uint32_t)n) + option_bytes(1) + 4;

	put32(c, BLOCK_IF);
	put32(c, len);
	put32(c, LINK_ETHERNET);
	put32(c, c->snap);
	option(c, OPT_IF_NAME, name, (uint16_t)n);
	option(c, OPT_TSRESOL, &nanoseconds, 1);
	put32(c, OPT_END);
	put32(c, len);
}

int capture_open(const char *path, uint32_t snap, struct capture **out)
{
	struct capture *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return -ENOMEM;
	c->f = fopen(path, "we");
	if (c->f == NULL) {
		rc = -errno;
		free(c);
		return rc;
	}
	c->snap = snap == 0 || snap > FRAME_MAX ? FRAME_MAX : snap;
	pthread_mutex_init(&c->lock, NULL);
	section_block(c);
	*out = c;
	return 0;
}

void capture_close(struct capture *c)
{
	if (c == NULL)
		return;
	fclose(c->f);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static unsigned csum_at(uint8_t proto)
{
	return proto == IP_PROTO_TCP ? 16 : proto == IP_PROTO_UDP ? 6 : 0;
}

/* Computes the transport checksum of a frame anew. */
static void complete(uint8_t *f, uint32_t len)
{
	uint32_t l3 = 14, l4, end, l4_len, sum;
	const uint8_t *len16;
	struct ip_addr src = {0}, dst = {0};
	uint8_t proto;
	uint16_t field;
	bool v6;

	if (len > 18 && f[12] == 0x81 && f[13] == 0)
		l3 = 18;
	if (len < l3 + 20)
		return;
	v6 = f[l3] >> 4 == 6;
	if (v6 && len < l3 + 40)
		return;
	l4 = l3 + (v6 ? 40 : (f[l3] & 15u) * 4);
	proto = v6 ? f[l3 + 6] : f[l3 + 9];
	len16 = f + l3 + (v6 ? 4 : 2);
	end = l3 + (v6 ? 40u : 0u) + ((uint32_t)len16[0] << 8 | len16[1]);
	if (csum_at(proto) == 0 || end > len || l4 + csum_at(proto) + 2 > end)
		return;
	l4_len = end - l4;
	if (v6) {
		memcpy(src.b, f + l3 + 8, 16);
		memcpy(dst.b, f + l3 + 24, 16);
	} else {
		memcpy(src.b + 12, f + l3 + 12, 4);
		memcpy(dst.b + 12, f + l3 + 16, 4);
	}
	memset(f + l4 + csum_at(proto), 0, 2);
	sum = csum_pseudo(0, src.b, dst.b, v6, proto, l4_len);
	field = csum_finish(csum_add(sum, f + l4, l4_len));
	if (field == 0 && proto == IP_PROTO_UDP)
		field = 0xffff; /* RFC 768: 0 means none */
	memcpy(f + l4 + csum_at(proto), &field, 2);
}

static void packet_block(struct capture *c, unsigned port, uint32_t kept, uint32_t whole, bool out)
{
	static const uint8_t zero[4];
	uint32_t flags = out ? 2 : 1;
	uint32_t len = 32 + ((kept + 3) & ~3u) + option_bytes(4) + 4;
	struct timespec ts;
	uint64_t ns;

	clock_gettime(CLOCK_REALTIME, &ts);
	ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	put32(c, BLOCK_PACKET);
	put32(c, len);
	put32(c, port);
	put32(c, (uint32_t)(ns >> 32));
	put32(c, (uint32_t)ns);
	put32(c, kept);
	put32(c, whole);
	fwrite(c->frame, 1, kept, c->f);
	fwrite(zero, 1, -kept & 3u, c->f);
	option(c, OPT_EPB_FLAGS, &flags, 4);
	put32(c, OPT_END);
	put32(c, len);
}

void capture_frame(struct capture *c, const struct pkt *p, unsigned port, bool out)
{
	uint32_t whole = p->m->pkt_len, len;

	pthread_mutex_lock(&c->lock);
	while (c->n_ports <= port)
		if_block(c, c->n_ports++);
	len = pkt_copy_out(p->m, 0, FRAME_MAX, c->frame);
	if (len == whole && (p->flags & (out ? PKT_F_L4_CSUM : PKT_F_CSUM_OK)))
		complete(c->frame, len);
	packet_block(c, port, len < c->snap ? len : c->snap, whole, out);
	pthread_mutex_unlock(&c->lock);
}

void capture_flush(struct capture *c)
{
	pthread_mutex_lock(&c->lock);
	fflush(c->f);
	pthread_mutex_unlock(&c->lock);
}
