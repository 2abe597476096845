/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Links: rows of stages, and the heap of packets under way.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static bool earlier(const struct frame *a, const struct frame *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_push(struct frame *f)
{
	size_t i = sim.n_frames++;

	if (sim.n_frames > sim.heap_size) {
		sim.heap_size = sim.heap_size ? 2 * sim.heap_size : 1024;
		sim.heap = realloc(sim.heap, sim.heap_size * sizeof(struct frame *));
		if (sim.heap == NULL)
			abort();
	}
	for (; i > 0 && earlier(f, sim.heap[(i - 1) / 2]); i = (i - 1) / 2)
		sim.heap[i] = sim.heap[(i - 1) / 2];
	sim.heap[i] = f;
}

static struct frame *heap_pop(void)
{
	struct frame *top = sim.heap[0], *last = sim.heap[--sim.n_frames];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < sim.n_frames) {
		if (child + 1 < sim.n_frames && earlier(sim.heap[child + 1], sim.heap[child]))
			child++;
		if (!earlier(sim.heap[child], last))
			break;
		sim.heap[i] = sim.heap[child];
		i = child;
	}
	sim.heap[i] = last;
	return top;
}

static struct frame *frame_new(unsigned dir, const uint8_t *bytes, uint32_t len)
{
	struct frame *f = malloc(sizeof(*f) + len);

	if (f == NULL)
		abort();
	*f = (struct frame){.dir = (uint8_t)dir, .len = len};
	memcpy(f->bytes, bytes, len);
	return f;
}

/* To the next stage, which it meets at that time. */
static void forward(struct frame *f, uint64_t at)
{
	f->due = at;
	f->order = sim.order++;
	heap_push(f);
}

static void lose(struct frame *f)
{
	sim.lost++;
	free(f);
}

static uint32_t ip_len(const struct frame *f)
{
	return f->len + (sim.v6 ? 40 : 20);
}

/* ---- stages: each passes the packet on, or not ---- */

static void rate(struct stage *s, struct frame *f)
{
	uint64_t start = s->free_at > sim.now ? s->free_at : sim.now;
	uint64_t queued = (start - sim.now) * s->a / SEC;

	if (queued + ip_len(f) > s->b) {
		lose(f);
		return;
	}
	s->free_at = start + (ip_len(f) + 38) * SEC / s->a; /* Ethernet's own 38 bytes */
	forward(f, s->free_at);
}

static void jitter(struct stage *s, struct frame *f)
{
	uint64_t at = sim.now + rand_below(&sim.rand, s->a + 1);

	if (at < s->free_at)
		at = s->free_at;
	s->free_at = at;
	forward(f, at);
}

static void burst(struct stage *s, struct frame *f)
{
	if (sim.now >= s->free_at && sim_chance(s->a))
		s->free_at = sim.now + rand_below(&sim.rand, s->b);
	if (sim.now < s->free_at)
		lose(f);
	else
		forward(f, sim.now);
}

static void duplicate(struct stage *s, struct frame *f)
{
	if (sim_chance(s->a)) {
		struct frame *twin = frame_new(f->dir, f->bytes, f->len);

		twin->stage = f->stage;
		forward(twin, sim.now);
	}
	forward(f, sim.now);
}

/* Up to eight bits in a row: no checksum of 16 bits misses that. */
static void corrupt(struct stage *s, struct frame *f)
{
	if (sim_chance(s->a))
		f->bytes[rand_below(&sim.rand, f->len)] ^=
			(uint8_t)(1 + rand_below(&sim.rand, 255));
	forward(f, sim.now);
}

/* An attacker off the path: right addresses and ports, a number somewhere in the window, never the
 * exact one. RST, SYN, or data with an ACK that is far off. Open connections only: RFC 9293
 * §3.10.7.3 lets any SYN that meets SYN-SENT begin a simultaneous open. */
static void forge(struct stage *s, struct frame *f)
{
	static const uint8_t kinds[] = {TCP_RST, TCP_RST | TCP_ACK, TCP_SYN, TCP_SYN | TCP_ACK,
					TCP_ACK | TCP_PSH};
	static uint8_t bytes[LAB_SEG_MAX];
	struct lab_seg seg = {.src = sim.host[f->dir].addr, .dst = sim.host[1 - f->dir].addr};
	const uint8_t *b = f->bytes;
	struct frame *forged;

	if (sim_chance(s->a) && !(b[13] & TCP_SYN)) {
		seg.sport = (uint16_t)(b[0] << 8 | b[1]);
		seg.dport = (uint16_t)(b[2] << 8 | b[3]);
		seg.seq = (uint32_t)b[4] << 24 | (uint32_t)b[5] << 16 | (uint32_t)b[6] << 8 | b[7];
		seg.seq += 7 + 1448 * (1 + (uint32_t)rand_below(&sim.rand, 20));
		seg.flags = kinds[rand_below(&sim.rand, array_size(kinds))];
		seg.ack = rand_u32(&sim.rand) | 1u << 31;
		seg.ack += (uint32_t)b[8] << 24 | (uint32_t)b[9] << 16;
		seg.wnd = 1000;
		seg.payload = b;
		seg.len = seg.flags & TCP_PSH ? f->len : 0;
		forged = frame_new(f->dir, bytes, lab_seg_write(&seg, bytes));
		forged->stage = f->stage;
		forward(forged, sim.now);
	}
	forward(f, sim.now);
}

static void mtu(struct stage *s, struct frame *f)
{
	if (ip_len(f) <= s->a) {
		forward(f, sim.now);
		return;
	}
	sim.lost++;
	f->icmp = true;
	f->mtu = (uint16_t)s->a;
	forward(f, sim.now + MS);
}

static void stage_run(struct stage *s, struct frame *f)
{
	switch (s->kind) {
	case STAGE_DELAY:
		forward(f, sim.now + s->a);
		break;
	case STAGE_JITTER:
		jitter(s, f);
		break;
	case STAGE_RATE:
		rate(s, f);
		break;
	case STAGE_LOSS:
		sim_chance(s->a) ? lose(f) : forward(f, sim.now);
		break;
	case STAGE_BURST:
		burst(s, f);
		break;
	case STAGE_REORDER:
		forward(f, sim.now + (sim_chance(s->a) ? rand_below(&sim.rand, s->b) : 0));
		break;
	case STAGE_DUP:
		duplicate(s, f);
		break;
	case STAGE_CORRUPT:
		corrupt(s, f);
		break;
	case STAGE_FORGE:
		forge(s, f);
		break;
	case STAGE_MTU:
		mtu(s, f);
		break;
	case STAGE_OUTAGE:
		if (sim.now - sim.began >= s->a && sim.now - sim.began < s->b)
			lose(f);
		else
			forward(f, sim.now);
		break;
	case STAGE_END:
		abort();
	}
}

/* ---- */

void link_send(unsigned dir, const uint8_t *bytes, uint32_t len)
{
	forward(frame_new(dir, bytes, len), sim.now);
}

uint64_t link_due(void)
{
	return sim.n_frames > 0 ? sim.heap[0]->due : UINT64_MAX;
}

static void arrive(struct frame *f)
{
	if (f->icmp)
		host_icmp(f->dir, f);
	else
		host_deliver(1 - f->dir, f);
	free(f);
}

void link_run(void)
{
	while (link_due() <= sim.now) {
		struct frame *f = heap_pop();
		struct stage *s = &sim.link[f->dir][f->stage];

		if (f->icmp || s->kind == STAGE_END) {
			arrive(f);
			continue;
		}
		f->stage++;
		stage_run(s, f);
	}
}

void link_clear(void)
{
	while (sim.n_frames > 0)
		free(heap_pop());
	free(sim.heap);
	sim.heap = NULL;
	sim.heap_size = 0;
}
