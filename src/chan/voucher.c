/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chan/voucher.h"

/* In the abstract namespace: behind a zero, and without one at the end. What is random keeps two of
 * the same purpose apart. */
#define NAME "zstack-voucher/"

void voucher_for_bind(char purpose[VOUCHER_MAX], const uint8_t addr[16], uint16_t port, bool udp)
{
	int n = snprintf(purpose, VOUCHER_MAX, "bind/%s/%u/", udp ? "udp" : "tcp", (unsigned)port);

	for (unsigned i = 0; i < 16; i++)
		n += snprintf(purpose + n, (size_t)(VOUCHER_MAX - n), "%02x", addr[i]);
}

int voucher_make(const char *purpose)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	uint64_t apart;
	int fd, n, rc = 0;

	if (getrandom(&apart, sizeof(apart), GRND_NONBLOCK) != sizeof(apart))
		return -EAGAIN;
	n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, NAME "%s/%016llx", purpose,
		     (unsigned long long)apart);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* The backlog of 0 takes one connection that nobody accepts; it harms nobody. */
	if (bind(fd, (struct sockaddr *)&at,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0 ||
	    listen(fd, 0) < 0)
		rc = -errno;
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

static bool option_is(int fd, int option, int wanted)
{
	int is = 0;
	socklen_t len = sizeof(is);

	return getsockopt(fd, SOL_SOCKET, option, &is, &len) == 0 && is == wanted;
}

int voucher_read(int fd, const char *purpose, uint32_t *user)
{
	struct sockaddr_un at = {0};
	struct ucred maker;
	socklen_t len = sizeof(at), maker_len = sizeof(maker);
	char name[sizeof(at.sun_path)];
	size_t n = (size_t)snprintf(name, sizeof(name), purpose != NULL ? NAME "%s/" : NAME,
				    purpose);

	/* Of a socket that is connected SO_PEERCRED is another's. */
	if (!option_is(fd, SO_DOMAIN, AF_UNIX) || !option_is(fd, SO_ACCEPTCONN, 1) ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0 || at.sun_path[0] != '\0' ||
	    len < offsetof(struct sockaddr_un, sun_path) + 1 + n ||
	    memcmp(at.sun_path + 1, name, n) != 0)
		return -EINVAL;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &maker_len) != 0)
		return -EINVAL;
	*user = maker.uid;
	return 0;
}
