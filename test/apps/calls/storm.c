/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that do with sockets whatever comes, on numbers that they share; none blocks. No call may
 * crash or hang, nor may the service. `storm SECONDS SEED`, see test_storm.py.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "calls.h"

#define SLOTS	24
#define THREADS 4

static _Atomic int slot[SLOTS];
static _Atomic bool over;
static _Atomic unsigned long done[16];
static unsigned seed;

static int any(unsigned *r)
{
	return slot[rand_r(r) % SLOTS];
}

/* The number that stood in the slot is closed. */
static void put(unsigned *r, int fd)
{
	int old = atomic_exchange(&slot[rand_r(r) % SLOTS], fd);

	if (old >= 0)
		close(old);
}

static void op_socket(unsigned *r)
{
	int type = rand_r(r) % 3 != 0 ? SOCK_STREAM : SOCK_DGRAM;

	put(r, socket(AF_INET, type | SOCK_NONBLOCK, 0));
}

static void op_connect(unsigned *r)
{
	static const int port[] = {ECHO, ECHO, GREET, LAST, RESET, NOBODY, UECHO};
	int p = port[rand_r(r) % 7];

	if (rand_r(r) % 4 == 0)
		(void)connect(any(r), AT("127.0.0.1", 1));
	else
		(void)connect(any(r), AT(PEER, p));
}

static void op_bind(unsigned *r)
{
	static const char *const ip[] = {"0.0.0.0", OWN, "127.0.0.1"};

	(void)bind(any(r), AT(ip[rand_r(r) % 3], 0));
}

static void op_listen(unsigned *r)
{
	(void)listen(any(r), 4);
}

static void op_accept(unsigned *r)
{
	int s = accept4(any(r), NULL, NULL, SOCK_NONBLOCK);

	if (s >= 0)
		put(r, s);
}

static void op_write(unsigned *r)
{
	char buf[2000] = "";

	(void)send(any(r), buf, (size_t)rand_r(r) % sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void op_sendto(unsigned *r)
{
	int fd = any(r);

	if (rand_r(r) % 2)
		(void)sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, AT(PEER, UECHO));
	else
		(void)sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, AT("127.0.0.1", 9));
}

static void op_read(unsigned *r)
{
	char buf[4000];

	(void)recv(any(r), buf, sizeof(buf), MSG_DONTWAIT);
}

static void op_dup(unsigned *r)
{
	int fd = rand_r(r) % 2 ? dup(any(r)) : fcntl(any(r), F_DUPFD_CLOEXEC, rand_r(r) % 60);

	if (fd >= 0)
		put(r, fd);
}

static void op_dup2(unsigned *r)
{
	int to = any(r);

	if (to > 2)
		(void)dup2(any(r), to);
}

static void op_close(unsigned *r)
{
	put(r, -1);
}

static void op_poll(unsigned *r)
{
	struct pollfd p[4];

	for (int i = 0; i < 4; i++)
		p[i] = (struct pollfd){.fd = any(r), .events = POLLIN | POLLOUT};
	(void)poll(p, 4, rand_r(r) % 3);
}

static void op_epoll(unsigned *r)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET}, got[4];

	if (rand_r(r) % 8 == 0)
		put(r, epoll_create1(0));
	(void)epoll_ctl(any(r), 1 + rand_r(r) % 3, any(r), &e);
	(void)epoll_wait(any(r), got, 4, rand_r(r) % 2);
}

static void op_options(unsigned *r)
{
	int v = 1;
	socklen_t len = sizeof(v);

	(void)setsockopt(any(r), SOL_SOCKET, SO_KEEPALIVE, &v, len);
	(void)setsockopt(any(r), IPPROTO_TCP, TCP_NODELAY, &v, len);
	(void)getsockopt(any(r), SOL_SOCKET, SO_ERROR, &v, &len);
	(void)shutdown(any(r), rand_r(r) % 3);
	(void)ioctl(any(r), FIONREAD, &v);
}

static void op_fork(unsigned *r)
{
	pid_t child;

	if (rand_r(r) % 20 != 0)
		return;
	child = fork();
	if (child == 0) {
		for (int i = 0; i < SLOTS; i++) {
			if (slot[i] >= 0)
				(void)send(slot[i], "c", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

static void (*const ops[])(unsigned *) = {
	op_socket, op_socket, op_connect, op_bind,  op_listen, op_accept, op_write,   op_sendto,
	op_read,   op_dup,    op_dup2,	  op_close, op_poll,   op_epoll,  op_options, op_fork,
};

static void *storm(void *arg)
{
	unsigned r = seed + (unsigned)(uintptr_t)arg;

	while (!over) {
		unsigned k = (unsigned)rand_r(&r) % 16;

		ops[k](&r);
		done[k]++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];
	unsigned long all = 0;

	seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < SLOTS; i++)
		slot[i] = -1;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, storm, (void *)(uintptr_t)i);
	usleep((useconds_t)((argc > 1 ? atof(argv[1]) : 1) * 1e6));
	over = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 16; i++)
		all += done[i];
	printf("%lu calls\n", all);
	return 0;
}
