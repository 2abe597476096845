/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Programs of one service that send one another records and datagrams (test_message.py). Length and
 * bytes are known from a message's number, so each end checks what it gets.
 *
 *	message_app records PORT		gives back records, of many at once, without copying;
 *						and bytes of TCP at the next port
 *	message_app record ADDR PORT N COUNT	N connections, COUNT records out and back on each
 *	message_app forks ADDR PORT N COUNT	the same, and forks now and then, with a stream on the
 *						same link that goes to the child
 *	message_app single ADDR PORT		what single calls say
 *	message_app refused ADDR PORT		what connect() says, for records and for bytes
 *	message_app none			what zs_socket() says
 *	message_app dgrams PORT			gives back datagrams
 *	message_app hoard PORT			holds those that it gets without copying, until its input ends
 *	message_app dgram ADDR PORT COUNT [OFF]	COUNT out and back, from a connected socket and another;
 *						what the service copied of them; then waits for a line,
 *						and says what a send says. OFF: ZSO_SAME_NODE is
 *	message_app flood ADDR PORT COUNT BYTES	sends that many, and never waits
 */
#include <fcntl.h>
#include <poll.h>

#include "link_common.h"

#define CONNS_MAX 64
#define AHEAD	  3 /* records on their way at once: boundaries could be lost */

static int record_socket(void)
{
	int fd = zs_socket(AF_INET, SOCK_SEQPACKET, 0);

	must(fd, "socket");
	return fd;
}

static int record_dial(const char *addr, const char *port)
{
	struct sockaddr_in a = at(addr, port);
	int fd = record_socket();

	must(zs_connect(fd, (struct sockaddr *)&a, sizeof(a)), "connect");
	return fd;
}

/* ---- the server ---- */

/* The same buffers go back: they are copied nowhere. False: it has ended. */
static bool answer(int fd)
{
	struct zs_buf b[8];
	int n, done;

	while ((n = zs_recv_zc(fd, b, 8, MSG_DONTWAIT)) > 0) {
		done = zs_send_zc(fd, b, n, 0, 0);
		if (done == n)
			continue;
		zs_buf_release(b + (done > 0 ? done : 0), n - (done > 0 ? done : 0));
		return false;
	}
	return n == -EAGAIN;
}

static void record_listener(int set, const char *port)
{
	struct sockaddr_in a = at("0.0.0.0", port);
	int l = record_socket();

	must(zs_bind(l, (struct sockaddr *)&a, sizeof(a)), "bind");
	must(zs_listen(l, 64), "listen");
	want(set, l, EPOLLIN);
}

static bool listens(int fd)
{
	int is = 0;
	socklen_t len = sizeof(is);

	must(zs_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &len), "SO_ACCEPTCONN");
	return is != 0;
}

static void records(const char *port)
{
	struct epoll_event e[64];
	int set = zs_epoll_create1(0);
	char next[16];

	snprintf(next, sizeof(next), "%d", atoi(port) + 1);
	record_listener(set, port);
	want(set, listener(next), EPOLLIN);
	for (;;) {
		int n = zs_epoll_wait(set, e, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = e[i].data.fd;

			if (listens(fd)) {
				fd = zs_accept(fd, NULL, NULL);
				must(fd, "accept");
				want(set, fd, EPOLLIN);
			} else if (!answer(fd)) {
				zs_close(fd);
				report();
			}
		}
	}
}

/* ---- the client ---- */

/* Of any length, most of them short, some empty. */
static size_t record_len(uint64_t i)
{
	uint8_t r = byte_at(i * 7 + 3);

	return r < 10 ? ZS_RECORD_MAX : r < 60 ? (size_t)(r * 997 + i) % ZS_RECORD_MAX : r - 60u;
}

static void record_out(int fd, uint64_t i, uint64_t k)
{
	static uint8_t out[ZS_RECORD_MAX];

	fill(out, i + k, record_len(i));
	must(zs_send(fd, out, record_len(i), 0), "send");
}

static void record_back(int fd, uint64_t i, uint64_t k)
{
	static uint8_t in[ZS_RECORD_MAX];
	struct iovec v = {in, sizeof(in)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t n = zs_recvmsg(fd, &m, 0);

	must(n, "recvmsg");
	if (n != (ssize_t)record_len(i) || m.msg_flags != MSG_EOR) {
		printf("record %llu has %zd bytes of %zu, flags %d\n", (unsigned long long)i, n,
		       record_len(i), m.msg_flags);
		exit(1);
	}
	verify(in, i + k, (size_t)n);
}

/* The child has the stream, and not the records. */
static void fork_now(int stream, const int *fd)
{
	char c = 'x';
	int status;
	pid_t p = fork();

	if (p == 0) {
		if (zs_send(fd[0], "y", 1, MSG_DONTWAIT) != -EBADF)
			_exit(1);
		_exit(zs_send(stream, &c, 1, 0) == 1 && zs_recv(stream, &c, 1, 0) == 1 ? 0 : 2);
	}
	if (waitpid(p, &status, 0) != p || status != 0)
		must(-EPROTO, "the child");
	must(zs_send(stream, &c, 1, 0), "send");
	if (zs_recv(stream, &c, 1, 0) != 1)
		must(-EPROTO, "the stream");
}

static void record(const char *addr, const char *port, int n, uint64_t count, uint64_t each)
{
	int fd[CONNS_MAX], stream = -1;
	char next[16];

	snprintf(next, sizeof(next), "%d", atoi(port) + 1);
	if (each != 0)
		stream = dial(addr, next);
	for (int k = 0; k < n; k++)
		fd[k] = record_dial(addr, port);
	for (uint64_t i = 0; i < count + AHEAD; i++) {
		for (int k = 0; k < n; k++) {
			if (i < count)
				record_out(fd[k], i, (uint64_t)k);
			if (i >= AHEAD)
				record_back(fd[k], i - AHEAD, (uint64_t)k);
		}
		if (each != 0 && i % each == each - 1)
			fork_now(stream, fd);
	}
	for (int k = 0; k < n; k++)
		zs_close(fd[k]);
	report();
	printf("ok\n");
}

/* ---- single calls ---- */

static void single(const char *addr, const char *port)
{
	int fd = record_dial(addr, port), type;
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer), n = sizeof(type);
	char c[4];

	must(zs_getpeername(fd, (struct sockaddr *)&peer, &len), "getpeername");
	must(zs_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n), "SO_TYPE");
	printf("port %s type %s\n", ntohs(peer.sin_port) == atoi(port) ? "ok" : "wrong",
	       type == SOCK_SEQPACKET ? "ok" : "wrong");
	must(zs_send(fd, "four", 4, MSG_EOR), "send");
	must(zs_send(fd, "two", 2, 0), "send");
	must(zs_shutdown(fd, SHUT_WR), "shutdown");
	printf("sent then %d\n", (int)zs_send(fd, "x", 1, 0));
	printf("got %d of", (int)zs_recv(fd, c, 1, MSG_TRUNC));
	printf(" four, %d,", (int)zs_recv(fd, c, 4, 0));
	printf(" then the end %d\n", (int)zs_recv(fd, c, 4, 0));
}

static int dialled(int type, const struct sockaddr_in *a)
{
	return zs_connect(zs_socket(AF_INET, type, 0), (const struct sockaddr *)a, sizeof(*a));
}

static void refused(const char *addr, const char *port)
{
	struct sockaddr_in a = at(addr, port);

	printf("records %d", dialled(SOCK_SEQPACKET, &a));
	printf(" bytes %d\n", dialled(SOCK_STREAM, &a));
}

/* ---- datagrams ---- */

#define DGRAM_MAX 60000

static int dgram_bound(const char *port)
{
	struct sockaddr_in a = at("0.0.0.0", port);
	int fd = zs_socket(AF_INET, SOCK_DGRAM, 0);

	must(zs_bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
	printf("listening\n");
	return fd;
}

static void dgrams(const char *port)
{
	static uint8_t buf[DGRAM_MAX];
	int fd = dgram_bound(port);

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = zs_recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		must(n, "recvfrom");
		must(zs_sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len), "sendto");
	}
}

static void hoard(const char *port)
{
	struct pollfd p[2] = {{.fd = dgram_bound(port), .events = POLLIN}, {.fd = -1}};
	char line[16];
	int n = 0;

	must(zs_fcntl(p[0].fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
	for (;;) {
		struct zs_buf b[48];
		struct pollfd in = {.fd = 0, .events = POLLIN};

		if (poll(&in, 1, 0) > 0 && fgets(line, sizeof(line), stdin) == NULL)
			break;
		n += zs_recvfrom_zc(p[0].fd, b, 48, 0, NULL, NULL) > 0;
		must(zs_poll(p, 1, 10), "poll");
	}
	printf("hoarded %d\n", n);
	zs_close(p[0].fd);
}

static uint64_t counter(const char *name)
{
	uint64_t v = 0;

	must(zs_counter(name, &v), name);
	return v;
}

static void dgram_round(int fd, const struct sockaddr_in *to, bool connected, uint64_t i)
{
	static uint8_t out[DGRAM_MAX], in[DGRAM_MAX];
	size_t len = 1 + (size_t)(i * 7919) % sizeof(out);
	struct sockaddr_in from;
	socklen_t n = sizeof(from);

	fill(out, i, len);
	if (connected)
		must(zs_send(fd, out, len, 0), "send");
	else
		must(zs_sendto(fd, out, len, 0, (const struct sockaddr *)to, sizeof(*to)),
		     "sendto");
	if (zs_recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&from, &n) != (ssize_t)len)
		must(-EPROTO, "a datagram of another length");
	verify(in, i, len);
	if (from.sin_addr.s_addr != to->sin_addr.s_addr || from.sin_port != to->sin_port)
		must(-EPROTO, "from elsewhere");
}

static void dgram(const char *addr, const char *port, uint64_t count, bool off)
{
	struct sockaddr_in to = at(addr, port);
	int fd[2] = {zs_socket(AF_INET, SOCK_DGRAM, 0), zs_socket(AF_INET, SOCK_DGRAM, 0)}, no = 0;
	uint64_t was, lent;
	char line[16];

	for (int k = 0; off && k < 2; k++)
		must(zs_setsockopt(fd[k], SOL_ZSTACK, ZSO_SAME_NODE, &no, sizeof(no)),
		     "ZSO_SAME_NODE");
	must(zs_connect(fd[1], (struct sockaddr *)&to, sizeof(to)), "connect");
	/* Until both see one another's memory, the service copies. */
	do {
		was = counter("sock_loop_copied_bytes");
		dgram_round(fd[0], &to, false, 0);
	} while (!off && counter("sock_loop_copied_bytes") != was);
	was = counter("sock_loop_copied_bytes");
	lent = counter("sock_loop_lent_bytes");
	for (uint64_t i = 0; i < count; i++)
		dgram_round(fd[i % 2], &to, i % 2, i);
	printf("copied %llu lent %llu\n",
	       (unsigned long long)(counter("sock_loop_copied_bytes") - was),
	       (unsigned long long)(counter("sock_loop_lent_bytes") - lent));
	if (fgets(line, sizeof(line), stdin) == NULL)
		return;
	(void)zs_send(fd[1], "x", 1, 0);
	printf("then %d\n", (int)zs_recv(fd[1], line, 1, 0));
}

static void flood(const char *addr, const char *port, uint64_t count, size_t bytes)
{
	static uint8_t out[DGRAM_MAX];
	struct sockaddr_in to = at(addr, port);
	int fd = zs_socket(AF_INET, SOCK_DGRAM, 0);

	for (uint64_t i = 0; i < count; i++)
		must(zs_sendto(fd, out, bytes, 0, (struct sockaddr *)&to, sizeof(to)), "sendto");
	printf("dropped %llu\n", (unsigned long long)counter("drop_udp_queue_full"));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	start();
	if (strcmp(what, "records") == 0 && argc > 2)
		records(argv[2]);
	else if (strcmp(what, "record") == 0 && argc > 5)
		record(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0), 0);
	else if (strcmp(what, "forks") == 0 && argc > 5)
		record(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 0), 100);
	else if (strcmp(what, "single") == 0 && argc > 3)
		single(argv[2], argv[3]);
	else if (strcmp(what, "refused") == 0 && argc > 3)
		refused(argv[2], argv[3]);
	else if (strcmp(what, "dgrams") == 0 && argc > 2)
		dgrams(argv[2]);
	else if (strcmp(what, "hoard") == 0 && argc > 2)
		hoard(argv[2]);
	else if (strcmp(what, "dgram") == 0 && argc > 4)
		dgram(argv[2], argv[3], strtoull(argv[4], NULL, 0), argc > 5);
	else if (strcmp(what, "flood") == 0 && argc > 5)
		flood(argv[2], argv[3], strtoull(argv[4], NULL, 0), strtoull(argv[5], NULL, 0));
	else if (strcmp(what, "none") == 0)
		printf("socket %d\n", zs_socket(AF_INET, SOCK_SEQPACKET, 0));
	else
		return 2;
	return 0;
}
