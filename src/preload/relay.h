/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections for programs that have not got the library (docs/design/011, 12): each gets one end
 * of a pair of UNIX sockets, and a process of its own, `zstack relay`, carries the bytes between
 * the other end and the connection.
 */
#ifndef ZS_PRELOAD_RELAY_H
#define ZS_PRELOAD_RELAY_H

#include <stdbool.h>

#include "base/assert.h"

#pragma GCC visibility push(hidden)

/* Starts it, as nobody's child, with the rights of this process. A descriptor that is
 * close-on-exec, by which it is told what to do; -errno. */
int relay_start(void) must_check;
/* Is this number one of a connection of ours? Else it can't be served. */
bool relay_serves(int fd);
/* It is to serve this connection of ours, once it is told so. The descriptor for the program; the
 * caller's to close. -EOPNOTSUPP: it is no connection; other -errno. */
int relay_add(int relay, int fd) must_check;
/* The program runs: begin; or it does not: nothing has happened. Without a word the descriptor's
 * end, by exec, means the first. Closes it. */
void relay_begin(int relay);
void relay_forget(int relay);

/* For the relay: what it is told, one message each. */
#define RELAY_ADD    "+" /* with two descriptors: what is to be redeemed, the other end */
#define RELAY_BEGIN  "!"
#define RELAY_FORGET "-"
#define RELAY_FD     3 /* where it is told so */

#pragma GCC visibility pop

#endif
