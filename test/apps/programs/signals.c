/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Signals, cancellation and sockets (test_signals.py). An ordinary program: it knows nothing of
 * Z-Stack, and must say the same on the kernel. The arguments are the address and port of an echo
 * server and the case.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* siginterrupt */

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			errx(1, "line %d: %s: %s", __LINE__, #x, strerror(errno));                 \
	} while (0)

static struct sockaddr_in server;
static int conn; /* to the echo server */
static volatile sig_atomic_t handled;
static volatile int last_value;
static char *volatile stack_at;
static sigset_t mask_in_handler;
static sigjmp_buf away;

static int connection(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0);
	return fd;
}

static void count(int sig)
{
	char here;

	(void)sig;
	handled++;
	stack_at = &here;
	pthread_sigmask(SIG_BLOCK, NULL, &mask_in_handler);
}

static void count_info(int sig, siginfo_t *info, void *context)
{
	count(sig);
	CHECK(context != NULL && info->si_signo == sig);
	last_value = info->si_value.sival_int;
}

/* The answer ends the wait that this interrupts. */
static void count_and_send(int sig)
{
	count(sig);
	CHECK(send(conn, "x", 1, 0) == 1);
}

static void jump(int sig)
{
	count(sig);
	siglongjmp(away, 1);
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction a = {.sa_handler = fn, .sa_flags = flags};

	CHECK(sigaction(sig, &a, NULL) == 0);
	handled = 0;
}

static void alarm_ms(int ms, int again_ms)
{
	struct itimerval t = {{0, again_ms * 1000}, {0, ms * 1000}};

	CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

static int listener(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(7)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 5) == 0);
	return fd;
}

/* ---- cases ---- */

static void interrupted(void)
{
	char c;

	handle(SIGALRM, count, 0);
	alarm_ms(30, 0);
	CHECK(recv(conn, &c, 1, 0) == -1 && errno == EINTR && handled == 1);
	alarm_ms(30, 0);
	CHECK(accept(listener(), NULL, NULL) == -1 && errno == EINTR && handled == 2);
}

static void restarted(void)
{
	char c;

	handle(SIGALRM, count_and_send, SA_RESTART);
	alarm_ms(30, 0);
	CHECK(recv(conn, &c, 1, 0) == 1 && c == 'x' && handled == 1);
	signal(SIGALRM, count_and_send);
	alarm_ms(30, 0);
	CHECK(read(conn, &c, 1) == 1 && c == 'x' && handled == 2);
	siginterrupt(SIGALRM, 1);
	alarm_ms(30, 0);
	CHECK(read(conn, &c, 1) == -1 && errno == EINTR && handled == 3);
}

static void not_with_a_time_limit(void)
{
	struct timeval tv = {.tv_sec = 20};
	char c;

	CHECK(setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	handle(SIGALRM, count, SA_RESTART);
	alarm_ms(30, 0);
	CHECK(recv(conn, &c, 1, 0) == -1 && errno == EINTR && handled == 1);
}

static void never_restarted(void)
{
	struct pollfd p = {.fd = conn, .events = POLLIN};
	struct epoll_event e = {.events = EPOLLIN};
	int set = epoll_create1(0);
	fd_set r;

	handle(SIGALRM, count, SA_RESTART);
	alarm_ms(30, 0);
	CHECK(poll(&p, 1, -1) == -1 && errno == EINTR && handled == 1);
	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, conn, &e) == 0);
	alarm_ms(30, 0);
	CHECK(epoll_wait(set, &e, 1, -1) == -1 && errno == EINTR && handled == 2);
	FD_ZERO(&r);
	FD_SET(conn, &r);
	alarm_ms(30, 0);
	CHECK(select(conn + 1, &r, NULL, NULL, NULL) == -1 && errno == EINTR && handled == 3);
}

static void jumped(void)
{
	int l = listener();
	char c;

	handle(SIGALRM, jump, 0);
	for (int i = 0; i < 50; i++) {
		if (sigsetjmp(away, 1) == 0) {
			alarm_ms(2, 0);
			(void)!accept(l, NULL, NULL);
			errx(1, "accept returned");
		}
		CHECK(handled == i + 1);
		CHECK(send(conn, "y", 1, 0) == 1 && recv(conn, &c, 1, 0) == 1 && c == 'y');
	}
}

static void told(void)
{
	struct sigaction a = {.sa_sigaction = count_info, .sa_flags = SA_SIGINFO | SA_RESTART}, old;

	CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	CHECK(signal(SIGUSR1, count) == SIG_DFL);
	CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == count);
	CHECK((old.sa_flags & (SA_RESTART | SA_SIGINFO)) == SA_RESTART);
	sigaddset(&a.sa_mask, SIGTERM);
	CHECK(sigaction(SIGUSR1, &a, &old) == 0 && old.sa_handler == count);
	CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_sigaction == count_info);
	CHECK((old.sa_flags & SA_SIGINFO) != 0 && sigismember(&old.sa_mask, SIGTERM) == 1);
	CHECK(signal(SIGUSR1, SIG_IGN) == old.sa_handler);
	CHECK(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
	CHECK(signal(SIGKILL, count) == SIG_ERR && errno == EINVAL);
	CHECK(sigaction(SIGSTOP, &a, NULL) == -1 && errno == EINVAL);
	CHECK(sigaction(0, &a, NULL) == -1 && errno == EINVAL);
}

static void *queue_it(void *to)
{
	usleep(30000);
	CHECK(pthread_sigqueue(*(pthread_t *)to, SIGRTMIN, (union sigval){.sival_int = 4711}) == 0);
	return NULL;
}

/* Blocked in recv: who sent it, the alternate stack, the mask, once only. */
static void exactly(void)
{
	struct sigaction a = {.sa_sigaction = count_info,
			      .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)},
			 old;
	stack_t alt = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	pthread_t me = pthread_self(), t;
	char c;

	CHECK(sigaltstack(&alt, NULL) == 0);
	sigaddset(&a.sa_mask, SIGUSR2);
	CHECK(sigaction(SIGRTMIN, &a, NULL) == 0);
	CHECK(pthread_create(&t, NULL, queue_it, &me) == 0);
	CHECK(recv(conn, &c, 1, 0) == -1 && errno == EINTR && handled == 1);
	pthread_join(t, NULL);
	CHECK(last_value == 4711);
	CHECK(stack_at >= (char *)alt.ss_sp && stack_at < (char *)alt.ss_sp + alt.ss_size);
	CHECK(sigismember(&mask_in_handler, SIGUSR2) == 1);
	/* Linux: SA_RESETHAND means SA_NODEFER no more than POSIX says. */
	CHECK(sigismember(&mask_in_handler, SIGRTMIN) == 1);
	CHECK(sigismember(&mask_in_handler, SIGUSR1) == 0);
	CHECK(sigaction(SIGRTMIN, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
	pthread_sigmask(SIG_BLOCK, NULL, &mask_in_handler);
	CHECK(sigismember(&mask_in_handler, SIGUSR2) == 0);
}

static void mask_of_a_wait(void)
{
	struct pollfd p = {.fd = conn, .events = POLLIN};
	sigset_t alrm, none, now;

	sigemptyset(&none);
	sigemptyset(&alrm);
	sigaddset(&alrm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alrm, NULL);
	handle(SIGALRM, count, SA_RESTART);
	for (int i = 1; i <= 3; i++) {
		raise(SIGALRM);
		CHECK(handled == i - 1);
		CHECK(ppoll(&p, 1, NULL, &none) == -1 && errno == EINTR && handled == i);
		pthread_sigmask(SIG_BLOCK, NULL, &now);
		CHECK(sigismember(&now, SIGALRM) == 1);
	}
}

/* While a signal comes every fraction of a millisecond, a thousand answers come, in order. */
static void storm(void)
{
	struct itimerval t = {{0, 300}, {0, 300}};
	unsigned sent = 0, got = 0;

	handle(SIGALRM, count, SA_RESTART);
	CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
	while (got < 3000) {
		if (sent == got) {
			CHECK(send(conn, &sent, sizeof(sent), 0) == sizeof(sent));
			sent++;
		}
		unsigned n;

		CHECK(recv(conn, &n, sizeof(n), MSG_WAITALL) == sizeof(n) && n == got);
		got++;
	}
	alarm_ms(0, 0);
	CHECK(handled > 0);
}

static void *poke_sleeper(void *to)
{
	for (int i = 1; i <= 300; i++) {
		usleep(i % 4 == 0 ? 1000 : 50);
		while (handled < i) {
			CHECK(pthread_kill(*(pthread_t *)to, SIGUSR1) == 0);
			for (int k = 0; k < 200 && handled < i; k++)
				usleep(100);
		}
	}
	return NULL;
}

/* Every call ends with EINTR, once for each signal. */
static void every_call_ends(void)
{
	pthread_t me = pthread_self(), t;
	char c;

	handle(SIGUSR1, count, 0);
	CHECK(pthread_create(&t, NULL, poke_sleeper, &me) == 0);
	while (handled < 300)
		CHECK(recv(conn, &c, 1, 0) == -1 && errno == EINTR);
	pthread_join(t, NULL);
}

static void *blocks(void *fd)
{
	char c;

	(void)!recv(*(int *)fd, &c, 1, 0);
	return NULL;
}

static void cancelled(void)
{
	int other = connection(), old;
	pthread_t t;
	void *how;
	char c;

	for (int i = 0; i < 50; i++) {
		CHECK(pthread_create(&t, NULL, blocks, &other) == 0);
		if (i % 2 == 0)
			usleep(3000);
		CHECK(pthread_cancel(t) == 0);
		CHECK(pthread_join(t, &how) == 0 && how == PTHREAD_CANCELED);
		/* It took no lock along. */
		CHECK(send(conn, "z", 1, 0) == 1 && recv(conn, &c, 1, 0) == 1 && c == 'z');
	}
	CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old) == 0);
	CHECK(pthread_cancel(pthread_self()) == 0);
	CHECK(send(conn, "z", 1, 0) == 1 && recv(conn, &c, 1, 0) == 1 && c == 'z');
}

static void fault_handler(int sig)
{
	(void)sig;
	handled++;
	siglongjmp(away, 1);
}

static void faults_are_at_once(void)
{
	volatile int *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	handle(SIGSEGV, fault_handler, 0);
	for (int i = 1; i <= 3; i++) {
		if (sigsetjmp(away, 1) == 0)
			*nothing = 1;
		CHECK(handled == i);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{"interrupted", interrupted},
		{"restarted", restarted},
		{"not_with_a_time_limit", not_with_a_time_limit},
		{"never_restarted", never_restarted},
		{"jumped", jumped},
		{"told", told},
		{"exactly", exactly},
		{"mask_of_a_wait", mask_of_a_wait},
		{"storm", storm},
		{"every_call_ends", every_call_ends},
		{"cancelled", cancelled},
		{"faults_are_at_once", faults_are_at_once},
	};

	if (argc != 4)
		errx(1, "address, port and case, please");
	server = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(argv[2]))};
	CHECK(inet_pton(AF_INET, argv[1], &server.sin_addr) == 1);
	conn = connection();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[3], cases[i].name) != 0)
			continue;
		cases[i].run();
		puts("well");
		return 0;
	}
	errx(1, "no such case");
}
