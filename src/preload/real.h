/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The C library's own functions, by the names that the library takes over. A hook that is new is
 * named here, in libc.map, and, if the client's objects call the function, in meson.build's list
 * and at the end of real.c. The test preload/names checks that these agree.
 */
#ifndef ZS_PRELOAD_REAL_H
#define ZS_PRELOAD_REAL_H

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not in the headers, but for those that are compiled with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr,
		       socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		size_t room);
int __dprintf_chk(int fd, int flag, const char *fmt, ...);
int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap);
int __close(int fd);
__sighandler_t bsd_signal(int sig, __sighandler_t fn);

#define REAL_CALLS(X)                                                                              \
	X(__poll_chk)                                                                              \
	X(__ppoll_chk)                                                                             \
	X(__read_chk)                                                                              \
	X(__recv_chk)                                                                              \
	X(__recvfrom_chk)                                                                          \
	X(__vdprintf_chk)                                                                          \
	X(accept)                                                                                  \
	X(accept4)                                                                                 \
	X(bind)                                                                                    \
	X(clone)                                                                                   \
	X(close)                                                                                   \
	X(close_range)                                                                             \
	X(connect)                                                                                 \
	X(dup)                                                                                     \
	X(dup2)                                                                                    \
	X(dup3)                                                                                    \
	X(epoll_create)                                                                            \
	X(epoll_create1)                                                                           \
	X(epoll_ctl)                                                                               \
	X(epoll_pwait)                                                                             \
	X(epoll_pwait2)                                                                            \
	X(epoll_wait)                                                                              \
	X(execve)                                                                                  \
	X(execveat)                                                                                \
	X(execvpe)                                                                                 \
	X(fclose)                                                                                  \
	X(fcntl)                                                                                   \
	X(fcntl64)                                                                                 \
	X(fdopen)                                                                                  \
	X(getaddrinfo)                                                                             \
	X(getifaddrs)                                                                              \
	X(getpeername)                                                                             \
	X(getsockname)                                                                             \
	X(getsockopt)                                                                              \
	X(if_indextoname)                                                                          \
	X(if_nameindex)                                                                            \
	X(if_nametoindex)                                                                          \
	X(ioctl)                                                                                   \
	X(listen)                                                                                  \
	X(poll)                                                                                    \
	X(posix_spawn)                                                                             \
	X(posix_spawn_file_actions_adddup2)                                                        \
	X(posix_spawnp)                                                                            \
	X(ppoll)                                                                                   \
	X(prctl)                                                                                   \
	X(preadv2)                                                                                 \
	X(preadv64v2)                                                                              \
	X(chroot)                                                                                  \
	X(prlimit)                                                                                 \
	X(prlimit64)                                                                               \
	X(pselect)                                                                                 \
	X(pthread_cancel)                                                                          \
	X(pthread_create)                                                                          \
	X(pwritev2)                                                                                \
	X(pwritev64v2)                                                                             \
	X(read)                                                                                    \
	X(readv)                                                                                   \
	X(recv)                                                                                    \
	X(recvfrom)                                                                                \
	X(recvmmsg)                                                                                \
	X(recvmsg)                                                                                 \
	X(select)                                                                                  \
	X(send)                                                                                    \
	X(sendfile)                                                                                \
	X(sendfile64)                                                                              \
	X(sendmmsg)                                                                                \
	X(sendmsg)                                                                                 \
	X(sendto)                                                                                  \
	X(setrlimit)                                                                               \
	X(setrlimit64)                                                                             \
	X(setsockopt)                                                                              \
	X(shutdown)                                                                                \
	X(sigaction)                                                                               \
	X(sockatmark)                                                                              \
	X(socket)                                                                                  \
	X(splice)                                                                                  \
	X(syscall)                                                                                 \
	X(vdprintf)                                                                                \
	X(write)                                                                                   \
	X(writev)

struct real {
#define X(name) typeof(name) *name;
	REAL_CALLS(X)
#undef X
};
/* Filled in before the first constructor of any other library runs (-z initfirst). */
extern struct real real __attribute__((visibility("hidden")));

#endif
