/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to src/sock: the objects. One core owns all of them.
 *
 *	struct socks ── struct sock_app (a channel) ── struct sock ── a connection, a listener …
 *
 * Words:
 *   news      what a socket has to tell its application, bit by bit; told in the order of the bits
 *   waiting   a socket with news that found no room, in a list of its application
 *   sid       name of a socket: index into its application's table, generation in the upper bits
 */
#ifndef ZS_SOCK_SOCK_PRIV_H
#define ZS_SOCK_SOCK_PRIV_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/list.h"
#include "base/rand.h"
#include "base/slab.h"
#include "chan/bell.h"
#include "chan/loan.h"
#include "sock/sock.h"

#define SOCK_HELD_MAX	  256	      /* commands of one application that came before their turn */
#define SOCK_EVENTS	  16	      /* made, and not yet in the ring */
#define SOCK_CMD_ROOM	  3	      /* events that one command may make at once */
#define SOCK_OUT_MAX	  256	      /* datagrams that wait for the stack; a power of two */
#define SOCK_UDP_WAIT_MAX 256	      /* received datagrams of one socket that wait */
#define SOCK_PIECE_BYTES  (32u << 10) /* of a send, in one mbuf: its lengths have 16 bits */
#define SOCK_UDP_BUF	  (1u << 20)  /* initial limits of a UDP socket, bytes */
#define SOCK_BUF_MAX	  (64u << 20) /* most that SO_RCVBUF and SO_SNDBUF give */
#define SOCK_SPARE_MAX	  64 /* more than the pieces of a datagram, and of one turn of a stream */
#define SOCK_GRANTS_MAX	  1024
#define SOCK_WANTED_MAX	  64
#define SOCK_NEVER	  UINT64_MAX

enum sock_kind {
	SOCK_FREE,
	SOCK_NEW,	 /* TCP, perhaps bound */
	SOCK_LISTEN,	 /* TCP */
	SOCK_CONNECTING, /* TCP, has a connection */
	SOCK_CONN,	 /* TCP, has a connection, perhaps one that ended */
	SOCK_LINGER,	 /* TCP, closed by the application, which waits for the end */
	SOCK_DEAD,	 /* TCP, connection thrown away: only to be closed */
	SOCK_UDP,
};

enum {
	NEWS_CONNECT = 1 << 0, /* result of CONNECT */
	NEWS_URG = 1 << 1,
	NEWS_DATA = 1 << 2, /* the connection, or the queue of a UDP socket, may have something */
	NEWS_FIN = 1 << 3,
	NEWS_ERROR = 1 << 4, /* pending error */
	NEWS_FATAL = 1 << 5, /* the connection ended by error */
	NEWS_LIMIT = 1 << 6, /* the send limit changed */
	NEWS_ACCEPT = 1 << 7,
	NEWS_CLOSED = 1 << 8,	/* result of a CLOSE that lingered */
	NEWS_READABLE = 1 << 9, /* shared: worth asking */
	NEWS_LINK = 1 << 10,	/* see sock_link.c */
	NEWS_LEASE = 1 << 11,	/* shared: its lease is over; told before all else */
};

/* Options of the socket level, kept for either protocol. */
enum {
	SOCKF_REUSEADDR = 1 << 0,
	SOCKF_REUSEPORT = 1 << 1,
	SOCKF_V6ONLY = 1 << 2,
	SOCKF_BROADCAST = 1 << 3,
	SOCKF_OOBINLINE = 1 << 4,
	SOCKF_FREEBIND = 1 << 5,
	SOCKF_RCVBUF = 1 << 6, /* set by the user: read back as set */
	SOCKF_SNDBUF = 1 << 7,
	SOCKF_SEND_ERR = 1 << 8,   /* a failed send was told: once is enough */
	SOCKF_BOUND = 1 << 9,	   /* in the port table */
	SOCKF_LINGER = 1 << 10,	   /* SO_LINGER: kept for getsockopt; CLOSE carries the value */
	SOCKF_DONTROUTE = 1 << 11, /* neighbours only, no gateway */
	SOCKF_WANT = 1 << 12,	   /* shared: asked in vain, is to be told */
	SOCKF_PARKED = 1 << 13,	   /* is told nothing, see sock_park.c */
	SOCKF_MARKED = 1 << 14,	   /* its stream goes over to a link, or comes back: sock_link.c */
	SOCKF_NO_LINK = 1 << 15,   /* it goes over to none */
};

/* Address families that a local address stands for. */
enum { SOCK_FAM_4 = 1 << 0, SOCK_FAM_6 = 1 << 1 };

struct sock_udp;
struct sock_desc;
struct sock_revive;

/* One socket. In its application's slab; lives from SOCKET or ACCEPT to CLOSE. */
struct sock {
	/* hot */
	_Alignas(64) union {
		struct tcp_conn *conn;
		struct tcp_listener *listener;
		struct udp_pcb *pcb; /* NULL: not yet bound */
	};
	struct sock_app *app;
	struct list wait; /* on app->waiting */
	uint32_t sid;	  /* 0: free */
	uint32_t ticket;  /* of the command whose turn it is */
	uint32_t limit;	  /* of bytes sent and not returned, as last told */
	uint32_t unacked; /* bytes of sends whose tokens are out */
	uint32_t lent;	  /* buffers received by it that the application holds */
	uint16_t news;
	uint8_t kind;
	uint8_t held; /* commands of it in app->held */
	uint16_t flags;
	uint16_t gen; /* of the sid; survives the socket */
	bool records; /* of TCP, and carries no byte: SOCK_SEQPACKET, see sock_link.c */
	/* cold */
	struct ip_addr laddr; /* bound to */
	uint16_t lport;
	uint8_t domain;			     /* AF_INET, AF_INET6 */
	uint8_t fam : 2;		     /* SOCK_FAM_* bound */
	bool exclusive : 1;		     /* shared: one of several that sleep is to be told */
	bool recverr : 1;		     /* TCP: IP_RECVERR, of each error at once */
	bool watched : 1;		     /* the keeper's: see sock_kept.c */
	int error;			     /* pending, negative errno */
	uint32_t connect_token, close_token; /* parked: the former names the listener */
	uint32_t backlog, announced;	     /* listener */
	uint32_t mark, priority;	     /* SO_MARK, SO_PRIORITY: kept for who asks */
	uint16_t linger_s;
	uint16_t zone;		   /* whose loopback it sees: of the program that made it */
	uint32_t owner;		   /* who made it, whoever holds it now */
	union {
		uint64_t linger_ns; /* kind SOCK_LINGER: until when */
		uint64_t kept_name; /* of one that is kept: struct sock_kept.name */
	};
	struct sock *next_on_port; /* port table */
	struct sock **link_on_port;
	struct tcp_opt *opt; /* TCP until there is a connection, and of listeners */
	union {
		struct sock_udp *udp;	    /* UDP */
		struct sock_revive *revive; /* TCP: waits for its other end; NULL */
	};
	struct list lingering;	 /* on socks->lingering, or parked */
	struct sock_desc *share; /* NULL: one holder */
	struct sock_link *link;	 /* NULL: never offered one */
};
_Static_assert(offsetof(struct sock, gen) < 64, "the hot part is one cache line");
_Static_assert(sizeof(struct sock) <= 192, "a million idle ones");

/* A send in flight, one for each token. */
struct sock_send {
	struct pkt_ext ext;
	struct sock_app *app;
	struct sock *sock;
	uint32_t sid; /* of sock at the time of the send */
	uint32_t token;
	uint32_t bytes;
	uint16_t pieces; /* mbufs that refer to it */
	bool abroad;	 /* it lies in the arena of another: `of` */
	union {
		struct rte_mbuf *lent; /* SEND_LOAN: the buffer that is held, else NULL */
		struct sock_app *of;
	};
};
_Static_assert(sizeof(struct sock_send) == 64, "one cache line");

struct sock_held {
	struct chan_sqe q;
	bool used;
};

/* A port below free_ports_from that may be bound all the same, as often as it was asked for; addr
 * any: on every address. */
struct sock_grant {
	struct ip_addr addr;
	uint16_t port;
	uint8_t protos; /* SOCK_GRANT_… */
	bool used;	/* since it was granted, or granted again */
	uint32_t left;	/* so many times more */
};

/* Buffers of a trust domain, and how many are held; as long as an application of it is attached. */
struct sock_own {
	struct list link; /* socks.owns */
	struct rte_mempool *pool;
	uint32_t users;
	uint32_t max;	/* that all together may hold */
	uint32_t lent;	/* to applications */
	uint32_t spare; /* in their sock_app.spare */
};

/* One attached application: its end of the channel. */
struct sock_app {
	struct socks *s;
	const struct chan_map *map;
	struct chan_end end;
	/* Events are made here, and copied into the ring when there are several or the turn ends:
	 * so nobody sees half of one, and nothing is read back from memory that others write. */
	struct chan_cqe event[SOCK_EVENTS];
	uint32_t n_events;
	bool stalled;	    /* the next command waits for memory */
	uint32_t room_seen; /* in the event ring, when news found too little */
	bool popped; /* commands were taken of so many that the application may wait for room */
	struct list waiting; /* sockets with news and no room, by sock.wait */
	struct loan_table loans;
	struct token_table tokens;
	struct sock_send *send;	 /* max_tokens of them */
	uint32_t refs, refs_max; /* mbufs of its sends in flight, and how many may be */
	struct slab socks;
	struct sock_held *held; /* SOCK_HELD_MAX, or NULL until needed */
	uint32_t n_held;
	/* Payload outside its regions is copied into buffers of `own`; `spare` are some of those,
	 * so that lending doesn't fail. */
	struct sock_own *own;
	struct rte_mbuf *spare[SOCK_SPARE_MAX];
	uint32_t n_spare;
	uint32_t last_region; /* where the last payload was found */
	uint32_t owner;
	uint32_t id;
	struct sock_app *parent; /* may hand sockets over; NULL: none, or gone */
	uint32_t free_ports_from;
	struct sock_grant *grant; /* n_grants of them */
	uint32_t n_grants;
	uint32_t kept_sends; /* in flight, of what the keeper sends */
	uint64_t commands;   /* taken so far */
	uint16_t zone;	   /* see sock_app_cfg */
	bool alone;	   /* sees its own sockets only */
	bool keeps;	   /* the service's keeper: its sockets are parked */
	bool unborn;	   /* a child that is not there yet: nobody would take a link */
	unsigned domain;   /* 0: it has no links */
	struct list peers; /* sock_link.c */
	struct list views; /* sock_view.c: whose arenas it may send out of */
	uint32_t viewers;  /* applications that may send out of its own */
	uint32_t guests;   /* sends in flight, of others, that lie there */
	uint32_t abroad;   /* and of it, that lie in others' */
	uint64_t leases;   /* a bit for each that is in use, sock_lease.c */
	uint8_t lease_gen;
	bool dying;	  /* detached: see app_reap() */
	struct list link; /* on socks->apps, dying or reaped */
};

struct socks {
	struct socks_cfg cfg;
	uint64_t now_ns;
	struct list apps, dying, reaped;
	struct list owns;   /* of sock_own */
	struct sock_app *keeper; /* NULL: none */
	struct sock_keep *keeps; /* CHAN_KEPT_PLACES, see sock_keep.c; NULL: no name was issued */
	struct list keeping;	 /* of those, that something is kept under */
	bool keeping_told;
	uint64_t last_desc; /* struct sock_desc.id */
	uint32_t n_socks;
	uint32_t n_apps;
	uint32_t lent_max; /* buffers that may be lent: the rest is for receiving */
	uint32_t refs_max; /* mbufs for sends of all: the rest is for segments on their way */
	uint32_t lent;	   /* buffers lent now, to all */
	struct list lingering;
	struct sock **port[2]; /* port table: TCP, UDP; 65,536 heads each */
	uint32_t next_ephemeral;
	uint64_t port_secret;
	uint64_t *freed; /* a bit for each port, TCP's first; NULL: nobody wants to know */
	bool freed_told;
	struct rand rand;
	/* Pairs of programs that may want a link: the service is to be told. */
	struct sock_link_wanted wanted[SOCK_WANTED_MAX];
	uint32_t n_wanted;
	bool ending;	      /* see socks_end() */
	struct list *revives; /* by port, see sock_revive.c */
	struct pkt *out;      /* SOCK_OUT_MAX */
	uint32_t out_head, out_tail;
	struct socks_counters n;
};

/* One command on its way through its handler. out is the result being made. */
struct sock_cmd {
	struct socks *s;
	struct sock_app *app;
	struct sock *k; /* NULL: the command names no socket */
	const struct chan_sqe *q;
	struct chan_cqe out;
};

/* Handlers return the command's res, or: */
#define SOCK_LATER INT32_MIN	   /* the result comes later, or never */
#define SOCK_STALL (INT32_MIN + 1) /* no memory at the moment: the command stays where it is */

/* ---- sock_app.c ---- */

/* Room for n more events? */
static inline bool app_room(struct sock_app *a, uint32_t n)
{
	uint32_t want = a->n_events + n;

	return chan_free(&a->end.cq, want) >= want;
}

/* Room for how many more events? Looks at the other side's index. */
static inline uint32_t app_room_now(struct sock_app *a)
{
	return chan_free(&a->end.cq, a->end.cq.mask + 1) - a->n_events;
}

/* What was made so far goes into the ring; the application sees it with app_flush(). */
static inline void app_put_events(struct sock_app *a)
{
	for (uint32_t i = 0; i < a->n_events; i++)
		chan_put(&a->end.cq, &a->event[i]);
	a->n_events = 0;
}

/* The next event to fill; the caller made sure of the room. It may be changed until the next one is
 * asked for. */
static inline struct chan_cqe *app_event(struct sock_app *a)
{
	a->s->n.events++;
	if (unlikely(a->n_events == SOCK_EVENTS))
		app_put_events(a);
	return &a->event[a->n_events++];
}

/* One that is dying has its memory to itself again: none of its sends is in flight, nor of others
 * out of it, and none may come. */
void app_reap(struct sock_app *a);
unsigned app_take_returns(struct sock_app *a, unsigned budget);
/* Makes what was written visible, and wakes the application. */
void app_flush(struct sock_app *a);

/* Do the bytes lie in its arena? */
static inline bool app_arena_has(const struct sock_app *a, uintptr_t at, uint32_t len)
{
	uintptr_t off = at - (uintptr_t)a->map->arena;

	return off < a->end.hdr.arena_bytes && len <= a->end.hdr.arena_bytes - off;
}

/* ---- sock_cmd.c ---- */
unsigned app_commands(struct sock_app *a, unsigned budget);
/* Forgets the held commands of a socket that goes; their tokens go back. */
void cmd_drop_held(struct sock_app *a, uint32_t sid);

/* ---- sock_obj.c ---- */
static inline struct sock *sock_find(struct sock_app *a, uint32_t sid)
{
	uint32_t i = sid_index(sid);

	if (unlikely(i >= a->socks.used || sid == 0))
		return NULL;
	struct sock *k = slab_at(&a->socks, i);

	return likely(k->sid == sid) ? k : NULL;
}

static inline bool sock_slot_free(const struct sock_app *a)
{
	return a->socks.live < a->socks.max && a->s->n_socks < a->s->cfg.max_socks;
}

/* NULL at the limits. */
struct sock *sock_alloc(struct sock_app *a, enum sock_kind kind, uint8_t domain) must_check;
/* The socket's protocol object is gone or somebody else's by now. */
void sock_free(struct sock *k);
/* Closes at once, without results: the application is gone. */
void sock_reap(struct sock *k, bool orderly);
/* Family bits of a local address. -EAFNOSUPPORT, -EINVAL. */
int sock_fam(const struct sock *k, const struct ip_addr *a);
/* A local address of the right family, fit to be bound to? */
int sock_check_local(const struct sock *k, const struct ip_addr *a);
/* The interface that a program names: by the kernel's index, if it has one there, else ours, from 1.
 * -1: it names none. Above 255: there is none of that name. And the other way round, -1: 0. */
int sock_interface(const struct sock *k, uint32_t named);
int sock_interface_name(const struct sock *k, int ifindex);
/* RFC 4007 §6: such an address, or group, means something on a link only. */
bool sock_has_scope(const struct ip_addr *a);
/* The address of ours to send from: by route, or on the interface of a scope (as sock_interface()
 * names it, 0 = none) where dst has one. -ENETUNREACH, -ENODEV. */
int sock_source(const struct sock *k, const struct ip_addr *dst, uint32_t scope,
		struct ip_addr *src) must_check;
/* An address of this host's, loopback's included. */
bool sock_addr_is_own(const struct socks *s, const struct ip_addr *a);
/* SO_DONTROUTE permits it? Without the option everything is. -ENETUNREACH. */
int sock_check_route(const struct sock *k, const struct ip_addr *dst) must_check;
int cmd_socket(struct sock_cmd *c);
int cmd_bind(struct sock_cmd *c);
int cmd_shutdown(struct sock_cmd *c);
int cmd_close(struct sock_cmd *c);
int cmd_name(struct sock_cmd *c);
void sock_linger_expire(struct socks *s);

/* ---- sock_event.c ---- */
/* Adds news and tells them now, or when there is room. */
void sock_news(struct sock *k, uint16_t news);
/* Tells the waiting ones of an application while there is room. */
void app_tell_waiting(struct sock_app *a);
/* An error of a send or of the path, not fatal. */
void sock_error(struct sock *k, int err);

/* ---- sock_lend.c ---- */
/* What an event says of a lent buffer. */
struct sock_lent {
	uint32_t loan;
	uint16_t region;
	uint64_t off;
};
/* Lends a single buffer; the caller made sure of app_lend_room. False: it lies in no region that
 * the application sees, and is still the caller's. Takes *m, which is another buffer afterwards
 * when its payload had to be copied. */
bool sock_lend(struct sock *k, struct rte_mbuf **m, struct sock_lent *out) must_check;
/* May the application be lent the buffer as it is? */
bool sock_sees(struct sock_app *a, struct rte_mbuf *m);
/* Does it lie in the application's own regions? */
bool sock_has(struct sock_app *a, struct rte_mbuf *m);
/* Under pressure: payload of several buffers goes into fewer, by copying. Takes m, returns the
 * packet to lend; *saved is how much less its buffers are charged. */
struct rte_mbuf *sock_compact(struct sock *k, struct rte_mbuf *m, uint32_t *saved) must_check;
/* Would lending so many more go beyond a quarter of what the application, or half of what all may
 * hold? */
bool sock_pressure(const struct sock_app *a, uint32_t more);
/* So many more are lent to it, or fewer. */
static inline void app_lent(struct sock_app *a, int32_t n)
{
	a->s->lent += (uint32_t)n;
	if (unlikely(a->own != NULL))
		a->own->lent += (uint32_t)n;
}
/* ---- sock_own.c ---- */
/* The domain whose buffers are of that pool, of which all together may hold max. */
int own_get(struct socks *s, struct rte_mempool *pool, uint32_t max,
	    struct sock_own **out) must_check;
void own_put(struct sock_own *o); /* NULL: nothing */
/* At least n buffers to copy to, or as many as it may have. */
uint32_t app_spare(struct sock_app *a, uint32_t n) slow_path;
/* One of them with that room, or NULL. */
struct rte_mbuf *own_take(struct sock_app *a, uint32_t len);
void app_spare_free(struct sock_app *a);

/* ---- sock_lend.c ---- */
/* How many buffers of n may be lent of this socket's now. */
uint32_t sock_lend_room(struct sock *k, uint32_t n);
/* How many buffers of n may be lent now, whosesoever. */
static inline uint32_t app_lend_room(struct sock_app *a, uint32_t n)
{
	uint32_t loans = a->loans.quota - a->loans.held, all = a->s->lent_max - a->s->lent;

	if (unlikely(a->loans.held >= a->loans.quota || a->s->lent >= a->s->lent_max))
		return 0;
	/* One of many holds no more than it leaves to the others: whatever those that came before
	 * keep for ever, there is something for the next (H34). */
	if (a->alone)
		all = all > a->loans.held ? (all - a->loans.held + 1) / 2 : 0;
	n = loans < n ? loans : n;
	n = all < n ? all : n;
	return likely(a->own == NULL) ? n : app_spare(a, n);
}

/* ---- sock_link.c ---- */
void sock_link_free(struct sock *k);
void app_link_init(struct sock_app *a);
void app_link_fini(struct sock_app *a);
/* The connection has another socket at its other end, perhaps: offers both a link, or asks for one.
 * The other end is told; k's news are noted, for sock_news() or for who is telling them anyway. */
void sock_link_look(struct sock *k);
/* True: done; false: no room. */
bool sock_link_tell(struct sock *k);
/* Of a socket that is MARKED: its stream is told up to the next mark, marks are. As tell_data(). */
bool sock_link_tell_stream(struct sock *k, struct chan_cqe **last);
uint32_t sock_link_id(const struct sock *k);
/* Asks for a link between the two, if there could be one. */
void app_link_ask(struct sock_app *a, struct sock_app *b);
/* The neighbour of a in whose arena the bytes lie; NULL: none that it sees. */
const struct sock_app *app_link_neighbour(const struct sock_app *a, uintptr_t at, uint32_t len);
/* Its program may be about to go over to it. */
bool sock_link_offered(const struct sock *k);
/* Does nothing of it go by TCP? */
bool sock_link_all(const struct sock *k);
/* It has got a description: nothing is told any more, what stands in it is known there. */
void sock_link_shared(struct sock *k);
int cmd_link_take(struct sock_cmd *c);
int cmd_link_switch(struct sock_cmd *c);

/* It is to be a connection that was a same-node stream before: when it is, it is offered a link.
 * 0, -ENOMEM. */
int sock_link_revive(struct sock *k) must_check;
/* It is one now. */
void sock_link_revived(struct sock *k);

/* ---- sock_keep.c ---- */
void keep_free(struct socks *s);

/* ---- sock_revive.c ---- */
int revives_init(struct socks *s) must_check;
void revives_fini(struct socks *s);
int cmd_revive(struct sock_cmd *c);
/* The socket goes. */
void revive_free(struct sock *k);
/* Does somebody wait to be that connection, or its other end? */
bool revive_waits(const struct socks *s, const struct tcp_key *key);

/* ---- sock_view.c ---- */
void app_view_init(struct sock_app *a);
void app_view_fini(struct sock_app *a);
/* Either may send out of the other's arena. False: no memory, and neither may. */
bool app_views_meet(struct sock_app *a, struct sock_app *b) must_check;
/* Whose arena it may send out of, by number; NULL. */
struct sock_app *app_view(const struct sock_app *a, uint32_t id);

/* ---- sock_send.c ---- */
/* Of a segment of a send in flight; NULL: it is none. */
struct sock_send *send_of(const struct rte_mbuf *seg);
int cmd_send(struct sock_cmd *c);
/* The token of a refused send goes back. */
void send_refuse(struct sock_app *a, uint32_t token);
/* The payload of a send command as a packet; its token is in flight then. NULL with *err: why not;
 * the token is as before. */
struct rte_mbuf *send_payload(struct sock_cmd *c, int *err) must_check;
/* The send failed with err: its token goes back, the application is told. */
int send_failed(struct sock_cmd *c, int err);

/* ---- sock_tcp.c ---- */
int cmd_listen(struct sock_cmd *c);
int cmd_connect(struct sock_cmd *c);
int tcp_sock_connect(struct sock_cmd *c);
void tcp_sock_event(struct sock *k, uint32_t events);
/* Announces accepted connections while there is room. True: all done. */
bool tcp_sock_tell_accept(struct sock *k);
/* There is a connection to accept. */
void tcp_sock_accept_news(struct sock *k);
/* Of a listener: how many connections nobody has accepted, those that its application was told of
 * included. */
uint32_t tcp_sock_waiting(const struct sock *l);
int tcp_sock_send(struct sock_cmd *c);
/* A connection that failed to open: the socket may try again. */
void tcp_sock_unconnect(struct sock *k);
void tcp_sock_close(struct sock *k, bool reset);
uint32_t tcp_sock_limit(const struct sock *k);
int cmd_accepted(struct sock_cmd *c);

/* ---- sock_group.c ---- */
int cmd_filter(struct sock_cmd *c);
int cmd_source(struct sock_cmd *c);

/* ---- sock_udp.c ---- */
int udp_sock_init(struct sock *k) must_check;
void udp_sock_fini(struct sock *k);
int udp_sock_bind(struct sock *k, const struct ip_addr *a, uint16_t port);
int udp_sock_connect(struct sock_cmd *c);
int udp_sock_send(struct sock_cmd *c);
int udp_sock_shutdown(struct sock *k, int how);
/* Tells what is queued while there is room. True: all done. */
bool udp_sock_tell(struct sock *k);
/* A lent datagram buffer came back. */
void udp_sock_returned(struct sock *k, uint32_t charge);

/* ---- sock_port.c ---- */
int ports_init(struct socks *s) must_check;
void ports_fini(struct socks *s);
/* Enters k with its flags at laddr:port (0 = choose one). -EADDRINUSE. */
int port_bind(struct sock *k, const struct ip_addr *laddr, uint16_t port) must_check;
void port_release(struct sock *k);
/* Another holder of a shared socket takes the place of the one that goes. */
void port_hand_over(struct sock *k, struct sock *heir);
/* May a bound socket begin to listen? -EADDRINUSE. */
int port_may_listen(const struct sock *k) must_check;
/* Does a program listen there for TCP that the application could have a link to (sock_link.c)? */
bool port_listens(const struct sock_app *a, const struct ip_addr *addr, uint16_t port);
/* May a socket of k's application be connected there for records? -ECONNREFUSED: nobody listens;
 * -EPROTOTYPE: for a stream alone; -EACCES: not for programs of this trust domain. */
int port_takes_records(const struct sock *k, const struct ip_addr *addr, uint16_t port) must_check;
/* Ports for an active open, one after the other, RFC 6056 §3.3.3: start with *n = 0; 0 = none left.
 */
uint16_t port_next(struct sock *k, struct tcp_key *key, uint32_t *n);

/* ---- sock_grant.c ---- */
int grants_init(struct socks *s) must_check;
void grants_fini(struct socks *s);
/* May the application bind the port? If it was granted, the grant is used now. */
bool app_may_bind(struct sock_app *a, const struct ip_addr *addr, uint16_t port, bool udp);
/* A socket of the port is gone, or could not have it. */
void grant_port_free(struct socks *s, bool udp, uint16_t port);

/* ---- sock_opt.c and its kin ---- */
int cmd_setopt(struct sock_cmd *c);
int cmd_getopt(struct sock_cmd *c);

/* ---- sock_dump.c ---- */
int cmd_dump(struct sock_cmd *c);

/* ---- sock_addrs.c ---- */
int cmd_addrs(struct sock_cmd *c);
int cmd_listens(struct sock_cmd *c);

#endif
