/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Half-open connections in 64 bytes each (RFC 4987 §3.3): what must be remembered between a SYN and
 * the ACK that completes the handshake. A full connection is made from an entry only then. When the
 * cache is full the caller answers with cookies, and keeps answering: bounded memory, bounded work
 * (H15).
 *
 * Retransmissions of the SYN-ACK back off by doubling (RFC 6298 §5.5), so entries sent equally
 * often have equal time-outs: a list for each count, first in first out, is in order of the
 * deadlines. No timer structure is needed, and finding what is due costs one look per count.
 *
 * Not done here: segments, cookies, listeners. Time is handed in, in milliseconds of any origin.
 */
#ifndef ZS_TCP_SYNCACHE_H
#define ZS_TCP_SYNCACHE_H

#include "base/slab.h"
#include "tcp/demux.h"
#include "wire/addr.h"

/* SYN-ACKs in all: the first, and at most six again. */
#define SYN_TRIES_MAX 7

enum {
	SYN_F_SACK = 1 << 0,   /* both sides use selective acknowledgements */
	SYN_F_TS = 1 << 1,     /* both sides use timestamps */
	SYN_F_WSCALE = 1 << 2, /* both sides scale windows */
	SYN_F_ECN = 1 << 3,    /* both sides use ECN */
};

struct syn_entry {
	struct ip_addr laddr, raddr;
	uint16_t lport, rport; /* host order */
	uint32_t irs, iss;
	uint32_t ts_val;      /* the peer's, to be echoed */
	uint32_t deadline_ms; /* wraps; compared by difference */
	uint32_t prev, next;  /* list of its tries, SLAB_NONE at the ends */
	uint16_t mss;	      /* the peer's */
	uint8_t wscale : 4;   /* the peer's shift, 0–14 */
	uint8_t tries : 4;    /* SYN-ACKs sent, 1 … SYN_TRIES_MAX */
	uint8_t flags;	      /* SYN_F_* */
};
_Static_assert(sizeof(struct syn_entry) == 64, "DESIGN: at most 64 bytes an entry");

struct syncache {
	struct slab slab;
	struct demux demux;
	uint64_t key; /* of the hash */
	uint32_t rto_ms;
	struct {
		uint32_t first, last;
	} list[SYN_TRIES_MAX + 1]; /* by tries */
};

/* Room for max entries; the first retransmission comes after rto_ms (RFC 6298 §2.1: 1,000).
 * -ENOMEM. */
int syncache_init(struct syncache *c, uint32_t max, uint32_t rto_ms, uint64_t key) must_check;
void syncache_fini(struct syncache *c);

/* The entry of a flow, or NULL. */
struct syn_entry *syncache_find(const struct syncache *c, const struct ip_addr *laddr,
				uint16_t lport, const struct ip_addr *raddr, uint16_t rport);
/* Copies *e (addresses, numbers and options filled in) as one that was answered now for the first
 * time. The flow is not in the cache. NULL when the cache is full: answer with a cookie. */
struct syn_entry *syncache_add(struct syncache *c, const struct syn_entry *e, uint32_t now_ms);
void syncache_del(struct syncache *c, struct syn_entry *e);

/* The next entry that is due, or NULL. It stays due until syncache_resent or syncache_del. */
struct syn_entry *syncache_due(const struct syncache *c, uint32_t now_ms);
/* The SYN-ACK was sent again. false: it was the last try's time, the entry is gone. */
bool syncache_resent(struct syncache *c, struct syn_entry *e, uint32_t now_ms);
/* Milliseconds until something is due, 0 when it is, UINT32_MAX when the cache is empty. */
uint32_t syncache_wait_ms(const struct syncache *c, uint32_t now_ms);

static inline uint32_t syncache_count(const struct syncache *c)
{
	return c->slab.live;
}

#endif
