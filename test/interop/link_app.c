/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Programs of one service that talk to one another (test_link.py). Every byte is known from its
 * place in the stream, so each end checks what it gets.
 *
 *	link_app echo PORT [OWN]		gives back what comes, of many at once
 *	link_app fork PORT			the same, a child for each connection
 *	link_app talk ADDR PORT N BYTES [MS]	N connections at once, BYTES out and back on each
 *	link_app hold ADDR PORT N		opens N, says so, a round on each, waits for a line:
 *						r: another round, f: by a child
 *	link_app sink PORT [OWN]		takes without copying, checks; once
 *	link_app relay PORT ADDR PORT2		hands on without copying; once
 *	link_app pour PORT BYTES		sends, and stops now and then in the kernel; once
 *	link_app heir ADDR PORT BYTES AT	by a link takes AT, leaves the rest to a child and
 *						waits
 *	link_app source ADDR PORT BYTES		sends without copying when told to; once
 *	link_app refused ADDR PORT		prints what connect() says
 *	link_app switch ADDR PORT		ZSO_SAME_NODE comes too late
 *	link_app plain ADDR PORT		rounds on a socket that has had it off from the first
 *	link_app self ADDR PORT N BYTES		talks to itself: in one thread, then echo and talk
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "link_common.h"

/* ---- echo ---- */

struct conn {
	size_t have, sent;
	bool ended;
	uint8_t buf[16384];
};
static struct conn *conns[1 << 16];

static void drop(int fd)
{
	free(conns[fd]);
	conns[fd] = NULL;
	zs_close(fd);
}

static void serve(int set, int fd)
{
	struct conn *c = conns[fd];
	ssize_t n;

	for (int i = 0; i < 64; i++) {
		if (c->have == c->sent) {
			n = zs_recv(fd, c->buf, 1 + (size_t)rand() % sizeof(c->buf), 0);
			if (n == -EAGAIN) {
				want(set, fd, EPOLLIN);
				return;
			}
			if (n <= 0) {
				drop(fd);
				return;
			}
			c->have = (size_t)n;
			c->sent = 0;
		}
		n = zs_send(fd, c->buf + c->sent, c->have - c->sent, 0);
		if (n == -EAGAIN) {
			want(set, fd, EPOLLOUT);
			return;
		}
		if (n < 0) {
			drop(fd);
			return;
		}
		c->sent += (size_t)n;
	}
}

static void echo(const char *port)
{
	int l = listener(port), set = zs_epoll_create1(0), fd;
	struct epoll_event e[64];

	zs_fcntl(l, F_SETFL, O_NONBLOCK);
	want(set, l, EPOLLIN);
	for (;;) {
		int n = zs_epoll_wait(set, e, 64, -1);

		for (int i = 0; i < n; i++) {
			if (e[i].data.fd != l) {
				serve(set, e[i].data.fd);
				continue;
			}
			while ((fd = zs_accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				conns[fd] = calloc(1, sizeof(struct conn));
				want(set, fd, EPOLLIN);
			}
		}
	}
}

static void child(int fd)
{
	static uint8_t buf[CHUNK_MAX];
	ssize_t n;

	while ((n = zs_recv(fd, buf, sizeof(buf), 0)) > 0)
		for (ssize_t k = 0, m; k < n; k += m) {
			m = zs_send(fd, buf + k, (size_t)(n - k), 0);
			must(m, "send");
		}
	zs_close(fd);
	report();
	fflush(stdout);
	_exit(0);
}

static void fork_server(const char *port)
{
	int l = listener(port), fd;

	while ((fd = zs_accept(l, NULL, NULL)) >= 0) {
		if (fork() == 0)
			child(fd);
		zs_close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

/* ---- talk ---- */

static struct talk {
	int fd;
	uint64_t out, in;
} * talks;

/* Sends on until there is no room, or all is said. */
static void say(struct talk *t, uint64_t bytes)
{
	static uint8_t buf[CHUNK_MAX];
	ssize_t n;

	while (t->out < bytes) {
		size_t len = 1 + (size_t)rand() % (rand() % 2 ? 300 : CHUNK_MAX);

		if (len > bytes - t->out)
			len = bytes - t->out;
		fill(buf, t->out, len);
		n = zs_send(t->fd, buf, len, 0);
		if (n == -EAGAIN)
			return;
		must(n, "send");
		t->out += (uint64_t)n;
		if (t->out == bytes)
			must(zs_shutdown(t->fd, SHUT_WR), "shutdown");
	}
}

/* True: the stream has ended, as it should. */
static bool hear(struct talk *t, uint64_t bytes)
{
	static uint8_t buf[CHUNK_MAX];
	ssize_t n;

	while ((n = zs_recv(t->fd, buf, 1 + (size_t)rand() % CHUNK_MAX, 0)) > 0) {
		verify(buf, t->in, (size_t)n);
		t->in += (uint64_t)n;
	}
	if (n == -EAGAIN)
		return false;
	must(n, "recv");
	if (t->in != bytes) {
		printf("%llu bytes of %llu came back\n", (unsigned long long)t->in,
		       (unsigned long long)bytes);
		exit(1);
	}
	return true;
}

static void talk(const char *addr, const char *port, int n, uint64_t bytes)
{
	int set = zs_epoll_create1(0), open = n;
	struct epoll_event e[64];

	talks = calloc((size_t)n, sizeof(*talks));
	for (int i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)i};

		talks[i].fd = dial(addr, port);
		zs_fcntl(talks[i].fd, F_SETFL, O_NONBLOCK);
		must(zs_epoll_ctl(set, EPOLL_CTL_ADD, talks[i].fd, &ev), "epoll_ctl");
	}
	while (open > 0) {
		int k = zs_epoll_wait(set, e, 64, 20000);

		if (k == 0) {
			printf("nothing happens any more: %d open\n", open);
			for (int i = 0; i < n; i++)
				if (talks[i].fd >= 0)
					printf("%d: out %llu in %llu\n", i,
					       (unsigned long long)talks[i].out,
					       (unsigned long long)talks[i].in);
			exit(1);
		}
		for (int i = 0; i < k; i++) {
			struct talk *t = &talks[e[i].data.u32];

			say(t, bytes);
			if (t->out == bytes) {
				struct epoll_event ev = {.events = EPOLLIN,
							 .data.u32 = e[i].data.u32};

				zs_epoll_ctl(set, EPOLL_CTL_MOD, t->fd, &ev);
			}
			if (hear(t, bytes)) {
				zs_close(t->fd);
				t->fd = -1;
				open--;
			}
		}
	}
	report();
	printf("ok\n");
}

static void round_on(int fd, uint64_t i)
{
	uint8_t out[100], in[100];

	fill(out, i, sizeof(out));
	must(zs_send(fd, out, sizeof(out), 0), "send");
	must(zs_recv(fd, in, sizeof(in), MSG_WAITALL), "recv");
	verify(in, i, sizeof(in));
}

static void rounds_on(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		round_on(fd[i], (uint64_t)i);
}

static void rounds_by_a_child(const int *fd, int n)
{
	int status = 1;

	if (fork() == 0) {
		rounds_on(fd, n);
		exit(0);
	}
	if (wait(&status) < 0 || status != 0)
		exit(1);
}

static void hold(const char *addr, const char *port, int n)
{
	int *fd = calloc((size_t)n, sizeof(*fd));
	char line[16];

	for (int i = 0; i < n; i++)
		fd[i] = dial(addr, port);
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < n; i++)
			round_on(fd[i], (uint64_t)(i + k));
	report();
	printf("holding\n");
	while (fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'r' || line[0] == 'f')) {
		if (line[0] == 'r')
			rounds_on(fd, n);
		else
			rounds_by_a_child(fd, n);
		report();
		printf("round\n");
	}
	for (int i = 0; i < n; i++)
		zs_close(fd[i]);
	printf("ok\n");
}

/* ---- ZSO_SAME_NODE ---- */

/* By TCP the service gets a command for each message. */
static bool goes_by_link(int fd)
{
	struct zs_stats before, after;

	must(zs_stats(&before, sizeof(before)), "stats");
	for (int i = 0; i < 50; i++)
		round_on(fd, (uint64_t)i);
	must(zs_stats(&after, sizeof(after)), "stats");
	return after.commands - before.commands < 25;
}

/* Until it does: the service makes links in the background. */
static void rounds_until_link(int fd)
{
	while (!goes_by_link(fd))
		;
}

static void same_node(int fd, int on)
{
	int is = -1;
	socklen_t len = sizeof(is);

	must(zs_setsockopt(fd, SOL_ZSTACK, ZSO_SAME_NODE, &on, sizeof(on)), "ZSO_SAME_NODE");
	must(zs_getsockopt(fd, SOL_ZSTACK, ZSO_SAME_NODE, &is, &len), "ZSO_SAME_NODE");
	if (is != on)
		must(-EPROTO, "ZSO_SAME_NODE");
}

static void switching(const char *addr, const char *port)
{
	int fd = dial(addr, port), off = 0;

	rounds_until_link(fd);
	if (zs_setsockopt(fd, SOL_ZSTACK, ZSO_SAME_NODE, &off, sizeof(off)) != -EISCONN ||
	    !goes_by_link(fd))
		must(-EPROTO, "too late");
	printf("ok\n");
}

static void plain(const char *addr, const char *port)
{
	struct sockaddr_in to = at(addr, port);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0), other = dial(addr, port);

	same_node(fd, 0);
	must(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	rounds_until_link(other);
	printf("%s\n", goes_by_link(fd) ? "by a link" : "by TCP");
}

/* ---- without a copy ---- */

static void sink(const char *port)
{
	int l = listener(port), fd = zs_accept(l, NULL, NULL), n;
	struct zs_buf b[16];
	uint64_t got = 0;

	must(fd, "accept");
	while ((n = zs_recv_zc(fd, b, 16, 0)) > 0) {
		for (int i = 0; i < n; i++) {
			verify(b[i].data, got, b[i].len);
			got += b[i].len;
		}
		must(zs_buf_release(b, n), "release");
	}
	must(n, "recv_zc");
	report();
	printf("got %llu\n", (unsigned long long)got);
}

/* Pieces of many sizes; for most of the pauses nobody looks at any socket. */
static void pour(const char *port, uint64_t bytes)
{
	static uint8_t buf[CHUNK_MAX];
	int l = listener(port), fd = zs_accept(l, NULL, NULL);
	unsigned turn = 0;

	must(fd, "accept");
	for (uint64_t done = 0; done < bytes; turn++) {
		size_t n = (turn * 7919u) % (turn % 3 == 0 ? CHUNK_MAX : 300) + 1;
		ssize_t r;

		n = n > bytes - done ? (size_t)(bytes - done) : n;
		fill(buf, done, n);
		r = zs_send(fd, buf, n, 0);
		must(r, "send");
		done += (uint64_t)r;
		if (turn % 50 == 49)
			poll(NULL, 0, 30);
	}
	must(zs_close(fd), "close");
	report();
}

static void take(int fd, uint64_t from, uint64_t to)
{
	static uint8_t buf[CHUNK_MAX];

	while (from < to) {
		size_t n = to - from < sizeof(buf) ? (size_t)(to - from) : sizeof(buf);
		ssize_t r = zs_recv(fd, buf, n, 0);

		must(r, "recv");
		if (r == 0) {
			printf("the end after %llu\n", (unsigned long long)from);
			exit(1);
		}
		verify(buf, from, (size_t)r);
		from += (uint64_t)r;
	}
}

/* The service makes it when it likes. */
static void await_link(int fd)
{
	struct zs_stats s = {.links = 0};
	char c;

	for (int ms = 0; ms < 20000; ms++) {
		must(zs_stats(&s, sizeof(s)), "stats");
		if (s.links > 0)
			return;
		(void)!zs_recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
		poll(NULL, 0, 1);
	}
	printf("no link\n");
	exit(1);
}

/* The parent looks at nothing while its child reads. */
static void heir(const char *addr, const char *port, uint64_t bytes, uint64_t first)
{
	int fd = dial(addr, port), status = 1;
	char c;

	await_link(fd);
	take(fd, 0, first);
	if (fork() == 0) {
		take(fd, first, bytes);
		must(zs_recv(fd, &c, 1, 0) == 0 ? 0 : -EPROTO, "the end");
		exit(0);
	}
	if (wait(&status) < 0 || status != 0)
		exit(1);
	report();
}

static void relay(const char *port, const char *addr, const char *port2)
{
	int l = listener(port), from = zs_accept(l, NULL, NULL), to = dial(addr, port2), n;
	struct zs_buf b[16];

	must(from, "accept");
	while ((n = zs_recv_zc(from, b, 16, 0)) > 0)
		for (int k = 0, m; k < n; k += m) {
			m = zs_send_zc(to, b + k, n - k, 0, 0);
			must(m, "send_zc");
		}
	must(n, "recv_zc");
	zs_close(to);
	report();
	printf("ok\n");
}

/* Passes on so much, and leaves the rest to a child, which outlives it. */
static void bequeath(const char *port, const char *addr, const char *port2, uint64_t bytes)
{
	int l = listener(port), from = zs_accept(l, NULL, NULL), to = dial(addr, port2);
	static uint8_t tail[CHUNK_MAX];
	pid_t parent = getpid();
	struct zs_buf b;
	uint64_t sent = 0;

	must(from, "accept");
	for (; sent < bytes; sent += b.len) {
		must(zs_recv_zc(from, &b, 1, 0), "recv_zc");
		must(zs_send_zc(to, &b, 1, 0, 0), "send_zc");
	}
	report();
	if (fork() != 0) {
		zs_close(from);
		printf("forked after %llu\n", (unsigned long long)sent);
		for (;;)
			pause();
	}
	while (getppid() == parent)
		poll(NULL, 0, 1);
	fill(tail, sent, sizeof(tail));
	must(zs_send(to, tail, sizeof(tail), 0), "send");
	exit(0);
}

static void await_word(const char *said)
{
	struct pollfd told = {.fd = 0, .events = POLLIN};

	printf("%s\n", said);
	while (poll(&told, 1, 0) == 0)
		zs_process(10000000);
}

/* One buffer of the stream, of so many bytes. Its length or -errno. */
static int pour_buf(int fd, uint64_t at, uint32_t n)
{
	struct zs_buf b;
	int r;

	while ((r = zs_buf_alloc(fd, n, &b)) == -ENOBUFS)
		zs_process(1000000);
	if (r < 0)
		return r;
	fill(b.data, at, n);
	r = zs_send_zc(fd, &b, 1, 0, 0);
	if (r < 0)
		zs_buf_release(&b, 1);
	return r < 0 ? r : (int)n;
}

static uint32_t some_length(uint32_t least)
{
	return least + (uint32_t)rand() % (ZS_BUF_MAX - least + 1);
}

static void source(const char *addr, const char *port, uint64_t bytes, uint32_t least)
{
	int fd = dial(addr, port);
	uint64_t sent = 0;
	char end;

	await_word("connected");
	while (sent < bytes) {
		uint32_t n = some_length(least);

		n = n < bytes - sent ? n : (uint32_t)(bytes - sent);
		must(pour_buf(fd, sent, n), "send_zc");
		sent += n;
	}
	must(zs_shutdown(fd, SHUT_WR), "shutdown");
	must(zs_recv(fd, &end, 1, 0), "recv");
	report();
	printf("ok\n");
}

#define BLOCKS_MAX 4096

/* Blocks of the largest size, as many as there are; at most n. */
static unsigned take_all(struct zs_buf *b, unsigned n)
{
	unsigned got = 0;

	while (got < n && zs_buf_alloc(-1, ZS_BUF_MAX, &b[got]) == 0)
		memset(b[got++].data, 0xee, ZS_BUF_MAX);
	return got;
}

/* Sends until the other end is gone; then writes over all of its memory, as it gets it back. */
static void spoil(const char *addr, const char *port)
{
	static struct zs_buf b[BLOCKS_MAX];
	unsigned all = take_all(b, BLOCKS_MAX), got = 0;
	int fd, r;
	uint64_t sent = 0;

	must(zs_buf_release(b, (int)all), "release");
	fd = dial(addr, port);
	await_word("connected");
	while ((r = pour_buf(fd, sent, some_length(512))) > 0)
		sent += (uint64_t)r;
	printf("over after %llu\n", (unsigned long long)sent);
	while ((got += take_all(b + got, all - got)) < all)
		zs_process(1000000);
	printf("all is ours\n");
	must(zs_buf_release(b, (int)all), "release");
	report();
}

/* ---- with itself ---- */

/* Both ends in the hands of one thread, which never waits for the other. */
static void both_ends(int a, int b)
{
	static uint8_t buf[CHUNK_MAX];
	ssize_t n;

	for (uint64_t sent = 0, got = 0; got < 4 * CHUNK_MAX;) {
		size_t k = 1 + (size_t)rand() % 5000;

		k = k < 4 * CHUNK_MAX - sent ? k : (size_t)(4 * CHUNK_MAX - sent);
		fill(buf, sent, k);
		must(zs_send(a, buf, k, 0), "send");
		sent += k;
		while (got < sent) {
			n = zs_recv(b, buf, sizeof(buf), 0);
			must(n, "recv");
			verify(buf, got, (size_t)n);
			got += (uint64_t)n;
		}
		must(zs_send(b, "x", 1, 0), "send");
		must(zs_recv(a, buf, 1, 0), "recv");
	}
	must(zs_shutdown(a, SHUT_WR), "shutdown");
	if (zs_recv(b, buf, 1, 0) != 0 || zs_send(b, "y", 1, 0) != 1 || zs_recv(a, buf, 1, 0) != 1)
		must(-EPROTO, "half-close");
	zs_close(b);
	if (zs_recv(a, buf, 1, 0) != 0)
		must(-EPROTO, "end");
	zs_close(a);
}

static void *echo_thread(void *port)
{
	echo(port);
	return NULL;
}

static void self(const char *addr, const char *port, int n, uint64_t bytes)
{
	int l = listener(port), a;
	pthread_t t;

	for (int i = 0; i < 10; i++) {
		a = dial(addr, port);
		both_ends(a, zs_accept(l, NULL, NULL));
	}
	report();
	zs_close(l);
	pthread_create(&t, NULL, echo_thread, (void *)(uintptr_t)port);
	for (int fd = -1; fd < 0;) { /* until the thread listens */
		struct sockaddr_in to = at(addr, port);

		a = zs_socket(AF_INET, SOCK_STREAM, 0);
		fd = zs_connect(a, (struct sockaddr *)&to, sizeof(to));
		zs_close(a);
	}
	talk(addr, port, n, bytes);
}

static void refused(const char *addr, const char *port)
{
	struct sockaddr_in a = at(addr, port);
	int fd = zs_socket(AF_INET, SOCK_STREAM, 0);

	printf("connect %d\n", zs_connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	start();
	srand(argc > 6 ? (unsigned)atoi(argv[6]) : 1);
	if ((strcmp(what, "echo") == 0 || strcmp(what, "sink") == 0) && argc > 3)
		own = argv[3];
	if (strcmp(what, "echo") == 0)
		echo(argv[2]);
	else if (strcmp(what, "fork") == 0)
		fork_server(argv[2]);
	else if (strcmp(what, "talk") == 0 && argc > 5)
		talk(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0));
	else if (strcmp(what, "hold") == 0 && argc > 4)
		hold(argv[2], argv[3], atoi(argv[4]));
	else if (strcmp(what, "sink") == 0)
		sink(argv[2]);
	else if (strcmp(what, "pour") == 0 && argc > 3)
		pour(argv[2], strtoull(argv[3], NULL, 10));
	else if (strcmp(what, "heir") == 0 && argc > 5)
		heir(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
	else if (strcmp(what, "relay") == 0 && argc > 4)
		relay(argv[2], argv[3], argv[4]);
	else if (strcmp(what, "source") == 0 && argc > 4)
		source(argv[2], argv[3], strtoull(argv[4], NULL, 0),
		       argc > 5 ? (uint32_t)atoi(argv[5]) : 1);
	else if (strcmp(what, "bequeath") == 0 && argc > 5)
		bequeath(argv[2], argv[3], argv[4], strtoull(argv[5], NULL, 0));
	else if (strcmp(what, "spoil") == 0 && argc > 3)
		spoil(argv[2], argv[3]);
	else if (strcmp(what, "switch") == 0 && argc > 3)
		switching(argv[2], argv[3]);
	else if (strcmp(what, "plain") == 0 && argc > 3)
		plain(argv[2], argv[3]);
	else if (strcmp(what, "self") == 0 && argc > 5)
		self(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0));
	else if (strcmp(what, "refused") == 0 && argc > 3)
		refused(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
