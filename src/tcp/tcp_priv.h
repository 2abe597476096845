/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The engine's private header: what a connection is, what the engine is, and which file does what.
 *
 *	engine.c   creation, counters, walking over connections
 *	conn.c     life of a connection: made, found, told of, ended, freed
 *	seg.c      segments: received bytes to struct tcp_seg, struct tcp_out to bytes, replies
 *	input.c    RFC 9293 §3.10.7: "segment arrives", as short named steps
 *	merge.c    several segments of a burst as one
 *	open.c     active and simultaneous open, what the handshake agreed on
 *	listen.c   passive open: listeners, SYN cache, cookies
 *	ack.c      what an acknowledgement means: RTT, loss, congestion, undo
 *	recv.c     data, urgent data and FIN from the peer; the window offered to it
 *	send.c     what the application wants sent
 *	turn.c     what one connection sends now; turn_fast.c: what that nearly always is
 *	output.c   the transaction tcp_output, tcp_output_done
 *	timer.c    which timer follows what; what happens when one expires
 *	close.c    close, abort, TIME-WAIT
 *	icmp.c     errors from the network
 *	info.c     options and information
 *	check.c    invariants
 *
 * Positions are 64-bit (base/seq.h): the SYN of either stream is at seq_start(ISN), the first byte
 * of data behind it. The wire's number is the position cut to 32 bits.
 */
#ifndef ZS_TCP_TCP_PRIV_H
#define ZS_TCP_TCP_PRIV_H

#include <errno.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/seq.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "tcp/cc.h"
#include "tcp/cookie.h"
#include "tcp/demux.h"
#include "tcp/mem.h"
#include "tcp/rack.h"
#include "tcp/rcvq.h"
#include "tcp/rtt.h"
#include "tcp/sent.h"
#include "tcp/sndq.h"
#include "tcp/syncache.h"
#include "tcp/tcp.h"

#define TCP_PROTO 6
/* Least payload of a full segment that a peer can bring us down to (H07), options included. */
#define TCP_MSS_MIN 64
/* RFC 9293 MUST-15, RFC 9293 §3.7.1: without an MSS option. */
#define TCP_MSS_V4 536
#define TCP_MSS_V6 1220
#define TCP_TS_LEN 12 /* NOP, NOP, timestamps (RFC 7323 appendix A) */
/* Most records in flight; with tiny segments few, so that SACK storms stay cheap (H07). */
#define TCP_SENT_MAX	  (1u << 20)
#define TCP_SENT_MAX_TINY 4096u
#define TCP_REPLIES	  1024u /* replies without a connection that wait to be sent */
#define TCP_QUICKACKS	  16
#define TCP_LISTEN_HEADS  256u
/* RFC 7323 §5.5: a timestamp older than this says nothing. */
#define TCP_TS_VALID ((uint32_t)(24ull * 86400 * 1000000000 >> 30)) /* of tcp_age_clock */

enum tcp_rtx_kind {
	TCP_RTX_NONE,
	TCP_RTX_RTO,	 /* RFC 6298 */
	TCP_RTX_TLP,	 /* RFC 8985 §7 */
	TCP_RTX_REORDER, /* RFC 8985 §6.2 step 5 */
	TCP_RTX_PERSIST, /* RFC 9293 §3.8.6.1 */
	TCP_RTX_PUSH,	 /* a segment held back by cork or by the sender's silly window avoidance */
};

/* What a connection needs from its first loss on: most never do. Without memory for it losses are
 * found by time-out alone. */
struct tcp_repair {
	struct tcp_rack rack;
	uint64_t prr_cwnd; /* RFC 6937: how much may be in flight in recovery */
	uint64_t prr_delivered, prr_out, prr_flight;
	uint64_t undo_una; /* una when the episode began */
	uint32_t undo_ts;  /* our clock then: older echoes tell that it was needless */
	uint32_t undo_rtx; /* retransmissions of it that no D-SACK has reported */
};
_Static_assert(sizeof(struct tcp_repair) <= 128, "two cache lines of tcp_mem");

/* A connection. DEVIATION(docs/design/002): 896 bytes, not 576: all that it needs as long as
 * nothing is lost, so that no segment of a dialogue asks for memory. Owned by its engine's slab,
 * touched by its core. It lives from the first SYN sent, or the third segment of a passive open,
 * until it is CLOSED and the user's reference is gone. */
struct tcp_conn {
	/* ---- line 0: which one, what state: read for each segment, also by the look-up ---- */
	struct tcp_key key;
	uint32_t hash; /* of the key */
	uint8_t state; /* enum tcp_state */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t quickacks; /* segments still acknowledged at once */
	bool ts : 1;	   /* agreed on: timestamps, selective acknowledgements, scaled windows */
	bool sack : 1;
	bool wscale : 1;
	bool fin_queued : 1; /* our stream ends at sndq.end_off */
	bool fin_rcvd : 1;   /* the peer's FIN was in order: rcv_nxt counts it */
	bool orphan : 1;     /* the user gave its reference up */
	bool rcv_shut : 1;   /* the user wants no more data */
	bool ack_now : 1;    /* an acknowledgement goes out with the next output */
	bool probe_due : 1;  /* a probe for a zero window or a silent peer */
	bool tlp_due : 1;    /* a tail loss probe */
	bool push : 1;	     /* the timer says: send what was held back */
	bool more : 1;	     /* MSG_MORE: the application goes on at once */
	bool urg_rcvd : 1;   /* rcv_up is valid */
	bool snd_urg : 1;    /* snd_up is valid */
	bool syn_rtx : 1;    /* the SYN was lost: initial window of one segment */
	bool eifel : 1;	     /* undo_ts is valid: RFC 3522 waits for the first ACK */
	bool undo : 1;	     /* undo_rtx counts: D-SACKs may prove the episode wrong */
	bool nodelay : 1, cork : 1, keepalive : 1, quickack : 1, oob_inline : 1;
	bool snd_auto : 1, rcv_auto : 1; /* the buffers' sizes are ours to choose */
	bool cwnd_used : 1;		 /* the last turn was ended by the congestion window */
	bool passive : 1;		 /* made by a listener */
	bool unaccepted : 1;		 /* has a listener: waits for accept, or will */
	uint16_t events;		 /* TCP_EV_… that were not reported */
	uint16_t mss;			 /* payload of a full segment, timestamps taken off */
	uint16_t rcv_mss;   /* largest payload seen: what a full segment of the peer is */
	uint16_t rcv_ratio; /* payload of a byte of charge, /256 */
	uint16_t advmss;

	/* ---- line 1: lists, and what was told to the peer ---- */
	struct list out_link;	/* wants to send */
	struct list ev_link;	/* has events; or waits for accept; or TIME-WAIT without a user */
	uint64_t rcv_adv;	/* right edge of the window that was offered; never moves left */
	uint64_t last_ack_sent; /* RFC 7323 Last.ACK.sent */
	uint32_t ts_recent;
	uint32_t ts_recent_at; /* when ts_recent was set: tcp_age_clock */
	uint32_t lent;	       /* charge of what the user read and has not given back */
	uint32_t rcvbuf;

	/* ---- lines 2, 3: receiving ---- */
	struct tcp_rcvq rcvq;
	uint64_t last_rcv_ns; /* of any segment */
	/* the buffer's growth (dynamic right-sizing) */
	uint64_t drs_start_ns, drs_wnd_end, drs_wnd_ns;
	uint32_t drs_bytes;
	uint32_t last_data_rcv_ms;

	/* ---- lines 4 to 7: sending ---- */
	struct tcp_sndq sndq;
	struct tcp_sent sent; /* una, nxt and what is between */
	uint32_t snd_wnd, snd_wnd_max;
	uint64_t snd_wl1, snd_wl2; /* RFC 9293 §3.3.1 */
	uint64_t snd_sml; /* end of the last segment that was not full (Minshall's Nagle) */
	uint64_t last_snd_ns;
	uint32_t stuck_ms; /* since when the peer says nothing new (R2) */
	uint32_t sndbuf;
	uint32_t last_ack_ms;
	uint32_t user_timeout_ms;

	/* ---- line 8: both ways ---- */
	struct tcp_link link;
	uint32_t iss;
	uint32_t ts_off; /* our clock of timestamps: milliseconds + this */
	uint8_t tos, ttl;
	uint8_t rtx_kind; /* enum tcp_rtx_kind */
	uint8_t retries;  /* time-outs in a row */
	uint32_t segs_in, segs_out, data_segs_in, data_segs_out;
	uint8_t probes; /* sent without an answer: zero window, keepalive */
	uint8_t challenges, keepcnt;
	struct tcp_repair *repair; /* NULL as long as nothing was ever lost or reordered */
	uint64_t recover;	   /* RFC 6582: nxt when the episode began */

	/* ---- lines 9, 10: congestion; the second one only when cwnd grows ---- */
	struct tcp_tlp tlp;
	struct tcp_cc cc;

	/* ---- line 11: the round trip ---- */
	struct tcp_rtt rtt;
	uint32_t irs;
	uint32_t challenge_ms;	/* RFC 5961 §7, for this connection alone (H12) */
	uint16_t peer_mss, mtu; /* mtu: of the path, at most the link's */

	/* ---- line 12: time, and whose it is ---- */
	struct wheel_node timer; /* the earliest of the three below */
	uint64_t rtx_at_ns, delack_at_ns, life_at_ns;
	uint64_t user;

	/* ---- line 13: seldom ---- */
	struct tcp_listener *listener; /* while it waits for accept */
	uint64_t snd_up, rcv_up;       /* behind the urgent byte */
	uint64_t bytes_retrans;
	uint32_t total_retrans, dsack_dups;
	uint32_t drs_space, rcv_rtt_us;
	uint32_t max_pacing_rate;
	int16_t err, soft_err;
	uint16_t mss_max, keepidle_s, keepintvl_s, linger2_s;
};
#define TCP_LINE(field, n)                                                                         \
	_Static_assert(offsetof(struct tcp_conn, field) == (n)*64, "a line of memory begins here")
TCP_LINE(out_link, 1);
TCP_LINE(rcvq, 2);
TCP_LINE(sndq, 4);
TCP_LINE(sent, 5);
TCP_LINE(link, 8);
TCP_LINE(tlp, 9);
TCP_LINE(cc.state, 10);
TCP_LINE(rtt, 11);
TCP_LINE(timer, 12);
TCP_LINE(listener, 13);
_Static_assert(sizeof(struct tcp_conn) == 14 * 64, "896 bytes a connection");

struct tcp_listener {
	struct list link; /* of its head */
	struct list accept;
	struct list news; /* of t->accept_news */
	struct tcp_listen l;
	struct tcp_opt opt;
	uint32_t queued;
};

/* A segment that belongs to no connection, until tcp_output makes it. */
struct tcp_reply {
	struct tcp_key key;
	uint32_t seq, ack, path;
	uint16_t wnd;
	uint8_t flags, tos, ttl;
	struct tcp_opts_out opts;
};

struct tcp {
	uint64_t now_ns;
	uint32_t now_ms;
	uint64_t hash_key;
	struct slab conns;
	struct demux demux;
	struct wheel wheel;
	struct list out;       /* connections that want to send */
	uint32_t n_out;	       /* … how many */
	struct list events;    /* … that have events */
	struct list time_wait; /* … without a user, oldest first */
	struct list accept_news;
	struct list listen[TCP_LISTEN_HEADS];
	struct syncache syncache;
	uint64_t cookies_until_ns;	      /* cookies were sent not long ago */
	uint64_t rcv_mem;		      /* charge of received data, lent included */
	uint64_t rcv_mem_tight, rcv_mem_gone; /* what that means for windows: recv.c */
	struct tcp_mem mem;
	struct tcp_rcvq_env rcvq_env;
	uint32_t reply_head, reply_count;
	struct tcp_reply *replies;
	struct tcp_link link4, link6;
	uint8_t rcv_wscale; /* offered in every handshake */
	const struct tcp_cc_ops *cc;
	void *arena;
	size_t arena_size;
	struct tcp_cfg cfg;
	struct tcp_counters n;
	unsigned n_strangers; /* for tcp_strangers() */
	struct pkt *stranger[PKT_BURST];
};

/* ---- small questions ------------------------------------------------------------------------- */

static inline uint64_t tcp_rcv_nxt(const struct tcp_conn *c)
{
	return c->rcvq.rcv_nxt + c->fin_rcvd;
}

static inline uint64_t tcp_iss(const struct tcp_conn *c)
{
	return seq_start(c->iss);
}

static inline bool tcp_fin_sent(const struct tcp_conn *c)
{
	return c->fin_queued && c->sent.nxt > c->sndq.end_off;
}

static inline bool tcp_fin_acked(const struct tcp_conn *c)
{
	return c->fin_queued && c->sent.una > c->sndq.end_off;
}

static inline bool tcp_is_v6(const struct tcp_conn *c)
{
	return !ip_addr_is_v4(&c->key.raddr);
}

/* The handshake is done and the connection not over. */
static inline bool tcp_synchronized(const struct tcp_conn *c)
{
	return c->state >= TCP_ESTABLISHED && c->state != TCP_TIME_WAIT;
}

/* May it still send data or FIN for the first time? */
static inline bool tcp_may_send(const struct tcp_conn *c)
{
	return c->state >= TCP_ESTABLISHED && c->state != TCP_FIN_WAIT_2 &&
	       c->state != TCP_TIME_WAIT;
}

static inline bool tcp_may_receive(const struct tcp_conn *c)
{
	return c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 ||
	       c->state == TCP_FIN_WAIT_2;
}

static inline uint32_t tcp_ts_now(const struct tcp *t, const struct tcp_conn *c)
{
	return t->now_ms + c->ts_off;
}

/* Counts about seconds, for ages of weeks. */
static inline uint32_t tcp_age_clock(const struct tcp *t)
{
	return (uint32_t)(t->now_ns >> 30);
}

static inline uint32_t tcp_ip_hdr(bool v6)
{
	return v6 ? 40 : 20;
}

/* Counts stop where they no longer matter. */
#define TCP_SATURATE(field, max)                                                                   \
	do {                                                                                       \
		if ((field) < (max))                                                               \
			(field)++;                                                                 \
	} while (0)

/* ---- conn.c ---------------------------------------------------------------------------------- */

/* Of a flow, from its parts: the receive path builds no key. */
static inline uint32_t tcp_flow_hash(const struct tcp *t, const struct ip_addr *laddr,
				     const struct ip_addr *raddr, uint16_t lport, uint16_t rport)
{
	uint64_t mask = t->hash_key * HASH_C1 ^ HASH_C2;
	uint64_t h = t->hash_key;

	h = hash_mix(laddr->q[0] ^ mask, laddr->q[1] ^ h);
	h = hash_mix(raddr->q[0] ^ mask, raddr->q[1] ^ h);
	h = hash_mix(((uint64_t)lport << 16 | rport) ^ mask, h ^ HASH_C1);
	return (uint32_t)(h >> 16);
}

static inline uint32_t tcp_key_hash(const struct tcp *t, const struct tcp_key *k)
{
	return tcp_flow_hash(t, &k->laddr, &k->raddr, k->lport, k->rport);
}

/* The connection of a key, or NULL. */
struct tcp_conn *tcp_find(const struct tcp *t, const struct tcp_key *k, uint32_t hash);
/* A connection in CLOSED, known to the demultiplexer. NULL at the limit. */
struct tcp_conn *tcp_conn_new(struct tcp *t, const struct tcp_key *k, const struct tcp_link *link,
			      const struct tcp_opt *opt);
static inline void tcp_event(struct tcp *t, struct tcp_conn *c, unsigned events)
{
	if (unlikely(c->orphan))
		return;
	c->events |= (uint16_t)events;
	/* What waits for accept is told of when it was accepted. */
	if (!list_linked(&c->ev_link) && !c->unaccepted)
		list_add_tail(&t->events, &c->ev_link);
}
static inline void tcp_want_output(struct tcp *t, struct tcp_conn *c)
{
	if (list_linked(&c->out_link))
		return;
	list_add_tail(&t->out, &c->out_link);
	t->n_out++;
}
void tcp_set_state(struct tcp *t, struct tcp_conn *c, enum tcp_state s);
/* Over: err is a negative errno or 0. Without a user it is freed: c is gone then. */
void tcp_conn_end(struct tcp *t, struct tcp_conn *c, int err);
/* Forgets what was to be sent and what is known about it. */
void tcp_release_send(struct tcp *t, struct tcp_conn *c);
void tcp_release_recv(struct tcp *t, struct tcp_conn *c);
/* Gives the memory back; the connection is on no list that is not its own afterwards. */
void tcp_conn_free(struct tcp *t, struct tcp_conn *c);
/* Payload of a full segment, from the path's MTU, the peer's MSS and our options. */
void tcp_mss_update(struct tcp *t, struct tcp_conn *c);
uint16_t tcp_advmss(const struct tcp_link *link, bool v6, uint16_t mss_max);
const struct tcp_link *tcp_link_default(const struct tcp *t, const struct ip_addr *raddr);

/* Is c the connection of a received segment? */
static inline bool tcp_key_matches(const struct tcp_conn *c, const struct pkt *p)
{
	return c->key.lport == p->dport && c->key.rport == p->sport &&
	       ip_addr_eq(&c->key.raddr, &p->src) && ip_addr_eq(&c->key.laddr, &p->dst);
}

/* ---- seg.c ----------------------------------------------------------------------------------- */

/* Header of a segment to be made. */
struct tcp_out {
	const struct tcp_key *key;
	uint32_t seq, ack, path;
	uint16_t wnd, urg;
	uint8_t flags, tos, ttl;
	const struct tcp_opts_out *opts; /* NULL: none but the timestamps below */
	uint32_t ts_val, ts_ecr;
	bool ts;
};
/* Fills m, a header buffer, and tx->p, without payload and checksum. False: m is NULL. */
bool tcp_seg_start(struct tcp *t, struct tcp_tx *tx, const struct tcp_out *o,
		   struct rte_mbuf *m) must_check;
/* Sets lengths and checksum, when the payload is in. */
void tcp_seg_finish(struct tcp_tx *tx, uint16_t tso_segsz);
/* Queues a reply that belongs to no connection; with a full queue it is not sent. */
void tcp_reply(struct tcp *t, const struct tcp_reply *r);
/* RFC 9293 §3.10.7.1: the reset that answers a segment. */
void tcp_reply_rst(struct tcp *t, const struct pkt *p, const struct tcp_seg *s);
struct tcp_key tcp_key_of(const struct pkt *p);

/* ---- input.c --------------------------------------------------------------------------------- */

/* What a step of "segment arrives" says. */
enum tcp_step {
	TCP_GO_ON, /* next step */
	TCP_STOP,  /* done with the segment, p->drop says why */
	TCP_TAKEN, /* done, and p->m has a new owner */
};
/* The steps for a connection that is synchronized, or in SYN-RECEIVED. */
void tcp_segment_arrives(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s);
void tcp_syn_ack_arrives(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s);
/* Is the segment what nearly every one is: in order, nothing lost, nothing new but data and ACK? */
bool tcp_fast_path_applies(const struct tcp_conn *c, const struct tcp_seg *s);
/* RFC 5961 §7: an ACK that asks whoever sent this to prove himself. */
void tcp_challenge_ack(struct tcp *t, struct tcp_conn *c);

/* ---- open.c ---------------------------------------------------------------------------------- */

void tcp_syn_sent_input(struct tcp *t, struct tcp_conn *c, struct pkt *p, struct tcp_seg *s);
/* What the peer's SYN said. */
struct tcp_syn {
	uint32_t irs;
	uint16_t mss;	/* 0 = absent */
	uint8_t wscale; /* valid with `scaled` */
	bool scaled, ts, sack;
	uint32_t ts_val;
};
void tcp_apply_syn(struct tcp *t, struct tcp_conn *c, const struct tcp_syn *syn);
/* The handshake is complete. */
void tcp_established(struct tcp *t, struct tcp_conn *c);
/* Our stream begins at iss: the SYN is the first thing to send. */
void tcp_init_send(struct tcp *t, struct tcp_conn *c, uint32_t iss);
uint32_t tcp_ts_offset(const struct tcp *t, const struct tcp_key *k);

/* ---- listen.c -------------------------------------------------------------------------------- */

/* A segment for which there is no connection. Takes p->m. */
void tcp_no_conn_input(struct tcp *t, struct pkt *p, struct tcp_seg *s);
void tcp_syn_expire(struct tcp *t, unsigned *budget);
/* The handshake of a passive open is complete: into the accept queue. */
void tcp_accept_push(struct tcp *t, struct tcp_conn *c);
void tcp_accept_remove(struct tcp_conn *c);

/* ---- ack.c ----------------------------------------------------------------------------------- */

/* RFC 9293 §3.10.7.4 fifth, of a segment whose ack is acceptable. */
void tcp_ack_process(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s, uint64_t seq,
		     uint64_t ack);
void tcp_ack_fast(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s, uint64_t seq,
		  uint64_t ack);
/* Bytes that are believed to be in the network. */
uint64_t tcp_pipe(const struct tcp_conn *c);
/* How many bytes may be. */
uint64_t tcp_cwnd(const struct tcp_conn *c);
/* Loss was found: by RACK, by the third duplicate, by a timer. */
void tcp_loss_detect(struct tcp *t, struct tcp_conn *c);
void tcp_rto_expired(struct tcp *t, struct tcp_conn *c);
void tcp_cc_mss_update(struct tcp_conn *c);
/* The connection's tcp_repair, made now if there is none; NULL without memory. */
struct tcp_repair *tcp_repair_get(struct tcp *t, struct tcp_conn *c);
void tcp_repair_free(struct tcp *t, struct tcp_conn *c);

/* ---- recv.c ---------------------------------------------------------------------------------- */

/* RFC 9293 §3.10.7.4 sixth to eighth. */
enum tcp_step tcp_urg_process(struct tcp *t, struct tcp_conn *c, const struct tcp_seg *s,
			      uint64_t seq);
/* Text. Takes p->m unless it says TCP_GO_ON. *fin_at: where the FIN of the segment stands. */
enum tcp_step tcp_data_process(struct tcp *t, struct tcp_conn *c, struct pkt *p, uint64_t seq,
			       uint32_t len);
/* The same for the fast path (input.c): the next text of a calm connection, in the window. False:
 * it is not that simple, nothing was done. */
bool tcp_data_fast(struct tcp *t, struct tcp_conn *c, struct pkt *p, uint32_t len);
/* The FIN of a segment that ends at `end`. */
void tcp_fin_process(struct tcp *t, struct tcp_conn *c, uint64_t end);
/* Right edge of the window to offer now. */
uint64_t tcp_window_edge(const struct tcp *t, const struct tcp_conn *c);
/* The window field for it, and the edge that the peer reads. */
uint16_t tcp_window_field(const struct tcp *t, const struct tcp_conn *c, bool syn, uint64_t *edge);
uint16_t tcp_syn_window(const struct tcp *t, uint32_t rcvbuf);
void tcp_init_recv(struct tcp *t, struct tcp_conn *c, uint32_t irs);
/* rcvq's charge changed from `before`. */
static inline void tcp_rcv_mem_add(struct tcp *t, const struct tcp_conn *c, uint32_t before)
{
	t->rcv_mem += tcp_rcvq_charge(&c->rcvq) - (uint64_t)before;
}

/* ---- timer.c: told what happened ------------------------------------------------------------- */

void tcp_timer_data_sent(struct tcp *t, struct tcp_conn *c);
void tcp_timer_acked(struct tcp *t, struct tcp_conn *c); /* an ACK moved una or told of SACKs */
void tcp_timer_reorder(struct tcp *t, struct tcp_conn *c, uint64_t at_ns);
/* Data waits, nothing is in flight: the window is closed, or the segment was held back. */
void tcp_timer_blocked(struct tcp *t, struct tcp_conn *c, bool by_window);
void tcp_timer_unblocked(struct tcp *t, struct tcp_conn *c);
void tcp_timer_ack_owed(struct tcp *t, struct tcp_conn *c);
void tcp_timer_ack_sent(struct tcp *t, struct tcp_conn *c);
void tcp_timer_established(struct tcp *t, struct tcp_conn *c);
void tcp_timer_heard(struct tcp *t, struct tcp_conn *c); /* the peer answered a probe */
void tcp_timer_orphaned(struct tcp *t, struct tcp_conn *c);
void tcp_timer_time_wait(struct tcp *t, struct tcp_conn *c);
void tcp_timer_stop(struct tcp *t, struct tcp_conn *c);

/* ---- close.c --------------------------------------------------------------------------------- */

void tcp_time_wait(struct tcp *t, struct tcp_conn *c);
/* Sends a reset now. */
void tcp_send_rst(struct tcp *t, struct tcp_conn *c);
/* Frees the oldest connection in TIME-WAIT. False when there is none. */
bool tcp_time_wait_recycle(struct tcp *t);

/* ---- check.c --------------------------------------------------------------------------------- */

static inline void tcp_debug_check(const struct tcp *t, const struct tcp_conn *c)
{
#ifdef ZS_DEBUG
	if (slab_is_live(&t->conns, slab_index(&t->conns, c)))
		tcp_check(t, c);
#else
	(void)t;
	(void)c;
#endif
}

#endif
