/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the calls of the program have in common.
 */
#ifndef ZS_CLIENT_CALLS_H
#define ZS_CLIENT_CALLS_H

#include "client/state.h"

/* ---- errqueue.c ---- */
/* Whatever has no error queue has none of these: a listener. */
struct iov_it;
/* There is one. -ENOBUFS. */
int errqueue_make(struct csock *s) must_check;
void errqueue_free(struct csock *s);
void errqueue_empty(struct csock *s);
/* A send with MSG_ZEROCOPY is complete. */
void errqueue_sent(struct csock *s);
/* An ERROR of a UDP socket that is to be queued; a QUOTE behind it, false: it can't be one. */
void errqueue_error(struct csock *s, const struct chan_cqe *e);
bool errqueue_quote(struct csock *s, const struct chan_cqe *e) must_check;
/* A datagram is about to be sent: is its end to be stamped (SO_TIMESTAMPING)? Then the token is
 * marked. When that comes back the datagram is gone. */
struct token;
void errqueue_sends(struct csock *s, struct token *t);
void errqueue_gone(struct csock *s, uint32_t number);
/* Datagrams are numbered from 0 from here on. */
void errqueue_number(struct csock *s);
/* IP_RECVERR was set, or taken back: nothing is in the queue then but what has to do with zero
 * copy. */
void errqueue_recverr(struct csock *s, bool on);
/* What stands first in it, into m (may be NULL) and *it: bytes; -EAGAIN. */
ssize_t errqueue_recv(struct csock *s, struct iov_it *it, struct msghdr *m) must_check;

/* ---- refused.c ---- */
/* A datagram was sent to that address of its peer's: if the program is to hear of it at once, waits
 * until the stack has had it. 0, or why it could not be sent. */
int refused_look(struct csock *s, const uint8_t to[16], uint16_t port) must_check;
/* One was sent to a broadcast address: 0, or -EACCES. */
int refused_broadcast(struct csock *s, const uint8_t to[16]) must_check;

/* ---- host.c ---- */
/* An address of the stack's, or of loopback, as far as is known. Inside; may ask the stack, and
 * releases the lock then. */
bool address_is_here(const uint8_t addr[16]);
/* Of a subnet of the stack's, or of all. May release the lock, as address_is_here(). */
bool address_is_broadcast(const uint8_t addr[16]);

/* ---- addr.c ---- */
struct endpoint {
	uint8_t addr[16];
	uint16_t port;
	uint32_t scope;
};
/* From the program; -EINVAL, -EAFNOSUPPORT. */
int endpoint_from(struct endpoint *e, int domain, const struct sockaddr *sa, socklen_t len);
/* To the program; sa or len NULL: nothing. */
void endpoint_to(const uint8_t addr[16], uint16_t port, uint32_t scope, int domain,
		 struct sockaddr *sa, socklen_t *len);

/* ---- cmsg.c ---- */
struct dgram;
/* CLOCK_REALTIME. */
int64_t real_ns(void);
/* What the socket wants to know of a datagram. */
void cmsgs_put(const struct csock *s, const struct dgram *d, struct msghdr *m);
/* sin6_scope_id of its sender. */
uint32_t dgram_scope(const struct csock *s, const struct dgram *d);
/* One more, behind *used bytes. */
void cmsg_put(struct msghdr *m, size_t *used, int level, int type, const void *data, size_t len);
/* The socket's time stamps, if it wants any, of that time; sent: of a datagram that it sent. */
void cmsg_stamp(const struct csock *s, int64_t ns, bool sent, struct msghdr *m, size_t *used);
/* What control messages say of a datagram. */
struct send_ctl {
	bool has_from;
	uint8_t from[16]; /* IPv4 mapped: the own address */
	uint32_t ip;	  /* CHAN_IP_* */
};
/* Of a send of so many bytes. -EINVAL, -EFAULT. */
int cmsgs_take(const struct csock *s, const struct msghdr *msg, size_t bytes,
	       struct send_ctl *c) must_check;

/* ---- send.c, recv.c: shared with zc.c ---- */
#define SENDMSG_FLAGS                                                                              \
	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_OOB | MSG_CONFIRM | MSG_ZEROCOPY | MSG_EOR)
/* May this socket be written to now? 0; -EAGAIN; or the error, which stays pending. */
int send_check(struct csock *s);
/* Are there n tokens, a block and n places in the ring? 0; or -EAGAIN: the socket is woken when
 * there may be. May run the stack and release the lock: so also what send_check() says, or -EBADF
 * when the descriptor was closed. */
int send_means(struct csock *s, uint32_t n) must_check;
/* Waits for room; 0: look again. */
int send_wait(struct csock *s, int flags, uint32_t tokens, int64_t deadline) must_check;
int64_t send_deadline(const struct csock *s);
ssize_t send_result(struct csock *s, ssize_t done, int r);
/* A UDP socket of several cores that has no address yet needs one before it sends. */
int send_autobind(struct csock *s);
int send_dgram_ready(struct csock *s, int flags, uint32_t pieces);
int send_dgram_to(struct csock *s, const struct sockaddr *addr, socklen_t addrlen,
		  struct endpoint *to);
/* Returns what belongs into the first word: the port. */
uint16_t send_dgram_fill(struct chan_sqe *q, const struct endpoint *to);
/* Waits until target bytes, or what can still come of them: 1 there is something; 0 the stream's
 * end; or the error, which is told by this. */
int recv_wait(struct csock *s, uint32_t target, size_t want, int flags,
	      int64_t deadline) must_check;
int recv_wait_dgram(struct csock *s, int flags) must_check;
int64_t recv_deadline(const struct csock *s);
/* n bytes at the head of a stream were read. */
void recv_consumed(struct csock *s, uint32_t n);
/* An urgent byte that stands at the head, out of line, is not part of what is read. */
void recv_skip_urgent(struct csock *s);
/* Copies n bytes that are there. */
void recv_into(struct csock *s, void *to, uint32_t n);
/* How many bytes can be read before the urgent mark. */
uint32_t recv_before_mark(const struct csock *s);

/* ---- group.c: one descriptor on several cores ---- */
int core_socket(struct core *c, int domain, int type, int protocol, struct csock **out);
int group_new(struct csock *s);
void group_close(struct csock *s);
int group_call(struct csock *s, const struct chan_sqe *cmd, struct chan_cqe *e);
int group_spread(struct csock *s);
/* Around both, and what binds or listens: one thread at a time. -EBADF: closed meanwhile. end takes
 * the group as it was at begin: it may have no socket any more. */
int group_begin(struct csock *s) must_check;
void group_end(struct group *g);

/* ---- sockopt.c ---- */
/* Remembers what was set. */
void option_keep(struct csock *s, const struct chan_sqe *cmd);
void option_remember(struct csock *s, const struct opt *o);
void option_forget(struct csock *s, const struct opt *o);
/* s->opts, with room for n; NULL: no memory. */
struct opts *csock_opts(struct csock *s, unsigned n);
void csock_opts_free(struct csock *s);
/* The command that sets it again. */
void option_command(struct chan_sqe *cmd, const struct opt *o);
/* Asks the service, and remembers. */
int option_set_service(struct csock *s, int level, int name, const void *value, socklen_t len);

/* ---- msfilter.c ---- */
/* IP_MSFILTER, MCAST_MSFILTER of a UDP socket: set and got by these. */
bool filter_is(const struct csock *s, int level, int name);
int filter_set(struct csock *s, int level, int name, const void *value, socklen_t len) must_check;
int filter_get(struct csock *s, int level, int name, void *value, socklen_t *len) must_check;

/* ---- membership.c ---- */
/* 0 or an error; 1: not its affair. */
int membership_set(struct csock *s, int level, int name, const void *value, socklen_t len);
/* False: it is not one of its own. */
bool membership_command(struct chan_sqe *cmd, const struct opt *o);
/* A group was left as that option says: its sources are forgotten with it. */
void membership_left(struct csock *s, const struct opt *o);

/* ---- cork.c: TCP_CORK and TCP_NODELAY, for which nobody waits ---- */
/* 0; 1: not its affair, the service is to be asked; -EBADF: closed meanwhile. */
int cork_set(struct csock *s, int level, int name, int value, socklen_t len);
/* The option's value; -1: the service knows it. */
int cork_get(const struct csock *s, int level, int name);
/* Before a send of a stream that is corked or delayed: what it makes of the flags. -EBADF: closed
 * meanwhile. */
int cork_send(struct csock *s, int *flags) must_check;
static inline int cork_before_send(struct csock *s, int *flags)
{
	return unlikely(s->flags & (CSOCK_CORKED | CSOCK_DELAYED)) ? cork_send(s, flags) : 0;
}
/* The service gets to know all, since others will hold the socket too. */
void cork_settle(struct csock *s);

/* ---- socket.c ---- */
int socket_bind(struct csock *s, const struct endpoint *at);
/* at: as fd_open(). Takes the lock. */
int socket_new(int domain, int type, int protocol, int at) must_check;
/* Of which no descriptor is left. */
int socket_close(struct csock *s);
/* One of ours, known to be in use. */
int descriptor_close(int fd);

#endif
