/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a thread waits: looking for work, asleep, for the kernel's descriptors too.
 */
#ifndef ZS_CLIENT_WAITING_H
#define ZS_CLIENT_WAITING_H

#include "base/turn.h"
#include "client/state.h"

/* ---- spin.c: how long a wait looks for work before it sleeps ---- */
struct spin {
	int64_t budget_ns; /* 0: sleep at once */
	int64_t quiet_ns;  /* since when there is nothing to do, less others' turns; 0: unknown */
	bool signals;	   /* matter to this wait: they are held back while others run */
	bool held;
	struct turn turn; /* the others' last one */
	sigset_t mask;	  /* what it was, if held */
};
/* wanted_ns: -1 the default. After the channels are there. */
void spin_init(int64_t wanted_ns);
void spin_begin(struct spin *s, bool signals);
/* Are several looks worth while before spin_on()? */
bool spin_is_dense(void);
/* After each look: it found n pieces of work. */
void spin_found(struct spin *s, unsigned n);
/* After a look that found work (busy) or none: look again? Then the others had a turn: the lock was
 * given away for a moment. False: sleep, and signals are let through again. */
bool spin_on(struct spin *s, int64_t now, bool busy);
/* paid: what was waited for came. */
void spin_end(struct spin *s, bool paid);

/* ---- interrupt.c: is a signal handled while the calling thread spins? ---- */
void interrupt_watch(void);
/* Since watch, or since the last time that it was true. */
bool interrupt_seen(void);
void interrupt_unwatch(void);
/* A host tells (host.h): then every wait may ask, there is no need to watch. */
void interrupt_by(bool (*interrupted)(void));
bool interrupt_is_told(void);
/* Around a system call that sleeps for, or until, ts, which a signal may shorten. True: one came.
 */
void interrupt_sleep(struct timespec *ts);
bool interrupt_woke(void);
/* Signals wait from hold to release; then they are handled, and seen. */
void interrupt_hold(sigset_t *was);
void interrupt_release(const sigset_t *was);
/* A wait ends with -EINTR. */
void interrupt_timed(bool timed);

/* ---- wait.c ---- */
int64_t now_ns(void);
int64_t deadline_ms(int timeout_ms);
/* One turn: the stack, when the program runs it; then what the channels have. Returns how much was
 * done. Inside. */
unsigned client_turn(void);
/* Takes what the channels have. Inside. */
unsigned client_drain(void);
/* Who only sends looks now and then what has come: a reset, say. Inside. */
#define SENDS_BLIND 16u
static inline void client_send_looks(void)
{
	if (unlikely(++client.blind > SENDS_BLIND))
		client_drain();
}
/* A call found nothing: in mode poll somebody must run the stack in the end. Inside. */
unsigned client_dry(void);
/* Waits until w is woken (0), or -ETIMEDOUT, -EINTR, -EBADF (the stack stops). Inside; the lock is
 * released meanwhile, so everything may have changed. */
int client_wait(struct waiter *w, int64_t deadline) must_check;
/* Lets others have the lock for a moment; everything may have changed. */
void client_breathe(void);
void waiter_init(struct waiter *w);
void waiter_wake(struct waiter *w);
/* Waits for news of one socket; -EBADF also when its descriptor was closed. */
int csock_wait(struct csock *s, int64_t deadline) must_check;
/* The same; of the processes that all wait so, or with EPOLLEXCLUSIVE, one is woken. Who waits no
 * more and has not asked for what came says shared_exclusive_left(). */
int csock_wait_exclusive(struct csock *s, int64_t deadline) must_check;
void wlink_remove(struct wlink **list, struct wlink *l);
void wlink_wake(struct wlink *list) slow_path;

/* ---- sleep.c: the leader's, where the stack has threads of its own ---- */
/* Until a bell rings; 1 if there may be news of the service, 0, -EINTR. Inside; the lock is
 * released meanwhile. */
int sleep_on_bells(int64_t timeout_ns, struct waiter *w);
/* So long, -1: for ever, in a form that a signal can shorten (interrupt_sleep()). */
struct timespec sleep_time(int64_t timeout_ns);
/* A bell, or what tells of the service, is another one now. */
void sleep_changed(void);
/* The program closed our descriptors. */
void sleep_forget(void);
/* A descriptor to be slept on instead of all others; -1. */
int sleep_on_one(void);

/* ---- kwait.c: the kernel's descriptors ---- */
/* Is any ready? Then w is woken. 0, -EINTR. The lock is released meanwhile. */
int kwait_look(struct waiter *w) must_check;
/* The same, if it is some time since the last one. */
int kwait_due(struct waiter *w, int64_t now) must_check;
/* Sleeps on them, and on n of the client's that stand at k->fd[k->n]. What ppoll() says; deaf: as a
 * waiter's. Outside. */
int kwait_sleep(struct kwait *k, unsigned n, int64_t timeout_ns, bool deaf);
/* A follower: sleeps until it is woken or one is ready, or -ETIMEDOUT, -EINTR. Inside. */
int kwait_follow(struct waiter *w, int64_t deadline) must_check;
/* In a child of fork: what followers sleep on is the parent's. */
void kwait_forget(void);

/* ---- poll.c ---- */
/* A waiter linked to something that a pollfd names. */
struct poll_link {
	struct wlink link;
	struct wlink **list; /* NULL: to nothing */
	struct epset *set;   /* whose row it keeps */
};
/* What each is ready for now; what is not ours: `unknown`. How many are ready for something. */
int poll_look(struct pollfd *fds, nfds_t n, short unknown);
/* exclusive: see csock_wait_exclusive(). */
void poll_link(const struct pollfd *fds, nfds_t n, struct poll_link *links, struct waiter *w,
	       bool exclusive);
void poll_unlink(nfds_t n, struct poll_link *links);

#endif
