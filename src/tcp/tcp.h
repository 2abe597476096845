/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The TCP engine's seam: a pure, deterministic library. Time, randomness, buffers and what the port
 * took for sending are handed in; segments and events are pulled out. No callbacks, no globals, no
 * I/O. The stack, a unit test, a script, the simulator, a fuzzer and a replayer run it alike.
 *
 *	tcp_begin(now)                     once per poll
 *	tcp_parse, tcp_lookup, tcp_input   for each received segment
 *	tcp_connect, tcp_send, ...         the application's commands
 *	tcp_expire(budget)                 timers that are due
 *	tcp_event_next                     connections with news for the application
 *	tcp_output, tcp_output_done        segments to send, and how many of them the port took
 *
 * One struct tcp is owned and touched by one core. Connections are named by pointer between calls
 * of the same core; a connection stays valid until the user gives its reference up by tcp_close() or
 * tcp_abort().
 */
#ifndef ZS_TCP_TCP_H
#define ZS_TCP_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "pkt/pkt.h"
#include "wire/addr.h"
#include "wire/tcp.h"

struct tcp;
struct tcp_conn;
struct tcp_listener;

/* A flow, from our side. 40 bytes without padding: compared and hashed as memory. */
struct tcp_key {
	struct ip_addr laddr, raddr;
	uint16_t lport, rport; /* host order */
	uint32_t zone;	       /* 0; leaves room for network namespaces */
};
_Static_assert(sizeof(struct tcp_key) == 40, "hashed as memory");
/* As the other end has it. */
static inline struct tcp_key tcp_key_turned(const struct tcp_key *k)
{
	return (struct tcp_key){.laddr = k->raddr,
				.raddr = k->laddr,
				.lport = k->rport,
				.rport = k->lport,
				.zone = k->zone};
}

struct tcp_cfg {
	uint32_t max_conns;    /* hard limit on connections, TIME-WAIT included */
	uint32_t max_syn;      /* SYN cache entries for the engine, beyond which cookies are used */
	uint32_t sndbuf_bytes; /* initial limits of a connection; grow up to the max */
	uint32_t sndbuf_max_bytes;
	uint32_t rcvbuf_bytes;
	uint32_t rcvbuf_max_bytes;
	uint64_t mem_max_bytes; /* received data that all connections may hold together */
	uint32_t min_rto_us;  /* 200,000; DEVIATION(RFC 6298 §2.4): floor below 1 s as everyone */
	uint32_t max_rto_us;  /* 60,000,000 (RFC 6298 §2.5) */
	uint32_t delack_us;   /* 40,000 */
	uint32_t msl_us;      /* 30,000,000; TIME-WAIT lasts 2 MSL */
	uint32_t syn_retries; /* 6 */
	uint32_t retries_us;  /* give up after this long without an acknowledgement (R2) */
	const char *cc;	      /* default congestion control: "cubic" */
	uint8_t secret[16];   /* keys of ISN, cookies, hashes (RFC 6528, RFC 4987) */
	uint64_t seed;	      /* mixed into the key of the tables' hash */
	const struct pkt_pools *pools;
	struct drop_counters *drops;
};

void tcp_cfg_defaults(struct tcp_cfg *cfg);
/* NULL when memory is short. The engine reserves address space for max_conns, and touches it as
 * used. */
struct tcp *tcp_create(const struct tcp_cfg *cfg) must_check;
/* Drops everything without sending; frees every buffer held. */
void tcp_destroy(struct tcp *t);

/* ---- receive -------------------------------------------------------------------------------- */

/* A received segment, parsed. Host order. */
struct tcp_seg {
	uint32_t seq, ack;
	uint16_t wnd;
	uint16_t urg;
	uint8_t flags; /* TCP_FIN … from wire/tcp.h */
	uint8_t ecn;   /* IP ECN field */
	uint16_t hdr_len;
	uint16_t segs; /* as it arrived: more than 1 where several were merged */
	uint32_t len;  /* payload bytes, without SYN and FIN */
	uint32_t hash; /* of the key; the demultiplexer's */
	struct tcp_opts opts;
	struct tcp_conn *conn; /* set by tcp_lookup */
};

void tcp_begin(struct tcp *t, uint64_t now_ns);

/* Stage 1: checks lengths, checksum and options; prefetches the demultiplexer's bucket.
 * NEXT_TCP, or NEXT_DROP with p->drop. Borrows p->m. */
enum next tcp_parse(struct tcp *t, struct pkt *p, struct tcp_seg *s);
/* Stage 2: finds what should be the connection (s->conn, may be NULL) and prefetches its lines. */
void tcp_lookup(struct tcp *t, const struct pkt *p, struct tcp_seg *s);
/* Stage 3: RFC 9293 §3.10.7. Takes p->m, in every case but that of tcp_strangers(). */
void tcp_input(struct tcp *t, struct pkt *p, struct tcp_seg *s);
/* The same for a burst in the order of its arrival; segments of a connection that lie side by side
 * and continue one another are taken as one (merge.c). */
void tcp_input_burst(struct tcp *t, struct pkt *const *p, struct tcp_seg *s, unsigned n);

/* Segments with PKT_F_SHARED that are of no connection of ours and no SYN for a listener of ours:
 * they were not answered, and p->m is as it came and the caller's again. To be asked after each
 * tcp_input() or tcp_input_burst() of packets with the flag, of at most PKT_BURST. Fills out, which
 * has room for PKT_BURST; returns how many. */
unsigned tcp_strangers(struct tcp *t, struct pkt **out);

/* An ICMP error that quotes a segment of ours (RFC 5927: the quoted sequence number is checked).
 * err is a positive errno; soft errors are only remembered. mtu is set with EMSGSIZE. */
struct tcp_icmp {
	struct tcp_key key;
	uint32_t seq;
	int err;
	bool hard; /* protocol or port unreachable: may end a connection in SYN-SENT */
	uint16_t mtu;
};
void tcp_icmp_error(struct tcp *t, const struct tcp_icmp *e);
/* Whose connection it is about, as that one's user; 0: none that is to be believed. */
uint64_t tcp_icmp_user(struct tcp *t, const struct tcp_icmp *e);

/* ---- transmit ------------------------------------------------------------------------------- */

/* A segment that the engine offers. p.m starts at the TCP header; p has addresses, ports, tos,
 * path, flags (PKT_F_L4_CSUM: the pseudo-header sum is in the checksum field as offloads want it).
 */
struct tcp_tx {
	struct pkt p;
	struct tcp_conn *conn; /* NULL: a reply that belongs to no connection */
	uint64_t start, end;   /* stream offsets covered, internal */
	uint32_t kind;	       /* internal */
};

/* What the port of a connection can do; given per connection at open by the stack. */
struct tcp_link {
	uint16_t mtu;	     /* of IP, bytes */
	uint16_t tso_segs;   /* most segments in one offered packet; 1 = no TSO */
	uint32_t tso_bytes;  /* most bytes of payload in one offered packet */
	uint32_t path;	     /* see struct pkt */
	bool l4_csum;	     /* leave the checksum to the port (pseudo-header sum only) */
	bool inline_all : 1; /* port can't chain buffers: copying is device copying, not ours */
	bool records : 1;    /* of an active open by ourselves: see tcp_listen */
	uint16_t zone;	     /* of an active open by loopback: which loopback, see tcp_listen */
};

/* Offers at most n segments from connections that have something to send, in turn. Between this
 * call and tcp_output_done no other function of the engine may be called. */
unsigned tcp_output(struct tcp *t, struct tcp_tx *tx, unsigned n) must_check;
/* The first `taken` segments were taken by the port (their mbufs are gone). The engine advances for
 * these; for the others the caller has freed nothing: the engine frees them and will offer again.
 */
void tcp_output_done(struct tcp *t, struct tcp_tx *tx, unsigned n, unsigned taken);
/* Does any connection want to send? */
bool tcp_output_pending(const struct tcp *t);

/* ---- time ----------------------------------------------------------------------------------- */

#define TCP_NEVER UINT64_MAX
/* When tcp_expire next has something to do, ns; may be early, never late. */
uint64_t tcp_deadline(const struct tcp *t);
/* Handles at most budget timers that are due at the time of tcp_begin. Returns how many. */
unsigned tcp_expire(struct tcp *t, unsigned budget);

/* ---- events to the application -------------------------------------------------------------- */

enum {
	TCP_EV_CONNECTED = 1 << 0, /* active open is established */
	TCP_EV_DATA = 1 << 1,	   /* tcp_recv has something */
	TCP_EV_FIN = 1 << 2,	   /* end of the peer's stream, after the data */
	TCP_EV_SPACE = 1 << 3,	   /* bytes were acknowledged */
	TCP_EV_ERROR = 1 << 4,	   /* ended: tcp_conn_error */
	TCP_EV_URG = 1 << 5,	   /* urgent mark moved */
	TCP_EV_CLOSED = 1 << 6,	   /* nothing more will happen; in TIME-WAIT or CLOSED */
	TCP_EV_SENT_FIN = 1 << 7,  /* our FIN was acknowledged */
};

/* The next connection with events, or NULL; *events gets and clears its bits. */
struct tcp_conn *tcp_event_next(struct tcp *t, uint32_t *events);
/* The next listener whose accept queue is not empty and that was not reported since, or NULL. */
struct tcp_listener *tcp_accept_next(struct tcp *t);

/* ---- user calls ----------------------------------------------------------------------------- */
/* All return 0 or a negative errno. */

struct tcp_opt; /* socket options that the engine keeps, below */

/* user: an opaque number kept with the connection or listener. */
struct tcp_open {
	struct tcp_key key;
	struct tcp_link link;
	const struct tcp_opt *opt; /* NULL = defaults */
	uint64_t user;
};
/* Active open. -EADDRINUSE when the tuple exists (TIME-WAIT of an older incarnation is reused if
 * safe, RFC 6191), -ENOBUFS. */
int tcp_connect(struct tcp *t, const struct tcp_open *o, struct tcp_conn **out) must_check;

struct tcp_listen {
	struct ip_addr laddr; /* any = wildcard of both families, see v6only */
	uint16_t lport;
	bool v6only;
	uint32_t backlog; /* of established connections that wait for accept */
	/* What comes over loopback is for this listener if it was opened in the same zone: each
	 * network namespace has a loopback of its own. */
	uint16_t zone;
	/* Is found by what this engine has opened with `records` alone: to all others nobody
	 * listens here. */
	bool records;
	const struct tcp_opt *opt;
	uint64_t user;
};
int tcp_listen(struct tcp *t, const struct tcp_listen *l, struct tcp_listener **out) must_check;
void tcp_listen_backlog(struct tcp_listener *l, uint32_t backlog);
/* What connections start with that are made from now on. */
void tcp_listen_opt(struct tcp_listener *l, const struct tcp_opt *o);
/* Resets what waits in the queue. */
void tcp_unlisten(struct tcp *t, struct tcp_listener *l);
/* NULL when the queue is empty. The caller sets user and, before anything is sent, nothing else. */
struct tcp_conn *tcp_accept(struct tcp *t, struct tcp_listener *l);
uint64_t tcp_listener_user(const struct tcp_listener *l);
/* tcp_accept() would give one. */
bool tcp_listener_ready(const struct tcp_listener *l);
/* … as often. */
uint32_t tcp_listener_waiting(const struct tcp_listener *l);
void tcp_listener_set_user(struct tcp_listener *l, uint64_t user);
/* A passive open needs a link before its SYN-ACK goes out: the stack answers from its routes.
 * Segments to and from unlinked peers carry link.path = PATH_NONE and the defaults set here. */
void tcp_default_link(struct tcp *t, bool v6, const struct tcp_link *link);
void tcp_conn_link(struct tcp *t, struct tcp_conn *c, const struct tcp_link *link);
/* Only the path changed. The one call that is allowed between tcp_output and tcp_output_done. */
void tcp_conn_set_path(struct tcp_conn *c, uint32_t path);
/* Milliseconds since the peer acknowledged or sent something: its neighbour and ours work then (RFC
 * 4861 §7.3.1). */
uint32_t tcp_conn_progress_ms(const struct tcp *t, const struct tcp_conn *c);

enum {
	TCP_SEND_MORE = 1 << 0,	  /* MSG_MORE / cork: do not push a partial segment yet */
	TCP_SEND_OOB = 1 << 1,	  /* last byte is urgent (RFC 9293 §3.8.5) */
	TCP_SEND_COPIED = 1 << 2, /* the bytes come from a copying call: small ones may go inline */
};
/* Queues a packet's payload bytes: a chain of slices or attached mbufs that the engine holds until
 * acknowledged. Takes m when 0 is returned. Does not limit the amount: the caller asks
 * tcp_send_space. -EPIPE after shutdown, -ENOTCONN, -ECONNRESET… Sending in SYN-SENT queues. */
int tcp_send(struct tcp *t, struct tcp_conn *c, struct rte_mbuf *m, unsigned flags) must_check;
/* It will be sent on soon: fetches its memory. */
void tcp_prefetch(const struct tcp_conn *c);
uint64_t tcp_send_space(const struct tcp_conn *c); /* bytes below the send buffer's limit */
uint64_t tcp_send_limit(const struct tcp_conn *c); /* that limit: grows as is needed */
/* The next in-order payload: a chain of mbufs, pure payload, or NULL. The receiver owns the chain;
 * the window stays charged until tcp_recv_done. At most max mbufs. */
struct rte_mbuf *tcp_recv(struct tcp *t, struct tcp_conn *c, unsigned max);
/* Gives `charge` (sum of pkt_charge) back to the receive window, `bytes` read by the application.
 */
void tcp_recv_done(struct tcp *t, struct tcp_conn *c, uint32_t charge, uint32_t bytes);
int tcp_shutdown_send(struct tcp *t, struct tcp_conn *c);
void tcp_shutdown_recv(struct tcp *t, struct tcp_conn *c);
/* Orderly close by the user: FIN after queued data; RST if unread data is thrown away (RFC 2525
 * §2.17). The reference is given up: the engine lives on with it and frees it. */
void tcp_close(struct tcp *t, struct tcp_conn *c);
/* RST now; reference given up. */
void tcp_abort(struct tcp *t, struct tcp_conn *c);

/* ---- options and information ------------------------------------------------------------------
 */

struct tcp_opt {
	bool nodelay, cork, keepalive, quickack, oob_inline;
	uint8_t tos, ttl;
	uint16_t mss_max; /* TCP_MAXSEG, 0 = none */
	uint32_t keepidle_s, keepintvl_s, keepcnt;
	uint32_t user_timeout_ms; /* RFC 5482, 0 = default */
	uint32_t linger2_s;	  /* FIN-WAIT-2 time-out of an orphan */
	uint32_t sndbuf, rcvbuf;  /* 0 = automatic */
	uint32_t max_pacing_rate; /* bytes/s, 0 = unlimited; kept for the pacing issue */
	char cc[16];
};
void tcp_opt_defaults(const struct tcp *t, struct tcp_opt *o);
void tcp_opt_get(const struct tcp_conn *c, struct tcp_opt *o);
int tcp_opt_set(struct tcp *t, struct tcp_conn *c, const struct tcp_opt *o);

enum tcp_state {
	TCP_CLOSED,
	TCP_LISTEN,
	TCP_SYN_SENT,
	TCP_SYN_RCVD,
	TCP_ESTABLISHED,
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
};
const char *tcp_state_name(enum tcp_state s);

uint64_t tcp_conn_user(const struct tcp_conn *c);
void tcp_conn_set_user(struct tcp_conn *c, uint64_t user);
const struct tcp_key *tcp_conn_key(const struct tcp_conn *c);
enum tcp_state tcp_conn_state(const struct tcp_conn *c);
bool tcp_conn_readable(const struct tcp_conn *c); /* tcp_recv() would give something */
/* The connection of a key; NULL: there is none. */
struct tcp_conn *tcp_conn_by_key(const struct tcp *t, const struct tcp_key *key);
/* Positions of a stream, alike at both ends: behind what tcp_send() was given, and before what
 * tcp_recv() gives next. */
uint64_t tcp_conn_sent_at(const struct tcp_conn *c);
uint64_t tcp_conn_recv_at(const struct tcp_conn *c);
/* Payload that did not come by tcp_recv() is held by the user as if it had. */
void tcp_recv_charge(struct tcp *t, struct tcp_conn *c, uint32_t charge);
/* All receiving connections together hold so much that windows shrink: take no more for them. */
bool tcp_recv_short(const struct tcp *t);
/* Calls fn for each segment of payload that was sent and not acknowledged, or not sent yet. It may
 * change where the bytes lie, and not how many there are. */
void tcp_send_each(struct tcp_conn *c, void (*fn)(void *arg, struct rte_mbuf *m), void *arg);
/* What waits for more (TCP_SEND_MORE, Nagle) waits no longer. */
void tcp_send_push(struct tcp *t, struct tcp_conn *c);
/* What waits because of TCP_SEND_MORE waits no longer; Nagle's rule holds. */
void tcp_send_uncork(struct tcp *t, struct tcp_conn *c);
bool tcp_conn_got_fin(const struct tcp_conn *c); /* the peer's stream ended, read or not */
int tcp_conn_error(const struct tcp_conn *c);	 /* negative errno that ended it, or 0 */
/* Offset of the urgent byte relative to the next byte tcp_recv gives, or -1. */
int64_t tcp_conn_urg(const struct tcp_conn *c);

/* Everything that TCP_INFO and `ss -i` show; same names as Linux's struct tcp_info where it has
 * one. */
struct tcp_info_full {
	enum tcp_state state;
	uint8_t ca_state; /* 0 open, 1 disorder, 3 recovery, 4 loss: Linux's numbers */
	bool tstamps, sack, ecn;
	uint8_t snd_wscale, rcv_wscale, retransmits, backoff, probes;
	uint32_t rto_us, srtt_us, rttvar_us, min_rtt_us, ato_us;
	uint32_t snd_mss, rcv_mss, advmss, pmtu;
	uint32_t cwnd_bytes, ssthresh_bytes, snd_wnd, rcv_wnd, rcv_space;
	uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
	uint64_t segs_in, segs_out, data_segs_in, data_segs_out;
	uint32_t unacked, sacked, lost, retrans, total_retrans, reordering, dsack_dups;
	uint64_t notsent_bytes, unread_bytes, sndbuf, rcvbuf;
	uint64_t last_data_sent_ns, last_data_recv_ns, last_ack_recv_ns; /* ages */
	char cc[16];
};
void tcp_conn_info(const struct tcp *t, const struct tcp_conn *c, struct tcp_info_full *i);

/* Calls fn for every connection, at most n from *cursor on (start with 0; ends with 0). */
unsigned tcp_each(struct tcp *t, uint32_t *cursor, unsigned n,
		  void (*fn)(void *arg, struct tcp_conn *c), void *arg);

/* Engine-wide counters, named as in `nstat` where Linux has the same. */
#define TCP_COUNTERS(X)                                                                            \
	X(active_opens)                                                                            \
	X(passive_opens)                                                                           \
	X(attempt_fails)                                                                           \
	X(estab_resets) X(curr_estab) X(in_segs) X(out_segs) X(retrans_segs) X(in_errs) X(         \
		out_rsts) X(in_rsts) X(syn_cookies_sent) X(syn_cookies_ok) X(syn_cookies_bad)      \
		X(syn_cache) X(listen_drops) X(listen_overflows) X(challenge_acks) X(              \
			paws_drops) X(timeouts) X(tlp_probes) X(tlp_recoveries) X(fast_recoveries) \
			X(rack_losses) X(sack_blocks) X(dsack_sent) X(dsack_recv) X(               \
				spurious_rtos) X(ooo_segs) X(ooo_pruned) X(zero_window_probes)     \
				X(keepalive_probes) X(delayed_acks) X(persist_drops) X(time_wait)  \
					X(time_wait_reused) X(time_wait_recycled)                  \
						X(aborts_timeout) X(aborts_close) X(fast_path_in)  \
							X(rcv_compacted) X(rcv_compacted_bytes)    \
								X(pmtu_reduced) X(ecn_ce)

struct tcp_counters {
#define X(name) uint64_t name;
	TCP_COUNTERS(X)
#undef X
};
const struct tcp_counters *tcp_counters(struct tcp *t);

/* Asserts every invariant of a connection / of the engine. Debug builds call it after each call. */
void tcp_check(const struct tcp *t, const struct tcp_conn *c);
void tcp_check_all(const struct tcp *t);

#endif
