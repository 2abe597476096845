/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ethernet and neighbours: frames in and out, VLAN tags, ARP (RFC 826, 5227), neighbour discovery
 * and duplicate address detection (RFC 4861, 4862). One struct eth per core.
 */
#ifndef ZS_ETH_ETH_H
#define ZS_ETH_ETH_H

#include "pkt/pkt.h"

struct eth;

struct eth_cfg {
	uint32_t max_neigh; /* table size: bounded, replaced fairly (H20) */
	uint32_t queue_max; /* packets that may wait for one neighbour */
	const struct pkt_pools *pools;
	struct drop_counters *drops;
	uint64_t seed;
};

/* An interface: a port and one VLAN of it. Index = position; the default VLAN 0 is untagged. */
struct eth_if {
	uint8_t port;
	uint16_t vlan;
	uint16_t mtu;
	struct eth_addr mac;
};

void eth_cfg_defaults(struct eth_cfg *cfg);
struct eth *eth_create(const struct eth_cfg *cfg) must_check;
void eth_destroy(struct eth *e);

/* Returns the interface's index, or -ENOSPC / -EEXIST. */
int eth_if_add(struct eth *e, const struct eth_if *i) must_check;
const struct eth_if *eth_if_get(const struct eth *e, unsigned index);
unsigned eth_if_count(const struct eth *e);

/* Addresses that we own, for ARP and ND. dad: probe first (address is tentative until then; ip is
 * told by eth_event_next). Announces itself (gratuitous ARP, unsolicited NA) when it becomes
 * usable. The first of IPv6 on an interface that passed its probe also asks for routers. */
int eth_addr_add(struct eth *e, unsigned ifindex, const struct ip_addr *a, bool dad) must_check;
int eth_addr_del(struct eth *e, unsigned ifindex, const struct ip_addr *a);

void eth_begin(struct eth *e, uint64_t now_ns);

/* Parses the Ethernet and VLAN header of p->m (p->port set): fills l3_off, vlan, flags BCAST.
 * NEXT_IP4, NEXT_IP6, NEXT_ARP or NEXT_DROP. *ifindex gets the interface. */
enum next eth_input(struct eth *e, struct pkt *p, uint8_t *ifindex);
/* Learns; a request for us is turned into the reply in place: NEXT_TX. */
enum next arp_input(struct eth *e, struct pkt *p, uint8_t ifindex);
/* A neighbour discovery message (p->l4_off at ICMPv6, checksum verified by ip): NEXT_TX, CONSUMED,
 * DROP. Router advertisements are reported by eth_event_next. */
enum next nd_input(struct eth *e, struct pkt *p, uint8_t ifindex);

/* m starts at the IP header; p->nexthop and the interface are set. Broadcast and multicast are
 * mapped; a resolved neighbour gets the header pushed: NEXT_TX with p->port. Else the packet is
 * queued (NEXT_CONSUMED), and the solicitation comes out of eth_poll. */
enum next eth_output(struct eth *e, struct pkt *p, uint8_t ifindex);

/* Paths: a resolved neighbour remembered by a connection. A path is an index and a generation; it
 * goes stale when the neighbour changes, and then eth_output_path says so. */
uint32_t eth_path(struct eth *e, uint8_t ifindex, const struct ip_addr *nexthop);
/* The interface of a path that eth_output_path would take now, or -1: stale, or PATH_NONE. */
int eth_path_if(const struct eth *e, uint32_t path);
/* As eth_output. false: the path is stale, nothing was done; use eth_output. */
bool eth_output_path(struct eth *e, struct pkt *p);
/* Upper layers confirm that the neighbour answers (RFC 4861 §7.3.1). Cheap. */
void eth_path_confirm(struct eth *e, uint32_t path);
/* Is there a neighbour that is in use and will be probed unless somebody confirms it soon? */
bool eth_confirm_wanted(const struct eth *e);

/* Frames that eth itself wants to send: solicitations, probes, announcements, queued packets whose
 * neighbour answered. Fills at most n packets ready for NEXT_TX. */
unsigned eth_poll(struct eth *e, struct pkt *out, unsigned n);
/* When eth_poll next has work, or eth_event_next news: ns, or UINT64_MAX. */
uint64_t eth_deadline(const struct eth *e);

struct eth_event {
	enum {
		ETH_EV_ADDR_OK,	       /* DAD succeeded */
		ETH_EV_ADDR_DUPLICATE, /* somebody else has it */
		ETH_EV_UNREACHABLE, /* neighbour failed: addr is the next hop; m is the first packet
				     * that waited (starts at the IP header, may be NULL): receiver
				     * owns it */
		ETH_EV_ROUTER,	    /* router advertisement: addr is the router */
		ETH_EV_PREFIX,	    /* prefix of a router advertisement */
	} kind;
	uint8_t ifindex;
	struct ip_addr addr;
	uint8_t prefix_len;
	uint8_t flags; /* ROUTER: 0x80 managed, 0x40 other; PREFIX: 0x80 on link, 0x40 autonomous */
	uint32_t lifetime_s;  /* ROUTER: 0 = no (longer a) default router; PREFIX: valid lifetime */
	uint32_t preferred_s; /* PREFIX */
	uint32_t mtu;	      /* ROUTER: of the link for IPv6, 0 = not said */
	struct rte_mbuf *m;
};
bool eth_event_next(struct eth *e, struct eth_event *ev);

struct neigh_info {
	struct ip_addr addr;
	struct eth_addr mac;
	uint8_t ifindex;
	const char *state; /* reachable, stale, delay, probe, incomplete, failed, permanent */
	uint64_t age_ns;
};
/* Calls fn for every entry, at most n from *cursor on (start with 0; ends with 0). Returns how
 * many. */
unsigned neigh_each(struct eth *e, uint32_t *cursor, unsigned n,
		    void (*fn)(void *arg, const struct neigh_info *i), void *arg);
/* A permanent entry. */
int neigh_set(struct eth *e, uint8_t ifindex, const struct ip_addr *a, const struct eth_addr *mac);
/* Other cores' news: learned there, applied here without sending anything. */
void neigh_learn(struct eth *e, uint8_t ifindex, const struct ip_addr *a,
		 const struct eth_addr *mac);

#endif
