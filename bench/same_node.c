/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What goes from one program to another on the same node: Z-Stack's streams beside the kernel's
 * loopback TCP, UNIX stream sockets, pipes, and bare shared memory as the limit.
 *
 *	same_node shm|pipe|unix|tcp|zs|zc hot|sleep [ADDRESS]
 *
 * zs and zc (without a copy) attach to a zstackd, of which ADDRESS is. Two processes, each on a CPU
 * of its own. hot: who waits looks again and again, in the kernel's sockets by calls that do not
 * block; sleep: who waits sleeps at once, in bare memory on a futex. Prints NAME=VALUE:
 *
 *	rtt_ns, rtt_least_ns	64 bytes there and back: the median of batches of 100, and the least
 *	mb_64 … mb_1048576	bytes one way, in messages of that size: MB/s
 *	rate_1 … rate_1000	64 bytes there and back on so many connections at once, by epoll:
 *				per second
 *
 * Buffers of zc are filled by nobody and read by nobody: it is their passing on that is measured.
 * Bench programs are no tests: nothing here fails.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zstack/zc.h"
#include "zstack/zstack.h"

#define BATCH	  100
#define BIG	  (1u << 20)
#define BULK_S	  0.15 /* of one size, about */
#define RATE_S	  0.3
#define CONNS_MAX 1000
#define PORT	  7777

enum kind { SHM, PIPE, UNIX, TCP, ZS, ZC, KINDS };
static const char *const names[] = {"shm", "pipe", "unix", "tcp", "zs", "zc"};

static const char *address;
static enum kind kind;
static bool hot;
static uint8_t buf[BIG];
static int fd[2]; /* to write to, to read from */
static int side;

/* One message at a time in each direction, and a ring of 64 KB for bulk. */
struct word {
	_Alignas(128) _Atomic uint32_t seq;
	uint8_t data[64];
	_Alignas(128) _Atomic uint32_t sleeps;
};
static struct shm {
	struct word slot[2];
	_Alignas(128) _Atomic uint64_t tail;
	_Alignas(128) _Atomic uint64_t head;
	uint64_t messages; /* that come next, one way */
	uint8_t ring[1 << 16];
} * shm;
static uint32_t seq_out, seq_in;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t s;

	CPU_ZERO(&s);
	CPU_SET(cpu, &s);
	sched_setaffinity(0, sizeof(s), &s);
}

static void must(long r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s: %s\n", names[kind], what, strerror(kind >= ZS ? (int)-r : errno));
	exit(1);
}

/* ---- bare memory ---- */

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void word_say(struct word *w, uint32_t seq)
{
	memcpy(w->data, buf, sizeof(w->data));
	atomic_store(&w->seq, seq);
	if (!hot && atomic_exchange(&w->sleeps, 0) != 0)
		futex(&w->seq, FUTEX_WAKE, 1);
}

static void word_hear(struct word *w, uint32_t seq)
{
	uint32_t is;

	while ((is = atomic_load_explicit(&w->seq, memory_order_acquire)) != seq) {
		if (hot)
			continue;
		atomic_store(&w->sleeps, 1);
		futex(&w->seq, FUTEX_WAIT, is);
	}
	memcpy(buf, w->data, sizeof(w->data));
}

static void shm_send(const uint8_t *p, size_t n)
{
	uint64_t tail = atomic_load_explicit(&shm->tail, memory_order_relaxed);

	while (n > 0) {
		size_t k = n < 16384 ? n : 16384, at = tail % sizeof(shm->ring);

		k = k < sizeof(shm->ring) - at ? k : sizeof(shm->ring) - at;
		while (tail + k - atomic_load_explicit(&shm->head, memory_order_acquire) >
		       sizeof(shm->ring))
			;
		memcpy(shm->ring + at, p, k);
		tail += k;
		p += k;
		n -= k;
		atomic_store_explicit(&shm->tail, tail, memory_order_release);
	}
}

static void shm_recv(uint8_t *p, size_t n)
{
	uint64_t head = atomic_load_explicit(&shm->head, memory_order_relaxed), tail;

	while (n > 0) {
		size_t at = head % sizeof(shm->ring), k;

		while ((tail = atomic_load_explicit(&shm->tail, memory_order_acquire)) == head)
			;
		k = tail - head < n ? tail - head : n;
		k = k < sizeof(shm->ring) - at ? k : sizeof(shm->ring) - at;
		memcpy(p, shm->ring + at, k);
		head += k;
		p += k;
		n -= k;
		atomic_store_explicit(&shm->head, head, memory_order_release);
	}
}

/* ---- bytes ---- */

static void zc_send(size_t n)
{
	while (n > 0) {
		uint32_t k = n < ZS_BUF_MAX ? (uint32_t)n : ZS_BUF_MAX;
		struct zs_buf b;

		while (zs_buf_alloc(fd[0], k, &b) < 0)
			zs_process(1000000);
		must(zs_send_zc(fd[0], &b, 1, 0, 0), "send_zc");
		n -= k;
	}
}

/* A buffer may have the end of one message and the beginning of the next. */
static void zc_recv(size_t want)
{
	static size_t ahead;
	size_t n = want > ahead ? want - ahead : 0, got = ahead;

	while (n > got - ahead) {
		struct zs_buf b[16];
		int k = zs_recv_zc(fd[1], b, 16, 0);

		must(k, "recv_zc");
		for (int i = 0; i < k; i++)
			got += b[i].len;
		zs_buf_release(b, k);
	}
	ahead = got - want;
}

static ssize_t some(bool out, size_t done, size_t n)
{
	ssize_t r;

	if (kind == ZS)
		return out ? zs_send(fd[0], buf + done, n - done, 0)
			   : zs_recv(fd[1], buf + done, n - done, 0);
	do {
		r = out ? write(fd[0], buf + done, n - done) : read(fd[1], buf + done, n - done);
	} while (r < 0 && errno == EAGAIN);
	return r;
}

static void all(bool out, size_t n)
{
	if (kind == SHM) {
		out ? shm_send(buf, n) : shm_recv(buf, n);
	} else if (kind == ZC) {
		out ? zc_send(n) : zc_recv(n);
	} else {
		for (size_t done = 0; done < n;) {
			ssize_t r = some(out, done, n);

			must(r, out ? "send" : "recv");
			done += (size_t)r;
		}
	}
}

/* A message of 64 bytes. Shared memory has a place for it, beside the word that says so. */
static void msg(bool out)
{
	if (kind != SHM)
		all(out, 64);
	else if (out)
		word_say(&shm->slot[side], ++seq_out);
	else
		word_hear(&shm->slot[1 - side], ++seq_in);
}

/* ---- there and back, and one way ---- */

static const size_t sizes[] = {64, 256, 1024, 4096, 16384, 65536, 262144, BIG};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void there_and_back(void)
{
	static double ns[400];
	int batches = hot ? 400 : 40;

	for (int i = 0; i < batches * BATCH / 10; i++) {
		msg(true);
		msg(false);
	}
	for (int b = 0; b < batches; b++) {
		double begin = now_s();

		for (int i = 0; i < BATCH; i++) {
			msg(true);
			msg(false);
		}
		ns[b] = (now_s() - begin) * 1e9 / BATCH;
	}
	qsort(ns, (size_t)batches, sizeof(ns[0]), by_value);
	printf("rtt_ns=%.0f\nrtt_least_ns=%.0f\n", ns[batches / 2], ns[0]);
}

/* How many of that size to send is tried: so long as it takes. */
static void one_way(size_t size)
{
	size_t n = 16;
	double took;

	for (;;) {
		double begin = now_s();

		shm->messages = n;
		msg(true);
		for (size_t i = 0; i < n; i++)
			all(true, size);
		msg(false);
		took = now_s() - begin;
		if (took >= BULK_S)
			break;
		n = took < BULK_S / 20 ? n * 8 : (size_t)((double)n * BULK_S / took * 1.3) + 1;
	}
	printf("mb_%zu=%.1f\n", size, (double)(size * n) / took / 1e6);
	shm->messages = 0; /* the next size */
	msg(true);
	msg(false);
}

static void one_way_other(size_t size)
{
	uint64_t n;

	do {
		msg(false);
		n = shm->messages;
		for (uint64_t i = 0; i < n; i++)
			all(false, size);
		msg(true);
	} while (n != 0);
}

static void single(void)
{
	int batches = hot ? 400 : 40;

	if (side == 0) {
		there_and_back();
		for (size_t k = 0; k < SIZES && hot; k++)
			one_way(sizes[k]);
		return;
	}
	for (int i = 0; i < batches * BATCH / 10 + batches * BATCH; i++) {
		msg(false);
		msg(true);
	}
	for (size_t k = 0; k < SIZES && hot; k++)
		one_way_other(sizes[k]);
}

/* ---- many connections ---- */

static int conn[CONNS_MAX];

static int set_new(unsigned n)
{
	int set = kind == ZS ? zs_epoll_create1(0) : epoll_create1(0);

	for (unsigned i = 0; i < n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = conn[i]};

		must(kind == ZS ? zs_epoll_ctl(set, EPOLL_CTL_ADD, conn[i], &e)
				: epoll_ctl(set, EPOLL_CTL_ADD, conn[i], &e),
		     "epoll_ctl");
	}
	return set;
}

/* Takes a message from each that has one, and says one. Returns how many; -1: one has ended. */
static int turn(int set, bool answer)
{
	struct epoll_event e[64];
	uint8_t b[64];
	int n, done = 0;

	if (kind == ZS)
		n = zs_epoll_wait(set, e, 64, -1);
	else
		n = epoll_wait(set, e, 64, hot ? 0 : -1);
	for (int i = 0; i < n; i++) {
		int f = e[i].data.fd;
		ssize_t r = kind == ZS ? zs_recv(f, b, 64, 0) : read(f, b, 64);

		if (r <= 0)
			return -1;
		done++;
		r = !answer ? 0 : kind == ZS ? zs_send(f, b, 64, 0) : write(f, b, 64);
		if (r < 0)
			return -1;
	}
	return done;
}

static void many(unsigned n)
{
	int set = set_new(n);
	unsigned count = 0;
	double begin, took;

	if (side == 1) {
		while (turn(set, true) >= 0)
			;
		return;
	}
	for (unsigned i = 0; i < n; i++)
		must(kind == ZS ? zs_send(conn[i], buf, 64, 0) : write(conn[i], buf, 64), "ask");
	for (unsigned warm = 0; warm < 3 * n;)
		warm += (unsigned)turn(set, true);
	begin = now_s();
	while ((took = now_s() - begin) < RATE_S)
		count += (unsigned)turn(set, true);
	printf("rate_%u=%.0f\n", n, count / took);
}

/* ---- two processes ---- */

static void zs_open(unsigned n, int ready)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct zs_config *c = zs_config_new();
	char x;
	int s;

	must(zs_config_set(c, "spin", hot ? "1000000" : "0"), "spin");
	if (zs_start(c) < 0) {
		fprintf(stderr, "%s\n", zs_config_error(c));
		exit(1);
	}
	if (side == 1) {
		s = zs_socket(AF_INET, SOCK_STREAM, 0);
		must(zs_bind(s, (struct sockaddr *)&a, sizeof(a)), "bind");
		must(zs_listen(s, CONNS_MAX), "listen");
		must(write(ready, "x", 1), "write");
		for (unsigned i = 0; i < n; i++)
			conn[i] = zs_accept(s, NULL, NULL);
	} else {
		inet_pton(AF_INET, address, &a.sin_addr);
		must(read(ready, &x, 1), "read");
		for (unsigned i = 0; i < n; i++) {
			conn[i] = zs_socket(AF_INET, SOCK_STREAM, 0);
			must(zs_connect(conn[i], (struct sockaddr *)&a, sizeof(a)), "connect");
		}
	}
	fd[0] = fd[1] = conn[0];
}

static int end[2][CONNS_MAX][2]; /* the kernel's, before the fork: to write to, to read from */

static void tcp_pair(int l, int p[2])
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int one = 1;

	getsockname(l, (struct sockaddr *)&a, &len);
	p[0] = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(p[0], (struct sockaddr *)&a, sizeof(a)), "connect");
	p[1] = accept(l, NULL, NULL);
	for (int i = 0; i < 2; i++)
		setsockopt(p[i], IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
}

static void kernel_open(unsigned n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int l = socket(AF_INET, SOCK_STREAM, 0), p[2], q[2];

	must(bind(l, (struct sockaddr *)&a, sizeof(a)), "bind");
	must(listen(l, CONNS_MAX), "listen");
	for (unsigned i = 0; i < n; i++) {
		if (kind == PIPE) {
			must(pipe(p), "pipe");
			must(pipe(q), "pipe");
			memcpy(end[0][i], (int[]){p[1], q[0]}, sizeof(p));
			memcpy(end[1][i], (int[]){q[1], p[0]}, sizeof(p));
			continue;
		}
		if (kind == UNIX)
			must(socketpair(AF_UNIX, SOCK_STREAM, 0, p), "socketpair");
		else
			tcp_pair(l, p);
		for (int k = 0; k < 2; k++)
			memcpy(end[k][i], (int[]){p[k], p[k]}, sizeof(p));
	}
	close(l);
}

/* The other side's descriptors are closed, so that each sees the other's end. */
static void kernel_take(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		conn[i] = end[side][i][1];
		for (int k = 0; k < 2; k++) {
			close(end[1 - side][i][k]);
			if (hot)
				fcntl(end[side][i][k], F_SETFL, O_NONBLOCK);
		}
	}
	memcpy(fd, end[side][0], sizeof(fd));
}

/* In children: a process attaches once. n 0: one connection, by calls that wait for it alone. */
static void run(unsigned n)
{
	unsigned conns = n > 0 ? n : 1;
	int ready[2];
	pid_t p[2];

	must(pipe(ready), "pipe");
	memset(shm, 0, sizeof(*shm));
	if (kind != SHM && kind < ZS)
		kernel_open(conns);
	for (side = 0; side < 2; side++) {
		p[side] = fork();
		if (p[side] != 0)
			continue;
		pin(side);
		if (kind >= ZS)
			zs_open(conns, ready[side]);
		else if (kind != SHM)
			kernel_take(conns);
		if (n > 0)
			many(n);
		else
			single();
		fflush(stdout);
		_exit(0);
	}
	for (unsigned i = 0; kind != SHM && kind < ZS && i < conns; i++)
		for (int k = 0; k < 4; k++)
			close(end[k / 2][i][k % 2]);
	for (int i = 0; i < 2; i++)
		waitpid(p[i], NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

int main(int argc, char **argv)
{
	struct rlimit many_fds = {1 << 16, 1 << 16};

	while (kind < KINDS && (argc < 3 || strcmp(argv[1], names[kind]) != 0))
		kind++;
	if (kind == KINDS || (kind >= ZS && argc < 4)) {
		fprintf(stderr, "usage: %s shm|pipe|unix|tcp|zs|zc hot|sleep [ADDRESS]\n", argv[0]);
		return 2;
	}
	hot = strcmp(argv[2], "hot") == 0;
	address = argv[3];
	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &many_fds);
	shm = mmap(NULL, sizeof(*shm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	run(0);
	for (unsigned n = 1; n <= CONNS_MAX && kind != SHM && kind != PIPE && kind != ZC; n *= 10)
		run(n);
	return 0;
}
