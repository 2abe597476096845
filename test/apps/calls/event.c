/* SPDX-License-Identifier: BSD-3-Clause
 *
 * epoll(7), poll(2) and select(2) in depth: sockets beside what is the kernel's alone, sets in
 * sets, copies of sockets and sets, threads, signals, time-outs.
 */
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "calls.h"

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return (x->data.u64 > y->data.u64) - (x->data.u64 < y->data.u64);
}

/* What a wait reports, in the order of the data. */
static int look(int ep, int max, int ms)
{
	struct epoll_event got[16];
	int n = epoll_wait(ep, got, max, ms), err = errno;

	if (n > 0)
		qsort(got, (size_t)n, sizeof(got[0]), by_data);
	printf("%d%s:", n, n < 0 ? strerrorname_np(err) : "");
	for (int i = 0; i < n; i++)
		printf(" %llu=%x", (unsigned long long)got[i].data.u64, got[i].events);
	printf("\n");
	return n;
}

static int ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	return epoll_ctl(ep, op, fd, &e);
}

/* Connected, with `text` there to be read. */
static int with_data(const char *text)
{
	int fd = tcp_to(ECHO);

	if (write(fd, text, strlen(text)) < 0 || !readable(fd))
		show_result("echo", -1);
	return fd;
}

static void errors(void)
{
	int fd = tcp_to(ECHO), ep = epoll_create1(EPOLL_CLOEXEC), p[2],
	    file = open("/etc/passwd", O_RDONLY);
	struct epoll_event e = {.events = EPOLLIN}, got[2];

	show(pipe(p));
	show(epoll_create1(1));
	show(epoll_create(0));
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_DEL, fd, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_MOD, p[1], EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, file, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, 555, EPOLLIN, 1));
	show(ctl(555, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(fd, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(fd, EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
	show(ctl(p[0], EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(ep, 9, fd, EPOLLIN, 1));
	show(epoll_ctl(ep, EPOLL_CTL_MOD, fd, NULL));
	show(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	show(epoll_wait(ep, got, 0, 0));
	show(epoll_wait(fd, got, 1, 0));
	show(epoll_wait(p[0], got, 1, 0));
	show(epoll_wait(555, got, 1, 0));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE, 1));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
	show(close(fd));
	show(epoll_ctl(ep, EPOLL_CTL_DEL, fd, &e));
	show(read(ep, got, 8));
	show(write(ep, got, 8));
	show(close(ep));
	show(close(ep));
}

static void triggers(void)
{
	int fd = with_data("abcd"), ep = epoll_create1(0);
	char buf[8];

	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	look(ep, 4, 0);
	look(ep, 4, 0);
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 2));
	look(ep, 4, 0);
	look(ep, 4, 0);
	show(read(fd, buf, 2));
	look(ep, 4, 0);
	show(write(fd, "e", 1));
	look(ep, 4, 2000);
	look(ep, 4, 0);
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 3));
	look(ep, 4, 0);
	look(ep, 4, 0);
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLONESHOT | EPOLLET, 4));
	look(ep, 4, 0);
	look(ep, 4, 0);
	show(ctl(ep, EPOLL_CTL_MOD, fd, 0, 5));
	look(ep, 4, 0);
	show(shutdown(fd, SHUT_WR));
	show(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLRDHUP, 6));
	look(ep, 4, 2000);
	show(ctl(ep, EPOLL_CTL_MOD, fd, 0, 7));
	look(ep, 4, 0);
}

/* Both sides in one set, each told. */
static void beside_kernel(void)
{
	int fd = with_data("abcd"), ep = epoll_create1(0), p[2], ev = eventfd(0, 0);
	char buf[8];
	uint64_t one = 1;

	show(pipe(p));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 2));
	show(ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET, 3));
	show(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLONESHOT, 4));
	show(write(ev, &one, 8));
	show(write(p[1], "x", 1));
	usleep(1000);
	look(ep, 8, -1);
	usleep(1000);
	look(ep, 8, -1);
	show(read(fd, buf, 8));
	look(ep, 8, 0);
	show(read(p[0], buf, 8));
	look(ep, 8, 0);
	look(ep, 8, 20);
	show(ctl(ep, EPOLL_CTL_DEL, p[0], 0, 0));
	show(ctl(ep, EPOLL_CTL_DEL, ev, 0, 0));
	show(ctl(ep, EPOLL_CTL_DEL, p[1], 0, 0));
	show(write(fd, "e", 1));
	look(ep, 8, 2000);
	show(close(fd));
	look(ep, 8, 0);
}

/* With room for one event everybody's turn comes. */
static void short_array(void)
{
	int a = with_data("a"), b = with_data("b"), ep = epoll_create1(0), p[2], turns[3] = {0};
	struct epoll_event got;

	show(pipe(p));
	show(write(p[1], "x", 1));
	show(ctl(ep, EPOLL_CTL_ADD, a, EPOLLIN, 0));
	show(ctl(ep, EPOLL_CTL_ADD, b, EPOLLIN, 1));
	show(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 2));
	for (int i = 0; i < 3000 && (turns[0] < 9 || turns[1] < 9 || turns[2] < 9); i++) {
		if (epoll_wait(ep, &got, 1, -1) == 1)
			turns[got.data.u64]++;
		usleep(10);
	}
	show(turns[0] > 8 && turns[1] > 8 && turns[2] > 8);
}

/* Items are of a number and what it stands for. */
static void copies(void)
{
	int fd = with_data("abcd"), ep = epoll_create1(0), two = dup(fd), ep2 = dup(ep), p[2];

	show(pipe(p));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(ep2, EPOLL_CTL_ADD, two, EPOLLIN, 2));
	show(ctl(ep2, EPOLL_CTL_ADD, fd, EPOLLIN, 3));
	look(ep, 8, 0);
	look(ep2, 8, 0);
	show(close(fd));
	look(ep, 8, 0);
	show(ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	show(ctl(ep, EPOLL_CTL_DEL, two, 0, 0));
	look(ep, 8, 0);
	show(dup2(two, fd) == fd);
	show(ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	show(ctl(ep, EPOLL_CTL_ADD, two, EPOLLIN, 4));
	show(close(ep));
	look(ep, 8, 0);
	look(ep2, 8, 0);
	show(close(fd));
	show(close(two));
	look(ep2, 8, 0);
	show(ctl(ep2, EPOLL_CTL_ADD, p[1], EPOLLOUT, 5));
	look(ep2, 8, 0);
	show(fcntl(ep2, F_GETFD));
}

/* A set is copied before anything of ours is in it. */
static void copied_early(void)
{
	int ep = epoll_create1(0), ep2 = fcntl(ep, F_DUPFD_CLOEXEC, 20), fd = with_data("abcd");

	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	look(ep2, 8, 0);
	show(ctl(ep2, EPOLL_CTL_MOD, fd, EPOLLOUT, 2));
	look(ep, 8, 0);
	show(close(ep));
	look(ep2, 8, 0);
}

static void nested(void)
{
	int fd = tcp_to(ECHO), in = epoll_create1(0), out = epoll_create1(0),
	    more = epoll_create1(0);
	struct pollfd pfd = {.fd = in, .events = POLLIN | POLLOUT};
	struct timeval tv = {2, 0};
	char buf[8];
	fd_set set;

	/* Before there is anything of ours in the inner one, and after. */
	show(ctl(out, EPOLL_CTL_ADD, in, EPOLLIN, 1));
	show(ctl(in, EPOLL_CTL_ADD, fd, EPOLLIN, 2));
	show(ctl(more, EPOLL_CTL_ADD, in, EPOLLIN | EPOLLET, 3));
	show(ctl(in, EPOLL_CTL_ADD, out, EPOLLIN, 4));
	show(ctl(out, EPOLL_CTL_ADD, in, EPOLLIN, 1));
	look(out, 8, 0);
	look(more, 8, 0);
	show(poll(&pfd, 1, 0));
	show(write(fd, "abcd", 4));
	look(out, 8, 2000);
	look(out, 8, 0);
	look(more, 8, 0);
	look(more, 8, 0);
	show(poll(&pfd, 1, -1));
	show(pfd.revents);
	FD_ZERO(&set);
	FD_SET(in, &set);
	show(select(in + 1, &set, NULL, NULL, &tv));
	look(in, 8, 0);
	show(read(fd, buf, 8));
	look(out, 8, 0);
	show(poll(&pfd, 1, 0));
	show(write(fd, "abcd", 4));
	look(more, 8, 2000);
	show(ctl(out, EPOLL_CTL_DEL, in, 0, 0));
	look(out, 8, 0);
	show(close(in));
	look(more, 8, 0);
}

static void *add_later(void *arg)
{
	const int *fd = arg;

	usleep(50000);
	return ctl(fd[0], EPOLL_CTL_ADD, fd[1], EPOLLIN, 7) == 0 ? NULL : "not added";
}

static void adds_while_waiting(int ep, int fd)
{
	int arg[2] = {ep, fd};
	pthread_t t;
	void *said;

	pthread_create(&t, NULL, add_later, arg);
	look(ep, 8, 5000);
	pthread_join(t, &said);
	puts(said != NULL ? (char *)said : "added");
}

/* Members of the other kind come while a thread waits. */
static void others_add(void)
{
	int fd = with_data("abcd"), ep = epoll_create1(0), p[2], idle = tcp_to(ECHO);

	show(pipe(p));
	show(write(p[1], "x", 1));
	/* An empty set, one with a pipe, one with a socket. */
	adds_while_waiting(ep, fd);
	ep = epoll_create1(0);
	show(ctl(ep, EPOLL_CTL_ADD, p[1], EPOLLIN, 1));
	adds_while_waiting(ep, fd);
	look(ep, 8, 0);
	ep = epoll_create1(0);
	show(ctl(ep, EPOLL_CTL_ADD, idle, EPOLLIN, 1));
	adds_while_waiting(ep, p[0]);
	look(ep, 8, 0);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	alarms++;
}

static void alarm_in(int ms)
{
	struct itimerval t = {.it_value = {.tv_usec = ms * 1000}};

	setitimer(ITIMER_REAL, &t, NULL);
}

static void signals(void)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	int fd = tcp_to(ECHO), ep = epoll_create1(0), p[2];
	struct timespec two = {2, 0};
	struct timeval tv = {2, 0};
	struct pollfd pfd[2];
	sigset_t none, alrm;
	struct epoll_event got[2];
	fd_set set;

	show(pipe(p));
	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	sigaction(SIGALRM, &sa, NULL);
	alarm_in(50);
	look(ep, 8, 2000);
	show(ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN, 2));
	alarm_in(50);
	look(ep, 8, -1);
	pfd[0] = (struct pollfd){.fd = fd, .events = POLLIN};
	pfd[1] = (struct pollfd){.fd = p[0], .events = POLLIN};
	alarm_in(50);
	show(poll(pfd, 2, -1));
	FD_ZERO(&set);
	FD_SET(fd, &set);
	alarm_in(50);
	show(select(fd + 1, &set, NULL, NULL, &tv));
	show(alarms);
	/* Blocked but while it waits. */
	sigemptyset(&none);
	sigemptyset(&alrm);
	sigaddset(&alrm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alrm, NULL);
	raise(SIGALRM);
	show(alarms);
	look(ep, 8, 0);
	show(epoll_pwait(ep, got, 2, 2000, &none));
	show(alarms);
	raise(SIGALRM);
	show(ppoll(pfd, 2, &two, &none));
	show(alarms);
	raise(SIGALRM);
	FD_SET(fd, &set);
	show(pselect(fd + 1, &set, NULL, NULL, &two, &none));
	show(alarms);
	raise(SIGALRM);
	show(epoll_pwait2(ep, got, 2, &two, &none));
	show(alarms);
	/* What is ready goes before the signal. */
	show(write(p[1], "x", 1));
	raise(SIGALRM);
	show(ppoll(pfd, 2, &two, &none));
	show(alarms);
	two.tv_sec = 0;
	show(read(p[0], got, 1));
	show(ppoll(pfd, 2, &two, &none));
	show(alarms);
}

/* A whole number of units of 10 ms. */
static long since(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from->tv_sec) * 100 + (now.tv_nsec - from->tv_nsec) / 10000000;
}

static void timeouts(void)
{
	int fd = tcp_to(ECHO), ep = epoll_create1(0);
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct timespec ts = {0, 30000000}, bad = {0, 1000000000}, begin;
	struct timeval tv = {0, 30000};
	struct epoll_event got;
	fd_set set;

	show(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	show(epoll_wait(ep, &got, 1, 30));
	show(since(&begin) >= 3);
	show(epoll_pwait2(ep, &got, 1, &ts, NULL));
	show(since(&begin) >= 6);
	show(epoll_pwait2(ep, &got, 1, &bad, NULL));
	show(poll(&pfd, 1, 30));
	show(since(&begin) >= 9);
	show(ppoll(&pfd, 1, &ts, NULL));
	show(since(&begin) >= 12);
	show(ppoll(&pfd, 1, &bad, NULL));
	FD_ZERO(&set);
	FD_SET(fd, &set);
	show(select(fd + 1, &set, NULL, NULL, &tv));
	show(FD_ISSET(fd, &set) != 0);
	show(tv.tv_sec == 0 && tv.tv_usec == 0);
	show(since(&begin) >= 15);
	FD_SET(fd, &set);
	show(pselect(fd + 1, &set, NULL, NULL, &ts, NULL));
	show(ts.tv_nsec);
	show(since(&begin) >= 18);
	tv = (struct timeval){-1, 0};
	FD_SET(fd, &set);
	show(select(fd + 1, &set, NULL, NULL, &tv));
	show(FD_ISSET(fd, &set) != 0);
	show(pselect(fd + 1, &set, NULL, NULL, &bad, NULL));
	show(poll(&pfd, 1, 0));
	tv = (struct timeval){5, 0};
	show(write(fd, "x", 1));
	show(select(fd + 1, &set, NULL, NULL, &tv));
	show(tv.tv_sec == 4);
}

static void selects(void)
{
	int fd = with_data("abcd"), p[2], high, gone = tcp_to(LAST),
	    u = socket(AF_INET, SOCK_DGRAM, 0);
	struct timeval tv = {2, 0};
	fd_set r, w, x;
	char buf[8];

	show(pipe(p));
	show(write(p[1], "x", 1));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(fd, &r);
	FD_SET(p[0], &r);
	FD_SET(u, &r);
	FD_SET(fd, &w);
	FD_SET(p[1], &w);
	FD_SET(p[0], &x);
	FD_SET(fd, &x);
	show(select(64, &r, &w, &x, &tv));
	show(FD_ISSET(fd, &r) && FD_ISSET(p[0], &r) && FD_ISSET(fd, &w) && FD_ISSET(p[1], &w));
	show(FD_ISSET(u, &r) || FD_ISSET(fd, &x) || FD_ISSET(p[0], &x));
	/* Below n only. */
	FD_ZERO(&r);
	FD_SET(fd, &r);
	tv = (struct timeval){0, 0};
	show(select(fd, &r, NULL, NULL, &tv));
	show(FD_ISSET(fd, &r) != 0);
	show(select(-1, &r, NULL, NULL, &tv));
	/* The end of a stream can be read; a set for what is urgent has no place for it. */
	show(readable(gone));
	show(read_full(gone, buf, 7));
	show(shutdown(gone, SHUT_WR));
	usleep(20000);
	FD_ZERO(&x);
	FD_SET(gone, &x);
	tv = (struct timeval){0, 20000};
	show(select(gone + 1, NULL, NULL, &x, &tv));
	FD_ZERO(&r);
	FD_SET(gone, &r);
	show(select(gone + 1, &r, NULL, NULL, NULL));
	show(close(gone));
	FD_SET(gone, &r);
	FD_SET(fd, &r);
	show(select(64, &r, NULL, NULL, &tv));
	high = dup2(fd, 1000);
	FD_ZERO(&r);
	FD_SET(high, &r);
	show(select(high + 1, &r, NULL, NULL, NULL));
	show(FD_ISSET(high, &r) != 0);
}

/* Sets larger than fd_set, as Linux takes them. */
static void large_select(void)
{
	struct rlimit l = {4000, 4000};
	unsigned long r[64] = {0}, w[64] = {0};
	int fd = with_data("abcd"), high;

	show(setrlimit(RLIMIT_NOFILE, &l));
	high = dup2(fd, 3000);
	show(high);
	r[3000 / 64] = 1ul << 3000 % 64;
	w[3000 / 64] = 1ul << 3000 % 64;
	show(select(3001, (fd_set *)r, (fd_set *)w, NULL, NULL));
	show(r[3000 / 64] == 1ul << 3000 % 64 && w[3000 / 64] == 1ul << 3000 % 64);
}

static void polls(void)
{
	int fd = with_data("abcd"), p[2], idle = tcp_to(ECHO),
	    t = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in = {.it_value = {0, 30000000}};
	struct pollfd pfd[6] = {{.fd = idle, .events = POLLIN}, {.fd = -5, .events = POLLIN}};
	struct pollfd many[100];

	show(pipe(p));
	pfd[2] = (struct pollfd){.fd = t, .events = POLLIN};
	show(timerfd_settime(t, 0, &in, NULL));
	show(poll(pfd, 3, 5000));
	show(pfd[2].revents);
	pfd[3] = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
	pfd[4] = (struct pollfd){.fd = 555, .events = POLLIN};
	pfd[5] = (struct pollfd){.fd = p[1], .events = POLLOUT};
	show(poll(pfd, 6, -1));
	for (int i = 0; i < 6; i++)
		show(pfd[i].revents);
	for (int i = 0; i < 100; i++)
		many[i] = (struct pollfd){.fd = i % 3	? fd
						: i % 2 ? p[1]
							: idle,
					  .events = POLLIN | POLLOUT};
	show(poll(many, 100, -1));
	show(many[0].revents);
	show(many[1].revents);
	show(many[3].revents);
	show(poll(NULL, 0, 1));
	close(p[0]);
	show(poll(pfd, 6, -1));
	show(pfd[5].revents);
}

static void *echo_later(void *arg)
{
	usleep(30000);
	return write(*(int *)arg, "z", 1) == 1 ? NULL : "not written";
}

/* Threads that wait for one set, for several, and for one socket. */
static void *wait_read(void *arg)
{
	int *fd = arg, ep = epoll_create1(0);
	char buf[8];

	ctl(ep, EPOLL_CTL_ADD, fd[0], EPOLLIN, 1);
	ctl(ep, EPOLL_CTL_ADD, fd[1], EPOLLIN, 2);
	for (int i = 0; i < 200; i++) {
		struct epoll_event got;

		if (epoll_wait(ep, &got, 1, 5000) != 1)
			return "nothing came";
		if (read(got.data.u64 == 1 ? fd[0] : fd[1], buf, 1) != 1)
			return "nothing to read";
	}
	return NULL;
}

static void threads(void)
{
	int fd[4][2], p[4][2], one;
	pthread_t t[4], late;
	void *said;

	for (int i = 0; i < 4; i++) {
		show(pipe(p[i]));
		fd[i][0] = tcp_to(ECHO);
		fd[i][1] = p[i][0];
		pthread_create(&t[i], NULL, wait_read, fd[i]);
	}
	for (int k = 0; k < 100; k++) {
		for (int i = 0; i < 4; i++) {
			if (write(fd[i][0], "x", 1) != 1 || write(p[i][1], "y", 1) != 1)
				show_result("write", -1);
		}
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &said);
		printf("%s\n", said != NULL ? (char *)said : "all came");
	}
	one = fd[0][0];
	pthread_create(&late, NULL, echo_later, &one);
	show(readable(one));
	pthread_join(late, &said);
	puts(said != NULL ? (char *)said : "written");
}

/* Listens at all addresses: this host's and the stack's. */
static int listener_for_all(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (bind(l, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(l, 8) != 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) != 0)
		show_result("a listener", -1);
	*port = ntohs(a.sin_port);
	return l;
}

/* A connection from this host, or from the peer. */
static int come(int port, bool local)
{
	int c = socket(AF_INET, SOCK_STREAM, 0);

	if (!local)
		return call_me(port);
	if (connect(c, AT("127.0.0.1", port)) != 0)
		show_result("connecting to the listener", -1);
	return c;
}

static void wildcard_triggers(void)
{
	int port, l = listener_for_all(&port), ep = epoll_create1(0), two = dup(l), n = 0;

	show(ctl(ep, EPOLL_CTL_ADD, l, EPOLLIN | EPOLLONESHOT, 1));
	show(ctl(ep, EPOLL_CTL_ADD, l, EPOLLIN, 1));
	for (int i = 0; i < 4; i++) {
		come(port, i % 2 == 0);
		look(ep, 4, 2000);
		come(port, i % 2 != 0);
		show(readable(l));
		look(ep, 4, 20);
		show(ctl(ep, EPOLL_CTL_MOD, l, EPOLLIN | EPOLLONESHOT, 2));
		look(ep, 4, 2000);
		for (int k = 0; k < 400 && n < 2; k++) {
			n += accept(l, NULL, NULL) >= 0;
			usleep(n < 2 ? 1000 : 0);
		}
		show(n);
		n = 0;
		show(ctl(ep, EPOLL_CTL_MOD, l, EPOLLIN | EPOLLONESHOT, 3));
		look(ep, 4, 0);
	}
	show(ctl(ep, EPOLL_CTL_DEL, l, 0, 0));
	show(ctl(ep, EPOLL_CTL_DEL, l, 0, 0));
	show(ctl(ep, EPOLL_CTL_ADD, two, EPOLLIN | EPOLLEXCLUSIVE, 4));
	show(close(l));
	come(port, true);
	look(ep, 4, 2000);
	show(accept(two, NULL, NULL) >= 0);
	come(port, false);
	look(ep, 4, 2000);
	show(close(two));
	look(ep, 4, 0);
}

/* A set in a set, reported once. */
static void nested_oneshot(void)
{
	int fd = with_data("abcd"), in = epoll_create1(0), out = epoll_create1(0), p[2];

	show(pipe(p));
	show(write(p[1], "x", 1));
	show(ctl(in, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	show(ctl(in, EPOLL_CTL_ADD, p[0], EPOLLIN, 2));
	show(ctl(out, EPOLL_CTL_ADD, in, EPOLLIN | EPOLLONESHOT, 3));
	look(out, 4, 0);
	look(out, 4, 0);
	show(ctl(out, EPOLL_CTL_MOD, in, EPOLLIN, 4));
	look(out, 4, 0);
	look(out, 4, 0);
	show(ctl(in, EPOLL_CTL_DEL, fd, 0, 0));
	look(out, 4, 0);
	show(ctl(in, EPOLL_CTL_DEL, p[0], 0, 0));
	look(out, 4, 0);
}

/* Waits and transfers by their numbers in the system, as other C libraries' headers have them. */
static void by_number(void)
{
	char buf[8] = "";
	struct iovec v = {buf, 3};
	struct epoll_event want = {.events = EPOLLIN, .data.u64 = 7}, got = {0};
	struct timespec none = {0, 0};
	int fd = with_data("hello"), ep = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);

	show(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fd, &want));
	show(syscall(SYS_epoll_pwait, ep, &got, 1, 0, NULL, 8L));
	show((long)got.data.u64);
	show(syscall(SYS_epoll_pwait2, ep, &got, 1, &none, NULL, 8L));
	show(syscall(SYS_preadv2, fd, &v, 1L, 0L, 0L, 0));
	show(syscall(SYS_preadv2, fd, &v, 1L, -1L, 0L, RWF_NOWAIT));
	show_bytes("read", buf, 3);
	show(syscall(SYS_pwritev2, fd, &v, 1L, -1L, 0L, 1 << 20));
	show(syscall(SYS_pwritev2, fd, &v, 1L, -1L, 0L, 0));
	v.iov_len = 2;
	show(syscall(SYS_preadv2, fd, &v, 1L, -1L, -1L, 0));
	show_bytes("read", buf, 2);
}

const struct call_case event_cases[] = {
	{"event_errors", errors},
	{"triggers", triggers},
	{"beside_kernel", beside_kernel},
	{"short_array", short_array},
	{"event_copies", copies},
	{"copied_early", copied_early},
	{"nested", nested},
	{"others_add", others_add},
	{"signals", signals},
	{"event_timeouts", timeouts},
	{"selects", selects},
	{"large_select", large_select},
	{"polls", polls},
	{"event_threads", threads},
	{"wildcard_triggers", wildcard_triggers},
	{"nested_oneshot", nested_oneshot},
	{"by_number", by_number},
	{NULL, NULL},
};
