/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sendfile, splice, and what fills a socket.
 */
#include "calls.h"

#include <linux/errqueue.h> /* wants struct timespec */

static int file_of(size_t size)
{
	char path[] = "/tmp/callsXXXXXX", line[64];
	int fd = mkstemp(path);

	unlink(path);
	for (size_t i = 0; i < size; i += 64) {
		memset(line, 'a' + (int)(i / 64 % 26), sizeof(line));
		if (write(fd, line, sizeof(line)) != sizeof(line))
			exit(1);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static long sum(const char *p, long n)
{
	long s = 0;

	for (long i = 0; i < n; i++)
		s = (s * 31 + p[i]) % 1000003;
	return s;
}

static void files(void)
{
	static char buf[300000];
	int fd = tcp_to(ECHO), in = file_of(200000 / 64 * 64), p[2];
	off_t off = 64;

	show(sendfile(fd, in, NULL, 100));
	show(lseek(in, 0, SEEK_CUR));
	show(read_full(fd, buf, 100));
	show(sum(buf, 100));
	show(sendfile(fd, in, &off, 128));
	show(off);
	show(lseek(in, 0, SEEK_CUR));
	show(read_full(fd, buf, 128));
	show(sum(buf, 128));
	off = 1000;
	show(sendfile(fd, in, &off, 100000));
	show(read_full(fd, buf, 100000));
	show(sum(buf, 100000));
	off = 199900;
	show(sendfile(fd, in, &off, 5000));
	show(off);
	show(sendfile(fd, in, &off, 5000));
	show(read_full(fd, buf, 36));
	off = -1;
	show(sendfile(fd, in, &off, 5));
	show(sendfile(fd, in, NULL, 0));
	show(sendfile(fd, 999, NULL, 5));
	show(sendfile(in, fd, NULL, 5));
	show(pipe(p));
	show(sendfile(fd, fd, NULL, 5));
	show(sendfile(fd, open("/tmp", O_RDONLY), NULL, 5));
	show(sendfile(fd, open("/dev/null", O_WRONLY), NULL, 5));
	show(shutdown(fd, SHUT_WR));
	signal(SIGPIPE, SIG_IGN);
	off = 0;
	show(sendfile(fd, in, &off, 5));
	show(off);
}

static void pipes(void)
{
	char buf[64];
	int fd = tcp_to(ECHO), p[2];
	loff_t off = 0;

	show(pipe(p));
	show(write(p[1], "through a pipe", 14));
	show(splice(p[0], NULL, fd, NULL, 100, 0));
	show(readable(fd));
	show(splice(fd, NULL, p[1], NULL, 100, SPLICE_F_MOVE));
	show(read(p[0], buf, 64));
	show_bytes("got", buf, 14);
	show(splice(p[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK));
	show(fcntl(fd, F_SETFL, O_NONBLOCK));
	show(splice(fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK));
	show(splice(fd, &off, p[1], NULL, 100, 0));
	show(splice(fd, NULL, fd, NULL, 100, 0));
	show(splice(fd, NULL, file_of(64), NULL, 10, 0));
	show(splice(fd, NULL, p[1], NULL, 0, 0));
	show(fcntl(fd, F_SETFL, 0));
	show(tee(fd, p[1], 10, 0));
	show(copy_file_range(fd, NULL, file_of(64), NULL, 10, 0));
	show(shutdown(fd, SHUT_WR));
	show(readable(fd));
	show(splice(fd, NULL, p[1], NULL, 100, 0));
	show(close(p[1]));
	show(splice(p[0], NULL, fd, NULL, 100, 0));
}

/* More than fits: part of it is taken, then nothing, then again some. */
static void full(void)
{
	static char buf[1 << 20];
	struct pollfd p;
	char text[32] = "";
	long total = 0, n = 0;
	int fd = tcp_to(SINK);

	show(fcntl(fd, F_SETFL, O_NONBLOCK));
	while ((n = write(fd, buf, sizeof(buf))) > 0)
		total += n;
	show_result("a write when it is full", n);
	show(total > 0);
	show(send(fd, buf, 1, 0));
	p = (struct pollfd){.fd = fd, .events = POLLOUT};
	show(poll(&p, 1, 0));
	show(poll(&p, 1, 5000));
	n = write(fd, buf, 1000);
	show(n > 0);
	total += n;
	show(shutdown(fd, SHUT_WR));
	show(fcntl(fd, F_SETFL, 0));
	show(read_full(fd, text, 31) > 0);
	show(atol(text) == total);
}

static void waits_for_room(void)
{
	static char buf[8 << 20];
	char text[32] = "";
	int fd = tcp_to(SINK);

	show(write(fd, buf, sizeof(buf)));
	show(shutdown(fd, SHUT_WR));
	show(read_full(fd, text, 31) > 0);
	show(atol(text));
}

static void timeouts(void)
{
	static char buf[16 << 20];
	struct timeval tv = {0, 50000};
	int fd = tcp_to(GREET), sink = tcp_to(SINK), small = 20000, port, l = listener(&port);

	show(read_full(fd, buf, 11));
	show(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	show(read(fd, buf, 10));
	show(recv(fd, buf, 10, MSG_PEEK));
	show(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	show(accept(l, NULL, NULL));
	show(setsockopt(sink, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	show(setsockopt(sink, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
	show(write(sink, buf, sizeof(buf)) < (long)sizeof(buf));
	fd = tcp_to(SLOW);
	show(recv(fd, buf, 6, MSG_WAITALL));
	show(recv(fd, buf, 6, MSG_WAITALL));
	fd = tcp_to(SLOW);
	show(readable(fd));
	show(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	show(recv(fd, buf, 6, MSG_WAITALL));
}

/* Which sends the notices of the error queue are for, until there are n. */
static void notices(int fd, unsigned n)
{
	char control[128];
	unsigned next = 0;

	while (next < n) {
		struct pollfd p = {.fd = fd, .events = 0};
		struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
		struct sock_extended_err e;
		struct cmsghdr *c;

		if (poll(&p, 1, 2000) != 1 || p.revents != POLLERR ||
		    recvmsg(fd, &m, MSG_ERRQUEUE) != 0)
			break;
		c = CMSG_FIRSTHDR(&m);
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (next == 0)
			printf("level %d type %d length %zu flags %x: errno %u origin %u type %u "
			       "code %u\n",
			       c->cmsg_level, c->cmsg_type, c->cmsg_len, m.msg_flags, e.ee_errno,
			       e.ee_origin, e.ee_type, e.ee_code);
		show(e.ee_info == next);
		next = e.ee_data + 1;
	}
	show(next);
}

static void zero_copy(void)
{
	static char buf[20000];
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, two = 2;
	socklen_t len = sizeof(one);

	show(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	show(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &two, sizeof(two)));
	show(connect(fd, AT(PEER, ECHO)));
	show(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &two, &len));
	show(two);
	show(recv(fd, buf, 1, MSG_ERRQUEUE));
	show(send(fd, buf, 10, 0));
	show(send(fd, buf, sizeof(buf), MSG_ZEROCOPY));
	notices(fd, 1);
	show(recv(fd, buf, 1, MSG_ERRQUEUE));
	show(read_full(fd, buf, 10));
	show(read_full(fd, buf, sizeof(buf)));
}

const struct call_case copy_cases[] = {
	{"files", files},	{"pipes", pipes},
	{"full", full},		{"waits_for_room", waits_for_room},
	{"timeouts", timeouts}, {"zero_copy", zero_copy},
	{NULL, NULL},
};
