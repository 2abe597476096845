/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the servers of these tests have in common: any call that fails ends them with a sentence.
 */
#ifndef ZS_TEST_INTEROP_SERVER_H
#define ZS_TEST_INTEROP_SERVER_H

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "zstack/zstack.h"

static inline int must(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, strerror(-r));
	return r;
}

/* A socket bound to a port of every address; a stream listens. option: of SOL_SOCKET, or 0. */
static inline int server_socket(int type, uint16_t port, int option, int backlog)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = must(zs_socket(AF_INET, type, 0), "socket"), one = 1;

	if (option != 0)
		must(zs_setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one)), "setsockopt");
	must(zs_bind(fd, (struct sockaddr *)&at, sizeof(at)), "bind");
	if (type == SOCK_STREAM)
		must(zs_listen(fd, backlog), "listen");
	return fd;
}

static inline void write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = zs_write(fd, p, n);

		must((int)k, "write");
		p += k;
		n -= (size_t)k;
	}
}

/* All that comes, until the end. */
static inline void serve_echo(int fd)
{
	char buf[20000];
	ssize_t n;

	while ((n = zs_read(fd, buf, sizeof(buf))) > 0)
		write_all(fd, buf, (size_t)n);
	must((int)n, "read");
	must(zs_close(fd), "close");
}

static inline void start_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t a;
	pthread_t t;
	int rc;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 128 << 10);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&t, &a, fn, arg);
	if (rc != 0)
		errx(1, "thread: %s", strerror(rc));
	pthread_attr_destroy(&a);
}

#endif
