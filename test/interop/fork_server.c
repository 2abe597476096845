/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A server that forks, in the ways that servers do (test_fork.py):
 *
 *	each      a child for each connection, which the parent closes
 *	workers   four children accept from one listener, by epoll
 *	daemon    the parent ends, the child serves
 *	turns     parent and child read one connection in turn
 *	runs      the same, each several times, without waiting for all that it asks for
 *	keeps     the child keeps the connection and does nothing; the parent reads it
 *	heir      the parent reads, and ends with bytes unread, which the child reads
 *	reuse     no fork: one of several programs on a port, which says who it is (SO_REUSEPORT)
 *	unread    the parent has read a part of what is there; the child reads the rest
 *	outage    forks when it is told to (SIGUSR1), and both say who they are
 *	late      connections wait to be accepted when the workers are made; the parent accepts none
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

#define WORKERS 4

static pid_t make_child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	return pid;
}

static void serve_each(int l)
{
	for (;;) {
		int fd = must(zs_accept(l, NULL, NULL), "accept");

		if (make_child() == 0) {
			must(zs_close(l), "close");
			serve_echo(fd);
			exit(0);
		}
		must(zs_close(fd), "close");
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* One connection at a time, without blocking on the listener that others share. */
static void worker(int l)
{
	int set = must(zs_epoll_create1(0), "epoll");
	struct epoll_event e = {.events = EPOLLIN};

	must(zs_fcntl(l, F_SETFL, O_NONBLOCK), "fcntl");
	must(zs_epoll_ctl(set, EPOLL_CTL_ADD, l, &e), "epoll_ctl");
	for (;;) {
		int fd;

		must(zs_epoll_wait(set, &e, 1, -1), "epoll_wait");
		fd = zs_accept(l, NULL, NULL);
		if (fd == -EAGAIN)
			continue;
		serve_echo(must(fd, "accept"));
	}
}

static void serve_workers(int l)
{
	for (int i = 0; i < WORKERS; i++)
		if (make_child() == 0)
			worker(l);
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

static void serve_late(int l)
{
	int fd = must(zs_accept(l, NULL, NULL), "accept");
	char go;

	must((int)zs_read(fd, &go, 1), "read");
	must(zs_close(fd), "close");
	serve_workers(l);
}

static void serve_daemon(int l)
{
	if (make_child() > 0)
		_exit(0);
	printf("child %d\n", (int)getpid());
	fflush(stdout);
	for (;;)
		serve_echo(must(zs_accept(l, NULL, NULL), "accept"));
}

/* A child, and a way for each to let the other go on. So that the end of one is the end of the
 * other's wait, each has its ends alone. */
static bool child_with_ways(int go[2], int back[2])
{
	bool child;

	if (pipe(go) < 0 || pipe(back) < 0)
		err(1, "pipe");
	child = make_child() == 0;
	close(child ? go[1] : go[0]);
	close(child ? back[0] : back[1]);
	return child;
}

/* Each reads exactly 1,000 bytes, then lets the other go on; what both read goes back in order. */
static void serve_turns(int l)
{
	int fd = must(zs_accept(l, NULL, NULL), "accept"), go[2], back[2];
	char mine[1000], ahead[300];
	bool child;

	child = child_with_ways(go, back);
	for (int turn = 0;; turn++) {
		ssize_t n;

		if ((turn % 2 == 1) != child) {
			if (read(child ? go[0] : back[0], mine, 1) != 1)
				exit(0);
			continue;
		}
		/* A look takes nothing away, from the other neither. */
		n = zs_recv(fd, ahead, sizeof(ahead), MSG_PEEK);
		must((int)n, "peek");
		must((int)zs_recv(fd, mine, sizeof(mine), MSG_WAITALL), "recv");
		if (memcmp(ahead, mine, (size_t)n) != 0)
			errx(1, "what was looked at is not what was read");
		n = n == 0 ? 0 : (ssize_t)sizeof(mine);
		if (n == 0)
			exit(0);
		write_all(fd, mine, (size_t)n);
		if (write(child ? back[1] : go[1], "x", 1) != 1)
			err(1, "write");
	}
}

/* How a run of reads goes: the same in parent and child, who each know of the other's. */
static unsigned dice(unsigned n)
{
	static uint32_t x = 1;

	x = x * 1664525u + 1013904223u;
	return (x >> 8) % n;
}

static void serve_runs(int l)
{
	int fd = must(zs_accept(l, NULL, NULL), "accept"), go[2], back[2];
	static char mine[6000];
	bool child;

	child = child_with_ways(go, back);
	for (int turn = 0;; turn++) {
		unsigned reads = 1 + dice(20);
		ssize_t n = 1;

		if ((turn % 2 == 1) != child) {
			for (; reads > 0; reads--)
				(void)dice(2);
			if (read(child ? go[0] : back[0], mine, 1) != 1)
				exit(0);
			continue;
		}
		for (; reads > 0 && n > 0; reads--) {
			n = zs_read(fd, mine, dice(2) == 0 ? 777 : sizeof(mine));
			must((int)n, "read");
			write_all(fd, mine, (size_t)n);
		}
		if (n == 0)
			exit(0);
		if (write(child ? back[1] : go[1], "x", 1) != 1)
			exit(0);
	}
}

static void serve_keeps(int l)
{
	for (;;) {
		int fd = must(zs_accept(l, NULL, NULL), "accept");
		pid_t pid = make_child();

		if (pid == 0)
			for (;;)
				pause();
		serve_echo(fd);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static void serve_heir(int l)
{
	int fd = must(zs_accept(l, NULL, NULL), "accept"), ended[2];
	char part[1000];

	if (pipe(ended) < 0)
		err(1, "pipe");
	if (make_child() == 0) {
		close(ended[1]);
		(void)!read(ended[0], part, 1);
		serve_echo(fd);
		exit(0);
	}
	for (int i = 0; i < 20; i++) {
		must((int)zs_recv(fd, part, sizeof(part), MSG_WAITALL), "recv");
		write_all(fd, part, sizeof(part));
	}
	_exit(0);
}

static void serve_unread(int l)
{
	int fd = must(zs_accept(l, NULL, NULL), "accept"), there = 0;
	char part[1234];

	while (there < 50000) {
		must(zs_process(1000000), "process");
		must(zs_ioctl(fd, FIONREAD, &there), "ioctl");
	}
	if (must((int)zs_read(fd, part, sizeof(part)), "read") != sizeof(part))
		errx(1, "short read");
	write_all(fd, part, sizeof(part));
	if (make_child() == 0) {
		serve_echo(fd);
		exit(0);
	}
	must(zs_close(fd), "close");
	wait(NULL);
}

static void serve_reuse(int l)
{
	for (;;) {
		int fd = must(zs_accept(l, NULL, NULL), "accept");
		char who[16];

		write_all(fd, who, (size_t)snprintf(who, sizeof(who), "%d", (int)getpid()));
		must(zs_close(fd), "close");
	}
}

static void serve_outage(int l)
{
	sigset_t go;
	int sig;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigwait(&go, &sig);
	if (make_child() == 0) {
		printf("child %d\n", (int)getpid());
		fflush(stdout);
	}
	serve_reuse(l);
}

static void signal_hold(void)
{
	sigset_t go;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go, NULL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(int l);
	} mode[] = {{"each", serve_each},   {"workers", serve_workers}, {"daemon", serve_daemon},
		    {"turns", serve_turns}, {"reuse", serve_reuse},	{"unread", serve_unread},
		    {"late", serve_late},   {"runs", serve_runs},	{"keeps", serve_keeps},
		    {"heir", serve_heir},   {"outage", serve_outage}};
	struct zs_config *c = zs_config_new();
	int l;

	signal_hold();
	if (c == NULL || zs_config_args(c, &argc, argv) < 0 || argc != 2 || zs_start(c) < 0)
		errx(1, "%s", zs_config_error(c));
	l = server_socket(SOCK_STREAM, 7,
			  strcmp(argv[1], "reuse") == 0 ? SO_REUSEPORT : SO_REUSEADDR, 128);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	for (unsigned i = 0; i < sizeof(mode) / sizeof(mode[0]); i++)
		if (strcmp(argv[1], mode[i].name) == 0)
			mode[i].run(l);
	return 0;
}
