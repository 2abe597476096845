/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack supervise: programs that can't load libzstack-preload (static, Go, another C library) on
 * Z-Stack (docs/design/015). `zstack run` starts it beside such a program, under the library. A
 * seccomp filter gives it the program's calls that set sockets up; the rest never leaves the
 * kernel:
 *
 *	   the program                      supervisor
 *	kernel's TCP socket <== loopback ==> `end`  bytes  `zs` <== Z-Stack ==> peer
 *	     |  bind, listen, connect, accept, names
 *	     +------------- notices ----------> rules: Z-Stack's, the kernel's, both
 *
 * The program has one socket of the kernel's from socket() to close(), as it was: its options, its
 * places in epoll sets, its copies are the kernel's affair. What is Z-Stack's is connected over
 * loopback to the supervisor, which carries bytes, ends and resets.
 *
 *   supervise.c         main, loop
 *   supervise_start.c   from zstack run: starts it, and the filter
 *   supervise_filter.c  the filter
 *   supervise_notice.c  a notice: the program's memory and descriptors, the answer
 *   supervise_table.c   the sockets of the program that are Z-Stack's
 *   supervise_call.c    bind, listen, names, options
 *   supervise_connect.c connect
 *   supervise_accept.c  listeners, accept
 *   supervise_carry.c   bytes
 *
 * One thread; nothing in it waits but its loop. Functions return -errno.
 */
#ifndef ZS_TOOLS_SUPERVISE_H
#define ZS_TOOLS_SUPERVISE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#include "base/assert.h"
#include "preload/supervise.h"

struct tool;

union name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage room;
};

/* ---- supervise_filter.c, supervise_start.c: in zstack run ---- */

/* From here on this thread and all that comes of it have the filter. The descriptor that tells;
 * -errno. */
int filter_install(void) must_check;
/* Starts the supervisor of this process, which is about to execute `program`, with the environment
 * as it is, and installs the filter. 0; -1: no, why says what is in the way. */
int supervise_start(const char *program, bool verbose, char *why, size_t len) must_check;
#define SUPERVISE_FD 3 /* of the supervisor: where it is told what to do */
/* What it is told, and what it answers. */
struct supervise_hello {
	pid_t pid;
	int notices; /* the descriptor in that process */
	char name[64];
};
struct supervise_answer {
	int error; /* 0, -errno */
	char what[60];
};

/* ---- supervise_notice.c ---- */

struct notice {
	uint64_t id;
	pid_t tid; /* of the thread that calls */
	int nr;
	uint64_t arg[6];
	int sock; /* this process's copy of its socket, arg[0]; -1 */
	uint64_t cookie;
	bool flags_nonblock; /* the socket does not block */
};

extern int notices; /* the filter's descriptor */

/* The next one; false: there is none. */
bool notice_get(struct notice *n);
/* Gets n->sock if that is a socket of IPv4 or IPv6, by TCP (or UDP, if asked for). -errno: it is
 * none, or can't be had (-EPERM). */
int notice_socket(struct notice *n, bool *udp) must_check;
/* The same of a call with a name, as bind() has it; -ENOTSOCK also if that is none of IPv4 or
 * IPv6. */
int notice_named(struct notice *n, union name *name, socklen_t *len, bool *udp) must_check;
void notice_done(struct notice *n); /* closes n->sock */
bool notice_valid(uint64_t id);
/* The program's call returns that: 0 and above, or -errno. -ENOENT: it does not wait any more. */
int notice_reply(uint64_t id, int64_t r);
/* The kernel makes the call. */
void notice_continue(uint64_t id);
/* The call returns a new number for fd. The number; -ENOENT: it does not wait any more; -EMFILE. */
int notice_reply_fd(uint64_t id, int fd, bool cloexec) must_check;
int program_read(pid_t tid, uint64_t at, void *to, size_t len) must_check;
int program_write(pid_t tid, uint64_t at, const void *from, size_t len) must_check;
/* As accept() and getsockname() give a name; addr may be 0. */
int program_name(pid_t tid, uint64_t addr, uint64_t len_at, const union name *name,
		 socklen_t len) must_check;
/* The process that a thread is one of; -1. */
pid_t process_of(pid_t tid);
/* A copy of that socket, if the thread's process has it by that number. -errno. */
int program_socket(pid_t tid, int number, uint64_t cookie) must_check;
/* May the program bind ports that are the administrator's? */
bool program_may_bind(pid_t tid, uint16_t port);

/* ---- supervise_table.c ---- */

enum sup_state {
	SUP_BOUND,	/* not listening */
	SUP_LISTENS,	/* zs and the program's socket */
	SUP_CONNECTING, /* zs is */
	SUP_OFFERED,	/* came to a listener: end is in the queue of the program's socket */
	SUP_OPEN,	/* bytes are carried */
	SUP_FAILED,	/* the program has not asked yet why it did not connect */
};

/* Bytes of one direction. */
struct way {
	int from, to;
	char *left; /* what could not be written yet, n from `at` on; of malloc; NULL */
	size_t at, n;
	bool ended, passed; /* the end was read; it was passed on */
	bool ends;	    /* of `from` an end was told: it is to be read until that comes */
};

/* Who waits in accept(). */
struct waiter {
	struct waiter *next;
	struct notice n;
	int64_t until_ns; /* of CLOCK_MONOTONIC */
};

/* Accepted from the program's socket, but the call was gone: for the next one. */
struct kept {
	struct kept *next;
	int fd;
	struct sup *of; /* NULL: the kernel's */
	union name from;
	socklen_t len;
};

/* What an event is for. */
struct watch {
	struct sup *of;
	bool end; /* of `end`, else of zs */
};

/* A socket of the program that is Z-Stack's. */
struct sup {
	struct sup *next;      /* of the same place in the table */
	struct sup *next_gone; /* until the events at hand are done */
	uint64_t cookie;       /* of the program's socket; 0: the program has none yet */
	enum sup_state state;
	int domain;  /* of the program's socket */
	int zs, end; /* -1 */
	struct watch zs_watch, end_watch;
	pid_t caller; /* that bound or connected it, and its number for it */
	int number;
	bool gone;
	bool v6;		/* loopback's family */
	uint16_t port, towards; /* in network order: the key of sup_expected(); 0: none */
	struct sup *next_expected;
	union name local, peer;
	socklen_t local_len, peer_len;
	/* SUP_BOUND, SUP_LISTENS */
	bool both;     /* the program's socket is bound in the kernel as it asked */
	union name at; /* where it is reached over loopback */
	socklen_t at_len;
	unsigned backlog, offered;
	bool paused; /* enough are offered */
	struct waiter *waiters;
	struct kept *kept;
	int program; /* a copy of its socket while somebody waits; -1 */
	/* SUP_CONNECTING */
	uint64_t waits; /* the notice of a connect() that blocks; 0 */
	/* SUP_OFFERED */
	struct sup *listener;
	bool token; /* no connection: there is something kept */
	/* SUP_OPEN */
	struct way in, out; /* to the program, from it */
	bool again;	    /* in the list of those that have more to carry */
	struct sup *next_again;
	/* SUP_FAILED */
	int error;
	time_t since;
};

struct sup *sup_new(enum sup_state state, int domain);
/* Everything of it is closed, and it is freed when the events at hand are done. */
void sup_drop(struct sup *s);
void sup_bury(void);
/* Asks zs for its names. False: it has none. */
bool sup_local(struct sup *s);
bool sup_peer(struct sup *s);
void sup_insert(struct sup *s, uint64_t cookie);
struct sup *sup_find(uint64_t cookie);
void sup_each(void (*fn)(struct sup *s));
/* Sockets by their port on loopback: of connect()s, and of what is offered to listeners. */
void sup_expect(struct sup *s, bool v6, uint16_t port, uint16_t towards);
void sup_unexpect(struct sup *s);
struct sup *sup_expected(const union name *from, uint16_t towards);
unsigned sup_count(void); /* that carry or may */

/* ---- supervise.c ---- */

extern supervise_whose_fn whose_of;
extern bool program_gone;			     /* nobody has the filter any more */
int zs_socket_like(int sock, int domain) must_check; /* Z-Stack's, non-blocking, with its options */
int kernel_socket(int domain) must_check;	     /* the kernel's, likewise, for TCP */
/* Loopback's address that a socket of the program can use; v6only: of IPv6 alone. */
socklen_t loopback_name(union name *n, int domain, bool v6only, uint16_t port);
bool is_v6only(int sock, int domain);
bool has_port(int sock);
void watch_zs(struct sup *s, uint32_t events); /* as epoll has them */
void watch_end(struct sup *s, uint32_t events);
void watch_program(struct sup *s, bool on);
int ask_whose(const struct notice *n, const char *verb, const union name *to, socklen_t len);
int64_t mono_ns(void);

/* ---- what is called for what ---- */

void call_bind(struct notice *n);
void call_listen(struct notice *n);
void call_connect(struct notice *n);
void call_accept(struct notice *n);
void call_name(struct notice *n, bool peer);
void call_setsockopt(struct notice *n);
void call_error(struct notice *n); /* getsockopt(SO_ERROR) */

void connect_start(void);	    /* once */
void connect_event(struct sup *s);  /* zs, SUP_CONNECTING */
void listener_event(struct sup *s); /* zs, SUP_LISTENS */
void waiters_event(struct sup *s);  /* the program's socket, SUP_LISTENS */
void offered_event(struct sup *s, uint32_t events);
void listener_drop(struct sup *s);
void offered_done(struct sup *s); /* it is in no queue any more */
bool listener_there(const struct sup *s);
void listeners_look(struct sup *s); /* each second */

/* zs and end are connected. */
void carry_begin(struct sup *s);
void carry(struct sup *s);
bool carry_again(void); /* those that have more; true: there are still some */
/* Ends the connection; reset: on both sides without order. */
void carry_end(struct sup *s, bool reset);
void reset_on_close(int fd);

#endif
