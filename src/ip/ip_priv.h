/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of this room share. One struct ip per core, touched by that core only.
 */
#ifndef ZS_IP_IP_PRIV_H
#define ZS_IP_IP_PRIV_H

#include "ip/ip.h"
#include "wire/group.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define IP_IFS_MAX	  32
#define IP_ADDRS_MAX	  64
#define IP_ROUTES_MAX	  256
#define IP_LEARNED_MAX	  32 /* routes that routers advertised: a flood must not fill the table */
#define IP_GROUPS_MAX	  (64 + IP_ADDRS_MAX) /* each address has one */
#define GROUP_SOURCES_MAX 32		      /* of a group on an interface: in one message */
#define IP_IDENTS	  1024
#define IP_PINGS_MAX	  8
#define IP_LOCALS	  512 /* 2^9; at most a quarter is in use */
#define IP_WAYS		  256 /* a power of two */
#define L4_HDR_MAX	  60u /* TCP with all its options */
#define SECOND_NS	  UINT64_C(1000000000)

/* IGMP has three versions, MLD two: OLD is its first. */
enum group_version { GROUP_OLDEST, GROUP_OLD, GROUP_NEWEST };

struct ip_if {
	bool used;
	uint16_t mtu, mtu6;
	struct eth_addr mac;
	uint64_t older_until_ns[2][GROUP_NEWEST]; /* [IPv6?]: queriers of older versions heard */
};

/* r comes first: ip_route_at hands it out. The masks are in the 16-byte form of both families. */
struct route {
	struct ip_route r;
	struct ip_addr mask;
	bool connected;	     /* made by ip_addr_add, goes with the address */
	uint64_t expires_ns; /* learned from a router; 0: configured */
};

struct group {
	struct ip_addr addr;
	uint16_t users;	    /* 0: left, which is still to be reported */
	uint16_t excluders; /* of them: who want all sources but some */
	uint8_t ifindex;
	uint8_t reports; /* of its last change but of sources, still to be sent */
	bool other_mode; /* … which was between listening to some, and to all but some */
	bool answer;	 /* to a query, owed */
	bool said;	 /* what changed, just now: the answer is next */
	struct group_sources *sources; /* NULL: none */
	uint64_t due_ns;	       /* of any of these */
};

/* What a query says, and a report while it is made. */
struct group_asked {
	enum group_version version;
	uint64_t max_resp_ns;
};
struct group_report {
	struct rte_mbuf *m;
	struct ip_addr src, dst;
	enum group_version version;
	bool v6;
	uint16_t n;
};

/* A token bucket, its tokens being time: at most a second's worth is saved up. */
struct bucket {
	uint64_t credit_ns, last_ns;
};

/* The addresses that mean something here, as a hash table with open addressing: what a received
 * packet's two addresses are costs one look each. Made anew with each change of an address. */
enum local_kind {
	LOCAL_NONE,
	LOCAL_OWN,
	LOCAL_UNUSABLE /* tentative, duplicate */,
	LOCAL_BROADCAST
};
struct local {
	struct ip_addr addr;
	uint8_t kind;
	uint8_t index; /* in addrs[], of our own */
};

/* A way found for a source and a destination as they were asked for. */
struct way {
	struct ip_addr src, dst;
	struct ip_addr from, nexthop;
	uint32_t generation; /* of the tables it was found in; 0: empty */
	uint8_t ifindex;
};

struct frag_table;
struct pmtu_table;

/* An echo that was asked for. */
struct ping {
	bool used, answered;
	struct ip_ping asked;
	struct ip_pong pong;
};

struct ip {
	struct ip_cfg cfg;
	uint64_t now_ns;
	uint32_t generation;
	unsigned n_addrs, n_routes, n_groups;
	struct ip_if ifs[IP_IFS_MAX];
	struct ip_ifaddr addrs[IP_ADDRS_MAX];
	struct local local[IP_LOCALS];
	struct way way[IP_WAYS];
	struct route routes[IP_ROUTES_MAX]; /* longest prefix first, then lowest metric */
	struct group groups[IP_GROUPS_MAX];
	uint64_t route_due_ns; /* of the next learned route to run out; UINT64_MAX: none */
	uint64_t group_due_ns; /* of the next report; UINT64_MAX: none */
	struct bucket errors, echoes;
	struct ping ping[IP_PINGS_MAX];
	uint8_t group_ifindex; /* where the last packet to an IPv6 group came from */
	uint64_t rng;
	uint32_t ident[IP_IDENTS]; /* counters of identifications, see ip_fragment.c */
	struct frag_table *frags;
	struct pmtu_table *pmtus;
	struct ip_counters counters;
};

struct frag_table *frag_create(uint32_t max) must_check;
void frag_destroy(struct ip *ip);
/* Takes a fragment. True: *p is the whole datagram now. False: return *next. */
bool frag_input(struct ip *ip, struct pkt *p, uint32_t id, uint32_t off, bool more,
		enum next *next);
static inline uint16_t link_mtu(const struct ip *ip, uint8_t ifindex, bool v4)
{
	const struct ip_if *i = &ip->ifs[ifindex % IP_IFS_MAX];

	return v4 ? i->mtu : i->mtu6;
}
uint64_t frag_deadline(const struct ip *ip);
/* Datagrams out of time; what is to be told, at most n, for NEXT_NEIGH_OUT. */
unsigned frag_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n);
struct pmtu_table *pmtu_create(uint32_t max) must_check;
/* The MTU towards dst over that interface: what was learned, or else the interface's. */
uint16_t pmtu_over(struct ip *ip, const struct ip_addr *dst, uint8_t ifindex);

uint64_t ip_random(struct ip *ip);
/* Source, next hop and interface for p; DROP_NONE or why there is no way. */
enum drop_reason ip_resolve(struct ip *ip, struct pkt *p, uint8_t *ifindex);
/* The next identification of a datagram that may be cut. */
uint32_t ip_ident(struct ip *ip, const struct ip_addr *src, const struct ip_addr *dst,
		  uint8_t proto);
void route_expire(struct ip *ip);
void ip_route_del_connected(struct ip *ip, const struct ip_ifaddr *a);
int ip_route_add_connected(struct ip *ip, const struct ip_ifaddr *a);

/* What an address is to us; kind LOCAL_NONE: nothing. */
static inline const struct local *local_find(const struct ip *ip, const struct ip_addr *a)
{
	/* The high bits of the product hang on all bits of the address. */
	uint32_t i = (uint32_t)((a->q[0] ^ a->q[1]) * UINT64_C(0x9e3779b97f4a7c15) >> 55);

	for (;; i++) {
		const struct local *l = &ip->local[i % IP_LOCALS];

		if (l->kind == LOCAL_NONE || ip_addr_eq(&l->addr, a))
			return l;
	}
}

/* A broadcast address of IPv4: 255.255.255.255, or all ones in a connected prefix. */
static inline bool ip_is_broadcast(const struct ip *ip, const struct ip_addr *a)
{
	return local_find(ip, a)->kind == LOCAL_BROADCAST;
}

/* An address that no packet may come from, since it is ours or nobody's (H17). What is not ours yet
 * may be another's, who then says so (RFC 4862 §5.4.4). */
static inline bool ip_source_is_local(const struct ip *ip, const struct ip_addr *a)
{
	uint8_t kind = local_find(ip, a)->kind;

	return kind != LOCAL_NONE && kind != LOCAL_UNUSABLE;
}

void local_update(struct ip *ip);
/* The first usable address of the interface; IPv6: a link-local one. Any: there is none. */
struct ip_addr ip_source_on(const struct ip *ip, uint8_t ifindex, bool v6);
bool ip_group_wanted(const struct ip *ip, uint8_t ifindex, const struct ip_addr *group);
/* Turns a checked echo request at p->l4_off into the reply; p->m starts at ICMP afterwards. */
enum next icmp_echo_reply(struct ip *ip, struct pkt *p, uint8_t reply_type);
/* A checked echo reply at p->l4_off. */
enum next ping_input(struct ip *ip, struct pkt *p);
/* The ports and sequence number of the quoted bytes, at least 8 (left), if the flow can be one of
 * ours. */
enum next icmp_quote_flow(struct ip *ip, const struct pkt *p, const uint8_t *l4, uint32_t left,
			  struct icmp_error *err);
/* A parameter problem of IPv6 about p, whose byte `pointer` is what is wrong. As icmp_error_build.
 */
enum next icmp_param_build(struct ip *ip, const struct pkt *p, uint8_t code, uint32_t pointer,
			   struct pkt *reply);
/* Hands a checked packet to the protocol that p->proto names. */
enum next ip_deliver(struct ip *ip, struct pkt *p, uint8_t ifindex);

/* ip_group.c */
enum group_version group_version_of(const struct ip *ip, uint8_t ifindex, bool v6);
/* A query about a group, or about all (any). */
void group_query(struct ip *ip, uint8_t ifindex, const struct ip_addr *about, bool v6,
		 const struct group_asked *q);
/* Another host reported the group, in an older version. */
void group_heard(struct ip *ip, uint8_t ifindex, const struct ip_addr *group);
/* All groups of IPv6 on the interface, as if just joined. */
void group_report_again(struct ip *ip, uint8_t ifindex);
/* Reports that are due: at most n, for NEXT_NEIGH_OUT. */
unsigned group_expire(struct ip *ip, struct pkt *out, uint8_t *ifindex, unsigned n);

/* group_source.c */
/* A listener's wishes change: counted. Of each source that is heard now and was not, or the other
 * way, as many reports are due, *news then. -ENOBUFS: nothing was changed. */
int group_count(struct group *g, const struct ip_filter *was, const struct ip_filter *is,
		uint8_t reports, bool *news) must_check;
/* So many reports are due of each source, or of each that is listed. */
void group_sources_due(struct group *g, uint8_t reports, bool only_listed);
bool group_sources_pend(const struct group *g);
/* One report of each that was due was made. */
void group_sources_reported(struct group *g);
void group_sources_tidy(struct group *g);
/* Of the interface's list, or of the changes; at most GROUP_SOURCES_MAX into out: how many. */
enum group_list { GROUP_LISTED, GROUP_ALLOWED, GROUP_BLOCKED };
unsigned group_pick(const struct group *g, enum group_list list, struct ip_addr *out);
void groups_destroy(struct ip *ip);

/* group_msg.c: takes p->m, or refuses. */
enum next igmp_input(struct ip *ip, struct pkt *p, uint8_t ifindex);
bool mld_is(const struct pkt *p);
enum next mld_input(struct ip *ip, struct pkt *p, uint8_t ifindex);
bool group_report_begin(const struct ip *ip, uint8_t ifindex, bool v6, struct group_report *r);
/* A record of n sources; false: it has no room. Before the newest version: a whole message, about a
 * group that is listened to or not. */
bool group_report_add(struct group_report *r, const struct ip_addr *g, uint8_t type,
		      const struct ip_addr *source, unsigned n);
/* Room for so many records of so many sources in all? */
bool group_report_room(const struct group_report *r, unsigned records, unsigned sources);
void group_report_end(struct ip *ip, const struct group_report *r, struct pkt *out);
/* The first n bytes of the packet lie together in its first mbuf afterwards (H22). */
bool ip_head_slow(const struct ip *ip, struct pkt *p, uint32_t n) slow_path;
static inline bool ip_head(const struct ip *ip, struct pkt *p, uint32_t n)
{
	return likely(p->m->data_len >= n) || ip_head_slow(ip, p, n);
}

/* What ip_deliver() would hand to TCP as it is. */
static inline bool ip_is_plain_tcp(const struct pkt *p)
{
	return p->proto == IP_PROTO_TCP && (p->flags & PKT_F_BCAST) == 0 &&
	       p->m->data_len >= p->l4_off + (p->l4_len < L4_HDR_MAX ? p->l4_len : L4_HDR_MAX);
}

#endif
