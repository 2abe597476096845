/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of this room share: the neighbour table, own addresses, events.
 *
 *   eth.c         interfaces, input, eth_poll
 *   eth_addr.c    own addresses: tentative → usable → announced, or duplicate
 *   eth_output.c  the header in front of an IP packet; paths
 *   neigh.c       the table and its states (RFC 4861 §7.3.2), for ARP too
 *   arp.c, nd.c   the two protocols
 */
#ifndef ZS_ETH_PRIV_H
#define ZS_ETH_PRIV_H

#include <sys/queue.h>

#include "eth/eth.h"
#include "wire/eth.h"

#define SEC_NS 1000000000ull

enum {
	ETH_IF_MAX = 64,
	ETH_ADDR_MAX = 256,
	ETH_EVENT_MAX = 64,  /* power of two; address events are kept beside their address */
	ETH_EXPIRE_MAX = 64, /* timers handled in one poll: bounded work */
	NEIGH_TRIES = 3,     /* RFC 4861 §10 MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT */
	ETH_FRONT_MAX = 18,  /* Ethernet header and one tag */
	RS_TRIES = 3,	     /* MAX_RTR_SOLICITATIONS */
};
#define NEIGH_RETRANS_NS       SEC_NS	     /* RetransTimer */
#define NEIGH_REACHABLE_NS     (30 * SEC_NS) /* BaseReachableTime, times 0.5 to 1.5 */
#define NEIGH_REACHABLE_MAX_MS 3600000	     /* RFC 4861 §6.2.1 */
#define RS_INTERVAL_NS	       (4 * SEC_NS)  /* RTR_SOLICITATION_INTERVAL */
#define NEIGH_DELAY_NS	       (5 * SEC_NS)  /* DELAY_FIRST_PROBE_TIME */

enum neigh_state {
	NEIGH_FREE,
	NEIGH_INCOMPLETE,
	NEIGH_REACHABLE, /* past reachable_until it is STALE; noticed when used */
	NEIGH_STALE,
	NEIGH_DELAY,
	NEIGH_PROBE,
	NEIGH_PERMANENT,
};

/* A neighbour is on exactly one of these; the order in a list is the order of replacement or of
 * deadlines (each list's interval is constant, so appending keeps it sorted). */
enum neigh_list {
	LIST_FREE,
	LIST_GUEST,   /* introduced itself, never used by us: the first to be replaced */
	LIST_KNOWN,   /* reachable or stale, and was used by us */
	LIST_RETRANS, /* incomplete, probe: NEIGH_RETRANS_NS */
	LIST_DELAY,   /* NEIGH_DELAY_NS */
	LIST_PERM,
	LIST_MAX,
};

/* One packet that waits, with what is still to be done to it (checksums, segmentation). */
struct waiter {
	struct pkt p;
	struct waiter *next;
};

/* The first cache line is all that a packet by path touches. */
struct neigh {
	uint32_t generation; /* part of a path; changes with mac and with the owner of the slot */
	uint32_t waiting;
	uint64_t reachable_until; /* REACHABLE */
	uint8_t state;
	uint8_t ifindex;
	uint8_t list;
	uint8_t tries;	   /* solicitations since the state was entered */
	bool want_solicit; /* eth_poll owes one */
	bool on_work;
	bool router; /* ND: said so in its last advertisement */
	struct eth_addr mac;
	uint8_t front[ETH_FRONT_MAX]; /* the header of frames to it, at the end; with a MAC only */
	uint8_t front_len;
	uint8_t port; /* of the interface, as vlan */
	uint16_t vlan;
	struct ip_addr addr;

	struct waiter *first, **last;
	struct neigh *hash_next;
	uint64_t due;		  /* lists RETRANS and DELAY */
	uint64_t updated;	  /* last heard of */
	TAILQ_ENTRY(neigh) place; /* in its list */
	TAILQ_ENTRY(neigh) work;  /* has something to send */
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct neigh, addr) <= 64, "read for each packet");
TAILQ_HEAD(neigh_head, neigh);

enum own_state { OWN_TENTATIVE, OWN_USABLE, OWN_DUPLICATE };

/* An address of ours. */
struct own {
	struct ip_addr addr;
	uint8_t ifindex;
	uint8_t state;
	uint8_t probes;	   /* still to be sent */
	uint8_t announces; /* still to be sent */
	int8_t event;	   /* kind not yet reported, or -1 */
	uint64_t due;	   /* of the next step, UINT64_MAX: none */
	uint64_t defended; /* last defence (RFC 5227 §2.4) */
};

/* Of an interface: what routers say, and asking for it. */
struct if_nd {
	uint8_t solicits; /* still to be sent */
	bool asked;
	uint64_t due;	       /* of the next one, UINT64_MAX: none */
	uint64_t reachable_ns; /* base of the time an answer holds */
};

struct eth {
	struct eth_cfg cfg;
	uint64_t now;
	uint64_t rng;
	uint64_t key; /* of the hash */

	struct eth_if ifs[ETH_IF_MAX];
	struct if_nd nd[ETH_IF_MAX];
	unsigned n_ifs;
	struct own own[ETH_ADDR_MAX];
	unsigned n_own;
	uint64_t own_due; /* earliest of own[].due and nd[].due */
	unsigned own_events;

	struct neigh *neigh; /* cfg.max_neigh of them */
	struct neigh **bucket;
	uint32_t bucket_mask;
	uint32_t path_bits; /* of the index in a path; the rest is the generation */
	struct neigh_head list[LIST_MAX];
	struct neigh_head work;
	struct waiter *waiters; /* bounds what all neighbours together can hoard */
	struct waiter *free_waiter;

	struct eth_event event[ETH_EVENT_MAX];
	uint32_t ev_head, ev_tail;
};

uint64_t eth_random(struct eth *e);
/* False: no room; what it carried is still the caller's. */
bool eth_event_push(struct eth *e, const struct eth_event *ev);
/* The Ethernet header, and the interface's tag, in front of m; p may be of either direction. */
void eth_push(struct eth *e, struct pkt *p, uint8_t ifindex, const struct eth_addr *dst,
	      uint16_t type);

/* eth_output.c: makes n->front anew, after its MAC changed. */
void front_update(const struct eth *e, struct neigh *n);

/* eth_addr.c */
struct own *own_find(struct eth *e, uint8_t ifindex, const struct ip_addr *a);
/* The usable address that shares most bits with a, or NULL. */
const struct own *own_nearest(const struct eth *e, uint8_t ifindex, const struct ip_addr *a);
/* A router was heard there: no need to ask for one. */
void routers_heard(struct eth *e, uint8_t ifindex);
/* Another station has, or wants, this address. */
void own_conflict(struct eth *e, struct own *o);
/* Steps that are due; each may send one frame. Returns how many of out it filled. */
unsigned own_poll(struct eth *e, struct pkt *out, unsigned n);
bool own_event_next(struct eth *e, struct eth_event *ev);

/* neigh.c */
int neigh_init(struct eth *e);
void neigh_fini(struct eth *e);
struct neigh *neigh_find(const struct eth *e, uint8_t ifindex, const struct ip_addr *a);
/* For a packet of ours: INCOMPLETE, solicitation owed. NULL: table full of better ones. */
struct neigh *neigh_create(struct eth *e, uint8_t ifindex, const struct ip_addr *a);
/* It spoke to us: made STALE if there is room among the guests. */
void neigh_introduce(struct eth *e, uint8_t ifindex, const struct ip_addr *a,
		     const struct eth_addr *mac);
/* New link-layer address without proof that we are heard: STALE when it differs. */
void neigh_update(struct eth *e, struct neigh *n, const struct eth_addr *mac);
/* It answered us. */
void neigh_confirm(struct eth *e, struct neigh *n, const struct eth_addr *mac);
/* Is about to be sent to: starts the check of a stale one. */
void neigh_use(struct eth *e, struct neigh *n);
/* Takes p->m, or refuses. */
enum next neigh_wait(struct eth *e, struct neigh *n, struct pkt *p);
/* The packet that waits longest, into *p; false when none does. */
bool neigh_unwait(struct eth *e, struct neigh *n, struct pkt *p);
void neigh_work_done(struct eth *e, struct neigh *n);
void neigh_expire(struct eth *e);

static inline bool neigh_has_mac(const struct neigh *n)
{
	return n->state >= NEIGH_REACHABLE;
}

/* arp.c, nd.c: each makes one frame in p; false: no buffer, counted. */
bool arp_solicit(struct eth *e, const struct neigh *n, struct pkt *p);
bool arp_probe(struct eth *e, const struct own *o, struct pkt *p);
bool arp_announce(struct eth *e, const struct own *o, struct pkt *p);
bool nd_solicit(struct eth *e, const struct neigh *n, struct pkt *p);
bool nd_probe(struct eth *e, const struct own *o, struct pkt *p);
bool nd_announce(struct eth *e, const struct own *o, struct pkt *p);
bool nd_solicit_routers(struct eth *e, uint8_t ifindex, struct pkt *p);

#endif
