/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node streams (docs/design/013): what a program remembers of its links to others. A stream
 * over a link is a csock like any other; what came stands in its receive queue, in rows of its core
 * that are for links, and what it sends has a token of its core. So everything above (recv.c, zc.c,
 * epoll.c) is as it was; below, the link takes the place of the channel:
 *
 *   link.c         the links: memory, coming and going, sleeping on them
 *   link_in.c      what comes: entries, returns
 *   link_out.c     what goes
 *   link_row.c     received buffers; regions that they lie in
 *   link_stream.c  a stream goes over to a link, and back
 *   link_keep.c    streams go on without a service
 *
 * Guarded by the client's lock. client.links is NULL until the service offers the first link.
 */
#ifndef ZS_CLIENT_LINK_H
#define ZS_CLIENT_LINK_H

#include "chan/attach.h"
#include "chan/link.h"
#include "client/client_priv.h"

struct iov_it;

#define REGIONS_MAX    192u
#define REGION_NOBODY  255u	    /* in the row, or of the domain's packets */
#define REGION_LOST    254u	    /* of a service that is gone: nobody can say where */
#define LINK_LIMIT     (512u << 10) /* bytes of a stream on their way: what fits a cache */
#define LINK_RET_BATCH 16u
#define LINK_RET_BYTES (64u << 10)

/* Beside a row of core->loan. */
struct link_row {
	uint32_t token; /* to give it back */
	uint16_t gen;	/* of its handle */
	uint8_t link;
	uint8_t region;
};

/* Memory of another program. */
struct link_map {
	uint32_t id;  /* as the service of now calls it; 0: it has no name for it */
	uint32_t was; /* as the last one did */
	uint32_t rows;
	uint32_t links;	   /* whose other side it belongs to */
	struct mapping at; /* NULL = free */
};

enum link_state {
	LINK_FREE,
	LINK_UP,
	LINK_ENDED, /* carries nothing any more; buffers are still to be given back */
};

struct plink {
	struct link_end end;
	struct mapping memory;
	uint32_t id;			/* the service's; 0: of one that is gone */
	uint32_t app;			/* at the other side */
	uint32_t own_app;		/* at this side, as it was when the link was made */
	uint8_t arena[EMBED_CORES_MAX]; /* the other's, by core: n_arenas indices of links.region */
	uint8_t n_arenas;
	uint8_t state;
	uint8_t last_region;
	bool deaf;  /* the other side gives nothing back any more: it is gone */
	bool reads; /* its memory is being read: it is released afterwards */
	/* link_keep.c: */
	bool kept;	      /* the service that made it is gone */
	uint16_t epoch;	      /* of that service */
	uint32_t was;	      /* its id there */
	bool far_kept;	      /* so the other side says, too */
	bool say_lost;	      /* and we have still to */
	bool due;	      /* something is to be said of a stream */
	bool late;	      /* a row lies in `packets` */
	struct gone *packets; /* which the other side may still name; NULL */
	int bell_fd, pid_fd;
	uint32_t out;	   /* tokens in flight */
	uint32_t out_lent; /* of them for what another lent us, who waits for it, perhaps */
	uint32_t in;	   /* entries that we have not given back */
	uint32_t idle;	   /* turns that found nothing, while something is to be given back */
	uint32_t streams;  /* row of the first, NIL */
	unsigned n_ret;	   /* to be given back, soon */
	uint32_t ret_bytes;
	uint32_t ret[LINK_RET_BATCH];
};

enum rx_state {
	RX_TCP,
	RX_READY, /* what comes over the link waits for the mark in the stream */
	RX_LINK,
};
enum tx_state {
	TX_TCP,
	TX_READY, /* the other end is */
	TX_LINK,
	TX_BACK, /* nothing is sent before the service is told so (LINK_SWITCH) */
};

/* By row of client.sock. A socket is in the list of the link as long as CSOCK_LINKED. */
struct lsock {
	uint32_t next, prev;
	uint32_t gen;				   /* of our name for the stream */
	uint32_t to_row, to_gen;		   /* the other end's name for it */
	uint32_t wait_head, wait_tail, wait_bytes; /* RX_READY */
	uint32_t limit;				   /* of TCP, meanwhile */
	uint32_t tx_cut, rx_cut;		   /* the other end's, and ours, at LINK_TAKE */
	uint8_t link;				   /* index */
	uint8_t rx, tx;
	bool offered;	     /* to be taken when the program uses the socket */
	bool leaving;	     /* for another process to hold it, too: not to be taken */
	bool kept;	     /* it goes on without a service */
	uint8_t due;	     /* DUE_…: to be said when there is room */
	uint32_t next_offer; /* a link's, for when it has left this one; 0 */
	uint32_t places; /* of the link that it has, if it is still the socket of this serial */
	uint32_t serial;
	uint32_t bye; /* closed while it was all on that link, of this name: the service tells */
};

/* What the other end is to be told of a stream that is kept, in this order; and at last the
 * service, that it is a connection again and goes by TCP. */
enum { DUE_ASK = 1 << 0, DUE_FIN = 1 << 1, DUE_RST = 1 << 2, DUE_BACK = 1 << 3 };

struct links {
	struct plink link[LINKS_MAX];
	unsigned n;	/* places ever used */
	int epoll;	/* to sleep on */
	unsigned armed; /* times that bells were */
	bool rung;	/* since links_look() */
	bool again;	/* a socket of records found no place for what it has to say */
	uint32_t packet_rows;
	struct link_map region[REGIONS_MAX];
	struct lsock *sock;
	uint64_t n_socks;
};

static inline struct lsock *lsock_of(const struct csock *s)
{
	return &client.links->sock[csock_row(s)];
}

static inline struct plink *link_of(const struct csock *s)
{
	return &client.links->link[lsock_of(s)->link];
}

/* ---- link.c ---- */
/* The other side does what it may not: no more of it. */
void link_break(struct plink *l) cold_path;
/* It ends: what came is taken, its streams go on by TCP. gone: so is the other program. */
void link_end(struct plink *l, bool gone);
/* If nothing holds it any more. */
void link_release(struct plink *l);
static inline void link_ring(struct plink *l)
{
	/* As bell_ring(), but without a signal if nobody is there. */
	if (unlikely(atomic_exchange_explicit(&l->end.other->armed, 0, memory_order_acq_rel) != 0))
		(void)!send(l->bell_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* As bell_ring_trifle(). */
static inline void link_ring_trifle(struct plink *l)
{
	uint32_t how = atomic_fetch_add_explicit(&l->end.other->armed, 0, memory_order_acq_rel);

	if (unlikely(how != 0 && how != BELL_ARMED_NO_TRIFLES))
		link_ring(l);
}

/* ---- link_keep.c ---- */
/* What an entry without payload says. False: nonsense. s: its stream, NULL: there is none. */
bool kept_told(struct plink *l, struct csock *s, uint32_t flags) cold_path must_check;
/* What is to be done of a link that is kept, now and then. */
void kept_turn(struct plink *l) cold_path;
/* Its stream has no link any more. */
void kept_orphan(struct csock *s) cold_path;
/* The other end is told that it is over, if it does not know, and so is the program. */
void kept_break(struct csock *s, int err) cold_path;
/* Nothing that a service which is gone lent is named by the other side any more. */
void kept_packets_put(struct plink *l);

/* ---- link_in.c ---- */
unsigned link_drain(struct plink *l);
/* Shows what was put by. */
void link_flush(struct plink *l);
void link_put_back(struct plink *l, uint32_t word, uint32_t bytes);
/* Everything that the other side wrote before now. */
void link_settle(struct plink *l);
/* The same, and from now on it writes nothing for streams that were taken before. */
void link_cut_off(struct plink *l);
/* What it will not give back. */
void link_tokens_home(struct plink *l);

/* ---- link_row.c ---- */
/* Where payload lies; NULL: nowhere. *region for the row; REGION_LOST: that was in order once. */
const uint8_t *region_at(struct plink *l, uint32_t id, uint32_t off, uint32_t len, uint8_t *region);
/* A new one for a link's other side. Its index or -errno. */
int region_add(uint32_t id, int fd, uint64_t bytes, uint32_t links) must_check;
/* Those of this application that nothing holds. */
void regions_sweep(void);
/* The other side's are a link's no more. */
void regions_unlink(struct plink *l);
/* The names go with the service. */
void regions_lose(void);
void regions_fini(void);
/* NIL: there is none. */
uint32_t link_row_new(struct core *c);
uint8_t *link_row_data(const struct core *c, uint32_t row);
struct link_row *link_row(const struct core *c, uint32_t row);

/* ---- link_out.c ---- */
/* An entry of no payload: of a stream, or of none (NULL). False: no room at the moment. */
bool link_say(struct plink *l, struct csock *s, uint32_t flags) must_check;

/* ---- link_stream.c ---- */
/* It stands in the list of a link, which is in its lsock. */
void stream_enter(struct csock *s, struct plink *l);
void stream_leave(struct csock *s);
/* What it sends goes by TCP again, when link_use() has said so. */
void stream_tx_back(struct csock *s) cold_path;
/* The service knows it again: from here on it goes by that. False: no room at the moment. */
bool stream_back(struct csock *s) must_check;
/* The link ends under it. */
void stream_orphan(struct csock *s);
/* The same, and so does the stream. */
void stream_break(struct csock *s, int err);
/* The link was cut: those of records take it again. */
void records_cut(struct plink *l);
/* Sockets of records say what they could not. */
void records_again(void);

#endif
