/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to src/sock: what a UDP socket has beyond struct sock. Allocated with it.
 */
#ifndef ZS_SOCK_SOCK_UDP_H
#define ZS_SOCK_SOCK_UDP_H

#include "sock/sock_priv.h"

#define UDP_GROUPS_MAX	20    /* of one socket, as Linux's igmp_max_memberships */
#define UDP_PAYLOAD_MAX 65507 /* IPv4; IPv6 carries 20 bytes more, which nobody counts on */

/* A datagram that waits for room: its payload and what its headers said. */
struct udp_dgram {
	struct rte_mbuf *m; /* NULL: it is empty */
	struct ip_addr src, dst;
	uint16_t sport;
	uint8_t ifindex, ttl, tos;
};

struct udp_group {
	struct ip_addr addr;
	uint8_t ifindex;
	bool exclude; /* of all sources but n, or of n alone */
	uint8_t n;
	struct ip_addr *source; /* NULL: none was ever named */
};

enum { UDP_PMTU_WANT, UDP_PMTU_DONT, UDP_PMTU_DO }; /* IP_MTU_DISCOVER */

struct sock_udp {
	/* receiving */
	struct udp_dgram *queue; /* ring of `room`, a power of two; NULL until needed */
	uint32_t head, count, room;
	struct rte_mbuf *back; /* given back: pieces of a datagram whose end is to come */
	const struct sock *back_of;
	uint32_t charge; /* buffers that wait or are lent */
	uint32_t rcvbuf;
	bool shut_rd, shut_wr;
	bool recverr; /* IP_RECVERR: of each error all that is known, also without a peer */
	/* sending */
	struct rte_mbuf *part; /* pieces of a datagram whose end is to come */
	bool part_bad;	       /* one of them failed: so does the datagram */
	int part_err;
	uint8_t ttl, tos; /* 0 = default */
	uint8_t mcast_ttl;
	uint8_t pmtu; /* UDP_PMTU_* */
	bool mcast_loop, mcast_all;
	struct ip_addr mcast_src; /* IP_MULTICAST_IF by address; any = route */
	int32_t mcast_if;	  /* by index, -1 = route */
	bool pktinfo;
	bool chosen;	/* the port, by us */
	uint8_t looped; /* datagrams to other programs here, until a link is worth it */
	struct udp_group group[UDP_GROUPS_MAX];
	uint32_t n_groups;
};

/* ---- sock_udp_queue.c: datagrams that wait: for room, or to be asked for ---- */
/* The first that waits; there is one. It stays the queue's. */
static inline const struct udp_dgram *udp_queue_first(const struct sock_udp *u)
{
	return &u->queue[u->head & (u->room - 1)];
}
/* The first that waits is the caller's. */
static inline void udp_queue_pass(struct sock_udp *u)
{
	u->head++;
	u->count--;
}
/* Behind the others; takes d->m, or false: SOCK_UDP_WAIT_MAX wait, or no memory. */
bool udp_queue_add(struct sock_udp *u, const struct udp_dgram *d) must_check;
/* CHAN_OP_UNREAD of a datagram. */
int udp_sock_unread(struct sock_cmd *c);
/* A holder goes: what it had given back in part is lost. */
void udp_sock_holder_left(struct sock *k);
/* All of it is dropped. */
void udp_queue_free(struct sock_udp *u);

/* The datagram goes to sockets of this host: alone if *only is set then, else also to the link.
 * Borrows *m (NULL: empty), or takes it, which is NULL then. */
void udp_loop(struct sock *k, const struct pkt *p, struct rte_mbuf **m, bool *only);

/* The datagram was for this host alone, and nobody wants it; m: its payload, or NULL. */
void udp_error_refused(struct sock *k, const struct pkt *p, const struct rte_mbuf *m) cold_path;
/* It would have to be cut, and must not be. */
void udp_error_too_large(struct sock *k, const struct pkt *p) cold_path;

/* Membership. */
bool udp_group_member(const struct sock *k, const struct ip_addr *group);
int udp_group_join(struct sock *k, const struct ip_addr *group, int ifindex);
int udp_group_leave(struct sock *k, const struct ip_addr *group, int ifindex);
void udp_groups_leave(struct sock *k);
/* Is it to get what came for a group? */
bool udp_group_wants(const struct sock *k, const struct pkt *p);

#endif
