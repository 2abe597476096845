/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See relay.h. The relay is an ordinary program under this library, which gets its connections as
 * any receiver of descriptors does (pass_call.c): by what the service gave for them.
 *
 *	this process --+--> relay                 + connection, end of a pair
 *	     | exec                               (the end of this process's descriptor: begin)
 *	the program  <== the other end of the pair ==> relay <== Z-Stack ==> peer
 *
 * It must not be this process's child, which the program to come might wait for, and it must have
 * nothing else of this process: a pipe that it kept open would never end. So a child in this
 * process's memory, with a table of descriptors of its own, makes it and ends.
 */
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "client/pass.h"
#include "preload/handover.h"
#include "preload/preload.h"
#include "preload/relay.h"
#include "preload/run.h"

#define STACK_BYTES 32768
#define ABOVE	    10 /* the number of its end while the first ones are arranged */

/* ---- starting it ---- */

struct start {
	const char *tool;
	char **env;
	int fd; /* its end */
	char *stack[2];
};

static char *top_of(char *stack)
{
	return stack + STACK_BYTES;
}

/* In the new process, with this one's memory: nothing but system calls. */
static int become(void *arg)
{
	struct start *s = arg;
	char *const argv[] = {"zstack-relay", "relay", NULL};
	int null, fd = real.fcntl(s->fd, F_DUPFD_CLOEXEC, ABOVE);

	null = (int)real.syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || null < 0 || real.dup2(null, 0) < 0 || real.dup2(0, 1) < 0 ||
	    real.dup2(0, 2) < 0 || real.dup2(fd, RELAY_FD) < 0)
		_exit(1);
	/* dup2() of a number to itself leaves it close-on-exec. */
	real.fcntl(0, F_SETFD, 0);
	real.close_range(RELAY_FD + 1, ~0u, 0);
	setsid();
	(void)!chdir("/");
	real.execve(s->tool, argv, s->env);
	_exit(1);
}

static int between(void *arg)
{
	struct start *s = arg;

	_exit(real.clone(become, top_of(s->stack[1]), CLONE_VM | CLONE_VFORK, s) < 0);
}

/* The signals of the program stay away from what runs in its memory. */
static int run(struct start *s)
{
	sigset_t all, mask;
	int pid, status = 1;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pid = real.clone(between, top_of(s->stack[0]), CLONE_VM | CLONE_VFORK, s);
	if (pid > 0)
		real.syscall(SYS_wait4, pid, &status, __WALL, NULL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return pid > 0 && status == 0 ? 0 : -EAGAIN;
}

static int start(int fd)
{
	struct start s = {.tool = run_env(RUN_ENV_TOOL), .fd = fd};
	char *text[HANDOVER_TEXTS] = {NULL};
	int r = -ENOMEM;

	if (s.tool == NULL)
		return -ENOENT;
	s.env = run_env_copy(environ, -1, text, array_size(text));
	s.stack[0] = malloc(STACK_BYTES);
	s.stack[1] = malloc(STACK_BYTES);
	if (s.env != NULL && s.stack[0] != NULL && s.stack[1] != NULL)
		r = run(&s);
	for (unsigned i = 0; i < array_size(text); i++)
		free(text[i]);
	free(s.stack[0]);
	free(s.stack[1]);
	free(s.env);
	return r;
}

int relay_start(void)
{
	int pair[2], r, high;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = start(pair[1]);
	real.close(pair[1]);
	high = r == 0 ? own_dup(pair[0]) : -1;
	if (r == 0 && high < 0)
		r = -errno;
	real.close(pair[0]);
	return r < 0 ? r : high;
}

/* ---- telling it ---- */

static int tell(int relay, const char *what, const int fd[2])
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec v = {(char *)what, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (fd != NULL) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(c), fd, 2 * sizeof(int));
	}
	/* By number: sendmsg() is a cancellation point, and may be in nobody's way. */
	return real.syscall(SYS_sendmsg, relay, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

bool relay_serves(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return fd_kind(fd) == FD_SOCKET && is_stream(fd) &&
	       zs_getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* As far as a UNIX socket knows it. */
static void like(int end, int fd)
{
	static const int names[] = {SO_RCVTIMEO, SO_SNDTIMEO};
	struct timeval t;
	socklen_t len;

	if (zs_fcntl(fd, F_GETFL) & O_NONBLOCK)
		real.fcntl(end, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < array_size(names); i++) {
		len = sizeof(t);
		if (zs_getsockopt(fd, SOL_SOCKET, names[i], &t, &len) == 0)
			real.setsockopt(end, SOL_SOCKET, names[i], &t, sizeof(t));
	}
}

/* The pair's ends; the second goes to the relay, with the connection. */
static int hand(int relay, int fd, const int pair[2])
{
	struct pass_with with = {.fd = -1};
	int both[2] = {-1, pair[1]};
	long end;

	CALL_ONCE(end, pass_send(fd, &with));
	if (end < 0)
		return (int)end;
	both[0] = (int)end;
	end = tell(relay, RELAY_ADD, both);
	pass_end_close(both[0]);
	return (int)end;
}

int relay_add(int relay, int fd)
{
	int pair[2], r;

	if (!relay_serves(fd))
		return -EOPNOTSUPP;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	like(pair[0], fd);
	r = hand(relay, fd, pair);
	real.close(pair[1]);
	if (r == 0)
		return pair[0];
	real.close(pair[0]);
	return r;
}

static void finish(int relay, const char *what)
{
	(void)!tell(relay, what, NULL);
	fd_set_kind(relay, FD_KERNEL);
	real.close(relay);
}

void relay_begin(int relay)
{
	finish(relay, RELAY_BEGIN);
}

void relay_forget(int relay)
{
	finish(relay, RELAY_FORGET);
}
