/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What an application sees, on the service's side of the channel: sockets over TCP and UDP, ports,
 * options, readiness, lending of buffers. One struct socks per stack core; it serves every
 * application attached to that core. It calls the protocols; src/stack calls it, and carries out
 * what it hands over.
 */
#ifndef ZS_SOCK_SOCK_H
#define ZS_SOCK_SOCK_H

#include "chan/chan.h"
#include "ip/ip.h"
#include "pkt/pkt.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

struct socks;
struct sock_app; /* one attached application */

struct socks_cfg {
	struct ip *ip;
	struct udp *udp;
	struct tcp *tcp;
	const struct pkt_pools *pools;
	uint32_t port_bufs; /* of pools->rx, that the ports' rings may hold */
	struct drop_counters *drops;
	uint32_t max_socks;
	uint16_t port_min, port_max; /* ephemeral ports (RFC 6056) */
	uint64_t seed;
	/* Each port that is bound is reserved elsewhere, which costs time: applications bind what
	 * was granted, and no port is chosen here, but for connections. When the last socket of a
	 * port is gone, the eventfd ports_bell is written: socks_ports_freed(). */
	bool reserve;
	int ports_bell;
	/* The link of a destination, for a connection about to be opened: mtu, offloads, path. Part
	 * of the stack; a plain function of its state, called on connect and accept only. */
	int (*link_of)(void *stack, const struct ip_addr *src, const struct ip_addr *dst,
		       struct tcp_link *out);
	/* With several cores: does a flow's hash fall to this one? Asked when an ephemeral port is
	 * chosen. NULL: every flow does. */
	bool (*owns)(void *stack, const struct tcp_key *key);
	/* Writes a text dump for CHAN_OP_DUMP of what sock itself does not know (neighbours,
	 * ports): whole lines, returns the bytes; *cursor is where to go on, 0 at the end. */
	int (*dump)(void *stack, int what, uint32_t *cursor, char *out, uint32_t len);
	/* An eventfd, rung when socks_link_wanted() has something. */
	int link_bell;
	void *stack;
};

int socks_create(const struct socks_cfg *cfg, struct socks **out) must_check;
/* Every application was detached, and every buffer came home: tcp_destroy() was called and the
 * ports are closed. */
void socks_destroy(struct socks *s);
void socks_begin(struct socks *s, uint64_t now_ns);

/* An application to be attached. */
struct sock_app_cfg {
	/* A formatted channel; stays the caller's and outlives the application. Its regions are
	 * where the application can see payload. */
	const struct chan_map *map;
	/* The channel's header, from a time when nobody else could write it. NULL: the application
	 * is this process's own, the header is read where it lies. */
	const struct chan_hdr *hdr;
	/* NULL, or buffers in one of the regions, which payload that lies elsewhere is copied to
	 * (and counted); at most own_max may be
	 * held by all applications that share them. */
	struct rte_mempool *own;
	uint32_t own_max;
	uint32_t owner; /* SO_REUSEPORT shares a port among sockets that one owner made */
	/* Ports from here on may be bound freely; below, what socks_grant() allowed. */
	uint32_t free_ports_from;
	bool alone; /* its dumps show its own sockets only */
	bool keeps; /* holds sockets for others, and is told nothing of them */
	/* Trust domain, from 1, in which it may have links to others (docs/design/013); 0: it may
	 * not. */
	unsigned domain;
	/* Its network namespace, as a number: programs of two share no loopback. */
	uint16_t zone;
	/* Nobody looks into its channel yet: see socks_born(). */
	bool unborn;
	/* Of a process that is about to be forked: its number, and who may give it sockets. */
	uint32_t id;
	struct sock_app *parent;
};
int socks_attach(struct socks *s, const struct sock_app_cfg *cfg, struct sock_app **out) must_check;
/* Allows the application to bind a port once (addr any: of every address) for these protocols: the
 * next time it may be another user. -ENOSPC: too many grants that were not used. */
enum { SOCK_GRANT_TCP = 1, SOCK_GRANT_UDP = 2, SOCK_GRANT_BOTH = 3 };
int socks_grant(struct sock_app *app, const struct ip_addr *addr, uint16_t port,
		unsigned protos) must_check;
struct sock_port {
	uint16_t port;
	bool udp;
};
/* With socks_cfg.reserve: ports that no socket has any more, or that could not be bound, since this
 * was last asked; at most n. */
unsigned socks_ports_freed(struct socks *s, struct sock_port *out, unsigned n);
bool socks_port_used(const struct socks *s, struct sock_port p);
/* Has the application tried to bind what it was granted last? */
bool socks_grant_used(const struct sock_app *app, struct sock_port p);
void socks_ungrant(struct sock_app *app, struct sock_port p);
/* The application is gone, orderly or not: its sockets close (TCP: FIN after queued data if
 * `orderly`, else RST), its loans and tokens are reaped, its ports are free again (H31). */
void socks_detach(struct socks *s, struct sock_app *app, bool orderly);
/* What CHAN_OP_SHARE does, between any two applications. 0 and the name in `to`; -EBADF, -EBUSY,
 * -ENFILE, -ENOMEM. */
int socks_share(struct sock_app *from, uint32_t sid, struct sock_app *to, uint32_t *out) must_check;
/* A connection may be kept under this name (CHAN_OP_KEEP), of which no other has the place; until the
 * end of that. 0, -ENOMEM, -EEXIST. */
int socks_keep(struct sock_app *keeper, uint64_t name) must_check;
void socks_keep_end(struct sock_app *keeper, uint64_t name);
/* What is kept under it is the caller's, by the keeper's name of the socket, and there is no such
 * name any more; what the sender knew of it goes into image. 0: nothing is kept, and the name
 * stays. */
uint32_t socks_keep_claim(struct sock_app *keeper, uint64_t name,
			  uint8_t image[CHAN_KEPT_IMAGE_MAX], uint32_t *n_image);
/* Names of what was kept when this was asked the last time, and still is; at most n. *more: it is to
 * be asked again; else the keeper's bell rings when there is something. */
unsigned socks_keep_old(struct sock_app *keeper, uint64_t *name, unsigned n, bool *more);
/* A holder goes. */
void socks_drop(struct sock_app *app, uint32_t sid);
/* A stream that the keeper holds, and what is to be done with it (sock_kept.c). */
struct sock_kept {
	uint64_t name;	     /* the caller's, for socks_kept_news() */
	uint32_t consume;    /* so many of the first unread bytes have been read */
	const uint8_t *send; /* n_send bytes, at most `room` as it was told last; copied */
	uint32_t n_send;
	bool end;     /* nothing is sent behind them */
	uint8_t *buf; /* gets the first unread bytes, at most max */
	uint32_t max;
	uint32_t in_flight; /* most bytes of it that are sent and not acknowledged */
	bool take;	    /* they are read: nobody else gets them */
	bool only_sole;	    /* nothing is wanted, nor to be told, as long as others hold it */
	/* What came out: */
	uint32_t n;
	bool fin;	/* the stream ends behind them */
	bool sole;	/* nobody but the keeper holds it */
	int error;	/* that ended it, -errno */
	int send_error; /* the bytes were not taken: -ENOMEM, -EPIPE, … */
	uint32_t room;
};
/* Is it a connection's, which has been established? */
bool socks_kept_streams(struct sock_app *keeper, uint32_t sid);
/* Does all of that, and has it told when there is more. False: there is no such stream. */
bool socks_kept_turn(struct sock_app *keeper, uint32_t sid, struct sock_kept *t);
/* Names of streams of which there may be more to read, or to send; at most n. The keeper's bell is
 * rung when there are some; of one that turned up, nothing is told before its next turn. */
unsigned socks_kept_news(struct sock_app *keeper, uint64_t *name, unsigned n);
/* The keeper gives its hold up: with a reset, if it is the last one and `reset`. */
void socks_kept_close(struct sock_app *keeper, uint32_t sid, bool reset);
/* The map of a detached application whose last sent buffer came home, so that its memory may be
 * unmapped; NULL when there is none. Each is told once. */
const struct chan_map *socks_reaped(struct socks *s);

/* ---- links between two applications (sock_link.c) ---- */

/* Two that are connected and have no link yet, by their ids; or twice the same. */
struct sock_link_wanted {
	uint32_t app[2];
};
bool socks_link_wanted(struct socks *s, struct sock_link_wanted *out);
/* Of an application that was attached as unborn: its process is there, and may have links. */
void socks_born(struct sock_app *a);
/* There is one now: it is offered to the streams that there are, and to those that come. id: as a,
 * and as b calls it; of an application and itself: two, one for each side. */
void socks_link_up(struct sock_app *a, struct sock_app *b, const uint32_t id[2]);
/* There is none any more, and none is wanted. */
void socks_link_down(struct sock_app *a, struct sock_app *b);
/* Before socks_link_down() what each received of the other may be on its way to the wire, and more of
 * it in its ring: so each may send out of the other's memory until it says that it has given back
 * all of it. of: the other's id. */
void socks_unview(struct sock_app *a, uint32_t of);
/* Sends of an application, known by its map, that was detached and lie in others' memory. */
uint32_t socks_abroad(const struct socks *s, const struct chan_map *map);
/* Copies what of them TCP has still to deliver, so that they end: of some connections from *cursor
 * on, which is 0 at the start, and again after the last. */
void socks_bring_home(struct socks *s, const struct chan_map *map, uint32_t *cursor);
/* From here on the ends of connections that go over a link are not told of their end: it is the
 * service's, not theirs, and they go on without it. */
void socks_end(struct socks *s);

/* Returned buffers and commands of every application, at most budget each. Returns how many were
 * done. Datagrams to send are left in the output queue below. */
unsigned socks_commands(struct socks *s, unsigned budget);

/* A received datagram for an endpoint (udp_input said so). Takes p->m. */
void socks_udp_input(struct socks *s, struct udp_pcb *pcb, struct pkt *p);
/* An ICMP error about a UDP or TCP flow of ours: pending socket error (RFC 1122 §4.1.3.3). */
void socks_icmp_error(struct socks *s, const struct icmp_error *e);

/* Datagrams that sockets want to send: at most n, ready for NEXT_IP_OUT. */
unsigned socks_output(struct socks *s, struct pkt *out, unsigned n);
bool socks_output_pending(const struct socks *s);

/* Publishes news of the protocols (tcp_event_next, tcp_accept_next) and what waited for room in an
 * event ring; then rings the doorbells that are armed. Returns the number of events written. */
unsigned socks_publish(struct socks *s);

/* Would socks_commands or socks_publish find work now? For going to sleep: arms every application's
 * doorbell towards the stack first, and disarms when it returns true. */
bool socks_arm(struct socks *s);
void socks_disarm(struct socks *s);
/* Deadline of linger and the like, ns, UINT64_MAX = none. */
uint64_t socks_deadline(const struct socks *s);

struct socks_counters {
	uint64_t commands, bad_commands, events, events_delayed, loans, loans_bad_return,
		tokens_bad, doorbells, pressure_copied_bytes;
	uint64_t loop_copied_bytes; /* of datagrams from one socket of this host to another */
	uint64_t loop_lent_bytes;   /* … that the receiver sees where they lie */
	/* Received where the application can't look: another trust domain's, or a port's own. */
	uint64_t domain_copied_bytes;
	/* Sent out of the memory of a neighbour that gets it back, since its sender is gone. */
	uint64_t home_copied_bytes;
	/* Shared streams that were given to who alone reads them, and taken away by others. */
	uint64_t leases, leases_ended;
};
const struct socks_counters *socks_counters(const struct socks *s);

/* ---- what there is to see (sock_look.c) ---- */

/* A socket, or a connection that no socket has. */
struct sock_info {
	const struct chan_map *map; /* of its application; NULL: no socket */
	const char *state;
	bool udp, listens, has_tcp;
	uint32_t link;			 /* that its stream goes over, one way at least; 0 = none */
	bool no_link;			 /* it is to go over none */
	bool link_whole;		 /* both ways */
	bool records;			 /* it carries records, over a link alone */
	uint64_t shared;		 /* the same for all who hold it; 0: nobody else does */
	uint64_t recv_queue, send_queue; /* bytes; of a listener: connections, and how many may be
					  */
	struct tcp_key key;		 /* rport 0: no peer */
	struct tcp_info_full tcp;	 /* with has_tcp */
};
typedef void (*sock_info_fn)(void *arg, const struct sock_info *i);
/* Calls fn for at most n sockets from *cursor on, which is 0 at the start and again after the last;
 * in between fn may be called for none. only: of one application; NULL: of all, and connections
 * without a socket. Returns how many. */
unsigned socks_each(struct socks *s, const struct sock_app *only, uint32_t *cursor, unsigned n,
		    sock_info_fn fn, void *arg);

/* A counter by its number, 0 and up; false past the last. Those of dropped packets have a text, and
 * the reason as their name. A gauge goes down again. */
struct sock_counter {
	const char *name, *text;
	uint64_t value;
	bool gauge;
};
bool socks_counter(struct socks *s, uint32_t n, struct sock_counter *out);

/* What an application has, of what it may have. */
struct sock_share {
	uint32_t sockets, sockets_max;
	uint32_t lent, lent_max; /* received buffers */
	uint32_t sends;		 /* whose memory has not come home */
	uint64_t commands;
};
void socks_app_share(const struct sock_app *app, struct sock_share *out);

#endif
