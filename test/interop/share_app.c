/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program attached to zstackd that does what the lines of its standard input say, and answers
 * each with one line: 0 or -errno, and of what was opened its number and local port.
 *
 *	listen ADDR PORT    udp ADDR PORT       bound sockets
 *	connect ADDR PORT   send ADDR PORT      sockets that nobody bound; send: one datagram
 *	ask ADDR PORT                           a connected datagram socket: one datagram
 *	close N                                 one of them
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "zstack/zstack.h"

struct place {
	struct sockaddr_storage at;
	socklen_t len;
	int family;
};

static int place_parse(struct place *p, const char *addr, int port)
{
	struct sockaddr_in *in = (void *)&p->at;
	struct sockaddr_in6 *in6 = (void *)&p->at;

	memset(p, 0, sizeof(*p));
	p->family = strchr(addr, ':') != NULL ? AF_INET6 : AF_INET;
	p->at.ss_family = (sa_family_t)p->family;
	p->len = p->family == AF_INET ? sizeof(*in) : sizeof(*in6);
	in->sin_port = htons((uint16_t)port); /* stands at the same place in both */
	return inet_pton(p->family, addr,
			 p->family == AF_INET ? (void *)&in->sin_addr : &in6->sin6_addr) == 1
		       ? 0
		       : -1;
}

static int local_port(int fd)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	return zs_getsockname(fd, (struct sockaddr *)&a, &len) == 0 ? ntohs(a.sin6_port) : 0;
}

static int open_bound(const struct place *p, int type)
{
	int fd = zs_socket(p->family, type, 0), rc;

	if (fd < 0)
		return fd;
	rc = zs_bind(fd, (const struct sockaddr *)&p->at, p->len);
	if (rc == 0 && type == SOCK_STREAM)
		rc = zs_listen(fd, 16);
	if (rc == 0)
		return fd;
	zs_close(fd);
	return rc;
}

static int open_unbound(const struct place *p, const char *how)
{
	const struct sockaddr *at = (const struct sockaddr *)&p->at;
	int fd = zs_socket(p->family, strcmp(how, "connect") == 0 ? SOCK_STREAM : SOCK_DGRAM, 0);
	long rc;

	if (fd < 0)
		return fd;
	if (strcmp(how, "send") == 0)
		rc = zs_sendto(fd, "x", 1, 0, at, p->len);
	else
		rc = zs_connect(fd, at, p->len);
	if (rc >= 0 && strcmp(how, "ask") == 0)
		rc = zs_send(fd, "x", 1, 0);
	if (rc >= 0)
		return fd;
	zs_close(fd);
	return (int)rc;
}

static int act(const char *how, const char *addr, int port)
{
	struct place p;

	if (place_parse(&p, addr, port) < 0)
		return -1;
	if (strcmp(how, "listen") == 0)
		return open_bound(&p, SOCK_STREAM);
	return strcmp(how, "udp") == 0 ? open_bound(&p, SOCK_DGRAM) : open_unbound(&p, how);
}

int main(void)
{
	struct zs_config *c = zs_config_new();
	char line[128], how[16], addr[64];
	int port;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (c == NULL || zs_start(c) < 0)
		return 1;
	zs_config_free(c);
	printf("listening\n");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "close %d", &port) == 1) {
			printf("%d\n", zs_close(port));
		} else if (sscanf(line, "%15s %63s %d", how, addr, &port) == 3) {
			int fd = act(how, addr, port);

			printf("%d %d %d\n", fd < 0 ? fd : 0, fd, fd < 0 ? 0 : local_port(fd));
		}
	}
	return 0;
}
