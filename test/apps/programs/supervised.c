/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A static program that does with TCP what others do, by the kernel's calls alone (test_supervised.py):
 * supervised MODE ADDRESS PORT. Says on standard output what it sees.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FDS 1024

static struct sockaddr_storage where;
static socklen_t where_len;

static void put(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static void name(const char *of, const struct sockaddr_storage *a)
{
	const struct sockaddr_in *v4 = (const void *)a;
	const struct sockaddr_in6 *v6 = (const void *)a;
	char text[INET6_ADDRSTRLEN];

	inet_ntop(a->ss_family,
		  a->ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
		  sizeof(text));
	printf("%s %s %d\n", of, text, ntohs(v4->sin_port));
	fflush(stdout);
}

static void names(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (void *)&a, &len) == 0)
		name("own", &a);
	len = sizeof(a);
	if (getpeername(fd, (void *)&a, &len) == 0)
		name("peer", &a);
	else
		put(strerror(errno));
}

static int make(int flags)
{
	return socket(where.ss_family, SOCK_STREAM | flags, 0);
}

static int listener(int flags)
{
	int fd = make(flags), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&where, where_len) < 0 || listen(fd, 128) < 0) {
		put(strerror(errno));
		exit(1);
	}
	return fd;
}

static void echo(int fd)
{
	static char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, m; at < n; at += m)
			if ((m = write(fd, buf + at, (size_t)(n - at))) < 0)
				return;
}

/* ---- servers ---- */

/* One process for all, by poll(): the bytes of each go back as they come. */
static int polls(void)
{
	static struct pollfd p[FDS];
	static char buf[16384];
	int n = 1;

	p[0] = (struct pollfd){listener(SOCK_NONBLOCK), POLLIN, 0};
	put("ready");
	while (poll(p, (nfds_t)n, -1) >= 0) {
		for (int i = n - 1; i > 0; i--) {
			ssize_t got = p[i].revents ? read(p[i].fd, buf, sizeof(buf)) : 1;

			if (got > 0 && p[i].revents && write(p[i].fd, buf, (size_t)got) != got)
				got = 0;
			if (got <= 0) {
				close(p[i].fd);
				p[i] = p[--n];
			}
		}
		while (n < FDS) {
			int fd = accept4(p[0].fd, NULL, NULL, 0);

			if (fd < 0)
				break;
			p[n++] = (struct pollfd){fd, POLLIN, 0};
		}
	}
	return 1;
}

/* A child for each, which accept() waited for. */
static int forks(void)
{
	struct sockaddr_storage a;
	int l = listener(0);

	signal(SIGCHLD, SIG_IGN);
	put("ready");
	for (;;) {
		socklen_t len = sizeof(a);
		int fd = accept(l, (void *)&a, &len);

		if (fd < 0)
			return 1;
		if (fork() == 0) {
			close(l);
			name("from", &a);
			names(fd);
			echo(fd);
			_exit(0);
		}
		close(fd);
	}
}

/* Children that wait for connections of the same listener. */
static int shares(void)
{
	int l = listener(0);

	for (int i = 0; i < 3; i++) {
		if (fork() != 0)
			continue;
		for (;;) {
			int fd = accept(l, NULL, NULL);

			if (fd < 0)
				_exit(1);
			dprintf(fd, "%d\n", getpid());
			close(fd);
		}
	}
	close(l);
	put("ready");
	while (wait(NULL) > 0)
		;
	return 0;
}

/* Closes, and is there again at the same port. */
static int again(void)
{
	int l = listener(0);

	close(l);
	l = make(0);
	if (bind(l, (void *)&where, where_len) < 0)
		put(strerror(errno));
	close(l); /* one that only was bound */
	l = listener(0);
	put("ready");
	echo(accept(l, NULL, NULL));
	return 0;
}

static void nothing(int sig)
{
	(void)sig;
}

/* accept() is ended by a signal, again and again, and no connection is lost. */
static int interrupted(void)
{
	struct sigaction act = {.sa_handler = nothing};
	int l = listener(0), ended = 0, told = 0;

	sigaction(SIGUSR1, &act, NULL);
	put("ready");
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0 && errno != EINTR) {
			put(strerror(errno));
			return 1;
		}
		if (fd < 0) {
			ended++;
			if (!told)
				put("interrupted");
			told = 1;
			continue;
		}
		dprintf(fd, "%d\n", ended);
		close(fd);
	}
}

/* What it does not read is a reset. */
static int unread(void)
{
	int l = listener(0), fd;

	put("ready");
	fd = accept(l, NULL, NULL);
	poll(&(struct pollfd){fd, POLLIN, 0}, 1, -1);
	close(fd);
	pause();
	return 0;
}

/* Reads nothing, for ever. */
static int full(void)
{
	int l = listener(0);

	put("ready");
	if (accept(l, NULL, NULL) < 0)
		return 1;
	pause();
	return 0;
}

/* What it reads says when it ends, and how. */
static int ends(void)
{
	int l = listener(0), fd;
	char c;
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	put("ready");
	fd = accept(l, NULL, NULL);
	while ((n = read(fd, &c, 1)) > 0)
		;
	put(n == 0 ? "end" : strerror(errno));
	(void)!write(fd, "bye", 3);
	return 0;
}

/* ---- clients ---- */

static void talk(int fd)
{
	char buf[6] = "";

	names(fd);
	if (write(fd, "hello", 5) != 5 || read(fd, buf, 5) != 5)
		put(strerror(errno));
	put(buf);
}

static int connects(void)
{
	int fd = make(0);

	if (connect(fd, (void *)&where, where_len) < 0)
		put(strerror(errno));
	else
		talk(fd);
	return 0;
}

/* In an epoll set from the start, as Go has it. */
static int starts(void)
{
	int fd = make(SOCK_NONBLOCK), set = epoll_create1(0), error = -1, flags;
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	socklen_t len = sizeof(error);

	epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
	epoll_wait(set, &e, 1, 0);
	if (connect(fd, (void *)&where, where_len) < 0)
		put(strerror(errno));
	if (epoll_wait(set, &e, 1, 10000) != 1)
		put("it did not become ready");
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	put(error == 0 ? "connected" : strerror(error));
	printf("%s%s%s\n", e.events & EPOLLERR ? "error " : "", e.events & EPOLLHUP ? "hup " : "",
	       e.events & EPOLLOUT ? "out" : "");
	fflush(stdout);
	if (error != 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	talk(fd);
	return 0;
}

/* Resets what it has connected; ends its writing and reads the rest. */
static int resets(void)
{
	struct linger now = {1, 0};
	int fd = make(0);

	if (connect(fd, (void *)&where, where_len) < 0 || write(fd, "x", 1) != 1)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	read(fd, &(char){0}, 1);
	return close(fd);
}

static int halves(void)
{
	int fd = make(0);
	long sum = 0;
	ssize_t n;
	static char buf[65536];

	if (connect(fd, (void *)&where, where_len) < 0)
		return 1;
	shutdown(fd, SHUT_WR);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sum += n;
	printf("%ld\n", sum);
	return 0;
}

/* ---- main ---- */

static const struct {
	const char *name;
	int (*run)(void);
} modes[] = {{"polls", polls},	 {"forks", forks},   {"shares", shares},
	     {"again", again},	 {"unread", unread}, {"interrupted", interrupted},
	     {"full", full},	 {"ends", ends},     {"connects", connects},
	     {"starts", starts}, {"resets", resets}, {"halves", halves}};

int main(int argc, char **argv)
{
	struct sockaddr_in *v4 = (void *)&where;
	struct sockaddr_in6 *v6 = (void *)&where;

	if (argc != 4)
		return 2;
	where_len = strchr(argv[2], ':') != NULL ? sizeof(*v6) : sizeof(*v4);
	where.ss_family = where_len == sizeof(*v6) ? AF_INET6 : AF_INET;
	v4->sin_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(where.ss_family, argv[2],
		      where_len == sizeof(*v6) ? (void *)&v6->sin6_addr : &v4->sin_addr) != 1)
		return 2;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(modes[i].name, argv[1]) == 0)
			return modes[i].run();
	return 2;
}
