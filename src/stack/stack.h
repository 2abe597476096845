/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One core's run-to-completion loop: it owns one instance of each protocol, reads its queue of each
 * port, and serves the applications attached to it. Nothing is shared between stacks but the rings
 * through which packets that arrived on the wrong core go to their owner (struct stack_group).
 *
 * Everything here is called by the thread that runs the stack, or before it starts.
 */
#ifndef ZS_STACK_STACK_H
#define ZS_STACK_STACK_H

#include "chan/chan.h"
#include "dev/dev.h"
#include "wire/addr.h"

struct stack;
struct stack_group;
struct sock_app;
struct sock_port;
struct capture;

#define STACK_PORTS_MAX	   16
#define STACK_CORES_MAX	   16
#define STACK_CAPTURES_MAX 8 /* at the same time */

/* A port as a stack sees it: its own queue of it. */
struct stack_port {
	struct dev *dev;
	uint16_t queue;
};

struct stack_cfg {
	struct stack_group
		*group; /* stacks of one node, from stack_group_create; NULL: it is alone */
	unsigned core;	/* this stack's place in the group, 0 when alone */
	struct stack_port port[STACK_PORTS_MAX];
	unsigned n_ports;
	struct pkt_pools pools;
	uint32_t port_bufs; /* of pools.rx, that the ports' rings may hold */
	uint32_t max_conns, max_socks;
	uint16_t port_min, port_max; /* ephemeral ports (RFC 6056) */
	bool reserve;		     /* see struct socks_cfg, with ports_bell */
	int ports_bell;
	const char *congestion; /* name in the table of tcp/cc.h; NULL = its default */
	uint8_t secret[16];	/* the same in all stacks of a group */
	uint64_t seed;
	struct capture *capture; /* borrowed; NULL = none */
	int link_bell;		 /* an eventfd, rung when stack_link_wanted() has something */
};

void stack_cfg_defaults(struct stack_cfg *cfg);
/* 0 or -errno with a sentence in err. */
int stack_create(const struct stack_cfg *cfg, struct stack **out, char *err,
		 size_t err_len) must_check;
/* The end, in two steps, since sent buffers come home only when no driver holds them: applications
 * are detached; stack_halt frees every packet; the ports are closed; stack_destroy frees the rest.
 */
void stack_halt(struct stack *s);
void stack_destroy(struct stack *s);

/* An interface: a port (index in the configuration) and a VLAN of it, 0 = untagged. mtu 0: the
 * port's. Returns its index, the same in each stack that is told the same; the existing one when
 * there is one. */
int stack_if(struct stack *s, unsigned port, uint16_t vlan, uint16_t mtu) must_check;
struct eth_addr stack_if_mac(const struct stack *s, unsigned ifindex);
/* Of the port: what its interfaces have. */
struct eth_addr stack_port_mac(const struct stack *s, unsigned port);
/* Before the stack runs: what arrives at the port untagged and nobody here claims goes to that
 * interface of the kernel's, and what the kernel sends there leaves by the port. k is closed after
 * stack_halt(). -errno. */
int stack_share(struct stack *s, unsigned port, struct dev_kernel *k, uint16_t queue) must_check;
/* The kernel's index of the interface: of the one that has the same addresses, else of what the port
 * stands on. 0: it has none, or there is no such interface. In the thread that adds interfaces. */
unsigned stack_if_kernel(const struct stack *s, unsigned ifindex);
/* What our end of a connection to the kernel at a shared address is called there (stack_alias.c).
 */
struct ip_addr stack_alias(unsigned port, bool v6);
/* Adds an address with the route to its prefix. IPv6 addresses pass duplicate address detection. */
int stack_addr_add(struct stack *s, unsigned ifindex, const struct ip_addr *a,
		   uint8_t prefix_len) must_check;
/* Connections of the address stay, and time out. -ENOENT. */
int stack_addr_del(struct stack *s, const struct ip_addr *a) must_check;
/* A route by a gateway, which must be on a link of ours: -EHOSTUNREACH. -EEXIST, -ENOSPC, -EINVAL:
 * the prefix has bits behind its length. */
struct stack_route {
	struct ip_addr prefix, gateway;
	uint8_t prefix_len;
};
int stack_route_add(struct stack *s, const struct stack_route *r) must_check;
int stack_route_del(struct stack *s, const struct stack_route *r) must_check;
struct stack_route stack_route_default(const struct ip_addr *gateway);
/* A default route; the gateway must be on a link of ours. */
int stack_gateway_add(struct stack *s, const struct ip_addr *gateway) must_check;
/* Is an address still being probed for duplicates? */
bool stack_addr_tentative(const struct stack *s);
/* An address that another host on the link has, so that it is not used; NULL: none. The ones that
 * interfaces make themselves (fe80::/64) are not reported. */
const struct ip_addr *stack_addr_duplicate(const struct stack *s);

/* An application: see sock.h, whose calls these are. */
struct sock_app_cfg;
int stack_attach(struct stack *s, const struct sock_app_cfg *cfg, struct sock_app **out) must_check;
void stack_detach(struct stack *s, struct sock_app *app, int bell_fd, bool orderly);
const struct chan_map *stack_reaped(struct stack *s);
unsigned stack_ports_freed(struct stack *s, struct sock_port *out, unsigned n);
bool stack_port_used(const struct stack *s, struct sock_port p);
struct sock_link_wanted;
bool stack_link_wanted(struct stack *s, struct sock_link_wanted *out);
/* The stack ends, and same-node streams do not (socks_end()). */
void stack_links_stay(struct stack *s);
/* As socks_abroad(), socks_bring_home(). */
uint32_t stack_abroad(const struct stack *s, const struct chan_map *map);
void stack_bring_home(struct stack *s, const struct chan_map *map, uint32_t *cursor);

/* One turn of the loop, without sleeping: the architecture in one function. Returns how much was
 * done; 0: everything was found empty. */
unsigned stack_poll(struct stack *s);
/* Was the interface of every port deleted? Then nothing will arrive any more. */
bool stack_ports_gone(const struct stack *s);
/* Nothing left to be sent or acknowledged? For an orderly end; looks at every connection. */
bool stack_idle(struct stack *s);

/* Resets some of the connections that stack_idle() waits for: their peers must learn that what they
 * did not acknowledge is lost. For the end, when nobody waits any longer; until it returns false,
 * with a stack_poll() after each call. */
bool stack_reset(struct stack *s);

/* Sleeps until a frame, a command, a deadline or a write to extra_fd (-1: none); at most timeout_ns
 * (-1: no limit). Does not sleep when there is work. 0, -EINTR, other -errno. An extra_fd of the
 * same number as the last one is the same open file. */
int stack_wait(struct stack *s, int64_t timeout_ns, int extra_fd);
/* Wakes a stack that sleeps in stack_wait; the one function that other threads may call. */
void stack_wake(struct stack *s);

/* ---- several cores ---- */

/* Rings between n stacks. -ENOMEM. */
int stack_group_create(unsigned n, struct stack_group **out) must_check;
void stack_group_destroy(struct stack_group *g);

/* ---- capture to pcapng (stack/capture.c) ---- */

/* Opens a file, truncating it; snap: most bytes kept of a frame, 0 = all. -errno. May be shared by
 * stacks of several threads. */
int capture_open(const char *path, uint32_t snap, struct capture **out) must_check;
/* No stack has it any more. */
void capture_close(struct capture *c);

/* Which frames: 0 and any stand for all. */
struct capture_filter {
	uint16_t ether_type;
	uint8_t proto; /* of IP */
	struct ip_addr host;
	uint16_t port;
	uint64_t count; /* no more than so many frames */
};
/* Into memory, to be read by another thread: at most so many bytes wait there, frames that come
 * then are lost, and counted. -errno. */
int capture_open_memory(size_t bytes, uint32_t snap, const struct capture_filter *f,
			struct capture **out) must_check;
/* Readable when there is something to be read; bell_drain() empties it. */
int capture_fd(const struct capture *c);
struct capture_count {
	uint64_t frames, lost;
};
/* Takes at most len bytes out; 0: there are none now. */
size_t capture_read(struct capture *c, void *out, size_t len, struct capture_count *count);
/* Frames of this stack go there too, until it is taken away again. -ENOSPC. */
int stack_capture_add(struct stack *s, struct capture *c) must_check;
void stack_capture_del(struct stack *s, struct capture *c);

#endif
