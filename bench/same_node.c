/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What goes from one program to another on the same node: Z-Stack's streams beside the kernel's
 * loopback TCP, UNIX stream sockets, pipes, and bare shared memory as the limit.
 *
 *	ZSTACK_SOCKET=PATH same_node ADDRESS [rounds]	a zstackd with that address
 *
 * Two processes, each on a CPU of its own. 64 bytes there and back: the least of batches of 100,
 * and the median of all batches. Bytes one way: GB/s, the best of the rounds. Bench programs are no
 * tests: nothing here fails.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zstack/zc.h"
#include "zstack/zstack.h"

#define BATCH	100
#define BATCHES 400
#define BIG	(1u << 20)
#define WARM	2000 /* exchanges before anything is measured */

enum kind { SHM, PIPE, UNIX, TCP, ZS, ZS_ZC, KINDS };
static const char *const names[] = {"shared memory", "pipe",	"UNIX stream",
				    "loopback TCP",  "Z-Stack", "Z-Stack, zero-copy"};

static const char *address;
static uint8_t buf[BIG];
static int fd[2]; /* to write to, to read from */
static enum kind kind;

/* One message at a time in each direction, and a ring of 64 KB for bulk. */
static struct shm {
	struct {
		_Alignas(128) _Atomic uint32_t seq;
		uint8_t data[64];
	} slot[2];
	_Alignas(128) _Atomic uint64_t tail;
	_Alignas(128) _Atomic uint64_t head;
	uint8_t ring[1 << 16];
} * shm;
static uint32_t seq_out, seq_in;
static int side;

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
	if (r < 0) {
		fprintf(stderr, "%s: %s: %ld\n", names[kind], what, r);
		exit(1);
	}
}

/* ---- bytes ---- */

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

static void zc_send(size_t n)
{
	while (n > 0) {
		uint32_t k = n < ZS_BUF_MAX ? (uint32_t)n : ZS_BUF_MAX;
		struct zs_buf b;
		int r;

		while ((r = zs_buf_alloc(fd[0], k, &b)) < 0)
			zs_process(1000000);
		r = zs_send_zc(fd[0], &b, 1, 0, 0);
		must(r, "send_zc");
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

		must(k - 1, "recv_zc");
		for (int i = 0; i < k; i++)
			got += b[i].len;
		zs_buf_release(b, k);
	}
	ahead = got - want;
}

static void send_all(size_t n)
{
	if (kind == SHM) {
		shm_send(buf, n);
	} else if (kind == ZS_ZC) {
		zc_send(n);
	} else {
		for (size_t done = 0; done < n;) {
			ssize_t r = kind == ZS ? zs_send(fd[0], buf + done, n - done, 0)
					       : write(fd[0], buf + done, n - done);

			must(r, "send");
			done += (size_t)r;
		}
	}
}

static void recv_all(size_t n)
{
	if (kind == SHM) {
		shm_recv(buf, n);
	} else if (kind == ZS_ZC) {
		zc_recv(n);
	} else {
		for (size_t done = 0; done < n;) {
			ssize_t r = kind == ZS ? zs_recv(fd[1], buf + done, n - done, 0)
					       : read(fd[1], buf + done, n - done);

			must(r - 1, "recv");
			done += (size_t)r;
		}
	}
}

/* A message of 64 bytes. Shared memory has a place for it, beside the word that says so. */
static void msg_send(void)
{
	if (kind != SHM) {
		send_all(64);
		return;
	}
	memcpy(shm->slot[side].data, buf, 64);
	atomic_store_explicit(&shm->slot[side].seq, ++seq_out, memory_order_release);
}

static void msg_recv(void)
{
	if (kind != SHM) {
		recv_all(64);
		return;
	}
	seq_in++;
	while (atomic_load_explicit(&shm->slot[1 - side].seq, memory_order_acquire) != seq_in)
		;
	memcpy(buf, shm->slot[1 - side].data, 64);
}

/* ---- two processes ---- */

static const size_t sizes[] = {64, 1024, 4096, 16384, 65536, BIG};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static size_t messages(size_t size)
{
	return size <= 1024 ? 200000 : (256u << 20) / size;
}

static void answer(void)
{
	for (int i = 0; i < WARM + BATCH * BATCHES; i++) {
		msg_recv();
		msg_send();
	}
	for (size_t k = 0; k < SIZES; k++) {
		for (size_t i = 0; i < messages(sizes[k]); i++)
			recv_all(sizes[k]);
		msg_send();
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void ask(double *result)
{
	static double ns[BATCHES];
	double begin;

	for (int i = 0; i < WARM; i++) {
		msg_send();
		msg_recv();
	}
	for (int b = 0; b < BATCHES; b++) {
		begin = now_s();
		for (int i = 0; i < BATCH; i++) {
			msg_send();
			msg_recv();
		}
		ns[b] = (now_s() - begin) * 1e9 / BATCH;
	}
	qsort(ns, BATCHES, sizeof(ns[0]), by_value);
	result[0] = result[0] == 0 || ns[0] < result[0] ? ns[0] : result[0];
	result[1] = result[1] == 0 || ns[BATCHES / 2] < result[1] ? ns[BATCHES / 2] : result[1];
	for (size_t k = 0; k < SIZES; k++) {
		double gb;

		begin = now_s();
		for (size_t i = 0; i < messages(sizes[k]); i++)
			send_all(sizes[k]);
		msg_recv();
		gb = (double)(sizes[k] * messages(sizes[k])) / (now_s() - begin) / 1e9;
		result[2 + k] = gb > result[2 + k] ? gb : result[2 + k];
	}
}

static struct sockaddr_in tcp_address(const char *ip, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

static void zs_open(int ready)
{
	struct sockaddr_in a = tcp_address(side == 0 ? address : "0.0.0.0", 7777);
	int s;
	char c;

	must(zs_start(NULL), "no service");
	s = zs_socket(AF_INET, SOCK_STREAM, 0);
	if (side == 1) {
		must(zs_bind(s, (struct sockaddr *)&a, sizeof(a)), "bind");
		must(zs_listen(s, 1), "listen");
		must(write(ready, "x", 1), "write");
		fd[0] = fd[1] = zs_accept(s, NULL, NULL);
	} else {
		must(read(ready, &c, 1), "read");
		must(zs_connect(s, (struct sockaddr *)&a, sizeof(a)), "connect");
		fd[0] = fd[1] = s;
	}
}

/* The kernel's, before the fork: both ends. */
static void pair_open(int end[2][2])
{
	struct sockaddr_in a = tcp_address("127.0.0.1", 0);
	socklen_t len = sizeof(a);
	int p[2], q[2], l, one = 1;

	if (kind == PIPE && pipe(p) == 0 && pipe(q) == 0) {
		end[0][0] = p[1];
		end[0][1] = q[0];
		end[1][0] = q[1];
		end[1][1] = p[0];
		return;
	}
	if (kind == UNIX && socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0)
		exit(1);
	if (kind == TCP) {
		l = socket(AF_INET, SOCK_STREAM, 0);
		p[0] = socket(AF_INET, SOCK_STREAM, 0);
		must(bind(l, (struct sockaddr *)&a, sizeof(a)), "bind");
		must(listen(l, 1), "listen");
		getsockname(l, (struct sockaddr *)&a, &len);
		must(connect(p[0], (struct sockaddr *)&a, sizeof(a)), "connect");
		p[1] = accept(l, NULL, NULL);
		for (int i = 0; i < 2; i++)
			setsockopt(p[i], IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
		close(l);
	}
	end[0][0] = end[0][1] = p[0];
	end[1][0] = end[1][1] = p[1];
}

/* In a child of its own: a process attaches once. */
static void run(double *result)
{
	int end[2][2] = {{-1, -1}, {-1, -1}}, ready[2];
	pid_t child;

	must(pipe(ready), "pipe");
	if (kind != SHM && kind < ZS)
		pair_open(end);
	child = fork();
	side = child == 0;
	pin(side);
	memcpy(fd, end[side], sizeof(fd));
	if (kind >= ZS)
		zs_open(ready[side]);
	if (side == 1)
		answer();
	else
		ask(result);
	if (side == 1)
		exit(0);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 3;
	double *results =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	shm = mmap(NULL, sizeof(*shm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc < 2 || shm == MAP_FAILED || results == MAP_FAILED) {
		fprintf(stderr, "usage: %s ADDRESS [rounds]\n", argv[0]);
		return 2;
	}
	address = argv[1];
	for (int r = 0; r < rounds; r++) {
		for (kind = 0; kind < KINDS; kind++) {
			pid_t p;

			memset(shm, 0, sizeof(*shm));
			p = fork();
			if (p == 0) {
				run(&results[kind * 16]);
				exit(0);
			}
			waitpid(p, NULL, 0);
		}
	}
	printf("%-20s %9s %9s", "", "64 B, ns", "(median)");
	for (size_t k = 0; k < SIZES; k++)
		printf(" %6zu B", sizes[k]);
	printf("  GB/s\n");
	for (kind = 0; kind < KINDS; kind++) {
		printf("%-20s %9.0f %9.0f", names[kind], results[kind * 16],
		       results[kind * 16 + 1]);
		for (size_t k = 0; k < SIZES; k++)
			printf(" %8.2f", results[kind * 16 + 2 + k]);
		printf("\n");
	}
	return 0;
}
