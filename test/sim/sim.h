/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two engines joined by links, in virtual time. Everything that is random comes from one generator:
 * the same seed gives the same packets, which the trace's hash proves.
 *
 *	app ⇄ engine 0 ── stage ─ stage ─ … ──▶ engine 1 ⇄ app      direction 0
 *	              ◀── … ─ stage ─ stage ──                        direction 1
 *
 * A stage does one thing to a packet: delay it, lose it, let it wait for a slow line. A link is a
 * row of stages (sim_link.c). Applications are flows: how much each side sends, how it reads and how
 * it ends (sim_app.c). A scenario is a row of a table (sim_scenario.c).
 */
#ifndef ZS_SIM_H
#define ZS_SIM_H

#include "lab.h"
#include "tcp/tcp.h"

#define US  1000ull
#define MS  1000000ull
#define SEC 1000000000ull

#define STAGES_MAX 8
#define FLOWS_MAX  1024

/* ---- links ---- */

enum stage_kind {
	STAGE_END,     /* behind the last */
	STAGE_DELAY,   /* a: ns */
	STAGE_JITTER,  /* a: ns at most, packets keep their order */
	STAGE_RATE,    /* a: bytes/s; b: bytes that may wait, more are dropped */
	STAGE_LOSS,    /* a: of a million */
	STAGE_BURST,   /* a: of a million begin a burst of at most b ns; all in it are lost */
	STAGE_REORDER, /* a: of a million are held back; b: ns at most */
	STAGE_DUP,     /* a: of a million */
	STAGE_CORRUPT, /* a: of a million */
	STAGE_FORGE,   /* a: of a million are followed by a blind attacker's segment (H11) */
	STAGE_MTU,     /* a: bytes of IP; larger ones are dropped and answered with ICMP */
	STAGE_OUTAGE,  /* a: ns when the line goes down, b: ns when it is back */
};

struct stage {
	enum stage_kind kind;
	uint64_t a, b;
	/* state */
	uint64_t free_at; /* RATE: the line is busy until then; JITTER: the last packet left then;
			     BURST: it lasts until then */
};

/* A packet on its way: its L4 bytes. */
struct frame {
	uint64_t due, order;
	uint8_t dir, stage;
	bool icmp; /* an ICMP error that goes back to its sender */
	uint16_t mtu;
	uint32_t len;
	uint8_t bytes[];
};

/* ---- applications ---- */

enum app_end {
	END_CLOSE, /* when all is sent and received */
	END_HALF,  /* shutdown as soon as all is sent, close when all is received */
	END_ABORT, /* a reset somewhere in the middle */
};

struct app_plan {
	uint64_t send;	     /* bytes in all */
	uint32_t turn_send;  /* so many a turn; 0 = all at once */
	uint32_t turn_recv;  /* a turn of ours follows each so many bytes of the other side */
	bool first;	     /* has a turn without receiving */
	uint32_t write_max;  /* bytes a call */
	uint32_t read_bytes; /* 0 = all at once, else about so many every read_ns */
	uint64_t read_ns;
	uint64_t lend_ns; /* how long buffers are kept before they are given back */
	enum app_end end;
};

struct app {
	struct tcp_conn *c;
	const struct app_plan *plan;
	uint64_t sent, rcvd, peer_send; /* peer_send: what will come in all */
	uint64_t abort_at;		/* END_ABORT: bytes received or sent until then */
	uint32_t charge, lent;		/* not given back */
	uint64_t wake;			/* next time it acts by itself; UINT64_MAX = never */
	uint64_t give_up_at;
	bool shut, fin, done, failed;
	int error;
};

struct flow {
	struct app app[2];
	uint16_t port; /* of the client */
	bool open, over;
	uint64_t began, ended;
};

/* ---- the whole ---- */

struct scenario {
	const char *name;
	struct stage link[2][STAGES_MAX];
	unsigned flows;		 /* in all */
	unsigned at_once;	 /* of them at a time */
	bool same_port;		 /* each after the other, on one tuple */
	struct app_plan plan[2]; /* client, server */
	uint32_t mtu;		 /* 0 = 1500 */
	uint16_t tso_segs;
	uint32_t rcvbuf;       /* 0 = default */
	uint32_t max_syn;      /* 0 = 64 */
	uint64_t mem_max;      /* of received data, all connections; 0 = default */
	const char *cc;	       /* NULL = default */
	uint32_t take_percent; /* the port takes all of an offer in so many calls of 100; 0 = always
				*/
	uint32_t fail_of_65536; /* allocations */
	uint64_t poll_ns;	/* packets wait up to so long for the next poll: bursts; 0 = none */
	bool random;		/* plans are drawn from the seed */
	bool may_fail;		/* connections may end by an error */
	uint64_t limit_ns;	/* must be over by then */
	uint64_t goodput_min;	/* bytes/s of both directions together */
};

struct host {
	struct tcp *t;
	struct drop_counters drops;
	struct ip_addr addr;
	struct tcp_link link;
	struct tcp_listener *listener;
	bool again; /* has something to send that the port didn't take */
	/* what has come since the last poll */
	struct pkt rx[16];
	struct tcp_seg seg[16];
	unsigned n_rx;
	uint64_t poll_at;
};

struct sim {
	const struct scenario *s;
	struct stage link[2][STAGES_MAX];
	struct rand rand;
	uint64_t now, began, order, trace, steps;
	uint64_t lost, delivered; /* packets */
	uint64_t bytes;		  /* of payload, received by applications */
	struct frame **heap;
	size_t n_frames, heap_size;
	struct host host[2];
	struct flow flow[FLOWS_MAX];
	struct app_plan drawn[2][FLOWS_MAX];
	unsigned started, over;
	bool v6, verbose;
};

extern struct sim sim;

/* Reports what is wrong and how to repeat it, and exits. */
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool sim_chance(uint64_t of_million);

/* sim_link.c */
/* Sends a packet of host `dir` into its link. */
void link_send(unsigned dir, const uint8_t *bytes, uint32_t len);
/* When the next packet moves. */
uint64_t link_due(void);
/* Moves what is due. */
void link_run(void);
void link_clear(void);

/* sim_host.c */
void host_start(unsigned i, uint64_t seed);
void host_deliver(unsigned i, const struct frame *f);
void host_icmp(unsigned i, const struct frame *f);
/* Timers, applications, output. */
void host_run(unsigned i);
uint64_t host_due(unsigned i);
bool host_empty(unsigned i);

/* sim_app.c */
/* Starts flows as the scenario allows. */
void app_start_more(void);
void app_event(unsigned i, struct tcp_conn *c, uint32_t events);
void app_accepted(struct tcp_conn *c);
uint64_t app_due(void);
void app_run(void);

/* sim_scenario.c */
extern const struct scenario scenarios[];
extern const unsigned n_scenarios;
/* A plan from the seed. */
void scenario_draw(struct app_plan *p);

#endif
