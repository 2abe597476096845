/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the fuzz targets of the service share: the whole service in this process, an honest program
 * that must get its answers and its own datagrams back whatever the others do, and what others may
 * do: the others are hostile.
 *
 * Their process is this one, so what tells a dead process from a living one (pidfd, mappings) is
 * left to the tests with real ones (test/interop/test_service.py, test_storm.py); here death is
 * the event that the pidfd would bring.
 */
#ifndef ZS_FUZZ_SERVICE_H
#define ZS_FUZZ_SERVICE_H

#include "fuzz.h"
#include "svc/service.h"

#define EVIL_MAX 6
#define PAYLOAD	 200u
#define UDP_PORT 5300

struct peer {
	int sock;
	uint32_t app;  /* the service's number for it */
	bool ready;    /* READY was heard */
	bool writable; /* its arena, by it */
	struct chan_map map;
	struct chan_end end;
	uint64_t rings_bytes;
	int pkt_fd, arena_fd;
};

extern struct service svc;
extern struct peer honest, evil[EVIL_MAX];
/* Gets what the service says to a peer that is attached; NULL: nobody is interested. Descriptors
 * that it leaves are closed. */
extern void (*heard)(struct peer *p, struct attach_msg *m);

/* ---- the service ---- */

/* Opens it with a first domain, of everybody or of this user, and a second one of another user
 * (if this is root), and attaches the honest one. */
void fuzz_service_open(bool everybody, bool two_domains);
/* A few turns of the control thread's loop, and of the stack's. */
void serve(unsigned turns);
/* All hostile ones leave, and nothing of them may be left. */
void everybody_leaves(void);
/* The honest one's datagram to itself: what arrives is what it sent. */
void honest_check(void);
struct socks *the_socks(void);

/* ---- an application's side ---- */

bool dial(struct peer *p);
/* As another user, whose domain is the second one. */
bool dial_as_other(struct peer *p);
void forget(struct peer *p);
/* What the service said. A child's connection becomes another application's. */
void hear(struct peer *p);
void say(struct peer *p, enum attach_type type, void *msg, size_t len, const int *fd, unsigned n);
void push(struct peer *p, const struct chan_sqe *q);
/* From a dialled connection to READY, as libzstack goes it; refused: p->sock < 0. */
void attach(struct peer *p);
void attach_dialled(struct peer *p);
/* By BYE; and without. */
void leave(struct peer *p);
void die(struct peer *p);

/* ---- what hostile ones do ---- */

void say_hello(struct peer *p, struct choices *c);
/* Bytes of any length as any type, with any number of descriptors. */
void say_anything(struct peer *p, struct choices *c);
/* Over the memory that it shares with the service. */
void scribble(struct peer *p, struct choices *c);
/* One command, of any kind, for a socket that may be there. */
void command(struct peer *p, struct choices *c);
uint32_t choose_sid(struct choices *c);

#endif
