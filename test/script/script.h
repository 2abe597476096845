/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Scripted connections: a text file of tests, each a timed list of segments and calls, run against
 * src/tcp/tcp.h in virtual time. README.md in this folder is the language.
 *
 * The peer of the script is more than a list: it checks every segment of the engine against what
 * any TCP must keep (script_peer.c), whether the script mentions it or not. Each test runs in many
 * variants: both families, initial sequence numbers around 2^31 and 2^32 (H14), opened by either
 * side, received segments whole or cut over many buffers (H22).
 */
#ifndef ZS_SCRIPT_H
#define ZS_SCRIPT_H

#include <stdio.h>

#include "lab.h"
#include "tcp/tcp.h"

#define TOKENS_MAX 48
#define PEERS_MAX  16
#define MS	   1000000ull
#define SEC	   1000000000ull

struct line {
	unsigned no;
	char text[256];
	char words[256];
	char *tok[TOKENS_MAX];
	unsigned n;
	bool timed;
	uint64_t lo, hi; /* ns after the previous line */
};

struct variant {
	bool v6, active;
	uint32_t iss, irs; /* wanted */
	uint32_t cut;	   /* of received packets, and of what is written */
	bool offload;
};

/* The other end, by its port: its stream numbers start at its initial sequence number, as the
 * engine's do at the engine's. */
struct peer {
	uint16_t port;
	uint32_t irs, iss; /* the peer's, the engine's */
	bool have_iss, used;
	struct tcp_opts syn_in, syn_out;
	bool saw_in, saw_out; /* both SYNs: options are agreed */
	uint32_t in_nxt;      /* what the engine should have in order */
	uint32_t in_max;      /* highest end that was sent to it */
	struct {
		uint32_t start, end;
	} ahead[64];
	unsigned n_ahead;
	uint32_t last_ack;	    /* of the engine */
	uint32_t edge_out, edge_in; /* right edges of the windows */
	bool have_edge;
	uint32_t ts_recent, ts_base; /* what the engine must echo; the peer's clock */
	uint32_t ts_out;	     /* last value of the engine */
	uint64_t ts_out_at, ts_recent_at;
	int64_t win; /* that it offers, until a line says another */
	bool have_ts_out;
	struct tcp_conn *conn; /* held by the script */
	uint64_t written, read;
	uint32_t charge, borrowed;
	uint32_t events;
	bool fin_seen;
};

/* A segment of the engine, caught. */
struct caught {
	uint64_t at;
	struct lab_seg s;
	uint16_t tso_segsz; /* 0: not for segmentation */
	uint8_t *bytes;
};

/* One run of one test. */
struct run {
	const struct variant *v;
	struct tcp *t;
	struct tcp_cfg cfg;
	struct tcp_opt opt;
	bool opt_set;
	struct tcp_link link;
	struct drop_counters drops;
	struct tcp_listener *listener;
	struct ip_addr us, them;
	uint64_t now, last;
	struct peer peer[PEERS_MAX];
	struct peer *p; /* current */
	struct caught out[256];
	unsigned n_out;
	bool hold;
	unsigned take;	/* most segments that the port takes a call */
	bool silent_ok; /* segments may be left over */
	const struct line *line;
};

extern struct run run;

/* Ends the run. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line of the record that is shown when a run fails. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* script_peer.c: segments */
void peer_init(struct peer *p, uint16_t port, uint32_t irs);
/* Sends what the line says, from its token `i` on. */
void peer_input(const struct line *l, unsigned i);
/* Checks a caught segment against every rule, and learns from it. */
void peer_check(struct peer *p, const struct caught *c);
/* What of it is not as the line says; NULL when all is. */
const char *peer_differs(const struct line *l, unsigned i, const struct caught *c);
const char *seg_text(const struct peer *p, const struct lab_seg *s, bool from_engine);

/* script_run.c: the engine and time */
void engine_start(void);
void engine_stop(void);
/* Lets the engine do all that is due now; catches its segments. */
void pump(void);
/* Lets time pass, to `until` or, with stop, to the first segment. */
void advance(uint64_t until, bool stop);
/* Delivers bytes of a segment from that address to the engine's. */
void deliver(const struct ip_addr *src, const uint8_t *l4, uint32_t n);
struct tcp_conn *conn_find(uint16_t port);
void execute(const struct line *l);

/* script_call.c: user calls and questions. false: not one of these words. */
bool call(const struct line *l, unsigned i);
/* The words of `open`: a whole handshake. */
void call_open(const struct line *l, unsigned i);

/* Words. */
int64_t number(const char *s);
int errno_of(const char *s);
const char *errno_text(int e);

#endif
