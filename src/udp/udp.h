/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP (RFC 768, 1122 §4.1, 8085): demultiplexing and datagrams. Queues belong to src/sock.
 */
#ifndef ZS_UDP_UDP_H
#define ZS_UDP_UDP_H

#include "pkt/pkt.h"

struct udp;
struct udp_pcb; /* a bound, perhaps connected endpoint */

struct udp_counters {
	uint64_t in_datagrams, out_datagrams, no_ports, in_errors;
};

struct udp *udp_create(uint32_t max_pcbs, uint64_t seed, struct drop_counters *drops) must_check;
void udp_destroy(struct udp *u);

/* laddr any = wildcard. */
struct udp_bind {
	struct ip_addr laddr, raddr; /* raddr any = unconnected */
	uint16_t lport, rport;
	bool v6only;
	bool reuse; /* SO_REUSEPORT: members spread by flow hash */
	bool share; /* SO_REUSEADDR: the port may be bound again; for unicast the latest wins */
	uint64_t user;
};
int udp_bind(struct udp *u, const struct udp_bind *b, struct udp_pcb **out) must_check;
/* Sets (or with any, clears) the peer; may set the local address. */
int udp_connect(struct udp *u, struct udp_pcb *pcb, const struct ip_addr *laddr,
		const struct ip_addr *raddr, uint16_t rport);
void udp_unbind(struct udp *u, struct udp_pcb *pcb);
uint64_t udp_user(const struct udp_pcb *pcb);
void udp_set_user(struct udp_pcb *pcb, uint64_t user);
const struct udp_bind *udp_binding(const struct udp_pcb *pcb);

/* Validates length and checksum, finds the endpoint. NEXT_CONSUMED: *pcb is set, p->m is still the
 * caller's, trimmed to the payload. Multicast and broadcast datagrams go to each match: call
 * udp_next_match until NULL. NEXT_UNREACH_PORT, NEXT_DROP. */
enum next udp_input(struct udp *u, struct pkt *p, struct udp_pcb **pcb);
struct udp_pcb *udp_next_match(struct udp *u, const struct pkt *p, struct udp_pcb *after);
/* The first endpoint for a datagram that came from no port but from one of our own; p has addresses
 * and ports, and PKT_F_BCAST if it was broadcast. udp_next_match as above. */
struct udp_pcb *udp_first_match(struct udp *u, const struct pkt *p);
/* The endpoint an ICMP error is about, or NULL. */
struct udp_pcb *udp_find(struct udp *u, const struct ip_addr *laddr, uint16_t lport,
			 const struct ip_addr *raddr, uint16_t rport);

/* Pushes the UDP header in a header mbuf in front of the payload (takes payload; a chain of slices
 * or attached mbufs); p has src, dst, sport, dport, tos, ttl. NEXT_IP_OUT or NEXT_DROP. */
enum next udp_output(struct udp *u, const struct pkt_pools *pools, struct pkt *p,
		     struct rte_mbuf *payload);
const struct udp_counters *udp_counters(const struct udp *u);

#endif
