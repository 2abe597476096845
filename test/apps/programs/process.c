/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What programs do with processes and their sockets, in the ways that servers do (test_process.py).
 * An ordinary program: it knows nothing of Z-Stack. It listens at port 7; the first argument says
 * what becomes of each connection:
 *
 *	exec      this program executes itself, with an empty environment: the new image serves
 *	          what it finds at 0, 1, and listens on at 5
 *	child     a child does that, and executes cat
 *	vfork     the same with vfork
 *	spawn     the same with posix_spawn, by file actions; the connection is close-on-exec
 *	shell     a child executes sh, which executes cat
 *	script    a child executes a script that is its second argument
 *	run       a child executes the program that the rest of the arguments say
 *	spawned   posix_spawn does
 *	tried     a child tries to, and serves itself when that fails
 *	refused   a child tries to with more arguments than may be, and serves itself
 *	lives     a child closes the listener and the connection, and does nothing else, while the
 *	          parent listens at the same port again
 *	forks     a child makes another, and ends; that serves
 *	nobody    this program ends; a child that has another root directory, another user and
 *	          little memory left accepts
 *	sandbox   a child may read and write and no more, before it first does
 *	waits     a child waits until the file that the next argument names is there, then it
 *	          accepts; this program has closed the listener
 *	late      the same for each connection
 *	fails     what is to be executed is not there: this program serves
 *	closes    close-on-exec connections are closed by exec, and their peers see it
 *	numbers   all is done by syscall(); no child is made
 *	pass      each is sent to a child, made before, which serves it
 *	many      the same by sendmmsg and recvmmsg
 *	listener  the listener is sent to a child that was made before it, which accepts
 *	lost      each is sent to somebody who never looks, and then goes away
 *	nonblock  O_NONBLOCK and two numbers of one socket are there after exec
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENER 5
#define COPY	 9

extern char **environ;
static char *self, *extra, **rest;

static int must(int r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);
	return r;
}

static int listen_at(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), one = 1;

	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "setsockopt");
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)), "bind");
	must(listen(fd, 64), "listen");
	return fd;
}

static void write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		must((int)k, "write");
		p += k;
		n -= (size_t)k;
	}
}

static void serve(int in, int out)
{
	char buf[16384];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		write_all(out, buf, (size_t)n);
	must((int)n, "read");
	must(close(in), "close");
	if (out != in)
		must(close(out), "close");
}

/* ---- after exec ---- */

static int second_image(const char *mode)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	struct stat st;

	must(getpeername(0, (struct sockaddr *)&peer, &len), "getpeername");
	must(fstat(0, &st), "fstat");
	if (!S_ISSOCK(st.st_mode) || peer.sin_family != AF_INET)
		errx(1, "0 is no connection");
	if (strcmp(mode, "nonblock") == 0) {
		char c;

		if ((fcntl(0, F_GETFL) & O_NONBLOCK) == 0 || read(0, &c, 1) != -1 ||
		    errno != EAGAIN)
			errx(1, "O_NONBLOCK is lost");
		write_all(COPY, "ready", 5);
		must(fcntl(COPY, F_SETFL, 0), "fcntl");
		if (fcntl(0, F_GETFL) & O_NONBLOCK)
			errx(1, "the numbers are not of one socket");
		must(close(COPY), "close");
	}
	serve(0, 1);
	for (;;) {
		int fd = must(accept(LISTENER, NULL, NULL), "accept");

		serve(fd, fd);
	}
}

/* ---- passing ---- */

static bool many; /* by sendmmsg() and recvmmsg() */

static void send_fd(int to, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (many)
		must(sendmmsg(to, &(struct mmsghdr){.msg_hdr = m}, 1, 0), "sendmmsg");
	else
		must((int)sendmsg(to, &m, 0), "sendmsg");
	must(close(fd), "close");
}

static ssize_t receive(int from, struct msghdr *m)
{
	struct mmsghdr mm = {.msg_hdr = *m};

	if (!many)
		return recvmsg(from, m, MSG_CMSG_CLOEXEC);
	must(recvmmsg(from, &mm, 1, MSG_CMSG_CLOEXEC, NULL), "recvmmsg");
	*m = mm.msg_hdr;
	return mm.msg_len;
}

static int receive_fd(int from)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char x;
	struct iovec v = {&x, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	int fd;

	if (must((int)receive(from, &m), "recvmsg") == 0)
		exit(0);
	c = CMSG_FIRSTHDR(&m);
	if (c == NULL || c->cmsg_type != SCM_RIGHTS)
		errx(1, "no descriptor came");
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
		errx(1, "it is not close-on-exec");
	return fd;
}

static void child_of_pass(int from, bool listens)
{
	for (;;) {
		int fd = receive_fd(from);
		struct sockaddr_in peer;
		socklen_t len = sizeof(peer);

		while (listens) {
			int c = must(accept(fd, NULL, NULL), "accept");

			serve(c, c);
		}
		must(getpeername(fd, (struct sockaddr *)&peer, &len), "getpeername");
		serve(fd, fd);
	}
}

static int pass_to;

/* Before there is any socket: the child attaches when it gets one. */
static void make_receiver(const char *mode)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	if (must(fork(), "fork") == 0) {
		close(pair[1]);
		child_of_pass(pair[0], strcmp(mode, "listener") == 0);
	}
	must(close(pair[0]), "close");
	pass_to = pair[1];
}

static void pass_one(int l)
{
	send_fd(pass_to, must(accept(l, NULL, NULL), "accept"));
}

static void lose_one(int l)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
	send_fd(pair[0], must(accept(l, NULL, NULL), "accept"));
	close(pair[0]);
	close(pair[1]);
}

/* ---- before ---- */

static void serve_by_number(int l)
{
	char params[256] = "", buf[4096];
	long fd = syscall(SYS_accept4, l, NULL, NULL, SOCK_NONBLOCK), n;

	must((int)fd, "accept4");
	while ((n = syscall(SYS_read, fd, buf, sizeof(buf))) != 0) {
		struct pollfd p = {.fd = (int)fd, .events = POLLIN};

		if (n < 0 && errno != EAGAIN)
			err(1, "read");
		if (n < 0)
			must((int)syscall(SYS_poll, &p, 1, -1), "poll");
		for (long at = 0; at < n;) {
			long k = syscall(SYS_sendto, fd, buf + at, n - at, 0, NULL, 0);

			if (k < 0 && errno != EAGAIN)
				err(1, "sendto");
			at += k > 0 ? k : 0;
		}
	}
	must((int)syscall(SYS_close, fd), "close");
	if (fcntl((int)fd, F_GETFD) != -1 || errno != EBADF)
		errx(1, "it is not closed");
	if (syscall(SYS_io_uring_setup, 4, params) == -1 && errno == ENOSYS)
		printf("no io_uring\n");
	fflush(stdout);
}

static void to_stdio(int fd)
{
	must(dup2(fd, 0), "dup2");
	must(dup2(fd, 1), "dup2");
	must(close(fd), "close");
}

static void exec_self(int l, int fd, const char *mode)
{
	char *const none[] = {NULL};
	char *const argv[] = {self, "second", (char *)mode, NULL};

	must(dup2(l, LISTENER), "dup2");
	if (strcmp(mode, "closes") == 0)
		must(accept4(l, NULL, NULL, SOCK_CLOEXEC), "accept4");
	if (strcmp(mode, "nonblock") == 0) {
		must(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
		must(dup2(fd, COPY), "dup2");
	}
	to_stdio(fd);
	execve(self, argv, none);
	err(1, "execve");
}

/* Of one argument Linux takes 32 pages. */
static char *too_long(void)
{
	char *text = malloc(1 << 20);

	memset(text, 'x', (1 << 20) - 1);
	text[(1 << 20) - 1] = '\0';
	return text;
}

static void run_cat(int fd, const char *mode)
{
	to_stdio(fd);
	if (strcmp(mode, "run") == 0)
		execvp(rest[0], rest);
	else if (strcmp(mode, "tried") == 0)
		execv(rest[0], rest);
	else if (strcmp(mode, "refused") == 0)
		execl("/bin/cat", "cat", too_long(), NULL);
	else if (strcmp(mode, "shell") == 0)
		execl("/bin/sh", "sh", "-c", "exec cat", NULL);
	else if (strcmp(mode, "script") == 0)
		execl(extra, extra, NULL);
	else
		execlp("cat", "cat", NULL);
	if (strcmp(mode, "tried") == 0 || strcmp(mode, "refused") == 0)
		serve(0, 1);
	_exit(127);
}

static void spawn(int fd, char *const argv[])
{
	posix_spawn_file_actions_t a;
	pid_t pid;
	int rc;

	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, fd, 0);
	posix_spawn_file_actions_adddup2(&a, fd, 1);
	rc = posix_spawnp(&pid, argv[0], &a, NULL, argv, environ);
	if (rc != 0)
		errx(1, "posix_spawnp: %s", strerror(rc));
	posix_spawn_file_actions_destroy(&a);
}

static void in_child(int fd, const char *mode)
{
	pid_t pid;

	if (strcmp(mode, "spawn") == 0) {
		spawn(fd, (char *const[]){"cat", NULL});
	} else if (strcmp(mode, "spawned") == 0) {
		spawn(fd, rest);
	} else if (strcmp(mode, "vfork") == 0) {
		pid = must(vfork(), "vfork");
		if (pid == 0)
			run_cat(fd, mode);
	} else {
		pid = must(fork(), "fork");
		if (pid == 0)
			run_cat(fd, mode);
	}
	must(close(fd), "close");
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* The listener of before is closed by both, and nobody else's, though the child lives on. */
static int listen_again(int l)
{
	int fd = must(accept(l, NULL, NULL), "accept");
	pid_t pid = must(fork(), "fork");

	if (pid == 0) {
		must(close(l), "close");
		must(close(fd), "close");
		pause();
	}
	must(close(l), "close");
	serve(fd, fd);
	for (int i = 0; i < 100; i++) {
		struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(7)};

		l = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
		if (bind(l, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(l, 64) == 0)
			break;
		close(l);
		usleep(20000);
	}
	fd = must(accept(l, NULL, NULL), "accept at the port of before");
	serve(fd, fd);
	must(kill(pid, 0), "the child");
	return l;
}

/* ---- children that use a socket late ---- */

static void accept_for_ever(int l)
{
	for (;;) {
		int fd = must(accept(l, NULL, NULL), "accept");

		serve(fd, fd);
	}
}

static void leave_to_nobody(int l)
{
	struct rlimit little = {256 << 20, 256 << 20};
	pid_t parent = getpid();

	if (must(fork(), "fork") > 0)
		_exit(0);
	while (getppid() == parent)
		usleep(1000);
	must(setrlimit(RLIMIT_AS, &little), "setrlimit");
	must(chroot(extra), "chroot");
	must(chdir("/"), "chdir");
	must(setgid(65534), "setgid");
	must(setuid(65534), "setuid");
	printf("ready\n");
	fflush(stdout);
	accept_for_ever(l);
}

#define ALLOW(name)                                                                                \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void shut_in(void)
{
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
				  ALLOW(read),
				  ALLOW(write),
				  ALLOW(poll),
				  ALLOW(ppoll),
				  ALLOW(futex),
				  ALLOW(rt_sigreturn),
				  ALLOW(exit_group),
				  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
	struct sock_fprog p = {sizeof(f) / sizeof(f[0]), f};

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), "seccomp");
}

static void in_sandbox(int fd)
{
	pid_t pid = must(fork(), "fork");
	static char buf[16384];
	int status;
	ssize_t n;

	if (pid == 0) {
		shut_in();
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			write_all(fd, buf, (size_t)n);
		_exit(n == 0 ? 0 : 1);
	}
	must(close(fd), "close");
	must(waitpid(pid, &status, 0), "waitpid");
	if (status != 0)
		errx(1, "the child ended with %x", (unsigned)status);
}

static void await_file(void)
{
	while (access(extra, F_OK) != 0)
		usleep(10000);
}

static void leave_listener(int l)
{
	if (must(fork(), "fork") == 0) {
		await_file();
		accept_for_ever(l);
	}
	must(close(l), "close");
	must(wait(NULL), "wait");
	errx(1, "the child ended");
}

static void in_late_child(int fd)
{
	if (must(fork(), "fork") == 0) {
		await_file();
		serve(fd, fd);
		_exit(0);
	}
	must(close(fd), "close");
}

static void fork_twice(int fd)
{
	pid_t pid = must(fork(), "fork");

	if (pid == 0) {
		if (must(fork(), "fork") == 0)
			serve(fd, fd);
		_exit(0);
	}
	must(close(fd), "close");
	must(waitpid(pid, NULL, 0), "waitpid");
}

static void one(int l, const char *mode)
{
	int fd = must(accept4(l, NULL, NULL, strncmp(mode, "spawn", 5) == 0 ? SOCK_CLOEXEC : 0),
		      "accept");

	if (strcmp(mode, "exec") == 0 || strcmp(mode, "closes") == 0 ||
	    strcmp(mode, "nonblock") == 0) {
		exec_self(l, fd, mode);
	} else if (strcmp(mode, "sandbox") == 0) {
		in_sandbox(fd);
	} else if (strcmp(mode, "late") == 0) {
		in_late_child(fd);
	} else if (strcmp(mode, "forks") == 0) {
		fork_twice(fd);
	} else if (strcmp(mode, "fails") == 0) {
		if (execl("/nowhere/at/all", "x", NULL) != -1 || errno != ENOENT)
			errx(1, "execl: %s", strerror(errno));
		if (execlp("/etc/passwd", "x", NULL) != -1 || errno != EACCES)
			errx(1, "execlp: %s", strerror(errno));
		serve(fd, fd);
	} else {
		in_child(fd, mode);
	}
}

int main(int argc, char **argv)
{
	int l;

	signal(SIGPIPE, SIG_IGN);
	self = argv[0];
	if (argc == 3 && strcmp(argv[1], "second") == 0)
		return second_image(argv[2]);
	if (argc < 2)
		errx(1, "what is to be done?");
	extra = argc > 2 ? argv[2] : NULL;
	rest = argv + 2;
	many = strcmp(argv[1], "many") == 0;
	if (strcmp(argv[1], "pass") == 0 || many || strcmp(argv[1], "listener") == 0)
		make_receiver(argv[1]);
	l = listen_at(7);
	if (strcmp(argv[1], "listener") == 0)
		send_fd(pass_to, l);
	if (strcmp(argv[1], "nobody") == 0)
		leave_to_nobody(l);
	printf("ready\n");
	fflush(stdout);
	if (strcmp(argv[1], "waits") == 0)
		leave_listener(l);
	while (strcmp(argv[1], "numbers") == 0)
		serve_by_number(l);
	while (strcmp(argv[1], "listener") == 0)
		pause();
	while (strcmp(argv[1], "pass") == 0 || many)
		pass_one(l);
	while (strcmp(argv[1], "lives") == 0)
		l = listen_again(l);
	while (strcmp(argv[1], "lost") == 0)
		lose_one(l);
	for (;;)
		one(l, argv[1]);
}
