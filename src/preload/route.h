/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of NETLINK_ROUTE in an unmodified program: what it asks the kernel for is answered for the
 * stack's interfaces as well (route.c, route_message.c).
 */
#ifndef ZS_PRELOAD_ROUTE_H
#define ZS_PRELOAD_ROUTE_H

#include <linux/netlink.h>
#include <sys/socket.h>

#include "preload/interface.h"

/* A dump that a program has asked for. */
struct route_dump {
	uint16_t type;	/* RTM_GETLINK, RTM_GETADDR */
	uint8_t family; /* AF_UNSPEC: all */
	uint32_t index; /* of this interface alone; 0: all */
	uint32_t seq;
};

#pragma GCC visibility push(hidden)

/* What a program sends. False: no request that is about us. */
bool route_request(struct route_dump *d, const void *message, size_t len);
/* The stack's part of the answer: messages of netlink behind one another, without the port to which
 * they go; of malloc. NULL: there are none, or no memory. */
char *route_answer(const struct route_dump *d, size_t *len);

/* Before a send on such a socket (FD_ROUTE): true: it asks for what the stack has something of, and
 * when it has not been sent route_unsent() is to be called. */
bool route_sending(int fd, const struct iovec *iov, size_t n);
void route_unsent(int fd);
/* Before one receives. True: this is what it receives, *r bytes. */
bool route_receive(int fd, struct msghdr *msg, int flags, ssize_t *r);
/* The number is closed. Under number_lock(). */
void route_closed(int fd);

#pragma GCC visibility pop

#endif
