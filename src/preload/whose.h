/* SPDX-License-Identifier: BSD-3-Clause
 *
 * For decide.c: whose a socket is that is to be bound or connected.
 */
#ifndef ZS_PRELOAD_WHOSE_H
#define ZS_PRELOAD_WHOSE_H

#include "chan/chan.h"
#include "preload/preload.h"

struct wish {
	const char *verb; /* as verbose says it */
	int fd;		  /* of which it was asked */
	pid_t pid;	  /* and whose it is; 0: this process's */
	struct rule_case c;
	bool wildcard;	    /* the address is */
	bool loopback;	    /* the address is one of this host alone */
	bool group_if;	    /* what goes to groups is ours: number_group_if() */
	uint32_t scope;	    /* of a link-local address: the interface, as the program calls it */
	enum chan_told why; /* whose() decided so */
};

enum whose { WHOSE_KERNEL, WHOSE_OURS, WHOSE_BOTH };

#pragma GCC visibility push(hidden)

/* False: not an address of TCP or UDP, or too short: the kernel says what is wrong. fd: a socket of
 * the kernel's. */
bool wish_from(struct wish *w, int fd, const char *verb, const struct sockaddr *sa,
	       socklen_t len) must_check;
/* enum whose, or as room_error(); w->why is set. */
int whose(struct wish *w) must_check;
/* Before it is bound or connected: does a rule say that its connections go by no shared memory? */
void no_link_rule(int fd, const struct rule_case *c);
/* The same of a socket that is ours already, and is to be connected. */
void no_link_rule_to(int fd, const struct sockaddr *sa, socklen_t len);
/* The same, and said if that is wanted. */
int whose_told(struct wish *w) must_check;
/* It stays the kernel's, and would be ours if such sockets of such a program could be served. */
void whose_unserved(const struct wish *w);
/* It came to that: counted, as w->why says, or as the error does. Returns r: 0 and above, or
 * -errno. */
int whose_done(const struct wish *w, int r) must_check;

#pragma GCC visibility pop

#endif
