/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The socket calls that serve.c and load.c make. net_zs.c says them to Z-Stack, net_kernel.c to the
 * kernel: the same programs run on both, so that a comparison compares the stacks. As Z-Stack's,
 * the calls return a negative errno.
 */
#ifndef ZS_BENCH_NET_H
#define ZS_BENCH_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#define NET_BUFS 64

/* Takes the stack's options out of the arguments; exits with a message when it can't start. */
void net_start(int *argc, char **argv);
void net_stop(void);
/* Counters of the stack to standard error. */
void net_dump(void);
const char *net_usage(void);

/* All descriptors are non-blocking and without Nagle's delay. */
int net_listen(int family, uint16_t port);
int net_accept(int fd);
int net_connect(const struct sockaddr *to, socklen_t len);
ssize_t net_read(int fd, void *buf, size_t len);
ssize_t net_write(int fd, const void *buf, size_t len);
int net_close(int fd);
/* Closes with a reset: no TIME-WAIT. */
void net_abort(int fd);
int net_epoll_create(void);
int net_epoll_ctl(int ep, int op, int fd, struct epoll_event *ev);
/* timeout in ms. With spin it is 0 in the kernel's case: the caller's core is its own. */
int net_epoll_wait(int ep, struct epoll_event *ev, int n, int timeout, bool spin);

/* Without a copy; the kernel's programs have none: -EOPNOTSUPP. */
/* Receives what there is and gives it back at once. Bytes, 0 at the end of the stream. */
ssize_t net_discard_zc(int fd);
/* Sends back what there is, the same buffers. */
ssize_t net_echo_zc(int fd);
/* Sends a buffer of len bytes, made at the first call and shared by all connections. */
ssize_t net_source_zc(int fd, size_t len);

#endif
