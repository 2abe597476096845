/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack supervise: see supervise.h. Its loop, and what it is told at its start.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/run.h"
#include "zstack.h"

#define EVENTS	 256
#define NOTICES	 64 /* in one turn */
#define LOOK_MS	 1000
#define FAILED_S 60 /* a program that has not asked by then why, does not */

supervise_whose_fn whose_of;
bool program_gone;
static supervise_take_fn take;
static int (*libc_socket)(int domain, int type, int protocol);
static int set = -1; /* of epoll */
static struct watch notices_watch;

int64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- sockets ---- */

/* Those that mean something beyond this host, or decide on ports, and are the same on both sides. */
static const struct {
	int level, name;
} alike[] = {
	{SOL_SOCKET, SO_REUSEADDR},	 {SOL_SOCKET, SO_REUSEPORT},  {IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, TCP_KEEPINTVL},	 {IPPROTO_TCP, TCP_KEEPCNT},  {SOL_SOCKET, SO_KEEPALIVE},
	{IPPROTO_TCP, TCP_USER_TIMEOUT}, {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_IP, IP_TOS},
	{IPPROTO_IPV6, IPV6_TCLASS},
};

int zs_socket_like(int sock, int domain)
{
	int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r, v;
	socklen_t len;

	if (fd < 0)
		return -errno;
	r = take(fd);
	if (r < 0) {
		close(fd);
		return r;
	}
	for (unsigned i = 0; i < array_size(alike); i++) {
		len = sizeof(v);
		if (alike[i].level == IPPROTO_IPV6 && domain == AF_INET)
			continue;
		if (getsockopt(sock, alike[i].level, alike[i].name, &v, &len) == 0 &&
		    (v != 0 || alike[i].name == IPV6_V6ONLY))
			(void)setsockopt(fd, alike[i].level, alike[i].name, &v, len);
	}
	return fd;
}

int kernel_socket(int domain)
{
	return libc_socket(domain, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool is_v6only(int sock, int domain)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return domain == AF_INET6 && getsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &v, &len) == 0 &&
	       v != 0;
}

bool has_port(int sock)
{
	union name own = {0};
	socklen_t len = sizeof(own);

	return getsockname(sock, &own.any, &len) == 0 && own.v4.sin_port != 0;
}

socklen_t loopback_name(union name *n, int domain, bool v6only, uint16_t port)
{
	memset(n, 0, sizeof(*n));
	n->any.sa_family = (sa_family_t)domain;
	n->v4.sin_port = port;
	if (domain == AF_INET) {
		n->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(n->v4);
	}
	n->v6.sin6_addr = in6addr_loopback;
	if (!v6only)
		n->v6.sin6_addr = (struct in6_addr){.s6_addr = {[10] = 0xff, 0xff, 127, 0, 0, 1}};
	return sizeof(n->v6);
}

/* Are there lines in which the process is named? */
static bool verbose(void)
{
	static int says = -1;
	const char *rules = getenv(RUN_ENV);

	if (says < 0)
		says = rules != NULL && strstr(rules, "verbose") != NULL;
	return says != 0;
}

int ask_whose(const struct notice *n, const char *verb, const union name *to, socklen_t len)
{
	struct supervise_ask a = {.fd = n->sock,
				  .number = (int)n->arg[0],
				  .pid = verbose() ? process_of(n->tid) : n->tid,
				  .verb = verb,
				  .addr = &to->any,
				  .len = len,
				  .connect = n->nr == SYS_connect};

	return whose_of(&a);
}

/* ---- what is waited for ---- */

static void watch(int fd, struct watch *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &e) < 0 && errno == ENOENT)
		(void)epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
}

void watch_zs(struct sup *s, uint32_t events)
{
	watch(s->zs, &s->zs_watch, events);
}

void watch_end(struct sup *s, uint32_t events)
{
	watch(s->end, &s->end_watch, events);
}

/* It is the listener's only other descriptor. */
void watch_program(struct sup *s, bool on)
{
	if (on)
		watch(s->program, &s->end_watch, EPOLLIN);
	else
		(void)epoll_ctl(set, EPOLL_CTL_DEL, s->program, NULL);
}

static void happened(const struct watch *w, uint32_t events)
{
	struct sup *s = w->of;

	if (s->gone)
		return;
	switch (s->state) {
	case SUP_LISTENS:
		w->end ? waiters_event(s) : listener_event(s);
		break;
	case SUP_CONNECTING:
		connect_event(s);
		break;
	case SUP_OFFERED:
		if (w->end)
			offered_event(s, events);
		break;
	case SUP_OPEN:
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			*(w->end ? &s->out.ends : &s->in.ends) = true;
		carry(s);
		break;
	case SUP_BOUND:
	case SUP_FAILED:
		break;
	}
}

/* ---- notices ---- */

static void call(struct notice *n)
{
	switch (n->nr) {
	case SYS_bind:
		call_bind(n);
		break;
	case SYS_listen:
		call_listen(n);
		break;
	case SYS_connect:
		call_connect(n);
		break;
#ifdef SYS_accept
	case SYS_accept:
#endif
	case SYS_accept4:
		call_accept(n);
		break;
	case SYS_getsockname:
		call_name(n, false);
		break;
	case SYS_getpeername:
		call_name(n, true);
		break;
	case SYS_setsockopt:
		call_setsockopt(n);
		break;
	case SYS_getsockopt:
		call_error(n);
		break;
	default:
		notice_continue(n->id);
	}
}

/* One at a time: each may be the last that can be received without waiting. Connections have their
 * turn meanwhile. */
static void hear_notices(uint32_t events)
{
	struct pollfd p = {.fd = notices, .events = POLLIN};
	struct notice n;

	for (int i = 0; i < NOTICES && (events & EPOLLIN) != 0; i++) {
		if (!notice_get(&n))
			break;
		call(&n);
		notice_done(&n);
		if (poll(&p, 1, 0) != 1 || !(p.revents & POLLIN))
			break;
	}
	if ((events & EPOLLHUP) && !(events & EPOLLIN))
		program_gone = true;
}

/* ---- the loop ---- */

static bool looks; /* there is something to look after each second */

static void count_looks(struct sup *s)
{
	looks |= s->state == SUP_LISTENS || s->state == SUP_FAILED;
}

static void look_after(struct sup *s)
{
	listeners_look(s);
	if (!s->gone && s->state == SUP_FAILED && time(NULL) - s->since > FAILED_S)
		sup_drop(s);
}

static void look(void)
{
	static int64_t next;

	if (mono_ns() < next)
		return;
	next = mono_ns() + LOOK_MS * 1000000ll;
	sup_each(look_after);
	looks = false;
	sup_each(count_looks);
}

/* Nobody is there any more who could use it. */
static void without_program(struct sup *s)
{
	if (s->state == SUP_LISTENS)
		listener_drop(s);
	else if (s->state == SUP_OPEN)
		carry(s);
	else
		sup_drop(s);
}

static void turn(int wait_ms)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(set, e, EVENTS, wait_ms);

	for (int i = 0; i < n; i++) {
		if (e[i].data.ptr == &notices_watch)
			hear_notices(e[i].events);
		else
			happened(e[i].data.ptr, e[i].events);
	}
}

/* What is still to be sent is sent after the program's end. */
static int serve(void)
{
	bool more = false, told = false;

	while (!program_gone || sup_count() > 0) {
		turn(more ? 0 : LOOK_MS);
		if (program_gone && !told) {
			told = true;
			(void)epoll_ctl(set, EPOLL_CTL_DEL, notices, NULL);
			sup_each(without_program);
		}
		look();
		more = carry_again();
		sup_bury();
	}
	return 0;
}

/* ---- the start ---- */

static int find_functions(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), *f[3] = {NULL};

	f[0] = libc != NULL ? dlsym(libc, "socket") : NULL;
	f[1] = dlsym(RTLD_DEFAULT, SUPERVISE_WHOSE);
	f[2] = dlsym(RTLD_DEFAULT, SUPERVISE_TAKE);
	memcpy(&libc_socket, &f[0], sizeof(f[0]));
	memcpy(&whose_of, &f[1], sizeof(f[1]));
	memcpy(&take, &f[2], sizeof(f[2]));
	return f[0] != NULL && f[1] != NULL && f[2] != NULL ? 0 : -ELIBACC;
}

static int get_notices(const struct supervise_hello *h)
{
	int process = (int)syscall(SYS_pidfd_open, h->pid, 0), r;

	if (process < 0)
		return -errno;
	notices = (int)syscall(SYS_pidfd_getfd, process, h->notices, 0);
	r = notices < 0 ? -errno : 0;
	close(process);
	return r;
}

static int prepare(void)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &notices_watch};
	struct rlimit all;

	if (getrlimit(RLIMIT_NOFILE, &all) == 0) {
		all.rlim_cur = all.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &all);
	}
	set = epoll_create1(EPOLL_CLOEXEC);
	connect_start();
	return set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, notices, &e) < 0 ? -errno : 0;
}

/* Its name among programs: of whom it serves. */
static void take_name(const struct supervise_hello *h)
{
	static char name[sizeof(h->name)], shown[16];

	snprintf(name, sizeof(name), "%.*s", (int)sizeof(h->name) - 1, h->name);
	program_invocation_short_name = name;
	snprintf(shown, sizeof(shown), "for:%.11s", name);
	prctl(PR_SET_NAME, shown);
}

static struct supervise_answer answer_to(const struct supervise_hello *h)
{
	struct supervise_answer a = {.error = get_notices(h), .what = "pidfd_getfd"};

	if (a.error == 0)
		a = (struct supervise_answer){.error = find_functions(), .what = RUN_LIBRARY};
	if (a.error == 0)
		a = (struct supervise_answer){.error = prepare(), .what = "epoll"};
	take_name(h);
	return a;
}

int cmd_supervise(struct tool *t, int argc, char **argv)
{
	struct supervise_hello h;
	struct supervise_answer a;

	(void)t;
	(void)argv;
	if (argc != 1 || recv(SUPERVISE_FD, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return usage("supervise is started by zstack run alone");
	signal(SIGPIPE, SIG_IGN);
	a = answer_to(&h);
	(void)send(SUPERVISE_FD, &a, sizeof(a), MSG_NOSIGNAL);
	close(SUPERVISE_FD);
	return a.error == 0 ? serve() : 1;
}
