/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets without a copy. Received payload is read where the network card wrote it; payload to be
 * sent stays where the program wrote it, until the peer has acknowledged it.
 *
 *	struct zs_buf b[16];
 *	int n = zs_recv_zc(fd, b, 16, 0);               lent to the program …
 *	int k = zs_send_zc(peer, b, n, 0, 0);           … who gives k of them away …
 *	zs_buf_release(b + k, n - k);                   … and returns the others
 *
 * Ownership. A buffer is held by the program once for each time that it was lent, allocated or
 * referenced (zs_buf_ref), and each hold is ended by exactly one zs_buf_release() or by one
 * successful send, in any order and by any thread. A buffer that was sent is given back by the
 * library itself, when the peer has acknowledged it (or the connection is gone); whoever wants to
 * keep it (a page that is sent to many) takes a reference first. What the program does not hold
 * it can't release or send: -EINVAL, and nothing has happened.
 *
 * A struct zs_buf is a value: it may be copied and moved, and `data` and `len` may be narrowed to a
 * part of the buffer before it is sent. Only `handle` must stay as it is. Buffers stay the parent's
 * when a program forks: the child can't use them, nor look at what is in them.
 */
#ifndef ZSTACK_ZC_H
#define ZSTACK_ZC_H

#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct zs_buf {
	void *data;	 /* received ones must not be written: the memory may be read-only */
	uint32_t len;	 /* bytes at data */
	uint32_t unused; /* 0 */
	uint64_t handle; /* which buffer; opaque; never 0 */
};

/* Longest buffer that zs_buf_alloc() makes. */
#define ZS_BUF_MAX 65536u

/* Takes up to n buffers of a stream, at least one unless n is 0. Returns how many, 0 at the end of
 * the stream, or as zs_recv(). Flags: MSG_DONTWAIT. A buffer has the payload of one or more
 * segments; its length is the port's affair. While it is held, it counts against the receive
 * window with its whole size; a program that hoards gets nothing more, on any of its sockets. What
 * is left of a buffer that zs_recv() read a part of is lent as a shorter one. Of SOCK_SEQPACKET
 * each buffer is one record, whole. */
int zs_recv_zc(int fd, struct zs_buf *bufs, int n, int flags);

/* One datagram, whole, in order, in up to n buffers; most have one. Returns how many;
 * -EMSGSIZE when it has more than n: then it stays where it is. A datagram of no bytes is one
 * buffer of length 0. addr may be NULL. */
int zs_recvfrom_zc(int fd, struct zs_buf *bufs, int n, int flags, struct sockaddr *addr,
		   socklen_t *addrlen);

/* Ends one hold of each. -EINVAL if one of them is not held; the others are released all the same.
 * Buffers with handle 0 are skipped. */
int zs_buf_release(const struct zs_buf *bufs, int n);

/* One more hold of a buffer that is held. -EINVAL; -EOVERFLOW past 32767 holds. */
int zs_buf_ref(const struct zs_buf *buf);

/* A buffer to fill and send: len = size, contents undefined. It is to be sent from fd; from a
 * socket of another core it works too, but is copied (and counted so). fd -1: any, for a program
 * with one core. -EMSGSIZE: 0 or more than ZS_BUF_MAX; -ENOBUFS: the memory (see the option
 * `buffers`) is all in use; sends that are acknowledged give it back, and then fd is EPOLLOUT. */
int zs_buf_alloc(int fd, uint32_t size, struct zs_buf *buf);

/* Sends buffers of a stream, or records, in their order: allocated ones, lent ones, and parts of
 * them, mixed. Taken is a prefix of the array, never a part of a buffer: returns how many BUFFERS,
 * at least one unless n is 0. These are no longer the program's; the others are, unchanged, and can
 * be offered again. A socket takes a buffer when there is any room in its send buffer. -EAGAIN, -EPIPE,
 * -ECONNRESET, -ENOTCONN, -EINVAL (a buffer is not held, or data and len are not inside it; if an
 * earlier one was good, the return is their number). A blocking socket waits until all are taken.
 * Flags: MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL.
 *
 * cookie: 0, or a number of the program's choice to learn when what this call took is acknowledged.
 * The payload must not be changed until then: a retransmission would send the changed bytes. */
int zs_send_zc(int fd, const struct zs_buf *bufs, int n, uint64_t cookie, int flags);

/* One datagram made of all n buffers (at most 48), to addr or, NULL, to the connected peer. Returns
 * n, or fails as a whole as zs_sendto(); then the buffers are still the program's. Its cookie is
 * reported when the port has sent it. */
int zs_sendto_zc(int fd, const struct zs_buf *bufs, int n, uint64_t cookie, int flags,
		 const struct sockaddr *addr, socklen_t addrlen);

/* Cookies of sends that are complete, up to n, in the order they were completed; each is told once.
 * Returns how many, never waits. A set that asks for EPOLLWRBAND is told when there are any. A
 * cookie whose connection broke is told as well: the buffers are back, the error is the socket's.
 * zs_close() forgets the cookies, not the buffers. A program that asks for cookies must fetch
 * them: past some thousands unfetched, zs_send_zc() with a cookie returns -ENOBUFS. */
int zs_sent_zc(int fd, uint64_t *cookies, int n);

#ifdef __cplusplus
}
#endif

#endif
