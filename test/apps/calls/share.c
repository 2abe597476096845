/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that threads and processes share, and signals that come while one waits.
 */
#include <pthread.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "calls.h"

static void *write_later(void *arg)
{
	int fd = *(int *)arg;

	usleep(100000);
	if (write(fd, "late", 4) != 4)
		show_result("write of the other thread", -1);
	return NULL;
}

static void threads(void)
{
	int fd = tcp_to(ECHO);
	pthread_t t;
	char buf[8];

	show(pthread_create(&t, NULL, write_later, &fd));
	show(read_full(fd, buf, 4));
	show_bytes("got", buf, 4);
	show(pthread_join(t, NULL));
}

static void *accept_one(void *arg)
{
	return (void *)(long)accept(*(int *)arg, NULL, NULL);
}

static void threads_accept(void)
{
	int port, l = listener(&port), a, b;
	pthread_t t[2];
	void *got[2];

	pthread_create(&t[0], NULL, accept_one, &l);
	pthread_create(&t[1], NULL, accept_one, &l);
	a = call_me(port);
	b = call_me(port);
	pthread_join(t[0], &got[0]);
	pthread_join(t[1], &got[1]);
	show(got[0] != got[1]);
	show((long)got[0] > 0 && (long)got[1] > 0);
	show(close(a) + close(b));
}

static void forked(void)
{
	int fd = tcp_to(ECHO), status = -1;
	char buf[16];
	pid_t child = fork();

	if (child == 0) {
		_exit(write(fd, "child", 5) == 5 && read_full(fd, buf, 5) == 5 && close(fd) == 0
			      ? 7
			      : 1);
	}
	show(waitpid(child, &status, 0) == child);
	show(WEXITSTATUS(status));
	show(write(fd, "parent", 6));
	show(read_full(fd, buf, 6));
	show_bytes("got", buf, 6);
	show(shutdown(fd, SHUT_WR));
	show(read(fd, buf, 1));
}

/* The end comes when the last holder is gone. */
static void last_holder(void)
{
	int port, l = listener(&port), c = call_me(port), s = accept(l, NULL, NULL), p[2], status;
	char buf[16] = "";
	pid_t child;

	show(read_full(s, buf, 9));
	show(pipe(p));
	child = fork();
	if (child == 0) {
		close(p[1]);
		(void)!read(p[0], buf, 1);
		_exit(write(s, "more", 4) == 4 ? 0 : 1);
	}
	show(close(s));
	show(recv(c, buf, 1, MSG_DONTWAIT));
	show(close(p[1]));
	show(waitpid(child, &status, 0) == child);
	show(status);
	show(read_full(c, buf, 1));
	show_bytes("the peer got", buf, 1);
}

static void forked_listener(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t len = sizeof(any);
	int l = socket(AF_INET, SOCK_STREAM, 0), s, c, status = -1;
	char buf[16];
	pid_t child;

	show(bind(l, (struct sockaddr *)&any, sizeof(any)));
	show(listen(l, 5));
	show(getsockname(l, (struct sockaddr *)&any, &len));
	child = fork();
	if (child == 0) {
		s = accept(l, NULL, NULL);
		_exit(read_full(s, buf, 9) == 9 ? 3 : 1);
	}
	c = call_me(ntohs(any.sin_port));
	show(waitpid(child, &status, 0) == child);
	show(WEXITSTATUS(status));
	show(close(c));
	s = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(s, AT("127.0.0.1", ntohs(any.sin_port))));
	show(accept(l, NULL, NULL) > 0);
}

/* ---- datagrams that were there at fork ---- */

/* A socket with datagrams of the peer in it. */
static int with_unread(const char *const *text, int n)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	show(bind(fd, AT(OWN, 0)));
	for (int i = 0; i < n; i++) {
		show(sendto(fd, text[i], strlen(text[i]), 0, AT(PEER, UECHO)));
		show(readable(fd));
	}
	return fd;
}

static void receive_one(int fd, int flags)
{
	struct sockaddr_in from = {.sin_port = 0};
	socklen_t len = sizeof(from);
	char buf[16];
	long n = show(recvfrom(fd, buf, sizeof(buf), flags, (struct sockaddr *)&from, &len));

	if (n < 0)
		return;
	show_bytes("datagram", buf, n);
	printf("from %s %d\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
	fflush(stdout);
}

/* Waits for the others' last word. */
static void the_child_is_done(pid_t child)
{
	int status = -1;

	show(waitpid(child, &status, 0) == child);
	show(status);
}

/* What was there before fork() is there for whoever reads first, in its order. */
static void forked_datagrams(void)
{
	static const char *const text[] = {"one", "two", "", "three", "four"};
	int fd = with_unread(text, 5), bytes = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	pid_t child;

	usleep(20000); /* the last echo */
	receive_one(fd, 0);
	child = fork();
	if (child == 0) {
		show(poll(&p, 1, 2000));
		show(ioctl(fd, FIONREAD, &bytes));
		show(bytes);
		receive_one(fd, MSG_PEEK);
		receive_one(fd, MSG_PEEK);
		receive_one(fd, 0);
		receive_one(fd, 0);
		_exit(0);
	}
	the_child_is_done(child);
	show(poll(&p, 1, 2000));
	receive_one(fd, MSG_PEEK);
	child = fork();
	if (child == 0) {
		receive_one(fd, 0);
		_exit(0);
	}
	the_child_is_done(child);
	receive_one(fd, MSG_DONTWAIT);
	receive_one(fd, MSG_DONTWAIT);
	show(sendto(fd, "five", 4, 0, AT(PEER, UECHO)));
	show(readable(fd));
	receive_one(fd, MSG_DONTWAIT);
}

/* As socat's UDP-LISTEN with `fork`: looks who it is, connects to it, and leaves the rest to a
 * child. */
static void forked_and_peeked(void)
{
	static const char *const text[] = {"a request"};
	int fd = with_unread(text, 1);
	char buf[16];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	pid_t child;

	show(recvfrom(fd, buf, sizeof(buf), MSG_PEEK, (struct sockaddr *)&from, &len));
	show(connect(fd, (struct sockaddr *)&from, len));
	child = fork();
	if (child == 0) {
		receive_one(fd, 0);
		show(send(fd, "more", 4, 0));
		show(readable(fd));
		receive_one(fd, 0);
		_exit(0);
	}
	show(close(fd));
	the_child_is_done(child);
}

/* One of many pieces. */
static void forked_and_large(void)
{
	static char buf[60000], got[60000];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	pid_t child;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 7 + i / 256);
	show(bind(fd, AT(OWN, 0)));
	show(sendto(fd, buf, sizeof(buf), 0, AT(PEER, UECHO)));
	show(readable(fd));
	child = fork();
	if (child == 0) {
		show(recv(fd, got, sizeof(got), MSG_PEEK));
		show(memcmp(buf, got, sizeof(got)));
		memset(got, 0, sizeof(got));
		show(recv(fd, got, sizeof(got), 0));
		show(memcmp(buf, got, sizeof(got)));
		_exit(0);
	}
	the_child_is_done(child);
	show(recv(fd, got, sizeof(got), MSG_DONTWAIT));
}

/* FIONREAD of a connection that several hold. */
static void forked_and_counted(void)
{
	int fd = tcp_to(GREET), bytes = 0;
	char buf[16];
	pid_t child;

	show(readable(fd));
	child = fork();
	if (child == 0) {
		show(ioctl(fd, FIONREAD, &bytes));
		show(bytes);
		show(read(fd, buf, 6));
		_exit(0);
	}
	the_child_is_done(child);
	show(ioctl(fd, FIONREAD, &bytes));
	show(bytes);
	show(read(fd, buf, sizeof(buf)));
	show_bytes("got", buf, 5);
}

/* A listener that is shut down by one of its holders is none for the others. */
static void forked_and_shut(void)
{
	int port, l = listener(&port), status = -1, p[2];
	char c;
	pid_t child;

	show(pipe(p));
	child = fork();
	if (child == 0) {
		close(p[1]);
		(void)!read(p[0], &c, 1);
		_exit(accept(l, NULL, NULL) == -1 ? errno : 0);
	}
	show(shutdown(l, SHUT_RD));
	show(accept(l, NULL, NULL));
	show(close(p[1]));
	show(waitpid(child, &status, 0) == child);
	show(WEXITSTATUS(status) == EINVAL);
	show(listen(l, 3));
}

/* ---- signals ---- */

static volatile sig_atomic_t alarms;
static sigjmp_buf back;

static void on_alarm(int sig)
{
	alarms++;
}

static void jump(int sig)
{
	siglongjmp(back, 1);
}

static void handler_is(void (*handler)(int), int flags)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};

	sigaction(SIGALRM, &sa, NULL);
}

static void interrupted(void)
{
	int fd = tcp_to(GREET), port, l = listener(&port);
	char buf[32];

	show(read_full(fd, buf, 11));
	handler_is(on_alarm, 0);
	ualarm(100000, 0);
	show(read(fd, buf, 1));
	show(alarms);
	ualarm(100000, 0);
	show(accept(l, NULL, NULL));
	ualarm(100000, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	show(poll(&p, 1, 2000));
	show(alarms);
}

static void restarted(void)
{
	int fd = tcp_to(SLOW);
	char buf[32];

	show(read_full(fd, buf, 3));
	handler_is(on_alarm, SA_RESTART);
	ualarm(50000, 0);
	show(read(fd, buf, 3));
	show(alarms);
	struct pollfd p = {.fd = tcp_to(ECHO), .events = POLLIN};
	ualarm(50000, 0);
	show(poll(&p, 1, 2000));
	show(alarms);
}

static void jumped(void)
{
	int fd = tcp_to(ECHO);
	char buf[32];

	handler_is(jump, 0);
	if (sigsetjmp(back, 1) == 0) {
		ualarm(100000, 0);
		show(read(fd, buf, 1));
	}
	show(write(fd, "after", 5));
	show(read_full(fd, buf, 5));
	show_bytes("got", buf, 5);
}

/* ---- EPOLLEXCLUSIVE ---- */

#define WAITERS 4
#define EACH	8

struct count {
	_Atomic int wakes, served;
};

static void add(int ep, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0)
		_exit(1);
}

/* Waits for connections until nobody has the other end of `until`. */
static void wait_exclusively(int l, int until, int ready, struct count *n)
{
	int ep = epoll_create1(0);
	struct epoll_event e;
	char buf[16];

	add(ep, l, EPOLLIN | EPOLLEXCLUSIVE);
	add(ep, until, EPOLLIN);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	while (epoll_wait(ep, &e, 1, -1) == 1 && e.data.fd == l) {
		int s = accept(l, NULL, NULL);

		n->wakes++;
		n->served += s >= 0 && read_full(s, buf, 9) == 9;
		if (s >= 0)
			close(s);
	}
	_exit(0);
}

/* Not looking for work, either. */
static void until_asleep(pid_t pid)
{
	char path[32], state = 'R';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	while (state != 'S') {
		f = fopen(path, "r");
		if (f == NULL || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 'S';
		if (f != NULL)
			fclose(f);
		usleep(1000);
	}
}

/* A connection wakes one process of four (and who just happens to be awake); none is slept over,
 * also when processes end. */
static void exclusive_processes(void)
{
	int port, l = listener(&port), until[WAITERS][2], ready[2];
	struct count *n =
		mmap(NULL, sizeof(*n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[WAITERS];
	char buf[16];

	show(fcntl(l, F_SETFL, O_NONBLOCK));
	show(pipe(ready));
	for (int i = 0; i < WAITERS; i++) {
		show(pipe2(until[i], O_CLOEXEC));
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		for (int k = 0; k <= i; k++)
			close(until[k][1]);
		wait_exclusively(l, until[i][0], ready[1], n);
	}
	show(read_full(ready[0], buf, WAITERS));
	for (int i = 0, c; i < WAITERS; i++) {
		for (int k = 0; k < EACH; k++) {
			for (int p = i; p < WAITERS; p++)
				until_asleep(pid[p]);
			c = call_me(port);
			show(read_full(c, buf, 1));
			close(c);
		}
		close(until[i][1]);
		show(waitpid(pid[i], NULL, 0) == pid[i]);
	}
	show(n->served);
	show(n->wakes < EACH * WAITERS * 3 / 2);
}

/* ---- accept() in several processes ---- */

static void woken(int sig)
{
}

/* Serves connections until it is killed; a signal does not keep one from the others. */
static void serve(int l, int ready, struct count *n)
{
	struct sigaction sa = {.sa_handler = woken};
	char buf[16];

	sigaction(SIGUSR1, &sa, NULL);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		int s = accept(l, NULL, NULL);

		if (s < 0 && errno != EINTR)
			_exit(1);
		if (s < 0)
			continue;
		n->served += read_full(s, buf, 9) == 9;
		close(s);
	}
}

static long times_slept(pid_t pid)
{
	char path[64], line[128];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	if (f != NULL)
		fclose(f);
	return n;
}

static long all_slept(const pid_t *pid)
{
	long n = 0;

	for (int i = 0; i < WAITERS; i++) {
		until_asleep(pid[i]);
		n += times_slept(pid[i]);
	}
	return n;
}

static void one_connection(int port)
{
	char buf[16];
	int c = call_me(port);

	show(read_full(c, buf, 1));
	close(c);
}

/* A connection wakes one process of four, not all; each is served, also when those that may have
 * been woken are interrupted, or killed. */
static void accept_in_each(int l, int port)
{
	int ready[2];
	struct count *n =
		mmap(NULL, sizeof(*n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[WAITERS];
	long slept, more = 0;
	char buf[16];

	show(pipe(ready));
	for (int i = 0; i < WAITERS; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			serve(l, ready[1], n);
	}
	show(read_full(ready[0], buf, WAITERS));
	for (int k = 0; k < EACH; k++) {
		slept = all_slept(pid);
		one_connection(port);
		more += all_slept(pid) - slept;
	}
	show(more > 0);
	printf("%s\n", more < EACH * WAITERS * 2 ? "few woke" : "all woke");
	for (int k = 0; k < EACH; k++) {
		for (int i = 0; i < WAITERS; i++)
			kill(pid[i], SIGUSR1);
		one_connection(port);
	}
	for (int i = 0; i < WAITERS; i++) {
		one_connection(port);
		kill(pid[i], SIGKILL);
		show(waitpid(pid[i], NULL, 0) == pid[i]);
		if (i < WAITERS - 1)
			one_connection(port);
	}
	show(n->served);
}

static void accept_processes(void)
{
	int port, l = listener(&port);

	accept_in_each(l, port);
}

/* At all addresses. */
static void accept_processes_any(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	show(listen(l, 8));
	show(getsockname(l, (struct sockaddr *)&a, &len));
	accept_in_each(l, ntohs(a.sin_port));
}

static void *read_one(void *arg)
{
	char c;

	show_result("read of the cancelled", read(*(int *)arg, &c, 1));
	return NULL;
}

static void cancelled(void)
{
	int fd = tcp_to(ECHO);
	pthread_t t;
	void *r;
	char buf[8];

	show(pthread_create(&t, NULL, read_one, &fd));
	usleep(100000);
	show(pthread_cancel(t));
	show(pthread_join(t, &r));
	show(r == PTHREAD_CANCELED);
	show(write(fd, "after", 5));
	show(read_full(fd, buf, 5));
}

const struct call_case share_cases[] = {
	{"threads", threads},
	{"threads_accept", threads_accept},
	{"forked", forked},
	{"last_holder", last_holder},
	{"forked_listener", forked_listener},
	{"forked_and_shut", forked_and_shut},
	{"forked_datagrams", forked_datagrams},
	{"forked_and_peeked", forked_and_peeked},
	{"forked_and_large", forked_and_large},
	{"forked_and_counted", forked_and_counted},
	{"interrupted", interrupted},
	{"restarted", restarted},
	{"jumped", jumped},
	{"cancelled", cancelled},
	{"exclusive_processes", exclusive_processes},
	{"accept_processes", accept_processes},
	{"accept_processes_any", accept_processes_any},
	{NULL, NULL},
};
