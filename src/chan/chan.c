/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Layout of a channel. There is one function that turns a geometry into offsets, layout(). The
 * maker writes its result; whoever maps the region takes only the geometry out of the header,
 * computes the offsets again and refuses a header that says anything else. So no offset is ever
 * checked piece by piece, and none that is hostile gets through (H32).
 *
 * Not done: attaching again to a channel in use. Both sides start at index 0, once.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "chan/chan.h"

/* What crosses a process: the layout is a contract between builds, so it stands here in numbers. */
#define AT(type, field, where) _Static_assert(offsetof(struct type, field) == (where), #field)

AT(chan_sqe, port, 0);
AT(chan_sqe, flags, 2);
AT(chan_sqe, op, 3);
AT(chan_sqe, sid, 4);
AT(chan_sqe, ticket, 8);
AT(chan_sqe, len, 12);
AT(chan_sqe, off, 16);
AT(chan_sqe, token, 24);
AT(chan_sqe, loan, 28);
AT(chan_sqe, addr, 32);
AT(chan_sqe, scope, 48);
AT(chan_sqe, arg, 32);
AT(chan_sqe, data, 32);
AT(chan_sqe, opt.level, 32);
AT(chan_sqe, opt.name, 34);
AT(chan_sqe, opt.value, 36);

AT(chan_cqe, port, 0);
AT(chan_cqe, flags, 2);
AT(chan_cqe, ev, 3);
AT(chan_cqe, sid, 4);
AT(chan_cqe, res, 8);
AT(chan_cqe, aux, 12);
AT(chan_cqe, off, 16);
AT(chan_cqe, region, 24);
AT(chan_cqe, lport, 26);
AT(chan_cqe, loan, 28);
AT(chan_cqe, addr, 32);
AT(chan_cqe, laddr, 48);
AT(chan_cqe, data, 32);

AT(chan_hdr, magic, 0);
AT(chan_hdr, version, 4);
AT(chan_hdr, sq_size, 8);
AT(chan_hdr, cq_size, 12);
AT(chan_hdr, ret_size, 16);
AT(chan_hdr, done_size, 20);
AT(chan_hdr, max_loans, 24);
AT(chan_hdr, max_tokens, 28);
AT(chan_hdr, max_sockets, 32);
AT(chan_hdr, sq_off, 40);
AT(chan_hdr, cq_off, 48);
AT(chan_hdr, ret_off, 56);
AT(chan_hdr, done_off, 64);
AT(chan_hdr, idx_off, 72);
AT(chan_hdr, total_bytes, 80);
AT(chan_hdr, arena_bytes, 88);
AT(chan_hdr, scratch_off, 96);
AT(chan_hdr, kernel_if, 104);
AT(chan_hdr, netns, 104 + 4 * CHAN_IFS_MAX);
_Static_assert(sizeof(struct chan_hdr) == 112 + 4 * CHAN_IFS_MAX, "header");

AT(chan_idx, head, 0);
_Static_assert(sizeof(struct chan_idx) == 64, "a line");
AT(chan_shared, sq, 0);
AT(chan_shared, cq, 64);
AT(chan_shared, ret, 128);
AT(chan_shared, done, 192);
AT(chan_shared, bells, 256);
AT(chan_bells, app_armed, 0);
AT(chan_bells, stack_armed, 64);
AT(chan_shared, lease, 384);
AT(chan_shared, told, 384 + 8 * CHAN_LEASES);
_Static_assert(sizeof(struct chan_shared) == 512 + 8 * CHAN_LEASES, "eight lines, and the leases");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "op and ev are the highest byte of an entry's first word, as chan_first() says");

_Static_assert(sizeof(_Atomic uint32_t) == 4 && ATOMIC_INT_LOCK_FREE == 2,
	       "an atomic with a lock beside it would not cross a process");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "the same");

#define LINE	   64u
#define PAGE	   4096u
#define SPAN_BYTES (64u << 10)
#define ARENA_MAX  (1ull << 40)

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

void chan_geometry_defaults(struct chan_geometry *g)
{
	*g = (struct chan_geometry){
		.sq_size = 1024,
		.cq_size = 4096,
		.ret_size = 4096,
		.done_size = 16384,
		.max_loans = 4096,
		.max_tokens = 16384,
		.max_sockets = 65536,
		.arena_bytes = 64ull << 20,
	};
}

static bool ring_size_good(uint32_t n)
{
	return n >= 2 && n <= CHAN_RING_MAX && (n & (n - 1)) == 0;
}

int chan_geometry_check(const struct chan_geometry *g)
{
	if (!ring_size_good(g->sq_size) || !ring_size_good(g->cq_size) ||
	    !ring_size_good(g->ret_size) || !ring_size_good(g->done_size))
		return -EINVAL;
	if (g->max_loans == 0 || g->max_loans > g->ret_size || g->max_loans > 1u << LOAN_INDEX_BITS)
		return -EINVAL;
	if (g->max_tokens == 0 || g->max_tokens > g->done_size)
		return -EINVAL;
	if (g->max_sockets == 0 || g->max_sockets > 1u << SID_INDEX_BITS)
		return -EINVAL;
	if (g->arena_bytes == 0 || g->arena_bytes > ARENA_MAX || g->arena_bytes % SPAN_BYTES != 0)
		return -EINVAL;
	return 0;
}

/* The header that this geometry has. */
static void layout(struct chan_hdr *h, const struct chan_geometry *g)
{
	uint64_t at = round_up(sizeof(*h), LINE);

	*h = (struct chan_hdr){
		.magic = CHAN_MAGIC,
		.version = CHAN_VERSION,
		.sq_size = g->sq_size,
		.cq_size = g->cq_size,
		.ret_size = g->ret_size,
		.done_size = g->done_size,
		.max_loans = g->max_loans,
		.max_tokens = g->max_tokens,
		.max_sockets = g->max_sockets,
		.arena_bytes = g->arena_bytes,
	};
	h->idx_off = at;
	at += sizeof(struct chan_shared);
	h->sq_off = at;
	at += (uint64_t)g->sq_size * sizeof(struct chan_sqe);
	h->cq_off = at;
	at += (uint64_t)g->cq_size * sizeof(struct chan_cqe);
	h->ret_off = at;
	at = round_up(at + (uint64_t)g->ret_size * sizeof(uint32_t), LINE);
	h->done_off = at;
	at += (uint64_t)g->done_size * sizeof(uint32_t);
	h->scratch_off = round_up(at, PAGE);
	h->total_bytes = h->scratch_off + CHAN_SCRATCH_BYTES;
}

uint64_t chan_bytes(const struct chan_geometry *g)
{
	struct chan_hdr h;

	layout(&h, g);
	return h.total_bytes;
}

static void ring_empty(struct chan_idx *i)
{
	atomic_store_explicit(&i->head, 0, memory_order_relaxed);
}

void chan_format(void *base, const struct chan_geometry *g)
{
	struct chan_hdr *h = base;
	struct chan_shared *sh;

	BUG_ON(chan_geometry_check(g) != 0);
	BUG_ON((uintptr_t)base % LINE != 0);
	layout(h, g);
	sh = (struct chan_shared *)((char *)base + h->idx_off);
	ring_empty(&sh->sq);
	ring_empty(&sh->cq);
	ring_empty(&sh->ret);
	ring_empty(&sh->done);
	atomic_store_explicit(&sh->bells.app_armed, 0, memory_order_relaxed);
	atomic_store_explicit(&sh->bells.stack_armed, 0, memory_order_relaxed);
	for (unsigned i = 0; i < CHAN_LEASES; i++)
		atomic_store_explicit(&sh->lease[i], 0, memory_order_relaxed);
	for (unsigned i = 0; i < CHAN_TOLD_PLACES; i++)
		atomic_store_explicit(&sh->told.n[i], 0, memory_order_relaxed);
}

int chan_check(const void *base, uint64_t bytes, struct chan_hdr *copy)
{
	struct chan_geometry g;
	struct chan_hdr want;

	if (base == NULL || (uintptr_t)base % LINE != 0 || bytes < sizeof(*copy))
		return -EPROTO;
	chan_copy(copy, base, sizeof(*copy));
	if (copy->magic != CHAN_MAGIC)
		return -EPROTO;
	if (copy->version != CHAN_VERSION)
		return -EPROTONOSUPPORT;
	g = (struct chan_geometry){
		.sq_size = copy->sq_size,
		.cq_size = copy->cq_size,
		.ret_size = copy->ret_size,
		.done_size = copy->done_size,
		.max_loans = copy->max_loans,
		.max_tokens = copy->max_tokens,
		.max_sockets = copy->max_sockets,
		.arena_bytes = copy->arena_bytes,
	};
	if (chan_geometry_check(&g) != 0)
		return -EPROTO;
	layout(&want, &g);
	memcpy(want.kernel_if, copy->kernel_if, sizeof(want.kernel_if));
	want.netns = copy->netns;
	/* No holes in the struct (asserted above), so this compares every field, pad included. */
	if (memcmp(&want, copy, sizeof(want)) != 0 || want.total_bytes > bytes)
		return -EPROTO;
	return 0;
}

static void ring_attach(struct chan_ring *r, struct chan_idx *idx, void *slots, uint32_t size)
{
	*r = (struct chan_ring){.idx = idx,
				.slots = slots,
				.mask = size - 1,
				.shift = (uint32_t)__builtin_clz(size)};
}

void chan_attach(struct chan_end *e, const struct chan_map *m, const struct chan_hdr *hdr)
{
	char *base = m->base;

	e->hdr = *hdr;
	e->sh = (struct chan_shared *)(base + hdr->idx_off);
	e->scratch = (uint8_t *)base + hdr->scratch_off;
	ring_attach(&e->sq, &e->sh->sq, base + hdr->sq_off, hdr->sq_size);
	ring_attach(&e->cq, &e->sh->cq, base + hdr->cq_off, hdr->cq_size);
	ring_attach(&e->ret, &e->sh->ret, base + hdr->ret_off, hdr->ret_size);
	ring_attach(&e->done, &e->sh->done, base + hdr->done_off, hdr->done_size);
}
