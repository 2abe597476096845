/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A notice: one call of the program, which waits until it is answered. What the program's memory
 * says is read once, and only what was read is used; a program that changes it meanwhile deceives
 * itself alone, since it may make each of these calls as it likes. Who asks may be gone at any
 * time, and another have its number: what was got by that number counts only if the notice is valid
 * after it.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#define CAP_BIND 10 /* CAP_NET_BIND_SERVICE */

int notices = -1;

bool notice_get(struct notice *n)
{
	struct seccomp_notif got = {0};

	if (ioctl(notices, SECCOMP_IOCTL_NOTIF_RECV, &got) < 0)
		return false;
	*n = (struct notice){.id = got.id, .tid = (pid_t)got.pid, .nr = got.data.nr, .sock = -1};
	for (unsigned i = 0; i < array_size(n->arg); i++)
		n->arg[i] = got.data.args[i];
	return true;
}

bool notice_valid(uint64_t id)
{
	return ioctl(notices, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* ---- the answer ---- */

static int send_answer(struct seccomp_notif_resp *answer)
{
	return ioctl(notices, SECCOMP_IOCTL_NOTIF_SEND, answer) < 0 ? -errno : 0;
}

int notice_reply(uint64_t id, int64_t r)
{
	struct seccomp_notif_resp answer = {
		.id = id, .val = r < 0 ? 0 : r, .error = r < 0 ? (int32_t)r : 0};

	return send_answer(&answer);
}

void notice_continue(uint64_t id)
{
	struct seccomp_notif_resp answer = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

	(void)send_answer(&answer);
}

int notice_reply_fd(uint64_t id, int fd, bool cloexec)
{
	struct seccomp_notif_addfd add = {.id = id,
					  .flags = SECCOMP_ADDFD_FLAG_SEND,
					  .srcfd = (uint32_t)fd,
					  .newfd_flags = cloexec ? O_CLOEXEC : 0};
	int r = ioctl(notices, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return r < 0 ? -errno : r;
}

/* ---- its descriptors ---- */

pid_t process_of(pid_t tid)
{
	char name[40], line[128];
	pid_t pid = -1;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", tid);
	f = fopen(name, "re");
	while (f != NULL && pid < 0 && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "Tgid: %d", &pid) != 1)
			pid = -1;
	if (f != NULL)
		fclose(f);
	return pid;
}

/* Before Linux 6.9 only processes can be opened. */
static int open_thread(pid_t tid)
{
	static bool threads = true;
	int fd = -1;

	if (threads)
		fd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
	if (fd < 0 && threads && errno == EINVAL)
		threads = false;
	if (!threads)
		fd = (int)syscall(SYS_pidfd_open, process_of(tid), 0);
	return fd;
}

static int number_option(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

static int get(struct notice *n)
{
	int thread = open_thread(n->tid), fd, r;

	if (thread < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, thread, (int)n->arg[0], 0);
	r = fd < 0 ? -errno : fd;
	close(thread);
	if (fd >= 0 && !notice_valid(n->id)) {
		close(fd);
		return -ESRCH;
	}
	return r;
}

int notice_socket(struct notice *n, bool *udp)
{
	int fd = get(n), domain, type;
	socklen_t len = sizeof(n->cookie);

	if (fd < 0)
		return fd;
	domain = number_option(fd, SO_DOMAIN);
	type = number_option(fd, SO_PROTOCOL);
	if (udp != NULL)
		*udp = type == IPPROTO_UDP;
	if ((domain != AF_INET && domain != AF_INET6) ||
	    (type != IPPROTO_TCP && (udp == NULL || type != IPPROTO_UDP)) ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &n->cookie, &len) < 0) {
		close(fd);
		return -ENOTSOCK;
	}
	n->sock = fd;
	n->flags_nonblock = (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
	return domain;
}

int notice_named(struct notice *n, union name *name, socklen_t *len, bool *udp)
{
	*name = (union name){0};
	*len = n->arg[2] < sizeof(*name) ? (socklen_t)n->arg[2] : sizeof(*name);
	if (*len < sizeof(struct sockaddr_in) || program_read(n->tid, n->arg[1], name, *len) < 0 ||
	    (name->any.sa_family != AF_INET && name->any.sa_family != AF_INET6))
		return -ENOTSOCK;
	return notice_socket(n, udp);
}

int program_socket(pid_t tid, int number, uint64_t cookie)
{
	int thread = open_thread(tid), fd = -1;
	uint64_t its = 0;
	socklen_t len = sizeof(its);

	if (thread < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, thread, number, 0);
	close(thread);
	if (fd < 0 || (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &its, &len) == 0 && its == cookie))
		return fd < 0 ? -errno : fd;
	close(fd);
	return -ENOENT;
}

void notice_done(struct notice *n)
{
	if (n->sock >= 0)
		close(n->sock);
	n->sock = -1;
}

/* ---- its memory ---- */

int program_read(pid_t tid, uint64_t at, void *to, size_t len)
{
	struct iovec here = {to, len}, there = {(void *)(uintptr_t)at, len};

	return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

int program_write(pid_t tid, uint64_t at, const void *from, size_t len)
{
	struct iovec here = {(void *)from, len}, there = {(void *)(uintptr_t)at, len};

	return process_vm_writev(tid, &here, 1, &there, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

int program_name(pid_t tid, uint64_t addr, uint64_t len_at, const union name *name, socklen_t len)
{
	int32_t room;
	int r;

	if (addr == 0)
		return 0;
	r = program_read(tid, len_at, &room, sizeof(room));
	if (r == 0 && room < 0)
		r = -EINVAL;
	if (r == 0 && room > 0)
		r = program_write(tid, addr, name, (socklen_t)room < len ? (socklen_t)room : len);
	return r == 0 ? program_write(tid, len_at, &len, sizeof(len)) : r;
}

/* ---- its rights ---- */

static unsigned first_free_port(void)
{
	static unsigned first;
	FILE *f;

	if (first != 0)
		return first;
	first = 1024;
	f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	if (f != NULL && fscanf(f, "%u", &first) != 1)
		first = 1024;
	if (f != NULL)
		fclose(f);
	return first;
}

/* The supervisor has the rights with which the program was started: it may have given up some. */
bool program_may_bind(pid_t tid, uint16_t port)
{
	char name[40], line[128];
	unsigned long long rights = 0;
	FILE *f;

	if (port == 0 || port >= first_free_port())
		return true;
	snprintf(name, sizeof(name), "/proc/%d/status", tid);
	f = fopen(name, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "CapEff: %llx", &rights) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return (rights >> CAP_BIND & 1) != 0;
}
