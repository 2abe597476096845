/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The mempool driver and the packets of lab.h.
 */
#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mempool.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONS 1
#endif
#endif
#ifdef POISONS
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)	  ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct pkt_pools lab_pools;

/* The free objects of a pool, last in first out. */
struct stack {
	unsigned n;
	void *obj[];
};

static struct {
	bool ready; /* pools are made: objects in them may be poisoned */
	unsigned total;
	struct stack *stack[8]; /* where the leak checker finds them */
	unsigned stacks;
	uint64_t allocs;
	uint32_t fail_of_65536;
	int64_t fail_at;
	struct rand rand;
} lab = {.fail_at = -1};

static int pool_alloc(struct rte_mempool *mp)
{
	struct stack *s = calloc(1, sizeof(*s) + mp->size * sizeof(void *));

	if (s == NULL || lab.stacks == array_size(lab.stack))
		return -ENOMEM;
	lab.stack[lab.stacks++] = s;
	mp->pool_data = s;
	return 0;
}

static void pool_free(struct rte_mempool *mp)
{
	free(mp->pool_data);
}

static int pool_enqueue(struct rte_mempool *mp, void *const *obj, unsigned n)
{
	struct stack *s = mp->pool_data;

	if (s->n + n > mp->size)
		abort(); /* freed twice */
	for (unsigned i = 0; i < n; i++) {
		s->obj[s->n++] = obj[i];
		if (lab.ready)
			ASAN_POISON_MEMORY_REGION(obj[i], mp->elt_size);
	}
	return 0;
}

static bool fails(void)
{
	lab.allocs++;
	if (lab.fail_at >= 0 && lab.fail_at-- == 0)
		return true;
	return lab.fail_of_65536 != 0 && rand_below(&lab.rand, 65536) < lab.fail_of_65536;
}

static int pool_dequeue(struct rte_mempool *mp, void **obj, unsigned n)
{
	struct stack *s = mp->pool_data;

	if (s->n < n || (lab.ready && fails()))
		return -ENOBUFS;
	for (unsigned i = 0; i < n; i++) {
		obj[i] = s->obj[--s->n];
		ASAN_UNPOISON_MEMORY_REGION(obj[i], mp->elt_size);
	}
	return 0;
}

static unsigned pool_count(const struct rte_mempool *mp)
{
	return ((const struct stack *)mp->pool_data)->n;
}

static const struct rte_mempool_ops pool_ops = {
	.name = "lab",
	.alloc = pool_alloc,
	.free = pool_free,
	.enqueue = pool_enqueue,
	.dequeue = pool_dequeue,
	.get_count = pool_count,
};
RTE_MEMPOOL_REGISTER_OPS(pool_ops);

static struct rte_mempool *pool_make(const char *name, unsigned n, uint16_t room)
{
	struct rte_mempool *mp =
		rte_pktmbuf_pool_create_by_ops(name, n, 0, 0, room, SOCKET_ID_ANY, "lab");
	const struct stack *s;

	if (mp == NULL) {
		fprintf(stderr, "lab: no memory for pool %s of %u buffers\n", name, n);
		exit(1);
	}
	s = mp->pool_data;
	for (unsigned i = 0; i < s->n; i++)
		ASAN_POISON_MEMORY_REGION(s->obj[i], mp->elt_size);
	lab.total += n;
	return mp;
}

void lab_start(unsigned rx, unsigned hdr, unsigned ref)
{
	char *argv[] = {"lab",	       "--no-huge", "--no-pci", "--no-telemetry",
			"--no-shconf", "-m",	    "256",	"--log-level=1"};

	if (rte_eal_init((int)array_size(argv), argv) < 0) {
		fprintf(stderr, "lab: EAL does not start\n");
		exit(1);
	}
	lab_pools.rx = pool_make("rx", rx, RTE_PKTMBUF_HEADROOM + 2048);
	lab_pools.hdr = pool_make("hdr", hdr, RTE_PKTMBUF_HEADROOM + PKT_HDR_ROOM);
	lab_pools.ref = pool_make("ref", ref, 0);
	lab.ready = true;
}

unsigned lab_in_use(void)
{
	return lab.total - pool_count(lab_pools.rx) - pool_count(lab_pools.hdr) -
	       pool_count(lab_pools.ref);
}

void lab_fail(uint32_t of_65536, uint64_t seed)
{
	lab.fail_of_65536 = of_65536;
	rand_init(&lab.rand, seed);
}

void lab_fail_at(int64_t n)
{
	lab.fail_at = n;
}

uint64_t lab_allocs(void)
{
	return lab.allocs;
}

struct rte_mbuf *lab_packet(const void *bytes, uint32_t n, uint32_t front, uint32_t cut)
{
	const uint8_t *from = bytes;
	struct rte_mbuf *head = NULL, *m;

	do {
		uint32_t take = n < cut ? n : cut;
		uint32_t room;

		m = rte_pktmbuf_alloc(lab_pools.rx);
		if (m == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		if (head == NULL)
			memset(pkt_put(m, (uint16_t)front), 0, front);
		room = rte_pktmbuf_tailroom(m);
		take = take < room ? take : room;
		memcpy(pkt_put(m, (uint16_t)take), from, take);
		from += take;
		n -= take;
		if (head == NULL)
			head = m;
		else if (rte_pktmbuf_chain(head, m) != 0)
			abort();
	} while (n > 0);
	return head;
}

struct exact {
	struct rte_mbuf_ext_shared_info info;
	void *bytes;
};

static void exact_free(void *bytes, void *arg)
{
	struct exact *x = arg;

	free(x->bytes);
	free(x);
}

struct rte_mbuf *lab_packet_exact(const void *bytes, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(lab_pools.ref);
	struct exact *x = m != NULL ? malloc(sizeof(*x)) : NULL;

	if (x == NULL) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	x->bytes = malloc(n > 0 ? n : 1);
	if (x->bytes == NULL)
		abort();
	memcpy(x->bytes, bytes, n);
	x->info.free_cb = exact_free;
	x->info.fcb_opaque = x;
	rte_mbuf_ext_refcnt_set(&x->info, 1);
	rte_pktmbuf_attach_extbuf(m, x->bytes, RTE_BAD_IOVA, (uint16_t)n, &x->info);
	m->data_off = 0;
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	return m;
}
