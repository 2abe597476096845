/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The client's end of a channel: its tables, commands, events, and the sockets that these are of.
 */
#ifndef ZS_CLIENT_CHANNEL_H
#define ZS_CLIENT_CHANNEL_H

#include "client/state.h"

/* ---- core.c: a channel's tables ---- */
/* The table of sockets, for so many cores as there may ever be. */
int socks_init(unsigned zones);
void socks_fini(void);
int core_init(struct core *c, unsigned id, const struct chan_map *map);
void core_fini(struct core *c);
/* The first so many rows of a zone may be used from here on. 0, -ENOMEM. */
int zone_open(unsigned zone, uint32_t rows) must_check;
/* The same of the arena's blocks, up to this offset. 0, -ENOBUFS. */
int core_blocks_open(struct core *c, uint64_t end) must_check;
/* Of all tables all rows, as far as there is memory: none can be opened later. */
void tables_open_all(void);
/* An empty table of rows, from now on. Never fails if the core was made by cores_init(), for then
 * it is there already. */
int core_rows_init(struct core *c) must_check;
/* Another service's channel in the place of one that is gone: does it fit the tables? */
int core_fits(unsigned id, const struct chan_map *map) must_check;
int core_rejoin(unsigned id, const struct chan_map *map) must_check;

/* ---- event.c ---- */
unsigned core_drain(struct core *c);
/* It has just got its name by JOIN: what was said of that before is so. */
void csock_greet(struct csock *s);
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
#define TOKEN_REVIVE  0x85000000u
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
/* The same in two halves, of which several may be begun before the first is ended, not more at a
 * time than CMDS_AT_ONCE; nothing is asked again. What was begun (0) is to be ended. */
#define CMDS_AT_ONCE (REPLIES / 2)
struct cmd {
	struct waiter w;
	struct reply *r;
	struct csock *s;
	uint32_t serial;
};
int cmd_begin(struct cmd *k, struct core *c, struct csock *s,
	      const struct chan_sqe *cmd) must_check;
int cmd_end(struct cmd *k, struct chan_cqe *e) must_check;
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

/* Some came home. */
static inline void core_tokens_came(struct core *c)
{
	if (c->tokens_left == c->max_tokens && c->starved == NIL)
		c->wants_tokens = false;
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

/* Of that socket, in its turn. */
static inline void cmd_of(struct chan_sqe *q, struct csock *s, uint32_t token)
{
	q->sid = s->sid;
	q->ticket = s->ticket++;
	q->token = token;
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

/* ---- host.c ---- */
/* What the host has counted so far, into the channel of core 0. */
void told_show(struct core *c);

/* ---- csock.c: sockets, their queues and their state ---- */
/* The sockets that a descriptor stands for: one on each of some cores. */
static inline unsigned csock_members(const struct csock *s)
{
	return s->group != NULL ? s->group->n : 1;
}

static inline struct csock *csock_member(struct csock *s, unsigned i)
{
	return s->group != NULL ? s->group->sock[i] : s;
}

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
/* Is there memory for a new socket of that name? 0, -ENOBUFS: then the service is told that it is
 * closed. */
int csock_place(struct core *c, uint32_t sid) must_check;
/* There is no row that a command could be of: it is closed. Without room for that the service keeps
 * the socket as long as the program lives. */
void csock_refuse(struct core *c, uint32_t sid);
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

/* Of TCP, as the service sees it: streams and records. */
static inline bool csock_connects(const struct csock *s)
{
	return s->type != SOCK_DGRAM;
}

static inline bool csock_records(const struct csock *s)
{
	return s->type == SOCK_SEQPACKET;
}

/* Is there something that what it sends could go over? */
static inline bool csock_has_way(const struct csock *s)
{
	return likely(!csock_records(s)) || (s->flags & CSOCK_LINK) != 0;
}

/* A connection in order, of which nothing is asked but bytes in and out: all about it stands in its
 * first line. */
static inline bool csock_plain(const struct csock *s)
{
	return s->state == CSOCK_CONNECTED && s->type == SOCK_STREAM &&
	       ((uint32_t)s->shut | (uint32_t)s->err | (s->flags & CSOCK_UNUSUAL)) == 0;
}

#endif
