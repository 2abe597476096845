/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program attached to zstackd that does what its arguments say, one action after the other, with
 * a line of output for each; or, without libzstack, what no honest program does:
 *
 *	app start bind 80 setuid 1000	0 or -errno for each
 *	app version 99		what is answered to another protocol (0: ours)
 *	app grab		attaches and tries what it got (H35, H36)
 *	app holes MB		attaches and makes holes in what it got (H35)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/attach.h"
#include "zstack/zstack.h"

static int attach_socket = -1;
static struct attach_msg welcome;

/* ---- by the library ---- */

static int start(const char *arg)
{
	struct zs_config *c = zs_config_new();
	int rc = c != NULL ? zs_start(c) : -ENOMEM;

	(void)arg;
	if (rc < 0)
		fprintf(stderr, "%s\n", zs_config_error(c));
	zs_config_free(c);
	return rc;
}

static int bound(const char *arg, int type)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(arg))};
	int fd = zs_socket(AF_INET6, type, 0), rc;

	if (fd < 0)
		return fd;
	rc = zs_bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc == 0)
		return fd;
	zs_close(fd);
	return rc;
}

static int bind_port(const char *arg)
{
	int fd = bound(arg, SOCK_STREAM);

	return fd < 0 ? fd : zs_close(fd);
}

static int listen_port(const char *arg)
{
	int fd = bound(arg, SOCK_STREAM);

	return fd < 0 ? fd : zs_listen(fd, 16);
}

/* How many sockets there are until an error; the error is the result when there is none. */
static int sockets(const char *arg)
{
	int n, fd = 0;

	for (n = 0; n < atoi(arg) && fd >= 0; n++)
		fd = zs_socket(AF_INET6, SOCK_STREAM, 0);
	return fd < 0 && n == 1 ? fd : fd < 0 ? n - 1 : n;
}

/* Answers whoever comes, until it is killed. */
static int echo(const char *arg)
{
	static char bytes[65536];
	int listener = bound(arg, SOCK_STREAM), fd;
	ssize_t n;

	if (listener < 0 || zs_listen(listener, 16) < 0)
		return -1;
	printf("listening\n");
	while ((fd = zs_accept4(listener, NULL, NULL, 0)) >= 0) {
		while ((n = zs_read(fd, bytes, sizeof(bytes))) > 0)
			if (zs_write(fd, bytes, (size_t)n) != n)
				break;
		zs_close(fd);
	}
	return fd;
}

/* Accepts, and never reads. */
static int hoard(const char *arg)
{
	int listener = listen_port(arg);

	if (listener < 0)
		return listener;
	printf("listening\n");
	pause();
	return 0;
}

static int set_user(const char *arg)
{
	return setresuid((uid_t)atoi(arg), (uid_t)atoi(arg), (uid_t)atoi(arg)) < 0 ? -errno : 0;
}

static int wait_for_end(const char *arg)
{
	printf("listening\n");
	poll(NULL, 0, atoi(arg) * 1000);
	return 0;
}

static int become(const char *arg)
{
	printf("listening\n");
	fflush(stdout);
	execlp("sleep", "sleep", arg, NULL);
	return -errno;
}

static int close_all(const char *arg)
{
	return close_range((unsigned)atoi(arg), ~0u, 0) < 0 ? -errno : 0;
}

/* ---- by hand ---- */

static int dial(void)
{
	struct sockaddr_un at;
	socklen_t len;

	attach_socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (attach_socket < 0 || attach_address(getenv("ZSTACK_SOCKET"), &at, &len) < 0 ||
	    connect(attach_socket, (struct sockaddr *)&at, len) < 0)
		return -errno;
	return 0;
}

/* Connects often and says nothing. */
static int crowd(const char *arg)
{
	for (int i = 0; i < atoi(arg); i++)
		if (dial() < 0)
			return i;
	return atoi(arg);
}

static int version(const char *arg)
{
	struct attach_hello h = {.head = {ATTACH_MAGIC, ATTACH_VERSION, ATTACH_HELLO}};
	int rc = dial();

	if (atoi(arg) != 0)
		h.head.version = (uint16_t)atoi(arg);

	if (rc == 0 && send(attach_socket, &h, sizeof(h), MSG_NOSIGNAL) != sizeof(h))
		rc = -errno;
	if (rc == 0)
		rc = attach_recv(attach_socket, &welcome, 0);
	if (rc == 0 && welcome.head.type == ATTACH_REFUSED) {
		printf("%s\n", welcome.refused.text);
		rc = welcome.refused.err;
	}
	return rc;
}

static bool mapped(int fd, uint64_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, bytes);
	return true;
}

/* True: each way to change a region that is sealed fails. */
static bool sealed(int fd, uint64_t bytes)
{
	char path[64];
	bool bad = mapped(fd, bytes, PROT_READ | PROT_WRITE) || ftruncate(fd, 0) == 0 ||
		   ftruncate(fd, (off_t)bytes * 2) == 0 || write(fd, "x", 1) == 1 ||
		   fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
	void *p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	bad |= again >= 0 && mapped(again, bytes, PROT_READ | PROT_WRITE);
	if (again >= 0)
		close(again);
	bad |= p == MAP_FAILED || mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0;
	return !bad;
}

static int greet(uint64_t arena_bytes)
{
	struct attach_hello h = {.arena_bytes = arena_bytes};
	int rc = dial();

	if (rc == 0)
		rc = attach_send(attach_socket, ATTACH_HELLO, &h, sizeof(h), NULL, 0);
	if (rc == 0)
		rc = attach_recv(attach_socket, &welcome, 0);
	if (rc == 0 && (welcome.head.type != ATTACH_WELCOME ||
			welcome.n_fds != 1 + 4 * welcome.welcome.n_cores))
		rc = -EPROTO;
	return rc;
}

static int say_mapped(void)
{
	struct attach_head mapped_all;
	struct attach_msg ready;
	int rc =
		attach_send(attach_socket, ATTACH_MAPPED, &mapped_all, sizeof(mapped_all), NULL, 0);

	if (rc == 0)
		rc = attach_recv(attach_socket, &ready, 0);
	return rc == 0 && ready.head.type != ATTACH_READY ? -EPROTO : rc;
}

/* Attaches, tries its descriptors before and after sealing, and tells which packet region it got.
 */
static int grab(const char *arg)
{
	const struct attach_welcome *w = &welcome.welcome;
	struct stat st;
	int rc = greet(1 << 20);

	(void)arg;
	if (rc < 0)
		return rc;
	if (!sealed(welcome.fd[0], w->pkt_bytes))
		return -EPERM;
	if (!mapped(welcome.fd[1], w->rings_bytes, PROT_READ | PROT_WRITE) ||
	    !mapped(welcome.fd[2], w->arena_bytes, PROT_READ | PROT_WRITE) ||
	    ftruncate(welcome.fd[1], 0) == 0 || ftruncate(welcome.fd[2], 0) == 0)
		return -EBADF;
	rc = say_mapped();
	if (rc < 0)
		return rc;
	if (!sealed(welcome.fd[1], w->rings_bytes) || !sealed(welcome.fd[2], w->arena_bytes))
		return -EPERM;
	fstat(welcome.fd[0], &st);
	printf("packets %lu\n", (unsigned long)st.st_ino);
	return 0;
}

/* Takes its memory apart while it still can, and all huge pages that there are, so that the service
 * has none to put back (H35). */
static int holes(const char *arg)
{
	const struct attach_welcome *w = &welcome.welcome;
	int rc = greet(atoll(arg) << 20), flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	if (rc < 0)
		return rc;
	if (fallocate(welcome.fd[1], flags, 0, (off_t)w->rings_bytes) < 0 ||
	    fallocate(welcome.fd[2], flags, 0, (off_t)w->arena_bytes) < 0)
		return -errno;
	while (mmap(NULL, 2 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0) !=
	       MAP_FAILED)
		;
	return say_mapped();
}

/* Floods the control connection, and reads nothing. Until the service ends it. */
static int flood(const char *arg)
{
	struct attach_grant g = {.port = (uint16_t)atoi(arg)};
	int rc = grab(NULL);

	while (rc == 0)
		rc = attach_send(attach_socket, ATTACH_GRANT, &g, sizeof(g), NULL, 0);
	return rc;
}

static const struct action {
	const char *name;
	int (*run)(const char *arg);
	bool has_arg;
} actions[] = {
	{"start", start, false},	{"bind", bind_port, true},    {"listen", listen_port, true},
	{"sockets", sockets, true},	{"echo", echo, true},	      {"hoard", hoard, true},
	{"setuid", set_user, true},	{"wait", wait_for_end, true}, {"exec", become, true},
	{"closefrom", close_all, true}, {"version", version, true},   {"grab", grab, false},
	{"holes", holes, true},		{"crowd", crowd, true},	      {"flood", flood, true},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		const struct action *a = NULL;

		for (unsigned k = 0; k < array_size(actions); k++)
			if (strcmp(actions[k].name, argv[i]) == 0)
				a = &actions[k];
		if (a == NULL || (a->has_arg && i + 1 == argc)) {
			fprintf(stderr, "what is %s?\n", argv[i]);
			return 2;
		}
		printf("%s %d\n", a->name, a->run(a->has_arg ? argv[++i] : NULL));
	}
	return 0;
}
