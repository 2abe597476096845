/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Z-Stack: a TCP/IP stack in user space. This header has configuration, sockets and readiness;
 * <zstack/zc.h> the calls that copy nothing, <zstack/stats.h> counters and dumps.
 *
 *	struct zs_config *c = zs_config_new();
 *	zs_config_set(c, "vdev", "net_af_packet0,iface=veth0");
 *	zs_config_set(c, "addr", "10.0.0.2/24");
 *	if (zs_start(c) < 0)
 *		errx(1, "%s", zs_config_error(c));
 *	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);
 *
 * The calls are those of POSIX.1-2017 with `zs_` in front, and the extensions of Linux where named,
 * with these differences:
 *
 *  - No call sets errno. A call that fails returns the negative error number: -EAGAIN, -ECONNRESET.
 *  - Descriptors are small integers of their own, the lowest free one first. They are not the
 *    kernel's: neither read() nor epoll_wait() accepts them, nor these calls the kernel's.
 *  - Writing to a connection that was shut returns -EPIPE; no signal is ever sent.
 *  - A child made by fork() of a program that is attached to a service has the parent's sockets and
 *    epoll sets, as ever, but for connections being opened, and datagrams received and not yet read.
 *    A stack in the program itself stays the parent's: there every call returns -ENXIO in the child,
 *    as every call does before zs_start() and after zs_stop().
 *  - A call that a signal interrupts returns -EINTR, whether or not SA_RESTART was asked for.
 *
 * Every call may be made by any thread, also on the same descriptor, but none by a signal handler.
 * Pointers are borrowed for the duration of the call, unless the call says something else.
 * A pointer that a program hands in is not checked: there is no -EFAULT but for NULL where named.
 */
#ifndef ZSTACK_ZSTACK_H
#define ZSTACK_ZSTACK_H

#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- configuration ---- */

/* What the stack is to be started with. Not for two threads at a time. */
struct zs_config;

/* A configuration with nothing set; NULL when there is no memory. The caller's, until
 * zs_config_free(). */
struct zs_config *zs_config_new(void);
/* NULL is allowed. A running stack doesn't need the configuration it was started with. */
void zs_config_free(struct zs_config *config);

/* Sets one option. Keys, and what is set when the program sets nothing:
 *
 *	vdev       a virtual port of DPDK: "net_tap0,iface=tap7"; may be given several times
 *	port       PCI address of a port: "0000:03:00.0"; may be given several times
 *	addr       own address "IP/LEN[@PORT[.VLAN]]", PORT counts the vdevs, then the ports,
 *	           from 0; may be given several times
 *	gateway    default router; at most one for IPv4 and one for IPv6
 *	mode       "poll": the calls of the program run the stack, see zs_process();
 *	           "thread": each core has a thread that runs it. Default poll; thread if `cores`
 *	           names several
 *	cores      CPUs as "2" or "2,3" or "2-5", a stack on each; default one stack, not pinned
 *	mtu        bytes; default the port's
 *	mem        MiB for packets; default as the ports need
 *	buffers    MiB for payload to send, for each core (at least 1); default 64
 *	no-huge    "1": use no hugepages; default "0"
 *	capture    file to write all frames to, pcapng; default none
 *	congestion "cubic" or "newreno"; default cubic
 *	max-sockets default 65536
 *	spin       microseconds to look for work before sleeping; default 50, 0 on a single CPU
 *	linger     milliseconds zs_stop() waits for sent data to be acknowledged; default 1000.
 *	           What is not by then is lost, and its connection reset
 *
 * A NULL value stands for "1". Texts are copied. Returns 0, -ENOENT (no such key), -EINVAL (not a
 * value of it), -ENOMEM; then zs_config_error() has a sentence. Addresses, ports and files are
 * checked by zs_start(). */
int zs_config_set(struct zs_config *config, const char *key, const char *value);

/* Takes what it knows out of a program's arguments: "--KEY VALUE" and "--KEY=VALUE" for each key
 * above ("--no-huge" has no value unless there is a "="); the others keep their order. It stops at
 * "--", which stays. *argc and argv[] are changed in place, argv[*argc] is NULL; the texts
 * themselves are not changed. Returns as zs_config_set(); -EINVAL also when a value is missing. */
int zs_config_args(struct zs_config *config, int *argc, char **argv);

/* The lines about these options for a program's --help. Static text. */
const char *zs_config_usage(void);

/* One sentence about what failed last with this configuration, and what to do. "" if nothing has.
 * Valid until the next call with it. */
const char *zs_config_error(const struct zs_config *config);

/* ---- the stack of this process ---- */

/* Opens the ports and starts the stack; a process has at most one. What the program did not set is
 * taken from the environment: ZSTACK_CONFIG="KEY=VALUE;KEY=VALUE". A NULL config is one with
 * nothing set. Returns 0; -EALREADY when it runs; -EINVAL, -ENODEV, -ENOMEM, -EPERM, … with a
 * sentence in zs_config_error(). After a failure nothing is left behind. At exit() the stack is
 * stopped. */
int zs_start(struct zs_config *config);

/* Closes every descriptor, waits for what was sent (see `linger`), stops the stack and gives back
 * everything it had. Buffers of <zstack/zc.h> are invalid from here on. Calls that block in other
 * threads return -EBADF. Nothing happens when it does not run. The stack can be started again if
 * its links can be opened again (af_xdp can't be by the same process). */
void zs_stop(void);

/* In mode "poll": one turn of the stack: receives, handles timers, sends. When there was nothing to
 * do, sleeps until there is, at most timeout_ns nanoseconds (0: does not sleep; -1: no limit). In
 * mode "thread": hands over what the stacks have for the program; sleeps alike. Returns 1 if
 * something was done, 0 if not, -EINTR on a signal while sleeping, -ENXIO.
 *
 * A program in mode "poll" that waits in zs_epoll_wait(), zs_poll() or blocking calls need not call
 * it: these run the stack. If it calls none of them for long, its peers get no answer that long. */
int zs_process(int64_t timeout_ns);

/* ---- sockets ---- */

/* AF_INET, AF_INET6; SOCK_STREAM (TCP), SOCK_DGRAM (UDP), SOCK_SEQPACKET (records, see below), with
 * SOCK_NONBLOCK; SOCK_CLOEXEC is accepted, descriptors never survive exec(). Returns the descriptor;
 * -EAFNOSUPPORT, -EPROTONOSUPPORT, -EINVAL, -EMFILE, -ENOBUFS.
 *
 * SOCK_SEQPACKET, protocol 0: connections between two programs of one service and user on this node
 * that carry records, as those of UNIX sockets, by shared memory and no other way. Addresses, ports,
 * listen(), accept(), connect(), shutdown(), close() and names are as of TCP, whose ports they have;
 * nothing but such a socket can connect to such a listener. Then
 *
 *  - what one call sends is a record of 0 to ZS_RECORD_MAX bytes, whole or not at all: -EAGAIN;
 *    -EMSGSIZE when it is longer. Of zs_send_zc() each buffer is one. MSG_EOR changes nothing.
 *  - what one call receives is one record; what it has no room for is lost (MSG_TRUNC in msg_flags).
 *    Each has MSG_EOR, which tells an empty one from the end of the connection. Of zs_recv_zc() each
 *    buffer is a record, where its sender wrote it.
 *  - a connection is writable (EPOLLOUT) when the other program has accepted it and the memory is
 *    there, and may for a moment not be while either of the two forks.
 *  - a child of fork() has listeners, but no connection, which stay with the parent.
 *
 * zs_socket(): -ESOCKTNOSUPPORT: a stack in the program itself, or a service that has this switched
 * off (same-node = no). zs_connect(): -EHOSTUNREACH: no address of this node; -ECONNREFUSED: nobody
 * listens there; -EPROTOTYPE: only for TCP; -EACCES: another user's program. Later -ENOBUFS: there
 * could be no memory between the two (64 programs at most for each). */
#define ZS_RECORD_MAX 65536
int zs_socket(int domain, int type, int protocol);

/* Takes an address of the socket's family; port 0 chooses one. -EADDRINUSE, -EADDRNOTAVAIL,
 * -EINVAL (bound already, or too short), -EAFNOSUPPORT, -EACCES. */
int zs_bind(int fd, const struct sockaddr *addr, socklen_t addrlen);

/* Backlog is clamped to what the stack allows. -EADDRINUSE, -EINVAL, -EOPNOTSUPP. */
int zs_listen(int fd, int backlog);

/* Returns the descriptor of the oldest connection that was established. It inherits the
 * listener's options and time-outs, but not O_NONBLOCK. -EAGAIN, -EINVAL (not listening),
 * -EMFILE, -EOPNOTSUPP, -EINTR. addr may be NULL. */
int zs_accept(int fd, struct sockaddr *addr, socklen_t *addrlen);
int zs_accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags);

/* TCP: 0 when established; -EINPROGRESS (non-blocking, or SO_SNDTIMEO is over; then readable as
 * writability and SO_ERROR), -EALREADY, -EISCONN, -ECONNREFUSED, -ETIMEDOUT, -ENETUNREACH,
 * -EHOSTUNREACH, -EADDRNOTAVAIL, -EINTR (goes on in the background).
 * UDP: sets the peer; AF_UNSPEC takes it away. */
int zs_connect(int fd, const struct sockaddr *addr, socklen_t addrlen);

/* Bytes taken or delivered, at least one unless asked for none; 0 from a stream: its end. -EAGAIN,
 * -EBADF, -ECONNRESET, -ETIMEDOUT, -ENOTCONN, -EPIPE, -EMSGSIZE (a datagram that is too long),
 * -EDESTADDRREQ, -EINTR (a signal, nothing transferred), -ENOBUFS.
 *
 * A blocking write returns when all was taken into the send buffer; interrupted, by a signal or by
 * SO_SNDTIMEO, it returns what was taken. The peer's having it is another matter: see zs_sent_zc().
 *
 * Flags: MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_TRUNC (datagram: its full length is returned;
 * stream: bytes are discarded), MSG_OOB (RFC 9293 §3.8.5, one byte), MSG_MORE (more follows at
 * once), MSG_ZEROCOPY and MSG_ERRQUEUE (as on Linux when it copies: see <zstack/zc.h> for what does
 * not), MSG_NOSIGNAL (always so), MSG_CMSG_CLOEXEC and MSG_CONFIRM (no effect). Others are
 * -EOPNOTSUPP. */
ssize_t zs_read(int fd, void *buf, size_t len);
ssize_t zs_write(int fd, const void *buf, size_t len);
ssize_t zs_readv(int fd, const struct iovec *iov, int n);
ssize_t zs_writev(int fd, const struct iovec *iov, int n);
ssize_t zs_recv(int fd, void *buf, size_t len, int flags);
ssize_t zs_send(int fd, const void *buf, size_t len, int flags);
ssize_t zs_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
		    socklen_t *addrlen);
ssize_t zs_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr,
		  socklen_t addrlen);
/* Control messages received: IP_PKTINFO and IPV6_PKTINFO (the local address of a datagram), when
 * IP_PKTINFO or IPV6_RECVPKTINFO was set, and so for time stamps (SO_TIMESTAMP, SO_TIMESTAMPNS), TTL and
 * TOS. To be sent: IP_PKTINFO, IPV6_PKTINFO, the own address that a datagram is to come from; IP_TTL,
 * IPV6_HOPLIMIT, IP_TOS, IPV6_TCLASS of this one; others are -EINVAL, those of other levels passed over.
 * An address that is not the stack's is the socket's next error, EINVAL. */
ssize_t zs_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t zs_sendmsg(int fd, const struct msghdr *msg, int flags);

/* SHUT_RD, SHUT_WR, SHUT_RDWR. -ENOTCONN, -EINVAL. */
int zs_shutdown(int fd, int how);

/* The descriptor is free at once, and leaves every epoll set. Data not yet sent is sent, with
 * SO_LINGER as POSIX says. A call of another thread that blocks on it returns -EBADF. */
int zs_close(int fd);

/* Levels SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP. SOL_SOCKET: SO_REUSEADDR,
 * SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_LINGER, SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVBUF,
 * SO_SNDBUF, SO_RCVLOWAT, SO_SNDLOWAT (always 1), SO_ERROR, SO_TYPE, SO_DOMAIN, SO_PROTOCOL,
 * SO_ACCEPTCONN, SO_OOBINLINE, SO_DONTROUTE, SO_PRIORITY, SO_ZEROCOPY. TCP: TCP_NODELAY, TCP_INFO (struct
 * tcp_info of <linux/tcp.h>), TCP_CONGESTION and others. -ENOPROTOOPT, -EINVAL, -EDOM (a time
 * that is none). SO_SNDBUF and SO_RCVBUF return what was set, not twice that.
 *
 * SOL_ZSTACK has what no other stack has. ZSO_SAME_NODE (int): 1, the default, lets a connection to a
 * program of the same service go by shared memory, and datagrams lie where they were written; with 0
 * it goes by TCP inside the service, which copies datagrams, whatever the other end says. Accepted
 * sockets have it of their listener. To be switched off before connect() or listen(): -EISCONN when
 * the connection was offered shared memory already; a later 1 offers it to a connection that had it
 * off. Of SOCK_SEQPACKET it stays 1 (-EOPNOTSUPP).
 */
#define SOL_ZSTACK    0x5a53
#define ZSO_SAME_NODE 1
int zs_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int zs_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

/* *addrlen: in, room; out, the length the address has. -ENOTCONN (peer). */
int zs_getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen);
int zs_getpeername(int fd, struct sockaddr *addr, socklen_t *addrlen);

/* F_GETFL, F_SETFL (int): O_NONBLOCK. F_GETFD, F_SETFD: no effect. Others -EINVAL. */
int zs_fcntl(int fd, int cmd, ...);
/* FIONREAD, SIOCATMARK (int *: out), FIONBIO (int *: in), SIOCOUTQ (int *: bytes not yet
 * acknowledged). Others -ENOTTY. */
int zs_ioctl(int fd, unsigned long request, ...);

/* ---- readiness ---- */

/* The semantics, and the bits for each state of a socket, are Linux's: epoll(7), poll(2). A set
 * can't hold a set, nor a descriptor of the kernel (-EINVAL, -EBADF). EPOLLWRBAND, if asked for,
 * says that zs_sent_zc() has something (Linux gives it no use on TCP). Also EPOLLET, EPOLLONESHOT,
 * EPOLLEXCLUSIVE, EPOLLRDHUP, EPOLLPRI; EPOLLWAKEUP is accepted without effect. */
int zs_epoll_create1(int flags);
int zs_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
/* timeout: milliseconds, -1 forever. In mode "poll" each call runs the stack once at least; -ENODEV
 * says there that the interface of every port was deleted: end the program. */
int zs_epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);

int zs_poll(struct pollfd *fds, nfds_t n, int timeout);
/* Descriptors below FD_SETSIZE only; -EINVAL. The time-out is not changed. */
int zs_select(int n, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, struct timeval *timeout);

#ifdef __cplusplus
}
#endif

#endif
