/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What libzstack remembers. A *core* is the client's end of one channel; a *socket* here is one of
 * the service's sockets, named by its sid on that core; a *descriptor* is what the program holds.
 * With several cores a listening or unconnected UDP descriptor stands for a socket on each of them,
 * joined by a group; the first of the group is the one the descriptor names.
 *
 *	fd ──► struct csock ──► receive queue: rows of core->loan, linked by index
 *	  │        └──► items ◄──┐
 *	  └──► struct epset ◄────┘  one struct epitem for each socket in a set
 *
 * Everything is guarded by the lock of lock.h; "called inside" means with it held. Memory of the
 *data path is arrays, made when the stack starts and indexed by the channel's own names; nothing is
 * allocated later but sets and what is in them.
 *
 * A service that is gone (lost.c) takes its names with it: sids, loans, tokens. Sockets keep their
 * rows, without a sid; buffers that are still held move to rows that no service names, and the
 * epoch in their handles tells them from those of the next one.
 *
 * What comes from the stack is checked before it is used (H32): an event that makes no sense is
 * counted in bad_events and breaks the one socket it names, if any.
 */
#ifndef ZS_CLIENT_CLIENT_PRIV_H
#define ZS_CLIENT_CLIENT_PRIV_H

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/list.h"
#include "chan/arena.h"
#include "chan/bell.h"
#include "chan/chan.h"
#include "chan/embed.h"
#include "client/lock.h"
#include "zstack/stats.h"
#include "zstack/zc.h"

#define NIL	   UINT32_MAX /* no index */
#define FOREVER	   INT64_MAX  /* deadline, ns of CLOCK_MONOTONIC */
#define EMPTY_ROWS 256u	      /* datagrams of no bytes that can wait on a core: they have no loan */
#define REJOIN_FDS 2u	      /* that a sleeping leader looks at for the service, at most */
#define REPLIES	   64u	      /* commands of a core whose callers wait, power of two */

/* A received buffer of which the program or a receive queue has a hold. Rows:
 *
 *	0 …           by loan index, at most own_rows
 *	own_rows …    EMPTY_ROWS, for empty datagrams
 *	gone_rows …   GONE_TIMES * own_rows, for what services lent that are gone; where a row moves
 *	              to is near its own index, so that it is found again
 *	link_rows …   LINK_ROWS, for what came from neighbours (link.h); their name is 1 */
#define GONE_TIMES 4u
#define LINKS_MAX  64u
#define LINK_ROWS  (LINKS_MAX * 4096u)
struct loan {
	const uint8_t *base; /* what was lent, whole */
	uint32_t name;	     /* to return it; 0 = not lent */
	uint32_t len;	     /* at base */
	uint32_t head;	     /* bytes of it that were read */
	uint32_t next;	     /* row in the receive queue, or in the list of empty rows */
	uint32_t sends;	     /* of it that are in flight */
	uint16_t holds;	     /* of the program; 0 while it is in a receive queue */
	bool more;	     /* datagram: the next row belongs to it */
};

/* Beside a loan: where a datagram came from, and which service had lent it, if that is gone. */
struct dgram {
	uint8_t addr[16], laddr[16];
	uint16_t port;
	uint16_t epoch;
	uint32_t aux; /* CHAN_DGRAM_AUX */
};

/* A block of the arena that the program allocated; by its offset in units of BLOCK_UNIT. */
#define BLOCK_UNIT 256u
struct block {
	uint16_t gen;	/* of the block's handle */
	uint16_t holds; /* of the program */
	uint32_t sends; /* of it that are in flight */
};

enum token_kind {
	TOKEN_FREE,
	TOKEN_COPY,  /* `what` is a block, of this send alone */
	TOKEN_BLOCK, /* `what` is a block with holds */
	TOKEN_LOAN,  /* `what` is a loan's name */
	TOKEN_EMPTY, /* nothing is in flight: a datagram of no bytes */
};

/* A send in flight. By token. */
struct token {
	uint32_t sid;
	uint32_t len;
	uint32_t what;	 /* by kind; TOKEN_FREE: next free one */
	uint32_t cookie; /* row, or NIL */
	uint8_t kind;
	uint8_t link; /* 0: at the service; else 1 + that of the neighbour's link */
};

struct cookie {
	uint64_t value;
	uint32_t sends; /* in flight; 0: told by its socket's list */
	uint32_t next;	/* free, or on a socket's list of complete ones */
};

/* A thread that waits; lives on its stack. It is linked to each socket and set that may end the
 * wait. One waiter leads: it runs the stack, or sleeps on the channels. The others follow: each
 * sleeps on its own word until an event is its own, or the leader leaves. */
struct kwait;
struct waiter {
	struct list node;      /* of the followers */
	struct kwait *kernel;  /* it waits for descriptors of the kernel, too; NULL */
	_Atomic uint32_t word; /* 1: look again */
	bool woken;	       /* an event was ours */
	bool follows;
	bool interruptible; /* a signal handled while spinning ends it too (interrupt.c) */
	bool deaf;	    /* no signal that the host puts off ends it */
	bool anything;	    /* whatever comes, it waits for that */
	int bell;	    /* with `kernel`, a follower sleeps on this; -1 */
};

/* What a waiter waits for in the kernel (kwait.c). What the client sleeps on itself stands behind
 * it, so that one system call waits for all. */
#define KWAIT_ROOM (EMBED_CORES_MAX + 2 + REJOIN_FDS)
struct kwait {
	struct pollfd *fd; /* n, and room for KWAIT_ROOM */
	unsigned n;
	const sigset_t *mask; /* for the time of the wait; NULL: as it is */
	bool ready;	      /* one of the n is */
	int64_t looked_ns;
};

struct wlink {
	struct waiter *w;
	struct wlink *next;
};

enum csock_state {
	CSOCK_FREE,
	CSOCK_IDLE, /* neither listening nor connected */
	CSOCK_LISTEN,
	CSOCK_CONNECTING,
	CSOCK_CONNECTED,
	CSOCK_BROKEN, /* TCP: the connection is gone, or could not be made */
	CSOCK_CLOSED, /* by the program; the service has still to say so */
};

enum {
	CSOCK_NONBLOCK = 1 << 0,
	CSOCK_NOSPACE = 1 << 1,	  /* a send found no room since the last time there was */
	CSOCK_STARVED = 1 << 2,	  /* on core->starved */
	CSOCK_URG = 1 << 3,	  /* urg_ahead is valid */
	CSOCK_URG_READ = 1 << 4,  /* the urgent byte was delivered */
	CSOCK_OOBINLINE = 1 << 5, /* SO_OOBINLINE */
	CSOCK_BOUND = 1 << 6,	  /* bind() succeeded */
	CSOCK_PKTINFO = 1 << 7,	  /* IP_PKTINFO or IPV6_RECVPKTINFO */
	CSOCK_REFUSED = 1 << 8,	  /* BROKEN because a connect failed: may try again */
	CSOCK_LINGERS = 1 << 9,	  /* CLOSED, and a thread waits for the result */
	CSOCK_TOCLOSE = 1 << 10,  /* on core->to_close */
	CSOCK_UNREAD = 1 << 11,	  /* CLOSED with data that nobody read */
	CSOCK_RECVTTL = 1 << 13,  /* IP_RECVTTL or IPV6_RECVHOPLIMIT */
	CSOCK_RECVTOS = 1 << 14,  /* IP_RECVTOS or IPV6_RECVTCLASS */
	CSOCK_ASYNC = 1 << 12,	  /* a connect said -EINPROGRESS; the next one tells how it went */
	/* Tell that a field of the second and third line matters: */
	CSOCK_GROUPED = 1 << 15,  /* group is not NULL */
	CSOCK_COOKIES = 1 << 16,  /* cookie_head is not NIL */
	CSOCK_LOWAT = 1 << 17,	  /* rcvlowat is not 1 */
	CSOCK_SHARED = 1 << 18,	  /* other processes hold it too: nothing is pushed (shared.c) */
	CSOCK_HINT = 1 << 19,	  /* … and it is worth asking */
	CSOCK_JOINT = 1 << 20,	  /* was shared at a service that is gone: see remake.c */
	CSOCK_NOBUF = 1 << 21,	  /* zs_buf_alloc() failed for it; nothing came back since */
	CSOCK_LISTENED = 1 << 22, /* shut down: connections may still be announced */
	CSOCK_ZEROCOPY = 1 << 23, /* SO_ZEROCOPY */
	CSOCK_ERRQUEUE = 1 << 24, /* zc_untold is not 0 */
	CSOCK_LINKED = 1 << 25,	  /* has to do with a link (link.h) */
	CSOCK_LINK = 1 << 26,	  /* what it sends goes over one */
	CSOCK_OFFER = 1 << 27,	  /* it may go over to one when it is next used */
	CSOCK_CORKED = 1 << 28,	  /* TCP_CORK, of which the service does not know (cork.c) */
	CSOCK_NODELAY = 1 << 29,  /* TCP_NODELAY, as the service knows */
	CSOCK_DELAYED = 1 << 30,  /* … which was taken back, as it does not know */
	CSOCK_UNUSUAL = CSOCK_URG | CSOCK_GROUPED | CSOCK_COOKIES | CSOCK_LOWAT | CSOCK_SHARED |
			CSOCK_ERRQUEUE | CSOCK_OFFER | CSOCK_CORKED | CSOCK_DELAYED,
};

#define SHUT_RD_BIT 1
#define SHUT_WR_BIT 2

struct epitem;
struct group;
struct buf_ref;

/* A row of client.sock: by core and sid_index, as long as the first service lives; later where
 * core->row says. The first line is all that a request and its response touch. */
struct csock {
	uint32_t sid;	     /* 0 = free, or the service that it was of is gone */
	uint32_t head, tail; /* receive queue: loan rows; LISTEN: rows of new sockets */
	uint32_t unread;     /* bytes; whole datagrams; LISTEN: sockets */
	uint8_t state;	     /* enum csock_state */
	uint8_t type;	     /* SOCK_STREAM, SOCK_DGRAM */
	uint8_t shut;	     /* SHUT_*_BIT: by either side */
	uint8_t core;
	uint32_t flags;
	int32_t fd;  /* -1: accepted by the stack, not yet by the program; or closed */
	int32_t err; /* pending error, -errno */
	struct epitem *items;
	struct wlink *waiters;
	uint32_t limit, inflight; /* bytes: of the send buffer, sent and not yet back */
	uint32_t ticket;	  /* of the next command */
	uint32_t serial;	  /* changes when the descriptor is closed */

	_Alignas(64) struct group *group; /* NULL: the only socket of its descriptor */
	uint32_t link;			  /* a listener's queue, core->to_close, client.free_sock */
	uint32_t starved_link;
	uint32_t cookie_head, cookie_tail; /* complete ones */
	uint32_t urg_ahead;		   /* bytes before the urgent one, from the next unread */
	uint32_t rcvlowat;
	int32_t domain;	  /* AF_INET, AF_INET6 */
	int32_t linger_s; /* -1 = off */
	union {
		uint32_t taken;	    /* LISTEN: accepted since the service was told */
		uint32_t zc_untold; /* others: sends with MSG_ZEROCOPY, not yet told of */
	};
	union {
		uint32_t backlog; /* LISTEN */
		uint32_t zc_sent; /* others: all of them */
	};
	uint32_t bound_scope;
	uint32_t child_sid; /* while forking: its name in the child, 0 = it gets none */
	int64_t rcvtimeo_ns, sndtimeo_ns; /* 0 = none */
	uint8_t peer[16], local[16];	  /* valid from CONNECTED on; local also when BOUND */
	uint16_t peer_port, local_port;
	uint32_t peer_scope;
	struct opts *opts; /* NULL: the service has set none that would be asked for again */
};
_Static_assert(offsetof(struct csock, group) == 64, "hot line");
_Static_assert(sizeof(struct csock) == 192, "three lines");

/* SETOPT commands of a descriptor, for sockets that join it on other cores, or at another service:
 * the newest value of each option, and each membership. */
#define OPTS_MAX 64
struct opts {
	unsigned n;
	struct opt {
		uint32_t len;
		int16_t level, name;
		uint8_t value[28];
	} opt[];
};

/* The sockets of one descriptor on several cores; one on each, the first where it was made. */
struct group {
	unsigned n;
	unsigned turn;	/* whose queue is read next */
	unsigned users; /* threads in its commands: it stays until they have left */
	bool closed;
	bool growing; /* a thread makes its members */
	struct csock *sock[EMBED_CORES_MAX];
};

/* A thread waits for the result of a command. */
struct reply {
	struct waiter *w; /* NULL = free */
	bool done;
	bool lost; /* with the service: there is no result */
	uint32_t gen;
	struct chan_cqe e;
};

/* Blocks of small sends that came back, last one first, in units of BLOCK_UNIT: most sends need
 * nothing of the arena. One stack for each of its smallest classes. */
#define SPARE_CLASSES 2u
#define SPARE_MAX     256u
struct spares {
	uint32_t n;
	uint32_t unit[SPARE_MAX];
};

/* The client's end of a channel. */
struct core {
	struct chan_end end;
	const struct chan_map *map;
	struct csock *sock; /* by sid_index, if row is NULL */
	uint32_t *row;	    /* of client.sock and 1, by sid_index; 0 = none */
	uint32_t max_socks;
	uint8_t id;
	bool scratch_taken;
	bool arena_short; /* an allocation failed since the last block came back */
	struct loan *loan;
	struct dgram *dgram;
	uint32_t max_loans;
	uint32_t own_rows, gone_rows, link_rows; /* see struct loan */
	uint32_t link_free, link_fresh;		 /* rows of the last part */
	struct link_row *link_row;		 /* beside them, NULL until there is a link */
	uint8_t *link_data;			 /* small payload that came with its entry */
	uint32_t empty_free;
	struct token *token;
	struct cookie *cookie;
	uint32_t max_tokens;
	uint32_t token_rows; /* of both tables, at least max_tokens */
	uint32_t token_free, tokens_left, cookie_free;
	bool wants_tokens; /* somebody may wait for one to come home; until all are */
	struct arena arena;
	struct spares spare[SPARE_CLASSES];
	struct block *block;
	uint32_t starved;  /* sockets that found neither token nor block, by row */
	uint32_t to_close; /* sockets whose CLOSE found sq full */
	struct reply reply[REPLIES];
	uint32_t lent;	    /* loans that the program holds */
	uint32_t gone_used; /* rows of the last part of `loan` */
	bool remade;	    /* remake_result is here */
	struct chan_cqe remade_result;
};

/* A service that this program is attached to, or is about to be. */
struct mapping {
	void *at;
	uint64_t bytes;
};
/* Which file a descriptor was, when it was ours. */
struct fd_id {
	uint64_t dev, ino;
};
struct attached {
	uint32_t app; /* our number */
	int sock;     /* the control connection */
	int pidfd; /* the service, -1: not to be had */
	struct fd_id sock_id, pidfd_id;
	int pid;
	bool mapped; /* MAPPED was said */
	unsigned n_cores;
	uint32_t free_ports_from; /* ports below are to be asked for */
	bool shared;		  /* and no port */
	uint32_t grants;	  /* asked so far */
	struct mapping packets, rings[EMBED_CORES_MAX];
	/* The program's memory goes with it from service to service; so there may be more arenas
	 * than this service has cores. The first n_kept are (still) the last service's. */
	struct mapping arena[EMBED_CORES_MAX];
	int arena_fd[EMBED_CORES_MAX];
	unsigned n_arenas, n_kept;
};

/* What is to be asked of a service. */
struct attach_want {
	const char *path;
	uint32_t max_sockets, max_loans, max_tokens; /* 0: as the service likes */
	uint64_t arena_bytes;
	uint32_t flags; /* ATTACH_NO_LINKS */
};

/* The way to another service: see rejoin.c. */
enum rejoin_state { REJOIN_ATTACHED, REJOIN_ENDED, REJOIN_DIAL, REJOIN_TALK, REJOIN_RESUME };
struct rejoin {
	enum rejoin_state state;
	bool told; /* why it can't be */
	int64_t looked_ns, next_ns, backoff_ns;
	struct attached to;
	struct chan_map map[EMBED_CORES_MAX];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
};

/* How the stack is reached: loaded into this process, or a service's. */
struct transport {
	bool attached; /* the service's: `service` is valid, else ops and embed */
	struct attached service;
	const struct embed_ops *ops;
	struct embed *embed;
	struct rejoin rejoin;
	struct chan_map map[EMBED_CORES_MAX];
	unsigned n_cores;
	void *library;
};

struct client {
	bool running;
	bool threaded; /* the stack has threads of its own */
	bool asleep;   /* the leader sleeps, in the kernel */
	bool stopping;
	bool frugal; /* from here on only read, write, futex and poll are called (host.h) */
	int one_fd;  /* … and one descriptor is slept on; -1 */
	unsigned n_cores;
	unsigned next_core; /* for the next TCP socket */
	unsigned dry;	    /* calls that found nothing since the stack ran */
	unsigned blind;	    /* sends since the channels were last looked at */
	unsigned waiting;   /* threads in client_wait() */
	int64_t spin_ns;    /* how long to look for work before sleeping */
	bool yields;	    /* giving the CPU away meanwhile (spin.c) */
	uint8_t misses;	    /* waits in a row that slept all the same */
	uint16_t skip;	    /* next waits that sleep at once */
	bool kicked;	    /* the bell of core 0 was rung for the leader by one of us */
	struct waiter *leader;
	struct list followers;
	struct wlink *any; /* followers that wait for whatever happens */
	struct core core[EMBED_CORES_MAX];
	unsigned n_tables;  /* cores that have tables: also those that a service had that is gone */
	struct csock *sock; /* zones of zone_rows, one for each core there may be */
	unsigned n_zones;
	uint32_t zone_rows;
	uint32_t top[EMBED_CORES_MAX]; /* rows of a zone that were ever used */
	uint32_t free_sock;   /* rows that are free below top, when cores have a row table */
	uint16_t epoch;	      /* services that are gone */
	struct gone *gone;    /* of which something is held */
	bool lost;	      /* the service is gone, and none is there yet */
	bool remaking;	      /* one has come: sockets are made there */
	struct wlink *absent; /* threads that wait for a service */
	int kick_fd;	      /* for the leader that sleeps at a service; -1 */
	unsigned quiet;	      /* calls that found nothing */
	struct transport transport;
	bool no_links;	     /* none to neighbours */
	struct links *links; /* to neighbours; NULL: none yet */
	unsigned busy;	     /* calls that found something */
	struct zs_stats stats; /* what the client counts */
};
extern struct client client;

static inline struct core *csock_core(const struct csock *s)
{
	return &client.core[s->core];
}

static inline uint32_t csock_row(const struct csock *s)
{
	return (uint32_t)(s - client.sock);
}

/* Gives way to other threads for a moment, if it may. */
static inline void client_yield(void)
{
	if (likely(!client.frugal))
		sched_yield();
}

/* ---- client.c: start, stop ---- */
struct zs_config;
/* Called inside; 0 or -ENXIO. */
static inline int client_ready(void)
{
	return likely(client.running) ? 0 : -ENXIO;
}

struct attach_msg;
/* Attaches by what a service made for us (exec.c): no socket is there yet. Inside. */
int client_adopt(const char *path, struct attach_msg *welcome) must_check;

/* ---- config.c ---- */
void config_set_error(struct zs_config *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int config_complete(struct zs_config *c);
void config_embed(const struct zs_config *c, struct embed_cfg *out);
/* Where to attach: NULL when the configuration names ports of its own. */
const char *config_service(const struct zs_config *c);
int64_t config_spin_ns(const struct zs_config *c);

/* ---- transport.c ---- */
/* service: where one is to be attached to, NULL: the stack is loaded. */
int transport_open(struct transport *t, const struct embed_cfg *cfg, const char *service, char *err,
		   size_t err_len);
void transport_close(struct transport *t);
/* May this port be bound, by the user that the program is now? 0, *port may have been chosen then;
 * -EACCES, -EADDRINUSE; -ERESTART: there is nobody to ask any more. */
int transport_may_bind(const uint8_t addr[16], uint16_t *port, bool udp);
/* Are UDP sockets to be bound before they are connected? */
bool transport_is_shared(void);

/* ---- fork.c ---- */
void fork_hooks(void);
/* The socket gets another holder, in the application of that number: s->child_sid is its name
 * there, 0: it has none. What is unread goes back to the service. */
void fork_share(struct csock *s, uint32_t app);
/* It has another holder: what is unread, or not accepted, goes back to the service. */
void fork_shared(struct csock *s);
/* After the last of them. */
void fork_fence(void);

/* ---- shared.c: sockets that several processes hold ---- */
/* Asks for at most want bytes, or for a datagram. What came stands in the receive queue: 1; 0 at
 * the end of the stream, -EAGAIN also when the socket is shared no more. */
int shared_read(struct csock *s, size_t want, bool looks) must_check;
/* What was only looked at goes: it is still to be read, by whoever is first. */
void shared_forget(struct csock *s);
/* Asks for a connection, which stands in the listener's queue then: 0; -EAGAIN. */
int shared_accept(struct csock *l) must_check;
void shared_event(struct csock *s, const struct chan_cqe *e);
/* A stream that others write to as well: returns when the service has taken what was sent, so that
 * what another process sends after this comes after it. */
void shared_flush(struct csock *s);
static inline void shared_sent(struct csock *s)
{
	if (unlikely(s->flags & CSOCK_SHARED) && s->type == SOCK_STREAM)
		shared_flush(s);
}
/* Is any socket of its descriptor shared? */
static inline bool csock_shared(const struct csock *s)
{
	const struct group *g = s->group;

	for (unsigned i = 0; g != NULL && i < g->n; i++)
		if (g->sock[i]->flags & CSOCK_SHARED)
			return true;
	return (s->flags & CSOCK_SHARED) != 0;
}

/* ---- attach.c ---- */
/* The configured path, or that of the environment, or the usual one. */
const char *attach_path(const char *configured);
/* Connects, and looks who answers. */
int attach_dial(struct attached *a, const char *path, int flags) must_check;
/* A first message to the service at want->path, with the arenas of `from`, which stay its own, or
 * NULL. flags: SOCK_NONBLOCK: never waits. */
int attach_begin(struct attached *a, const struct attached *from, const struct attach_want *want,
		 int flags, char *err, size_t err_len) must_check;
/* Its answer is there: 1 attached, and maps are filled in; 0 more is to come; or -errno. */
int attach_step(struct attached *a, struct chan_map *maps, char *err, size_t err_len) must_check;
int attach_open(struct attached *a, const struct attach_want *want, struct chan_map *maps,
		char *err, size_t err_len) must_check;
/* A first message that asks for all descriptors again. */
int attach_resume(struct attached *a, const char *path) must_check;
/* Its answer: 1 they are there, in `of` and maps; 0 not yet; -errno. The old ones are whoever's. */
int attach_resumed(struct attached *a, struct attached *of, struct chan_map *maps) must_check;
/* Memory by a descriptor, which stays the caller's; not for children of fork. */
int mapping_map(struct mapping *m, int fd, uint64_t bytes, int prot) must_check;
void mapping_unmap(struct mapping *m);
/* A message's descriptor, out of the way of the program's. */
int fd_take(struct attach_msg *m, unsigned i);
bool fd_is(int fd, const struct fd_id *id);
/* The same, out of the way of the program's. */
int fd_high(int fd);
/* Gives back all that is not kept of another. maps may be NULL. */
void attach_close(struct attached *a, struct chan_map *maps, bool in_order);
/* Before fork: asks for what the child needs. */
int attach_fork(struct attached *a, struct attach_msg *m) must_check;
/* In the child: what is the parent's is closed; then the child's own is mapped and said to be. */
/* The next message, which is waited for. */
int attach_answer(struct attached *a, struct attach_msg *m) must_check;
void attach_abandon(struct attached *a, struct chan_map *maps);
int attach_child(struct attached *a, struct attach_msg *m, struct chan_map *maps) must_check;
int attach_bind(struct attached *a, const uint8_t addr[16], uint16_t *port, bool udp) must_check;

/* ---- rejoin.c: the service goes and comes ---- */
void rejoin_init(const char *path);
void rejoin_fini(void);
/* For the leader, or any thread when there is none: looks after the service if it is time (now_ns),
 * or if there are news. Inside. */
void rejoin_look(int64_t now, bool news);
unsigned rejoin_poll(struct pollfd *p);
/* When a sleeper has to come back to look; FOREVER. */
int64_t rejoin_deadline(void);
bool service_is_dead(void);
/* Dead, or it has ended our attachment: it answers no more. */
bool service_is_deaf(void);
/* Before a sleep of a wait that began at `since`: looks if it is time, and says until when to sleep.
 * The program may have closed our descriptors before it called, and others may have their numbers:
 * so the first sleep is short, unless there was a look since then. */
int64_t rejoin_sleep_until(int64_t since, int64_t now, int64_t deadline);
static inline bool rejoin_resuming(void)
{
	return client.transport.rejoin.state == REJOIN_RESUME;
}

/* ---- lost.c: the service is gone ---- */
/* Takes the packet region over. */
void client_lose(struct mapping *packets);
void lost_fini(void);
void lost_forget(void);
/* A row of a service that is gone. NIL. */
uint32_t lost_loan_find(const struct core *c, uint32_t name, uint16_t epoch);
void lost_loan_put(struct core *c, uint32_t row);

/* ---- remake.c: another has come ---- */
/* Sockets are made again; -ERESTART: it is gone already. */
int client_remake(void) must_check;
/* Waits until there is a service. 0, -EINTR, -EBADF (the stack stops). */
int client_attached(void) must_check;
/* The same, and the socket is one of its; -EBADF also when it was closed, or its error. */
int csock_ready(struct csock *s) must_check;
int csock_remake(struct csock *s) must_check;
void service_miss(void);
/* Somebody asks for what comes to it: one that was left out is made again now. */
void csock_wanted_slow(struct csock *s) slow_path;
static inline void csock_wanted(struct csock *s)
{
	if (unlikely(s->sid == 0))
		csock_wanted_slow(s);
}
int remake_call(struct core *c, struct csock *s, const struct chan_sqe *cmd,
		struct chan_cqe *e) must_check;

/* ---- core.c: a channel's tables ---- */
/* The table of sockets, for so many cores as there may ever be. */
int socks_init(unsigned zones);
void socks_fini(void);
int core_init(struct core *c, unsigned id, const struct chan_map *map);
void core_fini(struct core *c);
/* An empty table of rows, from now on. */
int core_rows_init(struct core *c) must_check;
/* Another service's channel in the place of one that is gone: does it fit the tables? */
int core_fits(unsigned id, const struct chan_map *map) must_check;
int core_rejoin(unsigned id, const struct chan_map *map) must_check;

/* ---- spin.c: how long a wait looks for work before it sleeps ---- */
struct spin {
	int64_t budget_ns; /* 0: sleep at once */
	int64_t quiet_ns;  /* since when there is nothing to do, less others' turns; 0: unknown */
	bool signals;	   /* matter to this wait: they are held back while others run */
	bool held;
	sigset_t mask; /* what it was, if held */
};
/* wanted_ns: -1 the default. After the channels are there. */
void spin_init(int64_t wanted_ns);
void spin_begin(struct spin *s, bool signals);
/* After a look that found work (busy) or none: look again? Then the others had a turn: the lock was
 * given away for a moment. False: sleep, and signals are let through again. */
bool spin_on(struct spin *s, int64_t now, bool busy);
/* paid: what was waited for came. */
void spin_end(struct spin *s, bool paid);

/* ---- interrupt.c: is a signal handled while the calling thread spins? ---- */
void interrupt_watch(void);
/* Since watch, or since the last time that it was true. */
bool interrupt_seen(void);
void interrupt_unwatch(void);
/* A host tells (host.h): then every wait may ask, there is no need to watch. */
void interrupt_by(bool (*interrupted)(void));
bool interrupt_is_told(void);
/* Around a system call that sleeps for, or until, ts, which a signal may shorten. True: one came.
 */
void interrupt_sleep(struct timespec *ts);
bool interrupt_woke(void);
/* Signals wait from hold to release; then they are handled, and seen. */
void interrupt_hold(sigset_t *was);
void interrupt_release(const sigset_t *was);
/* A wait ends with -EINTR. */
void interrupt_timed(bool timed);

/* ---- wait.c ---- */
int64_t now_ns(void);
int64_t deadline_ms(int timeout_ms);
/* One turn: the stack, when the program runs it; then what the channels have. Returns how much was
 * done. Inside. */
unsigned client_turn(void);
/* Takes what the channels have. Inside. */
unsigned client_drain(void);
/* Who only sends looks now and then what has come: a reset, say. Inside. */
#define SENDS_BLIND 16u
static inline void client_send_looks(void)
{
	if (unlikely(++client.blind > SENDS_BLIND))
		client_drain();
}
/* A call found nothing: in mode poll somebody must run the stack in the end. Inside. */
unsigned client_dry(void);
/* Waits until w is woken (0), or -ETIMEDOUT, -EINTR, -EBADF (the stack stops). Inside; the lock is
 * released meanwhile, so everything may have changed. */
int client_wait(struct waiter *w, int64_t deadline) must_check;
/* A descriptor to be slept on instead of all others; -1. */
int sleep_on_one(void);
/* Lets others have the lock for a moment; everything may have changed. */
void client_breathe(void);
void waiter_init(struct waiter *w);
void waiter_wake(struct waiter *w);
/* Waits for news of one socket; -EBADF also when its descriptor was closed. */
int csock_wait(struct csock *s, int64_t deadline) must_check;
void wlink_remove(struct wlink **list, struct wlink *l);
void wlink_wake(struct wlink *list) slow_path;

/* ---- kwait.c: the kernel's descriptors ---- */
/* Is any ready? Then w is woken. 0, -EINTR. The lock is released meanwhile. */
int kwait_look(struct waiter *w) must_check;
/* The same, if it is some time since the last one. */
int kwait_due(struct waiter *w, int64_t now) must_check;
/* Sleeps on them, and on n of the client's that stand at k->fd[k->n]. What ppoll() says; deaf: as a
 * waiter's. Outside. */
int kwait_sleep(struct kwait *k, unsigned n, int64_t timeout_ns, bool deaf);
/* A follower: sleeps until it is woken or one is ready, or -ETIMEDOUT, -EINTR. Inside. */
int kwait_follow(struct waiter *w, int64_t deadline) must_check;
/* In a child of fork: what followers sleep on is the parent's. */
void kwait_forget(void);

/* ---- poll.c ---- */
/* A waiter linked to something that a pollfd names. */
struct poll_link {
	struct wlink link;
	struct wlink **list; /* NULL: to nothing */
	struct epset *set;   /* whose row it keeps */
};
/* What each is ready for now; what is not ours: `unknown`. How many are ready for something. */
int poll_look(struct pollfd *fds, nfds_t n, short unknown);
void poll_link(const struct pollfd *fds, nfds_t n, struct poll_link *links, struct waiter *w);
void poll_unlink(nfds_t n, struct poll_link *links);

/* ---- event.c ---- */
unsigned core_drain(struct core *c);
/* For tests, too: one event, checked. */
void core_event(struct core *c, const struct chan_cqe *e);

/* Names that stats.c looks for among the stack's counters. */
#define COUNTER_PRESSURE "sock_pressure_copied_bytes"
#define COUNTER_DEVICE	 "device_copied_bytes"
#define COUNTER_DOMAIN	 "sock_domain_copied_bytes"

/* ---- cmd.c ---- */
/* What a result is for stands in the token's highest byte; tokens of sends are all below. */
#define TOKEN_REPLY   0x80000000u /* a row of core->reply and its generation */
#define TOKEN_CONNECT 0x81000000u
#define TOKEN_CLOSE   0x82000000u
#define TOKEN_NOBODY  0x83000000u
#define TOKEN_REMAKE  0x84000000u
#define TOKEN_CLASS   0xff000000u

/* May n sends be pushed? They leave some room to the other commands, so that a flood of them can't
 * keep a close out for long. */
#define SEND_RESERVE 16u
static inline bool cmd_room(struct core *c, uint32_t n)
{
	uint32_t reserve = c->end.sq.mask / 4 < SEND_RESERVE ? c->end.sq.mask / 4 : SEND_RESERVE;

	return chan_free(&c->end.sq, reserve + n) >= reserve + n;
}
/* A slot for a command that must not be lost: waits for room, and releases the lock then, so a
 * socket's serial is to be compared before it is used. NULL: the service was lost meanwhile. */
struct chan_sqe *cmd_slot(struct core *c) must_check;
/* Sends a command and waits for its result: res, with the event in *e. s may be NULL (commands
 * without a socket). The lock is released meanwhile; -EBADF when the descriptor was closed. If the
 * service is lost it waits for another and asks again, but of a BIND, which needs a grant before
 * it, and of what has no socket it says -ERESTART. */
int cmd_call(struct core *c, struct csock *s, const struct chan_sqe *cmd,
	     struct chan_cqe *e) must_check;
/* The channel's scratch area is the caller's until he clears core->scratch_taken: it is for one
 * answer at a time. 0, -EBADF (the stack stops), -ENETDOWN. */
int scratch_take(struct core *c) must_check;
void replies_lose(struct core *c);
void cmd_result(struct core *c, const struct chan_cqe *e);
/* Says CLOSE now, or as soon as there is room. */
void cmd_close(struct csock *s);
void cmd_flush_closes(struct core *c);

/* A leader who sleeps without being told of tokens (chan.h, "Trifles") looks and sleeps anew. */
void client_rearm(void) cold_path;
static inline void core_wants_tokens(struct core *c)
{
	if (likely(c->wants_tokens))
		return;
	c->wants_tokens = true;
	client_rearm();
}

/* The stack's doorbell: it may sleep, on its own (threaded) or in our hands. */
static inline void core_kick(struct core *c)
{
	if (client.threaded || client.asleep)
		bell_ring(&c->end.sh->bells.stack_armed, c->map->stack_bell_fd);
}

/* The next slot, zeroed but for its first word (op, flags, port), which is not to be written: the
 * stack looks at it all the time. There is room. cmd_push() brings the first word and makes it
 * visible. */
static inline struct chan_sqe *cmd_next(struct core *c)
{
	struct chan_sqe *q = chan_slot(&c->end.sq, c->end.sq.own, sizeof(*q));

	memset(&q->sid, 0, sizeof(*q) - offsetof(struct chan_sqe, sid));
	return q;
}

/* As *cmd says, but for the first word. */
static inline void cmd_copy(struct chan_sqe *q, const struct chan_sqe *cmd)
{
	memcpy(&q->sid, &cmd->sid, sizeof(*q) - offsetof(struct chan_sqe, sid));
}

static inline void cmd_push_first(struct core *c, uint32_t first)
{
	client.stats.commands++;
	chan_show(&c->end.sq, first, sizeof(struct chan_sqe));
	core_kick(c);
}

static inline void cmd_push(struct core *c, uint8_t op)
{
	cmd_push_first(c, chan_first(op, 0, 0));
}

/* ---- csock.c: sockets, their queues and their state ---- */
/* The socket that an event or a token means; NULL if there is none (any more). */
static inline struct csock *csock_find(struct core *c, uint32_t sid)
{
	uint32_t i = sid_index(sid);

	if (unlikely(i >= c->max_socks || sid == 0))
		return NULL;
	if (likely(c->row == NULL))
		return likely(c->sock[i].sid == sid) ? &c->sock[i] : NULL;
	i = c->row[i];
	return i != 0 && client.sock[i - 1].sid == sid ? &client.sock[i - 1] : NULL;
}
struct csock *csock_open(struct core *c, uint32_t sid, int domain, int type, uint32_t limit);
/* One that the service does not know: its connection is gone. Where cores have row tables only. */
struct csock *csock_nameless(struct core *c, int domain, int type);
/* A row for a new socket of that name, or for one of ours (s) that gets another; NULL: the name is
 * taken, or none is left. */
struct csock *csock_name(struct core *c, uint32_t sid, struct csock *s);
/* The program is done with it: gives back what it has, says CLOSE. Joins no group any more. */
void csock_close(struct csock *s);
void csock_free(struct csock *s);
/* A received buffer goes to the end of its queue. */
void csock_queue(struct core *c, struct csock *s, uint32_t row);
void csock_drop_queue(struct csock *s);
/* What a listener has that nobody accepted. */
void csock_drop_accepted(struct csock *l);
void csock_drop_cookies(struct csock *s);
uint32_t csock_mask(struct csock *s);
/* Shared, and said to be worth asking: any socket of the descriptor's. */
bool csock_hint(const struct csock *s);
void csock_broken(struct csock *s, int err);
/* Something changed: sets and waiters look again. mask: the EPOLL bits that changed. */
void csock_notify(struct csock *s, uint32_t mask);
/* The socket whose receive queue is to be read next. */
struct csock *csock_reader(struct csock *s);
/* The pending error, once. */
int csock_take_error(struct csock *s);
static inline bool csock_room(const struct csock *s)
{
	return s->inflight < s->limit;
}
/* It is to be told when there is room. */
static inline void csock_no_space(struct csock *s)
{
	s->flags |= CSOCK_NOSPACE;
	core_wants_tokens(csock_core(s));
}

/* A connection in order, of which nothing is asked but bytes in and out: all about it stands in its
 * first line. */
static inline bool csock_plain(const struct csock *s)
{
	return s->state == CSOCK_CONNECTED && s->type == SOCK_STREAM &&
	       ((uint32_t)s->shut | (uint32_t)s->err | (s->flags & CSOCK_UNUSUAL)) == 0;
}

/* ---- buf.c: loans, blocks, tokens, cookies ---- */
void loan_put_slow(struct core *c, uint32_t row) slow_path;
/* A buffer of which nobody has a hold goes back to the stack. */
static inline void loan_put(struct core *c, uint32_t row)
{
	struct chan_ring *ret = &c->end.ret;

	if (unlikely(row >= c->own_rows || chan_free(ret, 1) == 0)) {
		loan_put_slow(c, row);
		return;
	}
	chan_send_name(ret, c->loan[row].name);
	c->loan[row].name = LOAN_NONE;
	core_kick(c);
}
uint64_t loan_handle(const struct core *c, uint32_t row);
static inline bool loan_is_gone(const struct core *c, uint32_t row)
{
	return row >= c->gone_rows && row < c->link_rows;
}
static inline bool loan_is_link(const struct core *c, uint32_t row)
{
	return row >= c->link_rows;
}

uint64_t block_handle(const struct core *c, uint64_t off);
/* A buffer, resolved: where its bytes are. */
struct buf_ref {
	struct core *core;
	bool lent;
	uint32_t what; /* loan row; block unit */
	uint64_t off;  /* of data: in the arena; relative to the lent bytes */
};
int buf_find(const struct zs_buf *b, struct buf_ref *r) must_check;
/* May the channel of this core not name it? */
static inline bool buf_is_foreign(const struct buf_ref *r, const struct core *c)
{
	return r->core != c || (r->lent && loan_is_gone(c, r->what));
}
/* Ends one hold of the program. */
void buf_put(const struct buf_ref *r);
/* One hold of the program becomes a send in flight, which its token ends. */
void buf_to_send(const struct buf_ref *r);
/* -ENOBUFS. One hold. */
int block_new(struct core *c, uint32_t size, struct zs_buf *b);
uint16_t *buf_holds(const struct buf_ref *r);
/* One send under a cookie is complete. s: its socket, or NULL when that is gone. */
void cookie_unref(struct core *c, struct csock *s, uint32_t row);
/* ARENA_NONE: there is none, which core->arena_short remembers. */
uint64_t block_alloc_slow(struct core *c, uint32_t bytes) slow_path;
void block_free(struct core *c, uint64_t off);
/* SPARE_CLASSES: it has none. */
static inline uint32_t spare_class(uint32_t bytes)
{
	return bytes <= 256 ? 0 : bytes <= 2048 ? 1 : SPARE_CLASSES;
}
static inline uint64_t block_alloc(struct core *c, uint32_t bytes)
{
	uint32_t cls = spare_class(bytes);

	if (unlikely(cls == SPARE_CLASSES || c->spare[cls].n == 0))
		return block_alloc_slow(c, bytes);
	return (uint64_t)c->spare[cls].unit[--c->spare[cls].n] * BLOCK_UNIT;
}
/* NIL: none is left. */
static inline uint32_t token_take(struct core *c)
{
	uint32_t t = c->token_free;

	if (unlikely(t == NIL))
		return NIL;
	c->token_free = c->token[t].what;
	c->tokens_left--;
	return t;
}
void token_done(struct core *c, uint32_t token);
/* Of one that is known to be in flight. */
void token_home(struct core *c, uint32_t token);
void sock_starved(struct csock *s);

/* A send's command, with its token; there is room (send_means). The caller fills of off and loan
 * what is not 0, and pushes it. Where a datagram goes stays as it was: it means nothing without a
 * port. what: by kind. */
static inline struct chan_sqe *send_begin(struct csock *s, uint32_t len, uint8_t kind,
					  uint32_t what)
{
	struct core *c = csock_core(s);
	struct chan_sqe *q = chan_slot(&c->end.sq, c->end.sq.own, sizeof(*q));
	uint32_t t = token_take(c);

	c->token[t] = (struct token){
		.sid = s->sid, .len = len, .what = what, .cookie = NIL, .kind = kind};
	q->sid = s->sid;
	q->ticket = s->ticket++;
	q->len = len;
	q->off = 0;
	q->token = t;
	q->loan = 0;
	s->inflight += len;
	client.stats.tx_bytes += len;
	return q;
}

/* ---- link.c and its kin: streams to neighbours, see link.h ---- */
/* A message of the service's about links; true: it was one. */
bool links_message(struct attach_msg *m);
/* Reads what the service says. */
void links_read(void);
/* The service is gone: links carry nothing any more. */
void links_lose(void);
/* Somebody closed our descriptors. */
void links_blind(void);
/* Is any row in the service's packets? */
bool links_hold_packets(void);
/* Looks after neighbours of whom no service tells. */
void links_look(void);
void links_fini(void);
/* In a child of fork. */
void links_forget(void);
unsigned links_drain(void);
bool links_idle(void);
void links_arm(void);
void links_disarm(void);
int links_fd(void);
void links_empty(void);
/* Everything that stood on a link before this is in the socket's queue. */
void link_catch_up(struct csock *s);
void link_event(struct core *c, struct csock *s, const struct chan_cqe *e);
/* The program uses a socket that was offered a link. */
void link_use(struct csock *s) slow_path;
/* Nothing may be sent before link_use() found room for a command. */
bool link_holds(const struct csock *s);
/* Before another process gets the socket: back to TCP, both ways. What came over the link is in the
 * queue, or waits for its place in the stream (link_waiting). link_stay(): it came to nothing. */
void link_leave(struct csock *s);
void link_stay(struct csock *s);
/* The first row of what waits, which is the caller's now; NIL. The socket has no link any more. */
uint32_t link_waiting(struct csock *s);
void link_closed(struct csock *s);
/* What it sends goes over a link: */
bool link_room(const struct csock *s, uint32_t n);
bool link_send_plain(struct csock *s, const void *buf, uint32_t len);
struct iov_it;
/* Bytes; -EAGAIN; 0: it goes by TCP now. */
int link_send_block(struct csock *s, struct iov_it *it, uint32_t n, int flags);
/* May this buffer be named to the neighbour? */
bool link_can_name(const struct csock *s, const struct buf_ref *r);
/* Then link_send_buf() or link_write_nothing(), at once. False: it goes by TCP now. */
bool link_may_write(struct csock *s) must_check;
void link_send_buf(struct csock *s, uint32_t len, const struct buf_ref *r, uint32_t cookie);
void link_write_nothing(struct csock *s);
int link_core_init(struct core *c) must_check;
void link_core_fini(struct core *c);
void link_row_put(struct core *c, uint32_t row);
uint16_t link_row_gen(const struct core *c, uint32_t row);
/* What links carried. */
void link_stats(struct zs_stats *all);

/* ---- fd.c ---- */
struct epset;
/* Does somebody else give the numbers (host.h)? */
bool fd_hosted(void);
int fd_init(void);
/* A host keeps the program from closing our own descriptors. */
bool fd_is_hosted(void);
void fd_fini(void);
#define FD_ANY (-1)
/* A descriptor for a socket or a set (the other is NULL). at: which; FD_ANY: the lowest free one,
 * or the host's choice. flags: for that, SOCK_CLOEXEC. -EMFILE, -EBUSY, -EBADF. */
int fd_open(struct csock *s, struct epset *e, int at, int flags) must_check;
/* Another that stands for the same. */
int fd_dup(int from, int to) must_check;
int fd_count(int fd);
/* Returns another descriptor of what it stood for; -1: there is none. */
int fd_free(int fd);
/* All descriptors of what fd stands for go, and not because the program said so. */
void fd_lose(int fd);
void fd_lose_all(void);
/* What descriptors stand for: a socket, or a set if the lowest bit is set; 0 = free. FD_MAX places
 * while the stack runs, none before. */
#define FD_MAX	   (1 << 22)
#define FD_SET_TAG 1u
extern uintptr_t *fd_table;
int fd_csock_error(int fd) cold_path;
/* NULL, and *err says why: -EBADF, -ENOTSOCK, -ENXIO. */
static inline struct csock *fd_csock(int fd, int *err)
{
	if (likely(client.running && (unsigned)fd < FD_MAX)) {
		uintptr_t p = fd_table[fd];

		if (likely(p != 0 && (p & FD_SET_TAG) == 0))
			return (struct csock *)p;
	}
	*err = fd_csock_error(fd);
	return NULL;
}
struct epset *fd_epset(int fd, int *err);
/* The first in use at or after from; -1. */
int fd_next(int from);

/* ---- epitem.c, epoll.c ---- */
/* A socket or a set in a set. Linux knows it by open file and number, so one socket with two
 * descriptors (host.h) may be in a set twice. */
struct epitem {
	struct list ready; /* on the set's list, or alone */
	struct list of_set;
	struct epitem *next; /* of the same socket, or set */
	uint64_t data;
	uint32_t events; /* asked for; 0 after EPOLLONESHOT */
	uint32_t target; /* row of its socket; EPITEM_SET and the row of the set that it watches */
	uint32_t set;	 /* row of the set that it is in */
	int32_t fd;	 /* the target's descriptor that was named */
};
_Static_assert(sizeof(struct epitem) == 64, "one cache line");
#define EPITEM_SET 0x80000000u

struct epset {
	struct list ready; /* items that may be */
	struct list items;
	struct wlink *waiters;
	struct epitem *outer; /* it is in these sets */
	uint32_t serial;      /* changes when it is closed */
	uint32_t users;	      /* threads that wait for it: its row stays */
	int32_t fd;	      /* one of its descriptors; -1: closed, FREE: on the free list */
	union {
		bool kernel;	    /* the host's kernel has members of it, too */
		uint32_t next_free; /* FREE */
	};
};
_Static_assert(sizeof(struct epset) == 64, "one cache line");

void epitem_notify(struct epitem *first, uint32_t mask);
void epitem_free(struct epitem *i);
void epitem_forget(struct csock *s);
/* What a set may hold. */
struct eptarget {
	struct csock *s;
	struct epset *e; /* if s is NULL */
	int fd;
};
int epitem_ctl(struct epset *e, int op, const struct eptarget *t,
	       const struct epoll_event *ev) must_check;
uint32_t epitem_mask_set(const struct epitem *i) slow_path;
/* Its state of this moment, of what is asked for. */
static inline uint32_t epitem_mask(const struct epitem *i)
{
	if (unlikely(i->target & EPITEM_SET))
		return epitem_mask_set(i);
	return csock_mask(&client.sock[i->target]) & i->events;
}
/* NULL: there is no memory. */
struct epset *epset_alloc(void);
/* May be called in a set that is closed and that nobody waits for any more. */
void epset_free_if_unused(struct epset *e);
/* Is there anything to collect? */
bool epset_ready(struct epset *e);
int epset_new(int at) must_check;
/* Its descriptor is now this one. */
void epset_rename(struct epset *e, int fd);
void epset_close(struct epset *e);
/* In a child of fork: nobody waits on it here. */
void epset_alone(struct epset *e);

/* ---- errqueue.c ---- */
/* A send with MSG_ZEROCOPY is complete. */
void errqueue_sent(struct csock *s);
/* What stands in the error queue, into m (may be NULL): 0; -EAGAIN. */
int errqueue_recv(struct csock *s, struct msghdr *m) must_check;

/* ---- addr.c ---- */
struct endpoint {
	uint8_t addr[16];
	uint16_t port;
	uint32_t scope;
};
/* From the program; -EINVAL, -EAFNOSUPPORT. */
int endpoint_from(struct endpoint *e, int domain, const struct sockaddr *sa, socklen_t len);
/* To the program; sa or len NULL: nothing. */
void endpoint_to(const uint8_t addr[16], uint16_t port, uint32_t scope, int domain,
		 struct sockaddr *sa, socklen_t *len);

/* ---- send.c, recv.c: shared with zc.c ---- */
#define SENDMSG_FLAGS                                                                              \
	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_OOB | MSG_CONFIRM | MSG_ZEROCOPY)
/* May this socket be written to now? 0; -EAGAIN; or the error, which stays pending. */
int send_check(struct csock *s);
/* Are there n tokens, a block and n places in the ring? 0; or -EAGAIN: the socket is woken when
 * there may be. May run the stack and release the lock: so also what send_check() says, or -EBADF
 * when the descriptor was closed. */
int send_means(struct csock *s, uint32_t n) must_check;
/* Waits for room; 0: look again. */
int send_wait(struct csock *s, int flags, uint32_t tokens, int64_t deadline) must_check;
int64_t send_deadline(const struct csock *s);
ssize_t send_result(struct csock *s, ssize_t done, int r);
/* A UDP socket of several cores that has no address yet needs one before it sends. */
int send_autobind(struct csock *s);
int send_dgram_ready(struct csock *s, int flags, uint32_t pieces);
int send_dgram_to(struct csock *s, const struct sockaddr *addr, socklen_t addrlen,
		  struct endpoint *to);
/* Returns what belongs into the first word: the port. */
uint16_t send_dgram_fill(struct chan_sqe *q, const struct endpoint *to);
/* Waits until target bytes, or what can still come of them: 1 there is something; 0 the stream's
 * end; or the error, which is told by this. */
int recv_wait(struct csock *s, uint32_t target, size_t want, int flags,
	      int64_t deadline) must_check;
int recv_wait_dgram(struct csock *s, int flags) must_check;
int64_t recv_deadline(const struct csock *s);
/* n bytes at the head of a stream were read. */
void recv_consumed(struct csock *s, uint32_t n);
/* An urgent byte that stands at the head, out of line, is not part of what is read. */
void recv_skip_urgent(struct csock *s);
/* Copies n bytes that are there. */
void recv_into(struct csock *s, void *to, uint32_t n);
/* How many bytes can be read before the urgent mark. */
uint32_t recv_before_mark(const struct csock *s);

/* ---- group.c: one descriptor on several cores ---- */
int core_socket(struct core *c, int domain, int type, int protocol, struct csock **out);
int group_new(struct csock *s);
void group_close(struct csock *s);
int group_call(struct csock *s, const struct chan_sqe *cmd, struct chan_cqe *e);
int group_spread(struct csock *s);
/* Around both, and what binds or listens: one thread at a time. -EBADF: closed meanwhile. end takes
 * the group as it was at begin: it may have no socket any more. */
int group_begin(struct csock *s) must_check;
void group_end(struct group *g);

/* ---- sockopt.c ---- */
/* Remembers what was set. */
void option_keep(struct csock *s, const struct chan_sqe *cmd);

/* ---- cork.c: TCP_CORK and TCP_NODELAY, for which nobody waits ---- */
/* 0; 1: not its affair, the service is to be asked; -EBADF: closed meanwhile. */
int cork_set(struct csock *s, int level, int name, int value, socklen_t len);
/* The option's value; -1: the service knows it. */
int cork_get(const struct csock *s, int level, int name);
/* Before a send of a stream that is corked or delayed: what it makes of the flags. -EBADF: closed
 * meanwhile. */
int cork_send(struct csock *s, int *flags) must_check;
static inline int cork_before_send(struct csock *s, int *flags)
{
	return unlikely(s->flags & (CSOCK_CORKED | CSOCK_DELAYED)) ? cork_send(s, flags) : 0;
}
/* The service gets to know all, since others will hold the socket too. */
void cork_settle(struct csock *s);
void option_command(struct chan_sqe *cmd, const struct opt *o);

/* ---- socket.c ---- */
int socket_bind(struct csock *s, const struct endpoint *at);
/* at: as fd_open(). Takes the lock. */
int socket_new(int domain, int type, int protocol, int at) must_check;
/* Of which no descriptor is left. */
int socket_close(struct csock *s);
/* One of ours, known to be in use. */
int descriptor_close(int fd);

#endif
