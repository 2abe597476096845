/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one place that knows rte_mbuf. Everything here is inline over DPDK's inlines, so that the
 * protocols, built on this header alone, need no DPDK library (three data symbols aside).
 *
 * Words:
 *   packet   a chain of mbufs, owned by exactly one holder of its head pointer
 *   slice    an indirect mbuf that refers to bytes of another mbuf and holds a reference on it
 *   takes    the function owns the packet afterwards, on every return path
 *   borrows  the caller still owns it
 */
#ifndef ZS_PKT_PKT_H
#define ZS_PKT_PKT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "base/assert.h"
#include "pkt/drop.h"
#include "wire/addr.h"

/* Room kept in front of every L4 header we build: Ethernet 14 + VLAN 4 + IPv6 40 = 58, rounded up.
 */
#define PKT_HEADROOM 64
/* Data room of a header mbuf, behind the DPDK headroom. Holds all headers and PKT_INLINE_MAX
 * payload. */
#define PKT_HDR_ROOM 768
/* Payload from a copying call is copied beside its headers up to this size: two buffers cost more.
 */
#define PKT_INLINE_MAX 512
/* Most packets handled in one go. */
#define PKT_BURST 64

/* The pools of one core. All belong to that core; buffers freed elsewhere come home in batches. */
struct pkt_pools {
	struct rte_mempool *rx; /* received packets: the packet region; also big copies */
	struct rte_mempool
		*large; /* the same for large ones, in few pieces; NULL: no port has them */
	struct rte_mempool *hdr; /* headers we build, PKT_HDR_ROOM of data */
	struct rte_mempool *ref; /* no data room: slices and attached application memory */
};

/* Where a packet goes next. An input or output function returns this; src/stack dispatches. */
enum next {
	NEXT_DROP,     /* p->drop says why; the switchboard counts and frees */
	NEXT_CONSUMED, /* the function took it */
	NEXT_ARP,
	NEXT_IP4,
	NEXT_IP6,
	NEXT_ICMP4,
	NEXT_ICMP6,
	NEXT_ND, /* ICMPv6 neighbour discovery, checksum verified */
	NEXT_UDP,
	NEXT_TCP,
	NEXT_UNREACH_PORT,  /* answer with ICMP port unreachable (switchboard calls ip) */
	NEXT_UNREACH_PROTO, /* answer with ICMP protocol unreachable / parameter problem */
	NEXT_GROUP,	    /* IGMP or MLD: for ip_group_input() of every core */
	NEXT_ICMP_ERROR,    /* an ICMP error for a flow of ours: see ip.h */
	NEXT_IP_OUT,	    /* m starts at the L4 header; p has src, dst, proto: route and send */
	NEXT_NEIGH_OUT,	    /* m starts at the IP header; p->port, p->nexthop set: resolve */
	NEXT_TX,	    /* m is a whole frame for p->port */
	NEXT_SELF,	    /* a segment for ourselves; m starts at the L4 header */
	NEXT_KERNEL,	    /* a whole frame, as it came: for the kernel's side of its port */
};

enum {
	PKT_F_V6 = 1 << 0,
	PKT_F_CSUM_OK = 1 << 1,	   /* port verified the L4 checksum */
	PKT_F_IPCSUM_OK = 1 << 2,  /* port verified the IPv4 header checksum */
	PKT_F_BCAST = 1 << 3,	   /* arrived by link-layer broadcast or multicast */
	PKT_F_FRAGMENTED = 1 << 4, /* was reassembled */
	PKT_F_DF = 1 << 5,	   /* tx: do not fragment (IPv4 DF) */
	PKT_F_L4_CSUM = 1 << 6,	   /* tx: L4 checksum still to be completed, by port or software */
	PKT_F_TSO = 1 << 7,	   /* tx: m is larger than one segment, m->tso_segsz is set */
	PKT_F_SHARED = 1 << 8, /* rx: the kernel takes what nobody here claims: no RST, no ICMP */
};

/* A packet on its way through one poll, with what has been learned of it. Lives on the poll's
 * stack. Receive: filled layer by layer. Transmit: filled from the top down. */
struct pkt {
	struct rte_mbuf *m;
	uint8_t port; /* index of the stack's port, not DPDK's */
	uint8_t proto;
	uint8_t ttl; /* tx: 0 = default */
	uint8_t tos; /* DSCP and ECN */
	uint16_t flags;
	uint16_t vlan;	/* 0 = untagged */
	uint16_t drop;	/* enum drop_reason, with NEXT_DROP */
	uint16_t sport; /* host order */
	uint16_t dport;
	uint16_t l3_off; /* rx: from the start of m's data */
	uint16_t l4_off;
	uint16_t l4_hdr; /* tx: length of the L4 header, for offloads */
	uint32_t l4_len; /* L4 header and payload */
	uint32_t hash;	 /* symmetric hash of the flow: its bucket, hence its owner */
	uint32_t path;	 /* tx: cached path of the connection, PATH_NONE = look the route up */
	struct ip_addr src;
	struct ip_addr dst;
	struct ip_addr nexthop; /* NEXT_NEIGH_OUT */
};

#define PATH_NONE 0u

static inline enum next pkt_refuse(struct pkt *p, enum drop_reason why)
{
	p->drop = (uint16_t)why;
	return NEXT_DROP;
}

/* Frees a packet that is not wanted, and counts why. Takes m (may be NULL: only counted). */
static inline void pkt_drop(struct drop_counters *d, struct rte_mbuf *m, enum drop_reason why)
{
	d->n[why]++;
	rte_pktmbuf_free(m);
}

static inline void pkt_free(struct rte_mbuf *m)
{
	rte_pktmbuf_free(m);
}

/* An empty header mbuf with PKT_HEADROOM in front, or NULL. */
static inline struct rte_mbuf *pkt_alloc_hdr(const struct pkt_pools *pools)
{
	return rte_pktmbuf_alloc(pools->hdr);
}

/* Asks for a line of memory to write it. The compiler's builtin, told to generate code for every
 * x86-64, would ask for it to read: then it is still shared with whoever read it last. */
static inline void pkt_prefetch_write(const void *line)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* n of them at once, or none: false. Memory that another core has read costs a wait when it is
 * written, so it is asked for before it is needed. */
static inline bool pkt_alloc_hdrs(const struct pkt_pools *pools, struct rte_mbuf **m, unsigned n)
{
	if (unlikely(rte_pktmbuf_alloc_bulk(pools->hdr, m, n) != 0))
		return false;
	for (unsigned i = 0; i < n; i++) {
		pkt_prefetch_write(rte_pktmbuf_mtod(m[i], uint8_t *) - 64);
		pkt_prefetch_write(rte_pktmbuf_mtod(m[i], uint8_t *));
	}
	return true;
}

/* An empty buffer like those of received packets, or NULL. */
static inline struct rte_mbuf *pkt_alloc_rx(const struct pkt_pools *pools)
{
	return rte_pktmbuf_alloc(pools->rx);
}

/* An empty buffer of any pool, or NULL. */
static inline struct rte_mbuf *pkt_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

/* Bytes that pkt_put may append. */
static inline uint16_t pkt_room(const struct rte_mbuf *m)
{
	return rte_pktmbuf_tailroom(m);
}

static inline uint8_t *pkt_data(struct rte_mbuf *m)
{
	return rte_pktmbuf_mtod(m, uint8_t *);
}

/* Makes room for n bytes in front; the caller knows that the headroom is there. */
static inline uint8_t *pkt_push(struct rte_mbuf *m, uint16_t n)
{
	ASSERT(n <= rte_pktmbuf_headroom(m));
	m->data_off -= n;
	m->data_len += n;
	m->pkt_len += n;
	return rte_pktmbuf_mtod(m, uint8_t *);
}

/* Removes n bytes in front of the first segment; n <= data_len. */
static inline void pkt_pull(struct rte_mbuf *m, uint16_t n)
{
	ASSERT(n <= m->data_len);
	m->data_off += n;
	m->data_len -= n;
	m->pkt_len -= n;
}

/* Appends n bytes to a single-segment packet; the caller knows that the tailroom is there. */
static inline uint8_t *pkt_put(struct rte_mbuf *m, uint16_t n)
{
	uint8_t *tail = rte_pktmbuf_mtod(m, uint8_t *) + m->data_len;

	ASSERT(n <= rte_pktmbuf_tailroom(m));
	m->data_len += n;
	m->pkt_len += n;
	return tail;
}

/* A slice of one segment: bytes [off, off + len) of seg. Borrows seg, adds a reference to its
 * buffer. NULL when the pool is empty. seg may be direct, indirect, or attached to outside memory.
 */
static inline struct rte_mbuf *pkt_slice(const struct pkt_pools *pools, struct rte_mbuf *seg,
					 uint16_t off, uint16_t len)
{
	struct rte_mbuf *s = rte_pktmbuf_alloc(pools->ref);

	if (unlikely(s == NULL))
		return NULL;
	ASSERT(off + len <= seg->data_len);
	rte_pktmbuf_attach(s, seg);
	s->data_off += off;
	s->data_len = len;
	s->pkt_len = len;
	s->next = NULL;
	s->nb_segs = 1;
	s->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	s->tx_offload = 0;
	return s;
}

/* Memory outside the pools that mbufs refer to, and who is told when the last of them is gone: the
 * application's payload. The holder of this struct sees to it that it outlives them. */
struct pkt_ext {
	struct rte_mbuf_ext_shared_info info;
};

/* refs: the number of pkt_attach that follow. gone(addr, arg) runs where the last reference is
 * dropped: on the core that owns the pools. */
static inline void pkt_ext_init(struct pkt_ext *e, void (*gone)(void *addr, void *arg), void *arg,
				uint16_t refs)
{
	e->info.free_cb = gone;
	e->info.fcb_opaque = arg;
	rte_mbuf_ext_refcnt_set(&e->info, refs);
}

/* Gives up one reference that no mbuf has; not the last one. */
static inline void pkt_ext_put(struct pkt_ext *e)
{
	uint16_t left = rte_mbuf_ext_refcnt_update(&e->info, -1);

	ASSERT(left != 0);
	(void)left;
}

/* An mbuf whose payload is len bytes at addr. NULL when the pool is empty: no reference was used.
 * iova: as a driver sees addr; memory of our own is mapped at its own address (IOVA as VA). */
static inline struct rte_mbuf *pkt_attach(const struct pkt_pools *pools, void *addr,
					  rte_iova_t iova, uint16_t len, struct pkt_ext *e)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools->ref);

	if (unlikely(m == NULL))
		return NULL;
	rte_pktmbuf_attach_extbuf(m, addr, iova, len, &e->info);
	m->data_len = len;
	m->pkt_len = len;
	return m;
}

/* What gone() will be called with when the last reference to the memory outside that a segment
 * refers to is dropped; NULL: it refers to none, or another function is called. */
static inline void *pkt_ext_arg(const struct rte_mbuf *seg, void (*gone)(void *addr, void *arg))
{
	return RTE_MBUF_HAS_EXTBUF(seg) && seg->shinfo->free_cb == gone ? seg->shinfo->fcb_opaque
									: NULL;
}

/* A segment that refers to memory outside refers to other memory from here on, where the same bytes
 * are, by a reference that the caller has there; its old one is dropped. */
static inline void pkt_ext_move(struct rte_mbuf *seg, void *addr, rte_iova_t iova,
				struct pkt_ext *e)
{
	uint16_t len = seg->data_len;
	uint32_t pkt_len = seg->pkt_len;

	rte_pktmbuf_detach_extbuf(seg);
	rte_pktmbuf_attach_extbuf(seg, addr, iova, len, &e->info);
	seg->data_len = len;
	seg->pkt_len = pkt_len;
}

static inline rte_iova_t pkt_iova(const struct rte_mbuf *m, uint32_t off)
{
	return rte_pktmbuf_iova_offset(m, off);
}

/* One more holder of a single mbuf; each calls pkt_seg_free. */
static inline void pkt_seg_hold(struct rte_mbuf *m)
{
	rte_mbuf_refcnt_update(m, 1);
}

static inline void pkt_seg_free(struct rte_mbuf *m)
{
	rte_pktmbuf_free_seg(m);
}

/* Takes the first segment off a packet: it becomes a packet of its own. Returns the rest, or NULL.
 * The rest's lengths are its segments' alone. */
static inline struct rte_mbuf *pkt_seg_split(struct rte_mbuf *m)
{
	struct rte_mbuf *rest = m->next;

	m->next = NULL;
	m->nb_segs = 1;
	m->pkt_len = m->data_len;
	return rest;
}

/* Puts a packet behind another; 0, or -EOVERFLOW with both as they were. */
static inline int pkt_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

/* Buffers that a pool has, in use or not. */
static inline uint32_t pkt_pool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

/* Those in use; looks into the caches of all threads. */
static inline uint32_t pkt_pool_used(const struct rte_mempool *pool)
{
	return rte_mempool_in_use_count(pool);
}

/* A word that the owner of a received buffer keeps in it. */
static inline void pkt_note_set(struct rte_mbuf *m, uint64_t note)
{
	m->tx_offload = note;
}

static inline uint64_t pkt_note(const struct rte_mbuf *m)
{
	return m->tx_offload;
}

/* What a buffer costs its holder: the whole buffer, not its payload (DESIGN §3.8). */
static inline uint32_t pkt_charge(const struct rte_mbuf *seg)
{
	return (uint32_t)seg->buf_len + (uint32_t)sizeof(*seg);
}

/* The same of a buffer of this pool, before there is one. */
static inline uint32_t pkt_pool_charge(struct rte_mempool *pool)
{
	return (uint32_t)rte_pktmbuf_data_room_size(pool) + (uint32_t)sizeof(struct rte_mbuf);
}

/* Makes the first n bytes of the packet contiguous in the first segment. 0, or -ENOBUFS when the
 * packet is shorter or the first buffer is too small or not ours alone: then it is unchanged, and
 * the caller drops it. May use the headroom up. Borrows m. Slow path of parsers (H22). */
int pkt_linearize_head(struct rte_mbuf *m, uint16_t n) must_check;

/* The same, but where that fails for the first buffer's sake the n bytes are copied into a header
 * mbuf in front of the rest, and *m is that. 0, or -ENOBUFS: unchanged. Borrows *m, before and
 * after. */
int pkt_head(const struct pkt_pools *pools, struct rte_mbuf **m, uint16_t n) must_check;

/* Nobody else refers to the buffer of seg: we may write into all of it, its unused ends too. Memory
 * attached from outside is the application's, except where the pool itself was built on it. */
bool pkt_is_private(const struct rte_mbuf *seg);

/* Copies len bytes at off of the packet to out, or as many as there are. Returns the bytes copied.
 * Borrows m. */
uint32_t pkt_copy_out(const struct rte_mbuf *m, uint32_t off, uint32_t len, void *out);

/* A copy of the packet's bytes in buffers like those of received ones, an empty buffer for NULL.
 * NULL: none left. Borrows m. */
struct rte_mbuf *pkt_copy_rx(const struct pkt_pools *pools, const struct rte_mbuf *m) must_check;

/* Cuts the first n bytes of a packet, all of it when n is more, and frees the segments that this
 * empties; the last one stays, maybe empty. Takes m, returns the new head, which inherits the
 * lengths of the old one and nothing else (offload flags and the like are in struct pkt by then).
 */
struct rte_mbuf *pkt_trim_front(struct rte_mbuf *m, uint32_t n) must_check;

/* Keeps only the first keep bytes, all when there are fewer. Frees the segments behind them; the
 * head stays the head, maybe empty. Borrows m. */
void pkt_trim_back(struct rte_mbuf *m, uint32_t keep);

/* 16-bit one's-complement sum (not inverted, in the order of base/csum.h) of len bytes at off, over
 * as many segments as it takes, of odd lengths too. Bytes past the packet's end count as 0. Borrows
 * m. */
uint16_t pkt_csum(const struct rte_mbuf *m, uint32_t off, uint32_t len);

#endif
