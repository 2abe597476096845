/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to src/udp: the table of endpoints. An endpoint hangs in two chains, one by its whole key
 * (found by the demultiplexer) and one by its local port (conflicts of binds, group delivery).
 */
#ifndef ZS_UDP_UDP_PRIV_H
#define ZS_UDP_UDP_PRIV_H

#include "udp/udp.h"

/* What an endpoint answers to. Wildcards are all zero, so that the key is hashed and compared as
 * memory; which families a wildcard means stands in the endpoint. */
struct udp_key {
	struct ip_addr laddr, raddr;
	uint16_t lport, rport; /* host order */
	uint32_t zero;
};
_Static_assert(sizeof(struct udp_key) == 40, "hashed as memory");

enum { UDP_FAM_4 = 1 << 0, UDP_FAM_6 = 1 << 1 };

/* How specific a key is: the index of the count in struct udp, in the order of the search. */
enum udp_class {
	UDP_CONNECTED,	   /* local address and peer */
	UDP_CONNECTED_ANY, /* peer only */
	UDP_BOUND,	   /* local address only */
	UDP_WILDCARD,
	UDP_CLASSES
};

/* Owned by struct udp's slab; lives from udp_bind to udp_unbind; one core. */
struct udp_pcb {
	struct udp_pcb *key_next, **key_link; /* link: the pointer that points here */
	struct udp_pcb *port_next, **port_link;
	struct udp_key key;
	uint8_t fam;   /* UDP_FAM_* taken */
	uint8_t class; /* enum udp_class of key */
	struct udp_bind b;
};

struct udp {
	struct udp_pcb **by_key, **by_port;
	uint32_t mask; /* buckets - 1, of both tables */
	uint32_t
		in_class[UDP_CLASSES]; /* endpoints of each class: an empty class is not searched */
	struct udp_pcb *free;	       /* by key_next */
	struct udp_pcb *slab;
	uint64_t seed, rng;
	struct drop_counters *drops;
	struct udp_counters n;
};

static inline struct ip_addr udp_addr_norm(const struct ip_addr *a)
{
	return ip_addr_is_any(a) ? (struct ip_addr){0} : *a;
}

static inline uint8_t udp_addr_fam(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) ? UDP_FAM_4 : UDP_FAM_6;
}

uint32_t udp_key_hash(const struct udp *u, const struct udp_key *k);
struct udp_pcb **udp_port_bucket(const struct udp *u, uint16_t port);
/* The first endpoint in the port's chain, from `from` on, that a group datagram goes to. */
struct udp_pcb *udp_group_match(const struct pkt *p, struct udp_pcb *from);
/* Does the datagram go to every match instead of the most specific one? */
bool udp_is_group(const struct pkt *p);

#endif
