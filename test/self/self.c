/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose connections are to itself: to addresses of its own stack and to loopback's, over
 * a link that carries nothing. Arguments: those of the stack.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zstack/zstack.h>

#define PORT  80
#define CONNS 24
#define BYTES (1u << 20)

#define MUST(truth)                                                                                \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			printf("Bail out! line %d: %s (%s)\n", __LINE__, #truth, text);            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static const char *text; /* the address that is tried */
static union address to;
static socklen_t to_len;
static char out[BYTES], in[BYTES];

static void address_set(uint16_t port)
{
	memset(&to, 0, sizeof(to));
	to.sa.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (to.sa.sa_family == AF_INET) {
		to_len = sizeof(to.in);
		to.in.sin_port = htons(port);
		MUST(inet_pton(AF_INET, text, &to.in.sin_addr) == 1);
	} else {
		to_len = sizeof(to.in6);
		to.in6.sin6_port = htons(port);
		MUST(inet_pton(AF_INET6, text, &to.in6.sin6_addr) == 1);
	}
}

static int listener_open(void)
{
	union address any = {.sa.sa_family = to.sa.sa_family};
	int fd = zs_socket(to.sa.sa_family, SOCK_STREAM, 0);

	any.in.sin_port = htons(PORT);
	MUST(fd >= 0);
	MUST(zs_bind(fd, &any.sa, to_len) == 0);
	MUST(zs_listen(fd, CONNS) == 0);
	return fd;
}

/* From one end, back from the other, and the end of the stream after it. */
static void transfer(int a, int b)
{
	size_t sent = 0, got = 0;

	while (got < BYTES) {
		ssize_t n = sent < BYTES ? zs_send(a, out + sent, BYTES - sent, MSG_DONTWAIT) : 0;

		MUST(n >= 0 || n == -EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		n = zs_recv(b, in + got, BYTES - got, sent < BYTES ? MSG_DONTWAIT : 0);
		MUST(n > 0 || n == -EAGAIN);
		got += n > 0 ? (size_t)n : 0;
	}
	MUST(memcmp(in, out, BYTES) == 0);
	MUST(zs_shutdown(a, SHUT_WR) == 0);
	MUST(zs_recv(b, in, 1, 0) == 0);
}

static void pair(int listener)
{
	union address local, peer;
	socklen_t len = sizeof(local), peer_len = sizeof(peer);
	int a = zs_socket(to.sa.sa_family, SOCK_STREAM, 0), b;

	MUST(a >= 0);
	MUST(zs_connect(a, &to.sa, to_len) == 0);
	b = zs_accept(listener, &peer.sa, &peer_len);
	MUST(b >= 0);
	MUST(zs_getsockname(a, &local.sa, &len) == 0);
	MUST(len == peer_len && memcmp(&local, &peer, len) == 0);
	transfer(a, b);
	transfer(b, a);
	MUST(zs_close(a) == 0 && zs_close(b) == 0);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void refused_port(void)
{
	int fd = zs_socket(to.sa.sa_family, SOCK_STREAM, 0);
	double begin = seconds();

	address_set(PORT + 1);
	MUST(zs_connect(fd, &to.sa, to_len) == -ECONNREFUSED);
	MUST(seconds() - begin < 1); /* a SYN that was lost is sent again after a second */
	MUST(zs_close(fd) == 0);
}

static void try(unsigned n)
{
	int listener;

	address_set(PORT);
	listener = listener_open();
	for (unsigned i = 0; i < CONNS; i++)
		pair(listener);
	refused_port();
	MUST(zs_close(listener) == 0);
	printf("ok %u - %s\n", n, text);
}

static void handler(int sig)
{
}

static void *signals(void *to_thread)
{
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	pthread_kill(*(pthread_t *)to_thread, SIGUSR1);
	return NULL;
}

/* It may be handled while the call spins, where no system call is interrupted. */
static void signal_ends_a_wait(unsigned n)
{
	const struct sigaction sa = {.sa_handler = handler};
	pthread_t self = pthread_self(), other;
	struct epoll_event e;
	int set = zs_epoll_create1(0);

	text = "signal";
	MUST(set >= 0);
	MUST(sigaction(SIGUSR1, &sa, NULL) == 0);
	MUST(pthread_create(&other, NULL, signals, &self) == 0);
	MUST(zs_epoll_wait(set, &e, 1, -1) == -EINTR);
	pthread_join(other, NULL);
	MUST(zs_close(set) == 0);
	printf("ok %u - a signal ends a wait\n", n);
}

int main(int argc, char **argv)
{
	static const char *const addrs[] = {"10.9.0.2", "fd09::2", "127.0.0.1", "::1"};
	struct zs_config *c = zs_config_new();

	text = "start";
	if (argc > 1 && strcmp(argv[argc - 1], "0,1") == 0 && sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("1..0 # SKIP one CPU\n");
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..5\n");
	for (unsigned i = 0; i < BYTES; i++)
		out[i] = (char)(i * 2654435761u >> 24);
	MUST(c != NULL && zs_config_args(c, &argc, argv) == 0);
	if (zs_start(c) != 0) {
		printf("Bail out! %s\n", zs_config_error(c));
		return 1;
	}
	zs_config_free(c);
	for (unsigned i = 0; i < 4; i++) {
		text = addrs[i];
		try(i + 1);
	}
	signal_ends_a_wait(5);
	zs_stop();
	return 0;
}
