/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to src/sock: open file descriptions that several applications hold, as after fork
 * (DESIGN §3.11). Each holder has a struct sock of its own: its name, its tickets, its news. What
 * they have in common, the protocol's object, is the same pointer in all of them.
 *
 * While there is more than one holder nothing is pushed: who wants data or a connection asks for it
 * (CHAN_OP_READ, CHAN_OP_ACCEPT), so that readers take turns and nobody's memory holds what another
 * could read. Who asked in vain is told once that it is worth asking again (CHAN_EV_READABLE). When
 * all but one have gone the last one is told (CHAN_EV_SOLE), gets what is unread, and everything is
 * pushed again. A stream that one of several reads is pushed to that one, as long as nobody else
 * asks: sock_lease.c.
 */
#ifndef ZS_SOCK_SOCK_SHARE_H
#define ZS_SOCK_SOCK_SHARE_H

#include "sock/sock_priv.h"

/* A chain of buffers. */
struct pkt_queue {
	struct rte_mbuf *first, *last;
	uint64_t bytes;
};

/* Takes m, a chain. */
static inline void queue_add(struct pkt_queue *q, struct rte_mbuf *m)
{
	if (q->first == NULL)
		q->first = m;
	else
		q->last->next = m;
	for (; m != NULL; m = m->next) {
		q->last = m;
		q->bytes += m->data_len;
	}
}

static inline struct rte_mbuf *queue_all(struct pkt_queue *q)
{
	struct rte_mbuf *m = q->first;

	*q = (struct pkt_queue){.first = NULL};
	return m;
}

struct sock_desc {
	uint32_t n;   /* see share_is_sole() */
	uint64_t id;  /* for people */
	uint64_t key; /* by which others find it (sock_join.c); 0: they don't */
	bool told;
	uint32_t turn;	      /* whose it is to be woken, modulo n: see tell_one() */
	struct sock **holder; /* the first is the one that the protocols know */
	struct list parked;   /* listener: connections given back, by sock.lingering */
	/* TCP: taken from the connection and unread; its charge is not given back. */
	struct pkt_queue pending;
	uint64_t from_arena; /* bytes of UNREAD that came so, ever */
	/* What came over a link and stands in a gap of the connection's stream. */
	enum { GAP_NONE, GAP_TO_COME, GAP_AT } gap;
	uint64_t gap_at; /* GAP_AT: position */
	struct pkt_queue behind;
	struct pkt_queue rest;	   /* from the connection, behind the gap or what is pending */
	struct sock *owes;	   /* KEEP: still gives back what it has not read; NULL: nobody */
	struct sock_lease *lease;  /* NULL: nobody has one */
	const struct sock *reader; /* who has read last, `turns` times in a row; perhaps gone */
	uint16_t turns, turns_due; /* so many bring a lease */
};

/* Is there one holder, and will there be no other? He is still to be told. */
static inline bool share_is_sole(const struct sock_desc *sh)
{
	return sh->n == 1 && sh->key == 0;
}

/* Is nothing pushed, but asked for? */
static inline bool sock_is_shared(const struct sock *k)
{
	return unlikely(k->share != NULL) && !share_is_sole(k->share);
}

/* A description for a socket that is to get other holders. 0, -ENOMEM. */
int share_begin(struct sock *k) must_check;
/* Another holder, of application b. 0, -ENFILE, -ENOMEM, -ETOOMANYREFS. */
int share_with(struct sock *k, struct sock_app *b, struct sock **out) must_check;
/* A holder goes. True: others stay, and the protocol's object with them. */
bool share_leave(struct sock *k);
/* The holder that owed has given back all that it had not read: others may read. */
void share_owes_no_more(struct sock *k);
/* k has, or may get, another holder: nothing is pushed to it from here on. */
void share_ask(struct sock *k);
/* The last one: what became of the rest. */
void share_free(struct sock *k);
/* Something may be read or accepted. k: any holder. */
void share_readable(struct sock *k);
void share_tcp_event(struct sock *k, uint32_t events);
/* Tells the last holder that it is alone, and what was left. True: done, or not the case. */
bool share_tell_sole(struct sock *k);
/* After a command: what all holders know alike. */
void share_sync(struct sock *k);
/* Is it worth asking? */
bool share_has_more(struct sock *k);

/* ---- sock_join.c ---- */
/* k is about to be bound: it can be joined. 0 is no key. 0, -EEXIST: another is there, -ENOMEM. */
int join_offer(struct sock *k, uint16_t port, uint64_t key) must_check;
int cmd_join(struct sock_cmd *c);
int cmd_offer(struct sock_cmd *c);

/* ---- sock_keep.c: connections on their way to another program ---- */
int cmd_keep(struct sock_cmd *c);
int cmd_kept(struct sock_cmd *c);
int cmd_redeem(struct sock_cmd *c);

int cmd_share(struct sock_cmd *c);
int cmd_unread(struct sock_cmd *c);
int cmd_read(struct sock_cmd *c);
int cmd_accept(struct sock_cmd *c);
int cmd_exclusive(struct sock_cmd *c);

/* ---- sock_pending.c ---- */
/* How many of so many bytes can be read, after a look into the connection; -EAGAIN: there are
 * some, and no buffer to get at them. */
int64_t pending_gather(struct sock *k, uint32_t want);
/* The first n bytes were read: what was read to its end goes, and the window opens. */
void pending_consume(struct sock *k, uint32_t n);
/* Is anything, or may something be, that did not come from the connection? */
bool pending_any(const struct sock_desc *sh);
/* To the last holder. True: all of it is told. */
bool pending_tell(struct sock *k, bool *wait);
/* m, one buffer of the connection's, keeps so many bytes; what is behind them comes in buffers of
 * the stack's own, which its window is charged for as well. NULL: no memory, m is as it was. */
struct rte_mbuf *stream_cut(struct sock *k, struct rte_mbuf *m, uint32_t keep);
/* Tells what is queued while there is room. True: all of it. *last: the last event, if any. */
bool queue_tell(struct sock *k, struct pkt_queue *q, struct chan_cqe **last);
/* Bytes in buffers as the connection's, and that they are charged to it; NULL: not now. */
struct rte_mbuf *stream_copy(struct sock_app *a, const uint8_t *from, uint32_t len);
void stream_charge(struct sock *k, const struct rte_mbuf *m);
/* The gap stands here, if one was to come. */
void pending_gap(struct sock *k, uint64_t at);
void pending_free(struct sock_desc *sh);

/* sock_kept.c: there is something new of a socket of the keeper's, which is watched. */
void kept_news(struct sock *k);

/* ---- sock_lease.c: a shared stream that one of its holders reads ---- */
/* k asks, of a stream that nobody has a lease of: is it to have one? Counts. */
bool lease_due(struct sock *k);
/* Then: true, k has been told that it has, and lease_tell() is next. */
bool lease_begin(struct sock *k);
/* Of k, which has one: lends what the stream has. True: it has no more. */
bool lease_tell(struct sock *k);
/* NULL: nobody has one. */
struct sock *lease_holder(const struct sock_desc *sh);
/* Bytes that were lent and not taken. */
uint64_t lease_unread(const struct sock_desc *sh);
/* There is one, and others are to read: 0, what was not taken is pending; its holder is to be told,
 * by sock_news(). SOCK_STALL: no memory now. */
int lease_end(struct sock_desc *sh);
/* The same of one whose holder goes, or has said that it left. */
void lease_leave(struct sock_desc *sh);
/* As the connection is, or the description. */
void lease_free(struct sock_desc *sh);
/* Tells k that its lease is over, if it is. False: no room. */
bool lease_tell_end(struct sock *k);

/* ---- sock_park.c ---- */
/* From here on it is told nothing. */
void park(struct sock *k);
/* A parked connection is closed: true when it waits for whoever accepts next. */
bool park_return(struct sock *k);
/* The next of those that were given back is announced; the caller made sure of a slot and of an
 * event. False: there is none. */
bool park_accept(struct sock *l);
/* How many there are. */
uint32_t parked_count(const struct sock *l);
/* Those of a holder of l that leaves are another's. */
void park_move(struct sock *l, struct sock_app *heir);
void park_drop(struct sock_desc *sh);
int cmd_unaccept(struct sock_cmd *c);

/* sock_event.c: lends what the connection has. True: it has no more. *last: the last event. */
bool sock_tell_data(struct sock *k, struct chan_cqe **last);
/* sock_event.c: the connection of k, whose payload nobody can see, is reset. True. */
bool sock_unreachable(struct sock *k);
/* sock_event.c: lends a chain, one event for each buffer; NULL: it lies where nobody sees it. */
struct chan_cqe *sock_announce(struct sock *k, struct rte_mbuf *m);
/* sock_udp_in.c: lends the next datagram that waits, or a copy of it. 1, -EAGAIN, SOCK_STALL: no
 * room. */
int udp_sock_read(struct sock *k, bool looks);
/* sock_tcp.c: k is a new connection of l's. */
void tcp_sock_announce(struct sock *l, struct sock *k);
/* sock_tcp.c: announces a connection from the queue; the caller made sure of a slot and of an
 * event. False: there is none. */
bool tcp_sock_accept(struct sock *l);

#endif
