/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capture to pcapng (draft-ietf-opsawg-pcapng): one section, one interface block for each port,
 * enhanced packet blocks with direction and ns time stamps. For looking, not for speed: a frame is
 * copied, and its checksum is completed in the copy, because on the way out it is the port's to
 * fill in, and on the way in a port that vouches for it may not have computed it.
 *
 * To a file, written by the stack's thread; or to memory that another thread reads, which the stack
 * never waits for: whole blocks find room or are lost, and an interface statistics block says how
 * many.
 *
 * Not done: rotation; ports behind extension headers of IPv6 and in later fragments.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/csum.h"
#include "chan/bell.h"
#include "stack/stack_priv.h"
#include "wire/eth.h"
#include "wire/flow.h"

#define FRAME_MAX     (64u << 10)
#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_IF      1u
#define BLOCK_STATS   5u
#define BLOCK_PACKET  6u
#define LINK_ETHERNET 1u
#define IF_BLOCK_MAX  64u
#define STATS_BLOCK   40u

enum { OPT_END = 0, OPT_IF_NAME = 2, OPT_TSRESOL = 9, OPT_EPB_FLAGS = 2, OPT_ISB_DROP = 5 };

struct capture {
	pthread_mutex_t lock;
	FILE *f; /* NULL: to memory */
	uint8_t *ring;
	size_t ring_bytes, ring_head, ring_used;
	int fd;
	struct capture_filter filter;
	struct capture_count n;
	uint64_t lost_told;
	uint32_t snap;
	unsigned n_ports; /* interface blocks written */
	uint8_t frame[FRAME_MAX];
};

/* In memory the caller made sure of the room. */
static void put(struct capture *c, const void *data, size_t len)
{
	size_t at, n;

	if (c->f != NULL) {
		fwrite(data, 1, len, c->f);
		return;
	}
	at = (c->ring_head + c->ring_used) % c->ring_bytes;
	n = len < c->ring_bytes - at ? len : c->ring_bytes - at;
	memcpy(c->ring + at, data, n);
	memcpy(c->ring, (const uint8_t *)data + n, len - n);
	c->ring_used += len;
}

static bool room(const struct capture *c, size_t len)
{
	return c->f != NULL || c->ring_bytes - c->ring_used >= len;
}

static void put32(struct capture *c, uint32_t v)
{
	put(c, &v, sizeof(v));
}

static void option(struct capture *c, uint16_t code, const void *value, uint16_t len)
{
	static const uint8_t zero[4];

	put32(c, code | (uint32_t)len << 16);
	put(c, value, len);
	put(c, zero, -len & 3u);
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

static struct capture *create(uint32_t snap)
{
	struct capture *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->fd = -1;
	c->snap = snap == 0 || snap > FRAME_MAX ? FRAME_MAX : snap;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

int capture_open(const char *path, uint32_t snap, struct capture **out)
{
	struct capture *c = create(snap);
	int rc;

	if (c == NULL)
		return -ENOMEM;
	c->f = fopen(path, "we");
	if (c->f == NULL) {
		rc = -errno;
		capture_close(c);
		return rc;
	}
	section_block(c);
	*out = c;
	return 0;
}

int capture_open_memory(size_t bytes, uint32_t snap, const struct capture_filter *f,
			struct capture **out)
{
	struct capture *c = create(snap);

	if (c == NULL)
		return -ENOMEM;
	c->filter = *f;
	c->ring_bytes = bytes;
	c->ring = malloc(bytes);
	c->fd = bell_open();
	if (c->ring == NULL || c->fd < 0) {
		capture_close(c);
		return -ENOMEM;
	}
	section_block(c);
	bell_wake(c->fd);
	*out = c;
	return 0;
}

void capture_close(struct capture *c)
{
	if (c == NULL)
		return;
	if (c->f != NULL)
		fclose(c->f);
	if (c->fd >= 0)
		close(c->fd);
	free(c->ring);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int capture_fd(const struct capture *c)
{
	return c->fd;
}

size_t capture_read(struct capture *c, void *out, size_t len, struct capture_count *count)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	len = len < c->ring_used ? len : c->ring_used;
	n = len < c->ring_bytes - c->ring_head ? len : c->ring_bytes - c->ring_head;
	memcpy(out, c->ring + c->ring_head, n);
	memcpy((uint8_t *)out + n, c->ring, len - n);
	c->ring_head = (c->ring_head + len) % c->ring_bytes;
	c->ring_used -= len;
	*count = c->n;
	pthread_mutex_unlock(&c->lock);
	return len;
}

/* ---- which frames ---- */

static bool is_host(const struct ip_addr *host, const struct wire_flow *f)
{
	return ip_addr_is_any(host) || ip_addr_eq(host, &f->src) || ip_addr_eq(host, &f->dst);
}

/* f: len bytes of the frame's beginning. */
static bool wanted(const struct capture_filter *w, const uint8_t *f, uint32_t len)
{
	struct wire_flow flow;
	uint32_t l3;
	uint16_t type = wire_frame_type(f, len, &l3);

	if (w->ether_type != 0 && type != w->ether_type)
		return false;
	if (w->proto == 0 && w->port == 0 && ip_addr_is_any(&w->host))
		return true;
	if ((type != ETH_TYPE_IP4 && type != ETH_TYPE_IP6) ||
	    !wire_flow_read(f + l3, len - l3, &flow))
		return false;
	if ((w->proto != 0 && flow.proto != w->proto) || !is_host(&w->host, &flow))
		return false;
	return w->port == 0 || (flow.has_ports && (flow.sport == w->port || flow.dport == w->port));
}

/* ---- frames ---- */

static unsigned csum_at(uint8_t proto)
{
	return proto == IP_PROTO_TCP ? 16 : proto == IP_PROTO_UDP ? 6 : 0;
}

/* Computes the transport checksum of a frame anew. */
static void complete(uint8_t *f, uint32_t len)
{
	struct wire_flow flow;
	uint32_t l3, l4, sum;
	uint16_t field;
	unsigned at;

	if (wire_frame_type(f, len, &l3) == 0 || !wire_flow_read(f + l3, len - l3, &flow))
		return;
	l4 = l3 + flow.l4;
	at = csum_at(flow.proto);
	if (at == 0 || flow.frag != 0 || flow.l4_len < at + 2 || flow.l4_len > len - l4)
		return;
	memset(f + l4 + at, 0, 2);
	sum = csum_pseudo(0, flow.src.b, flow.dst.b, flow.v6, flow.proto, flow.l4_len);
	field = csum_finish(csum_add(sum, f + l4, flow.l4_len));
	if (field == 0 && flow.proto == IP_PROTO_UDP)
		field = 0xffff; /* RFC 768: 0 means none */
	memcpy(f + l4 + at, &field, 2);
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
	put(c, c->frame, kept);
	put(c, zero, -kept & 3u);
	option(c, OPT_EPB_FLAGS, &flags, 4);
	put32(c, OPT_END);
	put32(c, len);
}

/* How many were lost so far, of all ports. */
static void stats_block(struct capture *c)
{
	put32(c, BLOCK_STATS);
	put32(c, STATS_BLOCK);
	put32(c, 0);
	put32(c, 0);
	put32(c, 0);
	option(c, OPT_ISB_DROP, &c->n.lost, 8);
	put32(c, OPT_END);
	put32(c, STATS_BLOCK);
	c->lost_told = c->n.lost;
}

static void frame_put(struct capture *c, const struct pkt *p, unsigned port, bool out)
{
	uint32_t whole = p->m->pkt_len, len = pkt_copy_out(p->m, 0, FRAME_MAX, c->frame), kept;

	if (!wanted(&c->filter, c->frame, len))
		return;
	kept = len < c->snap ? len : c->snap;
	if (!room(c, kept + 64 + STATS_BLOCK + (port + 1) * IF_BLOCK_MAX)) {
		c->n.lost++;
		return;
	}
	while (c->n_ports <= port)
		if_block(c, c->n_ports++);
	if (c->lost_told != c->n.lost)
		stats_block(c);
	if (len == whole && (p->flags & (out ? PKT_F_L4_CSUM : PKT_F_CSUM_OK)))
		complete(c->frame, len);
	packet_block(c, port, kept, whole, out);
	c->n.frames++;
}

void capture_frame(struct capture *c, const struct pkt *p, unsigned port, bool out)
{
	bool was_empty;

	pthread_mutex_lock(&c->lock);
	was_empty = c->ring_used == 0;
	if (c->filter.count == 0 || c->n.frames < c->filter.count)
		frame_put(c, p, port, out);
	if (was_empty && c->ring_used != 0)
		bell_wake(c->fd);
	pthread_mutex_unlock(&c->lock);
}

void captures_frame(struct stack *s, const struct pkt *p, unsigned port, bool out)
{
	for (unsigned i = 0; i < s->n_captures; i++)
		capture_frame(s->capture[i], p, port, out);
}

int stack_capture_add(struct stack *s, struct capture *c)
{
	if (s->n_captures == STACK_CAPTURES_MAX)
		return -ENOSPC;
	s->capture[s->n_captures++] = c;
	return 0;
}

void stack_capture_del(struct stack *s, struct capture *c)
{
	for (unsigned i = 0; i < s->n_captures; i++)
		if (s->capture[i] == c)
			s->capture[i--] = s->capture[--s->n_captures];
}

void capture_flush(struct capture *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->f != NULL)
		fflush(c->f);
	pthread_mutex_unlock(&c->lock);
}
