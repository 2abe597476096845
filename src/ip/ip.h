/* SPDX-License-Identifier: BSD-3-Clause
 *
 * IPv4 and IPv6 (RFC 791, 8200, 1122, 4443, 1191, 8201): addresses, routes, input checks,
 * reassembly, fragmentation, ICMP, path MTU. One struct ip per core.
 */
#ifndef ZS_IP_IP_H
#define ZS_IP_IP_H

#include "pkt/pkt.h"

struct ip;

struct ip_cfg {
	uint32_t max_frag_bytes; /* memory in reassembly, all datagrams (H09) */
	uint32_t max_frag_datagrams;
	uint32_t frag_timeout_ms; /* 30,000 v4; RFC 8200: 60,000 v6 */
	uint32_t max_pmtu;	  /* path MTU entries */
	uint32_t icmp_rate_pps;	  /* ICMP errors per second, token bucket */
	uint32_t echo_rate_pps;	  /* echo replies per second, a bucket of their own */
	uint8_t default_ttl;
	const struct pkt_pools *pools;
	struct drop_counters *drops;
	uint64_t seed;
	uint8_t secret[16];
};

void ip_cfg_defaults(struct ip_cfg *cfg);
struct ip *ip_create(const struct ip_cfg *cfg) must_check;
void ip_destroy(struct ip *ip);
void ip_begin(struct ip *ip, uint64_t now_ns);

/* Interfaces mirror eth's: same index. */
int ip_if_add(struct ip *ip, unsigned ifindex, uint16_t mtu, const struct eth_addr *mac) must_check;
/* What an interface was added with; all 0 of one that is not there. */
struct eth_addr ip_if_mac(const struct ip *ip, unsigned ifindex);
uint16_t ip_if_mtu(const struct ip *ip, unsigned ifindex);
/* The MTU of the link for IPv6, as a router says it (RFC 4861 §6.3.4): not below 1280, not above
 * the interface's own; others are ignored. */
void ip_if_mtu6(struct ip *ip, unsigned ifindex, uint32_t mtu);

/* ---- addresses ---- */
struct ip_ifaddr {
	struct ip_addr addr;
	uint8_t prefix_len; /* of its own family: 0–32 or 0–128 */
	uint8_t ifindex;
	bool tentative; /* DAD runs: not used as a source or destination */
	bool duplicate;
};
/* Adds the connected route too. -EEXIST, -EINVAL (multicast, unspecified, network address),
 * -ENOSPC. */
int ip_addr_add(struct ip *ip, const struct ip_ifaddr *a) must_check;
int ip_addr_del(struct ip *ip, const struct ip_addr *a);
void ip_addr_set_tentative(struct ip *ip, const struct ip_addr *a, bool tentative, bool duplicate);
/* 255.255.255.255, or of a subnet of ours. */
bool ip_addr_is_broadcast(const struct ip *ip, const struct ip_addr *a);
const struct ip_ifaddr *ip_addr_find(const struct ip *ip, const struct ip_addr *a);
const struct ip_ifaddr *ip_addr_at(const struct ip *ip, unsigned i); /* NULL past the last */
/* RFC 6724 in the small: the source for a destination. NULL when there is none. */
const struct ip_ifaddr *ip_source_for(struct ip *ip, const struct ip_addr *dst);

/* ---- routes: longest prefix ---- */
struct ip_route {
	struct ip_addr prefix;
	uint8_t prefix_len; /* of its own family */
	uint8_t ifindex;
	struct ip_addr gateway; /* any = on link */
	uint32_t metric;
};
int ip_route_add(struct ip *ip, const struct ip_route *r) must_check;
int ip_route_del(struct ip *ip, const struct ip_route *r);
/* What a router advertised: adds the route, sets a learned one's lifetime anew (UINT32_MAX: for
 * ever), and with 0 takes it back. Configured routes are left alone: -EEXIST. Bounded: -ENOSPC. */
int ip_route_learn(struct ip *ip, const struct ip_route *r, uint32_t lifetime_s);
/* The neighbour does not answer: learned routes through it go, where there is another way. */
void ip_gateway_failed(struct ip *ip, uint8_t ifindex, const struct ip_addr *gateway);
const struct ip_route *ip_route_find(const struct ip *ip,
				     const struct ip_addr *dst); /* NULL: none */
const struct ip_route *ip_route_at(const struct ip *ip, unsigned i);
/* Changes with every route or address: cached paths of another generation are looked up anew. */
uint32_t ip_generation(const struct ip *ip);

/* ---- input ---- */
/* p->l3_off set. Validates; fills src, dst, proto, l4_off, l4_len, ttl, tos; cuts link padding;
 * reassembles (p->m may change). NEXT_TCP, UDP, ICMP4, ICMP6, GROUP, UNREACH_PROTO, CONSUMED, DROP;
 * IPv6 also IP_OUT: p is the answer to a malformed packet now. */
enum next ip4_input(struct ip *ip, struct pkt *p, uint8_t ifindex);
enum next ip6_input(struct ip *ip, struct pkt *p, uint8_t ifindex);
/* A message about groups, where any core of a node joined some: NEXT_CONSUMED or DROP. */
enum next ip_group_input(struct ip *ip, struct pkt *p, uint8_t ifindex);

/* An ICMP error about a packet of ours. */
#define ICMP_QUOTED_MAX 96
struct icmp_error {
	struct ip_addr src, dst; /* of the quoted packet: src is ours */
	uint8_t proto;
	uint16_t sport, dport;
	uint32_t tcp_seq;
	bool have_seq;
	int err; /* positive errno as Linux maps it */
	bool hard;
	uint16_t mtu; /* with EMSGSIZE: clamped to the protocol's minimum (H18) */
	struct ip_addr offender;
	uint8_t type, code;
	uint8_t ttl;			/* that it came with */
	uint8_t quoted;			/* bytes of quote */
	uint16_t pointer;		/* of a parameter problem, as far as it fits */
	uint8_t quote[ICMP_QUOTED_MAX]; /* UDP: the payload's first bytes; others: the header's */
};
/* So much of the payload of the datagram that it is about. */
void icmp_quote_payload(struct icmp_error *err, const uint8_t *payload, uint32_t len);
/* Echo requests become replies in place: NEXT_IP_OUT. Errors: NEXT_ICMP_ERROR with *err filled (the
 * caller then frees m). ND: NEXT_ND (hop limit 255 verified). Echo replies that nobody asked for:
 * NEXT_DROP ICMP_UNMATCHED. */
enum next icmp4_input(struct ip *ip, struct pkt *p, struct icmp_error *err);
enum next icmp6_input(struct ip *ip, struct pkt *p, struct icmp_error *err);
/* ---- asking for an echo (RFC 792, RFC 4443 §4.1) ---- */
struct ip_ping {
	struct ip_addr dst;
	uint16_t id, seq;
	uint16_t bytes; /* of payload, at most IP_PING_MAX */
};
#define IP_PING_MAX 512
struct ip_pong {
	uint64_t at_ns; /* when it arrived */
	uint8_t ttl;
};
/* Replies to it will be noted, instead of those to an earlier one of the same id: wherever they may
 * arrive. -ENOSPC: too many ids. */
int ip_ping_expect(struct ip *ip, const struct ip_ping *p) must_check;
/* The request: NEXT_IP_OUT, or NEXT_DROP with the reason in out. */
enum next ip_ping_build(struct ip *ip, const struct ip_ping *p, struct pkt *out);
/* The reply to the one that is expected; false: not here yet. */
bool ip_ping_answered(const struct ip *ip, uint16_t id, struct ip_pong *out);
void ip_ping_forget(struct ip *ip, uint16_t id);

/* After TCP or UDP accepted the quoted flow: remember the path MTU. */
void ip_pmtu_learn(struct ip *ip, const struct ip_addr *dst, uint16_t mtu);
uint16_t ip_pmtu(struct ip *ip,
		 const struct ip_addr *dst); /* route's MTU where nothing was learned */

/* Builds an ICMP error about the received p (RFC 1122 §3.2.2, 4443 §2.4: never about errors,
 * fragments, broadcasts, rate-limited). Fills *reply for NEXT_IP_OUT and returns it, or NEXT_DROP.
 * Borrows p. */
enum icmp_why { ICMP_WHY_PORT, ICMP_WHY_PROTO, ICMP_WHY_REASSEMBLY, ICMP_WHY_HEADER };
enum next icmp_error_build(struct ip *ip, const struct pkt *p, enum icmp_why why,
			   struct pkt *reply);

/* ---- output ---- */
/* p->m starts at the L4 header; src (any = choose), dst, proto, tos, ttl, flags (DF, L4_CSUM, TSO)
 * set. Pushes the IP header, sets nexthop and *ifindex: NEXT_NEIGH_OUT. Too big: NEXT_DROP with
 * DROP_IP_TOO_BIG when DF, else call ip_fragment. *ifindex is in-out: with p->path != PATH_NONE it
 * is given, and no route is looked up. */
enum next ip_output(struct ip *ip, struct pkt *p, uint8_t *ifindex);
/* Splits p (as left by ip_output's refusal: L4 packet intact) into at most n fragments, each for
 * NEXT_NEIGH_OUT. Takes p->m. Returns the count, or a negative errno. The L4 checksum is completed
 * first. */
#define IP_FRAGMENTS_MAX 128 /* enough for 64 KB in the smallest fragments that we make */
int ip_fragment(struct ip *ip, struct pkt *p, struct pkt *out, unsigned n, uint8_t *ifindex);

/* ---- timers ---- */
uint64_t ip_deadline(const struct ip *ip);
/* Expires reassembly. What there is to send, time-exceeded errors and reports of groups: at most n,
 * each for NEXT_NEIGH_OUT on its interface. */
unsigned ip_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n);

/* ---- multicast groups we listen to ---- */
/* Joined and left are counted; the first and the last are reported by IGMP or MLD (from ip_expire).
 * -EINVAL, -ENOSPC, -ENOENT. */
int ip_group_join(struct ip *ip, uint8_t ifindex, const struct ip_addr *group);
int ip_group_leave(struct ip *ip, uint8_t ifindex, const struct ip_addr *group);
/* What one listener wants of a group: all sources but n, or n alone. */
struct ip_filter {
	bool exclude;
	unsigned n;
	const struct ip_addr *source;
};
/* A listener wants something else than before; was NULL: it is new; is NULL: it leaves. Packets
 * are not filtered by this, only reported is what is wanted. As join, and -ENOBUFS: too many
 * sources, all listeners together. */
int ip_group_filter(struct ip *ip, uint8_t ifindex, const struct ip_addr *group,
		    const struct ip_filter *was, const struct ip_filter *is) must_check;

/* The names are those of the dump, behind "ip_". */
#define IP_COUNTERS(X)                                                                             \
	X(in_receives)                                                                             \
	X(in_delivers)                                                                             \
	X(out_requests)                                                                            \
	X(reasm_ok)                                                                                \
	X(frag_created)                                                                            \
	X(icmp_echo_in)                                                                            \
	X(icmp_errors_in)                                                                          \
	X(icmp_errors_out) X(pmtu_learned) X(group_queries_in) X(group_reports_out)
struct ip_counters {
#define X(name) uint64_t name;
	IP_COUNTERS(X)
#undef X
};
const struct ip_counters *ip_counters(const struct ip *ip);

#endif
