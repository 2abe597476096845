/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the programs of the same-node tests have in common (link_app.c, record_app.c).
 */
#ifndef ZS_TEST_LINK_COMMON_H
#define ZS_TEST_LINK_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zstack/stats.h"
#include "zstack/zc.h"
#include "zstack/zstack.h"

#define CHUNK_MAX 65536

static inline uint8_t byte_at(uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15ull) >> 56);
}

static inline void fill(uint8_t *p, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(at + i);
}

static inline void verify(const uint8_t *p, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != byte_at(at + i)) {
			printf("byte %llu is wrong\n", (unsigned long long)(at + i));
			exit(1);
		}
	}
}

static inline void must(ssize_t r, const char *what)
{
	if (r >= 0)
		return;
	printf("%s: %s\n", what, strerror((int)-r));
	exit(1);
}

static inline void start(void)
{
	struct zs_config *c = zs_config_new();

	if (zs_start(c) < 0) {
		fprintf(stderr, "%s\n", zs_config_error(c));
		exit(1);
	}
	zs_config_free(c);
}

static inline struct sockaddr_in at(const char *addr, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	inet_pton(AF_INET, addr, &a.sin_addr);
	return a;
}

/* Where it listens, if not everywhere. */
static const char *own = "0.0.0.0";

static inline int listener(const char *port)
{
	struct sockaddr_in a = at(own, port);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	must(zs_bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
	must(zs_listen(fd, 4096), "listen");
	printf("listening\n");
	return fd;
}

static inline int dial(const char *addr, const char *port)
{
	struct sockaddr_in a = at(addr, port);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	must(fd, "socket");
	must(zs_connect(fd, (struct sockaddr *)&a, sizeof(a)), "connect");
	return fd;
}

static inline void report(void)
{
	struct zs_stats s;
	int r = zs_stats(&s, sizeof(s));

	if (r == -ENETDOWN) { /* there is no service at the moment */
		printf("links 0 bad 0\n");
		return;
	}
	must(r, "stats");
	printf("links %llu bad %llu commands %llu api_copied %llu rx %llu tx %llu\n",
	       (unsigned long long)s.links, (unsigned long long)s.link_bad,
	       (unsigned long long)s.commands, (unsigned long long)s.api_copied_bytes,
	       (unsigned long long)s.rx_bytes, (unsigned long long)s.tx_bytes);
}

static inline void want(int set, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (zs_epoll_ctl(set, EPOLL_CTL_MOD, fd, &e) == -ENOENT)
		must(zs_epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
}

#endif
