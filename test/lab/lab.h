/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What scripts, simulator and fuzz targets have in common: buffers that can be watched, and TCP
 * segments made and read by code that is not the engine's.
 *
 * The pools run on a mempool driver of our own. A freed buffer is the next one to be taken and is
 * poisoned for the address sanitizer meanwhile, a pool can be made to fail at any allocation (H22),
 * and what is out is counted exactly.
 */
#ifndef ZS_TEST_LAB_H
#define ZS_TEST_LAB_H

#include "base/rand.h"
#include "pkt/pkt.h"
#include "wire/tcp.h"

/* Starts EAL without hugepages, and makes the pools. Once per process; exits when it can't. */
void lab_start(unsigned rx, unsigned hdr, unsigned ref);
extern struct pkt_pools lab_pools;

/* Buffers that are out of their pools. */
unsigned lab_in_use(void);
/* Of each 65536 allocations this many fail, by the generator; 0 = none. */
void lab_fail(uint32_t of_65536, uint64_t seed);
/* The allocation after n more that succeed fails, once; negative = none. */
void lab_fail_at(int64_t n);
/* Allocations since the start, failed ones included. */
uint64_t lab_allocs(void);

/* A packet of these bytes behind `front` bytes of other headers, at most `cut` bytes a segment.
 * NULL when the pool fails. */
struct rte_mbuf *lab_packet(const void *bytes, uint32_t n, uint32_t front, uint32_t cut);
/* The same in memory from malloc of exactly that size, attached from outside: the sanitizer sees a
 * read past the packet's end, and the buffer is nobody's to write to. */
struct rte_mbuf *lab_packet_exact(const void *bytes, uint32_t n);

/* A TCP segment by its fields: host order, sequence numbers as on the wire. */
struct lab_seg {
	struct ip_addr src, dst;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint16_t wnd, urg;
	uint8_t flags, ecn;
	struct tcp_opts opts;
	uint32_t len; /* payload */
	const uint8_t *payload;
	/* To be written only: bytes behind the options, and another data offset than the right one.
	 */
	const uint8_t *raw;
	uint8_t raw_len; /* a multiple of 4 */
	uint8_t off;	 /* in words; 0 = right */
};

#define LAB_FRONT   54 /* Ethernet and IPv6 headers, left as they are */
#define LAB_SEG_MAX (60 + 65535)
/* The header and payload with a good checksum. out has room for LAB_SEG_MAX. Returns the length. */
uint32_t lab_seg_write(const struct lab_seg *s, uint8_t *out);
/* Bytes as a received packet, as IP hands it to TCP. p->m is NULL when the pool fails. */
struct pkt lab_rx(const struct ip_addr *src, const struct ip_addr *dst, const uint8_t *l4,
		  uint32_t n, uint32_t cut);
/* Reads a segment that starts at byte `off` of m. payload points into `copy`, which has room for
 * LAB_SEG_MAX. false: not a well-formed segment, or a bad checksum. */
bool lab_seg_read(const struct rte_mbuf *m, uint32_t off, const struct ip_addr *src,
		  const struct ip_addr *dst, uint8_t *copy, struct lab_seg *s);
/* Does what a port with checksum offload does with the segment at the start of m. */
void lab_csum_complete(const struct pkt *p);

/* The byte at an offset of the stream that `who` sends. */
static inline uint8_t lab_byte(uint64_t off, unsigned who)
{
	uint64_t x = (off >> 3) * 0x9e3779b97f4a7c15ull + (uint64_t)who * 0xc2b2ae3d27d4eb4full;

	return (uint8_t)((x ^ x >> 29) >> (off & 7) * 8);
}

#endif
