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
 * data path is arrays, made when the stack starts and indexed by the channel's own names; nothing
 * is allocated later but sets and what is in them.
 *
 * A service that is gone (lost.c) takes its names with it: sids, loans, tokens. Sockets keep their
 * rows, without a sid; buffers that are still held move to rows that no service names, and the
 * epoch in their handles tells them from those of the next one.
 *
 * What comes from the stack is checked before it is used (H32): an event that makes no sense is
 * counted in bad_events and breaks the one socket it names, if any.
 */
#ifndef ZS_CLIENT_STATE_H
#define ZS_CLIENT_STATE_H

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

#include "base/backoff.h"
#include "base/choice.h"
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
	bool more : 1;	     /* datagram: the next row belongs to it */
	bool copy : 1;	     /* what it is of waits in the stack: it was only looked at */
	uint8_t region;	     /* own rows: 1 + the neighbour's region that it lies in (link.h) */
};

/* Beside a loan: where a datagram came from, and which service had lent it, if that is gone. */
struct dgram {
	uint8_t addr[16], laddr[16];
	uint16_t port;
	uint16_t epoch;
	uint32_t aux;	  /* CHAN_DGRAM_AUX */
	int64_t stamp_ns; /* when it came, CLOCK_REALTIME; 0: nobody wanted to know */
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
	uint32_t sid; /* at a link: the socket's row */
	uint32_t len;
	uint32_t what;	 /* by kind; TOKEN_FREE: next free one */
	uint32_t cookie; /* row, or NIL */
	uint8_t kind;
	uint8_t link;	 /* 0: at the service; else 1 + that of the neighbour's link */
	uint16_t serial; /* at a link: the socket's, as far as it fits */
	uint32_t stamp;	 /* 1 + the number of a datagram whose end is to be stamped; 0: not so */
};
_Static_assert(sizeof(struct token) == 24, "no hole");

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
	bool exclusive; /* of a shared socket: it takes what it is woken for */
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
	CSOCK_STAMPS = 1 << 22,	  /* UDP: stamps is not 0 */
	CSOCK_ZEROCOPY = 1 << 23, /* SO_ZEROCOPY */
	CSOCK_ERRQUEUE = 1 << 24, /* there is something in errq */
	CSOCK_LINKED = 1 << 25,	  /* has to do with a link (link.h) */
	CSOCK_LINK = 1 << 26,	  /* what it sends goes over one */
	CSOCK_OFFER = 1 << 27,	  /* it may go over to one when it is next used */
	CSOCK_CORKED = 1 << 28,	  /* TCP_CORK, of which the service does not know (cork.c) */
	CSOCK_NODELAY = 1 << 29,  /* TCP_NODELAY, as the service knows */
	CSOCK_HEARS = 1 << 29,	  /* UDP: is told of errors of what it sends (refused.c) */
	CSOCK_DELAYED = 1 << 30,  /* … which was taken back, as it does not know */
	/* SHARED, and the service knows that one of the holders will do. */
	CSOCK_EXCLUSIVE = 1u << 31,
	CSOCK_UNUSUAL = CSOCK_URG | CSOCK_GROUPED | CSOCK_COOKIES | CSOCK_LOWAT | CSOCK_SHARED |
			CSOCK_ERRQUEUE | CSOCK_OFFER | CSOCK_CORKED | CSOCK_DELAYED,
};

/* csock.stamps: which of SO_TIMESTAMP and its kin is on; the flags of SO_TIMESTAMPING. */
#define STAMPS_OPTION	  0xffu
#define STAMPS_FLAG_SHIFT 8
#define STAMPS_FLAGS	  (0x7ffffu << STAMPS_FLAG_SHIFT)
#define STAMPS_NEW	  (1u << 31) /* as SO_TIMESTAMPING_NEW */

#define SHUT_RD_BIT 1
#define SHUT_WR_BIT 2

struct epitem;
struct group;
struct buf_ref;
struct errq;

/* A row of client.sock: by core and sid_index, as long as the first service lives; later where
 * core->row says. The first line is all that a request and its response touch. */
struct csock {
	uint32_t sid;	     /* 0 = free, or the service that it was of is gone */
	uint32_t head, tail; /* receive queue: loan rows; LISTEN: rows of new sockets */
	uint32_t unread;     /* bytes; whole datagrams; records; LISTEN: sockets */
	uint8_t state;	     /* enum csock_state */
	uint8_t type;	     /* SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET (record.c) */
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
	union {
		uint32_t urg_ahead; /* bytes before the urgent one, from the next unread */
		uint32_t owned;	    /* with a lease: bytes at the head that are not of it */
		uint32_t stamps;    /* UDP: STAMPS_…, or 0 */
	};
	uint32_t rcvlowat;
	int32_t domain;	  /* AF_INET, AF_INET6 */
	int32_t linger_s; /* -1 = off */
	union {
		struct {		/* LISTEN */
			uint32_t taken; /* accepted since the service was told */
			uint32_t backlog;
		};
		struct errq *errq; /* others, the first of a group: NULL until it is needed */
	};
	uint32_t bound_scope;
	uint32_t child_sid; /* while forking: its name in the child, 0 = it gets none */
	int64_t rcvtimeo_ns, sndtimeo_ns; /* 0 = none */
	uint8_t peer[16], local[16];	  /* valid from CONNECTED on; local also when BOUND */
	uint16_t peer_port, local_port;
	uint32_t peer_scope;
	struct opts *opts; /* NULL: the service has set none that would be asked for again */
	uint64_t lease;	   /* 0: none; or as its word should be; or LEASE_… (shared.c) */
};
_Static_assert(offsetof(struct csock, group) == 64, "hot line");
_Static_assert(sizeof(struct csock) == 192, "three lines");

/* For sockets that join a descriptor on other cores, or at another service: SETOPT commands, the
 * newest value of each option and each membership. */
#define OPTS_MAX 64
struct opts {
	unsigned n;
	int voucher;  /* for the port that it has (vouch.c), -1: none */
	uint64_t key; /* 0, or which other processes that hold the socket know, too (remake.c) */
	struct opt {
		uint32_t len;
		int16_t level, name;
		uint8_t value[44]; /* of a SETOPT, or see membership.c */
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
	/* It brings a socket, which is opened before anything else that is said of it. */
	bool redeems;
	struct csock *s; /* that; NULL: none */
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
	struct csock *sock;  /* by sid_index, if row is NULL */
	uint32_t *row;	     /* of client.sock and 1, by sid_index; 0 = none */
	uint32_t *row_later; /* for when the service goes: there may be no memory then */
	uint32_t max_socks;
	uint8_t id;
	bool scratch_taken;
	bool arena_short; /* an allocation failed since the last block came back */
	struct loan *loan;
	struct dgram *dgram;
	uint32_t max_loans;
	uint32_t own_rows, gone_rows, link_rows; /* see struct loan */
	uint32_t link_free, link_fresh;		 /* rows of the last part */
	uint32_t link_opened;			 /* of them that may be used (table.h) */
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
	uint64_t blocks_opened; /* that may be used by the program (table.h) */
	uint32_t starved;	/* sockets that found neither token nor block, by row */
	uint32_t to_close;	/* sockets whose CLOSE found sq full */
	struct reply reply[REPLIES];
	uint32_t lent;	    /* loans that the program holds */
	uint32_t gone_used; /* rows of the last part of `loan` */
	uint32_t early; /* a sid that is worth asking and was not known yet; see csock_greet() */
	bool remade;	/* remake_result is here */
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
	int pidfd;    /* the service, -1: not to be had */
	struct fd_id sock_id, pidfd_id;
	int pid;
	uint32_t uid; /* as this program's user namespace has it */
	bool mapped;  /* MAPPED was said */
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
	const char *name; /* where it is looked for when the path leads nowhere, or NULL */
	uint32_t uid;	  /* who must be there, at the name */
	uint32_t max_sockets, max_loans, max_tokens; /* 0: as the service likes */
	uint64_t arena_bytes;
	uint32_t flags; /* ATTACH_NO_LINKS */
	int voucher;	/* to be believed instead of who we are; -1 */
};

/* The way to another service: see rejoin.c. */
enum rejoin_state { REJOIN_ATTACHED, REJOIN_ENDED, REJOIN_DIAL, REJOIN_TALK, REJOIN_RESUME };
struct rejoin {
	enum rejoin_state state;
	bool told;    /* why it can't be */
	bool refused; /* by the last one that answered: to wait a moment is of no use */
	bool first;   /* this process was at none yet (orphan.c) */
	int voucher;  /* of who attached first (vouch.c), -1 */
	int64_t looked_ns, next_ns, backoff_ns, lost_ns;
	struct attached to;
	struct chan_map map[EMBED_CORES_MAX];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]; /* "": none; attach_name() */
	uint32_t uid;						    /* of the first service */
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

/* What is slept on (sleep.c). */
struct sleep_set {
	int set;	/* an epoll set; -1: none yet */
	unsigned armed; /* times: now and then what lies in the bells is read */
	bool no_set;	/* the kernel is too old */
};

/* What is done when giving way finds nobody: true, it sleeps at once (spin.c). */
struct spin_alone {
	struct choice sleeps;
	uint32_t waits, found; /* of this stretch, and what they found */
	int64_t since_ns;      /* its begin; 0: none */
};

struct client {
	bool running;
	bool threaded; /* the stack has threads of its own */
	bool asleep;   /* the leader sleeps, in the kernel */
	bool stopping;
	bool frugal; /* from here on only read, write, futex and poll are called (host.h) */
	int one_fd;  /* … and one descriptor is slept on; -1 */
	struct sleep_set sleep;
	unsigned n_cores;
	unsigned next_core;    /* for the next TCP socket */
	unsigned dry;	       /* calls that found nothing since the stack ran */
	unsigned blind;	       /* sends since the channels were last looked at */
	unsigned waiting;      /* threads in client_wait() */
	int64_t spin_ns;       /* how long to look for work before sleeping */
	int64_t look_ns;       /* of that before the CPU is given away */
	bool yields;	       /* giving the CPU away meanwhile (spin.c) */
	struct backoff misses; /* waits that slept all the same; what is left out sleeps at once */
	struct spin_alone alone;
	bool kicked; /* the bell of core 0 was rung for the leader by one of us */
	struct waiter *leader;
	struct list followers;
	struct wlink *any; /* followers that wait for whatever happens */
	struct core core[EMBED_CORES_MAX];
	unsigned n_tables;  /* cores that have tables: also those that a service had that is gone */
	struct csock *sock; /* zones of zone_rows, one for each core there may be */
	unsigned n_zones;
	uint32_t zone_rows;
	uint32_t top[EMBED_CORES_MAX];	  /* rows of a zone that were ever used */
	uint32_t opened[EMBED_CORES_MAX]; /* that may be: at least these (table.h) */
	uint32_t free_sock;   /* rows that are free below top, when cores have a row table */
	uint16_t epoch;	      /* services that are gone */
	struct gone *gone;    /* of which something is held */
	bool lost;	      /* the service is gone, and none is there yet */
	bool remaking;	      /* one has come: sockets are made there */
	struct wlink *absent; /* threads that wait for a service */
	int kick_fd;	      /* for the leader that sleeps at a service; -1 */
	unsigned quiet;	      /* calls that found nothing */
	struct transport transport;
	bool no_links;	       /* none to neighbours */
	struct links *links;   /* to neighbours; NULL: none yet */
	unsigned busy;	       /* calls that found something */
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

#endif
