/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of this room share.
 *
 *   stack_poll.c   the loop: start reading here
 *   stack_rx.c     the road of a received packet; with stack_tx.c the only switchboard
 *   stack_tx.c     the road of a sent one
 *   stack_self.c   TCP to ourselves
 *   stack_kernel.c the kernel's side of a shared port
 *   stack_alias.c  TCP from us to the kernel at a shared address
 *   stack_event.c  what the neighbours' room and ICMP report
 *   stack_wait.c   sleeping and waking
 *   stack.c        making, addresses, applications
 *   group.c        packets that arrived on the wrong core
 *   look.c         what there is to see: loop, ports, addresses, counters
 *   dump.c         text for people
 *   clock.c, capture.c
 */
#ifndef ZS_STACK_PRIV_H
#define ZS_STACK_PRIV_H

#include "eth/eth.h"
#include "ip/ip.h"
#include "sock/sock.h"
#include "stack/clock.h"
#include "stack/stack.h"
#include "tcp/tcp.h"
#include "udp/udp.h"
#include "wire/ip4.h"

/* Frames of one port that wait for room in its queue: replies, datagrams, solicitations. Segments
 * of TCP never wait here: the engine offers them again. */
struct stack_txq {
	struct pkt p[PKT_BURST];
	unsigned n;
};

/* Segments from this host to itself, until the next poll receives them. */
#define STACK_SELF_SEGMENTS 256
struct stack_self {
	struct pkt p[STACK_SELF_SEGMENTS];
	unsigned head, n;
};

struct stack {
	struct clock clock;
	uint64_t now; /* ns, of this poll */
	struct eth *eth;
	struct ip *ip;
	struct udp *udp;
	struct tcp *tcp;
	struct socks *socks;
	struct stack_cfg cfg;
	uint64_t copied_bytes; /* by the device, for ports that can't send what they were given */
	uint32_t path_generation; /* ip_generation at which the connections' paths were learned */
	bool reclaim; /* a port may hold sent buffers that it gives back only when asked */
	int epoll_fd; /* of stack_wait */
	int wake_fd;  /* eventfd of stack_wake */
	int port_fd[STACK_PORTS_MAX]; /* in epoll_fd, -1 = none */
	int extra_fd;		      /* in epoll_fd, of the last stack_wait, -1 = none */
	unsigned group_turn;	      /* core whose messages are looked at next */
	uint64_t polls, idle_polls, sleeps, busy_ns;
	bool busy; /* the last turn found work */
	unsigned n_captures;
	struct capture *capture[STACK_CAPTURES_MAX];
	uint64_t resets; /* at the end, by stack_reset() */
	uint32_t reset_cursor;
	struct drop_counters drops;
	struct stack_txq txq[STACK_PORTS_MAX];
	unsigned n_kernels;
	struct stack_kernel *kernel[STACK_PORTS_MAX]; /* NULL: the port is ours alone */
	unsigned strangers;			      /* frames for the kernel in this turn */
	uint64_t kernel_ns;			      /* of the last turn */
	int64_t kernel_credit_ns;		      /* time that the kernel's frames may take */
	uint64_t to_kernel, from_kernel;	      /* frames */
	struct stack_self self;
};

/* ---- stack_rx.c ---- */
/* One burst from a port. Returns how many frames. */
unsigned stack_rx(struct stack *s, unsigned port);
/* Packets that other cores received and this one owns, see group.c. */
unsigned stack_rx_group(struct stack *s);
/* What this stack sent to itself. */
unsigned stack_rx_self(struct stack *s);

/* Another reference on the same payload. Borrows m. NULL: no buffer. */
struct rte_mbuf *stack_another(const struct pkt_pools *pools, struct rte_mbuf *m) must_check;

/* ---- stack_kernel.c ---- */
/* A frame that eth has seen: may the kernel want it? Sets PKT_F_SHARED. */
void kernel_mark(const struct stack *s, struct pkt *p, enum next next) slow_path;
/* Refused (NEXT_DROP) for a reason that means "of nobody here"? */
bool kernel_wants(const struct stack *s, const struct pkt *p);
/* For packets with PKT_F_SHARED: a copy for the kernel, of an ARP, ND or group message that is news
 * for both, of a datagram to a group. Borrows p. */
void kernel_copy_news(struct stack *s, struct pkt *p, enum next next) slow_path;
void kernel_copy_datagram(struct stack *s, struct pkt *p) slow_path;
bool kernel_is_echo(const struct pkt *p, bool v6);
/* Takes p->m, a frame from its Ethernet header on. */
void kernel_put(struct stack *s, struct pkt *p) slow_path;
/* Frames to and from the kernel; done: what else this turn has done. */
unsigned kernel_turn(struct stack *s, unsigned done) slow_path;
bool kernel_pending(const struct stack *s);
void kernel_halt(struct stack *s);

/* ---- stack_alias.c ---- */
/* The shared port with this address of ours; false: there is none. */
bool alias_port(const struct stack *s, const struct ip_addr *own, uint8_t *port);
/* Makes a frame for the kernel of a segment from and to an address of ours; m has room in front.
 * False: it can't be. */
bool alias_out(struct pkt *p, const struct eth_addr *mac);
/* A frame that the kernel sends to our MAC. Takes p->m. */
void alias_in(struct stack *s, struct pkt *p);

/* ---- stack_tx.c ---- */
/* Sends on a packet from NEXT_IP_OUT, NEXT_NEIGH_OUT (on ifindex) or NEXT_TX; counts a NEXT_DROP.
 * Takes p->m. */
void stack_out(struct stack *s, struct pkt *p, enum next next, uint8_t ifindex);
/* Everything that wants to be sent and that the ports take. */
unsigned stack_tx(struct stack *s);
bool stack_tx_pending(const struct stack *s);

/* ---- stack_self.c ---- */
bool stack_is_own(const struct stack *s, const struct ip_addr *a);
/* Takes p->m, a segment for such an address; false: no room now, p is unchanged. kernel: it may be
 * for the kernel, where that has the address, too. */
bool stack_self_put(struct stack *s, struct pkt *p, bool kernel);
unsigned stack_self_take(struct stack *s, struct pkt *p, unsigned n);

/* ---- stack_event.c ---- */
unsigned stack_events(struct stack *s);
void stack_icmp_error(struct stack *s, const struct icmp_error *e);
/* For socks_cfg and tcp: what the way to dst can carry. */
int stack_link_of(void *stack, const struct ip_addr *src, const struct ip_addr *dst,
		  struct tcp_link *out);
void stack_default_links(struct stack *s);

/* ---- stack_wait.c ---- */
int stack_wait_init(struct stack *s) must_check;
void stack_wait_fini(struct stack *s);
/* A doorbell of an application, among what wakes the stack. */
int stack_wait_bell(struct stack *s, int fd) must_check;
void stack_unwait_bell(struct stack *s, int fd);
/* The kernel's interface of a port, until it is closed. */
int stack_wait_kernel(struct stack *s, int fd) must_check;

/* ---- group.c ---- */
/* True: p was given to its owner, another core. p is a TCP or UDP packet, IP done. */
bool group_pass(struct stack *s, struct pkt *p);
/* The same for an ICMP error, by the flow it is about. */
bool group_pass_error(struct stack *s, const struct icmp_error *e);
/* All other cores see an ARP or ND message, or one about groups, too. Borrows p. */
void group_copy(struct stack *s, const struct pkt *p, enum next next, uint8_t ifindex);
bool group_owns(void *stack, const struct tcp_key *key);
/* Before sleeping: who has a message for this core wakes it. Then: is there one already? */
void group_arm(struct stack *s);
bool group_pending(struct stack *s);

enum group_kind { GROUP_PACKET, GROUP_NEWS, GROUP_ERROR };
struct group_msg {
	enum group_kind kind;
	enum next next;
	uint8_t ifindex;
	union {
		struct pkt p;
		struct icmp_error error;
	};
};
/* The next message for this core; false when there is none. */
bool group_take(struct stack *s, struct group_msg *out);
void group_join(struct stack *s);

/* ---- capture.c ---- */
/* A copy of the frame goes to the capture, if it wants it. Borrows p; completes checksums in the
 * copy. */
void capture_frame(struct capture *c, const struct pkt *p, unsigned port, bool out);
/* The same for all of them. */
void captures_frame(struct stack *s, const struct pkt *p, unsigned port, bool out) cold_path;
void capture_flush(struct capture *c);

/* ---- dump.c ---- */
int stack_dump_other(void *stack, int what, uint32_t *cursor, char *out, uint32_t len);

#endif
