/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Preloaded into zstackd: the kernel as it was before Linux 6.5, which knows processes at sockets
 * by number alone; and, when the file that ZS_REUSED names has a number in it, the programs'
 * numbers are that process's by now.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif

int getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int setsockopt(int fd, int level, int name, const void *value, socklen_t len);
ssize_t recvmsg(int fd, struct msghdr *m, int flags);

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static void reused(pid_t *pid)
{
	FILE *f = fopen(getenv("ZS_REUSED"), "re");
	int n;

	if (f == NULL)
		return;
	if (fscanf(f, "%d", &n) == 1)
		*pid = n;
	fclose(f);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int (*real)(int, int, int, void *, socklen_t *) = next("getsockopt");
	int rc;

	if (level == SOL_SOCKET && name == SO_PEERPIDFD) {
		errno = ENOPROTOOPT;
		return -1;
	}
	rc = real(fd, level, name, value, len);
	if (rc == 0 && level == SOL_SOCKET && name == SO_PEERCRED)
		reused(&((struct ucred *)value)->pid);
	return rc;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int (*real)(int, int, int, const void *, socklen_t) = next("setsockopt");

	if (level == SOL_SOCKET && name == SO_PASSPIDFD) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return real(fd, level, name, value, len);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t (*real)(int, struct msghdr *, int) = next("recvmsg");
	ssize_t n = real(fd, m, flags);

	for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(m) : NULL; c != NULL; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			reused(&((struct ucred *)CMSG_DATA(c))->pid);
	return n;
}
