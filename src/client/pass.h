/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that go to other programs by SCM_RIGHTS, for a host of libzstack that sees the messages
 * (host.h, src/preload; docs/design/011, 6). The service keeps a socket while it is on its way.
 */
#ifndef ZS_CLIENT_PASS_H
#define ZS_CLIENT_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "chan/attach.h"

/* What the host adds to a socket, and gets with it. */
struct pass_with {
	int fd;	     /* a descriptor of the kernel's; -1: none. Received: the caller's to close */
	bool blocks; /* the socket is to block there, whatever it does here */
};

/* What is to be sent in the place of this descriptor; the caller closes it when it is sent. -EBADF:
 * not ours; -EBUSY: it connects; -ENOTCONN: there is no service. */
int pass_send(int fd, const struct pass_with *with) must_check;
/* What was received: the socket gets this number. The caller puts a file of his own there then.
 * -ENOENT: the service knows nothing of it; -EALREADY: who had it before has not got the library, and
 * the descriptor is its end of the stream. */
int pass_receive(int fd, struct pass_with *with) must_check;

/* Of a command that redeems (state.h): the socket, opened; NULL: it can't be one, and is closed. */
struct core;
struct csock;
struct chan_cqe;
struct csock *redeemed(struct core *c, const struct chan_cqe *e);

/* Asks the service over the control connection, under the client's lock: `what`, of len bytes,
 * begins as attach_pass does and is numbered here, and a descriptor, if fd is not NULL. m: the
 * answer, with its descriptors. -errno: what stopped it, or the answer's res; then there are none. */
int pass_ask(enum attach_type type, void *what, size_t len, const int *fd, enum attach_type answer,
	     struct attach_msg *m) must_check;

/* ---- pass_end.c ---- */
/* An end that nothing goes with yet, and its name; the caller's to close. -errno: the service gives
 * none. */
int end_take(uint64_t *name) must_check;
/* The name of what was received, 0: none. */
uint64_t end_name(int fd);

#endif
