/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service's side of the channel, played by the test: it is the `zstack_embed_ops` that
 * libzstack finds in the program. It answers commands as a service would that has no network,
 * writes down what it was told, and says what the test wants said, hostile things included. Time
 * stands still unless a call sleeps; then on_sleep() is asked what happens.
 */
#ifndef ZS_TEST_CLIENT_FAKE_H
#define ZS_TEST_CLIENT_FAKE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "chan/bell.h"
#include "chan/chan.h"
#include "chan/embed.h"
#include "zstack/stats.h"
#include "zstack/zc.h"
#include "zstack/zstack.h"

/* The interface that datagrams come in at, and what the kernel calls it. */
#define FAKE_IF	       3
#define FAKE_IF_KERNEL 418

#define FAKE_LOG   4096
#define FAKE_PKT   (1u << 20) /* bytes of region 1, where received payload lies */
#define FAKE_LIMIT 100000u    /* send limit of each socket, unless the test says otherwise */

struct fake_core {
	struct chan_end end;
	struct chan_map map;
	struct chan_sqe log[FAKE_LOG]; /* commands, oldest first */
	unsigned n_log;
	uint32_t next_sid, next_loan;
	uint32_t held[FAKE_LOG]; /* tokens of sends that are not acknowledged */
	unsigned n_held;
	unsigned returned; /* loans that came back */
	uint32_t last_returned;
	uint32_t pkt_at;
	char *pkt;
	uint32_t ticket[4096]; /* next expected, by sid_index */
	uint32_t tickets_bad;
};

struct fake {
	struct fake_core core[EMBED_CORES_MAX];
	unsigned n_cores;
	bool keep_tokens;	 /* sends stay unacknowledged until fake_ack() */
	bool keep_connects;	 /* CONNECT is answered by fake_connected() */
	bool keep_closes;	 /* CLOSE is answered by fake_closed() */
	bool keep_unaccepts;	 /* UNACCEPT is not answered */
	bool join_waits;	 /* what is joined is worth asking for: said before JOIN's answer */
	int result[CHAN_OP_MAX]; /* of the next such command, then 0 again */
	uint32_t limit;
	void (*on_sleep)(void);
	void (*on_answer)(enum chan_op op); /* the answer was given */
	unsigned sleeps, polls;
	bool opened;
	struct chan_geometry geometry; /* used instead of the client's if sq_size is not 0 */
	struct embed_cfg cfg;
	pthread_t thread;
	_Atomic bool thread_stop;
	pthread_mutex_t lock; /* the fake itself, when it has a thread */
};
extern struct fake fake;

/* Starts the client on a fake of so many cores; more than one, or threaded: mode thread. */
void fake_start(unsigned n_cores, bool threaded);
void fake_stop(void);
/* cmocka setup and teardown with one core, polled. */
int fake_setup(void **state);
int fake_teardown(void **state);

/* Takes commands and returned loans; what the fake's poll does. */
unsigned fake_serve(struct fake_core *c);
void fake_event(struct fake_core *c, const struct chan_cqe *e);
/* Lends text as received data (flags: CHAN_CQ_FIN); returns the loan. */
uint32_t fake_data(struct fake_core *c, uint32_t sid, const char *text, uint8_t flags);
uint32_t fake_dgram(struct fake_core *c, uint32_t sid, const char *text, uint16_t port,
		    uint8_t flags);
void fake_fin(struct fake_core *c, uint32_t sid);
void fake_error(struct fake_core *c, uint32_t sid, int err, bool fatal);
/* Announces a connection; returns its sid. */
uint32_t fake_accept(struct fake_core *c, uint32_t listener);
void fake_connected(struct fake_core *c, uint32_t sid, int res);
void fake_closed(struct fake_core *c, uint32_t sid);
/* Acknowledges the oldest n sends. */
void fake_ack(struct fake_core *c, unsigned n);

/* The last command of this kind; fails if there is none. */
const struct chan_sqe *fake_last(const struct fake_core *c, enum chan_op op);
unsigned fake_count(const struct fake_core *c, enum chan_op op);
/* What a send of the log carries, as text. */
const char *fake_sent(const struct fake_core *c, const struct chan_sqe *q);

/* A connected socket (blocking or with SOCK_NONBLOCK); *sid is its name. */
int fake_connection(int flags, uint32_t *sid);
int fake_listener(int flags, uint32_t *sid);
struct sockaddr_in fake_addr(uint16_t port);

/* Zeroed memory of a channel, which fake_stop() unmaps. */
void *fake_pages(size_t bytes);

#endif
