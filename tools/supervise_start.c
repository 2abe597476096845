/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack run, of a program that can't load the library: starts the supervisor, and puts the filter
 * on this process, which then executes the program.
 *
 * The supervisor is nobody's child, so that the program's wait() does not see it, and it has none of
 * this process's descriptors, so that no pipe stays open; but standard error, if it is to say what
 * becomes of each socket. It gets the filter's descriptor by pidfd_getfd(), since a message could
 * be a call that waits for who has that descriptor.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOVE 10 /* the number of its end while the first ones are arranged */

static const char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* In the new process. */
static _Noreturn void become(int end, const char *program, bool verbose)
{
	char name[64], *const argv[] = {name, "supervise", NULL};
	int fd = fcntl(end, F_DUPFD_CLOEXEC, ABOVE), null = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(name, sizeof(name), "supervise:%s", last_of(program));
	if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    (!verbose && dup2(null, 2) < 0) || dup2(fd, SUPERVISE_FD) < 0)
		_exit(1);
	close_range(SUPERVISE_FD + 1, ~0u, 0);
	setsid();
	(void)!chdir("/");
	execv("/proc/self/exe", argv);
	_exit(1);
}

/* Its number. -errno. */
static pid_t start(int end, const char *program, bool verbose)
{
	pid_t pid = -1, child;
	int tell[2], status;

	if (pipe2(tell, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		pid = fork();
		if (pid == 0)
			become(end, program, verbose);
		_exit(write(tell[1], &pid, sizeof(pid)) != sizeof(pid));
	}
	close(tell[1]);
	if (child < 0 || waitpid(child, &status, 0) < 0 ||
	    read(tell[0], &pid, sizeof(pid)) != sizeof(pid))
		pid = -1;
	close(tell[0]);
	return pid < 0 ? -EAGAIN : pid;
}

/* Bytes go over it. */
static bool loopback_is_up(void)
{
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & IFF_UP) != 0;

	if (fd >= 0)
		close(fd);
	return up;
}

/* 0, or what is in the way. */
static int greet(int fd, const char *program, char *why, size_t len)
{
	struct supervise_hello h = {.pid = getpid(), .notices = filter_install()};
	struct supervise_answer a = {.error = -ECONNRESET, .what = "its start"};

	if (h.notices < 0) {
		snprintf(why, len, "seccomp's user notification: %s", strerror(-h.notices));
		return -1;
	}
	snprintf(h.name, sizeof(h.name), "%s", last_of(program));
	/* By write and read: the filter is there, and nobody listens to it yet. */
	if (write(fd, &h, sizeof(h)) == (ssize_t)sizeof(h))
		(void)!read(fd, &a, sizeof(a));
	close(h.notices);
	if (a.error == 0)
		return 0;
	snprintf(why, len, "the supervisor: %.*s: %s", (int)sizeof(a.what) - 1, a.what,
		 strerror(-a.error));
	return -1;
}

int supervise_start(const char *program, bool verbose, char *why, size_t len)
{
	int pair[2], r = -1;
	pid_t pid;

	if (!loopback_is_up()) {
		snprintf(why, len, "the kernel's loopback is down here: ip link set lo up");
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, len, "%s", strerror(errno));
		return -1;
	}
	pid = start(pair[1], program, verbose);
	close(pair[1]);
	if (pid < 0) {
		snprintf(why, len, "the supervisor: %s", strerror(-pid));
	} else {
		/* Where only parents may look into a process. */
		prctl(PR_SET_PTRACER, pid, 0, 0, 0);
		r = greet(pair[0], program, why, len);
	}
	close(pair[0]);
	return r;
}
