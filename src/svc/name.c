/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names of the abstract namespace: they are of the network namespace, and gone with the process that
 * has them, however it ends. Anybody can take one: so who has it is looked at, and only root's word
 * and our own user's count.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "svc/service.h"

#define LOOK_NS 5000000

int name_socket(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* 0 when the holder is root or of our user; -EPERM: another; -ECONNREFUSED: it is gone; -errno. */
static int holder_look(const struct sockaddr_un *at, socklen_t len, struct ucred *who)
{
	socklen_t n = sizeof(*who);
	int fd = name_socket(), rc;

	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)at, len) < 0 ? -errno : 0;
	if (rc == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &n) < 0)
		rc = -errno;
	if (rc == 0 && who->uid != 0 && who->uid != geteuid())
		rc = -EPERM;
	close(fd);
	return rc;
}

int name_take(int fd, const struct sockaddr_un *at, socklen_t len, int64_t wait_ns,
	      struct ucred *who)
{
	int64_t end = node_now_ns() + wait_ns;

	while (bind(fd, (const struct sockaddr *)at, len) < 0) {
		int rc;

		if (errno != EADDRINUSE)
			return -errno;
		rc = holder_look(at, len, who);
		if (rc == -EPERM)
			return rc;
		if (node_now_ns() >= end)
			return rc == 0 ? -EEXIST : -EADDRINUSE;
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return listen(fd, 128) < 0 ? -errno : 0;
}
