/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams over links to other programs, as the rest of the client sees them; inside: link.h.
 */
#ifndef ZS_CLIENT_NEIGHBOURS_H
#define ZS_CLIENT_NEIGHBOURS_H

#include "client/state.h"

struct attach_msg;
struct gone;
struct iov_it;

/* ---- link.c and its kin: streams to neighbours, see link.h ---- */
/* A message of the service's about links; true: it was one. */
bool links_message(struct attach_msg *m);
/* Reads what the service says. */
void links_read(void);
/* The service is gone: what streams go on without it is decided, then, when all sockets know, what
 * links. g holds the packets that may still be named; NULL: they can't be kept. */
void links_lose(void);
void links_lost(struct gone *g);
/* It goes on with no service knowing of it. */
bool csock_kept(const struct csock *s);
/* The same, or has not come back from that link: no other process can have it. */
bool csock_stays(const struct csock *s);
/* What says to the next service that it is a connection: fills all but the names. False: it can't
 * be one. */
bool link_claim(const struct csock *s, struct chan_sqe *q);
/* The answer. */
void link_revived(struct csock *s, int res);
/* Of what it sends by TCP, now or later. */
void link_limit(struct csock *s, uint32_t limit);
/* One that was closed, and its service may not have told the other end. */
void link_recall(struct csock *s);
/* The program is done with one that is kept: true, the other end knows. */
bool link_bye(struct csock *s) must_check;
/* Its end of the stream is over. */
void link_shutdown(struct csock *s);
/* It has been said of all. */
bool links_said(void);
/* The socket of a token that is at a link; NULL: it is gone. */
struct csock *link_token_sock(const struct token *t);
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
/* how: BELL_ARMED…; what comes back is a trifle. */
void links_arm(uint32_t how);
void links_disarm(void);
int links_fd(void);
/* Into an epoll set that tells of each ringing once; as is what e.data.u32 will be. */
bool links_watch(int set, uint32_t as) must_check;
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
void link_freed(struct csock *s);
/* What it sends goes over a link: */
bool link_room(const struct csock *s, uint32_t n);
bool link_send_plain(struct csock *s, const void *buf, uint32_t len);
/* Bytes; -EAGAIN; 0: it goes by TCP now. */
int link_send_block(struct csock *s, struct iov_it *it, uint32_t n, int flags);
/* All of it as one record: 1; -EAGAIN; 0: not now, there is no way any more. */
int link_send_record(struct csock *s, struct iov_it *it);
/* May this buffer be named to the neighbour? */
bool link_can_name(const struct csock *s, const struct buf_ref *r);
/* The same to the service, of what came over a link: how. */
bool link_wire_name(const struct buf_ref *r, uint64_t *off) must_check;
/* Then link_send_buf() or link_write_nothing(), at once. False: it goes by TCP now. */
bool link_may_write(struct csock *s) must_check;
void link_send_buf(struct csock *s, uint32_t len, const struct buf_ref *r, uint32_t cookie);
void link_write_nothing(struct csock *s);
/* Where a datagram lies that a neighbour sent by way of the service, which is held until
 * link_region_put(); NULL: nowhere that we see. */
const uint8_t *link_region_get(const struct core *c, uint64_t off, uint32_t len, uint8_t *region);
void link_region_put(uint8_t region);
int link_core_init(struct core *c) must_check;
void link_core_fini(struct core *c);
/* Rows from core->link_row on that may be used: all, as far as there is memory. */
void link_rows_open(struct core *c);
/* Beside rows of client.sock, which come into use: 0, -ENOMEM. */
int links_open(uint64_t from, uint64_t to) must_check;
void link_row_put(struct core *c, uint32_t row);
uint16_t link_row_gen(const struct core *c, uint32_t row);

/* ---- records (link_stream.c, record.c) ---- */
/* It is the program's now: takes the link that it was offered. */
void record_look(struct csock *s);
/* May a record be sent? 0, -EAGAIN, or why never. */
int record_ready(struct csock *s) must_check;
/* Until that may have changed: 0 to try again, else -errno. */
int record_wait(struct csock *s, int flags, int64_t deadline) must_check;
ssize_t record_send(struct csock *s, struct iov_it *it, int flags);
ssize_t record_recv(struct csock *s, struct iov_it *it, int flags, int *msg_flags);
/* The row of the first that is unread, which is the caller's now; there is one. */
uint32_t record_next(struct csock *s);
/* What links carried. */
void link_stats(struct zs_stats *all);

#endif
