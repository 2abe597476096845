/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Start and end; how the stack is reached; a service that goes, and the next one; other processes.
 */
#ifndef ZS_CLIENT_TRANSPORT_H
#define ZS_CLIENT_TRANSPORT_H

#include "client/state.h"

/* ---- client.c: start, stop ---- */
struct zs_config;
/* Called inside; 0 or -ENXIO. */
static inline int client_ready(void)
{
	return likely(client.running) ? 0 : -ENXIO;
}

struct attach_msg;
/* Attaches by what a service made for us (exec.c): no socket is there yet. name: see
 * attach_name(). Inside. */
int client_adopt(const char *path, const char *name, struct attach_msg *welcome) must_check;
/* The same, if none has, or the one that is there refuses: the next one is looked for. */
struct lost_service {
	const char *path, *name;
	uint32_t uid, free_ports_from;
	unsigned n_cores;
	bool refused;
	const struct chan_hdr *hdr; /* of each core's channel */
	uint64_t arena_bytes;
};
int client_adopt_lost(const struct lost_service *l) must_check;

/* ---- config.c ---- */
void config_set_error(struct zs_config *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int config_complete(struct zs_config *c);
void config_embed(const struct zs_config *c, struct embed_cfg *out);
/* Where to attach: NULL when the configuration names ports of its own. */
const char *config_service(const struct zs_config *c);
int64_t config_spin_ns(const struct zs_config *c);

/* ---- transport.c ---- */
/* service: where one is to be attached to, NULL: the stack is loaded. */
int transport_open(struct transport *t, const struct embed_cfg *cfg, const char *service, char *err,
		   size_t err_len);
void transport_close(struct transport *t);
/* May this port be bound, by the user that the program is now? 0, *port may have been chosen then;
 * -EACCES, -EADDRINUSE; -ERESTART: there is nobody to ask any more. voucher: of who had it before,
 * -1. */
int transport_may_bind(const uint8_t addr[16], uint16_t *port, bool udp, int voucher);
/* Is it asked for this port? */
bool transport_asks(uint16_t port);
/* Are UDP sockets to be bound before they are connected? */
bool transport_is_shared(void);

/* ---- vouch.c: what root was allowed, for the next service ---- */
/* -1 if there is none: we are not root, or have no descriptor left. */
int vouch_make(const char *purpose);
/* The descriptor if it is to be shown, else -1. */
int vouch_take(int fd, const char *purpose);
/* It is needed no more. */
void vouch_drop(int fd);
/* Its port is the program's, by a service's word. */
void vouch_bound(struct csock *s);
/* fd, which is taken, is its voucher; -1: it has none. */
void vouch_give(struct csock *s, int fd);
/* What is to be shown when it gets that port again; -1. */
int vouch_bind(const struct csock *s);
/* What may be given to whoever gets the socket, or attaches for this program; -1. */
int vouch_of(const struct csock *s);
int vouch_attach(void);
/* fd, which is taken, is to be shown to the next service; -1: nothing. */
void vouch_attach_give(int fd);

/* ---- fork.c ---- */
void fork_hooks(void);
/* The socket gets another holder, in the application of that number: s->child_sid is its name
 * there, 0: it has none. What is unread goes back to the service. */
void fork_share(struct csock *s, uint32_t app);
/* It has another holder: what is unread, or not accepted, goes back to the service. */
void fork_shared(struct csock *s);
/* Who is refused by the service may join it later. */
void fork_offer(struct csock *s);
/* After the last of them. */
void fork_fence(void);
/* pass_end.c: before fork; what was in store for passing sockets on is closed. */
void ends_drop(void);

/* Has it an address that others could share, at this service or the next one? */
bool csock_may_have_key(const struct csock *s);
/* It has the key that all its holders are to know, if there is memory for it. */
void csock_key_make(struct csock *s);

/* ---- orphan.c: a child of fork that no service has a place for ---- */
/* In the parent, before: holders of a socket know one another at the next service. */
void orphan_prepare(void);
void orphan_share(struct csock *s);
/* Channels that lead nowhere, for cores without tables; lost->hdr has been checked. -ENOMEM …:
 * attach_close() undoes it. */
int orphan_channels(const struct lost_service *lost) must_check;
/* In the child, of whose threads this is the only one: it is as if its service had just gone; or
 * -errno, and it has nothing. refused: there is one. */
int orphan_begin(bool refused) must_check;
/* Each socket that a descriptor stands for; what has several, as often. */
void socks_each(void (*call)(struct csock *));

/* ---- child.c: a child of fork ---- */
/* A socket of the parent's as the child has it first: without name, queue and waiters. */
void csock_is_childs(struct csock *s);
/* Frees the rows that don't stay. */
void rows_sweep(bool (*stays)(const struct csock *s));
/* In the child, of whose threads this is the only one: what its application is, of which it takes
 * the descriptors; its sockets have their names there (child_sid). NULL: it has none. */
void child_begin(struct attach_msg *welcome);
/* The same, if nobody made one, for there is no service, or it refused. */
void child_orphan(bool refused);
/* Under client_lock_as_is(). Has it not come to its sockets yet? */
bool child_unborn(void);
/* Then: a number is closed. False: it must be born for that. */
bool child_close(int fd);
/* Then: what it would attach by. */
const struct attach_msg *child_welcome(void);

/* ---- shared.c: sockets that several processes hold ---- */
/* Asks for at most want bytes, or for a datagram. What came stands in the receive queue: 1; 0 at
 * the end of the stream, -EAGAIN also when the socket is shared no more. */
int shared_read(struct csock *s, size_t want, bool looks) must_check;
/* What was only looked at goes: it is still to be read, by whoever is first. */
void shared_forget(struct csock *s);
/* Asks for a connection, which stands in the listener's queue then: 0; -EAGAIN. */
int shared_accept(struct csock *l) must_check;
void shared_event(struct csock *s, const struct chan_cqe *e);
/* A stream that nobody else reads is lent to this program as if it were its alone, until another
 * process reads it (sock/sock_lease.c). */
#define LEASE_OVER 1u /* what was not taken is somebody else's; CHAN_EV_LEASE is still to come */
#define LEASE_LEFT 2u /* we have closed it */
static inline bool csock_leased(const struct csock *s)
{
	return s->lease > LEASE_LEFT;
}
void shared_lease(struct csock *s, const struct chan_cqe *e);
/* Of n bytes that are to be read, so many may be; 0: none any more. */
uint32_t shared_take(struct csock *s, uint32_t n) slow_path;
/* Is what stands in its queue still there to be read? */
bool shared_holds(struct csock *s) slow_path;
/* Its lease is over, as far as it goes on: what was not taken goes back. */
void shared_give_up(struct csock *s);
/* It is about to be closed. */
void shared_leave(struct csock *s);
/* A buffer of a lease that has ended: true, it is not for the queue, and is dealt with. */
bool shared_late(struct csock *s, uint32_t row);
/* Is it to be asked for? Who has a lease is told. */
static inline bool shared_asks(const struct csock *s)
{
	return !csock_leased(s) || (s->flags & CSOCK_HINT) != 0;
}
/* Who waits for it here may have changed: says so to the service if it makes a difference. */
void shared_exclusive(struct csock *s);
/* A thread that waited so has not asked. May release the lock. */
void shared_exclusive_left(struct csock *s);
/* A stream that others write to as well: returns when the service has taken what was sent, so that
 * what another process sends after this comes after it. */
void shared_flush(struct csock *s);
static inline void shared_sent(struct csock *s)
{
	if (unlikely(s->flags & CSOCK_SHARED) && s->type == SOCK_STREAM)
		shared_flush(s);
}
/* Is any socket of its descriptor shared? */
static inline bool csock_shared(const struct csock *s)
{
	const struct group *g = s->group;

	for (unsigned i = 0; g != NULL && i < g->n; i++)
		if (g->sock[i]->flags & CSOCK_SHARED)
			return true;
	return (s->flags & CSOCK_SHARED) != 0;
}

/* ---- attach.c ---- */
/* The configured path, or that of the environment, or the usual one. */
const char *attach_path(const char *configured);
/* Connects, and looks who answers. */
int attach_dial(struct attached *a, const char *path, int flags) must_check;
/* The same at the path, or at the name if it is whom it must be. */
int attach_find(struct attached *a, const struct attach_want *want, int flags) must_check;
/* A first message to the service that attach_find() finds, with the arenas of `from`, which stay its own, or
 * NULL. flags: SOCK_NONBLOCK: never waits. */
int attach_begin(struct attached *a, const struct attached *from, const struct attach_want *want,
		 int flags, char *err, size_t err_len) must_check;
/* As attach_recv(), without waiting. A link that is offered comes without its descriptors when there
 * are no numbers for them: it is to be refused. */
int service_recv(int sock, struct attach_msg *m) must_check;
/* Its answer is there: 1 attached, and maps are filled in; 0 more is to come; or -errno. */
int attach_step(struct attached *a, struct chan_map *maps, char *err, size_t err_len) must_check;
int attach_open(struct attached *a, const struct attach_want *want, struct chan_map *maps,
		char *err, size_t err_len) must_check;
/* A first message that asks for all descriptors again. */
int attach_resume(struct attached *a, const struct attach_want *want) must_check;
/* Its answer: 1 they are there, in `of` and maps; 0 not yet; -errno. The old ones are whoever's. */
int attach_resumed(struct attached *a, struct attached *of, struct chan_map *maps) must_check;
/* Memory by a descriptor, which stays the caller's; not for children of fork. */
int mapping_map(struct mapping *m, int fd, uint64_t bytes, int prot) must_check;
void mapping_unmap(struct mapping *m);
/* A message's descriptor, out of the way of the program's. */
int fd_take(struct attach_msg *m, unsigned i);
struct fd_id fd_which(int fd);
bool fd_is(int fd, const struct fd_id *id);
/* The same, out of the way of the program's. */
int fd_high(int fd);
/* Gives back all that is not kept of another. maps may be NULL. */
void attach_close(struct attached *a, struct chan_map *maps, bool in_order);
/* Before fork: asks for what the child needs. */
int attach_fork(struct attached *a, struct attach_msg *m) must_check;
/* In the child: what is the parent's is closed; then the child's own is mapped and said to be. */
/* The next message, which is waited for. */
int attach_answer(struct attached *a, struct attach_msg *m) must_check;
void attach_abandon(struct attached *a, struct chan_map *maps);
int attach_child(struct attached *a, struct attach_msg *m, struct chan_map *maps) must_check;
int attach_bind(struct attached *a, const uint8_t addr[16], uint16_t *port, bool udp,
		int voucher) must_check;

/* ---- rejoin.c: the service goes and comes ---- */
void rejoin_init(const char *path);
/* Who the first service is, and its other name, by which the next one is found if the path can't
 * be. NULL: as the kernel says. */
void rejoin_know(const struct attached *a, const char *name);
void rejoin_fini(void);
/* For the leader, or any thread when there is none: looks after the service if it is time (now_ns),
 * or if there are news. Inside. */
void rejoin_look(int64_t now, bool news);
unsigned rejoin_poll(struct pollfd *p);
/* When a sleeper has to come back to look; FOREVER. */
int64_t rejoin_deadline(void);
bool service_is_dead(void);
/* Dead, or it has ended our attachment: it answers no more. */
bool service_is_deaf(void);
/* Before a sleep of a wait that began at `since`: looks if it is time, and says until when to
 * sleep. The program may have closed our descriptors before it called, and others may have their
 * numbers: so the first sleep is short, unless there was a look since then. */
int64_t rejoin_sleep_until(int64_t since, int64_t now, int64_t deadline);
/* Is there no service that could be asked? */
bool rejoin_is_away(void);
/* Until when to wait for it at most, if one can go on without: so long after the last one went,
 * and for one that has been found. Looks for it. */
int64_t rejoin_await_until(int64_t patience_ns);
/* In a child of fork that has nothing of its parent's service: it looks for another one; or, if it
 * was refused, for a place at the same. */
void rejoin_alone(bool refused);
static inline bool rejoin_resuming(void)
{
	return client.transport.rejoin.state == REJOIN_RESUME;
}

/* ---- lost.c: the service is gone ---- */
/* Takes the packet region over. */
void client_lose(struct mapping *packets);
void lost_fini(void);
void lost_forget(void);
/* A row of a service that is gone. NIL. */
uint32_t lost_loan_find(const struct core *c, uint32_t name, uint16_t epoch);
void lost_loan_put(struct core *c, uint32_t row);
/* Its packet region, which stays mapped as long as it is held. */
const struct mapping *lost_packets(const struct gone *g);
void lost_hold(struct gone *g);
void lost_unhold(struct gone *g);

/* ---- remake.c: another has come ---- */
/* Sockets are made again; -ERESTART: it is gone already. */
int client_remake(void) must_check;
/* Waits until there is a service. 0, -EINTR, -EBADF (the stack stops). */
int client_attached(void) must_check;
/* The key of a socket that was shared at a service that is gone; 0. */
uint64_t csock_key(const struct csock *s);
/* Waits so long for it, if it is gone: client.lost tells. Inside. */
void client_await(int64_t deadline);
/* The same, and the socket is one of its; -EBADF also when it was closed, or its error. */
int csock_ready(struct csock *s) must_check;
int csock_remake(struct csock *s) must_check;
void service_miss(void);
/* Somebody asks for what comes to it: one that was left out is made again now. */
void csock_wanted_slow(struct csock *s) slow_path;
static inline void csock_wanted(struct csock *s)
{
	if (unlikely(s->sid == 0))
		csock_wanted_slow(s);
}
int remake_call(struct core *c, struct csock *s, const struct chan_sqe *cmd,
		struct chan_cqe *e) must_check;

#endif
