/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libzstack-preload: libc's calls on sockets, taken over in programs that know nothing of Z-Stack
 * (docs/design/011). A hook has the name of a function of libc and looks like this:
 *
 *	ssize_t read(int fd, void *buf, size_t len)
 *	{
 *		long r;
 *
 *		if (likely(!fd_is_ours(fd)))
 *			return real.read(fd, buf, len);
 *		CALL(r, zs_read(fd, buf, len));
 *		return result(r);
 *	}
 *
 * Everything else of libc is reached through `real`, also by the client, whose objects are linked
 * into the library with --wrap (real.c). This room alone touches errno.
 */
#ifndef ZS_PRELOAD_H
#define ZS_PRELOAD_H

#include <errno.h>
#include <linux/sockios.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "base/assert.h"
#include "client/host.h"
#include "preload/real.h"
#include "preload/rules.h"
#include "zstack/zc.h"
#include "zstack/zstack.h"

#pragma GCC visibility push(hidden)

/* ---- fd.c: what a number stands for ---- */

/* The order matters: see the questions below. */
enum fd_kind {
	FD_KERNEL,    /* or nothing */
	FD_ROUTE,     /* a socket of the kernel's, of NETLINK_ROUTE (route.c) */
	FD_EVENTS,    /* an epoll of the kernel's, without members of ours (epoll_set.c) */
	FD_EPOLL,     /* an epoll of the kernel's and a set of the client's */
	FD_UNDECIDED, /* a TCP or UDP socket of the kernel's that may become ours (decide.c) */
	FD_SOCKET,    /* the client's socket; the kernel has a placeholder */
	FD_BOTH,      /* the client's, and one of the kernel's beside it: twin_of(fd) (both.c) */
	FD_OWN,	      /* the library's: the program doesn't see it */
};
#define FD_KINDS     (1u << 22) /* as the client's FD_MAX; higher numbers are the kernel's */
#define FD_KINDS_LOW (1u << 14) /* those of which the kind is looked up at once */

/* ---- number_table.c ---- */

/* As it was set: IP_MULTICAST_IF, or that of IPv6. */
struct group_if {
	int level, name;
	uint32_t len; /* 0: none */
	uint8_t value[16];
};

/* What is known of a number; all 0: nothing. Under number_lock() but where a field says so. */
struct eset;
struct number {
	struct eset *_Atomic set; /* it is an epoll set; read by anybody (epoll_set.c) */
	uint64_t options;
	int32_t next;	      /* of the ring, and 1; 0: alone */
	int32_t twin;	      /* and 1; 0: none */
	_Atomic uint8_t kind; /* of numbers from FD_KINDS_LOW on; read by anybody */
	_Atomic bool copied;  /* an action of posix_spawn copies it (handover.c); set by anybody */
	bool blocks;	      /* FD_BOTH: the program has not set O_NONBLOCK */
	struct group_if group_if;
};

/* There is room to know something of this number from here on. 0; -ENOMEM; -EMFILE: it is the
 * kernel's, whatever it is. */
int number_room(int fd) must_check;
/* NULL: there is no room yet, and nothing known. */
struct number *number_at(int fd);
/* The same to be read; never NULL. */
const struct number *number_known(int fd);
enum fd_kind fd_kind_high(int fd);

/* A hint: the number may be closed by another thread between the look and the call, which then ends
 * in EBADF, or is on whatever has the number now. */
extern _Atomic uint8_t fd_kinds[FD_KINDS_LOW];

static inline enum fd_kind fd_kind(int fd)
{
	if (unlikely((unsigned)fd >= FD_KINDS_LOW))
		return fd_kind_high(fd);
	return atomic_load_explicit(&fd_kinds[fd], memory_order_relaxed);
}

/* Not the kernel's, as far as reading, writing and options go. */
static inline bool fd_is_ours(int fd)
{
	return unlikely(fd_kind(fd) >= FD_SOCKET);
}

/* There is room for it, or the kind is FD_KERNEL. */
void fd_set_kind(int fd, enum fd_kind kind);
/* Before the stack starts: who gives numbers to accepted sockets (host.h). */
void fd_host(void);
void fd_unlock_child(void);
/* The first number at or after `from` that is not plainly the kernel's; -1. */
int fd_special(int from);
/* There is one from here on. 0, -errno. */
int placeholder_make(void) must_check;
/* A duplicate of the placeholder: the lowest free number from min on; -errno. */
int placeholder_new(int min, int flags) must_check;
/* The placeholder takes the place of whatever has the number. FD_CLOEXEC stays as it was. */
int placeholder_at(int fd) must_check;
/* Is the file behind this number a placeholder of this process? (exec's and fork's: adopt.c) */
bool placeholder_is(int fd);
/* A duplicate for the library itself (FD_OWN), close-on-exec: at a number that the program can't
 * have, or, if its limit leaves none, one above all that programs use by hand. -1, errno. */
int own_dup(int fd);
/* Around every change of the limit of descriptors. */
void limit_lock(void);
void limit_unlock(void);
/* For what the library opens for itself when the program may have no more. Between the two nobody
 * else changes the limit. May be nested. */
void limit_widen(void);
void limit_narrow(void);
/* An error of the library's own, as the program is told: ENOMEM, ENOBUFS; else ENETDOWN. */
int room_error(int r);
/* Is it one of memory or descriptors? */
bool lacks_room(int r);

/* ---- entering and leaving: signal_call.c defers handlers meanwhile ---- */

struct inside {
	unsigned depth;
	_Atomic uint8_t pending; /* INSIDE_* */
	bool restart;		 /* all handlers that ran have SA_RESTART */
};
enum {
	INSIDE_SIGNAL = 1, /* a handler waits until the thread leaves */
	INSIDE_CANCEL = 2, /* it was cancelled, and may not have noticed */
};
extern __thread struct inside inside __attribute__((tls_model("initial-exec")));

/* Lets in what waits; true: the call ended with -EINTR, and is to be made again. */
bool leave_slow(long r) slow_path;
/* For the client (host.h). */
bool signal_waits(void);
/* cancel_call.c: would it end now, outside? It ends, if so. */
bool cancel_enabled(void);
void cancel_look(void);

static inline void enter(void)
{
	inside.depth++;
	atomic_signal_fence(memory_order_seq_cst);
}

/* r: what the call returned. True: it is to be made again (never for poll, select, epoll_wait,
 * which ignore it). */
static inline bool leave(long r)
{
	atomic_signal_fence(memory_order_seq_cst);
	inside.depth--;
	if (likely(atomic_load_explicit(&inside.pending, memory_order_relaxed) == 0 && r != -EINTR))
		return false;
	return leave_slow(r);
}

/* In a hook: the stack of --embedded, DPDK or libc on their behalf call, not the program. */
static inline bool is_inside(void)
{
	return unlikely(inside.depth != 0);
}

static inline long result(long r)
{
	if (likely(r >= 0))
		return r;
	errno = (int)-r;
	return -1;
}

/* The call; and again when the signals that ended it have SA_RESTART. */
#define CALL(r, call)                                                                              \
	do {                                                                                       \
		enter();                                                                           \
		(r) = (call);                                                                      \
	} while (leave(r))

/* The same for what is never made again. */
#define CALL_ONCE(r, call)                                                                         \
	do {                                                                                       \
		enter();                                                                           \
		(r) = (call);                                                                      \
		leave(0);                                                                          \
	} while (0)

/* ---- time ---- */

static inline int64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* A time-out as host_wait() has it: 0 looks only, INT64_MAX is for ever. Neither is negative. */
static inline int64_t deadline_in(int64_t s, int64_t ns)
{
	if (s == 0 && ns == 0)
		return 0;
	return s > INT64_MAX / 2000000000 ? INT64_MAX : mono_ns() + s * 1000000000 + ns;
}

static inline bool timespec_ok(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000;
}

/* ---- pass_call.c: descriptors in messages of the kernel's sockets ---- */

/* sendmsg(), of a message that has control messages. */
ssize_t pass_sendmsg(int fd, const struct msghdr *msg, int flags);
/* A message has come. */
void pass_received(struct msghdr *msg);
/* What pass_send() returned, when it is sent: it may stand at a number of the library's. */
void pass_end_close(int end);

/* ---- sandbox_call.c ---- */

/* The program is about to allow itself few system calls. */
void sandboxed(void);
/* It has done so. */
bool in_sandbox(void);
/* It is about to have another root directory. */
void uprooted(void);

/* ---- start.c ---- */

/* Attaches, or loads the stack, unless it is done. 0; as room_error(), after it was said on stderr
 * why. */
int start_need(void) must_check;
/* The way to the service is about to be lost: attaches, if it can, and says nothing. */
void start_early(void);
bool started(void);
/* The stack is the program's own: there is no service, and there are no other programs. */
bool start_embedded(void);
/* The stack was attached to by adopt.c. */
void start_adopted(void);
const struct rules *run_rules(void);
/* "zstack: …" on stderr, in one write. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- told.c ---- */

/* One more socket went that way. */
void count_socket(enum chan_told where);

/* ---- number.c: what is known of a number beside its kind ---- */

/* One lock for all changes of it, also while a socket is decided on. Taken before the client's. */
void number_lock(void);
void number_unlock(void);
/* Two numbers of one undecided socket or one of ours: dup. There is room for `to`. Numbers of one thing are a ring;
 * number_next() is fd again when it is alone. */
void number_join(int from, int to);
int number_next(int fd);
bool number_alone(int fd);
/* The kernel's socket beside ours (FD_BOTH), a number of the library's (FD_OWN); -1. It never
 * blocks, nor does ours then: number_blocks() says what the program wants. */
int twin_of(int fd);
void twin_set(int fd, int twin);
/* A socket that came from another program has this twin (-1: none), which goes where the program
 * does not see it. */
void number_twin(int fd, int twin, bool blocks);
/* Undecided or both: IP_MULTICAST_IF, or that of IPv6, names an interface of the stack's, so what
 * goes to groups is ours; NULL. */
const struct group_if *number_group_if(int fd);
/* g->len = 0: none any more. */
void number_set_group_if(int fd, const struct group_if *g);
bool number_blocks(int fd);
void number_set_blocks(int fd, bool blocks);
/* Options that the program has set on an undecided socket: bits of option_call.c's table. */
uint64_t number_options(int fd);
void number_add_option(int fd, unsigned bit);
/* What the number stands for is forgotten, by the client, too. What the kernel has there stays, to
 * be closed or replaced. 0; what zs_close() says. */
int number_drop(int fd);
/* Nothing is known of it any more. */
void number_fresh(int fd);
/* The kernel has given the number out, outside of the lock. 0, -ENOMEM: it has it still. */
int number_begin(int fd, enum fd_kind kind) must_check;
/* A child of fork: nobody has the lock. */
void number_unlock_child(void);

/* ---- stdio_call.c ---- */

/* 0, 1 or 2 (else nothing happens) is ours from here on; is to be the kernel's: the stream that the
 * program has for it goes along. */
void stdio_take(int fd);
void stdio_give_back(int fd);

/* ---- descriptor_call.c ---- */

/* fcntl(fd, F_DUPFD or F_DUPFD_CLOEXEC, min), for all kinds. Sets errno. */
int number_dup(int fd, int cmd, int min);

/* ---- decide.c: undecided sockets ---- */

/* The program wants to bind, listen, connect or send. DECIDED_KERNEL: it is the kernel's affair, as
 * if we were not there; DECIDED_OURS: its kind tells that it is ours now, wholly or too, and what
 * was asked for is still to be done, but bind; or -errno. */
enum decided { DECIDED_KERNEL, DECIDED_OURS };
int decide_bind(int fd, const struct sockaddr *addr, socklen_t len) must_check;
int decide_listen(int fd) must_check;
int decide_connect(int fd, const struct sockaddr *addr, socklen_t len) must_check;
int decide_send(int fd, const struct sockaddr *addr, socklen_t len) must_check;
/* It is ours alone, wherever it is to be bound or connected to: the supervisor's. 0, -errno. */
int decide_ours(int fd) must_check;
/* It names an interface for what goes to groups. True: it is one of the stack's, which is remembered
 * for when the socket is ours. */
bool decide_group_if(int fd, int level, int name, const void *value, socklen_t len);
/* It was connected in the kernel, and stays its. */
void decide_kernel(int fd);
/* Numbers of kind FD_BOTH: whose is this destination? */
enum decided both_whose(int fd, const struct sockaddr *addr, socklen_t len, bool send);
/* Both sides are asked; the results are as zs_…() has them. */
int both_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags) must_check;
ssize_t both_recvmsg(int fd, struct msghdr *msg, int flags) must_check;
ssize_t both_sendmsg(int fd, const struct msghdr *msg, int flags) must_check;
/* What was both is ours alone, or the kernel's alone. */
void both_ours(int fd);
void both_kernel(int fd);

/* ---- socket_call.c ---- */

/* As decide_connect(), and connected if it is ours. */
long connect_any(int fd, const struct sockaddr *addr, socklen_t len) must_check;

/* ---- option_call.c ---- */

/* Options that the program set on the kernel's socket `from` are set on ours. */
void options_carry(int from, int to, uint64_t options);

/* ---- interface_ioctl.c ---- */

/* Is the request about interfaces, and may the stack have something to say to it? */
static inline bool asks_interface(unsigned long request)
{
	return unlikely(request - SIOCGIFNAME <= SIOCGIFINDEX - SIOCGIFNAME);
}
/* ioctl(2) of a descriptor of the kernel's, of such a request. -errno. */
int interface_ioctl(int fd, unsigned long request, void *arg) must_check;

/* ---- hooks, for one another: by its own name the linker gives us the real one ---- */

ssize_t hook_read(int fd, void *buf, size_t len);
ssize_t hook_write(int fd, const void *buf, size_t len);
ssize_t hook_sendmsg(int fd, const struct msghdr *msg, int flags);
int hook_close(int fd);
int hook_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		     const posix_spawnattr_t *attr, char *const argv[], char *const env[]);
int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/* ---- read_call.c, write_call.c: what is ours, wholly or too ---- */

bool is_stream(int fd);

long recv_ours(int fd, struct msghdr *msg, int flags) must_check;
long send_ours(int fd, const struct msghdr *msg, int flags) must_check;
/* As result(); a broken pipe is a signal, too, unless flags has MSG_NOSIGNAL. */
long write_result(int fd, long r, int flags);

/* ---- epoll_set.c ---- */

/* What a number stands for changes: in epoll_moving() it leaves every set that holds it, of the
 * kernel's and of ours; epoll_moved() puts it, and its twin, back where they belong by its new
 * kind. Under number_lock(). */
void epoll_moving(int fd);
void epoll_moved(int fd);
/* A number is closed, or another file takes its place, or stays the kernel's. */
void epoll_forget(int fd);
/* `to` is an epoll set as `from` is. */
void epoll_copied(int from, int to);

/* ---- poll_call.c ---- */

/* poll(2) of what may be ours; deadline: ns of CLOCK_MONOTONIC, INT64_MAX, 0. -errno. */
long poll_any(struct pollfd *fds, nfds_t n, int64_t deadline, const sigset_t *mask) must_check;

#pragma GCC visibility pop

#endif
